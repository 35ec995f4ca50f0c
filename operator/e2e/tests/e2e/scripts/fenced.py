"""Waits until the network policies of this pod are in force, then becomes the client that its arguments name.

Plugins like kube-router let a new pod's first moments pass: what a client finds is what holds from then on. Ends waiting after
five seconds: a case may have opened the way out on purpose.
"""

import os
import socket
import sys
import time

OUTSIDE = ("198.51.100.10", 9)
closed = 0
deadline = time.monotonic() + 5
while closed < 3 and time.monotonic() < deadline:
    try:
        socket.create_connection(OUTSIDE, timeout=0.5).close()
        closed = 0
    except OSError:
        closed += 1
    if closed < 3:
        time.sleep(0.2)
os.execv(sys.executable, [sys.executable, "-u", *sys.argv[1:]])
