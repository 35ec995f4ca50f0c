"""The names of the WAL files in the archive's bucket, and how the newest of them begins, as hexadecimal digits."""

import json
import re
import sys

import store

told = json.loads(sys.argv[1])
keys = store.objects(told["user"], told["bucket"], told["prefix"])
names = {}
for key in keys:
    name = key.rpartition("/")[2]
    if re.match(r"^[0-9A-F]{24}-[0-9a-f]{40}", name):
        names[name[:24]] = key
found = {"files": sorted(names), "begins": None, "bytes": 0}
if names:
    status, content, _ = store.request(told["user"], "/%s/%s" % (told["bucket"], names[max(names)]))
    if status != 200:
        raise SystemExit("reading %s: status %s" % (names[max(names)], status))
    found["begins"], found["bytes"] = content[:16].hex(), len(content)
print(json.dumps(found))
