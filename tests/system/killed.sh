#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the worker loses nothing that the guest had flushed.

. "$(dirname "$0")/lib.sh"

tools=yes
make_disk 64
guest --disk "path=$disk" <<'END'
until [ -b /dev/sda ]; do usleep 20000; done
guest-io fill /dev/sda 32 5 && echo "flushed: 32"
while :; do
	dd if=/dev/urandom of=/dev/sda bs=1M seek=32 count=32 conv=notrunc 2>/dev/null
done
END
wait_for '^flushed: 32'
sleep 0.5
kill -KILL "$guest_pid"
wait "$guest_pid" 2>/dev/null
guest_pid=
(cd "$work" && busybox cpio -i -d bin/guest-io <"$(image tools)" 2>/dev/null)
sync
check 'what was flushed' 'guest-io: verified 32 MB ok' "$("$work/bin/guest-io" verify "$disk" 32 5 2>&1)"

# Its disk and socket are free again: nothing was left behind.
guest --disk "path=$disk" <<'END'
until [ -b /dev/sda ]; do usleep 20000; done
guest-io verify /dev/sda 32 5 | sed 's/^/disk: /'
END
script_ended
guest_ends 0
check 'the same in the next guest' 'guest-io: verified 32 MB ok' "$(said disk)"
