/* SPDX-License-Identifier: MIT */
/*
 * The saved form of an echo, apart from the runtime struct. Tags are for ever; an unknown one is
 * skipped, a missing one means 0. Counters for people are not saved.
 */
#include <errno.h>

#include "base/num.h"
#include "proto/echo.h"
#include "vsp/echo/echo_internal.h"

enum {
	STATE_VERSION = 1,  /* ECHO_VERSION_*, 0: none */
	STATE_SEQUENCE = 2, /* of the last ECHO */
	STATE_STALLED = 3,  /* 0 or 1 */
};

void echo_save(struct vmbus_device *device, struct save *save)
{
	const struct echo *echo = container_of(device, struct echo, device);

	save_u32(save, STATE_VERSION, echo->version);
	save_u64(save, STATE_SEQUENCE, echo->sequence);
	save_u32(save, STATE_STALLED, echo->stalled);
}

int echo_load(struct vmbus_device *device, struct load *load)
{
	struct echo *echo = container_of(device, struct echo, device);
	uint32_t version = 0, stalled = 0;
	uint64_t sequence = 0;
	struct load_field field;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case STATE_VERSION:
			version = load_u32(load, &field);
			break;
		case STATE_SEQUENCE:
			sequence = load_u64(load, &field);
			break;
		case STATE_STALLED:
			stalled = load_u32(load, &field);
			break;
		default:
			break;
		}
	}
	if (version > ECHO_VERSION_2 || stalled > 1) {
		load_fail(load);
	}
	if (load_result(load) == 0) {
		echo->version = version;
		echo->sequence = sequence;
		echo->stalled = stalled;
	}
	return load_result(load);
}
