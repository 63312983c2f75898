#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: nothing menu kernel-1 kernel-2
# limit: 240
#
# The legacy board. nothing: SeaBIOS comes up, finds our chips and no disk, stays,
# and does all of it again after a reset. menu: its boot menu, by the serial line.
# kernel-N: a stock kernel booted without firmware finds the board by ACPI and PCI,
# loads its drivers for it, complains of nothing, and still reaches VMBus.

. "$(dirname "$0")/lib.sh"

# What firmware says on its debug port; in our log with --verbose.
told() {
	grep -c "firmware: $1" "$work/stderr"
}

found() { # found PLACE IDS
	check "firmware finds $1" 1 "$(told "PCI: init bdf=00:$1 id=$2")"
}

# After a reset the same words come once more.
twice() {
	[ "$(tr -d '\r' <"$work/serial" | grep -c '^No bootable device')" = 2 ]
}

case $1 in
nothing)
	cpus=2
	firmware --verbose
	expect 'its name on the serial line' 'SeaBIOS \(version [0-9.]+'
	expect 'no disk, no boot' '^No bootable device\.'
	found 00.0 8086:7192
	found 07.0 8086:7110
	found 07.3 8086:7113
	check 'fw_cfg by DMA' 1 "$(told 'QEMU fw_cfg DMA interface supported')"
	check 'memory by fw_cfg' 1 "$(told 'qemu/e820: addr 0x0000000000000000 len 0x0000000020000000 \[RAM\]')"
	check 'time by the PM timer' 1 "$(told 'Using pmtimer, ioport 0x608')"
	check 'keyboard' 1 "$(told 'PS2 keyboard initialized')"
	check 'serial ports' 1 "$(told 'Found 2 serial ports')"
	check 'ACPI tables taken' 1 "$(told 'ACPI: parse DSDT')"
	check 'processors' 1 "$(told "Found $cpus cpu(s) max supported $cpus cpu(s)")"
	check 'nothing runs out' 0 "$(told 'WARNING')"
	check 'DMA without errors' 0 "$(ctl inspect | jq .board.firmware.dma_errors)"
	ctl reset >/dev/null
	until_true 'the same after a reset' 60 twice
	check 'resets' 1 "$(ctl status | jq .resets)"
	ctl quit >/dev/null
	guest_ends 0
	;;
menu)
	firmware --boot-menu on --boot-order net,dvd
	expect 'the menu is offered' 'Press ESC for boot menu'
	printf '\033' >&7
	expect 'and comes' 'Select boot device'
	ctl quit >/dev/null
	guest_ends 0
	;;
kernel-*)
	cpus=${1#*-}
	make_disk 64
	[ -z "${TABIQUE_EMULATED_HOST-}" ] || append=tabique.emulated
	guest --machine legacy --disk "path=$disk" --net nat <<'END'
for d in /sys/bus/pci/devices/*; do
	echo "pci ${d##*/0000:}: $(cat "$d/vendor") $(cat "$d/device") $(cat "$d/class")"
done
echo "hypervisor: $(dmesg | grep -c 'Hypervisor detected: Microsoft Hyper-V')"
echo "disk: $(cat /sys/block/sda/device/model)"
echo "nic: $(basename "$(readlink /sys/class/net/eth0/device/driver)")"
echo "links: $(dmesg | grep -c 'ACPI: PCI: Interrupt link LNK[A-D] configured')"
echo "ports: $(grep -c '16550A' /proc/tty/driver/serial)"
echo "i8042: $(dmesg | sed -n 's/.*serio: i8042 \([A-Z]*\) port.*\(irq [0-9]*\)$/\1 \2/p' | tr '\n' ' ')"
echo "dmi: $(cat /sys/class/dmi/id/product_name)"
late='\]  #[0-9]*$' # the end of a line begun before: processors being started
late="$late\|fail to add MMCONFIG" # PCI of that time has none, and it says so on every such board
! grep -q tabique.emulated /proc/cmdline || late="$late\|hrtimer: interrupt took"
dmesg -r | grep -E '^<[0-4]>' | grep -v "$late" | grep -vE 'Spectre|MDS|Meltdown|TAA|RETBleed|SRSO|VMSCAPE|ITS|TSA|mitigation|x86/fpu|device-mapper' | sed 's/^/complaint: /'
END
	script_ended
	guest_ends 0
	check 'host bridge' '0x8086 0x7192 0x060000' "$(said 'pci 00:00.0')"
	check 'ISA bridge' '0x8086 0x7110 0x060100' "$(said 'pci 00:07.0')"
	check 'power management' '0x8086 0x7113 0x068000' "$(said 'pci 00:07.3')"
	check 'Hyper-V detected' 1 "$(said hypervisor)"
	check 'disk on VMBus' 'Virtual Disk' "$(said disk | sed 's/ *$//')"
	check 'NIC on VMBus' hv_netvsc "$(said nic)"
	check 'interrupt links' 4 "$(said links)"
	check 'keyboard controller' 'KBD irq 1 AUX irq 12' "$(said i8042 | sed 's/ *$//')"
	check 'SMBIOS' 'Virtual Machine' "$(said dmi)"
	check 'serial ports' 2 "$(said ports)"
	check 'complaints of the kernel' '' "$(said_lines complaint)"
	;;
esac
