"""Takes one row of a run away behind the writer's back."""

import json
import sys

import postgres

told = json.loads(sys.argv[1])
connection = postgres.connect(told["writer"])
lost = postgres.rows(
    connection,
    "DELETE FROM app.e2e_rows WHERE run = %s AND number = %s RETURNING number",
    told["run"],
    told["number"],
)
print(json.dumps(lost))
