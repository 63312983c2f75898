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
serve_on 10.83.0.1 1
obedient --name one --net switch=lan
inside 'address() { ip addr add 10.83.0.2/24 dev eth0; ip link set eth0 up; }; address'
inside 'carrier() { for i in $(seq 600); do [ "$(cat /sys/class/net/eth0/carrier)" != $1 ] || return 0; usleep 100000; done; return 1; }; carrier 1'
check 'carrier' 0 $?
inside 'head -c 1048576 /dev/urandom >/tmp/file; httpd -p 80 -h /tmp; sha256sum </tmp/file'
theirs=${answer%% *}

# ---- what is under way ----

: >"$work/sums"
inside '(until [ -e /tmp/stop ]; do wget -q -O /tmp/got http://10.83.0.1:8078/file && sha256sum </tmp/got || usleep 300000; done >/tmp/sums 2>/tmp/said) &'
(until [ -e "$work/stop" ]; do
	if busybox wget -q -O "$work/got" http://10.83.0.2/file 2>>"$work/said"; then
		sha256sum <"$work/got"
	else
		sleep 0.3
	fi
done >>"$work/sums") &
helpers+=($!)
inside 'count() { wc -l </tmp/sums; }; two_more() { n=$(($(count) + 2)); for i in $(seq 1200); do [ $(count) -lt $n ] || return 0; usleep 100000; done; return 1; }'
has_more() { [ "$(wc -l <"$work/sums")" -ge "$wanted" ]; }
# One each way that has begun after this.
goes_on() { # goes_on WHAT
	wanted=$(($(wc -l <"$work/sums") + 2))
	inside two_more 150
	check "$1: files to the guest go on" 0 $?
	until_true "$1: files from the guest go on" 150 has_more
}
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

# ---- afterwards ----

inside 'touch /tmp/stop; wait'
touch "$work/stop"
wait "${helpers[-1]}"
unset 'helpers[-1]'
inside 'sort -u /tmp/sums'
check 'all sums of what the guest got' "$sum  -" "$answer"
check 'all sums of what it gave' "$theirs  -" "$(sort -u "$work/sums")"
inside 'awk "/^Tcp:/ { print \$NF }" /proc/net/snmp | tail -n 1'
check 'segments with a wrong checksum, in the guest' 0 "$answer"
check 'segments with a wrong checksum, here' 0 "$(awk '/^Tcp:/ { print $NF }' /proc/net/snmp | tail -n 1)"
inside 'dmesg | grep -E "hv_netvsc.*(unknown|invalid|fail|timeout|unable)|WARNING: CPU|BUG: |NETDEV WATCHDOG|hw csum"'
check 'what the kernel complains of' '' "$answer"
dismiss
