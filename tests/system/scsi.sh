#!/bin/bash
# SPDX-License-Identifier: MIT
# The SCSI commands that Linux and sg3_utils send get the answers of a disk.

. "$(dirname "$0")/lib.sh"

tools=yes
make_disk 16
guest --disk "path=$disk,serial=TB123" <<'END'
until [ -b /dev/sda ]; do usleep 20000; done
echo "vendor: $(sg_inq /dev/sda | sed -n 's/.*Vendor identification: *//p')"
echo "serial: $(sg_vpd --page=sn /dev/sda | sed -n 's/.*serial number: *//p')"
sg_vpd --page=di /dev/sda >/dev/null && echo "identification: ok"
sg_vpd --page=lbpv /dev/sda >/dev/null && echo "provisioning: ok"
echo "size: $(sg_readcap --16 /dev/sda | sed -n 's/.*Device size: \([0-9]*\) bytes.*/\1/p')"
sg_turs /dev/sda && echo "ready: ok"
sg_sync /dev/sda && echo "sync: ok"
sg_luns /dev/sda >/dev/null && echo "luns: ok"
sg_raw /dev/sda 9f 1f 0 0 0 0 0 0 0 0 0 0 0 0 0 0 2>&1 | grep -qi 'illegal request' && echo "unknown: illegal request"
sg_raw -r 512 /dev/sda 28 0 7f ff ff ff 0 0 1 0 2>&1 | grep -qi 'out of range' && echo "beyond: out of range"
guest-io fill /dev/sda 8 1
echo "discard: $(cat /sys/block/sda/queue/discard_max_bytes)"
END
script_ended
guest_ends 0
check vendor Msft "$(said vendor | sed 's/ *$//')"
check serial TB123 "$(said serial | sed 's/ *$//')"
for what in identification ready sync luns; do
	check "$what" ok "$(said $what)"
done
check size $((16 * 1048576)) "$(said size)"
check 'unknown command' 'illegal request' "$(said unknown)"
check 'read beyond the end' 'out of range' "$(said beyond)"
