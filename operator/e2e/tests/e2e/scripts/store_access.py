"""What an allowed client can do in the object store, and what is refused to it although it gets through."""

import json
import sys

import store

told = json.loads(sys.argv[1])
user, bucket = told["user"], told["bucket"]
path = "/%s/e2e/%s" % (bucket, told["run"])
body = ("object of " + told["run"]).encode()
found = {"put": store.request(user, path, "PUT", body)[0]}
status, content, _ = store.request(user, path)
found["get"], found["same"] = status, content == body
found["without_signature"] = store.request(user, path, signed=False)[0]
found["backup_bucket"] = store.request(user, "/bailiwick-backup", query="list-type=2")[0]
other = "/credentials/%s/ca.crt" % told["other_authority"]
found["other_authority"] = store.request(user, path, authority=other)[2]
found["delete"] = store.request(user, path, "DELETE")[0]
print(json.dumps(found))
