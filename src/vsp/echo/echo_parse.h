/* SPDX-License-Identifier: MIT */
/*
 * Echo: bytes to requests and answers to bytes. The only code that sees the wire structs of
 * proto/echo.h.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/echo.h"

struct echo_request {
	uint32_t type; /* ECHO_MSG_HELLO or ECHO_MSG_ECHO */
	union {
		struct {
			uint32_t version;
		} hello;
		struct {
			const uint8_t *bytes; /* borrowed from buf */
			uint32_t count;
		} echo;
	};
};

/*
 * 0; -EPROTO when the framing is broken; -EBADMSG when a message is not what it should be;
 * -EOPNOTSUPP for a type that we do not know.
 */
MUST_CHECK int echo_parse(const uint8_t *buf, size_t length, struct echo_request *ret);

#define ECHO_RESULT_BYTES (sizeof(struct echo_header) + sizeof(struct echo_result))
#define ECHO_ECHO_BYTES   (sizeof(struct echo_header) + sizeof(struct echo_echo))

/* HELLO_RESULT or ERROR: ECHO_RESULT_BYTES. */
void echo_build_result(uint32_t type, uint32_t status, uint32_t version, uint8_t *ret_buf);

/* What comes before the echoed bytes: ECHO_ECHO_BYTES. */
void echo_build_echo(uint64_t sequence, uint32_t count, uint8_t *ret_buf);
