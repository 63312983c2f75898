#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: nothing menu screen kernel-1 kernel-2
# limit: 240
#
# The legacy board. nothing: SeaBIOS comes up, finds our chips and no disk, stays,
# and does all of it again after a reset. menu: its boot menu, by the serial line, on a board without
# a screen. screen: what its VGA BIOS has drawn, as a picture.
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

# refused WHAT WORDS KEY=VALUE...: a screendump.
refused() {
	local what=$1 words=$2 answer
	shift 2
	! answer=$(ctl screendump "$@" 2>&1) || fail "$what: it was taken"
	check "$what" 1 "$(grep -c "$words" <<<"$answer")"
}

is_drawing() {
	grep -qsx tabique-dump "/proc/$guest_pid/task/"*/comm
}

# picture FILE: width, height, colours, and rows of pixels that are of more than one colour.
picture() {
	python3 - "$1" <<'END'
import struct, sys, zlib
png = open(sys.argv[1], "rb").read()
assert png[:8] == b"\x89PNG\r\n\x1a\n"
at, data = 8, b""
while at < len(png):
    size, kind = struct.unpack(">I4s", png[at:at + 8])
    body = png[at + 8:at + 8 + size]
    assert zlib.crc32(kind + body) == struct.unpack(">I", png[at + 8 + size:at + 12 + size])[0]
    if kind == b"IHDR":
        width, height, depth, form = struct.unpack(">IIBB", body[:10])
        assert (depth, form) == (8, 2), "not 3 bytes a pixel"
    data += body if kind == b"IDAT" else b""
    at += 12 + size
data, pitch = zlib.decompress(data), 3 * width
above, colours, drawn = bytearray(pitch), set(), 0
for y in range(height):
    how, row = data[y * (pitch + 1)], bytearray(data[y * (pitch + 1) + 1:(y + 1) * (pitch + 1)])
    for x in range(pitch if how else 0):
        a, b, c = (row[x - 3], above[x], above[x - 3]) if x >= 3 else (0, above[x], 0)
        p = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
        row[x] = row[x] + (0, a, b, (a + b) // 2, p)[how] & 255
    here = {bytes(row[x:x + 3]) for x in range(0, pitch, 3)}
    colours |= here
    drawn += len(here) > 1
    above = row
print(width, height, len(colours), drawn)
END
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
	found 08.0 5333:8811
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
	firmware --vga none --boot-menu on --boot-order net,dvd
	expect 'the menu is offered' 'Press ESC for boot menu'
	printf '\033' >&7
	expect 'and comes' 'Select boot device'
	refused 'no screen, no picture' 'no graphics card' "file=$work/none.png"
	ctl quit >/dev/null
	guest_ends 0
	;;
screen)
	firmware
	expect 'no disk, no boot' '^No bootable device\.'
	refused 'a picture has a name' 'names no file'
	refused 'in a place that there is' 'nowhere/a.png.*No such file' "file=$work/nowhere/a.png"
	ctl screendump "file=$work/screen.png" >/dev/null || fail 'no screendump'
	read -r width height colours drawn <<<"$(picture "$work/screen.png")"
	check 'text of 80 columns of 9 dots, 25 rows of 16' '720 400' "$width $height"
	check 'grey on black' 2 "$colours"
	check_less 'lines of it that show something, more than' 30 "$drawn"
	check 'the card' '"S3 Trio64" "text" false' \
		"$(ctl inspect | jq -c '.board.graphics_card | .model, .kind, .off' | paste -sd ' ')"
	ctl reset >/dev/null
	until_true 'the same after a reset' 60 twice
	ctl screendump "file=$work/again.png" >/dev/null || fail 'no screendump'
	check_true 'and the same picture' cmp "$work/screen.png" "$work/again.png"
	# A disk that takes its time holds up nobody but the end, and who asked gets the answer.
	mkfifo "$work/slow.png.part"
	ctl screendump "file=$work/slow.png" >"$work/slow" 2>&1 &
	slow_dump=$!
	until_true 'the picture is under way' 20 is_drawing
	refused 'one at a time' 'under way' "file=$work/second.png"
	check 'the machine runs on' running "$(ctl status | jq -r .state)"
	ctl quit >/dev/null
	sleep 1
	check_true 'its end waits' kill -0 "$guest_pid"
	cat "$work/slow.png.part" >"$work/slow.copy"
	guest_ends 0
	wait $slow_dump
	check 'status of the slow one' 0 $?
	check_true 'and it has come whole' cmp "$work/screen.png" "$work/slow.copy"
	;;
kernel-*)
	cpus=${1#*-}
	make_disk 64
	[ -z "${TABIQUE_EMULATED_HOST-}" ] || append=tabique.emulated
	append="$append console=tty0 console=ttyS0" # the last is /dev/console
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
echo "vga: $(dmesg | sed -n 's/.*00:08.0: vgaarb: VGA device \(added\).*/\1/p')"
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
	check 'graphics card' '0x5333 0x8811 0x030000' "$(said 'pci 00:08.0')"
	check 'and its arbiter' added "$(said vga)"
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
