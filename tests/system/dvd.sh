#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# A DVD drive: an ISO is mounted, its files are right, it goes out when either
# side says so, another comes in; and a drive that was empty at the start.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

command -v genisoimage >/dev/null || fail 'no genisoimage; run tools/setup test'
tools=yes
for i in 1 2; do
	mkdir "$work/iso$i"
	head -c 3M /dev/urandom >"$work/iso$i/data.bin"
	echo "disc $i" >"$work/iso$i/name.txt"
	genisoimage -quiet -r -J -V "DISC$i" -o "$work/$i.iso" "$work/iso$i" || fail 'no ISO'
done
sum() {
	sha256sum <"$work/iso$1/data.bin" | cut -d ' ' -f 1
}

truncate -s 16M "$work/disk.img"
obedient --disk "path=$work/disk.img" --dvd "path=$work/1.iso,id=cd" --dvd id=spare
inside 'modprobe sr_mod; modprobe isofs; cd=$(disk-at 1) spare=$(disk-at 2)' || fail "no drives: $answer"
inside 'read_disc() { mount -t iso9660 -o ro $1 /root || return 1; cat /root/name.txt; sha256sum </root/data.bin | cut -d " " -f 1; umount /root; }; read_disc $cd'
check 'the first disc' "disc 1
$(sum 1)" "$answer"
inside 'sg_inq $cd | sed -n "s/.*Peripheral device type: *//p"; cat /sys/block/${cd#/dev/}/removable'
check 'kind of device' 'cd/dvd
1' "$answer"
inside 'dd if=/dev/zero of=$cd bs=2048 count=1 2>/dev/null' && fail 'it can be written'
inside 'mount -t iso9660 -o ro $spare /root' && fail 'something is in the empty drive'
echo "ok: the empty drive is empty"

# From the guest; then another from here.
inside '/bin/eject $cd' || fail "eject: $answer"
inside 'mount -t iso9660 -o ro $cd /root' && fail 'the disc is still in the drive'
check_true 'another disc' ctl disk change id=cd "path=$work/2.iso" >/dev/null
inside 'tries=0; until read_disc $cd 2>/dev/null || [ $tries = 30 ]; do usleep 200000; tries=$((tries + 1)); done'
check 'the second disc' "disc 2
$(sum 2)" "$answer"

# Mounted, the guest holds the door.
inside 'mount -t iso9660 -o ro $cd /root'
! ctl disk eject id=cd >/dev/null 2>"$work/err" || fail 'ejected a disc that the guest holds'
check 'lines about it' 1 "$(wc -l <"$work/err")"
inside 'cat /root/name.txt; umount /root'
check 'it is still there' 'disc 2' "$answer"
inside 'mount -t iso9660 -o ro $cd /root'
check_true 'by force' ctl disk eject id=cd force=true >/dev/null
inside 'umount /root; mount -t iso9660 -o ro $cd /root' && fail 'the disc is still in the drive'

check_true 'into the empty drive' ctl disk change id=spare "path=$work/1.iso" >/dev/null
inside 'tries=0; until read_disc $spare 2>/dev/null || [ $tries = 30 ]; do usleep 200000; tries=$((tries + 1)); done'
check 'its disc' "disc 1
$(sum 1)" "$answer"
check_true 'and out again' ctl disk eject id=spare >/dev/null
dismiss
