#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1500
#
# Two guests on a private switch whose ports were made before: access VLANs that agree and that do not,
# a trunk with Linux's own VLAN devices behind it, private VLANs, a cable that is pulled; all of it changed
# while they run, once in the middle of a transfer. Who is to be kept apart does not even hear a broadcast.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

flavour=cloud memory=256M tools=yes append='ipv6.disable=1'
with_switch lan kind=private
switch port add lan name=one vlan=access:10
switch port add lan name=two vlan=access:10
obedient --name one --net switch=lan,port=one,mac=02:00:00:00:00:10
turn 1
obedient --name two --net switch=lan,port=two,mac=02:00:00:00:00:11
for n in 0 1; do
	turn $n
	inside "ip addr add 10.82.10.1$n/24 dev eth0; ip addr add 10.82.20.1$n/24 dev eth0; ip link set eth0 up"
	with_carrier "guest $n"
	inside 'head -c 2097152 /dev/urandom >/tmp/file; httpd -p 80 -h /tmp; sha256sum </tmp/file'
	sums[n]=${answer%% *}
	# For good, so that nobody asks again by himself later.
	inside "know() { for v in 10 20 30; do arp -i \${1-eth0} -s 10.82.\${2-\$v}.1$((1 - n)) 02:00:00:00:00:1$((1 - n)); done; }; know"
done

# From here on guest 1 asks, and guest 0 is asked.
vlan() { # vlan PORT VLAN
	switch port set lan "port=$1" "vlan=$2" >/dev/null || fail "port $1 takes no $2"
}
reaches() { # reaches WHAT ADDRESS
	inside "ping -c 2 -W 10 $2"
	check "$1" 0 $?
}
fetches() { # fetches WHAT ADDRESS
	inside "wget -q -O - http://$2/file | sha256sum" 300
	check "$1" "${sums[0]}" "${answer%% *}"
}
heard() {
	turn 0
	inside 'cat /sys/class/net/eth0/statistics/rx_packets'
	heard=$answer
	turn 1
}
# is_apart WHAT ADDRESS [DEVICE]: by its MAC address, and by asking all.
is_apart() {
	local before
	heard
	before=$heard
	inside "ping -c 1 -W 2 $2"
	check "$1" 1 $?
	inside "arping -c 2 -w 2 -I ${3-eth0} $2"
	check "$1, when all are asked" 1 $?
	heard
	check "$1: what guest 0 has heard" 0 $((heard - before))
}
dropped() { # dropped CAUSE: so many frames of guest 1's
	switch stats lan port=two --json | jq --arg cause "$1" '[.. | objects | .[$cause]? // empty | numbers] | add // 0'
}

reaches 'the same VLAN' 10.82.10.10
fetches 'sum within a VLAN' 10.82.10.10
vlan two access:20
is_apart 'another VLAN' 10.82.10.10
vlan one access:20
reaches 'the same VLAN again' 10.82.10.10

# A trunk: tags in the guest, none at guest 0.
vlan two trunk:0,10,20
is_apart 'a frame without a tag on a trunk that wants them' 10.82.10.10
inside 'modprobe 8021q && for v in 10 20 30; do ip link add link eth0 name v$v type vlan id $v && ip link set v$v up || break; done'
check 'VLAN devices in the guest' 0 $?
inside 'ip addr flush dev eth0; for v in 10 20 30; do ip addr add 10.82.$v.11/24 dev v$v; know v$v $v; done'
turn 0
inside 'ip addr add 10.82.30.10/24 dev eth0'
turn 1
reaches 'guest 0 in VLAN 20' 10.82.20.10
fetches 'sum with a tag' 10.82.20.10
is_apart 'VLAN 10, which guest 0 is not in' 10.82.10.10 v10
is_apart 'VLAN 30, which the trunk does not carry' 10.82.30.10 v30
vlan one access:10
reaches 'guest 0 in VLAN 10' 10.82.10.10
is_apart 'VLAN 20, which guest 0 has left' 10.82.20.10 v20
turn 0
inside 'wget -q -O - http://10.82.10.11/file | sha256sum' 300
check 'sum of what came out of the trunk' "${sums[1]}" "${answer%% *}"
turn 1

# In the middle of a transfer, which the limit draws out, guest 0 is in another VLAN for a while.
switch port set lan port=one max=16M >/dev/null
inside '(wget -q -O - http://10.82.10.10/file | sha256sum >/tmp/sum) &'
sleep 1
vlan one access:20
sleep 2
vlan one access:10
inside 'wait; cat /tmp/sum' 300
check 'sum of a transfer with a gap' "${sums[0]}" "${answer%% *}"
switch port set lan port=one max=0 >/dev/null

# The trunk's own VLAN: frames without a tag are in it, both ways.
vlan two trunk:10,20
inside 'ip addr flush dev v10; ip addr add 10.82.10.11/24 dev eth0; know'
reaches 'the VLAN of frames without a tag' 10.82.10.10

vlan one private:10/isolated:101
vlan two private:10/isolated:101
is_apart 'isolated from isolated' 10.82.10.10
vlan one private:10/community:102
is_apart 'isolated from a community' 10.82.10.10
vlan two private:10/community:102
reaches 'a community' 10.82.10.10
vlan two private:10/promiscuous
reaches 'a community, by the promiscuous one' 10.82.10.10
vlan one private:10/isolated:101
fetches 'sum from an isolated one to the promiscuous' 10.82.10.10
check_less "frames that were dropped for their VLAN, too few" "$((6 - $(dropped vlan)))" 1

turn 0
switch port set lan port=one link=down >/dev/null
inside 'carrier 0'
check 'carrier when the cable is pulled' 0 $?
switch port set lan port=one link=up >/dev/null
inside 'carrier 1'
check 'carrier when it is in again' 0 $?
turn 1
reaches 'after all' 10.82.10.10
for n in 0 1; do
	turn $n
	inside 'awk "/^Tcp:/ { print \$NF }" /proc/net/snmp | tail -n 1'
	check "segments with a wrong checksum, guest $n" 0 "$answer"
	inside 'dmesg | grep -E "hv_netvsc.*(unknown|invalid|fail|timeout|unable)|WARNING|BUG"'
	check "what the driver of guest $n complains of" '' "$answer"
	dismiss
done
