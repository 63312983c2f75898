# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the scripts of tools/ share. Sourced, never run.

tools_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck disable=SC2034
top_dir=$(dirname "$tools_dir")
# Used by those who source this.
# shellcheck disable=SC2034
cache_dir=${TABIQUE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tabique}

# The caller's name before every word of it, so that one knows who speaks.
say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	say "$*"
	exit 1
}

need() {
	local program
	for program; do
		command -v "$program" >/dev/null ||
			PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null ||
			die "$program is not installed; run tools/setup"
	done
}

# lock NAME: held until the script ends. Two that want the same cache entry
# take turns, and the second finds it made.
lock() {
	mkdir -p "$cache_dir" || die "cannot make the cache directory $cache_dir; set TABIQUE_CACHE"
	exec 9>"$cache_dir/$1.lock"
	if ! flock -n 9; then
		say "waiting for another run that is making the same thing"
		flock 9
	fi
}

unlock() {
	exec 9>&-
}

# checksum FILE...: twelve digits that change when one of them does.
checksum() {
	cat -- "$@" | sha256sum | cut -c 1-12
}
