#!/bin/bash
# SPDX-License-Identifier: MIT
#
# uplinks.sh TABIQUE: what an uplink becomes by its mode, packet sockets or AF_XDP, and what passes. The device
# is a veth whose other end is in "there". Needs root.

# shellcheck disable=SC2317  # by must and until_true
# shellcheck source=tests/net/rig.sh
. "$(dirname "$(realpath "$0")")/rig.sh"

ip -n "$here" link add up0 type veth peer name wire0 netns "$there" || exit 77
ip -n "$here" link set up0 up
ip -n "$there" link set wire0 up
ip -n "$there" addr add 10.77.0.1/24 dev wire0
# AF_XDP of today takes no segments beyond the MTU.
on_there python3 "$traffic" plain wire0 || exit 77

must sw create sw0 kind=external host-port=host0 threads=2
ip -n "$here" addr add 10.77.0.2/24 dev host0 || bad "there is no host0"
ip netns exec "$here" timeout 900 python3 "$traffic" serve 10.77.0.2 &
servers+=($!)
ip netns exec "$there" timeout 900 python3 "$traffic" serve 10.77.0.1 &
servers+=($!)
passes() {
	on_there python3 "$traffic" alive 10.77.0.2 10 || return 1
	on_there python3 "$traffic" tcp 10.77.0.2 1000000 || return 1
	on_here python3 "$traffic" tcp 10.77.0.1 1000000
}
is_a() { # is_a KIND
	sw uplink list sw0 --json | grep -q "\"kind\": \"$1\""
}
has_program() { ip -n "$here" link show up0 | grep -q xdp; }

# ---- packet ----
must sw uplink add sw0 dev=up0 mode=packet
must is_a packet
# The host answers for its port's address there, and not at the device itself: what is sent to the device's
# own address reaches the host by packet sockets, and is nobody's under AF_XDP.
said_arp() { grep -c 'up0: the host answers ARP there for host0' "$dir/sw0.log"; }
[ "$(said_arp)" = 1 ] || bad "nobody says that the host answers ARP at its uplink"
ip netns exec "$here" sysctl -qw net.ipv4.conf.up0.arp_ignore=1
must passes
has_program && bad "packet sockets have loaded a program"

# ---- a device that goes and comes back: the keeper opens it again, for a process that may not ----
made=0
comes_back() { # comes_back [UP]: another device of the same name
	ip -n "$here" link del up0
	until_true 30 link_is down || bad "the link of a removed uplink stays up"
	ip -n "$here" link add up0 type veth peer name wire0 netns "$there"
	ip -n "$there" link set wire0 up
	ip -n "$there" addr add 10.77.0.1/24 dev wire0
	on_there python3 "$traffic" plain wire0
	[ -n "${1:-}" ] && sleep 2 # it is there, and down
	ip netns exec "$here" sysctl -qw net.ipv4.conf.up0.arp_ignore=1
	ip -n "$here" link set up0 up
	made=$((made + 1))
	until_true 50 link_is up || bad "uplink $made that returned is not taken again: $(sw uplink list sw0)"
}
link_is() { sw uplink list sw0 --json | grep -q "\"link\": \"$1\""; }
pid=$(data_pid)
comes_back
must passes
comes_back down-first
must passes
[ "$pid" = "$(data_pid)" ] || bad "the process ended when its uplink went"
must sw upgrade sw0 threads=1
until_true 30 link_is up || bad "no uplink after an upgrade"
comes_back # one socket, which is bound to a device that is gone
must passes
must sw upgrade sw0 threads=2
until_true 30 link_is up || bad "no uplink after an upgrade"

# ---- its list of devices: what is not on it is not opened, whatever the configuration says ----
listed() { sw device list sw0 | grep -qx "$1"; }
must listed up0
must listed host0
must sw device deny sw0 dev=up0
kill -9 "$(data_pid)"
until_true 30 is_a "not open" || bad "a denied device was opened: $(sw uplink list sw0)"
grep -q 'refused.*may not have up0.*device allow' "$dir/sw0.log" || bad "nobody says why up0 is not opened"
sw show sw0 | grep -q 'devices_refused: [1-9]' || bad "nobody counts: $(sw show sw0)"
must sw device allow sw0 dev=up0
kill -9 "$(data_pid)"
until_true 30 is_a packet || bad "an allowed device was not opened: $(sw uplink list sw0)"
refused "no network interface" sw uplink add sw0 dev=up9
listed up9 && bad "a refused uplink stays on the list of devices"
# A switch of before there were lists has what it had.
must sw stop sw0
rm "$dir/sw0.devices"
must sw start sw0
must listed up0
must is_a packet
ip -n "$here" addr add 10.77.0.2/24 dev host0 # a TAP that is made anew
ip -n "$there" neigh flush dev wire0
must passes

# ---- a device that is missing at the beginning is taken when it comes ----
must sw stop sw0
ip -n "$here" link del up0
must sw start sw0
ip -n "$here" addr add 10.77.0.2/24 dev host0
must is_a "not open"
ip -n "$here" link add up0 type veth peer name wire0 netns "$there"
must is_a "not open" # it is down
ip -n "$there" link set wire0 up
ip -n "$there" addr add 10.77.0.1/24 dev wire0
on_there python3 "$traffic" plain wire0
ip netns exec "$here" sysctl -qw net.ipv4.conf.up0.arp_ignore=1
ip -n "$here" link set up0 up
until_true 30 link_is up || bad "an uplink that was missing is not taken: $(sw uplink list sw0)"
must is_a packet
must passes

# ---- auto: veth is better served by packet sockets, and somebody says so ----
must sw uplink remove sw0 dev=up0
must sw uplink add sw0 dev=up0 # as all uplinks without a word
must is_a packet
sw uplink list sw0 | grep -q 'better served' && bad "it was not asked for AF_XDP"
must sw uplink set sw0 dev=up0 mode=auto
must is_a packet
sw uplink list sw0 | grep -q 'veth.*better served by packet' || bad "no reason: $(sw uplink list sw0)"
grep -q 'up0: packet sockets instead of AF_XDP: .*veth' "$dir/sw0.log" || bad "the log has no reason"
must passes

# ---- AF_XDP, by a process without any right ----
must sw uplink set sw0 dev=up0 mode=xdp
must is_a xdp
must has_program
sw stats sw0 port=up0 | grep -q 'kind: xdp' || bad "stats do not say it: $(sw stats sw0 port=up0)"
pid=$(data_pid)
grep -q '^CapEff:.*0000000000000000' "/proc/$pid/status" || bad "it has capabilities"
must passes
must sw uplink set sw0 dev=up0 mode=auto # what it has serves it
must is_a xdp
must passes

# ---- the next process has it again; so has one after a kill ----
must sw uplink set sw0 dev=up0 mode=xdp
# It goes and comes back: its sockets are of the device that it was.
for _ in 1 2; do
	comes_back
	must is_a xdp
	must has_program
	must passes
done
[ "$pid" = "$(data_pid)" ] || bad "the process ended when its uplink went"
must sw upgrade sw0
until_true 30 is_a xdp || bad "not AF_XDP after an upgrade: $(sw uplink list sw0)"
must passes
kill -9 "$(data_pid)"
until_true 30 is_a xdp || bad "not AF_XDP after a kill: $(sw uplink list sw0)"
must passes

# ---- back to packet sockets: the program goes ----
must sw uplink set sw0 dev=up0 mode=packet
must is_a packet
until_true 30 passes || bad "nothing passes after AF_XDP"
has_program && bad "the program stays on the device"

# ---- what cannot be ----
ip -n "$here" link set up0 mtu 9000
refused "3800" sw uplink set sw0 dev=up0 mode=xdp
must is_a packet
must passes
must sw uplink set sw0 dev=up0 mode=auto
must is_a packet
ip -n "$here" link set up0 mtu 1500
ip -n "$here" link add many numrxqueues 4 numtxqueues 4 type veth peer name many1 numrxqueues 4 numtxqueues 4 || exit 77
ip -n "$here" link set many up
ip -n "$here" link set many1 up
refused "4 receive queues" sw uplink add sw0 dev=many mode=xdp
sw uplink list sw0 | grep -q many && bad "a refused uplink stayed"
must passes

# ---- a TAP that becomes something else: what the keeper has of it goes, and nothing else ----
ip -n "$here" tuntap add tap7 mode tap multi_queue || exit 77
ip -n "$here" link set tap7 up
must sw uplink add sw0 dev=tap7 mode=tap
must sw uplink set sw0 dev=tap7 mode=xdp
ip -n "$here" link show tap7 | grep -q xdp || bad "the program went with the TAP"
must sw uplink remove sw0 dev=tap7
ip -n "$here" link show tap7 | grep -q xdp && bad "the program stays on a device that is removed"
must passes

# ---- and the end leaves nothing behind ----
must sw uplink set sw0 dev=up0 mode=xdp
must is_a xdp
must sw stop sw0
has_program && bad "a stopped switch leaves its program on the device"
[ "$(said_arp)" = 1 ] || bad "it complains of ARP that is as it should be"
exit $failed
