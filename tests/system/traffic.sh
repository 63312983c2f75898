#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: 1 2
# limit: 900
#
# Much checksummed disk traffic during network traffic: every byte arrives.
# TABIQUE_TRAFFIC_MB sets how much, 1024 unless said otherwise.

. "$(dirname "$0")/lib.sh"

megabytes=${TABIQUE_TRAFFIC_MB:-1024}
cpus=$1 memory=512M tools=yes
make_disk "$((megabytes / 2))"
serve_file 8
append="tabique.mb=$((megabytes / 2)) tabique.url=http://10.0.2.2:$port/file"
guest --disk "path=$disk" --net nat <<'END'
for word in $(cat /proc/cmdline); do
	case $word in
	tabique.mb=*) mb=${word#*=} ;;
	tabique.url=*) url=${word#*=} ;;
	esac
done
until [ -b /dev/sda ]; do usleep 20000; done
udhcpc -q -n -t 5 -s /etc/udhcpc.script -i eth0 >/dev/null 2>&1 || exit 2
(
	n=0
	until [ -e /tmp/stop ]; do
		sum=$(wget -q -O - "$url" | sha256sum | cut -d ' ' -f 1)
		n=$((n + 1))
		echo "fetched: $n $sum"
	done
	touch /tmp/stopped
) &
guest-io fill /dev/sda $mb 11 && guest-io verify /dev/sda $mb 11
status=$?
touch /tmp/stop
until [ -e /tmp/stopped ]; do usleep 100000; done
exit $status
END
script_ended 0 800
guest_ends 0
check 'verified' "guest-io: verified $((megabytes / 2)) MB ok" "$(tr -d '\r' <"$work/serial" | grep -a '^guest-io: verified')"
check 'sums of what was fetched' "$sum" "$(said_lines fetched | cut -d ' ' -f 2 | sort -u)"
check_less 'files not fetched' $((2 - $(said_lines fetched | grep -c .))) 2
