/* SPDX-License-Identifier: MIT */
/* A channel's packets that are answered later, and what it writes into a journal but commits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vmbus/channel_internal.h"

_Static_assert(VMBUS_KEEP_MAX == JOURNAL_KEEP_SLOTS_MAX, "a slot for each");

static uint32_t keep_max(const struct vmbus_channel *channel)
{
	return channel->device->ops->keep_max;
}

/* ---- slots ---- */

static void free_again(struct channel_keep *keep)
{
	for (uint32_t i = 0; i < keep->again_count; i++) {
		free(keep->again[i].bytes);
	}
	free(keep->again);
	keep->again = NULL;
	keep->again_count = keep->again_next = 0;
	keep->now = CHANNEL_SLOT_NONE;
}

void channel_keep_fini(struct vmbus_channel *channel)
{
	free_again(&channel->keep);
	free(channel->keep.slots);
	channel->keep.slots = NULL;
	channel->keep.kept = 0;
}

static void put_free(struct channel_keep *keep, uint32_t slot)
{
	keep->slots[slot].next = keep->free;
	keep->free = slot;
}

/* And whoever waited for one may read on. */
static void release(struct vmbus_channel *channel, uint32_t slot)
{
	put_free(&channel->keep, slot);
	if (channel->keep.is_wanted) {
		channel->keep.is_wanted = false;
		vmbus_channel_resume(channel);
	}
}

static int compare_order(const void *a, const void *b)
{
	const struct channel_again *x = a, *y = b;

	return x->kept.order < y->kept.order ? -1 : x->kept.order > y->kept.order;
}

/* What the journal says was kept, in order. */
static int find_kept(struct vmbus_channel *channel)
{
	const struct journal *journal = channel->journal;
	struct channel_keep *keep = &channel->keep;
	uint8_t *bytes = NULL;

	keep->again = fault_alloc(keep_max(channel), sizeof(*keep->again));
	if (!keep->again) {
		return -ENOMEM;
	}
	for (uint32_t slot = 0; slot < keep_max(channel); slot++) {
		struct channel_again *again = &keep->again[keep->again_count];

		bytes = bytes ? bytes : fault_alloc(1, journal->config.keep_slot_bytes);
		if (!bytes) {
			return -ENOMEM;
		}
		if (journal_kept(journal, channel->index, slot, channel->seq, &again->kept,
				 bytes)) {
			again->slot = slot;
			again->bytes = bytes;
			bytes = NULL;
			keep->again_count++;
			keep->order =
				again->kept.order > keep->order ? again->kept.order : keep->order;
		}
	}
	free(bytes);
	qsort(keep->again, keep->again_count, sizeof(*keep->again), compare_order);
	if (keep->again_count == 0) {
		free_again(keep);
	}
	return 0;
}

int channel_keep_init(struct vmbus_channel *channel)
{
	uint32_t count = keep_max(channel);

	channel->keep = (struct channel_keep){ .now = CHANNEL_SLOT_NONE,
					       .free = CHANNEL_SLOT_NONE,
					       .answered = CHANNEL_SLOT_NONE };
	if (count == 0) {
		return 0;
	}
	check(count <= VMBUS_KEEP_MAX);
	channel->keep.slots = fault_alloc(count, sizeof(*channel->keep.slots));
	if (!channel->keep.slots) {
		return -ENOMEM;
	}
	while (count-- > 0) {
		put_free(&channel->keep, count);
	}
	return channel->journal ? find_kept(channel) : 0;
}

uint32_t channel_kept(const struct vmbus_channel *channel)
{
	return channel->keep.kept;
}

/* ---- given again ---- */

void channel_again_reserve(struct vmbus_channel *channel)
{
	struct channel_keep *keep = &channel->keep;

	journal_void(channel->journal, channel->index, channel->seq);
	keep->free = CHANNEL_SLOT_NONE;
	for (uint32_t slot = keep_max(channel); slot-- > 0;) {
		bool is_kept = false;

		for (uint32_t i = 0; i < keep->again_count && !is_kept; i++) {
			is_kept = keep->again[i].slot == slot;
		}
		if (!is_kept) {
			put_free(keep, slot);
		}
	}
}

bool channel_again_next(struct vmbus_channel *channel, struct vmbus_packet *ret)
{
	struct channel_keep *keep = &channel->keep;

	if (keep->again_next == keep->again_count) {
		free_again(keep);
		return false;
	}
	const struct channel_again *again = &keep->again[keep->again_next];
	const struct journal_kept *kept = &again->kept;

	keep->now = channel->journal ? again->slot : CHANNEL_SLOT_NONE;
	*ret = (struct vmbus_packet){
		.type = kept->type,
		.wants_completion = kept->flags & JOURNAL_KEPT_WANTS_COMPLETION,
		.transaction_id = kept->transaction_id,
		.descriptor = again->bytes,
		.descriptor_bytes = kept->descriptor_bytes,
		.payload = again->bytes + kept->descriptor_bytes,
		.payload_bytes = kept->payload_bytes,
	};
	return true;
}

/* The slot's packet is answered; it can be used again when that is final. */
static void answered(struct vmbus_channel *channel, uint32_t slot)
{
	struct channel_keep *keep = &channel->keep;

	if (!channel->journal) {
		release(channel, slot);
		return;
	}
	journal_keep_done(channel->journal, channel->index, slot, channel->seq + 1);
	keep->slots[slot].next = keep->answered;
	keep->answered = slot;
}

void channel_again_taken(struct vmbus_channel *channel)
{
	struct channel_keep *keep = &channel->keep;

	if (keep->now != CHANNEL_SLOT_NONE) {
		answered(channel, keep->now); /* and not kept once more */
		keep->now = CHANNEL_SLOT_NONE;
	}
	keep->again_next++;
}

void channel_free_answered(struct vmbus_channel *channel)
{
	struct channel_keep *keep = &channel->keep;

	while (keep->answered != CHANNEL_SLOT_NONE) {
		uint32_t slot = keep->answered;

		keep->answered = keep->slots[slot].next;
		release(channel, slot);
	}
}

/* ---- for VSPs ---- */

static void write_kept(struct vmbus_channel *channel, const struct vmbus_packet *packet,
		       uint32_t slot)
{
	const struct journal_kept kept = {
		.order = ++channel->keep.order,
		.transaction_id = packet->transaction_id,
		.type = packet->type,
		.flags = packet->wants_completion ? JOURNAL_KEPT_WANTS_COMPLETION : 0,
		.descriptor_bytes = packet->descriptor_bytes,
		.payload_bytes = packet->payload_bytes,
	};

	journal_keep(channel->journal, channel->index, slot, channel->seq + 1, &kept,
		     packet->descriptor, packet->payload);
}

int vmbus_channel_keep(struct vmbus_channel *channel, const struct vmbus_packet *packet,
		       uint32_t *ret_slot)
{
	struct channel_keep *keep = &channel->keep;
	uint32_t slot = keep->now;

	loop_check_here(channel->loop);
	check(channel->holds_commit);
	if (slot != CHANNEL_SLOT_NONE) {
		keep->now = CHANNEL_SLOT_NONE; /* it is in its slot already */
	} else if (keep->free != CHANNEL_SLOT_NONE) {
		slot = keep->free;
		keep->free = keep->slots[slot].next;
		if (channel->journal) {
			write_kept(channel, packet, slot);
		}
	} else {
		keep->is_wanted = true;
		return -EAGAIN;
	}
	keep->slots[slot].transaction_id = packet->transaction_id;
	keep->slots[slot].is_kept = true;
	keep->kept++;
	*ret_slot = slot;
	return 0;
}

int vmbus_channel_complete_kept(struct vmbus_channel *channel, uint32_t slot, const void *payload,
				uint32_t bytes)
{
	struct channel_keep *keep = &channel->keep;

	loop_check_here(channel->loop);
	if (!channel->is_open) {
		return -EPIPE;
	}
	check(slot < keep_max(channel) && keep->slots[slot].is_kept);
	int err = vmbus_channel_complete(channel, keep->slots[slot].transaction_id, payload, bytes);

	if (err) {
		return err;
	}
	keep->slots[slot].is_kept = false;
	keep->kept--;
	answered(channel, slot); /* J3 */
	return 0;
}

uint64_t vmbus_channel_stamp(const struct vmbus_channel *channel)
{
	return channel->seq + 1;
}

bool vmbus_channel_is_past(const struct vmbus_channel *channel, uint64_t stamp)
{
	return !channel->journal || stamp <= channel->seq;
}

bool vmbus_channel_is_journaled(const struct vmbus_channel *channel)
{
	return channel->journal != NULL;
}

/* ---- banks, and a journal written afresh ---- */

int channel_write_bank(struct vmbus_channel *primary, struct journal *journal, uint64_t stamp)
{
	struct vmbus_device *device = primary->device;
	struct save save;
	const uint8_t *bytes;
	size_t room, length;
	uint8_t *bank = journal_bank_begin(journal, &room);

	save_init_fixed(&save, bank, room);
	device->ops->save(device, &save);
	int err = save_finish(&save, &bytes, &length);

	if (!err) {
		journal_bank_end(journal, length, stamp);
	}
	save_fini(&save);
	return err;
}

void channel_save_bank(struct vmbus_channel *primary, uint64_t stamp)
{
	primary->is_touched = false;
	int err = channel_write_bank(primary, primary->journal, stamp);

	if (err) {
		/* The last one stays true. */
		log_error(primary->device->ops->name,
			  "channel %u: its state does not fit into the journal: %s", primary->relid,
			  strerror(-err));
	}
}

/* What was kept elsewhere and has not been given again yet. */
static void write_again(struct vmbus_channel *channel, struct journal *journal)
{
	const struct channel_keep *keep = &channel->keep;

	for (uint32_t i = keep->again_next; i < keep->again_count; i++) {
		const struct channel_again *again = &keep->again[i];

		journal_keep(journal, channel->index, i, 1, &again->kept, again->bytes,
			     again->bytes + again->kept.descriptor_bytes);
	}
}

int channel_write_journal(struct vmbus_channel *channel, struct journal *journal)
{
	check(channel->is_open && channel->is_paused && !channel->journal);
	if (channel->keep.kept > 0) {
		return -EBUSY;
	}
	write_again(channel, journal);
	channel_show(channel);
	journal_commit(journal, channel->index, 1, channel->in.read, channel->out.write);
	channel->is_written = true; /* J5 */
	return 0;
}
