/* SPDX-License-Identifier: MIT */
/*
 * Which addresses DHCP has given to which port (arp-guard=snoop): the guest keeps its lease when a data
 * process ends, so the next process must know it, or it takes the guest's ARP for lies until the lease is
 * renewed. Bindings go by the port's name: a port that its worker brings may come later than they do.
 *
 *   core 0 ─save─► state ─load─► parked ─restore, when the port is there─► all cores
 *
 *   spec  docs/formats.md#soft-state
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/log.h"
#include "state/load.h"
#include "state/save.h"
#include "switchd/sw_internal.h"
#include "vswitch/core.h"

#define SECOND_NS 1000000000ULL

/* Tags are for ever. */
enum {
	BINDING_PORT = 1,
	BINDING_IP = 2,     /* 16 bytes, IPv4 as ::ffff:a.b.c.d */
	BINDING_LEFT_S = 3, /* missing: it has no end */
};

static uint32_t now_s(void)
{
	return (uint32_t)(loop_now_ns() / SECOND_NS);
}

static bool is_over(const struct guard_binding *binding)
{
	return binding->until_s != GUARD_FOREVER && binding->until_s <= now_s();
}

/* ---- saving ------------------------------------------------------------------------------------- */

static void save_one(struct save *save, uint16_t tag, const char *port,
		     const struct guard_binding *binding)
{
	uint8_t ip[16];

	if (binding->is_static || is_over(binding)) {
		return;
	}
	bytes_put_be64(ip, binding->ip.hi);
	bytes_put_be64(ip + 8, binding->ip.lo);
	save_group_begin(save, tag);
	save_bytes(save, BINDING_PORT, port, strlen(port));
	save_bytes(save, BINDING_IP, ip, sizeof(ip));
	if (binding->until_s != GUARD_FOREVER) {
		save_u32(save, BINDING_LEFT_S, binding->until_s - now_s());
	}
	save_group_end(save);
}

struct saving {
	const struct sw *sw;
	struct save *save;
	uint16_t tag;
};

/* Each core has all of them. */
static void save_on_core(struct core *core, void *arg)
{
	const struct saving *saving = arg;
	const struct sw_config *config = saving->sw->config;

	for (unsigned int i = 0; core_index(core) == 0 && i < config->lists[SW_LIST_PORTS].count;
	     i++) {
		const struct sw_port *port = sw_list_at(config, SW_LIST_PORTS, i);
		const struct guard_policy *guard = core_guard(core, port->number);

		for (unsigned int j = 0; j < guard->binding_count; j++) {
			save_one(saving->save, saving->tag, port->name, &guard->bindings[j]);
		}
	}
}

void sw_bindings_save(struct sw *sw, struct save *save, uint16_t tag)
{
	struct saving saving = { sw, save, tag };

	vswitch_on_cores(sw->vswitch, save_on_core, &saving);
	for (unsigned int i = 0; i < sw->parked_count; i++) {
		save_one(save, tag, sw->parked[i].port, &sw->parked[i].binding);
	}
}

/* ---- loading ------------------------------------------------------------------------------------ */

static bool load_fields(struct load *load, struct sw_parked *ret, uint32_t *ret_left_s)
{
	struct load_field f;
	uint8_t ip[16] = { 0 };

	*ret = (struct sw_parked){ .number = -1 };
	*ret_left_s = UINT32_MAX;
	while (load_next(load, &f)) {
		if (f.tag == BINDING_PORT && f.length < sizeof(ret->port)) {
			load_bytes(load, &f, ret->port, f.length);
		} else if (f.tag == BINDING_IP) {
			load_bytes(load, &f, ip, sizeof(ip));
		} else if (f.tag == BINDING_LEFT_S) {
			*ret_left_s = load_u32(load, &f);
		}
	}
	ret->binding.ip = (struct vframe_ip){ bytes_be64(ip), bytes_be64(ip + 8) };
	if (!sw_name_is_good(ret->port) || (ret->binding.ip.hi | ret->binding.ip.lo) == 0) {
		load_fail(load);
	}
	return load_result(load) == 0;
}

void sw_binding_load(struct sw *sw, struct load *load, const struct load_field *field,
		     uint32_t elapsed_s)
{
	struct sw_parked parked;
	uint32_t left_s, now = now_s();
	struct load inner;
	bool ok;

	load_group(load, field, &inner);
	ok = load_fields(&inner, &parked, &left_s);
	load_close(load, &inner);
	if (!ok || left_s <= elapsed_s || sw->parked_count == SW_PARKED_MAX) {
		return;
	}
	if (!sw->parked) {
		sw->parked = fault_alloc(SW_PARKED_MAX, sizeof(*sw->parked));
		if (!sw->parked) {
			log_warn(SW_AREA, "no memory: addresses that DHCP gave are forgotten");
			return;
		}
	}
	parked.binding.until_s = left_s == UINT32_MAX || left_s - elapsed_s >= GUARD_FOREVER - now
					 ? GUARD_FOREVER
					 : now + (left_s - elapsed_s);
	sw->parked[sw->parked_count++] = parked;
}

/* ---- restoring ---------------------------------------------------------------------------------- */

static void bind_on_core(struct core *core, void *arg)
{
	const struct sw *sw = arg;

	for (unsigned int i = 0; i < sw->parked_count; i++) {
		if (sw->parked[i].number >= 0) {
			core_bind(core, (uint16_t)sw->parked[i].number, &sw->parked[i].binding);
		}
	}
}

void sw_bindings_restore(struct sw *sw)
{
	unsigned int kept = 0;

	if (sw->parked_count == 0) {
		return;
	}
	for (unsigned int i = 0; i < sw->parked_count; i++) {
		const struct sw_port *port = sw_port_find(sw->config, sw->parked[i].port);

		sw->parked[i].number = port ? port->number : -1;
	}
	vswitch_on_cores(sw->vswitch, bind_on_core, sw);
	for (unsigned int i = 0; i < sw->parked_count; i++) {
		if (sw->parked[i].number < 0 && !is_over(&sw->parked[i].binding)) {
			sw->parked[kept++] = sw->parked[i];
		}
	}
	sw->parked_count = kept;
	if (kept == 0) {
		free(sw->parked);
		sw->parked = NULL;
	}
}
