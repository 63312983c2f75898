#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: bridge
# limit: 240
#
# What tests/net judges by drivers that few kernels have all of; Debian's has. No guest: network namespaces of
# this host.
#
#   bridge    VLANs against the Linux bridge's

. "$(dirname "$0")/lib.sh"

judge() {
	"$top/tests/net/judge.sh" "$tabique" "$(dirname "$tabique")/tests/net/net_plug" "$@"
}
[ -w /dev/net/tun ] || modprobe tun 2>/dev/null
case $1 in
bridge)
	modprobe -a bridge 8021q
	judge bridge.py vlans sizes
	;;
*) skip "no case $1" ;;
esac
