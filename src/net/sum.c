/* SPDX-License-Identifier: MIT */
#include "net/sum.h"

#include <string.h>

#include "base/check.h"
#include "base/num.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define WIDE_BYTES_MIN      64U /* below, what wide sums cost in the end is more than they save */

/*
 * All of these read a word into a register once, and then write and add that register. The compiler must
 * not read memory a second time to save one: who else writes there is a guest.
 *
 * `copies` is a constant where they are called: they become part of the caller.
 */
#define INLINE              static inline __attribute__((always_inline))
#define READ_ONCE_INTO(reg) __asm__("" : "+r"(reg))

/* ---- words ------------------------------------------------------------------------------------- */

INLINE uint64_t word8(uint8_t *dst, const uint8_t *src, bool copies)
{
	uint64_t w;

	memcpy(&w, src, sizeof(w));
	READ_ONCE_INTO(w);
	if (copies) {
		memcpy(dst, &w, sizeof(w));
	}
	return (w & UINT32_MAX) + (w >> 32);
}

INLINE uint64_t word4(uint8_t *dst, const uint8_t *src, bool copies)
{
	uint32_t w;

	memcpy(&w, src, sizeof(w));
	READ_ONCE_INTO(w);
	if (copies) {
		memcpy(dst, &w, sizeof(w));
	}
	return w;
}

INLINE uint64_t word2(uint8_t *dst, const uint8_t *src, bool copies)
{
	uint16_t w;

	memcpy(&w, src, sizeof(w));
	READ_ONCE_INTO(w);
	if (copies) {
		memcpy(dst, &w, sizeof(w));
	}
	return w;
}

/* The last, odd one: the first byte of a word whose second is 0. */
INLINE uint64_t word1(uint8_t *dst, const uint8_t *src, bool copies)
{
	const uint16_t one = 1;
	uint8_t b = *src, is_low;

	READ_ONCE_INTO(b);
	if (copies) {
		*dst = b;
	}
	memcpy(&is_low, &one, 1);
	return is_low ? b : (uint64_t)b << 8;
}

/* Words of four bytes into 64 bits: no carry is lost below 16 GiB. */
INLINE uint64_t plain(uint8_t *dst, const uint8_t *src, size_t bytes, bool copies)
{
	size_t at = 0;
	uint64_t sum = 0;

	for (; bytes - at >= 8; at += 8) {
		sum += word8(dst + at, src + at, copies);
	}
	if (bytes & 4) {
		sum += word4(dst + at, src + at, copies);
		at += 4;
	}
	if (bytes & 2) {
		sum += word2(dst + at, src + at, copies);
		at += 2;
	}
	return bytes & 1 ? sum + word1(dst + at, src + at, copies) : sum;
}

/* ---- vectors ----------------------------------------------------------------------------------- */

#ifdef __x86_64__

#define READ_ONCE_INTO_V(reg) __asm__("" : "+x"(reg))

/*
 * One instruction multiplies signed words and adds the products of neighbours into 32 bits. So words w are
 * summed as w - 32768, times 1, and 32768 for each is added in the end. What becomes one lane in the end
 * is up to eight words of a step, and there are no more steps than keep that in 31 bits.
 */
#define STEP_BYTES            ((size_t)64)
#define RUN_BYTES             ((size_t)4096 * STEP_BYTES)

INLINE uint64_t unbias(__m128i sums, size_t bytes)
{
	int32_t lanes[4];

	memcpy(lanes, &sums, sizeof(lanes));
	return (uint64_t)((int64_t)(bytes / 2) * 32768 + lanes[0] + lanes[1] + lanes[2] + lanes[3]);
}

INLINE __m128i step_sse2(uint8_t *dst, const uint8_t *src, __m128i sums, bool copies)
{
	__m128i v = _mm_loadu_si128((const void *)src);

	READ_ONCE_INTO_V(v);
	if (copies) {
		_mm_storeu_si128((void *)dst, v);
	}
	v = _mm_xor_si128(v, _mm_set1_epi16(INT16_MIN));
	return _mm_add_epi32(sums, _mm_madd_epi16(v, _mm_set1_epi16(1)));
}

/* A multiple of STEP_BYTES, no more than RUN_BYTES. */
INLINE uint64_t run_sse2(uint8_t *dst, const uint8_t *src, size_t bytes, bool copies)
{
	__m128i a = _mm_setzero_si128(), b = a;

	for (size_t at = 0; at < bytes; at += 32) {
		a = step_sse2(dst + at, src + at, a, copies);
		b = step_sse2(dst + at + 16, src + at + 16, b, copies);
	}
	return unbias(_mm_add_epi32(a, b), bytes);
}

__attribute__((target("avx2"))) INLINE __m256i step_avx2(uint8_t *dst, const uint8_t *src,
							 __m256i sums, bool copies)
{
	__m256i v = _mm256_loadu_si256((const void *)src);

	READ_ONCE_INTO_V(v);
	if (copies) {
		_mm256_storeu_si256((void *)dst, v);
	}
	v = _mm256_xor_si256(v, _mm256_set1_epi16(INT16_MIN));
	return _mm256_add_epi32(sums, _mm256_madd_epi16(v, _mm256_set1_epi16(1)));
}

__attribute__((target("avx2"))) INLINE uint64_t run_avx2(uint8_t *dst, const uint8_t *src,
							 size_t bytes, bool copies)
{
	__m256i a = _mm256_setzero_si256(), b = a;

	for (size_t at = 0; at < bytes; at += 64) {
		a = step_avx2(dst + at, src + at, a, copies);
		b = step_avx2(dst + at + 32, src + at + 32, b, copies);
	}
	a = _mm256_add_epi32(a, b);
	return unbias(_mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)),
		      bytes);
}

static inline size_t next_run(size_t bytes)
{
	return num_min(bytes & ~(STEP_BYTES - 1), RUN_BYTES);
}

INLINE uint64_t wide_sse2(uint8_t *dst, const uint8_t *src, size_t bytes, bool copies)
{
	uint64_t sum = 0;
	size_t at = 0, run;

	for (; (run = next_run(bytes - at)) > 0; at += run) {
		sum += run_sse2(dst + at, src + at, run, copies);
	}
	return sum + plain(dst + at, src + at, bytes - at, copies);
}

__attribute__((target("avx2"))) INLINE uint64_t wide_avx2(uint8_t *dst, const uint8_t *src,
							  size_t bytes, bool copies)
{
	uint64_t sum = 0;
	size_t at = 0, run;

	for (; (run = next_run(bytes - at)) > 0; at += run) {
		sum += run_avx2(dst + at, src + at, run, copies);
	}
	return sum + plain(dst + at, src + at, bytes - at, copies);
}

/* Not inline: each is compiled for its processor. */
static uint64_t copy_sse2(uint8_t *dst, const uint8_t *src, size_t bytes)
{
	return wide_sse2(dst, src, bytes, true);
}

static uint64_t sum_sse2(uint8_t *dst, const uint8_t *src, size_t bytes)
{
	return wide_sse2(dst, src, bytes, false);
}

__attribute__((target("avx2"))) static uint64_t copy_avx2(uint8_t *dst, const uint8_t *src,
							  size_t bytes)
{
	return wide_avx2(dst, src, bytes, true);
}

__attribute__((target("avx2"))) static uint64_t sum_avx2(uint8_t *dst, const uint8_t *src,
							 size_t bytes)
{
	return wide_avx2(dst, src, bytes, false);
}

/*
 * The C library copies some KiB by a repeated string instruction, which begins slowly and takes a misaligned
 * destination badly: here each store is one half of a line, the first and the last bytes excepted.
 */
__attribute__((target("avx2"))) static void copy_aligned(uint8_t *dst, const uint8_t *src,
							 size_t bytes)
{
	size_t at = -(uintptr_t)dst & 31;

	_mm256_storeu_si256((void *)dst, _mm256_loadu_si256((const void *)src));
	for (; bytes - at >= 128; at += 128) {
		__m256i a = _mm256_loadu_si256((const void *)(src + at));
		__m256i b = _mm256_loadu_si256((const void *)(src + at + 32));
		__m256i c = _mm256_loadu_si256((const void *)(src + at + 64));
		__m256i d = _mm256_loadu_si256((const void *)(src + at + 96));

		_mm256_store_si256((void *)(dst + at), a);
		_mm256_store_si256((void *)(dst + at + 32), b);
		_mm256_store_si256((void *)(dst + at + 64), c);
		_mm256_store_si256((void *)(dst + at + 96), d);
	}
	memcpy(dst + at, src + at, bytes - at);
}
#endif

void net_copy_large(void *dst, const void *src, size_t bytes)
{
#ifdef __x86_64__
	check(bytes >= NET_COPY_LARGE_MIN); /* the first 32 of them at once */
	if (net_sum_best() == NET_SUM_AVX2) {
		copy_aligned(dst, src, bytes);
		return;
	}
#endif
	memcpy(dst, src, bytes);
}

/* ---- by choice --------------------------------------------------------------------------------- */

static uint64_t copy_plain(uint8_t *dst, const uint8_t *src, size_t bytes)
{
	return plain(dst, src, bytes, true);
}

static uint64_t sum_plain(uint8_t *dst, const uint8_t *src, size_t bytes)
{
	return plain(dst, src, bytes, false);
}

enum net_sum_way net_sum_best(void)
{
#ifdef __x86_64__
	return __builtin_cpu_supports("avx2") ? NET_SUM_AVX2 : NET_SUM_SSE2;
#else
	return NET_SUM_PLAIN;
#endif
}

/* Only the sum: dst is not looked at. */
static inline uint64_t walk(enum net_sum_way way, uint8_t *dst, const uint8_t *src, size_t bytes,
			    bool copies)
{
	switch (way) {
#ifdef __x86_64__
	case NET_SUM_AVX2:
		return copies ? copy_avx2(dst, src, bytes) : sum_avx2(dst, src, bytes);
	case NET_SUM_SSE2:
		return copies ? copy_sse2(dst, src, bytes) : sum_sse2(dst, src, bytes);
#endif
	case NET_SUM_PLAIN:
	default:
		return copies ? copy_plain(dst, src, bytes) : sum_plain(dst, src, bytes);
	}
}

/* Where nothing is written, a place that could be. */
static inline uint8_t *nowhere(const void *src)
{
	return (uint8_t *)(uintptr_t)src;
}

uint64_t net_sum(const void *buf, size_t bytes)
{
	return bytes < WIDE_BYTES_MIN ? plain(nowhere(buf), buf, bytes, false)
				      : walk(net_sum_best(), nowhere(buf), buf, bytes, false);
}

uint64_t net_copy_and_sum(void *dst, const void *src, size_t bytes)
{
	return bytes < WIDE_BYTES_MIN ? plain(dst, src, bytes, true)
				      : walk(net_sum_best(), dst, src, bytes, true);
}

uint64_t net_copy_and_sum_by(enum net_sum_way way, void *dst, const void *src, size_t bytes)
{
	check(way <= net_sum_best());
	return dst ? walk(way, dst, src, bytes, true) : walk(way, nowhere(src), src, bytes, false);
}

/* ---- folding, pieces --------------------------------------------------------------------------- */

static inline uint64_t walk_iov(uint8_t *dst, const struct iovec *iov, int count, uint32_t offset,
				uint32_t bytes)
{
	struct net_tally tally = { 0 };

	for (int i = 0; i < count && bytes; i++) {
		const uint8_t *src;
		uint32_t run;

		if (offset >= iov[i].iov_len) {
			offset -= (uint32_t)iov[i].iov_len;
			continue;
		}
		src = (const uint8_t *)iov[i].iov_base + offset;
		run = (uint32_t)num_min(iov[i].iov_len - offset, bytes);
		net_tally_add(&tally, dst ? net_copy_and_sum(dst, src, run) : net_sum(src, run),
			      run);
		dst += dst ? run : 0;
		bytes -= run;
		offset = 0;
	}
	return tally.sum;
}

uint64_t net_sum_iov(const struct iovec *iov, int count, uint32_t offset, uint32_t bytes)
{
	return walk_iov(NULL, iov, count, offset, bytes);
}

uint64_t net_copy_and_sum_iov(void *dst, const struct iovec *iov, int count, uint32_t offset,
			      uint32_t bytes)
{
	return walk_iov(dst, iov, count, offset, bytes);
}

uint16_t net_sum_fold(uint64_t sum)
{
	while (sum >> 16) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

uint16_t net_sum_fold_l4(uint64_t sum, bool is_udp)
{
	uint16_t folded = net_sum_fold(sum);

	return is_udp && folded == 0 ? 0xffff : folded;
}
