#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# A disk grows under a running guest, which sees it by itself, and uses what it
# got: a raw file and a dynamic VHDX.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fsck) memory=768M
new_image "$work/disk.img" raw 64
new_image "$work/disk.vhdx" vhdx 64
obedient --disk "path=$work/disk.img,id=raw" --disk "path=$work/disk.vhdx,id=vhdx"
inside 'raw=$(disk-at 0) vhdx=$(disk-at 1)' || fail "$answer"
# size NAME MB: waits for it without a request of its own.
inside 'size() { tries=0; until [ "$(cat /sys/block/${1#/dev/}/size)" = $(($2 * 2048)) ] || [ $tries = 100 ]; do usleep 100000; tries=$((tries + 1)); done; blockdev --getsize64 $1; }'

inside 'mkfs.ext4 -q $raw && mount -t ext4 $raw /root && guest-io fill /root/file 8 1' || fail "$answer"
check_true 'the raw file grows' ctl disk resize id=raw size=128M >/dev/null
check 'the file' $((128 << 20)) "$(stat -c %s "$work/disk.img")"
inside 'size $raw 128'
check 'the guest sees it' $((128 << 20)) "$answer"
inside 'resize2fs $raw 2>/dev/null; guest-io fill /root/big 80 2 && guest-io verify /root/big 80 2 && guest-io verify /root/file 8 1 && umount /root'
check 'a file system grows into it' 'guest-io: verified 8 MB ok' "$(tail -n 1 <<<"$answer")"

inside 'guest-io fill $vhdx 32 3'
check_true 'the VHDX grows' ctl disk resize id=vhdx size=96M >/dev/null
inside 'size $vhdx 96'
check 'the guest sees it' $((96 << 20)) "$answer"
inside 'dd if=$vhdx bs=1M skip=64 2>/dev/null | tr -d "\0" | wc -c'
check 'bytes that are not zero behind the old end' 0 "$answer"
inside 'guest-io verify $vhdx 32 3 && guest-io fill $vhdx 96 4 && guest-io verify $vhdx 96 4'
check 'all of it holds data' 'guest-io: verified 96 MB ok' "$(tail -n 1 <<<"$answer")"

! ctl disk resize id=raw size=1000 >/dev/null 2>"$work/err" || fail 'a size that is no number of sectors'
check 'lines about it' 1 "$(wc -l <"$work/err")"
dismiss
check_true 'the file system is whole' e2fsck -fn "$work/disk.img" >/dev/null 2>&1
image_is_sound "$work/disk.vhdx"
check 'as QEMU reads it' 'guest-io: verified 96 MB ok' "$(image_verified "$work/disk.vhdx" 96 4)"
