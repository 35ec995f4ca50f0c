"""Opens TCP connections to one target from its first moment on, for some seconds: which of them stood, and when."""

import json
import socket
import sys
import time

started = time.monotonic()
told = json.loads(sys.argv[1])
target = (told["host"], told["port"])
attempts, stood = 0, []
while time.monotonic() - started < told["seconds"]:
    attempts += 1
    try:
        socket.create_connection(target, timeout=0.25).close()
        stood.append(round(time.monotonic() - started, 3))
    except OSError:
        pass
    time.sleep(0.02)
print(json.dumps({"attempts": attempts, "stood": len(stood), "last": stood[-1] if stood else None}))
