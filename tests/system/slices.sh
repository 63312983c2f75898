#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# Two partitions on two windows of one file, at once: each fills, discards and
# rewrites all of its own, and no byte beside a window changes. A third that would
# overlap is refused.

. "$(dirname "$0")/lib.sh"

tools=yes memory=256M
file=$work/whole.img
head -c 64M /dev/zero | tr '\0' '\245' >"$file"
first='offset=1M,size=16M' second='offset=20M,size=16M'
guest --disk "path=$file,$first" <<'END'
# The seed tells the two apart.
seed=1
for word in $(cat /proc/cmdline); do
	case $word in tabique.seed=*) seed=${word#*=} ;; esac
done
d=$(disk-at 0)
echo "size: $(blockdev --getsize64 $d)"
guest-io fill $d 16 9
/bin/blkdiscard $d
/bin/blkdiscard -z $d
# The sector behind the end, the one at the end of all, and a transfer over the end.
printf '%-4096s' x >/tmp/x
sg_raw -s 512 -i /tmp/x $d 2a 0 00 00 80 00 0 0 1 0 2>&1 | grep -qi 'out of range' && echo 'behind: refused'
sg_raw -s 4096 -i /tmp/x $d 2a 0 00 00 7f fc 0 0 8 0 2>&1 | grep -qi 'out of range' && echo 'across: refused'
sg_raw -s 512 -i /tmp/x $d 8a 0 ff ff ff ff ff ff ff ff 0 0 0 1 0 0 2>&1 | grep -qi 'out of range' && echo 'far: refused'
sg_write_same --in=/tmp/x --xferlen=512 --lba=0x7ff0 --num=32 $d 2>&1 | grep -qi 'out of range' && echo 'same: refused'
sg_unmap --force --lba=0x7ff0 --num=32 $d 2>&1 | grep -qi 'out of range\|illegal request' && echo 'unmap: refused'
guest-io fill $d 16 $seed && guest-io verify $d 16 $seed | sed 's/^/disk: /'
echo "filled: $seed"
[ $seed = 2 ] || read -r answer
END
"$tabique" run --cpus 1 --memory 256M --kernel "$(image vmlinuz-generic)" --initrd "$work/initrd" \
	--append 'console=ttyS0 tabique.seed=2' --serial stdio --disk "path=$file,$second" \
	</dev/null >"$work/serial2" 2>"$work/stderr2" &
other=$!
helpers+=("$other")
wait_for '^filled: 1'
for wrong in offset=16M,size=8M offset=0,size=2M offset=8M,size=512 ''; do
	"$tabique" run --kernel "$(image vmlinuz-generic)" --serial none \
		--disk "path=$file${wrong:+,$wrong}" </dev/null >/dev/null 2>"$work/err"
	check_true "'$wrong' is refused" test $? -le 2
	check "lines about '$wrong'" 1 "$(wc -l <"$work/err")"
	check_true 'the file in it' grep -q whole.img "$work/err"
done
for wrong in offset=60M,size=8M offset=40M,size=100 offset=40000001,size=1M offset=18446744073709551104,size=1M; do
	"$tabique" run --kernel "$(image vmlinuz-generic)" --serial none --disk "path=$file,$wrong" \
		</dev/null >/dev/null 2>"$work/err"
	check_true "'$wrong' is refused" test $? -le 2
	check "lines about '$wrong'" 1 "$(wc -l <"$work/err")"
done
for _ in {1..300}; do
	kill -0 "$other" 2>/dev/null || break
	sleep 0.3
done
grep -qa 'filled: 2' "$work/serial2" || guest_broke "the second: $(tail -n 3 "$work/serial2" "$work/stderr2")"
type_line enough
script_ended
guest_ends 0
check 'size' $((16 << 20)) "$(said size)"
for what in behind across far same unmap; do
	check "$what the end" refused "$(said $what)"
	check "$what the end, the second" refused "$(tr -d '\r' <"$work/serial2" | sed -n "s/^$what: //p")"
done
check 'the first' 'guest-io: verified 16 MB ok' "$(said disk)"

# From here.
guards() { # what lies between, before and behind
	dd if="$file" bs=1M count=1 2>/dev/null
	dd if="$file" bs=1M skip=17 count=3 2>/dev/null
	dd if="$file" bs=1M skip=36 2>/dev/null
}
check 'guard bytes that changed' 0 "$(guards | tr -d '\245' | wc -c)"
check 'guard bytes' $((32 << 20)) "$(guards | wc -c)"
for i in 1 2; do
	dd if="$file" of="$work/slice" bs=1M skip=$((i == 1 ? 1 : 20)) count=16 2>/dev/null
	check "slice $i" 'guest-io: verified 16 MB ok' "$(verified "$work/slice" 16 $i)"
done
