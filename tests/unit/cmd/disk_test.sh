#!/bin/bash
# SPDX-License-Identifier: MIT
#
# disk_test.sh TABIQUE: the sub-commands of `tabique disk`, with qemu-img as the
# judge of what they make. No guest, no KVM.

set -u
tabique=$(realpath "$1") # meson may give a relative one
dir=$(mktemp -d "${TMPDIR:-/tmp}/tabique-disk-XXXXXX")
[ -w /dev/shm ] && rmdir "$dir" && dir=$(mktemp -d /dev/shm/tabique-disk-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

bad() {
	echo "FAILED line ${BASH_LINENO[1]}: $*"
	failed=1
}

disk() {
	"$tabique" disk "$@"
}

# expect STATUS WORD COMMAND...: the status, and WORD in what it says.
expect() {
	local status=$1 word=$2 said got
	shift 2
	said=$("$tabique" disk "$@" 2>&1 </dev/null)
	got=$?
	[ $got -eq "$status" ] || bad "disk $*: status $got, not $status: $said"
	case $said in
	*"$word"*) ;;
	*) bad "disk $*: \"$said\" lacks \"$word\"" ;;
	esac
}

same() {
	cmp "$1" "$2" >/dev/null || bad "$1 and $2 differ"
}

# Is a file with data here and there, of a length that is no multiple of a block.
make_data() {
	truncate -s 20979712 "$1"
	for at in 0 3 4 9 17; do
		head -c 700000 /dev/urandom |
			dd of="$1" bs=1M seek=$at conv=notrunc status=none
	done
	head -c 512 /dev/urandom | dd of="$1" bs=512 seek=40975 conv=notrunc status=none
}

# ---- words ----
expect 1 usage:
expect 0 create --help
for command in create info convert check resize compact map; do
	expect 0 "usage: tabique disk $command" $command --help
	expect 1 "usage: tabique disk $command" $command
	expect 1 "" $command --no-such-option x
done
expect 1 'unknown command "disk melt"' melt

# ---- create, info ----
expect 0 "" create a.vhd 20M
expect 1 "exists already" create a.vhd 20M
expect 1 "is no size" create b.vhd 20X
expect 1 "multiple of 512" create b.vhd 1000
expect 1 "2040G" create b.vhd 3T
expect 1 "power of two" create --block-size 3K b.vhd 20M
expect 1 "cannot be made" create b.qcow2 20M
expect 1 "unknown disk format" create -f nonsense b 20M
expect 1 "exclude each other" create --fixed --parent a.vhd b.vhd
expect 1 "cannot be opened" create --parent none.vhd b.vhd
expect 1 "has no parent" create -f raw --parent a.vhd b.img
[ -e b.vhd ] && bad "a refused create left a file"
expect 0 "" create --parent a.vhd child.vhd
expect 0 "" create --fixed f.vhd 20M
expect 0 "" create r.img 20M
expect 0 "layout: dynamic" info a.vhd
expect 0 "virtual_bytes: 20971520" info a.vhd
expect 0 "layout: fixed" info f.vhd
expect 0 "layout: differencing" info child.vhd
expect 0 "parents:" info --chain child.vhd
disk info --json --chain child.vhd >info.json || bad "info --json"
if command -v jq >/dev/null; then
	[ "$(jq -r '.parents[0].virtual_bytes' info.json)" = 20971520 ] || bad "info.json"
	[ "$(disk map --json a.vhd | jq -r '.[0].kind')" = zero ] || bad "map --json"
fi
expect 1 "does not exist" info none.vhd
expect 1 "neither a file" info /dev/null
cp r.img r.vhd
expect 1 "named like vhd" info r.vhd
cp a.vhd a.img
expect 1 "format=vhd" info a.img
expect 0 "layout: dynamic" info -f vhd a.img
expect 0 "parent" map child.vhd

# ---- convert: to and fro ----
make_data data.img
for options in "" --fixed "--block-size 64K"; do
	rm -f x.vhd x.img
	# shellcheck disable=SC2086  # words are meant
	expect 0 "" convert $options data.img x.vhd
	expect 0 "0 errors, 0 leaks" check x.vhd
	expect 0 "" convert x.vhd x.img
	same data.img x.img
done
[ "$(stat -c %b x.img)" -le "$(($(stat -c %b data.img) + 1000))" ] || bad "holes were filled"
expect 1 "exists already" convert data.img x.vhd
expect 0 "" convert --force data.img x.vhd
expect 1 "is no file" convert --force data.img .
expect 1 "cannot be made" convert data.img x.qcow2
expect 1 "does not exist" convert none.img y.vhd
find . -name '*.part' | grep -q . && bad "temporary files were left"

# ---- a chain becomes one ----
rm -f x.vhd
disk convert data.img x.vhd
expect 0 "" create --parent x.vhd y.vhd
expect 0 "" create --parent y.vhd z.vhd
expect 0 "" convert z.vhd flat.img
same data.img flat.img
mkdir sub
expect 0 "" create --parent ../x.vhd sub/w.vhd
expect 0 "" convert sub/w.vhd flat2.img
same data.img flat2.img

# ---- resize, compact, map, check ----
expect 1 "say --shrink" resize x.vhd 1M
expect 1 "is no size" resize x.vhd +1Q
expect 1 "has only" resize --shrink x.vhd -1T
expect 1 "multiple" resize x.vhd 1000000001
cp x.vhd g.vhd
expect 0 "" resize g.vhd +100M
expect 1 "say --shrink" resize g.vhd 20979712
expect 0 "" resize --shrink g.vhd 20979712
expect 0 "errors" check g.vhd
expect 0 "" convert g.vhd g.img
same data.img g.img
expect 0 "given back" compact g.vhd
expect 0 "0 errors, 0 leaks" check g.vhd
expect 0 "" convert --force g.vhd g.img
same data.img g.img
expect 0 "given back" compact data.img
expect 1 "fixed VHD" compact f.vhd
expect 1 "cannot be compacted" compact -f qcow2 data.img
truncate -s -512 g.vhd
expect 3 "missing or damaged" check g.vhd
expect 0 "1 repaired" check --repair g.vhd
expect 0 "0 errors" check g.vhd
truncate -s 1000 odd.img
expect 3 "no multiple" check odd.img
expect 1 "no VHD footer" check -f vhd r.img

# ---- nothing half is left ----
truncate -s 3G big.img
dd if=/dev/urandom of=big.img bs=1M count=600 conv=notrunc status=none
"$tabique" disk convert big.img killed.vhd &
pid=$!
sleep 0.1
kill -9 $pid
wait $pid 2>/dev/null
[ -e killed.vhd ] && [ ! "$(disk check killed.vhd)" = "0 errors, 0 leaks, 0 repaired" ] &&
	bad "kill -9 left half of an image"
rm -f killed.vhd .killed.vhd.*.part
"$tabique" disk convert big.img stopped.vhd 2>stopped.txt &
pid=$!
sleep 0.1
kill -INT $pid
wait $pid
status=$?
if [ $status -eq 130 ]; then
	grep -q "was not made" stopped.txt || bad "an interrupted convert says nothing"
	[ -e stopped.vhd ] && bad "an interrupted convert left an image"
elif [ $status -ne 0 ]; then
	bad "an interrupted convert ended with $status"
fi
find . -name '.stopped*' | grep -q . && bad "an interrupted convert left its file"
if [ "$(id -u)" -eq 0 ] && mkdir full && mount -t tmpfs -o size=2M tmpfs full 2>/dev/null; then
	"$tabique" disk convert data.img full/x.vhd 2>full.txt
	status=$?
	[ $status -eq 2 ] || bad "a full disk gave $status: $(cat full.txt)"
	[ -z "$(ls -A full)" ] || bad "a full disk kept something: $(ls -A full)"
	umount full
else
	echo "a full disk was not tried: that needs root"
fi

# ---- qemu-img, the judge from outside ----
if ! command -v qemu-img >/dev/null; then
	echo "qemu-img is not installed"
	[ $failed -eq 0 ] && exit 77
	exit 1
fi
judge() {
	qemu-img compare -f "$1" -F "$3" "$2" "$4" >compare.txt 2>&1 ||
		bad "qemu-img compare $*: $(cat compare.txt)"
}
for options in "" --fixed "--block-size 512K"; do
	rm -f q.vhd
	# shellcheck disable=SC2086
	disk convert $options data.img q.vhd || bad "convert"
	judge raw data.img vpc q.vhd
	[ "$(qemu-img info -f vpc --output json q.vhd | jq '."virtual-size"')" = 20979712 ] ||
		bad "qemu-img has another size for q.vhd"
done
for options in subformat=dynamic subformat=fixed subformat=dynamic,force_size=on \
	subformat=fixed,force_size=on; do
	rm -f q.vhd q.img
	qemu-img convert -f raw -O vpc -o $options data.img q.vhd || bad "qemu-img convert"
	disk convert q.vhd q.img || bad "convert from qemu-img's"
	judge vpc q.vhd raw q.img
	[ "$(qemu-img info -f vpc --output json q.vhd | jq '."virtual-size"')" = "$(stat -c %s q.img)" ] ||
		bad "sizes differ for $options"
	expect 0 "0 errors" check q.vhd
done
# Written by one, then by the other, then by the first again.
rm -f q.vhd
disk create q.vhd 64M
qemu-io -f vpc -c 'write -P 7 1M 3M' -c 'write -P 9 40M 64k' q.vhd >/dev/null || bad "qemu-io"
expect 0 "0 errors" check q.vhd
disk resize q.vhd +64M || bad "resize after qemu-io"
qemu-io -f vpc -c 'read -P 7 1M 3M' -c 'read -P 9 40M 64k' -c 'write -P 5 100M 1M' q.vhd |
	grep -q "verification failed" && bad "qemu-io reads something else"
disk convert q.vhd q2.img || bad "convert"
judge vpc q.vhd raw q2.img
disk compact q.vhd >/dev/null || bad "compact"
judge vpc q.vhd raw q2.img
exit $failed
