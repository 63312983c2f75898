/* SPDX-License-Identifier: MIT */
/*
 * A device whose VSP this process does not have: while no host serves it, the guest's packets wait in
 * their ring. It has a primary channel only.
 *
 * It has no state of its own. What another process's VSP has left in the journal is kept as it is,
 * for the next one; closing the channel is what ends it. docs/remote-vsp.md
 *
 *   owner   vm   thread  its channel's I/O loop; create, destroy: the control loop
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "vmbus/device.h"

struct remote_mute_config {
	const char *name; /* for people; borrowed for ever: a literal */
	struct vmbus_offer offer;
	/* What the VSP over there has in its vmbus_device_ops, or it will refuse the journal. */
	uint32_t packet_bytes_max;
	uint32_t keep_max;
	size_t log_bytes;
};

/* The caller sets its loop, and lends it by remote_worker_add(). 0 or -ENOMEM. */
MUST_CHECK int remote_mute_create(const struct remote_mute_config *config,
				  struct vmbus_device **ret);

/* Revoked, or never offered. NULL is fine. */
void remote_mute_destroy(struct vmbus_device *device);

/* ---- for remote_lend.c ---- */

bool remote_is_mute(const struct vmbus_device *device);

/* The journal of a state that was loaded, once: the caller frees it. NULL: there is none. */
uint8_t *remote_mute_take_image(struct vmbus_device *device, size_t *ret_bytes);
