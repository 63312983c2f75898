/* SPDX-License-Identifier: MIT */
/*
 * The journal: what must still be known of a device's channels when the process that serves them has
 * been killed. It lies in memory that outlives that process, and is read only by whoever takes over.
 *
 * Each channel has a sequence number, which counts its commits. With each commit it is written where
 * both of its rings stand; everything else in the journal is stamped with the number of the commit
 * that makes it true, and is false until that number has been reached. So one store of 8 bytes
 * decides, for all of it at once, whether something has happened.
 *
 *   J1  Nothing is committed inside the VSP's packet().
 *   J2  On a journaled channel only commit() in channel.c stores a shared ring index.
 *   J3  What is stamped is stamped in the same turn in which its packet is written.
 *   J4  Who serves only writes the journal; who takes over trusts nothing in it.
 *   J5  A channel that has been written into a journal afresh puts nothing into its ring any more until
 *       it has left, or goes on where it is: whoever is restored from there would write over it.
 *
 *   owner   the memory is the caller's, and 64-byte aligned
 *   thread  a channel's part: that channel's I/O loop. Banks: the primary's. The rest: while nobody
 *           serves
 *   spec    docs/remote-vsp.md#the-journal
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

#define JOURNAL_VERSION             1U
#define JOURNAL_CHANNELS_MAX        64U
#define JOURNAL_BANK_BYTES          65536U /* its header included */
#define JOURNAL_LOG_BYTES_MAX       (64U << 20)
#define JOURNAL_KEEP_SLOTS_MAX      1024U /* per channel */
#define JOURNAL_KEEP_SLOT_BYTES_MAX 65536U

struct journal_config {
	uint32_t channels;        /* 1 to JOURNAL_CHANNELS_MAX */
	size_t log_bytes;         /* the VSP's own, ≤ JOURNAL_LOG_BYTES_MAX */
	uint32_t keep_slots;      /* per channel; 0 to JOURNAL_KEEP_SLOTS_MAX */
	uint32_t keep_slot_bytes; /* a packet's descriptor and payload at most */
};

/* Where things are: computed from a config, or checked against one's own idea of it. Private copy. */
struct journal {
	uint8_t *base;
	size_t bytes;
	struct journal_config config;
	size_t log_offset, keep_offset; /* the banks' is fixed */
	uint32_t slot_stride;
	unsigned int bank; /* the one that is written next */
};

/* Of a whole journal, a multiple of 4096. The config is within the limits. */
size_t journal_bytes(const struct journal_config *config);

/* Writes an empty journal: every sequence number is 0, no bank, log and slots zero, not clean. */
void journal_format(struct journal *journal, void *base, const struct journal_config *config);

/*
 * An existing one, which is hostile. 0; -EPROTONOSUPPORT (version); -EBADMSG (lengths, offsets). The
 * header is read once: what changes in it later changes nothing.
 */
MUST_CHECK int journal_attach(struct journal *journal, void *base, size_t bytes);

/* ---- commits --------------------------------------------------------------------------------- */

/* The number of a channel's last commit, and where its rings stood then. For who takes over. */
uint64_t journal_seq(const struct journal *journal, uint32_t channel);
void journal_where(const struct journal *journal, uint32_t channel, uint64_t seq,
		   uint32_t *ret_in_read, uint32_t *ret_out_write);

/*
 * Commit number seq: the caller's own count, which goes up by 1 (nothing is read back). When this
 * returns it has happened, and the shared indices may be stored.
 */
void journal_commit(struct journal *journal, uint32_t channel, uint64_t seq, uint32_t in_read,
		    uint32_t out_write);

/* ---- banks: the saved form of the VSP's state -------------------------------------------------- */

/* Room of the bank that is not the current one. It holds nothing until it is sealed… */
void *journal_bank_begin(struct journal *journal, size_t *ret_room);
/* …with the primary channel's commit that makes it true, and that must follow before the next bank. */
void journal_bank_end(struct journal *journal, size_t length, uint64_t stamp);

/*
 * Copies the newest bank that is true at this seq of the primary's into ret_buf (JOURNAL_BANK_BYTES).
 * 0; -ENOENT; -EBADMSG (its length or sum). The next bank will be the other one.
 */
MUST_CHECK int journal_bank_find(struct journal *journal, uint64_t seq, void *ret_buf,
				 size_t *ret_length);

/* ---- the VSP's own log -------------------------------------------------------------------------- */

/* log_bytes of it, 64-byte aligned; NULL when there are none. */
void *journal_log(const struct journal *journal);

/* ---- slots: packets that were taken and are answered later --------------------------------------- */

struct journal_kept {
	uint64_t order; /* the channel's count of kept packets: which was kept first */
	uint64_t transaction_id;
	uint16_t type;
	uint16_t flags; /* JOURNAL_KEPT_* */
	uint32_t descriptor_bytes, payload_bytes;
};

#define JOURNAL_KEPT_WANTS_COMPLETION 1U

/*
 * The slot (< keep_slots) holds this packet from commit `stamp` on. It must be free: its last packet
 * was answered by a commit that has happened. descriptor and payload, one after the other, are at most
 * keep_slot_bytes.
 */
void journal_keep(struct journal *journal, uint32_t channel, uint32_t slot, uint64_t stamp,
		  const struct journal_kept *kept, const void *descriptor, const void *payload);

/* It is answered with commit `stamp`. */
void journal_keep_done(struct journal *journal, uint32_t channel, uint32_t slot, uint64_t stamp);

/*
 * Whether the slot holds a packet that is not answered at this seq, and the packet: its bytes,
 * descriptor first, are copied into ret_buf (keep_slot_bytes). What cannot be is an empty slot.
 */
bool journal_kept(const struct journal *journal, uint32_t channel, uint32_t slot, uint64_t seq,
		  struct journal_kept *ret, uint8_t *ret_buf);

/*
 * To go on writing: stamps beyond seq, of the channel's slots and (channel 0) of banks, are void, or
 * the next commits would make them true.
 */
void journal_void(struct journal *journal, uint32_t channel, uint64_t seq);

/* ---- the end ------------------------------------------------------------------------------------- */

/* Clean: who served has ended in order, and the last bank says all. */
void journal_set_clean(struct journal *journal, bool is_clean);
bool journal_is_clean(const struct journal *journal);
