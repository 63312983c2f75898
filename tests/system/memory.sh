#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: 256M 1G 8G
# limit: 240
#
# The guest has the memory that was asked for, and can use it.

. "$(dirname "$0")/lib.sh"

memory=$1
case $1 in
*G) megabytes=$((${1%G} * 1024)) ;;
*) megabytes=${1%M} ;;
esac
host=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
[ "$host" -gt $((megabytes + 256)) ] || skip "this host has $host MB left, $megabytes are needed"
append="tabique.fill=$((megabytes < 2048 ? megabytes / 2 : 1024))"
guest <<'END'
echo "total: $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
read -r line </proc/cmdline
for word in $line; do
	case $word in tabique.fill=*) fill=${word#*=} ;; esac
done
mount -o remount,size=90% /tmp
dd if=/dev/zero of=/tmp/fill bs=1M count=$fill 2>/dev/null
echo "filled: $(($(stat -c %s /tmp/fill) / 1048576)) $fill"
END
script_ended 0 180
guest_ends 0
total=$(said total)
check_less 'memory missing from the total' $((megabytes - total)) $((megabytes / 10 + 64))
check 'memory filled' "$(said filled | cut -d ' ' -f 2)" "$(said filled | cut -d ' ' -f 1)"
