/* SPDX-License-Identifier: MIT */
/*
 * The bus's own data, shared by bus.c (messages, life), bus_channels.c (offers, opens, closes) and
 * bus_state.c (saved state, inspect). Owner, thread and pictures: bus.h.
 */
#pragma once

#include <pthread.h>

#include "proto/remote.h"
#include "vmbus/bus.h"
#include "vmbus/channel_internal.h"

/*
 * Messages between the vCPUs and the control loop. A full inbox is a normal answer to the guest
 * ("insufficient buffers": it tries again). No message is taken from the inbox unless the outbox has
 * room for what it may cause, so a guest that does not empty its message slot only stops itself.
 */
#define INBOX_MESSAGES  64
#define OUTBOX_MESSAGES 64
#define OUTBOX_RESERVE  8 /* for answers that are not to a message: closes, GPADLs */

struct mail {
	uint32_t connection_id; /* inbox */
	uint32_t vp;            /* outbox */
	uint32_t bytes;
	uint8_t message[VMBUS_MESSAGE_BYTES_MAX];
};

struct vmbus_bus {
	/* control loop */
	struct loop *loop;
	const struct mem *mem;
	struct synic *synic;
	struct control *control;
	struct gpadl_table *gpadls;
	struct vmbus_channel *channels[VMBUS_RELID_MAX + 1];
	struct mail outbox[OUTBOX_MESSAGES];
	unsigned int out_first, out_count;
	struct loop_work *reset_done;
	bool reset_waits; /* for devices that are away */
	bool is_paused;
	int board_fd; /* -1: none yet */
	uint64_t messages_sent, messages_dropped;

	/* any thread, under inbox_lock; nothing is taken under it */
	pthread_mutex_t inbox_lock;
	struct mail inbox[INBOX_MESSAGES];
	unsigned int in_first, in_count;
	uint64_t inbox_full;

	struct loop_work inbox_work;

	/* any thread */
	_Atomic(struct remote_board *) board; /* or NULL */
};

/* bus.c */

/* Passes on what the outbox has room for. */
void bus_process_inbox(struct vmbus_bus *bus);
void bus_flush_outbox(struct vmbus_bus *bus);
/* control_ops.send */
void bus_on_send(void *ctx, uint32_t target_vp, const void *message, uint32_t bytes);
/* After a channel has closed: a reset may be waiting for it. */
void bus_finish_reset(struct vmbus_bus *bus);
/* All devices are home. */
void bus_go_on_with_reset(struct vmbus_bus *bus);

/* bus_channels.c: for control_ops */

void bus_on_open(void *ctx, uint32_t relid, const struct control_open *open);
int bus_on_restore(void *ctx, uint32_t relid, const struct control_open *open);
void bus_on_close(void *ctx, uint32_t relid);
bool bus_on_set_target_vp(void *ctx, uint32_t relid, uint32_t target_vp);
void bus_on_released(void *ctx, uint32_t relid);
bool bus_on_restore_sub(void *ctx, const struct vmbus_offer *offer, uint16_t index, uint32_t relid);

/* Takes back sub-channels whose primary is not open; whether one of them was. */
bool bus_drop_orphans(struct vmbus_bus *bus);

void bus_free_channel(struct vmbus_channel *channel);
