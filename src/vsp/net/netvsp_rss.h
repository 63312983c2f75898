/* SPDX-License-Identifier: MIT */
/*
 * Receive-side scaling as a guest sets and asks for it: OID_GEN_RSS_PARAMETERS. Pure functions over
 * copies of ours.
 *
 *   spec  proto/rndis.h; facts: Linux drivers/net/hyperv/rndis_filter.c
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"

struct netvsp_rss {
	bool is_set; /* table, key and hash types are the guest's */
	bool is_on;
	uint32_t hash_info; /* NDIS_HASH_* */
	uint16_t table_entries;
	uint8_t key[NET_RSS_KEY_BYTES];
	uint16_t table[NET_RSS_TABLE_ENTRIES];
};

/*
 * Sets *rss as the guest wants it, who has so many queues. RNDIS_STATUS_SUCCESS; anything else leaves
 * it as it was.
 */
uint32_t netvsp_rss_set(struct netvsp_rss *rss, const uint8_t *info, uint32_t bytes,
			unsigned int queues);

/* The same structure for a guest that asks; its length. info: NETVSP_RSS_INFO_BYTES_MAX. */
#define NETVSP_RSS_INFO_BYTES_MAX 592U
uint32_t netvsp_rss_build(const struct netvsp_rss *rss, uint8_t *info);

/* Whether it makes sense with so many queues: for one that was loaded. */
bool netvsp_rss_is_sound(const struct netvsp_rss *rss, unsigned int queues);

/* As back ends want it. */
void netvsp_rss_to_net(const struct netvsp_rss *rss, unsigned int queues, struct net_rss *ret);
