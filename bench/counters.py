# SPDX-License-Identifier: MIT
"""
What the host's kernel counts: histograms on trace events, kept in the kernel by
thread and read before and after a phase; and what perf counts where it can.

A Snapshot maps an event to {key: hits} of one process's threads; two of them
subtract to what happened in between.
"""
import os
import re
import signal
import subprocess

EVENTS = {  # name: (event, key); every histogram is keyed by the thread as well
    'exit': ('kvm/kvm_exit', 'exit_reason'),
    'user': ('kvm/kvm_userspace_exit', 'reason'),
    'inject': ('kvm/kvm_inj_virq', 'vector'),
    'pio': ('kvm/kvm_pio', 'port'),
    'mmio': ('kvm/kvm_mmio', 'gpa.hex'),
    'msr': ('kvm/kvm_msr', 'ecx.hex'),
    'cpuid': ('kvm/kvm_cpuid', 'function.hex'),
    'hypercall': ('kvm/kvm_hv_hypercall', 'code'),
    'syscall': ('raw_syscalls/sys_enter', 'id.syscall'),
    'timer': ('irq_vectors/local_timer_entry', 'vector'),
}

# Deadline and synthetic timers, and the EOIs after interrupts.
TIMER_MSRS = ('6e0', '400000b0', '400000b1')
EOI_MSRS = ('40000070', '80b')
# Linux's vectors: its timers, by LAPIC and by synthetic timer; the bus; and from
# here up the kernel's own.
TIMER_VECTORS = (0xec, 0xed)
VMBUS_VECTOR = 0xf3
SYSTEM_VECTORS = 0xec
SIGNAL_EVENT = 0x5d
# IOAPIC to LAPIC: what is written elsewhere is a doorbell.
APIC_PAGES = range(0xfec00000, 0xfef00000)

SVM = {0x60: 'interrupt', 0x61: 'nmi', 0x64: 'interrupt window', 0x65: 'cr0', 0x6e: 'rdtsc',
       0x72: 'cpuid', 0x77: 'pause', 0x78: 'hlt', 0x7b: 'port', 0x7c: 'msr', 0x81: 'hypercall',
       0x87: 'rdtscp', 0x89: 'wbinvd', 0x8d: 'xsetbv', 0x400: 'page fault', 0x401: 'avic',
       0x402: 'avic unaccelerated'}
VMX = {0: 'exception', 1: 'interrupt', 7: 'interrupt window', 10: 'cpuid', 12: 'hlt',
       18: 'hypercall', 28: 'cr', 29: 'dr', 30: 'port', 31: 'msr', 32: 'msr', 40: 'pause',
       45: 'eoi', 48: 'page fault', 49: 'mmio', 52: 'timer', 54: 'wbinvd', 55: 'xsetbv',
       56: 'apic write'}
USER = {2: 'port', 5: 'hlt', 6: 'mmio', 7: 'interrupt window', 8: 'shutdown', 10: 'interrupted',
        24: 'system event', 26: 'ioapic eoi', 27: 'hyperv', 29: 'msr', 30: 'msr'}

SERIAL = range(0x3f8, 0x400)


def exit_names():
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as f:
        return SVM if ' svm' in f.read() else VMX


def interrupt_exit():
    """The reason of an exit because the host was interrupted."""
    return next(reason for reason, name in exit_names().items() if name == 'interrupt')


class Snapshot(dict):
    def __sub__(self, older):
        result = Snapshot()
        for event, hits in self.items():
            before = older.get(event, {})
            left = {key: n - before.get(key, 0) for key, n in hits.items()}
            result[event] = {key: n for key, n in left.items() if n}
        return result

    def total(self, event):
        return sum(self[event].values()) if event in self else None

    def console(self):
        """Accesses of the serial port: our own lines, each an exit to user space."""
        return sum(n for port, n in self.get('pio', {}).items() if int(port) in SERIAL)

    def sum(self, event, wanted):
        return sum(n for key, n in self.get(event, {}).items() if wanted(key))

    def doorbells(self):
        """By hypercall, or by a write to where a device is."""
        return (self.sum('hypercall', lambda code: int(code) == SIGNAL_EVENT) +
                self.sum('mmio', lambda gpa: int(gpa, 16) not in APIC_PAGES))

    def device_interrupts(self):
        return self.sum('inject', lambda v: int(v) < SYSTEM_VECTORS or int(v) == VMBUS_VECTOR)

    def ticks(self, interrupt_exit):
        """
        Exits that a clock causes and not the work: the guest's timers, set and
        acknowledged, and the host's timer, which interrupts the guest.
        """
        ticks = self.sum('inject', lambda v: int(v) in TIMER_VECTORS)
        return (self.sum('msr', lambda msr: msr in TIMER_MSRS) +
                min(ticks, self.sum('msr', lambda msr: msr in EOI_MSRS)) +
                min(self.total('timer') or 0,
                    self.sum('exit', lambda reason: int(reason) == interrupt_exit)))

    def named(self, names):
        """Readable: exits by name, everything biggest first."""
        def name(event, key):
            if event == 'exit':
                return names.get(int(key), hex(int(key)))
            if event == 'user':
                return USER.get(int(key), key)
            return hex(int(key)) if event == 'pio' else key
        result = {}
        for event, hits in self.items():
            merged = {}
            for key, n in hits.items():
                merged[name(event, key)] = merged.get(name(event, key), 0) + n
            result[event] = dict(sorted(merged.items(), key=lambda item: -item[1]))
        return result


class Tracer:
    """All histograms, on from start() to stop()."""

    def __init__(self, root='/sys/kernel/tracing'):
        self.root = root
        self.on = []

    def start(self):
        for name, (event, key) in EVENTS.items():
            place = f'{self.root}/events/{event}'
            trigger = f'hist:keys=common_pid,{key}:size=4096'
            try:
                with open(f'{place}/trigger', 'w', encoding='ascii') as f:
                    f.write(trigger)
            except OSError:
                continue  # not root, or no such event: n/a in the table
            self.on.append((name, place, trigger))

    def stop(self):
        for _, place, trigger in self.on:
            try:
                with open(f'{place}/trigger', 'w', encoding='ascii') as f:
                    f.write('!' + trigger)
            except OSError:
                pass
        self.on = []

    def read(self, pid):
        threads = set(os.listdir(f'/proc/{pid}/task'))
        line = re.compile(r'\{ common_pid: +(\d+), [\w.]+: +(.*?) *\} hitcount: +(\d+)')
        result = Snapshot()
        for name, place, _ in self.on:
            hits = result[name] = {}
            with open(f'{place}/hist', encoding='ascii', errors='replace') as f:
                for thread, key, n in line.findall(f.read()):
                    if thread in threads:
                        key = key.split(' ')[0]
                        hits[key] = hits.get(key, 0) + int(n)
        return result


class Instructions:
    """Instructions that the host (not the guest) retires for a process, by perf."""

    def __init__(self, pid, directory):
        self.out = f'{directory}/perf'
        try:
            self.perf = subprocess.Popen(
                ['perf', 'stat', '-x,', '-o', self.out, '-e', 'instructions:H', '-p', str(pid)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError:
            self.perf = None

    def stop(self):
        """The count; None when perf cannot."""
        if not self.perf:
            return None
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait()
        try:
            with open(self.out, encoding='ascii', errors='replace') as f:
                found = re.search(r'^(\d+),', f.read(), re.M)
        except OSError:
            return None
        return int(found[1]) if found else None


def perf_counts():
    """Does perf count instructions here? The emulated host has no such counter."""
    try:
        out = subprocess.run(['perf', 'stat', '-x,', '-e', 'instructions:H', 'true'],
                             capture_output=True, text=True, check=False, timeout=60).stderr
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(r'^\d+,', out, re.M) is not None


def memory_beside(pid, ram_bytes):
    """Resident and proportional KiB of a process without its guest's RAM."""
    rss = pss = size = 0
    left_out = []
    ram = False
    with open(f'/proc/{pid}/smaps', encoding='utf-8', errors='replace') as f:
        for line in f:
            head = re.match(r'[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)', line)
            if head:
                name = head[1]
            elif line.startswith('Size:'):
                size = int(line.split()[1])
                # Nothing else is of that order.
                ram = size * 1024 >= ram_bytes // 4
                if ram:
                    left_out.append(f'{size >> 10} MiB {name or "anonymous"}')
            elif not ram and line.startswith('Rss:'):
                rss += int(line.split()[1])
            elif not ram and line.startswith('Pss:'):
                pss += int(line.split()[1])
    return {'rss_kb': rss, 'pss_kb': pss, 'left_out': left_out}
