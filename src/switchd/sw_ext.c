/* SPDX-License-Identifier: MIT */
/* Extensions (vswitch/ext.h): who may connect, and what is configured for those that do. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "switchd/sw_internal.h"
#include "vswitch/ext.h"

static const char *kind_name(enum vsext_kind kind)
{
	switch (kind) {
	case VSEXT_CAPTURE:
		return "capture";
	case VSEXT_FILTER:
		return "filter";
	case VSEXT_FORWARD:
		return "forward";
	default:
		return "?";
	}
}

/* One that is not configured may connect as well: the socket's permissions say who reaches it. */
static int on_admit(void *ctx, const char *name, enum vsext_kind kind, uid_t uid,
		    struct ext_rules *rules, struct diag *reterr)
{
	const struct sw *sw = ctx;
	const struct sw_list *list = &sw->config->lists[SW_LIST_EXTENSIONS];

	rules->position = list->count;
	for (unsigned int i = 0; i < list->count; i++) {
		const struct sw_extension *ext = sw_list_at(sw->config, SW_LIST_EXTENSIONS, i);

		if (strcmp(ext->name, name) != 0) {
			continue;
		}
		if (ext->kind + 1 != (int)kind) {
			return diag_set(reterr, -EPERM, "%.20s is configured as another kind",
					name);
		}
		if (ext->owner != SW_OWNER_ANY && ext->owner != uid) {
			return diag_set(reterr, -EPERM, "%.20s is another user's", name);
		}
		rules->position = i;
		rules->drops_on_failure = ext->on_failure != 0;
		rules->deadline_ns = (uint64_t)ext->deadline_ms * 1000000;
		return 0;
	}
	return 0;
}

static void on_stages_changed(void *ctx)
{
	struct sw *sw = ctx;

	loop_defer(sw->control, &sw->readopt);
}

static const struct exts_events events = {
	.admit = on_admit,
	.stages_changed = on_stages_changed,
};

int sw_ext_create(struct sw *sw, struct diag *reterr)
{
	struct exts_config config = { .vswitch = sw->vswitch,
				      .control = sw->control,
				      .listen_fd = sw->listen_ext,
				      .events = &events,
				      .ctx = sw };
	int err = exts_create(&config, &sw->exts);

	sw->listen_ext = -1;
	return err ? diag_set(reterr, err, "cannot serve extensions: %s", strerror(-err)) : 0;
}

void sw_ext_add_stages(const struct sw *sw, struct policy *policy)
{
	if (!sw->exts) {
		return;
	}
	policy->ext = &exts_hooks;
	policy->ext_ctx = sw->exts;
	for (uint16_t n = 0; n < VSWITCH_PORTS_MAX; n++) {
		policy->ports[n].ext = policy->ports[n].is_used ? exts_stages(sw->exts, n) : 0;
	}
	policy_seal(policy);
}

void sw_ext_reconnect(struct sw *sw, const struct json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "ext"));

	if (name) {
		(void)exts_remove(sw->exts, name);
	}
}

/* ---- ext list ----------------------------------------------------------------------------------- */

static void on_info(void *ctx, const struct ext_info *info)
{
	json_t *list = ctx;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "asked", info->asked },     { "passed", info->passed },
		{ "dropped", info->dropped }, { "changed", info->changed },
		{ "sent", info->sent },       { "full", info->full },
		{ "late", info->late },       { "bypassed", info->bypassed },
		{ "bad", info->bad },         { "held", info->held },
	};
	json_t *json = json_object();

	json_object_set_new(json, "ext", json_string(info->name));
	json_object_set_new(json, "kind", json_string(kind_name(info->kind)));
	json_object_set_new(json, "state",
			    json_string(info->is_suspended ? "suspended" : "connected"));
	json_object_set_new(json, "on-failure",
			    json_string(info->rules.drops_on_failure ? "drop" : "pass"));
	json_object_set_new(json, "deadline",
			    json_integer((json_int_t)(info->rules.deadline_ns / 1000000)));
	json_object_set_new(json, "pid", json_integer(info->pid));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		json_object_set_new(json, numbers[i].name,
				    json_integer((json_int_t)numbers[i].value));
	}
	json_array_append_new(list, json);
}

static bool is_listed(const json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *other =
			json_string_value(json_object_get(json_array_get(list, i), "ext"));

		if (other && strcmp(other, name) == 0) {
			return true;
		}
	}
	return false;
}

int sw_show_exts(struct sw *sw, const struct json_t *request, struct json_t *result,
		 struct diag *reterr)
{
	json_t *list = json_array();

	(void)request;
	(void)reterr;
	exts_each(sw->exts, on_info, list);
	for (unsigned int i = 0; i < sw->config->lists[SW_LIST_EXTENSIONS].count; i++) {
		const struct sw_extension *ext = sw_list_at(sw->config, SW_LIST_EXTENSIONS, i);
		json_t *json;

		if (is_listed(list, ext->name)) {
			continue;
		}
		json = json_object();
		sw_object_build(sw_lists[SW_LIST_EXTENSIONS].table, ext, true, json);
		json_object_set_new(json, "state", json_string("not connected"));
		json_array_append_new(list, json);
	}
	json_object_set_new(result, "exts", list);
	return 0;
}
