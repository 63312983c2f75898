#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# Two I/O threads give two processors a channel each: hv_storvsc opens the second,
# both carry traffic, and what one wrote the other reads.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

cpus=2 tools=yes
make_disk 64
truncate -s 64M "$work/second.img"
obedient --io-threads 2 --disk "path=$disk" --disk "path=$work/second.img"
inside 'first=$(disk-at 0) second=$(disk-at 1); /bin/lsscsi' ||
	fail "no disks: $answer"
echo "$answer"
inside "dmesg | grep -c 'Added storvsc'; ls /sys/bus/vmbus/devices/*/channels | grep -c '^[0-9]'" || true
inside 'for device in /sys/bus/vmbus/devices/*; do grep -q ba6163d9 $device/class_id && ls $device/channels | wc -l; done'
check 'channels of the controller' 2 "$answer"

# One processor, one channel: what goes in on one side comes out on the other.
inside 'taskset 1 guest-io fill $first 32 1 & taskset 2 guest-io fill $second 32 2; wait'
check 'filled on both' 2 "$(grep -c 'filled 32 MB ok' <<<"$answer")"
inside 'taskset 2 guest-io verify $first 32 1 & taskset 1 guest-io verify $second 32 2; wait'
check 'verified crosswise' 2 "$(grep -c 'verified 32 MB ok' <<<"$answer")"
inside 'guest-io random $first mixed 32 4096 2 4 && guest-io verify $second 32 2' || fail "$answer"

tree=$(ctl inspect)
dismiss
packets=$(jq -c '[.vmbus.channels[] | select(.interface_type | startswith("ba6163d9")) | .packets_in]' <<<"$tree")
check 'channels seen from here' 2 "$(jq length <<<"$packets")"
check_less 'packets too few on one of them' "$(jq '500 - min' <<<"$packets")" 1
check 'loops that worked' 2 "$(jq '[.loops[] | select(.name | startswith("io")) | select(.rounds > 200)] | length' <<<"$tree")"
