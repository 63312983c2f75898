#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# A real DHCP client and a real server, guests of one switch: what the server gives is bound to the client's
# port, also over the death of the switch's process; a server that nobody wants is not heard. Then the
# switch's own server, with address translation behind it.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

flavour=cloud memory=256M append='ipv6.disable=1'
serve_file 4
with_switch lan kind=internal
switch port add lan name=server
switch port add lan name=client dhcp-guard=on arp-guard=snoop
obedient --name server --net switch=lan,port=server
turn 1
obedient --name client --net switch=lan,port=client
serves_dhcp() { # serves_dhcp NET: this guest gives addresses of it
	inside "ip addr flush dev eth0; ip addr add $1.1/24 dev eth0; ip link set eth0 up; : >/tmp/leases"
	inside "printf '%s\\n' 'start $1.50' 'end $1.59' 'interface eth0' 'lease_file /tmp/leases' 'option subnet 255.255.255.0' 'option lease 600' >/tmp/udhcpd.conf"
	inside 'udhcpd /tmp/udhcpd.conf'
	check "a server of $1" 0 $?
}
asks_dhcp() { # asks_dhcp TIMES: $given is the address, "" when nobody answers
	inside "ip addr flush dev eth0; udhcpc -q -n -t $1 -T 3 -s /etc/udhcpc.script -i eth0 >/tmp/said 2>&1; ip -4 addr show dev eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'" 150
	given=$answer
}
dropped() { # dropped CAUSE: frames of the client's port
	switch stats lan port=client --json | jq --arg cause "$1" '[.. | objects | .[$cause]? // empty | numbers] | add // 0'
}
for n in 0 1; do
	turn $n
	inside 'ip link set eth0 up'
	with_carrier "guest $n"
done

# ---- between guests ----

turn 0
serves_dhcp 10.84.0
turn 1
asks_dhcp 10
check 'net of what the client was given' 10.84.0 "${given%.*}"
leased=$given
inside 'ping -c 2 -W 10 10.84.0.1'
check 'the server answers' 0 $?
inside 'ip addr add 10.84.0.99/24 dev eth0; arping -c 2 -w 3 -I eth0 -s 10.84.0.99 10.84.0.1'
check 'an address that nobody has given' 1 $?
check_less 'frames that the guard stopped, too few' "$((1 - $(dropped arp-guard)))" 1
inside 'ip addr del 10.84.0.99/24 dev eth0'

kill_switch
until_true 'the switch is there again' 60 serves lan
inside 'carrier 1; ip neigh flush dev eth0; for i in $(seq 60); do ping -c 1 -W 1 10.84.0.1 && break; done'
check 'the server answers who was bound before' 0 $?
asks_dhcp 10
check 'the address when it asks again' "$leased" "$given"

# ---- a server where none should be ----

turn 0
inside 'killall udhcpd'
turn 1
serves_dhcp 10.84.7
turn 0
asks_dhcp 2
check 'what a server behind the guard gives' '' "$given"
check_less 'messages that the guard stopped, too few' "$((2 - $(dropped dhcp-guard)))" 1
switch port set lan port=client dhcp-guard=off arp-guard=off >/dev/null
asks_dhcp 10
check 'net of what it gives without' 10.84.7 "${given%.*}"
turn 1
inside 'killall udhcpd'

# ---- the switch's own ----

# Its process needs sockets, which one that began without has given up.
switch nat set lan on=on >/dev/null || fail 'no address translation'
switch upgrade lan >/dev/null || fail 'no upgrade'
until_true 'the switch is there again' 60 serves lan
given_before=
for n in 0 1; do
	turn $n
	asks_dhcp 20
	check "net of what the switch gives to guest $n" 10.0.2 "${given%.*}"
	[ "$given" != "$given_before" ] || fail "both have $given"
	given_before=$given
	inside "wget -q -O - http://10.0.2.2:$port/file | sha256sum" 300
	check "sum of what guest $n gets through it" "$sum" "${answer%% *}"
	inside 'dmesg | grep -E "hv_netvsc.*(unknown|invalid|fail|timeout|unable)|WARNING|BUG"'
	check "what the driver of guest $n complains of" '' "$answer"
done
for n in 0 1; do
	turn $n
	dismiss
done
