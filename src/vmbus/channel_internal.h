/* SPDX-License-Identifier: MIT */
/*
 * A channel, shared by channel.c (the I/O loop's half) and who owns it (the control loop's half): the
 * bus, or whoever serves devices of another process's bus.
 *
 *   owner   whoever made it
 */
#pragma once

#include <stdatomic.h>

#include "base/counter.h"
#include "base/log.h"
#include "vmbus/coalesce.h"
#include "vmbus/control.h"
#include "vmbus/device.h"
#include "vmbus/gpadl_internal.h"
#include "vmbus/journal.h"
#include "vmbus/ring.h"

#define CHANNEL_SLOT_NONE UINT32_MAX

/* A packet that is answered later. */
struct channel_slot {
	uint64_t transaction_id;
	bool is_kept;
	uint32_t next; /* free ones, and answered ones */
};

/* One that was kept where the channel was before, and is to be given to packet() again. */
struct channel_again {
	struct journal_kept kept;
	uint32_t slot;
	uint8_t *bytes;
};

struct channel_keep {
	uint32_t kept;              /* packets that wait for their answers */
	uint32_t free, answered;    /* lists; the latter become free with the next commit */
	bool is_wanted;             /* packet() found no slot free, and said -EAGAIN */
	uint64_t order;             /* of the last kept packet */
	struct channel_slot *slots; /* device->ops->keep_max */
	uint32_t now; /* the slot of the packet that is being given again, if it has one */
	struct channel_again *again; /* in order; NULL: none */
	uint32_t again_count, again_next;
};

struct vmbus_channel {
	/* constant from offer to release */
	struct vmbus_bus *bus; /* NULL without one */
	void *owner;           /* whoever made it, if not the bus */
	struct vmbus_device *device;
	const struct mem *mem;
	struct synic *synic;
	struct gpadl_table *gpadls;
	struct loop *loop; /* the I/O loop */
	struct loop *control_loop;
	uint32_t relid;
	uint16_t index;
	int doorbell_fd; /* the guest's signal; an edge per signal, never read */

	/* control loop */
	struct gpadl *ring_gpadl;      /* a reference */
	uint32_t downstream_page;      /* where the host → guest ring begins in it */
	struct loop_work *revoke_done; /* somebody waits for the end of a revoke */
	bool is_bound;                 /* the doorbell is bound to the connection id */
	bool is_closed_early;          /* a primary that waits for its sub-channels to close */
	uint32_t version;              /* negotiated, constant while open */

	/* I/O loop; control loop while not open */
	bool is_open;      /* between the device's open and closed */
	bool is_closing;   /* the device's close has been called */
	bool is_dead;      /* the guest broke a ring: only closing helps */
	bool is_stopped;   /* packet() said -EAGAIN */
	bool is_paused;    /* the machine is */
	bool is_written;   /* into a journal: it says nothing until it has left, or goes on here */
	bool is_masked;    /* the guest has been told not to signal */
	bool holds_commit; /* J1: in the VSP's packet() */
	bool ends_batch;   /* after this packet: closing, yielding, or a commit is wanted */
	bool is_touched;   /* the primary: its device's saved form has changed */
	const uint8_t
		*fresh; /* user data: the VSP has not seen open(); see channel_restore_from() */
	struct journal *journal; /* NULL: it keeps none */
	uint64_t seq;            /* its last commit */
	struct channel_keep keep;
	uint64_t room_wanted; /* content bytes that send() had no room for; 0: none */
	struct vmbus_ring_reader in;
	struct vmbus_ring_writer out;
	uint8_t *packet_buf; /* device->ops->packet_bytes_max */
	struct loop_watch doorbell;
	struct loop_poller poller;
	struct loop_work flush;
	struct loop_timer room_timer; /* for guests that do not promise to signal room */
	bool must_signal;
	bool is_urgent; /* what was written is no answer, and does not wait for others */
	struct coalesce coalesce;
	/* What was sent since the guest was last told of anything; see channel_signal.c. */
	bool is_prompt; /* not all of it may wait */
	uint32_t lazy_packets, lazy_bytes;
	struct loop_timer lazy_timer; /* armed while an interrupt is owed */
	struct log_rate log_rate;

	/* Of one that is served for another process; NULL at home. */
	struct loop_signal *signal;               /* I/O loop: for interrupts */
	const _Atomic(uint32_t) *board_target_vp; /* in the place of target_vp; hostile */

	/* any */
	_Atomic(uint32_t) target_vp;
	struct loop_work closed, subs_asked; /* from the I/O loop to the control loop */
	_Atomic(uint32_t) subs_wanted;
	counter_u64 packets_in, packets_out, doorbells, interrupts, faults, ring_full, batches;
	counter_u64 lazy, late; /* showings that waited for an interrupt; timers that made one */
};

/* ---- life, on the control loop ---- */

/* What a channel is made of. */
struct channel_place {
	struct vmbus_bus *bus; /* NULL without one */
	void *owner;
	struct loop *loop; /* the I/O loop */
	struct loop *control_loop;
	const struct mem *mem;
	struct synic *synic;
	struct gpadl_table *gpadls;
	int doorbell_fd_take; /* an eventfd, EFD_NONBLOCK; -1: one is made */
	/* On the control loop; container_of() gives the channel. */
	loop_work_fn *closed;     /* it has closed */
	loop_work_fn *subs_asked; /* its VSP wants sub-channels: channel->subs_wanted */
};

/*
 * A closed channel of this device, number `index`. The caller sets its relid, and before it is opened
 * its version and target_vp. 0; -ENOMEM or another errno, and the doorbell is closed.
 */
MUST_CHECK int channel_create(const struct channel_place *place, struct vmbus_device *device,
			      unsigned int index, struct vmbus_channel **ret);
/* Not open. NULL is fine. */
void channel_destroy(struct vmbus_channel *channel);

/*
 * Maps the two rings: channel->ring_gpadl, from downstream_page on the second. 0; -EINVAL; -EFAULT;
 * -ENOMEM. Nothing is mapped then.
 */
MUST_CHECK int channel_map_rings(struct vmbus_channel *channel);
/* Not open. The GPADL stays. Mapped or not. */
void channel_unmap_rings(struct vmbus_channel *channel);

/* ---- on the I/O loop ---- */

/* I/O loop. The rings are mapped; calls the device's open. 0 or its errno, and nothing is left. */
MUST_CHECK int channel_open(struct vmbus_channel *channel, const uint8_t *user_data);

/* I/O loop. The same for a restored state: the device's load comes instead of its open. */
MUST_CHECK int channel_restore(struct vmbus_channel *channel);

/*
 * I/O loop. The same from a journal: both rings are rolled forward to its last commit, and what was
 * kept will be given again. With channel->fresh (120 bytes, borrowed for the call), open() is called
 * instead of restored(). It answers by this journal from now on. is_paused is set: nothing flows
 * before channel_set_paused(). 0; -EBADMSG (the journal), -EPROTO (the rings), an errno.
 */
MUST_CHECK int channel_restore_from(struct vmbus_channel *channel, struct journal *journal);

/*
 * I/O loop. After channel_restore_from() and the device's load() and recover(): the guest is signalled.
 * goes_on: it writes the journal that it was restored from.
 */
void channel_go_on(struct vmbus_channel *channel, bool goes_on);

/*
 * I/O loop, not inside its VSP's calls. Stops without a close: what was written is shown (committed),
 * the device's leave() is called, the rings are unmapped. Kept packets are the journal's.
 */
void channel_leave(struct vmbus_channel *channel);

/* The same, but nothing is shown and the rings stay mapped: a restore that failed. */
void channel_drop(struct vmbus_channel *channel);

/*
 * I/O loop, open, paused and not journaled: its part of a new journal, with seq 1. 0; -EBUSY: packets are
 * kept. And the device's bank, on the primary's loop: 0 or -E2BIG.
 */
MUST_CHECK int channel_write_journal(struct vmbus_channel *channel, struct journal *journal);
MUST_CHECK int channel_write_bank(struct vmbus_channel *primary, struct journal *journal,
				  uint64_t stamp);

/* I/O loop. Calls the device's close; vmbus_channel_closed() posts channel->closed. */
void channel_close(struct vmbus_channel *channel);

/* I/O loop. Packets that wait for their answers. */
uint32_t channel_kept(const struct vmbus_channel *channel);

/* I/O loop. No packet is taken while paused. */
void channel_set_paused(struct vmbus_channel *channel, bool paused);

/* Control. The channel, and its VSP's part; asked for on their loop. */
void channel_inspect(struct vmbus_channel *channel, struct inspect *at);

/* ---- channel_journal.c, for channel.c ---- */

/* All slots are free; channel->journal, if any, says what is to be given again. 0 or -ENOMEM. */
MUST_CHECK int channel_keep_init(struct vmbus_channel *channel);
void channel_keep_fini(struct vmbus_channel *channel);

/* Whoever goes on in the journal that it was restored from: what is given again has its slot. */
void channel_again_reserve(struct vmbus_channel *channel);
/* The next packet to be given again; false, and there are none any more. */
bool channel_again_next(struct vmbus_channel *channel, struct vmbus_packet *ret);
/* packet() has taken it. */
void channel_again_taken(struct vmbus_channel *channel);

/* A commit has happened. */
void channel_free_answered(struct vmbus_channel *channel);
/* The device's saved form, true with this commit. */
void channel_save_bank(struct vmbus_channel *primary, uint64_t stamp);

/* ---- channel_signal.c, for channel.c ---- */

void channel_signal_init(struct vmbus_channel *channel);
/* A packet is in the ring; lazy_bytes as in struct vmbus_send. */
static inline void channel_note_sent(struct vmbus_channel *channel, uint32_t lazy_bytes)
{
	channel->is_prompt |= lazy_bytes == 0;
	channel->lazy_packets += lazy_bytes != 0;
	channel->lazy_bytes += lazy_bytes;
}
/* All that is in the ring was shown; is_owed: vmbus_ring_publish(). Sets must_signal, or it is lazy. */
void channel_note_shown(struct vmbus_channel *channel, bool is_owed);
/* What is in the ring, shown or not, may wait no longer: the next show() interrupts the guest. */
void channel_hurry(struct vmbus_channel *channel);
/* Interrupts the guest now. */
void channel_signal(struct vmbus_channel *channel);
/* The same if that is owed, or was to be done at the round's end. */
void channel_pay(struct vmbus_channel *channel);

/* channel.c: what was written is shown to the guest now. */
void channel_show(struct vmbus_channel *channel);
