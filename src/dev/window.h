/* SPDX-License-Identifier: MIT */
/*
 * Two things that a chip asks of a machine so that accesses need not leave the kernel: memory of the host's
 * that the guest sees at an address, and addresses whose writing wakes somebody. Implemented by the
 * partition; a test has its own.
 *
 *   thread  under the chipset lock, or while no VP runs
 *   spec    Linux Documentation/virt/kvm/api.rst: 4.35 (memory slots), 4.59 (ioeventfd)
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

/* A window: a whole number of pages, of the chip's own memory, at one place at a time. */
struct window_ops {
	/* 0; -ENOSPC: too many; -EINVAL: not pages; -EEXIST: it would lie over RAM or another window. */
	int (*map)(void *ctx, uint64_t gpa, void *hva, uint64_t bytes, bool is_readonly);
	void (*unmap)(void *ctx, uint64_t gpa, uint64_t bytes);
	/*
	 * Which pages the guest has written since the last time: a bit each from bit 0 of ret[0] on, for
	 * the window at gpa; a page too many is possible, none too few. -ENOENT when it is not mapped. Optional: NULL, all pages count as written.
	 */
	int (*dirty)(void *ctx, uint64_t gpa, uint64_t bytes, uint64_t *ret);
};

struct windows {
	const struct window_ops
		*ops; /* NULL: this machine has none; the chip answers accesses itself */
	void *ctx;
};

/*
 * A doorbell: a write of `bytes` (1, 2, 4) at a port or gpa, of any value, writes fd, and the handler of
 * the region does not see it. The region stays: it answers where a machine has no doorbells.
 */
struct doorbell_ops {
	int (*add)(void *ctx, bool is_port, uint64_t base, unsigned int bytes, int fd);
	void (*remove)(void *ctx, bool is_port, uint64_t base, unsigned int bytes, int fd);
};

struct doorbells {
	const struct doorbell_ops *ops; /* NULL: none */
	void *ctx;
};

static inline int doorbell_add(const struct doorbells *doorbells, bool is_port, uint64_t base,
			       unsigned int bytes, int fd)
{
	return doorbells->ops ? doorbells->ops->add(doorbells->ctx, is_port, base, bytes, fd)
			      : -EOPNOTSUPP;
}

static inline void doorbell_remove(const struct doorbells *doorbells, bool is_port, uint64_t base,
				   unsigned int bytes, int fd)
{
	if (doorbells->ops) {
		doorbells->ops->remove(doorbells->ctx, is_port, base, bytes, fd);
	}
}
