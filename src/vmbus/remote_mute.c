/* SPDX-License-Identifier: MIT */
#include "vmbus/remote_mute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vmbus/remote_worker_internal.h"

enum { STATE_JOURNAL = 1 }; /* as it was, when it was away before; docs/remote-vsp.md */

struct mute {
	struct vmbus_device device;
	struct vmbus_device_ops ops; /* its own: the sizes differ */
	size_t log_bytes;
	uint8_t *image;
	size_t image_bytes;
};

static struct mute *of(const struct vmbus_device *device)
{
	return container_of(device, struct mute, device);
}

static int mute_open(struct vmbus_device *device, struct vmbus_channel *channel,
		     const uint8_t *user_data)
{
	(void)device;
	(void)channel;
	(void)user_data; /* control.h has it, for the VSP over there */
	return 0;
}

static int mute_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		       const struct vmbus_packet *packet)
{
	(void)device;
	(void)channel;
	(void)packet;
	return -EAGAIN;
}

static void mute_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	(void)device;
	vmbus_channel_closed(channel);
}

static size_t mute_log_bytes(const struct vmbus_device *device)
{
	return of(device)->log_bytes;
}

static void mute_save(struct vmbus_device *device, struct save *save)
{
	const struct mute *mute = of(device);
	const struct remote_lending *lending =
		device->lending ? container_of(device->lending, struct remote_lending, base) : NULL;

	if (lending && lending->journal_map) {
		save_bytes(save, STATE_JOURNAL, lending->journal_map, lending->journal_bytes);
	} else if (mute->image) {
		save_bytes(save, STATE_JOURNAL, mute->image, mute->image_bytes);
	}
}

static int mute_load(struct vmbus_device *device, struct load *load)
{
	struct mute *mute = of(device);
	struct load_field field;

	while (load_next(load, &field)) {
		if (field.tag != STATE_JOURNAL) {
			continue;
		}
		uint8_t *image = fault_alloc(1, field.length ? field.length : 1);

		if (!image || field.length == 0 || field.length > REMOTE_JOURNAL_BYTES_MAX) {
			free(image);
			load_fail(load);
			break;
		}
		load_bytes(load, &field, image, field.length);
		free(mute->image);
		mute->image = image;
		mute->image_bytes = field.length;
	}
	return load_result(load);
}

int remote_mute_create(const struct remote_mute_config *config, struct vmbus_device **ret)
{
	struct mute *mute = fault_alloc(1, sizeof(*mute));

	if (!mute) {
		return -ENOMEM;
	}
	mute->ops = (struct vmbus_device_ops){
		.name = config->name,
		.packet_bytes_max = config->packet_bytes_max,
		.keep_max = config->keep_max,
		.open = mute_open,
		.packet = mute_packet,
		.close = mute_close,
		.save = mute_save,
		.load = mute_load,
		.log_bytes = config->log_bytes ? mute_log_bytes : NULL,
	};
	mute->log_bytes = config->log_bytes;
	mute->device.ops = &mute->ops;
	mute->device.offer = config->offer;
	*ret = &mute->device;
	return 0;
}

void remote_mute_destroy(struct vmbus_device *device)
{
	if (device) {
		free(of(device)->image);
		free(of(device));
	}
}

bool remote_is_mute(const struct vmbus_device *device)
{
	return device->ops->open == mute_open;
}

uint8_t *remote_mute_take_image(struct vmbus_device *device, size_t *ret_bytes)
{
	struct mute *mute = of(device);
	uint8_t *image = mute->image;

	*ret_bytes = mute->image_bytes;
	mute->image = NULL;
	mute->image_bytes = 0;
	return image;
}
