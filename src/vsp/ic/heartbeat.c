/* SPDX-License-Identifier: MIT */
/*
 * Heartbeat: a number goes out every period and should come back plus one. A beat that is not
 * answered when the next is due is missed; the next goes out all the same while the ring has room,
 * so that one that the guest dropped does not end the count.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/num.h"
#include "vsp/ic/ic.h"
#include "vsp/ic/ic_common.h"

struct heartbeat {
	struct ic ic; /* first */
	struct loop_timer beat;
	uint64_t period_ns;
	uint64_t sequence; /* of the beat under way */
	uint32_t missed;   /* in a row */
	uint32_t application_state;
	_Atomic(enum heartbeat_health) health; /* written on the I/O loop, read anywhere */
};

static struct heartbeat *heartbeat_of(struct ic *ic)
{
	return container_of(ic, struct heartbeat, ic);
}

static void set_health(struct heartbeat *heartbeat, enum heartbeat_health health)
{
	enum heartbeat_health was = atomic_load_explicit(&heartbeat->health, memory_order_relaxed);

	if (was == health) {
		return;
	}
	atomic_store_explicit(&heartbeat->health, health, memory_order_relaxed);
	log_info("heartbeat", "%s → %s", heartbeat_health_name(was), heartbeat_health_name(health));
}

static void send_beat(struct heartbeat *heartbeat)
{
	uint8_t body[sizeof(struct ic_heartbeat)];
	size_t bytes = ic_build_heartbeat(heartbeat->sequence, body);

	/* A full ring is a missed beat, nothing else. */
	(void)!ic_request(&heartbeat->ic, body, bytes, 0);
	loop_timer_arm(&heartbeat->beat, heartbeat->period_ns);
}

static void on_beat(struct loop_timer *timer)
{
	struct heartbeat *heartbeat = container_of(timer, struct heartbeat, beat);

	if (vmbus_channel_is_paused(heartbeat->ic.channel)) {
		/* It cannot answer: neither ask nor count. */
		loop_timer_arm(timer, heartbeat->period_ns);
		return;
	}
	if (heartbeat->ic.waiting && heartbeat->missed < HEARTBEAT_MISSED_MAX) {
		heartbeat->missed++;
	}
	if (heartbeat->missed == HEARTBEAT_MISSED_MAX) {
		set_health(heartbeat, HEARTBEAT_LOST);
	}
	send_beat(heartbeat);
}

static void heartbeat_ready(struct ic *ic)
{
	struct heartbeat *heartbeat = heartbeat_of(ic);

	loop_timer_init(&heartbeat->beat, vmbus_channel_loop(ic->channel), on_beat);
	heartbeat->missed = 0;
	send_beat(heartbeat);
}

static int heartbeat_ended(struct ic *ic, int result, const struct ic_message *answer)
{
	struct heartbeat *heartbeat = heartbeat_of(ic);
	struct ic_heartbeat_answer beat;
	int err;

	if (result) {
		return 0;
	}
	err = ic_parse_heartbeat(answer, &beat);
	if (err || answer->status != IC_STATUS_OK || beat.sequence != heartbeat->sequence + 1) {
		return -EBADMSG;
	}
	heartbeat->sequence = beat.sequence;
	heartbeat->application_state = beat.application_state;
	heartbeat->missed = 0;
	set_health(heartbeat, HEARTBEAT_OK);
	return 0;
}

static void heartbeat_closing(struct ic *ic)
{
	struct heartbeat *heartbeat = heartbeat_of(ic);

	if (heartbeat->beat.loop) {
		loop_timer_cancel(&heartbeat->beat);
	}
	set_health(heartbeat, HEARTBEAT_NO_CONTACT);
}

enum {
	STATE_SEQUENCE = IC_STATE_OWN + 0,
};

static void heartbeat_save(struct ic *ic, struct save *save)
{
	save_u64(save, STATE_SEQUENCE, heartbeat_of(ic)->sequence);
}

static void heartbeat_load(struct ic *ic, struct load *load, const struct load_field *field)
{
	if (field->tag == STATE_SEQUENCE) {
		heartbeat_of(ic)->sequence = load_u64(load, field);
	}
}

static void heartbeat_inspect(struct ic *ic, struct inspect *at)
{
	static const char *const states[] = {
		[IC_APPLICATION_UNKNOWN] = "unknown",
		[IC_APPLICATION_HEALTHY] = "healthy",
		[IC_APPLICATION_CRITICAL] = "critical",
		[IC_APPLICATION_STOPPED] = "stopped",
	};
	struct heartbeat *heartbeat = heartbeat_of(ic);
	uint32_t state = heartbeat->application_state;

	inspect_string(at, "health", heartbeat_health_name(heartbeat_health(heartbeat)));
	inspect_u64(at, "sequence", heartbeat->sequence);
	inspect_u64(at, "missed", heartbeat->missed);
	inspect_string(at, "application", state < ARRAY_SIZE(states) ? states[state] : "nonsense");
}

static const uint32_t heartbeat_versions[] = { IC_HEARTBEAT_1_0, IC_HEARTBEAT_3_0 };

static const struct ic_service heartbeat_service = {
	.name = "ic-heartbeat",
	.message_type = IC_MSG_HEARTBEAT,
	.versions = heartbeat_versions,
	.version_count = ARRAY_SIZE(heartbeat_versions),
	.ready = heartbeat_ready,
	.ended = heartbeat_ended,
	.closing = heartbeat_closing,
	.save = heartbeat_save,
	.load = heartbeat_load,
	.inspect = heartbeat_inspect,
};

int heartbeat_create(uint64_t period_ns, struct heartbeat **ret)
{
	static const struct guid type = IC_HEARTBEAT_INTERFACE, instance = IC_HEARTBEAT_INSTANCE;
	struct heartbeat *heartbeat = fault_alloc(1, sizeof(*heartbeat));

	if (!heartbeat) {
		return -ENOMEM;
	}
	heartbeat->period_ns = period_ns ? period_ns : IC_HEARTBEAT_PERIOD_NS;
	ic_init(&heartbeat->ic, &heartbeat_service, &type, &instance);
	*ret = heartbeat;
	return 0;
}

void heartbeat_destroy(struct heartbeat *heartbeat)
{
	if (heartbeat) {
		ic_fini(&heartbeat->ic);
		free(heartbeat);
	}
}

struct vmbus_device *heartbeat_device(struct heartbeat *heartbeat)
{
	return &heartbeat->ic.device;
}

enum heartbeat_health heartbeat_health(const struct heartbeat *heartbeat)
{
	return atomic_load_explicit(&heartbeat->health, memory_order_relaxed);
}

const char *heartbeat_health_name(enum heartbeat_health health)
{
	static const char *const names[] = {
		[HEARTBEAT_NO_CONTACT] = "no contact",
		[HEARTBEAT_OK] = "ok",
		[HEARTBEAT_LOST] = "lost",
	};

	return names[health];
}
