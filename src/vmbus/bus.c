/* SPDX-License-Identifier: MIT */
/* The bus on the control loop: messages both ways, life, reset and pause. */
#include "vmbus/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/hv.h"
#include "vmbus/bus_away.h"
#include "vmbus/bus_internal.h"

/* ---- messages to the guest ---- */

void bus_flush_outbox(struct vmbus_bus *bus)
{
	while (bus->out_count > 0) {
		struct mail *mail = &bus->outbox[bus->out_first];
		struct synic_message message = { .type = VMBUS_MESSAGE_TYPE,
						 .payload_bytes = (uint8_t)mail->bytes };

		memcpy(message.payload, mail->message, mail->bytes);
		int err = bus->synic->ops->post_message(bus->synic, mail->vp, VMBUS_SINT, &message);

		if (err == -EAGAIN) {
			return; /* on_slot_free() goes on */
		}
		/* Otherwise it is delivered, or the guest has no SynIC to deliver to. */
		bus->messages_sent += err == 0;
		bus->messages_dropped += err != 0;
		bus->out_first = (bus->out_first + 1) % OUTBOX_MESSAGES;
		bus->out_count--;
	}
}

static bool on_has_room(void *ctx)
{
	const struct vmbus_bus *bus = ctx;

	return bus->out_count < OUTBOX_MESSAGES - OUTBOX_RESERVE;
}

void bus_on_send(void *ctx, uint32_t target_vp, const void *message, uint32_t bytes)
{
	struct vmbus_bus *bus = ctx;

	check(bytes <= VMBUS_MESSAGE_BYTES_MAX);
	if (bus->out_count == OUTBOX_MESSAGES) {
		bus->messages_dropped++; /* only a guest that asked for it without reading */
		return;
	}
	struct mail *mail = &bus->outbox[(bus->out_first + bus->out_count++) % OUTBOX_MESSAGES];

	mail->vp = target_vp;
	mail->bytes = bytes;
	memcpy(mail->message, message, bytes);
	bus_flush_outbox(bus);
}

/* ---- messages from the guest ---- */

/* The oldest message; it stays there. */
static bool look_at_mail(struct vmbus_bus *bus, struct mail *ret)
{
	bool any;

	pthread_mutex_lock(&bus->inbox_lock);
	any = bus->in_count > 0;
	if (any) {
		*ret = bus->inbox[bus->in_first];
	}
	pthread_mutex_unlock(&bus->inbox_lock);
	return any;
}

static void drop_mail(struct vmbus_bus *bus)
{
	pthread_mutex_lock(&bus->inbox_lock);
	bus->in_first = (bus->in_first + 1) % INBOX_MESSAGES;
	bus->in_count--;
	pthread_mutex_unlock(&bus->inbox_lock);
}

void bus_process_inbox(struct vmbus_bus *bus)
{
	struct mail mail;

	if (bus->is_paused || bus->reset_waits) {
		return;
	}
	control_pump(bus->control);
	while (on_has_room(bus) && look_at_mail(bus, &mail) &&
	       !bus_away_blocks(bus, mail.message, mail.bytes)) {
		drop_mail(bus);
		control_on_message(bus->control, mail.connection_id, mail.message, mail.bytes);
		control_pump(bus->control);
	}
}

static void on_inbox(struct loop_work *work)
{
	bus_process_inbox(container_of(work, struct vmbus_bus, inbox_work));
}

/* A vCPU's thread. */
static uint16_t on_post_message(void *ctx, uint32_t connection_id, uint32_t type,
				const uint8_t *payload, uint32_t payload_bytes)
{
	struct vmbus_bus *bus = ctx;
	uint16_t status = HV_STATUS_SUCCESS;

	if ((connection_id != VMBUS_CONNECTION_ID_OLD &&
	     connection_id != VMBUS_CONNECTION_ID_NEW) ||
	    type != VMBUS_MESSAGE_TYPE) {
		return HV_STATUS_INVALID_CONNECTION_ID;
	}
	if (payload_bytes > VMBUS_MESSAGE_BYTES_MAX) {
		return HV_STATUS_INVALID_PARAMETER;
	}
	pthread_mutex_lock(&bus->inbox_lock);
	if (bus->in_count == INBOX_MESSAGES) {
		bus->inbox_full++;
		status = HV_STATUS_INSUFFICIENT_BUFFERS;
	} else {
		struct mail *mail = &bus->inbox[(bus->in_first + bus->in_count++) % INBOX_MESSAGES];

		mail->connection_id = connection_id;
		mail->bytes = payload_bytes;
		memcpy(mail->message, payload, payload_bytes);
	}
	pthread_mutex_unlock(&bus->inbox_lock);
	loop_post(bus->loop, &bus->inbox_work);
	return status;
}

static void on_slot_free(void *ctx, uint32_t vp, uint32_t sint)
{
	struct vmbus_bus *bus = ctx;

	(void)vp;
	(void)sint;
	bus_flush_outbox(bus);
	bus_process_inbox(bus);
}

/* A vCPU's thread. */
static void on_event_page(void *ctx, uint32_t vp, uint64_t siefp)
{
	bus_away_set_event_page(ctx, vp, siefp);
}

/* ---- the end of a connection ---- */

void bus_finish_reset(struct vmbus_bus *bus)
{
	if (bus->reset_done && !bus->reset_waits && control_is_quiet(bus->control)) {
		struct loop_work *done = bus->reset_done;

		bus->reset_done = NULL;
		loop_post(bus->loop, done);
	}
}

static void reset_on_loop(void *arg)
{
	struct vmbus_device *device = arg;

	device->ops->reset(device);
}

static void on_disconnected(void *ctx)
{
	struct vmbus_bus *bus = ctx;

	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_channel *channel = bus->channels[relid];

		if (channel && channel->device && channel->index == 0 &&
		    channel->device->ops->reset) {
			loop_call(channel->loop, reset_on_loop, channel->device);
		}
	}
}

/* ---- GPADLs ---- */

static void on_gpadl_gone(void *ctx, uint32_t id)
{
	struct vmbus_bus *bus = ctx;

	control_on_gpadl_gone(bus->control, id);
}

/* ---- life ---- */

static const struct control_ops control_ops = {
	.has_room = on_has_room,
	.send = bus_on_send,
	.open = bus_on_open,
	.close = bus_on_close,
	.set_target_vp = bus_on_set_target_vp,
	.released = bus_on_released,
	.disconnected = on_disconnected,
	.restore_sub = bus_on_restore_sub,
};

static const struct synic_sink_ops sink_ops = {
	.on_post_message = on_post_message,
	.on_slot_free = on_slot_free,
	.on_event_page = on_event_page,
};

int bus_create(struct loop *control_loop, const struct mem *mem, struct synic *synic,
	       struct vmbus_bus **ret)
{
	struct vmbus_bus *bus = fault_alloc(1, sizeof(*bus));

	if (!bus) {
		return -ENOMEM;
	}
	bus->loop = control_loop;
	bus->mem = mem;
	bus->synic = synic;
	pthread_mutex_init(&bus->inbox_lock, NULL);
	loop_work_init(&bus->inbox_work, on_inbox);
	bus_away_init(bus);
	int err = gpadl_table_create(mem, control_loop, on_gpadl_gone, bus, &bus->gpadls);

	if (!err) {
		err = control_create(&control_ops, bus, bus->gpadls, synic->ops->vp_count(synic),
				     &bus->control);
	}
	if (err) {
		bus_destroy(bus);
		return err;
	}
	synic->sink = &sink_ops;
	synic->sink_ctx = bus;
	*ret = bus;
	return 0;
}

void bus_destroy(struct vmbus_bus *bus)
{
	if (!bus) {
		return;
	}
	if (bus->synic->sink_ctx == bus) {
		bus->synic->sink = NULL;
	}
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_channel *channel = bus->channels[relid];

		if (channel) {
			check(!channel->is_open);
			if (channel->device && channel->index == 0) {
				channel->device->channel = NULL;
			}
			bus_free_channel(channel);
		}
	}
	loop_cancel(bus->loop, &bus->inbox_work);
	control_destroy(bus->control);
	gpadl_table_destroy(bus->gpadls);
	bus_away_fini(bus);
	pthread_mutex_destroy(&bus->inbox_lock);
	free(bus);
}

void bus_reset(struct vmbus_bus *bus, struct loop_work *done)
{
	check(!bus->reset_done);
	pthread_mutex_lock(&bus->inbox_lock);
	bus->in_count = 0;
	pthread_mutex_unlock(&bus->inbox_lock);
	bus->out_count = 0;
	bus->reset_done = done;
	bus->reset_waits = bus_away_recall_all(bus, REMOTE_RECALL_CONTROL, true);
	if (!bus->reset_waits) {
		bus_go_on_with_reset(bus);
	}
}

void bus_go_on_with_reset(struct vmbus_bus *bus)
{
	bus->reset_waits = false;
	control_reset(bus->control);
	bus->out_count = 0; /* whatever the end of the old connection said */
	bus_finish_reset(bus);
}

/* ---- pause ---- */

struct pause_args {
	struct vmbus_channel *channel;
	bool is_paused;
};

static void set_paused_on_loop(void *arg)
{
	struct pause_args *args = arg;

	channel_set_paused(args->channel, args->is_paused);
}

static void set_paused(struct vmbus_bus *bus, bool paused)
{
	bus->is_paused = paused;
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct pause_args args = { bus->channels[relid], paused };

		if (args.channel) {
			loop_call(args.channel->loop, set_paused_on_loop, &args);
		}
	}
}

int bus_pause(struct vmbus_bus *bus)
{
	int err = bus_away_wait_all(bus, BUS_PAUSE_LIMIT_NS);

	if (!err) {
		set_paused(bus, true);
	}
	return err;
}

void bus_resume(struct vmbus_bus *bus)
{
	set_paused(bus, false);
	bus_away_touch_all(bus);
	bus_process_inbox(bus);
}
