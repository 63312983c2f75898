#!/bin/bash
# SPDX-License-Identifier: MIT
# A read-only disk says so, refuses writes, and reads well.

. "$(dirname "$0")/lib.sh"

tools=yes
make_disk 16
dd if=/dev/urandom of="$disk" bs=1M count=16 conv=notrunc 2>/dev/null
sync
want=$(sha256sum <"$disk")
guest --disk "path=$disk,readonly=on" <<'END'
until [ -b /dev/sda ]; do usleep 20000; done
echo "read-only: $(cat /sys/block/sda/ro)"
echo "sum: $(sha256sum </dev/sda)"
dd if=/dev/zero of=/dev/sda bs=4096 count=1 conv=fsync 2>/dev/null && echo "write: ok" || echo "write: refused"
# Past the block layer's own check: the device's answer.
sg_write_same --in=/dev/zero --xferlen=512 --lba=0 --num=1 /dev/sda 2>&1 | sed -n 's/.*\(Data protect\|Write protected\).*/sense: \1/Ip'
END
script_ended
guest_ends 0
check 'read-only' 1 "$(said read-only)"
check 'sum' "$want" "$(said sum)"
check 'write' refused "$(said write)"
check 'nothing written' "$want" "$(sha256sum <"$disk")"
