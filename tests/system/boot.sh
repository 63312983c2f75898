#!/bin/bash
# SPDX-License-Identifier: MIT
# cases: generic-1 generic-4 cloud-2
# limit: 240
#
# A stock kernel comes up on its synthetic devices with so many processors, sees
# Hyper-V, keeps its time by the TSC page, complains of nothing, powers off.

. "$(dirname "$0")/lib.sh"

flavour=${1%-*} cpus=${1#*-}
make_disk 64
# A processor that is emulated beside others is late, and the kernel notes it.
[ -z "${TABIQUE_EMULATED_HOST-}" ] || append=tabique.emulated
guest --disk "path=$disk" --net nat <<'END'
echo "processors: $(nproc)"
echo "clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "hypervisor: $(dmesg | grep -c 'Hypervisor detected: Microsoft Hyper-V')"
echo "version: $(dmesg | sed -n 's/.*Vmbus version:\([0-9.]*\).*/\1/p')"
echo "disk: $(cat /sys/block/sda/device/model)"
echo "nic: $(basename "$(readlink /sys/class/net/eth0/device/driver)")"
# Levels up to warning; what is said of this processor's bugs is not about us.
late='\]  #[0-9]*$' # the end of a line begun before: processors being started
! grep -q tabique.emulated /proc/cmdline || late="$late\|hrtimer: interrupt took"
dmesg -r | grep -E '^<[0-4]>' | grep -v "$late" | grep -vE 'Spectre|MDS|Meltdown|TAA|RETBleed|SRSO|VMSCAPE|ITS|TSA|mitigation|x86/fpu|device-mapper' | sed 's/^/complaint: /'
END
script_ended
guest_ends 0
check processors "$cpus" "$(said processors)"
check 'clock source' hyperv_clocksource_tsc_page "$(said clock)"
check 'Hyper-V detected' 1 "$(said hypervisor)"
check 'VMBus version' 5.3 "$(said version)"
check disk 'Virtual Disk' "$(said disk | sed 's/ *$//')"
check 'NIC driver' hv_netvsc "$(said nic)"
check 'complaints of the kernel' '' "$(said_lines complaint)"
