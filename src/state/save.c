/* SPDX-License-Identifier: MIT */
#include "state/save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"

void save_init(struct save *save)
{
	*save = (struct save){ 0 };
}

void save_init_fixed(struct save *save, void *bytes, size_t room)
{
	*save = (struct save){ .bytes = bytes, .room = room, .is_fixed = true };
}

void save_fini(struct save *save)
{
	if (!save->is_fixed) {
		free(save->bytes);
	}
	*save = (struct save){ 0 };
}

static int grow(struct save *save, size_t more)
{
	size_t room = save->room ? save->room : 256;

	if (save->is_fixed) {
		return -E2BIG;
	}
	while (room - save->length < more) {
		room *= 2;
	}
	if (room > STATE_BYTES_MAX) {
		return -E2BIG;
	}
	uint8_t *bytes = fault_point() ? NULL : realloc(save->bytes, room);

	if (!bytes) {
		return -ENOMEM;
	}
	save->bytes = bytes;
	save->room = room;
	return 0;
}

static void append(struct save *save, uint16_t tag, enum state_kind kind, const void *bytes,
		   size_t length)
{
	size_t need = STATE_FIELD_HEADER_BYTES + length;

	if (save->error) {
		return;
	}
	if (length > STATE_BYTES_MAX) {
		save->error = -E2BIG;
		return;
	}
	if (save->room - save->length < need) {
		save->error = grow(save, need);
		if (save->error) {
			return;
		}
	}
	uint8_t *at = save->bytes + save->length;

	bytes_put_le16(at, tag);
	bytes_put_le16(at + 2, (uint16_t)kind);
	bytes_put_le32(at + 4, (uint32_t)length);
	if (length) {
		memcpy(at + STATE_FIELD_HEADER_BYTES, bytes, length);
	}
	save->length += need;
}

void save_bytes(struct save *save, uint16_t tag, const void *bytes, size_t length)
{
	append(save, tag, STATE_BYTES, bytes, length);
}

void save_u64(struct save *save, uint16_t tag, uint64_t value)
{
	uint8_t raw[8];

	bytes_put_le64(raw, value);
	append(save, tag, STATE_BYTES, raw, sizeof(raw));
}

void save_u32(struct save *save, uint16_t tag, uint32_t value)
{
	uint8_t raw[4];

	bytes_put_le32(raw, value);
	append(save, tag, STATE_BYTES, raw, sizeof(raw));
}

void save_group_begin(struct save *save, uint16_t tag)
{
	check(save->depth < STATE_DEPTH_MAX);
	save->open[save->depth++] = save->length;
	append(save, tag, STATE_GROUP, NULL, 0);
}

void save_group_end(struct save *save)
{
	check(save->depth > 0);
	size_t header = save->open[--save->depth];

	if (!save->error) {
		bytes_put_le32(save->bytes + header + 4,
			       (uint32_t)(save->length - header - STATE_FIELD_HEADER_BYTES));
	}
}

int save_finish(struct save *save, const uint8_t **ret_bytes, size_t *ret_length)
{
	check(save->depth == 0);
	if (save->error) {
		return save->error;
	}
	*ret_bytes = save->bytes;
	*ret_length = save->length;
	return 0;
}
