# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests here have in common: a switch sw0 of its own in the namespace "here", its peers in "there".
# Sourced with the path of `tabique` as the first argument; needs root.

set -u
[ "$(id -u)" -eq 0 ] || {
	echo "needs root"
	exit 77
}
tabique=$(realpath "$1")
# shellcheck disable=SC2034  # by who sources this
traffic=$(dirname "$(realpath "$0")")/traffic.py
dir=$(mktemp -d "${TMPDIR:-/tmp}/tabique-net-XXXXXX")
export TABIQUE_SWITCH_DIR=$dir
here=sw-here-$$
there=sw-there-$$
failed=0
servers=()
spaces=("$here" "$there")

# shellcheck disable=SC2317  # by the trap
clean() {
	on_here "$tabique" switch delete sw0 >/dev/null 2>&1 </dev/null
	[ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null
	[ "$failed" = 0 ] || cat "$dir/sw0.log" 2>/dev/null
	for ns in "${spaces[@]}"; do
		ip netns del "$ns" 2>/dev/null
		rm -rf "/etc/netns/$ns"
	done
	rm -rf "$dir"
}
trap clean EXIT

bad() {
	echo "FAILED line ${BASH_LINENO[1]}: $*"
	failed=1
}

in_space() { # in_space NAMESPACE COMMAND...
	local ns=$1
	shift
	ip netns exec "$ns" timeout 60 "$@"
}
on_here() { in_space "$here" "$@"; }
on_there() { in_space "$there" "$@"; }
sw() { on_here "$tabique" switch "$@" </dev/null; }
must() { "$@" || bad "$*"; }
refused() { # refused WORD COMMAND...
	local word=$1 said
	shift
	said=$("$@" 2>&1) && bad "$* was not refused"
	case $said in *"$word"*) ;; *) bad "$*: \"$said\" lacks \"$word\"" ;; esac
}
data_pid() { sw show sw0 --json | sed -n 's/^  "pid": \([0-9]*\),*/\1/p'; }

# Until the command says yes, at most so many tenths of a second.
until_true() { # until_true TENTHS COMMAND...
	local left=$1
	shift
	until "$@"; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 0.1
	done
}

make_space() {
	ip netns add "$1" && ip -n "$1" link set lo up
}

make_space "$here" || exit 77
make_space "$there" || exit 77
