/* SPDX-License-Identifier: MIT */
/*
 * A core: one loop's share of the switch, with its own tables; and where extensions hook in.
 *
 * A batch of frames passes the stages in this order (pipeline.c):
 *
 *   in, per source                          out, per destination
 *    1 sanity                                9 VLAN, private VLAN, link, MTU
 *    2 VLAN                                 10 rules "out", flows
 *    3 capture    ◄── hook                  11 filter   ◄── hook
 *    4 filter     ◄── hook                  12 capture  ◄── hook
 *    5 rates                                13 deliver
 *    6 guards
 *    7 rules "in", flows
 *    8 forward    ◄── hook
 *
 *   thread  the core's loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vswitch/frame.h"
#include "vswitch/vswitch.h"

struct fdb;
struct flow_table;
struct mcast;

enum core_stage {
	STAGE_CAPTURE_IN = 3,
	STAGE_FILTER_IN = 4,
	STAGE_FORWARD = 8,
	STAGE_FILTER_OUT = 11,
	STAGE_CAPTURE_OUT = 12,
};

enum ext_answer {
	EXT_PASS,  /* goes on; at STAGE_FORWARD: the built-in tables decide */
	EXT_DROP,  /* dropped; *ret_cause says why */
	EXT_TAKEN, /* copied out, it leaves the batch: core_resume() later, or never */
	EXT_SENT,  /* at STAGE_FORWARD only: frame->to has been filled */
};

/*
 * What an extension must remember of a frame that it has taken, besides its bytes and what struct
 * net_frame says: core_held() fills it in.
 */
struct core_held {
	uint8_t stage;   /* enum core_stage: where it was taken */
	uint8_t pcp;     /* of its tag */
	uint16_t from;   /* source port */
	uint16_t member; /* of the team, that it came in on */
	uint16_t vlan;   /* 0: none */
	uint16_t fid;    /* as struct vframe's */
	uint16_t port;   /* STAGE_FILTER_OUT: the destination; else VSWITCH_NO_PORT */
};

/*
 * Called for ports whose policy says so (PORT_EXT_*). A frame is the pipeline's: looked at during the
 * call, changed only where it says so, copied to be kept. Its bytes beyond frame->head may be a guest's
 * memory. None of them may call back into the core (core_resume() comes from the loop).
 */
struct ext_hooks {
	/* Stages 3 and 12. port: the source, or the destination when is_out. */
	void (*capture)(void *ctx, struct core *core, const struct vframe *frame, uint16_t port,
			bool is_out);
	/* A frame that capture at 3 has seen was dropped: by frame->drop, at port. Optional. */
	void (*dropped)(void *ctx, struct core *core, const struct vframe *frame, uint16_t port);
	/* Stages 4 and 11. May not change port or VLAN. *ret_cause is DROP_EXT_FILTER before. */
	enum ext_answer (*filter)(void *ctx, struct core *core, const struct vframe *frame,
				  uint16_t port, bool is_out, enum drop_cause *ret_cause);
	/* Stage 8. */
	enum ext_answer (*forward)(void *ctx, struct core *core, struct vframe *frame,
				   enum drop_cause *ret_cause);
	/* The round ends: wake who was given something. Optional. */
	void (*flush)(void *ctx, struct core *core);
};

/* ---- for extensions ---------------------------------------------------------------------------- */

unsigned int core_index(const struct core *core);
struct loop *core_loop(const struct core *core);

/* Fills in what core_resume() wants to know. port: as the hook was told it. */
void core_held(const struct vframe *frame, enum core_stage stage, uint16_t port,
	       struct core_held *ret);

/*
 * A frame that was taken goes on behind its stage (of several filters, the extension calls those that
 * are left itself, before). net: its bytes, changed or not, in memory that is still for the call, with
 * iov[-1] to be written; flags, mss, l4_offset as they were. to: at STAGE_FORWARD, where it goes (NULL:
 * the built-in tables decide); else NULL. The ports may have gone meanwhile: then it is dropped and
 * counted. On the core's loop, not from within a hook.
 */
void core_resume(struct core *core, const struct core_held *held, const struct net_frame *net,
		 const port_set *to);

/* A frame that was taken is dropped after all: counts it. */
void core_drop_held(struct core *core, const struct core_held *held, enum drop_cause cause);

/* ---- for verbs (vswitch_on_cores()) ------------------------------------------------------------ */

/* This core's replicas. Changing one changes this one only: do it on all. */
struct fdb *core_fdb(struct core *core);
struct mcast *core_mcast(struct core *core);
struct flow_table *core_flows(struct core *core);
const struct policy *core_policy(const struct core *core);

/*
 * What the port's guard knows, what was snooped included: of a used port, with the other cores' news taken
 * first. Valid until the loop goes on.
 */
struct guard_binding;
struct guard_policy;
const struct guard_policy *core_guard(struct core *core, uint16_t port);
/* As if it had been snooped. Nothing happens where the port does not learn that way. */
void core_bind(struct core *core, uint16_t port, const struct guard_binding *binding);

/*
 * The port that an address of this VLAN (0: of none) is behind, -1: not known here, after a look at what
 * other cores have learned. On the core's loop.
 */
int core_find_port(struct core *core, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan);

/* Seconds as the tables count them (time is handed in, once per round): for fdb_set() and others. */
uint32_t core_now_s(const struct core *core);
