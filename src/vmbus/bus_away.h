/* SPDX-License-Identifier: MIT */
/*
 * The gate: devices of the bus that another process may be serving just now are taken home before the
 * control plane touches them. So neither control.h nor the channels know that a device can be away:
 *
 *   a message of the guest's, a reset, a revoke, a pause
 *        │ concerns a device that is away: its recall begins, and the message waits in the inbox
 *        ▼ bus_away_came_home()
 *   done as if nothing had been
 *
 * Invariants:
 *   A1  Messages are handled in the order in which they came: one that waits holds up the others.
 *   A2  bus_save(), bus_load() and bus_reset()'s work see devices that are HOME only.
 *
 *   owner   the bus; a lending belongs to who lends (remote_worker)   thread  the control loop
 *   spec    docs/remote-vsp.md
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "dev/inspect.h"
#include "proto/remote.h"
#include "vmbus/bus_internal.h"

struct vmbus_lending;

/* Control loop, all of it. */
struct vmbus_lending_ops {
	/* Anything but HOME. */
	bool (*is_away)(const struct vmbus_lending *lending);

	/* It is to come home; no-op when it does so already. bus_away_came_home() follows, later. */
	void (*recall)(struct vmbus_lending *lending, enum remote_recall_reason reason);

	/* Waits until it is home, at most until then (loop_now_ns()). Whether it is. */
	bool (*wait)(struct vmbus_lending *lending, uint64_t until_ns);

	/* The guest's control plane is busy with it: it is better lent later. */
	void (*touched)(struct vmbus_lending *lending);

	/* What the other process says of it; it may wait a little. */
	void (*inspect)(struct vmbus_lending *lending, struct inspect *at);

	/* Its primary channel is about to be closed: a VSP over there is to see it. Before recall(). */
	void (*closing)(struct vmbus_lending *lending);
};

/* In vmbus_device.lending; embedded by who lends. */
struct vmbus_lending {
	const struct vmbus_lending_ops *ops;
	struct loop_work *revoke_done; /* the bus's: a revoke waits for it to come home */
};

/* Whether the message has to wait; then what it concerns is on its way home. */
bool bus_away_blocks(struct vmbus_bus *bus, const uint8_t *message, uint32_t bytes);

/* Recalls all that is away, and that is to be closed then or not; whether something is away. */
bool bus_away_recall_all(struct vmbus_bus *bus, enum remote_recall_reason reason, bool closes);

/* The primary channel of a device that is home is closed now. */
void bus_away_closing(struct vmbus_device *device);

/* The bus goes on: what may be lent again is looked at. */
void bus_away_touch_all(struct vmbus_bus *bus);

/* Recalls all, waiting. 0 or -ETIMEDOUT. */
MUST_CHECK int bus_away_wait_all(struct vmbus_bus *bus, uint64_t limit_ns);

bool bus_away_is_away(const struct vmbus_device *device);

/* For who lends: the device is HOME and serves; what waited for it goes on. */
void bus_away_came_home(struct vmbus_bus *bus, struct vmbus_device *device);

/*
 * Whether nothing speaks against lending it now: it is open, all its channels are open or not, and
 * neither a pause nor a reset nor a revoke nor a message of the guest's is under way.
 */
bool bus_away_may_leave(const struct vmbus_bus *bus, const struct vmbus_device *device);

/*
 * The board (proto/remote.h): made when it is first asked for, then kept by the bus. *ret_fd is
 * borrowed. 0 or an errno.
 */
MUST_CHECK int bus_away_board(struct vmbus_bus *bus, int *ret_fd);

/* Any thread. */
void bus_away_set_event_page(struct vmbus_bus *bus, uint32_t vp, uint64_t siefp);
void bus_away_set_target_vp(struct vmbus_bus *bus, uint32_t relid, uint32_t target_vp);

/* Of bus_create() and bus_destroy(). */
void bus_away_init(struct vmbus_bus *bus);
void bus_away_fini(struct vmbus_bus *bus);
