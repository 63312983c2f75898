#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: generic-1 cloud-2
# limit: 300
#
# Debian on a synthetic disk comes to a login, obeys the keyboard of its serial
# line, and goes down in order when asked through its integration service.

. "$(dirname "$0")/lib.sh"

flavour=${1%-*} cpus=${1#*-}
root=yes memory=1G
cp --sparse=always "$(image disk)" "$work/disk.img"
guest --disk "path=$work/disk.img" --net nat
wait_for 'tabique-guest login:' 150
wait_for 'root@tabique-guest:'
# The words are not in what the terminal echoes.
# shellcheck disable=SC2016  # for the guest's shell
type_line 'echo "say"ing $((6 * 7)); findmnt -n -o SOURCE / | sed "s/^/root is /"'
wait_for 'saying 42$' 60
wait_for 'root is /dev/sda' 60
type_line 'while ! ip -4 -o addr show eth0 | grep -q 10.0.2; do sleep 1; done; echo "net"work is up'
wait_for 'network is up$' 60
check_true 'shutdown is taken' ctl shutdown >/dev/null
guest_ends 0 120
check_true 'was asked by the integration service' grep -qa 'graceful shutdown initiated' "$work/serial"
check_true 'powered off' grep -qa 'reboot: Power down' "$work/serial"

# The file system was left clean: there is nothing to recover.
state=$(dumpe2fs -h "$work/disk.img" 2>/dev/null | sed -n 's/^Filesystem features: .*needs_recovery.*/dirty/p')
check 'journal to recover' '' "$state"
