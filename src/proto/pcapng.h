/* SPDX-License-Identifier: MIT */
/*
 * The file format of captures, as far as we write it: blocks of 32-bit words in the writer's byte order,
 * each with its length before and behind; options are {type, length, bytes, filled up to 32 bits}.
 *
 *   spec  draft-ietf-opsawg-pcapng (IETF): 3.1 blocks, 3.5 options, 4.1 section header, 4.2 interface
 *         description, 4.3 enhanced packet, 4.6 interface statistics
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define PCAPNG_BLOCK_SECTION    0x0a0d0d0aU
#define PCAPNG_BLOCK_INTERFACE  1U
#define PCAPNG_BLOCK_STATISTICS 5U
#define PCAPNG_BLOCK_PACKET     6U

#define PCAPNG_MAGIC            0x1a2b3c4dU
#define PCAPNG_LINK_ETHERNET    1U
#define PCAPNG_LENGTH_UNKNOWN   0xffffffffffffffffULL

struct pcapng_block {
	uint32_t type;
	uint32_t bytes; /* of all of it, this and the same number at its end included */
};
static_assert(sizeof(struct pcapng_block) == 8, "block");

struct pcapng_section {
	struct pcapng_block block;
	uint32_t magic;
	uint16_t major, minor; /* 1, 0 */
	uint32_t length[2];    /* low, high */
};
static_assert(sizeof(struct pcapng_section) == 24, "section header");

/* Interfaces have numbers: the first in a section is 0. */
struct pcapng_interface {
	struct pcapng_block block;
	uint16_t link; /* PCAPNG_LINK_* */
	uint16_t reserved;
	uint32_t snaplen; /* 0: no limit */
};
static_assert(sizeof(struct pcapng_interface) == 16, "interface description");

struct pcapng_packet {
	struct pcapng_block block;
	uint32_t interface;
	uint32_t time_high, time_low; /* in the units of the interface's option if_tsresol */
	uint32_t captured_bytes, bytes;
};
static_assert(sizeof(struct pcapng_packet) == 28, "enhanced packet");

struct pcapng_statistics {
	struct pcapng_block block;
	uint32_t interface;
	uint32_t time_high, time_low;
};
static_assert(sizeof(struct pcapng_statistics) == 20, "interface statistics");

struct pcapng_option {
	uint16_t type;
	uint16_t bytes; /* without what fills it up */
};
static_assert(sizeof(struct pcapng_option) == 4, "option");

enum {
	PCAPNG_OPT_END = 0,
	PCAPNG_OPT_COMMENT = 1,
	PCAPNG_SHB_APPLICATION = 4,
	PCAPNG_IF_NAME = 2,
	PCAPNG_IF_DESCRIPTION = 3,
	PCAPNG_IF_TSRESOL = 9,  /* u8: 9 is nanoseconds */
	PCAPNG_EPB_FLAGS = 2,   /* u32: PCAPNG_DIRECTION_* in the lowest two bits */
	PCAPNG_ISB_IF_DROP = 5, /* u64 */
};

#define PCAPNG_DIRECTION_IN  1U /* the interface got it */
#define PCAPNG_DIRECTION_OUT 2U /* and sent it */
