/* SPDX-License-Identifier: MIT */
/*
 * Guests, with their NICs' real VSPs, on a real switch whose one core is turned by hand, by the test's thread: what
 * happens between two of its rounds is the test's choice, and the same on every machine. (With cores that have
 * threads of their own: switch_guests.h.) Failing expectations end the test.
 */
#pragma once

#include <stdint.h>

#include "guest/netvsc.h"
#include "vswitch/vswitch.h"

#define HAND_PARTIES_MAX 4U

struct hand;

struct hand_party {
	struct netvsc vsc;
	struct loop_poller turns; /* of the core, whenever this guest waits for something */
	struct hand *hand;
	struct net *net;
	struct netvsp *nic;
	uint8_t mac[6];
};

struct hand {
	struct loop *loop;
	struct vswitch *vswitch;
	struct hand_party party[HAND_PARTIES_MAX];
	unsigned int parties;
	/* What a waiting guest has the core do. */
	void (*turn)(struct hand *hand);
};

/* A core, a port and a NIC for each guest, whose driver is not there yet. */
void hand_create(struct hand *hand, unsigned int parties, void (*turn)(struct hand *hand));
/* The driver, with what it has been told (vsc.ring_bytes); filter: of NDIS_FILTER_*. */
void hand_open(struct hand *hand, unsigned int index, uint32_t filter);
/* All of it goes: drivers, NICs, ports, the switch. turn is called meanwhile. */
void hand_destroy(struct hand *hand);
