"""Asks the primary for its WAL as a standby would: says whether it streams, and streams on until it is ended."""

import json
import os
import subprocess
import sys
import time

import store

told = json.loads(sys.argv[1])
login, password = told["login"], told["password"]
secret = store.value(password, "replication-password") if password else "not-the-password"
os.makedirs("/tmp/wal")
stream = subprocess.Popen(
    ["pg_receivewal", "-h", store.value(login, "host"), "-U", told["role"], "-D", "/tmp/wal", "--no-loop", "-w"],
    env={
        "PATH": "/usr/bin:/bin:/usr/lib/postgresql/17/bin",
        "PGPASSWORD": secret,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/credentials/%s/ca.crt" % login,
        "PGAPPNAME": "e2e",
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
if "authentication failed" in said or "pg_hba.conf" in said:
    print("refused", flush=True)
else:
    raise SystemExit(said)
