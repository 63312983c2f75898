/* SPDX-License-Identifier: MIT */
/*
 * Commands that move the medium's data piece by piece through the queue's scratch buffer: VERIFY with
 * a byte check, WRITE SAME with a pattern. One of them at a time on a queue; a second one is told
 * BUSY, and its initiator tries again.
 *
 *   spec  SBC-3 5.36 (VERIFY), 5.46 (WRITE SAME)
 */
#include <string.h>

#include "base/num.h"
#include "block/iovec.h"
#include "scsi/scsi_disk_internal.h"

static uint8_t *scratch_of(const struct scsi_request *request)
{
	return request->disk->scratch + (size_t)request->queue * SCSI_SCRATCH_BYTES;
}

/* Begins at this place; false when the scratch is taken, which was answered. */
static bool begin(struct scsi_request *request, uint64_t lba, uint32_t blocks)
{
	struct scsi_queue *queue = scsi_queue_of(request);

	if (queue->has_step) {
		scsi_good(request);
		request->status = SCSI_STATUS_BUSY;
		return false;
	}
	queue->has_step = true;
	request->step_at_bytes = lba << queue->block_shift;
	request->step_left_bytes = (uint64_t)blocks << queue->block_shift;
	return true;
}

/* The next piece. */
static void submit_piece(struct scsi_request *request)
{
	struct block_request *block = &request->block;
	size_t bytes = num_min(request->step_left_bytes, SCSI_SCRATCH_BYTES);

	request->step = (struct iovec){ scratch_of(request), bytes };
	block->offset_bytes = request->step_at_bytes;
	block->length_bytes = bytes;
	block->iov = &request->step;
	block->iov_count = 1;
	block_submit(scsi_queue_of(request)->end, block);
}

/* A piece has succeeded: submits the next one, or false when it was the last, or must be (U2). */
static bool advance(struct scsi_request *request)
{
	uint64_t bytes = request->block.length_bytes;

	request->step_at_bytes += bytes;
	request->step_left_bytes -= bytes;
	if (request->step_left_bytes == 0) {
		scsi_good(request);
		request->transferred_bytes = request->transfer_bytes;
		return false;
	}
	if (!scsi_queue_of(request)->end) {
		scsi_fail_no_medium(request);
		return false;
	}
	submit_piece(request);
	return true;
}

static void finish(struct scsi_request *request)
{
	scsi_queue_of(request)->has_step = false;
	request->done(request);
}

/* ---- VERIFY -------------------------------------------------------------------------------------- */

/* Whether the scratch holds what the data buffer has at this offset. */
static bool is_equal(const struct scsi_request *request, uint64_t skip, uint64_t bytes)
{
	const uint8_t *scratch = scratch_of(request);
	uint8_t piece[512];

	for (uint64_t at = 0; at < bytes; at += sizeof(piece)) {
		if (iovec_gather(request->iov, request->iov_count, skip + at, piece,
				 sizeof(piece)) != sizeof(piece) ||
		    memcmp(piece, scratch + at, sizeof(piece)) != 0) {
			return false;
		}
	}
	return true;
}

static void on_compare_done(struct block_request *block, int result)
{
	struct scsi_request *request = container_of(block, struct scsi_request, block);
	uint64_t skip = request->transfer_bytes - request->step_left_bytes;

	if (result) {
		scsi_fail_errno(request, result);
	} else if (!is_equal(request, skip, block->length_bytes)) {
		scsi_fail(request, SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE);
	} else if (advance(request)) {
		return;
	}
	finish(request);
}

enum scsi_submit scsi_compare(struct scsi_request *request, uint64_t lba, uint32_t blocks)
{
	if (!begin(request, lba, blocks)) {
		return SCSI_DONE;
	}
	request->transfer_bytes = (uint32_t)request->step_left_bytes;
	request->block.op = BLOCK_READ;
	request->block.fua = false;
	request->block.done = on_compare_done;
	submit_piece(request);
	return SCSI_PENDING;
}

/* ---- WRITE SAME ---------------------------------------------------------------------------------- */

static void on_repeat_done(struct block_request *block, int result)
{
	struct scsi_request *request = container_of(block, struct scsi_request, block);

	if (result) {
		scsi_fail_errno(request, result);
	} else if (advance(request)) {
		return;
	}
	finish(request);
}

enum scsi_submit scsi_repeat(struct scsi_request *request, uint64_t lba, uint32_t blocks)
{
	uint32_t bytes = scsi_block_bytes(request);
	uint8_t *scratch = scratch_of(request);

	if (!begin(request, lba, blocks)) {
		return SCSI_DONE;
	}
	iovec_gather(request->iov, request->iov_count, 0, scratch, bytes);
	for (uint32_t at = bytes; at < SCSI_SCRATCH_BYTES; at += bytes) {
		memcpy(scratch + at, scratch, bytes);
	}
	request->transfer_bytes = bytes;
	request->block.op = BLOCK_WRITE;
	request->block.fua = !scsi_disk_has_write_cache(request->disk);
	request->block.done = on_repeat_done;
	submit_piece(request);
	return SCSI_PENDING;
}
