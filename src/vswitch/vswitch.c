/* SPDX-License-Identifier: MIT */
/* The control loop's part: cores and ports come and go, policies and views are handed to the cores. */
#include "vswitch/vswitch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "vswitch/core_internal.h"

/* ---- views ------------------------------------------------------------------------------------- */

struct snapshot {
	const struct port_end *end;
	bool is_there, is_leaving, link;
	struct net_front_config config;
	uint32_t mtu_max;
};

/* On the end's loop. */
static void take_snapshot(void *arg)
{
	struct snapshot *snapshot = arg;
	const struct port_end *end = snapshot->end;

	snapshot->is_leaving = end->is_leaving;
	snapshot->is_there = !end->is_leaving && (end->is_wire || end->net->front);
	snapshot->link = net_link_is_up(end->net);
	snapshot->mtu_max = net_mtu_max(end->net);
	snapshot->config = end->net->config;
}

static void put_end(struct port *port, struct port_view *view, struct port_end *end,
		    const struct snapshot *snapshot)
{
	bool is_first = view->queues == 0;

	view->core_of[end->queue] = (uint8_t)end->core->index;
	view->ends[end->queue] = end;
	view->queues = end->queue + 1U;
	view->is_wire = end->is_wire;
	view->link |= snapshot->link;
	if (!is_first) {
		return;
	}
	if (end->is_wire) {
		view->mtu = snapshot->mtu_max;
		view->coalesce_bytes_max = NET_FRAME_BYTES_MAX;
		return;
	}
	port->has_front = true;
	port->front = snapshot->config;
	view->has_mac = true;
	memcpy(view->mac, snapshot->config.mac, sizeof(view->mac));
	view->mtu = snapshot->config.mtu;
	view->coalesce_bytes_max = snapshot->config.coalesce_bytes_max;
	steer_init(&view->steer, &snapshot->config.rss);
}

struct publication {
	struct core *core;
	uint16_t port;
	const struct port_view *view;
};

static void publish(void *arg)
{
	struct publication *p = arg;

	core_set_view(p->core, p->port, p->view);
}

static void tell_links(struct vswitch *vswitch, uint16_t index, uint64_t was, uint64_t is)
{
	const struct vswitch_events *events = vswitch->config.events;

	for (uint64_t bits = was ^ is; bits && events && events->link_changed; bits &= bits - 1) {
		unsigned int queue = (unsigned int)__builtin_ctzll(bits);

		events->link_changed(vswitch->config.ctx, index, queue, (is >> queue) & 1);
	}
}

/* Looks at all ends of a port, tells the cores, and lets go of those that leave. */
static void rebuild(struct vswitch *vswitch, uint16_t index)
{
	struct port *port = vswitch->ports[index];
	struct port_view *view = &port->views[!port->current];
	struct port_end *leaving[VSWITCH_QUEUES_MAX];
	struct publication p = { .port = index };
	unsigned int leaving_count = 0;
	uint64_t links = 0, was = port->links;

	memset(view, 0, sizeof(*view));
	memset(view->core_of, VIEW_NO_CORE, sizeof(view->core_of));
	port->has_front = false;
	for (unsigned int i = 0; i < VSWITCH_QUEUES_MAX; i++) {
		struct port_end *end = atomic_load(&port->ends[i]);
		struct snapshot snapshot = { .end = end };

		if (!end) {
			continue;
		}
		loop_call(end->core->loop, take_snapshot, &snapshot);
		if (snapshot.is_leaving) {
			leaving[leaving_count++] = end;
		} else if (snapshot.is_there) {
			put_end(port, view, end, &snapshot);
			links |= end->is_wire && snapshot.link ? 1ULL << i : 0;
		}
	}
	port->current = !port->current;
	port->has_view = view->queues > 0;
	port->links = links;
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		p.core = vswitch->cores[i];
		p.view = port->has_view ? view : NULL;
		loop_call(p.core->loop, publish, &p);
	}
	for (unsigned int i = 0; i < leaving_count; i++) {
		atomic_store(&port->ends[leaving[i]->queue], NULL);
		loop_post(leaving[i]->core->loop, &leaving[i]->left);
	}
	tell_links(vswitch, index, was, links);
	if (vswitch->config.events && vswitch->config.events->port_changed) {
		vswitch->config.events->port_changed(vswitch->config.ctx, index);
	}
}

static void on_changed(struct loop_work *work)
{
	struct vswitch *vswitch = container_of(work, struct vswitch, changed_work);

	for (unsigned int word = 0; word < VSWITCH_PORTS_MAX / 64; word++) {
		uint64_t bits = atomic_exchange(&vswitch->changed[word], 0);

		for (; bits; bits &= bits - 1) {
			unsigned int index = word * 64 + (unsigned int)__builtin_ctzll(bits);

			if (vswitch->ports[index]) {
				rebuild(vswitch, (uint16_t)index);
			}
		}
	}
}

static void on_bound(struct loop_work *work)
{
	struct vswitch *vswitch = container_of(work, struct vswitch, bound_work);
	const struct vswitch_events *events = vswitch->config.events;

	if (events && events->bound) {
		events->bound(vswitch->config.ctx);
	}
}

void vswitch_bound(struct vswitch *vswitch)
{
	loop_post(vswitch->config.control, &vswitch->bound_work);
}

void vswitch_port_changed(struct vswitch *vswitch, uint16_t port)
{
	atomic_fetch_or(&vswitch->changed[port / 64], 1ULL << port % 64);
	loop_post(vswitch->config.control, &vswitch->changed_work);
}

/* ---- life -------------------------------------------------------------------------------------- */

static int connect_cores(struct vswitch *vswitch)
{
	unsigned int count = vswitch->config.core_count;
	int err = 0;

	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int j = 0; j < count && !err; j++) {
			struct core *from = vswitch->cores[i], *to = vswitch->cores[j];

			if (i == j) {
				continue;
			}
			err = news_ring_create(&from->news_out[j]);
			if (!err) {
				err = hand_ring_create(&from->hand_out[j]);
			}
			to->news_in[i] = from->news_out[j];
			to->hand_in[i] = from->hand_out[j];
		}
	}
	return err;
}

static void start_core(void *arg)
{
	core_start(arg);
}

int vswitch_create(const struct vswitch_config *config, struct vswitch **ret)
{
	struct vswitch *vswitch;
	int err;

	if (config->core_count == 0 || config->core_count > VSWITCH_CORES_MAX) {
		return -EINVAL;
	}
	vswitch = fault_point() ? NULL : aligned_alloc(64, sizeof(*vswitch));
	if (!vswitch) {
		return -ENOMEM;
	}
	memset(vswitch, 0, sizeof(*vswitch));
	vswitch->config = *config;
	loop_work_init(&vswitch->changed_work, on_changed);
	loop_work_init(&vswitch->bound_work, on_bound);
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		struct port_buckets *buckets = &vswitch->buckets[i];

		bucket_init(&buckets->rate, 0, 0, loop_now_ns());
		bucket_init(&buckets->pps, 0, 0, loop_now_ns());
		bucket_init(&buckets->broadcast, 0, 0, loop_now_ns());
		bucket_init(&buckets->multicast, 0, 0, loop_now_ns());
		bucket_init(&buckets->unknown, 0, 0, loop_now_ns());
	}
	err = policy_create(&vswitch->policy);
	for (unsigned int i = 0; i < config->core_count && !err; i++) {
		err = core_create(vswitch, config->loops[i], i, &vswitch->cores[i]);
	}
	if (!err) {
		err = connect_cores(vswitch);
	}
	if (err) {
		vswitch_destroy(vswitch);
		return err;
	}
	policy_seal(vswitch->policy);
	for (unsigned int i = 0; i < config->core_count; i++) {
		loop_call(config->loops[i], start_core, vswitch->cores[i]);
	}
	*ret = vswitch;
	return 0;
}

static void quiet_core(void *arg)
{
	core_quiet(arg);
}

static void stop_core(void *arg)
{
	core_stop(arg);
}

void vswitch_stop(struct vswitch *vswitch, struct loop_work *done)
{
	loop_check_here(vswitch->config.control);
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		loop_call(vswitch->config.loops[i], quiet_core, vswitch->cores[i]);
	}
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		loop_call(vswitch->config.loops[i], stop_core, vswitch->cores[i]);
	}
	loop_cancel(vswitch->config.control, &vswitch->changed_work);
	loop_cancel(vswitch->config.control, &vswitch->bound_work);
	loop_post(vswitch->config.control, done);
}

static void free_rules(struct core_rules *rules)
{
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		acl_counters_destroy(rules->in[i]);
		acl_counters_destroy(rules->out[i]);
	}
}

void vswitch_destroy(struct vswitch *vswitch)
{
	if (!vswitch) {
		return;
	}
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		for (unsigned int j = 0; vswitch->cores[i] && j < VSWITCH_PORTS_MAX; j++) {
			acl_counters_destroy(vswitch->cores[i]->slow[j].acl_in);
			acl_counters_destroy(vswitch->cores[i]->slow[j].acl_out);
		}
		core_destroy(vswitch->cores[i]);
	}
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		free(vswitch->ports[i]);
	}
	policy_destroy(vswitch->policy);
	free(vswitch);
}

/* ---- policies ---------------------------------------------------------------------------------- */

/* A limit that is new starts with its burst; one that changes keeps what was earned. */
static void set_bucket(struct bucket *bucket, uint64_t old_rate, uint64_t rate, uint64_t burst)
{
	if (old_rate) {
		bucket_set(bucket, rate, burst);
	} else if (rate) {
		bucket_init(bucket, rate, burst, loop_now_ns());
	}
}

/* Storms: half a second's worth at once, so that a burst of announcements is none. */
static void set_buckets(struct port_buckets *buckets, const struct port_limits *old,
			const struct port_limits *limits)
{
	set_bucket(&buckets->rate, old->bytes_per_s, limits->bytes_per_s,
		   limits->burst_bytes ? limits->burst_bytes : limits->bytes_per_s / 100);
	set_bucket(&buckets->pps, old->pps, limits->pps, limits->pps / 2);
	set_bucket(&buckets->broadcast, old->broadcast_pps, limits->broadcast_pps,
		   limits->broadcast_pps / 2);
	set_bucket(&buckets->multicast, old->multicast_pps, limits->multicast_pps,
		   limits->multicast_pps / 2);
	set_bucket(&buckets->unknown, old->unknown_pps, limits->unknown_pps,
		   limits->unknown_pps / 2);
}

/* Without memory rules work all the same and are not counted. */
static void make_rules(const struct policy *policy, struct core_rules *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		const struct port_policy *port = &policy->ports[i];

		if (port->acl_in && acl_counters_create(port->acl_in, &ret->in[i])) {
			ret->in[i] = NULL;
		}
		if (port->acl_out && acl_counters_create(port->acl_out, &ret->out[i])) {
			ret->out[i] = NULL;
		}
	}
}

struct adoption {
	struct core *core;
	const struct policy *policy;
	struct core_rules rules;
};

static void adopt(void *arg)
{
	struct adoption *adoption = arg;

	core_adopt(adoption->core, adoption->policy, &adoption->rules);
}

void vswitch_adopt(struct vswitch *vswitch, struct policy *policy_take)
{
	struct adoption adoption = { .policy = policy_take };
	struct policy *old = vswitch->policy;

	policy_take->generation = old->generation + 1;
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		set_buckets(&vswitch->buckets[i], &old->ports[i].limits,
			    &policy_take->ports[i].limits);
	}
	vswitch->policy = policy_take;
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		adoption.core = vswitch->cores[i];
		make_rules(policy_take, &adoption.rules);
		loop_call(vswitch->config.loops[i], adopt, &adoption);
		free_rules(&adoption.rules); /* the ones before */
	}
	policy_destroy(old);
}

const struct policy *vswitch_policy(const struct vswitch *vswitch)
{
	return vswitch->policy;
}

/* ---- ports ------------------------------------------------------------------------------------- */

int vswitch_port_add(struct vswitch *vswitch, uint16_t port, const char *name)
{
	struct port *added;

	if (port >= VSWITCH_PORTS_MAX || !name[0] || strlen(name) >= VSWITCH_NAME_BYTES) {
		return -EINVAL;
	}
	if (vswitch->ports[port]) {
		return -EEXIST;
	}
	added = fault_alloc(1, sizeof(*added));
	if (!added) {
		return -ENOMEM;
	}
	strcpy(added->name, name);
	vswitch->ports[port] = added;
	return 0;
}

struct forgetting {
	struct core *core;
	uint16_t port;
};

static void forget(void *arg)
{
	struct forgetting *forgetting = arg;

	core_forget_port(forgetting->core, forgetting->port);
}

void vswitch_port_remove(struct vswitch *vswitch, uint16_t port)
{
	struct forgetting forgetting = { .port = port };

	check(port < VSWITCH_PORTS_MAX && vswitch->ports[port]);
	check(!vswitch_port_has_ends(vswitch, port));
	rebuild(vswitch, port);
	/* Twice: the first time a core may not have told the others yet what it has learned. */
	for (unsigned int i = 0; i < 2 * vswitch->config.core_count; i++) {
		forgetting.core = vswitch->cores[i % vswitch->config.core_count];
		loop_call(forgetting.core->loop, forget, &forgetting);
	}
	free(vswitch->ports[port]);
	vswitch->ports[port] = NULL;
}

const char *vswitch_port_name(const struct vswitch *vswitch, uint16_t port)
{
	return port < VSWITCH_PORTS_MAX && vswitch->ports[port] ? vswitch->ports[port]->name : NULL;
}

bool vswitch_port_has_ends(const struct vswitch *vswitch, uint16_t port)
{
	return port < VSWITCH_PORTS_MAX && vswitch->ports[port] &&
	       atomic_load(&vswitch->ports[port]->claimed) != 0;
}

bool vswitch_port_front(const struct vswitch *vswitch, uint16_t port, struct net_front_config *ret)
{
	if (port >= VSWITCH_PORTS_MAX || !vswitch->ports[port] ||
	    !vswitch->ports[port]->has_front) {
		return false;
	}
	*ret = vswitch->ports[port]->front;
	return true;
}

/* ---- cores ------------------------------------------------------------------------------------- */

unsigned int vswitch_cores(const struct vswitch *vswitch)
{
	return vswitch->config.core_count;
}

struct loop *vswitch_loop(const struct vswitch *vswitch, unsigned int core)
{
	check(core < vswitch->config.core_count);
	return vswitch->config.loops[core];
}

unsigned int vswitch_home(const struct vswitch *vswitch)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i < vswitch->config.core_count; i++) {
		if (atomic_load(&vswitch->ends_on[i]) < atomic_load(&vswitch->ends_on[best])) {
			best = i;
		}
	}
	return best;
}

struct on_core {
	struct core *core;
	vswitch_core_fn *fn;
	void *arg;
};

static void run_on_core(void *arg)
{
	struct on_core *on_core = arg;

	on_core->fn(on_core->core, on_core->arg);
}

void vswitch_on_cores(struct vswitch *vswitch, vswitch_core_fn *fn, void *arg)
{
	struct on_core on_core = { .fn = fn, .arg = arg };

	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		on_core.core = vswitch->cores[i];
		loop_call(vswitch->config.loops[i], run_on_core, &on_core);
	}
}
