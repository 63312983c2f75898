#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: generic-1 cloud-2
# limit: 240
#
# DHCP, names of the resolver, a file each way through the address translation,
# and a forwarded port.

. "$(dirname "$0")/lib.sh"

flavour=${1%-*} cpus=${1#*-}
serve_file 16
forward=$((40000 + RANDOM % 20000))
append="tabique.url=http://10.0.2.2:$port/file"
guest --net "nat,mac=02:00:00:00:00:07,forward=tcp:127.0.0.1:$forward:80" <<'END'
for word in $(cat /proc/cmdline); do
	case $word in tabique.url=*) url=${word#*=} ;; esac
done
echo "mac: $(cat /sys/class/net/eth0/address)"
udhcpc -q -n -t 5 -s /etc/udhcpc.script -i eth0 >/dev/null 2>&1 || exit 2
echo "address: $(ip -4 addr show dev eth0 | sed -n 's/.*inet \([0-9./]*\).*/\1/p')"
echo "resolver: $(sed -n 's/^nameserver //p' /etc/resolv.conf)"
for size in 56 1400 4000; do
	ping -c 2 -W 5 -s $size 10.0.2.2 >/dev/null && echo "ping $size: ok"
done
for i in 1 2 3; do
	echo "fetched: $(wget -q -O - "$url" | sha256sum | cut -d ' ' -f 1)"
done
mkdir /tmp/www
wget -q -O /tmp/www/file "$url"
echo "serving: now"
httpd -f -p 80 -h /tmp/www &
read -r answer
END
wait_for '^serving: now'
check mac 02:00:00:00:00:07 "$(said mac)"
check address 10.0.2.15/24 "$(said address)"
check resolver 10.0.2.3 "$(said resolver)"
for size in 56 1400 4000; do
	check "ping with $size bytes" ok "$(said "ping $size")"
done
check 'sums of what was fetched' "$sum" "$(said_lines fetched | sort -u)"
for _ in 1 2 3; do
	check 'sum through the forwarded port' "$sum" \
		"$(busybox wget -q -O - "http://127.0.0.1:$forward/file" | sha256sum | cut -d ' ' -f 1)"
done
type_line enough
script_ended
guest_ends 0
