"""Leaves a trace in Postgres and in the store, or says what is there of one."""

import json
import sys

import postgres
import store

told = json.loads(sys.argv[1])
connection = postgres.connect(told["writer"])
path = "/%s/e2e/%s" % (told["bucket"], told["run"])
body = ("object of " + told["run"]).encode()
if told["leave"]:
    postgres.rows(
        connection,
        "INSERT INTO app.e2e_rows (run, number, filler)"
        " SELECT %s, number, md5(%s || number) FROM generate_series(1, 1000) AS number",
        told["run"],
        told["run"],
    )
    if store.request(told["user"], path, "PUT", body)[0] != 200:
        raise SystemExit("the store did not take the object")
rows = postgres.rows(
    connection,
    "SELECT count(*), md5(string_agg(filler, ',' ORDER BY number)) FROM app.e2e_rows WHERE run = %s",
    told["run"],
)[0]
status, content, _ = store.request(told["user"], path)
if told["remove"]:
    postgres.rows(connection, "DELETE FROM app.e2e_rows WHERE run = %s", told["run"])
    store.request(told["user"], path, "DELETE")
print(json.dumps({"rows": rows[0], "digest": rows[1], "object": status, "same": content == body}))
