/* SPDX-License-Identifier: MIT */
/*
 * Raw disks: I/O through the loop's io_uring. A request is one submission unless the host splits it:
 *
 *   raw_submit ──► raw_issue ──► (io_uring) ──► raw_on_done ──► block_complete
 *                     ▲   │ no bounce slot            │
 *                     │   └──► waiting ───────────────┤ a slot became free
 *                     └───────────────────────────────┘ short, interrupted, or refused alignment
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/num.h"
#include "block/iovec.h"
#include "block/raw_internal.h"

/* Interruptions and refusals of one request that are answered by another try. */
#define RAW_RETRIES_MAX 8

static void raw_issue(struct raw *raw, struct block_request *request);

static uint8_t *raw_bounce_buffer(struct raw *raw, int slot)
{
	return raw->bounce + (size_t)slot * RAW_BOUNCE_BYTES;
}

static void raw_bounce_put(struct raw *raw, struct block_request *request)
{
	struct block_request *next;

	if (request->bounce < 0) {
		return;
	}
	raw->bounce_free |= 1U << request->bounce;
	request->bounce = -1;
	/* One that needs no slot any more leaves it to the next. */
	while (raw->bounce_free &&
	       (next = list_first(&raw->waiting, struct block_request, link)) != NULL) {
		list_remove(&next->link);
		raw_issue(raw, next);
	}
}

/* Whether it makes an image's file longer. */
static bool raw_grows(const struct raw *raw, const struct block_request *request)
{
	return raw->is_growable &&
	       (request->op == BLOCK_WRITE || request->op == BLOCK_WRITE_ZEROES) &&
	       request->offset_bytes + request->length_bytes > raw->block.info.bytes;
}

/* Whether this flush, or one before it, had to give up data; see writes_lost. */
static bool raw_has_lost(struct raw *raw, int result)
{
	if ((result == -EIO || result == -ENOSPC || result == -EDQUOT) && !raw->block.is_direct) {
		raw->original->writes_lost = true;
	}
	return raw->original->writes_lost;
}

static void raw_finish(struct raw *raw, struct block_request *request, int result)
{
	raw_bounce_put(raw, request);
	if (request->op == BLOCK_FLUSH && raw_has_lost(raw, result)) {
		result = -ENOTRECOVERABLE;
	}
	if (result == 0 && request->op == BLOCK_RESIZE) {
		block_set_bytes(&raw->block, request->offset_bytes);
	} else if (result == 0 && raw_grows(raw, request)) {
		block_set_bytes(&raw->block, request->offset_bytes + request->length_bytes);
	}
	block_complete(request, result);
}

static bool raw_is_aligned(const struct raw *raw, const struct block_request *request)
{
	uintptr_t addresses = 0, lengths = 0;

	for (int i = 0; i < request->iov_count; i++) {
		addresses |= (uintptr_t)request->iov[i].iov_base;
		lengths |= request->iov[i].iov_len;
	}
	return (addresses & raw->memory_mask) == 0 && (lengths & raw->length_mask) == 0;
}

/* An entry for this request on our file. */
static struct io_uring_sqe *raw_sqe(struct raw *raw, struct block_request *request, int *ret_fd)
{
	*ret_fd = raw->file_index >= 0 ? raw->file_index : raw->fd;
	return loop_sqe(raw->block.loop, &request->ring);
}

/* After io_uring_prep_*(), which clears the flags. */
static void raw_sqe_finish(const struct raw *raw, struct io_uring_sqe *sqe)
{
	if (raw->file_index >= 0) {
		sqe->flags |= IOSQE_FIXED_FILE;
	}
}

/* Takes a slot, or queues the request for one. */
static bool raw_bounce_get(struct raw *raw, struct block_request *request)
{
	if (request->bounce >= 0) {
		return true;
	}
	if (!raw->bounce_free) {
		list_append(&raw->waiting, &request->link);
		return false;
	}
	request->bounce = __builtin_ctz(raw->bounce_free);
	raw->bounce_free &= ~(1U << request->bounce);
	counter_add(&request->top->stats.bounced, 1);
	return true;
}

/* Where what is left of the request begins in the file (S2); raw_check() has seen that it fits. */
static uint64_t raw_position(const struct raw *raw, const struct block_request *request)
{
	return raw->slice_offset_bytes + request->offset_bytes + request->done_bytes;
}

/* The next piece through an aligned buffer. */
static void raw_issue_bounced(struct raw *raw, struct block_request *request)
{
	uint64_t left = request->length_bytes - request->done_bytes;
	uint64_t offset = raw_position(raw, request);
	struct io_uring_sqe *sqe;
	uint8_t *buf;
	int fd;

	if (!raw_bounce_get(raw, request)) {
		return;
	}
	buf = raw_bounce_buffer(raw, request->bounce);
	request->asked_bytes = (uint32_t)num_min(left, RAW_BOUNCE_BYTES);
	if (request->op == BLOCK_WRITE) {
		iovec_gather(request->iov, request->iov_count, 0, buf, request->asked_bytes);
	}
	sqe = raw_sqe(raw, request, &fd);
	if (request->op == BLOCK_READ) {
		io_uring_prep_read(sqe, fd, buf, request->asked_bytes, offset);
	} else {
		io_uring_prep_write(sqe, fd, buf, request->asked_bytes, offset);
		sqe->rw_flags = request->fua ? RWF_DSYNC : 0;
	}
	raw_sqe_finish(raw, sqe);
}

/* All that is left, straight from or to the caller's memory. */
static void raw_issue_direct(struct raw *raw, struct block_request *request)
{
	uint64_t offset = raw_position(raw, request);
	const struct iovec *iov = request->iov;
	unsigned int count = (unsigned int)request->iov_count;
	struct io_uring_sqe *sqe;
	int fd;

	sqe = raw_sqe(raw, request, &fd);
	if (count == 1 && request->op == BLOCK_READ) {
		io_uring_prep_read(sqe, fd, iov->iov_base, (unsigned int)iov->iov_len, offset);
	} else if (count == 1) {
		io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned int)iov->iov_len, offset);
	} else if (request->op == BLOCK_READ) {
		io_uring_prep_readv(sqe, fd, iov, count, offset);
	} else {
		io_uring_prep_writev(sqe, fd, iov, count, offset);
	}
	if (request->fua) {
		sqe->rw_flags = RWF_DSYNC;
	}
	raw_sqe_finish(raw, sqe);
}

static void raw_issue_allocation(struct raw *raw, struct block_request *request)
{
	bool punch = request->op == BLOCK_DISCARD || request->may_unmap || raw->no_zero_range;
	int mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	struct io_uring_sqe *sqe;
	int fd;

	if (request->op == BLOCK_WRITE_ZEROES && raw_grows(raw, request)) {
		/* What lies beyond the end is zero when it comes into being. */
		mode = raw->no_zero_range ? 0 : FALLOC_FL_ZERO_RANGE;
	}

	sqe = raw_sqe(raw, request, &fd);
	io_uring_prep_fallocate(sqe, fd, mode, (off_t)raw_position(raw, request),
				(off_t)request->length_bytes);
	raw_sqe_finish(raw, sqe);
}

/* Longer or shorter at once, then on stable storage. */
static void raw_issue_resize(struct raw *raw, struct block_request *request)
{
	struct io_uring_sqe *sqe;
	int fd;

	if (ftruncate(raw->fd, (off_t)request->offset_bytes) < 0) {
		block_complete_later(&raw->block, request, -errno);
		return;
	}
	sqe = raw_sqe(raw, request, &fd);
	io_uring_prep_fsync(sqe, fd, 0);
	raw_sqe_finish(raw, sqe);
}

/* As far as the file system tells; one that does not says "data". */
static int raw_map(const struct raw *raw, struct block_request *request)
{
	uint64_t mask = raw->block.info.logical_block_bytes - 1;
	off_t from = (off_t)raw_position(raw, request);
	off_t end = from + (off_t)request->length_bytes;
	off_t data = lseek(raw->fd, from, SEEK_DATA);
	bool zero = data != from && (data > from || errno == ENXIO);
	off_t until = zero ? data : lseek(raw->fd, from, SEEK_HOLE);

	/* Unknown, or nothing but this up to the end. */
	if (until <= from || until > end) {
		until = end;
	}
	/* Requests are of whole blocks, holes need not be: what is cut counts as data. */
	until = from + (off_t)((uint64_t)(until - from) & ~mask);
	if (until <= from) {
		zero = false;
		until = from + (off_t)raw->block.info.logical_block_bytes;
	}
	request->map = (struct block_map){
		.kind = zero ? BLOCK_MAP_ZERO : BLOCK_MAP_DATA,
		.bytes = (uint64_t)(until - from),
		.file_offset_bytes = (uint64_t)from,
	};
	return 0;
}

static void raw_issue(struct raw *raw, struct block_request *request)
{
	struct io_uring_sqe *sqe;
	int fd;

	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		if (raw->block.is_direct && !raw_is_aligned(raw, request)) {
			raw_issue_bounced(raw, request);
		} else {
			raw_bounce_put(raw, request); /* what is left needs it no more */
			raw_issue_direct(raw, request);
		}
		return;
	case BLOCK_FLUSH:
		sqe = raw_sqe(raw, request, &fd);
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		raw_sqe_finish(raw, sqe);
		return;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		raw_issue_allocation(raw, request);
		return;
	case BLOCK_RESIZE:
		raw_issue_resize(raw, request);
		return;
	case BLOCK_MAP:
		block_complete_later(&raw->block, request, raw_map(raw, request));
		return;
	}
}

/*
 * The host refused the alignment. First we trust no address below 4 KiB any more, then direct I/O
 * itself. Whether another try makes sense.
 */
static bool raw_relax(struct raw *raw, const struct block_request *request)
{
	if (!raw->block.is_direct) {
		/* Already relaxed by another request that was in flight with this one. */
		return request->retries < RAW_RETRIES_MAX;
	}
	if (request->bounce < 0 && !raw_is_aligned(raw, request)) {
		/* Issued before another one taught us: it will go through a buffer now. */
	} else if (request->bounce < 0 && raw->memory_mask != 4095) {
		raw->memory_mask = 4095;
	} else if (raw->must_be_direct) {
		return false;
	} else {
		raw_drop_direct(raw);
	}
	return true;
}

/* A transfer ended with a negative errno: whether it was issued once more. */
static bool raw_retry(struct raw *raw, struct block_request *request, int result)
{
	bool again = false;

	if (request->retries >= RAW_RETRIES_MAX) {
		return false;
	}
	if (result == -EINTR || result == -EAGAIN) {
		again = true;
	} else if (result == -EINVAL && (request->op == BLOCK_READ || request->op == BLOCK_WRITE)) {
		again = raw_relax(raw, request);
	} else if (result == -EOPNOTSUPP && request->op == BLOCK_WRITE_ZEROES &&
		   (!raw->no_zero_range || request->retries == 0)) {
		/* The second of two that were in flight, too. */
		raw->no_zero_range = true;
		again = true;
	}
	if (again) {
		request->retries++;
		raw_issue(raw, request);
	}
	return again;
}

/* result > 0 bytes were moved: finish, or go on with the rest (B2). */
static void raw_on_transferred(struct raw *raw, struct block_request *request, uint32_t moved)
{
	uint32_t mask = raw->block.info.logical_block_bytes - 1;

	if (request->bounce >= 0 && request->op == BLOCK_READ) {
		iovec_scatter(request->iov, request->iov_count, 0,
			      raw_bounce_buffer(raw, request->bounce), moved);
	}
	if (moved == request->length_bytes - request->done_bytes) {
		raw_finish(raw, request, 0);
		return;
	}
	/* Direct I/O continues at whole blocks only. */
	moved &= ~mask;
	if (moved == 0) {
		raw_finish(raw, request, -EIO);
		return;
	}
	request->done_bytes += moved;
	request->iov = iovec_skip(request->iov, &request->iov_count, moved);
	raw_issue(raw, request);
}

static void raw_on_done(struct loop_request *ring, int result)
{
	struct block_request *request = container_of(ring, struct block_request, ring);
	struct raw *raw = container_of(request->at, struct raw, block);

	if (result < 0) {
		if (!raw_retry(raw, request, result)) {
			raw_finish(raw, request, result);
		}
		return;
	}
	if (request->op != BLOCK_READ && request->op != BLOCK_WRITE) {
		raw_finish(raw, request, 0);
	} else if (result == 0) {
		raw_finish(raw, request, -EIO); /* the file became short */
	} else {
		raw_on_transferred(raw, request, (uint32_t)result);
	}
}

/*
 * THE check of a request against what is ours (S1), whatever layers have made of it and whoever was
 * mistaken above: the range lies within the window, and the memory is as long as the range.
 */
static int raw_check(const struct raw *raw, const struct block_request *request)
{
	const struct block_info *info = &raw->block.info;
	uint64_t bytes = 0;

	if (request->op == BLOCK_FLUSH) {
		return 0;
	}
	if (request->op == BLOCK_RESIZE) {
		return raw->is_slice ? -EOPNOTSUPP : 0;
	}
	if (!num_range_fits(request->offset_bytes, request->length_bytes,
			    num_max(info->bytes, info->grow_bytes_max))) {
		return -EINVAL;
	}
	if (request->op != BLOCK_READ && request->op != BLOCK_WRITE) {
		return 0;
	}
	for (int i = 0; i < request->iov_count; i++) {
		if (!num_add_u64(bytes, request->iov[i].iov_len, &bytes)) {
			return -EINVAL;
		}
	}
	return bytes == request->length_bytes ? 0 : -EINVAL;
}

static void raw_submit(struct block *block, struct block_request *request)
{
	struct raw *raw = container_of(block, struct raw, block);
	int err = raw_check(raw, request);

	if (err) {
		block_complete_later(block, request, err);
		return;
	}
	request->ring.fn = raw_on_done;
	raw_issue(raw, request);
}

static int raw_start(struct block *block, struct loop *loop)
{
	struct raw *raw = container_of(block, struct raw, block);
	int index = loop_file_register(loop, raw->fd);

	raw->file_index = index >= 0 ? index : -1;
	return 0;
}

static void raw_stop(struct block *block)
{
	struct raw *raw = container_of(block, struct raw, block);

	if (raw->file_index >= 0) {
		loop_file_unregister(block->loop, raw->file_index);
		raw->file_index = -1;
	}
}

static void raw_refresh(struct block *block)
{
	struct raw *raw = container_of(block, struct raw, block);
	uint64_t bytes;

	if (raw_read_size(raw, &bytes) == 0) {
		block->info.bytes = raw_window_bytes(raw, bytes);
	}
}

static void raw_close(struct block *block)
{
	struct raw *raw = container_of(block, struct raw, block);

	check(list_is_empty(&raw->waiting));
	if (raw->bounce) {
		munmap(raw->bounce, (size_t)RAW_BOUNCE_SLOTS * RAW_BOUNCE_BYTES);
	}
	if (raw->original == raw) {
		raw_unlock(raw); /* no twin is left */
	}
	if (raw->fd >= 0) {
		close(raw->fd);
	}
	free(raw);
}

const struct block_ops raw_ops = {
	.name = "raw",
	.start = raw_start,
	.submit = raw_submit,
	.stop = raw_stop,
	.twin = raw_twin,
	.refresh = raw_refresh,
	.close = raw_close,
};
