# SPDX-License-Identifier: MIT
"""
odd.py TABIQUE PLUG: malformed, odd and forged frames, made by scapy, from a guest whose port has all guards,
and from the host at its port. For each the switch says why it did not pass, or it passes whole; what does pass
claims nothing that the guards forbid, as scapy reads it; the neighbours go on talking, and no process dies.
"""
import random
import socket
import sys
import time

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6,
                                IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, PadN)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Dot3, Ether, LLC, SNAP
from scapy.packet import Raw

import wires

X, V, W = (f'02:bb:00:00:00:0{n}' for n in range(3))  # as Switch gives them
OTHER, ALL = '02:00:00:00:00:99', 'ff:ff:ff:ff:ff:ff'
OURS, FOREIGN = '10.0.0.1', '10.0.0.7'
LINK_LOCAL = 'fe80::bb:ff:fe00:0'  # made of X
MUTANTS, SEED = 2000, 4


def to(*layers, source=X, dest=V, size=60):
    made = Ether(src=source, dst=dest)
    for layer in layers:
        made = made / layer
    raw = bytes(made)
    return raw + bytes(max(0, size - len(raw)))


def arp(op=1, mac=X, ip=OURS, dst=FOREIGN, **fields):
    return ARP(op=op, hwsrc=mac, psrc=ip, hwdst=V, pdst=dst, **fields)


def six(*layers, source=LINK_LOCAL, dest='ff02::1', hlim=255):
    made = IPv6(src=source, dst=dest, hlim=hlim)
    for layer in layers:
        made = made / layer
    return made


def router():
    return ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix='2001:db8::')


def dhcp_offer():
    return (IP(src=FOREIGN, dst='255.255.255.255') / UDP(sport=67, dport=68) / BOOTP(op=2) /
            DHCP(options=[('message-type', 'offer'), 'end']))


def padded(options):
    """A destination options header of so many bytes of nothing."""
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(options - 4))])


def patched(frame, at, value):
    return frame[:at] + value + frame[at + len(value):]


def udp(**fields):
    return IP(src=OURS, dst='10.0.0.2') / UDP(sport=7, dport=9, **fields) / Raw(b'said')


# (what, frame, why it is dropped); None: it passes as it is; bytes: it passes as that
FRAMES = [
    ('a good one', to(udp()), None),
    ('from another address', to(udp(), source=OTHER), 'mac-spoof'),
    ('a byte too long', to(udp(), size=1515), 'long'),
    ('a jumbo', to(udp(), size=9014), 'long'),
    ('a giant', to(udp(), size=40000), 'long'),
    ('an Ethernet header and no more', to(udp())[:14], 'hidden'),
    ('15 bytes', to(udp())[:15], 'hidden'),
    ('half an IP header', to(udp())[:25], 'hidden'),
    ('half a UDP header', to(udp())[:38], 'hidden'),
    ('an IP header that says version 7', patched(to(udp()), 14, b'\x75'), 'hidden'),
    ('an IP header of 4 bytes', patched(to(udp()), 14, b'\x41'), 'hidden'),
    ('an IP header of 60 bytes in a frame of 60', patched(to(udp()), 14, b'\x4f'), 'hidden'),
    ('an IP length beyond the frame', patched(to(udp()), 16, b'\xff\xff'), None),
    ('a UDP length of 0', to(IP(src=OURS) / UDP(len=0)), None),
    ('a UDP length beyond the datagram', to(IP(src=OURS) / UDP(len=60000)), None),
    ('a TCP header of 0 bytes', to(IP(src=OURS) / TCP(dataofs=0)), None),
    ('all flags of TCP', to(IP(src=OURS) / TCP(flags='FSRPAUEC')), None),
    ('a wrong checksum', to(IP(src=OURS, chksum=1) / UDP(chksum=1)), None),
    ('IP options that end in the middle', to(IP(src=OURS, ihl=6) / Raw(b'\x44\x28\x05\0') / Raw(bytes(30))), None),
    ('a last fragment', to(IP(src=OURS, frag=8189, flags=0) / Raw(bytes(64))), None),
    ('a first fragment', to(IP(src=OURS, flags='MF') / UDP() / Raw(bytes(64))), None),
    ('a first fragment without its ports', to(IP(src=OURS, flags='MF', len=24, proto=17) / Raw(bytes(4))), 'hidden'),
    ('a tag', to(Dot1Q(vlan=5) / udp()), 'vlan'),
    ('a priority tag', to(Dot1Q(vlan=0, prio=7) / udp(), size=64), to(udp())),
    ('two tags', to(Dot1Q(vlan=0) / Dot1Q(vlan=6) / udp()), 'vlan'),
    ('half a tag', to(Dot1Q(vlan=0))[:16], 'vlan'),
    ('a provider\'s tag', to(Dot1AD(vlan=7) / udp()), None),
    ('a provider\'s tag of nothing', to(Dot1AD(vlan=0) / udp()), 'hidden'),
    ('its own ARP', to(arp(), dest=ALL), None),
    ('a probe', to(arp(ip='0.0.0.0'), dest=ALL), None),
    ('another\'s address', to(arp(ip=FOREIGN), dest=ALL), 'arp-guard'),
    ('another\'s address, unasked', to(arp(op=2, ip=FOREIGN, dst=FOREIGN), dest=ALL), 'arp-guard'),
    ('another\'s hardware address', to(arp(mac=OTHER), dest=ALL), 'arp-guard'),
    ('a probe that is an answer', to(arp(op=2, ip='0.0.0.0')), 'arp-guard'),
    ('ARP of other hardware', to(arp(hwtype=6), dest=ALL), 'arp-guard'),
    ('ARP with long addresses', to(arp(hwlen=8), dest=ALL), 'arp-guard'),
    ('half of ARP', to(arp())[:30], 'arp-guard'),
    ('ARP behind a priority tag', to(Dot1Q(vlan=0) / arp(ip=FOREIGN), dest=ALL), 'arp-guard'),
    ('ARP behind LLC', bytes(Dot3(src=X, dst=V) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(code=0x806) /
                             arp(ip=FOREIGN)) + bytes(10), 'hidden'),
    ('LLC of something else', bytes(Dot3(src=X, dst=V) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(bytes(43))), None),
    ('an offer', to(dhcp_offer(), dest=ALL), 'dhcp-guard'),
    ('an offer in IPv6', to(six(UDP(sport=547, dport=546) / DHCP6_Advertise())), 'dhcp-guard'),
    ('an offer behind a header', to(six(padded(16), UDP(sport=547, dport=546), DHCP6_Advertise())), 'dhcp-guard'),
    ('a client', to(IP(src='0.0.0.0', dst='255.255.255.255') / UDP(sport=68, dport=67) / BOOTP() /
                    DHCP(options=[('message-type', 'discover'), 'end']), dest=ALL), None),
    ('a router', to(six(router())), 'router-guard'),
    ('a router behind headers', to(six(IPv6ExtHdrHopByHop(), padded(24), IPv6ExtHdrRouting(), router())), 'router-guard'),
    ('a router too far behind', to(six(padded(248), router())), 'hidden'),
    ('a router in a fragment', to(six(IPv6ExtHdrFragment(m=1), router())), 'hidden'),
    ('a router in an atom', to(six(IPv6ExtHdrFragment(), router())), 'router-guard'),
    ('a chain that a fragment breaks', to(six(IPv6ExtHdrFragment(m=1, nh=60), Raw(b'\x3a\x03' + bytes(6)))), 'hidden'),
    ('a later fragment', to(six(IPv6ExtHdrFragment(offset=9, nh=58), Raw(bytes(64)))), None),
    ('a redirect', to(six(ICMPv6ND_Redirect())), 'router-guard'),
    ('a redirect of the old', to(IP(src=OURS) / ICMP(type=5)), 'router-guard'),
    ('a router of the old', to(IP(src=OURS) / ICMP(type=9)), 'router-guard'),
    ('an address of its own', to(six(ICMPv6ND_NA(tgt=LINK_LOCAL) / ICMPv6NDOptDstLLAddr(lladdr=X))), None),
    ('another\'s address in IPv6', to(six(ICMPv6ND_NA(tgt='fe80::7') / ICMPv6NDOptDstLLAddr(lladdr=X))), 'arp-guard'),
    ('another\'s hardware in IPv6', to(six(ICMPv6ND_NA(tgt=LINK_LOCAL) / ICMPv6NDOptDstLLAddr(lladdr=OTHER))), 'arp-guard'),
    ('a question by another', to(six(ICMPv6ND_NS(tgt='fe80::9'), source='fe80::7')), 'arp-guard'),
    ('a probe for another\'s', to(six(ICMPv6ND_NS(tgt='fe80::7'), source='::')), 'arp-guard'),
    ('an option of no length', to(six(ICMPv6ND_NA(tgt=LINK_LOCAL) / ICMPv6NDOptSrcLLAddr(len=0, lladdr=X))), 'arp-guard'),
    ('an echo', to(six(ICMPv6EchoRequest(), hlim=64)), None),
    ('IPv6 without a body', to(IPv6(src=LINK_LOCAL, dst='ff02::1', nh=59)), None),
    ('a header length beyond the frame', to(IPv6(src=LINK_LOCAL, dst='ff02::1', nh=60) /
                                            Raw(b'\x3a\xff' + bytes(60))), 'hidden'),
    ('the same header again and again', to(six(*[IPv6ExtHdrDestOpt() for _ in range(20)], router())), 'hidden'),
    ('an unknown type', to(Raw(bytes(46)), size=60), None),
]


def rndis(frame, data_offset=36, data_bytes=None, message_bytes=None, ppi=b'', kind=1):
    """One RNDIS data message: by default a right one."""
    head = [kind, 44 + len(ppi) + len(frame) if message_bytes is None else message_bytes,
            data_offset + len(ppi), len(frame) if data_bytes is None else data_bytes, 0, 0, 0,
            36 if ppi else 0, len(ppi), 0, 0]
    return b''.join(n.to_bytes(4, 'little') for n in head) + ppi + frame


def ppi(kind, value, size=16, at=12):
    return b''.join(n.to_bytes(4, 'little') for n in (size, kind, at, value))


def messages():
    """(what, message): none of them is a frame that anybody may get."""
    good, large = to(udp()), to(IP(src=OURS) / TCP(), size=1000)
    return [
        ('more data than message', rndis(good, data_bytes=1500)),
        ('data before its message', rndis(good, data_offset=2 ** 32 - 8)),
        ('data of 4 GB', rndis(good, data_bytes=2 ** 32 - 1)),
        ('a message of 4 GB', rndis(good, message_bytes=2 ** 32 - 1)),
        ('a message of 8 bytes', rndis(good, message_bytes=8)),
        ('a message of nothing', rndis(good, message_bytes=0)),
        ('no data', rndis(b'')),
        ('13 bytes', rndis(good[:13])),
        ('what is no data message', rndis(good, kind=77)),
        ('a runaway of extra information', rndis(good, ppi=ppi(0, 0, size=4096))),
        ('extra information of no size', rndis(good, ppi=ppi(0, 0, size=0))),
        ('extra information that begins behind itself', rndis(good, ppi=ppi(6, 1, at=64))),
        ('a large send of no segments', rndis(large, ppi=ppi(2, 34 << 20 | 1 << 31))),
        ('a large send of one byte each', rndis(large, ppi=ppi(2, 1 | 34 << 20 | 1 << 31))),
        ('a large send of UDP', rndis(to(udp(), size=1000), ppi=ppi(2, 500 | 34 << 20 | 1 << 31))),
        ('a checksum where there is none', rndis(to(Raw(bytes(46))), ppi=ppi(0, 1 | 4 | 14 << 16))),
        ('a VLAN beside it', rndis(good, ppi=ppi(6, 77 << 4))),
    ]


class Odd(wires.Report):
    def __init__(self, switch):
        super().__init__()
        self.switch, self.before, self.pid = switch, switch.drops('x'), data_pid(switch)

    def why(self):
        """What x's frames were dropped for since the last time."""
        now = self.switch.drops('x')
        new = {cause: n - self.before.get(cause, 0) for cause, n in now.items() if n != self.before.get(cause, 0)}
        self.before = now
        return new

    def one(self, what, frame, wanted):
        self.switch.take()
        self.switch.send('x', frame)
        arrived = self.switch.take()['v']
        if isinstance(wanted, str):
            self.check(f'{what}: who gets it', [], arrived)
            self.check(f'{what}: why not', {wanted: 1}, self.why())
        else:
            self.check(f'{what}: what arrives', [(wanted or frame).hex()], [got.hex() for got in arrived])
            self.check(f'{what}: why not', {}, self.why())

    def neighbours(self, when):
        """They talk, and by the same process."""
        self.switch.take()
        for n, (source, mac, dest) in enumerate((('w', W, V), ('v', V, W)) * 4):
            frame = to(udp(), source=mac, dest=dest, size=60 + 180 * n)
            self.switch.send(source, frame)
            arrived = self.switch.take()
            self.check(f'{when}: {source} is heard', [frame], arrived['v' if source == 'w' else 'w'])
            self.check(f'{when}: by who it is for', [], arrived['x'])
        self.check(f'{when}: the process', self.pid, data_pid(self.switch))


def data_pid(switch):
    shown = switch.verb('show', '--json').stdout
    return next(line for line in shown.split('\n') if '"pid"' in line)


def tables(odd):
    for what, frame, wanted in FRAMES:
        odd.one(what, frame, wanted)
    odd.neighbours('after odd frames')
    for what, message in messages():
        odd.switch.take()
        odd.switch.ports['x'].send_message(message)
        odd.switch.ports['x'].ask(b'S')
        odd.check(f'{what}: who gets it', [], odd.switch.take()['v'])
    odd.why()
    odd.neighbours('after lies')


def claims(raw):
    """What x must not say, as scapy reads the frame; None: nothing."""
    frame = Ether(raw)
    if ARP in frame and (frame[ARP].psrc not in (OURS, '0.0.0.0') or frame[ARP].hwsrc != X):
        return 'another\'s address'
    if ICMPv6ND_RA in frame or ICMPv6ND_Redirect in frame:
        return 'a router'
    if UDP in frame and IP in frame and frame[IP].frag == 0 and frame[UDP].sport == 67:
        return 'a server'
    if ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].tgt != LINK_LOCAL:
        return 'another\'s address'
    return None


def mutant(chance):
    """One of the forged frames, with some bytes changed, cut off or put in behind the addresses."""
    raw = bytearray(chance.choice([frame for _, frame, _ in FRAMES if 60 <= len(frame) <= 400]))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(12, len(raw))
        what = chance.randrange(3)
        if what == 0:
            raw[at] = chance.choice((0, 1, 2, 3, 0x3a, 0x3c, 0x81, 0x86, 0xdd, 0xff, chance.randrange(256)))
        elif what == 1:
            del raw[at:at + chance.choice((1, 2, 4, 8))]
        else:
            raw[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8)))
    raw[0:6] = bytes.fromhex(V.replace(':', ''))
    return bytes(raw)


def mutants(odd):
    """Each is dropped for one reason that is counted, or arrives; what arrives claims nothing."""
    chance, port, sent, forged = random.Random(SEED), odd.switch.ports['x'], 0, 0
    odd.why()
    for n in range(MUTANTS):
        frame = mutant(chance)
        if len(frame) < 14:
            continue
        port.send(frame)
        sent += 1
        forged += claims(frame) is not None
        if n % 50 == 49:
            port.ask(b'S')
            passed = odd.switch.take()['v']
            odd.check('claims that passed', [], [got.hex() for got in passed if claims(got)])
            sent -= len(passed)
    port.ask(b'S')
    passed = odd.switch.take()['v']
    dropped = odd.why()
    print(f'{forged} of {MUTANTS} mutants claim what is forbidden; dropped: {dropped}')
    odd.check('mutants that nobody has counted', sum(dropped.values()), sent - len(passed))
    odd.check('enough of them are forged', True, forged > MUTANTS // 10)
    odd.neighbours('after mutants')


def from_host(odd):
    """The host's own port has no guards: all that its TAP takes reaches who it is for, and hurts nobody."""
    chance, arrived = random.Random(SEED), []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as host:
        host.bind(('odd0', 0))
        for n in range(MUTANTS // 3):
            frame = mutant(chance)
            if 14 <= len(frame) <= 1514:
                host.send(frame)
            if n % 20 == 19:
                time.sleep(0.002)
                arrived += odd.switch.take()['v']
    odd.check('frames from the host that arrive', True, len(arrived) > MUTANTS // 6)
    odd.neighbours('after the host')


def main(tabique, plug):
    for which in ('all', 'default'):
        wires.sysctl(f'ipv6/conf/{which}/disable_ipv6', 1)
    switch = wires.Switch(tabique, plug, ('x', 'v', 'w'), 1500, 'kind=internal', 'host-port=odd0')
    try:
        switch.verb('port', 'set', 'port=x', 'mac-spoofing=off', 'dhcp-guard=on', 'router-guard=on',
                    f'arp-guard={OURS}')
        odd = Odd(switch)
        for phase in (tables, mutants, from_host):
            began = time.monotonic()
            phase(odd)
            print(f'{phase.__name__}: {time.monotonic() - began:.1f} s', flush=True)
    finally:
        switch.end()
    return odd.end()


sys.exit(main(*sys.argv[1:]))
