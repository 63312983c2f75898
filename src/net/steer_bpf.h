/* SPDX-License-Identifier: MIT */
/*
 * steer.h's choice made by the kernel: a BPF program that hashes a frame's flow as the guest asks for and
 * looks its queue up in the guest's table, for devices that spread frames over descriptors
 * (TUNSETSTEERINGEBPF). The key and the table are in a map: a change of the guest's is one update, and frames
 * that pass meanwhile go by either.
 *
 * Written here instruction by instruction, since there is no compiler for it where the program runs, and
 * loaded by bpf(2). Needs CAP_BPF, or unprivileged_bpf_disabled=0.
 *
 *   owner   the caller   thread  any, one at a time
 *   spec    Linux Documentation/bpf/, include/uapi/linux/bpf.h
 */
#pragma once

#include <linux/bpf.h>

#include "base/check.h"
#include "net/steer.h"

struct steer_bpf {
	int program, map; /* descriptors; -1: none */
};

/*
 * type: BPF_PROG_TYPE_SOCKET_FILTER for TAP devices. -EPERM, -EACCES: not allowed; -ENOSYS, -EINVAL and
 * others: this kernel cannot. Until the first steer_bpf_set() all is for queue 0.
 */
MUST_CHECK int steer_bpf_create(enum bpf_prog_type type, struct steer_bpf *ret);

/* NULL-like (-1) descriptors are fine. */
void steer_bpf_destroy(struct steer_bpf *bpf);

/* From now on as steer_frame() would choose. 0 or a negative errno. */
MUST_CHECK int steer_bpf_set(const struct steer_bpf *bpf, const struct steer *steer);
