/* SPDX-License-Identifier: MIT */
/*
 * The example VSP: sends back what the guest sends. It is complete (negotiation, refusals,
 * back-pressure, reset, saved state, inspection), so a new one starts as a copy of it:
 * `make new-vsp NAME=x`, and docs/add-a-vsp.md says what then.
 *
 *   owner   vm    thread  the channel's I/O loop
 *   spec    proto/echo.h, docs/protocols.md#echo
 */
#pragma once

#include "base/check.h"
#include "vmbus/device.h"

struct echo;

/* name makes the instance, so two of them need two names. 0 or -ENOMEM. */
MUST_CHECK int echo_create(const char *name, struct echo **ret);

/*
 * From its next opening on an ECHO is answered this much later; 0 (the default): at once. What waits
 * is kept (vmbus_channel_keep()), not saved.
 */
void echo_set_delay(struct echo *echo, uint64_t delay_ns);

/* Revoked, or never offered. NULL is fine. */
void echo_destroy(struct echo *echo);

struct vmbus_device *echo_device(struct echo *echo);
