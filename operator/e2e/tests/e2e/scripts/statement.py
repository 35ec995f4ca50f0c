"""Says one statement to Postgres with a login: the code that it is refused with, none when it is not."""

import json
import sys

import psycopg2

import postgres

told = json.loads(sys.argv[1])
refused = None
try:
    postgres.rows(postgres.connect(told["login"]), told["statement"].replace("%", "%%"))
except psycopg2.Error as error:
    refused = error.pgcode or type(error).__name__
print(json.dumps({"refused": refused}))
