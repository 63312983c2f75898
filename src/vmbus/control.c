/* SPDX-License-Identifier: MIT */
#include "vmbus/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vmbus/control_internal.h"

/* Connection ids of HvCallSignalEvent: any 24 bits that no well-known connection uses. */
#define SIGNAL_CONNECTION_BASE 0x1000U

static const uint32_t versions[] = {
	VMBUS_VERSION_2_4, VMBUS_VERSION_3_0, VMBUS_VERSION_4_0, VMBUS_VERSION_4_1,
	VMBUS_VERSION_5_0, VMBUS_VERSION_5_1, VMBUS_VERSION_5_2, VMBUS_VERSION_5_3,
};

int control_create(const struct control_ops *ops, void *ctx, struct gpadl_table *gpadls,
		   uint32_t vp_count, struct control **ret)
{
	struct control *control = fault_alloc(1, sizeof(*control));

	if (!control) {
		return -ENOMEM;
	}
	control->ops = ops;
	control->ctx = ctx;
	control->gpadls = gpadls;
	control->vp_count = vp_count;
	control->relid_hint = 1;
	*ret = control;
	return 0;
}

void control_destroy(struct control *control)
{
	if (!control) {
		return;
	}
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		free(control->channels[relid]);
	}
	free(control);
}

__attribute__((format(printf, 2, 3))) static void fault(struct control *control, const char *fmt,
							...)
{
	char text[128];
	va_list args;

	control->faults++;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_guest(&control->log_rate, "vmbus", "%s", text);
}

struct channel *control_find(struct control *control, uint32_t relid)
{
	return relid >= 1 && relid <= VMBUS_RELID_MAX ? control->channels[relid] : NULL;
}

/* A channel that the guest may speak of. */
static struct channel *find_known(struct control *control, uint32_t relid)
{
	struct channel *channel = control_find(control, relid);

	return channel && channel->is_known ? channel : NULL;
}

static void send(struct control *control, const void *message, uint32_t bytes)
{
	control->ops->send(control->ctx, control->target_vp, message, bytes);
}

static void send_empty(struct control *control, uint32_t type)
{
	struct vmbus_msg_header message = { .type = type };

	send(control, &message, sizeof(message));
}

/* ---- channels come and go ---- */

static void drop_channel(struct control *control, uint32_t relid)
{
	free(control->channels[relid]);
	control->channels[relid] = NULL;
	control->ops->released(control->ctx, relid);
}

/* A revoked channel is dropped when it is closed and the guest has let go of the relid. */
static void drop_if_over(struct control *control, uint32_t relid)
{
	struct channel *channel = control->channels[relid];

	if (channel->revoked && channel->state == OFFERED && !channel->is_known &&
	    !channel->rescind_pending) {
		drop_channel(control, relid);
	}
}

static void begin_close(struct control *control, uint32_t relid)
{
	struct channel *channel = control->channels[relid];

	/* OPENING: control_on_opened() sees that it is not wanted any more and closes it then. */
	if (channel->state == OPEN) {
		channel->state = CLOSING;
		control->ops->close(control->ctx, relid);
	}
}

bool control_is_quiet(const struct control *control)
{
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		const struct channel *channel = control->channels[relid];

		if (channel && channel->state != OFFERED) {
			return false;
		}
	}
	return true;
}

static bool is_disconnecting(const struct control *control)
{
	return control->connection == UNLOADING || control->connection == RECONTACTING ||
	       control->connection == RESETTING;
}

static void send_offer(struct control *control, uint32_t relid, const struct channel *channel)
{
	struct vmbus_msg_offer_channel message = {
		.header.type = VMBUS_MSG_OFFER_CHANNEL,
		.interface_type = channel->offer.interface_type,
		.interface_instance = channel->offer.interface_instance,
		.flags = channel->offer.flags,
		.mmio_mib = channel->offer.mmio_mib,
		.sub_channel_index = channel->index,
		.relid = relid,
		.is_dedicated_interrupt = 1,
		.connection_id = SIGNAL_CONNECTION_BASE + relid,
	};

	memcpy(message.user_defined, channel->offer.user_defined, sizeof(message.user_defined));
	send(control, &message, sizeof(message));
}

static void send_rescind(struct control *control, uint32_t relid)
{
	struct vmbus_msg_rescind_offer message = { .header.type = VMBUS_MSG_RESCIND_OFFER,
						   .relid = relid };

	send(control, &message, sizeof(message));
}

static void answer_contact(struct control *control, bool supported)
{
	struct vmbus_msg_version_response message = {
		.header.type = VMBUS_MSG_VERSION_RESPONSE,
		.supported = supported,
		.message_connection_id = VMBUS_CONNECTION_ID_OLD,
	};

	send(control, &message, sizeof(message));
}

bool control_is_version(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		if (versions[i] == version) {
			return true;
		}
	}
	return false;
}

/* From 5.0 the guest names the SINT; we know of one. */
static bool is_supported(const struct vmbus_msg_initiate_contact *contact)
{
	return control_is_version(contact->version) &&
	       (contact->version < VMBUS_VERSION_5_0 ||
		(contact->interrupt_page_or_sint & 0xff) == VMBUS_SINT);
}

static void connect(struct control *control)
{
	const struct vmbus_msg_initiate_contact *contact = &control->contact;
	bool supported = is_supported(contact);

	control->target_vp = contact->target_vp;
	if (supported) {
		control->version = contact->version;
		control->connection = CONNECTED;
	}
	answer_contact(control, supported);
}

/* The answers that had to wait for the last channel to close, or for room. */
static void finish_disconnect(struct control *control)
{
	enum connection was = control->connection;

	if (!control->answer_pending || !control->ops->has_room(control->ctx)) {
		return;
	}
	control->answer_pending = false;
	control->connection = DISCONNECTED;
	if (was == RECONTACTING) {
		connect(control);
	} else if (was == UNLOADING) {
		send_empty(control, VMBUS_MSG_UNLOAD_RESPONSE);
	}
}

/* All channels are closed: forget what the guest knew. */
static void disconnect_if_quiet(struct control *control)
{
	if (!is_disconnecting(control) || control->answer_pending || !control_is_quiet(control)) {
		return;
	}
	gpadl_table_clear(control->gpadls);
	control->offers_requested = false;
	control->all_delivered_pending = false;
	control->version = 0;
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct channel *channel = control->channels[relid];

		if (channel) {
			channel->is_known = false;
			channel->offer_pending = false;
			channel->rescind_pending = false;
			drop_if_over(control, relid);
		}
	}
	control->ops->disconnected(control->ctx);
	if (control->connection == RESETTING) {
		control->connection = DISCONNECTED;
		return;
	}
	control->answer_pending = true;
	finish_disconnect(control);
}

static void begin_disconnect(struct control *control, enum connection how)
{
	control->connection = how;
	control->answer_pending = false;
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		if (control->channels[relid]) {
			begin_close(control, relid);
		}
	}
	disconnect_if_quiet(control);
}

void control_reset(struct control *control)
{
	begin_disconnect(control, RESETTING);
}

void control_pump(struct control *control)
{
	finish_disconnect(control);
	if (control->connection != CONNECTED) {
		return;
	}
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct channel *channel = control->channels[relid];

		if (!channel || !(channel->offer_pending || channel->rescind_pending)) {
			continue;
		}
		if (!control->ops->has_room(control->ctx)) {
			return;
		}
		if (channel->rescind_pending) {
			channel->rescind_pending = false;
			send_rescind(control, relid);
		} else {
			channel->offer_pending = false;
			channel->is_known = true;
			send_offer(control, relid, channel);
		}
	}
	if (control->all_delivered_pending && control->ops->has_room(control->ctx)) {
		control->all_delivered_pending = false;
		send_empty(control, VMBUS_MSG_ALL_OFFERS_DELIVERED);
	}
}

/* ---- offers, from the host's side ---- */

bool control_is_same_offer(const struct channel *channel, const struct vmbus_offer *offer,
			   uint16_t index)
{
	return !channel->revoked && channel->index == index &&
	       guid_is_equal(&channel->offer.interface_type, &offer->interface_type) &&
	       guid_is_equal(&channel->offer.interface_instance, &offer->interface_instance);
}

/* Round robin, so that a relid rests before it is used again. */
static uint32_t free_relid(struct control *control)
{
	for (uint32_t i = 0; i < VMBUS_RELID_MAX; i++) {
		uint32_t relid = (control->relid_hint - 1 + i) % VMBUS_RELID_MAX + 1;

		if (!control->channels[relid]) {
			control->relid_hint = relid % VMBUS_RELID_MAX + 1;
			return relid;
		}
	}
	return 0;
}

static bool is_offered(const struct control *control, const struct vmbus_offer *offer,
		       uint16_t index)
{
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		if (control->channels[relid] &&
		    control_is_same_offer(control->channels[relid], offer, index)) {
			return true;
		}
	}
	return false;
}

int control_offer_at(struct control *control, const struct vmbus_offer *offer,
		     uint16_t sub_channel_index, uint32_t relid)
{
	if (relid < 1 || relid > VMBUS_RELID_MAX || control->channels[relid] ||
	    is_offered(control, offer, sub_channel_index)) {
		return -EEXIST;
	}
	struct channel *channel = fault_alloc(1, sizeof(*channel));

	if (!channel) {
		return -ENOMEM;
	}
	channel->offer = *offer;
	channel->index = sub_channel_index;
	channel->offer_pending = control->offers_requested;
	control->channels[relid] = channel;
	return 0;
}

int control_offer(struct control *control, const struct vmbus_offer *offer,
		  uint16_t sub_channel_index, uint32_t *ret_relid)
{
	if (is_offered(control, offer, sub_channel_index)) {
		return -EEXIST;
	}
	uint32_t relid = free_relid(control);

	if (!relid) {
		return -ENOSPC;
	}
	int err = control_offer_at(control, offer, sub_channel_index, relid);

	if (!err) {
		*ret_relid = relid;
		control_pump(control);
	}
	return err;
}

bool control_is_open(const struct control *control, uint32_t relid)
{
	const struct channel *channel = control->channels[relid];

	return channel && channel->state == OPEN && !channel->revoked;
}

bool control_is_revoked(const struct control *control, uint32_t relid)
{
	return control->channels[relid] && control->channels[relid]->revoked;
}

void control_revoke(struct control *control, uint32_t relid)
{
	struct channel *channel = control_find(control, relid);

	check(channel && !channel->revoked);
	channel->revoked = true;
	channel->offer_pending = false;
	channel->rescind_pending = channel->is_known;
	begin_close(control, relid);
	control_pump(control);
	if (control_find(control, relid)) {
		drop_if_over(control, relid);
	}
}

void control_on_opened(struct control *control, uint32_t relid, bool ok)
{
	struct channel *channel = control_find(control, relid);

	check(channel && channel->state == OPENING);
	channel->state = ok ? OPEN : OFFERED;
	if (control->connection == CONNECTED) {
		struct vmbus_msg_open_result message = {
			.header.type = VMBUS_MSG_OPEN_RESULT,
			.relid = relid,
			.open_id = channel->open_id,
			.status = ok ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_FAILURE,
		};

		send(control, &message, sizeof(message));
	}
	if (channel->revoked || control->connection != CONNECTED) {
		begin_close(control, relid);
		drop_if_over(control, relid);
		disconnect_if_quiet(control);
	}
}

void control_on_closed(struct control *control, uint32_t relid)
{
	struct channel *channel = control_find(control, relid);

	check(channel && channel->state == CLOSING);
	channel->state = OFFERED;
	drop_if_over(control, relid);
	disconnect_if_quiet(control);
}

void control_on_gpadl_gone(struct control *control, uint32_t id)
{
	struct vmbus_msg_gpadl_torndown message = { .header.type = VMBUS_MSG_GPADL_TORNDOWN,
						    .gpadl = id };

	if (control->connection == CONNECTED) {
		send(control, &message, sizeof(message));
	}
}

/* ---- messages, in the order of their numbers ---- */

static void handle_request_offers(struct control *control)
{
	if (control->offers_requested) {
		fault(control, "offers requested twice");
	}
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct channel *channel = control->channels[relid];

		if (channel && !channel->is_known && !channel->revoked) {
			channel->offer_pending = true;
		}
	}
	control->offers_requested = true;
	control->all_delivered_pending = true;
	control_pump(control);
}

static void refuse_open(struct control *control, const struct vmbus_msg_open_channel *message)
{
	struct vmbus_msg_open_result answer = {
		.header.type = VMBUS_MSG_OPEN_RESULT,
		.relid = message->relid,
		.open_id = message->open_id,
		.status = VMBUS_STATUS_FAILURE,
	};

	send(control, &answer, sizeof(answer));
}

static void handle_open(struct control *control, const struct vmbus_msg_open_channel *message)
{
	struct channel *channel = find_known(control, message->relid);

	if (!channel || channel->state != OFFERED || channel->revoked) {
		fault(control, "open of channel %u, which is not there or not closed",
		      message->relid);
		refuse_open(control, message);
		return;
	}
	channel->state = OPENING;
	channel->open_id = message->open_id;
	channel->ring_gpadl = message->ring_gpadl;
	channel->target_vp = message->target_vp;
	channel->downstream_page_offset = message->downstream_page_offset;
	memcpy(channel->user_data, message->user_data, sizeof(channel->user_data));

	struct control_open open = { .ring_gpadl = channel->ring_gpadl,
				     .target_vp = channel->target_vp,
				     .downstream_page_offset = channel->downstream_page_offset,
				     .user_data = channel->user_data };

	control->ops->open(control->ctx, message->relid, &open);
}

static void handle_close(struct control *control, const struct vmbus_msg_close_channel *message)
{
	struct channel *channel = find_known(control, message->relid);

	if (!channel || channel->state != OPEN) {
		/* A channel that we rescinded may be closed by both sides at once. */
		if (!channel || !channel->revoked) {
			fault(control, "close of channel %u, which is not open", message->relid);
		}
		return;
	}
	begin_close(control, message->relid);
}

static void answer_gpadl(struct control *control, uint32_t relid, uint32_t id, int result)
{
	struct vmbus_msg_gpadl_created answer = {
		.header.type = VMBUS_MSG_GPADL_CREATED,
		.relid = relid,
		.gpadl = id,
		.status = result < 0 ? VMBUS_STATUS_FAILURE : VMBUS_STATUS_SUCCESS,
	};

	if (result == 0) {
		return; /* more must come */
	}
	if (result < 0) {
		fault(control, "GPADL %u of channel %u refused: %s", id, relid, strerror(-result));
	}
	send(control, &answer, sizeof(answer));
}

static void handle_gpadl_header(struct control *control,
				const struct vmbus_msg_gpadl_header *message, uint32_t bytes)
{
	int result = -ENOENT;

	if (find_known(control, message->relid)) {
		result = gpadl_table_begin(control->gpadls, message->relid, message->gpadl,
					   message->range_count,
					   (const uint8_t *)message + sizeof(*message),
					   bytes - (uint32_t)sizeof(*message));
	}
	answer_gpadl(control, message->relid, message->gpadl, result);
}

static void handle_gpadl_body(struct control *control, const struct vmbus_msg_gpadl_body *message,
			      uint32_t bytes)
{
	uint32_t relid = 0;
	int result = gpadl_table_append(control->gpadls, message->gpadl,
					(const uint8_t *)message + sizeof(*message),
					bytes - (uint32_t)sizeof(*message), &relid);

	if (result == -ENOENT) {
		fault(control, "body of GPADL %u, which nobody began", message->gpadl);
		return; /* an answer would name no channel; the header's refusal was the answer */
	}
	answer_gpadl(control, relid, message->gpadl, result);
}

static void handle_gpadl_teardown(struct control *control,
				  const struct vmbus_msg_gpadl_teardown *message)
{
	if (gpadl_table_teardown(control->gpadls, message->gpadl)) {
		fault(control, "teardown of GPADL %u, which is not there", message->gpadl);
		control_on_gpadl_gone(control, message->gpadl); /* it waits without limit */
	}
}

static void handle_relid_released(struct control *control,
				  const struct vmbus_msg_rescind_offer *message)
{
	struct channel *channel = find_known(control, message->relid);

	if (!channel || !channel->revoked || channel->rescind_pending) {
		fault(control, "release of channel %u, which was not rescinded", message->relid);
		return;
	}
	channel->is_known = false;
	drop_if_over(control, message->relid);
}

static void handle_initiate_contact(struct control *control, uint32_t connection_id,
				    const struct vmbus_msg_initiate_contact *message)
{
	if (control->connection == UNLOADING || control->connection == RECONTACTING) {
		fault(control, "contact while the last connection is being closed");
	}
	control->contact = *message;
	if (message->target_vp >= control->vp_count) {
		fault(control, "contact for VP %u, which is not there", message->target_vp);
		control->contact.target_vp = 0;
	}
	if (connection_id == VMBUS_CONNECTION_ID_OLD && message->version >= VMBUS_VERSION_5_0) {
		fault(control, "contact for version %#x on connection id %u", message->version,
		      connection_id);
	}
	/* A guest that never unloaded (kexec, crash) begins anew: all that it had goes first. */
	begin_disconnect(control, RECONTACTING);
}

static void handle_unload(struct control *control)
{
	begin_disconnect(control, UNLOADING);
}

static void handle_tl_connect(struct control *control,
			      const struct vmbus_msg_tl_connect_request *message)
{
	struct vmbus_msg_tl_connect_result answer = {
		.header.type = VMBUS_MSG_TL_CONNECT_RESULT,
		.endpoint_id = message->endpoint_id,
		.service_id = message->service_id,
		.status = VMBUS_STATUS_CONNECTION_REFUSED,
	};

	send(control, &answer, sizeof(answer));
}

static void handle_modify(struct control *control, const struct vmbus_msg_modify_channel *message)
{
	struct channel *channel = find_known(control, message->relid);
	bool ok = channel && channel->state == OPEN &&
		  control->ops->set_target_vp(control->ctx, message->relid, message->target_vp);

	if (ok) {
		channel->target_vp = message->target_vp;
	} else {
		fault(control, "channel %u cannot move to VP %u", message->relid,
		      message->target_vp);
	}
	if (control->version < VMBUS_VERSION_5_3) {
		return;
	}
	struct vmbus_msg_modify_channel_response answer = {
		.header.type = VMBUS_MSG_MODIFY_CHANNEL_RESPONSE,
		.relid = message->relid,
		.status = ok ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_FAILURE,
	};

	send(control, &answer, sizeof(answer));
}

/* The least bytes of each message that a guest may send; 0: not one of them. */
static uint32_t least_bytes(uint32_t type)
{
	switch (type) {
	case VMBUS_MSG_REQUEST_OFFERS:
	case VMBUS_MSG_UNLOAD:
		return sizeof(struct vmbus_msg_header);
	case VMBUS_MSG_OPEN_CHANNEL:
		return sizeof(struct vmbus_msg_open_channel);
	case VMBUS_MSG_CLOSE_CHANNEL:
	case VMBUS_MSG_RELID_RELEASED:
		return sizeof(struct vmbus_msg_close_channel);
	case VMBUS_MSG_GPADL_HEADER:
		return sizeof(struct vmbus_msg_gpadl_header);
	case VMBUS_MSG_GPADL_BODY:
		return sizeof(struct vmbus_msg_gpadl_body);
	case VMBUS_MSG_GPADL_TEARDOWN:
		return sizeof(struct vmbus_msg_gpadl_teardown);
	case VMBUS_MSG_INITIATE_CONTACT:
		return sizeof(struct vmbus_msg_initiate_contact);
	case VMBUS_MSG_TL_CONNECT_REQUEST:
		return sizeof(struct vmbus_msg_tl_connect_request);
	case VMBUS_MSG_MODIFY_CHANNEL:
		return sizeof(struct vmbus_msg_modify_channel);
	default:
		return 0;
	}
}

static void handle_connected(struct control *control, uint32_t type, const void *message,
			     uint32_t bytes)
{
	switch (type) {
	case VMBUS_MSG_REQUEST_OFFERS:
		handle_request_offers(control);
		break;
	case VMBUS_MSG_OPEN_CHANNEL:
		handle_open(control, message);
		break;
	case VMBUS_MSG_CLOSE_CHANNEL:
		handle_close(control, message);
		break;
	case VMBUS_MSG_GPADL_HEADER:
		handle_gpadl_header(control, message, bytes);
		break;
	case VMBUS_MSG_GPADL_BODY:
		handle_gpadl_body(control, message, bytes);
		break;
	case VMBUS_MSG_GPADL_TEARDOWN:
		handle_gpadl_teardown(control, message);
		break;
	case VMBUS_MSG_RELID_RELEASED:
		handle_relid_released(control, message);
		break;
	case VMBUS_MSG_UNLOAD:
		handle_unload(control);
		break;
	case VMBUS_MSG_TL_CONNECT_REQUEST:
		handle_tl_connect(control, message);
		break;
	case VMBUS_MSG_MODIFY_CHANNEL:
		handle_modify(control, message);
		break;
	default:
		check(false); /* least_bytes() knows no other */
	}
}

void control_on_message(struct control *control, uint32_t connection_id, const uint8_t *message,
			uint32_t bytes)
{
	/* Aligned, and as long as the longest, whatever came. */
	union {
		uint8_t bytes[VMBUS_MESSAGE_BYTES_MAX];
		struct vmbus_msg_header header;
		struct vmbus_msg_initiate_contact contact;
	} copy = { 0 };

	control->messages++;
	bytes = (uint32_t)num_min(bytes, sizeof(copy));
	memcpy(copy.bytes, message, bytes);
	uint32_t type = copy.header.type, least = least_bytes(type);

	if (least == 0 || bytes < least) {
		fault(control, "message of type %u and %u bytes makes no sense", type, bytes);
		return;
	}
	if (type == VMBUS_MSG_INITIATE_CONTACT) {
		handle_initiate_contact(control, connection_id, &copy.contact);
		return;
	}
	if (type == VMBUS_MSG_UNLOAD && control->connection == DISCONNECTED) {
		handle_unload(control); /* it waits without limit: answer */
		return;
	}
	if (control->connection != CONNECTED) {
		fault(control, "message of type %u while there is no connection", type);
		return;
	}
	handle_connected(control, type, copy.bytes, bytes);
}

/* ---- for people ---- */

uint32_t control_version(const struct control *control)
{
	return control->version;
}

uint32_t control_connection_id(const struct control *control, uint32_t relid)
{
	(void)control;
	return SIGNAL_CONNECTION_BASE + relid;
}

const uint8_t *control_user_data(const struct control *control, uint32_t relid)
{
	return control->channels[relid]->user_data;
}

const char *control_channel_state(const struct control *control, uint32_t relid)
{
	static const char *const names[] = { "offered", "opening", "open", "closing" };
	const struct channel *channel = control->channels[relid];

	if (!channel) {
		return "none";
	}
	return channel->revoked ? "rescinded" : names[channel->state];
}

void control_inspect(const struct control *control, struct inspect *at)
{
	static const char *const names[] = { "disconnected", "connected", "unloading",
					     "re-contacting", "resetting" };

	inspect_string(at, "connection", names[control->connection]);
	inspect_format(at, "version", "%u.%u", control->version >> 16, control->version & 0xffff);
	inspect_u64(at, "target_vp", control->target_vp);
	inspect_u64(at, "messages", control->messages);
	inspect_u64(at, "faults", control->faults);
	inspect_u64(at, "gpadls", gpadl_table_count(control->gpadls));
}
