# SPDX-License-Identifier: MIT
"""The contestants: how each is started, with the same disk, network and guest."""
import os
import selectors
import signal
import subprocess
import time

MEMORY_MB = 512
APPEND = 'console=ttyS0 quiet panic=-1 rdinit=/bench/init'

QEMU_COMMON = ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio',
               '-cpu', 'host', '-smp', '1', '-m', str(MEMORY_MB), '-no-reboot',
               '-object', 'iothread,id=io0', '-netdev', 'user,id=net0']


class Host:
    """What all of them share; paths are on a file system in memory."""

    def __init__(self, work, tabique, qemu, disk):
        self.work, self.tabique, self.qemu, self.disk = work, tabique, qemu, disk
        self.vmlinuz = f'{work}/vmlinuz'
        self.vmlinux = f'{work}/vmlinux'


def tabique_command(host, initrd, append, elf=False):
    return [host.tabique, 'run', '--cpus', '1', '--memory', f'{MEMORY_MB}M',
            '--kernel', host.vmlinux if elf else host.vmlinuz, '--initrd', initrd,
            '--append', f'{APPEND} bench.drivers=hyperv {append}',
            '--disk', f'path={host.disk}', '--net', 'nat', '--serial', 'stdio', '--no-reboot',
            '--control', f'unix:{host.work}/control']


def qemu_disk(host):
    kind = 'host_device' if host.disk.startswith('/dev/') else 'file'
    return ['-blockdev', f'driver={kind},node-name=disk,filename={host.disk},'
            'aio=io_uring,cache.direct=on']


def pc_command(host, initrd, append):
    return [host.qemu, *QEMU_COMMON, '-machine', 'pc,accel=kvm,vmport=off', *qemu_disk(host),
            '-device', 'virtio-blk-pci,drive=disk,iothread=io0',
            '-device', 'virtio-net-pci,netdev=net0,romfile=',
            '-kernel', host.vmlinuz, '-initrd', initrd,
            '-append', f'{APPEND} bench.drivers=virtio {append}']


def microvm_command(host, initrd, append, elf=False):
    # With rtc=on, or a stock kernel waits for the clock for seconds; without PIT and PIC,
    # and with virtio 1 instead of the legacy layout that virtio-mmio has by default.
    return [host.qemu, *QEMU_COMMON,
            '-machine', 'microvm,accel=kvm,rtc=on,pit=off,pic=off',
            '-global', 'virtio-mmio.force-legacy=false', *qemu_disk(host),
            '-device', 'virtio-blk-device,drive=disk,iothread=io0',
            '-device', 'virtio-net-device,netdev=net0',
            '-kernel', host.vmlinux if elf else host.vmlinuz, '-initrd', initrd,
            '-append', f'{APPEND} bench.drivers=virtio {append}']


MACHINES = {'tabique': tabique_command, 'pc': pc_command, 'microvm': microvm_command}


class GuestFailed(Exception):
    pass


class Guest:
    """A running guest and the lines of its serial port."""

    def __init__(self, command, log):
        self.pending = b''
        self.tail = []
        self.log = open(log, 'ab', buffering=0)
        self.log.write((' '.join(command) + '\n').encode())
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.pid = self.process.pid
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def line(self, deadline):
        while b'\n' not in self.pending:
            if not self.selector.select(max(0, deadline - time.monotonic())):
                raise GuestFailed('it stands still; last: ' + ' | '.join(self.tail[-3:]))
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise GuestFailed('it ended; last: ' + ' | '.join(self.tail[-3:]))
            self.pending += data
            self.log.write(data)
        line, self.pending = self.pending.split(b'\n', 1)
        text = line.decode(errors='replace').strip()
        self.tail.append(text)
        return text

    def expect(self, mark, seconds):
        """The text after a mark, and when it came, in seconds from the start."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.line(deadline)
            at = time.monotonic()
            if 'bench: failed' in text:
                raise GuestFailed(text)
            if mark in text:
                return text.split(mark, 1)[1].strip(), at - self.started

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.selector.close()
        self.log.close()
