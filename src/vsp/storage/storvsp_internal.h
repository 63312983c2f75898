/* SPDX-License-Identifier: MIT */
/*
 * What the files of StorVSP share: storvsp.c (life, units, what the bus calls), storvsp_queue.c (the
 * pool, answers, commands), storvsp_control.c (negotiation, resets), storvsp_state.c (saved form).
 */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "scsi/scsi_disk.h"
#include "vsp/storage/storvsp.h"
#include "vsp/storage/vstor_parse.h"

/* Pages of the largest transfer, which need not begin at a page. */
#define STORVSP_IOVECS_MAX       (STORVSP_TRANSFER_BYTES_MAX / 4096 + 1)

/* When a guest that has been told of a new unit and has not looked is told again, and how often. */
#define STORVSP_AGAIN_NS         (5ULL * 1000 * 1000 * 1000)
#define STORVSP_AGAIN_TIMES      3U

/* Descriptor and payload: STORVSP_RANGES_MAX ranges over the pages of the largest transfer. */
#define STORVSP_PACKET_BYTES_MAX 8192

/* What the guest has to say next; saved, so never renumbered. */
enum storvsp_phase {
	STORVSP_BEGIN = 0,      /* BEGIN_INITIALIZATION */
	STORVSP_VERSION = 1,    /* QUERY_PROTOCOL_VERSION, until one suits */
	STORVSP_PROPERTIES = 2, /* QUERY_PROPERTIES */
	STORVSP_END = 3,        /* END_INITIALIZATION */
	STORVSP_READY = 4,      /* commands */
};

/* A packet of the guest from its arrival until its answer is in the ring. */
struct storvsp_request {
	struct storvsp_queue *queue;
	struct list link; /* free, unsent, or waiting for a reset */
	uint64_t transaction_id;
	bool wants_completion;
	uint8_t epoch; /* of the queue, when the command began */
	struct storvsp_address address;
	uint32_t answer_bytes;
	uint8_t answer[VSTOR_PACKET_BYTES];
	struct scsi_request scsi;
};

/* One channel; its loop's, but for what is said to be another's. */
struct storvsp_queue {
	/* constant */
	struct storvsp *storvsp;
	struct loop *loop;
	uint8_t index;

	/* one opening of the channel */
	struct vmbus_channel *channel; /* NULL: closed */
	bool is_closing;
	struct storvsp_request *requests; /* STORVSP_REQUESTS; touched as they are needed */
	struct iovec *iovecs;             /* STORVSP_IOVECS_MAX for each */
	unsigned int fresh;               /* requests from here on were never used */
	struct list free;                 /* last used first: warm caches, little memory touched */
	struct list unsent;               /* answers that the ring had no room for, in order */
	bool is_starved;                  /* a packet waits in the ring for a request */
	bool is_held;                     /* until storvsp_begin() */
	struct loop_work resend;

	/* commands that a unit has; of the two epochs that a reset divides */
	unsigned int in_flight, in_flight_of[2];
	uint8_t epoch;
	bool is_resetting; /* until none is left of the epoch before */
	bool is_stopping;
	struct loop_work reset_asked, stop_asked; /* posted by the primary's loop, by control */

	/* for people */
	uint64_t commands, check_conditions, refused, no_unit, starvations, ring_full;
	unsigned int in_flight_max;

	struct scsi_target targets[STORVSP_PATHS][STORVSP_TARGETS];
};

struct storvsp {
	struct vmbus_device device;
	struct loop *control;
	unsigned int queue_count;
	struct storvsp_ide ide; /* opened is NULL: a SCSI controller */

	/* control */
	struct scsi_disk *disks[STORVSP_PATHS][STORVSP_TARGETS][STORVSP_LUNS];
	unsigned int disk_count;
	struct loop_work *stop_done;

	/* the primary channel's loop */
	enum storvsp_phase phase;
	uint16_t version;      /* VSTOR_VERSION_*, 0 before it was agreed on */
	struct list resetting; /* reset requests that the present reset will answer */
	struct list to_reset;  /* those that came after it had begun */
	bool is_resetting;
	uint64_t resets;
	uint64_t announced, told_again;

	/* any */
	_Atomic(uint32_t) events; /* 1U << VSTOR_* that the guest has not been sent */
	_Atomic(uint32_t) queues_to_stop, queues_to_reset;
	struct loop_work announce, reset_done;

	/* the primary channel's loop: a unit that nobody has looked at is told of again */
	struct loop_timer again;
	unsigned int again_left;

	struct storvsp_queue queues[STORVSP_QUEUES_MAX];
};

static inline struct storvsp *storvsp_of(struct vmbus_device *device)
{
	return container_of(device, struct storvsp, device);
}

static inline struct storvsp_queue *storvsp_queue_of(struct vmbus_device *device,
						     const struct vmbus_channel *channel)
{
	return &storvsp_of(device)->queues[vmbus_channel_index(channel)];
}

/* For each unit, by address; the control thread's table, which others may read while it is quiet. */
#define storvsp_for_each_address(at)                                                               \
	for (struct storvsp_address at = { 0 }; at.path < STORVSP_PATHS; storvsp_next_address(&at))

static inline void storvsp_next_address(struct storvsp_address *at)
{
	if (++at->lun == STORVSP_LUNS) {
		at->lun = 0;
		if (++at->target == STORVSP_TARGETS) {
			at->target = 0;
			at->path++;
		}
	}
}

/* ---- storvsp_queue.c ---- */

void storvsp_queue_init(struct storvsp *storvsp, unsigned int index, struct loop *loop);

/* The beginning of an opening: makes the pool. 0 or -ENOMEM. */
MUST_CHECK int storvsp_queue_open(struct storvsp_queue *queue, struct vmbus_channel *channel);
/* As soon as nothing of the guest's is touched any more: ends the opening, tells the bus. */
void storvsp_queue_close(struct storvsp_queue *queue);
void storvsp_queue_advance(struct storvsp_queue *queue);

/* NULL when all are in use. */
struct storvsp_request *storvsp_request_get(struct storvsp_queue *queue);

/* Puts request->answer into the ring, or into unsent; the request goes back to the pool. */
void storvsp_answer(struct storvsp_request *request);
void storvsp_answer_status(struct storvsp_request *request, uint32_t status);
/* Nonsense, or out of turn: says so, counts. -EBADMSG. */
int storvsp_refuse(struct storvsp_request *request, uint32_t status);
void storvsp_send_unsent(struct storvsp_queue *queue);
void storvsp_drop_unsent(struct storvsp_queue *queue);

/* vmbus_device_ops.packet */
int storvsp_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		   const struct vmbus_packet *packet);

/* ---- storvsp_control.c: the primary's loop ---- */

/* A packet that is not a command. Answers it, now or later. 0 or -EBADMSG. */
int storvsp_handle_control(struct storvsp_request *request, const struct vstor_request *vstor);
void storvsp_on_reset_asked(struct loop_work *work);
void storvsp_give_up(struct storvsp_queue *queue);
void storvsp_on_reset_done(struct loop_work *work);
/* A queue has nothing left of the epoch before its reset. Any loop. */
void storvsp_queue_was_reset(struct storvsp_queue *queue);

/* ---- storvsp_state.c ---- */
void storvsp_save(struct vmbus_device *device, struct save *save);
int storvsp_load(struct vmbus_device *device, struct load *load);
