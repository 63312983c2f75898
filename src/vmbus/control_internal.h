/* SPDX-License-Identifier: MIT */
/*
 * The control plane's own data, shared by control.c (behaviour) and control_state.c (save and load).
 * Owner, thread and pictures: control.h.
 */
#pragma once

#include "base/log.h"
#include "vmbus/control.h"

enum connection { DISCONNECTED, CONNECTED, UNLOADING, RECONTACTING, RESETTING };
enum channel_state { OFFERED, OPENING, OPEN, CLOSING };

struct channel {
	enum channel_state state;
	struct vmbus_offer offer;
	uint16_t index;
	bool offer_pending;   /* the guest has not been told of it yet */
	bool is_known;        /* the guest has been told */
	bool revoked;         /* goes away as soon as it is closed and released */
	bool rescind_pending; /* the guest has not been told that it goes */
	uint32_t open_id;
	/* as opened, for saving */
	uint32_t ring_gpadl, target_vp, downstream_page_offset;
	uint8_t user_data[120];
};

struct control {
	const struct control_ops *ops;
	void *ctx;
	struct gpadl_table *gpadls;
	uint32_t vp_count;
	enum connection connection;
	uint32_t version, target_vp;
	bool offers_requested;
	bool all_delivered_pending;
	bool answer_pending; /* UNLOAD_RESPONSE or VERSION_RESPONSE waits for room */
	struct vmbus_msg_initiate_contact contact; /* to take up after RECONTACTING */
	struct channel *channels[VMBUS_RELID_MAX + 1];
	uint32_t relid_hint;
	struct log_rate log_rate;
	uint64_t messages, faults;
};

/* A version that we speak. */
bool control_is_version(uint32_t version);

/* The channel under this relid, or NULL. */
struct channel *control_find(struct control *control, uint32_t relid);

bool control_is_same_offer(const struct channel *channel, const struct vmbus_offer *offer,
			   uint16_t index);
