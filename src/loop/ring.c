/* SPDX-License-Identifier: MIT */
#include "loop/ring.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ask(const struct io_uring *ring, unsigned int what, const void *arg, unsigned int count)
{
	return syscall(__NR_io_uring_register, ring->ring_fd, what, arg, count) < 0 ? -errno : 0;
}

int ring_restrict(struct io_uring *ring, const uint8_t *ops, unsigned int count, uint8_t sqe_flags,
		  unsigned int register_op)
{
	struct io_uring_restriction all[RING_OPS_MAX + 2] = { 0 };
	unsigned int n;

	check(count <= RING_OPS_MAX);
	for (n = 0; n < count; n++) {
		all[n].opcode = IORING_RESTRICTION_SQE_OP;
		all[n].sqe_op = ops[n];
	}
	all[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	all[n++].sqe_flags = sqe_flags;
	if (register_op != RING_NO_REGISTER) {
		all[n].opcode = IORING_RESTRICTION_REGISTER_OP;
		all[n++].register_op = (uint8_t)register_op;
	}
	return ask(ring, IORING_REGISTER_RESTRICTIONS, all, n);
}

int ring_enable(struct io_uring *ring)
{
	return ask(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}
