"""Asks the primary for its WAL as a standby would: says whether it streams, and streams on until it is ended."""

import json
import os
import subprocess
import sys
import time

import store

told = json.loads(sys.argv[1])
login, password = told["login"], told["password"]
certificate = told["certificate"]
shown = {}
if certificate:
    # libpq takes no key that others may read.
    for name in ("tls.crt", "tls.key"):
        with open(os.open("/tmp/" + name, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(store.value(certificate, name))
    shown = {"PGSSLCERT": "/tmp/tls.crt", "PGSSLKEY": "/tmp/tls.key"}
os.makedirs("/tmp/wal")
stream = subprocess.Popen(
    ["pg_receivewal", "-h", store.value(login, "host"), "-U", told["role"], "-D", "/tmp/wal", "--no-loop", "-w"],
    env={
        "PATH": "/usr/bin:/bin:/usr/lib/postgresql/17/bin",
        "PGPASSWORD": store.value(password, "replication-password"),
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/credentials/%s/ca.crt" % login,
        "PGAPPNAME": "e2e",
        **shown,
    },
    stderr=subprocess.PIPE,
    text=True,
)
until = time.monotonic() + 20
while stream.poll() is None and time.monotonic() < until:
    if os.listdir("/tmp/wal"):
        print("streams", flush=True)
        # As long as a status may take to tell of it; whoever started this ends it.
        stream.wait(timeout=180)
    time.sleep(0.2)
if stream.poll() is None:
    raise SystemExit("neither WAL nor a refusal came")
said = stream.stderr.read()
if any(word in said for word in ("authentication failed", "pg_hba.conf", "valid client certificate")):
    print("refused", flush=True)
else:
    raise SystemExit(said)
