/* SPDX-License-Identifier: MIT */
/*
 * Rules with what they have counted. A profile's rule is in the lists of many ports: it counts there, each
 * core for itself, and all is summed when somebody asks.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "state/load.h"
#include "state/save.h"
#include "switchd/sw_internal.h"
#include "vswitch/policy.h"
#include "vswitch/stats.h"

/* Of a rule. */
struct total {
	uint32_t id;
	bool is_here; /* in force at the port that was asked for */
	uint64_t frames, bytes;
};

struct totals {
	struct total *all; /* by id */
	unsigned int count;
};

static int compare(const void *a, const void *b)
{
	const struct total *one = a, *other = b;

	return (one->id > other->id) - (one->id < other->id);
}

static struct total *find(const struct totals *totals, uint32_t id)
{
	const struct total wanted = { .id = id };

	return totals->count ? bsearch(&wanted, totals->all, totals->count, sizeof(wanted), compare)
			     : NULL;
}

static void add_port(const struct sw *sw, uint16_t port, struct totals *totals)
{
	const struct port_policy *policy = &vswitch_policy(sw->vswitch)->ports[port];

	for (int is_out = 0; is_out < 2; is_out++) {
		const struct acl *acl = is_out ? policy->acl_out : policy->acl_in;

		for (unsigned int i = 0; acl && i < acl_rules(acl); i++) {
			struct total *total = find(totals, acl_rule_at(acl, i)->id);
			uint64_t frames, bytes;

			if (total) {
				vswitch_rule_stats(sw->vswitch, port, is_out, i, &frames, &bytes);
				total->is_here = true;
				total->frames += frames;
				total->bytes += bytes;
			}
		}
	}
}

/* port: -1: over all of them. -ENOMEM. */
static int sum(const struct sw *sw, int port, struct totals *ret)
{
	const struct sw_list *rules = &sw->config->lists[SW_LIST_RULES];

	*ret = (struct totals){ .count = rules->count };
	if (!rules->count) {
		return 0;
	}
	ret->all = fault_alloc(rules->count, sizeof(*ret->all));
	if (!ret->all) {
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < rules->count; i++) {
		ret->all[i].id =
			((const struct sw_rule *)sw_list_at(sw->config, SW_LIST_RULES, i))->id;
	}
	qsort(ret->all, ret->count, sizeof(*ret->all), compare);
	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		if (port < 0 || port == (int)n) {
			add_port(sw, n, ret);
		}
	}
	return 0;
}

/*
 * port= of a request: its name, "" for none, and its number, -1 for none ("uplink" while there is none has
 * rules and no number). -EINVAL with a sentence.
 */
static int read_port(const struct sw *sw, const json_t *request, char name[SW_NAME_BYTES], int *ret,
		     struct diag *reterr)
{
	const json_t *value = json_object_get(request, "port");

	name[0] = '\0';
	*ret = -1;
	if (!value) {
		return 0;
	}
	if (!sw_json_text(value, name, SW_NAME_BYTES) || !name[0]) {
		return diag_set(reterr, -EINVAL, "acl: port is a name");
	}
	*ret = sw_policy_port(sw->config, name);
	if (*ret < 0 && strcmp(name, SW_HOST_NAME) != 0 && strcmp(name, SW_NAT_NAME) != 0 &&
	    strcmp(name, SW_UPLINK_NAME) != 0) {
		return diag_set(reterr, -EINVAL,
				"acl: there is no port \"%s\": tabique switch port list %s shows "
				"them",
				name, sw->config->name);
	}
	return 0;
}

int sw_show_rules(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr)
{
	char name[SW_NAME_BYTES];
	struct totals totals;
	json_t *list;
	int port, err = read_port(sw, request, name, &port, reterr);

	if (err) {
		return err;
	}
	/* A name without a number is a port that is not there: nothing is counted at 0xffff. */
	err = sum(sw, name[0] && port < 0 ? UINT16_MAX : port, &totals);
	if (err) {
		return diag_set(reterr, err, "no memory");
	}
	list = json_array();
	for (unsigned int i = 0; i < totals.count; i++) {
		const struct sw_rule *rule = sw_list_at(sw->config, SW_LIST_RULES, i);
		const struct total *total = find(&totals, rule->id);
		json_t *json;

		if (name[0] && !total->is_here && strcmp(rule->port, name) != 0) {
			continue;
		}
		json = json_object();
		sw_object_build(sw_lists[SW_LIST_RULES].table, rule, true, json);
		json_object_set_new(json, "frames", json_integer((json_int_t)total->frames));
		json_object_set_new(json, "bytes", json_integer((json_int_t)total->bytes));
		json_array_append_new(list, json);
	}
	free(totals.all);
	json_object_set_new(result, "acl", list);
	return 0;
}

static bool has_rule(const struct sw *sw, json_int_t id)
{
	for (unsigned int i = 0; i < sw->config->lists[SW_LIST_RULES].count; i++) {
		const struct sw_rule *rule = sw_list_at(sw->config, SW_LIST_RULES, i);

		if ((json_int_t)rule->id == id) {
			return true;
		}
	}
	return false;
}

int sw_zero_rules(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr)
{
	const json_t *rule = json_object_get(request, "rule");
	char name[SW_NAME_BYTES];
	int port, err = read_port(sw, request, name, &port, reterr);

	(void)result;
	if (err) {
		return err;
	}
	if (rule && !json_is_integer(rule)) {
		return diag_set(reterr, -EINVAL, "acl: rule is a number, as acl list shows it");
	}
	if (rule && !has_rule(sw, json_integer_value(rule))) {
		return diag_set(reterr, -ENOENT,
				"acl: there is no rule %lld: \"acl list\" shows them",
				(long long)json_integer_value(rule));
	}
	if (!name[0] || port >= 0) {
		vswitch_rule_zero(sw->vswitch, port, rule ? (uint32_t)json_integer_value(rule) : 0);
	}
	return 0;
}

/* ---- soft state: docs/formats.md ---------------------------------------------------------------- */

/* Tags are for ever. */
enum { RULE_PORT = 1, RULE_IS_OUT = 2, RULE_ID = 3, RULE_FRAMES = 4, RULE_BYTES = 5 };

static void save_list(const struct sw *sw, uint16_t port, bool is_out, struct save *save,
		      uint16_t tag)
{
	const struct port_policy *policy = &vswitch_policy(sw->vswitch)->ports[port];
	const struct acl *acl = is_out ? policy->acl_out : policy->acl_in;

	for (unsigned int i = 0; acl && i < acl_rules(acl); i++) {
		uint64_t frames, bytes;

		vswitch_rule_stats(sw->vswitch, port, is_out, i, &frames, &bytes);
		if (frames == 0) {
			continue;
		}
		save_group_begin(save, tag);
		save_u32(save, RULE_PORT, port);
		save_u32(save, RULE_IS_OUT, is_out);
		save_u32(save, RULE_ID, acl_rule_at(acl, i)->id);
		save_u64(save, RULE_FRAMES, frames);
		save_u64(save, RULE_BYTES, bytes);
		save_group_end(save);
	}
}

void sw_rules_save(const struct sw *sw, struct save *save, uint16_t tag)
{
	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		save_list(sw, n, false, save, tag);
		save_list(sw, n, true, save, tag);
	}
}

void sw_rule_load(struct sw *sw, struct load *load, const struct load_field *field)
{
	uint32_t port = UINT32_MAX, is_out = 0, id = 0;
	uint64_t frames = 0, bytes = 0;
	struct load_field f;
	struct load inner;

	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		if (f.tag == RULE_PORT) {
			port = load_u32(&inner, &f);
		} else if (f.tag == RULE_IS_OUT) {
			is_out = load_u32(&inner, &f);
		} else if (f.tag == RULE_ID) {
			id = load_u32(&inner, &f);
		} else if (f.tag == RULE_FRAMES) {
			frames = load_u64(&inner, &f);
		} else if (f.tag == RULE_BYTES) {
			bytes = load_u64(&inner, &f);
		}
	}
	if (port >= VSWITCH_PORTS_MAX || is_out > 1) {
		load_fail(&inner);
	}
	load_close(load, &inner);
	if (load_result(load) == 0) {
		vswitch_rule_base(sw->vswitch, (uint16_t)port, is_out, id, frames, bytes);
	}
}
