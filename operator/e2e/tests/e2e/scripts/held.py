"""Holds one connection to Postgres: prints "held", and then what ended it (an SQLSTATE, none when nothing did)."""

import json
import sys
import time

import psycopg2

import postgres

told = json.loads(sys.argv[1])
connection = postgres.connect(told["login"])
postgres.rows(connection, "SELECT 1")
print("held", flush=True)
start = time.monotonic()
ended = None
while time.monotonic() - start < told["seconds"]:
    try:
        postgres.rows(connection, "SELECT 1")
    except psycopg2.Error as error:
        ended = error.pgcode or type(error).__name__
        break
    time.sleep(0.2)
print(json.dumps({"ended": ended}))
