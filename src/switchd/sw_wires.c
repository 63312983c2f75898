/* SPDX-License-Identifier: MIT */
/*
 * The host's port, uplinks, the way to NAT: back ends of `net`, with an end on each core where they have several.
 *
 * A wire is opened at once, and closed end by end, the last one first: detach (on its loop), stop, destroy,
 * then the next.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/num.h"
#include "net/packet.h"
#include "net/tap.h"
#include "net/xdp.h"
#include "switchd/sw_internal.h"
#include "vswitch/port.h"

/* ---- opening ------------------------------------------------------------------------------------ */

/* What is made on the first core's loop. */
struct making {
	struct sw_wire *wire;
	enum sw_uplink_mode mode; /* not AUTO */
	int fds[KEEPER_FDS_MAX];
	int link_fd, memory_fd;
	struct diag *reterr;
	int err;
};

/* The sockets have their memory. The control loop waits for us: the keeper is ours to ask. */
static int bind_xdp(void *ctx, struct diag *reterr)
{
	const struct sw_wire *wire = ctx;

	return keeper_call(wire->sw->keeper_fd, KEEPER_BIND_XDP, wire->dev, 0, NULL, 0, NULL, NULL,
			   reterr);
}

static int make_first(struct making *making)
{
	struct sw_wire *wire = making->wire;
	struct net_tap_config tap = { .fds_take = making->fds,
				      .queues = wire->count,
				      .link_fd_take = making->link_fd };
	struct net_packet_config packet = { .name = wire->dev,
					    .fds_take = making->fds,
					    .ends = wire->count,
					    .link_fd_take = making->link_fd,
					    .told = wire->sw->control,
					    .returned = &wire->returned };

	struct net_xdp_config xdp = { .name = wire->dev,
				      .queues = wire->count,
				      .map_fd = -1,
				      .link_fd_take = making->link_fd,
				      .fds_take = making->fds,
				      .memory_fd_take = making->memory_fd,
				      .bind = bind_xdp,
				      .bind_ctx = wire };

	if (wire->is_nat) {
		return sw_nat_make(wire->sw, wire->ends[0].loop, making->fds[0], &wire->ends[0].net,
				   making->reterr);
	}
	if (making->mode == SW_UPLINK_XDP) {
		return net_xdp_create(wire->ends[0].loop, &xdp, &wire->ends[0].net, making->reterr);
	}
	if (making->mode == SW_UPLINK_TAP) {
		return net_tap_create(wire->ends[0].loop, &tap, &wire->ends[0].net, making->reterr);
	}
	return net_packet_create(wire->ends[0].loop, &packet, &wire->ends[0].net, making->reterr);
}

static void make_on_loop(void *arg)
{
	struct making *making = arg;
	struct sw_wire *wire = making->wire;

	making->err = make_first(making);
	for (unsigned int i = 1; !making->err && i < wire->count; i++) {
		making->err = net_twin(wire->ends[0].net, wire->ends[i].loop, &wire->ends[i].net);
		if (making->err) {
			diag_set(making->reterr, making->err, "cannot use %s on %u cores: %s",
				 wire->dev, wire->count, strerror(-making->err));
		}
	}
}

static void attach_on_loop(void *arg)
{
	struct sw_wire_end *end = arg;

	end->err = port_wire_attach(end->wire->sw->vswitch, end->wire->port, end->net, &end->end);
}

static void free_wire(struct sw_wire *wire)
{
	list_remove(&wire->link);
	loop_cancel(wire->sw->control, &wire->returned);
	free(wire);
}

static enum keeper_type request_for(enum sw_uplink_mode mode)
{
	return mode == SW_UPLINK_TAP   ? KEEPER_OPEN_TAP
	       : mode == SW_UPLINK_XDP ? KEEPER_OPEN_XDP
				       : KEEPER_OPEN_PACKET;
}

static int ask_keeper(struct sw_wire *wire, struct making *making)
{
	struct sw *sw = wire->sw;
	unsigned int count = 0;
	int err = keeper_call(sw->keeper_fd, KEEPER_OPEN_LINKS, NULL, 0, NULL, 0, making->fds,
			      &count, making->reterr);

	if (!err && count == 1) {
		making->link_fd = making->fds[0];
	}
	err = err ? err
		  : keeper_call(sw->keeper_fd, request_for(making->mode), wire->dev, wire->count,
				NULL, 0, making->fds, &count, making->reterr);
	if (!err && making->mode == SW_UPLINK_XDP && count >= 2 && count <= wire->count + 1) {
		/* an end for each queue of the device */
		wire->count = --count;
		making->memory_fd = making->fds[count];
	}
	if (!err && count != wire->count) {
		err = diag_set(making->reterr, -EPROTO, "the keeper of this switch gave no %s",
			       wire->dev);
	}
	if (err && making->link_fd >= 0) {
		close(making->link_fd);
	}
	return err;
}

/* ---- a device that is there again --------------------------------------------------------------- */

struct replacing {
	struct sw_wire *wire;
	int fds[KEEPER_FDS_MAX];
};

static void replace_on_loop(void *arg)
{
	const struct replacing *replacing = arg;

	net_packet_replace(replacing->wire->ends[0].net, replacing->fds);
}

/* Cores may neither open sockets nor bind them: the keeper does both, and they take their place. */
static void on_returned(struct loop_work *work)
{
	struct replacing replacing = { .wire = container_of(work, struct sw_wire, returned) };
	struct sw_wire *wire = replacing.wire;
	unsigned int count = 0;
	struct diag diag;
	int err;

	if (wire->is_closing || wire->sw->ending != SW_END_NONE) {
		return;
	}
	err = keeper_call(wire->sw->keeper_fd, KEEPER_OPEN_PACKET, wire->dev, wire->count, NULL, 0,
			  replacing.fds, &count, &diag);
	if (!err && count != wire->count) {
		close_fds(replacing.fds, count);
		err = diag_set(&diag, -EPROTO, "%s: the keeper gave %u sockets instead of %u",
			       wire->dev, count, wire->count);
	}
	if (!err) {
		loop_call(wire->ends[0].loop, replace_on_loop, &replacing);
	} else if (!wire->has_complained) {
		log_warn(SW_AREA, "cannot take the device again that has returned: %s", diag.text);
	}
	wire->has_complained = err != 0;
}

/* ---- the whole of it ---------------------------------------------------------------------------- */

/* The back end, and its twins on other cores. */
static int make_ends(struct sw_wire *wire, enum sw_uplink_mode mode, struct diag *reterr)
{
	struct making making = { .wire = wire, .mode = mode, .link_fd = -1, .reterr = reterr };
	int err;

	wire->count = wire->is_nat ? 1 : wire->sw->loop_count;
	wire->is_xdp = mode == SW_UPLINK_XDP;
	err = wire->is_nat ? sw_nat_connect(wire->sw, &making.fds[0], reterr)
			   : ask_keeper(wire, &making);
	if (!err) {
		loop_call(wire->ends[0].loop, make_on_loop, &making);
		err = making.err;
	}
	return err;
}

/* auto: AF_XDP, or packet sockets and a line that says why. */
static int make_best(struct sw_wire *wire, struct diag *reterr)
{
	if (wire->is_nat || wire->mode != SW_UPLINK_AUTO) {
		return make_ends(wire, wire->mode, reterr);
	}
	if (!make_ends(wire, SW_UPLINK_XDP, &wire->why)) {
		return 0;
	}
	if (wire->ends[0].net) {
		*reterr = wire->why;
		return -EIO;
	}
	log_warn(SW_AREA, "%s: packet sockets instead of AF_XDP: %s", wire->dev, wire->why.text);
	return make_ends(wire, SW_UPLINK_PACKET, reterr);
}

/* Closes end after end: see on_advance(). */
static void begin_close(struct sw_wire *wire)
{
	wire->is_closing = true;
	wire->closing = wire->count;
	loop_post(wire->sw->control, &wire->advance);
}

static int open_ends(struct sw_wire *wire, struct diag *reterr)
{
	const int ifindex = sw_uplinks_ifindex(wire->sw, wire->dev);
	int err = make_best(wire, reterr);

	wire->ifindex = wire->is_xdp ? ifindex : 0;
	if (err && !wire->ends[0].net) {
		free_wire(wire);
		return err;
	}
	for (unsigned int i = 0; !err && i < wire->count; i++) {
		loop_call(wire->ends[i].loop, attach_on_loop, &wire->ends[i]);
		err = wire->ends[i].err;
		if (err) {
			diag_set(reterr, err, "cannot plug %s in: %s", wire->dev, strerror(-err));
		}
	}
	if (err) {
		begin_close(wire);
	} else {
		loop_defer(wire->sw->control, &wire->sw->readopt);
		wire->is_up = net_link_is_up(wire->ends[0].net);
	}
	return err;
}

static void on_advance(struct loop_work *work);
static void on_detached(struct loop_work *work);
static void on_stopped(struct loop_work *work);

static int open_wire(struct sw *sw, uint16_t port, enum sw_uplink_mode mode, bool is_nat,
		     const char *dev, struct diag *reterr)
{
	struct sw_wire *wire = fault_alloc(1, sizeof(*wire));

	if (!wire) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	if (!vswitch_port_name(sw->vswitch, port) &&
	    vswitch_port_add(sw->vswitch, port, port == SW_PORT_HOST ? SW_HOST_NAME : dev)) {
		free(wire);
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	wire->sw = sw;
	wire->port = port;
	wire->mode = (uint8_t)mode;
	wire->is_nat = is_nat;
	snprintf(wire->dev, sizeof(wire->dev), "%s", dev);
	loop_work_init(&wire->advance, on_advance);
	loop_work_init(&wire->returned, on_returned);
	for (unsigned int i = 0; i < sw->loop_count; i++) {
		wire->ends[i].wire = wire;
		wire->ends[i].loop = sw->loops[i];
		loop_work_init(&wire->ends[i].detached, on_detached);
		loop_work_init(&wire->ends[i].stopped, on_stopped);
	}
	list_append(&sw->wires, &wire->link);
	return open_ends(wire, reterr);
}

/*
 * Whether it is what this mode asks for. One under AF_XDP is also what the other mode for that would
 * become: a second one could not have the device's queues.
 */
static bool serves(const struct sw_wire *wire, enum sw_uplink_mode mode)
{
	return wire->mode == mode ||
	       (wire->is_xdp && (mode == SW_UPLINK_AUTO || mode == SW_UPLINK_XDP));
}

static const struct sw_wire *find(const struct sw *sw, uint16_t port, const char *dev,
				  enum sw_uplink_mode mode)
{
	list_for_each (it, &sw->wires) {
		const struct sw_wire *wire = list_entry(it, struct sw_wire, link);

		if (!wire->is_closing && wire->port == port && serves(wire, mode) &&
		    strcmp(wire->dev, dev) == 0) {
			return wire;
		}
	}
	return NULL;
}

/* Also while it closes: there is one place for it. */
static bool has_nat(const struct sw *sw)
{
	list_for_each (it, &sw->wires) {
		if (list_entry(it, struct sw_wire, link)->is_nat) {
			return true;
		}
	}
	return false;
}

/* One of them, if it is named and not open. */
static int open_host_port(struct sw *sw, const struct sw_config *config, struct diag *reterr)
{
	const char *host = config->settings.host_port;

	return host[0] && !find(sw, SW_PORT_HOST, host, SW_UPLINK_TAP)
		       ? open_wire(sw, SW_PORT_HOST, SW_UPLINK_TAP, false, host, reterr)
		       : 0;
}

static int open_uplink(struct sw *sw, const struct sw_uplink *uplink, struct diag *reterr)
{
	return find(sw, uplink->number, uplink->dev, uplink->mode)
		       ? 0
		       : open_wire(sw, uplink->number, uplink->mode, false, uplink->dev, reterr);
}

static int open_nat(struct sw *sw, const struct sw_config *config, struct diag *reterr)
{
	int err = 0;

	if (config->nat.on && !has_nat(sw)) {
		err = open_wire(sw, SW_PORT_NAT, SW_UPLINK_AUTO, true, SW_NAT_NAME, reterr);
	}
	return err;
}

int sw_wires_open(struct sw *sw, const struct sw_config *config, struct diag *reterr)
{
	int err = open_host_port(sw, config, reterr);

	sw_uplinks_watch(sw, config);
	for (unsigned int i = 0; !err && i < config->lists[SW_LIST_UPLINKS].count; i++) {
		err = open_uplink(sw, sw_list_at(config, SW_LIST_UPLINKS, i), reterr);
	}
	return err ? err : open_nat(sw, config, reterr);
}

void sw_wires_open_nat(struct sw *sw)
{
	struct diag diag;
	int err = open_nat(sw, sw->config, &diag);

	if (err) {
		sw_nat_look_again(sw, err, &diag);
	}
}

void sw_wires_open_all(struct sw *sw)
{
	const struct sw_config *config = sw->config;
	struct diag diag;

	if (open_host_port(sw, config, &diag)) {
		log_error(SW_AREA, "%s", diag.text);
	}
	sw_uplinks_watch(sw, config);
	for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
		if (open_uplink(sw, sw_list_at(config, SW_LIST_UPLINKS, i), &diag)) {
			log_error(SW_AREA, "%s", diag.text);
		}
	}
	sw_wires_open_nat(sw);
}

/* Also while it closes: then it is opened when it has. */
static struct sw_wire *find_device(const struct sw *sw, const char *dev)
{
	list_for_each (it, &sw->wires) {
		struct sw_wire *wire = list_entry(it, struct sw_wire, link);

		if (!wire->is_nat && strcmp(wire->dev, dev) == 0) {
			return wire;
		}
	}
	return NULL;
}

void sw_wires_device_is_there(struct sw *sw, const char *dev, int ifindex)
{
	const struct sw_uplink *uplink = sw_uplink_find(sw->config, dev);
	struct sw_wire *wire = find_device(sw, dev);
	struct diag diag;

	if (!uplink || (wire && wire->is_closing)) {
		return;
	}
	if (!wire && open_uplink(sw, uplink, &diag)) {
		log_warn(SW_AREA, "%s", diag.text);
	} else if (wire && wire->is_xdp && wire->ifindex != ifindex) {
		begin_close(wire);
	}
}

/* ---- closing ------------------------------------------------------------------------------------ */

static void on_stopped(struct loop_work *work)
{
	struct sw_wire_end *end = container_of(work, struct sw_wire_end, stopped);

	loop_post(end->wire->sw->control, &end->wire->advance);
}

static void on_detached(struct loop_work *work)
{
	struct sw_wire_end *end = container_of(work, struct sw_wire_end, detached);

	end->end = NULL;
	net_stop(end->net, &end->stopped);
}

static void close_on_loop(void *arg)
{
	struct sw_wire_end *end = arg;

	if (end->end) {
		port_wire_detach(end->end, &end->detached);
	} else {
		net_stop(end->net, &end->stopped);
	}
}

static void destroy_on_loop(void *arg)
{
	struct sw_wire_end *end = arg;

	net_destroy(end->net);
	end->net = NULL;
}

/* The end behind has stopped: it is destroyed, and the one before is closed. */
static void on_advance(struct loop_work *work)
{
	struct sw_wire *wire = container_of(work, struct sw_wire, advance);
	struct sw *sw = wire->sw;

	if (wire->closing < wire->count && wire->ends[wire->closing].net) {
		loop_call(wire->ends[wire->closing].loop, destroy_on_loop,
			  &wire->ends[wire->closing]);
	}
	while (wire->closing > 0) {
		struct sw_wire_end *end = &wire->ends[--wire->closing];

		if (end->net) {
			loop_call(end->loop, close_on_loop, end);
			return;
		}
	}
	free_wire(wire);
	sw_forget_ports(sw);
	if (sw->ending == SW_END_NONE) {
		sw_wires_open_all(sw);
	}
}

static bool is_named(const struct sw_config *config, const struct sw_wire *wire)
{
	const struct sw_uplink *uplink = sw_uplink_find(config, wire->dev);

	if (wire->is_nat) {
		return config->nat.on;
	}
	if (wire->port == SW_PORT_HOST) {
		return strcmp(config->settings.host_port, wire->dev) == 0;
	}
	return uplink && uplink->number == wire->port && serves(wire, uplink->mode);
}

void sw_wires_close(struct sw *sw, const struct sw_config *config)
{
	struct diag diag;

	list_for_each_safe (it, &sw->wires) {
		struct sw_wire *wire = list_entry(it, struct sw_wire, link);

		if (wire->is_closing || is_named(config, wire)) {
			continue;
		}
		if (!wire->is_nat && (wire->mode == SW_UPLINK_TAP || wire->is_xdp) &&
		    keeper_call(sw->keeper_fd, wire->is_xdp ? KEEPER_CLOSE_XDP : KEEPER_CLOSE,
				wire->dev, 0, NULL, 0, NULL, NULL, &diag)) {
			log_warn(SW_AREA, "%s: %s", wire->dev, diag.text);
		}
		if (wire->is_nat) {
			sw_nat_disconnect(sw);
		}
		begin_close(wire);
	}
}

/* ---- facts -------------------------------------------------------------------------------------- */

const struct sw_wire *sw_wire_at(const struct sw *sw, uint16_t port)
{
	list_for_each (it, &sw->wires) {
		const struct sw_wire *wire = list_entry(it, struct sw_wire, link);

		if (!wire->is_closing && wire->port == port) {
			return wire;
		}
	}
	return NULL;
}

static void look_on_loop(void *arg)
{
	struct sw_wire *wire = arg;

	wire->is_up = net_link_is_up(wire->ends[0].net);
}

void sw_wire_look(struct sw_wire *wire)
{
	bool was_up = wire->is_up;

	loop_call(wire->ends[0].loop, look_on_loop, wire);
	if (wire->is_up != was_up) {
		log_info(SW_AREA, "%s: link %s", wire->dev, wire->is_up ? "up" : "down");
	}
}

bool sw_wires_link(const struct sw *sw, uint16_t port)
{
	const struct sw_wire *wire = sw_wire_at(sw, port);

	return wire && wire->is_up;
}
