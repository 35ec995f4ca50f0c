#!/usr/bin/python3
"""Plays the internet for the development cluster: answers whatever gets out, and writes it down.

in:  packets in the network namespace that it runs in; --log FILE, --address A (what names resolve to)
out: one JSON line per TCP connection attempt, UDP datagram and ICMP echo that arrived (kind "packet"),
     per HTTP request (kind "http") and per DNS question (kind "dns"), appended to the log

The packet lines come from the wire, before any port is looked at, so nothing depends on a service here.
Every TCP and UDP port answers (the namespace's packet filter redirects them), because a refused port
would make a leak look like a closed door.
"""

import argparse
import json
import socket
import socketserver
import struct
import threading
import time

ANY_TCP, ANY_UDP, DNS = 10080, 10081, 53
ETH_P_IP = 0x0800
SO_ORIGINAL_DST = 80
A, AAAA = 1, 28
ANSWER_LIFETIME_SECONDS = 1


class Log:
    """The log file; one line a record, whole lines only."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1, encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, kind, **facts):
        """Appends one record. Takes its kind and its facts (JSON values)."""
        line = json.dumps({"time": round(time.time(), 3), "kind": kind, **facts})
        with self.lock:
            self.file.write(line + "\n")


def watch_wire(log, own):
    """Records what arrives from the cluster; `own` are the addresses of this namespace."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    while True:
        packet, source = wire.recvfrom(65535)
        if source[2] == socket.PACKET_OUTGOING or len(packet) < 20:
            continue
        header = (packet[0] & 0x0F) * 4
        protocol = packet[9]
        sender, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        fragment = struct.unpack("!H", packet[6:8])[0] & 0x1FFF
        if sender in own or fragment:
            continue
        facts = {"source": sender, "destination": target}
        if protocol == socket.IPPROTO_TCP and len(packet) >= header + 14:
            if packet[header + 13] & 0x12 != 0x02:  # SYN without ACK opens a connection
                continue
            facts |= dict(zip(("source_port", "port"), struct.unpack("!HH", packet[header:header + 4])))
            log.write("packet", protocol="tcp", **facts)
        elif protocol == socket.IPPROTO_UDP and len(packet) >= header + 8:
            facts |= dict(zip(("source_port", "port"), struct.unpack("!HH", packet[header:header + 4])))
            log.write("packet", protocol="udp", bytes=len(packet) - header - 8, **facts)
        elif protocol == socket.IPPROTO_ICMP and len(packet) > header:
            if packet[header] == 8:  # echo request; errors and replies answer something of ours
                log.write("packet", protocol="icmp", **facts)
        else:
            log.write("packet", protocol=protocol, **facts)


def read_name(message, offset):
    """Takes a DNS message and the offset of a name without compression; gives (name, next offset)."""
    labels = []
    while message[offset]:
        length = message[offset]
        if length > 63:
            raise ValueError("compressed or malformed name")
        labels.append(message[offset + 1:offset + 1 + length].decode("ascii", "backslashreplace"))
        offset += 1 + length
    return ".".join(labels), offset + 1


def answer_dns(message, address):
    """Takes a question; gives (response, name, type). Names of one label do not exist, others are here."""
    name, offset = read_name(message, 12)
    kind = struct.unpack("!H", message[offset:offset + 2])[0]
    question = message[12:offset + 4]
    known = "." in name and not name.lower().endswith((".local", ".internal", ".arpa"))
    records = b""
    if known and kind == A:
        records = struct.pack("!HHHIH", 0xC00C, A, 1, ANSWER_LIFETIME_SECONDS, 4) + socket.inet_aton(address)
    recursion_desired = struct.unpack("!H", message[2:4])[0] & 0x0100
    flags = 0x8080 | recursion_desired | (0 if known else 3)
    return message[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records, name, kind


class DnsDatagram(socketserver.BaseRequestHandler):
    def handle(self):
        message, server = self.request
        try:
            response, name, kind = answer_dns(message, self.server.address)
        except (IndexError, ValueError, struct.error):
            return
        self.server.log.write("dns", source=self.client_address[0], name=name, type=kind)
        server.sendto(response, self.client_address)


class DnsStream(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        try:
            length = struct.unpack("!H", self.rfile.read(2))[0]
            response, name, kind = answer_dns(self.rfile.read(length), self.server.address)
        except (IndexError, ValueError, struct.error, OSError):
            return
        self.server.log.write("dns", source=self.client_address[0], name=name, type=kind)
        self.wfile.write(struct.pack("!H", len(response)) + response)


class AnyDatagram(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(b"outside\n", self.client_address)


class AnyStream(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        try:
            first = self.rfile.readline(4096)
            words = first.split()
            if len(words) < 3 or not words[2].startswith(b"HTTP/"):
                return
            host = ""
            while (line := self.rfile.readline(4096)) not in (b"", b"\r\n", b"\n"):
                if line.lower().startswith(b"host:"):
                    host = line[5:].strip().decode("latin-1")
            # The path may carry what leaked: its length says enough.
            self.server.log.write("http", source=self.client_address[0], destination=self.destination(), host=host,
                                  method=words[0].decode("latin-1"), path_bytes=len(words[1]))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\noutside\n")
        except OSError:
            return

    def destination(self):
        """Gives the address that the client meant, before the redirection."""
        raw = self.connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntoa(raw[4:8])


class Stream(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class Datagram(socketserver.ThreadingUDPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--own", action="append", default=[], help="an address of this namespace, repeatable")
    options = parser.parse_args()
    log = Log(options.log)
    for family, port, handler in ((Stream, DNS, DnsStream), (Datagram, DNS, DnsDatagram),
                                  (Stream, ANY_TCP, AnyStream), (Datagram, ANY_UDP, AnyDatagram)):
        server = family(("0.0.0.0", port), handler)
        server.log, server.address = log, options.address
        threading.Thread(target=server.serve_forever, daemon=True).start()
    watch_wire(log, {options.address, *options.own})


if __name__ == "__main__":
    main()
