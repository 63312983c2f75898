/* SPDX-License-Identifier: MIT */
/* StorVSP: life, the units on its bus, and what the VMBus calls. */
#include "vsp/storage/storvsp.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/storage/storvsp_internal.h"

/* ---- units come and go ------------------------------------------------------------------------- */

struct slot {
	struct storvsp_queue *queue;
	struct storvsp_address at;
	struct scsi_disk *disk;
};

static void set_slot_on_loop(void *arg)
{
	struct slot *slot = arg;

	slot->queue->targets[slot->at.path][slot->at.target].luns[slot->at.lun] = slot->disk;
}

static void set_slot(struct storvsp *storvsp, struct storvsp_address at, struct scsi_disk *disk)
{
	storvsp->disks[at.path][at.target][at.lun] = disk;
	for (unsigned int i = 0; i < storvsp->queue_count; i++) {
		struct slot slot = { &storvsp->queues[i], at, disk };

		loop_call(storvsp->queues[i].loop, set_slot_on_loop, &slot);
	}
}

/* The primary's loop: what the guest has to be told, as the ring has room. */
static void send_events(struct storvsp *storvsp)
{
	static const uint32_t events[] = { VSTOR_REMOVE_DEVICE, VSTOR_ENUMERATE_BUS };
	struct vmbus_channel *channel = storvsp->queues[0].channel;

	/* A driver that begins looks at everything anyway. */
	if (!channel || storvsp->queues[0].is_closing || storvsp->phase != STORVSP_READY) {
		atomic_store(&storvsp->events, 0);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		uint8_t packet[VSTOR_PACKET_BYTES];

		if (!(atomic_load(&storvsp->events) & 1U << events[i]) ||
		    vmbus_channel_is_paused(channel)) {
			continue;
		}
		vstor_build_event(events[i], packet);
		if (vmbus_channel_send_inband(channel, 0, false, packet, sizeof(packet)) ==
		    -EAGAIN) {
			return; /* writable() comes back to it */
		}
		atomic_fetch_and(&storvsp->events, ~(1U << events[i]));
		storvsp->announced++;
	}
}

/* ---- a guest that did not come to look is told again ---- */

static bool has_unseen(const struct storvsp_queue *queue)
{
	storvsp_for_each_address(at)
	{
		const struct scsi_disk *disk = queue->targets[at.path][at.target].luns[at.lun];

		if (disk && !scsi_disk_is_seen(disk)) {
			return true;
		}
	}
	return false;
}

static void on_again(struct loop_timer *timer)
{
	struct storvsp *storvsp = container_of(timer, struct storvsp, again);
	const struct storvsp_queue *queue = &storvsp->queues[0];

	if (!queue->channel || !has_unseen(queue)) {
		return;
	}
	if (!vmbus_channel_is_paused(queue->channel)) {
		atomic_fetch_or(&storvsp->events, 1U << VSTOR_ENUMERATE_BUS);
		send_events(storvsp);
		storvsp->told_again++;
		storvsp->again_left--;
	}
	if (storvsp->again_left > 0) {
		loop_timer_arm(timer, STORVSP_AGAIN_NS);
	}
}

static void on_announce(struct loop_work *work)
{
	struct storvsp *storvsp = container_of(work, struct storvsp, announce);

	send_events(storvsp);
	storvsp->again_left = STORVSP_AGAIN_TIMES;
	loop_timer_arm(&storvsp->again, STORVSP_AGAIN_NS);
}

static void announce(struct storvsp *storvsp, uint32_t event)
{
	atomic_fetch_or(&storvsp->events, 1U << event);
	loop_post(storvsp->device.loop, &storvsp->announce);
}

void storvsp_announce(struct storvsp *storvsp)
{
	announce(storvsp, VSTOR_ENUMERATE_BUS);
}

void storvsp_resume(struct storvsp *storvsp)
{
	loop_post(storvsp->device.loop, &storvsp->announce);
}

int storvsp_add(struct storvsp *storvsp, struct storvsp_address at, struct scsi_disk *disk,
		struct diag *reterr)
{
	if (at.path >= STORVSP_PATHS || at.target >= STORVSP_TARGETS || at.lun >= STORVSP_LUNS) {
		return diag_set(reterr, -EINVAL,
				"SCSI address %u:%u:%u does not exist: the last is %u:%u:%u",
				at.path, at.target, at.lun, STORVSP_PATHS - 1, STORVSP_TARGETS - 1,
				STORVSP_LUNS - 1);
	}
	if (storvsp->disks[at.path][at.target][at.lun]) {
		return diag_set(reterr, -EEXIST,
				"SCSI address %u:%u:%u is taken twice: give one disk another",
				at.path, at.target, at.lun);
	}
	if (storvsp->disk_count == STORVSP_DISKS_MAX) {
		return diag_set(reterr, -ENOSPC, "a SCSI controller has room for %u disks",
				STORVSP_DISKS_MAX);
	}
	storvsp->disk_count++;
	set_slot(storvsp, at, disk);
	storvsp_announce(storvsp);
	return 0;
}

void storvsp_remove(struct storvsp *storvsp, struct storvsp_address at)
{
	check(storvsp->disks[at.path][at.target][at.lun]);
	storvsp->disk_count--;
	set_slot(storvsp, at, NULL);
	announce(storvsp, VSTOR_REMOVE_DEVICE);
}

bool storvsp_free_address(const struct storvsp *storvsp, struct storvsp_address *ret)
{
	for (uint8_t lun = 0; lun < STORVSP_LUNS; lun++) {
		if (!storvsp->disks[0][0][lun]) {
			*ret = (struct storvsp_address){ .lun = lun };
			return true;
		}
	}
	return false;
}

/* ---- called by the bus ------------------------------------------------------------------------- */

static void reset_units(struct storvsp *storvsp)
{
	const struct storvsp_queue *queue = &storvsp->queues[0];

	storvsp_for_each_address(at)
	{
		struct scsi_disk *disk = queue->targets[at.path][at.target].luns[at.lun];

		if (disk) {
			scsi_disk_reset(disk);
		}
	}
}

/* Who has the other face of the disk hears that a driver wants it. */
static void tell_opened(const struct storvsp *storvsp, int err)
{
	if (!err && storvsp->ide.opened) {
		storvsp->ide.opened(storvsp->ide.ctx);
	}
}

static int storvsp_open(struct vmbus_device *device, struct vmbus_channel *channel,
			const uint8_t *user_data)
{
	struct storvsp *storvsp = storvsp_of(device);
	struct storvsp_queue *queue = storvsp_queue_of(device, channel);
	int err = storvsp_queue_open(queue, channel);

	if (!err && queue->index == 0) {
		storvsp->phase = STORVSP_BEGIN;
		storvsp->version = 0;
		/* A driver that comes anew must find its disks started and cached as after power on. */
		reset_units(storvsp);
	}
	tell_opened(storvsp, err);
	return err;
}

static int storvsp_restored(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct storvsp_queue *queue = storvsp_queue_of(device, channel);
	int err = storvsp_queue_open(queue, channel);

	tell_opened(queue->storvsp, err);
	return err;
}

static void storvsp_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct storvsp_queue *queue = storvsp_queue_of(device, channel);

	storvsp_send_unsent(queue);
	if (queue->index == 0 && list_is_empty(&queue->unsent)) {
		send_events(storvsp_of(device));
	}
}

static void storvsp_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	storvsp_queue_close(storvsp_queue_of(device, channel));
}

/* ---- for people -------------------------------------------------------------------------------- */

static void storvsp_inspect_channel(struct vmbus_device *device, struct vmbus_channel *channel,
				    struct inspect *at)
{
	const struct storvsp_queue *queue = storvsp_queue_of(device, channel);

	inspect_u64(at, "commands", queue->commands);
	inspect_u64(at, "in_flight", queue->in_flight);
	inspect_u64(at, "in_flight_max", queue->in_flight_max);
	inspect_u64(at, "check_conditions", queue->check_conditions);
	inspect_u64(at, "refused", queue->refused);
	inspect_u64(at, "no_unit", queue->no_unit);
	inspect_u64(at, "starvations", queue->starvations);
	inspect_u64(at, "ring_full", queue->ring_full);
}

static void storvsp_inspect(struct vmbus_device *device, struct inspect *at)
{
	static const char *const phases[] = { "begin", "version", "properties", "end", "ready" };
	const struct storvsp *storvsp = storvsp_of(device);

	inspect_string(at, "phase", storvsp->queues[0].channel ? phases[storvsp->phase] : "closed");
	inspect_format(at, "version", "%u.%u", storvsp->version >> 8, storvsp->version & 0xffU);
	inspect_u64(at, "queues", storvsp->queue_count);
	inspect_u64(at, "resets", storvsp->resets);
	inspect_u64(at, "announced", storvsp->announced);
	inspect_u64(at, "told_again", storvsp->told_again);
}

static const struct vmbus_device_ops storvsp_ops = {
	.name = "storvsp",
	.packet_bytes_max = STORVSP_PACKET_BYTES_MAX,
	.coalesces = true,
	.open = storvsp_open,
	.packet = storvsp_packet,
	.writable = storvsp_writable,
	.close = storvsp_close,
	.save = storvsp_save,
	.load = storvsp_load,
	.restored = storvsp_restored,
	.inspect = storvsp_inspect,
	.inspect_channel = storvsp_inspect_channel,
};

/* ---- life --------------------------------------------------------------------------------------- */

/* A guest reads an IDE disk's place in the instance GUID, where Hyper-V has it. */
static void name_offer(struct vmbus_offer *offer, const struct storvsp_config *config)
{
	static const struct guid scsi = GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb605, 0x72e2ffb1dc7f);
	static const struct guid ide = GUID(0x32412632, 0x86cb, 0x44a2, 0x9b5c, 0x50d1417354f5);
	static const struct guid place = GUID(0, 0, 0x8899, 0, 0);

	if (config->ide) {
		offer->interface_type = ide;
		offer->interface_instance = place;
		offer->interface_instance.bytes[0] = config->ide->channel;
		offer->interface_instance.bytes[4] = config->ide->device;
	} else {
		offer->interface_type = scsi;
		guid_from_name(config->name, &offer->interface_instance);
	}
}

int storvsp_create(const struct storvsp_config *config, struct storvsp **ret)
{
	struct storvsp *storvsp = fault_alloc(1, sizeof(*storvsp));

	static_assert(STORVSP_LUNS <= SCSI_LUNS_MAX, "units of a target");
	check(config->loop_count >= 1 && config->loop_count <= STORVSP_QUEUES_MAX);
	check(!config->ide || (config->loop_count == 1 && config->ide->channel < 2 &&
			       config->ide->device < STORVSP_TARGETS));
	if (!storvsp) {
		return -ENOMEM;
	}
	storvsp->device = (struct vmbus_device){
		.ops = &storvsp_ops,
		.offer.flags = VMBUS_OFFER_FLAG_ENUMERATE_DEVICE_INTERFACE,
		.loop = config->loops[0],
		.sub_loops = config->loops + 1,
		.sub_channels_max = config->loop_count - 1,
	};
	name_offer(&storvsp->device.offer, config);
	if (config->ide) {
		storvsp->ide = *config->ide;
	}
	storvsp->control = config->control;
	storvsp->queue_count = config->loop_count;
	list_init(&storvsp->resetting);
	list_init(&storvsp->to_reset);
	loop_work_init(&storvsp->announce, on_announce);
	loop_timer_init(&storvsp->again, config->loops[0], on_again);
	loop_work_init(&storvsp->reset_done, storvsp_on_reset_done);
	for (unsigned int i = 0; i < config->loop_count; i++) {
		storvsp_queue_init(storvsp, i, config->loops[i]);
	}
	*ret = storvsp;
	return 0;
}

static void cancel_on_loop(void *arg)
{
	struct storvsp *storvsp = arg;

	loop_cancel(storvsp->device.loop, &storvsp->announce);
	loop_timer_cancel(&storvsp->again);
}

void storvsp_destroy(struct storvsp *storvsp)
{
	if (!storvsp) {
		return;
	}
	for (unsigned int i = 0; i < storvsp->queue_count; i++) {
		check(!storvsp->queues[i].channel && storvsp->queues[i].in_flight == 0);
	}
	loop_call(storvsp->device.loop, cancel_on_loop, storvsp);
	free(storvsp);
}

unsigned int storvsp_queues(const struct storvsp *storvsp)
{
	return storvsp->queue_count;
}

struct vmbus_device *storvsp_device(struct storvsp *storvsp)
{
	return &storvsp->device;
}

void storvsp_stop(struct storvsp *storvsp, struct loop_work *done)
{
	storvsp->stop_done = done;
	atomic_store(&storvsp->queues_to_stop, storvsp->queue_count);
	for (unsigned int i = 0; i < storvsp->queue_count; i++) {
		loop_post(storvsp->queues[i].loop, &storvsp->queues[i].stop_asked);
	}
}
