#!/usr/bin/python3
"""Asks a name server for one name, several times, and says whether every answer was the expected address.

in:  server, name, expected address, number of questions; out: exit status, on failure a line on standard error
Each question comes from a port of its own, so a Service in front of several servers spreads them.
"""

import os
import socket
import struct
import sys

SECONDS = 1


def ask(server, name):
    """Takes a server's address and a name; gives the address in the answer's last record. OSError without one."""
    question = os.urandom(2) + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0)
    for label in name.split("."):
        question += bytes([len(label)]) + label.encode("ascii")
    question += b"\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.settimeout(SECONDS)
        port.connect((server, 53))
        port.send(question)
        answer = port.recv(512)
    if answer[:2] != question[:2] or answer[3] & 0x0F or not struct.unpack("!H", answer[6:8])[0]:
        raise OSError(f"no address of {name} in the answer")
    return socket.inet_ntoa(answer[-4:])


def main():
    server, name, expected, times = sys.argv[1:5]
    for _ in range(int(times)):
        try:
            found = ask(server, name)
        except OSError as error:
            sys.exit(f"{server} does not answer for {name}: {error}")
        if found != expected:
            sys.exit(f"{server} says {found} for {name}, not {expected}")


if __name__ == "__main__":
    main()
