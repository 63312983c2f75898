/* SPDX-License-Identifier: MIT */
/*
 * The devices of the host that a switch may have: a list in a file of its own beside the configuration
 * (SW_PATH_DEVICES), a name a line. The configuration says what a switch wants, and its data process may
 * have one stored; the list says what it can get, and only users write it: by the command line, never by
 * a verb that the data process answers. The keeper reads it whenever it is to open something.
 *
 * Where there is no list yet (a switch from before there were any) it is made of the configuration as it
 * is then: by the keeper when it begins, or by the first change.
 *
 *   owner   the caller   thread  any one; changes of several processes wait for each other
 *   spec    tabique-switch(1), docs/threat-model-switch.md
 */
#pragma once

#include <stdbool.h>

#include "base/check.h"
#include "base/diag.h"
#include "switchd/sw_config.h"

#define SW_DEVICES_MAX 64U
/* NAT is on the list like a device: no interface has a name with a colon. */
#define SW_DEVICE_NAT  ":nat"

struct sw_devices {
	unsigned int count;
	char names[SW_DEVICES_MAX][SW_IFNAME_BYTES];
};

/* -ENOENT: there is no list; -EINVAL: the file is broken; others. Each with a sentence. */
MUST_CHECK int sw_devices_load(const char *name, struct sw_devices *ret, struct diag *reterr);

/* What this configuration names is on the list from now on, and nothing else. */
MUST_CHECK int sw_devices_save_for(const struct sw_config *config, struct diag *reterr);
/* The same where there is no list yet. */
MUST_CHECK int sw_devices_make(const struct sw_config *config, struct diag *reterr);

/* *ret_is_new: it was not on it. -EINVAL: no name of an interface; -ENOSPC; others, with a sentence. */
MUST_CHECK int sw_devices_allow(const char *name, const char *dev, bool *ret_is_new,
				struct diag *reterr);
/* -ENOENT: it is not on it. */
MUST_CHECK int sw_devices_deny(const char *name, const char *dev, struct diag *reterr);

bool sw_devices_has(const struct sw_devices *devices, const char *dev);

/* Whether this switch may have it: 0, -EPERM, or what sw_devices_load() says; each with a sentence. */
MUST_CHECK int sw_devices_check(const char *name, const char *dev, struct diag *reterr);
