/* SPDX-License-Identifier: MIT */
/* What adapters.c and adapters_away.c (those on a switch) share. Owner and thread: adapters.h. */
#pragma once

#include "vm/adapters.h"
#include "vm/vm_internal.h"
#include "vmbus/remote_worker.h"

/* A process that serves adapters, by its socket. */
struct vm_switch {
	char path[108];
	struct remote_worker *worker;
};

struct vm_adapter {
	struct vm_adapters *adapters;
	const struct vm_net_config *config;
	char name[NETVSP_NAME_BYTES_MAX]; /* "net0" */
	struct net *ends[VM_NET_QUEUES_MAX];
	unsigned int end_count;
	struct netvsp *nic;
	bool is_stopped;
	bool is_link_up; /* the user's half */
	bool is_offered; /* the NIC, on the bus */

	/* of the legacy board's: adapters_card.c */
	struct net_faces *faces; /* between the first end and both NICs; NULL: there is one NIC */
	struct tulip *card;
	struct loop_work driver_came; /* the ends' loop */

	/* of a switch's */
	struct vm_switch *at; /* NULL: it is none */
	char port[VM_SWITCH_PORT_BYTES + VM_NAME_BYTES];
	bool was_away;   /* at least once */
	bool is_lent;    /* remote_worker_add() */
	bool is_leaving; /* and remote_worker_remove() is under way */
	struct loop_work removed;
	struct loop_timer patience;  /* how long the cable stays in when the switch has let go */
	char why[REMOTE_NAME_BYTES]; /* it is not there */
};

struct vm_adapters {
	struct vm *vm;
	size_t count, switch_count;
	struct vm_adapter list[VM_NETS_MAX];
	struct vm_switch switches[VM_NETS_MAX];
	struct loop_timer missing; /* when to say that a switch is not there */
};

/* ---- adapters_card.c: an emulated card with the same address, until a driver of NetVSP comes ---- */

enum { ADAPTER_EMULATED, ADAPTER_SYNTHETIC }; /* net_faces' */

/* Whether it is to have one. */
bool vm_card_is_wanted(const struct vm_adapter *adapter);
/* Between the back end and the NICs; then the card. 0 or an errno with a sentence. */
MUST_CHECK int vm_card_split(struct vm_adapter *adapter, struct diag *reterr);
MUST_CHECK int vm_card_create(struct vm_adapter *adapter, struct diag *reterr);
void vm_card_destroy(struct vm_adapter *adapter);
/* netvsp_config.on_driver */
void vm_card_on_driver(void *ctx);
/* The ends' loop. */
void vm_card_set_link(const struct vm_adapter *adapter);
/* Control; wait for the loop. */
void vm_card_pause(struct vm_adapter *adapter, bool is_paused);
void vm_card_reset(struct vm_adapter *adapter);
void vm_card_inspect(const struct vm_adapter *adapter, struct inspect *at);

/* ---- adapters_away.c: adapters whose config says switch= ---- */

void vm_away_init(struct vm_adapters *adapters);
/* It is offered: from now on it is lent. 0 or an errno with a sentence. */
MUST_CHECK int vm_away_add(struct vm_adapter *adapter, struct diag *reterr);
/* The cable, by the user. */
void vm_away_set_link(struct vm_adapter *adapter);
/* For good; all are at home. */
void vm_away_stop(struct vm_adapters *adapters);
void vm_away_inspect(const struct vm_adapter *adapter, struct inspect *at);
