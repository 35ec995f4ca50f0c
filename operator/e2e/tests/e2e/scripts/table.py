"""Makes the suite's table as the database's administrator, as an application's migration would, and takes away the
rows of earlier runs. Safe to run again."""

import json
import sys

import postgres

told = json.loads(sys.argv[1])
connection = postgres.connect(told["admin"])
postgres.rows(
    connection,
    "CREATE TABLE IF NOT EXISTS app.e2e_rows ("
    " run text NOT NULL, number bigint NOT NULL, filler text, at timestamptz NOT NULL DEFAULT now(),"
    " PRIMARY KEY (run, number))",
)
postgres.rows(connection, "DELETE FROM app.e2e_rows WHERE at < now() - interval '1 hour'")
print(json.dumps({"made": True}))
