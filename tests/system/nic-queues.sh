#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 900
#
# A network adapter with two queues on a TAP device: hv_netvsc asks for a channel for each, flows spread
# over them, ethtool shows and changes number and table, and counts what we count.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

flavour=cloud cpus=2 tools=yes
tap=tbq0
host_tap "$tap" 10.78.0.1/24 multi_queue
serve_on 10.78.0.1 256K
append="ipv6.disable=1"
obedient --io-threads 2 --net "tap=$tap"
inside 'ip addr add 10.78.0.2/24 dev eth0; ip link set eth0 up'

# What the guest's tool says: ethtool OPTION DEVICE...
ethtool() {
	inside "/bin/ethtool $*" || fail "ethtool $*: $answer"
}
channels_are() { # channels_are WHAT NOW MOST
	ethtool -l eth0
	check "$1" "$3 $2" "$(sed -n 's/^Combined:[[:space:]]*//p' <<<"$answer" | xargs)"
}
# So many for both queues: the guest takes every other port in a row, and by hv_netvsc's key eight of these can all
# be for one queue; of sixteen half are for each.
many=16
# Several flows at once, each checked.
fetch() { # fetch FLOWS
	inside "for i in \$(seq $1); do (wget -q -O - http://10.78.0.1:8078/file | sha256sum) & done; wait" 300
	check "sums of $1 flows" "$1" "$(grep -c "^$sum " <<<"$answer")"
}
# A counter of each of the guest's queues, added up: counted rx_queue_._packets
counted() {
	awk -v name="$1" '$1 ~ "^" name ":$" { n += $2 } END { print n + 0 }' <<<"$statistics"
}

channels_are 'channels at first, and at most' 2 2
inside 'ls /sys/class/net/eth0/device/channels | wc -l'
check 'channels on the bus' 2 "$answer"
ethtool -x eth0
check 'entries of the indirection table' 128 "$(grep -E '^ +[0-9]+:' <<<"$answer" | sed 's/^[^:]*://' | wc -w)"
check 'queues in it' '0 1' "$(grep -E '^ +[0-9]+:' <<<"$answer" | sed 's/^[^:]*://' | xargs -n 1 | sort -u | xargs)"

# All from the beginning on: both sides have counted the same, per queue.
fetch "$many"
inside 'ip link set eth0 down'
ethtool -S eth0
statistics=$answer
tree=$(ctl inspect)
queues=$(jq '[.vmbus.channels[] | select(.interface_type | startswith("f8615163"))]' <<<"$tree")
check 'channels seen from here' 2 "$(jq length <<<"$queues")"
for queue in 0 1; do
	ours=$(jq -c ".[$queue]" <<<"$queues")
	for pair in tx_queue_${queue}_packets:tx_frames tx_queue_${queue}_bytes:tx_bytes \
		rx_queue_${queue}_packets:rx_frames rx_queue_${queue}_bytes:rx_bytes; do
		check "${pair%:*}" "$(jq "[.. | objects | select(has(\"${pair#*:}\"))][0].${pair#*:}" <<<"$ours")" \
			"$(counted "${pair%:*}")"
	done
	check_less "frames too few on queue $queue" "$((20 - $(counted "rx_queue_${queue}_packets")))" 1
done
inside 'ip link set eth0 up'

# Fewer, and again as many; the driver takes the NIC apart for that.
ethtool -L eth0 combined 1
channels_are 'one channel' 1 2
fetch 4
ethtool -L eth0 combined 2
channels_are 'two channels again' 2 2
fetch 4

# A table of the user's: what arrives goes where it says, as the guest's own driver counts.
look() {
	ethtool -S eth0
	statistics=$answer
}
# steered QUEUE: by this queue only, or by both.
steered() {
	local before=() queue came flows=3
	[ "$1" != both ] || flows=$many
	look
	for queue in 0 1; do
		before[queue]=$(counted "rx_queue_${queue}_packets")
	done
	fetch "$flows"
	look
	for queue in 0 1; do
		came=$(($(counted "rx_queue_${queue}_packets") - before[queue]))
		case $1 in
		"$queue" | both) check_less "frames too few on queue $queue" "$((20 - came))" 1 ;;
		*) check_less "frames on queue $queue, which ARP may use" "$came" 5 ;;
		esac
	done
}
table_is() { # table_is WHAT QUEUES
	ethtool -x eth0
	check "$1" "$2" "$(grep -E '^ +[0-9]+:' <<<"$answer" | sed 's/^[^:]*://' | xargs -n 1 | sort -u | xargs)"
}
# Of a NIC that has had one channel the driver (6.1) has no key any more (ethtool -x: zeros), and all flows go
# by the table's first entry until somebody sets one.
ethtool -X eth0 hkey "$(printf '%02x:' {11..49})5a"
steered both
ethtool -X eth0 weight 0 1
table_is 'queues in the table that was set' 1
steered 1
ethtool -X eth0 weight 1 0
table_is 'queues in the next one' 0
steered 0
ethtool -X eth0 equal 2
table_is 'queues in one for both' '0 1'
steered both
check 'RSS as seen from here' true "$(ctl inspect | jq '[.. | objects | select(has("rss"))][0].rss')"
inside 'dmesg | grep -E "hv_netvsc.*(unknown|invalid|fail|time|unable)"'
check 'what the driver complains of' '' "$answer"
dismiss
