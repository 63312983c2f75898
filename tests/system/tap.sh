#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: generic-1 cloud-2
# limit: 600
#
# A TAP device of the host: ping and a file each way between the host's own
# stack and the guest, with large segments; the link follows the device.

. "$(dirname "$0")/lib.sh"

flavour=${1%-*} cpus=${1#*-}
[ -w /dev/net/tun ] || modprobe tun 2>/dev/null
if ! [ -w /dev/net/tun ]; then
	echo "skipped: no /dev/net/tun here"
	exit 77
fi
tap=tab$((RANDOM % 10000))
ip tuntap add "$tap" mode tap || exit 77
trap 'ip link del "$tap" 2>/dev/null; finish' EXIT
ip addr add 10.77.0.1/24 dev "$tap"
ip link set "$tap" up
head -c 16M /dev/urandom >"$work/file"
sum=$(sha256sum <"$work/file" | cut -d ' ' -f 1)
busybox httpd -f -p 10.77.0.1:8077 -h "$work" &
helpers+=($!)
guest --net "tap=$tap,mac=02:00:00:00:00:07" <<'END'
ip link set eth0 up
ip addr add 10.77.0.2/24 dev eth0
echo "mac: $(cat /sys/class/net/eth0/address)"
for i in 1 2 3 4 5 6 7 8 9 10; do
	ping -c 1 -W 2 10.77.0.1 >/dev/null && break
done
for size in 56 1400 4000; do
	ping -c 2 -W 5 -s $size 10.77.0.1 >/dev/null && echo "ping $size: ok"
done
for i in 1 2 3; do
	echo "fetched: $(wget -q -O - http://10.77.0.1:8077/file | sha256sum | cut -d ' ' -f 1)"
done
mkdir /tmp/www
wget -q -O /tmp/www/file http://10.77.0.1:8077/file
echo "wrong sums: $(awk '/^Tcp:/ { print $NF }' /proc/net/snmp | tail -n 1)"
echo "serving: now"
httpd -f -p 80 -h /tmp/www &
read -r answer
echo "carrier: $(cat /sys/class/net/eth0/carrier)"
read -r answer
i=0
while [ "$(cat /sys/class/net/eth0/carrier)" != 1 ] && [ $i -lt 30 ]; do
	sleep 1
	i=$((i + 1))
done
echo "carrier again: $(cat /sys/class/net/eth0/carrier)"
read -r answer
END
wait_for '^serving: now' 150
check mac 02:00:00:00:00:07 "$(said mac)"
for size in 56 1400 4000; do
	check "ping with $size bytes" ok "$(said "ping $size")"
done
check 'sums of what was fetched' "$sum" "$(said_lines fetched | sort -u)"
check 'segments with a wrong checksum' 0 "$(said 'wrong sums')"
for _ in 1 2 3; do
	check 'sum of what the guest serves' "$sum" \
		"$(busybox wget -q -O - http://10.77.0.2/file | sha256sum | cut -d ' ' -f 1)"
done
ip link set "$tap" down
sleep 5
type_line look
wait_for '^carrier: '
check 'link while the device is down' 0 "$(said carrier)"
ip link set "$tap" up
type_line look
wait_for '^carrier again: '
check 'link when it is up again' 1 "$(said 'carrier again')"
check 'a ping from the host' 0 "$(busybox ping -c 2 -W 5 10.77.0.2 >/dev/null; echo $?)"
type_line enough
script_ended
guest_ends 0
