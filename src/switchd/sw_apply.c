/* SPDX-License-Identifier: MIT */
/*
 * A configuration takes effect. In this order, so that a refusal can be taken back: does a policy come
 * of it? save; open what is new; then, without a way to fail but for memory: ports, policy, addresses;
 * then close what is old.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "switchd/sw_internal.h"
#include "vswitch/core.h"
#include "vswitch/ext.h"
#include "vswitch/fdb.h"
#include "vswitch/policy.h"

/* ---- the policy --------------------------------------------------------------------------------- */

static bool fact_mac(void *ctx, uint16_t port, uint8_t ret[NET_MAC_BYTES])
{
	const struct sw *sw = ctx;
	struct net_front_config front;

	if (!vswitch_port_front(sw->vswitch, port, &front)) {
		return false;
	}
	memcpy(ret, front.mac, NET_MAC_BYTES);
	return true;
}

static bool fact_link(void *ctx, uint16_t port)
{
	return sw_wires_link(ctx, port);
}

static int build(struct sw *sw, const struct sw_config *config, struct policy **ret,
		 struct diag *reterr)
{
	const struct sw_policy_facts facts = { .ctx = sw, .mac = fact_mac, .link = fact_link };

	int err = sw_policy_build(config, &facts, ret, reterr);

	if (!err) {
		sw_ext_add_stages(sw, *ret);
	}
	return err;
}

int sw_adopt(struct sw *sw, struct diag *reterr)
{
	struct policy *policy;
	int err = build(sw, sw->config, &policy, reterr);

	if (!err) {
		vswitch_adopt(sw->vswitch, policy);
		if (sw->exts) {
			exts_ports_changed(sw->exts);
		}
	}
	return err;
}

/* ---- ports -------------------------------------------------------------------------------------- */

static bool is_wanted(const struct sw_config *config, uint16_t number)
{
	const char *name = sw_policy_name(config, number);

	if (!name) {
		return false;
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

		if (uplink->number == number) {
			return true;
		}
	}
	return sw_policy_port(config, name) == number;
}

/* -EBUSY: a port that is leaving has the number still. */
static int add_ports(struct sw *sw, struct diag *reterr)
{
	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		const char *name = is_wanted(sw->config, n) ? sw_policy_name(sw->config, n) : NULL;
		int err;

		if (!name || vswitch_port_name(sw->vswitch, n)) {
			continue;
		}
		err = vswitch_port_add(sw->vswitch, n, name);
		if (err) {
			return diag_set(reterr, err, "port %s: %s", name, strerror(-err));
		}
	}
	return 0;
}

void sw_forget_ports(struct sw *sw)
{
	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		if (vswitch_port_name(sw->vswitch, n) && !is_wanted(sw->config, n) &&
		    !vswitch_port_has_ends(sw->vswitch, n) && !sw_ports_has(sw, n)) {
			vswitch_port_remove(sw->vswitch, n);
		}
	}
}

/* A number that another port had, which has not left yet, is not to be taken over. */
static int refuse_leaving(struct sw *sw, const struct sw_config *config, struct diag *reterr)
{
	for (unsigned int i = 0; i < config->lists[SW_LIST_PORTS].count; i++) {
		const struct sw_port *port = sw_list_at(config, SW_LIST_PORTS, i);
		const char *name = vswitch_port_name(sw->vswitch, port->number);

		if (name && strcmp(name, port->name) != 0) {
			return diag_set(reterr, -EBUSY,
					"port %s: the place of port %s is not free yet: try again",
					port->name, name);
		}
	}
	return 0;
}

static void return_gone(struct sw *sw)
{
	for (uint16_t n = SW_PORT_FIRST; n < VSWITCH_PORTS_MAX; n++) {
		if (!is_wanted(sw->config, n)) {
			sw_ports_return(sw, n, "the port was removed");
		}
	}
}

static void forget_learned(struct core *core, void *arg)
{
	fdb_flush_port(core_fdb(core), *(const uint16_t *)arg, false);
}

/* One uplink is a port, several are another: what was learned there is somewhere else now. */
static void flush_moved_uplinks(struct sw *sw, const struct sw_config *before)
{
	int was = sw_policy_port(before, SW_UPLINK_NAME);
	int is = sw_policy_port(sw->config, SW_UPLINK_NAME);

	if (was >= 0 && was != is) {
		uint16_t port = (uint16_t)was;

		vswitch_on_cores(sw->vswitch, forget_learned, &port);
	}
}

/* ---- the file ----------------------------------------------------------------------------------- */

int sw_config_file(const struct sw_config *config, struct diag *reterr)
{
	json_t *json = sw_config_build(config, false);
	auto_free char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	int fd;

	json_decref(json);
	if (!text) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	fd = keeper_file_of("switch", text, strlen(text));
	return fd < 0 ? diag_set(reterr, fd, "cannot hand the configuration over: %s",
				 strerror(-fd))
		      : fd;
}

static int save(struct sw *sw, const struct sw_config *config, struct diag *reterr)
{
	auto_close int fd = sw_config_file(config, reterr);

	return fd < 0 ? fd
		      : keeper_call(sw->keeper_fd, KEEPER_SAVE_CONFIG, NULL, 0, &fd, 1, NULL, NULL,
				    reterr);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

/* The new one is sw->config. */
static void take_effect(struct sw *sw, const struct sw_config *before)
{
	struct diag diag;

	if (add_ports(sw, &diag) || sw_adopt(sw, &diag)) {
		log_error(SW_AREA, "the configuration is not in force: %s", diag.text);
	}
	sw_bindings_restore(sw);
	flush_moved_uplinks(sw, before);
	sw_set_statics(sw, before);
	sw_ports_set_links(sw);
	return_gone(sw);
	sw_wires_close(sw, sw->config);
	sw_forget_ports(sw);
}

int sw_apply(struct sw *sw, struct sw_config *config_take, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *config = config_take;
	struct sw_config *before = sw->config;
	struct policy *policy;
	struct diag ignored;
	int err = refuse_leaving(sw, config, reterr);

	err = err ? err : build(sw, config, &policy, reterr);
	if (err) {
		return err;
	}
	policy_destroy(policy);
	err = save(sw, config, reterr);
	if (err) {
		return err;
	}
	/* NAT is made as it says. */
	sw->config = config;
	err = sw_wires_open(sw, config, reterr);
	err = err ? err : sw_nat_change(sw, before, reterr);
	if (err) {
		sw->config = before;
		sw_wires_close(sw, before);
		if (save(sw, before, &ignored)) {
			log_error(SW_AREA, "%s", ignored.text);
		}
		return err;
	}
	steal(config);
	take_effect(sw, before);
	sw_config_destroy(before);
	return 0;
}

void sw_apply_first(struct sw *sw)
{
	struct diag diag;

	sw_wires_open_all(sw);
	if (add_ports(sw, &diag) || sw_adopt(sw, &diag)) {
		log_error(SW_AREA, "%s", diag.text);
	}
	sw_set_statics(sw, NULL);
}

int sw_bring_port(struct sw *sw, const char *name, struct diag *reterr)
{
	int err = sw_config_add_auto(sw->config, name, reterr);

	if (err) {
		return err;
	}
	err = refuse_leaving(sw, sw->config, reterr);
	err = err ? err : add_ports(sw, reterr);
	err = err ? err : sw_adopt(sw, reterr);
	if (!err) {
		sw_bindings_restore(sw);
	}
	if (err) {
		sw_list_remove(sw->config, SW_LIST_PORTS,
			       sw->config->lists[SW_LIST_PORTS].count - 1);
		sw_forget_ports(sw);
	}
	return err;
}
