/* SPDX-License-Identifier: MIT */
/*
 * NetVSP's log in the journal (vmbus/journal.h): which pieces of the receive buffer the guest has. An
 * entry for each piece; the stamps are those of the transaction that begins with it.
 *
 *                  shown = stamp                     returned = stamp
 *   free ── batch ───────────────► the guest's ─────────────────────► returning ── committed() ──► free
 *
 * Of a piece's queue's commits up to seq, a transaction is the guest's exactly if
 *
 *   0 < shown <= seq, and not shown <= returned <= seq
 *
 * Invariants:
 *   L1  A piece that the guest has returned is not used again before the commit of its return: else a
 *       successor would read the return once more, and it would be that of the new transaction.
 *   L2  Entries of a free piece say so at every moment, also while it changes its queue: stamps of one
 *       channel mean nothing on another.
 *   L3  A buffer's entries are cleared before the next one is there, and after the commit that says
 *       that it is gone.
 *
 *   owner   the journal's; a device has it between log_attach() and leave
 *   thread  an entry is its queue's loop's
 *   spec    docs/remote-vsp.md#netvsps-log
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "vmbus/device.h"

struct netvsp;

struct netvsp_log_entry {
	_Atomic(uint64_t) shown, returned; /* 0: never */
	_Atomic(uint32_t) next;            /* piece of the same transaction; its own: the last */
	_Atomic(uint16_t) queue;
	uint16_t zero;
};
_Static_assert(sizeof(struct netvsp_log_entry) == 24, "docs/remote-vsp.md");

/* The device's table. */
size_t netvsp_log_bytes(const struct vmbus_device *device);
void netvsp_log_attach(struct vmbus_device *device, void *log);
void netvsp_log_write(struct vmbus_device *device, void *log);
MUST_CHECK int netvsp_recover(struct vmbus_device *device, const void *log, bool is_clean);

/* All of it; log may be NULL. The primary's loop, while no queue has a receive buffer (L3). */
void netvsp_log_clear(struct netvsp_log_entry *log);

/* ---- an entry; log may be NULL, and then there is nothing to do ---------------------------------- */

static inline void netvsp_log_stamp(_Atomic(uint64_t) *at, uint64_t stamp)
{
	fault_store();
	atomic_store_explicit(at, stamp, memory_order_release);
}

static inline void netvsp_log_next(struct netvsp_log_entry *log, uint32_t piece, uint32_t next)
{
	if (log) {
		fault_store();
		atomic_store_explicit(&log[piece].next, next, memory_order_release);
	}
}

/* A free piece is another queue's from now on (L2). */
static inline void netvsp_log_move(struct netvsp_log_entry *log, uint32_t piece, uint16_t queue)
{
	if (log) {
		netvsp_log_stamp(&log[piece].shown, 0);
		netvsp_log_stamp(&log[piece].returned, 0);
		fault_store();
		atomic_store_explicit(&log[piece].queue, queue, memory_order_release);
	}
}
