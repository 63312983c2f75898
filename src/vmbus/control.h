/* SPDX-License-Identifier: MIT */
/*
 * The control plane of VMBus: offers, opens, GPADLs, unload. A state machine that is fed messages and
 * events and answers through a table of functions; it has no thread, touches no guest memory and
 * does no I/O, so that tests and fuzzers drive it alone.
 *
 * The connection:
 *
 *                   on_message(INITIATE_CONTACT), version known, nothing open
 *   DISCONNECTED ────────────────────────────────────────────────────────────► CONNECTED
 *      ▲   ▲                                                                      │  │
 *      │   └── all channels closed, UNLOAD_RESPONSE ── UNLOADING ◄── UNLOAD ──────┘  │
 *      │                                                                             │
 *      └── all closed, then contact is taken up again ── RECONTACTING ◄─ INITIATE_CONTACT
 *
 * A channel:
 *
 *   offer ─► OFFERED ── OPEN_CHANNEL ─► OPENING ── control_on_opened() ─► OPEN
 *               ▲                          │ failed                        │ CLOSE_CHANNEL,
 *               │◄─────────────────────────┘                               ▼ UNLOAD, revoke
 *               └───────────────────────────── control_on_closed() ──── CLOSING
 *
 * Invariants:
 *   C1  Each message gets at most one direct answer; whatever may be many (offers, rescinds) is a
 *       flag per channel and is sent when there is room: control_pump().
 *   C2  A relid is not used again before the guest has released it or has disconnected.
 *   C3  No channel is open and no GPADL lives while DISCONNECTED.
 *
 *   owner   the bus   thread  the control loop
 *   spec    docs/protocols.md#control
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "dev/inspect.h"
#include "proto/vmbus_msg.h"
#include "state/load.h"
#include "state/save.h"
#include "vmbus/device.h"
#include "vmbus/gpadl_internal.h"

struct control;

struct control_open {
	uint32_t ring_gpadl;
	uint32_t target_vp;
	uint32_t downstream_page_offset;
	const uint8_t *user_data; /* 120 bytes, borrowed for the call */
};

struct control_ops {
	/* Room for one more message to the guest? */
	bool (*has_room)(void *ctx);

	/* Sends; only after has_room(). The message is copied. */
	void (*send)(void *ctx, uint32_t target_vp, const void *message, uint32_t bytes);

	/* Begins; the result comes with control_on_opened(), perhaps at once. */
	void (*open)(void *ctx, uint32_t relid, const struct control_open *open);

	/* Begins; control_on_closed() follows, perhaps at once. */
	void (*close)(void *ctx, uint32_t relid);

	/* Moves an open channel's interrupts; false when there is no such VP. */
	bool (*set_target_vp)(void *ctx, uint32_t relid, uint32_t target_vp);

	/* The relid is free again: whoever was offered under it has been revoked. */
	void (*released)(void *ctx, uint32_t relid);

	/* The guest has disconnected (unload, re-contact, reset): devices forget. */
	void (*disconnected)(void *ctx);

	/*
	 * A saved state has this sub-channel: offers it under this relid (control_offer_at) if whoever
	 * has the primary may. False: nobody.
	 */
	bool (*restore_sub)(void *ctx, const struct vmbus_offer *offer, uint16_t index,
			    uint32_t relid);
};

/* gpadls: borrowed, emptied on disconnection. 0 or -ENOMEM. */
MUST_CHECK int control_create(const struct control_ops *ops, void *ctx, struct gpadl_table *gpadls,
			      uint32_t vp_count, struct control **ret);
void control_destroy(struct control *control);

/* Messages per room checked by the caller: has_room() held when this is called. */
void control_on_message(struct control *control, uint32_t connection_id, const uint8_t *message,
			uint32_t bytes);

/* Sends what waits for room (offers, rescinds, ALL_OFFERS_DELIVERED). */
void control_pump(struct control *control);

/* ok: the channel is open now. */
void control_on_opened(struct control *control, uint32_t relid, bool ok);
void control_on_closed(struct control *control, uint32_t relid);
void control_on_gpadl_gone(struct control *control, uint32_t id);

/*
 * Offers a channel; offer and its instance are copied. *ret_relid. 0, -EEXIST, -ENOSPC, -ENOMEM.
 */
MUST_CHECK int control_offer(struct control *control, const struct vmbus_offer *offer,
			     uint16_t sub_channel_index, uint32_t *ret_relid);

/* The same under a relid of the caller's, which must be free: else -EEXIST. */
MUST_CHECK int control_offer_at(struct control *control, const struct vmbus_offer *offer,
				uint16_t sub_channel_index, uint32_t relid);

/* Open, and neither being closed nor revoked. */
bool control_is_open(const struct control *control, uint32_t relid);
bool control_is_revoked(const struct control *control, uint32_t relid);

/*
 * Takes it back: rescinds it if the guest knows it, closes it if it is open. The owner hears of it
 * through control_ops.close/control_on_closed (when it was open) and released().
 */
void control_revoke(struct control *control, uint32_t relid);

/* As if the guest had unloaded: everything is closed, without an answer. */
void control_reset(struct control *control);
bool control_is_quiet(const struct control *control); /* nothing open, opening or closing */

uint32_t control_version(const struct control *control); /* 0 when disconnected */
uint32_t control_connection_id(const struct control *control, uint32_t relid);

/* The 120 bytes of its OPEN_CHANNEL; of one that is offered. */
const uint8_t *control_user_data(const struct control *control, uint32_t relid);

/* Name of the channel's state, for people. */
const char *control_channel_state(const struct control *control, uint32_t relid);
void control_inspect(const struct control *control, struct inspect *at);

/* Identity is interface type, instance and index: the same offers must exist when loading. */
void control_save(const struct control *control, struct save *save);

/* restore(): the channel was open with these parameters; 0 or an error. */
typedef int control_restore_fn(void *ctx, uint32_t relid, const struct control_open *open);
MUST_CHECK int control_load(struct control *control, struct load *load,
			    control_restore_fn *restore);
