# SPDX-License-Identifier: MIT
"""From what was measured to the rows that are shown, each with what we want of it."""
import re

import storage
from counters import EOI_MSRS, TIMER_MSRS

QEMU = ('pc', 'scsi', 'microvm')


def parse_result(phase, text):
    """A guest's line of result: (value, {packets, done or megabytes}), value None if it failed."""
    packets, _, rest = text.partition(' ')
    work = {'packets': int(packets) if packets.lstrip('-').isdigit() else 0}
    if phase == 'idle':
        return 0, work
    if phase.startswith('tcp'):
        found = re.search(r'sec +([\d.]+) ([KMG])Bytes +([\d.]+) MBytes/sec', rest)
        if not found:
            return None, work
        work['megabytes'] = float(found[1]) * {'K': 1 / 1024, 'M': 1, 'G': 1024}[found[2]]
        return float(found[3]), work
    found = re.search(r': ([\d.]+) .* (\d+) done', rest)
    if not found:
        return None, work
    work['done'] = int(found[2])
    return float(found[1]), work


def per(machine_counts, phase, what, unit):
    """A count of a phase divided by its work, our own lines on the console left out."""
    counts = machine_counts.get(phase)
    if not counts or counts.get(what) is None or not counts.get(unit):
        return None
    n = counts[what]
    if what.startswith('exits') or what == 'user_exits':
        n = max(0, n - counts['console'])  # some are merged on their way to us
    return n / counts[unit]


class Rows:
    def __init__(self, report, peers=QEMU):
        self.report, self.qemu = report, peers
        self.rows = []

    def add(self, name, values, better, limit=None, factor=None):
        """
        One row. better: 'less' or 'more'. Wanted is a fixed limit, or a factor to
        the best QEMU; without either the row only informs.
        """
        values = {m: v for m, v in values.items() if v is not None}
        peers = [values[m] for m in self.qemu if m in values]
        ours = values.get('tabique')
        best = (min(peers) if better == 'less' else max(peers)) if peers else None
        row = {'name': name, 'values': values, 'better': better, 'limit': limit, 'factor': factor,
               'ratio': ours / best if ours is not None and best else None, 'ok': None}
        if ours is not None:
            bounds = [limit] if limit is not None else []
            if factor is not None and best is not None:
                bounds.append(best * factor)
            for bound in bounds:
                ok = ours <= bound if better == 'less' else ours >= bound
                row['ok'] = ok and row['ok'] is not False
        self.rows.append(row)

    def median(self, row):
        """Without timed rounds the counting one must do."""
        if not self.report['rounds']:
            return self.counted(row, 'value')
        return {m: self.report['medians'].get(m, {}).get(row) for m in self.report['machines']}

    def counted(self, phase, what):
        return {m: self.report['counts'].get(m, {}).get(phase, {}).get(what)
                for m in self.report['machines']}

    def per(self, phase, what, unit):
        return {m: per(self.report['counts'].get(m, {}), phase, what, unit)
                for m in self.report['machines']}


def without_ticks(boot):
    """What does not grow with the time that a start takes."""
    if not boot or not boot['detail'].get('exit'):
        return None
    exits, msrs = boot['detail']['exit'], boot['detail'].get('msr', {})
    return (boot['exits'] - exits.get('interrupt', 0) - exits.get('interrupt window', 0) -
            sum(msrs.get(msr, 0) for msr in TIMER_MSRS + EOI_MSRS))


def boot_rows(table):
    medians, counts = table.report['medians'], table.report['counts']
    machines = table.report['machines']
    table.add('start to init, s', table.median('boot'), 'less', factor=0.8)
    table.add('  kernel unpacked before, s',
              {m: medians.get(f'{m} elf', {}).get('boot') for m in machines}, 'less')
    table.add('  exits', table.counted('boot', 'exits'), 'less', limit=3400)
    table.add('  exits but for ticks and host interrupts',
              {m: without_ticks(counts.get(m, {}).get('boot')) for m in machines}, 'less')
    table.add('  exits, kernel unpacked before',
              {m: counts.get(f'{m} elf', {}).get('boot', {}).get('exits') for m in machines},
              'less')
    table.add('  exits to user space', table.counted('boot', 'user_exits'), 'less')


def idle_rows(table):
    memory = {m: (c or {}).get('rss_kb') for m, c in table.counted('idle', 'memory').items()}
    pss = {m: (c or {}).get('pss_kb') for m, c in table.counted('idle', 'memory').items()}
    for name, values, limit in (('memory beside RAM (RSS), MiB', memory, 6),
                                ('  proportional (PSS), MiB', pss, None)):
        table.add(name, {m: v / 1024 for m, v in values.items() if v}, 'less', limit=limit)
    table.add('idle guest, exits/s', table.per('idle', 'exits', 'seconds'), 'less')
    table.add('  exits to user space/s', table.per('idle', 'user_exits', 'seconds'), 'less')
    table.add('  system calls/s', table.per('idle', 'syscalls', 'seconds'), 'less')


def work_rows(table, phase, name, unit, unit_name, factor):
    table.add(name, table.median(phase), 'more', factor=factor)
    table.add(f'  exits/{unit_name}', table.per(phase, 'exits', unit), 'less')
    wanted = 0.01 if unit == 'done' else None
    table.add(f'  exits to user space/{unit_name}', table.per(phase, 'user_exits', unit), 'less',
              limit=wanted)
    if unit == 'megabytes':
        table.add('  exits to user space/packet', table.per(phase, 'user_exits', 'packets'), 'less',
                  limit=0.01)
    table.add(f'  interrupts/{unit_name}', table.per(phase, 'interrupts', unit), 'less')
    table.add(f'  system calls/{unit_name}', table.per(phase, 'syscalls', unit), 'less')
    table.add(f'  host instructions/{unit_name}', table.per(phase, 'instructions', unit), 'less')


def rows(report):
    table = Rows(report)
    boot_rows(table)
    idle_rows(table)
    storage.add_rows(table)
    work_rows(table, 'tcpout', 'TCP from guest, MiB/s', 'megabytes', 'MiB', 1.0)
    work_rows(table, 'tcpin', 'TCP to guest, MiB/s', 'megabytes', 'MiB', 1.0)
    work_rows(table, 'latency', 'TCP round trips/s', 'done', 'trip', None)
    return table.rows


def number(value):
    if value is None:
        return 'n/a'
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.2f}' if value >= 1 or value == 0 else f'{value:.4f}'


def show_rows(rows, machines, names):
    """names: what a machine is called, where it is not by its own."""
    head = ['', *[names.get(m, m) for m in machines], 'ratio', 'wanted', '']
    lines = []
    for row in rows:
        if not row['values'] or ('instructions' in row['name'] and 'tabique' not in row['values']):
            continue
        sign = '<=' if row['better'] == 'less' else '>='
        wanted = []
        if row['limit'] is not None:
            wanted.append(f'{sign} {row["limit"]:,}')
        if row['factor'] is not None:
            wanted.append(f'{sign} {row["factor"]} x')
        verdict = {True: 'ok', False: 'SHORT', None: ''}[row['ok']]
        lines.append([row['name'], *[number(row['values'].get(m)) for m in machines],
                      f'{row["ratio"]:.2f}' if row['ratio'] is not None else '',
                      ', '.join(wanted), verdict])
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        cells = [line[0].ljust(widths[0]), *[c.rjust(w) for c, w in zip(line[1:], widths[1:])]]
        print('  '.join(cells).rstrip())


def show(report):
    show_rows(report['rows'], report['machines'], {m: f'QEMU {m}' for m in QEMU})
    times = f'median of {report["rounds"]}, alternating' if report['rounds'] else (
        'one cold round, taken while counting')
    disks = ', '.join(report['disks'])
    print(f'\n{report["host"]} host, Linux {report["kernel"]}, disks {disks};\n'
          f'a virtual processor per queue, 512 MiB; times: {times};\n'
          'counts: one round of their own; ratio: Tabique to the best QEMU; pc has virtio-blk, '
          'scsi is pc with virtio-scsi')
    first = report['counts'].get('tabique', {}).get('boot', {}).get('value')
    if first and report['rounds']:
        print('Tabique keeps an unpacked kernel for the next start; the first one, in the counting '
              f'round: {first:.2f} s')
    if report['host'] == 'emulated':
        print('times on an emulated processor say little; counts are exact. Host instructions: n/a')
    for retry in report['retries']:
        print(f'failed or started again: {retry}')
