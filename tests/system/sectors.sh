#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# Disks with sectors of 4096 and of 512 bytes: sizes, file systems, and that a
# write of one small sector touches no other byte.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fsck) memory=768M
truncate -s 96M "$work/native.img"
head -c 1M /dev/urandom >"$work/small.img"
cp "$work/small.img" "$work/want.img"
# A host's disk that writes 4 KB at a time only, where there is such a thing.
make_disk 16
dd if="$work/small.img" of="$disk" conv=notrunc bs=1M 2>/dev/null
obedient --disk "path=$work/native.img,sector=4096" --disk "path=$work/small.img,sector=512" --disk "path=$disk"
inside 'native=$(disk-at 0) small=$(disk-at 1) host=$(disk-at 2)' || fail "$answer"
inside 'blockdev --getss $native; blockdev --getsize64 $native; sg_readcap --16 $native | sed -n "s/.*Logical block length=\([0-9]*\).*/\1/p"'
check '4096: sectors, size, capacity' "4096 $((96 << 20)) 4096" "$(xargs <<<"$answer")"
inside 'blockdev --getss $small; blockdev --getsize64 $small'
check '512: sectors, size' "512 $((1 << 20))" "$(xargs <<<"$answer")"
inside 'mkfs.ext4 -q $native && mount -t ext4 $native /root && guest-io fill /root/file 16 1 && umount /root && mount -t ext4 $native /root && guest-io verify /root/file 16 1; umount /root; e2fsck -fn $native >/dev/null 2>&1; echo "fsck: $?"'
check 'a file system on 4096' 'guest-io: verified 16 MB ok fsck: 0' "$(tail -n 2 <<<"$answer" | xargs)"

# Sectors 3, 9 and 2047 get the letter X; also on the disk of 4 KB blocks.
inside 'head -c 512 /dev/zero | tr "\0" X >/tmp/x; for at in 3 9 2047; do for to in $small $host; do dd if=/tmp/x of=$to bs=512 seek=$at oflag=direct conv=notrunc 2>/dev/null || echo failed; done; done; sync'
check 'writes of one sector that failed' '' "$answer"
dismiss
for at in 3 9 2047; do
	head -c 512 /dev/zero | tr '\0' X | dd of="$work/want.img" bs=512 seek=$at conv=notrunc 2>/dev/null
done
check_true 'every other byte is as it was' cmp "$work/want.img" "$work/small.img"
check_true 'on the device as well' cmp -n $((1 << 20)) "$work/want.img" "$disk"
