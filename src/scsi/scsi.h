/* SPDX-License-Identifier: MIT */
/*
 * SCSI targets, for front ends of any bus (StorVSP, IDE-ATAPI, AIC-7870): a front end fills a
 * scsi_request and hands it to a target, which finds the logical unit and executes the command.
 *
 * Data does not pass through here: a READ's iovecs (guest memory) go straight to the block.
 *
 * A front end with several queues, each on a loop of its own, has a table of targets per queue; the
 * tables name the same units, and a unit has an end of its block on each queue (scsi_disk.h).
 *
 *   owner   the front end owns targets, units and requests
 *   thread  a target and its requests: one queue's loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "block/block.h"
#include "proto/scsi.h"

struct scsi_request;
struct scsi_disk;

typedef void scsi_done_fn(struct scsi_request *request);

/* Queues of a front end, from 0. */
#define SCSI_QUEUES_MAX        16

/* WRITE SAME of anything but zeroes: no more than this. VERIFY compares what a buffer can hold. */
#define SCSI_PATTERN_BYTES_MAX (16U << 20)

/* UNMAP: descriptors in one command; told to the initiator in the block limits page. */
#define SCSI_UNMAP_MAX         16

struct scsi_extent {
	uint64_t lba;
	uint32_t blocks;
};

struct scsi_request {
	/* The front end's; constant while in flight, but for the iovecs. */
	uint8_t cdb[SCSI_CDB_BYTES_MAX]; /* zero beyond cdb_bytes */
	uint8_t cdb_bytes;
	uint8_t queue;     /* on whose loop we are */
	struct iovec *iov; /* the data buffer; the array is the target's until done */
	int iov_count;
	uint32_t data_bytes; /* the sum of the iovecs */
	scsi_done_fn *done;

	/* The answer. */
	uint8_t status;      /* SCSI_STATUS_* */
	uint8_t sense_bytes; /* 0, or SCSI_SENSE_BYTES */
	uint8_t sense[SCSI_SENSE_BYTES];
	uint32_t transferred_bytes; /* data_bytes minus this is the residual */

	/* The target's, while in flight. */
	struct scsi_disk *disk;
	struct block_request block;
	uint32_t transfer_bytes; /* what the command moves when it succeeds */
	uint8_t extent_next, extent_count;
	struct scsi_extent extents[SCSI_UNMAP_MAX]; /* UNMAP */
	struct iovec step;                          /* commands in steps: a piece of the scratch */
	uint64_t step_at_bytes, step_left_bytes;    /* on the medium */
};

/* ---- results ------------------------------------------------------------------------------------ */

/* asc: SCSI_ASC_*. No field pointer. */
void scsi_fail(struct scsi_request *request, uint8_t key, uint16_t asc);

/* ILLEGAL REQUEST, invalid field in CDB, pointing at this byte; bit < 0: the whole byte. */
void scsi_fail_cdb(struct scsi_request *request, unsigned int byte, int bit);

/* ILLEGAL REQUEST, invalid field in parameter list, pointing at this byte. */
void scsi_fail_list(struct scsi_request *request, unsigned int byte, int bit);

/* GOOD, with the first of these bytes that fit allocation_bytes and the buffer. */
void scsi_reply(struct scsi_request *request, const void *data, uint32_t bytes,
		uint32_t allocation_bytes);

/* GOOD without data. */
void scsi_good(struct scsi_request *request);

/* ---- targets -------------------------------------------------------------------------------------- */

#define SCSI_LUNS_MAX 64

/* One queue's view of a target. Zeroed is an empty one. */
struct scsi_target {
	struct scsi_disk *luns[SCSI_LUNS_MAX]; /* borrowed */
};

enum scsi_submit {
	SCSI_PENDING, /* done will be called from the loop */
	SCSI_DONE,    /* the answer is there; done is not called */
	SCSI_NO_UNIT, /* there is no such unit, and the bus says how to tell that */
};

/*
 * Executes a command. REPORT LUNS and INQUIRY are answered for units that do not exist, too; a disk
 * that is not attached to the queue does not. Never calls done before it has returned.
 */
MUST_CHECK enum scsi_submit scsi_target_submit(struct scsi_target *target, uint8_t lun,
					       struct scsi_request *request);
