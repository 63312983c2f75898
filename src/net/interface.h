/* SPDX-License-Identifier: MIT */
/*
 * Questions to the kernel about a network interface.
 *
 *   thread  any
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include "base/check.h"

/*
 * A socket for ioctl(), which the caller closes, and the request that names the interface. A negative
 * errno; -ENODEV: no interface can have this name.
 */
MUST_CHECK int net_interface_ask(const char *name, struct ifreq *ret_request);

/*
 * Whether this host answers ARP requests that arrive there also for addresses of its other interfaces,
 * as Linux does unless told otherwise. false: it does not, or cannot be asked.
 */
bool net_interface_answers_for_others(const char *name);
