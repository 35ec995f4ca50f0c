"""Watches servers while their certificates are replaced.

Holds one connection to Postgres and opens new ones to every server, verified, until each shows a certificate of another
serial number than at the start. Prints "held" and the serial numbers first, then what came of it.
"""

import json
import socket
import ssl
import struct
import sys
import time

import psycopg2

import postgres

told = json.loads(sys.argv[1])
login = told["login"]


def serial(server):
    """The serial number that a server shows now, once its chain and its name are verified."""
    context = ssl.create_default_context(cafile="/credentials/%s/ca.crt" % login)
    with socket.create_connection((server["host"], server["port"]), 3) as plain:
        if server["postgres"]:
            plain.sendall(struct.pack("!II", 8, 80877103))
            if plain.recv(1) != b"S":
                raise ssl.SSLError("no TLS")
        with context.wrap_socket(plain, server_hostname=server["host"]) as secured:
            return secured.getpeercert()["serialNumber"]


held = postgres.connect(login)
session = postgres.rows(held, "SELECT pg_backend_pid()")
before = {server["name"]: serial(server) for server in told["servers"]}
print("held " + json.dumps(before), flush=True)
start = time.monotonic()
tries, failed, asked, seen = 0, [], 0, {}
while len(seen) < len(before) and time.monotonic() - start < told["seconds"]:
    for server in told["servers"]:
        tries += 1
        try:
            if serial(server) not in told["between"] + [before[server["name"]]]:
                seen.setdefault(server["name"], round(time.monotonic() - start, 1))
        except (OSError, ssl.SSLError) as error:
            failed.append("%s: %s" % (server["name"], type(error).__name__))
    try:
        postgres.connect(login).close()
        if postgres.rows(held, "SELECT pg_backend_pid()") != session:
            failed.append("another session")
        asked += 1
    except psycopg2.Error as error:
        failed.append(postgres.fault(error))
    time.sleep(0.2)
print(json.dumps({"tries": tries, "failed": failed, "asked": asked, "seen": seen}))
