#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 240
#
# What the user gets wrong: one line that names the thing, the right status, and
# nothing half-started.

. "$(dirname "$0")/lib.sh"

kernel=$(image vmlinuz-generic)
cd "$work" || exit 1
truncate -s 16M disk.img other.img
truncate -s 1000 odd.img
head -c 100K /dev/urandom >noise
: >empty
# An image that pretends to be raw, noise that pretends to be an image, half of one.
new_image looks.img vhdx 16
cp noise noise.vhdx
head -c 150K looks.img >cut.vhdx
mkdir directory
bad=0

# wrong STATUS PATTERN OPTIONS...: of tabique run, after a good kernel.
wrong() {
	local status=0 want=$1 pattern=$2 lines complaint=
	shift 2
	timeout -k 5 20 "$tabique" run --serial none --control "unix:$work/control" "$@" \
		</dev/null >out 2>err || status=$?
	lines=$(wc -l <err)
	[[ $status =~ ^$want$ ]] || complaint="status: expected $want, found $status"
	[ "$lines" = 1 ] || complaint="$complaint lines: expected 1, found $lines"
	grep -qiE -- "$pattern" err || complaint="$complaint no '$pattern' in it"
	[ ! -s out ] || complaint="$complaint words on standard output"
	[ ! -e control ] || complaint="$complaint control socket left behind"
	if [ -n "$complaint" ]; then
		bad=$((bad + 1))
		echo "FAILED: tabique run $*"
		echo "   $complaint"
	else
		echo "ok: tabique run $*"
	fi
	head -n 5 err | sed 's/^/   > /'
	rm -f control
}

wrong 1 'kernel'
wrong 1 'missing' --kernel missing
wrong 1 'noise' --kernel noise
wrong 1 'empty' --kernel empty
wrong 1 'directory' --kernel directory
wrong 1 'missing' --kernel "$kernel" --initrd missing
wrong 1 'directory' --kernel "$kernel" --initrd directory
wrong 1 'missing' --kernel "$kernel" --disk path=missing
wrong 1 'directory' --kernel "$kernel" --disk path=directory
wrong 1 '512|odd' --kernel "$kernel" --disk path=odd.img
wrong 1 'empty' --kernel "$kernel" --disk path=empty
wrong 1 'path' --kernel "$kernel" --disk readonly=on
wrong 1 'colour' --kernel "$kernel" --disk path=disk.img,colour=red
wrong 1 'readonly' --kernel "$kernel" --disk path=disk.img,readonly=maybe
wrong 1 'disk.img' --kernel "$kernel" --disk path=disk.img --disk path=disk.img
wrong 1 'banana' --kernel "$kernel" --disk path=disk.img,format=banana
wrong 1 'sector' --kernel "$kernel" --disk path=disk.img,sector=513
wrong 1 'iops' --kernel "$kernel" --disk path=disk.img,iops=many
wrong 1 'gold' --kernel "$kernel" --disk path=disk.img,policy=gold
wrong 1 'explode' --kernel "$kernel" --disk path=disk.img,fault=explode
wrong 1 'offset' --kernel "$kernel" --disk path=disk.img,offset=banana,size=1M
wrong 1 'on-error' --kernel "$kernel" --disk path=disk.img,on-error=panic
wrong 1 'wwn' --kernel "$kernel" --disk path=disk.img,wwn=nonsense
wrong 1 'lun' --kernel "$kernel" --disk path=disk.img,lun=1 --disk path=other.img,lun=1
wrong 1 'one' --kernel "$kernel" --disk path=disk.img,id=one --disk path=other.img,id=one
wrong 1 'looks.img.*format=' --kernel "$kernel" --disk path=looks.img
wrong 1 'noise.vhdx' --kernel "$kernel" --disk path=noise.vhdx
wrong 1 'cut.vhdx' --kernel "$kernel" --disk path=cut.vhdx
wrong 1 'missing' --kernel "$kernel" --dvd path=missing.iso
wrong 1 'nobody' --kernel "$kernel" --disk 'path=nbd+unix:///?socket=nobody'
wrong 1 'memory' --kernel "$kernel" --memory 0
wrong 1 'lots' --kernel "$kernel" --memory lots
wrong 1 'memory' --kernel "$kernel" --memory 1M
wrong '[12]' 'memory' --kernel "$kernel" --memory 900T
wrong 1 'cpus' --kernel "$kernel" --cpus 0
wrong 1 'cpus' --kernel "$kernel" --cpus 1000
wrong 1 'cpus' --kernel "$kernel" --cpus two
wrong 1 'net' --kernel "$kernel" --net bridge
wrong 1 'mac' --kernel "$kernel" --net nat,mac=nonsense
wrong 1 '02:00:00:00:00:01' --kernel "$kernel" --net nat,mac=02:00:00:00:00:01 --net nat,mac=02:00:00:00:00:01
wrong 1 'forward' --kernel "$kernel" --net nat,forward=tcp:banana:22
wrong 1 'serial' --kernel "$kernel" --serial pigeon
wrong 1 'frobnicate' --kernel "$kernel" --frobnicate
wrong 1 'surplus' --kernel "$kernel" surplus
wrong 1 'kernel' --kernel
wrong 1 'no/such' --kernel "$kernel" --control unix:/no/such/control

# A port that is taken.
serve_file 1
wrong '[12]' "$port" --kernel "$kernel" --net "nat,forward=tcp:127.0.0.1:$port:22"

# A disk that another partition writes to.
guest --disk path=disk.img <<'END'
echo "up: 1"
sleep 300
END
wait_for '^up: 1'
mv control control.held
wrong '[12]' 'disk.img' --kernel "$kernel" --disk path=disk.img
mv control.held control
check_true 'quit' ctl quit >/dev/null
guest_ends 0

check 'partitions still running' '' "$(pgrep -x tabique | xargs)"
check 'wrong answers' 0 "$bad"
