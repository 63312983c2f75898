/* SPDX-License-Identifier: MIT */
/*
 * Saved state: writing.
 *
 * A state is a sequence of fields: tag u16, kind u16 (STATE_BYTES or STATE_GROUP), length u32, all
 * little-endian, then `length` bytes; a group's bytes are fields again. Tags are numbered by each
 * device from 1 and never reused. Unknown tags are skipped by readers, so a field can be added
 * without breaking anybody; a change of meaning gets a new tag.
 *
 *   owner   the caller; save_init/fini    thread  any one
 *   spec    docs/formats.md#saved-state
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

enum state_kind { STATE_BYTES = 1, STATE_GROUP = 2 };

#define STATE_FIELD_HEADER_BYTES 8
#define STATE_DEPTH_MAX          8
#define STATE_BYTES_MAX          (64U << 20)

struct save {
	uint8_t *bytes;
	size_t length, room;
	size_t open[STATE_DEPTH_MAX]; /* where the open groups' headers are */
	unsigned int depth;
	int error; /* first failure, -ENOMEM or -E2BIG; sticky */
	bool is_fixed;
};

void save_init(struct save *save);
/* Into [bytes, bytes + room), which is the caller's; what does not fit is -E2BIG. Never allocates. */
void save_init_fixed(struct save *save, void *bytes, size_t room);
void save_fini(struct save *save);

void save_u64(struct save *save, uint16_t tag, uint64_t value);
void save_u32(struct save *save, uint16_t tag, uint32_t value);
void save_bytes(struct save *save, uint16_t tag, const void *bytes, size_t length);

void save_group_begin(struct save *save, uint16_t tag);
void save_group_end(struct save *save);

/* 0 or the first error; the bytes are valid on 0 and belong to save. */
MUST_CHECK int save_finish(struct save *save, const uint8_t **ret_bytes, size_t *ret_length);
