/* SPDX-License-Identifier: MIT */
/*
 * SynICs in plain memory: one message slot and one set of event flags per VP, for SINT 2.
 *
 *   thread  event flags and doorbells: the guest's thread may be another than the loops'; all else
 *           is for tests on one thread
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dev/synic.h"

struct fake_synic;

struct fake_synic *fake_synic_create(uint32_t vps);
void fake_synic_destroy(struct fake_synic *synic);
struct synic *fake_synic_base(struct fake_synic *synic);

/* Takes the message in the VP's slot and tells the sink that the slot is free. */
bool fake_synic_take(struct fake_synic *synic, uint32_t vp, struct synic_message *ret);

/* Whether the flag was set; clears it. */
bool fake_synic_take_flag(struct fake_synic *synic, uint32_t vp, uint32_t flag);

/* How often the flag has been set. */
uint64_t fake_synic_flag_count(const struct fake_synic *synic, uint32_t flag);

/* HvCallSignalEvent; false when nothing is bound there. */
bool fake_synic_signal(struct fake_synic *synic, uint32_t connection_id);
uint64_t fake_synic_signals(const struct fake_synic *synic);

/* From now on the guest has no SynIC (or has again). */
void fake_synic_enable(struct fake_synic *synic, bool enabled);

/* The VP's event flags are in this page of guest memory from now on. */
void fake_synic_set_event_page(struct fake_synic *synic, uint32_t vp, uint64_t gpa, void *hva);
