#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# No exit to user space per request or packet: doorbells and interrupts stay in
# the kernel. `inspect` proves it; what the serial port costs is left out.

. "$(dirname "$0")/lib.sh"

tools=yes
make_disk 64
serve_file 8
append="tabique.url=http://10.0.2.2:$port/file"
guest --disk "path=$disk" --net nat <<'END'
for word in $(cat /proc/cmdline); do
	case $word in tabique.url=*) url=${word#*=} ;; esac
done
until [ -b /dev/sda ]; do usleep 20000; done
udhcpc -q -n -t 5 -s /etc/udhcpc.script -i eth0 >/dev/null 2>&1 || exit 2
echo "ready: 1"
read -r answer
guest-io random /dev/sda read 32 4096 5 >/dev/null
wget -q -O /dev/null "$url"
echo "loaded: 1"
read -r answer
END

# count FILTER: a number from the tree.
count() {
	jq "$1" <<<"$tree"
}

exits='[.partition.vps[] | .exits_total - (.ports.serial // 0)] | add'
requests='.disks.list[0].reads + .adapters.list[0].sent_frames + .adapters.list[0].delivered_frames'
wait_for '^ready: 1'
tree=$(ctl inspect)
exits_before=$(count "$exits") requests_before=$(count "$requests")
type_line go
wait_for '^loaded: 1' 120
tree=$(ctl inspect)
exits_after=$(count "$exits") requests_after=$(count "$requests")
type_line enough
script_ended
guest_ends 0
made=$((requests_after - requests_before))
check_less 'requests too few to judge by' $((500 - made)) 1
check_less "exits to user space in $made requests and packets" \
	$((exits_after - exits_before)) $((made / 100 + 1))
