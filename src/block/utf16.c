/* SPDX-License-Identifier: MIT */
#include "block/utf16.h"

#include <errno.h>

#include "base/bytes.h"

/* The next character, or -EILSEQ; steps over it. */
static int utf16_next(struct bytes_cursor *c, bool is_big_endian)
{
	uint16_t low, unit = bytes_take_le16(c);

	if (is_big_endian) {
		unit = __builtin_bswap16(unit);
	}
	if (c->failed || (unit & 0xfc00) == 0xdc00) {
		return -EILSEQ;
	}
	if ((unit & 0xfc00) != 0xd800) {
		return unit;
	}
	low = bytes_take_le16(c);
	if (is_big_endian) {
		low = __builtin_bswap16(low);
	}
	if (c->failed || (low & 0xfc00) != 0xdc00) {
		return -EILSEQ;
	}
	return 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
}

/* As UTF-8; how many bytes. */
static size_t utf8_put(int ch, char out[4])
{
	if (ch < 0x80) {
		out[0] = (char)ch;
		return 1;
	}
	if (ch < 0x800) {
		out[0] = (char)(0xc0 | ch >> 6);
		out[1] = (char)(0x80 | (ch & 0x3f));
		return 2;
	}
	if (ch < 0x10000) {
		out[0] = (char)(0xe0 | ch >> 12);
		out[1] = (char)(0x80 | (ch >> 6 & 0x3f));
		out[2] = (char)(0x80 | (ch & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | ch >> 18);
	out[1] = (char)(0x80 | (ch >> 12 & 0x3f));
	out[2] = (char)(0x80 | (ch >> 6 & 0x3f));
	out[3] = (char)(0x80 | (ch & 0x3f));
	return 4;
}

int utf16_to_utf8(const void *text, size_t text_bytes, bool is_big_endian, char *buf, size_t bytes)
{
	struct bytes_cursor c = bytes_cursor(text, text_bytes);
	size_t at = 0;

	check(bytes > 0);
	buf[0] = '\0';
	while (c.left > 0) {
		int ch = utf16_next(&c, is_big_endian);
		char out[4];
		size_t n;

		if (ch == 0) {
			break;
		}
		if (ch < ' ' || ch == 0x7f) {
			buf[0] = '\0';
			return -EILSEQ;
		}
		n = utf8_put(ch, out);
		if (n >= bytes - at) {
			buf[0] = '\0';
			return -ENAMETOOLONG;
		}
		memcpy(buf + at, out, n);
		at += n;
		buf[at] = '\0';
	}
	return 0;
}

/* The next character, or -EILSEQ (cut off, overlong, a surrogate, beyond Unicode). */
static int utf8_next(const uint8_t **at)
{
	static const int least[] = { 0, 0x80, 0x800, 0x10000 };
	const uint8_t *p = *at;
	int more = p[0] < 0x80 ? 0 : p[0] < 0xc2 ? -1 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
	int ch;

	if (more < 0 || p[0] > 0xf4) {
		return -EILSEQ;
	}
	ch = more == 0 ? p[0] : p[0] & (0x3f >> more);
	for (int i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return -EILSEQ;
		}
		ch = ch << 6 | (p[i] & 0x3f);
	}
	if (ch < least[more] || ch > 0x10ffff || (ch & ~0x7ff) == 0xd800) {
		return -EILSEQ;
	}
	*at += more + 1;
	return ch;
}

static void utf16_put(uint8_t *out, int unit, bool is_big_endian)
{
	if (is_big_endian) {
		bytes_put_be16(out, (uint16_t)unit);
	} else {
		bytes_put_le16(out, (uint16_t)unit);
	}
}

int utf16_from_utf8(const char *text, bool is_big_endian, void *buf, size_t bytes,
		    size_t *ret_bytes)
{
	const uint8_t *p = (const uint8_t *)text;
	uint8_t *out = buf;
	size_t at = 0;

	while (*p) {
		int ch = utf8_next(&p);
		size_t n = ch >= 0x10000 ? 4 : 2;

		if (ch < 0) {
			return ch;
		}
		if (n > bytes - at) {
			return -ENAMETOOLONG;
		}
		if (n == 4) {
			utf16_put(out + at, 0xd800 | (ch - 0x10000) >> 10, is_big_endian);
			utf16_put(out + at + 2, 0xdc00 | (ch & 0x3ff), is_big_endian);
		} else {
			utf16_put(out + at, ch, is_big_endian);
		}
		at += n;
	}
	*ret_bytes = at;
	return 0;
}
