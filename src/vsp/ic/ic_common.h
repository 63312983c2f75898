/* SPDX-License-Identifier: MIT */
/*
 * What all integration components have in common: the channel, the negotiation, and one transaction
 * at a time.
 *
 *              open                     answer with versions
 *   CLOSED ──────────► NEGOTIATING ───────────────────────────► READY ◄─► (a transaction waits)
 *      ▲                    │ answer with none                     │
 *      │                    └───────────► REFUSED                  │
 *      └──────────────────────────────────────┴───── close ────────┘
 *
 * Invariants:
 *   I1  Outside CLOSED, channel is the open channel; in CLOSED it is NULL and no timer is armed.
 *   I2  service->ended() is called exactly once for each ic_request() that returned 0.
 *   I3  Only an answer whose transaction id is the waiting one ends a transaction; any other is
 *       late, which an honest guest can be: counted and dropped.
 *
 *   owner   the component that embeds struct ic    thread  the channel's I/O loop
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "vmbus/device.h"
#include "vsp/ic/ic_parse.h"

struct ic;

struct ic_service {
	const char *name;      /* "ic-heartbeat" */
	uint16_t message_type; /* IC_MSG_* of its requests */
	const uint32_t *versions;
	size_t version_count;

	/* Versions were agreed upon, or taken from a saved state: requests may go out. */
	void (*ready)(struct ic *ic);

	/*
	 * The transaction is over. result: 0 and the answer; -ETIMEDOUT; -ECONNRESET when the
	 * channel closed; -ECANCELED when a newer request took its place; answer is NULL then.
	 * Returns 0, or -EBADMSG when the answer is nonsense.
	 */
	int (*ended)(struct ic *ic, int result, const struct ic_message *answer);

	/* The channel is about to close (after ended()). Stops the component's own timers. */
	void (*closing)(struct ic *ic);

	/* Optional: more of the saved state; tags from IC_STATE_OWN up. load gets each such field. */
	void (*save)(struct ic *ic, struct save *save);
	void (*load)(struct ic *ic, struct load *load, const struct load_field *field);
	/* Optional: more for people. */
	void (*inspect)(struct ic *ic, struct inspect *at);
};

enum ic_state { IC_CLOSED, IC_NEGOTIATING, IC_READY, IC_REFUSED };

#define IC_STATE_OWN 64

/* How long to wait before looking again whether the machine is still paused. */
#define IC_PAUSED_NS 50000000ULL

struct ic {
	struct vmbus_device device;  /* first: the bus knows us by it */
	struct vmbus_device_ops ops; /* the common table under the component's name */
	const struct ic_service *service;
	struct vmbus_channel *channel; /* I1 */
	enum ic_state state;
	uint32_t framework, version; /* agreed upon; in READY */

	bool waiting; /* for the answer to transaction_id */
	uint8_t transaction_id;
	struct loop_timer timeout; /* of the transaction */

	struct loop_timer begin; /* sends NEGOTIATE, or calls ready() after a load */
	bool unsent;             /* NEGOTIATE found no room in the ring */

	uint64_t requests, answers, late, timeouts, bad;
};

void ic_init(struct ic *ic, const struct ic_service *service, const struct guid *type,
	     const struct guid *instance);

/* The channel has been closed, or the device was never offered. */
void ic_fini(struct ic *ic);

/*
 * Sends a request and begins a transaction, which takes the place of one that waits. timeout_ns 0:
 * waits for ever. 0; -ENOTCONN outside READY; -EAGAIN when the ring is full or the machine is paused
 * (nobody may write to its memory then); another errno of vmbus_channel_send().
 */
MUST_CHECK int ic_request(struct ic *ic, const void *body, size_t body_bytes, uint64_t timeout_ns);
