# SPDX-License-Identifier: MIT
"""
bonding.py TABIQUE PLUG: our switch with two uplinks, beside a Linux bridge with a bond of two devices. What
guests send, and what comes in by the wires, is the same for both: who carries it, in which mode; what
happens when a link fails and when it returns; how much is lost meanwhile, and that nothing comes twice. Where
the two differ by intent a check says what each does (docs/switch.md, "Beside Linux's bonding").
"""
import select
import socket
import sys
import threading
import time

import wires

PORTS = ('v', 'w')
V, W, OUTSIDE, ALL = (bytes.fromhex(mac) for mac in ('020000000001', '020000000002', '020000000099',
                                                     'ffffffffffff'))
STATIONS = [bytes.fromhex(f'0200000001{n:02x}') for n in range(24)]
TYPE, RARP, ARP = b'\x88\xb5', b'\x80\x35', b'\x08\x06'
BOND_IP = '10.8.0.1'
MIIMON_MS = 50


def frame(source, to, number=0, kind=TYPE):
    return to + source + kind + number.to_bytes(4, 'big') + bytes(46)


class Wires:
    """Two cables: `near` is one of the team's, `far` the end that belongs to us."""

    def __init__(self, near, far):
        self.near, self.far, self.ends = near, far, []
        for n in range(2):
            wires.run('ip', 'link', 'add', f'{near}{n}', 'type', 'veth', 'peer', 'name', f'{far}{n}')
            wires.run('ip', 'link', 'set', f'{far}{n}', 'up')
            self.ends.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            self.ends[n].bind((f'{far}{n}', 0))

    def send(self, n, data):
        self.ends[n].send(data)

    def link(self, n, state):
        wires.run('ip', 'link', 'set', f'{self.far}{n}', state)

    def take(self, wanted=1, seconds=2.0, quiet=0.15):
        """[(cable, frame)]: until there are so many and for a moment nothing more, or nothing comes."""
        taken, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            ready = select.select(self.ends, [], [], quiet)[0]
            if not ready and len(taken) >= wanted:
                break
            for sock in ready:
                try:
                    taken.append((self.ends.index(sock), sock.recv(wires.ROOM)))
                except OSError:
                    pass  # its link has gone down
        return taken


class Ours:
    name = 'ours'

    def __init__(self, tabique, plug, mode):
        self.cables = Wires('up', 'wire')
        for n in range(2):
            wires.run('ip', 'link', 'set', f'up{n}', 'up')
        self.guests = wires.Switch(tabique, plug, PORTS, 1500, 'kind=external', 'uplink=up0', 'uplink=up1',
                                   f'team={mode}')

    def end(self):
        self.guests.end()
        for n in range(2):
            wires.run('ip', 'link', 'del', f'up{n}')


class Theirs:
    name = 'bonding'
    MODES = {'standby': ('mode', 'active-backup', 'primary_reselect', 'always'),
             'hash': ('mode', 'balance-xor', 'xmit_hash_policy', 'vlan+srcmac')}

    def __init__(self, mode):
        self.cables = Wires('b', 'x')
        wires.run('ip', 'link', 'add', 'bond0', 'type', 'bond', *self.MODES[mode], 'miimon', str(MIIMON_MS))
        for n in range(2):
            wires.run('ip', 'link', 'set', f'b{n}', 'down')
            wires.run('ip', 'link', 'set', f'b{n}', 'master', 'bond0')
        if mode == 'standby':
            wires.run('ip', 'link', 'set', 'bond0', 'type', 'bond', 'primary', 'b0')
        self.guests = wires.Bridge(PORTS)
        wires.run('ip', 'link', 'set', 'bond0', 'master', 'br0', 'up')
        # So that it has something to announce: what is behind the bridge it announces not.
        wires.run('ip', 'addr', 'add', f'{BOND_IP}/24', 'dev', 'bond0')

    def end(self):
        self.guests.end()
        wires.run('ip', 'link', 'del', 'bond0')
        for n in range(2):
            wires.run('ip', 'link', 'del', f'b{n}')


class Judge(wires.Report):
    def carried(self, team, port, data, seconds=10):
        """On which cables a guest's frame leaves."""
        team.cables.take(0, quiet=0.01)
        team.guests.send(port, data)
        return [n for n, got in team.cables.take(1, seconds) if got == data]

    def heard(self, team, wanted, *cables_and_frames):
        """How often guest v gets what comes in by the cables; waits for so many, and whether more come."""
        team.guests.take()
        for n, data in cables_and_frames:
            team.cables.send(n, data)
        frames = {data for _, data in cables_and_frames}
        count, quiet, end = 0, 0, time.monotonic() + 10
        while quiet < 4 or (count < wanted and time.monotonic() < end):
            new = sum(got in frames for got in team.guests.take()['v'])
            count, quiet = count + new, 0 if new else quiet + 1
            time.sleep(0.05)
        return count

    def until_carried(self, team, data, cable, seconds=10):
        """Until a guest's frame leaves by this cable."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.carried(team, 'v', data, 1) == [cable]:
                return True
        return False


class Stream(threading.Thread):
    """A guest's numbered frames, one every 5 ms."""

    def __init__(self, team):
        super().__init__()
        self.team, self.sent, self.stop = team, 0, threading.Event()

    def run(self):
        while not self.stop.wait(0.005):
            self.team.guests.ports['v'].send(frame(V, OUTSIDE, self.sent))
            self.sent += 1


def announcements(taken):
    return [(n, got) for n, got in taken if got[12:14] in (RARP, ARP)]


def through_failure(j, team, cable):
    """A link goes down under a stream: frames lost, twice there, and what is announced on the other."""
    team.cables.take(0, quiet=0.01)
    stream = Stream(team)
    stream.start()
    taken = team.cables.take(10, seconds=0.3)
    team.cables.link(cable, 'down')
    taken += team.cables.take(10 ** 9, seconds=1.5)
    stream.stop.set()
    stream.join()
    end = time.monotonic() + 10
    taken += team.cables.take(0, quiet=0.3)
    while not announcements(taken) and time.monotonic() < end:
        taken += team.cables.take(0, quiet=0.3)
    numbers = [got[14:18] for _, got in taken if got[12:14] == TYPE]
    lost = stream.sent - len(set(numbers))
    print(f'{team.name}: {stream.sent} frames through a failure, {lost} lost')
    j.check(f'{team.name}: frames that come twice', 0, len(numbers) - len(set(numbers)))
    for n in range(2):
        way = [got[14:18] for at, got in taken if at == n and got[12:14] == TYPE]
        j.check(f'{team.name}: frames that overtake on cable {n}', sorted(way), way)
    return lost, announcements(taken)


def standby(j, team):
    for n in range(2):
        j.check(f'{team.name}: frame {n} leaves once', [0], j.carried(team, 'v', frame(V, OUTSIDE, n)))
    j.check(f'{team.name}: to all, once', [0], j.carried(team, 'v', frame(V, ALL)))
    j.check(f'{team.name}: the other guest', [0], j.carried(team, 'w', frame(W, ALL)))
    j.check(f'{team.name}: in by the active', 1, j.heard(team, 1, (0, frame(OUTSIDE, V, 1))))
    j.check(f'{team.name}: in by the other', 0, j.heard(team, 0, (1, frame(OUTSIDE, V, 2))))
    j.check(f'{team.name}: to all, by both', 1,
            j.heard(team, 1, (0, frame(OUTSIDE, ALL, 3)), (1, frame(OUTSIDE, ALL, 3))))
    lost, said = through_failure(j, team, 0)
    j.check(f'{team.name}: announced on the new one only', {1}, {n for n, _ in said})
    j.check(f'{team.name}: by the other now', [1], j.carried(team, 'v', frame(V, OUTSIDE, 7)))
    j.check(f'{team.name}: in by the other now', 1, j.heard(team, 1, (1, frame(OUTSIDE, V, 8))))
    team.cables.link(0, 'up')
    j.check(f'{team.name}: the first takes over again', True, j.until_carried(team, frame(V, OUTSIDE, 9), 0))
    j.check(f'{team.name}: and is listened to', 1, j.heard(team, 1, (0, frame(OUTSIDE, V, 10))))
    j.check(f'{team.name}: the other not any more', 0, j.heard(team, 0, (1, frame(OUTSIDE, V, 11))))
    return lost, {got[6:12] for _, got in said}, {got[12:14] for _, got in said}


def paths(j, team, when):
    """The cable of each station, by frames that all leave once; two of each go the same way."""
    team.cables.take(0, quiet=0.01)
    for number in range(2):
        for station in STATIONS:
            team.guests.send('v', frame(station, OUTSIDE if number else ALL, number))
    taken = [(got[6:12], n) for n, got in team.cables.take(2 * len(STATIONS), 20) if got[12:14] == TYPE]
    j.check(f'{team.name}, {when}: each leaves once', sorted(STATIONS * 2), sorted(station for station, _ in taken))
    ways = dict(taken)
    j.check(f'{team.name}, {when}: all of a station go one way', set(ways.items()), set(taken))
    return ways


def hashed(j, team):
    first = paths(j, team, 'both')
    j.check(f'{team.name}: both carry', True, min(list(first.values()).count(n) for n in range(2)) >= 4)
    moves = next(station for station, n in first.items() if n == 0)
    team.cables.link(0, 'down')
    j.check(f'{team.name}: one moves', True, j.until_carried(team, frame(moves, OUTSIDE, 98), 1))
    second = paths(j, team, 'one')
    j.check(f'{team.name}: the other carries all', {1}, set(second.values()))
    team.cables.link(0, 'up')
    j.check(f'{team.name}: it moves back', True, j.until_carried(team, frame(moves, OUTSIDE, 99), 0))
    j.check(f'{team.name}: as it was', first, paths(j, team, 'as before'))


def groups_and_echoes(j, ours, theirs):
    """Bonding takes the other end for a switch that knows of the bond; we take it for one that does not."""
    for team, twice, back in ((ours, 1, 0), (theirs, 2, 1)):
        data = frame(OUTSIDE, ALL, 50)
        j.check(f'{team.name}: to all, in by both', twice, j.heard(team, twice, (0, data), (1, data)))
        j.carried(team, 'w', frame(STATIONS[0], ALL, 51))
        time.sleep(0.1)
        j.check(f'{team.name}: a guest\'s own broadcast, come back', back,
                min(1, j.heard(team, back, (0, frame(STATIONS[0], ALL, 52)))))


def main(tabique, plug):
    for which in ('all', 'default'):
        wires.sysctl(f'ipv6/conf/{which}/disable_ipv6', 1)
    if wires.run('ip', 'link', 'add', 'bond9', 'type', 'bond', check=False).returncode:
        print('needs the bonding driver, which this kernel lacks')
        return 77
    wires.run('ip', 'link', 'del', 'bond9')
    j = Judge()
    for mode in ('standby', 'hash'):
        ours, theirs = Ours(tabique, plug, mode), Theirs(mode)
        try:
            if mode == 'standby':
                our_loss, our_words, our_kinds = standby(j, ours)
                loss, _, kinds = standby(j, theirs)
                # It looks at its links now and then; we are told.
                j.check('we lose no more than bonding', True, our_loss <= loss + 40)
                j.check('how it is said', (RARP, ARP), (*our_kinds, *kinds))
                j.check('for whom: the guests that have spoken', True, {V, W} <= our_words)
            else:
                for team in (ours, theirs):
                    hashed(j, team)
                groups_and_echoes(j, ours, theirs)
        finally:
            ours.end()
            theirs.end()
    return j.end()


sys.exit(main(*sys.argv[1:]))
