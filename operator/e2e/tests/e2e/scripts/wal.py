"""Fills WAL files with rows that cannot be compressed if told to, and says which file is written now and what the
archiver of the primary says of itself."""

import json
import os
import sys

import postgres

told = json.loads(sys.argv[1])
connection = postgres.connect(told["writer"])
start = postgres.rows(connection, "SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]
number = told.get("first", 0)
while told["fill"] and number < told.get("first", 0) + 4000:
    # 8 kB a row of random letters: beside the row itself its index entry and now and then a page image.
    postgres.rows(
        connection,
        "INSERT INTO app.e2e_rows (run, number, filler) VALUES (%s, %s, %s)",
        told["run"],
        number,
        os.urandom(16384).hex(),
    )
    number += 1
    if number % 50 == 0:
        now = postgres.rows(connection, "SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]
        if int(now[8:], 16) > int(start[8:], 16):
            break
if told["remove"]:
    postgres.rows(connection, "DELETE FROM app.e2e_rows WHERE run = %s", told["run"])
current, archived, failed, timeline = postgres.rows(
    connection,
    "SELECT pg_walfile_name(pg_current_wal_lsn()), last_archived_wal, failed_count, substr("
    " pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_stat_archiver",
)[0]
print(json.dumps({"start": start, "current": current, "archived": archived, "failed": failed, "timeline": timeline}))
