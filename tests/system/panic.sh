#!/bin/bash
# SPDX-License-Identifier: MIT
# A panic ends the partition with status 3, and its message is in our log.

. "$(dirname "$0")/lib.sh"

guest <<'END'
echo "now: panic"
echo c >/proc/sysrq-trigger
sleep 100
END
wait_for '^now: panic'
guest_ends 3
check_true 'the log has the message' grep -q 'sysrq triggered crash' "$work/stderr"
