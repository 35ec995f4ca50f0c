"""Makes a marker of 128 bits and plants it wherever a client's data goes: rows, the names and contents of objects, failing
statements, failing requests and its own output. The marker is made here, so that no specification of a pod has it."""

import hashlib
import json
import secrets
import sys

import psycopg2

import postgres
import store

told = json.loads(sys.argv[1])
writer, user, bucket, run = told["writer"], told["user"], told["bucket"], told["run"]
marker = secrets.token_hex(16)
print("planting %s" % marker)
found = {"marker": marker, "hash": hashlib.sha256(marker.encode()).hexdigest(), "failed": 0}

connection = postgres.connect(writer, application_name=marker)
for number in range(3):
    statement = "INSERT INTO app.e2e_rows (run, number, filler) VALUES (%s, %s, %s)"
    postgres.rows(connection, statement, run, number, "filler " + marker)
found["rows"] = postgres.rows(
    connection, "SELECT count(*) FROM app.e2e_rows WHERE run = %s AND filler = %s", run, "filler " + marker
)[0][0]
for statement in (
    "SELECT '%s'::int" % marker,
    "SELECT * FROM app.e2e_%s" % marker,
    "INSERT INTO app.e2e_rows (run, number) VALUES ('%s', 1), ('%s', 1)" % (marker, marker),
    "SELECT 1 / 0 /* %s */" % marker,
):
    try:
        postgres.rows(connection, statement)
    except psycopg2.Error:
        found["failed"] += 1
try:
    postgres.connect(writer, user="u" + marker, password=marker)
except psycopg2.Error:
    found["failed"] += 1

path = "/%s/e2e/%s" % (bucket, marker)
body = ("content " + marker).encode()
found["put"] = store.request(user, path, "PUT", body)[0]
found["same"] = store.request(user, path)[1] == body
for path, method in (
    ("/%s/e2e/none/%s" % (bucket, marker), "GET"),
    ("/e2e-%s" % marker, "PUT"),
    ("/bailiwick-backup/%s" % marker, "PUT"),
):
    if store.request(user, path, method, b"" if method == "PUT" else None)[0] >= 400:
        found["failed"] += 1
print(json.dumps(found))
