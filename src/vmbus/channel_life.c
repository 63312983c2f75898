/* SPDX-License-Identifier: MIT */
/* A channel on its owner's control loop: made, mapped, destroyed. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "vmbus/channel_internal.h"

int channel_create(const struct channel_place *place, struct vmbus_device *device,
		   unsigned int index, struct vmbus_channel **ret)
{
	struct vmbus_channel *channel = fault_alloc(1, sizeof(*channel));
	int fd = place->doorbell_fd_take;

	if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	if (!channel || fd < 0) {
		int err = channel ? -errno : -ENOMEM;

		free(channel);
		if (fd >= 0) {
			close(fd);
		}
		return err;
	}
	channel->bus = place->bus;
	channel->owner = place->owner;
	channel->device = device;
	channel->mem = place->mem;
	channel->synic = place->synic;
	channel->gpadls = place->gpadls;
	channel->index = (uint16_t)index;
	channel->loop = place->loop;
	channel->control_loop = place->control_loop;
	channel->doorbell_fd = fd;
	loop_work_init(&channel->closed, place->closed);
	loop_work_init(&channel->subs_asked, place->subs_asked);
	list_init(&channel->poller.link);
	*ret = channel;
	return 0;
}

void channel_destroy(struct vmbus_channel *channel)
{
	if (channel) {
		loop_cancel(channel->control_loop, &channel->subs_asked);
		close(channel->doorbell_fd);
		free(channel);
	}
}

int channel_map_rings(struct vmbus_channel *channel)
{
	size_t pages, first = channel->downstream_page;
	const uint64_t *gfns = gpadl_gfns(channel->ring_gpadl, &pages);

	if (first >= pages || gpadl_bytes(channel->ring_gpadl) != pages * MEM_PAGE_BYTES) {
		return -EINVAL;
	}
	int err = vmbus_ring_map(&channel->in.ring, channel->mem, gfns, first);

	if (!err) {
		err = vmbus_ring_map(&channel->out.ring, channel->mem, gfns + first, pages - first);
	}
	if (err) {
		channel_unmap_rings(channel);
	}
	return err;
}

void channel_unmap_rings(struct vmbus_channel *channel)
{
	vmbus_ring_unmap(&channel->in.ring);
	vmbus_ring_unmap(&channel->out.ring);
}
