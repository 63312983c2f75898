/* SPDX-License-Identifier: MIT */
#include "base/guid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

/* Where the n-th printed byte lives. */
static const uint8_t print_order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

bool guid_is_equal(const struct guid *a, const struct guid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool dash_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *guid_format(const struct guid *g, char buf[GUID_STRING_BYTES])
{
	char *p = buf;

	for (size_t i = 0; i < 16; i++) {
		if (dash_before(i)) {
			*p++ = '-';
		}
		p += snprintf(p, 3, "%02x", g->bytes[print_order[i]]);
	}
	return buf;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

int guid_parse(const char *s, struct guid *ret)
{
	struct guid g;
	bool braced = *s == '{';

	s += braced;
	for (size_t i = 0; i < 16; i++) {
		if (dash_before(i) && *s++ != '-') {
			return -EINVAL;
		}
		int high = hex_digit(s[0]);
		int low = high < 0 ? -1 : hex_digit(s[1]);

		if (low < 0) {
			return -EINVAL;
		}
		g.bytes[print_order[i]] = (uint8_t)(high << 4 | low);
		s += 2;
	}
	if (braced && *s++ != '}') {
		return -EINVAL;
	}
	if (*s) {
		return -EINVAL;
	}
	*ret = g;
	return 0;
}

void guid_from_name(const char *name, struct guid *ret)
{
	/* Two passes from different bases give 128 bits. */
	uint64_t half[2] = { hash_fnv1a(HASH_FNV1A_BASIS, name),
			     hash_fnv1a(0x9ae16a3b2f90404fULL, name) };

	memcpy(ret->bytes, half, sizeof(ret->bytes));
	ret->bytes[7] = (uint8_t)((ret->bytes[7] & 0x0f) | 0x80); /* version 8 */
	ret->bytes[8] = (uint8_t)((ret->bytes[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
}
