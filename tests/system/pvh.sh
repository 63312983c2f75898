#!/bin/bash
# SPDX-License-Identifier: MIT
# An ELF kernel boots through PVH.

. "$(dirname "$0")/lib.sh"

kernel=$(image vmlinux-generic)
make_disk 16
guest --disk "path=$disk" <<'END'
echo "processors: $(nproc)"
END
script_ended
guest_ends 0
check processors 1 "$(said processors)"
