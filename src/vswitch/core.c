/* SPDX-License-Identifier: MIT */
/* A core's life, what it adopts from the control loop, and the end of each round. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vswitch/core_internal.h"

#define SECOND_NS 1000000000ULL

/* ---- the end of a round ------------------------------------------------------------------------ */

void core_touch_slowly(struct core *core)
{
	core->is_touched = true;
	loop_defer(core->loop, &core->flush);
}

/* Turns that those who wait earn: one; or if nobody else sends, as many as the first of them needs. */
static int64_t turns_earned(const struct core *core)
{
	unsigned int others = core->senders;
	int64_t fewest = INT64_MAX;

	list_for_each (it, &core->yield) {
		const struct port_end *end = list_entry(it, struct port_end, yield);
		int64_t turns = sched_turns_needed(&core->sched, &end->sched);

		others -= end->sent_round == core->round;
		fewest = turns < fewest ? turns : fewest;
	}
	return others > 0 || fewest < 1 ? 1 : fewest;
}

/* One who has to wait: whether he has sent nothing in this round. */
static bool note_waiting(struct core *core, const struct port_end *end)
{
	core->heaviest = (unsigned int)num_max(core->heaviest, end->sched.weight);
	return end->sent_round != core->round;
}

/* Who weighs what of those who want to send, and whether that are more than one. */
static void compare_senders(struct core *core)
{
	unsigned int wanting = core->senders;

	list_for_each (it, &core->yield) {
		wanting += note_waiting(core, list_entry(it, struct port_end, yield));
	}
	list_for_each (it, &core->sched.blocked) {
		const struct sched_entry *entry = list_entry(it, struct sched_entry, link);

		wanting += note_waiting(core, container_of(entry, struct port_end, sched));
	}
	if (core->heaviest > 0) {
		core->sched.heaviest = core->heaviest;
		core->heaviest = 0;
	}
	if (wanting > 1) {
		core->period += core->contended == 0;
		core->contended = CORE_TURNS_ROUNDS;
	} else if (core->contended > 0) {
		core->contended--;
	}
}

/* The next round begins: those go on whose turn it is again. */
static void resume_yielded(struct core *core)
{
	int64_t turns = turns_earned(core);
	struct list yielded;

	core->senders = 0;
	core->round++;
	if (list_is_empty(&core->yield)) {
		return;
	}
	list_take(&core->yield, &yielded);
	while (!list_is_empty(&yielded)) {
		struct port_end *end = list_first(&yielded, struct port_end, yield);

		list_remove(&end->yield);
		end->round = core->round;
		sched_turn(&core->sched, &end->sched, turns);
		if (core->contended > 0 && !sched_may_send(&end->sched)) {
			list_append(&core->yield, &end->yield);
			core_touch(core); /* there is a next round, whoever else sends */
			continue;
		}
		end->yields = false;
		port_end_resume(end);
	}
}

static void on_flush(struct loop_work *work)
{
	struct core *core = container_of(work, struct core, flush);

	core->is_touched = false;
	while (!list_is_empty(&core->dirty)) {
		struct port_end *end = list_first(&core->dirty, struct port_end, dirty);

		list_remove(&end->dirty);
		end->is_dirty = false;
		if (end->is_wire) {
			net_batch_end(end->net);
		} else {
			net_deliver_end(end->net);
			hold_look(end);
		}
	}
	core_flush_hands(core);
	core_flush_lanes(core);
	if (core->policy->ext && core->policy->ext->flush) {
		core->policy->ext->flush(core->policy->ext_ctx, core);
	}
	compare_senders(core);
	resume_yielded(core);
}

/* ---- time -------------------------------------------------------------------------------------- */

static void on_second(struct loop_timer *timer)
{
	struct core *core = container_of(timer, struct core, second);

	core->now_s = (uint32_t)(loop_now_ns() / SECOND_NS);
	core_take_news(core);
	fdb_age(core->fdb, core->now_s, core->policy->fdb_age_s,
		fdb_buckets(core->fdb) / CORE_AGE_SECONDS + 1, NULL, NULL);
	mcast_age(core->mcast, core->now_s);
	(void)flow_age(core->flows, core->now_s, FLOWS_MAX / CORE_AGE_SECONDS);
	core_ask(core, core->now_s);
	loop_timer_arm(&core->second, SECOND_NS);
}

static void on_ask_again(struct loop_timer *timer)
{
	struct core *core = container_of(timer, struct core, ask_again);

	core_ask_again(core, loop_now_ns());
}

/* ---- life -------------------------------------------------------------------------------------- */

static void on_hand(struct loop_work *work)
{
	core_take_hands(container_of(work, struct core, hand));
}

static void on_news(struct loop_work *work)
{
	core_take_news(container_of(work, struct core, news));
}

static void on_room(struct loop_work *work)
{
	core_wake(container_of(work, struct core, room));
}

static int create_tables(struct core *core, const struct vswitch_config *config)
{
	uint32_t flows = config->flows ? config->flows : FLOWS_MAX;
	int err = fdb_create(config->fdb_entries ? config->fdb_entries : FDB_ENTRIES_MAX,
			     config->secret, &core->fdb);

	if (!err) {
		err = mcast_create(config->secret, &core->mcast);
	}
	if (!err) {
		err = flow_table_create(flows, FLOWS_PER_PORT, config->secret, &core->flows);
	}
	return err;
}

int core_create(struct vswitch *vswitch, struct loop *loop, unsigned int index, struct core **ret)
{
	struct core *core;
	int err;

	core = fault_point() ? NULL : aligned_alloc(64, sizeof(*core));
	if (!core) {
		return -ENOMEM;
	}
	memset(core, 0, sizeof(*core));
	core->vswitch = vswitch;
	core->loop = loop;
	core->index = index;
	core->cores = vswitch->config.core_count;
	core->secret = vswitch->config.secret;
	core->policy = vswitch->policy;
	core->now_s = (uint32_t)(loop_now_ns() / SECOND_NS);
	sched_init(&core->sched);
	list_init(&core->ends);
	list_init(&core->dirty);
	list_init(&core->yield);
	list_init(&core->dirty_lanes);
	list_init(&core->held);
	loop_work_init(&core->flush, on_flush);
	loop_work_init(&core->hand, on_hand);
	loop_work_init(&core->news, on_news);
	loop_work_init(&core->room, on_room);
	loop_timer_init(&core->second, loop, on_second);
	loop_timer_init(&core->ask_again, loop, on_ask_again);
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		struct port_buckets *buckets = &vswitch->buckets[i];

		bucket_share_init(&core->slow[i].rate, &buckets->rate);
		bucket_share_init(&core->slow[i].pps, &buckets->pps);
		bucket_share_init(&core->slow[i].broadcast, &buckets->broadcast);
		bucket_share_init(&core->slow[i].multicast, &buckets->multicast);
		bucket_share_init(&core->slow[i].unknown, &buckets->unknown);
	}
	err = create_tables(core, &vswitch->config);
	if (err) {
		core_destroy(core);
		return err;
	}
	*ret = core;
	return 0;
}

void core_destroy(struct core *core)
{
	if (!core) {
		return;
	}
	for (unsigned int i = 0; i < VSWITCH_CORES_MAX; i++) {
		news_ring_destroy(core->news_out[i]);
		hand_ring_destroy(core->hand_out[i]);
	}
	fdb_destroy(core->fdb);
	mcast_destroy(core->mcast);
	flow_table_destroy(core->flows);
	free(core);
}

void core_start(struct core *core)
{
	loop_timer_arm(&core->second, SECOND_NS);
}

void core_quiet(struct core *core)
{
	check(list_is_empty(&core->ends));
	loop_timer_cancel(&core->second);
	loop_timer_cancel(&core->ask_again);
	core->is_quiet = true;
}

void core_stop(struct core *core)
{
	loop_cancel(core->loop, &core->flush);
	loop_cancel(core->loop, &core->hand);
	loop_cancel(core->loop, &core->news);
	loop_cancel(core->loop, &core->room);
}

/* ---- adoption ---------------------------------------------------------------------------------- */

/* The number that a port's own addresses are known by. */
static uint16_t own_fid(const struct port_policy *policy)
{
	return policy->vlan.mode == VLAN_NONE ? 0 : policy->vlan.id;
}

/* A guest may change its NIC's address: to one that its port may send from. */
static bool wants_own(const struct port_slot *slot)
{
	const struct port_policy *policy = slot->policy;

	return policy && policy->kind == PORT_GUEST && slot->view && slot->view->has_mac &&
	       (!policy->guard.mac || guard_has_mac(&policy->guard, slot->view->mac));
}

/* The NIC's own address is known before it says anything. */
static void set_own(struct core *core, uint16_t port)
{
	const struct port_slot *slot = &core->ports[port];
	struct port_slow *slow = &core->slow[port];
	bool wants = wants_own(slot);

	if (slow->has_own && wants && own_fid(slot->policy) == slow->own_fid &&
	    !memcmp(slow->own, slot->view->mac, sizeof(slow->own))) {
		return;
	}
	if (slow->has_own && fdb_find(core->fdb, slow->own, slow->own_fid) == (int)port) {
		(void)fdb_remove(core->fdb, slow->own, slow->own_fid);
	}
	slow->has_own = false;
	if (wants && !fdb_set(core->fdb, slot->view->mac, own_fid(slot->policy), port, FDB_OWN,
			      core->now_s)) {
		slow->has_own = true;
		slow->own_fid = own_fid(slot->policy);
		memcpy(slow->own, slot->view->mac, sizeof(slow->own));
	}
}

/* The end that most frames for a port go to, when it is here and there is no choice. */
static struct port_end *usual_end(const struct core *core, const struct port_view *view)
{
	if (!view) {
		return NULL;
	}
	if (!view->is_wire) {
		return view->queues == 1 && view->core_of[0] == core->index ? view->ends[0] : NULL;
	}
	for (unsigned int i = 0; i < view->queues; i++) {
		if (view->core_of[i] == core->index) {
			return view->ends[i];
		}
	}
	return NULL;
}

static bool has_stateful(const struct acl *acl)
{
	for (unsigned int i = 0; acl && i < acl_rules(acl); i++) {
		if (acl_rule_at(acl, i)->is_stateful) {
			return true;
		}
	}
	return false;
}

static bool has_rule(const struct acl *acl, const struct acl_rule *wanted)
{
	for (unsigned int i = 0; acl && i < acl_rules(acl); i++) {
		const struct acl_rule *rule = acl_rule_at(acl, i);

		if (rule->id == wanted->id) {
			return rule->is_stateful && rule->action == wanted->action;
		}
	}
	return false;
}

/* What rules that are gone have let through goes with them. */
static void flush_rules(struct core *core, uint16_t port, const struct acl *old_acl,
			const struct port_policy *policy)
{
	for (unsigned int i = 0; old_acl && i < acl_rules(old_acl); i++) {
		const struct acl_rule *rule = acl_rule_at(old_acl, i);

		if (rule->is_stateful && !(policy && (has_rule(policy->acl_in, rule) ||
						      has_rule(policy->acl_out, rule)))) {
			flow_flush_rule(core->flows, port, rule->id);
		}
	}
}

/* What was snooped stays, as far as the port still learns that way. */
static void adopt_guard(struct port_slow *slow, const struct port_policy *policy, uint32_t now_s)
{
	struct guard_policy old = slow->guard;

	slow->guard = policy->guard;
	for (unsigned int i = 0; policy->snoops && i < old.binding_count; i++) {
		if (!old.bindings[i].is_static) {
			(void)guard_bind(&slow->guard, &old.bindings[i], now_s);
		}
	}
}

static void carry(const struct acl *acl, struct acl_counter *to, const struct acl *old_acl,
		  const struct acl_counter *from)
{
	if (acl && to && old_acl && from) {
		acl_counters_carry(acl, to, old_acl, from);
	}
}

static void adopt_port(struct core *core, const struct policy *policy, struct core_rules *rules,
		       uint16_t port)
{
	const struct port_policy *new_port = &policy->ports[port], *old = core->ports[port].policy;
	struct port_slow *slow = &core->slow[port];
	struct acl_counter *in = slow->acl_in, *out = slow->acl_out;

	if (!new_port->is_used) {
		new_port = NULL;
	}
	if (new_port && old) {
		carry(new_port->acl_in, rules->in[port], old->acl_in, in);
		carry(new_port->acl_out, rules->out[port], old->acl_out, out);
	}
	slow->acl_in = rules->in[port];
	slow->acl_out = rules->out[port];
	rules->in[port] = in;
	rules->out[port] = out;
	if (old) {
		flush_rules(core, port, old->acl_in, new_port);
		flush_rules(core, port, old->acl_out, new_port);
	}
	if (old && (!new_port || memcmp(&old->vlan, &new_port->vlan, sizeof(old->vlan)) != 0)) {
		fdb_flush_port(core->fdb, port, false);
		mcast_flush_port(core->mcast, port);
	}
	core->ports[port].policy = new_port;
	if (new_port) {
		adopt_guard(slow, new_port, core->now_s);
		slow->has_flows = has_stateful(new_port->acl_in) || has_stateful(new_port->acl_out);
	} else {
		slow->guard = (struct guard_policy){ 0 };
		slow->has_flows = false;
	}
	set_own(core, port);
}

static bool member_link(const struct core *core, unsigned int member)
{
	const struct port_slot *slot = &core->ports[core->team.members[member].uplink];

	return slot->view && slot->view->link && slot->policy && slot->policy->link;
}

/* Addresses that live here and are now reached by another member: the wire is told on that one. */
static void announce(struct core *core)
{
	uint8_t bytes[TEAM_RARP_BYTES];
	struct iovec iov[2] = { { 0 }, { bytes, sizeof(bytes) } };
	struct net_frame frame = { .iov = iov + 1, .iov_count = 1, .bytes = sizeof(bytes) };
	struct fdb_entry entry;
	uint32_t cursor = 0;

	while (fdb_next(core->fdb, &cursor, core->now_s, &entry)) {
		int member;
		struct port_slot *slot;

		if (entry.port == core->team.port) {
			continue;
		}
		member = team_moved(&core->team, team_hash_address(entry.mac, core->secret));
		if (member < 0) {
			continue;
		}
		slot = &core->ports[core->team.members[member].uplink];
		if (!slot->end || slot->view->ends[view_first_queue(slot->view)] != slot->end) {
			continue; /* the core of its first end does it */
		}
		team_build_rarp(entry.mac, bytes);
		frame.flags = entry.vlan ? NET_FRAME_VLAN : 0;
		frame.vlan_tci = entry.vlan;
		port_wire_send(core, slot->end, slot, &frame);
	}
}

static void update_team(struct core *core)
{
	bool moved = false;

	if (!core->policy->has_team) {
		return;
	}
	for (unsigned int i = 0; i < core->team.member_count; i++) {
		bool up = member_link(core, i);

		if (core->team.members[i].link != up) {
			moved |= team_link(&core->team, i, up);
		}
	}
	if (moved) {
		announce(core);
	}
}

static void adopt_querier(struct core *core, const struct policy *policy)
{
	const struct vframe_ip address = querier_address(policy->querier_mac);

	mcast_set_address(core->mcast, &address);
	if (core->index == 0) {
		querier_set(&core->querier, policy->querier_vlans, policy->querier_vlan_count,
			    core->now_s);
	}
}

void core_adopt(struct core *core, const struct policy *policy, struct core_rules *rules)
{
	core->policy = policy;
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		adopt_port(core, policy, rules, (uint16_t)i);
	}
	adopt_querier(core, policy);
	core->team = policy->team;
	update_team(core);
	list_for_each (it, &core->ends) {
		struct port_end *end = list_entry(it, struct port_end, link);
		const struct port_policy *port = core->ports[end->port].policy;

		sched_entry_set_weight(&end->sched, port ? port->limits.weight : 1);
		if (!end->is_wire) {
			net_link_set(end->net, port && port->link);
		}
	}
}

void core_set_view(struct core *core, uint16_t port, const struct port_view *view)
{
	struct port_slot *slot = &core->ports[port];

	core_flush_lanes(core); /* of ends that it may not name any more */
	slot->view = view;
	slot->end = usual_end(core, view);
	set_own(core, port);
	for (unsigned int i = 0; view && i < view->queues; i++) {
		if (view->core_of[i] == core->index) {
			port_lanes_make(view->ends[i]);
		}
	}
	if (core->policy->ports[port].is_member) {
		update_team(core);
	}
}

void core_forget_port(struct core *core, uint16_t port)
{
	struct port_slow *slow = &core->slow[port];

	core_take_news(core); /* what is on its way is about the port that was */
	fdb_flush_port(core->fdb, port, true);
	mcast_flush_port(core->mcast, port);
	flow_flush_port(core->flows, port);
	slow->has_own = false;
	if (core->ports[port].policy) {
		slow->guard = core->ports[port].policy->guard;
	}
	for (unsigned int i = 0; i < DROP_CAUSE_COUNT; i++) {
		core->drops[port][i] = 0;
	}
	memset(&core->ports[port].counters, 0, sizeof(core->ports[port].counters));
}

/* ---- what others may ask ----------------------------------------------------------------------- */

unsigned int core_index(const struct core *core)
{
	return core->index;
}

struct loop *core_loop(const struct core *core)
{
	return core->loop;
}

struct fdb *core_fdb(struct core *core)
{
	return core->fdb;
}

int core_find_port(struct core *core, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan)
{
	int port = fdb_find(core->fdb, mac, vlan);

	if (port < 0 && core->cores > 1) {
		core_take_news(core);
		port = fdb_find(core->fdb, mac, vlan);
	}
	return port;
}

struct mcast *core_mcast(struct core *core)
{
	return core->mcast;
}

struct flow_table *core_flows(struct core *core)
{
	return core->flows;
}

const struct policy *core_policy(const struct core *core)
{
	return core->policy;
}

const struct guard_policy *core_guard(struct core *core, uint16_t port)
{
	check(port < VSWITCH_PORTS_MAX);
	core_take_news(core);
	return &core->slow[port].guard;
}

void core_bind(struct core *core, uint16_t port, const struct guard_binding *binding)
{
	const struct port_policy *policy;

	check(port < VSWITCH_PORTS_MAX);
	policy = core->ports[port].policy;
	if (policy && policy->snoops) {
		(void)guard_bind(&core->slow[port].guard, binding, core->now_s);
	}
}

uint32_t core_now_s(const struct core *core)
{
	return core->now_s;
}
