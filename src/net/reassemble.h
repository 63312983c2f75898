/* SPDX-License-Identifier: MIT */
/*
 * Reassembly of IPv4 fragments, so that what lies behind sees whole datagrams only. (libslirp's own
 * reassembly can be made to crash by a hostile guest.)
 *
 * Bounded: so many datagrams at a time, the oldest gives way; no timer. Fragments that overlap are no
 * accident and cost the whole datagram (RFC 5722 says so for IPv6).
 *
 *   owner   a back end   thread  its loop
 *   spec    RFC 791, 815
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "net/net.h"

#define REASSEMBLE_DATAGRAMS 8
#define REASSEMBLE_UNITS     8192 /* of 8 bytes, in an IPv4 datagram */

struct reassembly {
	uint8_t key[10]; /* addresses, id; protocol is in the header */
	bool used;
	uint64_t age;        /* number of the fragment that began it */
	uint32_t head_bytes; /* Ethernet and IP, of the first fragment to arrive */
	uint32_t total;      /* payload bytes; 0: the last fragment is missing */
	uint32_t have;       /* units */
	uint64_t map[REASSEMBLE_UNITS / 64];
	uint8_t *frame; /* room for headers and 64 KiB */
};

struct reassembler {
	struct reassembly datagrams[REASSEMBLE_DATAGRAMS];
	uint8_t *block;
	uint64_t fragments;
	uint64_t overlaps, evicted, completed;
};

MUST_CHECK int reassembler_init(struct reassembler *r);
void reassembler_fini(struct reassembler *r);

/*
 * Takes a frame. true: *ret_frame is a whole datagram, this frame itself or one that it completes
 * (valid until the next call). false: kept or dropped. Frames that are no IPv4 pass as they are.
 */
bool reassembler_take(struct reassembler *r, uint8_t *frame, uint32_t bytes, uint8_t **ret_frame,
		      uint32_t *ret_bytes);
