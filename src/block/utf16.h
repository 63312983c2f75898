/* SPDX-License-Identifier: MIT */
/*
 * The text in Microsoft's image formats: UTF-16 of either byte order, to and from the host's UTF-8.
 *
 *   thread  any
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/*
 * Up to the first zero, or all of it. -EILSEQ: it is no text (a lone surrogate, half a unit, a control
 * character), -ENAMETOOLONG: buf has no room for it and its terminating zero; buf is "" then.
 */
MUST_CHECK int utf16_to_utf8(const void *text, size_t text_bytes, bool is_big_endian, char *buf,
			     size_t bytes);

/* Without a terminating zero. -EILSEQ: it is no UTF-8; -ENAMETOOLONG. */
MUST_CHECK int utf16_from_utf8(const char *text, bool is_big_endian, void *buf, size_t bytes,
			       size_t *ret_bytes);
