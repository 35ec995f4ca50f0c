"""Serves TCP, UDP and SCTP on ports 80 and 81 of an address, and tries connections from it.

in:  the address; on standard input a line of targets, "tcp/80/10.201.1.4 ...", all tried at once
out: "ready", then for each line one character a target, 1 when it answered in half a second

Runs in the network namespace of a pod. SCTP is its opening exchange (RFC 9260: INIT, INIT ACK) over a raw socket, because
the kernel may lack the protocol; to connection tracking it is SCTP as any other.
"""

import select
import socket
import struct
import sys
import threading
import time

SERVED = (80, 81)
SCTP = 132
INIT, INIT_ACK = 1, 2
TAG = 0x0BA111C4
# The kernel sends few refusals a second, so what is shut is mostly seen by silence.
WITHIN = 0.5
address = sys.argv[1]
# Each attempt has a source port of its own, so that none falls into an earlier one's flow.
next_port = 10000
acknowledged = set()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
raw.bind((address, 0))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_packet(kind, source, destination, verification):
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, TAG, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, destination, verification)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def serve_sctp():
    while True:
        packet, (sender, _) = raw.recvfrom(512)
        packet = packet[(packet[0] & 15) * 4 :]
        if len(packet) < 13:
            continue
        source, destination = struct.unpack("!HH", packet[:4])
        if packet[12] == INIT and destination in SERVED:
            raw.sendto(sctp_packet(INIT_ACK, destination, source, TAG), (sender, 0))
        elif packet[12] == INIT_ACK:
            acknowledged.add(destination)


def serve_tcp(port):
    listener = socket.create_server((address, port), backlog=128)
    while True:
        listener.accept()[0].close()


def serve_udp(server):
    while True:
        try:
            data, sender = server.recvfrom(64)
            server.sendto(data, sender)
        except OSError:
            pass  # what became of an earlier answer


def opened(protocol, port, target):
    """A socket on which the target's answer will be seen."""
    global next_port
    next_port += 1
    if protocol == "sctp":
        raw.sendto(sctp_packet(INIT, next_port, port, 0), (target, 0))
        return next_port
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    attempt = socket.socket(socket.AF_INET, kind)
    attempt.setblocking(False)
    attempt.bind((address, next_port))
    attempt.connect_ex((target, port))
    if protocol == "udp":
        attempt.send(b"who")
    return attempt


def answered(protocol, attempt):
    if protocol == "tcp":
        return attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    try:
        return attempt.recv(64) == b"who"
    except OSError:
        return False


def tried(targets):
    results = [False] * len(targets)
    waiting, sctp = {}, {}
    poll = select.poll()
    for index, (protocol, port, target) in enumerate(targets):
        attempt = opened(protocol, int(port), target)
        if protocol == "sctp":
            sctp[attempt] = index
        else:
            waiting[attempt.fileno()] = (index, protocol, attempt)
            poll.register(attempt, select.POLLOUT if protocol == "tcp" else select.POLLIN)
    deadline = time.monotonic() + WITHIN
    while (waiting or sctp.keys() - acknowledged) and time.monotonic() < deadline:
        for number, _ in poll.poll(20):
            index, protocol, attempt = waiting.pop(number)
            results[index] = answered(protocol, attempt)
            poll.unregister(number)
            attempt.close()
    for _, _, attempt in waiting.values():
        attempt.close()
    for source, index in sctp.items():
        results[index] = source in acknowledged
    return results


for port in SERVED:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, port))
    threading.Thread(target=serve_tcp, args=(port,), daemon=True).start()
    threading.Thread(target=serve_udp, args=(datagrams,), daemon=True).start()
threading.Thread(target=serve_sctp, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    targets = [word.split("/") for word in line.split()]
    print("".join("01"[result] for result in tried(targets)), flush=True)
