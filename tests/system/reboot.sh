#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# Five resets by the guest itself, or TABIQUE_REBOOTS; a counter on its disk survives all of them.

. "$(dirname "$0")/lib.sh"

times=${TABIQUE_REBOOTS:-5}
make_disk 16
dd if=/dev/zero of="$disk" bs=4096 count=1 conv=notrunc 2>/dev/null
append="tabique.times=$times"
guest --disk "path=$disk" --net nat <<'END'
for word in $(cat /proc/cmdline); do
	case $word in tabique.times=*) times=${word#*=} ;; esac
done
until [ -b /dev/sda ]; do usleep 20000; done
count=$(dd if=/dev/sda bs=512 count=1 2>/dev/null | tr -d '\0')
count=${count:-0}
echo "boot: $count"
[ "$count" -lt "$times" ] || { echo "boots: $count"; exit 0; }
printf '%-512s' $((count + 1)) | tr ' ' '\0' | dd of=/dev/sda bs=512 conv=notrunc,fsync 2>/dev/null
reboot -f
END
for ((i = 0; i <= times; i++)); do
	wait_for "^boot: $i\$"
done
script_ended
resets=$times
guest_ends 0
check boots "$resets" "$(said boots)"
check 'each boot seen once' "$(seq -s ' ' 0 "$times")" "$(said_lines boot | xargs)"
