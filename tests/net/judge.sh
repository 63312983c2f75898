#!/bin/bash
# SPDX-License-Identifier: MIT
#
# judge.sh TABIQUE PLUG SCRIPT [WORD...]: a Python script of this directory in a network namespace of its own, by
# a Python that has scapy. Needs root, but no KVM.
set -u

[ "$(id -u)" -eq 0 ] || {
	echo "needs root"
	exit 77
}
tabique=$(realpath "$1") plug=$(realpath "$2") script=$(dirname "$(realpath "$0")")/$3
shift 3
for python in /usr/bin/python3 python3; do
	if "$python" -c 'import scapy' 2>/dev/null; then
		# shellcheck disable=SC2016  # for the shell there
		exec unshare --net sh -c 'ip link set lo up; exec "$@"' judge \
			"$python" -B "$script" "$tabique" "$plug" "$@"
	fi
done
echo "needs scapy (tools/setup test)"
exit 77
