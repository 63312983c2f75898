#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# A guest on a switch, with files under way between it and the host all the time: offloads off and on, other
# MTUs. Every file arrives whole, and nobody complains.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

memory=512M tools=yes append='ipv6.disable=1'
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
tool() { # tool OPTION... : ethtool in the guest
	inside "/bin/ethtool $*"
	check "ethtool $*" 0 $?
}
goes_on 'at first'

# ---- offloads ----

# Large receives before checksums: the driver tells nobody that it has begun to look at these itself, and large
# segments come without.
for feature in lro tx rx tso sg gro; do
	tool -K eth0 $feature off
done
inside '/bin/ethtool -k eth0 | grep -cE "^(tx-checksumming|rx-checksumming|tcp-segmentation-offload|scatter-gather|generic-receive-offload|large-receive-offload): off"'
check 'features that are off' 6 "$answer"
goes_on 'all off'
for feature in rx tx sg tso gro lro; do
	tool -K eth0 $feature on
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
