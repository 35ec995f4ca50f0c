"""Tries what the owner of a database should not be able to do: to each attempt, what the server said, or null when it was
let in. Told of logins by the names of their Secrets."""

import json
import sys

import psycopg2

import postgres

told = json.loads(sys.argv[1])


def attempt(wanted):
    settings = dict(wanted.get("settings") or {})
    if wanted.get("as"):
        for key in ("user", "password"):
            settings.setdefault(key, postgres.value(wanted["as"], key))
    connection = None
    try:
        connection = postgres.connect(wanted.get("login") or told["login"], **settings)
        postgres.rows(connection, wanted["statement"])
        if wanted.get("undo"):
            postgres.rows(connection, wanted["undo"])
        return None
    except psycopg2.Error as error:
        text = " ".join(str(error).split())
        return "%s %s" % (getattr(error, "pgcode", None) or "", text)
    finally:
        if connection is not None:
            connection.close()


print(json.dumps([attempt(wanted) for wanted in told["attempts"]]))
