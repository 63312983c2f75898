/* SPDX-License-Identifier: MIT */
/* What echo.c, echo_late.c and echo_state.c share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/echo.h"
#include "vmbus/device.h"
#include "vsp/echo/echo_parse.h"

/* Packets that wait for their answers, when these come late. */
#define ECHO_LATE_MAX 16U

struct echo_late {
	uint32_t slot, count;
	uint8_t bytes[ECHO_BYTES_MAX];
};

struct echo {
	struct vmbus_device device; /* first: the bus knows us by it */

	/* What was negotiated on the open channel; 0: nothing. */
	uint32_t version;
	uint64_t sequence;

	/* The ring was full, so a packet was left in the ring of the guest. */
	bool stalled;

	uint64_t echoes, bytes, refused, stalls;

	/* Answers that come late. */
	struct vmbus_channel *channel; /* open */
	uint64_t delay_ns;             /* 0: none is late */
	struct loop_timer late_timer;
	uint32_t late_first, late_count;
	struct echo_late late[ECHO_LATE_MAX];
};

/* echo.c: an ECHO was answered. */
void echo_count(struct echo *echo, uint64_t sequence, uint32_t bytes);

/* echo_late.c: when the channel opens, when it closes or leaves. */
void echo_late_init(struct echo *echo, struct vmbus_channel *channel);
void echo_late_fini(struct echo *echo);
/* Keeps an ECHO for later. 0; -EAGAIN. */
MUST_CHECK int echo_late_take(struct echo *echo, struct vmbus_channel *channel,
			      const struct vmbus_packet *packet,
			      const struct echo_request *request);
/* Answers all that wait, as far as there is room. */
void echo_late_answer(struct echo *echo);

void echo_save(struct vmbus_device *device, struct save *save);
MUST_CHECK int echo_load(struct vmbus_device *device, struct load *load);
