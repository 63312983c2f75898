#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# A guest on a switch, with files under way between it and the host all the time: other rings, the interface
# down and up, the driver unbound and bound, the machine as good as hibernated. Every file arrives whole, nobody
# complains, and both sides have counted the same.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

memory=512M tools=yes append='ipv6.disable=1'
busy_on_switch

# ---- rings ----

ethtool_does -G eth0 rx 64 tx 32
inside '/bin/ethtool -g eth0 | sed -n "/^Current/,\$s/^[RT]X:[[:space:]]*//p" | xargs'
check_less 'pieces of the receive buffer' "${answer% *}" 1024 # ours are smaller where the buffer is
check_less 'sections of the send buffer' "${answer#* }" 64
goes_on 'small rings'
ethtool_does -G eth0 rx 4096 tx 192
goes_on 'other rings'

# ---- down and up, gone and there ----

for _ in 1 2 3; do
	inside 'ip link set eth0 down; ip link set eth0 up; carrier 1'
	check 'down and up' 0 $?
done
goes_on 'down and up'
inside 'cd /sys/bus/vmbus/drivers/hv_netvsc; nic=$(ls -d *-*-*-*-*); bound() { echo $nic >unbind; echo $nic >bind; address; carrier 1; }'
for _ in 1 2 3; do
	inside 'bound'
	check 'unbound and bound' 0 $?
done
goes_on 'unbound and bound'

# As far as hibernation goes without writing an image: processes and devices, VMBus too, and back.
inside 'echo platform >/sys/power/pm_test && echo disk >/sys/power/state' 150
check 'suspended and resumed' 0 $?
inside 'dmesg | grep -c "debug: Waiting for"'
check 'it was suspended' 1 "$answer"
inside 'carrier 1'
check 'carrier after it' 0 $?
goes_on 'suspended and resumed'
files_end

# ---- what both sides have counted, since the last time that the NIC changed hands ----

is_away() { [ "$(ctl inspect | jq -r '.adapters.list[0].where')" = away ]; }
# What the guest's driver says, and our channel.
counted() {
	inside '/bin/ethtool -S eth0' >/dev/null
	theirs=$answer
	ours=$(ctl inspect | jq -c '[.vmbus.channels[] | select(.interface_type | startswith("f8615163"))][0]')
}
theirs_of() { awk -v name="$1" '$1 == name ":" { print $2 }' <<<"$2"; }
ours_of() { jq "[.. | objects | select(has(\"$1\"))][0].$1" <<<"$2"; }

until_true 'served by the switch' 60 is_away
inside 'ip link set eth0 down'
counted
theirs_before=$theirs ours_before=$ours
inside 'ip link set eth0 up; carrier 1; wget -q -O - http://10.83.0.1:8078/file | sha256sum' 150
check 'sum at last' "$sum" "${answer%% *}"
inside 'ip link set eth0 down'
counted
for pair in tx_queue_0_packets:tx_frames tx_queue_0_bytes:tx_bytes rx_queue_0_packets:rx_frames rx_queue_0_bytes:rx_bytes; do
	check "${pair%:*} and ${pair#*:}" \
		$(($(theirs_of "${pair%:*}" "$theirs") - $(theirs_of "${pair%:*}" "$theirs_before"))) \
		$(($(ours_of "${pair#*:}" "$ours") - $(ours_of "${pair#*:}" "$ours_before")))
done

nobody_complains
dismiss
