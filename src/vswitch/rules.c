/* SPDX-License-Identifier: MIT */
/* Stages 7 and 10: a port's rules, and the flows that they have let pass. */
#include "vswitch/core_internal.h"

static bool tell_flow(struct core *core, const struct flow_news *flow)
{
	struct news news = { .kind = NEWS_FLOW, .flow = *flow };

	return core_tell(core, &news);
}

static bool has_flow(struct core *core, const struct vframe *frame, uint16_t port, bool is_out)
{
	struct flow_news flow = { .kind = FLOW_NEWS_NONE };
	bool found = flow_find(core->flows, port, frame, is_out, core->now_s, &flow) != NULL;

	if (flow.kind != FLOW_NEWS_NONE) {
		(void)tell_flow(core, &flow); /* it is told again while it is used */
	}
	return found;
}

enum drop_cause pipeline_rules(struct core *core, const struct vframe *frame, unsigned int port,
			       bool is_out)
{
	const struct port_policy *policy = &core->policy->ports[port];
	const struct acl *acl = is_out ? policy->acl_out : policy->acl_in;
	struct port_slow *slow = &core->slow[port];
	struct flow_news flow = { .kind = FLOW_NEWS_NONE };
	struct acl_verdict verdict;

	if (!acl && !slow->has_flows) {
		return DROP_NONE;
	}
	if (slow->has_flows && has_flow(core, frame, (uint16_t)port, is_out)) {
		return DROP_NONE;
	}
	if (!acl) {
		return DROP_NONE;
	}
	verdict = acl_match(acl, is_out ? slow->acl_out : slow->acl_in, frame);
	if (verdict.action == ACL_DENY) {
		if (slow->has_flows && core->cores > 1) {
			/* What it answers may have passed on another core a moment ago. */
			core_take_news(core);
			if (has_flow(core, frame, (uint16_t)port, is_out)) {
				return DROP_NONE;
			}
		}
		return is_out ? DROP_ACL_OUT : DROP_ACL_IN;
	}
	if (verdict.wants_flow) {
		const struct acl_rule *rule = acl_rule_at(acl, (unsigned int)verdict.rule);

		if (flow_add(core->flows, (uint16_t)port, frame, is_out, rule->id, rule->idle_s,
			     core->now_s, &flow) ||
		    (flow.kind != FLOW_NEWS_NONE && !tell_flow(core, &flow))) {
			return DROP_FLOW_TABLE;
		}
	}
	return DROP_NONE;
}
