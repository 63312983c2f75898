/* SPDX-License-Identifier: MIT */
/*
 * Guests, with their NICs' real VSPs, plugged into a real switch whose cores have threads of their
 * own. The test's thread is the guests' processors and the control loop. Failing expectations end the
 * test.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/netvsc.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"
#include "vswitch/stats.h"
#include "vswitch/vswitch.h"

#define GUESTS_MAX 3U

struct party {
	struct netvsc vsc;
	struct net *net;
	struct netvsp *nic;
	struct loop *loop; /* of its core */
	uint8_t mac[6];
};

struct rig {
	unsigned int cores, guests;
	struct loop *control, *loops[2];
	struct vswitch *vswitch;
	struct policy *policy; /* to be changed: adopt() */
	struct party party[GUESTS_MAX];
};

/* Cores with a thread each; guest i is on port i and core i % cores, and its NIC is up. */
void rig_create(struct rig *rig, unsigned int cores, unsigned int guests, uint32_t mtu);
void rig_destroy(struct rig *rig);

/* The policy as it has been changed. */
void rig_adopt(struct rig *rig);
/* The control loop, until nothing is left. */
void rig_settle(struct rig *rig);

/* A guest's port and its end; its NIC; its driver. And all of it goes. */
void rig_plug(struct rig *rig, unsigned int index);
void rig_make_nic(struct rig *rig, unsigned int index);
void rig_start(struct party *party);
/* Its NIC goes, with its driver; the end stays. */
void rig_remove_nic(struct rig *rig, unsigned int index);
void rig_unplug(struct rig *rig, unsigned int index);

/* An end of a port that is there. */
void rig_create_end(struct rig *rig, uint16_t port, struct loop *loop, struct net **ret);
/* Stops an end, on its loop, and waits until it has left. */
void rig_stop_net(struct rig *rig, struct loop *loop, struct net *net);

uint64_t rig_drops(const struct rig *rig, unsigned int port, enum drop_cause cause);
