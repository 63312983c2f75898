/* SPDX-License-Identifier: MIT */
#include "mem/gpa_range.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

static inline uint64_t gfn_at(const struct gpa_range *range, uint32_t index)
{
	uint64_t gfn;

	memcpy(&gfn, (const uint8_t *)range->gfns + (size_t)index * sizeof(gfn), sizeof(gfn));
	return gfn;
}

uint64_t gpa_range_gfn(const struct gpa_range *range, uint32_t index)
{
	return gfn_at(range, index);
}

int gpa_range_check(const struct gpa_range *range)
{
	uint64_t room = (uint64_t)range->gfn_count << MEM_PAGE_SHIFT;

	if (range->offset_bytes >= MEM_PAGE_BYTES ||
	    !num_range_fits(range->offset_bytes, range->length_bytes, room)) {
		return -EBADMSG;
	}
	return 0;
}

int gpa_range_iovec(const struct mem *mem, const struct gpa_range *range, uint32_t skip,
		    uint32_t bytes, struct iovec *ret_iov, int max)
{
	uint64_t at = (uint64_t)range->offset_bytes + skip;
	int used = 0;

	if (!num_range_fits(skip, bytes, range->length_bytes)) {
		return -EBADMSG;
	}
	while (bytes > 0) {
		uint32_t in_page = (uint32_t)(at % MEM_PAGE_BYTES);
		uint32_t step = (uint32_t)num_min(bytes, MEM_PAGE_BYTES - in_page);
		uint64_t gfn = gfn_at(range, (uint32_t)(at >> MEM_PAGE_SHIFT));
		uint8_t *hva = gfn < (1ULL << 52)
				       ? mem_hva(mem, (gfn << MEM_PAGE_SHIFT) + in_page, step)
				       : NULL;

		if (!hva) {
			return -EFAULT;
		}
		if (used > 0 &&
		    (uint8_t *)ret_iov[used - 1].iov_base + ret_iov[used - 1].iov_len == hva) {
			ret_iov[used - 1].iov_len += step;
		} else if (used == max) {
			return -E2BIG;
		} else {
			ret_iov[used++] = (struct iovec){ .iov_base = hva, .iov_len = step };
		}
		at += step;
		bytes -= step;
	}
	return used;
}
