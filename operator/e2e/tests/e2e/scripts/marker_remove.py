"""Takes away the rows and the objects below a prefix that a case has left."""

import json
import sys
import urllib.parse

import postgres
import store

told = json.loads(sys.argv[1])
postgres.rows(postgres.connect(told["writer"]), "DELETE FROM app.e2e_rows WHERE run = %s", told["run"])
keys = store.objects(told["user"], told["bucket"], "e2e/")
for key in keys:
    store.request(told["user"], "/%s/%s" % (told["bucket"], urllib.parse.quote(key)), "DELETE")
print(json.dumps({"objects": len(keys)}))
