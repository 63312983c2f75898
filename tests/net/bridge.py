# SPDX-License-Identifier: MIT
"""
bridge.py TABIQUE PLUG [PHASE...]: our switch and the Linux bridge get the same frames at ports of the same names, and
what comes out of each port must be the same, frame by frame and byte by byte: flooding, learning, moving,
VLANs of all kinds, groups, the MTU. Where the two differ by intent a check says what each of them does
(docs/switch.md, "Beside the Linux bridge").
"""
import sys
import time

from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3gr, IGMPv3mr
from scapy.layers.inet import IP, IPOption, TCP, UDP
from scapy.layers.inet6 import (ICMPv6MLQuery, ICMPv6MLReport, ICMPv6MLDone, IPv6, IPv6ExtHdrHopByHop,
                                RouterAlert)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

import wires

PORTS = ('a', 'b', 'c', 'd')
# Hosts: not the NICs' own addresses, which the switch knows from the beginning.
HOST = {name: f'02:00:00:00:00:0{n + 1}' for n, name in enumerate(PORTS)}
OTHER = '02:00:00:00:00:77'
ROUTER_ALERT = [IPOption(b'\x94\x04\0\0')]
ALL = 'ff:ff:ff:ff:ff:ff'
VLANS = {'none': (1, ()), 'access:10': (10, ()), 'access:20': (20, ()), 'trunk:10,20': (10, (20,)),
         'trunk:0,10,20': (0, (10, 20)), 'trunk:1,10,20': (1, (10, 20)),
         'trunk:1,2-4094': (1, ('2-4094',))}


class Judge(wires.Report):
    def __init__(self, switch, bridge):
        super().__init__()
        self.switch, self.bridge, self.sent = switch, bridge, 0

    def both(self, port, frame, beside=False):
        """What comes out of each, by port: (ours, the bridge's)."""
        frame = bytes(frame)
        self.bridge.take()
        self.switch.take()
        self.bridge.send(port, frame)
        self.switch.send(port, frame, beside=beside)
        return self.switch.take(), self.bridge.take()

    def same(self, what, port, frame, goes=None):
        """The same comes out everywhere; goes: at which ports, as the test's author sees it."""
        raw = bytes(frame)
        # A tag travels in the frame one time, beside it the other.
        self.sent += 1
        beside = raw[12:14] == b'\x81\x00' and self.sent % 2 == 0
        ours, theirs = self.both(port, raw, beside)
        self.check(f'{what} (left: the bridge)', show(theirs), show(ours))
        if goes is not None:
            self.check(f'{what}: where it goes', goes, where(theirs))

    def differ(self, what, port, frame, ours, theirs):
        """By intent: at which ports each of the two lets it out."""
        found = self.both(port, frame)
        self.check(f'{what}: ours', ours, where(found[0]))
        self.check(f'{what}: the bridge', theirs, where(found[1]))

    def vlan(self, **ports):
        for port, text in ports.items():
            self.switch.verb('port', 'set', f'port={port}', f'vlan={text}')
            self.bridge.vlans(port, *VLANS[text])
        self.forget()

    def pass_reserved(self, on):
        """All that the bridge can be made to pass; pause and LACP it cannot."""
        self.switch.verb('set', f'link-local={"on" if on else "off"}')
        wires.run('ip', 'link', 'set', 'br0', 'type', 'bridge', 'group_fwd_mask', '0xfff8' if on else '0')

    def forget(self):
        self.switch.verb('fdb', 'flush')
        for port in PORTS:
            wires.run('bridge', 'fdb', 'flush', 'dev', f'br-{port}', 'master', check=False)
            wires.run('ip', 'link', 'set', f'br-{port}', 'type', 'bridge_slave', 'fdb_flush')


def show(taken):
    return {port: [frame.hex() for frame in frames] for port, frames in taken.items() if frames}


def where(taken):
    return ''.join(f'{port}' * len(frames) for port, frames in taken.items())


def frame(source, to, *layers, size=60):
    """Filled up to its size: a wire has no shorter ones."""
    made = Ether(src=HOST.get(source, source), dst=HOST.get(to, to))
    for layer in layers:
        made = made / layer
    raw = bytes(made) if layers else bytes(made)[:12] + b'\x88\xb5'
    return raw + bytes((7 * i) & 0xff for i in range(max(0, size - len(raw))))


def udp(source='10.0.0.1', to='10.0.0.2'):
    return IP(src=source, dst=to) / UDP(sport=7, dport=9) / Raw(b'said')


def learning(j):
    j.same('nobody knows it yet', 'a', frame('a', 'b'), 'bcd')
    j.same('an answer', 'b', frame('b', 'a'), 'a')
    j.same('known by now', 'a', frame('a', 'b', udp()), 'b')
    j.same('to all', 'c', frame('c', ALL, ARP(psrc='10.0.0.3', pdst='10.0.0.1')), 'abd')
    j.same('to who is behind the same port', 'a', frame(OTHER, 'a'), '')
    j.same('to oneself', 'a', frame('a', 'a'), '')
    j.same('it moves', 'c', frame('a', 'b'), 'b')
    j.same('and is found where it is', 'b', frame('b', 'a'), 'c')
    j.same('it moves by a broadcast', 'd', frame('a', ALL), 'abc')
    j.same('and is found there', 'b', frame('b', 'a'), 'd')
    j.same('a large one', 'b', frame('b', 'a', udp(), size=1514), 'd')
    j.same('TCP', 'b', frame('b', 'a', IP(src='10.0.0.2', dst='10.0.0.1') / TCP(flags='S')), 'd')
    j.same('a length and LLC', 'b', bytes(Ether(src=HOST['b'], dst=HOST['a'], type=46)) + bytes(46), 'd')
    j.same('a fragment', 'b', frame('b', 'a', IP(src='10.0.0.2', dst='10.0.0.1', frag=3, proto=17)), 'd')
    j.same('ICMPv6 behind a header', 'b', frame('b', 'a', IPv6(src='fe80::2', dst='fe80::1') /
                                                IPv6ExtHdrHopByHop() / ICMPv6MLDone()))
    j.same('from all', 'a', frame(ALL, 'b'), '')
    j.same('from a group', 'a', frame('01:00:5e:00:00:01', 'b'), '')
    j.same('from nobody', 'a', frame('00:00:00:00:00:00', 'b'), '')
    for n in range(64):
        j.same(f'station {n}', 'abcd'[n % 4], frame(f'02:00:00:00:01:{n:02x}', ALL))
    for n in range(64):
        j.same(f'to station {n}', 'abcd'[n // 7 % 4], frame('b', f'02:00:00:00:01:{n:02x}'))
    j.forget()
    j.same('forgotten', 'b', frame('b', 'a'), 'acd')


def fixed(j):
    """An address that somebody has fixed does not move."""
    j.forget()
    j.switch.verb('fdb', 'add', f'mac={OTHER}', 'port=c')
    wires.run('bridge', 'fdb', 'add', OTHER, 'dev', 'br-c', 'master', 'static', 'sticky')
    j.same('a fixed address', 'a', frame('a', OTHER), 'c')
    j.same('another claims it, and may send', 'b', frame(OTHER, 'a'), 'a')
    j.same('it has not moved', 'a', frame('a', OTHER), 'c')
    j.switch.verb('fdb', 'delete', f'mac={OTHER}')
    wires.run('bridge', 'fdb', 'del', OTHER, 'dev', 'br-c', 'master')
    j.same('it is forgotten', 'a', frame('a', OTHER), 'bcd')


def tagged(vid, *layers, prio=0):
    made = Dot1Q(vlan=vid, prio=prio)
    for layer in layers or (udp(),):
        made = made / layer
    return made


def vlans(j):
    j.vlan(a='access:10', b='access:10', c='access:20', d='trunk:1,10,20')
    j.same('to all, within the VLAN and on the trunk', 'a', frame('a', ALL), 'bd')
    j.same('to nobody known', 'c', frame('c', OTHER), 'd')
    j.same('from the trunk, tagged', 'd', frame('d', ALL, tagged(10)), 'ab')
    j.same('from the trunk, the other', 'd', frame('d', ALL, tagged(20, prio=5)), 'c')
    j.same('from the trunk, native', 'd', frame('d', ALL), '')
    j.same('a VLAN that the trunk does not have', 'd', frame('d', ALL, tagged(30)), '')
    j.same('the last VLAN', 'd', frame('d', ALL, tagged(4095)), '')
    j.same('another VLAN on an access port', 'a', frame('a', ALL, tagged(20)), '')
    j.same('a priority', 'a', frame('a', ALL, tagged(0, prio=6)), 'bd')
    j.same('learned per VLAN', 'a', frame(OTHER, ALL), 'bd')
    j.same('the same address in the other', 'c', frame(OTHER, ALL), 'd')
    j.same('found in its VLAN', 'd', frame('d', OTHER, tagged(10)), 'a')
    j.same('and in its other', 'd', frame('d', OTHER, tagged(20)), 'c')
    j.same('known, but elsewhere', 'b', frame('b', HOST['c']), 'ad')
    j.same('a tag within a tag', 'd', frame('d', ALL, tagged(10, Dot1Q(vlan=99) / udp())), 'ab')
    j.same('a large one with its tag', 'd', frame('d', ALL, tagged(10), size=1518), 'ab')
    j.same('a provider\'s tag is no tag', 'a', frame('a', ALL, Dot1AD(vlan=20) / udp()), 'bd')
    j.differ('an access port\'s own VLAN, said aloud', 'a', frame('a', ALL, tagged(10)), '', 'bd')
    j.vlan(d='trunk:10,20')
    j.same('the native VLAN comes in', 'd', frame('d', ALL), 'ab')
    j.same('and goes out', 'a', frame('a', ALL), 'bd')
    j.same('also with its number', 'd', frame('d', ALL, tagged(10)), 'ab')
    j.same('and the other with its tag', 'c', frame('c', ALL), 'd')
    j.vlan(d='trunk:0,10,20')
    j.same('a trunk without a native VLAN', 'd', frame('d', ALL), '')
    j.same('nor by priority', 'd', frame('d', ALL, tagged(0, prio=3)), '')
    j.same('with a tag', 'd', frame('d', ALL, tagged(20)), 'c')
    j.same('to it', 'b', frame('b', ALL), 'ad')
    j.vlan(a='trunk:1,2-4094', b='trunk:1,2-4094', c='trunk:1,2-4094', d='access:20')
    for vid in (1, 2, 19, 20, 1000, 4094):
        j.same(f'trunk to trunk, {vid}', 'a', frame('a', ALL, tagged(vid, prio=vid % 8)))
    j.same('trunk to trunk, native', 'b', frame('b', ALL))
    j.vlan(a='none', b='none', c='none', d='none')
    j.same('no VLANs again', 'b', frame('b', ALL), 'acd')
    j.differ('a tag where there are no VLANs', 'b', frame('b', ALL, tagged(1)), '', 'acd')


def reserved(j):
    """Addresses that a bridge keeps to itself: see docs/switch.md."""
    j.same('spanning tree, which neither speaks', 'a', frame('a', '01:80:c2:00:00:00'), 'bcd')
    for last in range(1, 16):
        j.same(f'kept: {last:02x}', 'a', frame('a', f'01:80:c2:00:00:{last:02x}'), '')
    j.same('beyond', 'a', frame('a', '01:80:c2:00:00:10'), 'bcd')
    j.pass_reserved(True)
    for last in range(1, 16):
        j.same(f'told to pass: {last:02x}', 'a', frame('a', f'01:80:c2:00:00:{last:02x}'), '' if last < 3 else 'bcd')
    j.pass_reserved(False)
    j.same('kept again', 'a', frame('a', '01:80:c2:00:00:0e'), '')


def igmp(source, to, group, **fields):
    ip = IP(src=source, dst=to or group, ttl=1, tos=0xc0, options=ROUTER_ALERT)
    return ip / IGMP(gaddr=group, **fields)


def group_mac(group):
    low = [int(part) for part in group.split('.')]
    return f'01:00:5e:{low[1] & 127:02x}:{low[2]:02x}:{low[3]:02x}'


def mld(source, to, message):
    return IPv6(src=source, dst=to, hlim=1) / IPv6ExtHdrHopByHop(options=RouterAlert()) / message


def data(group):
    return udp('10.0.0.2', group)


def groups(j):
    """A querier behind d; a is in a group, of each family."""
    four, six = '239.1.2.3', 'ff0e::102:304'
    six_mac = '33:33:01:02:03:04'
    six_data = IPv6(src='fe80::2', dst=six) / UDP() / Raw(b'said')
    j.forget()
    j.same('a group, before anybody asks', 'b', frame('b', group_mac(four), data(four)), 'acd')
    j.same('a query', 'd', frame('d', '01:00:5e:00:00:01', igmp('10.0.0.9', '224.0.0.1', '0.0.0.0', type=0x11,
                                                                mrcode=10)), 'abc')
    j.same('a query of the other', 'd', frame('d', '33:33:00:00:00:01',
                                              mld('fe80::9', 'ff02::1', ICMPv6MLQuery(mrd=1000))), 'abc')
    # Nobody believes that all have answered before they could have: 12 s here, 1 s there.
    time.sleep(12.5)
    j.same('a report goes to who asks only', 'a',
           frame('a', group_mac(four), igmp('10.0.0.1', None, four, type=0x16)), 'd')
    j.same('a report of the other', 'a', frame('a', six_mac, mld('fe80::1', six, ICMPv6MLReport(mladdr=six))), 'd')
    j.same('the group goes to who is in it, and to who asks', 'b', frame('b', group_mac(four), data(four)), 'ad')
    j.same('the other one', 'b', frame('b', six_mac, six_data), 'ad')
    j.same('from the querier', 'd', frame('d', group_mac(four), data(four)), 'a')
    j.same('from the member', 'a', frame('a', group_mac(four), data(four)), 'd')
    j.same('a link\'s own group goes to all', 'b', frame('b', '01:00:5e:00:00:05', data('224.0.0.5')), 'acd')
    j.same('the other\'s own', 'b', frame('b', '33:33:00:00:00:01', IPv6(src='fe80::2', dst='ff02::1') / UDP()), 'acd')
    # The bridge floods reports of version 3 and leaves; RFC 4541, 2.1.1, would have them go to routers only.
    j.differ('a second one joins, by version 3', 'c', frame(
        'c', '01:00:5e:00:00:16', IP(src='10.0.0.3', dst='224.0.0.22', ttl=1, options=ROUTER_ALERT) /
        IGMPv3(type=0x22) / IGMPv3mr(records=[IGMPv3gr(rtype=4, maddr=four)])), 'd', 'abd')
    j.same('both have it', 'b', frame('b', group_mac(four), data(four)), 'acd')
    j.differ('a group that nobody is in', 'b', frame('b', group_mac('239.7.7.7'), data('239.7.7.7')), 'acd', 'd')
    # They leave; the querier asks once more, and nobody answers.
    leave = frame('a', '01:00:5e:00:00:02', igmp('10.0.0.1', '224.0.0.2', four, type=0x17))
    j.differ('a leave', 'a', leave, 'd', 'bcd')
    j.same('still there', 'b', frame('b', group_mac(four), data(four)), 'acd')
    j.both('d', frame('d', group_mac(four), igmp('10.0.0.9', None, four, type=0x11, mrcode=5)))
    j.both('c', frame('c', group_mac(four), igmp('10.0.0.3', None, four, type=0x16)))
    time.sleep(3)
    j.same('one has left, the other has said no', 'b', frame('b', group_mac(four), data(four)), 'cd')
    j.same('the other family has not moved', 'b', frame('b', six_mac, six_data), 'ad')


def sizes(j):
    tabique, plug = j.switch.tabique, j.switch.plug
    j.same('the MTU', 'a', frame('a', ALL, size=1514), 'bcd')
    j.differ('a byte more: the bridge leaves room for a tag', 'a', frame('a', ALL, size=1515), '', 'bcd')
    j.same('five bytes more', 'a', frame('a', ALL, size=1519), '')
    j.same('much more', 'a', frame('a', ALL, size=9014), '')
    j.check('what the switch says of them', {'long': 3}, only(j.switch.drops('a'), 'long', 'mtu'))
    j.switch.end()
    j.bridge.end()
    j.switch = wires.Switch(tabique, plug, PORTS, 9000)
    j.bridge = wires.Bridge(PORTS, 9000)
    j.same('a jumbo\'s MTU', 'a', frame('a', ALL, size=9014), 'bcd')
    j.same('of five bytes more', 'a', frame('a', ALL, size=9019), '')
    if not j.bridge.has_vlans:
        return
    j.vlan(a='access:10', b='access:10', c='access:20', d='trunk:1,10,20')
    j.same('a jumbo in a VLAN', 'a', frame('a', ALL, size=9014), 'bd')
    j.same('a jumbo with its tag', 'd', frame('d', ALL, tagged(20), size=9018), 'c')


def only(drops, *causes):
    return {cause: n for cause, n in drops.items() if cause in causes}


PHASES = {'learning': learning, 'fixed': fixed, 'reserved': reserved, 'groups': groups, 'vlans': vlans,
          'sizes': sizes}


def main(tabique, plug, *phases):
    j = Judge(wires.Switch(tabique, plug, PORTS), wires.Bridge(PORTS))
    try:
        for name in phases or PHASES:
            began = time.monotonic()
            if name == 'vlans' and not j.bridge.has_vlans:
                print('vlans: not judged, this kernel\'s bridge knows none (CONFIG_BRIDGE_VLAN_FILTERING)')
                continue
            PHASES[name](j)
            print(f'{name}: {time.monotonic() - began:.1f} s', flush=True)
    finally:
        j.switch.end()
        j.bridge.end()
    return j.end()


sys.exit(main(*sys.argv[1:]))
