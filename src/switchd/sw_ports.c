/* SPDX-License-Identifier: MIT */
/*
 * The NICs of guests: a worker lends one, a NetVSP is made for it here, with an end of its port on a core
 * for each queue.
 *
 *   create ─► started ─► stop (no frame either way, ends stop one after the other) ─► destroy
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/num.h"
#include "switchd/sw_internal.h"
#include "vmbus/remote_host.h"
#include "vsp/net/netvsp.h"
#include "vsp/net/netvsp_loan.h"
#include "vswitch/port.h"

#define RETRY_MS 2000 /* how long workers may keep the link up, and frames waiting, in an upgrade */

struct sw_nic {
	struct list link;
	struct sw *sw;
	uint16_t port;
	char partition[SW_NAME_BYTES];
	struct netvsp *nic; /* NULL: not made yet */
	struct net *ends[SW_CORES_MAX];
	struct loop *loops[SW_CORES_MAX];
	unsigned int count, stopping;
	struct loop_work stopped, advance; /* on an end's loop; on the control loop */
	struct loop_work *done;            /* of stop() */
	int err;
};

static struct sw_nic *find_device(const struct sw *sw, const struct vmbus_device *device)
{
	list_for_each (it, &sw->nics) {
		struct sw_nic *nic = list_entry(it, struct sw_nic, link);

		if (nic->nic && netvsp_device(nic->nic) == device) {
			return nic;
		}
	}
	check(false);
}

static struct sw_nic *find_port(const struct sw *sw, uint16_t port)
{
	list_for_each (it, &sw->nics) {
		struct sw_nic *nic = list_entry(it, struct sw_nic, link);

		if (nic->port == port) {
			return nic;
		}
	}
	return NULL;
}

/* ---- ends --------------------------------------------------------------------------------------- */

static void open_first(void *arg)
{
	struct sw_nic *nic = arg;

	nic->err = port_guest_create(nic->sw->vswitch, nic->port, nic->loops[0], &nic->ends[0]);
}

static void open_twin(void *arg)
{
	struct sw_nic *nic = arg;

	nic->err = net_twin(nic->ends[0], nic->loops[nic->count], &nic->ends[nic->count]);
}

/* Queue n is on core (home + n) mod cores. */
static int open_ends(struct sw_nic *nic, unsigned int queues)
{
	struct vswitch *vswitch = nic->sw->vswitch;
	unsigned int home = vswitch_home(vswitch), cores = vswitch_cores(vswitch);

	for (nic->count = 0; nic->count < queues; nic->count++) {
		nic->loops[nic->count] = vswitch_loop(vswitch, (home + nic->count) % cores);
		loop_call(nic->loops[nic->count], nic->count ? open_twin : open_first, nic);
		if (nic->err) {
			return nic->err;
		}
	}
	return 0;
}

static void destroy_end(void *arg)
{
	net_destroy(arg);
}

static void destroy_ends(struct sw_nic *nic)
{
	while (nic->count > 0) {
		nic->count--;
		loop_call(nic->loops[nic->count], destroy_end, nic->ends[nic->count]);
	}
}

/* ---- the service -------------------------------------------------------------------------------- */

static bool may(void *ctx, const struct remote_loan *loan, struct diag *reterr)
{
	struct sw *sw = ctx;
	const struct sw_port *port = sw_port_find(sw->config, loan->port);
	struct sw_port whole = { .owner = SW_OWNER_ANY };

	if (port) {
		sw_port_effective(sw->config, port, &whole);
	}
	if (whole.owner == SW_OWNER_ANY || whole.owner == loan->uid || loan->uid == 0) {
		return true;
	}
	diag_set(reterr, -EPERM, "port %s belongs to user %u", loan->port, whole.owner);
	return false;
}

/* The port that is meant: there already, or brought by this worker. */
static int take_port(struct sw *sw, const char *name, uint16_t *ret, struct diag *reterr)
{
	int err = 0;

	if (!sw_port_find(sw->config, name)) {
		err = sw_bring_port(sw, name, reterr);
	}
	if (err) {
		return err;
	}
	*ret = sw_port_find(sw->config, name)->number;
	if (find_port(sw, *ret)) {
		return diag_set(reterr, -EBUSY, "port %s is taken", name);
	}
	return 0;
}

static void free_nic(struct sw_nic *nic)
{
	netvsp_destroy(nic->nic);
	destroy_ends(nic);
	list_remove(&nic->link);
	free(nic);
}

static int make_nic(struct sw_nic *nic, const struct remote_loan *loan, struct diag *reterr)
{
	struct sw *sw = nic->sw;
	struct netvsp_loan words;
	struct netvsp_config config = { 0 };
	int err = netvsp_loan_parse(loan->config, loan->config_bytes, &words);
	unsigned int queues;

	if (err) {
		return diag_set(reterr, err, "what the NIC shall be makes no sense");
	}
	/* What the guest has been offered by the worker's NIC it has here, too: queues share cores. */
	queues = words.queues_max ? words.queues_max : sw->loop_count;
	queues = (unsigned int)num_min(num_max(queues, loan->channels), SW_CORES_MAX);
	err = open_ends(nic, queues);
	if (err) {
		return diag_set(reterr, err, "cannot plug the NIC in: %s", strerror(-err));
	}
	config.name = words.name;
	config.partition = loan->partition;
	config.mac = words.has_mac ? words.mac : NULL;
	config.net = nic->ends[0];
	config.twins = nic->ends + 1;
	config.twin_count = nic->count - 1;
	config.no_rsc = words.no_rsc;
	config.nvsp_max = words.nvsp_max;
	return netvsp_create(&config, &nic->nic, reterr);
}

static void on_stopped(struct loop_work *work);
static void on_advance(struct loop_work *work);

static int create(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		  struct diag *reterr)
{
	struct sw *sw = ctx;
	struct sw_nic *nic;
	uint16_t port;
	int err;

	if (sw->ending != SW_END_NONE) {
		return diag_set(reterr, -EAGAIN, "the switch ends");
	}
	err = take_port(sw, loan->port, &port, reterr);
	if (err) {
		return err;
	}
	nic = fault_alloc(1, sizeof(*nic));
	if (!nic) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	nic->sw = sw;
	nic->port = port;
	snprintf(nic->partition, sizeof(nic->partition), "%s", loan->partition);
	loop_work_init(&nic->stopped, on_stopped);
	loop_work_init(&nic->advance, on_advance);
	list_append(&sw->nics, &nic->link);
	err = make_nic(nic, loan, reterr);
	if (err) {
		free_nic(nic);
		return err;
	}
	*ret = netvsp_device(nic->nic);
	return 0;
}

struct link {
	struct netvsp *nic;
	bool is_up;
};

static void set_link_on_loop(void *arg)
{
	const struct link *link = arg;

	netvsp_set_link(link->nic, link->is_up);
}

static void set_link(struct sw_nic *nic)
{
	const struct sw_port *port = sw_port_by_number(nic->sw->config, nic->port);
	struct sw_port whole;

	if (port && nic->nic) {
		sw_port_effective(nic->sw->config, port, &whole);
		struct link link = { nic->nic, whole.link };

		loop_call(nic->loops[0], set_link_on_loop, &link);
	}
}

static void started(void *ctx, struct vmbus_device *device)
{
	struct sw_nic *nic = find_device(ctx, device);

	set_link(nic);
	log_info(SW_AREA, "%s: partition %s is plugged in",
		 vswitch_port_name(nic->sw->vswitch, nic->port), nic->partition);
}

static void on_stopped(struct loop_work *work)
{
	struct sw_nic *nic = container_of(work, struct sw_nic, stopped);

	loop_post(nic->sw->control, &nic->advance);
}

static void stop_end(void *arg)
{
	struct sw_nic *nic = arg;

	net_stop(nic->ends[nic->stopping], &nic->stopped);
}

/* Ends stop one after the other, the first one last. */
static void on_advance(struct loop_work *work)
{
	struct sw_nic *nic = container_of(work, struct sw_nic, advance);

	if (nic->stopping == 0) {
		loop_post(nic->sw->control, nic->done);
		return;
	}
	nic->stopping--;
	loop_call(nic->loops[nic->stopping], stop_end, nic);
}

static void stop(void *ctx, struct vmbus_device *device, struct loop_work *done)
{
	struct sw_nic *nic = find_device(ctx, device);

	netvsp_pause(nic->nic);
	nic->done = done;
	nic->stopping = nic->count;
	on_advance(&nic->advance);
}

/* An automatic port goes with its NIC, unless the worker may be back at once. */
static void drop_auto_port(struct sw *sw, uint16_t number)
{
	struct diag diag;

	for (unsigned int i = 0; i < sw->config->lists[SW_LIST_PORTS].count; i++) {
		const struct sw_port *port = sw_list_at(sw->config, SW_LIST_PORTS, i);

		if (port->number == number && port->is_auto && sw->ending == SW_END_NONE) {
			sw_list_remove(sw->config, SW_LIST_PORTS, i);
			if (sw_adopt(sw, &diag)) {
				log_error(SW_AREA, "%s", diag.text);
			}
			break;
		}
	}
	sw_forget_ports(sw);
}

static void destroy(void *ctx, struct vmbus_device *device)
{
	struct sw_nic *nic = find_device(ctx, device);
	struct sw *sw = nic->sw;
	uint16_t port = nic->port;

	free_nic(nic);
	drop_auto_port(sw, port);
}

static const struct remote_service services[] = {
	{ .kind = "net",
	  .create = create,
	  .started = started,
	  .stop = stop,
	  .destroy = destroy,
	  .may = may },
};

/* ---- for the others ----------------------------------------------------------------------------- */

int sw_ports_create(struct sw *sw, struct diag *reterr)
{
	const struct remote_host_config config = { .control = sw->control,
						   .listen_fd = sw->listen_vsp,
						   .services = services,
						   .service_count = ARRAY_SIZE(services),
						   .ctx = sw };
	int err = remote_host_create(&config, &sw->host);

	if (err) {
		return diag_set(reterr, err, "cannot serve workers: %s", strerror(-err));
	}
	sw->listen_vsp = -1;
	return 0;
}

void sw_ports_destroy(struct sw *sw)
{
	remote_host_destroy(sw->host);
	sw->host = NULL;
}

void sw_ports_return_all(struct sw *sw, bool is_upgrade)
{
	remote_host_return_all(sw->host,
			       is_upgrade ? REMOTE_RETURN_UPGRADE : REMOTE_RETURN_SHUTDOWN,
			       is_upgrade ? RETRY_MS : 0, &sw->returned);
}

void sw_ports_return(struct sw *sw, uint16_t port, const char *why)
{
	struct sw_nic *nic = find_port(sw, port);

	if (nic && nic->nic) {
		remote_host_return(sw->host, netvsp_device(nic->nic), REMOTE_RETURN_REMOVED, why);
	}
}

bool sw_ports_has(const struct sw *sw, uint16_t port)
{
	return find_port(sw, port) != NULL;
}

void sw_ports_describe(const struct sw *sw, uint16_t port, struct json_t *json)
{
	const struct sw_nic *nic = find_port(sw, port);
	struct net_front_config front;
	char mac[32];

	json_object_set_new(json, "connected", json_boolean(nic != NULL));
	if (!nic) {
		return;
	}
	json_object_set_new(json, "partition", json_string(nic->partition));
	json_object_set_new(json, "queues", json_integer(nic->count));
	if (vswitch_port_front(sw->vswitch, port, &front)) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", front.mac[0],
			 front.mac[1], front.mac[2], front.mac[3], front.mac[4], front.mac[5]);
		json_object_set_new(json, "mac", json_string(mac));
	}
}

void sw_ports_set_links(struct sw *sw)
{
	list_for_each (it, &sw->nics) {
		set_link(list_entry(it, struct sw_nic, link));
	}
}
