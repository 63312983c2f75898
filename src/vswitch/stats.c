/* SPDX-License-Identifier: MIT */
#include "vswitch/stats.h"

#include "vswitch/core_internal.h"

static void add(struct port_stats *to, const struct port_counters *from, const counter_u64 *drops)
{
	to->sent_frames += counter_read(&from->sent_frames);
	to->sent_bytes += counter_read(&from->sent_bytes);
	to->sent_large += counter_read(&from->sent_large);
	to->sent_groups += counter_read(&from->sent_groups);
	to->delivered_frames += counter_read(&from->delivered_frames);
	to->delivered_bytes += counter_read(&from->delivered_bytes);
	to->delivered_large += counter_read(&from->delivered_large);
	to->waits += counter_read(&from->waits);
	for (unsigned int i = 0; i < DROP_CAUSE_COUNT; i++) {
		to->drops[i] += counter_read(&drops[i]);
	}
}

void vswitch_port_stats(const struct vswitch *vswitch, uint16_t port, struct port_stats *ret)
{
	*ret = (struct port_stats){ 0 };
	if (port >= VSWITCH_PORTS_MAX || !vswitch->ports[port]) {
		return;
	}
	*ret = vswitch->ports[port]->base;
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		add(ret, &vswitch->cores[i]->ports[port].counters, vswitch->cores[i]->drops[port]);
	}
}

void vswitch_port_stats_base(struct vswitch *vswitch, uint16_t port, const struct port_stats *base)
{
	check(port < VSWITCH_PORTS_MAX && vswitch->ports[port]);
	vswitch->ports[port]->base = *base;
}

void vswitch_rule_stats(const struct vswitch *vswitch, uint16_t port, bool is_out,
			unsigned int index, uint64_t *ret_frames, uint64_t *ret_bytes)
{
	const struct port_policy *policy;
	const struct acl *acl;

	*ret_frames = *ret_bytes = 0;
	check(port < VSWITCH_PORTS_MAX);
	policy = &vswitch->policy->ports[port];
	acl = is_out ? policy->acl_out : policy->acl_in;
	if (!acl || index >= acl_rules(acl)) {
		return;
	}
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		const struct port_slow *slow = &vswitch->cores[i]->slow[port];
		const struct acl_counter *counters = is_out ? slow->acl_out : slow->acl_in;

		if (counters) {
			*ret_frames += counter_read(&counters[index].frames);
			*ret_bytes += counter_read(&counters[index].bytes);
		}
	}
}

struct rule_change {
	int port; /* -1: all */
	bool is_out;
	uint32_t id;
	uint64_t frames, bytes;
};

static void zero_rules(struct core *core, void *arg)
{
	const struct rule_change *change = arg;

	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		const struct port_policy *policy = core->ports[i].policy;
		const struct port_slow *slow = &core->slow[i];

		if (!policy || (change->port >= 0 && change->port != (int)i)) {
			continue;
		}
		if (policy->acl_in && slow->acl_in) {
			acl_counters_zero(policy->acl_in, slow->acl_in, change->id);
		}
		if (policy->acl_out && slow->acl_out) {
			acl_counters_zero(policy->acl_out, slow->acl_out, change->id);
		}
	}
}

void vswitch_rule_zero(struct vswitch *vswitch, int port, uint32_t id)
{
	struct rule_change change = { .port = port, .id = id };

	vswitch_on_cores(vswitch, zero_rules, &change);
}

/* The sum is what anybody sees: one core has it all. */
static void add_to_rule(struct core *core, void *arg)
{
	const struct rule_change *change = arg;
	const struct port_policy *policy = core->ports[change->port].policy;
	struct acl_counter *counters =
		change->is_out ? core->slow[change->port].acl_out : core->slow[change->port].acl_in;
	const struct acl *acl = !policy ? NULL : change->is_out ? policy->acl_out : policy->acl_in;

	if (core->index == 0 && acl && counters) {
		(void)acl_counters_base(acl, counters, change->id, change->frames, change->bytes);
	}
}

void vswitch_rule_base(struct vswitch *vswitch, uint16_t port, bool is_out, uint32_t id,
		       uint64_t frames, uint64_t bytes)
{
	struct rule_change change = {
		.port = port, .is_out = is_out, .id = id, .frames = frames, .bytes = bytes
	};

	check(port < VSWITCH_PORTS_MAX);
	vswitch_on_cores(vswitch, add_to_rule, &change);
}

void vswitch_core_stats(const struct vswitch *vswitch, unsigned int core, struct core_stats *ret)
{
	const struct core_counters *counters;

	check(core < vswitch->config.core_count);
	counters = &vswitch->cores[core]->counters;
	*ret = (struct core_stats){
		.batches = counter_read(&counters->batches),
		.frames = counter_read(&counters->frames),
		.plain_frames = counter_read(&counters->plain_frames),
		.flooded = counter_read(&counters->flooded),
		.handed_over = counter_read(&counters->handed_over),
		.handed_lost = counter_read(&counters->handed_lost),
		.lane_frames = counter_read(&counters->lane_frames),
		.news_told = counter_read(&counters->news_told),
		.news_lost = counter_read(&counters->news_lost),
	};
}
