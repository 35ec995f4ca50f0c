"""Tries to open TCP connections: to each target, what came of it. Refused by somebody on the way (ICMP) is no answer; reset
is what the target itself said, so that packets get there."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

told = json.loads(sys.argv[1])
IP_RECVERR = 11
IPV6_RECVERR = 25
ICMP, ICMP6 = 2, 3


def refused_on_the_way(sock):
    try:
        _, messages, _, _ = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return False
    # The fifth byte of a sock_extended_err says who it is of.
    return any(data[4] in (ICMP, ICMP6) for _, _, data in messages)


def attempt(target):
    try:
        family, _, _, _, address = socket.getaddrinfo(
            target["host"], target["port"], type=socket.SOCK_STREAM
        )[0]
    except socket.gaierror:
        return "no such name"
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.settimeout(3)
        try:
            sock.connect(address)
            return "open"
        except TimeoutError:
            return "no answer"
        except ConnectionError as error:
            if refused_on_the_way(sock):
                return "no answer"
            return "reset" if isinstance(error, (ConnectionRefusedError, ConnectionResetError)) else str(error)
        except OSError as error:
            return error.strerror or type(error).__name__


with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(attempt, told["targets"]))))
