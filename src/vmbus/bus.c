/* SPDX-License-Identifier: MIT */
/* The bus on the control loop: control plane, channels' beginnings and ends, messages both ways. */
#include "vmbus/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/hv.h"
#include "vmbus/channel_internal.h"

/*
 * Messages between the vCPUs and the control loop. A full inbox is a normal answer to the guest
 * ("insufficient buffers": it tries again). No message is taken from the inbox unless the outbox has
 * room for what it may cause, so a guest that does not empty its message slot only stops itself.
 */
#define INBOX_MESSAGES  64
#define OUTBOX_MESSAGES 64
#define OUTBOX_RESERVE  8 /* for answers that are not to a message: closes, GPADLs */

struct mail {
	uint32_t connection_id; /* inbox */
	uint32_t vp;            /* outbox */
	uint32_t bytes;
	uint8_t message[VMBUS_MESSAGE_BYTES_MAX];
};

struct vmbus_bus {
	/* control loop */
	struct loop *loop;
	const struct mem *mem;
	struct synic *synic;
	struct control *control;
	struct gpadl_table *gpadls;
	struct vmbus_channel *channels[VMBUS_RELID_MAX + 1];
	struct mail outbox[OUTBOX_MESSAGES];
	unsigned int out_first, out_count;
	struct loop_work *reset_done;
	bool is_paused;
	uint64_t messages_sent, messages_dropped;

	/* any thread, under inbox_lock; nothing is taken under it */
	pthread_mutex_t inbox_lock;
	struct mail inbox[INBOX_MESSAGES];
	unsigned int in_first, in_count;
	uint64_t inbox_full;

	struct loop_work inbox_work;
};

/* ---- messages to the guest ---- */

static void flush_outbox(struct vmbus_bus *bus)
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

static void on_send(void *ctx, uint32_t target_vp, const void *message, uint32_t bytes)
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
	flush_outbox(bus);
}

/* ---- messages from the guest ---- */

static bool take_mail(struct vmbus_bus *bus, struct mail *ret)
{
	bool any;

	pthread_mutex_lock(&bus->inbox_lock);
	any = bus->in_count > 0;
	if (any) {
		*ret = bus->inbox[bus->in_first];
		bus->in_first = (bus->in_first + 1) % INBOX_MESSAGES;
		bus->in_count--;
	}
	pthread_mutex_unlock(&bus->inbox_lock);
	return any;
}

static void process_inbox(struct vmbus_bus *bus)
{
	struct mail mail;

	if (bus->is_paused) {
		return;
	}
	control_pump(bus->control);
	while (on_has_room(bus) && take_mail(bus, &mail)) {
		control_on_message(bus->control, mail.connection_id, mail.message, mail.bytes);
		control_pump(bus->control);
	}
}

static void on_inbox(struct loop_work *work)
{
	process_inbox(container_of(work, struct vmbus_bus, inbox_work));
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
	flush_outbox(bus);
	process_inbox(bus);
}

/* ---- a channel opens ---- */

struct loop_op_args {
	struct vmbus_channel *channel;
	const uint8_t *user_data;
	bool flag;
	int result;
};

static void open_on_loop(void *arg)
{
	struct loop_op_args *args = arg;

	args->result = args->user_data ? channel_open(args->channel, args->user_data)
				       : channel_restore(args->channel);
}

/* Maps the two rings that the guest described. */
static int map_rings(struct vmbus_channel *channel, const struct control_open *open)
{
	size_t pages, first = open->downstream_page_offset;
	const uint64_t *gfns;
	int err = gpadl_table_get(channel->gpadls, channel->relid, open->ring_gpadl,
				  &channel->ring_gpadl);

	if (err) {
		return err;
	}
	gfns = gpadl_gfns(channel->ring_gpadl, &pages);
	if (first >= pages || gpadl_bytes(channel->ring_gpadl) != pages * MEM_PAGE_BYTES) {
		return -EINVAL;
	}
	err = vmbus_ring_map(&channel->in.ring, channel->mem, gfns, first);
	if (!err) {
		err = vmbus_ring_map(&channel->out.ring, channel->mem, gfns + first, pages - first);
	}
	return err;
}

/* Undoes what was done of an open; also the half of it. */
static void release_rings(struct vmbus_channel *channel)
{
	if (channel->is_bound) {
		channel->synic->ops->doorbell_remove(
			channel->synic,
			control_connection_id(channel->bus->control, channel->relid));
		channel->is_bound = false;
	}
	vmbus_ring_unmap(&channel->in.ring);
	vmbus_ring_unmap(&channel->out.ring);
	gpadl_put(channel->ring_gpadl);
	channel->ring_gpadl = NULL;
}

static int open_channel(struct vmbus_channel *channel, const struct control_open *open,
			const uint8_t *user_data)
{
	struct vmbus_bus *bus = channel->bus;
	struct synic *synic = channel->synic;
	struct loop_op_args args = { .channel = channel, .user_data = user_data };
	int err = open->target_vp < synic->ops->vp_count(synic) ? 0 : -EINVAL;

	if (!err) {
		err = map_rings(channel, open);
	}
	if (!err) {
		err = synic->ops->doorbell_add(synic,
					       control_connection_id(bus->control, channel->relid),
					       channel->doorbell_fd);
		channel->is_bound = !err;
	}
	if (!err) {
		channel->target_vp = open->target_vp;
		channel->version = control_version(bus->control);
		channel->is_paused = bus->is_paused;
		loop_call(channel->loop, open_on_loop, &args);
		err = args.result;
	}
	if (err) {
		release_rings(channel);
	}
	return err;
}

static void on_open(void *ctx, uint32_t relid, const struct control_open *open)
{
	struct vmbus_bus *bus = ctx;
	struct vmbus_channel *channel = bus->channels[relid];
	int err = open_channel(channel, open, open->user_data);

	if (err) {
		log_guest(&channel->log_rate, channel->device->ops->name,
			  "channel %u cannot be opened: %s", relid, strerror(-err));
	}
	control_on_opened(bus->control, relid, err == 0);
}

/* ---- a channel closes ---- */

static void close_on_loop(void *arg)
{
	channel_close(((struct loop_op_args *)arg)->channel);
}

static void on_close(void *ctx, uint32_t relid)
{
	struct vmbus_bus *bus = ctx;
	struct loop_op_args args = { .channel = bus->channels[relid] };

	loop_call(args.channel->loop, close_on_loop, &args);
}

/* Nobody refers to a revoked device any more. */
static void finish_revoke(struct vmbus_channel *channel)
{
	struct loop_work *done = channel->revoke_done;

	if (done) {
		channel->revoke_done = NULL;
		channel->device->channel = NULL;
		channel->device = NULL;
		loop_post(channel->control_loop, done);
	}
}

static void finish_reset(struct vmbus_bus *bus)
{
	if (bus->reset_done && control_is_quiet(bus->control)) {
		struct loop_work *done = bus->reset_done;

		bus->reset_done = NULL;
		loop_post(bus->loop, done);
	}
}

/* Posted by vmbus_channel_closed(). */
static void on_closed(struct loop_work *work)
{
	struct vmbus_channel *channel = container_of(work, struct vmbus_channel, closed);
	struct vmbus_bus *bus = channel->bus;

	release_rings(channel);
	finish_revoke(channel);
	control_on_closed(bus->control, channel->relid); /* may free the channel */
	finish_reset(bus);
	process_inbox(bus);
}

static bool on_set_target_vp(void *ctx, uint32_t relid, uint32_t target_vp)
{
	struct vmbus_bus *bus = ctx;

	if (target_vp >= bus->synic->ops->vp_count(bus->synic)) {
		return false;
	}
	bus->channels[relid]->target_vp = target_vp;
	return true;
}

static void free_channel(struct vmbus_channel *channel)
{
	if (channel) {
		close(channel->doorbell_fd);
		free(channel);
	}
}

static void on_released(void *ctx, uint32_t relid)
{
	struct vmbus_bus *bus = ctx;
	struct vmbus_channel *channel = bus->channels[relid];

	finish_revoke(channel);
	bus->channels[relid] = NULL;
	free_channel(channel);
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

		if (channel && channel->device && channel->device->ops->reset) {
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
	.send = on_send,
	.open = on_open,
	.close = on_close,
	.set_target_vp = on_set_target_vp,
	.released = on_released,
	.disconnected = on_disconnected,
};

static const struct synic_sink_ops sink_ops = {
	.on_post_message = on_post_message,
	.on_slot_free = on_slot_free,
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
			if (channel->device) {
				channel->device->channel = NULL;
			}
			free_channel(channel);
		}
	}
	loop_cancel(bus->loop, &bus->inbox_work);
	control_destroy(bus->control);
	gpadl_table_destroy(bus->gpadls);
	pthread_mutex_destroy(&bus->inbox_lock);
	free(bus);
}

static struct vmbus_channel *make_channel(struct vmbus_bus *bus, struct vmbus_device *device)
{
	struct vmbus_channel *channel = fault_alloc(1, sizeof(*channel));

	if (!channel) {
		return NULL;
	}
	channel->bus = bus;
	channel->device = device;
	channel->mem = bus->mem;
	channel->synic = bus->synic;
	channel->gpadls = bus->gpadls;
	channel->loop = device->loop;
	channel->control_loop = bus->loop;
	loop_work_init(&channel->closed, on_closed);
	list_init(&channel->poller.link);
	channel->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (channel->doorbell_fd < 0) {
		free(channel);
		return NULL;
	}
	return channel;
}

int bus_offer(struct vmbus_bus *bus, struct vmbus_device *device)
{
	struct vmbus_channel *channel = make_channel(bus, device);
	uint32_t relid;

	if (!channel) {
		return -ENOMEM;
	}
	check(!device->channel);
	int err = control_offer(bus->control, &device->offer, 0, &relid);

	if (err) {
		free_channel(channel);
		return err;
	}
	channel->relid = relid;
	bus->channels[relid] = channel;
	device->channel = channel;
	return 0;
}

void bus_revoke(struct vmbus_bus *bus, struct vmbus_device *device, struct loop_work *done)
{
	struct vmbus_channel *channel = device->channel;
	uint32_t relid = channel->relid;
	bool was_open = strcmp(control_channel_state(bus->control, relid), "offered") != 0;

	channel->revoke_done = done;
	control_revoke(bus->control, relid); /* may free the channel */
	if (!was_open && bus->channels[relid] == channel) {
		finish_revoke(channel);
	}
	flush_outbox(bus);
}

void bus_reset(struct vmbus_bus *bus, struct loop_work *done)
{
	check(!bus->reset_done);
	pthread_mutex_lock(&bus->inbox_lock);
	bus->in_count = 0;
	pthread_mutex_unlock(&bus->inbox_lock);
	bus->out_count = 0;
	bus->reset_done = done;
	control_reset(bus->control);
	bus->out_count = 0; /* whatever the end of the old connection said */
	finish_reset(bus);
}

/* ---- pause ---- */

static void set_paused_on_loop(void *arg)
{
	struct loop_op_args *args = arg;

	channel_set_paused(args->channel, args->flag);
}

static void set_paused(struct vmbus_bus *bus, bool paused)
{
	bus->is_paused = paused;
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct loop_op_args args = { .channel = bus->channels[relid], .flag = paused };

		if (args.channel) {
			loop_call(args.channel->loop, set_paused_on_loop, &args);
		}
	}
}

void bus_pause(struct vmbus_bus *bus)
{
	set_paused(bus, true);
}

void bus_resume(struct vmbus_bus *bus)
{
	set_paused(bus, false);
	process_inbox(bus);
}

/* ---- for people ---- */

struct inspect_args {
	struct vmbus_channel *channel;
	struct inspect *at;
};

static void inspect_on_loop(void *arg)
{
	struct inspect_args *args = arg;
	struct vmbus_device *device = args->channel->device;

	channel_inspect(args->channel, args->at);
	if (device->ops->inspect) {
		struct inspect child = inspect_child(args->at, device->ops->name);

		device->ops->inspect(device, &child);
	}
}

static void inspect_channel(struct vmbus_bus *bus, struct vmbus_channel *channel,
			    struct inspect *at)
{
	struct inspect item = inspect_item(at, "channels");
	char guid[GUID_STRING_BYTES];

	inspect_u64(&item, "relid", channel->relid);
	inspect_string(&item, "state", control_channel_state(bus->control, channel->relid));
	inspect_u64(&item, "connection_id", control_connection_id(bus->control, channel->relid));
	if (!channel->device) {
		return;
	}
	inspect_string(&item, "device", channel->device->ops->name);
	inspect_string(&item, "interface_type",
		       guid_format(&channel->device->offer.interface_type, guid));
	inspect_string(&item, "interface_instance",
		       guid_format(&channel->device->offer.interface_instance, guid));
	struct inspect_args args = { .channel = channel, .at = &item };

	loop_call(channel->loop, inspect_on_loop, &args);
}

void bus_inspect(struct vmbus_bus *bus, struct inspect *at)
{
	control_inspect(bus->control, at);
	inspect_u64(at, "messages_sent", bus->messages_sent);
	inspect_u64(at, "messages_dropped", bus->messages_dropped);
	inspect_u64(at, "messages_waiting", bus->out_count);
	inspect_u64(at, "inbox_full", bus->inbox_full);
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		if (bus->channels[relid]) {
			inspect_channel(bus, bus->channels[relid], at);
		}
	}
}

/* ---- state ---- */

enum { BUS_STATE_CONTROL = 1, BUS_STATE_DEVICE = 2, BUS_STATE_MESSAGE = 3 };
enum { DEVICE_STATE_RELID = 1, DEVICE_STATE_OWN = 2 };
enum { MESSAGE_STATE_VP = 1, MESSAGE_STATE_BYTES = 2 };

struct save_args {
	struct vmbus_device *device;
	struct save *save;
	struct load *load;
	int result;
};

static void save_on_loop(void *arg)
{
	struct save_args *args = arg;

	args->device->ops->save(args->device, args->save);
}

static void load_on_loop(void *arg)
{
	struct save_args *args = arg;

	args->result = args->device->ops->load(args->device, args->load);
}

static void save_devices(struct vmbus_bus *bus, struct save *save)
{
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_channel *channel = bus->channels[relid];

		if (!channel || !channel->device || !channel->device->ops->save) {
			continue;
		}
		struct save_args args = { .device = channel->device, .save = save };

		save_group_begin(save, BUS_STATE_DEVICE);
		save_u32(save, DEVICE_STATE_RELID, relid);
		save_group_begin(save, DEVICE_STATE_OWN);
		loop_call(channel->loop, save_on_loop, &args);
		save_group_end(save);
		save_group_end(save);
	}
}

void bus_save(struct vmbus_bus *bus, struct save *save)
{
	check(bus->is_paused);
	save_group_begin(save, BUS_STATE_CONTROL);
	control_save(bus->control, save);
	save_group_end(save);
	for (unsigned int i = 0; i < bus->out_count; i++) {
		const struct mail *mail = &bus->outbox[(bus->out_first + i) % OUTBOX_MESSAGES];

		save_group_begin(save, BUS_STATE_MESSAGE);
		save_u32(save, MESSAGE_STATE_VP, mail->vp);
		save_bytes(save, MESSAGE_STATE_BYTES, mail->message, mail->bytes);
		save_group_end(save);
	}
	save_devices(bus, save);
}

static int on_restore(void *ctx, uint32_t relid, const struct control_open *open)
{
	struct vmbus_bus *bus = ctx;

	return open_channel(bus->channels[relid], open, NULL);
}

static void load_message(struct vmbus_bus *bus, struct load *load)
{
	const uint8_t *bytes = NULL;
	uint32_t vp = 0, length = 0;
	struct load_field f;

	while (load_next(load, &f)) {
		if (f.tag == MESSAGE_STATE_VP) {
			vp = load_u32(load, &f);
		} else if (f.tag == MESSAGE_STATE_BYTES) {
			bytes = f.bytes;
			length = f.length;
		}
	}
	if (load_result(load) || !bytes || length > VMBUS_MESSAGE_BYTES_MAX) {
		load_fail(load);
		return;
	}
	on_send(bus, vp, bytes, length);
}

static void load_device(struct vmbus_bus *bus, struct load *load)
{
	struct vmbus_channel *channel = NULL;
	struct load_field f;
	struct load own;

	while (load_next(load, &f)) {
		if (f.tag == DEVICE_STATE_RELID) {
			uint32_t relid = load_u32(load, &f);

			channel = relid <= VMBUS_RELID_MAX ? bus->channels[relid] : NULL;
		} else if (f.tag == DEVICE_STATE_OWN) {
			if (!channel || !channel->device || !channel->device->ops->load) {
				load_fail(load);
				return;
			}
			load_group(load, &f, &own);
			struct save_args args = { .device = channel->device, .load = &own };

			loop_call(channel->loop, load_on_loop, &args);
			if (args.result) {
				load_fail(&own);
			}
			load_close(load, &own);
		}
	}
}

int bus_load(struct vmbus_bus *bus, struct load *load)
{
	struct load_field f;
	struct load inner;

	check(bus->is_paused);
	while (load_next(load, &f)) {
		load_group(load, &f, &inner);
		switch (f.tag) {
		case BUS_STATE_CONTROL:
			if (control_load(bus->control, &inner, on_restore)) {
				load_fail(&inner);
			}
			break;
		case BUS_STATE_MESSAGE:
			load_message(bus, &inner);
			break;
		case BUS_STATE_DEVICE:
			load_device(bus, &inner);
			break;
		default:
			break;
		}
		load_close(load, &inner);
	}
	return load_result(load);
}
