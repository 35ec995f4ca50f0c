"""Requests to a Region's object store with curl, signed, over TLS that is verified."""

import base64
import hashlib
import subprocess
import urllib.parse
import xml.etree.ElementTree as tree


def value(secret, key):
    """One value of a Secret that is mounted."""
    with open("/credentials/%s/%s" % (secret, key), encoding="utf-8") as file:
        return file.read()


def request(
    secret, path, method="GET", body=None, query="", authority=None, signed=True, keys=None, headers=(), region=None
):
    """The status (0 when nothing answered), the body and curl's exit code. The keys are the Secret's own, or another's;
    a `region` is signed for instead of the store's own."""
    lines = [
        'url = "%s%s%s"' % (value(secret, "endpoint"), path, "?" + query if query else ""),
        'request = "%s"' % method,
        'cacert = "%s"' % (authority or "/credentials/%s/ca.crt" % secret),
        'write-out = "\\n%{http_code}"',
        "connect-timeout = 3",
        "max-time = 15",
        "silent",
    ]
    if signed:
        lines.append('aws-sigv4 = "aws:amz:%s:s3"' % (region or value(secret, "region")))
        lines.append('user = "%s:%s"' % (value(keys or secret, "access-key"), value(keys or secret, "secret-key")))
    if body is not None:
        with open("/tmp/body", "wb") as file:
            file.write(body)
        lines.append('data-binary = "@/tmp/body"')
        lines.append('header = "Content-Type: application/octet-stream"')
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        lines.append('header = "Content-MD5: %s"' % digest)
    lines += ['header = "%s"' % header for header in headers]
    # Settings come by standard input: keys are never an argument that others on the node could read.
    answer = subprocess.run(
        ["curl", "-K", "-"], input="\n".join(lines).encode(), capture_output=True, timeout=30, check=False
    )
    content, _, status = answer.stdout.rpartition(b"\n")
    return int(status or 0), content, answer.returncode


def objects(secret, bucket, prefix):
    """The keys of all objects below a prefix."""
    keys, token = [], None
    while True:
        # In the order of their names, as the signature wants them.
        query = {"list-type": "2", "prefix": prefix}
        if token:
            query["continuation-token"] = token
        text = "&".join(
            "%s=%s" % (name, urllib.parse.quote(query[name], safe="")) for name in sorted(query)
        )
        status, content, _ = request(secret, "/%s" % bucket, query=text)
        if status != 200:
            raise SystemExit("listing %s of %s: status %s" % (prefix, bucket, status))
        page = tree.fromstring(content)
        space = page.tag.partition("}")[0] + "}"
        keys += [key.text for key in page.iter(space + "Key")]
        token = page.findtext(space + "NextContinuationToken")
        if not token:
            return keys
