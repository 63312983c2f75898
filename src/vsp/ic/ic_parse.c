/* SPDX-License-Identifier: MIT */
#include "vsp/ic/ic_parse.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

int ic_parse(const uint8_t *buf, size_t length, struct ic_message *ret)
{
	struct bytes_cursor c = bytes_cursor(buf, length);
	struct ic_message message;
	uint32_t pipe_bytes;

	bytes_take_le32(&c); /* pipe type: guests echo ours or leave it 0 */
	pipe_bytes = bytes_take_le32(&c);
	message.framework = bytes_take_le32(&c);
	message.type = bytes_take_le16(&c);
	message.version = bytes_take_le32(&c);
	message.body_bytes = bytes_take_le16(&c);
	message.status = bytes_take_le32(&c);
	message.transaction_id = bytes_take_u8(&c);
	message.flags = bytes_take_u8(&c);
	bytes_take_le16(&c);
	message.body = bytes_take(&c, message.body_bytes);
	if (c.failed || pipe_bytes > length - sizeof(struct ic_pipe_header) ||
	    pipe_bytes < sizeof(struct ic_header) + message.body_bytes) {
		return -EPROTO;
	}
	*ret = message;
	return 0;
}

int ic_parse_negotiate(const struct ic_message *message, uint32_t *ret_framework,
		       uint32_t *ret_version)
{
	struct bytes_cursor c = bytes_cursor(message->body, message->body_bytes);
	uint16_t framework_count = bytes_take_le16(&c);
	uint16_t message_count = bytes_take_le16(&c);

	bytes_take_le32(&c);
	if (c.failed) {
		return -EBADMSG;
	}
	if (framework_count == 0 || message_count == 0) {
		return -EOPNOTSUPP;
	}

	uint32_t framework = bytes_take_le32(&c);
	uint32_t version = bytes_take_le32(&c);

	if (c.failed || framework_count != 1 || message_count != 1) {
		return -EBADMSG;
	}
	*ret_framework = framework;
	*ret_version = version;
	return 0;
}

int ic_parse_heartbeat(const struct ic_message *message, struct ic_heartbeat_answer *ret)
{
	struct bytes_cursor c = bytes_cursor(message->body, message->body_bytes);
	uint64_t sequence = bytes_take_le64(&c);

	if (c.failed) {
		return -EBADMSG;
	}
	ret->sequence = sequence;
	/* Older guests stop after the number: then the cursor fails and this is 0, unknown. */
	ret->application_state = bytes_take_le32(&c);
	return 0;
}

size_t ic_build(const struct ic_message *message, uint8_t *ret_buf)
{
	struct ic_pipe_header pipe = {
		.type = IC_PIPE_DATA,
		.bytes = (uint32_t)(sizeof(struct ic_header) + message->body_bytes),
	};
	struct ic_header header = {
		.framework_major = IC_VERSION_MAJOR(message->framework),
		.framework_minor = IC_VERSION_MINOR(message->framework),
		.message_type = message->type,
		.version_major = IC_VERSION_MAJOR(message->version),
		.version_minor = IC_VERSION_MINOR(message->version),
		.message_bytes = (uint16_t)message->body_bytes,
		.status = message->status,
		.transaction_id = message->transaction_id,
		.flags = message->flags,
	};

	check(message->body_bytes <= IC_MESSAGE_BYTES_MAX - IC_FRAME_BYTES);
	memcpy(ret_buf, &pipe, sizeof(pipe));
	memcpy(ret_buf + sizeof(pipe), &header, sizeof(header));
	if (message->body_bytes > 0) {
		memcpy(ret_buf + IC_FRAME_BYTES, message->body, message->body_bytes);
	}
	return IC_FRAME_BYTES + message->body_bytes;
}

#define NEGOTIATE_VERSIONS_MAX 16

size_t ic_build_negotiate(const uint32_t *versions, size_t count, uint8_t transaction_id,
			  uint8_t *ret_buf)
{
	static const uint32_t frameworks[] = { IC_FRAMEWORK_1_0, IC_FRAMEWORK_3_0 };
	uint8_t body[sizeof(struct ic_negotiate) +
		     (ARRAY_SIZE(frameworks) + NEGOTIATE_VERSIONS_MAX) * sizeof(uint32_t)];
	struct ic_negotiate negotiate = {
		.framework_count = ARRAY_SIZE(frameworks),
		.message_count = (uint16_t)count,
	};
	uint8_t *at = body + sizeof(negotiate);

	check(count <= NEGOTIATE_VERSIONS_MAX);
	memcpy(body, &negotiate, sizeof(negotiate));
	for (size_t i = 0; i < ARRAY_SIZE(frameworks); i++, at += sizeof(uint32_t)) {
		bytes_put_le32(at, frameworks[i]);
	}
	for (size_t i = 0; i < count; i++, at += sizeof(uint32_t)) {
		bytes_put_le32(at, versions[i]);
	}

	/* Versions in the header are 0 until they have been agreed upon. */
	struct ic_message message = {
		.type = IC_MSG_NEGOTIATE,
		.transaction_id = transaction_id,
		.flags = IC_FLAG_TRANSACTION | IC_FLAG_REQUEST,
		.body = body,
		.body_bytes = (uint32_t)(at - body),
	};

	return ic_build(&message, ret_buf);
}

size_t ic_build_heartbeat(uint64_t sequence, uint8_t *ret_body)
{
	struct ic_heartbeat heartbeat = { .sequence = sequence };

	memcpy(ret_body, &heartbeat, sizeof(heartbeat));
	return sizeof(heartbeat);
}

size_t ic_build_shutdown(uint32_t flags, uint32_t timeout_seconds, uint8_t *ret_body)
{
	struct ic_shutdown shutdown = {
		.reason = IC_SHUTDOWN_REASON_PLANNED,
		.timeout_seconds = timeout_seconds,
		.flags = flags,
	};

	memcpy(ret_body, &shutdown, sizeof(shutdown));
	return sizeof(shutdown);
}

size_t ic_build_timesync(uint32_t version, uint64_t parent_time, uint64_t reference_time,
			 uint8_t flags, uint8_t *ret_body)
{
	if (version == IC_TIMESYNC_4_0) {
		struct ic_timesync_4 sync = {
			.parent_time = parent_time,
			.reference_time = reference_time,
			.flags = flags,
		};

		memcpy(ret_body, &sync, sizeof(sync));
		return sizeof(sync);
	}

	struct ic_timesync sync = { .parent_time = parent_time, .flags = flags };

	memcpy(ret_body, &sync, sizeof(sync));
	return sizeof(sync);
}
