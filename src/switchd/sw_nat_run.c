/* SPDX-License-Identifier: MIT */
/*
 * The NAT that runs: one back end for all guests, on the first core's loop. Forwards and reservations change
 * in place; anything else makes it anew (sw_wires.c), and then its leases are those of before.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "state/load.h"
#include "state/save.h"
#include "switchd/sw_internal.h"
#include "switchd/sw_nat.h"
#include "vswitch/core.h"

/* Guests that all ask at once are one change. */
#define KEEP_DELAY_NS  (100ULL * 1000 * 1000)

/* Behind which port a guest is whose address no core has learned: all of them together are one place. */
#define ORIGIN_UNKNOWN UINT32_MAX

static const struct sw_wire_end *nat_end(const struct sw *sw)
{
	const struct sw_wire *wire = sw_wire_at(sw, SW_PORT_NAT);

	return wire && wire->is_nat ? &wire->ends[0] : NULL;
}

/* ---- making it: on the first core's loop -------------------------------------------------------- */

struct finding {
	struct core *first;
};

static void find_first(struct core *core, void *arg)
{
	struct finding *finding = arg;

	if (core_index(core) == 0) {
		finding->first = core;
	}
}

/* The port of a guest; the host's and what is behind uplinks may have as many addresses as there are. */
static uint32_t origin_of(void *ctx, const uint8_t mac[NET_MAC_BYTES])
{
	const struct sw *sw = ctx;
	int port = core_find_port(sw->first_core, mac, 0);

	if (port < 0) {
		return ORIGIN_UNKNOWN;
	}
	return port < SW_PORT_FIRST ? 0 : (uint32_t)port;
}

static int add_reservation(struct dhcp *dhcp, const struct sw_reservation *one, struct diag *reterr)
{
	struct dhcp_static entry = { .address = one->address };

	memcpy(entry.mac, one->mac.bytes, sizeof(entry.mac));
	return dhcp_static_add(dhcp, &entry, net_nat_now_s(), reterr);
}

/* Reservations first: who has an address by one has it, and no lease of before. */
static int fill(struct sw *sw, struct dhcp *dhcp, struct diag *reterr)
{
	struct load load;
	int err = 0;

	for (unsigned int i = 0; !err && i < sw->config->lists[SW_LIST_RESERVATIONS].count; i++) {
		err = add_reservation(dhcp, sw_list_at(sw->config, SW_LIST_RESERVATIONS, i),
				      reterr);
	}
	if (!err && sw->leases) {
		load_init(&load, sw->leases, sw->lease_bytes);
		dhcp_load(dhcp, &load, net_nat_now_s());
		if (load_result(&load) != 0) {
			log_warn(SW_AREA, "some leases of before make no sense and are forgotten");
		}
	}
	return err;
}

int sw_nat_make(struct sw *sw, struct loop *loop, struct net **ret, struct diag *reterr)
{
	struct net_forward forwards[SW_FORWARDS_MAX];
	struct net_nat_network network;
	struct net_nat_config nat = { .network = &network,
				      .forwards = forwards,
				      .restricted = sw->config->nat.restricted };
	int err = sw_nat_network(sw->config, &network, reterr);

	if (err) {
		return err;
	}
	nat.forward_count = sw_nat_forwards(sw->config, forwards);
	network.origin = origin_of;
	network.origin_ctx = sw;
	network.told = sw->control;
	network.leases_changed = &sw->leases_changed;
	err = net_nat_create(loop, &nat, ret, reterr);
	if (!err) {
		err = fill(sw, net_nat_dhcp(*ret), reterr);
		if (err) {
			net_destroy(*ret);
			*ret = NULL;
		}
	}
	return err;
}

/* ---- changing it -------------------------------------------------------------------------------- */

struct changing {
	struct net *net;
	const struct sw_config *from, *to;
	struct diag *reterr;
	int err;
};

static bool has_forward(const struct net_forward *list, unsigned int count,
			const struct net_forward *one)
{
	for (unsigned int i = 0; i < count; i++) {
		if (list[i].udp == one->udp && list[i].host_address == one->host_address &&
		    list[i].host_port == one->host_port &&
		    list[i].guest_address == one->guest_address &&
		    list[i].guest_port == one->guest_port) {
			return true;
		}
	}
	return false;
}

/* Old ones first: a new one may be for the same port of the host. */
static int change_forwards(const struct changing *c)
{
	struct net_forward old[SW_FORWARDS_MAX], new[SW_FORWARDS_MAX];
	const unsigned int olds = sw_nat_forwards(c->from, old), news = sw_nat_forwards(c->to, new);
	int err = 0;

	for (unsigned int i = 0; i < olds; i++) {
		if (!has_forward(new, news, &old[i])) {
			(void)!net_nat_forward_remove(c->net, &old[i]);
		}
	}
	for (unsigned int i = 0; !err && i < news; i++) {
		if (!has_forward(old, olds, &new[i])) {
			err = net_nat_forward_add(c->net, &new[i], c->reterr);
		}
	}
	return err;
}

static bool has_reservation(const struct sw_config *config, const struct sw_reservation *one)
{
	for (unsigned int i = 0; i < config->lists[SW_LIST_RESERVATIONS].count; i++) {
		const struct sw_reservation *other = sw_list_at(config, SW_LIST_RESERVATIONS, i);

		if (memcmp(&other->mac, &one->mac, sizeof(one->mac)) == 0 &&
		    other->address == one->address) {
			return true;
		}
	}
	return false;
}

static int change_reservations(const struct changing *c)
{
	struct dhcp *dhcp = net_nat_dhcp(c->net);
	int err = 0;

	for (unsigned int i = 0; i < c->from->lists[SW_LIST_RESERVATIONS].count; i++) {
		const struct sw_reservation *one = sw_list_at(c->from, SW_LIST_RESERVATIONS, i);

		if (!has_reservation(c->to, one)) {
			(void)!dhcp_static_remove(dhcp, one->mac.bytes);
		}
	}
	for (unsigned int i = 0; !err && i < c->to->lists[SW_LIST_RESERVATIONS].count; i++) {
		const struct sw_reservation *one = sw_list_at(c->to, SW_LIST_RESERVATIONS, i);

		if (!has_reservation(c->from, one)) {
			err = add_reservation(dhcp, one, c->reterr);
		}
	}
	return err;
}

static void change_on_loop(void *arg)
{
	struct changing *c = arg;
	struct diag ignored;

	c->err = change_forwards(c);
	c->err = c->err ? c->err : change_reservations(c);
	if (c->err) {
		struct changing back = { c->net, c->to, c->from, &ignored, 0 };

		if (change_forwards(&back) || change_reservations(&back)) {
			log_error(SW_AREA, "%s: %s", SW_NAT_NAME, ignored.text);
		}
	}
}

int sw_nat_change(struct sw *sw, const struct sw_config *before, struct diag *reterr)
{
	const struct sw_wire_end *end = nat_end(sw);
	struct changing changing = { .from = before, .to = sw->config, .reterr = reterr };

	if (!end || !sw->config->nat.on || !before->nat.on ||
	    sw_nat_signature(before) != sw_nat_signature(sw->config)) {
		return 0;
	}
	changing.net = end->net;
	loop_call(end->loop, change_on_loop, &changing);
	return changing.err;
}

/* ---- leases that are kept ----------------------------------------------------------------------- */

struct keeping {
	struct net *net;
	struct save *save;
};

static void save_on_loop(void *arg)
{
	const struct keeping *keeping = arg;

	dhcp_save(net_nat_dhcp(keeping->net), net_nat_now_s(), keeping->save);
}

static void hand_to_keeper(struct sw *sw)
{
	auto_close int fd = memfd_create("leases", MFD_CLOEXEC);
	struct diag diag;

	if (fd < 0 || write(fd, sw->leases, sw->lease_bytes) != (ssize_t)sw->lease_bytes) {
		log_warn(SW_AREA, "leases cannot be kept: %s", strerror(errno));
		return;
	}
	if (keeper_call(sw->keeper_fd, KEEPER_SAVE_LEASES, NULL, 0, &fd, 1, NULL, NULL, &diag)) {
		log_warn(SW_AREA, "leases cannot be kept: %s", diag.text);
	}
}

void sw_nat_keep(struct sw *sw)
{
	const struct sw_wire_end *end = nat_end(sw);
	const uint8_t *bytes;
	struct save save;
	struct keeping keeping = { end ? end->net : NULL, &save };
	size_t length = 0;
	char *copy;

	if (!end) {
		return;
	}
	loop_timer_cancel(&sw->leases_timer);
	save_init(&save);
	loop_call(end->loop, save_on_loop, &keeping);
	copy = save_finish(&save, &bytes, &length) ? NULL : malloc(length + 1);
	if (copy) {
		memcpy(copy, bytes, length);
		free(sw->leases);
		sw->leases = copy;
		sw->lease_bytes = length;
		hand_to_keeper(sw);
	}
	save_fini(&save);
}

static void on_leases_timer(struct loop_timer *timer)
{
	sw_nat_keep(container_of(timer, struct sw, leases_timer));
}

static void on_leases_changed(struct loop_work *work)
{
	struct sw *sw = container_of(work, struct sw, leases_changed);

	/* A timer that runs goes on: a storm of changes is kept ten times a second. */
	if (!loop_timer_is_armed(&sw->leases_timer)) {
		loop_timer_arm(&sw->leases_timer, KEEP_DELAY_NS);
	}
}

void sw_nat_init(struct sw *sw)
{
	struct finding finding = { NULL };

	vswitch_on_cores(sw->vswitch, find_first, &finding);
	sw->first_core = finding.first;
	loop_work_init(&sw->leases_changed, on_leases_changed);
	loop_timer_init(&sw->leases_timer, sw->control, on_leases_timer);
}

/* ---- for people --------------------------------------------------------------------------------- */

struct listing {
	struct net *net;
	json_t *list;
};

static void list_on_loop(void *arg)
{
	const struct listing *listing = arg;
	struct dhcp_lease lease;
	uint32_t cursor = 0;
	char ip[16], mac[18];

	while (net_nat_leases(listing->net, &cursor, &lease)) {
		const uint8_t *m = lease.mac;

		sw_ipv4_text(lease.address, ip);
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
		json_array_append_new(listing->list, json_pack("{s:s, s:s, s:s, s:I, s:b}", "ip",
							       ip, "mac", mac, "name", lease.name,
							       "left", (json_int_t)lease.left_s,
							       "reserved", lease.is_static));
	}
}

int sw_nat_leases(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr)
{
	const struct sw_wire_end *end = nat_end(sw);
	struct listing listing = { .net = end ? end->net : NULL };

	(void)request;
	if (!end) {
		return diag_set(reterr, -ENOENT, "there is no NAT: nat set %s on=on", sw->name);
	}
	listing.list = json_array();
	loop_call(end->loop, list_on_loop, &listing);
	json_object_set_new(result, "leases", listing.list);
	return 0;
}

static void set_fact(void *ctx, const char *name, uint64_t value)
{
	json_object_set_new(ctx, name, json_integer((json_int_t)value));
}

static void facts_on_loop(void *arg)
{
	const struct listing *listing = arg;
	const struct net_counters *c = net_counters(listing->net);

	set_fact(listing->list, "sent_frames", c->sent_frames);
	set_fact(listing->list, "delivered_frames", c->delivered_frames);
	set_fact(listing->list, "send_lost", c->send_lost);
	net_facts(listing->net, set_fact, listing->list);
}

static void set_address(json_t *json, const char *name, uint32_t address)
{
	char text[16];

	sw_ipv4_text(address, text);
	json_object_set_new(json, name, json_string(text));
}

/* The settings as they have become, what runs, and what it counts. */
int sw_nat_show(struct sw *sw, const struct json_t *request, struct json_t *result,
		struct diag *reterr)
{
	const struct sw_wire_end *end = nat_end(sw);
	struct net_nat_network network;
	struct listing listing = { .net = end ? end->net : NULL };
	int err = sw_nat_network(sw->config, &network, reterr);

	(void)request;
	if (err) {
		return err;
	}
	sw_object_build(&sw_nat_table, &sw->config->nat, true, result);
	set_address(result, "gateway", network.gateway);
	set_address(result, "resolver", network.dns);
	set_address(result, "dns", network.resolver ? network.resolver : network.dns);
	set_address(result, "first", network.pool_first);
	set_address(result, "last", network.pool_last);
	json_object_set_new(result, "state", json_string(end ? "running" : "off"));
	if (!end && sw->config->nat.on) {
		json_object_set_new(result, "state", json_string("failed"));
		json_object_set_new(result, "why", json_string(sw->nat_why.text));
	}
	if (end) {
		listing.list = json_object();
		loop_call(end->loop, facts_on_loop, &listing);
		json_object_set_new(result, "counters", listing.list);
	}
	return 0;
}
