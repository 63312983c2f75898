/* SPDX-License-Identifier: MIT */
/*
 * What has been counted: per port, core and cause; here summed over the cores.
 *
 *   thread  any may read; each number is exact, together they are a snapshot only roughly
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vswitch/drop.h"
#include "vswitch/vswitch.h"

/* A port's view of itself: what it sent into the switch, what the switch delivered to it. */
struct port_stats {
	uint64_t sent_frames, sent_bytes, sent_large; /* large: LSO or coalesced, counted once */
	uint64_t sent_groups;                         /* of these, to a group or everyone */
	uint64_t delivered_frames, delivered_bytes, delivered_large;
	uint64_t waits;                   /* the sender was told to wait */
	uint64_t drops[DROP_CAUSE_COUNT]; /* at the source or, from DROP_LINK on, the destination */
};

/* A port that is not there has zeroes. */
void vswitch_port_stats(const struct vswitch *vswitch, uint16_t port, struct port_stats *ret);

/* What a port counted in an earlier life, added to what it counts now. Control loop. */
void vswitch_port_stats_base(struct vswitch *vswitch, uint16_t port, const struct port_stats *base);

/*
 * What a rule has counted, over all cores: index as acl_rule_at() has it in the policy in force. Zeroes
 * where there is none. Control loop.
 */
void vswitch_rule_stats(const struct vswitch *vswitch, uint16_t port, bool is_out,
			unsigned int index, uint64_t *ret_frames, uint64_t *ret_bytes);

/*
 * Counters begin at 0 again: of the rule with this id, 0: of all; at this port, -1: at all. Control loop;
 * each core does its own.
 */
void vswitch_rule_zero(struct vswitch *vswitch, int port, uint32_t id);

/* What a rule counted in an earlier life, added to what it counts now; no such rule: nothing. Control loop. */
void vswitch_rule_base(struct vswitch *vswitch, uint16_t port, bool is_out, uint32_t id,
		       uint64_t frames, uint64_t bytes);

/* Of one core. */
struct core_stats {
	uint64_t batches, frames;          /* runs of the pipeline, and frames in them */
	uint64_t plain_frames;             /* of these, on the short path */
	uint64_t flooded;                  /* frames whose destination was not known */
	uint64_t handed_over, handed_lost; /* frames copied to another core; with no room there */
	uint64_t lane_frames;              /* frames copied straight to a queue of another core's */
	uint64_t news_told, news_lost;
};
void vswitch_core_stats(const struct vswitch *vswitch, unsigned int core, struct core_stats *ret);
