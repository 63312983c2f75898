/* SPDX-License-Identifier: MIT */
/*
 * Questions to the kernel about a network interface.
 *
 *   thread  any
 */
#pragma once

#include <net/if.h>

#include "base/check.h"

/*
 * A socket for ioctl(), which the caller closes, and the request that names the interface. A negative
 * errno; -ENODEV: no interface can have this name.
 */
MUST_CHECK int net_interface_ask(const char *name, struct ifreq *ret_request);
