/* SPDX-License-Identifier: MIT */
/*
 * Devices of uplinks, as the control loop sees them come and go. One that could not be opened is tried again when
 * it is there and up; one under AF_XDP, whose sockets are of the device that it was, is closed then, and opened
 * anew when it has closed (sw_wires.c). Packet sockets and TAPs look after themselves (net/wire.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "net/linkwatch.h"
#include "switchd/sw_internal.h"

struct sw_device {
	struct linkwatch_entry entry; /* entry.link.next NULL: a free place */
	struct sw *sw;
};

struct sw_uplinks {
	struct linkwatch *watch;
	struct sw_device devices[SW_UPLINKS_MAX];
};

static void on_device(struct linkwatch_entry *entry, const struct linkwatch_link *link)
{
	struct sw *sw = container_of(entry, struct sw_device, entry)->sw;

	if (sw->ending == SW_END_NONE && link->ifindex && link->up) {
		sw_wires_device_is_there(sw, entry->name, link->ifindex);
	}
}

static bool is_wanted(const struct sw_config *config, const char *dev)
{
	const struct sw_uplink *uplink = sw_uplink_find(config, dev);

	return uplink && uplink->mode != SW_UPLINK_TAP;
}

static struct sw_device *find(struct sw_uplinks *uplinks, const char *dev)
{
	for (unsigned int i = 0; i < SW_UPLINKS_MAX; i++) {
		struct sw_device *device = &uplinks->devices[i];

		if (device->entry.link.next && strcmp(device->entry.name, dev) == 0) {
			return device;
		}
	}
	return NULL;
}

static struct sw_device *find_free(struct sw_uplinks *uplinks)
{
	for (unsigned int i = 0; i < SW_UPLINKS_MAX; i++) {
		if (!uplinks->devices[i].entry.link.next) {
			return &uplinks->devices[i];
		}
	}
	return NULL;
}

/* By a socket of the keeper's, for this process may open none. */
static int create(struct sw *sw, struct diag *reterr)
{
	struct sw_uplinks *uplinks = fault_alloc(1, sizeof(*uplinks));
	int fds[KEEPER_FDS_MAX], err;
	unsigned int count = 0;

	if (!uplinks) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	err = keeper_call(sw->keeper_fd, KEEPER_OPEN_LINKS, NULL, 0, NULL, 0, fds, &count, reterr);
	if (!err && count != 1) {
		close_fds(fds, count);
		err = diag_set(reterr, -EPROTO, "the keeper of this switch gave no socket");
	}
	err = err ? err : linkwatch_create(sw->control, fds[0], &uplinks->watch, reterr);
	if (err) {
		free(uplinks);
		return err;
	}
	sw->uplinks = uplinks;
	return 0;
}

static bool has_wanted(const struct sw_config *config)
{
	for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

		if (uplink->mode != SW_UPLINK_TAP) {
			return true;
		}
	}
	return false;
}

static void add(struct sw *sw, const char *dev)
{
	struct sw_device *device = find_free(sw->uplinks);

	if (device && !find(sw->uplinks, dev)) {
		device->sw = sw;
		linkwatch_add(sw->uplinks->watch, &device->entry, dev, on_device);
	}
}

void sw_uplinks_watch(struct sw *sw, const struct sw_config *config)
{
	struct diag diag;

	if (!sw->uplinks && has_wanted(config) && create(sw, &diag)) {
		log_warn(SW_AREA, "uplinks that are missing are not taken when they come: %s",
			 diag.text);
	}
	if (!sw->uplinks) {
		return;
	}
	for (unsigned int i = 0; i < SW_UPLINKS_MAX; i++) {
		struct linkwatch_entry *entry = &sw->uplinks->devices[i].entry;

		if (entry->link.next && !is_wanted(config, entry->name)) {
			linkwatch_remove(entry);
		}
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

		if (uplink->mode != SW_UPLINK_TAP) {
			add(sw, uplink->dev);
		}
	}
}

int sw_uplinks_ifindex(const struct sw *sw, const char *dev)
{
	const struct sw_device *device = sw->uplinks ? find(sw->uplinks, dev) : NULL;

	return device ? device->entry.now.ifindex : 0;
}

void sw_uplinks_end(struct sw *sw)
{
	if (sw->uplinks) {
		linkwatch_destroy(sw->uplinks->watch);
		free(sw->uplinks);
		sw->uplinks = NULL;
	}
}
