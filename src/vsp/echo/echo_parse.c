/* SPDX-License-Identifier: MIT */
#include "vsp/echo/echo_parse.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

int echo_parse(const uint8_t *buf, size_t length, struct echo_request *ret)
{
	struct bytes_cursor c = bytes_cursor(buf, length);
	uint32_t type = bytes_take_le32(&c);
	uint32_t bytes = bytes_take_le32(&c);

	/* Packets are padded to 8 bytes, so less may be used than is there, never more. */
	if (c.failed || bytes > c.left) {
		return -EPROTO;
	}
	c.left = bytes;

	switch (type) {
	case ECHO_MSG_HELLO:
		ret->hello.version = bytes_take_le32(&c);
		break;
	case ECHO_MSG_ECHO:
		bytes_take_le64(&c); /* sequence: ours to fill in */
		if (c.left > ECHO_BYTES_MAX) {
			return -EBADMSG;
		}
		ret->echo.count = (uint32_t)c.left;
		ret->echo.bytes = bytes_take(&c, c.left);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (c.failed) {
		return -EBADMSG;
	}
	ret->type = type;
	return 0;
}

static void build_header(uint32_t type, uint32_t bytes, uint8_t *ret_buf)
{
	struct echo_header header = { .type = type, .bytes = bytes };

	memcpy(ret_buf, &header, sizeof(header));
}

void echo_build_result(uint32_t type, uint32_t status, uint32_t version, uint8_t *ret_buf)
{
	struct echo_result result = { .status = status, .version = version };

	build_header(type, sizeof(result), ret_buf);
	memcpy(ret_buf + sizeof(struct echo_header), &result, sizeof(result));
}

void echo_build_echo(uint64_t sequence, uint32_t count, uint8_t *ret_buf)
{
	struct echo_echo echo = { .sequence = sequence };

	build_header(ECHO_MSG_ECHO, (uint32_t)sizeof(echo) + count, ret_buf);
	memcpy(ret_buf + sizeof(struct echo_header), &echo, sizeof(echo));
}
