"""What an allowed client can do in Postgres, and what is refused to it although it gets through."""

import json
import subprocess
import sys
import time

import psycopg2

import postgres

told = json.loads(sys.argv[1])
writer, reader, run = told["writer"], told["reader"], told["run"]
found = {}


def refused(action):
    """The error's code, or None when there was no error."""
    try:
        action()
    except psycopg2.Error as error:
        return getattr(error, "pgcode", None) or str(error).strip().splitlines()[0]
    return None


connection = postgres.connect(writer)
postgres.rows(connection, "INSERT INTO app.e2e_rows (run, number) VALUES (%s, 1)", run)
found["written"] = postgres.rows(connection, "SELECT count(*) FROM app.e2e_rows WHERE run = %s", run)[0][0]
found["tls"] = postgres.rows(connection, "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")[0][0]
found["writer_is_superuser"] = postgres.rows(
    connection, "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
)[0][0]
found["writer_makes_tables"] = refused(
    lambda: postgres.rows(connection, "CREATE TABLE app.e2e_not_mine (number int)")
)

replica = postgres.connect(reader, host=told["read_only_host"])
found["replica"] = postgres.rows(replica, "SELECT pg_is_in_recovery()")[0][0]
deadline = time.monotonic() + 10
while True:
    found["read"] = postgres.rows(replica, "SELECT count(*) FROM app.e2e_rows WHERE run = %s", run)[0][0]
    if found["read"] == 1 or time.monotonic() > deadline:
        break
    time.sleep(0.1)
through_replica = postgres.connect(writer, host=told["read_only_host"])
insert = "INSERT INTO app.e2e_rows (run, number) VALUES (%s, 2)"
found["replica_takes_writes"] = refused(lambda: postgres.rows(through_replica, insert, run))
found["reader_writes"] = refused(lambda: postgres.rows(postgres.connect(reader), insert, run))
found["without_tls"] = refused(lambda: postgres.connect(writer, sslmode="disable"))
found["other_authority"] = refused(
    lambda: postgres.connect(writer, sslrootcert="/credentials/%s/ca.crt" % told["other_authority"])
)
found["wrong_password"] = refused(lambda: postgres.connect(writer, password="wrong"))
found["superuser"] = refused(lambda: postgres.connect(writer, user="postgres"))
# The connection string as psql takes it. It carries a password, so it goes by the environment and not by argument.
answer = subprocess.run(
    ["sh", "-c", 'psql "$URI" -XAtqc "SELECT 1"'],
    env={
        "PATH": "/usr/bin:/bin",
        "URI": postgres.value(writer, "uri"),
        "PGCONNECT_TIMEOUT": "5",
    },
    capture_output=True,
    text=True,
    timeout=20,
    check=False,
)
found["psql"] = answer.stdout.strip()
postgres.rows(connection, "DELETE FROM app.e2e_rows WHERE run = %s", run)
print(json.dumps(found))
