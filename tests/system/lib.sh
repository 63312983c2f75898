# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For the tests with whole guests. A test sources this, starts guests with
# `guest`, waits for what they say and for their end, and checks values. It runs
# inside tools/with-kvm (tests/run sees to that; alone: tools/with-kvm TEST).
#
#   guest OPTIONS... <<'END'      starts a guest that runs this script; END
#   wait_for PATTERN [SECONDS]    until its serial line shows it
#   expect WHAT PATTERN [SECONDS] the same as a check
#   guest_ends STATUS [SECONDS]   waits for its end, checks the exit status
#   ctl VERB [KEY=VALUE]...       one request; the answer on standard output
#   check WHAT EXPECTED FOUND     both values are printed when they differ
#
# Or no kernel, but firmware:
#
#   firmware OPTIONS...           starts a legacy machine from its BIOS
#
# Or a guest that does what it is told:
#
#   obedient OPTIONS...           starts it; ready when this returns
#   inside COMMAND [SECONDS]      a line of shell there; its status; $answer is
#                                 what it said. The shell prefers busybox's own:
#                                 /bin/NAME is the tool of that name
#   dismiss                       its end, in order
#
# Or two guests and more, 0 being the first:
#
#   turn N                        what follows is about guest N: $work, inside, ctl...
#
# Before `guest`: flavour=generic|cloud, cpus, memory, append, tools=yes for the
# archive with guest-io and friends, files="a b" for more archives, root=yes for
# the disk image instead of the script, kernel=FILE.
#
# A guest that stands still or dies without being asked to ends the test with
# status 99, which tests/run may forgive in the emulated host. A failed check
# ends it with 1, always.

set -uo pipefail
system_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
top=$(dirname "$(dirname "$system_dir")")
tabique=${TABIQUE:-$top/build/tabique}
work=$(mktemp -d -t tabique-test.XXXXXX)
# Limits of waits, in seconds, are for a busy machine; where it is emulated, and others are busy beside it,
# they are twice as long. Only what never comes makes anybody wait for them.
patience=${TABIQUE_PATIENCE:-90}
slow=1 watchdog=
if [ -n "${TABIQUE_EMULATED_HOST-}" ]; then
	# A guest's kernel, too, takes what is only slow for a hang: a soft lockup of 23 s was seen.
	slow=2 watchdog='watchdog_thresh=60 '
fi

flavour=generic cpus=1 memory=512M append='' tools='' files='' root='' kernel=''
guest_pid='' guest_count=0

finish() {
	local pid tap
	for pid in ${switches[@]+"${switches[@]}"}; do
		"$tabique" switch delete "$pid" >/dev/null 2>&1
	done
	for pid in $guest_pid ${guest_pids[@]+"${guest_pids[@]}"} ${helpers[@]+"${helpers[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	work=$top_work
	umount "$work"/mount* 2>/dev/null
	for tap in ${taps[@]+"${taps[@]}"}; do
		ip link del "$tap" 2>/dev/null
	done
	rm -rf "$work"
}
helpers=() guest_pids=() guest_marks=() turn=0 top_work=$work
trap finish EXIT
trap 'exit 143' TERM INT

# The serial line and our own log, for whoever reads the test's log.
show() {
	[ "$guest_count" -gt 0 ] || return 0
	echo "--- serial line"
	tail -n 40 "$work/serial" | tr -d '\r'
	echo "--- tabique"
	tail -n 20 "$work/stderr"
	echo "---"
}

fail() {
	show
	echo "FAILED: $*"
	exit 1
}

# The guest, not a check: see the head.
guest_broke() {
	show
	echo "the guest broke: $*"
	exit 99
}

skip() {
	echo "$*"
	exit 77
}

check() {
	[ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
	echo "ok: $1: $3"
}

check_true() { # check_true WHAT COMMAND...
	local what=$1
	shift
	"$@" || fail "$what: $*"
	echo "ok: $what"
}

# check_less WHAT FOUND LIMIT, with fractions
check_less() {
	awk -v a="$2" -v b="$3" 'BEGIN { exit !(a < b) }' || fail "$1: expected less than $3, found $2"
	echo "ok: $1: $2 (less than $3)"
}

image() {
	local name=GUEST_${1//-/_}
	name=${name^^}
	if [ -z "${!name-}" ]; then
		export "$name=$("$top/tools/guest-image" "$1")"
	fi
	echo "${!name}"
}

# archive NAME FILE...: files, to be found at / in the guest, as one more archive.
archive() {
	local name=$1 dir
	shift
	dir=$(mktemp -d -p "$work")
	cp "$@" "$dir/"
	(cd "$dir" && find . -type f | busybox cpio -o -H newc 2>/dev/null) >"$work/$name"
	rm -rf "$dir"
	files="$files $work/$name"
}

guest() {
	guest_count=$((guest_count + 1))
	if [ -z "$root" ]; then
		mkdir -p "$work/script"
		cat >"$work/script/test.sh"
		(cd "$work/script" && echo test.sh | busybox cpio -o -H newc 2>/dev/null) >"$work/script.cpio"
		# shellcheck disable=SC2086  # a list of files
		cat "$(image "initrd-$flavour")" ${tools:+"$(image tools)"} $files "$work/script.cpio" >"$work/initrd"
	else
		cp "$(image "initrd-$flavour")" "$work/initrd"
	fi
	start --kernel "${kernel:-$(image "vmlinuz-$flavour")}" --initrd "$work/initrd" \
		--append "console=ttyS0 $watchdog${root:+root=/dev/sda }$append" "$@"
}

# firmware OPTIONS...: a legacy machine that starts its firmware, not a kernel.
firmware() {
	guest_count=$((guest_count + 1))
	start --machine legacy --firmware bios "$@"
}

start() {
	local command=("$tabique" run --cpus "$cpus" --memory "$memory"
		--serial stdio --control "unix:$work/control" "$@")
	: >"$work/serial"
	: >"$work/stderr"
	rm -f "$work/control" "$work/stdin"
	mkfifo "$work/stdin"
	echo "guest $guest_count: $flavour, ${command[*]}"
	# Opened for reading and writing: no end of file until we say so.
	exec 7<>"$work/stdin"
	"${command[@]}" <&7 >>"$work/serial" 2>>"$work/stderr" 7<&- &
	guest_pid=$!
}

obedient() {
	guest "$@" <<'END'
# Nothing of the kernel's between what commands say.
dmesg -n 1
stty -echo
echo "obedient: ready"
while read -r mark command; do
	[ "$mark" != enough ] || exit 0
	eval "$command"
	echo "$mark: $?"
done
END
	wait_for '^obedient: ready'
}

turn() {
	guest_pids[turn]=$guest_pid guest_marks[turn]=$marks turn=$1
	guest_pid=${guest_pids[turn]-} marks=${guest_marks[turn]-0}
	guest_pids[turn]=''
	work=$top_work
	if [ "$turn" != 0 ]; then
		work=$top_work/guest$turn
		mkdir -p "$work"
	fi
	[ ! -p "$work/stdin" ] || exec 7<>"$work/stdin"
}

inside() {
	local from
	marks=$((marks + 1))
	from=$(stat -c %s "$work/serial")
	type_line "m$marks $1"
	wait_for "m$marks: [0-9]+\$" "${2:-$patience}"
	answer=$(tail -c "+$((from + 1))" "$work/serial" | tr -d '\r' | sed "s/m$marks: [0-9]*\$//" |
		sed '${/^$/d}')
	return "$(tr -d '\r' <"$work/serial" | sed -n "s/.*m$marks: \([0-9]*\)\$/\1/p" | tail -n 1)"
}
# shellcheck disable=SC2034  # for the test
marks=0 answer=

dismiss() {
	type_line enough
	script_ended
	guest_ends 0
}

# until_true WHAT SECONDS COMMAND...: on this side, as a check.
until_true() {
	local what=$1 end=$((SECONDS + $2 * slow))
	shift 2
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "$what: not in time: $*"
		sleep 0.2
	done
	echo "ok: $what"
}

# type TEXT: on the guest's serial line, with a return.
type_line() {
	printf '%s\r' "$*" >&7
}

wait_for() { # wait_for PATTERN [SECONDS]
	local end=$((SECONDS + ${2:-$patience} * slow))
	until tr -d '\r' <"$work/serial" | grep -qaE -- "$1"; do
		if ! kill -0 "$guest_pid" 2>/dev/null; then
			tr -d '\r' <"$work/serial" | grep -qaE -- "$1" && return 0
			wait "$guest_pid"
			guest_broke "ended with status $? before it said '$1'"
		fi
		[ $SECONDS -lt $end ] || guest_broke "did not say '$1' in $((${2:-$patience} * slow)) s"
		sleep 0.2
	done
}

# expect WHAT PATTERN [SECONDS]: as wait_for, where its absence is our failure and
# no sign of a guest that stands still.
expect() {
	local end=$((SECONDS + ${3:-$patience} * slow))
	until tr -d '\r' <"$work/serial" | grep -qaE -- "$2"; do
		[ $SECONDS -lt $end ] || fail "$1: nothing like '$2' in $((${3:-$patience} * slow)) s"
		sleep 0.2
	done
	echo "ok: $1"
}

# Of the log: what it says after the last "NAME: ".
said() {
	tr -d '\r' <"$work/serial" | sed -n "s/^$1: //p" | tail -n 1
}

said_lines() {
	tr -d '\r' <"$work/serial" | sed -n "s/^$1: //p"
}

guest_ends() { # guest_ends STATUS [SECONDS]
	local end=$((SECONDS + ${2:-$patience} * slow)) status=0
	while kill -0 "$guest_pid" 2>/dev/null; do
		[ $SECONDS -lt $end ] || guest_broke "did not end in $((${2:-$patience} * slow)) s"
		sleep 0.2
	done
	wait "$guest_pid" || status=$?
	guest_pid=
	# Nobody asked it to crash: that is the guest's, or its processor's, doing.
	if [ $status = 3 ] && [ "$1" != 3 ]; then
		guest_broke "crashed"
	fi
	check "exit status of tabique run" "$1" "$status"
}

# The test's script ran to its end, with this status (0).
script_ended() {
	wait_for '^tabique-guest: exit [0-9]+' "${2:-$patience}"
	check "status of the guest's script" "${1:-0}" "$(said tabique-guest | sed -n 's/^exit //p')"
}

ctl() {
	"$tabique" ctl "$work/control" "$@"
}

# A block device of our own with direct I/O, which tmpfs lacks here: $disk.
# Sizes in MB; one for each test.
make_disk() {
	disk=/dev/ram0
	if [ -n "${TABIQUE_EMULATED_HOST-}" ]; then
		modprobe -r brd 2>/dev/null
		if modprobe brd rd_nr=1 "rd_size=$(($1 * 1024))" max_part=0 2>/dev/null &&
			[ "$(blockdev --getsize64 /dev/ram0 2>/dev/null || echo 0)" = $(($1 * 1048576)) ]; then
			return
		fi
	fi
	disk=$work/disk.img
	truncate -s "${1}M" "$disk"
}

# What guest-io says of a file or device of this side: verified FILE MB SEED
verified() {
	[ -x "$work/bin/guest-io" ] ||
		(cd "$work" && busybox cpio -i -d bin/guest-io <"$(image tools)" 2>/dev/null)
	"$work/bin/guest-io" verify "$@" 2>&1
}

# The same of what an image holds, as qemu-img reads it: image_verified FILE MB SEED
image_verified() {
	let_go "$1" >/dev/null
	qemu-img convert -O raw "$1" "$work/converted" || return 1
	verified "$work/converted" "$2" "$3"
	rm "$work/converted"
}

# QEMU's tools ask once for a lock, and that of a process which used io_uring goes
# a moment after it: the kernel lets go of the ring's files later.
let_go() {
	until_true "$(basename "$1") is free" 20 qemu-img info "$1" >/dev/null 2>&1
}

# Bytes that a file takes of its file system.
allocated() {
	echo $(($(stat -c %b "$1") * 512))
}

# image_is_sound FILE: say the product's own checker and QEMU's, where they have one.
image_is_sound() {
	let_go "$1"
	case $1 in
	*.vhdx | *.vhd)
		# 4: no error, but space that nobody refers to, as after a discard.
		"$tabique" disk check "$1" >"$work/check" 2>&1
		case $? in
		0 | 4) ;;
		*) fail "our check of $1: $(cat "$work/check")" ;;
		esac
		echo "ok: our check of $(basename "$1")"
		;;
	esac
	case $1 in
	*.vhdx | *.qcow2) check_true "QEMU's check of $(basename "$1")" qemu-img check -q "$1" ;;
	esac
}

# new_image FILE FORMAT MB: made by QEMU, empty, growing as it is written.
new_image() {
	case $2 in
	raw) truncate -s "$3M" "$1" ;;
	vhdx) qemu-img create -q -f vhdx -o subformat=dynamic,block_size=1M "$1" "$3M" ;;
	vhd) qemu-img create -q -f vpc -o subformat=dynamic,force_size=on "$1" "$3M" ;;
	*) qemu-img create -q -f "$2" "$1" "$3M" ;;
	esac || fail "no new image $1"
}

# host_tap NAME ADDRESS/BITS [multi_queue]: a TAP device of this host, up, without IPv6's own traffic.
host_tap() {
	[ -w /dev/net/tun ] || modprobe tun 2>/dev/null
	[ -w /dev/net/tun ] || skip "no /dev/net/tun here"
	# shellcheck disable=SC2086  # a word or none
	ip tuntap add "$1" mode tap ${3-} || skip "no TAP device can be made here"
	taps+=("$1")
	echo 1 >"/proc/sys/net/ipv6/conf/$1/disable_ipv6" 2>/dev/null
	ip addr add "$2" dev "$1" || fail "TAP device $1"
	ip link set "$1" up || fail "TAP device $1"
}
taps=()

# serve_on ADDRESS SIZE: an http server at ADDRESS:8078 with so much (MB, or a size for head) in /file: $sum.
serve_on() {
	local size=$2
	[ -n "${size//[0-9]/}" ] || size=${size}M
	mkdir -p "$work/www"
	head -c "$size" /dev/urandom >"$work/www/file"
	# shellcheck disable=SC2034  # for the test
	sum=$(sha256sum "$work/www/file" | cut -d ' ' -f 1)
	busybox httpd -f -p "$1:8078" -h "$work/www" &
	helpers+=($!)
}

# knows_carrier: from now on there is `carrier 0` and `carrier 1` in the guest, which wait for it.
knows_carrier() {
	# shellcheck disable=SC2016  # for the guest
	inside 'carrier() { for i in $(seq 600); do [ "$(cat /sys/class/net/eth0/carrier)" != $1 ] || return 0; usleep 100000; done; return 1; }'
}

# with_carrier [WHOSE]: the guest's eth0 has one soon.
with_carrier() {
	knows_carrier
	inside 'carrier 1'
	check "carrier${1:+ of $1}" 0 $?
}

# files_under_way HERE THERE: from now on files go all the time to the guest, from an http server at
# HERE:8078 (serve_on), and from it, at THERE, back to back. One whose connection does not outlive what is
# done to the NIC is given up: segments of an MTU that is no more arrive nowhere.
files_under_way() {
	# shellcheck disable=SC2016  # for the guest
	inside 'head -c 262144 /dev/urandom >/tmp/file; httpd -p 80 -h /tmp; sha256sum </tmp/file'
	given_sum=${answer%% *}
	: >"$work/sums"
	inside "(until [ -e /tmp/stop ]; do timeout 20 wget -q -O /tmp/got http://$1:8078/file && sha256sum </tmp/got || usleep 300000; done >/tmp/sums 2>/tmp/said) &"
	(until [ -e "$work/stop" ]; do
		if timeout 20 busybox wget -q -O "$work/got" "http://$2/file" 2>>"$work/said"; then
			sha256sum <"$work/got"
		else
			sleep 0.3
		fi
	done >>"$work/sums") &
	helpers+=($!)
	# shellcheck disable=SC2016  # for the guest
	inside 'two_more() { n=$(($(wc -l </tmp/sums) + 2)); for i in $(seq 1200); do [ $(wc -l </tmp/sums) -lt $n ] || return 0; usleep 100000; done; return 1; }'
}
has_sums() { [ "$(wc -l <"$work/sums")" -ge "$1" ]; }

# busy_on_switch: a guest on a switch of MTU 9000, with files under way between it and the host. In the guest
# there is `address`, which gives its eth0 one again.
busy_on_switch() {
	with_switch lan kind=internal host-port=tbt0 mtu=9000
	echo 1 >/proc/sys/net/ipv6/conf/tbt0/disable_ipv6 2>/dev/null
	ip link set tbt0 mtu 9000
	ip addr add 10.83.0.1/24 dev tbt0
	ip link set tbt0 up
	serve_on 10.83.0.1 256K
	obedient --name one --net switch=lan
	inside 'address() { ip addr add 10.83.0.2/24 dev eth0; ip link set eth0 up; }; address'
	with_carrier
	files_under_way 10.83.0.1 10.83.0.2
	goes_on 'at first'
}

# ethtool_does OPTION...: in the guest.
ethtool_does() {
	inside "/bin/ethtool $*"
	check "ethtool $*" 0 $?
}

# goes_on WHAT: one file each way arrives that was begun after this.
goes_on() {
	local wanted=$(($(wc -l <"$work/sums") + 2))
	inside two_more 150
	check "$1: files to the guest go on" 0 $?
	until_true "$1: files from the guest go on" 150 has_sums "$wanted"
}

# files_end: the last ones are done; all that arrived were whole.
files_end() {
	inside 'touch /tmp/stop; wait'
	touch "$work/stop"
	wait "${helpers[-1]}"
	unset 'helpers[-1]'
	inside 'sort -u /tmp/sums'
	# shellcheck disable=SC2154  # serve_on's
	check 'all sums of what the guest got' "$sum  -" "$answer"
	check 'all sums of what it gave' "$given_sum  -" "$(sort -u "$work/sums")"
}

# nobody_complains: of checksums, nor the guest's kernel of its NIC.
nobody_complains() {
	# shellcheck disable=SC2016  # for awk
	local checksums='/^Tcp:/ { print $NF }'
	inside "awk '$checksums' /proc/net/snmp | tail -n 1"
	check 'segments with a wrong checksum, in the guest' 0 "$answer"
	check 'segments with a wrong checksum, here' 0 "$(awk "$checksums" /proc/net/snmp | tail -n 1)"
	inside 'dmesg | grep -E "hv_netvsc.*(unknown|invalid|fail|timeout|unable)|WARNING: CPU|BUG: |NETDEV WATCHDOG|hw csum"'
	check 'what its kernel complains of' '' "$answer"
}

# with_switch NAME KEY=VALUE...: makes and starts one, in a place of its own.
with_switch() {
	export TABIQUE_SWITCH_DIR=${TABIQUE_SWITCH_DIR:-$top_work/switch}
	mkdir -p "$TABIQUE_SWITCH_DIR"
	chmod 755 "$top_work" "$TABIQUE_SWITCH_DIR"
	[ -w /dev/net/tun ] || modprobe tun 2>/dev/null
	switch create "$@" || fail "no switch $1"
	switches+=("$1")
	until_true "switch $1 serves" 60 serves "$1"
}
switches=()
switch() { # switch VERB [VERB] NAME...
	"$tabique" switch "$@"
}
serves() {
	switch show "$1" >/dev/null 2>&1
}

# The process that carries the frames dies; the one that watches it starts another.
kill_switch() {
	pgrep -f 'tabique-switch.* --data' | tail -n 1 | xargs -r kill -KILL
}

# An http server on loopback with $1 MB in /file: $port, $sum.
serve_file() {
	local tries
	mkdir -p "$work/www"
	head -c "${1}M" /dev/urandom >"$work/www/file"
	# shellcheck disable=SC2034  # for the test
	sum=$(sha256sum "$work/www/file" | cut -d ' ' -f 1)
	for tries in 1 2 3 4 5 6 7 8; do
		port=$((20000 + RANDOM % 20000))
		busybox httpd -f -p "127.0.0.1:$port" -h "$work/www" 2>/dev/null &
		helpers+=($!)
		sleep 0.3
		! kill -0 $! 2>/dev/null || return 0
	done
	fail "no http server on loopback after $tries tries"
}
