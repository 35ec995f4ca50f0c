"""Holds one connection to Postgres: prints "held", and then what ended it (an SQLSTATE or the server's words, none when nothing did)."""

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
        # Of a connection that is ended while nobody asks it anything, the driver tells the server's words and no code.
        ended = error.pgcode or (str(error).splitlines() or [type(error).__name__])[0]
        break
    time.sleep(0.2)
print(json.dumps({"ended": ended}))
