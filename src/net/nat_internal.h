/* SPDX-License-Identifier: MIT */
/*
 * NAT through libslirp, between its files.
 *
 *   nat.c          life; frames in both directions
 *   nat_poll.c     slirp's sockets and timers on the loop
 *   nat_forward.c  port forwards as text and as sockets
 *
 * libslirp is called from one place, nat_round(), which the loop runs at the end of a round in which
 * something happened: frames came from the guest, sockets became ready, a timer fired, or the front
 * end has room again. Nothing is read from a socket while the front end is full: TCP then waits in
 * the host's kernel, where it belongs.
 */
#pragma once

#include <libslirp.h>

#include "base/list.h"
#include "net/fifo.h"
#include "net/net_impl.h"
#include "net/nat_poll.h"
#include "net/reassemble.h"

/* Frames from the guest between two rounds; it must hold the largest one several times. */
#define NAT_INPUT_BYTES   (256U << 10)
/* Frames for the guest that found no room: replies to what it sent, and what slirp had begun. */
#define NAT_BACKLOG_BYTES (1U << 20)

struct nat {
	struct net net;
	Slirp *slirp;
	struct nat_poll poll;
	struct fifo input, backlog;
	struct reassembler reassembler;
	struct loop_work round;
	struct loop_timer timer;
	struct loop_work *stop_done;
	bool in_round;
	bool input_was_full;
	bool no_large;
	bool stopping;
	bool delivered; /* in this round */
	bool cutting_tcp;
	uint32_t mss_max; /* to which SYNs of the guest are raised; 0: leave them */
	uint32_t fragment_id;

	struct {
		uint64_t rounds, input_refused, backlogged, backlog_lost, cut, syns_raised;
		uint64_t guest_errors;
	} counters;
};

void nat_round_soon(struct nat *nat);

MUST_CHECK int nat_forward_add(struct nat *nat, const struct net_forward *forward,
			       struct diag *reterr);
