#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# The guest resets its controller while requests are held up below, on two queues:
# nothing hangs, nothing is lost, and the disk works on.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes cpus=2
truncate -s 32M "$work/slow.img" "$work/quick.img"
obedient --io-threads 2 --disk "path=$work/slow.img,fault=delay:3s:read" --disk "path=$work/quick.img"
inside 'slow=$(disk-at 0) quick=$(disk-at 1); guest-io fill $slow 8 1; guest-io fill $quick 8 2' || fail "$answer"
inside 'held() { taskset $1 dd if=$slow of=/dev/null bs=4096 skip=$2 count=1 iflag=direct 2>/dev/null; echo "$?" >>/tmp/reads; }'
inside 'uptime_s() { cut -d . -f 1 /proc/uptime; }'
inside 'n=0; for kind in device host; do held 1 $n & held 2 $((n + 1)) & sleep 1; s=$(uptime_s); sg_reset --$kind $slow; echo "reset by $kind: $? after $(($(uptime_s) - s)) s"; n=$((n + 8)); done; wait; wc -l </tmp/reads' 150
echo "$answer"
check 'reads that came back' 4 "$(tail -n 1 <<<"$answer" | tr -d ' ')"
inside 'sg_reset --host $slow; echo $?'
check 'a reset with nothing in flight' 0 "$answer"
inside 'guest-io verify $quick 8 2; dd if=$slow bs=1M count=8 iflag=direct 2>/dev/null | sha256sum' 120
check 'the other disk' 'guest-io: verified 8 MB ok' "$(head -n 1 <<<"$answer")"
check 'what is on the slow one' "$(head -c 8M "$work/slow.img" | sha256sum)" "$(tail -n 1 <<<"$answer")"
tree=$(ctl inspect)
dismiss
check_less 'resets seen from here, too few' "$(jq '2 - ([.. | objects | .resets? // empty | numbers] | max)' <<<"$tree")" 1
check 'still in flight' 0 "$(jq '[.disks.list[].in_flight] | add' <<<"$tree")"
