/* SPDX-License-Identifier: MIT */
/* The control plane's saved state: connection, GPADLs, channels. */
#include <errno.h>
#include <string.h>

#include "vmbus/control_internal.h"

enum {
	CONTROL_STATE_CONNECTED = 1,
	CONTROL_STATE_VERSION = 2,
	CONTROL_STATE_TARGET_VP = 3,
	CONTROL_STATE_OFFERS_REQUESTED = 4,
	CONTROL_STATE_ALL_DELIVERED_PENDING = 5,
	CONTROL_STATE_GPADLS = 6,
	CONTROL_STATE_CHANNEL = 7,
};

enum {
	CHANNEL_STATE_RELID = 1,
	CHANNEL_STATE_TYPE = 2,
	CHANNEL_STATE_INSTANCE = 3,
	CHANNEL_STATE_INDEX = 4,
	CHANNEL_STATE_FLAGS = 5,
	CHANNEL_STATE_OPEN_ID = 6,
	CHANNEL_STATE_RING_GPADL = 7,
	CHANNEL_STATE_TARGET_VP = 8,
	CHANNEL_STATE_DOWNSTREAM = 9,
	CHANNEL_STATE_USER_DATA = 10,
};

#define FLAG_OPEN          (1U << 0)
#define FLAG_KNOWN         (1U << 1)
#define FLAG_OFFER_PENDING (1U << 2)

static void save_channel(struct save *save, uint32_t relid, const struct channel *channel)
{
	save_group_begin(save, CONTROL_STATE_CHANNEL);
	save_u32(save, CHANNEL_STATE_RELID, relid);
	save_bytes(save, CHANNEL_STATE_TYPE, &channel->offer.interface_type, 16);
	save_bytes(save, CHANNEL_STATE_INSTANCE, &channel->offer.interface_instance, 16);
	save_u32(save, CHANNEL_STATE_INDEX, channel->index);
	save_u32(save, CHANNEL_STATE_FLAGS,
		 (channel->state == OPEN ? FLAG_OPEN : 0) | (channel->is_known ? FLAG_KNOWN : 0) |
			 (channel->offer_pending ? FLAG_OFFER_PENDING : 0));
	save_u32(save, CHANNEL_STATE_OPEN_ID, channel->open_id);
	save_u32(save, CHANNEL_STATE_RING_GPADL, channel->ring_gpadl);
	save_u32(save, CHANNEL_STATE_TARGET_VP, channel->target_vp);
	save_u32(save, CHANNEL_STATE_DOWNSTREAM, channel->downstream_page_offset);
	save_bytes(save, CHANNEL_STATE_USER_DATA, channel->user_data, sizeof(channel->user_data));
	save_group_end(save);
}

void control_save(const struct control *control, struct save *save)
{
	save_u32(save, CONTROL_STATE_CONNECTED, control->connection == CONNECTED);
	save_u32(save, CONTROL_STATE_VERSION, control->version);
	save_u32(save, CONTROL_STATE_TARGET_VP, control->target_vp);
	save_u32(save, CONTROL_STATE_OFFERS_REQUESTED, control->offers_requested);
	save_u32(save, CONTROL_STATE_ALL_DELIVERED_PENDING, control->all_delivered_pending);
	save_group_begin(save, CONTROL_STATE_GPADLS);
	gpadl_table_save(control->gpadls, save);
	save_group_end(save);
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		if (control->channels[relid] && !control->channels[relid]->revoked) {
			save_channel(save, relid, control->channels[relid]);
		}
	}
}

struct saved_channel {
	struct channel channel;
	uint32_t relid, flags;
};

static void parse_channel(struct load *load, struct saved_channel *ret)
{
	struct channel *channel = &ret->channel;
	struct load_field f;

	while (load_next(load, &f)) {
		switch (f.tag) {
		case CHANNEL_STATE_RELID:
			ret->relid = load_u32(load, &f);
			break;
		case CHANNEL_STATE_TYPE:
			load_bytes(load, &f, &channel->offer.interface_type, 16);
			break;
		case CHANNEL_STATE_INSTANCE:
			load_bytes(load, &f, &channel->offer.interface_instance, 16);
			break;
		case CHANNEL_STATE_INDEX:
			channel->index = (uint16_t)load_u32(load, &f);
			break;
		case CHANNEL_STATE_FLAGS:
			ret->flags = load_u32(load, &f);
			break;
		case CHANNEL_STATE_OPEN_ID:
			channel->open_id = load_u32(load, &f);
			break;
		case CHANNEL_STATE_RING_GPADL:
			channel->ring_gpadl = load_u32(load, &f);
			break;
		case CHANNEL_STATE_TARGET_VP:
			channel->target_vp = load_u32(load, &f);
			break;
		case CHANNEL_STATE_DOWNSTREAM:
			channel->downstream_page_offset = load_u32(load, &f);
			break;
		case CHANNEL_STATE_USER_DATA:
			load_bytes(load, &f, channel->user_data, sizeof(channel->user_data));
			break;
		default:
			break;
		}
	}
}

/* The channel that was offered under this identity now; its relid must become the saved one. */
static struct channel *adopt(struct control *control, const struct saved_channel *saved)
{
	struct channel *found = control_find(control, saved->relid);

	/* Sub-channels come and go with the guest's wishes: whoever loads has not offered any. */
	if (!found && saved->channel.index > 0 &&
	    control->ops->restore_sub(control->ctx, &saved->channel.offer, saved->channel.index,
				      saved->relid)) {
		found = control_find(control, saved->relid);
	}
	if (!found || found->state != OFFERED ||
	    !control_is_same_offer(found, &saved->channel.offer, saved->channel.index)) {
		return NULL;
	}
	return found;
}

static void load_channel(struct control *control, struct load *load, control_restore_fn *restore)
{
	struct saved_channel saved = { .relid = 0 };

	parse_channel(load, &saved);
	struct channel *channel = load_result(load) ? NULL : adopt(control, &saved);

	if (!channel) {
		load_fail(load);
		return;
	}
	channel->is_known = saved.flags & FLAG_KNOWN;
	channel->offer_pending = saved.flags & FLAG_OFFER_PENDING;
	channel->open_id = saved.channel.open_id;
	channel->ring_gpadl = saved.channel.ring_gpadl;
	channel->target_vp = saved.channel.target_vp;
	channel->downstream_page_offset = saved.channel.downstream_page_offset;
	memcpy(channel->user_data, saved.channel.user_data, sizeof(channel->user_data));
	if (!(saved.flags & FLAG_OPEN)) {
		return;
	}
	struct control_open open = { .ring_gpadl = channel->ring_gpadl,
				     .target_vp = channel->target_vp,
				     .downstream_page_offset = channel->downstream_page_offset,
				     .user_data = channel->user_data };

	if (!channel->is_known || restore(control->ctx, saved.relid, &open)) {
		load_fail(load);
		return;
	}
	channel->state = OPEN;
}

int control_load(struct control *control, struct load *load, control_restore_fn *restore)
{
	struct load_field f;
	struct load inner;
	bool connected = false;

	check(control->connection == DISCONNECTED);
	while (load_next(load, &f)) {
		switch (f.tag) {
		case CONTROL_STATE_CONNECTED:
			connected = load_u32(load, &f);
			break;
		case CONTROL_STATE_VERSION:
			control->version = load_u32(load, &f);
			break;
		case CONTROL_STATE_TARGET_VP:
			control->target_vp = load_u32(load, &f);
			break;
		case CONTROL_STATE_OFFERS_REQUESTED:
			control->offers_requested = load_u32(load, &f);
			break;
		case CONTROL_STATE_ALL_DELIVERED_PENDING:
			control->all_delivered_pending = load_u32(load, &f);
			break;
		case CONTROL_STATE_GPADLS:
			load_group(load, &f, &inner);
			if (gpadl_table_load(control->gpadls, &inner)) {
				load_fail(&inner);
			}
			load_close(load, &inner);
			break;
		case CONTROL_STATE_CHANNEL:
			load_group(load, &f, &inner);
			load_channel(control, &inner, restore);
			load_close(load, &inner);
			break;
		default:
			break;
		}
	}
	if (load_result(load) || control->target_vp >= control->vp_count ||
	    (connected && !control_is_version(control->version))) {
		/* Half a state is none: whatever was restored is closed again. */
		control_reset(control);
		return -EBADMSG;
	}
	if (connected) {
		control->connection = CONNECTED;
	}
	return 0;
}
