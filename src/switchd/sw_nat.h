/* SPDX-License-Identifier: MIT */
/*
 * A switch's NAT as its configuration has it, in the words of net/nat.h. Nothing here runs.
 *
 *   owner   the caller   thread  any one
 */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "net/nat.h"
#include "switchd/sw_config.h"

/* The network: the usual one where the configuration says nothing. -EINVAL with a sentence. */
MUST_CHECK int sw_nat_network(const struct sw_config *config, struct net_nat_network *ret,
			      struct diag *reterr);

/* Do network, forwards and reservations fit together? -EINVAL with a sentence. */
MUST_CHECK int sw_nat_check(const struct sw_config *config, struct diag *reterr);

/* A number that is another one when NAT has to be made anew: everything but forwards and reservations. */
uint64_t sw_nat_signature(const struct sw_config *config);

/* Of the list, which has been checked: at most SW_FORWARDS_MAX; how many. */
unsigned int sw_nat_forwards(const struct sw_config *config,
			     struct net_forward ret[SW_FORWARDS_MAX]);
