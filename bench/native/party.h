/* SPDX-License-Identifier: MIT */
/*
 * A fake guest on a port of a real switch, through a real NetVSP: negotiated by the tests' driver
 * (guest/netvsc.h), so that nic.h can go on. All loops are still turned by the caller's thread, whenever
 * the guest's own loop is.
 *
 *   owner   the benchmark   thread  who creates it
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/netvsc.h"
#include "vswitch/policy.h"
#include "vswitch/vswitch.h"

#define PARTY_RECV_BYTES (16U << 20) /* hv_netvsc's default */
#define PARTY_LOOPS      3U

struct party {
	struct netvsc vsc;
	struct loop_poller turns;
	struct loop *loops[PARTY_LOOPS]; /* the control loop, the cores; NULL: no more */
	struct loop *core;
	struct net *net;
	struct netvsp *nic;
	uint16_t port;
	uint8_t mac[6];
	struct loop_work done;
	bool is_done;
};

/* Port and end; the policy is to be adopted then. loops, core: set by the caller. */
void party_plug(struct party *party, struct vswitch *vswitch, struct policy *policy, uint16_t port);
/* The NIC and its driver, which takes coalesced frames. */
void party_start(struct party *party);
/* All of it goes. */
void party_unplug(struct party *party, struct vswitch *vswitch);
/* Once around. */
bool party_turn(struct party *party);
