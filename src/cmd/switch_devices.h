/* SPDX-License-Identifier: MIT */
/*
 * tabique switch device …, and the list of devices (switchd/sw_devices.h) kept by the way by other verbs: who
 * says `uplink add dev=eth1` means that the switch may have it. The switch itself is not asked: its list is
 * not its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/diag.h"
#include "switchd/sw_value.h"

/* what: "allow", "deny", "list". The exit status. */
int switch_devices(const char *name, const char *what, char *const *words, size_t count,
		   bool is_json);
int switch_devices_help(void);

/* What a verb did to the list before it was said: to be taken back when the switch says no. */
struct switch_devices_change {
	char added[SW_IFNAME_BYTES];  /* "": nothing */
	char former[SW_IFNAME_BYTES]; /* the host's port, until then */
};

/* 0, also when the verb is about no device; an errno with a sentence. */
MUST_CHECK int switch_devices_before(const char *name, const char *verb, char *const *words,
				     size_t count, struct switch_devices_change *ret,
				     struct diag *reterr);
/* The switch has said yes, or no. */
void switch_devices_after(const char *name, const char *verb, char *const *words, size_t count,
			  const struct switch_devices_change *change, bool is_done);
