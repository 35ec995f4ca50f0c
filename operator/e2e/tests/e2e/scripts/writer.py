"""Writes numbered rows through the primary's Service until it is told to stop, and says when each was acknowledged.

Lines: `a NUMBER TIME` for a row whose commit the server confirmed, `e NUMBER TIME WHY` for one where it did not, and
`end TIME`. A number is never tried twice, so a row that is there without having been confirmed does no harm.
"""

import json
import signal
import sys
import time

import psycopg2

import postgres

told = json.loads(sys.argv[1])
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
connection, number = None, 0
while not stop:
    number += 1
    try:
        if connection is None:
            connection = postgres.connect(told["writer"])
        del connection.notices[:]
        postgres.rows(connection, "INSERT INTO app.e2e_rows (run, number) VALUES (%s, %s)", told["run"], number)
        if connection.notices:
            # A commit whose wait for the standby was cut short comes with a warning: it is not a confirmation.
            print("e %d %.3f warned" % (number, time.time()))
        else:
            print("a %d %.3f" % (number, time.time()))
        time.sleep(told["pause"])
    except psycopg2.Error as error:
        print("e %d %.3f %s" % (number, time.time(), postgres.fault(error)))
        if connection is not None:
            connection.close()
        connection = None
        time.sleep(0.2)
print("end %.3f" % time.time())
