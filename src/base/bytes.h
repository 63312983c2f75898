/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of a given byte order at any alignment, and a bounded cursor over bytes for
 * parsers. A cursor that runs past its end fails once and stays failed, so that a parser may read
 * all its fields and ask once at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t bytes_le16(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t bytes_le32(const void *p)
{
	return bytes_le16(p) | (uint32_t)bytes_le16((const uint8_t *)p + 2) << 16;
}

static inline uint64_t bytes_le64(const void *p)
{
	return bytes_le32(p) | (uint64_t)bytes_le32((const uint8_t *)p + 4) << 32;
}

static inline uint16_t bytes_be16(const void *p)
{
	return __builtin_bswap16(bytes_le16(p));
}

static inline uint32_t bytes_be32(const void *p)
{
	return __builtin_bswap32(bytes_le32(p));
}

static inline uint64_t bytes_be64(const void *p)
{
	return __builtin_bswap64(bytes_le64(p));
}

static inline void bytes_put_le16(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}

static inline void bytes_put_le32(void *p, uint32_t v)
{
	bytes_put_le16(p, (uint16_t)v);
	bytes_put_le16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void bytes_put_le64(void *p, uint64_t v)
{
	bytes_put_le32(p, (uint32_t)v);
	bytes_put_le32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static inline void bytes_put_be16(void *p, uint16_t v)
{
	bytes_put_le16(p, __builtin_bswap16(v));
}

static inline void bytes_put_be32(void *p, uint32_t v)
{
	bytes_put_le32(p, __builtin_bswap32(v));
}

static inline void bytes_put_be64(void *p, uint64_t v)
{
	bytes_put_le64(p, __builtin_bswap64(v));
}

/* All zeroes? At the speed of memcmp(): each byte is the one before it, and the first is 0. */
static inline bool bytes_is_zero(const void *p, size_t len)
{
	const uint8_t *b = p;

	return len == 0 || (b[0] == 0 && memcmp(b, b + 1, len - 1) == 0);
}

struct bytes_cursor {
	const uint8_t *at;
	size_t left;
	bool failed; /* something was asked for that was not there */
};

static inline struct bytes_cursor bytes_cursor(const void *buf, size_t len)
{
	return (struct bytes_cursor){ .at = buf, .left = len };
}

/* Steps over len bytes and returns them; NULL, and failed, when fewer are left. */
static inline const uint8_t *bytes_take(struct bytes_cursor *c, size_t len)
{
	const uint8_t *p = c->at;

	if (c->failed || len > c->left) {
		c->failed = true;
		return NULL;
	}
	c->at += len;
	c->left -= len;
	return p;
}

static inline uint8_t bytes_take_u8(struct bytes_cursor *c)
{
	const uint8_t *p = bytes_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t bytes_take_le16(struct bytes_cursor *c)
{
	const uint8_t *p = bytes_take(c, 2);

	return p ? bytes_le16(p) : 0;
}

static inline uint32_t bytes_take_le32(struct bytes_cursor *c)
{
	const uint8_t *p = bytes_take(c, 4);

	return p ? bytes_le32(p) : 0;
}

static inline uint64_t bytes_take_le64(struct bytes_cursor *c)
{
	const uint8_t *p = bytes_take(c, 8);

	return p ? bytes_le64(p) : 0;
}

/* Copies len bytes to dst, or zeroes dst and fails. */
static inline bool bytes_take_copy(struct bytes_cursor *c, void *dst, size_t len)
{
	const uint8_t *p = bytes_take(c, len);

	if (!p) {
		memset(dst, 0, len);
		return false;
	}
	memcpy(dst, p, len);
	return true;
}
