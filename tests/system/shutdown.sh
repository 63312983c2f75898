#!/bin/bash
# SPDX-License-Identifier: MIT
# A guest without any shutdown program is powered off by its kernel when its
# integration service is asked; a restart is a restart.

. "$(dirname "$0")/lib.sh"

guest --no-reboot <<'END'
echo "up: 1"
sleep 300
END
wait_for '^up: 1'
check_true 'shutdown is taken' ctl shutdown >/dev/null
guest_ends 0
check_true 'powered off' grep -qaE 'reboot: (Power down|System halted)' "$work/serial"
