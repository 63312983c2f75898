/* SPDX-License-Identifier: MIT */
/*
 * Copying frames, and the Internet's checksum: ones' complement sums of 16-bit words, also of bytes while
 * they are copied.
 *
 * A sum is of words as they lie in memory, from an even offset of what is summed on, and is not folded: a
 * number that is right modulo 65535, and 0 only where all bytes are 0. So sums of pieces that begin at even
 * offsets can be added; a tally adds those of any pieces.
 *
 * What is copied may be a guest's, which changes it meanwhile: each byte is read once, and what was summed
 * is what was written. Nothing that was written is read again.
 *
 *   thread  any; pure functions
 *   spec    RFC 1071
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* Fewer than 4 GiB. */
uint64_t net_sum(const void *buf, size_t bytes);
/* memcpy() for runs of large frames: to a misaligned place of some KiB that is in no near cache. */
void net_copy_large(void *dst, const void *src, size_t bytes);
#define NET_COPY_LARGE_MIN 2048U

/* The better one of the two. */
static inline void net_copy(void *dst, const void *src, size_t bytes)
{
	if (bytes >= NET_COPY_LARGE_MIN) {
		net_copy_large(dst, src, bytes);
	} else {
		memcpy(dst, src, bytes);
	}
}
/* memcpy(), and the sum of what was copied. */
uint64_t net_copy_and_sum(void *dst, const void *src, size_t bytes);
/* The sum of bytes that lie in several pieces, from offset on. */
uint64_t net_sum_iov(const struct iovec *iov, int count, uint32_t offset, uint32_t bytes);
/* Copies them out, one behind the other, and sums them. */
uint64_t net_copy_and_sum_iov(void *dst, const struct iovec *iov, int count, uint32_t offset,
			      uint32_t bytes);
/* Folds a sum to 16 bits in network order as it lies in memory, complemented. */
uint16_t net_sum_fold(uint64_t sum);
/* The same for TCP's or UDP's field: UDP knows no checksum of 0. */
uint16_t net_sum_fold_l4(uint64_t sum, bool is_udp);

/* Sums of pieces, one behind the other; all zeroes to begin. */
struct net_tally {
	uint64_t sum;
	bool is_odd; /* the next piece begins at an odd offset */
};

/* The sum of the next so many bytes. */
static inline void net_tally_add(struct net_tally *tally, uint64_t sum, size_t bytes)
{
	if (__builtin_expect(tally->is_odd, 0)) {
		/* Each byte lies in the other half of its word. */
		sum = __builtin_bswap16((uint16_t)~net_sum_fold(sum));
	}
	tally->sum += sum;
	tally->is_odd ^= bytes & 1;
}

/* ---- for tests and benches ----------------------------------------------------------------------- */

/* In the order in which they are preferred, the last first. */
enum net_sum_way { NET_SUM_PLAIN, NET_SUM_SSE2, NET_SUM_AVX2 };

/* The best that this processor has: what the above take where there are enough bytes. */
enum net_sum_way net_sum_best(void);
/* dst NULL: sums only. The processor has it. */
uint64_t net_copy_and_sum_by(enum net_sum_way way, void *dst, const void *src, size_t bytes);
