/* SPDX-License-Identifier: MIT */
/*
 * Which queue of a front end a frame is for: its flow's Toeplitz hash looked up in the table that the
 * guest has set (struct net_rss). For back ends with several ends, and for the switch. Pure.
 *
 *   owner   the caller   thread  any; read-only once made
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"
#include "net/toeplitz.h"

struct steer {
	struct net_rss rss;
	struct toeplitz toeplitz;
};

/* rss may be off: then all is for queue 0. A table or a number of queues that makes no sense is off. */
void steer_init(struct steer *steer, const struct net_rss *rss);

/*
 * The flow's hash, of headers that somebody has parsed. Addresses are in wire order, 4 or 16 bytes;
 * ports: source and destination as on the wire, NULL when there are none (fragments, other protocols);
 * l4: enum net_l4. False: the guest wants no hash of such frames.
 */
bool steer_hash_ip(const struct steer *steer, bool is_ipv6, const uint8_t *source,
		   const uint8_t *destination, uint8_t l4, const uint8_t *ports,
		   uint32_t *ret_hash);

/*
 * The same of a frame's first bytes (Ethernet, up to two tags, IP, ports), in memory that nobody
 * changes meanwhile: STEER_HEAD_BYTES of them are enough, fewer do no harm.
 */
#define STEER_HEAD_BYTES 128
bool steer_hash(const struct steer *steer, const uint8_t *head, uint32_t bytes, uint32_t *ret_hash);

/* The queue of a hash. */
static inline unsigned int steer_queue(const struct steer *steer, uint32_t hash)
{
	return steer->rss.is_on ? steer->rss.table[hash & (steer->rss.table_entries - 1U)] : 0;
}

/*
 * Both for a frame as it lies: copies its first bytes, unless it has its hash already (NET_FRAME_HASH
 * and hash are set when one was computed). The queue; 0 for what cannot be hashed.
 */
unsigned int steer_frame(const struct steer *steer, struct net_frame *frame);
