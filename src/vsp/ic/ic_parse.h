/* SPDX-License-Identifier: MIT */
/*
 * Integration components: bytes to messages and back. The only code that sees the wire structs of
 * proto/ic.h.
 *
 *   thread  any
 *   spec    docs/protocols.md#ic
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/ic.h"

struct ic_message {
	uint32_t framework; /* IC_FRAMEWORK_* */
	uint32_t version;   /* IC_VERSION() of the component */
	uint16_t type;      /* IC_MSG_* */
	uint8_t transaction_id;
	uint8_t flags;   /* IC_FLAG_* */
	uint32_t status; /* IC_STATUS_* */
	const uint8_t *body;
	uint32_t body_bytes;
};

/* A guest's message; body borrows from buf. 0, or -EPROTO when a length does not fit. */
MUST_CHECK int ic_parse(const uint8_t *buf, size_t length, struct ic_message *ret);

/*
 * The guest's answer to NEGOTIATE: one framework and one message version. -EOPNOTSUPP when there is
 * nothing in common, -EBADMSG when it is not such an answer.
 */
MUST_CHECK int ic_parse_negotiate(const struct ic_message *message, uint32_t *ret_framework,
				  uint32_t *ret_version);

struct ic_heartbeat_answer {
	uint64_t sequence;
	uint32_t application_state; /* IC_APPLICATION_*, or what the guest likes */
};

/* -EBADMSG when it is too short. */
MUST_CHECK int ic_parse_heartbeat(const struct ic_message *message,
				  struct ic_heartbeat_answer *ret);

/*
 * Each build writes one message of at most IC_MESSAGE_BYTES_MAX bytes and returns its length. The
 * body of message is copied; its flags and status are the caller's.
 */
size_t ic_build(const struct ic_message *message, uint8_t *ret_buf);

/* Frameworks 1.0 and 3.0 and these message versions (at most 16). */
size_t ic_build_negotiate(const uint32_t *versions, size_t count, uint8_t transaction_id,
			  uint8_t *ret_buf);

/* Bodies; each returns its length. */
size_t ic_build_heartbeat(uint64_t sequence, uint8_t *ret_body);
size_t ic_build_shutdown(uint32_t flags, uint32_t timeout_seconds, uint8_t *ret_body);
/* The form that `version` asks for. Times as in struct ic_timesync_4. */
size_t ic_build_timesync(uint32_t version, uint64_t parent_time, uint64_t reference_time,
			 uint8_t flags, uint8_t *ret_body);
