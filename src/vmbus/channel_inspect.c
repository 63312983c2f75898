/* SPDX-License-Identifier: MIT */
/* A channel, for people. */
#include "vmbus/channel_internal.h"

static void inspect_ring(struct inspect *at, const char *name, const struct vmbus_ring *ring)
{
	struct inspect child = inspect_child(at, name);

	inspect_u64(&child, "bytes", ring->data_bytes);
	inspect_u64(&child, "write_index", atomic_load(&ring->control->write_index));
	inspect_u64(&child, "read_index", atomic_load(&ring->control->read_index));
	inspect_u64(&child, "interrupt_mask", atomic_load(&ring->control->interrupt_mask));
	inspect_u64(&child, "pending_send_bytes", atomic_load(&ring->control->pending_send_bytes));
}

static void inspect_channel(const struct vmbus_channel *channel, struct inspect *at)
{
	inspect_u64(at, "index", channel->index);
	inspect_u64(at, "target_vp", channel->target_vp);
	inspect_u64(at, "packets_in", counter_read(&channel->packets_in));
	inspect_u64(at, "packets_out", counter_read(&channel->packets_out));
	inspect_u64(at, "batches", counter_read(&channel->batches));
	inspect_u64(at, "answers_together", channel->coalesce.target);
	inspect_u64(at, "held_in_vain", channel->coalesce.in_vain);
	inspect_u64(at, "doorbells", counter_read(&channel->doorbells));
	inspect_u64(at, "interrupts", counter_read(&channel->interrupts));
	inspect_u64(at, "shown_lazily", counter_read(&channel->lazy));
	inspect_u64(at, "interrupts_late", counter_read(&channel->late));
	inspect_u64(at, "ring_full", counter_read(&channel->ring_full));
	inspect_u64(at, "faults", counter_read(&channel->faults));
	if (channel->journal) {
		inspect_u64(at, "commits", channel->seq);
	}
	if (channel->is_open) {
		inspect_bool(at, "dead", channel->is_dead);
		inspect_u64(at, "kept", channel->keep.kept);
		inspect_bool(at, "stopped", channel->is_stopped);
		inspect_ring(at, "guest_to_host", &channel->in.ring);
		inspect_ring(at, "host_to_guest", &channel->out.ring);
	}
}

struct inspection {
	struct vmbus_channel *channel;
	struct inspect *at;
};

static void inspect_on_loop(void *arg)
{
	const struct inspection *inspection = arg;
	struct vmbus_channel *channel = inspection->channel;
	struct vmbus_device *device = channel->device;

	inspect_channel(channel, inspection->at);
	if (device->ops->inspect_channel) {
		struct inspect child = inspect_child(inspection->at, "queue");

		device->ops->inspect_channel(device, channel, &child);
	}
	if (device->ops->inspect && channel->index == 0) {
		struct inspect child = inspect_child(inspection->at, device->ops->name);

		device->ops->inspect(device, &child);
	}
}

void channel_inspect(struct vmbus_channel *channel, struct inspect *at)
{
	struct inspection inspection = { channel, at };

	loop_call(channel->loop, inspect_on_loop, &inspection);
}
