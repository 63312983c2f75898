/* SPDX-License-Identifier: MIT */
/*
 * Lends devices of a worker's bus to a host process, and takes them home.
 *
 * A connection per socket path, shared by the devices that are lent there. A device that is lent has
 * moved: rings, VSP and all, by the journal (vmbus/journal.h). The worker keeps its own VSP, the
 * twin, which serves the guest whenever the host does not.
 *
 *   HOME ──open, quiet for 5 ms── lend ─► LENDING ── STARTED(0) ─► AWAY
 *     ▲  ▲                                  │ STARTED(err), host dead    │ gate, pause, VM end
 *     │  └──────────────────────────────────┘                            ▼
 *     └──────── restore from the journal ◄── RETURNED, or the host's process is gone ── RETURNING
 *
 * Invariants:
 *   W1  A device comes home only when the host has said RETURNED (or STARTED with an error), or when
 *       its process is gone: never two of them serve a ring.
 *   W2  Nothing of the control plane happens to a device that is not HOME (vmbus/bus_away.h).
 *
 *   owner   vm, which destroys it before the bus   thread  the control loop
 *   spec    docs/remote-vsp.md
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "dev/inspect.h"
#include "loop/loop.h"
#include "proto/remote.h"
#include "vmbus/bus.h"
#include "vmbus/device.h"

struct remote_worker;

/* What the host is told of a device; copied. */
struct remote_target {
	const char *kind; /* which service of the host's: "net" */
	const char *port; /* where it is plugged in */
	const uint8_t *config;
	size_t config_bytes; /* ≤ REMOTE_CONFIG_BYTES_MAX; fields of state/save.h */
};

enum remote_event {
	REMOTE_AWAY,         /* the host serves it */
	REMOTE_HOME_ORDERLY, /* it was given back; retry_ms: the host will be there again by then */
	REMOTE_HOME_KILLED,  /* the host's process is gone, or it has broken the protocol and is */
	REMOTE_REFUSED,      /* the host does not take it, or no more: text says why; tried again */
};

/*
 * On the control loop. On HOME_* the twin is restored but no packet flows before this returns, so
 * that its back end can be told (loop_call() to the device's loop is fine). No call of this header
 * from inside it but remote_worker_is_away().
 */
typedef void remote_event_fn(void *ctx, struct vmbus_device *device, enum remote_event event,
			     uint32_t retry_ms, const char *text);

struct remote_worker_config {
	struct vmbus_bus *bus;     /* borrowed, as all of it is but path and name */
	const char *path;          /* of the host's socket */
	const char *name;          /* the partition's */
	uint8_t uuid[16];          /* the partition's */
	remote_event_fn *on_event; /* may be NULL */
	void *ctx;
};

/*
 * Connects when a device is there to be lent, and again and again. 0; -ENAMETOOLONG; -E2BIG (more than
 * REMOTE_VPS_MAX VPs); -ENOMEM.
 */
MUST_CHECK int remote_worker_create(const struct remote_worker_config *config,
				    struct remote_worker **ret);

/* NULL is fine. All devices are removed. */
void remote_worker_destroy(struct remote_worker *worker);

/*
 * From now on the device, which the bus offers, is lent whenever it can be. The device must have
 * what the journal asks of it: save and load. 0, -ENOSPC (REMOTE_DEVICES_MAX), -ENOMEM.
 */
MUST_CHECK int remote_worker_add(struct remote_worker *worker, struct vmbus_device *device,
				 const struct remote_target *target);

/* Recalls it for good; done (on the control loop) when it is home. Before its bus_revoke() or after. */
void remote_worker_remove(struct remote_worker *worker, struct vmbus_device *device,
			  struct loop_work *done);

/* Home, then done, on the control loop; it may be lent again later. REMOTE_RECALL_*. */
void remote_worker_recall(struct remote_worker *worker, struct vmbus_device *device,
			  enum remote_recall_reason reason, struct loop_work *done);

/* The host may serve it: anything but HOME. */
bool remote_worker_is_away(const struct vmbus_device *device);

/* Whether there is a host: it has greeted us. And whether it has not answered for seconds. */
bool remote_worker_has_host(const struct remote_worker *worker);
bool remote_worker_is_stalled(const struct remote_worker *worker);

/* Connection, devices, counters; not what the host says of them (that is in bus_inspect()). */
void remote_worker_inspect(const struct remote_worker *worker, struct inspect *at);
