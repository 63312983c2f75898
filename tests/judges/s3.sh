#!/bin/bash
# SPDX-License-Identifier: MIT
#
# s3.sh REPLAY: what Debian's SeaBIOS does to QEMU's VGA is recorded, and done to ours: reads and pictures
# must be the same. Once with the BIOS's own text, once with a boot sector that draws in mode 0x12.
set -euo pipefail
replay=$1
command -v qemu-system-x86_64 >/dev/null || exit 77
qemu-system-x86_64 -trace help 2>/dev/null | grep -qx memory_region_ops_write || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# record NAME SECONDS [QEMU'S ARGUMENTS]: NAME.trace and NAME.ppm, of one moment
record() {
	local name=$1 seconds=$2
	shift 2
	{
		sleep "$seconds"
		echo stop
		echo "screendump $dir/$name.ppm"
		sleep 1
		echo quit
	} | timeout 120 qemu-system-x86_64 -machine pc -accel tcg -m 64 -vga std -display none \
		-nic none -monitor stdio -trace 'memory_region_ops_read' \
		-trace 'memory_region_ops_write' -D "$dir/$name.trace" "$@" >"$dir/$name.log" 2>&1
}

# Mode 0x12; dots of all colours, and the printable characters: by interrupt 0x10.
hex=fa31c08ed88ed0bc007cfbb81200cd1031d2b9000089c800d0c0e802240fb40cb700cd1083c103
hex+=81f9800272e883c20581fae00172dcb95e00b0215051b40ebb0e00cd105958fec0e2f1ebfe
{
	# shellcheck disable=SC2001,SC2059  # a \x before each two digits, for printf
	printf "$(sed 's/../\\x&/g' <<<"$hex")"
	head -c $((510 - ${#hex} / 2)) /dev/zero
	printf '\x55\xaa'
	head -c $((1474560 - 512)) /dev/zero
} >"$dir/floppy"

record text 8
record planar 14 -fda "$dir/floppy"
for name in text planar; do
	"$replay" "$dir/$name.trace" "$dir/$name.ppm"
	"$replay" "$dir/$name.trace" "$dir/$name.ppm" windows
done
