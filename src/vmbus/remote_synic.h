/* SPDX-License-Identifier: MIT */
/*
 * The SynICs of a guest of another process, as far as a VSP needs them: event flags in the guest's
 * memory, where the worker's board says, and eventfds that KVM turns into interrupts. Messages and
 * doorbells stay the worker's.
 *
 *   owner   remote_host   thread  any: nothing changes after init but what the board says
 *   spec    docs/remote-vsp.md#the-board
 */
#pragma once

#include "dev/synic.h"
#include "mem/mem.h"
#include "proto/remote.h"

struct remote_synic {
	struct synic base;
	const struct mem *mem;
	const struct remote_board *board; /* hostile: each field is read once, and checked */
	uint32_t vps;
	const int *sint_fds;
};

/* All borrowed. vps ≤ REMOTE_VPS_MAX. */
void remote_synic_init(struct remote_synic *synic, const struct mem *mem,
		       const struct remote_board *board, uint32_t vps, const int *sint_fds);
