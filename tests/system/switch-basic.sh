#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# Two guests on one switch whose own port is a TAP device: they reach each other and the host, every
# byte arrives both ways, large segments cross in one piece, and who leaves takes its port along.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

flavour=cloud memory=256M tools=yes append='ipv6.disable=1'
with_switch lan kind=internal host-port=tbs0
ip addr add 10.80.0.1/24 dev tbs0
ip link set tbs0 up

obedient --name one --net switch=lan
turn 1
obedient --name two --net switch=lan,port=two/first,mac=02:00:00:00:00:22
for n in 0 1; do
	turn $n
	inside "ip addr add 10.80.0.1$n/24 dev eth0; ip link set eth0 up"
	inside 'mkdir /tmp/www; head -c 4194304 /dev/urandom >/tmp/www/file; httpd -p 80 -h /tmp/www; sha256sum </tmp/www/file'
	sums[n]=${answer%% *}
done
where() { ctl inspect | jq -r '.adapters.list[0].where'; }
is_away() { [ "$(where)" = away ]; }
for n in 0 1; do
	turn $n
	until_true "guest $n is served by the switch" 60 is_away
	inside 'for i in $(seq 300); do [ "$(cat /sys/class/net/eth0/carrier)" != 1 ] || break; usleep 100000; done; cat /sys/class/net/eth0/carrier'
	check "carrier of guest $n" 1 "$answer"
done
inside 'cat /sys/class/net/eth0/address'
check 'the address that was given' 02:00:00:00:00:22 "$answer"
check 'ports' 'one/net0 two/first' "$(switch port list lan --json | jq -r '[.. | objects | select(has("connected")) | select(.connected).name] | sort | join(" ")')"

for n in 0 1; do
	turn $n
	other=$((1 - n))
	for size in 56 1400 4000; do
		inside "ping -c 2 -W 10 -s $size 10.80.0.1$other"
		check "ping with $size bytes from guest $n" 0 $?
	done
	for _ in 1 2; do
		inside "wget -q -O - http://10.80.0.1$other/file | sha256sum" 300
		check "sum of what guest $n got" "${sums[other]}" "${answer%% *}"
	done
	inside 'ping -c 2 -W 10 10.80.0.1'
	check "the host, from guest $n" 0 $?
	check "guest $n, from the host" "${sums[n]}" "$(busybox wget -q -O - "http://10.80.0.1$n/file" | sha256sum | cut -d ' ' -f 1)"
	inside 'awk "/^Tcp:/ { print \$NF }" /proc/net/snmp | tail -n 1'
	check "segments with a wrong checksum, guest $n" 0 "$answer"
done
# They send more than an MTU at a time, and the other one gets it in one piece.
large=$(switch stats lan port=two/first --json | jq '[.. | objects | .delivered_large? // empty] | add')
check_less 'segments that crossed in one piece, too few' "$((10 - large))" 1

# Paused, and on; the switch has to give it back for that.
ctl pause >/dev/null
check 'where a paused guest is served' home "$(where)"
ctl resume >/dev/null
until_true 'away again' 60 is_away
inside "wget -q -O - http://10.80.0.10/file | sha256sum" 300
check 'sum after a pause' "${sums[0]}" "${answer%% *}"

# A worker that is killed takes its port along.
turn 0
kill -KILL "$guest_pid"
wait "$guest_pid" 2>/dev/null
guest_pid=
is_gone() { [ "$(switch port list lan --json | jq '[.. | objects | select(.name? == "one/net0")] | length')" = 0 ]; }
until_true 'port of a worker that was killed is gone' 30 is_gone
turn 1
inside 'ping -c 2 -W 10 10.80.0.1'
check 'the host, from who is left' 0 $?
dismiss
