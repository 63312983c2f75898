/* SPDX-License-Identifier: MIT */
/*
 * VMBus: joins the control plane (control.h, a pure state machine), the channels and the SynICs.
 *
 *   owner   vm   thread  the control loop, except where it says otherwise
 *   spec    docs/protocols.md#vmbus
 */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "dev/inspect.h"
#include "dev/synic.h"
#include "loop/loop.h"
#include "mem/mem.h"
#include "vmbus/device.h"

struct vmbus_bus;

/* mem and synic are borrowed for the bus's life; the bus becomes the synic's sink. 0 or -ENOMEM. */
MUST_CHECK int bus_create(struct loop *control_loop, const struct mem *mem, struct synic *synic,
			  struct vmbus_bus **ret);
/* All channels are closed: devices revoked (bus_revoke) or never opened. The control thread. */
void bus_destroy(struct vmbus_bus *bus);

/*
 * Offers a device: at once when the guest has asked for offers, else when it does. The device is
 * borrowed until bus_revoke() has called back. 0, -ENOSPC (relids), -EEXIST (same interface type
 * and instance), or an errno.
 */
MUST_CHECK int bus_offer(struct vmbus_bus *bus, struct vmbus_device *device);

/*
 * Takes the device back: rescinds the offer, closes its channel, and posts done (on the control
 * loop) when the device is not referred to any more. The guest need not answer for that.
 */
void bus_revoke(struct vmbus_bus *bus, struct vmbus_device *device, struct loop_work *done);

/*
 * The machine was reset: all channels are closed as if the guest had unloaded the bus; done is
 * posted when all are quiet. No vCPU may run meanwhile.
 */
void bus_reset(struct vmbus_bus *bus, struct loop_work *done);

/*
 * Stops and restarts packets on all channels: for pause and save. Waits for the I/O loops, and for
 * devices that are away to come home: 0, or -ETIMEDOUT when one did not, and nothing is paused.
 */
#define BUS_PAUSE_LIMIT_NS (2ULL * 1000 * 1000 * 1000)
MUST_CHECK int bus_pause(struct vmbus_bus *bus);
void bus_resume(struct vmbus_bus *bus);

/* While paused: the bus, its channels and each device's half. */
void bus_save(struct vmbus_bus *bus, struct save *save);
MUST_CHECK int bus_load(struct vmbus_bus *bus, struct load *load);

void bus_inspect(struct vmbus_bus *bus, struct inspect *at);
