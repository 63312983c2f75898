#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# A failing back end, and what the guest sees of it: the right sense, a wait until
# somebody says retry, or nothing at all; a slow one; and the log of requests.

# shellcheck disable=SC2016  # what is quoted is for the guest's shell
. "$(dirname "$0")/lib.sh"

tools=yes
for name in media full slow stop retry log; do
	truncate -s 16M "$work/$name.img"
done
obedient --disk "path=$work/media.img,fault=fail:read:at=1048576" \
	--disk "path=$work/full.img,fault=fail:write:every=1:ENOSPC" \
	--disk "path=$work/slow.img,fault=delay:400ms:write" \
	--disk "path=$work/stop.img,id=stop,on-error=stop,fault=fail:write:nth=2" \
	--disk "path=$work/retry.img,on-error=retry,fault=fail:write:every=2" \
	--disk "path=$work/log.img,fault=log:$work/log"
inside 'media=$(disk-at 0) full=$(disk-at 1) slow=$(disk-at 2) stop=$(disk-at 3) retry=$(disk-at 4) log=$(disk-at 5)' || fail "$answer"

# Reads of a place that is broken; the rest of the disk is not.
inside 'sg_raw -r 4096 $media 28 0 0 0 8 0 0 0 8 0 2>&1 | grep -ciE "medium error|hardware error"'
check 'sense of a failed read' 1 "$answer"
inside 'dd if=$media of=/dev/null bs=4096 skip=256 count=1 iflag=direct 2>/dev/null' && fail 'the broken place can be read'
inside 'dd if=$media of=/dev/null bs=4096 skip=257 count=64 iflag=direct 2>/dev/null && dd if=$media of=/dev/null bs=4096 count=256 iflag=direct 2>/dev/null' ||
	fail 'the rest cannot be read'
inside 'dmesg | grep -c "[mM]edium [eE]rror\|[hH]ardware [eE]rror\|I/O error, dev ${media#/dev/}, sector 2048"'
check_less 'lines of it in the log of the kernel, none' $((1 - answer)) 1

# No space: Linux does not take it for a broken medium.
inside 'dd if=/dev/zero of=/tmp/z bs=512 count=1 2>/dev/null; sg_raw -s 512 -i /tmp/z $full 2a 0 0 0 0 0 0 0 1 0 2>&1 | grep -ciE "data protect|space allocation"'
check_less 'sense of a full host, none' $((1 - answer)) 1
inside 'dd if=/dev/zero of=$full bs=4096 count=1 oflag=direct 2>&1 | grep -ci "no space\|input/output\|critical"'
check 'a write to a full host fails' 1 "$answer"

inside 's=$(cut -d " " -f 1 /proc/uptime); dd if=/dev/zero of=$slow bs=4096 count=3 oflag=direct 2>/dev/null; e=$(cut -d " " -f 1 /proc/uptime); echo "$s $e" | awk "{ print int((\$2 - \$1) * 10) }"'
check_less 'tenths of a second that three delayed writes were too fast' $((12 - answer)) 1

# Held, and the guest with it, until somebody says retry.
inside 'dd if=/dev/zero of=$stop bs=4096 count=1 oflag=direct 2>/dev/null' || fail "the first write: $answer"
inside '(sleep 1; dd if=/dev/urandom of=$stop bs=4096 count=1 oflag=direct 2>/dev/null && echo written >/tmp/stop || echo failed >/tmp/stop) &'
is_paused() {
	[ "$(ctl status | jq -r .state)" = paused ]
}
until_true 'the guest stands still after the second write' 60 is_paused
sleep 1
check 'requests held' 1 "$(ctl inspect | jq '[.disks.list[] | select(.id == "stop") | .held] | add')"
check 'lines about it in our log' 1 "$(grep -c 'disk stop.*retry' "$work/stderr")"
check_true 'retry is taken' ctl disk retry id=stop >/dev/null
check 'it goes on' running "$(ctl status | jq -r .state)"
inside 'tries=0; until [ -s /tmp/stop ] || [ $tries = 50 ]; do usleep 100000; tries=$((tries + 1)); done; cat /tmp/stop'
check 'then it is written' written "$answer"

inside 'guest-io fill $retry 4 1 && guest-io verify $retry 4 1'
check 'tried again by itself' 'guest-io: verified 4 MB ok' "$(tail -n 1 <<<"$answer")"

inside 'dd if=/dev/zero of=$log bs=4096 count=5 seek=7 oflag=direct 2>/dev/null'
check 'writes in the log' 5 "$(grep -cE 'write.*(28672|32768|36864|40960|45056).*4096' "$work/log")"
dismiss
