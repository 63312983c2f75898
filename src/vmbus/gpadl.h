/* SPDX-License-Identifier: MIT */
/*
 * GPADLs: lists of guest pages that the guest has handed over by handle (for rings, and for the
 * receive and send buffers of a NIC).
 *
 * A GPADL is counted: the table holds one reference until the guest tears it down, each user one
 * more. The answer to a teardown goes out when the last reference is gone, so the guest never
 * reuses a page that we still write.
 *
 *   owner   the bus   thread  get and put: any; the pages never change after creation
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "mem/gpa_range.h"
#include "mem/mem.h"

struct gpadl;

/* Pages in all GPADLs of a partition together, and GPADLs: what a guest can make us remember. */
#define GPADL_PAGES_MAX (1U << 20)
#define GPADL_COUNT_MAX 4096U

/* One reference given back. */
void gpadl_put(struct gpadl *gpadl);

uint32_t gpadl_id(const struct gpadl *gpadl);

/* Bytes from the first to the last. A GPADL of one range, which is all that devices use. */
uint64_t gpadl_bytes(const struct gpadl *gpadl);

/* Where the first of them is in the first page. */
uint32_t gpadl_offset(const struct gpadl *gpadl);

/* Page frame numbers, in order. Borrowed. */
const uint64_t *gpadl_gfns(const struct gpadl *gpadl, size_t *ret_count);

/* Copies by offset into the GPADL. 0, or -EFAULT when it does not fit. */
MUST_CHECK int gpadl_read(const struct gpadl *gpadl, uint64_t offset, void *ret_buf, size_t bytes);
MUST_CHECK int gpadl_write(const struct gpadl *gpadl, uint64_t offset, const void *buf,
			   size_t bytes);

/*
 * [offset, offset + bytes) as at most max iovecs over guest memory, adjacent pages joined. Returns
 * their number; -EFAULT when it does not fit; -E2BIG when max is too few.
 */
MUST_CHECK int gpadl_iovec(const struct gpadl *gpadl, uint64_t offset, size_t bytes,
			   struct iovec *ret_iov, int max);
