"""Sends requests to the object store as a user: the status of each, and the store's own code for a refusal."""

import base64
import json
import re
import sys

import store

told = json.loads(sys.argv[1])
answers = []
for request in told["requests"]:
    status, content, _ = store.request(
        told["secret"],
        request["path"],
        request["method"],
        body=base64.b64decode(request["body"]) or None,
        query=request["query"],
        signed=request["signed"],
        region=told["region"],
    )
    code = re.search(rb"<Code>([A-Za-z]+)</Code>|\"Code\":\s*\"([A-Za-z]+)\"", content)
    answers.append([status, (code.group(1) or code.group(2)).decode() if code else ""])
print(json.dumps(answers))
