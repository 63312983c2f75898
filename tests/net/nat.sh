#!/bin/bash
# SPDX-License-Identifier: MIT
#
# nat.sh TABIQUE: NAT for many clients. They are namespaces on a bridge with the switch's host port, and real
# DHCP clients (udhcpc, dhclient) run in them; what they reach through NAT is in "there". Needs root.

# shellcheck source=tests/net/rig.sh
. "$(dirname "$(realpath "$0")")/rig.sh"
lease_script=$(dirname "$(realpath "$0")")/lease.sh
command -v udhcpc >/dev/null || {
	echo "needs udhcpc"
	exit 77
}
clients=8

# ---- the world: the host's other interface, a server and a resolver behind it ----
ip -n "$here" link add wan type veth peer name wan netns "$there" || exit 77
ip -n "$here" addr add 10.88.0.2/24 dev wan
ip -n "$there" addr add 10.88.0.1/24 dev wan
ip -n "$here" link set wan up
ip -n "$there" link set wan up
mkdir -p "/etc/netns/$here"
echo "nameserver 10.88.0.1" >"/etc/netns/$here/resolv.conf"
ip netns exec "$there" timeout 900 python3 "$traffic" serve 10.88.0.1 &
servers+=($!)
ip netns exec "$there" timeout 900 python3 "$traffic" echo 10.88.0.1 53 &
servers+=($!)

# ---- clients on a bridge with the host's port ----
make_client() { # make_client NUMBER
	local ns=sw-c$1-$$
	make_space "$ns" || exit 77
	spaces+=("$ns")
	ip -n "$here" link add "c$1" type veth peer name eth0 netns "$ns" || exit 77
	ip -n "$ns" link set eth0 address "02:00:00:00:05:0$1" up
	ip -n "$here" link set "c$1" up master br0
}
on_client() { # on_client NUMBER COMMAND...
	local n=$1
	shift
	in_space "sw-c$n-$$" "$@"
}
told() { # told NUMBER WHAT
	sed -n "s/^$2=//p" "$dir/lease$1" 2>/dev/null
}
# Asks once for a lease, and goes away with it.
udhcpc_on() {
	rm -f "$dir/lease$1"
	LEASE=$dir/lease$1 on_client "$1" udhcpc -f -q -n -t 5 -T 1 -i eth0 -s "$lease_script" >"$dir/out$1" 2>&1
}
dhclient_on() {
	rm -f "$dir/lease$1"
	echo 'request subnet-mask, routers, domain-name-servers, domain-name, interface-mtu;' >"$dir/dhclient.conf"
	LEASE=$dir/lease$1 on_client "$1" dhclient -1 -4 -d -sf "$lease_script" -cf "$dir/dhclient.conf" \
		-lf "$dir/dhclient$1.leases" -pf "$dir/dhclient$1.pid" -e LEASE="$dir/lease$1" eth0 >"$dir/out$1" 2>&1 &
	servers+=($!)
	until_true 150 test -e "$dir/lease$1"
}
ip -n "$here" link add br0 type bridge || exit 77
ip -n "$here" link set br0 up
for ((i = 1; i <= clients; i++)); do
	make_client "$i"
done

# ---- a switch without NAT; then it is turned on: another process, which the first one knows nothing of ----
# shellcheck disable=SC2317  # by until_true
nat_pid() { pgrep -P "$(ps -o ppid= -p "$(data_pid)" | tr -d ' ')" -f -- --nat; }
sandboxed() { # sandboxed PID: no user's rights, no capabilities, a list of system calls
	grep -q '^Uid:.*65534.*65534.*65534' "/proc/$1/status" || bad "it is not nobody: $(grep Uid "/proc/$1/status")"
	grep -q '^CapEff:.*0000000000000000' "/proc/$1/status" || bad "it has capabilities"
	grep -q '^Seccomp:.2' "/proc/$1/status" || echo "no list of system calls: a build with sanitizers?"
}
must sw create sw0 kind=internal host-port=host0 threads=2
plug_in() {
	until_true 50 ip -n "$here" link set host0 master br0 || bad "there is no host0"
}
plug_in
refused "no NAT" sw nat leases sw0
before=$(data_pid)
must sw nat set sw0 on=on net=10.66.0.0/24 range=10.66.0.100-10.66.0.107 lease=600 domain=lan.test
[ "$before" = "$(data_pid)" ] || bad "a process ended to have NAT turned on"
sandboxed "$before"
[ -z "$(ls -A "/proc/$before/root" 2>/dev/null)" ] || bad "the process that carries frames sees files"
nat=$(nat_pid) || bad "there is no process of NAT's"
sandboxed "$nat"
grep -q '/memfd:\|/dev/net/tun\|/dev/kvm' "/proc/$nat/maps" && bad "NAT's process maps what is not its own"
sw nat show sw0 | grep -q 'state: running' || bad "NAT does not run: $(sw nat show sw0)"
refused "10.66.0.2" sw nat forward sw0 forward=tcp:2222:10.66.0.2:22
refused "range" sw nat set sw0 range=10.66.0.107-10.66.0.100
refused "network" sw nat set sw0 range=10.67.0.1-10.67.0.9

# ---- many clients at once, of two makes ----
must sw nat reserve sw0 mac=02:00:00:00:05:02 ip=10.66.0.50
must sw nat reserve sw0 mac=02:00:00:00:05:03 ip=10.66.0.103
refused "already" sw nat reserve sw0 mac=02:00:00:00:05:04 ip=10.66.0.50
refused "reserved" sw nat reserve sw0 mac=02:00:00:00:05:04 ip=10.66.0.2
waits=()
for ((i = 1; i <= 6; i++)); do
	udhcpc_on "$i" &
	waits+=($!)
done
if command -v dhclient >/dev/null; then
	for i in 7 8; do
		dhclient_on "$i" || bad "dhclient $i has no lease: $(cat "$dir/out$i")"
	done
else
	udhcpc_on 7
	udhcpc_on 8
fi
wait "${waits[@]}"
for ((i = 1; i <= clients; i++)); do
	[ -n "$(told "$i" ip)" ] || bad "client $i has no lease: $(cat "$dir/out$i")"
	[ "$(told "$i" router)" = 10.66.0.2 ] || bad "client $i: router $(told "$i" router)"
	[ "$(told "$i" dns)" = 10.66.0.3 ] || bad "client $i: dns $(told "$i" dns)"
	[ "$(told "$i" domain)" = lan.test ] || bad "client $i: domain $(told "$i" domain)"
	[ "$(told "$i" lease)" = 600 ] || bad "client $i: lease $(told "$i" lease)"
done
[ "$(told 2 ip)" = 10.66.0.50 ] || bad "client 2 has $(told 2 ip), not what is reserved"
[ "$(told 3 ip)" = 10.66.0.103 ] || bad "client 3 has $(told 3 ip), not what is reserved"
[ "$(for ((i = 1; i <= clients; i++)); do told "$i" ip; done | sort -u | wc -l)" = $clients ] ||
	bad "two clients have the same address"
[ "$(sw nat leases sw0 | grep -c '02:00:00:00:05')" = $clients ] || bad "$(sw nat leases sw0)"

# ---- they reach the world, all at once, and the world them ----
waits=()
for ((i = 1; i <= clients; i++)); do
	on_client "$i" python3 "$traffic" tcp 10.88.0.1 2000000 &
	waits+=($!)
done
for w in "${waits[@]}"; do
	wait "$w" || bad "a client's transfer through NAT failed"
done
must on_client 1 python3 "$traffic" alive 10.88.0.1 5
must on_client 4 python3 "$traffic" alive 10.66.0.3 5 53
ip netns exec "sw-c2-$$" timeout 900 python3 "$traffic" serve 10.66.0.50 &
servers+=($!)
must sw nat forward sw0 forward=tcp:10.88.0.2:7007:10.66.0.50:7007
must sw nat forward sw0 forward=udp:10.88.0.2:7007:10.66.0.50:7007
must on_there python3 "$traffic" alive 10.88.0.2 5
must on_there python3 "$traffic" tcp 10.88.0.2 2000000
# A forward that cannot be had changes nothing; one that comes and goes ends no connection.
ip netns exec "$here" timeout 900 python3 "$traffic" echo 10.88.0.2 5353 &
servers+=($!)
must on_here python3 "$traffic" alive 10.88.0.2 5 5353
refused "5353" sw nat forward sw0 forward=udp:10.88.0.2:5353:10.66.0.50:53
sw nat show sw0 | grep -q 'forwards: 2' || bad "a refused forward stayed: $(sw nat show sw0)"
on_client 1 python3 "$traffic" stream 10.88.0.1 4 >"$dir/stream" &
stream=$!
sleep 1
must sw nat forward sw0 forward=tcp:10.88.0.2:7100:10.66.0.50:7100
must sw nat unforward sw0 forward=tcp:10.88.0.2:7100:10.66.0.50:7100
must sw nat reserve sw0 mac=02:00:00:00:05:09 ip=10.66.0.60
wait $stream || bad "a connection ended when forwards changed: $(cat "$dir/stream")"

# ---- connections outlive the process that carries frames, upgraded or killed ----
on_client 1 python3 "$traffic" stream 10.88.0.1 8 >"$dir/stream" &
stream=$!
on_there python3 "$traffic" stream 10.88.0.2 8 >"$dir/stream2" &
stream2=$!
sleep 1
must sw upgrade sw0
sleep 2
kill -9 "$(data_pid)"
wait $stream || bad "a connection ended with the process that carries frames: $(cat "$dir/stream")"
wait $stream2 || bad "a forwarded connection ended with it: $(cat "$dir/stream2")"
[ "$nat" = "$(nat_pid)" ] || bad "NAT's process ended with another"

# ---- NAT's process dies under traffic: its link is down, then another one is there, with the leases ----
# shellcheck disable=SC2317
is_running() { sw nat show sw0 | grep -q 'state: running' && [ "$nat" != "$(nat_pid)" ]; }
pid=$(data_pid)
on_client 1 python3 "$traffic" stream 10.88.0.1 20 >"$dir/stream" 2>&1 &
stream=$!
sleep 1
kill -9 "$nat"
until_true 50 is_running || bad "NAT's process is not started again: $(sw nat show sw0)"
kill $stream 2>/dev/null
wait $stream && bad "a connection survived the process that it was in"
grep -q 'nat: link down' "$dir/sw0.log" || grep -q "NAT's process of switch sw0 was killed by signal 9" "$dir/sw0.log" ||
	bad "nobody says that NAT's process was killed"
must on_client 1 python3 "$traffic" tcp 10.88.0.1 1000000
must on_there python3 "$traffic" tcp 10.88.0.2 1000000
[ "$pid" = "$(data_pid)" ] || bad "the process that carries frames ended with NAT's"
# One that stands still, with frames on their way to it, holds up nobody who asks the switch, and goes on.
nat=$(nat_pid)
kill -STOP "$nat"
on_client 3 python3 "$traffic" udp 10.88.0.1 3 >/dev/null 2>&1 &
flood=$!
sleep 2
must sw stats sw0 port=nat
wait $flood
kill -CONT "$nat"
must on_client 3 python3 "$traffic" tcp 10.88.0.1 100000

# ---- leases outlive the process: upgraded, killed, and the whole switch: stopped ----
# shellcheck disable=SC2317  # by until_true
lease_of() { sw nat leases sw0 | sed -n "s/^\([0-9.]*\) *02:00:00:00:05:0$1 .*/\1/p"; }
# shellcheck disable=SC2317
have_all() {
	for i in 1 2 3 4 5 6 7 8; do
		[ "$(lease_of "$i")" = "$(told "$i" ip)" ] || return 1
	done
}
must have_all
must sw upgrade sw0
until_true 30 have_all || bad "an upgrade forgot leases: $(sw nat leases sw0)"
kill -9 "$(data_pid)"
until_true 30 have_all || bad "a killed process took leases along: $(sw nat leases sw0)"
must on_client 5 python3 "$traffic" tcp 10.88.0.1 100000
must sw stop sw0
must sw start sw0
plug_in
must have_all
must on_client 6 python3 "$traffic" tcp 10.88.0.1 100000
must on_there python3 "$traffic" tcp 10.88.0.2 100000

# ---- who asks again has the same; when there is none left, nobody loses his ----
had=$(told 4 ip)
udhcpc_on 4
[ "$(told 4 ip)" = "$had" ] || bad "client 4 had $had, and now $(told 4 ip)"
must sw nat set sw0 range=10.66.0.100-10.66.0.103
# shellcheck disable=SC2317
have() { [ "$(told "$1" ip)" = "$(lease_of "$1")" ]; }
must until_true 30 have 2
must on_client 2 python3 "$traffic" alive 10.88.0.1 5
kept=$(sw nat leases sw0 | sed -n 's/^\(10.66.0.[0-9]*\) *\(02:00[0-9a-f:]*\) .*/\1 \2/p')
on_client 1 python3 "$traffic" starve eth0 64
count=$(sw nat leases sw0 | grep -c '02:77:')
while read -r one; do
	sw nat leases sw0 | grep -q "^${one/ / *}" || bad "$one lost its lease to a flood of clients"
done <<<"$kept"
[ "$count" -le 3 ] || bad "$count addresses of four, one of them reserved, were given away"
udhcpc_on 3
[ "$(told 3 ip)" = 10.66.0.103 ] || bad "what is reserved went to another: $(told 3 ip)"
sw nat show sw0 | grep -q 'dhcp_no_address: [1-9]' || bad "nobody counted that there was no address"

# ---- a broken file of leases is no obstacle ----
must sw stop sw0
head -c 5000 /dev/urandom >"$dir/sw0.leases"
must sw start sw0
plug_in
must udhcpc_on 2
[ "$(told 2 ip)" = 10.66.0.50 ] || bad "client 2 has $(told 2 ip) after nonsense"

# ---- a DHCP client behind an uplink gets no answer; a guest of the switch's does ----
make_client 9 # whose other end is not on the bridge
ip -n "$here" link set c9 nomaster
must sw set sw0 kind=external
must sw uplink add sw0 dev=c9 mode=packet
discovers() { sw nat show sw0 | sed -n 's/.*dhcp_discovers: \([0-9]*\).*/\1/p'; }
count=$(discovers)
udhcpc_on 9
[ -z "$(told 9 ip)" ] || bad "NAT's DHCP server answers an uplink's neighbour: $(told 9 ip)"
[ "$count" = "$(discovers)" ] || bad "it hears an uplink's neighbour"
must udhcpc_on 2
must sw uplink remove sw0 dev=c9

# ---- off: its process ends; and there is none without leave ----
nat=$(nat_pid)
must sw nat set sw0 on=off
# shellcheck disable=SC2317
is_gone() { ! kill -0 "$nat" 2>/dev/null; }
until_true 30 is_gone || bad "NAT is off, and its process is there"
on_client 2 python3 "$traffic" alive 10.88.0.1 1 && bad "NAT is off and works"
sw device list sw0 | grep -q nat && bad "NAT stays on the list of devices"
must sw nat set sw0 on=on
must on_client 2 python3 "$traffic" alive 10.88.0.1 10
must sw device deny sw0 nat=on
kill -9 "$(nat_pid)"
sleep 1
sw nat show sw0 | grep -q 'state: failed' || bad "NAT's process was started without leave: $(sw nat show sw0)"
exit $failed
