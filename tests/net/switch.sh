#!/bin/bash
# SPDX-License-Identifier: MIT
#
# switch.sh TABIQUE: a switch of its own between network namespaces, without a
# guest: in one the switch and its host's port (a TAP), in another what is behind
# its two uplinks (veth). Needs root.
#
# TABIQUE_SWITCH_KILLS: how often the data process is killed (20).

# shellcheck source=tests/net/rig.sh
. "$(dirname "$(realpath "$0")")/rig.sh"
kills=${TABIQUE_SWITCH_KILLS:-20}
talks() { on_there python3 "$traffic" alive 10.77.0.2 "${1:-3}"; }

# Both uplinks end at one bridge there, as at a physical switch.
ip -n "$there" link add br0 type bridge || exit 77
for i in 0 1; do
	ip -n "$here" link add up$i type veth peer name wire$i netns "$there" || exit 77
	ip -n "$here" link set up$i up
	ip -n "$there" link set wire$i up master br0
done
ip -n "$there" link set br0 up
# The host answers for its port's address there, and not at the uplinks itself.
ip netns exec "$here" sysctl -qw net.ipv4.conf.all.arp_ignore=1
ip -n "$there" addr add 10.77.0.1/24 dev br0
ip -n "$there" addr add 239.129.2.3/32 dev br0 autojoin
ip -n "$there" addr add ff0e::102:304/128 dev br0 autojoin nodad

# ---- a switch, and what passes it ----
must sw create sw0 kind=external uplink=up0 host-port=host0 threads=2
ip -n "$here" addr add 10.77.0.2/24 dev host0 || bad "there is no host0"
ip netns exec "$here" timeout 900 python3 "$traffic" serve 10.77.0.2 &
servers+=($!)
ip netns exec "$there" timeout 900 python3 "$traffic" serve 10.77.0.1 &
servers+=($!)
must talks 10
must on_there python3 "$traffic" tcp 10.77.0.2 20000000
must on_here python3 "$traffic" tcp 10.77.0.1 20000000
sw fdb show sw0 | grep -q up0 || bad "nothing was learned at up0"
refused "runs already" on_here "$(dirname "$tabique")/tabique-switch" sw0

# ---- each verb that --help names is one of the process's ----
while read -r verb; do
	# shellcheck disable=SC2086  # words are meant
	case "$(sw $verb sw0 2>&1)" in *"There is no verb"*) bad "$verb is no verb" ;; esac
done < <("$tabique" switch --help | sed -nE 's/^  ([a-z]+( [a-z]+)?) NAME.*/\1/p' |
	grep -vxE 'create|delete|start|stop|list|upgrade|capture')

# ---- its process has no rights ----
pid=$(data_pid)
grep -q '^Uid:.*65534.*65534.*65534' "/proc/$pid/status" || bad "it is not nobody: $(grep Uid "/proc/$pid/status")"
grep -q '^CapEff:.*0000000000000000' "/proc/$pid/status" || bad "it has capabilities"
grep -q '^NoNewPrivs:.1' "/proc/$pid/status" || bad "it can have new privileges"
grep -q '^Seccomp:.2' "/proc/$pid/status" || echo "no list of system calls: a build with sanitizers?"
[ -z "$(ls -A "/proc/$pid/root" 2>/dev/null)" ] || bad "it sees files"

# ---- rules ----
must sw acl add sw0 port=host direction=in action=deny proto=udp local-port=7007
talks 1 && bad "a rule did not stop anything"
must on_there python3 "$traffic" tcp 10.77.0.2 100000
refused "there already" sw acl add sw0 port=host action=deny rule=1
counted() { # frames that rule N has matched
	sw acl list sw0 port=host --json | grep -A20 "\"rule\": $1,\$" | sed -n 's/^ *"frames": \([0-9]*\).*/\1/p' |
		head -1
}
[ "$(counted 1)" -gt 0 ] || bad "a rule counts nothing: $(sw acl list sw0)"
must sw acl zero sw0 rule=1
[ "$(counted 1)" = 0 ] || bad "a rule's counter is not 0: $(sw acl list sw0)"
must sw acl remove sw0 rule=1
must sw acl add sw0 rule=2 port=host direction=in action=count
must talks
before=$(counted 2)
must sw set sw0 age=299
[ "${before:-0}" -gt 0 ] || bad "a counting rule counts nothing"
[ "$(counted 2)" -ge "$before" ] || bad "a change took a rule's counter: $before, $(counted 2)"
must talks

# ---- two uplinks: failover ----
must sw uplink add sw0 dev=up1 priority=200 team=standby
must talks
must on_there python3 "$traffic" tcp 10.77.0.2 1000000
ip -n "$there" link set wire0 down
must talks 5
sw uplink list sw0 | grep -q 'up0.*down' || bad "up0 is not down: $(sw uplink list sw0)"
ip -n "$there" link set wire0 up
must talks 5
must sw uplink remove sw0 dev=up1
must talks 5

# ---- upgrade under traffic ----
on_there python3 "$traffic" udp 10.77.0.2 3 >"$dir/udp" &
load=$!
sleep 1
before=$(data_pid)
must sw upgrade sw0
wait $load
echo "upgrade: $(cat "$dir/udp")"
sleep 0.5
[ "$before" != "$(data_pid)" ] || bad "no new process after an upgrade"
sw fdb show sw0 | grep -q up0 || bad "an upgrade forgot what was learned"

# ---- other threads: another process, and the same TAP with its address ----
refused "upgrade sw0 threads=1" sw set sw0 threads=1
must sw set sw0 threads=2
for threads in 1 3 2; do
	must sw upgrade sw0 threads=$threads
	talks 5 || bad "nothing passes with $threads threads"
	sw show sw0 | grep -q "^cores: $threads" || bad "not $threads cores: $(sw show sw0 | grep cores)"
done
refused "from 0 to 16" sw upgrade sw0 threads=99
must talks

# ---- the host's port in a VLAN: what leaves by the uplink has its tag, and so must what comes ----
in_vlan() { on_there python3 "$traffic" arp br0 "$1" 10.77.0.1 10.77.0.2 "$2"; }
in_vlan 0 5 || bad "nothing passes without a VLAN"
in_vlan 20 1 && bad "an untagged port has a VLAN"
must sw set sw0 host-vlan=access:20
in_vlan 20 5 || bad "nothing passes in the host port's VLAN"
in_vlan 0 1 && bad "the host's port is in no VLAN, too"
must sw set sw0 host-vlan=trunk:21,30
in_vlan 21 5 || bad "nothing passes in the native VLAN"
in_vlan 20 1 && bad "a VLAN that the trunk does not have passes"
refused "host-vlan" sw set sw0 host-vlan=access:4095
must sw set sw0 host-vlan=none
must talks 5

# ---- the switch asks for groups, and Linux answers for those that it has joined ----
reported() { # in the last ten seconds, by who is behind up0
	sw groups sw0 --json | tr -d ' \n' | grep -qE "\"group\":\"$1\",[^}]*\"up0\",\"left\":(25[1-9]|260)"
}
reported 01:00:5e:01:02:03 && bad "a report that nobody asked for"
must sw set sw0 querier=on
for ((i = 0; i < 100; i++)); do
	reported 01:00:5e:01:02:03 && v4=yes
	reported 33:33:01:02:03:04 && v6=yes
	[ "${v4:-}${v6:-}" = yesyes ] && break
	sleep 0.2
done
[ "${v4:-}" = yes ] || bad "nobody answers IGMP: $(sw groups sw0)"
[ "${v6:-}" = yes ] || bad "nobody answers MLD: $(sw groups sw0)"
must sw set sw0 querier=off
must talks 5

# ---- killed, again and again, under traffic ----
on_there python3 "$traffic" udp 10.77.0.2 $((kills * 3 / 2 + 2)) >"$dir/udp" &
load=$!
for ((i = 0; i < kills; i++)); do
	sleep 1.1
	pid=$(data_pid)
	[ -n "$pid" ] && kill -9 "$pid"
	talks 5 || bad "nothing passes after kill $i"
done
wait $load
echo "killed $kills times: $(cat "$dir/udp")"

# ---- what was configured is there again ----
must sw set sw0 age=77
must sw port add sw0 name=web vlan=access:10
must sw stop sw0
refused "does not run" sw show sw0
[ -s "$dir/sw0.state" ] || bad "a stopped switch has left nothing"
must sw start sw0
[ ! -e "$dir/sw0.state" ] || bad "what was left is not taken up"
sw show sw0 | grep -q 'age: 77' || bad "age is forgotten"
sw port list sw0 | grep -q 'access:10' || bad "a port is forgotten"
refused "nosuch0" sw uplink add sw0 dev=nosuch0
sw uplink list sw0 | grep -q nosuch0 && bad "a refused uplink stayed"
# The TAP went with its keeper, and so did its address.
ip -n "$here" addr add 10.77.0.2/24 dev host0 || bad "there is no host0"
ip -n "$there" neigh flush dev br0 # its hardware address is another
must talks 5
exit $failed
