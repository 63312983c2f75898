#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# A guest on a switch that is not there yet, is there, dies during a transfer, and is there again:
# the link goes and comes, the transfer goes on, and nothing in the guest has to be set again.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

flavour=cloud memory=256M tools=yes append='ipv6.disable=1'
TABIQUE_SWITCH_DIR=$work/switch
export TABIQUE_SWITCH_DIR
mkdir -p "$TABIQUE_SWITCH_DIR"
obedient --name one --net switch=lan
check_true 'it is said that there is no switch' grep -q 'no switch lan' "$work/stderr"
check 'how often' 1 "$(grep -c 'no switch lan' "$work/stderr")"
inside 'ip addr add 10.81.0.2/24 dev eth0; ip link set eth0 up; sleep 1; cat /sys/class/net/eth0/carrier'
check 'carrier without a switch' 0 "$answer"
check 'where it is served' home "$(ctl inspect | jq -r '.adapters.list[0].where')"

with_switch lan kind=internal host-port=tbr0
ip addr add 10.81.0.1/24 dev tbr0
ip link set tbr0 up
serve_on 10.81.0.1 16
knows_carrier
inside 'carrier 1'
check 'carrier when the switch is there' 0 $?
inside 'ping -c 3 -W 10 10.81.0.1'
check 'the host answers' 0 $?
inside '/bin/ethtool -K eth0 tso off; /bin/ethtool -k eth0 >/tmp/before; cat /sys/class/net/eth0/address >>/tmp/before'
inside 'cat /sys/class/net/eth0/carrier_changes'
before=$answer

inside '(wget -q -O - http://10.81.0.1:8078/file | sha256sum >/tmp/sum) &'
for round in 1 2 3; do
	sleep 2
	kill_switch
	until_true "$round: the switch is there again" 60 serves lan
	inside 'carrier 1'
	check "$round: carrier" 0 $?
done
inside 'wait; cat /tmp/sum' 300
check 'sum of a transfer during which the switch died' "$sum" "${answer%% *}"
inside 'cat /sys/class/net/eth0/carrier_changes'
check_less 'changes of the carrier, too few' "$((before + 2 - answer))" 1
inside '/bin/ethtool -k eth0 >/tmp/after; cat /sys/class/net/eth0/address >>/tmp/after; cmp /tmp/before /tmp/after'
check 'offloads and address are what they were' 0 $?
inside 'wget -q -O - http://10.81.0.1:8078/file | sha256sum' 300
check 'sum after all' "$sum" "${answer%% *}"
check 'completions that made no sense' 0 "$(ctl inspect | jq '[.. | objects | select(has("bad_completions")).bad_completions] | add // 0')"
inside 'dmesg | grep -E "hv_netvsc.*(unknown|invalid|fail|timeout|unable)"'
check 'what the driver complains of' '' "$answer"

# Told to end: the guest goes on, without a link.
switch stop lan
inside 'carrier 0'
check 'carrier when the switch has ended' 0 $?
dismiss
