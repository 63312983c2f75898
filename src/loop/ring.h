/* SPDX-License-Identifier: MIT */
/*
 * What liburing 2.3 lacks for a ring that is made with IORING_SETUP_R_DISABLED: what it may be asked for, and
 * its beginning. It declares both, and exports neither.
 *
 *   owner   as liburing's   thread  the ring's
 *   spec    io_uring_register(2)
 */
#pragma once

#include <liburing.h>

#include "base/check.h"

#define RING_OPS_MAX     8U
#define RING_NO_REGISTER IORING_REGISTER_LAST

/*
 * From ring_enable() on only these operations (IORING_OP_*, at most RING_OPS_MAX), with these flags at most,
 * and this call of io_uring_register(2) or (RING_NO_REGISTER) none. 0 or a negative errno.
 */
MUST_CHECK int ring_restrict(struct io_uring *ring, const uint8_t *ops, unsigned int count,
			     uint8_t sqe_flags, unsigned int register_op);
MUST_CHECK int ring_enable(struct io_uring *ring);
