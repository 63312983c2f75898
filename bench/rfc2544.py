#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
bench/rfc2544.py [--ms N] [--rounds N] [--sizes LIST] [--build DIR] [--json PATH]: loss and latency beside the
Linux bridge.

Frames go from a veth, through our switch (its uplink, by packet sockets) to the host's port, a TAP device; and
from a veth through a Linux bridge to another veth, both in the same run, in turn. For each size the highest
rate without loss, found by bisection, and the latency at half of it: bench/native/rfc2544.c. What is measured
is the way of a frame between two devices of the host, the dearest that the switch has: system calls on
both sides, where the bridge has none. Between guests see bench_vswitch.

Needs root. It makes a network namespace of its own.
"""
import sys
sys.dont_write_bytecode = True

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile

SIZES = '64,256,512,1024,1518,9000'
MTU = '9000'


def run(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    if done.returncode:
        sys.exit(f'rfc2544: {" ".join(words)}: {done.stdout}{done.stderr}')
    return done.stdout


def veth(one, other):
    run('ip', 'link', 'add', one, 'mtu', MTU, 'type', 'veth', 'peer', 'name', other, 'mtu', MTU)
    for name in (one, other):
        run('ip', 'link', 'set', name, 'up')


def make_bridge():
    run('ip', 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0')
    run('ip', 'link', 'set', 'br0', 'mtu', MTU, 'up')
    for n in range(2):
        veth(f'b-end{n}', f'b-port{n}')
        run('ip', 'link', 'set', f'b-port{n}', 'master', 'br0')
    return 'b-end0', 'b-end1'


def make_switch(tabique):
    veth('s-end', 's-up')
    run(tabique, 'switch', 'create', 'rfc2544', 'kind=external', 'uplink=s-up', 'host-port=s-host',
        f'mtu={MTU}', 'threads=1')
    run('ip', 'link', 'set', 's-host', 'mtu', MTU, 'up')
    return 's-end', 's-host'


def trials(args, ends):
    """{bytes: {who: [what one bisection found]}}"""
    found = {}
    for number in range(args.rounds):
        for size in args.sizes.split(','):
            for who, (out, into) in ends.items():
                print(f'round {number + 1}, {size} bytes, {who}', file=sys.stderr)
                line = run(f'{args.build}/bench/native/bench_rfc2544', out, into, size, str(args.ms))
                found.setdefault(size, {}).setdefault(who, []).append(json.loads(line))
    return found


def middle(rows, name):
    return statistics.median(row[name] for row in rows)


def show(found):
    print(f'{"bytes":>6} {"switch, frames/s":>17} {"bridge":>9} {"ratio":>6}   '
          f'{"latency, us: switch":>19} {"bridge":>7} {"99 %: switch":>13} {"bridge":>7}')
    for size, by in found.items():
        rates = [middle(by[who], 'pps') for who in ('switch', 'bridge')]
        times = [middle(by[who], name) for name in ('latency_us', 'latency_99_us') for who in ('switch', 'bridge')]
        print(f'{size:>6} {rates[0]:>17,.0f} {rates[1]:>9,.0f} {rates[0] / max(rates[1], 1):>6.2f}   '
              f'{times[0]:>19,.0f} {times[1]:>7,.0f} {times[2]:>13,.0f} {times[3]:>7,.0f}')


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--ms', type=int, default=300)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--sizes', default=SIZES)
    parser.add_argument('--build', default=os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'build'))
    parser.add_argument('--json')
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit('rfc2544: needs root')
    if os.environ.get('TABIQUE_RFC2544') != 'inside':
        os.environ['TABIQUE_RFC2544'] = 'inside'
        os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])
    tabique, place = f'{args.build}/tabique', tempfile.mkdtemp(prefix='tabique-rfc2544-')
    os.environ['TABIQUE_SWITCH_DIR'] = place
    for which in ('all', 'default'):
        with open(f'/proc/sys/net/ipv6/conf/{which}/disable_ipv6', 'w', encoding='ascii') as f:
            f.write('1')
    try:
        found = trials(args, {'switch': make_switch(tabique), 'bridge': make_bridge()})
    finally:
        subprocess.run([tabique, 'switch', 'delete', 'rfc2544'], stdin=subprocess.DEVNULL, check=False,
                       capture_output=True)
        shutil.rmtree(place, ignore_errors=True)
    show(found)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as f:
            json.dump(found, f, indent=1)


main()
