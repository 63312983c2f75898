/* SPDX-License-Identifier: MIT */
/*
 * A device moves from one process to another, or on when the one that served it was killed: its
 * channels leave here, and are restored there from the journal (journal.h). There is one way to
 * restore, whatever the reason.
 *
 *   here                                       there
 *   pause; device_journal_write()
 *   device_journal_leave() ───────────────►   map the rings; device_journal_restore()
 *                                              … serves, and writes the journal …
 *   map the rings; device_journal_restore()  ◄─ device_journal_leave(), or death
 *
 *   owner   whoever moves it; all that it names is borrowed for the call, but the journal that a
 *           served device writes: until device_journal_leave(), or until its channels are closed
 *   thread  the control loop (it waits for the I/O loops, by loop_call())
 */
#pragma once

#include "vmbus/channel_internal.h"
#include "vmbus/journal.h"

struct device_journal {
	struct vmbus_device *device;
	/* Its channels in any order; the primary (index 0) is among them. A channel's part of the
	 * journal is that of its index. */
	struct vmbus_channel *const *channels;
	unsigned int channel_count;
	struct journal *journal;
};

/* What a device with channels of these indices (below `channels`) needs. */
struct journal_config device_journal_config(const struct vmbus_device *device, uint32_t channels);

/*
 * Writes the journal afresh: seq 1, where the rings stand, a bank with what save() says, the VSP's
 * log as log_write() writes it. `journal->journal` is formatted over [base, base + bytes). The channels
 * are open, paused, not journaled; from then on they send nothing (J5: a VSP is told that there is no
 * room) until they have left, or are not paused any more. 0; -EBUSY: a packet is kept (it is answered soon: try again);
 * -E2BIG: the state or the memory does not fit; -EOPNOTSUPP: the VSP has no save().
 */
MUST_CHECK int device_journal_write(const struct device_journal *d, void *base, size_t bytes);

/*
 * The rings are mapped, the channels are not open. Rolls forward, restores each channel, loads the
 * bank, recovers; then the guest is signalled once and its packets flow, those that were kept first,
 * unless `is_paused`.
 *
 * goes_on: the channels are journaled from now on, in this same journal. Else the journal is not
 * needed any more when this has returned.
 *
 * 0; -EBADMSG (what the journal says cannot be), -EPROTO (the guest has broken a ring), or another
 * errno; then no channel is open, and their rings are still mapped.
 */
MUST_CHECK int device_journal_restore(const struct device_journal *d, bool goes_on, bool is_paused);

/*
 * The channels stop without being closed (channel_leave()), and their rings are unmapped. If they
 * are journaled, everything is committed, the bank is written, and the journal is clean.
 */
void device_journal_leave(const struct device_journal *d);
