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
wrong 1 'firmware' --kernel "$kernel" --machine legacy --firmware bios
wrong 1 'machine legacy' --firmware bios
wrong 1 'modern or legacy' --machine ancient
wrong 1 'missing.*seabios' --machine legacy --firmware missing
wrong 1 'noise.*256 KiB' --machine legacy --firmware noise
wrong 1 'directory' --machine legacy --firmware directory
wrong 1 'boot-order' --kernel "$kernel" --boot-order disk
wrong 1 'disk, dvd and net' --machine legacy --boot-order tape
wrong 1 'twice' --machine legacy --boot-order disk,disk
wrong 1 'initrd' --machine legacy --firmware bios --initrd noise
wrong 1 'serial2' --kernel "$kernel" --serial2 none
wrong 1 'vga.*legacy' --kernel "$kernel" --vga s3
wrong 1 's3 or none' --machine legacy --vga cirrus
wrong 1 'stdio' --machine legacy --serial stdio --serial2 stdio
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

# Disks' words.
disk() { # disk PATTERN WORDS: after path=disk.img
	wrong 1 "$1" --kernel "$kernel" --disk "path=disk.img,$2"
}
disk 'floppy' format=floppy
disk 'format=raw' format=vhdx,size=1M
disk 'sector.*2048' sector=2048
disk 'lun.*64' lun=64
disk 'controller.*4' controller=4
disk 'id.*a/b' id=a/b
disk 'on-error.*ignore' on-error=ignore
disk 'write-cache.*yes' write-cache=yes
disk 'iops.*many' iops=many
disk 'bandwidth.*fast' bandwidth=fast
disk 'no policy "gold"' policy=gold
disk 'wwn.*12|"12"' wwn=12
disk 'fault.*explode' fault=explode
disk 'disk.img' offset=12M,size=8M
disk 'disk.img|512' offset=100,size=1M
wrong 1 'null disk needs a size' --kernel "$kernel" --disk format=null
wrong 1 'null' --kernel "$kernel" --disk path=null:big
wrong 1 'lun 3' --kernel "$kernel" --disk path=null:1M,lun=3 --disk path=null:1M,lun=3
wrong 1 '"same"' --kernel "$kernel" --disk path=null:1M,id=same --disk path=null:1M,id=same
wrong 1 'disk.img.vhdx' --kernel "$kernel" --disk path=disk.img.vhdx
wrong 1 'missing.iso' --kernel "$kernel" --dvd path=missing.iso
wrong 1 'read-only' --kernel "$kernel" --dvd path=disk.img,readonly=off
wrong 1 'empty' --kernel "$kernel" --dvd empty,path=disk.img
wrong 1 'name' --kernel "$kernel" --policy iops=5
wrong 1 'unknown key "readonly"' --kernel "$kernel" --policy name=gold,readonly=on
wrong 1 'gold.*twice' --kernel "$kernel" --policy name=gold --policy name=gold
# A header where a raw disk should begin: its guest may have written it.
printf vhdxfile | dd of=disguised.img conv=notrunc status=none
truncate -s 16M disguised.img
wrong 1 'disguised.img' --kernel "$kernel" --disk path=disguised.img
# A name that says what the bytes do not.
cp disk.img plain.vhdx
wrong 1 'plain.vhdx' --kernel "$kernel" --disk path=plain.vhdx
wrong 1 'looks.img.*format=' --kernel "$kernel" --disk path=looks.img
wrong 1 'noise.vhdx' --kernel "$kernel" --disk path=noise.vhdx
wrong 1 'cut.vhdx' --kernel "$kernel" --disk path=cut.vhdx
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
wrong 1 'tap' --kernel "$kernel" --net tap
wrong 1 'sixteen-letters-' --kernel "$kernel" --net tap=sixteen-letters-
wrong 1 'forward is for nat' --kernel "$kernel" --net tap=tap0,forward=tcp:2222:22
wrong 1 'switch' --kernel "$kernel" --net switch
wrong 1 '../lan' --kernel "$kernel" --net switch=../lan
wrong 1 'forward is for nat' --kernel "$kernel" --net switch=lan,forward=tcp:2222:22
wrong 1 'port' --kernel "$kernel" --net 'switch=lan,port=a b'
wrong 1 'port is for switch' --kernel "$kernel" --net nat,port=a
wrong 1 'queues' --kernel "$kernel" --net tap=tap0,queues=17
wrong 1 'queue' --kernel "$kernel" --net nat,queues=2
wrong 1 'link' --kernel "$kernel" --net nat,link=sideways
wrong 1 'nvsp-max' --kernel "$kernel" --net nat,nvsp-max=3
# No TAP device, whatever else the host has or allows.
wrong '[12]' "'lo'" --kernel "$kernel" --net tap=lo
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
