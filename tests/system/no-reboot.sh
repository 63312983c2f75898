#!/bin/bash
# SPDX-License-Identifier: MIT
# With --no-reboot a reset by the guest ends the partition with status 0.

. "$(dirname "$0")/lib.sh"

guest --no-reboot <<'END'
echo "boot: 1"
reboot -f
END
wait_for '^boot: 1'
guest_ends 0
check 'boots seen' 1 "$(said_lines boot | grep -c .)"
