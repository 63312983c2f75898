/* SPDX-License-Identifier: MIT */
/*
 * A switch's configuration as the policy that its cores obey. Pure: what is not in the configuration (a
 * NIC's own address, which links are up, extensions) is handed in.
 *
 *   owner   the caller   thread  control
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "net/net.h"
#include "switchd/sw_config.h"
#include "vswitch/policy.h"

/* The switch's port that several uplinks together are. */
#define SW_PORT_TEAM 10

struct sw_policy_facts {
	void *ctx;
	/* The address of the NIC that is plugged in; false: none is. */
	bool (*mac)(void *ctx, uint16_t port, uint8_t ret[NET_MAC_BYTES]);
	/* Is this uplink's link up? */
	bool (*link)(void *ctx, uint16_t port);
	const struct ext_hooks *ext; /* NULL: none */
	void *ext_ctx;
	uint8_t ext_stages; /* PORT_EXT_*, of all ports */
};

/* A sealed policy for vswitch_adopt(). -EINVAL with a sentence: rules that make no sense; -ENOMEM. */
MUST_CHECK int sw_policy_build(const struct sw_config *config, const struct sw_policy_facts *facts,
			       struct policy **ret, struct diag *reterr);

/*
 * The number that a name has for frames: a port's, "host", "nat", and "uplink", which is the only
 * uplink or the team. -1: there is none.
 */
int sw_policy_port(const struct sw_config *config, const char *name);
/* And the name of a number; NULL: none. */
const char *sw_policy_name(const struct sw_config *config, uint16_t port);
