/* SPDX-License-Identifier: MIT */
/*
 * A guest buffer as the guest describes it: a list of page frames, the offset of the first byte in
 * the first of them, and a length ("GPA range" in GPADLs and in GPA-direct packets).
 *
 *   thread  any; reads guest RAM through mem
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "mem/mem.h"

struct gpa_range {
	const uint64_t *gfns; /* borrowed; may be unaligned in a packet: use gpa_range_gfn() */
	uint32_t gfn_count;
	uint32_t offset_bytes; /* < 4096 */
	uint32_t length_bytes;
};

uint64_t gpa_range_gfn(const struct gpa_range *range, uint32_t index);

/* 0, or -EBADMSG when offset or length do not fit the page list. */
MUST_CHECK int gpa_range_check(const struct gpa_range *range);

/*
 * Turns [skip, skip + bytes) of the range into at most max iovecs over guest RAM, adjacent pages
 * joined. Returns their number; -EFAULT when a page is not RAM; -EBADMSG when it does not fit the
 * range; -E2BIG when max is too few.
 */
MUST_CHECK int gpa_range_iovec(const struct mem *mem, const struct gpa_range *range, uint32_t skip,
			       uint32_t bytes, struct iovec *ret_iov, int max);
