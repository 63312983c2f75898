/* SPDX-License-Identifier: MIT */
/*
 * Several reads or writes in one system call, that never wait: what recvmmsg(2) and sendmmsg(2) are
 * for sockets, for any descriptor. A small io_uring of its own, beside the loop's: its entries are
 * done when batch_run() returns, so that buffers are the caller's as with read(2).
 *
 * How nothing waits: an entry says RWF_NOWAIT, where the descriptor's driver knows that (TAP devices
 * from Linux 6.4 on). Elsewhere a read that finds nothing waits within io_uring, and is taken back by
 * a last entry of the same call; a read that was taken back has read nothing.
 *
 *   owner   the loop (loop_batch())   thread  the loop's
 *   spec    io_uring_enter(2), io_uring_prep_cancel(3)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"

#define BATCH_MAX 32U

struct batch;

struct batch_op {
	const struct iovec *iov; /* lives until batch_run() returns */
	unsigned int iov_count;
	int result; /* bytes, or a negative errno; -EAGAIN: it would have had to wait */
};

/* 0 or a negative errno: this kernel, or this process, cannot. Not under the switch's filter. */
MUST_CHECK int batch_create(struct batch **ret);
/* NULL is fine. */
void batch_destroy(struct batch *batch);

/*
 * Runs 1 to BATCH_MAX of them on a non-blocking descriptor. Those that succeed do so one after the
 * other: ret_order[0] names the one that was first, and so on for as many as have succeeded, which is
 * *ret_done. Reads find what is there in that order, which is nearly always the order of ops; writes of
 * which none has to wait are in the order of ops.
 *
 * Returns the system calls it took; or a negative errno, and then never works again: nothing was done
 * or, where the kernel failed in the middle, what was done is lost. Buffers are the caller's again also
 * then: as long as a read waits in the kernel it is asked to give that back, and if it does not within
 * some seconds, the process ends.
 */
MUST_CHECK int batch_run(struct batch *batch, int fd, bool is_write, struct batch_op *ops,
			 unsigned int count, unsigned int *ret_order, unsigned int *ret_done);

/* For tests: as if no driver knew RWF_NOWAIT; and reads then wait until they are taken back by a second call. */
void batch_forget_nowait(struct batch *batch);
void batch_take_back_later(struct batch *batch);
