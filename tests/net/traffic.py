#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Traffic for tests of the switch.

serve ADDRESS            answers UDP datagrams and takes TCP streams at port 7007, until killed
tcp ADDRESS BYTES        sends so many bytes to a server and has their sum compared
udp ADDRESS SECONDS      a datagram every 5 ms; prints "sent N lost N longest_gap_ms N"
alive ADDRESS SECONDS    0 as soon as a datagram is answered, 1 if none is in time
"""
import hashlib
import os
import socket
import sys
import threading
import time

PORT = 7007


def take_streams(address):
    server = socket.create_server((address, PORT))
    while True:
        stream, _ = server.accept()
        digest = hashlib.sha256()
        left = int.from_bytes(stream.recv(8, socket.MSG_WAITALL), "big")
        while left > 0:
            data = stream.recv(min(left, 1 << 16))
            if not data:
                break
            digest.update(data)
            left -= len(data)
        stream.sendall(digest.digest())
        stream.close()


def serve(address):
    threading.Thread(target=take_streams, args=(address,), daemon=True).start()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, PORT))
    while True:
        data, sender = datagrams.recvfrom(2048)
        datagrams.sendto(data, sender)


def tcp(address, length):
    stream = socket.create_connection((address, PORT), timeout=30)
    data = os.urandom(1 << 16) * (length // (1 << 16) + 1)
    data = data[:length]
    stream.sendall(length.to_bytes(8, "big") + data)
    got = stream.recv(32, socket.MSG_WAITALL)
    return 0 if got == hashlib.sha256(data).digest() else 1


def udp(address, seconds):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sent, answered, gap = 0, set(), 0.0
    end = time.monotonic() + seconds
    last = time.monotonic()
    while time.monotonic() < end + 0.3:
        now = time.monotonic()
        if now < end:
            try:
                sock.sendto(sent.to_bytes(4, "big"), (address, PORT))
                sent += 1
            except OSError:
                pass
        time.sleep(0.005)
        try:
            while True:
                answered.add(sock.recv(2048))
                gap = max(gap, time.monotonic() - last)
                last = time.monotonic()
        except OSError:
            pass
    print(f"sent {sent} lost {sent - len(answered)} longest_gap_ms {int(gap * 1000)}")
    return 0


def alive(address, seconds):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            sock.sendto(b"alive", (address, PORT))
            sock.recv(2048)
            return 0
        except OSError:
            time.sleep(0.02)
    return 1


def main(words):
    if words[0] == "serve":
        return serve(words[1])
    if words[0] == "tcp":
        return tcp(words[1], int(words[2]))
    if words[0] == "udp":
        return udp(words[1], float(words[2]))
    return alive(words[1], float(words[2]))


sys.exit(main(sys.argv[1:]))
