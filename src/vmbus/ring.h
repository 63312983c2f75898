/* SPDX-License-Identifier: MIT */
/*
 * One direction of a VMBus channel: packets in a ring in guest memory.
 *
 * The guest can change any byte of the ring at any time. This module is the only code that touches
 * it: each index that the guest owns is read once, checked, and kept in the reader or writer; each
 * packet is copied out once. The data pages are mapped twice in a row, so nothing ever wraps.
 *
 * Flow control, both ways:
 *   - the consumer of a ring owns read_index and interrupt_mask: masked, it looks by itself and the
 *     producer need not signal;
 *   - the producer owns write_index and pending_send_bytes: when the ring is too full for its next
 *     packet it says how much room it waits for, and the consumer signals when that much is free.
 *
 *   owner   the channel   thread  the channel's I/O loop
 *   spec    docs/protocols.md#ring
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "mem/mem.h"
#include "proto/vmbus_ring.h"
#include "vmbus/device.h"

/* Pages of one ring, control page included. */
#define VMBUS_RING_PAGES_MIN 2
#define VMBUS_RING_PAGES_MAX 1025

/* Where one ring is mapped. */
struct vmbus_ring {
	struct vmbus_ring_control *control;
	uint8_t *data; /* data_bytes, twice */
	uint32_t data_bytes;
};

/*
 * Maps a ring of `pages` guest pages. 0; -EINVAL (page count), -EFAULT (no RAM), -ENOMEM. Released
 * with vmbus_ring_unmap(), which takes zeroed memory, too.
 */
MUST_CHECK int vmbus_ring_map(struct vmbus_ring *ring, const struct mem *mem, const uint64_t *gfns,
			      size_t pages);
void vmbus_ring_unmap(struct vmbus_ring *ring);

/* ---- guest → host --------------------------------------------------------------------------- */

struct vmbus_ring_reader {
	struct vmbus_ring ring;
	uint32_t read;  /* of the next packet; ahead of the shared index until commit */
	uint32_t limit; /* the guest's write index when last looked at */
	uint32_t committed;
	/* J2 of journal.h: the shared index may only become what the last commit says. */
	bool is_journaled;
	uint32_t intent;
};

/* Starts at the guest's own read index: 0 for a new channel. -EPROTO when it is nonsense. */
MUST_CHECK int vmbus_ring_reader_init(struct vmbus_ring_reader *reader);

/*
 * Copies the next packet's descriptor and payload into buf (room bytes, 8-aligned) and steps over
 * it. 0; -EAGAIN when the ring is empty; -EPROTO when the guest has broken the ring or the packet is
 * longer than room: only closing helps then. *ret_packet points into buf.
 */
MUST_CHECK int vmbus_ring_read(struct vmbus_ring_reader *reader, uint8_t *buf, uint32_t room,
			       struct vmbus_packet *ret_packet);

/* Takes the last read packet back (it has not been committed). */
void vmbus_ring_unread(struct vmbus_ring_reader *reader, uint32_t to);

/* Publishes the room made; whether the guest waits for it and must be signalled. */
bool vmbus_ring_commit(struct vmbus_ring_reader *reader);

/* Asks the guest not to signal, or to signal; arm() returns whether something is there already. */
void vmbus_ring_mask(struct vmbus_ring_reader *reader);
bool vmbus_ring_arm(struct vmbus_ring_reader *reader);

/* A cheap look: is there something to read? */
bool vmbus_ring_has_packets(const struct vmbus_ring_reader *reader);

/* ---- host → guest --------------------------------------------------------------------------- */

struct vmbus_ring_writer {
	struct vmbus_ring ring;
	uint32_t write;     /* ahead of the shared index until publish */
	uint32_t published; /* the shared index */
	uint32_t told;      /* the guest looks, or will, at what lies before this */
	uint32_t read;      /* the guest's read index when last looked at */
	bool is_journaled;  /* as in a reader */
	uint32_t intent;
};

MUST_CHECK int vmbus_ring_writer_init(struct vmbus_ring_writer *writer);

/* Bytes in the ring that a packet with so much descriptor and payload takes. */
uint64_t vmbus_ring_packet_bytes(uint64_t content_bytes);

/*
 * Appends a packet; the guest sees it after vmbus_ring_publish(). 0; -EAGAIN when there is no room
 * now; -E2BIG when there never will be; -EPROTO when the guest has broken its index.
 */
MUST_CHECK int vmbus_ring_write(struct vmbus_ring_writer *writer, const struct vmbus_send *send);

/*
 * Shows the guest all that was written; whether it is owed a signal: it does not look by itself, and
 * has read all that it was told of. That stays so, whatever is published, until vmbus_ring_told().
 */
bool vmbus_ring_publish(struct vmbus_ring_writer *writer);

/* Whether that is so now: a guest may have looked meanwhile. */
bool vmbus_ring_owes(const struct vmbus_ring_writer *writer);

/* The guest is signalled: it will look at all that was published. */
void vmbus_ring_told(struct vmbus_ring_writer *writer);

/* Whether content_bytes would fit now. */
bool vmbus_ring_has_room(struct vmbus_ring_writer *writer, uint64_t content_bytes);

/*
 * Tells the guest to signal when content_bytes fit; true when they already do (and it was not told
 * or need not). 0 stops waiting.
 */
bool vmbus_ring_wait_room(struct vmbus_ring_writer *writer, uint64_t content_bytes);

/* Whether the guest has promised to look at pending_send_bytes; if not, the host must look itself. */
bool vmbus_ring_signals_room(const struct vmbus_ring_writer *writer);

/* ---- both ------------------------------------------------------------------------------------- */

/*
 * Instead of the two inits: the shared indices that are the host's become these, which a journal
 * says, and from now on only what is set as `intent` before. 0; -EBADMSG when they cannot be; -EPROTO
 * when the guest's index is nonsense.
 */
MUST_CHECK int vmbus_ring_roll(struct vmbus_ring_reader *reader, uint32_t read,
			       struct vmbus_ring_writer *writer, uint32_t write);
