#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: bridge bonding tc
# limit: 480
#
# What tests/net judges by drivers that few kernels have all of; Debian's has. No guest: network namespaces of
# this host.
#
#   bridge    VLANs against the Linux bridge's
#   bonding   two uplinks against the bonding driver: standby, by hash, failures
#   tc        qdiscs and filters at the host's port

. "$(dirname "$0")/lib.sh"

judge() {
	"$top/tests/net/judge.sh" "$tabique" "$(dirname "$tabique")/tests/net/net_plug" "$@"
}
[ -w /dev/net/tun ] || modprobe tun 2>/dev/null
case $1 in
bridge)
	modprobe -a bridge 8021q
	judge bridge.py vlans
	;;
bonding)
	modprobe -a bridge bonding
	judge bonding.py
	;;
tc)
	modprobe -a sch_netem sch_tbf sch_ingress cls_u32 cls_flower act_mirred act_gact
	judge tc.py
	;;
*) skip "no case $1" ;;
esac
