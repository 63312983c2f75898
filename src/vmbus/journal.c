/* SPDX-License-Identifier: MIT */
#include "vmbus/journal.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/fault.h"
#include "base/num.h"

#define MAGIC       0x4e4a4254U /* "TBJN" */
#define FLAG_CLEAN  1U
#define STAMP_NEVER UINT64_MAX

struct header {
	uint32_t magic, version;
	uint64_t bytes;
	uint32_t channels;
	_Atomic(uint32_t) flags;
	uint64_t bank_offset, log_offset, log_bytes, keep_offset;
	uint32_t keep_slots, keep_slot_bytes;
};
_Static_assert(sizeof(struct header) == 64, "docs/remote-vsp.md");

struct intent {
	_Atomic(uint32_t) in_read, out_write;
	uint64_t zero;
};

struct channel {
	_Atomic(uint64_t) seq;
	uint64_t pad[7];
	struct intent intent[2];
	uint64_t pad2[4];
};
_Static_assert(sizeof(struct channel) == 128, "docs/remote-vsp.md");

struct bank {
	_Atomic(uint64_t) stamp; /* 0: never written */
	uint32_t length, crc32c;
	uint8_t bytes[JOURNAL_BANK_BYTES - 16];
};
_Static_assert(sizeof(struct bank) == JOURNAL_BANK_BYTES, "docs/remote-vsp.md");

struct slot {
	_Atomic(uint64_t) taken, done; /* 0: not */
	uint64_t order, transaction_id;
	uint16_t type, flags;
	uint32_t descriptor_bytes, payload_bytes, zero;
	uint64_t pad[2];
	uint8_t bytes[];
};
_Static_assert(sizeof(struct slot) == 64, "docs/remote-vsp.md");

/*
 * All stores that a successor reads are in program order for it: it runs when we have ended, and the
 * processor keeps the order of stores. The compiler is held to it by the releases.
 */
static void store(_Atomic(uint64_t) *at, uint64_t value)
{
	fault_store();
	atomic_store_explicit(at, value, memory_order_release);
	atomic_thread_fence(memory_order_release);
}

/* ---- layout ---- */

static size_t bank_offset(const struct journal_config *config)
{
	return sizeof(struct header) + config->channels * sizeof(struct channel);
}

static void lay_out(struct journal *journal, const struct journal_config *config)
{
	size_t log = bank_offset(config) + 2 * sizeof(struct bank);
	size_t keep = log + num_align_up(config->log_bytes, 64);
	size_t stride = sizeof(struct slot) + num_align_up(config->keep_slot_bytes, 64);
	size_t end = keep + (size_t)config->channels * config->keep_slots * stride;

	*journal = (struct journal){ .config = *config,
				     .log_offset = log,
				     .keep_offset = keep,
				     .slot_stride = (uint32_t)stride,
				     .bytes = num_align_up(end, 4096) };
}

static bool is_within_limits(const struct journal_config *config)
{
	return config->channels >= 1 && config->channels <= JOURNAL_CHANNELS_MAX &&
	       config->log_bytes <= JOURNAL_LOG_BYTES_MAX &&
	       config->keep_slots <= JOURNAL_KEEP_SLOTS_MAX &&
	       config->keep_slot_bytes <= JOURNAL_KEEP_SLOT_BYTES_MAX;
}

size_t journal_bytes(const struct journal_config *config)
{
	struct journal journal;

	check(is_within_limits(config));
	lay_out(&journal, config);
	return journal.bytes;
}

static struct header *header_of(const struct journal *journal)
{
	return (struct header *)(void *)journal->base;
}

static struct channel *channel_of(const struct journal *journal, uint32_t channel)
{
	check(channel < journal->config.channels);
	return (struct channel *)(void *)(journal->base + sizeof(struct header)) + channel;
}

static struct bank *bank_of(const struct journal *journal, unsigned int which)
{
	return (struct bank *)(void *)(journal->base + bank_offset(&journal->config)) + which;
}

static struct slot *slot_of(const struct journal *journal, uint32_t channel, uint32_t slot)
{
	size_t number = (size_t)channel * journal->config.keep_slots + slot;

	check(channel < journal->config.channels && slot < journal->config.keep_slots);
	return (struct slot *)(void *)(journal->base + journal->keep_offset +
				       number * journal->slot_stride);
}

void journal_format(struct journal *journal, void *base, const struct journal_config *config)
{
	check(is_within_limits(config));
	lay_out(journal, config);
	journal->base = base;
	memset(base, 0, journal->bytes);
	*header_of(journal) = (struct header){
		.magic = MAGIC,
		.version = JOURNAL_VERSION,
		.bytes = journal->bytes,
		.channels = config->channels,
		.bank_offset = bank_offset(config),
		.log_offset = journal->log_offset,
		.log_bytes = config->log_bytes,
		.keep_offset = journal->keep_offset,
		.keep_slots = config->keep_slots,
		.keep_slot_bytes = config->keep_slot_bytes,
	};
}

int journal_attach(struct journal *journal, void *base, size_t bytes)
{
	struct header header;
	struct journal found;

	if (bytes < sizeof(header)) {
		return -EBADMSG;
	}
	memcpy(&header, base, sizeof(header));
	if (header.magic != MAGIC) {
		return -EBADMSG;
	}
	if (header.version != JOURNAL_VERSION) {
		return -EPROTONOSUPPORT;
	}
	const struct journal_config config = { .channels = header.channels,
					       .log_bytes = header.log_bytes,
					       .keep_slots = header.keep_slots,
					       .keep_slot_bytes = header.keep_slot_bytes };

	if (!is_within_limits(&config)) {
		return -EBADMSG;
	}
	lay_out(&found, &config);
	found.base = base;
	if (found.bytes > bytes || header.bytes != found.bytes ||
	    header.bank_offset != bank_offset(&config) || header.log_offset != found.log_offset ||
	    header.keep_offset != found.keep_offset) {
		return -EBADMSG;
	}
	*journal = found;
	return 0;
}

/* ---- commits ---- */

uint64_t journal_seq(const struct journal *journal, uint32_t channel)
{
	return atomic_load(&channel_of(journal, channel)->seq);
}

void journal_where(const struct journal *journal, uint32_t channel, uint64_t seq,
		   uint32_t *ret_in_read, uint32_t *ret_out_write)
{
	const struct intent *intent = &channel_of(journal, channel)->intent[seq & 1];

	*ret_in_read = atomic_load(&intent->in_read);
	*ret_out_write = atomic_load(&intent->out_write);
}

void journal_commit(struct journal *journal, uint32_t channel, uint64_t seq, uint32_t in_read,
		    uint32_t out_write)
{
	struct channel *at = channel_of(journal, channel);
	struct intent *intent = &at->intent[seq & 1]; /* the last commit's is the other */

	fault_store();
	atomic_store_explicit(&intent->in_read, in_read, memory_order_relaxed);
	fault_store();
	atomic_store_explicit(&intent->out_write, out_write, memory_order_relaxed);
	/* Releases what stands in rings, banks, log and slots with it: the commit point. */
	store(&at->seq, seq);
	fault_store();
}

/* ---- banks ---- */

void *journal_bank_begin(struct journal *journal, size_t *ret_room)
{
	struct bank *bank = bank_of(journal, journal->bank);

	store(&bank->stamp, STAMP_NEVER);
	*ret_room = sizeof(bank->bytes);
	return bank->bytes;
}

void journal_bank_end(struct journal *journal, size_t length, uint64_t stamp)
{
	struct bank *bank = bank_of(journal, journal->bank);

	check(length <= sizeof(bank->bytes));
	fault_store();
	bank->length = (uint32_t)length;
	bank->crc32c = crc32c(0, bank->bytes, length);
	store(&bank->stamp, stamp);
	journal->bank ^= 1;
}

int journal_bank_find(struct journal *journal, uint64_t seq, void *ret_buf, size_t *ret_length)
{
	uint64_t best = 0;
	unsigned int which = 0;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t stamp = atomic_load(&bank_of(journal, i)->stamp);

		if (stamp <= seq && stamp > best) {
			best = stamp;
			which = i;
		}
	}
	if (best == 0) {
		return -ENOENT;
	}
	const struct bank *bank = bank_of(journal, which);
	uint32_t length = *(const volatile uint32_t *)&bank->length;

	if (length > sizeof(bank->bytes)) {
		return -EBADMSG;
	}
	memcpy(ret_buf, bank->bytes, length);
	if (crc32c(0, ret_buf, length) != bank->crc32c) {
		return -EBADMSG;
	}
	journal->bank = which ^ 1;
	*ret_length = length;
	return 0;
}

/* ---- the log ---- */

void *journal_log(const struct journal *journal)
{
	return journal->config.log_bytes ? journal->base + journal->log_offset : NULL;
}

/* ---- slots ---- */

void journal_keep(struct journal *journal, uint32_t channel, uint32_t slot, uint64_t stamp,
		  const struct journal_kept *kept, const void *descriptor, const void *payload)
{
	struct slot *at = slot_of(journal, channel, slot);

	check((uint64_t)kept->descriptor_bytes + kept->payload_bytes <=
	      journal->config.keep_slot_bytes);
	store(&at->taken, 0); /* first: the slot's last packet was answered, and stays so */
	store(&at->done, 0);
	at->order = kept->order;
	at->transaction_id = kept->transaction_id;
	at->type = kept->type;
	at->flags = kept->flags;
	fault_store();
	at->descriptor_bytes = kept->descriptor_bytes;
	at->payload_bytes = kept->payload_bytes;
	if (kept->descriptor_bytes) {
		memcpy(at->bytes, descriptor, kept->descriptor_bytes);
	}
	fault_store();
	if (kept->payload_bytes) {
		memcpy(at->bytes + kept->descriptor_bytes, payload, kept->payload_bytes);
	}
	store(&at->taken, stamp);
}

void journal_keep_done(struct journal *journal, uint32_t channel, uint32_t slot, uint64_t stamp)
{
	store(&slot_of(journal, channel, slot)->done, stamp);
}

static bool has_happened(const _Atomic(uint64_t) *stamp, uint64_t seq)
{
	uint64_t value = atomic_load(stamp);

	return value != 0 && value <= seq;
}

bool journal_kept(const struct journal *journal, uint32_t channel, uint32_t slot, uint64_t seq,
		  struct journal_kept *ret, uint8_t *ret_buf)
{
	const struct slot *at = slot_of(journal, channel, slot);
	struct slot head;

	if (!has_happened(&at->taken, seq) || has_happened(&at->done, seq)) {
		return false;
	}
	memcpy(&head, at, sizeof(head));
	if ((uint64_t)head.descriptor_bytes + head.payload_bytes >
		    journal->config.keep_slot_bytes ||
	    head.descriptor_bytes % 8 != 0 || head.payload_bytes % 8 != 0) {
		return false;
	}
	*ret = (struct journal_kept){ .order = head.order,
				      .transaction_id = head.transaction_id,
				      .type = head.type,
				      .flags = head.flags,
				      .descriptor_bytes = head.descriptor_bytes,
				      .payload_bytes = head.payload_bytes };
	memcpy(ret_buf, at->bytes, head.descriptor_bytes + head.payload_bytes);
	return true;
}

void journal_void(struct journal *journal, uint32_t channel, uint64_t seq)
{
	for (uint32_t i = 0; i < journal->config.keep_slots; i++) {
		struct slot *at = slot_of(journal, channel, i);

		if (atomic_load(&at->taken) > seq) {
			store(&at->taken, 0);
		}
		if (atomic_load(&at->done) > seq) {
			store(&at->done, 0);
		}
	}
	for (unsigned int i = 0; channel == 0 && i < 2; i++) {
		if (atomic_load(&bank_of(journal, i)->stamp) > seq) {
			store(&bank_of(journal, i)->stamp, STAMP_NEVER);
		}
	}
}

/* ---- the end ---- */

void journal_set_clean(struct journal *journal, bool is_clean)
{
	fault_store();
	atomic_store(&header_of(journal)->flags, is_clean ? FLAG_CLEAN : 0);
}

bool journal_is_clean(const struct journal *journal)
{
	return atomic_load(&header_of(journal)->flags) & FLAG_CLEAN;
}
