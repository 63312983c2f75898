/* SPDX-License-Identifier: MIT */
/*
 * Network disks: requests as commands of libnbd's.
 *
 *   nbd_submit ──► nbd_advance ──► nbd_issue ──► (libnbd, the server) ──► on_op_done ──► done
 *                    ▲    │ no command or slot free                                       │
 *                    │    └──► waiting ──────────────────────────────┐                    │
 *                    └───────────────────────────── nbd_reap ◄───────┴────────────────────┘
 *                                                      └──► whole_put ──► block_complete_later
 *
 * libnbd calls back with its lock held, also from within a submission: on_op_done only moves the
 * command to another list.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "block/fragment.h"
#include "block/iovec.h"
#include "block/nbd_internal.h"

/* request.asked_bytes of a write whose data are there, while the flush that stands in for fua runs. */
#define NBD_STAGE_FLUSH 1

static void nbd_advance(struct nbd *nbd, struct block_request *whole);

/* ---- what is on stable storage (B3) --------------------------------------------------------------- */

static void durability_flushed(struct nbd_durability *durability, uint64_t mark)
{
	uint64_t before = atomic_load(&durability->flushed);

	while (before < mark &&
	       !atomic_compare_exchange_weak(&durability->flushed, &before, mark)) {}
}

static void durability_broken(struct nbd_durability *durability)
{
	uint64_t written = atomic_load(&durability->written);

	if (written > atomic_load(&durability->flushed)) {
		durability_flushed(durability, written); /* told once */
		atomic_store(&durability->is_lost, true);
	}
}

/* ---- wholes ----------------------------------------------------------------------------------------- */

static bool is_transfer(const struct block_request *whole)
{
	return whole->op == BLOCK_READ || whole->op == BLOCK_WRITE;
}

/* A write is done but for being on stable storage, and the server cannot do both at once. */
static bool whole_wants_flush(const struct nbd *nbd, const struct block_request *whole)
{
	return whole->op == BLOCK_WRITE && whole->fua && !whole->result && !nbd->export.fua &&
	       nbd->export.flush && whole->asked_bytes != NBD_STAGE_FLUSH;
}

/* Gives a hold back; with the last one it is done. */
static void whole_put(struct nbd *nbd, struct block_request *whole, int result)
{
	check(whole->pending > 0);
	if (result && !whole->result) {
		whole->result = result;
	}
	if (--whole->pending > 0) {
		return;
	}
	if (whole_wants_flush(nbd, whole)) {
		whole->asked_bytes = NBD_STAGE_FLUSH;
		whole->pending = 1;
		nbd_advance(nbd, whole);
		return;
	}
	block_complete_later(&nbd->block, whole, whole->result);
}

/* Where the whole goes on in memory, and for how many bytes without a gap. */
static uint8_t *whole_at(const struct block_request *whole, uint64_t *ret_bytes)
{
	const struct iovec *iov = whole->iov, *end = iov + whole->iov_count;
	uint64_t skip = whole->done_bytes, bytes;
	uint8_t *at;

	while (skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		check(iov < end);
	}
	at = (uint8_t *)iov->iov_base + skip;
	bytes = iov->iov_len - skip;
	while (++iov < end && iov->iov_base == at + bytes) {
		bytes += iov->iov_len;
	}
	*ret_bytes = bytes;
	return at;
}

/* ---- commands ----------------------------------------------------------------------------------------- */

static uint8_t *bounce_buffer(struct nbd *nbd, int slot)
{
	return nbd->bounce + (size_t)slot * NBD_BOUNCE_BYTES;
}

/* NULL: there is none; the whole is queued, with its hold, and advanced again later. */
static struct nbd_op *op_get(struct nbd *nbd, struct block_request *whole, bool bounced)
{
	struct nbd_op *op = list_first(&nbd->free, struct nbd_op, link);

	if (!op || (bounced && !nbd->bounce_free)) {
		list_append(&nbd->waiting, &whole->link);
		return NULL;
	}
	list_remove(&op->link);
	op->whole = whole;
	op->skip_bytes = whole->done_bytes;
	op->tick = nbd->ticks;
	op->cookie = -1;
	op->error = 0;
	op->is_flush = false;
	op->bounce = -1;
	if (bounced) {
		op->bounce = __builtin_ctz(nbd->bounce_free);
		nbd->bounce_free &= ~(1U << op->bounce);
		whole->top->stats.bounced++;
	}
	whole->pending++;
	return op;
}

static int on_op_done(void *ctx, int *error)
{
	struct nbd_op *op = ctx;
	struct nbd *nbd = op->nbd;

	op->error = *error;
	list_remove(&op->link);
	list_append(&nbd->done, &op->link);
	loop_defer(nbd->block.loop, &nbd->tend_work);
	/* A read is asked for once more when it is reaped: whether all of its data came. */
	return op->whole->op != BLOCK_READ;
}

/* What the server says of the beginning of a range. Hostile: any entry may be anything. */
static int on_extents(void *ctx, const char *context, uint64_t offset, uint32_t *entries,
		      size_t count, int *error)
{
	struct nbd_op *op = ctx;
	struct block_request *whole = op->whole;
	uint64_t bytes = 0, unit = op->nbd->block.info.logical_block_bytes;
	bool zero;

	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || count < 2) {
		return 0;
	}
	zero = entries[1] & LIBNBD_STATE_ZERO;
	for (size_t i = 0; i + 1 < count && bytes < op->bytes; i += 2) {
		if (!!(entries[i + 1] & LIBNBD_STATE_ZERO) != zero) {
			break;
		}
		bytes += entries[i];
	}
	/* Part of a block that is not zero: the block is data. */
	bytes = num_align_down(num_min(bytes, op->bytes), unit);
	if (bytes == 0) {
		bytes = unit;
		zero = false;
	}
	whole->map.kind = zero ? BLOCK_MAP_ZERO : BLOCK_MAP_DATA;
	whole->map.bytes = bytes;
	return 0;
}

static int64_t op_send(struct nbd *nbd, struct nbd_op *op, uint8_t *buf)
{
	const struct block_request *whole = op->whole;
	uint64_t offset = whole->offset_bytes + op->skip_bytes;
	nbd_completion_callback done = { .callback = on_op_done, .user_data = op };
	nbd_extent_callback extent = { .callback = on_extents, .user_data = op };

	if (op->is_flush) {
		return nbd_aio_flush(nbd->handle, done, 0);
	}
	switch (whole->op) {
	case BLOCK_READ:
		return nbd_aio_pread(nbd->handle, buf, op->bytes, offset, done, 0);
	case BLOCK_WRITE:
		return nbd_aio_pwrite(nbd->handle, buf, op->bytes, offset, done,
				      whole->fua && nbd->export.fua ? LIBNBD_CMD_FLAG_FUA : 0);
	case BLOCK_DISCARD:
		return nbd_aio_trim(nbd->handle, op->bytes, offset, done, 0);
	case BLOCK_WRITE_ZEROES:
		return nbd_aio_zero(nbd->handle, op->bytes, offset, done,
				    whole->may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
	case BLOCK_MAP:
		return nbd_aio_block_status(nbd->handle, op->bytes, offset, extent, done, 0);
	case BLOCK_FLUSH:
	case BLOCK_RESIZE:
		break;
	}
	return -1;
}

static void nbd_issue(struct nbd *nbd, struct nbd_op *op, uint8_t *buf)
{
	int64_t cookie;

	/* First: it may come back from within. */
	list_append(&nbd->flying, &op->link);
	cookie = op_send(nbd, op, buf);
	if (cookie >= 0) {
		op->cookie = cookie;
	} else {
		/* Refused by libnbd itself, and not called back. */
		op->error = nbd_get_errno() > 0 ? nbd_get_errno() : EIO;
		list_remove(&op->link);
		list_append(&nbd->done, &op->link);
	}
	loop_defer(nbd->block.loop, &nbd->tend_work);
}

/* The next piece of a read or a write: straight where it is contiguous for long, or through a slot. */
static bool issue_piece(struct nbd *nbd, struct block_request *whole)
{
	uint64_t left = block_whole_left(whole), contiguous;
	uint8_t *buf = whole_at(whole, &contiguous);
	uint64_t direct =
		num_align_down(num_min(num_min(contiguous, left), nbd->export.piece_bytes),
			       nbd->block.info.logical_block_bytes);
	bool bounced = direct < left && direct < num_min(NBD_DIRECT_BYTES, nbd->export.piece_bytes);
	struct nbd_op *op = op_get(nbd, whole, bounced);

	if (!op) {
		return false;
	}
	op->bytes = (uint32_t)direct;
	if (bounced) {
		op->bytes =
			(uint32_t)num_min(num_min(left, NBD_BOUNCE_BYTES), nbd->export.piece_bytes);
		buf = bounce_buffer(nbd, op->bounce);
		if (whole->op == BLOCK_WRITE) {
			iovec_gather(whole->iov, whole->iov_count, op->skip_bytes, buf, op->bytes);
		}
	}
	whole->done_bytes += op->bytes;
	nbd_issue(nbd, op, buf);
	return true;
}

static bool issue_range(struct nbd *nbd, struct block_request *whole)
{
	struct nbd_op *op = op_get(nbd, whole, false);

	if (!op) {
		return false;
	}
	op->bytes = (uint32_t)num_min(block_whole_left(whole), NBD_RANGE_BYTES);
	/* One answer is all that a map wants. */
	whole->done_bytes += whole->op == BLOCK_MAP ? block_whole_left(whole) : op->bytes;
	nbd_issue(nbd, op, NULL);
	return true;
}

/* Takes advance's hold along. */
static void advance_flush(struct nbd *nbd, struct block_request *whole)
{
	struct nbd_op *op;

	/* A write with fua has no part in what happened before it. */
	if (whole->op == BLOCK_FLUSH && nbd->export.flush &&
	    atomic_exchange(&nbd->durability->is_lost, false)) {
		whole_put(nbd, whole, -EIO);
		return;
	}
	if (!nbd->export.flush) {
		whole_put(nbd, whole, 0);
		return;
	}
	op = op_get(nbd, whole, false);
	if (op) {
		op->is_flush = true;
		op->bytes = 0;
		op->written_mark = atomic_load(&nbd->durability->written);
		nbd_issue(nbd, op, NULL);
		whole_put(nbd, whole, 0);
	}
}

/* Goes on with a whole at its cursor, until it waits for something or is all given away. */
static void nbd_advance(struct nbd *nbd, struct block_request *whole)
{
	if (!nbd->handle) {
		whole_put(nbd, whole, -ENOTCONN);
		return;
	}
	if (whole->op == BLOCK_FLUSH || whole->asked_bytes == NBD_STAGE_FLUSH) {
		advance_flush(nbd, whole);
		return;
	}
	while (block_whole_left(whole) > 0 && !whole->result) {
		if (is_transfer(whole) ? !issue_piece(nbd, whole) : !issue_range(nbd, whole)) {
			return;
		}
	}
	whole_put(nbd, whole, 0);
}

static void nbd_submit(struct block *block, struct block_request *request)
{
	struct nbd *nbd = container_of(block, struct nbd, block);

	block_whole_begin(request);
	request->asked_bytes = 0; /* a layer may hand the same request down again */
	if (request->op == BLOCK_MAP) {
		request->map = (struct block_map){
			.kind = BLOCK_MAP_DATA,
			.bytes = request->length_bytes,
			.file_offset_bytes = ~0ULL,
		};
		if (!nbd->export.map) {
			whole_put(nbd, request, 0); /* the server does not tell */
			return;
		}
	}
	nbd_advance(nbd, request);
}

/* ---- answers ------------------------------------------------------------------------------------------ */

/* As block.h has them. */
static int op_errno(const struct nbd_op *op)
{
	switch (op->error) {
	case 0:
		return 0;
	case EPERM:
		return op->whole->op == BLOCK_READ ? -EIO : -EROFS;
	case ENOTCONN:
	case ESHUTDOWN:
		return -EIO;
	default:
		return op->error > 0 ? -op->error : -EIO;
	}
}

/* Whether a read that the server calls good has got all of its data. */
static int op_retire_read(struct nbd *nbd, struct nbd_op *op, int err)
{
	if (!nbd->handle || op->cookie < 0) {
		return err;
	}
	if (nbd_aio_command_completed(nbd->handle, (uint64_t)op->cookie) != 1 && !err) {
		return -EIO;
	}
	return err;
}

/* Its completion alone says that it is on stable storage. */
static bool is_durable(const struct nbd *nbd, const struct block_request *whole)
{
	return whole->op == BLOCK_WRITE && whole->fua && nbd->export.fua;
}

static void op_finish(struct nbd *nbd, struct nbd_op *op)
{
	struct block_request *whole = op->whole;
	int err = op_errno(op);

	if (op->is_flush) {
		if (!err) {
			durability_flushed(nbd->durability, op->written_mark);
		}
	} else if (whole->op == BLOCK_READ) {
		err = op_retire_read(nbd, op, err);
		if (!err && op->bounce >= 0) {
			iovec_scatter(whole->iov, whole->iov_count, op->skip_bytes,
				      bounce_buffer(nbd, op->bounce), op->bytes);
		}
	} else if (!err && whole->op != BLOCK_MAP && !is_durable(nbd, whole)) {
		atomic_fetch_add(&nbd->durability->written, 1);
	}
	if (op->bounce >= 0) {
		nbd->bounce_free |= 1U << op->bounce;
	}
	list_prepend(&nbd->free, &op->link);
	whole_put(nbd, whole, err);
}

static void finish_done(struct nbd *nbd)
{
	struct nbd_op *op;

	while ((op = list_first(&nbd->done, struct nbd_op, link)) != NULL) {
		list_remove(&op->link);
		op_finish(nbd, op);
	}
}

void nbd_reap(struct nbd *nbd)
{
	struct block_request *whole;

	finish_done(nbd);
	/* With both at hand each gets on by a piece at least, and lines up again for the next. */
	while (!list_is_empty(&nbd->free) && nbd->bounce_free &&
	       (whole = list_first(&nbd->waiting, struct block_request, link)) != NULL) {
		list_remove(&whole->link);
		nbd_advance(nbd, whole);
	}
}

void nbd_drop(struct nbd *nbd, int err)
{
	struct nbd_handle *handle = nbd->handle;
	struct nbd_op *op;

	finish_done(nbd);
	if (nbd->export.flush) {
		durability_broken(nbd->durability);
	}
	nbd->handle = NULL;
	/* libnbd touches no memory of a request from here on. */
	nbd_close(handle);
	while ((op = list_first(&nbd->flying, struct nbd_op, link)) != NULL) {
		list_remove(&op->link);
		op->error = -err;
		op_finish(nbd, op);
	}
	finish_done(nbd);
	while (!list_is_empty(&nbd->waiting)) {
		struct block_request *whole = list_first(&nbd->waiting, struct block_request, link);

		list_remove(&whole->link);
		nbd_advance(nbd, whole); /* says that there is no connection */
	}
}

void nbd_on_tend(struct loop_work *work)
{
	struct nbd *nbd = container_of(work, struct nbd, tend_work);

	nbd_reap(nbd);
	nbd_link_tend(nbd);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static void nbd_stop(struct block *block)
{
	struct nbd *nbd = container_of(block, struct nbd, block);

	loop_cancel(block->loop, &nbd->tend_work);
}

static int nbd_start(struct block *block, struct loop *loop)
{
	return nbd_link_start(container_of(block, struct nbd, block), loop);
}

static void nbd_quiesce(struct block *block)
{
	nbd_link_quiesce(container_of(block, struct nbd, block));
}

static void nbd_refresh(struct block *block)
{
	block->info.bytes = container_of(block, struct nbd, block)->server_bytes;
}

const struct block_ops nbd_ops = {
	.name = "nbd",
	.start = nbd_start,
	.submit = nbd_submit,
	.quiesce = nbd_quiesce,
	.stop = nbd_stop,
	.refresh = nbd_refresh,
	.describe = nbd_describe,
	.close = nbd_disk_close,
};

const struct block_ops nbd_multi_ops = {
	.name = "nbd",
	.start = nbd_start,
	.submit = nbd_submit,
	.quiesce = nbd_quiesce,
	.stop = nbd_stop,
	.twin = nbd_twin,
	.refresh = nbd_refresh,
	.describe = nbd_describe,
	.close = nbd_disk_close,
};
