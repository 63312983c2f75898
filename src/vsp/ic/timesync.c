/* SPDX-License-Identifier: MIT */
/*
 * Time sync: tells the guest the host's UTC, first as an order to set its clock (SYNC), then every
 * period as a sample for whoever disciplines the clock there (Linux: /dev/ptp_hyperv). The order is
 * repeated when time stood still for the guest (timesync_sync(), load) and when the host's own clock
 * was set.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/ic/ic.h"
#include "vsp/ic/ic_common.h"

struct timesync {
	struct ic ic;              /* first */
	struct ic_service service; /* ours, with the versions that we can serve */
	struct timesync_config config;
	struct loop_timer sample;
	struct loop_work sync_work;
	bool sync_due;     /* the next message is an order */
	int64_t offset_ns; /* UTC minus the monotonic clock, when last sent */
	uint64_t syncs, samples;
};

static struct timesync *timesync_of(struct ic *ic)
{
	return container_of(ic, struct timesync, ic);
}

static uint64_t utc_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static bool clock_was_set(const struct timesync *timesync, int64_t offset_ns)
{
	int64_t step = offset_ns - timesync->offset_ns;

	return step > (int64_t)TIMESYNC_STEP_NS || step < -(int64_t)TIMESYNC_STEP_NS;
}

static void send_time(struct timesync *timesync)
{
	uint8_t body[sizeof(struct ic_timesync)];
	uint64_t reference = 0, utc;
	int64_t offset_ns;
	size_t bytes;
	bool sync;

	/* The two clocks are read next to each other: the guest adds what has passed since. */
	if (timesync->config.reference_time) {
		reference = timesync->config.reference_time(timesync->config.ctx);
	}
	utc = utc_ns();
	offset_ns = (int64_t)(utc - loop_now_ns());
	sync = timesync->sync_due || clock_was_set(timesync, offset_ns);
	bytes = ic_build_timesync(timesync->ic.version, utc / 100 + IC_TIMESYNC_EPOCH_100NS,
				  reference, sync ? IC_TIMESYNC_FLAG_SYNC : IC_TIMESYNC_FLAG_SAMPLE,
				  body);
	if (ic_request(&timesync->ic, body, bytes, 0) == 0) {
		timesync->sync_due = false;
		timesync->offset_ns = offset_ns;
		*(sync ? &timesync->syncs : &timesync->samples) += 1;
	}
	/* A ring without room is tried again then; an order stays due. */
	loop_timer_arm(&timesync->sample, timesync->config.period_ns);
}

static void on_sample(struct loop_timer *timer)
{
	struct timesync *timesync = container_of(timer, struct timesync, sample);

	if (vmbus_channel_is_paused(timesync->ic.channel)) {
		timesync->sync_due = true; /* its clock stands still meanwhile */
		loop_timer_arm(timer, num_min(IC_PAUSED_NS, timesync->config.period_ns));
		return;
	}
	/* A guest that does not answer gets no pile of old samples. */
	if (timesync->ic.waiting && !timesync->sync_due) {
		loop_timer_arm(timer, timesync->config.period_ns);
		return;
	}
	send_time(timesync);
}

static void timesync_ready(struct ic *ic)
{
	struct timesync *timesync = timesync_of(ic);

	loop_timer_init(&timesync->sample, vmbus_channel_loop(ic->channel), on_sample);
	timesync->sync_due = true;
	send_time(timesync);
}

static int timesync_ended(struct ic *ic, int result, const struct ic_message *answer)
{
	(void)ic;
	return result == 0 && answer->status != IC_STATUS_OK ? -EBADMSG : 0;
}

static void timesync_closing(struct ic *ic)
{
	struct timesync *timesync = timesync_of(ic);

	if (timesync->sample.loop) {
		loop_timer_cancel(&timesync->sample);
	}
}

static void on_sync(struct loop_work *work)
{
	struct timesync *timesync = container_of(work, struct timesync, sync_work);

	if (timesync->ic.state == IC_READY) {
		timesync->sync_due = true;
		send_time(timesync);
	}
}

void timesync_sync(struct timesync *timesync)
{
	loop_post(timesync->ic.device.loop, &timesync->sync_work);
}

static void timesync_inspect(struct ic *ic, struct inspect *at)
{
	struct timesync *timesync = timesync_of(ic);

	inspect_u64(at, "syncs", timesync->syncs);
	inspect_u64(at, "samples", timesync->samples);
}

static const uint32_t timesync_versions[] = { IC_TIMESYNC_1_0, IC_TIMESYNC_3_0, IC_TIMESYNC_4_0 };

static const struct ic_service timesync_service = {
	.name = "ic-timesync",
	.message_type = IC_MSG_TIMESYNC,
	.versions = timesync_versions,
	.version_count = ARRAY_SIZE(timesync_versions),
	.ready = timesync_ready,
	.ended = timesync_ended,
	.closing = timesync_closing,
	.inspect = timesync_inspect,
};

int timesync_create(const struct timesync_config *config, struct timesync **ret)
{
	static const struct guid type = IC_TIMESYNC_INTERFACE, instance = IC_TIMESYNC_INSTANCE;
	struct timesync *timesync = fault_alloc(1, sizeof(*timesync));

	if (!timesync) {
		return -ENOMEM;
	}
	timesync->config = *config;
	if (!config->period_ns) {
		timesync->config.period_ns = TIMESYNC_PERIOD_NS;
	}
	timesync->service = timesync_service;
	if (!config->reference_time) {
		timesync->service.version_count--; /* 4.0, the last, carries it */
	}
	loop_work_init(&timesync->sync_work, on_sync);
	ic_init(&timesync->ic, &timesync->service, &type, &instance);
	*ret = timesync;
	return 0;
}

void timesync_destroy(struct timesync *timesync)
{
	if (timesync) {
		ic_fini(&timesync->ic);
		free(timesync);
	}
}

struct vmbus_device *timesync_device(struct timesync *timesync)
{
	return &timesync->ic.device;
}
