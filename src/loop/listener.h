/* SPDX-License-Identifier: MIT */
/*
 * A socket that others connect to: who comes is accepted, LISTENER_TURN at a time, so that nobody who
 * connects again and again keeps the loop's others waiting. Who finds no descriptor left waits in the
 * backlog, and is looked for again.
 *
 *   owner   embedded in its user's; the descriptor is the user's, until listener_stop()
 *   thread  the loop's
 */
#pragma once

#include "loop/loop.h"

#define LISTENER_TURN    16U          /* accepted before others on the loop have their turn */
#define LISTENER_WAIT_NS 100000000ULL /* until it is tried again, when the host has no descriptor */

struct listener;

/* fd_take: non-blocking, closed on exec. */
typedef void listener_fn(struct listener *listener, int fd_take);

struct listener {
	struct loop_watch watch;
	struct loop_work more; /* others wait in the backlog */
	struct loop_timer again;
	listener_fn *fn;
	bool is_started;
};

/*
 * fd: listening, non-blocking. Who waits in its backlog already is accepted in the loop's next rounds.
 * 0 or -ENOMEM.
 */
MUST_CHECK int listener_start(struct listener *listener, struct loop *loop, int fd,
			      listener_fn *fn);

/* fn is not called again, also when called from it. No-op when not started, if zeroed. */
void listener_stop(struct listener *listener);
