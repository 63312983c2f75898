/* SPDX-License-Identifier: MIT */
#include "state/load.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

void load_init(struct load *load, const void *bytes, size_t length)
{
	*load = (struct load){ .at = bytes, .left = length };
}

void load_fail(struct load *load)
{
	load->error = -EBADMSG;
	load->left = 0;
}

bool load_next(struct load *load, struct load_field *ret)
{
	if (load->error || load->left == 0) {
		return false;
	}
	if (load->left < STATE_FIELD_HEADER_BYTES) {
		load_fail(load);
		return false;
	}
	struct load_field field = { .tag = bytes_le16(load->at),
				    .kind = bytes_le16(load->at + 2),
				    .length = bytes_le32(load->at + 4),
				    .bytes = load->at + STATE_FIELD_HEADER_BYTES };

	if (field.length > load->left - STATE_FIELD_HEADER_BYTES ||
	    (field.kind != STATE_BYTES && field.kind != STATE_GROUP)) {
		load_fail(load);
		return false;
	}
	load->at += STATE_FIELD_HEADER_BYTES + field.length;
	load->left -= STATE_FIELD_HEADER_BYTES + field.length;
	*ret = field;
	return true;
}

void load_bytes(struct load *load, const struct load_field *field, void *ret, size_t length)
{
	if (field->kind != STATE_BYTES || field->length != length) {
		memset(ret, 0, length);
		load_fail(load);
		return;
	}
	memcpy(ret, field->bytes, length);
}

uint32_t load_u32(struct load *load, const struct load_field *field)
{
	uint8_t raw[4];

	load_bytes(load, field, raw, sizeof(raw));
	return bytes_le32(raw);
}

uint64_t load_u64(struct load *load, const struct load_field *field)
{
	uint8_t raw[8];

	load_bytes(load, field, raw, sizeof(raw));
	return bytes_le64(raw);
}

void load_group(struct load *load, const struct load_field *field, struct load *ret_inner)
{
	load_init(ret_inner, field->bytes, field->length);
	ret_inner->depth = load->depth + 1;
	if (field->kind != STATE_GROUP || ret_inner->depth > STATE_DEPTH_MAX) {
		load_fail(ret_inner);
		load_fail(load);
	}
}

void load_close(struct load *load, const struct load *inner)
{
	if (inner->error) {
		load_fail(load);
	}
}

int load_result(const struct load *load)
{
	return load->error;
}
