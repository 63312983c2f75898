#!/bin/bash
# SPDX-License-Identifier: MIT
#
# switch_test.sh TABIQUE MAN: the words of `tabique switch`, without a switch that
# runs. What needs one is in tests/net.

set -u
tabique=$(realpath "$1")
man=$(realpath "$2")
dir=$(mktemp -d "${TMPDIR:-/tmp}/tabique-switch-XXXXXX")
trap 'rm -rf "$dir"' EXIT
export TABIQUE_SWITCH_DIR=$dir
failed=0

# expect STATUS WORD COMMAND...: the status, and WORD in what it says.
expect() {
	local status=$1 word=$2 said got
	shift 2
	said=$(timeout 20 "$tabique" switch "$@" 2>&1 </dev/null)
	got=$?
	if [ $got -ne "$status" ]; then
		echo "FAILED switch $*: status $got, not $status: $said"
		failed=1
	fi
	case $said in
	*"$word"*) ;;
	*)
		echo "FAILED switch $*: \"$said\" lacks \"$word\""
		failed=1
		;;
	esac
}

expect 1 usage:
expect 0 "port add NAME" --help
for verb in show stats set upgrade stop "port add" "port list" "acl add" "acl list" "mirror set" \
	"fdb show" groups flows "uplink add" "nat set"; do
	# shellcheck disable=SC2086  # words are meant
	expect 0 "usage: tabique switch $verb" $verb --help
	# shellcheck disable=SC2086
	expect 1 "which switch?" $verb
	# shellcheck disable=SC2086
	expect 1 "there is no switch none" $verb none
done
expect 1 'unknown verb "melt"' melt
expect 1 "no name for a switch" show a/b
expect 1 "which name" create
expect 1 "have no uplinks" create sw0 kind=private uplink=eth1
expect 1 "from 1280 to 9000" create sw0 mtu=10
expect 1 'no "colour"' create sw0 colour=red
[ ! -e "$dir/sw0.json" ] || {
	echo "FAILED a refused create left a file"
	failed=1
}
expect 1 "there is no switch sw0" delete sw0
expect 0 "name" list
echo '{"version":1,"name":"sw1","settings":{"kind":"internal"}}' >"$dir/sw1.json"
echo 'broken' >"$dir/sw2.json"
expect 0 "internal" list
expect 0 "broken" list
expect 1 "there already" create sw1
expect 1 "mend the file" create sw2
expect 2 "does not run" show sw1
expect 0 '"running": false' list --json
expect 0 "" delete sw1
[ ! -e "$dir/sw1.json" ] || {
	echo "FAILED delete left the file"
	failed=1
}

# A device that the switch has refused is off its list again; one about which nothing was heard stays: it may have been done.
answer() { # answer TEXT: a switch that says this to the first who asks
	rm -f "$dir/sw3.ctl"
	python3 - "$dir/sw3.ctl" "$1" <<'END' &
import socket, sys
at = socket.socket(socket.AF_UNIX)
at.bind(sys.argv[1])
at.listen()
asked, _ = at.accept()
asked.recv(4096)
asked.sendall(sys.argv[2].encode())
END
	for _ in $(seq 200); do
		[ ! -S "$dir/sw3.ctl" ] || return
		sleep 0.05
	done
}
echo '{"version":1,"name":"sw3","settings":{"kind":"external"}}' >"$dir/sw3.json"
answer '{"ok":false,"error":"no room"}
'
expect 1 "no room" uplink add sw3 dev=eth7
[ "$(grep -c eth7 "$dir/sw3.devices")" = 0 ] || {
	echo "FAILED a device that was refused stayed on the list"
	failed=1
}
answer ''
expect 2 "without an answer" uplink add sw3 dev=eth8
grep -q eth8 "$dir/sw3.devices" || {
	echo "FAILED a device that may be in use is off the list"
	failed=1
}

# Every verb that --help names is in the manual page, as one.
count=0
while read -r verb; do
	count=$((count + 1))
	grep -qE "^\..*(Cm|[,;]) $verb( |\$)" "$man" || {
		echo "FAILED $(basename "$man") lacks the verb \"$verb\""
		failed=1
	}
done < <("$tabique" switch --help | sed -nE 's/^  ([a-z]+( [a-z]+)?) NAME.*/\1/p')
[ $count -ge 30 ] || {
	echo "FAILED --help names $count verbs"
	failed=1
}
exit $failed
