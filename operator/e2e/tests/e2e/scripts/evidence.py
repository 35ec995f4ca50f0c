"""Prints every record of an evidence log: a line for each, its key and its bytes in base64. The last line says which keys
have more than one version or marker of deletion, and the version of the last record. Reads as the user of one Secret."""

import base64
import json
import os
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree as tree

import store

BATCH = 200

told = json.loads(sys.argv[1])
user, bucket = told["user"], told["bucket"]


def listed():
    """The keys, each with its versions, the newest first, and how many markers of deletion there are."""
    versions, markers, key, version = {}, 0, None, None
    while True:
        query = {"prefix": "records/", "versions": ""}
        if key:
            query["key-marker"] = key
        if version:
            query["version-id-marker"] = version
        # In the order of their names, as the signature wants them.
        text = "&".join("%s=%s" % (name, urllib.parse.quote(query[name], safe="")) for name in sorted(query))
        status, content, _ = store.request(user, "/%s" % bucket, query=text)
        if status != 200:
            raise SystemExit("listing the versions of %s: status %s" % (bucket, status))
        page = tree.fromstring(content)
        space = page.tag.partition("}")[0] + "}"
        for found in page.iter(space + "Version"):
            versions.setdefault(found.findtext(space + "Key"), []).append(found.findtext(space + "VersionId"))
        markers += len(list(page.iter(space + "DeleteMarker")))
        key, version = page.findtext(space + "NextKeyMarker"), page.findtext(space + "NextVersionIdMarker")
        if page.findtext(space + "IsTruncated") != "true" or not key:
            return versions, markers


def fetch(wanted):
    """Reads versions, many with one connection, and prints them."""
    lines = [
        'cacert = "/credentials/%s/ca.crt"' % user,
        'aws-sigv4 = "aws:amz:%s:s3"' % store.value(user, "region"),
        'user = "%s:%s"' % (store.value(user, "access-key"), store.value(user, "secret-key")),
        "connect-timeout = 3",
        "max-time = 60",
        "silent",
        "fail",
    ]
    for number, (key, version) in enumerate(wanted):
        address = "%s/%s/%s?versionId=%s" % (store.value(user, "endpoint"), bucket, key, version)
        lines += ['url = "%s"' % address, 'output = "/tmp/%s"' % number]
    answer = subprocess.run(
        ["curl", "-K", "-"], input="\n".join(lines).encode(), capture_output=True, timeout=90, check=False
    )
    if answer.returncode:
        raise SystemExit("reading %s: curl %s" % (wanted[0][0], answer.returncode))
    for number, (key, _) in enumerate(wanted):
        with open("/tmp/%s" % number, "rb") as file:
            print(key, base64.b64encode(file.read()).decode())
        os.remove("/tmp/%s" % number)


versions, markers = listed()
# The first version of each is the record.
records = [(key, versions[key][-1]) for key in sorted(versions)]
for start in range(0, len(records), BATCH):
    fetch(records[start : start + BATCH])
covered = [key for key in sorted(versions) if len(versions[key]) > 1]
print(json.dumps({"covered": covered, "markers": markers, "last": records[-1] if records else None}))
