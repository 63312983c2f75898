/* SPDX-License-Identifier: MIT */
/*
 * Between a policy (qos_policy.c: who may pass and when, any thread, under its lock) and the ends of
 * disks that wait for it (qos.c: each on its loop).
 *
 *   end                    policy
 *   qos_take ───────────►  passes, or joins the turn of its disk
 *                          … the first of the first turn has to ask again in wait_ns
 *   qos_resume ─────────►  lets pass who may, in turn, and wakes them; wakes who is first now
 *
 * Turns are of disks: one that has many ends, or many requests, has one turn like any other.
 */
#pragma once

#include "base/counter.h"
#include "base/list.h"
#include "block/qos.h"

/* A disk's place in the queue of one policy. The policy's lock. */
struct qos_turn {
	struct list link; /* policy.turns, while any end waits */
	struct list ends; /* waiters */
};

/* One end's first request, which waits for one policy at a time. */
struct qos_waiter {
	/* Constant while it waits. */
	struct qos_turn *turn;
	struct loop *loop;
	struct loop_work *wake;
	uint64_t operations, bytes;

	/* The policy's lock. */
	struct list link; /* turn.ends */
	bool is_granted;
};

/* What an end has let through; written on its loop. */
struct qos_counters {
	counter_u64 operations, bytes, delayed, waiting;
};

/* An end in a policy's list. */
struct qos_member {
	struct list link;
	const struct qos_counters *counters;
};

void qos_attach(struct qos_policy *policy, struct qos_member *member);
/* Its counts stay with the policy. */
void qos_detach(struct qos_policy *policy, struct qos_member *member);

/* Nobody has to ask again: the policy wakes. */
#define QOS_NO_WAIT (~0ULL)

/* Whether the waiter may pass. If not, it waits: resume it when it is woken, or after *ret_wait_ns. */
MUST_CHECK bool qos_take(struct qos_policy *policy, struct qos_waiter *waiter,
			 uint64_t *ret_wait_ns);
MUST_CHECK bool qos_resume(struct qos_policy *policy, struct qos_waiter *waiter,
			   uint64_t *ret_wait_ns);

/* It waits no more, and passes without being counted. */
void qos_leave(struct qos_policy *policy, struct qos_waiter *waiter);
