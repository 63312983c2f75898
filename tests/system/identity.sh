#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# Who a disk says it is, the same after the next start; and its write cache, which
# is on or off as it was told, and as the guest tells it.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes
truncate -s 16M "$work/a.img" "$work/b.img"
look='for lun in 0 1; do d=$(disk-at $lun); sg_vpd -q --page=di $d; sg_vpd -q --page=sn $d | tail -n 1; cat /sys/block/${d#/dev/}/device/wwid; done'
first=''
while :; do
	obedient --disk "path=$work/a.img,serial=TB-007,wwn=50014380deadbeef" \
		--disk "path=$work/b.img,write-cache=off"
	inside "$look" || fail "$answer"
	[ -z "$first" ] || break
	first=$answer
	echo "$answer"
	check_true 'the WWN' grep -qi '50014380deadbeef' <<<"$answer"
	check_true 'the serial number' grep -q 'TB-007' <<<"$answer"
	check 'identities of their own' 2 "$(grep -c '^naa\.' <<<"$answer")"
	dismiss
done
check 'the same at the next start' "$first" "$answer"

# As the guest sees them, as we do.
caches() {
	inside 'for lun in 0 1; do cat /sys/class/scsi_disk/0:0:0:$lun/cache_type; done'
	caches="$(xargs <<<"$answer") $(ctl inspect | jq -c '[.disks.list[].write_cache]')"
}
caches
check 'write caches' 'write back write through [true,false]' "$caches"
inside 'sdparm -q --clear=WCE $(disk-at 0) && sdparm -q --set=WCE $(disk-at 1)' || fail "$answer"
inside 'for lun in 0 1; do echo 1 >/sys/class/scsi_disk/0:0:0:$lun/device/rescan; done; blockdev --rereadpt $(disk-at 0); blockdev --rereadpt $(disk-at 1)'
caches
check 'write caches, the other way' 'write through write back [false,true]' "$caches"
inside 'for lun in 0 1; do guest-io fill $(disk-at $lun) 8 $lun && guest-io verify $(disk-at $lun) 8 $lun; done'
check 'both work' 2 "$(grep -c 'verified 8 MB ok' <<<"$answer")"
dismiss
