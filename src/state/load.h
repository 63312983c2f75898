/* SPDX-License-Identifier: MIT */
/*
 * Saved state: reading. Input is hostile: every length is checked and nesting is bounded.
 *
 *     struct load_field f;
 *     while (load_next(&load, &f)) {
 *             switch (f.tag) {
 *             case FOO_STATE_VERSION: foo->version = load_u32(&load, &f); break;
 *             case FOO_STATE_QUEUE:   load_group(&load, &f, &inner); ... break;
 *             }
 *     }
 *     return load_result(&load);
 *
 *   thread  any one
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "state/save.h"

struct load {
	const uint8_t *at;
	size_t left;
	unsigned int depth;
	int error; /* -EBADMSG, sticky */
};

struct load_field {
	uint16_t tag;
	uint16_t kind;
	uint32_t length;
	const uint8_t *bytes; /* borrowed from the input */
};

void load_init(struct load *load, const void *bytes, size_t length);

/* The next field of this level; false at the end or after an error. */
bool load_next(struct load *load, struct load_field *ret);

/* The value; 0, and an error, when the field has another size or kind. */
uint32_t load_u32(struct load *load, const struct load_field *field);
uint64_t load_u64(struct load *load, const struct load_field *field);

/* Exactly length bytes, or an error and zeroes. */
void load_bytes(struct load *load, const struct load_field *field, void *ret, size_t length);

/* Opens a group for reading; errors of the inner one must be carried out with load_close(). */
void load_group(struct load *load, const struct load_field *field, struct load *ret_inner);
void load_close(struct load *load, const struct load *inner);

/* Marks the input as nonsense: a value out of range. */
void load_fail(struct load *load);

MUST_CHECK int load_result(const struct load *load);
