"""Waits until the network policies of this pod are in force, then becomes the client that its arguments name.

Plugins like kube-router let a new pod's first moments pass: what a client finds is what holds from then on. Ends waiting after
five seconds: a case may have opened the way out on purpose. As in reach.py, a reset by the target itself says that packets get
there; refused by somebody on the way (ICMP) is no answer. A pod is given this as text, without the other scripts: it imports
none of them.
"""

import os
import socket
import sys
import time

OUTSIDE = ("198.51.100.10", 9)
IP_RECVERR = 11
ICMP = 2


def reached():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.settimeout(0.5)
        try:
            sock.connect(OUTSIDE)
            return True
        except (ConnectionRefusedError, ConnectionResetError):
            return not refused_on_the_way(sock)
        except OSError:
            return False


def refused_on_the_way(sock):
    try:
        _, messages, _, _ = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return False
    # The fifth byte of a sock_extended_err says who it is of.
    return any(data[4] == ICMP for _, _, data in messages)


closed = 0
deadline = time.monotonic() + 5
while closed < 3 and time.monotonic() < deadline:
    closed = 0 if reached() else closed + 1
    if closed < 3:
        time.sleep(0.2)
os.execv(sys.executable, [sys.executable, "-u", *sys.argv[1:]])
