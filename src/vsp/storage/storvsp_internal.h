/* SPDX-License-Identifier: MIT */
/* What storvsp.c (commands) and storvsp_state.c (saved form) share. The I/O loop's. */
#pragma once

#include "base/list.h"
#include "scsi/scsi_disk.h"
#include "vsp/storage/storvsp.h"
#include "vsp/storage/vstor_parse.h"

/* Pages of the largest transfer, which need not begin at a page. */
#define STORVSP_IOVECS_MAX (STORVSP_TRANSFER_BYTES_MAX / 4096 + 1)

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
	struct storvsp *storvsp;
	struct list link; /* free, or unsent */
	uint64_t transaction_id;
	bool wants_completion;
	struct storvsp_address address;
	uint32_t answer_bytes;
	uint8_t answer[VSTOR_PACKET_BYTES];
	struct scsi_request scsi;
};

struct storvsp {
	struct vmbus_device device;
	struct scsi_target targets[STORVSP_PATHS][STORVSP_TARGETS];
	struct block
		*ends[STORVSP_PATHS][STORVSP_TARGETS][SCSI_LUNS_MAX]; /* of the targets' units */
	unsigned int disk_count;

	/* one opening of the channel */
	struct vmbus_channel *channel; /* NULL: closed */
	bool is_closing;
	enum storvsp_phase phase;
	uint16_t version; /* VSTOR_VERSION_*, 0 before it was agreed on */

	struct storvsp_request *requests; /* STORVSP_REQUESTS; touched as they are needed */
	struct iovec *iovecs;             /* STORVSP_IOVECS_MAX for each */
	unsigned int fresh;               /* requests from here on were never used */
	struct list free;                 /* last used first: warm caches, little memory touched */
	struct list unsent;               /* answers that the ring had no room for, in order */
	bool is_starved;                  /* a packet waits in the ring for a request */
	unsigned int in_flight;           /* commands that a disk has */
	struct loop_work *stop_done;
	struct loop_work resend;

	/* for people */
	uint64_t commands, check_conditions, resets, refused, no_unit, starvations, ring_full;
	unsigned int in_flight_max;
};

/* Makes the pool of an opening. 0 or -ENOMEM. */
MUST_CHECK int storvsp_pool_create(struct storvsp *storvsp);
void storvsp_pool_destroy(struct storvsp *storvsp);

/* All disks, while the channel is open: the I/O loop is their queue 0. */
void storvsp_attach_disks(struct storvsp *storvsp);

/* NULL when all are in use. */
struct storvsp_request *storvsp_request_get(struct storvsp *storvsp);

/* storvsp_state.c */
void storvsp_save(struct vmbus_device *device, struct save *save);
int storvsp_load(struct vmbus_device *device, struct load *load);
