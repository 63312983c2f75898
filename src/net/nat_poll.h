/* SPDX-License-Identifier: MIT */
/*
 * The sockets that slirp wants to hear of, as one-shot polls in io_uring.
 *
 * slirp thinks in poll(2): it names its sockets and what it waits for (fill), then asks what each
 * has (report). A poll once armed stays in the kernel until it fires, so that a quiet socket costs
 * nothing per round, and those that fired are armed again by entries that travel with the loop's
 * next io_uring_enter: no system call of their own. Reading and writing are polled apart, since
 * slirp wants them at different times.
 *
 * A poll holds its file open; when slirp closes a socket (forget), it is cancelled, and the slot is
 * reused after the kernel has let go of it.
 *
 *   owner   nat   thread  its loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/list.h"
#include "loop/loop.h"

#define NAT_FDS_MAX     65536
#define NAT_SOCKETS_MAX 4096

struct nat_poll;
struct nat_socket;

/* Half of a socket: readable or writable. */
struct nat_half {
	struct loop_request request;
	struct nat_socket *socket;
	bool armed; /* in the kernel */
	uint32_t
		wanted; /* poll(2) bits, by the last fill; for one socket always the same or none */
	uint32_t ready; /* since the last report */
};

struct nat_socket {
	struct nat_poll *poll;
	struct list link; /* nat_poll.filled, .free or none */
	struct nat_half in, out;
	int fd; /* -1: closed by slirp, waits for the kernel */
};

typedef void nat_poll_ready_fn(struct nat_poll *poll);

struct nat_poll {
	struct loop *loop;
	nat_poll_ready_fn *ready; /* something fired */
	struct nat_socket *sockets;
	uint16_t *by_fd; /* index + 1; 0: none */
	struct list free, filled;
	struct loop_request cancel;
	unsigned int unused; /* never used so far, from this index on */
	unsigned int armed;  /* requests in the kernel, cancellations too */
	uint64_t arms, cancels, refused;
};

MUST_CHECK int nat_poll_init(struct nat_poll *poll, struct loop *loop, nat_poll_ready_fn *ready);
/* Nothing may be armed. */
void nat_poll_fini(struct nat_poll *poll);

/* A new round of add, then end: arms what is wanted. Whether something wanted is ready already. */
void nat_poll_begin(struct nat_poll *poll);
/* events: POLLIN, POLLOUT. Returns an id for take, -1 when there are too many. */
int nat_poll_add(struct nat_poll *poll, int fd, uint32_t events);
bool nat_poll_end(struct nat_poll *poll);

/* What a socket has of what was wanted; forgets it. with_in: also what can be read. */
uint32_t nat_poll_take(struct nat_poll *poll, int id, bool with_in);

/* slirp is about to close it. */
void nat_poll_forget(struct nat_poll *poll, int fd);

/* No sockets any more; whether the kernel still has some. */
bool nat_poll_is_busy(const struct nat_poll *poll);
