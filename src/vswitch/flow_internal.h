/* SPDX-License-Identifier: MIT */
/* The table of flows, for flow*.c only. */
#pragma once

#include "vswitch/flow.h"

#define FLOW_NO_LINK UINT32_MAX

struct flow_port {
	uint32_t count;
	uint32_t first, last; /* of the port's flows, oldest first; FLOW_NO_LINK: none */
};

struct flow_table {
	uint64_t secret;
	uint32_t entries, per_port;
	uint32_t granted;       /* what every port can always have */
	uint32_t count, common; /* flows; those above their ports' granted ones */
	uint32_t fresh;         /* entries from here on were never used */
	uint32_t free;          /* first free one below fresh, linked by chain */
	uint32_t age_at;
	uint32_t bucket_mask;
	uint32_t *buckets;
	struct flow *flows;
	struct flow_port ports[VSWITCH_PORTS_MAX];
};

/* As flow_apply(), for a flow that was last seen at seen_s. */
bool flow_put(struct flow_table *table, const struct flow_news *news, uint32_t seen_s,
	      uint32_t now_s);
