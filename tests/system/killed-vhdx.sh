#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 400
#
# kill -9 of the worker under fio's writes to a dynamic VHDX, five times: the image
# opens again, our checker and QEMU's find it whole, and what was flushed is there.

. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fio) memory=1G
new_image "$work/disk.vhdx" vhdx 256
for round in 1 2 3 4 5; do
	append="tabique.round=$round"
	guest --disk "path=$work/disk.vhdx" <<'END'
for word in $(cat /proc/cmdline); do
	case $word in tabique.round=*) round=${word#*=} ;; esac
done
d=$(disk-at 0)
if [ $round -gt 1 ]; then
	guest-io verify $d 8 $((round - 1)) | sed 's/^/before: /'
fi
guest-io fill $d 8 $round
echo "flushed: $round"
fio --output=/dev/null --name=a --filename=$d --direct=1 --ioengine=libaio --iodepth=16 --offset=16m --rw=randwrite --bsrange=4k-256k --fsync=24 --time_based --runtime=120 --randrepeat=0 --thread
END
	wait_for "^flushed: $round\$"
	[ $round = 1 ] || check "round $round: what the last one flushed" 'guest-io: verified 8 MB ok' "$(said before)"
	# Somewhere in the first two seconds of it.
	sleep "$((RANDOM % 2)).$((RANDOM % 10))"
	sleep 0.8
	kill -0 "$guest_pid" 2>/dev/null || guest_broke 'ended by itself'
	kill -KILL "$guest_pid"
	wait "$guest_pid" 2>/dev/null
	guest_pid=
	# A copy for QEMU, which mends what it needs to: the log is ours to replay next time.
	cp --sparse=always "$work/disk.vhdx" "$work/copy.vhdx"
	check_true "round $round: our check, log replayed" "$tabique" disk check --repair "$work/copy.vhdx" >/dev/null
	check_true "round $round: QEMU's check of that" qemu-img check -q "$work/copy.vhdx"
	cp --sparse=always "$work/disk.vhdx" "$work/copy.vhdx"
	check_true "round $round: QEMU's check and replay" qemu-img check -q -r all "$work/copy.vhdx"
	check "round $round: what was flushed, as QEMU reads it" 'guest-io: verified 8 MB ok' \
		"$(image_verified "$work/copy.vhdx" 8 "$round")"
	rm "$work/copy.vhdx"
	echo "   allocated: $(($(allocated "$work/disk.vhdx") >> 20)) MB"
done
check_less 'MB allocated, too few to speak of a load' $((24 - ($(allocated "$work/disk.vhdx") >> 20))) 1
