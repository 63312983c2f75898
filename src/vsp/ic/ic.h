/* SPDX-License-Identifier: MIT */
/*
 * Integration components, the small services by which a host and a guest's system know of each
 * other:
 *
 *   heartbeat  is the guest's system alive?
 *   shutdown   please power off, or restart, in order
 *   timesync   what time it is
 *
 * Each is a VMBus device of its own: create it, hand its vmbus_device to the bus, revoke it there,
 * destroy it. What guests have them: Windows since 2008, Linux (hv_utils), FreeBSD.
 *
 *   owner   vm    thread  the channel's I/O loop, except where it says otherwise
 *   spec    docs/protocols.md#ic
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "loop/loop.h"
#include "vmbus/device.h"

/* ---- heartbeat --------------------------------------------------------------------------------- */

struct heartbeat;

enum heartbeat_health {
	HEARTBEAT_NO_CONTACT, /* no driver, or not yet */
	HEARTBEAT_OK,
	HEARTBEAT_LOST, /* it was there, and has missed HEARTBEAT_MISSED_MAX beats */
};

#define HEARTBEAT_MISSED_MAX 5

/* period_ns: between beats; 0 for the protocol's 2 s. 0 or -ENOMEM. */
MUST_CHECK int heartbeat_create(uint64_t period_ns, struct heartbeat **ret);
/* Revoked, or never offered. NULL is fine. */
void heartbeat_destroy(struct heartbeat *heartbeat);
struct vmbus_device *heartbeat_device(struct heartbeat *heartbeat);

/* Any thread. */
enum heartbeat_health heartbeat_health(const struct heartbeat *heartbeat);
const char *heartbeat_health_name(enum heartbeat_health health);

/* ---- shutdown ----------------------------------------------------------------------------------- */

struct shutdown;

enum shutdown_kind { SHUTDOWN_POWER_OFF, SHUTDOWN_RESTART };

/* How long a guest may take to *answer*; honest ones do at once, before they go down. */
#define SHUTDOWN_ANSWER_NS (10ULL * 1000 * 1000 * 1000)

/*
 * One wish to shut down. The caller owns it, fills in the upper part and leaves it alone until it
 * is done.
 */
struct shutdown_request {
	enum shutdown_kind kind;
	bool force;               /* also against programs that object; Linux always does */
	uint32_t timeout_seconds; /* for the guest to tell its users; 0: at once */
	uint64_t answer_ns;       /* how long to wait for its answer; 0: SHUTDOWN_ANSWER_NS */
	struct loop *done_loop;   /* where done runs: the caller's */
	struct loop_work done;    /* loop_work_init() it */

	/* Valid in done. */
	int result;
	uint32_t guest_status; /* with -EREMOTEIO and -EOPNOTSUPP: IC_STATUS_* */

	/* shutdown's */
	struct shutdown *shutdown;
	struct loop_work work;
};

MUST_CHECK int shutdown_create(struct shutdown **ret);
/* Revoked or never offered, and no request is under way. NULL is fine. */
void shutdown_destroy(struct shutdown *shutdown);
struct vmbus_device *shutdown_device(struct shutdown *shutdown);

/*
 * Any thread, after the device was offered. request->done runs exactly once, on done_loop, later,
 * with request->result
 *   0            the guest said yes; it will be down in a while
 *   -ENOTCONN    no driver has opened the component, or it has agreed to no version
 *   -EBUSY       another request is under way
 *   -EAGAIN      the guest does not read its ring
 *   -EOPNOTSUPP  the guest's version does not know this kind
 *   -EREMOTEIO   the guest said no
 *   -ETIMEDOUT   the guest said nothing
 *   -ECONNRESET  the channel was closed before the answer
 */
void shutdown_submit(struct shutdown *shutdown, struct shutdown_request *request);

/* One sentence about such a result, without a full stop: "the guest …". */
const char *shutdown_result_text(int result);

/* ---- timesync ----------------------------------------------------------------------------------- */

struct timesync;

#define TIMESYNC_PERIOD_NS (5ULL * 1000 * 1000 * 1000)

/* A step of the host's clock this large is passed on at once instead of as a sample. */
#define TIMESYNC_STEP_NS   (1ULL * 1000 * 1000 * 1000)

struct timesync_config {
	/*
	 * The partition's reference counter (HV_X64_MSR_TIME_REF_COUNT) now, in units of 100 ns.
	 * Called on the I/O loop. NULL: only versions 1.0 and 3.0 are offered, which do not need it.
	 */
	uint64_t (*reference_time)(void *ctx);
	void *ctx;
	uint64_t period_ns; /* between samples; 0: TIMESYNC_PERIOD_NS */
};

MUST_CHECK int timesync_create(const struct timesync_config *config, struct timesync **ret);
/* Revoked, or never offered; after timesync_sync(), also drained with loop_call(). NULL is fine. */
void timesync_destroy(struct timesync *timesync);
struct vmbus_device *timesync_device(struct timesync *timesync);

/*
 * Any thread, after the device was offered: the guest was paused and its clock is behind; it is
 * told to set it. Nothing happens when no driver listens.
 */
void timesync_sync(struct timesync *timesync);
