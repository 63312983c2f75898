# SPDX-License-Identifier: MIT
"""The contestants: how each is started, with the same disk, network and guest."""
import json
import os
import selectors
import signal
import subprocess
import time

MEMORY_MB = 512
APPEND = 'console=ttyS0 quiet panic=-1 rdinit=/bench/init'

NULL_BYTES = 256 << 20


class Host:
    """
    What all of them share; paths are on a file system in memory. disks: the path
    behind each of them: brd (a block device, or a file for want of one), raw and
    vhdx (files on one file system), null (no path: nothing).
    """

    def __init__(self, work, tabique, qemu, disks):
        self.work, self.tabique, self.qemu, self.disks = work, tabique, qemu, disks
        self.vmlinuz = f'{work}/vmlinuz'
        self.vmlinux = f'{work}/vmlinux'


def tabique_command(host, initrd, append, queues=1, disks=('brd',), elf=False):
    command = [host.tabique, 'run', '--cpus', str(queues), '--memory', f'{MEMORY_MB}M',
               '--kernel', host.vmlinux if elf else host.vmlinuz, '--initrd', initrd,
               '--append', f'{APPEND} bench.drivers=hyperv {append}',
               '--net', 'nat', '--serial', 'stdio', '--no-reboot', '--io-threads', str(queues),
               '--control', f'unix:{host.work}/control']
    for disk in disks:
        if disk == 'null':
            command += ['--disk', f'path=null:{NULL_BYTES >> 20}M']
        else:
            command += ['--disk', f'path={host.disks[disk]}']
    return command


def qemu_common(host, queues, disks):
    command = [host.qemu, '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio',
               '-cpu', 'host', '-smp', str(queues), '-m', str(MEMORY_MB), '-no-reboot',
               '-netdev', 'user,id=net0']
    for i in range(queues):
        command += ['-object', f'iothread,id=io{i}']
    for disk in disks:
        if disk == 'null':
            command += ['-blockdev', f'driver=null-co,node-name={disk},size={NULL_BYTES},'
                        'read-zeroes=on']
            continue
        path = host.disks[disk]
        kind = 'host_device' if path.startswith('/dev/') else 'file'
        direct = f'driver={kind},node-name={disk}-file,filename={path},aio=io_uring,cache.direct=on'
        image = 'vhdx' if disk == 'vhdx' else 'raw'
        command += ['-blockdev', direct, '-blockdev',
                    f'driver={image},node-name={disk},file={disk}-file,cache.direct=on']
    return command


def virtio_blk(disk, queues):
    """One I/O thread for each queue."""
    device = {'driver': 'virtio-blk-pci', 'drive': disk, 'num-queues': queues}
    if queues == 1:
        device['iothread'] = 'io0'
    else:
        device['iothread-vq-mapping'] = [{'iothread': f'io{i}'} for i in range(queues)]
    return ['-device', json.dumps(device)]


def pc(host, initrd, append, queues, disks, devices):
    return [*qemu_common(host, queues, disks), '-machine', 'pc,accel=kvm,vmport=off', *devices,
            '-device', 'virtio-net-pci,netdev=net0,romfile=',
            '-kernel', host.vmlinuz, '-initrd', initrd,
            '-append', f'{APPEND} bench.drivers=virtio {append}']


def pc_command(host, initrd, append, queues=1, disks=('brd',)):
    devices = [word for disk in disks for word in virtio_blk(disk, queues)]
    return pc(host, initrd, append, queues, disks, devices)


def scsi_command(host, initrd, append, queues=1, disks=('brd',)):
    devices = ['-device', f'virtio-scsi-pci,id=scsi,iothread=io0,num_queues={queues}']
    for lun, disk in enumerate(disks):
        devices += ['-device', f'scsi-hd,drive={disk},bus=scsi.0,scsi-id=0,lun={lun}']
    return pc(host, initrd, append, queues, disks, devices)


def microvm_command(host, initrd, append, queues=1, disks=('brd',), elf=False):
    # With rtc=on, or a stock kernel waits for the clock for seconds; without PIT and PIC,
    # and with virtio 1 instead of the legacy layout that virtio-mmio has by default.
    devices = [word for disk in disks
               for word in ('-device', f'virtio-blk-device,drive={disk},iothread=io0')]
    return [*qemu_common(host, queues, disks),
            '-machine', 'microvm,accel=kvm,rtc=on,pit=off,pic=off',
            '-global', 'virtio-mmio.force-legacy=false', *devices,
            '-device', 'virtio-net-device,netdev=net0',
            '-kernel', host.vmlinux if elf else host.vmlinuz, '-initrd', initrd,
            '-append', f'{APPEND} bench.drivers=virtio {append}']


MACHINES = {'tabique': tabique_command, 'pc': pc_command, 'scsi': scsi_command,
            'microvm': microvm_command}


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

    def say(self, text):
        """A line typed on its serial port."""
        self.process.stdin.write(text.encode() + b'\n')
        self.process.stdin.flush()

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
