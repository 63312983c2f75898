#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: auto emulated
# limit: 300
#
# No screwdriver. A disk with GRUB on it boots by SeaBIOS and the emulated IDE controller.
#
# auto: the stock kernel that GRUB starts leaves disk and network to hv_storvsc and hv_netvsc without being told,
# writes, and resets itself; firmware has the disk back, and all of it happens again. What was written is there.
# emulated: the user wants no other face; the same kernel drives the disk by ata_piix, and complains of nothing.

. "$(dirname "$0")/lib.sh"

grub=/usr/lib/grub/i386-pc
if [ ! -f $grub/boot.img ] || ! command -v grub-mkimage >/dev/null; then
	skip 'no GRUB here: tools/setup test installs grub-pc-bin'
fi

# The guest's half; a counter behind GRUB and before the partition says which boot this is.
cat >"$work/test.sh" <<'END'
modprobe ata_piix
until [ -b /dev/sda ]; do usleep 20000; done
count=$(dd if=/dev/sda bs=512 skip=2040 count=1 2>/dev/null | tr -d '\0')
host=$(readlink -f /sys/block/sda/device | sed 's|.*/\(host[0-9]*\)/.*|\1|')
echo "boot: ${count:-0} by $(cat /sys/class/scsi_host/"$host"/proc_name)"
echo "ignores: $(dmesg | grep -c 'ATA device ignore set')"
dmesg -r | grep -E '^<[0-4]>' | grep -E ' ata[0-9.]*:|ata_piix|storvsc|sd [0-9]' | sed 's/^/complaint: /'
printf '%-512s' $((${count:-0} + 1)) | tr ' ' '\0' | dd of=/dev/sda bs=512 seek=2040 conv=notrunc,fsync 2>/dev/null
dd if=/dev/zero bs=1M count=4 2>/dev/null | tr '\0' "${count:-0}" | dd of=/dev/sda bs=1M seek=60 conv=notrunc,fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
echo "sum: $(dd if=/dev/sda bs=1M skip=60 count=4 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
[ "${count:-0}" = 1 ] || reboot -f
END

# 64 MiB: GRUB in the first MiB, then an ext2 with kernel and RAM disk.
make_boot_disk() {
	local tree=$work/tree
	mkdir -p "$tree/boot/grub"
	cp "$(image vmlinuz-generic)" "$tree/boot/vmlinuz"
	(cd "$work" && echo test.sh | busybox cpio -o -H newc 2>/dev/null) >"$work/script.cpio"
	cat "$(image initrd-generic)" "$work/script.cpio" >"$tree/boot/initrd"
	cat >"$tree/boot/grub/grub.cfg" <<END
serial --unit=0 --speed=115200
terminal_output serial
echo "GRUB: here"
linux /boot/vmlinuz console=ttyS0 $watchdog
initrd /boot/initrd
boot
END
	grub-mkimage -O i386-pc -d $grub -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" biosdisk part_msdos ext2 \
		linux normal serial terminal configfile echo boot
	check_less 'sectors of GRUB' "$(($(stat -c %s "$work/core.img") / 512))" 2030
	make_disk 64
	dd if=$grub/boot.img of="$disk" bs=440 count=1 conv=notrunc 2>/dev/null
	# One active partition of type 83, from 1 MiB on to 60 MiB.
	printf '\200\376\377\377\203\376\377\377\000\010\000\000\000\330\001\000' |
		dd of="$disk" bs=1 seek=446 conv=notrunc 2>/dev/null
	printf '\125\252' | dd of="$disk" bs=1 seek=510 conv=notrunc 2>/dev/null
	dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc 2>/dev/null
	dd if=/dev/zero of="$disk" bs=512 seek=2040 count=1 conv=notrunc 2>/dev/null
	mke2fs -q -t ext2 -d "$tree" -E offset=1048576 -F "$disk" 59M
}

sum_of() {
	dd if=/dev/zero bs=1M count=4 2>/dev/null | tr '\0' "$1" | sha256sum | cut -d ' ' -f 1
}

make_boot_disk
case $1 in
auto)
	firmware --disk "path=$disk" --net nat
	expect 'GRUB starts' 'GRUB: here'
	wait_for '^boot: 0 by'
	faces=$(ctl inspect | jq -c '[.disks.list[0].face, .adapters.list[0].face]')
	wait_for '^boot: 1 by'
	wait_for '^sum: .*' # of the second boot, which goes on to the end
	guest_ends 0
	check 'faces while Linux runs' '["synthetic","synthetic"]' "$faces"
	check 'who has the disk' '0 by storvsc_host 1 by storvsc_host' "$(said_lines boot | xargs)"
	check 'the other leaves it' '1 1' "$(said_lines ignores | xargs)"
	;;
emulated)
	firmware --disk "path=$disk,face=emulated" --net nat,face=emulated
	wait_for '^boot: 0 by'
	check 'faces' '["emulated","emulated"]' \
		"$(ctl inspect | jq -c '[.disks.list[0].face, .adapters.list[0].face]')"
	wait_for '^boot: 1 by'
	guest_ends 0
	check 'who has the disk' '0 by ata_piix 1 by ata_piix' "$(said_lines boot | xargs)"
	;;
*) skip "no case $1" ;;
esac
check 'what was read back' "$(sum_of 0) $(sum_of 1)" "$(said_lines sum | xargs)"
check 'what the host reads' "$(sum_of 1)" \
	"$(dd if="$disk" bs=1M skip=60 count=4 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
check 'complaints' '' "$(said_lines complaint)"
