/* SPDX-License-Identifier: MIT */
/*
 * Copies to and from, and cuts of, arrays of iovecs.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "base/num.h"

static inline uint64_t iovec_bytes(const struct iovec *iov, int count)
{
	uint64_t sum = 0;

	for (int i = 0; i < count; i++) {
		sum += iov[i].iov_len;
	}
	return sum;
}

/* Copies at most `bytes` from offset skip of the iovecs into buf; returns how many there were. */
static inline size_t iovec_gather(const struct iovec *iov, int count, uint64_t skip, void *buf,
				  size_t bytes)
{
	size_t done = 0;

	for (int i = 0; i < count && done < bytes; i++) {
		size_t n;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		n = num_min(iov[i].iov_len - skip, bytes - done);
		memcpy((uint8_t *)buf + done, (const uint8_t *)iov[i].iov_base + skip, n);
		done += n;
		skip = 0;
	}
	return done;
}

/* The other way: buf into the iovecs. */
static inline size_t iovec_scatter(const struct iovec *iov, int count, uint64_t skip,
				   const void *buf, size_t bytes)
{
	size_t done = 0;

	for (int i = 0; i < count && done < bytes; i++) {
		size_t n;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		n = num_min(iov[i].iov_len - skip, bytes - done);
		memcpy((uint8_t *)iov[i].iov_base + skip, (const uint8_t *)buf + done, n);
		done += n;
		skip = 0;
	}
	return done;
}

/* Cuts the iovecs down to their first `bytes`; returns how many remain. */
static inline int iovec_trim(struct iovec *iov, int count, uint64_t bytes)
{
	int i = 0;

	while (i < count && bytes > 0) {
		if (iov[i].iov_len > bytes) {
			iov[i].iov_len = bytes;
		}
		bytes -= iov[i].iov_len;
		i++;
	}
	return i;
}

/* Drops the first `bytes` (at most all); returns the first iovec that remains. */
static inline struct iovec *iovec_skip(struct iovec *iov, int *count, uint64_t bytes)
{
	while (*count > 0 && bytes >= iov->iov_len) {
		bytes -= iov->iov_len;
		iov++;
		(*count)--;
	}
	if (*count > 0) {
		iov->iov_base = (uint8_t *)iov->iov_base + bytes;
		iov->iov_len -= bytes;
	}
	return iov;
}
