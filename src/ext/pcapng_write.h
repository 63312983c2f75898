/* SPDX-License-Identifier: MIT */
/*
 * Builds the blocks of a capture (proto/pcapng.h) in the caller's memory. Pure.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/pcapng.h"

/* No block is longer than this and the bytes of its frame. */
#define PCAPNG_ROOM 512U

/* Each returns the block's length; `to` has room for it. Texts are cut at 64 bytes. */

size_t pcapng_section(uint8_t *to, const char *application);

/* The n-th of these in a section is interface n (from 0). Times are nanoseconds. */
size_t pcapng_interface(uint8_t *to, const char *name, uint32_t snaplen);

struct pcapng_frame {
	uint32_t interface;
	uint64_t time_ns;
	const uint8_t *bytes;
	uint32_t captured, length; /* captured of length bytes are there */
	uint32_t direction;        /* PCAPNG_DIRECTION_* */
	const char *comment;       /* NULL: none */
	uint16_t tci;              /* with has_tag: a tag that is not in the bytes, and is put in */
	uint8_t has_tag;
};
/* PCAPNG_ROOM + frame->captured are enough. */
size_t pcapng_packet(uint8_t *to, const struct pcapng_frame *frame);

/* How many frames were not captured. */
size_t pcapng_statistics(uint8_t *to, uint32_t interface, uint64_t time_ns, uint64_t lost);
