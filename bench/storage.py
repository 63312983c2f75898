# SPDX-License-Identifier: MIT
"""
The storage part: which disk is loaded how on which machine, and its rows.

A phase is named DISK.OPERATION-DEPTH-JOBS; results are kept by phase and queues,
"brd.read-32-1@2". Queues are virtual processors and I/O threads as well.
"""

BYTES = {'read': '4 KB random read', 'write': '4 KB random write', 'mixed': '4 KB mixed 70/30',
         'busyread': '4 KB random read beside busy processors',
         'seqread': '128 KB read', 'seqwrite': '128 KB write'}
FULL = ([f'{op}-{depth}-{jobs}' for op in ('read', 'write') for depth in (1, 8, 32, 128)
         for jobs in (1, 4)] +
        ['busyread-1-1', 'mixed-32-1', 'mixed-32-4', 'seqread-8-1', 'seqwrite-8-1'])
IMAGE = ['read-1-1', 'read-32-1', 'write-32-1', 'seqread-8-1', 'seqwrite-8-1']

# {queues: {disk: [load]}}
SHORT_LOADS = {1: {'brd': ['read-1-1', 'read-32-1', 'write-32-1', 'seqread-8-1'],
                   'null': ['read-32-1'],
                   'raw': ['read-32-1', 'write-32-1'],
                   'vhdx': ['read-32-1', 'write-32-1']},
               2: {'brd': ['read-32-1', 'read-32-4']}}
FULL_LOADS = {1: {'brd': FULL, 'null': FULL, 'raw': IMAGE, 'vhdx': IMAGE},
              2: {'brd': FULL, 'null': FULL},
              4: {'brd': FULL, 'null': FULL}}

# Each image format has its peer; what has none only takes time.
SHORT_DISKS = {'tabique': ('brd', 'null', 'raw', 'vhdx'), 'pc': ('brd', 'null', 'vhdx'),
               'scsi': ('brd',), 'microvm': ()}
FULL_DISKS = {'tabique': ('brd', 'null', 'raw', 'vhdx'), 'pc': ('brd', 'null', 'raw', 'vhdx'),
              'scsi': ('brd', 'null'), 'microvm': ('brd',)}

# Per I/O at depth 32 and one job, on the RAM disk.
LIMITS = {'exits_without_ticks': 0.5, 'doorbells': 0.1, 'device_interrupts': 0.2, 'syscalls': 0.25}
VIRTIO_FACTOR = {1: 1.0, 32: 1.5}
VHDX_TO_RAW, VHDX_TO_QEMU = 0.9, 2.0


class Plan:
    """What this run does of it."""

    def __init__(self, args, host_disks):
        self.loads = FULL_LOADS if args.full else SHORT_LOADS
        self.disks = FULL_DISKS if args.full else SHORT_DISKS
        # One that could not be made here, or was not asked for.
        self.there = [d for d in args.disks.split(',') if d == 'null' or d in host_disks]
        self.queues = [q for q in self.loads if q in args.queues]

    def phases(self, machine, queues):
        if machine == 'microvm' and queues > 1:
            return []
        return [f'{disk}.{load}' for disk in self.machine_disks(machine, queues)
                for load in self.loads[queues][disk]]

    def machine_disks(self, machine, queues):
        return [disk for disk in self.loads.get(queues, {})
                if disk in self.disks[machine] and disk in self.there]


def key(phase, queues):
    return phase if queues == 1 else f'{phase}@{queues}'


def describe(name):
    phase, _, queues = name.partition('@')
    disk, _, load = phase.partition('.')
    op, depth, jobs = load.split('-')
    text = f'{disk}: {BYTES[op]}, depth {depth}'
    if jobs != '1':
        text += f', {jobs} jobs'
    if queues:
        text += f', {queues} queues'
    return text, disk, op, int(depth), int(jobs), int(queues or 1)


def measured(report):
    """Keys in the order of the plan."""
    found = []
    for loads in (FULL_LOADS, SHORT_LOADS):
        for queues, disks in loads.items():
            for disk, names in disks.items():
                found += [key(f'{disk}.{name}', queues) for name in names]
    there = {k for m in report['counts'].values() for k in m} | {
        k for m in report['medians'].values() for k in m}
    return [k for k in dict.fromkeys(found) if k in there]


def add_rows(table):
    for name in measured(table.report):
        text, disk, op, depth, jobs, queues = describe(name)
        rate = 'MB/s' if op.startswith('seq') else 'IOPS'
        simple = jobs == 1 and queues == 1 and op in ('read', 'write')
        factor = None
        if disk == 'vhdx':
            factor = VHDX_TO_QEMU
        elif disk == 'brd' and op in ('read', 'write'):
            factor = VIRTIO_FACTOR.get(depth)
        table.add(f'{text}, {rate}', table.median(name), 'more', factor=factor)
        if disk == 'vhdx':
            add_vhdx_to_raw(table, name)
        strict = disk == 'brd' and simple and depth == 32
        for what, label in (('exits_without_ticks', 'exits/I/O but for ticks'),
                            ('exits', 'all exits/I/O'),
                            ('user_exits', 'exits to user space/I/O'),
                            ('doorbells', 'doorbells/I/O'),
                            ('device_interrupts', 'interrupts/I/O'),
                            ('syscalls', 'system calls/I/O'),
                            ('instructions', 'host instructions/I/O')):
            limit = LIMITS.get(what) if strict else None
            if what == 'user_exits':
                limit = 0.01
            table.add(f'  {label}', table.per(name, what, 'done'), 'less', limit=limit)


def add_vhdx_to_raw(table, name):
    """Of each machine, its own raw file on the same file system."""
    vhdx, raw = table.median(name), table.median(name.replace('vhdx.', 'raw.'))
    ratios = {m: vhdx[m] / raw[m] for m in vhdx if vhdx.get(m) and raw.get(m)}
    table.add('  to the raw file beside it', ratios, 'more', limit=VHDX_TO_RAW)
