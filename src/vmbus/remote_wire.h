/* SPDX-License-Identifier: MIT */
/*
 * Messages of proto/remote.h: bytes to checked messages, and messages to bytes. Pure; the only code
 * that sees a datagram's layout.
 *
 *   thread  any
 *   spec    proto/remote.h, docs/remote-vsp.md
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/remote.h"

/*
 * A message in our own memory, checked as far as it can be alone: its length, its counts, the number
 * of its descriptors; strings end. What it says (relids, sizes of memory) is still its sender's word.
 */
struct remote_message {
	uint16_t type; /* REMOTE_MSG_* */
	uint32_t device, serial;
	union {
		struct remote_hello hello;
		struct remote_welcome welcome;
		struct remote_lend lend;
		struct remote_gpadl gpadl;
		struct remote_channel channel;
		struct remote_started started;
		struct remote_recall recall;
		struct remote_returned returned;
		struct remote_subs subs;
	};
	/* Behind the struct: config, gfns (unaligned, little-endian), relids, JSON. In the caller's buffer. */
	const uint8_t *tail;
	uint32_t tail_bytes;
};

/*
 * One datagram with fd_count descriptors. 0; -EPROTO (length, unknown type, a number of descriptors
 * that the type does not have, nonsense in it).
 */
MUST_CHECK int remote_parse(const uint8_t *buf, size_t bytes, unsigned int fd_count,
			    struct remote_message *ret);

/*
 * Writes a message into ret_buf (REMOTE_MESSAGE_BYTES_MAX); its bytes. The caller has filled the
 * fields of the type's struct, except its header, and tail; what does not fit is its mistake.
 */
uint32_t remote_build(const struct remote_message *message, uint8_t *ret_buf);

/* For texts of fixed length: as much as fits, with its end. */
void remote_copy_text(char *ret, size_t room, const char *text);
