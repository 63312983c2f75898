# SPDX-License-Identifier: MIT
"""
Two wires with ports of the same names: our switch, with a guest without a machine on each port (net_plug),
and a Linux bridge with a TAP device on each. What goes in at a port is put there byte by byte, and what comes
out of every port is read the same way, so that the two can be held against each other. In a network
namespace of one's own (judge.sh).
"""
import fcntl
import json
import logging
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOM = 70000
# It has no routes here, and says so at each datagram.
logging.getLogger('scapy.runtime').setLevel(logging.ERROR)


def run(*words, check=True):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    if check and done.returncode:
        sys.exit(f'FAILED: {" ".join(words)}: {done.stdout}{done.stderr}')
    return done


def sysctl(name, value):
    """Of this namespace; one that the kernel lacks is no matter."""
    try:
        with open(f'/proc/sys/net/{name}', 'w', encoding='ascii') as f:
            f.write(str(value))
    except OSError:
        pass


class Plug:
    """A port of the switch, by its guest."""

    def __init__(self, program, switch, name, mac, mtu):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, its):
            end.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
            end.setsockopt(socket.SOL_SOCKET, 32, 4 << 20)  # SO_SNDBUFFORCE
        self.name, self.socket, self.frames = name, ours, []
        self.process = subprocess.Popen([program, switch, name, mac, str(mtu)], stdin=its)
        its.close()
        self.until(b'U', 30)

    def until(self, letter, seconds=10):
        """Takes what it says until it says this."""
        self.socket.settimeout(seconds)
        while True:
            try:
                said = self.socket.recv(ROOM)
            except (TimeoutError, socket.timeout):
                sys.exit(f'FAILED: the guest at port {self.name} does not answer')
            if not said:
                sys.exit(f'FAILED: the guest at port {self.name} has ended')
            if said[:1] == b'F':
                self.frames.append(said[1:])
            if said[:1] == letter:
                return

    def ask(self, letter, data=b''):
        self.socket.send(letter + data)
        self.until(b'D')

    def send(self, frame):
        self.ask(b'F', frame)

    def send_beside(self, frame):
        """Its tag travels beside the frame, as Linux's driver has it."""
        self.ask(b'V', frame)

    def send_message(self, message):
        """One RNDIS message as it is."""
        self.ask(b'R', message)

    def take(self):
        self.ask(b'T')
        taken, self.frames = self.frames, []
        return taken

    def end(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()


class Switch:
    """Ours: sw0, private unless told otherwise, on one core, so that what was sent has happened."""

    def __init__(self, tabique, plug, ports, mtu=1500, *words):
        self.tabique, self.plug, self.ports = tabique, plug, {}
        self.directory = tempfile.mkdtemp(prefix='tabique-judge-')
        os.environ['TABIQUE_SWITCH_DIR'] = self.directory
        try:
            self.verb('create', *(words or ['kind=private']), f'mtu={mtu}', 'threads=1')
            for n, name in enumerate(ports):
                self.verb('port', 'add', f'name={name}', 'mac-spoofing=on')
                self.ports[name] = Plug(plug, 'sw0', name, f'02:bb:00:00:00:{n:02x}', mtu)
            self.wait_ports()
        except BaseException:
            self.end()
            raise

    def wait_ports(self):
        """A lent NIC's port is known to the core a moment later: until each hears the others."""
        hail = b'\xff' * 6 + b'\x02\xbb\0\0\0\xff' + b'\x88\xb5' + bytes(46)
        deaf, first = set(self.ports), list(self.ports)[0]
        deadline = time.monotonic() + 30
        while deaf:
            if time.monotonic() > deadline:
                sys.exit(f'FAILED: the ports {deaf} hear nothing')
            for port in (first, list(self.ports)[-1]):
                self.send(port, hail)
                deaf -= {name for name, frames in self.take().items() if frames}
        self.verb('fdb', 'flush')

    def verb(self, *words, check=True):
        """verb('port', 'add', 'name=x'): the switch's name goes before the first KEY=VALUE."""
        at = next((i for i, word in enumerate(words) if '=' in word or word == '--json'), len(words))
        return run(self.tabique, 'switch', *words[:at], 'sw0', *words[at:], check=check)

    def send(self, port, frame, beside=False):
        if beside:
            self.ports[port].send_beside(frame)
        else:
            self.ports[port].send(frame)
        self.ports[port].ask(b'S')

    def take(self):
        return {name: port.take() for name, port in self.ports.items()}

    def drops(self, port):
        """{cause: frames} of a port, without those by which Plug knows that all was done ("source")."""
        shown = json.loads(self.verb('stats', f'port={port}', '--json').stdout)
        return {cause: n for cause, n in shown['ports'][0].get('drops', {}).items()
                if cause != 'source'}

    def end(self):
        for port in self.ports.values():
            port.end()
        run(self.tabique, 'switch', 'delete', 'sw0', check=False)
        shutil.rmtree(self.directory, ignore_errors=True)  # its keeper takes its own away meanwhile


class Tap:
    """A TAP device, by its own end: what is written there comes in at the device."""

    def __init__(self, name, *settings):
        self.name = name
        self.fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
        # TUNSETIFF, IFF_TAP | IFF_NO_PI
        fcntl.ioctl(self.fd, 0x400454ca, struct.pack('16sH22x', name.encode(), 0x1002))
        run('ip', 'link', 'set', name, 'txqueuelen', '5000', *settings, 'up')

    def send(self, frame):
        os.write(self.fd, frame)

    def take(self):
        taken = []
        while select.select([self.fd], [], [], 0)[0]:
            taken.append(os.read(self.fd, ROOM))
        return taken

    def end(self):
        os.close(self.fd)


class Bridge:
    """Linux's. A frame that is written to a TAP device has been through it when write() returns."""

    OWN = '02:bb:00:00:01:00'

    def __init__(self, ports, mtu=1500):
        for which in ('all', 'default'):
            sysctl(f'ipv6/conf/{which}/disable_ipv6', 1)
        # A firewall's hooks cut off what is behind a datagram.
        for which in ('ip', 'ip6', 'arp'):
            sysctl(f'bridge/bridge-nf-call-{which}tables', 0)
        plain = ('ip', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0')
        # Not every kernel's bridge knows VLANs.
        self.has_vlans = run(*plain, 'vlan_filtering', '1', 'vlan_default_pvid', '1',
                             check=False).returncode == 0
        if not self.has_vlans:
            run(*plain)
        run('ip', 'link', 'set', 'br0', 'mtu', str(mtu), 'address', self.OWN, 'up')
        self.ports = {name: Tap(f'br-{name}', 'mtu', str(mtu), 'master', 'br0') for name in ports}
        deadline = time.monotonic() + 10
        while 'forwarding' not in run('bridge', 'link', 'show', 'dev', f'br-{ports[-1]}').stdout:
            if time.monotonic() > deadline:
                sys.exit('FAILED: the bridge does not forward')
            time.sleep(0.05)

    def vlans(self, port, pvid, tagged):
        """pvid: of frames without a tag, 0 none; tagged: all others."""
        run('bridge', 'vlan', 'del', 'dev', f'br-{port}', 'vid', '1-4094')
        if pvid:
            run('bridge', 'vlan', 'add', 'dev', f'br-{port}', 'vid', str(pvid), 'pvid', 'untagged')
        for vid in tagged:
            run('bridge', 'vlan', 'add', 'dev', f'br-{port}', 'vid', str(vid))

    def send(self, port, frame, **_):
        self.ports[port].send(frame)

    def take(self):
        """Without what the bridge says by itself: it joins a group."""
        own = bytes.fromhex(self.OWN.replace(':', ''))
        return {name: [frame for frame in port.take() if frame[6:12] != own]
                for name, port in self.ports.items()}

    def end(self):
        for port in self.ports.values():
            port.end()
        run('ip', 'link', 'del', 'br0')


class Report:
    """Counts what was looked at; ends the program."""

    def __init__(self):
        self.good = self.bad = 0

    def check(self, what, wanted, found):
        if wanted == found:
            self.good += 1
            return True
        self.bad += 1
        print(f'FAILED: {what}:\n  wanted {wanted}\n  found  {found}', flush=True)
        return False

    def end(self):
        print(f'{self.good} checks, {self.bad} failed')
        return 1 if self.bad or not self.good else 0
