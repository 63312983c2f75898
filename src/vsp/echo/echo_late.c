/* SPDX-License-Identifier: MIT */
/* Answers that come later: what a VSP with I/O does, and the proof that kept packets are not lost. */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vsp/echo/echo_internal.h"

static void arm(struct echo *echo)
{
	if (echo->late_count > 0 && !loop_timer_is_armed(&echo->late_timer)) {
		loop_timer_arm(&echo->late_timer, echo->delay_ns);
	}
}

static void on_late(struct loop_timer *timer)
{
	echo_late_answer(container_of(timer, struct echo, late_timer));
}

void echo_late_init(struct echo *echo, struct vmbus_channel *channel)
{
	echo->channel = channel;
	echo->late_first = echo->late_count = 0;
	loop_timer_init(&echo->late_timer, vmbus_channel_loop(channel), on_late);
}

void echo_late_fini(struct echo *echo)
{
	loop_timer_cancel(&echo->late_timer);
	echo->channel = NULL;
	echo->late_count = 0;
}

int echo_late_take(struct echo *echo, struct vmbus_channel *channel,
		   const struct vmbus_packet *packet, const struct echo_request *request)
{
	uint32_t at = (echo->late_first + echo->late_count) % ECHO_LATE_MAX;
	struct echo_late *late = &echo->late[at];
	int err = vmbus_channel_keep(channel, packet, &late->slot);

	if (err) {
		return err; /* -EAGAIN: all are waiting */
	}
	check(echo->late_count < ECHO_LATE_MAX);
	late->count = request->echo.count;
	memcpy(late->bytes, request->echo.bytes, request->echo.count);
	echo->late_count++;
	arm(echo);
	return 0;
}

void echo_late_answer(struct echo *echo)
{
	uint8_t answer[ECHO_ECHO_BYTES + ECHO_BYTES_MAX];

	while (echo->late_count > 0) {
		const struct echo_late *late = &echo->late[echo->late_first];
		uint64_t sequence = echo->version >= ECHO_VERSION_2 ? echo->sequence + 1 : 0;

		echo_build_echo(sequence, late->count, answer);
		memcpy(answer + ECHO_ECHO_BYTES, late->bytes, late->count);
		if (vmbus_channel_complete_kept(echo->channel, late->slot, answer,
						(uint32_t)ECHO_ECHO_BYTES + late->count)) {
			return; /* writable() comes, or the channel is dead */
		}
		echo_count(echo, sequence, late->count);
		echo->late_first = (echo->late_first + 1) % ECHO_LATE_MAX;
		echo->late_count--;
	}
	if (echo->stalled) {
		echo->stalled = false;
		vmbus_channel_resume(echo->channel);
	}
}
