/* SPDX-License-Identifier: MIT */
/* What people ask a switch for: verbs that change its configuration (sw_change.h), and those that look. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "switchd/sw_change.h"
#include "switchd/sw_internal.h"
#include "vswitch/stats.h"

/* ---- changes ------------------------------------------------------------------------------------ */

/* What the configuration does not know of a port: who is plugged in. */
static void describe_ports(const struct sw *sw, json_t *result)
{
	json_t *ports = json_object_get(result, "ports");

	for (size_t i = 0; i < json_array_size(ports); i++) {
		json_t *json = json_array_get(ports, i);
		const char *name = json_string_value(json_object_get(json, "name"));
		const struct sw_port *port = name ? sw_port_find(sw->config, name) : NULL;

		if (port) {
			sw_ports_describe(sw, port->number, json);
		}
	}
}

/*
 * Threads begin before the process gives its rights up, and none can be made afterwards; every core has
 * rings to every other. So another process has to be made: that is said openly.
 */
static int refuse_threads(const struct sw *sw, struct sw_config *changed, struct diag *reterr)
{
	uint32_t wanted;

	if (!changed || changed->settings.threads == sw->config->settings.threads) {
		return 0;
	}
	wanted = changed->settings.threads;
	sw_config_destroy(changed);
	return diag_set(reterr, -EBUSY,
			"threads=%u: a process that runs keeps its %u threads: say tabique switch "
			"upgrade %s threads=%u, which replaces it in some 10 ms",
			wanted, sw->loop_count, sw->config->name, wanted);
}

static void on_change(void *ctx, const struct json_t *request, struct rpc_reply *reply)
{
	struct sw *sw = ctx;
	const char *verb = json_string_value(json_object_get(request, "verb"));
	struct sw_config *changed = NULL;
	json_t *result = NULL;
	struct diag diag;
	int err = sw->ending == SW_END_NONE ? 0 : diag_set(&diag, -EBUSY, "the switch ends");

	err = err ? err : sw_change(sw->config, verb, request, &changed, &result, &diag);
	err = err ? err : refuse_threads(sw, changed, &diag);
	if (!err && changed) {
		err = sw_apply(sw, changed, &diag);
		if (!err && strncmp(verb, "ext ", 4) == 0) {
			sw_ext_reconnect(sw, request);
		}
	} else if (!err && strcmp(verb, "port list") == 0) {
		describe_ports(sw, result);
	}
	if (err) {
		json_decref(result);
		rpc_reply_error(reply, "%s", diag.text);
	} else {
		rpc_reply_ok_take(reply, result);
	}
}

/* ---- looks -------------------------------------------------------------------------------------- */

static int show(struct sw *sw, const struct json_t *request, struct json_t *result,
		struct diag *reterr)
{
	json_t *config = sw_config_build(sw->config, true);
	uint32_t refused = 0;

	(void)request;
	if (!config) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	json_object_update(result, config);
	json_decref(config);
	json_object_set_new(result, "pid", json_integer(getpid()));
	if (!keeper_ask_number(sw->keeper_fd, KEEPER_COUNT_REFUSED, &refused, reterr)) {
		json_object_set_new(result, "devices_refused", json_integer(refused));
	}
	json_object_set_new(result, "cores", json_integer(sw->loop_count));
	json_object_set_new(result, "uptime_ms",
			    json_integer((json_int_t)((loop_now_ns() - sw->started_ns) / 1000000)));
	return 0;
}

static bool is_active(const struct sw *sw, uint16_t port)
{
	const struct policy *policy = vswitch_policy(sw->vswitch);
	uint8_t active = policy->team.active;

	if (!policy->has_team) {
		return sw_wires_link(sw, port);
	}
	if (policy->team.mode == TEAM_HASH) {
		return sw_wires_link(sw, port);
	}
	return active < policy->team.member_count && policy->team.members[active].uplink == port;
}

static int list_uplinks(struct sw *sw, const struct json_t *request, struct json_t *result,
			struct diag *reterr)
{
	json_t *list = json_array();

	(void)request;
	(void)reterr;
	for (unsigned int i = 0; i < sw->config->lists[SW_LIST_UPLINKS].count; i++) {
		const struct sw_uplink *uplink = sw_list_at(sw->config, SW_LIST_UPLINKS, i);
		const struct sw_wire *wire = sw_wire_at(sw, uplink->number);
		json_t *json = json_object();

		sw_object_build(sw_lists[SW_LIST_UPLINKS].table, uplink, true, json);
		json_object_set_new(json, "kind",
				    json_string(wire ? net_kind(wire->ends[0].net) : "not open"));
		json_object_set_new(json, "why", json_string(wire ? wire->why.text : ""));
		json_object_set_new(json, "link", json_string(wire && wire->is_up ? "up" : "down"));
		json_object_set_new(json, "active", json_boolean(is_active(sw, uplink->number)));
		json_array_append_new(list, json);
	}
	json_object_set_new(result, "uplinks", list);
	return 0;
}

/* 0: result is the answer; a negative errno with a sentence. */
typedef int look_fn(struct sw *sw, const struct json_t *request, struct json_t *result,
		    struct diag *reterr);

static const struct look {
	const char *name, *help;
	look_fn *fn;
} looks[] = {
	{ "show", "the switch: settings, and what runs", show },
	{ "stats", "frames and bytes of each port, and what was dropped: port=", sw_show_stats },
	{ "acl list", "all rules, and what they have counted: port=", sw_show_rules },
	{ "acl zero", "their counters begin at 0 again: port=, rule=", sw_zero_rules },
	{ "fdb show", "which address is behind which port: port=, vlan=", sw_show_fdb },
	{ "fdb flush", "forgets what was learned: port=", sw_flush_fdb },
	{ "groups", "who is in which multicast group", sw_show_groups },
	{ "flows", "connections of stateful rules: port=", sw_show_flows },
	{ "uplink list", "all uplinks", list_uplinks },
	{ "nat show", "address translation: settings, whether it runs, counters", sw_nat_show },
	{ "nat leases", "which client has which address", sw_nat_leases },
	{ "ext list", "extensions: connected or configured, and how they do", sw_show_exts },
};

/* Only verbs of the table come here. */
static const struct look *find_look(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(looks); i++) {
		if (strcmp(looks[i].name, name) == 0) {
			return &looks[i];
		}
	}
	check(false);
}

static void on_look(void *ctx, const struct json_t *request, struct rpc_reply *reply)
{
	const struct look *look = find_look(json_string_value(json_object_get(request, "verb")));
	json_t *result = json_object();
	struct diag diag = { .text = "no memory" };

	if (!result || look->fn(ctx, request, result, &diag)) {
		json_decref(result);
		rpc_reply_error(reply, "%s", diag.text);
	} else {
		rpc_reply_ok_take(reply, result);
	}
}

/* ---- ends --------------------------------------------------------------------------------------- */

/* threads= of an upgrade: into the configuration, for the next process. */
static int set_threads(struct sw *sw, json_t *threads, struct diag *reterr)
{
	json_t *request = json_pack("{s:O}", "threads", threads), *result = NULL;
	struct sw_config *changed = NULL;
	int err = request ? sw_change(sw->config, "set", request, &changed, &result, reterr)
			  : diag_set(reterr, -ENOMEM, "no memory");

	json_decref(request);
	json_decref(result);
	return err ? err : sw_apply(sw, changed, reterr);
}

static void on_upgrade(void *ctx, const struct json_t *request, struct rpc_reply *reply)
{
	struct sw *sw = ctx;
	json_t *threads = json_object_get(request, "threads");
	struct diag diag;

	if (threads && sw->ending == SW_END_NONE && set_threads(sw, threads, &diag)) {
		rpc_reply_error(reply, "%s", diag.text);
		return;
	}
	sw_end(sw, SW_END_UPGRADE, reply);
}

static void on_stop(void *ctx, const struct json_t *request, struct rpc_reply *reply)
{
	(void)request;
	sw_end(ctx, SW_END_STOP, reply);
}

/* ---- the table ---------------------------------------------------------------------------------- */

static const struct rpc_verb enders[] = {
	{ "upgrade", "starts the program anew, from its file: threads=", on_upgrade },
	{ "stop", "ends the switch; its configuration stays", on_stop },
};

int sw_verbs_create(struct sw *sw, struct diag *reterr)
{
	struct rpc_verb *verb;
	int err;

	sw->verb_count = ARRAY_SIZE(looks) + ARRAY_SIZE(enders) + sw_change_verb_count;
	sw->verbs = verb = fault_alloc(sw->verb_count, sizeof(*sw->verbs));
	if (!sw->verbs) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	for (size_t i = 0; i < ARRAY_SIZE(looks); i++) {
		*verb++ = (struct rpc_verb){ looks[i].name, looks[i].help, on_look };
	}
	for (size_t i = 0; i < ARRAY_SIZE(enders); i++) {
		*verb++ = enders[i];
	}
	for (size_t i = 0; i < sw_change_verb_count; i++) {
		*verb++ = (struct rpc_verb){ sw_change_verbs[i].name, sw_change_verbs[i].help,
					     on_change };
	}
	err = rpc_server_create_listening(sw->control, sw->listen_ctl, sw->verbs, sw->verb_count,
					  sw, &sw->rpc, reterr);
	if (!err) {
		sw->listen_ctl = -1;
	}
	return err;
}

void sw_verbs_destroy(struct sw *sw)
{
	rpc_server_destroy(sw->rpc);
	sw->rpc = NULL;
	free(sw->verbs);
}
