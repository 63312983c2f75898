/* SPDX-License-Identifier: MIT */
/* What the cores know: addresses, groups, flows, counters. Each core has all of it: the first is asked. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "switchd/sw_internal.h"
#include "vswitch/core.h"
#include "vswitch/drop.h"
#include "vswitch/fdb.h"
#include "vswitch/flow.h"
#include "vswitch/mcast.h"
#include "vswitch/stats.h"

#define SHOWN_MAX 16384U /* of one table: an answer has an end */

/* What a verb asks each core for. */
struct asking {
	struct sw *sw;
	json_t *list;
	int port; /* -1: all */
	int vlan;
	const struct sw_config *before;
};

/* port=NAME of a request as a number, -1 without one. -EINVAL with a sentence. */
static int read_port(const struct sw *sw, const json_t *request, int *ret, struct diag *reterr)
{
	const json_t *value = json_object_get(request, "port");
	const struct sw_uplink *uplink;
	char name[SW_NAME_BYTES];

	*ret = -1;
	if (!value) {
		return 0;
	}
	if (!sw_json_text(value, name, sizeof(name))) {
		return diag_set(reterr, -EINVAL, "port is a name");
	}
	uplink = sw_uplink_find(sw->config, name);
	*ret = uplink ? uplink->number : sw_policy_port(sw->config, name);
	return *ret < 0 ? diag_set(reterr, -EINVAL, "there is no port \"%s\": port list shows them",
				   name)
			: 0;
}

static const char *name_of(const struct sw *sw, uint16_t port)
{
	const char *name = vswitch_port_name(sw->vswitch, port);

	return name ? name : "?";
}

static void mac_text(const uint8_t mac[6], char ret[18])
{
	snprintf(ret, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
}

/* ---- addresses ---------------------------------------------------------------------------------- */

static void show_fdb(struct core *core, void *arg)
{
	static const char *const kinds[] = { "-", "learned", "static", "own" };
	struct asking *asking = arg;
	uint32_t cursor = 0;
	struct fdb_entry entry;
	char mac[18];

	if (core_index(core) != 0) {
		return;
	}
	while (json_array_size(asking->list) < SHOWN_MAX &&
	       fdb_next(core_fdb(core), &cursor, core_now_s(core), &entry)) {
		if ((asking->port >= 0 && entry.port != asking->port) ||
		    (asking->vlan >= 0 && entry.vlan != asking->vlan)) {
			continue;
		}
		mac_text(entry.mac, mac);
		json_array_append_new(asking->list,
				      json_pack("{s:s, s:i, s:s, s:s, s:I}", "mac", mac, "vlan",
						entry.vlan, "port", name_of(asking->sw, entry.port),
						"kind", kinds[entry.kind & 3], "idle",
						(json_int_t)entry.idle_s));
	}
}

int sw_show_fdb(struct sw *sw, const struct json_t *request, struct json_t *result,
		struct diag *reterr)
{
	const json_t *vlan = json_object_get(request, "vlan");
	struct asking asking = { .sw = sw, .vlan = -1 };
	int err = read_port(sw, request, &asking.port, reterr);

	if (err) {
		return err;
	}
	if (vlan && (!json_is_integer(vlan) || json_integer_value(vlan) < 0 ||
		     json_integer_value(vlan) > SW_VLAN_MAX)) {
		return diag_set(reterr, -EINVAL, "vlan is a number from 0 to %u", SW_VLAN_MAX);
	}
	asking.vlan = vlan ? (int)json_integer_value(vlan) : -1;
	asking.list = json_array();
	vswitch_on_cores(sw->vswitch, show_fdb, &asking);
	json_object_set_new(result, "fdb", asking.list);
	return 0;
}

static void flush_fdb(struct core *core, void *arg)
{
	const struct asking *asking = arg;

	if (asking->port >= 0) {
		fdb_flush_port(core_fdb(core), (uint16_t)asking->port, false);
	} else {
		fdb_flush(core_fdb(core));
	}
}

int sw_flush_fdb(struct sw *sw, const struct json_t *request, struct json_t *result,
		 struct diag *reterr)
{
	struct asking asking = { .sw = sw };
	int err = read_port(sw, request, &asking.port, reterr);

	(void)result;
	if (!err) {
		vswitch_on_cores(sw->vswitch, flush_fdb, &asking);
	}
	return err;
}

static void set_statics(struct core *core, void *arg)
{
	const struct asking *asking = arg;
	const struct sw_config *config = asking->sw->config;
	const struct sw_list *old = asking->before ? &asking->before->lists[SW_LIST_STATICS] : NULL;

	for (unsigned int i = 0; old && i < old->count; i++) {
		const struct sw_static *entry = sw_list_at(asking->before, SW_LIST_STATICS, i);

		(void)fdb_remove(core_fdb(core), entry->mac.bytes, (uint16_t)entry->vlan);
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_STATICS].count; i++) {
		const struct sw_static *entry = sw_list_at(config, SW_LIST_STATICS, i);
		int port = sw_policy_port(config, entry->port);

		if (port >= 0) {
			(void)!fdb_set(core_fdb(core), entry->mac.bytes, (uint16_t)entry->vlan,
				       (uint16_t)port, FDB_STATIC, core_now_s(core));
		}
	}
}

void sw_set_statics(struct sw *sw, const struct sw_config *before)
{
	struct asking asking = { .sw = sw, .before = before };

	vswitch_on_cores(sw->vswitch, set_statics, &asking);
}

/* ---- groups ------------------------------------------------------------------------------------- */

static void ports_text(const struct sw *sw, const port_set *ports, char *ret, size_t bytes)
{
	size_t length = 0;

	ret[0] = '\0';
	for (uint16_t port = 0; port < VSWITCH_PORTS_MAX; port++) {
		if (port_set_has(ports, port) && length < bytes) {
			int n = snprintf(ret + length, bytes - length, "%s%s", length ? "," : "",
					 name_of(sw, port));

			length += n > 0 ? (size_t)n : 0;
		}
	}
}

static void show_groups(struct core *core, void *arg)
{
	static const uint8_t none[6];
	struct asking *asking = arg;
	uint32_t cursor = 0;
	struct mcast_entry entry;
	char mac[18], ports[1024];

	if (core_index(core) != 0) {
		return;
	}
	while (mcast_next(core_mcast(core), &cursor, core_now_s(core), &entry)) {
		mac_text(entry.mac, mac);
		ports_text(asking->sw, &entry.ports, ports, sizeof(ports));
		json_array_append_new(asking->list, json_pack("{s:s, s:i, s:s, s:I}", "group",
							      memcmp(entry.mac, none, 6) != 0 ? mac
							      : entry.is_v6 ? "routers (IPv6)"
									    : "routers (IPv4)",
							      "vlan", entry.vlan, "ports", ports,
							      "left", (json_int_t)entry.left_s));
	}
}

int sw_show_groups(struct sw *sw, const struct json_t *request, struct json_t *result,
		   struct diag *reterr)
{
	struct asking asking = { .sw = sw, .list = json_array() };

	(void)request;
	(void)reterr;
	vswitch_on_cores(sw->vswitch, show_groups, &asking);
	json_object_set_new(result, "groups", asking.list);
	return 0;
}

/* ---- flows -------------------------------------------------------------------------------------- */

static void ip_text(const struct vframe_ip *ip, char ret[SW_ADDRESS_BYTES])
{
	struct sw_address address;

	bytes_put_be64(address.bytes, ip->hi);
	bytes_put_be64(address.bytes + 8, ip->lo);
	sw_address_build(&address, ret);
}

static void show_flows(struct core *core, void *arg)
{
	static const char *const states[] = { "new", "established", "closing" };
	struct asking *asking = arg;
	const struct flow *flow;
	uint32_t cursor = 0;
	char local[SW_ADDRESS_BYTES], remote[SW_ADDRESS_BYTES];

	if (core_index(core) != 0) {
		return;
	}
	while (json_array_size(asking->list) < SHOWN_MAX &&
	       (flow = flow_next(core_flows(core), &cursor)) != NULL) {
		if (flow->key.is_pieces || (asking->port >= 0 && flow->key.port != asking->port)) {
			continue;
		}
		ip_text(&flow->key.local, local);
		ip_text(&flow->key.remote, remote);
		json_array_append_new(
			asking->list,
			json_pack("{s:s, s:i, s:s, s:i, s:s, s:i, s:s, s:I, s:I}", "port",
				  name_of(asking->sw, flow->key.port), "proto", flow->key.protocol,
				  "local", local, "local-port", flow->key.local_port, "remote",
				  remote, "remote-port", flow->key.remote_port, "state",
				  states[flow->state < 3 ? flow->state : 0], "left",
				  (json_int_t)flow_left_s(flow, core_now_s(core)), "rule",
				  (json_int_t)flow->rule));
	}
}

int sw_show_flows(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr)
{
	struct asking asking = { .sw = sw };
	int err = read_port(sw, request, &asking.port, reterr);

	if (err) {
		return err;
	}
	asking.list = json_array();
	vswitch_on_cores(sw->vswitch, show_flows, &asking);
	json_object_set_new(result, "flows", asking.list);
	return 0;
}

/* ---- counters ----------------------------------------------------------------------------------- */

static json_t *stats_of(const struct sw *sw, uint16_t port)
{
	struct port_stats stats;
	const struct sw_wire *wire = sw_wire_at(sw, port);
	json_t *drops = json_object(), *json;
	uint64_t lost = 0;

	vswitch_port_stats(sw->vswitch, port, &stats);
	for (unsigned int i = 0; i < DROP_CAUSE_COUNT; i++) {
		if (stats.drops[i]) {
			json_object_set_new(drops, drop_cause_name(i),
					    json_integer((json_int_t)stats.drops[i]));
			lost += stats.drops[i];
		}
	}
	json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "port", name_of(sw, port),
			 "sent_frames", (json_int_t)stats.sent_frames, "sent_bytes",
			 (json_int_t)stats.sent_bytes, "sent_large", (json_int_t)stats.sent_large,
			 "delivered_frames", (json_int_t)stats.delivered_frames, "delivered_bytes",
			 (json_int_t)stats.delivered_bytes, "delivered_large",
			 (json_int_t)stats.delivered_large, "waits", (json_int_t)stats.waits,
			 "dropped", (json_int_t)lost);
	json_object_set_new(json, "drops", drops);
	if (wire) {
		json_object_set_new(json, "kind", json_string(net_kind(wire->ends[0].net)));
	}
	return json;
}

static json_t *core_stats_of(const struct sw *sw, unsigned int core)
{
	struct core_stats stats;

	vswitch_core_stats(sw->vswitch, core, &stats);
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "core", (int)core,
			 "batches", (json_int_t)stats.batches, "frames", (json_int_t)stats.frames,
			 "plain_frames", (json_int_t)stats.plain_frames, "flooded",
			 (json_int_t)stats.flooded, "handed_over", (json_int_t)stats.handed_over,
			 "handed_lost", (json_int_t)stats.handed_lost, "lane_frames",
			 (json_int_t)stats.lane_frames, "news_told", (json_int_t)stats.news_told,
			 "news_lost", (json_int_t)stats.news_lost);
}

int sw_show_stats(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr)
{
	json_t *ports, *cores;
	int port, err = read_port(sw, request, &port, reterr);

	if (err) {
		return err;
	}
	ports = json_array();
	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		if (vswitch_port_name(sw->vswitch, n) && (port < 0 || port == n)) {
			json_array_append_new(ports, stats_of(sw, n));
		}
	}
	json_object_set_new(result, "ports", ports);
	cores = json_array();
	for (unsigned int i = 0; port < 0 && i < vswitch_cores(sw->vswitch); i++) {
		json_array_append_new(cores, core_stats_of(sw, i));
	}
	if (port < 0) {
		json_object_set_new(result, "cores", cores);
	} else {
		json_decref(cores);
	}
	return 0;
}
