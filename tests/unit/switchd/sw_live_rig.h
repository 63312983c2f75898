/* SPDX-License-Identifier: MIT */
/*
 * A switch as its process has it, without the process: a configuration (sw_rig.h) that is in force on a
 * core, no wires, no NICs. Cores run on the test's own thread.
 */
#pragma once

#include "sw_rig.h"
#include "switchd/sw_internal.h"

static inline bool live_mac(void *ctx, uint16_t port, uint8_t ret[NET_MAC_BYTES])
{
	(void)ctx;
	(void)port;
	(void)ret;
	return false;
}

static inline bool live_link(void *ctx, uint16_t port)
{
	(void)ctx;
	(void)port;
	return false;
}

/* What sw->config says is in force, and its ports are there. */
static inline void live_adopt(struct sw *sw)
{
	const struct sw_policy_facts facts = { .ctx = sw, .mac = live_mac, .link = live_link };
	struct policy *policy;
	struct diag diag;

	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		const char *name = sw_policy_name(sw->config, n);

		if (name && sw_policy_port(sw->config, name) == n &&
		    !vswitch_port_name(sw->vswitch, n)) {
			assert_int_equal(vswitch_port_add(sw->vswitch, n, name), 0);
		}
	}
	if (sw_policy_build(sw->config, &facts, &policy, &diag)) {
		fail_msg("%s", diag.text);
	}
	vswitch_adopt(sw->vswitch, policy);
}

/* config is taken. */
static inline void live_init(struct sw *sw, struct sw_config *config)
{
	struct vswitch_config vswitch = { .core_count = 1, .secret = 42, .fdb_entries = 1024 };
	struct diag diag;

	memset(sw, 0, sizeof(*sw));
	sw->config = config;
	list_init(&sw->wires);
	list_init(&sw->nics);
	assert_int_equal(loop_create("live", &sw->control, &diag), 0);
	vswitch.control = vswitch.loops[0] = sw->loops[0] = sw->control;
	sw->loop_count = 1;
	assert_int_equal(vswitch_create(&vswitch, &sw->vswitch), 0);
	live_adopt(sw);
}

static inline void live_do(struct sw *sw, const char *verb, const char *line)
{
	sw_rig_do(&sw->config, verb, line);
	live_adopt(sw);
}

static inline void live_stopped(struct loop_work *work)
{
	work->fn = NULL;
}

static inline void live_fini(struct sw *sw)
{
	struct loop_work done;

	loop_work_init(&done, live_stopped);
	vswitch_stop(sw->vswitch, &done);
	while (done.fn) {
		loop_turn(sw->control);
	}
	vswitch_destroy(sw->vswitch);
	loop_destroy(sw->control);
	sw_config_destroy(sw->config);
}
