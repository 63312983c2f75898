/* SPDX-License-Identifier: MIT */
/*
 * What a NIC shall be, as a worker tells it to the process that it lends the NIC to: the configuration
 * that goes with a loan (vmbus/remote_worker.h), fields of state/save.h.
 *
 *   owner   the caller   thread  any
 *   spec    docs/formats.md
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "net/net.h"
#include "state/save.h"
#include "vsp/net/netvsp.h"

struct netvsp_loan {
	char name[NETVSP_NAME_BYTES_MAX]; /* "net0" */
	bool has_mac;                     /* else it is made of the names */
	uint8_t mac[NET_MAC_BYTES];
	uint32_t queues_max; /* 0: as many as the other side has loops */
	bool no_rsc;
	uint32_t nvsp_max; /* 0: all */
};

/* Adds the fields to save. */
void netvsp_loan_build(const struct netvsp_loan *loan, struct save *save);

/* The input is the other side's: -EBADMSG. Unknown fields are skipped. */
MUST_CHECK int netvsp_loan_parse(const void *bytes, size_t length, struct netvsp_loan *ret);
