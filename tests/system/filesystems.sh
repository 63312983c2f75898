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
for fs in ext4 xfs btrfs; do
	case $fs in
	ext4) make='mkfs.ext4 -q -F' look='e2fsck -fn' ;;
	xfs) make='mkfs.xfs -q -f' look='xfs_repair -n' ;;
	btrfs) make='mkfs.btrfs -q -f' look='btrfs check' ;;
	esac
	inside "modprobe $fs; $make \$d && mount -t $fs \$d /root" 120 || fail "mkfs.$fs: $answer"
	inside 'guest-io fill /root/file 16 5 && cp -r /bin /root/ && sync && /bin/fstrim /root && (cd /bin && sha256sum *) >/tmp/sums 2>/dev/null; umount /root' 120 || fail "$fs: $answer"
	inside "mount -t $fs \$d /root && guest-io verify /root/file 16 5 && (cd /root/bin && sha256sum -c -s /tmp/sums) && echo same; umount /root" 120
	check "$fs: what was written" 'guest-io: verified 16 MB ok same' "$(xargs <<<"$answer")"
	inside "$look \$d" 120 || fail "$fs: its own checker: $answer"
	echo "ok: $fs is content"
done
inside 'sha256sum <$d | cut -d " " -f 1' 120
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
	"$(qemu-img convert -f "$format" -O raw "$image_file" "$work/out" && sha256sum <"$work/out" | cut -d ' ' -f 1)"
