/* SPDX-License-Identifier: MIT */
/* The bus for people (inspect) and its saved state. */
#include <errno.h>

#include "vmbus/bus_away.h"
#include "vmbus/bus_internal.h"

/* ---- for people ---- */

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
	if (bus_away_is_away(channel->device)) {
		inspect_bool(&item, "away", true);
		inspect_u64(&item, "index", channel->index);
		if (channel->index == 0) {
			channel->device->lending->ops->inspect(channel->device->lending, &item);
		}
		return;
	}
	channel_inspect(channel, &item);
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

		if (!channel || !channel->device || channel->index > 0 ||
		    !channel->device->ops->save) {
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
	bus_on_send(bus, vp, bytes, length);
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
			if (!channel || !channel->device || channel->index > 0 ||
			    !channel->device->ops->load) {
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
			if (control_load(bus->control, &inner, bus_on_restore)) {
				load_fail(&inner);
			}
			if (bus_drop_orphans(bus)) {
				load_fail(&inner); /* open, and their primary is not */
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
