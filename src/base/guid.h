/* SPDX-License-Identifier: MIT */
/*
 * GUIDs in Microsoft's mixed byte order: the first three fields are little-endian, the last eight
 * bytes are in the order in which they are printed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct guid {
	uint8_t bytes[16];
};

/* GUID(0xf8615163, 0xdf3e, 0x46c5, 0x913f, 0xf2d2f965ed0e) as an initializer. */
#define GUID(a, b, c, d, e)                                                                        \
	{                                                                                          \
		.bytes = {                                                                         \
			(uint8_t)((a) >> 0),                                                       \
			(uint8_t)((a) >> 8),                                                       \
			(uint8_t)((a) >> 16),                                                      \
			(uint8_t)((a) >> 24),                                                      \
			(uint8_t)((b) >> 0),                                                       \
			(uint8_t)((b) >> 8),                                                       \
			(uint8_t)((c) >> 0),                                                       \
			(uint8_t)((c) >> 8),                                                       \
			(uint8_t)((d) >> 8),                                                       \
			(uint8_t)((d) >> 0),                                                       \
			(uint8_t)((e##ULL) >> 40),                                                 \
			(uint8_t)((e##ULL) >> 32),                                                 \
			(uint8_t)((e##ULL) >> 24),                                                 \
			(uint8_t)((e##ULL) >> 16),                                                 \
			(uint8_t)((e##ULL) >> 8),                                                  \
			(uint8_t)((e##ULL) >> 0),                                                  \
		}                                                                                  \
	}

/* Bytes of the printed form with its terminating zero: 8-4-4-4-12. */
#define GUID_STRING_BYTES 37

bool guid_is_equal(const struct guid *a, const struct guid *b);

/* Prints in lower case without braces; returns buf. */
const char *guid_format(const struct guid *g, char buf[GUID_STRING_BYTES]);

/* Reads the printed form, with or without braces. 0, or -EINVAL. */
MUST_CHECK int guid_parse(const char *s, struct guid *ret);

/*
 * A GUID made of a name, the same for the same name for ever (FNV-1a, stamped as a version 8 UUID
 * of RFC 9562, "custom"): instance ids that survive a restart without being stored.
 */
void guid_from_name(const char *name, struct guid *ret);
