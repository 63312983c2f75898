#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 300
#
# fio with checksums: two jobs, two processors, two queues, blocks of all sizes
# at random on a dynamic VHDX that grows underneath.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fio) memory=1G cpus=2
new_image "$work/disk.vhdx" vhdx 256
obedient --io-threads 2 --disk "path=$work/disk.vhdx"
inside 'd=$(disk-at 0)' || fail "$answer"
inside 'fio --output=/tmp/fio --name=a --filename=$d --direct=1 --ioengine=libaio --iodepth=16 --numjobs=2 --offset_increment=128m --size=24m --rw=randrw --bsrange=4k-128k --verify=crc32c --verify_fatal=1 --randseed=7 --thread; status=$?; grep -E "err=|verify:" /tmp/fio; [ $status = 0 ]' 200 || fail "fio: $answer"
check 'jobs without errors' 2 "$(grep -c 'err= 0' <<<"$answer")"
inside 'echo 3 >/proc/sys/vm/drop_caches; guest-io fill $d 16 9 && guest-io verify $d 16 9' || fail "$answer"
tree=$(ctl inspect)
dismiss
check_less 'allocating writes too few' "$(jq '300 - ([.disks.list[].writes] | add)' <<<"$tree")" 1
image_is_sound "$work/disk.vhdx"
check 'as QEMU reads it' 'guest-io: verified 16 MB ok' "$(image_verified "$work/disk.vhdx" 16 9)"
