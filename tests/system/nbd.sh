#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# A disk of a network block server over a Unix socket, and a qcow2 through
# qemu-nbd: bytes are right at both ends; and the server dies under the guest.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

command -v nbdkit >/dev/null || fail 'no nbdkit; run tools/setup test'
command -v qemu-nbd >/dev/null || fail 'no qemu-nbd; run tools/setup run'
tools=yes
truncate -s 64M "$work/nbd.img"
new_image "$work/disk.qcow2" qcow2 64
serve() {
	rm -f "$work/nbd"
	nbdkit --foreground --unix "$work/nbd" file "$work/nbd.img" &
	server=$!
	helpers+=("$server")
	until_true 'the server is there' 20 test -S "$work/nbd"
}
serve
obedient --disk "path=nbd+unix:///?socket=$work/nbd" --disk "path=$work/disk.qcow2,format=qcow2"
inside 'net=$(disk-at 0) qcow=$(disk-at 1); blockdev --getsize64 $net; blockdev --getsize64 $qcow'
check 'sizes' "$((64 << 20)) $((64 << 20))" "$(xargs <<<"$answer")"
inside 'guest-io fill $net 64 1 && guest-io verify $net 64 1 && guest-io random $net mixed 16 4096 1 && guest-io fill $net 32 2'
check 'through the socket' 'guest-io: filled 32 MB ok' "$(tail -n 1 <<<"$answer")"
inside 'guest-io fill $qcow 32 3 && guest-io verify $qcow 32 3'
check 'the qcow2' 'guest-io: verified 32 MB ok' "$(tail -n 1 <<<"$answer")"
check 'in the file of the server' 'guest-io: verified 32 MB ok' "$(verified "$work/nbd.img" 32 2)"

kill -KILL "$server"
wait "$server" 2>/dev/null
inside 'dd if=$net of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; echo "read: $?"' 120
echo "   without its server: $answer"
inside 'guest-io verify $qcow 32 3' || fail "the other disk: $answer"
dismiss
image_is_sound "$work/disk.qcow2"
check 'the qcow2, as QEMU reads it' 'guest-io: verified 32 MB ok' "$(image_verified "$work/disk.qcow2" 32 3)"
