"""The numbers of one run's rows, as ranges, and how many rows of it there are; then takes them away if told to."""

import json
import sys
import time

import postgres
import psycopg2

# What is asked is which rows are there, not whether a Service has its endpoints back at once.
PATIENCE = 30


def connect(login):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return postgres.connect(login)
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


told = json.loads(sys.argv[1])
connection = connect(told["writer"])
ranges = postgres.rows(
    connection,
    "SELECT min(number), max(number) FROM"
    " (SELECT number, number - row_number() OVER (ORDER BY number) AS island FROM app.e2e_rows WHERE run = %s) rows"
    " GROUP BY island ORDER BY 1",
    told["run"],
)
if told["remove"]:
    postgres.rows(connection, "DELETE FROM app.e2e_rows WHERE run = %s", told["run"])
print(json.dumps(ranges))
