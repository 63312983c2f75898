/* SPDX-License-Identifier: MIT */
/*
 * A channel, shared by channel.c (the I/O loop's half) and bus.c (the control loop's half).
 *
 *   owner   the bus
 */
#pragma once

#include <stdatomic.h>

#include "base/counter.h"
#include "base/log.h"
#include "vmbus/coalesce.h"
#include "vmbus/control.h"
#include "vmbus/device.h"
#include "vmbus/gpadl_internal.h"
#include "vmbus/ring.h"

struct vmbus_channel {
	/* constant from offer to release */
	struct vmbus_bus *bus;
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
	struct gpadl *ring_gpadl;
	struct loop_work *revoke_done; /* somebody waits for the end of a revoke */
	bool is_bound;                 /* the doorbell is bound to the connection id */
	bool is_closed_early;          /* a primary that waits for its sub-channels to close */
	uint32_t version;              /* negotiated, constant while open */

	/* I/O loop; control loop while not open */
	bool is_open;         /* between the device's open and closed */
	bool is_closing;      /* the device's close has been called */
	bool is_dead;         /* the guest broke a ring: only closing helps */
	bool is_stopped;      /* packet() said -EAGAIN */
	bool is_paused;       /* the machine is */
	bool is_masked;       /* the guest has been told not to signal */
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
	struct log_rate log_rate;

	/* any */
	_Atomic(uint32_t) target_vp;
	struct loop_work closed, subs_asked; /* from the I/O loop to the control loop */
	_Atomic(uint32_t) subs_wanted;
	counter_u64 packets_in, packets_out, doorbells, interrupts, faults, ring_full, batches;
};

/* I/O loop. The rings are mapped; calls the device's open. 0 or its errno, and nothing is left. */
MUST_CHECK int channel_open(struct vmbus_channel *channel, const uint8_t *user_data);

/* I/O loop. The same for a restored state: the device's load comes instead of its open. */
MUST_CHECK int channel_restore(struct vmbus_channel *channel);

/* I/O loop. Calls the device's close; vmbus_channel_closed() posts channel->closed. */
void channel_close(struct vmbus_channel *channel);

/* I/O loop. No packet is taken while paused. */
void channel_set_paused(struct vmbus_channel *channel, bool paused);

/* I/O loop. */
void channel_inspect(struct vmbus_channel *channel, struct inspect *at);
