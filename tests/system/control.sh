#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 300
#
# Every verb of the control socket does what it says.

. "$(dirname "$0")/lib.sh"

memory=512M
make_disk 16
guest --disk "path=$disk" --net nat --name box <<'END'
n=0
echo "up: 1"
while :; do
	n=$((n + 1))
	echo "tick: $n"
	usleep 200000
done
END
wait_for '^tick: 3'

status=$(ctl status)
check name box "$(jq -r .name <<<"$status")"
check state running "$(jq -r .state <<<"$status")"
check processors 1 "$(jq -r .cpus <<<"$status")"
check memory $((512 * 1048576)) "$(jq -r .memory_bytes <<<"$status")"
check_true 'inspect is JSON' jq -e '.vmbus and .partition' <<<"$(ctl inspect)" >/dev/null

# Disks while it runs; what a guest makes of them is scsi.sh's and hot-plug.sh's.
check 'disks' disk0 "$(ctl disk list | jq -r '[.list[].id] | join(" ")')"
truncate -s 8M "$work/more.img"
check 'a further disk' more "$(ctl disk add "path=$work/more.img" id=more iops=500 | jq -r .id)"
check 'its address' 1 "$(ctl disk list | jq -r '.list[] | select(.id == "more").lun')"
check 'its limit' 500 "$(ctl disk qos id=more | jq -r .iops)"
check 'a larger size' $((16 * 1048576)) "$(ctl disk resize id=more size=16M | jq -r .bytes)"
check 'no smaller one by mistake' 1 "$(ctl disk resize id=more size=1M 2>/dev/null >&2; echo $?)"
check 'an empty drive' dvd0 "$(ctl dvd add | jq -r .id)"
truncate -s 1M "$work/disc.iso"
check_true 'a disc' ctl disk change id=dvd0 "path=$work/disc.iso" >/dev/null
check_true 'an eject' ctl disk eject id=dvd0 force=true >/dev/null
check 'a policy' 100 "$(ctl policy add name=gold iops=100 | jq -r .iops)"
check 'policies' gold "$(ctl policy list | jq -r '.policies[0].name')"
for verb in 'disk remove' 'disk remove id=nobody' 'disk add' 'disk add path=/nowhere' 'disk add path=x colour=red'; do
	# shellcheck disable=SC2086  # words
	ctl $verb >"$work/out" 2>"$work/err"
	check "status of '$verb'" 1 $?
	check "lines about '$verb'" 1 "$(wc -l <"$work/err")"
done
check_true 'the drive goes' ctl disk remove id=dvd0 >/dev/null
check_true 'the disk goes' ctl disk remove id=more >/dev/null
check 'disks afterwards' disk0 "$(ctl disk list | jq -r '[.list[].id] | join(" ")')"

# A disk whose first read fails: the guest, which looks at it, is paused until somebody says "again".
check 'a sick disk' sick "$(ctl disk add path=null:8M id=sick on-error=stop fault=fail:read:nth=1:ENOSPC | jq -r .id)"
for _ in {1..100}; do
	[ "$(ctl status | jq -r .state)" = running ] || break
	sleep 0.2
done
check 'why it is paused' 'disk sick: No space left on device' "$(ctl status | jq -r .reason)"
check 'tried again' running "$(ctl disk retry id=sick | jq -r .state)"
check 'no reason any more' null "$(ctl status | jq -r .reason)"
before=$(said tick)
wait_for "^tick: $((before + 3))\$"
check_true 'it goes, too' ctl disk remove id=sick >/dev/null
check 'nothing to try again' running "$(ctl disk retry | jq -r .state)"

check 'pause' paused "$(ctl pause | jq -r .state)"
check 'state when paused' paused "$(ctl status | jq -r .state)"
sleep 0.5
before=$(said tick)
sleep 2
check 'ticks when paused' "$before" "$(said tick)"
check 'resume' running "$(ctl resume | jq -r .state)"
wait_for "^tick: $((before + 3))\$"

check_true 'nmi is taken' ctl nmi >/dev/null
expect 'the NMI arrived' 'NMI received' 30

check_true 'reset is taken' ctl reset >/dev/null
for _ in {1..300}; do
	[ "$(said_lines up | grep -c .)" -lt 2 ] || break
	kill -0 "$guest_pid" 2>/dev/null || guest_broke 'ended at a reset'
	sleep 0.3
done
check 'boots' 2 "$(said_lines up | grep -c .)"
check 'resets' 1 "$(ctl status | jq -r .resets)"

ctl nonsense >"$work/out" 2>"$work/err"
check 'status of an unknown verb' 1 $?
check 'lines about it' 1 "$(wc -l <"$work/err")"

check_true 'quit is taken' ctl quit >/dev/null
guest_ends 0 20
check 'socket left behind' no "$([ -e "$work/control" ] && echo yes || echo no)"
ctl status >/dev/null 2>"$work/err"
check 'status of a verb to nobody' 2 $?
check 'lines about it' 1 "$(wc -l <"$work/err")"
