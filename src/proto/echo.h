/* SPDX-License-Identifier: MIT */
/*
 * Echo, the example protocol. It is ours and no guest ships a driver for it; it shows what every
 * VMBus protocol has: versions, a first exchange, requests and completions.
 *
 *     guest → host  HELLO (version)     completed with HELLO_RESULT
 *     guest → host  ECHO (bytes)        completed with the same ECHO
 *
 * Messages are in-band packets that ask for a completion. All fields are little-endian.
 *
 *   spec  this file; docs/protocols.md#echo
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "base/guid.h"

#define ECHO_INTERFACE GUID(0x7ab19a2c, 0x0f6e, 0x4d0b, 0x9c3d, 0x5d1f6a40e7c1)

#define ECHO_VERSION_1 1
#define ECHO_VERSION_2 2 /* ECHO counts: sequence is valid in its completion */

enum {
	ECHO_MSG_HELLO = 1,
	ECHO_MSG_HELLO_RESULT = 2,
	ECHO_MSG_ECHO = 3,
	ECHO_MSG_ERROR = 4,
};

#define ECHO_STATUS_OK          0
#define ECHO_STATUS_UNSUPPORTED 1 /* of HELLO: not this version, try a lower one */
#define ECHO_STATUS_INVALID     2 /* nonsense, or ECHO before HELLO */

struct echo_header {
	uint32_t type;  /* ECHO_MSG_* */
	uint32_t bytes; /* of what follows this header */
};
static_assert(sizeof(struct echo_header) == 8, "header");

/* guest → host; answered by HELLO_RESULT */
struct echo_hello {
	uint32_t version; /* ECHO_VERSION_* */
	uint32_t reserved;
};

/* host → guest; no answer. The body of HELLO_RESULT and of ERROR, which answers nonsense. */
struct echo_result {
	uint32_t status;  /* ECHO_STATUS_* */
	uint32_t version; /* now in force; 0: none */
};

/* guest → host; answered by ECHO. At most ECHO_BYTES_MAX bytes follow. */
struct echo_echo {
	uint64_t sequence; /* from version 2, in the completion: 1, 2, 3 … */
};

#define ECHO_BYTES_MAX 4096
