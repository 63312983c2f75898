# SPDX-License-Identifier: MIT
"""
replay.py TABIQUE PLUG: a capture, made here by scapy, that tcpreplay plays into the host's port of our switch
and into a port of a Linux bridge. At each guest, and at each of the bridge's ports, the same frames come out
in the same order as they stand in the capture.
"""
import random
import shutil
import sys
import tempfile
import time

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

import wires

FRAMES, PER_SECOND, SEED = 1500, 3000, 5
PORTS = ('v', 'w')
STATION = {'v': '02:00:00:00:00:01', 'w': '02:00:00:00:00:02'}
SOURCES = [f'02:00:00:00:01:{n:02x}' for n in range(40)]


def made(chance):
    """A few frames of some conversation: one, or a datagram's fragments."""
    dest = chance.choice([*STATION.values(), 'ff:ff:ff:ff:ff:ff', '02:00:00:00:09:09'])
    ether = Ether(src=chance.choice(SOURCES), dst=dest)
    four = IP(src=f'10.1.0.{chance.randrange(1, 250)}', dst='10.2.0.1', ttl=chance.randrange(1, 255))
    said = Raw(chance.randbytes(chance.randrange(18, 1400)))
    kind = chance.randrange(7)
    if kind == 0:
        return [ether / ARP(psrc=four.src, pdst=four.dst) / Raw(bytes(18))]
    if kind == 1:
        return [ether / IPv6(src='2001:db8::1', dst='2001:db8::2') / UDP() / said]
    if kind == 2:
        return [ether / IPv6(src='fe80::1', dst='fe80::2') / IPv6ExtHdrHopByHop() / ICMPv6EchoRequest() / said]
    if kind == 3:
        return [ether / part for part in fragment(four / ICMP() / Raw(chance.randbytes(4000)), 1400)]
    if kind == 4:
        return [ether / four / UDP(sport=chance.randrange(1, 65536), dport=53) / said]
    return [ether / four / TCP(dport=80, flags=chance.choice(('S', 'SA', 'A', 'PA', 'FA', 'R')),
                               seq=chance.randrange(2 ** 32)) / said]


def capture(path):
    """The capture's frames; whom each is for is what is looked at later."""
    chance, frames = random.Random(SEED), []
    while len(frames) < FRAMES:
        frames += [bytes(frame) for frame in made(chance)]
    wrpcap(path, [Ether(frame) for frame in frames])
    return frames


def wanted(frames, port):
    others = [bytes.fromhex(mac.replace(':', '')) for name, mac in STATION.items() if name != port]
    return [frame for frame in frames if frame[:6] not in others]


def play(wire, device, path, frames):
    """What comes out at each port, until nothing is missing or nothing more comes."""
    for port, mac in STATION.items():
        wire.send(port, b'\xff' * 6 + bytes.fromhex(mac.replace(':', '')) + b'\x88\xb5' + bytes(46))
    wire.take()
    wires.run('tcpreplay', '-q', f'--pps={PER_SECOND}', '-i', device, path)
    taken, quiet = {port: [] for port in PORTS}, 0
    while quiet < 20 and any(len(taken[port]) < len(wanted(frames, port)) for port in PORTS):
        quiet += 1
        for port, arrived in wire.take().items():
            if arrived:
                taken[port] += arrived
                quiet = 0
        time.sleep(0.05)
    return taken


def main(tabique, plug):
    if not shutil.which('tcpreplay'):
        print('needs tcpreplay (tools/setup test)')
        return 77
    for which in ('all', 'default'):
        wires.sysctl(f'ipv6/conf/{which}/disable_ipv6', 1)
    report, directory = wires.Report(), tempfile.mkdtemp(prefix='tabique-replay-')
    frames = capture(f'{directory}/capture')
    switch = wires.Switch(tabique, plug, PORTS, 1500, 'kind=internal', 'host-port=replay0')
    bridge = wires.Bridge(PORTS)
    try:
        wires.run('ip', 'link', 'set', 'replay0', 'txqueuelen', '5000', 'up')
        wires.run('ip', 'link', 'add', 'replay1', 'type', 'veth', 'peer', 'name', 'replay2')
        wires.run('ip', 'link', 'set', 'replay1', 'up')
        wires.run('ip', 'link', 'set', 'replay2', 'master', 'br0', 'up')
        for name, wire, device in (('ours', switch, 'replay0'), ('the bridge', bridge, 'replay1')):
            taken = play(wire, device, f'{directory}/capture', frames)
            for port in PORTS:
                report.check(f'{name}: frames at {port}', len(wanted(frames, port)), len(taken[port]))
                report.check(f'{name}: all are the capture\'s, in its order', True, wanted(frames, port) == taken[port])
        report.check('what is dropped at the host\'s port', {}, switch.drops('host'))
    finally:
        switch.end()
        bridge.end()
        shutil.rmtree(directory)
    return report.end()


sys.exit(main(*sys.argv[1:]))
