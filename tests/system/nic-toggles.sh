#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# A guest on a switch, with files under way between it and the host all the time: offloads off and on, other
# MTUs. Every file arrives whole, and nobody complains.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

memory=512M tools=yes append='ipv6.disable=1'
busy_on_switch

# ---- offloads ----

# Large receives before checksums: the driver tells nobody that it has begun to look at these itself, and large
# segments come without.
for feature in lro tx rx tso sg gro; do
	ethtool_does -K eth0 $feature off
done
inside '/bin/ethtool -k eth0 | grep -cE "^(tx-checksumming|rx-checksumming|tcp-segmentation-offload|scatter-gather|generic-receive-offload|large-receive-offload): off"'
check 'features that are off' 6 "$answer"
goes_on 'all off'
for feature in rx tx sg tso gro lro; do
	ethtool_does -K eth0 $feature on
	inside two_more 150
	check "$feature on: files to the guest go on" 0 $?
done
goes_on 'all on'

# ---- sizes ----

for mtu in 576 9000 1500; do
	inside "ip link set eth0 mtu $mtu"
	check "MTU $mtu" 0 $?
	goes_on "MTU $mtu"
	inside "ping -c 2 -W 10 -s $((mtu - 28)) 10.83.0.1"
	check "ping that fills it" 0 $?
done

files_end
nobody_complains
dismiss
