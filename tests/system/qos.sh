#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# Maxima are kept, within a fifth: operations, counted in 8 KB; bytes; changed while
# running; and shared by two disks, of which one floods.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes
for name in a b c d; do
	truncate -s 16M "$work/$name.img"
done
obedient --policy name=gold,iops=300 --disk "path=$work/a.img,id=a,iops=200" \
	--disk "path=$work/b.img,id=b,bandwidth=4M" \
	--disk "path=$work/c.img,id=c,policy=gold" --disk "path=$work/d.img,id=d,policy=gold"
inside 'a=$(disk-at 0) b=$(disk-at 1) c=$(disk-at 2) d=$(disk-at 3)' || fail "$answer"

# about WHAT WANTED FOUND
about() {
	[ -n "$3" ] || fail "$1: no number"
	check_less "$1, in percent off" "$(awk -v a="$2" -v b="$3" 'BEGIN { x = (b / a - 1) * 100; print x < 0 ? -x : x }')" 20
}
# rate COMMAND SECONDS
rate() {
	inside "$1 | sed -n 's/.*guest-io: \([0-9.]*\) .*/\1/p'" 60
	echo "   $1: $answer"
}

rate 'guest-io random $a read 8 4096 4'
about '200 operations of 4 KB' 200 "$answer"
rate 'guest-io random $a write 8 32768 4'
about '200 operations are 50 of 32 KB' 50 "$answer"
check_true 'changed' ctl disk qos id=a iops=800 >/dev/null
rate 'guest-io random $a read 16 4096 3'
about '800 operations' 800 "$answer"
check_true 'taken away' ctl disk qos id=a iops=0 >/dev/null
rate 'guest-io random $a read 16 4096 2'
check_less 'operations without a limit, too few' $((1200 - answer)) 1

rate 'guest-io stream $b read 8 131072 4'
about '4 MiB a second' 4.19 "$answer"

inside '(guest-io random $c read 64 4096 5 >/tmp/c) & guest-io random $d read 4 4096 5 >/tmp/d; wait; sed "s/guest-io: \([0-9]*\) .*/\1/" /tmp/c /tmp/d' 60
c=$(sed -n 1p <<<"$answer") d=$(sed -n 2p <<<"$answer")
about "300 operations shared: $c + $d" 300 $((c + d))
# A third of it, less what a slice of time more or less is worth.
check_less 'the modest one is starved' $((300 / 3 - d)) 20
check_true 'the policy is changed' ctl policy set name=gold iops=600 >/dev/null
rate 'guest-io random $c read 16 4096 3'
about '600 operations of the policy' 600 "$answer"
dismiss
