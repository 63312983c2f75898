/* SPDX-License-Identifier: MIT */
/*
 * Shutdown: asks the guest's system to power off or to restart. Requests come from another thread
 * and travel by loop_post() in both directions:
 *
 *   control loop              I/O loop
 *   shutdown_submit() ──────► on_submit ── ic_request() ──► guest
 *   request->done     ◄────── finish    ◄─ shutdown_ended ◄─ answer, silence, close
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/ic/ic.h"
#include "vsp/ic/ic_common.h"

struct shutdown {
	struct ic ic;                     /* first */
	struct shutdown_request *request; /* under way, or NULL. I/O loop */
	uint32_t guest_status;            /* of the last answer */
};

static struct shutdown *shutdown_of(struct ic *ic)
{
	return container_of(ic, struct shutdown, ic);
}

static void finish(struct shutdown_request *request, int result, uint32_t guest_status)
{
	request->result = result;
	request->guest_status = guest_status;
	loop_post(request->done_loop, &request->done);
}

static void shutdown_ready(struct ic *ic)
{
	(void)ic;
}

static int shutdown_ended(struct ic *ic, int result, const struct ic_message *answer)
{
	struct shutdown *shutdown = shutdown_of(ic);
	struct shutdown_request *request = shutdown->request;
	uint32_t status = 0;

	check(request != NULL);
	shutdown->request = NULL;
	if (result == 0) {
		status = answer->status;
		shutdown->guest_status = status;
		if (status == IC_STATUS_NOT_SUPPORTED) {
			result = -EOPNOTSUPP;
		} else if (status != IC_STATUS_OK) {
			result = -EREMOTEIO;
		}
	}
	finish(request, result, status);
	return 0;
}

static void shutdown_closing(struct ic *ic)
{
	check(shutdown_of(ic)->request == NULL); /* I2 */
}

static int begin(struct shutdown *shutdown, struct shutdown_request *request)
{
	uint8_t body[sizeof(struct ic_shutdown)];
	uint32_t flags = request->force ? IC_SHUTDOWN_FLAG_FORCE : 0;
	size_t bytes;
	int err;

	if (shutdown->ic.state != IC_READY) {
		return -ENOTCONN;
	}
	if (shutdown->request) {
		return -EBUSY;
	}
	if (request->kind == SHUTDOWN_RESTART) {
		if (shutdown->ic.version != IC_SHUTDOWN_3_1 &&
		    shutdown->ic.version != IC_SHUTDOWN_3_2) {
			return -EOPNOTSUPP;
		}
		flags |= IC_SHUTDOWN_FLAG_RESTART;
	}
	bytes = ic_build_shutdown(flags, request->timeout_seconds, body);
	err = ic_request(&shutdown->ic, body, bytes,
			 request->answer_ns ? request->answer_ns : SHUTDOWN_ANSWER_NS);
	if (!err) {
		shutdown->request = request;
	}
	return err;
}

static void on_submit(struct loop_work *work)
{
	struct shutdown_request *request = container_of(work, struct shutdown_request, work);
	int err = begin(request->shutdown, request);

	if (err) {
		finish(request, err, 0);
	}
}

void shutdown_submit(struct shutdown *shutdown, struct shutdown_request *request)
{
	request->shutdown = shutdown;
	loop_work_init(&request->work, on_submit);
	loop_post(shutdown->ic.device.loop, &request->work);
}

const char *shutdown_result_text(int result)
{
	switch (result) {
	case 0:
		return "the guest is shutting down";
	case -ENOTCONN:
		return "the guest has no shutdown service: its driver (hv_utils) is not loaded";
	case -EBUSY:
		return "the guest has already been asked to shut down";
	case -EAGAIN:
		return "the guest does not read its shutdown channel";
	case -EOPNOTSUPP:
		return "the guest's shutdown service cannot do that";
	case -EREMOTEIO:
		return "the guest refused to shut down";
	case -ETIMEDOUT:
		return "the guest did not answer";
	case -ECONNRESET:
		return "the guest closed its shutdown channel before it answered";
	default:
		return "the guest could not be asked";
	}
}

static void shutdown_inspect(struct ic *ic, struct inspect *at)
{
	struct shutdown *shutdown = shutdown_of(ic);

	inspect_bool(at, "under_way", shutdown->request != NULL);
	inspect_format(at, "last_status", "0x%08x", shutdown->guest_status);
}

static const uint32_t shutdown_versions[] = { IC_SHUTDOWN_1_0, IC_SHUTDOWN_3_0, IC_SHUTDOWN_3_1,
					      IC_SHUTDOWN_3_2 };

static const struct ic_service shutdown_service = {
	.name = "ic-shutdown",
	.message_type = IC_MSG_SHUTDOWN,
	.versions = shutdown_versions,
	.version_count = ARRAY_SIZE(shutdown_versions),
	.ready = shutdown_ready,
	.ended = shutdown_ended,
	.closing = shutdown_closing,
	.inspect = shutdown_inspect,
};

int shutdown_create(struct shutdown **ret)
{
	static const struct guid type = IC_SHUTDOWN_INTERFACE, instance = IC_SHUTDOWN_INSTANCE;
	struct shutdown *shutdown = fault_alloc(1, sizeof(*shutdown));

	if (!shutdown) {
		return -ENOMEM;
	}
	ic_init(&shutdown->ic, &shutdown_service, &type, &instance);
	*ret = shutdown;
	return 0;
}

void shutdown_destroy(struct shutdown *shutdown)
{
	if (shutdown) {
		check(!shutdown->request);
		ic_fini(&shutdown->ic);
		free(shutdown);
	}
}

struct vmbus_device *shutdown_device(struct shutdown *shutdown)
{
	return &shutdown->ic.device;
}
