"""Whether a certificate is of an authority, both from Secrets."""

import json
import subprocess
import sys

told = json.loads(sys.argv[1])
answer = subprocess.run(
    ["openssl", "verify", "-CAfile", "/credentials/%s/ca.crt" % told["authority"],
     "/credentials/%s/tls.crt" % told["certificate"]],
    capture_output=True, timeout=20, check=False,
)
print(json.dumps({"verified": answer.returncode == 0}))
