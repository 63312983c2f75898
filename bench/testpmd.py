#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
bench/testpmd.py [--seconds N] [--bytes LIST]: DPDK's testpmd beside our switch.

A vhost-user port in one process that only receives, on the first processor, and a
virtio-user port in another that only sends, on the second: frames of so many
bytes from one to the other through one queue, one core each. A comma makes a frame
of several segments. Prints JSON: bytes: frames a second (best and median of the
seconds seen), or why there are none.

Needs root (huge pages of its own, given back afterwards) and Debian's dpdk-dev.
"""
import sys
sys.dont_write_bytecode = True

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

PAGES = 640  # of 2 MiB
NR_PAGES = '/proc/sys/vm/nr_hugepages'
# In the namespace that huge_pages() makes.
MOUNTED = 'TABIQUE_BENCH_HUGE'
SIZES = '64,1514,9000'


class CannotRun(Exception):
    pass


def pages():
    with open(NR_PAGES, encoding='ascii') as f:
        return int(f.read())


def set_pages(number):
    with open(NR_PAGES, 'w', encoding='ascii') as f:
        f.write(str(number))


def command(cpu, huge, prefix, device, extra, seconds):
    # Both threads of a process share its processor: the one that works, and one that sleeps.
    return [*shield(), 'timeout', '-s', 'KILL', str(seconds + 30), 'dpdk-testpmd',
            '--lcores', f'0@{cpu},1@{cpu}', '-m', '512', '--huge-dir', huge, '--no-pci',
            '--no-telemetry', '--file-prefix', prefix, *extra[0], '--vdev', device, '--',
            '--total-num-mbufs=16384', '--auto-start', '--no-mlockall', '--stats-period', '1',
            *extra[1]]


def shield():
    return ['chrt', '-r', '1'] if os.environ.get('TABIQUE_BENCH_RT') else []


def measure(size, seconds, huge, work):
    """Frames a second that arrived, of each second."""
    path, name = f'{work}/sock', f'tabique{os.getpid()}'
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise CannotRun('two processors are needed')
    jumbo = ['--max-pkt-len=9600', '--mbuf-size=9800'] if int(size) > 1518 else []
    taker = command(cpus[0], huge, f'{name}s', f'net_vhost0,iface={path},queues=1',
                    ([], ['--forward-mode=rxonly', *jumbo]), seconds)
    sender = command(cpus[1], huge, f'{name}c',
                     f'net_virtio_user0,path={path},queues=1,mrg_rxbuf=1,in_order=1',
                     (['--single-file-segments'],
                      # in this order: what a buffer holds decides what may be sent
                      ['--forward-mode=txonly', *jumbo, f'--txpkts={size}']), seconds)
    with open(f'{work}/taker.log', 'w+b') as log, open(f'{work}/sender.log', 'w+b') as other:
        running = [subprocess.Popen(taker, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True)]
        try:
            deadline = time.monotonic() + 20
            while not os.path.exists(path):
                if running[0].poll() is not None or time.monotonic() > deadline:
                    raise CannotRun(last_line(log))
                time.sleep(0.1)
            running.append(subprocess.Popen(sender, stdin=subprocess.DEVNULL, stdout=other,
                                            stderr=other, start_new_session=True))
            time.sleep(seconds + 3)
            if running[1].poll() is not None:
                raise CannotRun(last_line(other))
        finally:
            for process in reversed(running):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        seen = re.findall(rb'Rx-pps:\s+(\d+)\s+Rx-bps:\s+(\d+)', log.read())
    # The first and the last second are not whole.
    seen = [(int(rate), int(bits)) for rate, bits in seen if int(rate)][1:-1]
    rates = [rate for rate, _ in seen]
    if any(abs(bits / 8 / rate - int(size)) > 1 for rate, bits in seen):
        raise CannotRun('testpmd sent frames of another size')
    if not rates:
        raise CannotRun('nothing arrived')
    return rates


def last_line(log):
    log.seek(0)
    lines = log.read().decode(errors='replace').split('\n')
    return 'testpmd: ' + next((x.strip() for x in lines if 'rror' in x or 'annot' in x), 'ended')


def inside(args):
    """In a mount namespace of our own."""
    work = os.environ[MOUNTED]
    huge, before = f'{work}/huge', pages()
    os.mkdir(huge)
    found = {}
    try:
        set_pages(before + PAGES)
        if pages() < before + PAGES:
            raise CannotRun(f'the kernel has no {PAGES} huge pages for us')
        subprocess.run(['mount', '-t', 'hugetlbfs', 'none', huge], check=True)
        for size in args.bytes.split(','):
            try:
                rates = measure(size, args.seconds, huge, work)
                found[size] = {'frames': max(rates), 'median_frames': statistics.median(rates),
                               'gigabytes': max(rates) * int(size) / 1e9}
            except CannotRun as e:
                found[size] = {'error': str(e)}
            if os.path.exists(f'{work}/sock'):
                os.unlink(f'{work}/sock')
        subprocess.run(['umount', huge], check=False)
    except (CannotRun, OSError, subprocess.CalledProcessError) as e:
        found = {size: {'error': str(e)} for size in args.bytes.split(',')}
    finally:
        set_pages(before)
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--seconds', type=int, default=5)
    parser.add_argument('--bytes', default=SIZES)
    args = parser.parse_args()
    if MOUNTED in os.environ:
        inside(args)
        return
    missing = next((p for p in ('dpdk-testpmd', 'unshare') if not shutil.which(p)), None)
    if missing or os.geteuid():
        why = f'there is no {missing}; run tools/setup bench' if missing else 'needs root'
        print(json.dumps({size: {'error': why} for size in args.bytes.split(',')}))
        return
    with tempfile.TemporaryDirectory(prefix='tabique-testpmd') as work:
        subprocess.run(['unshare', '-m', sys.executable, os.path.realpath(__file__), '--seconds',
                        str(args.seconds), '--bytes', args.bytes],
                       env={**os.environ, MOUNTED: work}, check=True)


if __name__ == '__main__':
    main()
