/* SPDX-License-Identifier: MIT */
/* What echo.c and echo_state.c share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmbus/device.h"

struct echo {
	struct vmbus_device device; /* first: the bus knows us by it */

	/* What was negotiated on the open channel; 0: nothing. */
	uint32_t version;
	uint64_t sequence;

	/* The ring was full, so a packet was left in the ring of the guest. */
	bool stalled;

	uint64_t echoes, bytes, refused, stalls;
};

void echo_save(struct vmbus_device *device, struct save *save);
MUST_CHECK int echo_load(struct vmbus_device *device, struct load *load);
