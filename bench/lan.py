# SPDX-License-Identifier: MIT
"""
Two guests and their host on one wire: Tabique's switch with the host's own port, beside QEMU with
virtio-net and vhost-net on a Linux bridge. Traffic from a guest to the host, from the host to a guest,
and from guest to guest. Inside a machine of one's own, or as root.
"""
import fnmatch
import json
import os
import re
import statistics
import subprocess
import time

import table
from counters import Tracer, exit_names, interrupt_exit
from machines import APPEND, MEMORY_MB, Guest, GuestFailed

HOST, GUESTS = '10.80.0.1', ('10.80.0.10', '10.80.0.11')
PORTS = {'iperf3': 7000, 'ping-pong': 7001, 'udp-blast': 7002}
CONTESTANTS = ('tabique', 'vhost')
DIRECTIONS = {'out': 'guest to host', 'in': 'host to guest', 'pair': 'guest to guest'}
# Load: (what it is called, its unit, the unit's name, wanted factor to vhost-net by direction,
# wanted most exits for each unit)
LOADS = {
    'tcp1': ('TCP, MiB/s', 'megabytes', 'MiB', {'pair': 1.5}, 10),
    'tcp8': ('TCP, 8 streams, MiB/s', 'megabytes', 'MiB', {'pair': 1.5}, 10),
    'udp': ('datagrams of 64 bytes/s', 'done', 'datagram', dict.fromkeys(DIRECTIONS, 2), 0.1),
    'trips': ('TCP round trips/s', 'done', 'trip', dict.fromkeys(DIRECTIONS, 1.25), None)}
# Of what is counted, that which is shown by kind.
KINDS = {'exit': 'exits', 'user': 'exits to user space', 'msr': 'MSRs', 'hypercall': 'hypercalls',
         'inject': 'interrupts by vector', 'syscall': 'system calls'}
PHASES = [f'{direction}.{load}' for direction in DIRECTIONS for load in LOADS]


def rows_named(patterns):
    """The loads that are wanted, in order."""
    return [phase for phase in PHASES if any(fnmatch.fnmatch(phase, p) for p in patterns)]


def load_command(load, address, seconds):
    """What the asking side runs; its last line is the result."""
    if load.startswith('tcp'):
        streams = int(load[3:])
        # With several streams the sum is what counts.
        return (f'iperf3 -c {address} -p {PORTS["iperf3"]} -i 0 -f M -P {streams} -t {seconds} | '
                f'grep {"SUM.*" if streams > 1 else ""}receiver')
    tool = 'udp-blast' if load == 'udp' else 'ping-pong'
    return f'{tool} {address} {PORTS[tool]} {seconds}'


def parse(load, text):
    """The last line of a load: (value, {unit: how much was done})."""
    if load.startswith('tcp'):
        found = re.search(r'sec +([\d.]+) ([KMG])Bytes +([\d.]+) MBytes/sec', text)
        if not found:
            raise GuestFailed(f'{load}: {text!r}')
        return float(found[3]), {'megabytes': float(found[1]) *
                                 {'K': 1 / 1024, 'M': 1, 'G': 1024}[found[2]]}
    found = re.search(r': ([\d.]+) .* (\d+) done', text)
    if not found:
        raise GuestFailed(f'{load}: {text!r}')
    return float(found[1]), {'done': int(found[2])}


def command(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def quietly(*words):
    subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Switch:
    """Tabique's: a process of its own, whose port for the host is a TAP device."""

    def __init__(self, host):
        self.host, self.name = host, 'bench'
        self.directory = f'{host.work}/switch'
        os.makedirs(self.directory, exist_ok=True)
        os.environ['TABIQUE_SWITCH_DIR'] = self.directory
        quietly('modprobe', 'tun')
        command(host.tabique, 'switch', 'create', self.name, 'kind=internal', 'host-port=bench0')
        deadline = time.monotonic() + 60
        while subprocess.run([host.tabique, 'switch', 'show', self.name], check=False,
                             capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise GuestFailed('the switch does not serve')
            time.sleep(0.2)
        command('ip', 'addr', 'add', f'{HOST}/24', 'dev', 'bench0')
        command('ip', 'link', 'set', 'bench0', 'up')

    def guest(self, number, initrd, append):
        return [self.host.tabique, 'run', '--name', f'bench{number}', '--cpus', '1',
                '--memory', f'{MEMORY_MB}M', '--kernel', self.host.vmlinuz, '--initrd', initrd,
                '--append', f'{APPEND} bench.drivers=hyperv {append}',
                '--net', f'switch={self.name}', '--serial', 'stdio', '--no-reboot',
                '--control', f'unix:{self.host.work}/control{number}']

    def processes(self):
        """Those that run this very file: other switches of this host are none of ours."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                if os.readlink(f'/proc/{pid}/exe') == f'{self.host.work}/tabique-switch':
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def inspect(self):
        shown = subprocess.run([self.host.tabique, 'switch', 'stats', self.name, '--json'],
                               check=False, capture_output=True).stdout
        try:
            return json.loads(shown)
        except ValueError:
            return None

    def stop(self):
        quietly(self.host.tabique, 'switch', 'delete', self.name)


class Bridge:
    """Linux' own, with a TAP device for each guest that vhost-net serves in the kernel."""

    def __init__(self, host):
        self.host = host
        for module in ('bridge', 'tun', 'vhost_net'):
            quietly('modprobe', module)
        command('ip', 'link', 'add', 'bench0', 'type', 'bridge')
        command('ip', 'addr', 'add', f'{HOST}/24', 'dev', 'bench0')
        command('ip', 'link', 'set', 'bench0', 'up')
        for number in range(2):
            tap = f'bench-tap{number}'
            command('ip', 'tuntap', 'add', tap, 'mode', 'tap', 'vnet_hdr')
            command('ip', 'link', 'set', tap, 'master', 'bench0')
            command('ip', 'link', 'set', tap, 'up')

    def guest(self, number, initrd, append):
        return [self.host.qemu, '-nodefaults', '-no-user-config', '-display', 'none',
                '-serial', 'stdio', '-cpu', 'host', '-smp', '1', '-m', str(MEMORY_MB),
                '-no-reboot', '-machine', 'pc,accel=kvm,vmport=off',
                '-netdev', f'tap,id=net0,ifname=bench-tap{number},script=no,downscript=no,vhost=on',
                '-device', f'virtio-net-pci,netdev=net0,mac=52:54:00:00:00:1{number},romfile=',
                '-kernel', self.host.vmlinuz, '-initrd', initrd,
                '-append', f'{APPEND} bench.drivers=virtio {append}']

    def processes(self):
        return []

    def inspect(self):
        return None

    def stop(self):
        for number in range(2):
            quietly('ip', 'link', 'del', f'bench-tap{number}')
        quietly('ip', 'link', 'del', 'bench0')


class Wire:
    """A wire with two running guests, and the host's own servers on it."""

    def __init__(self, kind, host, tools, initrd, log):
        self.tools, self.guests, self.servers = tools, [], []
        self.wire = (Switch if kind == 'tabique' else Bridge)(host)
        try:
            for number, address in enumerate(GUESTS):
                append = f'bench.address={address}/24 bench.peer={HOST} ipv6.disable=1'
                self.guests.append(Guest(self.wire.guest(number, initrd, append), log))
                self.guests[-1].expect('bench: up', 180)
            for words in (['iperf3', '-s', '-B', HOST, '-p', str(PORTS['iperf3'])],
                          [f'{tools}/ping-pong', HOST, str(PORTS['ping-pong'])],
                          [f'{tools}/udp-blast', HOST, str(PORTS['udp-blast'])]):
                self.servers.append(subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        except BaseException:
            self.stop()
            raise

    def ask(self, direction, load, seconds):
        """Runs a load; the last line that it says."""
        target = {'out': HOST, 'in': GUESTS[0], 'pair': GUESTS[1]}[direction]
        words = load_command(load, target, seconds)
        if direction != 'in':
            guest = self.guests[0]
            guest.say(f'load timeout {seconds + 20} sh -c "{words}"')
            return guest.expect('bench: result load', seconds + 60)[0]
        environment = dict(os.environ, PATH=f'{self.tools}:{os.environ["PATH"]}')
        try:
            return subprocess.run(['sh', '-c', words], env=environment, capture_output=True,
                                  check=False, text=True,
                                  timeout=seconds + 60).stdout.strip().split('\n')[-1]
        except subprocess.TimeoutExpired as e:
            raise GuestFailed(f'{direction}.{load} does not end') from e

    def counted(self, tracer):
        """Of all who take part; a Snapshot of each, to be subtracted one by one."""
        return {pid: tracer.read(pid)
                for pid in [guest.pid for guest in self.guests] + self.wire.processes()}

    def stop(self):
        for server in self.servers:
            server.kill()
            server.wait()
        for guest in self.guests:
            guest.kill()
        self.wire.stop()


def count(before, after):
    """What happened in between, all processes together."""
    total = {'exits': 0, 'user_exits': 0, 'interrupts': 0, 'syscalls': 0, 'console': 0,
             'exits_without_ticks': 0, 'doorbells': 0, 'detail': {}}
    for pid, snapshot in after.items():
        counted = snapshot - before.get(pid, {})
        for name, event in (('exits', 'exit'), ('user_exits', 'user'), ('interrupts', 'inject'),
                            ('syscalls', 'syscall')):
            n = counted.total(event)
            total[name] = None if n is None or total[name] is None else total[name] + n
        total['console'] += counted.console()
        total['doorbells'] += counted.doorbells()
        total['exits_without_ticks'] += (counted.total('exit') or 0) - counted.ticks(interrupt_exit())
        total['detail'][pid] = counted.named(exit_names())
    return total


def share(counts, event, unit):
    """How often each kind of an event happened for each unit of work, the commonest first; of all."""
    total = {}
    for detail in counts['detail'].values():
        for kind, n in detail.get(event, {}).items():
            total[kind] = total.get(kind, 0) + n
    return {kind: n / counts[unit] for kind, n in sorted(total.items(), key=lambda item: -item[1])}


class Lan:
    def __init__(self, args, host, tools, initrd, say):
        self.args, self.host, self.tools, self.initrd, self.say = args, host, tools, initrd, say
        self.log = f'{tools}/lan-guests.log'
        open(self.log, 'wb').close()
        self.results, self.counts, self.retries = {}, {}, []

    def run(self):
        for number in range(self.args.rounds + 1):
            self.say('two guests: ' + (f'round {number} of {self.args.rounds}' if number else
                                       'counting'))
            for kind in self.args.contestants:
                done = set()
                for _ in range(3):  # the emulated host loses a guest now and then
                    try:
                        self.round(kind, Tracer() if number == 0 else None, done)
                        break
                    except (GuestFailed, subprocess.SubprocessError) as e:
                        self.retries.append(f'{kind}: {e}')
                        self.say(f'{kind}: {e}')
                self.save()

    def round(self, kind, tracer, done):
        wire = Wire(kind, self.host, self.tools, self.initrd, self.log)
        try:
            if tracer:
                tracer.start()
            for phase in self.args.rows:
                if phase not in done:
                    self.phase(kind, wire, tracer, phase)
                    done.add(phase)
            self.counts.setdefault(kind, {})['inspect'] = wire.wire.inspect()
        finally:
            if tracer:
                tracer.stop()
            wire.stop()

    def phase(self, kind, wire, tracer, phase):
        direction, load = phase.split('.')
        wire.ask(direction, load, 1)  # once unwatched: addresses, windows, caches
        before = wire.counted(tracer) if tracer else None
        text = wire.ask(direction, load, self.args.seconds)
        value, work = parse(load, text)
        if tracer:
            self.counts.setdefault(kind, {})[phase] = {
                'value': value, **work, **count(before, wire.counted(tracer))}
        else:
            self.results.setdefault(kind, {}).setdefault(phase, []).append(value)
        self.say(f'  {kind} {phase}: {value:,.1f}')

    def rows(self, report):
        rows = table.Rows(report, peers=('vhost',))
        for direction, where in DIRECTIONS.items():
            for load, (name, unit, unit_name, factors, exits) in LOADS.items():
                phase = f'{direction}.{load}'
                if phase not in self.args.rows:
                    continue
                rows.add(f'{where}: {name}', rows.median(phase), 'more',
                         factor=factors.get(direction))
                rows.add(f'  exits/{unit_name}', rows.per(phase, 'exits', unit), 'less',
                         limit=exits)
                rows.add('  without ticks', rows.per(phase, 'exits_without_ticks', unit), 'less')
                for what, called in (('user_exits', 'exits to user space'),
                                     ('interrupts', 'interrupts'), ('syscalls', 'system calls')):
                    rows.add(f'  {called}/{unit_name}', rows.per(phase, what, unit), 'less')
        return rows.rows

    def save(self):
        report = {'host': 'emulated' if os.environ.get('TABIQUE_EMULATED_HOST') else 'native',
                  'kernel': os.uname().release, 'rounds': self.args.rounds,
                  'seconds': self.args.seconds, 'machines': self.args.contestants,
                  'retries': self.retries, 'values': self.results, 'counts': self.counts,
                  'medians': {kind: {row: statistics.median(values) for row, values in rows.items()}
                              for kind, rows in self.results.items()}}
        report['rows'] = self.rows(report)
        out = f'{os.path.splitext(self.args.json)[0]}-lan.json'
        with open(out, 'w', encoding='utf-8') as f:
            json.dump(report, f, indent=1)
            f.write('\n')
        return report

    def show_kinds(self):
        """What exits and interrupts consist of, for each unit; what is rarer than one in 20 is left out."""
        for phase in self.args.rows:
            _, unit, unit_name, _, _ = LOADS[phase.split('.')[1]]
            for kind in self.args.contestants:
                counts = self.counts.get(kind, {}).get(phase)
                if not counts or not counts.get(unit):
                    continue
                print(f'{phase}, {kind}, per {unit_name}:')
                for event, called in KINDS.items():
                    kinds = share(counts, event, unit)
                    print(f'  {called}: ' + ', '.join(f'{name} {n:.2f}' for name, n in kinds.items()
                                                      if n >= 0.05))

    def show(self):
        report = self.save()
        self.show_kinds()
        table.show_rows(report['rows'], self.args.contestants, {'vhost': 'QEMU vhost-net'})
        print(f'\n{report["host"]} host, Linux {report["kernel"]}; two guests, a virtual processor and '
              f'{MEMORY_MB} MiB each, on one wire with their host; counts of both guests and the '
              'switch together')
        for retry in self.retries:
            print(f'failed or started again: {retry}')
