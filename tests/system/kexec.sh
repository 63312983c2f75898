#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: 1 2
# limit: 300
#
# A second kernel started by the first finds the same devices again: VMBus is
# unloaded and contacted anew without a reset between.

. "$(dirname "$0")/lib.sh"

cpus=$1 memory=1G tools=yes
make_disk 16
mkdir "$work/second"
cat >"$work/second/test.sh" <<'END'
echo "second: $(cut -d ' ' -f 1 /proc/uptime)"
until [ -b /dev/sda ]; do usleep 20000; done
guest-io verify /dev/sda 8 77 | sed 's/^/disk: /'
udhcpc -q -n -t 5 -s /etc/udhcpc.script -i eth0 >/dev/null 2>&1 && echo "network: ok"
END
(cd "$work/second" && echo test.sh | busybox cpio -o -H newc 2>/dev/null) >"$work/second.cpio"
cat "$(image initrd-generic)" "$(image tools)" "$work/second.cpio" >"$work/kexec-initrd"
cp "$(image vmlinuz-generic)" "$work/kexec-kernel"
archive kexec.cpio "$work/kexec-initrd" "$work/kexec-kernel"
guest --disk "path=$disk" --net nat <<'END'
until [ -b /dev/sda ]; do usleep 20000; done
guest-io fill /dev/sda 8 77
kexec -s -l /kexec-kernel --initrd=/kexec-initrd --command-line="console=ttyS0 tabique.kexec" || exit 1
echo "first: done"
kexec -e
END
wait_for '^first: done'
wait_for '^second: '
script_ended
guest_ends 0
check 'disk in the second kernel' 'guest-io: verified 8 MB ok' "$(said disk)"
check 'network in the second kernel' ok "$(said network)"
