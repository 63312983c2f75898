/* SPDX-License-Identifier: MIT */
/*
 * NAT's process, as the data process sees it: a wire on the first core's loop, and words (natd.h) on the
 * control loop. When it has gone, the wire's link is down until the keeper has another one.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "net/pipe.h"
#include "switchd/natd.h"
#include "switchd/sw_internal.h"
#include "switchd/sw_nat.h"
#include "vswitch/core.h"

/* How often it is looked for, and how long it has to answer: the control loop stands still meanwhile. */
#define LOOK_NS    (100ULL * 1000 * 1000)
#define SILENT_NS  (5ULL * 1000 * 1000 * 1000)
#define TIMEOUT_MS 2000
#define WHO        "NAT's process"

static const struct sw_wire_end *nat_end(const struct sw *sw)
{
	const struct sw_wire *wire = sw_wire_at(sw, SW_PORT_NAT);

	return wire && wire->is_nat ? &wire->ends[0] : NULL;
}

/* ---- what is said ------------------------------------------------------------------------------- */

/* As sw->config says. */
static int configure(const struct sw *sw, int nat_fd, struct diag *reterr)
{
	auto_close int fd = sw_config_file(sw->config, reterr);
	struct keeper_message message = { .type = NATD_CONFIGURE };

	return fd < 0 ? fd
		      : keeper_converse(nat_fd, WHO, TIMEOUT_MS, &message, &fd, 1, NULL, NULL,
					reterr);
}

int sw_nat_connect(struct sw *sw, int *ret_fd, struct diag *reterr)
{
	int fds[KEEPER_FDS_MAX], err;
	unsigned int count = 0;

	err = keeper_call(sw->keeper_fd, KEEPER_OPEN_NAT, NULL, 0, NULL, 0, fds, &count, reterr);
	if (err) {
		return err;
	}
	err = count == 2 ? configure(sw, fds[1], reterr)
			 : diag_set(reterr, -EPROTO, "the keeper of this switch gave no NAT");
	if (err) {
		close_fds(fds, count);
		return err;
	}
	sw_nat_disconnect(sw);
	sw->nat_fd = fds[1];
	sw->nat_why.text[0] = '\0';
	*ret_fd = fds[0];
	return 0;
}

void sw_nat_disconnect(struct sw *sw)
{
	if (sw->nat_fd >= 0) {
		close(sw->nat_fd);
		sw->nat_fd = -1;
	}
}

int sw_nat_change(struct sw *sw, const struct sw_config *before, struct diag *reterr)
{
	struct sw_config *now = sw->config;
	struct diag ignored;
	int err;

	if (sw->nat_fd < 0 || !now->nat.on || !before->nat.on) {
		return 0; /* who is found later is told then */
	}
	err = configure(sw, sw->nat_fd, reterr);
	if (err) {
		/* It has taken back what it could; its word may have been lost on the way. */
		sw->config = (struct sw_config *)(uintptr_t)before;
		(void)!configure(sw, sw->nat_fd, &ignored);
		sw->config = now;
	}
	return err;
}

/* ---- the wire ----------------------------------------------------------------------------------- */

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

/* Behind which port a DHCP client is; the host's may have as many addresses as there are. */
static uint16_t label(void *ctx, const uint8_t mac[NET_MAC_BYTES])
{
	const struct sw *sw = ctx;
	int port = core_find_port(sw->first_core, mac, 0);

	if (port < 0) {
		return NATD_LABEL_UNKNOWN;
	}
	_Static_assert(NATD_LABEL_UNKNOWN < SW_PORT_FIRST, "labels and ports are apart");
	return port < SW_PORT_FIRST ? NATD_LABEL_HOST : (uint16_t)port;
}

int sw_nat_make(struct sw *sw, struct loop *loop, int fd_take, struct net **ret,
		struct diag *reterr)
{
	const struct net_pipe_config config = { .fd_take = fd_take,
						.label = label,
						.ctx = sw,
						.told = sw->control,
						.gone = &sw->nat_gone };

	return net_pipe_create(loop, &config, ret, reterr);
}

/* ---- one that has gone -------------------------------------------------------------------------- */

struct replacing {
	struct net *net;
	int fd, err;
};

static void replace_on_loop(void *arg)
{
	struct replacing *replacing = arg;

	replacing->err = net_pipe_replace(replacing->net, replacing->fd);
}

/* Said once for each reason: the keeper says how often it has begun. */
void sw_nat_look_again(struct sw *sw, int err, const struct diag *why)
{
	if (strcmp(sw->nat_why.text, why->text) != 0) {
		log_error(SW_AREA, "%s", why->text);
	}
	sw->nat_why = *why;
	loop_timer_arm(&sw->nat_timer, err == -ETIMEDOUT ? SILENT_NS : LOOK_NS);
}

static void on_nat_timer(struct loop_timer *timer)
{
	struct sw *sw = container_of(timer, struct sw, nat_timer);
	const struct sw_wire_end *end = nat_end(sw);
	struct replacing replacing = { .net = end ? end->net : NULL };
	struct diag diag;
	int err;

	if (sw->ending != SW_END_NONE || !sw->config->nat.on) {
		return;
	}
	if (!end) {
		sw_wires_open_nat(sw);
		return;
	}
	err = sw_nat_connect(sw, &replacing.fd, &diag);
	if (!err) {
		loop_call(end->loop, replace_on_loop, &replacing);
		err = replacing.err ? diag_set(&diag, replacing.err, "cannot reach " WHO ": %s",
					       strerror(-replacing.err))
				    : 0;
	}
	if (err) {
		sw_nat_look_again(sw, err, &diag);
	}
}

static void on_nat_gone(struct loop_work *work)
{
	struct sw *sw = container_of(work, struct sw, nat_gone);

	sw_nat_disconnect(sw);
	if (sw->ending == SW_END_NONE && sw->config->nat.on) {
		diag_set(&sw->nat_why, 0, WHO " has ended");
		loop_timer_arm(&sw->nat_timer, LOOK_NS);
	}
}

void sw_nat_init(struct sw *sw)
{
	struct finding finding = { NULL };

	vswitch_on_cores(sw->vswitch, find_first, &finding);
	sw->first_core = finding.first;
	sw->nat_fd = -1;
	loop_work_init(&sw->nat_gone, on_nat_gone);
	loop_timer_init(&sw->nat_timer, sw->control, on_nat_timer);
}

void sw_nat_end(struct sw *sw)
{
	loop_timer_cancel(&sw->nat_timer);
}

/* ---- for people --------------------------------------------------------------------------------- */

/* What it answers: whole entries of so many bytes. Their contents are not to be believed. */
static int ask(const struct sw *sw, enum natd_type type, size_t entry_bytes, char **ret,
	       size_t *ret_count, struct diag *reterr)
{
	struct keeper_message message = { .type = type };
	int fds[KEEPER_FDS_MAX], err;
	unsigned int count = 0;
	size_t bytes = 0;

	if (sw->nat_fd < 0) {
		return diag_set(reterr, -EAGAIN, "NAT does not run: %.400s", sw->nat_why.text);
	}
	err = keeper_converse(sw->nat_fd, WHO, TIMEOUT_MS, &message, NULL, 0, fds, &count, reterr);
	if (err) {
		return err;
	}
	err = count == 1 ? keeper_copy_of(fds[0], NATD_ANSWER_BYTES_MAX, ret, &bytes) : -EPROTO;
	close_fds(fds, count);
	*ret_count = bytes / entry_bytes;
	return err ? diag_set(reterr, err, WHO " gives no answer: %s", strerror(-err)) : 0;
}

/* Its text ends, and is printable: it is on its way to a terminal. */
static void clean(char *text, size_t bytes)
{
	text[bytes - 1] = '\0';
	for (; *text; text++) {
		if (*text < ' ' || *text > '~') {
			*text = '?';
		}
	}
}

int sw_nat_leases(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr)
{
	auto_free char *bytes = NULL;
	json_t *list;
	char ip[16], mac[18];
	size_t count = 0;
	int err;

	(void)request;
	if (!sw->config->nat.on) {
		return diag_set(reterr, -ENOENT, "there is no NAT: nat set %s on=on", sw->name);
	}
	err = ask(sw, NATD_LEASES, sizeof(struct natd_lease), &bytes, &count, reterr);
	if (err) {
		return err;
	}
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		struct natd_lease lease;
		const uint8_t *m = lease.mac;

		memcpy(&lease, bytes + i * sizeof(lease), sizeof(lease));
		clean(lease.name, sizeof(lease.name));
		sw_ipv4_text(lease.address, ip);
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:b}", "ip", ip, "mac",
						      mac, "name", lease.name, "left",
						      (json_int_t)lease.left_s, "reserved",
						      lease.is_static != 0));
	}
	json_object_set_new(result, "leases", list);
	return 0;
}

static json_t *list_facts(const struct sw *sw)
{
	auto_free char *bytes = NULL;
	json_t *facts = json_object();
	size_t count = 0;
	struct diag ignored;

	if (ask(sw, NATD_FACTS, sizeof(struct natd_fact), &bytes, &count, &ignored)) {
		return facts;
	}
	for (size_t i = 0; i < count; i++) {
		struct natd_fact fact;

		memcpy(&fact, bytes + i * sizeof(fact), sizeof(fact));
		clean(fact.name, sizeof(fact.name));
		json_object_set_new(facts, fact.name, json_integer((json_int_t)fact.value));
	}
	return facts;
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
	struct net_nat_network network;
	int err = sw_nat_network(sw->config, &network, reterr);
	bool runs = sw->nat_fd >= 0;

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
	json_object_set_new(result, "state",
			    json_string(!sw->config->nat.on ? "off"
					: runs              ? "running"
							    : "failed"));
	if (sw->config->nat.on && !runs) {
		json_object_set_new(result, "why", json_string(sw->nat_why.text));
	}
	if (runs) {
		json_object_set_new(result, "counters", list_facts(sw));
	}
	return 0;
}
