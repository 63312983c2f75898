/* SPDX-License-Identifier: MIT */
#include "vm/adapters.h"

#include <errno.h>
#include <jansson.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "net/away.h"
#include "net/faces.h"
#include "net/tap.h"
#include "vm/adapters_internal.h"

/* ---- back ends ---- */

/* Adapters begin where the disks' loop ends; each queue is on the next one. */
static struct loop *queue_loop(const struct vm_adapter *adapter, unsigned int queue)
{
	struct vm *vm = adapter->adapters->vm;
	size_t number = (size_t)(adapter - adapter->adapters->list);

	return vm_io_loop(vm, (vm->config->disk_count > 0) + number + queue);
}

/* More than processors send from, or loops serve, would only be more to look at. */
static unsigned int queues_wanted(const struct vm_adapter *adapter)
{
	const struct vm_config *config = adapter->adapters->vm->config;

	if (adapter->config->queues) {
		return adapter->config->queues;
	}
	return (unsigned int)num_min(num_min(config->cpus, config->io_threads), VM_NET_QUEUES_MAX);
}

static int open_tap(struct vm_adapter *adapter, unsigned int *queues, struct diag *reterr)
{
	struct net_tap_config tap = { .link_fd_take = -1 };
	const char *name = adapter->config->tap;
	int fds[NET_TAP_QUEUES_MAX];
	int err;

	static_assert(VM_NET_QUEUES_MAX <= NET_TAP_QUEUES_MAX, "all can be had");
	err = net_tap_open(name, *queues, fds, reterr);
	if (err == -EINVAL && *queues > 1 && !adapter->config->queues) {
		*queues = 1; /* a device made for one, and nobody has asked for more */
		err = net_tap_open(name, 1, fds, reterr);
	}
	if (err) {
		return err;
	}
	tap.fds_take = fds;
	tap.queues = *queues;
	return net_tap_create(queue_loop(adapter, 0), &tap, &adapter->ends[0], reterr);
}

static int open_first(struct vm_adapter *adapter, unsigned int *queues, struct diag *reterr)
{
	const struct vm_net_config *net = adapter->config;
	const struct net_nat_config nat = { .forwards = net->forwards,
					    .forward_count = net->forward_count };
	int err;

	switch (net->kind) {
	case VM_NET_TAP:
		return open_tap(adapter, queues, reterr);
	case VM_NET_SWITCH:
		err = net_away_create(queue_loop(adapter, 0), &adapter->ends[0]);
		return err ? diag_set(reterr, err, "no memory for a NIC") : 0;
	case VM_NET_NAT:
	default:
		return net_nat_create(queue_loop(adapter, 0), &nat, &adapter->ends[0], reterr);
	}
}

static int open_ends(struct vm_adapter *adapter, struct diag *reterr)
{
	unsigned int queues = vm_card_is_wanted(adapter) ? 1 : queues_wanted(adapter);
	int err = open_first(adapter, &queues, reterr);

	if (err) {
		return err;
	}
	queues = (unsigned int)num_min(queues, net_ends_max(adapter->ends[0]));
	for (adapter->end_count = 1; adapter->end_count < queues; adapter->end_count++) {
		err = net_twin(adapter->ends[0], queue_loop(adapter, adapter->end_count),
			       &adapter->ends[adapter->end_count]);
		if (err) {
			return diag_set(reterr, err, "%s cannot have %u queues: %s", adapter->name,
					queues, strerror(-err));
		}
	}
	return 0;
}

/* ---- life ---- */

int vm_adapters_create(struct vm *vm, struct vm_adapters **ret)
{
	struct vm_adapters *adapters = calloc(1, sizeof(*adapters));

	if (!adapters) {
		return -ENOMEM;
	}
	adapters->vm = vm;
	vm_away_init(adapters);
	*ret = adapters;
	return 0;
}

static int make_nic(struct vm_adapter *adapter, struct diag *reterr)
{
	const struct vm_net_config *net = adapter->config;
	struct netvsp_config config = { .name = adapter->name,
					.partition = adapter->adapters->vm->config->name,
					.mac = net->mac,
					.net = adapter->ends[0],
					.on_driver = adapter->faces ? vm_card_on_driver : NULL,
					.on_driver_ctx = adapter,
					.twins = adapter->ends + 1,
					.twin_count = adapter->end_count - 1,
					.no_rsc = net->no_rsc,
					.nvsp_max = net->nvsp_max };
	int err;

	if (adapter->faces) {
		config.net = net_faces_end(adapter->faces, ADAPTER_SYNTHETIC);
	}
	err = netvsp_create(&config, &adapter->nic, reterr);
	if (err || net->face == VM_FACE_EMULATED) {
		return err; /* for the latter nobody ever sees it */
	}
	err = bus_offer(adapter->adapters->vm->bus, netvsp_device(adapter->nic));
	adapter->is_offered = !err;
	return err ? diag_set(reterr, err, "cannot make %s: %s", adapter->name, strerror(-err)) : 0;
}

static void set_link_on_loop(void *arg)
{
	const struct vm_adapter *adapter = arg;

	netvsp_set_link(adapter->nic, adapter->is_link_up);
	vm_card_set_link(adapter);
}

int vm_adapters_add(struct vm_adapters *adapters, const struct vm_net_config *net,
		    struct diag *reterr)
{
	struct vm_adapter *adapter = &adapters->list[adapters->count];
	int err;

	check(adapters->count < VM_NETS_MAX);
	adapter->adapters = adapters;
	adapter->config = net;
	adapter->is_link_up = !net->link_down;
	snprintf(adapter->name, sizeof(adapter->name), "net%zu", adapters->count++);
	err = open_ends(adapter, reterr);
	if (!err) {
		err = vm_card_split(adapter, reterr);
	}
	if (!err) {
		err = make_nic(adapter, reterr);
	}
	if (!err) {
		err = vm_card_create(adapter, reterr);
	}
	if (err) {
		return err;
	}
	if (!adapter->is_link_up) {
		loop_call(net_loop(adapter->ends[0]), set_link_on_loop, adapter);
	}
	return net->kind == VM_NET_SWITCH ? vm_away_add(adapter, reterr) : 0;
}

void vm_adapters_destroy(struct vm_adapters *adapters)
{
	if (!adapters) {
		return;
	}
	for (size_t i = 0; i < adapters->count; i++) {
		struct vm_adapter *adapter = &adapters->list[i];

		netvsp_destroy(adapter->nic);
		vm_card_destroy(adapter);
		for (unsigned int n = VM_NET_QUEUES_MAX; n-- > 0;) {
			net_destroy(adapter->ends[n]);
		}
	}
	free(adapters);
}

struct vmbus_device *vm_adapters_device(struct vm_adapters *adapters, size_t n)
{
	for (size_t i = 0; adapters && i < adapters->count; i++) {
		if (adapters->list[i].is_offered && n-- == 0) {
			return netvsp_device(adapters->list[i].nic);
		}
	}
	return NULL;
}

/* ---- stop and pause ---- */

struct stop {
	struct loop_work done;
	sem_t stopped;
	bool is_stopped; /* the loop's thread */
	struct net *net;
};

static void on_stopped(struct loop_work *work)
{
	struct stop *stop = container_of(work, struct stop, done);

	stop->is_stopped = true;
	sem_post(&stop->stopped);
}

static void stop_on_loop(void *arg)
{
	struct stop *stop = arg;

	net_detach(stop->net);
	net_stop(stop->net, &stop->done);
}

static void stop_end(struct net *net)
{
	struct stop stop = { .net = net };
	struct loop *loop = net_loop(net);

	loop_work_init(&stop.done, on_stopped);
	sem_init(&stop.stopped, 0, 0);
	loop_call(loop, stop_on_loop, &stop);
	while (loop_is_here(loop) && !stop.is_stopped) {
		loop_turn(loop); /* its thread was never started */
	}
	while (sem_wait(&stop.stopped) != 0) {
		check(errno == EINTR);
	}
	sem_destroy(&stop.stopped);
}

void vm_adapters_stop(struct vm_adapters *adapters)
{
	if (!adapters) {
		return;
	}
	vm_away_stop(adapters);
	for (size_t i = 0; i < adapters->count; i++) {
		struct vm_adapter *adapter = &adapters->list[i];

		/* The twins before their first. */
		for (unsigned int n = VM_NET_QUEUES_MAX; n-- > 0 && !adapter->is_stopped;) {
			if (adapter->ends[n]) {
				stop_end(adapter->ends[n]);
			}
		}
		adapter->is_stopped = true;
	}
}

void vm_adapters_pause(struct vm_adapters *adapters, bool is_paused)
{
	for (size_t i = 0; i < adapters->count; i++) {
		struct vm_adapter *adapter = &adapters->list[i];

		/* One that is away has no channel here (and no VM that is paused has any such). */
		if (!remote_worker_is_away(netvsp_device(adapter->nic))) {
			(is_paused ? netvsp_pause : netvsp_resume)(adapter->nic);
		}
		vm_card_pause(adapter, is_paused);
	}
}

void vm_adapters_reset(struct vm_adapters *adapters)
{
	for (size_t i = 0; i < adapters->count; i++) {
		vm_card_reset(&adapters->list[i]);
	}
}

/* ---- for people ---- */

static void show_fact(void *ctx, const char *name, uint64_t value)
{
	inspect_u64(ctx, name, value);
}

static void show_counters(const struct vm_adapter *adapter, struct inspect *at)
{
	struct net_counters sum = { 0 };

	for (unsigned int n = 0; n < adapter->end_count; n++) {
		const struct net_counters *of = net_counters(adapter->ends[n]);

		sum.sent_frames += of->sent_frames;
		sum.sent_bytes += of->sent_bytes;
		sum.sent_large += of->sent_large;
		sum.send_lost += of->send_lost;
		sum.delivered_frames += of->delivered_frames;
		sum.delivered_bytes += of->delivered_bytes;
		sum.delivered_large += of->delivered_large;
		sum.deliver_lost += of->deliver_lost;
	}
	inspect_u64(at, "sent_frames", sum.sent_frames);
	inspect_u64(at, "sent_bytes", sum.sent_bytes);
	inspect_u64(at, "sent_large", sum.sent_large);
	inspect_u64(at, "send_lost", sum.send_lost);
	inspect_u64(at, "delivered_frames", sum.delivered_frames);
	inspect_u64(at, "delivered_bytes", sum.delivered_bytes);
	inspect_u64(at, "delivered_large", sum.delivered_large);
	inspect_u64(at, "deliver_lost", sum.deliver_lost);
	if (adapter->end_count > 0) {
		net_facts(adapter->ends[0], show_fact, at);
	}
}

static void show(const struct vm_adapter *adapter, struct inspect *at)
{
	const struct vm_net_config *net = adapter->config;

	inspect_string(at, "id", adapter->name);
	inspect_string(at, "back_end", adapter->at ? "switch" : net_kind(adapter->ends[0]));
	inspect_format(at, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", net->mac[0], net->mac[1],
		       net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
	inspect_u64(at, "queues", adapter->end_count);
	inspect_bool(at, "plugged_in", adapter->is_link_up);
	vm_card_inspect(adapter, at);
	if (adapter->at) {
		vm_away_inspect(adapter, at);
	} else {
		inspect_bool(at, "link", adapter->is_link_up && net_link_is_up(adapter->ends[0]));
	}
}

void vm_adapters_inspect(struct vm_adapters *adapters, struct inspect *at)
{
	for (size_t i = 0; i < adapters->count; i++) {
		struct inspect item = inspect_item(at, "list");

		show(&adapters->list[i], &item);
		show_counters(&adapters->list[i], &item);
	}
}

/* ---- verbs ---- */

void vm_verb_net_list(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	json_t *result = json_object();
	struct inspect at = { result };

	(void)request;
	json_object_set_new(result, "adapters", json_array());
	for (size_t i = 0; i < vm->adapters->count; i++) {
		struct inspect item = inspect_item(&at, "adapters");

		show(&vm->adapters->list[i], &item);
	}
	rpc_reply_ok_take(reply, result);
}

static struct vm_adapter *find(struct vm_adapters *adapters, const char *name)
{
	for (size_t i = 0; name && i < adapters->count; i++) {
		if (strcmp(adapters->list[i].name, name) == 0) {
			return &adapters->list[i];
		}
	}
	return NULL;
}

void vm_verb_net_link(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	const json_t *adapter_key = json_object_get(request, "adapter");
	const char *name =
		json_string_value(adapter_key ? adapter_key : json_object_get(request, "id"));
	const char *state = json_string_value(json_object_get(request, "state"));
	struct vm_adapter *adapter = find(vm->adapters, name);

	if (!adapter) {
		rpc_reply_error(reply, "There is no adapter \"%s\": see `net list`.",
				name ? name : "");
		return;
	}
	if (!state || (strcmp(state, "up") != 0 && strcmp(state, "down") != 0)) {
		rpc_reply_error(reply, "net link: give state=up or state=down.");
		return;
	}
	adapter->is_link_up = strcmp(state, "up") == 0;
	if (adapter->at) {
		vm_away_set_link(adapter);
	} else {
		loop_call(net_loop(adapter->ends[0]), set_link_on_loop, adapter);
	}
	rpc_reply_ok_take(reply, NULL);
}
