#!/bin/bash
# SPDX-License-Identifier: MIT
#
# vhdx.sh VHDX_TOOL: QEMU reads our VHDX files and we read QEMU's, and all agree with a raw file that saw
# the same. QEMU knows no parents: chains are compared with the raw file alone. Exit 77 without qemu-img.
set -eu

tool=$(realpath "$1")
for program in qemu-img qemu-io; do
	command -v "$program" >/dev/null || {
		echo "vhdx.sh: $program is not installed (tools/setup test)"
		exit 77
	}
done
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

die() {
	echo "vhdx.sh: $*" >&2
	exit 1
}

# same IMAGE RAW: QEMU's check and compare, our own reading, our own check.
same() {
	qemu-img check -q -f vhdx "$1" || die "qemu-img check complains about $1"
	qemu-img compare -q -f vhdx -F raw "$1" "$2" || die "qemu-img finds $1 and $2 different"
	"$tool" export "$1" exported
	cmp exported "$2" || die "we read $1 otherwise than it was written"
	"$tool" check "$1" >check.out || die "our check: $(cat check.out)"
}

# Ours, judged by QEMU.
seed=1
for layout in dynamic fixed; do
	for block in 1 2 32 256; do
		[ "$layout$block" != fixed256 ] || continue
		bytes=$((40 * 1048576 + block * 512))
		"$tool" create ours.vhdx "$layout" "$bytes" $((block << 20))
		truncate -s "$bytes" ours.vhdx.raw
		"$tool" random ours.vhdx "$seed" 150
		same ours.vhdx ours.vhdx.raw
		if [ "$layout" = dynamic ]; then
			"$tool" compact ours.vhdx >/dev/null
			same ours.vhdx ours.vhdx.raw
		fi
		# And QEMU goes on with it, and we after that.
		qemu-io -f vhdx -c "write -P 165 12345344 3145728" -c flush ours.vhdx >/dev/null
		qemu-io -f raw -c "write -P 165 12345344 3145728" -c flush ours.vhdx.raw >/dev/null
		"$tool" random ours.vhdx "$((seed + 100))" 50
		same ours.vhdx ours.vhdx.raw
		rm -f ours.vhdx ours.vhdx.raw
		seed=$((seed + 1))
	done
done

# QEMU's, used by us.
for options in subformat=dynamic subformat=fixed block_size=1048576 block_size=16777216 \
	subformat=dynamic,block_state_zero=off log_size=4194304; do
	qemu-img create -q -f vhdx -o "$options" theirs.vhdx 37M
	qemu-img create -q -f raw theirs.vhdx.raw 37M
	for writes in "write -P 17 0 65536" "write -P 34 7340032 2097152" "write -P 51 38796800 512"; do
		qemu-io -f vhdx -c "$writes" theirs.vhdx >/dev/null
		qemu-io -f raw -c "$writes" theirs.vhdx.raw >/dev/null
	done
	same theirs.vhdx theirs.vhdx.raw
	"$tool" random theirs.vhdx "$seed" 150
	same theirs.vhdx theirs.vhdx.raw
	rm -f theirs.vhdx theirs.vhdx.raw
	seed=$((seed + 1))
done

# Converted in both directions.
"$tool" create ours.vhdx dynamic $((40 << 20)) $((2 << 20))
truncate -s 40M ours.vhdx.raw
"$tool" random ours.vhdx "$seed" 150
qemu-img convert -q -f vhdx -O vhdx ours.vhdx theirs.vhdx
same theirs.vhdx ours.vhdx.raw
"$tool" create again.vhdx dynamic $((40 << 20)) $((2 << 20))
"$tool" import ours.vhdx.raw again.vhdx
same again.vhdx ours.vhdx.raw

# A chain of three, against the raw file; sectors of both sizes.
for logical in 512 4096; do
	"$tool" create base.vhdx dynamic $((20 << 20)) $((1 << 20)) "$logical"
	truncate -s 20M base.vhdx.raw
	"$tool" random base.vhdx "$seed" 100
	parent=base
	for child in middle top; do
		cp "$parent.vhdx.raw" "$child.vhdx.raw"
		"$tool" create "$child.vhdx" child "$parent.vhdx" $((2 << 20))
		"$tool" random "$child.vhdx" $((seed + 1)) 150
		parent=$child
	done
	for image in middle top; do
		"$tool" compact "$image.vhdx" >/dev/null
		"$tool" check "$image.vhdx" >check.out || die "our check: $(cat check.out)"
		"$tool" export "$image.vhdx" exported
		cmp exported "$image.vhdx.raw" || die "$image of a chain differs"
	done
	rm -f ./*.vhdx ./*.raw
	seed=$((seed + 10))
done
echo "vhdx.sh: all agree"
