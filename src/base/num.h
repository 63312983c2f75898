/* SPDX-License-Identifier: MIT */
/*
 * Checked arithmetic and powers of two. Everything that a guest or a file can make large is added
 * and multiplied with these.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB                             1024ULL
#define MIB                             (1024ULL * KIB)
#define GIB                             (1024ULL * MIB)

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds *ptr as its member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Each returns true and stores the result when it did not overflow; *ret is untouched otherwise. */
static inline bool num_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum)) {
		return false;
	}
	*ret = sum;
	return true;
}

static inline bool num_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t product;

	if (__builtin_mul_overflow(a, b, &product)) {
		return false;
	}
	*ret = product;
	return true;
}

/* [offset, offset + length) lies within [0, size); overflow-proof. */
static inline bool num_range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

static inline bool num_is_power_of_2(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

/* align is a power of two; x must not lie within align of the type's end. */
static inline uint64_t num_align_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static inline uint64_t num_align_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

static inline uint64_t num_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t num_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}
