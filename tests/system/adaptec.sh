#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 300
#
# The legacy board's SCSI card: the stock kernel's aic7xxx downloads its program, agrees with a disk and a DVD drive
# on tags and speed, writes and reads back, also over a pause and another load of the driver, and complains of nothing.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

sum_of() {
	sha256sum | cut -d ' ' -f 1
}

make_disk 64
head -c 3M /dev/urandom >"$work/disc.iso"
head -c 4M /dev/urandom >"$work/random"
archive random.cpio "$work/random"
obedient --machine legacy --disk "path=$disk,bus=adaptec,target=3" --dvd "path=$work/disc.iso,bus=adaptec"
check 'where they are' '[["adaptec",3,"emulated"],["adaptec",0,"emulated"]]' \
	"$(ctl inspect | jq -c '[.disks.list[] | [.bus, .target, .face]]')"

inside 'modprobe aic7xxx && modprobe sr_mod && until [ -b /dev/sda ] && [ -b /dev/sr0 ]; do usleep 20000; done'
check 'the driver finds both' 0 $?
inside 'for d in sda sr0; do h=$(readlink -f /sys/block/$d/device); h=${h##*/}; echo ${h#*:} $(cat /sys/class/scsi_host/host${h%%:*}/proc_name); done'
check 'whose they are' '0:3:0 aic7xxx 0:0:0 aic7xxx' "$(xargs <<<"$answer")"

# written AT: 4 MB from there on are there, in the guest and on the host.
written() {
	inside "dd if=/random of=/dev/sda bs=64k seek=$(($1 * 16)) conv=notrunc,fsync 2>/dev/null && echo 3 >/proc/sys/vm/drop_caches && dd if=/dev/sda bs=64k skip=$(($1 * 16)) count=64 2>/dev/null | sha256sum | cut -d ' ' -f 1"
	check "what the guest reads at $1 MB" "$(sum_of <"$work/random")" "$answer"
	check "what the host reads at $1 MB" "$(sum_of <"$work/random")" "$(dd if="$disk" bs=1M skip="$1" count=4 2>/dev/null | sum_of)"
}

written 8
inside 'dd if=/dev/sr0 bs=64k 2>/dev/null | sha256sum | cut -d " " -f 1'
check 'what the guest reads of the disc' "$(sum_of <"$work/disc.iso")" "$answer"

# Paused with commands on their way, some times.
inside '(for i in 1 2 3 4 5 6 7 8; do dd if=/random of=/dev/sda bs=16k seek=2048 conv=notrunc,fsync; done; echo written >/tmp/done) 2>/dev/null &'
for _ in 1 2 3 4; do
	ctl pause >/dev/null && sleep 0.3 && ctl resume >/dev/null
done
inside 'until [ -e /tmp/done ]; do usleep 50000; done; cat /tmp/done'
check 'writes over pauses' written "$answer"
check 'what the host reads of them' "$(sum_of <"$work/random")" "$(dd if="$disk" bs=1M skip=32 count=4 2>/dev/null | sum_of)"

inside 'rmmod aic7xxx && modprobe aic7xxx && until [ -b /dev/sda ]; do usleep 20000; done'
check 'the driver goes and comes' 0 $?
written 16

# Its own lines and the kernel's about the two units: what is there, what was agreed on, and no more.
inside 'dmesg | grep -iE "aic7|ahc|scsi ?(host)?[0-9]|target[0-9]|sd [0-9]|sr [0-9]"'
printf '%s\n' "$answer"
check 'disks that agreed on a speed' 2 "$(grep -c 'target.:0:3: FAST-10 SCSI 10.0 MB/s ST' <<<"$answer")"
check 'complaints' '' "$(grep -iE 'time.?out|abort|error|fail|expected|recover|reset|dump|parity|bogus|miss|illegal|invalid|attention|sense key|offline|device state' <<<"$answer")"
inside 'dmesg | grep -c "Tagged Queuing enabled"'
check 'units with tags, twice' 4 "$answer"
inside 'dmesg | grep -E "WARNING: CPU|BUG: |blocked for more|nobody cared"'
check 'warnings' '' "$answer"
dismiss
