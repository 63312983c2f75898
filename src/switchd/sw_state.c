/* SPDX-License-Identifier: MIT */
/*
 * What a data process leaves for the next one: numbers of ports, what the cores have learned and counted,
 * and which addresses DHCP has given. Soft: without it everything is learned again, the last not before the
 * leases are renewed; so that is left while it runs, too. The next process takes it for hostile.
 *
 *   spec  docs/formats.md#soft-state
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "state/load.h"
#include "state/save.h"
#include "switchd/sw_internal.h"
#include "vswitch/core.h"
#include "vswitch/fdb.h"
#include "vswitch/flow.h"
#include "vswitch/mcast.h"
#include "vswitch/stats.h"

/* Tags are for ever. */
enum {
	STATE_PORT = 1,
	STATE_FDB = 2,
	STATE_GROUPS = 3,
	STATE_FLOWS = 4,
	STATE_BINDING = 5,
	STATE_RULE = 6,
	STATE_TIME = 7, /* of the host's clock, seconds: when it was written; missing: now */
};
enum { PORT_NUMBER = 1, PORT_NAME = 2, PORT_IS_AUTO = 3, PORT_COUNTERS = 4 };
#define COUNTERS_COUNT 7

/* Not time(), which may be a system call of its own. */
static uint64_t wall_clock_s(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec;
}

/* ---- saving ------------------------------------------------------------------------------------- */

static void save_counters(const struct sw *sw, uint16_t number, struct save *save)
{
	struct port_stats stats;
	uint64_t counters[COUNTERS_COUNT];

	vswitch_port_stats(sw->vswitch, number, &stats);
	counters[0] = stats.sent_frames;
	counters[1] = stats.sent_bytes;
	counters[2] = stats.sent_large;
	counters[3] = stats.sent_groups;
	counters[4] = stats.delivered_frames;
	counters[5] = stats.delivered_bytes;
	counters[6] = stats.delivered_large;
	save_bytes(save, PORT_COUNTERS, counters, sizeof(counters));
}

static void save_ports(const struct sw *sw, struct save *save)
{
	for (unsigned int i = 0; i < sw->config->lists[SW_LIST_PORTS].count; i++) {
		const struct sw_port *port = sw_list_at(sw->config, SW_LIST_PORTS, i);

		save_group_begin(save, STATE_PORT);
		save_u32(save, PORT_NUMBER, port->number);
		save_bytes(save, PORT_NAME, port->name, strlen(port->name));
		save_u32(save, PORT_IS_AUTO, port->is_auto);
		save_counters(sw, port->number, save);
		save_group_end(save);
	}
}

/* Each core has all of it. */
static void save_tables(struct core *core, void *arg)
{
	struct save *save = arg;

	if (core_index(core) != 0) {
		return;
	}
	save_group_begin(save, STATE_FDB);
	fdb_save(core_fdb(core), core_now_s(core), save);
	save_group_end(save);
	save_group_begin(save, STATE_GROUPS);
	mcast_save(core_mcast(core), core_now_s(core), save);
	save_group_end(save);
	save_group_begin(save, STATE_FLOWS);
	flow_save(core_flows(core), save, core_now_s(core));
	save_group_end(save);
}

int sw_state_save(struct sw *sw, bool everything)
{
	const uint8_t *bytes;
	struct save save;
	size_t length;
	int fd;

	save_init(&save);
	save_u64(&save, STATE_TIME, wall_clock_s());
	if (everything) {
		save_ports(sw, &save);
		vswitch_on_cores(sw->vswitch, save_tables, &save);
		sw_rules_save(sw, &save, STATE_RULE);
	}
	sw_bindings_save(sw, &save, STATE_BINDING);
	fd = save_finish(&save, &bytes, &length);
	if (!fd) {
		fd = keeper_file_of("switch-state", bytes, length);
	}
	save_fini(&save);
	return fd;
}

/* ---- loading ------------------------------------------------------------------------------------ */

struct saved_port {
	uint32_t number;
	char name[SW_NAME_BYTES];
	bool is_auto;
	uint64_t counters[COUNTERS_COUNT];
};

static bool load_port(struct load *load, const struct load_field *group, struct saved_port *ret)
{
	struct load inner;
	struct load_field field;

	memset(ret, 0, sizeof(*ret));
	load_group(load, group, &inner);
	while (load_next(&inner, &field)) {
		if (field.tag == PORT_NUMBER) {
			ret->number = load_u32(&inner, &field);
		} else if (field.tag == PORT_NAME && field.length < sizeof(ret->name)) {
			load_bytes(&inner, &field, ret->name, field.length);
		} else if (field.tag == PORT_IS_AUTO) {
			ret->is_auto = load_u32(&inner, &field) != 0;
		} else if (field.tag == PORT_COUNTERS) {
			load_bytes(&inner, &field, ret->counters, sizeof(ret->counters));
		}
	}
	load_close(load, &inner);
	return load_result(load) == 0 && ret->number >= SW_PORT_FIRST &&
	       ret->number < SW_PORT_FIRST + SW_PORTS_MAX && sw_name_is_good(ret->name);
}

/* The number is this port's again; who has it now gets the other one. */
static void renumber(struct sw *sw, const struct saved_port *saved)
{
	struct sw_port *other = sw_port_by_number(sw->config, saved->number);
	struct sw_port *port = sw_port_find(sw->config, saved->name);
	struct diag diag;

	if (!port && saved->is_auto && !sw_config_add_auto(sw->config, saved->name, &diag)) {
		/* The list may have moved. */
		other = sw_port_by_number(sw->config, saved->number);
		port = sw_port_find(sw->config, saved->name);
	}
	if (!port) {
		return;
	}
	if (other) {
		other->number = port->number;
	}
	port->number = (uint16_t)saved->number;
}

void sw_state_load_names(struct sw *sw, const void *bytes, size_t length)
{
	struct saved_port saved;
	struct load_field field;
	struct load load;

	load_init(&load, bytes, length);
	while (load_next(&load, &field)) {
		if (field.tag == STATE_PORT && load_port(&load, &field, &saved)) {
			renumber(sw, &saved);
		}
	}
}

struct loading {
	const void *bytes;
	size_t length;
	port_set ports;
};

static void load_tables(struct core *core, void *arg)
{
	const struct loading *loading = arg;
	struct load_field field;
	struct load load, inner;

	load_init(&load, loading->bytes, loading->length);
	while (load_next(&load, &field)) {
		if (field.tag != STATE_FDB && field.tag != STATE_GROUPS &&
		    field.tag != STATE_FLOWS) {
			continue;
		}
		load_group(&load, &field, &inner);
		if (field.tag == STATE_FDB) {
			fdb_load(core_fdb(core), &inner, NULL, NULL, core_now_s(core));
		} else if (field.tag == STATE_GROUPS) {
			mcast_load(core_mcast(core), &inner, NULL, NULL, core_now_s(core));
		} else {
			flow_load(core_flows(core), &inner, &loading->ports, core_now_s(core));
		}
		load_close(&load, &inner);
	}
}

static void load_counters(struct sw *sw, const struct saved_port *saved)
{
	const struct sw_port *port = sw_port_find(sw->config, saved->name);
	const struct port_stats base = {
		.sent_frames = saved->counters[0],
		.sent_bytes = saved->counters[1],
		.sent_large = saved->counters[2],
		.sent_groups = saved->counters[3],
		.delivered_frames = saved->counters[4],
		.delivered_bytes = saved->counters[5],
		.delivered_large = saved->counters[6],
	};

	if (port) {
		vswitch_port_stats_base(sw->vswitch, port->number, &base);
	}
}

/* Nobody has set the clock back, or it is as if no time had passed. */
static uint32_t elapsed(uint64_t then_s)
{
	uint64_t now_s = wall_clock_s();

	return then_s < now_s ? (uint32_t)num_min(now_s - then_s, UINT32_MAX) : 0;
}

void sw_state_load_tables(struct sw *sw, const void *bytes, size_t length)
{
	struct loading loading = { .bytes = bytes, .length = length };
	uint32_t elapsed_s = 0;
	struct saved_port saved;
	struct load_field field;
	struct load load;

	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		if (vswitch_port_name(sw->vswitch, n)) {
			port_set_add(&loading.ports, n);
		}
	}
	vswitch_on_cores(sw->vswitch, load_tables, &loading);
	load_init(&load, bytes, length);
	while (load_next(&load, &field)) {
		if (field.tag == STATE_PORT && load_port(&load, &field, &saved)) {
			load_counters(sw, &saved);
		} else if (field.tag == STATE_RULE) {
			sw_rule_load(sw, &load, &field);
		} else if (field.tag == STATE_BINDING) {
			sw_binding_load(sw, &load, &field, elapsed_s);
		} else if (field.tag == STATE_TIME) {
			elapsed_s = elapsed(load_u64(&load, &field));
		}
	}
	if (load_result(&load)) {
		log_warn(SW_AREA, "what the process before has left is broken: a part is lost");
	}
	sw_bindings_restore(sw);
}
