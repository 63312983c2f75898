/* SPDX-License-Identifier: MIT */
#include "loop/batch.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "loop/ring.h"

#define RING_ENTRIES (2 * BATCH_MAX) /* and one that takes back */
#define CANCEL       UINT64_MAX      /* user_data of that */
#define TRIES_MAX    1000U           /* calls that were interrupted, or took nothing back */
#define NAP_US       1000U           /* before the kernel is asked once more to give buffers back */
#define NAPS_MAX     5000U

struct batch {
	struct io_uring ring;
	bool no_nowait; /* RWF_NOWAIT was refused */
	bool is_broken;
	bool is_slow; /* batch_take_back_later() */
};

/* What a run has come to. */
struct run {
	struct batch_op *ops;
	unsigned int *order;
	unsigned int count, queued; /* entries: the caller's, and those with all that take back */
	unsigned int left, succeeded, refused, calls, naps;
};

static void add_cancel(struct batch *batch, struct run *run)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring);

	check(sqe);
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	io_uring_sqe_set_data64(sqe, CANCEL);
	run->queued++;
}

static void add_op(struct batch *batch, int fd, bool is_write, const struct batch_op *op,
		   unsigned int index)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring);

	check(sqe);
	/* One buffer needs no list of them: the kernel need not fetch that. */
	if (op->iov_count != 1) {
		(is_write ? io_uring_prep_writev : io_uring_prep_readv)(sqe, fd, op->iov,
									op->iov_count, 0);
	} else if (is_write) {
		io_uring_prep_write(sqe, fd, op->iov->iov_base, (unsigned int)op->iov->iov_len, 0);
	} else {
		io_uring_prep_read(sqe, fd, op->iov->iov_base, (unsigned int)op->iov->iov_len, 0);
	}
	sqe->rw_flags = batch->no_nowait ? 0 : RWF_NOWAIT;
	io_uring_sqe_set_data64(sqe, index);
}

static void reap(struct batch *batch, struct run *run)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&batch->ring, &cqe) == 0) {
		if (cqe->user_data != CANCEL) {
			unsigned int index = (unsigned int)cqe->user_data;

			run->ops[index].result = cqe->res == -ECANCELED ? -EAGAIN : cqe->res;
			run->refused += cqe->res == -EOPNOTSUPP;
			run->left--;
			if (cqe->res >= 0) {
				run->order[run->succeeded++] = index;
			}
		}
		io_uring_cqe_seen(&batch->ring, cqe);
	}
}

/*
 * Whether the kernel may still use buffers of this run. It takes entries in their order, and those of the
 * caller's come first.
 */
static bool is_holding(const struct batch *batch, const struct run *run)
{
	const unsigned int taken = run->queued - io_uring_sq_ready(&batch->ring);

	return num_min(taken, run->count) > run->count - run->left;
}

/* What no try has helped against. With buffers in the kernel's hands there is nowhere to go. */
static int give_up(struct batch *batch, struct run *run, int err)
{
	reap(batch, run);
	if (!is_holding(batch, run)) {
		return err;
	}
	check(run->naps++ < NAPS_MAX);
	(void)usleep(NAP_US);
	return 0;
}

/* The kernel takes all entries and runs what it has put off. 0 or a negative errno. */
static int enter(struct batch *batch, struct run *run)
{
	int err;

	do {
		err = fault_point() ? -EIO : io_uring_submit_and_get_events(&batch->ring);
		run->calls++;
		if ((err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY) ||
		    run->calls >= TRIES_MAX) {
			err = give_up(batch, run, err < 0 ? err : -EIO);
			if (err) {
				return err;
			}
		}
	} while (io_uring_sq_ready(&batch->ring) > 0);
	return 0;
}

/*
 * All of them, once. Completions come in the order in which entries were run, whether at once or when
 * something had arrived for one that waited already, since only this thread runs them.
 */
static int run_once(struct batch *batch, int fd, bool is_write, struct run *run, unsigned int count)
{
	int err;

	run->left = run->count = run->queued = count;
	run->succeeded = run->refused = 0;
	for (unsigned int i = 0; i < count; i++) {
		add_op(batch, fd, is_write, &run->ops[i], i);
	}
	if (batch->no_nowait && !is_write && !batch->is_slow) {
		add_cancel(batch,
			   run); /* most often one finds nothing: without a call of its own */
	}
	err = enter(batch, run);
	for (reap(batch, run); !err && run->left > 0; reap(batch, run)) {
		/* For one of them something had come when it wanted to wait: it was not there yet. */
		add_cancel(batch, run);
		err = enter(batch, run);
	}
	return err;
}

int batch_run(struct batch *batch, int fd, bool is_write, struct batch_op *ops, unsigned int count,
	      unsigned int *ret_order, unsigned int *ret_done)
{
	struct run run = { .ops = ops, .order = ret_order };
	int err;

	check(count >= 1 && count <= BATCH_MAX);
	if (batch->is_broken) {
		return -EIO;
	}
	err = run_once(batch, fd, is_write, &run, count);
	if (!err && !batch->no_nowait && run.refused == count) {
		batch->no_nowait = true; /* for good: the other way does for all descriptors */
		err = run_once(batch, fd, is_write, &run, count);
	}
	if (err) {
		io_uring_queue_exit(&batch->ring);
		batch->is_broken = true;
		return err;
	}
	*ret_done = run.succeeded;
	return (int)run.calls;
}

void batch_forget_nowait(struct batch *batch)
{
	batch->no_nowait = true;
}

void batch_take_back_later(struct batch *batch)
{
	batch->is_slow = true;
}

/* Linux 5.19 and newer take everything back at once. */
static int probe_cancel(struct batch *batch)
{
	struct run run = { .ops = NULL };
	struct io_uring_cqe *cqe;
	int err;

	add_cancel(batch, &run);
	err = enter(batch, &run);
	err = err ? err : io_uring_peek_cqe(&batch->ring, &cqe);
	if (!err) {
		err = cqe->res == -EINVAL ? -EOPNOTSUPP : 0;
		io_uring_cqe_seen(&batch->ring, cqe);
	}
	return err;
}

int batch_create(struct batch **ret)
{
	/* No more than it does: whoever breaks in finds no ring here that opens files. */
	static const uint8_t ops[] = { IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITE,
				       IORING_OP_WRITEV, IORING_OP_ASYNC_CANCEL };
	struct batch *batch = fault_alloc(1, sizeof(*batch));
	int err;

	if (!batch) {
		return -ENOMEM;
	}
	/* Who makes it is not who uses it, perhaps: no single issuer. */
	err = io_uring_queue_init(RING_ENTRIES, &batch->ring,
				  IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN |
					  IORING_SETUP_TASKRUN_FLAG);
	if (err) {
		free(batch);
		return err;
	}
	err = ring_restrict(&batch->ring, ops, ARRAY_SIZE(ops), 0, RING_NO_REGISTER);
	err = err ? err : ring_enable(&batch->ring);
	err = err ? err : probe_cancel(batch);
	if (err) {
		batch_destroy(batch);
		return err;
	}
	*ret = batch;
	return 0;
}

void batch_destroy(struct batch *batch)
{
	if (!batch) {
		return;
	}
	if (!batch->is_broken) {
		io_uring_queue_exit(&batch->ring);
	}
	free(batch);
}
