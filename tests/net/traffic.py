#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Traffic for tests of the switch.

serve ADDRESS            answers UDP datagrams and takes TCP streams at port 7007, until killed
tcp ADDRESS BYTES        sends so many bytes to a server and has their sum compared
udp ADDRESS SECONDS      a datagram every 5 ms; prints "sent N lost N longest_gap_ms N"
alive ADDRESS SECONDS [PORT]   0 as soon as a datagram is answered, 1 if none is in time
echo ADDRESS PORT        answers UDP datagrams there, until killed
stream ADDRESS SECONDS   as tcp, so slowly that it takes so long
starve INTERFACE COUNT   asks for leases from so many invented hardware addresses
arp DEV VLAN OWN ADDRESS SECONDS   0 as soon as an ARP request in the VLAN is answered there
plain INTERFACE          has it send no segments beyond its MTU, and no frame without its checksum
"""
import array
import fcntl
import hashlib
import os
import socket
import struct
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
    return echo(address, PORT)


def echo(address, port):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, port))
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


def alive(address, seconds, port=PORT):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            sock.sendto(b"alive", (address, port))
            sock.recv(2048)
            return 0
        except OSError:
            time.sleep(0.02)
    return 1


def stream(address, seconds):
    slow = socket.create_connection((address, PORT), timeout=30)
    pieces = int(seconds * 20)
    data = os.urandom(1000 * pieces)
    slow.sendall(len(data).to_bytes(8, "big"))
    for i in range(pieces):
        slow.sendall(data[i * 1000:(i + 1) * 1000])
        time.sleep(0.05)
    got = slow.recv(32, socket.MSG_WAITALL)
    return 0 if got == hashlib.sha256(data).digest() else 1


def plain(interface):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for command in (0x1f, 0x24, 0x17):  # ETHTOOL_STSO, _SGSO, _STXCSUM: off
        value = array.array("B", struct.pack("II", command, 0))
        fcntl.ioctl(sock, 0x8946, struct.pack("16sP16x", interface.encode(), value.buffer_info()[0]))
    return 0


def dhcp(mac, kind, options):
    bootp = struct.pack(">BBBBIHH16x", 1, 1, 6, 0, 0x1234, 0, 0x8000) + mac + bytes(10 + 64 + 128)
    bootp += bytes([0x63, 0x82, 0x53, 0x63, 53, 1, kind]) + options + b"\xff"
    udp_bytes = struct.pack(">HHHH", 68, 67, 8 + len(bootp), 0) + bootp
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp_bytes), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
    return b"\xff" * 6 + mac + b"\x08\x00" + ip + udp_bytes


def starve(interface, count):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    sock.bind((interface, 0))
    sock.settimeout(0.1)
    for i in range(count):
        mac = bytes([2, 0x77, 0, 0, 0, i])
        sock.send(dhcp(mac, 1, b""))
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            try:
                frame = sock.recv(2048)
            except OSError:
                continue
            if len(frame) > 300 and frame[34:38] == b"\x00\x43\x00\x44" and frame[70:76] == mac:
                sock.send(dhcp(mac, 3, bytes([50, 4]) + frame[58:62]))
                break
    return 0


ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10


def frames(sock, end):
    """Frames until then, each with its VLAN (0: none), which the kernel has taken out of it."""
    sock.settimeout(0.1)
    while time.monotonic() < end:
        try:
            data, extra, _, _ = sock.recvmsg(2048, 256)
        except OSError:
            yield None, 0
            continue
        vlan = 0
        for level, kind, value in extra:
            if level == SOL_PACKET and kind == PACKET_AUXDATA and len(value) >= 20:
                status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", value[:20])
                vlan = tci & 0xFFF if status & VLAN_VALID else 0
        yield data, vlan


def raw(dev):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.bind((dev, 0))
    return sock


def arp(dev, vlan, own, target, seconds):
    sock = raw(dev)
    mac = sock.getsockname()[4]
    request = b"\xff" * 6 + mac + (struct.pack("!HH", 0x8100, vlan) if vlan else b"")
    request += struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
    request += mac + socket.inet_aton(own) + bytes(6) + socket.inet_aton(target) + bytes(18)
    sent = 0.0
    for data, got in frames(sock, time.monotonic() + seconds):
        if time.monotonic() > sent + 0.2:
            sock.send(request)
            sent = time.monotonic()
        if (data and got == vlan and data[12:14] == b"\x08\x06" and data[20:22] == b"\0\2"
                and data[28:32] == socket.inet_aton(target)):
            return 0
    return 1


def main(words):
    if words[0] == "arp":
        return arp(words[1], int(words[2]), words[3], words[4], float(words[5]))
    if words[0] == "serve":
        return serve(words[1])
    if words[0] == "tcp":
        return tcp(words[1], int(words[2]))
    if words[0] == "udp":
        return udp(words[1], float(words[2]))
    if words[0] == "plain":
        return plain(words[1])
    if words[0] == "echo":
        return echo(words[1], int(words[2]))
    if words[0] == "stream":
        return stream(words[1], float(words[2]))
    if words[0] == "starve":
        return starve(words[1], int(words[2]))
    return alive(words[1], float(words[2]), int(words[3]) if len(words) > 3 else PORT)


sys.exit(main(sys.argv[1:]))
