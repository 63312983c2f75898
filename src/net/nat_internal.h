/* SPDX-License-Identifier: MIT */
/*
 * NAT through libslirp, between its files.
 *
 *   nat.c          life; frames in both directions
 *   nat_poll.c     slirp's sockets and timers on the loop
 *   nat_forward.c  port forwards as text and as sockets
 *   nat_service.c  many guests: DHCP, and who may speak for which address
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
#include "net/nat.h"
#include "net/nat_poll.h"
#include "net/reassemble.h"

/* Frames from the guest between two rounds; it must hold the largest one several times. */
#define NAT_INPUT_BYTES   (256U << 10)
/* Frames for the guest that found no room: replies to what it sent, and what slirp had begun. */
#define NAT_BACKLOG_BYTES (1U << 20)

/* Questions of libslirp's (ARP) between two rounds that are answered from the leases. */
#define NAT_ANSWERS_MAX   16U

struct nat_answer {
	uint8_t mac[NET_MAC_BYTES];
	uint32_t address;
};

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

	struct net_nat_network network;
	struct dhcp *dhcp; /* NULL: one guest, and libslirp's own */
	struct nat_answer answers[NAT_ANSWERS_MAX];
	unsigned int answer_count;
	struct net_forward forwards[NET_NAT_FORWARDS_MAX];
	unsigned int forward_count;

	struct {
		uint64_t rounds, input_refused, backlogged, backlog_lost, cut, syns_raised;
		uint64_t guest_errors;
		uint64_t strangers, impostors, arp_answered; /* S1, S2 */
	} counters;
};

void nat_round_soon(struct nat *nat);

/* Checks that it is one. */
struct nat *nat_of(const struct net *net);

/* A frame of ours for the guests. */
void nat_deliver(struct nat *nat, const struct net_frame *frame);

/* ---- nat_service.c; all but the first only with nat->dhcp ---- */

/* The DHCP server, for nat->network. */
MUST_CHECK int nat_service_start(struct nat *nat, struct diag *reterr);
/* S1. A sound frame of a guest's: whether libslirp is to see it. */
bool nat_service_input(struct nat *nat, const uint8_t *frame, uint32_t bytes);
/* S2. A frame of libslirp's: whether it is a question that we answer ourselves. */
bool nat_service_takes(struct nat *nat, const uint8_t *frame, uint32_t bytes);
/* The answers, to libslirp. */
void nat_service_answer(struct nat *nat);
void nat_service_facts(const struct nat *nat, net_fact_fn *fn, void *ctx);
