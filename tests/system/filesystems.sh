#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: raw vhdx vhd
# limit: 300
#
# ext4, xfs and btrfs, one after another on an image of each format: made, filled,
# mounted again, checked by their own tools; and QEMU reads the same bytes.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes files=$(image fsck) memory=1G
image_file=$work/disk.$1
# xfs wants 300 MB.
new_image "$image_file" "$1" 320
obedient --disk "path=$image_file"
inside 'd=$(disk-at 0)' || fail "$answer"
# Some files of all sizes. Not /bin as it stands: most of its names are the same busybox.
inside 'mkdir /tmp/some; find /bin -type f ! -name busybox -exec cp {} /tmp/some/ \;; cd /tmp/some; md5sum * >/tmp/sums; wc -l </tmp/sums'
check_less 'files to copy, too few' "$((30 - answer))" 1
for fs in ext4 xfs btrfs; do
	case $fs in
	ext4) make='mkfs.ext4 -q -F' look='e2fsck -fn' ;;
	xfs) make='mkfs.xfs -q -f' look='xfs_repair -n' ;;
	btrfs) make='mkfs.btrfs -q -f' look='btrfs check' ;;
	esac
	inside "modprobe $fs; $make \$d && mount -t $fs \$d /root" 120 || fail "mkfs.$fs: $answer"
	inside 'guest-io fill /root/file 16 5 && cp -r /tmp/some /root/ && sync && /bin/fstrim /root; status=$?; umount /root; (exit $status)' 120 || fail "$fs: $answer"
	inside "mount -t $fs \$d /root && guest-io verify /root/file 16 5 && (cd /root/some && md5sum -c -s /tmp/sums) && echo same; umount /root" 120
	check "$fs: what was written" 'guest-io: verified 16 MB ok same' "$(xargs <<<"$answer")"
	inside "$look \$d" 120 || fail "$fs: its own checker: $answer"
	echo "ok: $fs is content"
done
# Every fifth megabyte: a sum of all takes this guest a minute.
sample='for at in $(seq 0 5 319); do dd bs=1M skip=$at count=1 2>/dev/null if='
inside "$sample\$d; done | md5sum" 120
sum=$answer
dismiss
let_go "$image_file"
if [ "$1" != raw ]; then
	image_is_sound "$image_file"
fi
case $1 in
vhd) format=vpc ;;
*) format=$1 ;;
esac
check 'the same bytes, as QEMU reads them' "$sum" \
	"$(qemu-img convert -f "$format" -O raw "$image_file" "$work/out" && eval "$sample$work/out; done" | md5sum)"
