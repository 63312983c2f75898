#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# What the guest discards, the host gets back: a raw file and a dynamic VHDX.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fsck) memory=768M
new_image "$work/disk.img" raw 128
new_image "$work/disk.vhdx" vhdx 128
obedient --disk "path=$work/disk.img" --disk "path=$work/disk.vhdx"
lun=0
for file in "$work/disk.img" "$work/disk.vhdx"; do
	name=$(basename "$file")
	inside "d=\$(disk-at $lun)" || fail "$answer"
	inside 'guest-io fill $d 64 1' || fail "$answer"
	check_less "$name, filled: what is not allocated" $(((64 << 20) - $(allocated "$file"))) 1
	inside '/bin/blkdiscard -o 0 -l 48M $d && dd if=$d bs=1M count=48 2>/dev/null | tr -d "\0" | wc -c'
	check "$name: bytes that are not zero after a discard" 0 "$answer"
	check_less "$name: allocated after it" "$(allocated "$file")" $((26 << 20))
	inside '/bin/blkdiscard -z -o 48M -l 16M $d && dd if=$d bs=1M count=64 2>/dev/null | tr -d "\0" | wc -c'
	check "$name: bytes that are not zero after zeroing" 0 "$answer"

	inside '/bin/blkdiscard -f $d; mkfs.ext4 -q $d && mount -t ext4 $d /root && guest-io fill /root/keep 4 2 && guest-io fill /root/big 64 3' || fail "$answer"
	full=$(allocated "$file")
	inside 'rm /root/big; sync; /bin/fstrim -v /root; umount /root'
	echo "$name: $answer"
	check_less "$name: allocated after fstrim, of $full" "$(allocated "$file")" $((full - (56 << 20)))
	inside 'mount -t ext4 $d /root && guest-io verify /root/keep 4 2; umount /root; e2fsck -fn $d >/dev/null 2>&1; echo "fsck: $?"'
	check "$name: what was kept" 'guest-io: verified 4 MB ok fsck: 0' "$(xargs <<<"$answer")"
	lun=$((lun + 1))
done
tree=$(ctl inspect)
check_less 'discards too few' "$(jq '4 - ([.vmbus.channels[].storvsp.disks[]?.discards] | add)' <<<"$tree")" 1
dismiss
image_is_sound "$work/disk.vhdx"
