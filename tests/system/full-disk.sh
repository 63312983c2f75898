#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# The host's disk fills up: the guest gets an error, and works on when there is
# room again.

. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || skip 'needs root, to mount a small file system'
tools=yes
mkdir "$work/mount"
mount -t tmpfs -o size=24M tmpfs "$work/mount" || skip 'cannot mount a tmpfs here'
truncate -s 64M "$work/mount/disk.img"
guest --disk "path=$work/mount/disk.img" <<'END'
until [ -b /dev/sda ]; do usleep 20000; done
guest-io fill /dev/sda 8 1 && echo "small: ok"
guest-io fill /dev/sda 64 2 && echo "large: ok" || echo "large: error"
echo "room: wanted"
read -r answer
guest-io fill /dev/sda 64 3 && guest-io verify /dev/sda 64 3 | sed 's/^/retried: /'
END
wait_for '^room: wanted'
check 'what fits' ok "$(said small)"
check 'what does not fit' error "$(said large)"
mount -o remount,size=128M "$work/mount"
type_line room
script_ended
guest_ends 0
check 'with room' 'guest-io: verified 64 MB ok' "$(said retried)"
