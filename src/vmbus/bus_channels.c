/* SPDX-License-Identifier: MIT */
/* The bus on the control loop: channels and sub-channels are offered, open, close and go. */
#include <errno.h>
#include <string.h>

#include "vmbus/bus_away.h"
#include "vmbus/bus_internal.h"

/* ---- a channel opens ---- */

struct loop_op_args {
	struct vmbus_channel *channel;
	const uint8_t *user_data;
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
	int err = gpadl_table_get(channel->gpadls, channel->relid, open->ring_gpadl,
				  &channel->ring_gpadl);

	channel->downstream_page = open->downstream_page_offset;
	return err ? err : channel_map_rings(channel);
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
	channel_unmap_rings(channel);
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
		bus_away_set_target_vp(bus, channel->relid, open->target_vp);
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

int bus_on_restore(void *ctx, uint32_t relid, const struct control_open *open)
{
	struct vmbus_bus *bus = ctx;

	return open_channel(bus->channels[relid], open, NULL);
}

void bus_on_open(void *ctx, uint32_t relid, const struct control_open *open)
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
	struct vmbus_channel *channel = ((struct loop_op_args *)arg)->channel;

	if (channel->is_open) {
		channel_close(channel);
	} else { /* it was lost on its way home */
		loop_post(channel->control_loop, &channel->closed);
	}
}

/* One that the guest has not opened is gone for the device at once, else when it has closed. */
static void revoke_sub(struct vmbus_bus *bus, uint32_t relid)
{
	struct vmbus_channel *sub = bus->channels[relid];
	bool is_opened = sub->is_bound;

	control_revoke(bus->control, relid); /* may free it */
	if (!is_opened && bus->channels[relid] == sub) {
		sub->device = NULL;
	}
}

/* The next sub-channel of a device from this relid on; 0: none. */
static uint32_t next_sub(const struct vmbus_bus *bus, const struct vmbus_device *device,
			 uint32_t relid)
{
	for (; relid <= VMBUS_RELID_MAX; relid++) {
		const struct vmbus_channel *channel = bus->channels[relid];

		if (channel && channel->device == device && channel->index > 0) {
			return relid;
		}
	}
	return 0;
}

void bus_on_close(void *ctx, uint32_t relid)
{
	struct vmbus_bus *bus = ctx;
	struct loop_op_args args = { .channel = bus->channels[relid] };

	if (args.channel->index == 0) { /* D4 */
		struct vmbus_device *device = args.channel->device;

		bus_away_closing(device);

		for (uint32_t sub = 1; (sub = next_sub(bus, device, sub)) != 0; sub++) {
			revoke_sub(bus, sub);
		}
	}
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

/* A primary is closed when its sub-channels are, too. */
static void finish_close(struct vmbus_bus *bus, struct vmbus_channel *primary)
{
	if (!primary->is_closed_early || next_sub(bus, primary->device, 1)) {
		return;
	}
	primary->is_closed_early = false;
	finish_revoke(primary);
	control_on_closed(bus->control, primary->relid); /* may free it */
}

/* Posted by vmbus_channel_closed(). */
static void on_closed(struct loop_work *work)
{
	struct vmbus_channel *channel = container_of(work, struct vmbus_channel, closed);
	struct vmbus_bus *bus = channel->bus;
	struct vmbus_channel *primary = channel->device->channel;

	release_rings(channel);
	if (channel == primary) {
		channel->is_closed_early = true;
	} else {
		if (control_is_revoked(bus->control, channel->relid)) {
			channel->device = NULL;
		}
		control_on_closed(bus->control, channel->relid); /* may free it */
	}
	finish_close(bus, primary);
	bus_finish_reset(bus);
	bus_process_inbox(bus);
}

bool bus_on_set_target_vp(void *ctx, uint32_t relid, uint32_t target_vp)
{
	struct vmbus_bus *bus = ctx;

	if (target_vp >= bus->synic->ops->vp_count(bus->synic)) {
		return false;
	}
	bus->channels[relid]->target_vp = target_vp;
	bus_away_set_target_vp(bus, relid, target_vp);
	return true;
}

void bus_free_channel(struct vmbus_channel *channel)
{
	channel_destroy(channel);
}

void bus_on_released(void *ctx, uint32_t relid)
{
	struct vmbus_bus *bus = ctx;
	struct vmbus_channel *channel = bus->channels[relid];

	finish_revoke(channel);
	bus->channels[relid] = NULL;
	bus_free_channel(channel);
}

/* ---- offers ---- */

static loop_work_fn on_subs_asked;

static int make_channel(struct vmbus_bus *bus, struct vmbus_device *device, unsigned int index,
			struct vmbus_channel **ret)
{
	const struct channel_place place = {
		.bus = bus,
		.loop = index ? device->sub_loops[index - 1] : device->loop,
		.control_loop = bus->loop,
		.mem = bus->mem,
		.synic = bus->synic,
		.gpadls = bus->gpadls,
		.doorbell_fd_take = -1,
		.closed = on_closed,
		.subs_asked = on_subs_asked,
	};

	return channel_create(&place, device, index, ret);
}

/* relid: which one, or 0 for any. */
static int offer_channel(struct vmbus_bus *bus, struct vmbus_device *device, unsigned int index,
			 uint32_t relid, struct vmbus_channel **ret)
{
	struct vmbus_channel *channel;
	int err = make_channel(bus, device, index, &channel);

	if (err) {
		return err;
	}
	if (relid) {
		err = control_offer_at(bus->control, &device->offer, channel->index, relid);
	} else {
		err = control_offer(bus->control, &device->offer, channel->index, &relid);
	}
	if (err) {
		bus_free_channel(channel);
		return err;
	}
	channel->relid = relid;
	channel->is_paused = bus->is_paused;
	bus->channels[relid] = channel;
	*ret = channel;
	return 0;
}

int bus_offer(struct vmbus_bus *bus, struct vmbus_device *device)
{
	struct vmbus_channel *channel;

	check(!device->channel);
	int err = offer_channel(bus, device, 0, 0, &channel);

	if (!err) {
		device->channel = channel;
	}
	return err;
}

/* ---- sub-channels ---- */

/* Posted by vmbus_channel_offer_subs(); the primary may have been closed since. */
static void on_subs_asked(struct loop_work *work)
{
	struct vmbus_channel *primary = container_of(work, struct vmbus_channel, subs_asked), *sub;
	uint32_t count = atomic_load(&primary->subs_wanted);

	if (!control_is_open(primary->bus->control, primary->relid)) {
		return;
	}
	for (uint32_t index = 1; index <= count; index++) {
		int err = offer_channel(primary->bus, primary->device, index, 0, &sub);

		if (err && err != -EEXIST) {
			log_error(primary->device->ops->name,
				  "sub-channel %u cannot be offered: %s", index, strerror(-err));
			return;
		}
	}
}

bool bus_drop_orphans(struct vmbus_bus *bus)
{
	bool was_open = false;

	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_channel *channel = bus->channels[relid];

		if (channel && channel->device && channel->index > 0 &&
		    !control_is_open(bus->control, channel->device->channel->relid)) {
			was_open |= channel->is_bound;
			revoke_sub(bus, relid);
		}
	}
	return was_open;
}

bool bus_on_restore_sub(void *ctx, const struct vmbus_offer *offer, uint16_t index, uint32_t relid)
{
	struct vmbus_bus *bus = ctx;
	struct vmbus_channel *sub;

	for (uint32_t i = 1; i <= VMBUS_RELID_MAX; i++) {
		struct vmbus_channel *channel = bus->channels[i];

		if (channel && channel->device && channel->index == 0 &&
		    guid_is_equal(&channel->device->offer.interface_type, &offer->interface_type) &&
		    guid_is_equal(&channel->device->offer.interface_instance,
				  &offer->interface_instance)) {
			return index <= channel->device->sub_channels_max &&
			       offer_channel(bus, channel->device, index, relid, &sub) == 0;
		}
	}
	return false;
}

void bus_revoke(struct vmbus_bus *bus, struct vmbus_device *device, struct loop_work *done)
{
	struct vmbus_channel *channel = device->channel;
	uint32_t relid = channel->relid;

	if (bus_away_is_away(device)) {
		device->lending->revoke_done = done;
		bus_away_closing(device);
		device->lending->ops->recall(device->lending, REMOTE_RECALL_END);
		return;
	}
	bool was_open = strcmp(control_channel_state(bus->control, relid), "offered") != 0;

	channel->revoke_done = done;
	control_revoke(bus->control, relid); /* may free the channel */
	if (!was_open && bus->channels[relid] == channel) {
		finish_revoke(channel);
	}
	bus_flush_outbox(bus);
}
