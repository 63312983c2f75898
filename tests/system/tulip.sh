#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: traffic takeover
# limit: 400
#
# Debian's stock `tulip` drives the legacy board's DECchip 21140.
#
# traffic: two cards, and nothing else. DHCP, a file each way, down and up, each filter; and nothing it complains of.
# takeover: the card has the wire until hv_netvsc is loaded, loses its link then, and has it again after a reset.
# What a frame costs with either is shown.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

# Linux swaps the bytes of addresses that begin with 02:00 on this card.
mac=52:54:00:21:14:0a
module=$(find "$("$top/tools/debian-kernel" generic)/lib/modules/" -name tulip.ko | head -n 1)
[ -n "$module" ] || fail 'the kernel in the cache has no tulip.ko'

# board MB FACE [OPTION...]: with no driver of Hyper-V's in the beginning.
board() {
	serve_file "$1"
	forward=$((40000 + RANDOM % 20000))
	archive tulip.cpio "$module"
	append='tabique.modules=legacy'
	obedient --machine legacy --net "nat,face=$2,mac=$mac,forward=tcp:127.0.0.1:$forward:80" "${@:3}"
}

with_tulip() {
	inside '[ -d /sys/module/tulip ] || insmod /tulip.ko'
	check 'tulip is loaded' 0 $?
	inside 'basename $(readlink /sys/class/net/eth0/device/driver)'
	check "eth0's driver" tulip "$answer"
	inside 'cat /sys/class/net/eth0/address'
	check "eth0's address" $mac "$answer"
}

with_dhcp() { # with_dhcp INTERFACE
	inside "udhcpc -q -n -t 8 -s /etc/udhcpc.script -i $1 >/dev/null 2>&1"
	check "DHCP by $1" 0 $?
	inside "ip -4 addr show dev $1 | sed -n 's/.*inet \\([0-9./]*\\).*/\\1/p'"
	check "address of $1" 10.0.2.15/24 "$answer"
}

answers() { # answers WHEN [SIZE]
	inside "ping -c 2 -W 10 -s ${2:-56} 10.0.2.2 >/dev/null"
	check "ping with ${2:-56} bytes $1" 0 $?
}

face_is() {
	[ "$(ctl inspect | jq -r '.adapters.list[0].face')" = "$1" ]
}

# mode_is MASK VALUE: of the second card's CSR6, what the driver and its setup frames have set.
mode_is() {
	[ $((0x$(ctl inspect | jq -r '.adapters.list[1].card.csr6') & $1)) = "$2" ]
}

# files_both_ways DRIVER: with sums, and what they cost.
files_both_ways() {
	local before after frames
	inside 'pidof httpd >/dev/null || { mkdir -p /tmp/www; httpd -p 80 -h /tmp/www; }'
	before=$(cost "$1")
	inside "wget -q -O /tmp/www/file http://10.0.2.2:$port/file; sha256sum </tmp/www/file" 150
	check "sum of what $1 received" "$sum  -" "$answer"
	check "sum of what $1 sent" "$sum" \
		"$(timeout 300 busybox wget -q -O - "http://127.0.0.1:$forward/file" | sha256sum | cut -d ' ' -f 1)"
	after=$(cost "$1")
	paste -d ' ' <(echo "$before") <(echo "$after") | awk -v driver="$1" '
		NR == 1 { frames = $2 - $1 }
		{ n[NR] = $2 - $1 }
		END { printf "%s: %d frames; per frame: %.2f exits to user space, %.2f exits, %.2f interrupts\n",
			driver, frames, n[2] / frames, n[3] / frames, n[4] / frames }' | tee "$work/cost-$1"
	frames=$(sed -n 's/.*: \([0-9]*\) frames.*/\1/p' "$work/cost-$1")
	check_less "frames by $1, too few" $((300 - frames)) 1
}

# Frames, exits to user space without the serial port's, all exits, interrupts.
cost() {
	local frames='.sent_frames + .delivered_frames'
	[ "$1" != tulip ] || frames='.card.tx_frames + .card.rx_frames'
	ctl inspect | jq "(.adapters.list[0] | $frames),
		([.partition.vps[] | .exits_total - (.ports.serial // 0)] | add),
		([.partition.vps[].kvm.exits] | add), ([.partition.vps[].kvm.irq_injections] | add)"
}

user_exits() {
	sed -n 's/.*per frame: \([0-9.]*\) exits to user.*/\1/p' "$work/cost-$1"
}

# The second card is on a TAP device of ours, whose neighbour solicitations go to groups: one for each of the guest's
# addresses that we have not spoken to yet.
solicits() { # solicits WHEN NUMBER...
	local when=$1 number
	shift
	for number; do
		check_true "address $number is found $when" \
			eval "busybox ping6 -c 4 -W 10 fd00:83::a:$number >>'$work/said' 2>&1"
	done
}

filters() {
	local filtered
	inside 'ip link set eth1 up; groups() { for i in $(seq $1 $2); do ip -6 addr add fd00:83::a:$i/64 dev eth1; done; }; groups 101 104'
	until_true 'sixteen addresses' 20 mode_is $((1 | 64 | 128)) 0
	solicits 'by one of sixteen addresses' 101 104
	filtered=$(ctl inspect | jq '.adapters.list[1].card.rx_filtered')
	busybox ping6 -c 1 -W 3 fd00:83::a:999 >/dev/null 2>&1
	check_less 'filtered before, and after a group that is not the guest'"'s" "$filtered" \
		"$(ctl inspect | jq '.adapters.list[1].card.rx_filtered')"
	# More than 14 groups are a hash filter, in place of addresses.
	inside 'groups 105 124'
	until_true 'a hash filter' 20 mode_is $((1 | 64 | 128)) 1
	solicits 'by the hash' 105 111 124
	inside 'ifconfig eth1 allmulti'
	until_true 'all groups' 20 mode_is $((64 | 128)) 128
	solicits 'with all groups' 112
	inside 'ip link set eth1 promisc on'
	until_true 'promiscuous' 20 mode_is 64 64
	solicits 'promiscuously' 113
	inside 'ip link set eth1 promisc off; ifconfig eth1 -allmulti; ip link set eth1 multicast off; ip link set eth1 multicast on'
	until_true 'a hash filter again' 20 mode_is $((1 | 64 | 128)) 1
	solicits 'by the hash again' 114
}

no_complaints() {
	inside 'dmesg -r | grep -E "^<[0-4]>" | grep -E "tulip|net eth|NETDEV WATCHDOG|nobody cared|WARNING: CPU|BUG: "'
	check 'what the kernel complains of' '' "$answer"
}

# The receiver's halt is an error by tulip's account, whose own it is: it restarts the chip to change to full duplex.
no_errors() {
	inside 'cd /sys/class/net/eth0/statistics; cat tx_errors tx_carrier_errors tx_aborted_errors collisions rx_length_errors rx_crc_errors rx_frame_errors rx_missed_errors | sort -u | xargs'
	check "errors in eth0's counters" 0 "$answer"
}

case $1 in
traffic)
	host_tap tbt4 10.83.4.1/24
	echo 0 >/proc/sys/net/ipv6/conf/tbt4/disable_ipv6 || skip 'no IPv6 here'
	ip -6 addr add fd00:83::1/64 dev tbt4 nodad || fail 'no IPv6 address for a TAP device'
	board 8 emulated --net tap=tbt4,face=emulated,mac=52:54:00:21:14:0b
	with_tulip
	with_dhcp eth0
	for size in 56 1400 4000; do
		answers 'at first' $size
	done
	files_both_ways tulip
	# Not later: what the driver takes back unsent when it is closed counts as an error, its setup frame too.
	no_errors
	for i in 1 2; do
		inside 'ip link set eth0 down; ip link set eth0 up'
		answers "after down and up, $i"
	done
	filters
	no_complaints
	check 'face' emulated "$(ctl inspect | jq -r '.adapters.list[0].face')"
	check 'bus errors' 0 "$(ctl inspect | jq '.adapters.list[0].card.bus_errors')"
	;;
takeover)
	board 4 auto
	with_tulip
	with_dhcp eth0
	check_true 'the card has the wire' face_is emulated
	files_both_ways tulip
	inside 'modprobe hv_netvsc; until [ -e /sys/class/net/eth1 ]; do usleep 100000; done; ip link set eth1 up; cat /sys/class/net/eth1/address'
	check "eth1's address" $mac "$answer"
	until_true 'hv_netvsc takes the wire over' 60 face_is synthetic
	inside 'ip addr flush dev eth0; ip link set eth0 down'
	with_dhcp eth1
	files_both_ways hv_netvsc
	# tulip looks at its PHY some seconds after it is up.
	inside 'ip link set eth0 up; for i in $(seq 600); do [ "$(cat /sys/class/net/eth0/carrier)" != 0 ] || break; usleep 100000; done; cat /sys/class/net/eth0/carrier'
	check "tulip's carrier, without the wire" 0 "$answer"
	no_complaints
	check_less "exits to user space per frame, hv_netvsc's beside tulip's" "$(user_exits hv_netvsc)" "$(user_exits tulip)"
	type_line 'm0 reboot -f'
	until_true 'it starts again' 120 eval '[ "$(grep -ac "^obedient: ready" "$work/serial")" = 2 ]'
	check_true 'the card has the wire after a reset' face_is emulated
	with_tulip
	with_dhcp eth0
	answers 'after the reset'
	no_complaints
	no_errors
	;;
*) skip "no case $1" ;;
esac
dismiss
