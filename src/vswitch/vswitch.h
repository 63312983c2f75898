/* SPDX-License-Identifier: MIT */
/*
 * The virtual switch: ports, and the cores that carry frames between them.
 *
 *   control loop          what is configured (struct policy), ports that come and go, sums
 *     │ loop_call()       adopt, publish: the control loop waits for the cores, never the reverse
 *     ▼
 *   core 0 … n            each on its loop: ends of ports, and its own FDB, groups, flows
 *     └── news, hand-over rings, lanes between them: no lock, nothing shared that is written twice
 *
 * Invariants:
 *   S1  A core never waits for anything: what cannot be told, handed over or delivered is dropped and
 *       counted, or, where only the sender's own limit or an uplink is short, left with the sender.
 *   S2  What a core looks at per frame is its own or immutable: a policy and a port's view are swapped
 *       as a whole, on the core's loop, between two batches.
 *   S3  Nothing in a hand-over ring or in news is a pointer: ports and queues are numbers, looked up by
 *       who takes them out, so that an end which has left is simply not there.
 *
 *   owner   the switch process (or a test)   thread  the control loop, unless it says otherwise
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "loop/loop.h"
#include "vswitch/frame.h"

struct core;
struct policy;
struct vswitch;

#define VSWITCH_CORES_MAX  16U
#define VSWITCH_QUEUES_MAX 64U /* ends of one port */
#define VSWITCH_NAME_BYTES 64U /* of a port, with its end */

/* Told on the control loop. All optional. */
struct vswitch_events {
	/* The link of a wire's end (queue: which of the port's) has changed. */
	void (*link_changed)(void *ctx, uint16_t port, unsigned int queue, bool up);
	/* A port's front end (a guest's NIC) has come, changed (its MAC, MTU, queues) or gone. */
	void (*port_changed)(void *ctx, uint16_t port);
	/* Ports have been given addresses by DHCP, renewed or lost them (core_guard()): some since the last time. */
	void (*bound)(void *ctx);
};

struct vswitch_config {
	struct loop *control;
	struct loop
		*loops[VSWITCH_CORES_MAX];   /* one per core, borrowed; control may be among them */
	unsigned int core_count;             /* 1 to VSWITCH_CORES_MAX */
	uint64_t secret;                     /* seeds the hashes */
	uint32_t fdb_entries, flows, groups; /* 0: as many as there can be */
	const struct vswitch_events *events; /* NULL: nobody listens */
	void *ctx;
};

/* ---- life -------------------------------------------------------------------------------------- */

/* Before the cores' loops run, or while they do. 0, -ENOMEM, -EINVAL (counts). No port, nothing flows. */
MUST_CHECK int vswitch_create(const struct vswitch_config *config, struct vswitch **ret);

/*
 * Takes the switch off its cores' loops; done is posted on the control loop. All ends have been stopped
 * or detached. Then vswitch_destroy(), for which NULL is fine.
 */
void vswitch_stop(struct vswitch *vswitch, struct loop_work *done);
void vswitch_destroy(struct vswitch *vswitch);

/* ---- what is configured ------------------------------------------------------------------------ */

/*
 * Takes a sealed policy (policy_seal()): each core adopts it in turn, then the one before is freed.
 * Frames in flight see the one or the other, whole.
 */
void vswitch_adopt(struct vswitch *vswitch, struct policy *policy_take);

/* The one in force; there is always one. Valid until the next vswitch_adopt(). */
const struct policy *vswitch_policy(const struct vswitch *vswitch);

/* ---- ports ------------------------------------------------------------------------------------- */

/*
 * The number is the caller's choice, below VSWITCH_PORTS_MAX; what the port may do is the policy's.
 * -EEXIST, -EINVAL (the number, an empty or too long name), -ENOMEM.
 */
MUST_CHECK int vswitch_port_add(struct vswitch *vswitch, uint16_t port, const char *name);

/* Its ends have left. What the tables know of it is forgotten, and its counters. */
void vswitch_port_remove(struct vswitch *vswitch, uint16_t port);

const char *vswitch_port_name(const struct vswitch *vswitch, uint16_t port); /* NULL: none */
bool vswitch_port_has_ends(const struct vswitch *vswitch, uint16_t port);

/* What the front end of a guest's port has told (net_front_config); false: there is none. */
struct net_front_config;
bool vswitch_port_front(const struct vswitch *vswitch, uint16_t port, struct net_front_config *ret);

/* ---- cores ------------------------------------------------------------------------------------- */

unsigned int vswitch_cores(const struct vswitch *vswitch);
struct loop *vswitch_loop(const struct vswitch *vswitch, unsigned int core);

/* The core with the fewest ends, where a new port's first queue should live. */
unsigned int vswitch_home(const struct vswitch *vswitch);

/* Runs fn on each core's loop in turn and waits: for verbs that look at or change tables (core.h). */
typedef void vswitch_core_fn(struct core *core, void *arg);
void vswitch_on_cores(struct vswitch *vswitch, vswitch_core_fn *fn, void *arg);
