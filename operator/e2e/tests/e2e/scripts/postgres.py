"""Connects to a Region's Postgres with a login Secret, over TLS that is verified. No call waits longer than LIMIT.

The limit is the client's own: cancelling a statement that waits for its standby would make the server say that the
row is committed although no standby has it.
"""

import select
import time

import psycopg2
from psycopg2 import extensions

LIMIT = 3.0


class Overdue(psycopg2.OperationalError):
    """The server took longer than LIMIT."""


def _wait(connection):
    until = time.monotonic() + LIMIT
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        left = until - time.monotonic()
        readable = [connection] if state == extensions.POLL_READ else []
        writable = [connection] if state == extensions.POLL_WRITE else []
        try:
            answered = left > 0 and any(select.select(readable, writable, [], left))
        except (ValueError, OSError) as error:
            raise Overdue("the connection is gone") from error
        if not answered:
            # psycopg2 closes the connection itself then; closing it here would wait for a lock that it holds.
            raise Overdue("no answer within %.0f s" % LIMIT)


extensions.set_wait_callback(_wait)


def value(secret, key):
    """One value of a Secret that is mounted."""
    with open("/credentials/%s/%s" % (secret, key), encoding="utf-8") as file:
        return file.read()


def connect(secret, **changes):
    """A connection in autocommit mode: a statement that returns is committed."""
    settings = {
        "host": value(secret, "host"),
        "port": value(secret, "port"),
        "dbname": value(secret, "dbname"),
        "user": value(secret, "user"),
        "password": value(secret, "password"),
        "sslmode": "verify-full",
        "sslrootcert": "/credentials/%s/ca.crt" % secret,
        "application_name": "e2e",
    }
    settings.update(changes)
    connection = psycopg2.connect(**settings)
    connection.autocommit = True
    return connection


def rows(connection, statement, *values):
    """What a statement returns; nothing for one that returns nothing."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def fault(error):
    """An error in a word or two, without anything of a row or a password."""
    return "%s %s" % (type(error).__name__, getattr(error, "pgcode", None) or "")
