#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: one many
# limit: 400
#
# Disks come and go while the guest runs: used, busy when they go, back again
# twenty times, and 64 of them at once.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fsck) memory=768M
truncate -s 16M "$work/first.img" "$work/other.img"
truncate -s 64M "$work/new.img"
obedient --disk "path=$work/first.img,id=first" --disk "path=$work/other.img,id=other,controller=1"
inside 'disk-at 0 && disk-at 0 1' || fail "disks of the start: $answer"

# What is known of a disk that does not come: both sides of its channel, and what the guest has heard.
why() {
	ctl inspect | jq -c '.. | objects | select(.device? == "storvsp")' 2>/dev/null
	ctl disk list | jq -c '.list[]'
	inside 'ls /sys/class/scsi_disk; grep -i hyper /proc/interrupts; dmesg | tail -n 15' && echo "$answer"
}

one() {
	check_true 'a disk is added' ctl disk add "path=$work/new.img" id=new lun=1 >/dev/null
	inside 'new=$(disk-at 1) && mkfs.ext4 -q $new && mount -t ext4 $new /root && guest-io fill /root/file 8 1'
	check 'it can be used' 'guest-io: filled 8 MB ok' "$(tail -n 1 <<<"$answer")"
	inside 'umount /root'
	check_true 'it is removed' ctl disk remove id=new >/dev/null
	inside 'tries=0; while [ -e $new ] && [ $tries -lt 100 ]; do usleep 100000; tries=$((tries + 1)); done; [ ! -e $new ]' ||
		fail 'the guest still has it'
	(cd "$work" && e2fsck -fn new.img >/dev/null 2>&1) || fail 'the file system was left broken'

	check_true 'it comes back' ctl disk add "path=$work/new.img" id=new lun=1 >/dev/null
	inside 'new=$(disk-at 1) && mount -t ext4 $new /root && guest-io verify /root/file 8 1'
	check 'with what it held' 'guest-io: verified 8 MB ok' "$(tail -n 1 <<<"$answer")"
	# Pulled while it is mounted and written.
	inside '(while guest-io fill /root/busy 16 2; do :; done >/dev/null 2>&1; touch /tmp/broken) & sleep 1'
	check_true 'it is removed while busy' ctl disk remove id=new >/dev/null
	inside 'tries=0; until [ -e /tmp/broken ] && [ ! -e $new ]; do usleep 100000; tries=$((tries + 1)); [ $tries -lt 300 ] || exit 1; done; umount -l /root' 60 ||
		fail 'the writer did not learn that its disk has gone'
	check 'disks in the list' 2 "$(ctl disk list | jq '[.. | objects | select(has("id") and has("path"))] | length')"
	inside 'guest-io fill $(disk-at 0) 8 3 && guest-io verify $(disk-at 0) 8 3' || fail "the other disk: $answer"

	# The other controller.
	check_true 'one is added to the second controller' ctl disk add "path=$work/new.img" id=new controller=1 lun=5 >/dev/null
	inside 'guest-io fill $(disk-at 5 1) 8 4 && guest-io verify $(disk-at 5 1) 8 4' || fail "$answer"
	# What cannot be.
	! ctl disk add "path=$work/new.img" id=twice >/dev/null 2>"$work/err" || fail 'two writers of one file'
	check_true 'the sentence names the file' grep -q new.img "$work/err"
	truncate -s 1M "$work/late.img"
	! ctl disk add "path=$work/late.img" id=first >/dev/null 2>"$work/err" || fail 'two disks of one name'
	! ctl disk remove id=nobody >/dev/null 2>"$work/err" || fail 'removed a disk that is not there'
	check_true 'the sentence names the disk' grep -q nobody "$work/err"
}

many() {
	local i
	for ((i = 1; i <= 20; i++)); do
		ctl disk add "path=$work/new.img" id=new lun=1 >/dev/null || fail "add number $i"
		inside 'new=$(disk-at 1) && dd if=$new of=/dev/null bs=64k count=1 2>/dev/null' ||
			{ why && fail "no disk at add number $i"; }
		ctl disk remove id=new >/dev/null || fail "remove number $i"
		inside 'tries=0; while [ -e $new ]; do usleep 20000; tries=$((tries + 1)); [ $tries -lt 500 ] || exit 1; done' 30 ||
			fail "the disk stayed after remove number $i"
	done
	echo 'ok: twenty times'
	for ((i = 1; i < 64; i++)); do
		truncate -s 1M "$work/many-$i.img"
		ctl disk add "path=$work/many-$i.img" "id=many-$i" >/dev/null || fail "no room for disk $i"
	done
	inside 'count() { ls /sys/class/scsi_disk | grep -c "^0:"; }; tries=0; until [ "$(count)" = 64 ] || [ $tries = 300 ]; do usleep 100000; tries=$((tries + 1)); done; count' 60
	check 'disks on one controller' 64 "$answer"
	truncate -s 1M "$work/late.img"
	! ctl disk add "path=$work/late.img" id=late controller=0 >/dev/null 2>"$work/err" || fail 'a 65th disk'
	check 'lines about it' 1 "$(wc -l <"$work/err")"
	inside 'for at in /sys/class/scsi_disk/0:*/device/block/*; do dd if=/dev/${at##*/} of=/dev/null bs=4k count=4 2>/dev/null && echo read; done | grep -c read' 120
	check 'disks that can be read' 64 "$answer"
}

"$1"
dismiss
