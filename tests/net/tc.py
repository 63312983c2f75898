# SPDX-License-Identifier: MIT
"""
tc.py TABIQUE PLUG: what `tc` does to the host's port of our switch, a TAP device, happens as at any other
device: a rate is kept, loss, delay and doubles come to pass, filters drop, send elsewhere and copy. What this
kernel has no module for is left out, and said.
"""
import json
import socket
import sys
import time

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import wires

DEVICE, HOST_IP, GUEST_IP, GUEST = 'tc0', '10.9.0.1', '10.9.0.2', '02:bb:00:00:00:00'
RATE, BURST = 1_000_000, 10_000  # bits a second, bytes


def tc(*words, check=True):
    return wires.run('tc', *words, check=check).returncode == 0


class Host:
    """The host's side of its port: its own stack, and the mirror's device."""

    def __init__(self, switch):
        self.switch = switch
        wires.run('ip', 'link', 'add', 'mon0', 'type', 'veth', 'peer', 'name', 'mon1')
        for device in ('mon0', 'mon1', DEVICE):
            wires.run('ip', 'link', 'set', device, 'up')
        wires.run('ip', 'addr', 'add', f'{HOST_IP}/24', 'dev', DEVICE)
        wires.run('ip', 'neigh', 'replace', GUEST_IP, 'lladdr', GUEST, 'dev', DEVICE)
        self.mac = json.loads(wires.run('ip', '-j', 'link', 'show', DEVICE).stdout)[0]['address']
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.copies = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.copies.bind(('mon1', 0))
        self.ports = {}
        for port in (9, 10):
            self.ports[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.ports[port].bind((HOST_IP, port))

    def send(self, count, size=100):
        for n in range(count):
            self.out.sendto(n.to_bytes(4, 'big') + bytes(size - 4), (GUEST_IP, 7))

    def from_guest(self, port):
        """A datagram from the guest; the bytes of its frame."""
        frame = bytes(Ether(src=GUEST, dst=self.mac) / IP(src=GUEST_IP, dst=HOST_IP) /
                      UDP(sport=7, dport=port) / Raw(b'from the guest, to port %d' % port))
        self.switch.send('v', frame)
        return frame


def heard(sock, seconds=10.0):
    """The next thing that a socket gets; None: nothing."""
    sock.settimeout(seconds)
    try:
        return sock.recv(wires.ROOM)
    except OSError:
        return None


def arrive(switch, count, seconds):
    """Datagrams of the host's at the guest, until there are so many: [(when, number)]."""
    taken, end = [], time.monotonic() + seconds
    while len(taken) < count and time.monotonic() < end:
        for frame in switch.take()['v']:
            if frame[12:14] == b'\x08\0' and frame[23] == 17:
                taken.append((time.monotonic(), int.from_bytes(frame[42:46], 'big')))
    return taken


def numbers(taken):
    return [number for _, number in taken]


class Judge(wires.Report):
    def __init__(self, switch, host):
        super().__init__()
        self.switch, self.host, self.missing = switch, host, []

    def has(self, what, *words):
        """Sets it up; False when the kernel has no such thing."""
        if tc(*words, check=False):
            return True
        self.missing.append(what)
        return False

    def plain(self, when):
        self.switch.take()
        self.host.send(10)
        self.check(f'{when}: all arrive', list(range(10)), numbers(arrive(self.switch, 10, 10)))


def rate(j):
    if not j.has('tbf', 'qdisc', 'add', 'dev', DEVICE, 'root', 'tbf', 'rate', f'{RATE}bit', 'burst',
                 f'{BURST}', 'latency', '5s'):
        return
    count, size = 80, 1000
    began = time.monotonic()
    j.host.send(count, size)
    taken = arrive(j.switch, count, 20)
    tc('qdisc', 'del', 'dev', DEVICE, 'root')
    bits = 8 * ((size + 42) * count - BURST)
    j.check('tbf: all arrive, in order', list(range(count)), numbers(taken))
    j.check('tbf: no faster than its rate', True, taken[-1][0] - began > 0.95 * bits / RATE)
    j.check('tbf: and not half as fast', True, taken[-1][0] - began < 2 * bits / RATE + 5)
    j.plain('after tbf')


def netem(j):
    if not j.has('netem', 'qdisc', 'add', 'dev', DEVICE, 'root', 'netem', 'loss', '100%'):
        return
    j.host.send(20)
    j.check('netem loss 100%', [], numbers(arrive(j.switch, 1, 0.5)))
    tc('qdisc', 'replace', 'dev', DEVICE, 'root', 'netem', 'duplicate', '100%')
    j.host.send(20)
    j.check('netem duplicate 100%', [n // 2 for n in range(40)], sorted(numbers(arrive(j.switch, 40, 10))))
    tc('qdisc', 'replace', 'dev', DEVICE, 'root', 'netem', 'delay', '300ms')
    began = time.monotonic()
    j.host.send(20)
    taken = arrive(j.switch, 20, 10)
    j.check('netem delay: all arrive', list(range(20)), numbers(taken))
    j.check('netem delay: later', True, bool(taken) and taken[0][0] - began >= 0.3)
    tc('qdisc', 'del', 'dev', DEVICE, 'root')
    j.plain('after netem')


def mirrors(j):
    """Copies of what comes from the guest, and of what goes to it."""
    tc('qdisc', 'add', 'dev', DEVICE, 'clsact')
    everything = ('u32', 'match', 'u32', '0', '0')
    for where in ('ingress', 'egress'):
        if not j.has(f'mirred at {where}', 'filter', 'add', 'dev', DEVICE, where, 'protocol', 'ip', *everything,
                     'action', 'mirred', 'egress', 'mirror', 'dev', 'mon0'):
            return
    heard(j.host.copies, 0.01)
    frame = j.host.from_guest(9)
    j.check('mirred: a copy of what the guest sent', frame, heard(j.host.copies))
    j.check('mirred: and it has arrived', b'from the guest, to port 9', heard(j.host.ports[9]))
    j.host.send(1)
    # Its checksum is still to be made, and is on the way to the guest.
    copy = heard(j.host.copies) or b''
    got, end = [], time.monotonic() + 10
    while not got and time.monotonic() < end:
        got = [frame for frame in j.switch.take()['v'] if frame[12:14] == b'\x08\0']
    j.check('mirred: what the guest got, and its copy', [(copy[:40] + copy[42:]).hex()],
            [(frame[:40] + frame[42:]).hex() for frame in got])
    tc('qdisc', 'del', 'dev', DEVICE, 'clsact')


def drops(j):
    """What a filter takes away is gone, by either classifier; the rest passes."""
    # gact (drop) is a module of its own; who has none sends it nowhere.
    for name, match in (('u32', ('u32', 'match', 'ip', 'dport', '9', '0xffff')),
                        ('flower', ('flower', 'ip_proto', 'udp', 'dst_port', '9'))):
        tc('qdisc', 'add', 'dev', DEVICE, 'clsact')
        if j.has(f'{name} that drops', 'filter', 'add', 'dev', DEVICE, 'ingress', 'protocol', 'ip', *match, 'action', 'drop') or \
                j.has(f'{name} that redirects', 'filter', 'add', 'dev', DEVICE, 'ingress', 'protocol', 'ip', *match,
                      'action', 'mirred', 'egress', 'redirect', 'dev', 'mon0'):
            for port in (9, 10, 9, 10):
                j.host.from_guest(port)
            for _ in range(2):
                j.check(f'{name}: the other port', b'from the guest, to port 10', heard(j.host.ports[10]))
            j.check(f'{name}: the port that is dropped', None, heard(j.host.ports[9], 0.2))
        tc('qdisc', 'del', 'dev', DEVICE, 'clsact')
    j.host.from_guest(9)
    j.check('without a filter', b'from the guest, to port 9', heard(j.host.ports[9]))


def main(tabique, plug):
    for which in ('all', 'default'):
        wires.sysctl(f'ipv6/conf/{which}/disable_ipv6', 1)
    switch = wires.Switch(tabique, plug, ('v', 'w'), 1500, 'kind=internal', f'host-port={DEVICE}')
    try:
        j = Judge(switch, Host(switch))
        j.plain('at first')
        for phase in (rate, netem, mirrors, drops):
            phase(j)
    finally:
        switch.end()
    if j.missing:
        print(f'not judged, this kernel lacks: {", ".join(j.missing)}')
    return j.end()


sys.exit(main(*sys.argv[1:]))
