"""Of the primary and of a replica: the address, when the server was started and the value of a setting."""

import json
import sys

import postgres

told = json.loads(sys.argv[1])
found = []
for host in (None, told["read_only_host"]):
    connection = postgres.connect(told["writer"], **({"host": host} if host else {}))
    address, primary, started, value = postgres.rows(
        connection,
        "SELECT host(inet_server_addr()), NOT pg_is_in_recovery(),"
        " to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"
        " current_setting(%s)",
        told["setting"],
    )[0]
    found.append({"address": address, "primary": primary, "started": started, "value": value})
print(json.dumps(found))
