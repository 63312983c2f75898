/* SPDX-License-Identifier: MIT */
#include "switchd/sw_change.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* What a verb is given. */
struct change {
	struct sw_config *config; /* the copy */
	const json_t *request;
	enum sw_list_kind kind;
	json_t *result;
	struct diag *reterr;
};

typedef int change_fn(struct change *change);

/* Members of a request that are not the verb's. */
static const char *const skip[] = { "verb", "id", "switch", NULL };

static const struct sw_table *table_of(const struct change *change)
{
	return sw_lists[change->kind].table;
}

/* ---- finding ------------------------------------------------------------------------------------ */

/*
 * "port=web" and "profile=gold" name ports and profiles in verbs, where the objects' own key is "name":
 * the request as the table has it, a new reference.
 */
static json_t *own_words(const struct change *change)
{
	bool is_named = change->kind == SW_LIST_PORTS || change->kind == SW_LIST_PROFILES;
	const char *alias = change->kind == SW_LIST_PORTS ? "port" : "profile";
	json_t *words = json_copy((json_t *)change->request);
	json_t *name = words && is_named ? json_object_get(words, alias) : NULL;

	if (name && !json_object_get(words, "name")) {
		json_object_set(words, "name", name);
		json_object_del(words, alias);
	}
	return words;
}

/* The item that the request names by its identity: its index. -ENOENT with a sentence. */
static int find(const struct change *change, const json_t *words, unsigned int *ret)
{
	const struct sw_list_info *info = &sw_lists[change->kind];
	const char *const what = info->table->what;
	union {
		uint64_t given;
		struct sw_port port;
		struct sw_rule rule;
		struct sw_mirror mirror;
	} wanted;
	char text[SW_TEXT_BYTES] = "";

	memset(&wanted, 0, sizeof(wanted));
	for (unsigned int i = 0; i < info->identity; i++) {
		const char *key = info->table->keys[i].name;
		const json_t *value = json_object_get(words, key);
		int err;

		if (!value && i > 0) {
			continue; /* its zero is what is meant */
		}
		if (!value || !sw_json_text(value, text, sizeof(text))) {
			return diag_set(change->reterr, -EINVAL, "%s: which one? Say %s=...", what,
					change->kind == SW_LIST_PORTS      ? "port"
					: change->kind == SW_LIST_PROFILES ? "profile"
									   : key);
		}
		err = sw_value_set(info->table, i, &wanted, text, change->reterr);
		if (err) {
			return err;
		}
	}
	for (unsigned int i = 0; i < change->config->lists[change->kind].count; i++) {
		const void *item = sw_list_at(change->config, change->kind, i);
		bool is_it = true;

		for (unsigned int j = 0; j < info->identity; j++) {
			is_it = is_it && sw_value_is_same(info->table, j, item, &wanted);
		}
		if (is_it) {
			*ret = i;
			return 0;
		}
	}
	sw_value_text(info->table, 0, &wanted, text);
	return diag_set(change->reterr, -ENOENT, "%s: there is no %.64s: \"%s list\" shows them",
			what, text, what);
}

/* ---- lists -------------------------------------------------------------------------------------- */

static uint32_t next_rule_id(const struct sw_config *config)
{
	uint32_t id = 0;

	for (unsigned int i = 0; i < config->lists[SW_LIST_RULES].count; i++) {
		const struct sw_rule *rule = sw_list_at(config, SW_LIST_RULES, i);

		id = rule->id > id ? rule->id : id;
	}
	return id == UINT32_MAX ? 1 : id + 1;
}

static uint16_t free_uplink(const struct sw_config *config)
{
	for (uint16_t n = SW_PORT_UPLINK;; n++) {
		bool is_free = true;

		for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
			const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

			is_free = is_free && uplink->number != n;
		}
		if (is_free) {
			return n;
		}
	}
}

/* What is not in the words: numbers. */
static int number_item(struct change *change, void *item, uint16_t uplink, uint16_t port)
{
	struct diag *reterr = change->reterr;
	struct sw_rule *rule = item;
	char text[16];

	if (change->kind == SW_LIST_UPLINKS) {
		((struct sw_uplink *)item)->number = uplink;
	} else if (change->kind == SW_LIST_PORTS) {
		((struct sw_port *)item)->number = port;
	} else if (change->kind == SW_LIST_RULES) {
		if (!sw_value_given(rule, 0)) {
			snprintf(text, sizeof(text), "%u", next_rule_id(change->config));
			if (sw_value_set(table_of(change), 0, rule, text, reterr)) {
				return -EINVAL;
			}
		}
		json_object_set_new(change->result, "rule", json_integer(rule->id));
	}
	return 0;
}

static int add(struct change *change)
{
	json_t *words = own_words(change);
	uint16_t uplink = free_uplink(change->config), port = 0;
	void *item;
	int err = words ? 0 : diag_set(change->reterr, -ENOMEM, "no memory");

	if (!err && change->kind == SW_LIST_PORTS) {
		err = sw_port_number(change->config, &port, change->reterr);
	}
	err = err ? err : sw_list_add(change->config, change->kind, &item, change->reterr);
	err = err ? err : sw_object_parse(table_of(change), words, skip, item, change->reterr);
	json_decref(words);
	return err ? err : number_item(change, item, uplink, port);
}

static int set(struct change *change)
{
	json_t *words = own_words(change);
	unsigned int index;
	int err = words ? 0 : diag_set(change->reterr, -ENOMEM, "no memory");

	err = err ? err : find(change, words, &index);
	if (!err) {
		void *item = sw_list_at(change->config, change->kind, index);

		err = sw_object_parse(table_of(change), words, skip, item, change->reterr);
		if (!err && change->kind == SW_LIST_PORTS) {
			/* Somebody cares about it now: it stays. */
			((struct sw_port *)item)->is_auto = false;
		}
	}
	json_decref(words);
	return err;
}

/* Sets one that is there, or makes it. */
static int put(struct change *change)
{
	struct diag *reterr = change->reterr, why;
	unsigned int index;
	int err;

	change->reterr = &why;
	err = find(change, change->request, &index);
	change->reterr = reterr;
	if (err == -EINVAL) {
		*reterr = why;
		return err;
	}
	return err ? add(change) : set(change);
}

/* A port or a profile takes its rules along, a port its addresses. */
static void drop_belongings(struct change *change, const char *name)
{
	struct sw_config *config = change->config;
	bool is_port = change->kind == SW_LIST_PORTS;

	for (unsigned int i = config->lists[SW_LIST_RULES].count; i-- > 0;) {
		const struct sw_rule *rule = sw_list_at(config, SW_LIST_RULES, i);

		if (strcmp(is_port ? rule->port : rule->profile, name) == 0) {
			sw_list_remove(config, SW_LIST_RULES, i);
		}
	}
	for (unsigned int i = config->lists[SW_LIST_STATICS].count; is_port && i-- > 0;) {
		const struct sw_static *entry = sw_list_at(config, SW_LIST_STATICS, i);

		if (strcmp(entry->port, name) == 0) {
			sw_list_remove(config, SW_LIST_STATICS, i);
		}
	}
}

/* -EBUSY with a sentence when a mirror needs the port, or a port the profile. */
static int refuse_needed(const struct change *change, const char *name)
{
	const struct sw_config *config = change->config;

	for (unsigned int i = 0; i < config->lists[SW_LIST_MIRRORS].count; i++) {
		const struct sw_mirror *mirror = sw_list_at(config, SW_LIST_MIRRORS, i);
		bool is_needed = strcmp(mirror->to, name) == 0;

		for (unsigned int j = 0; j < mirror->from.count; j++) {
			is_needed = is_needed || strcmp(mirror->from.names[j], name) == 0;
		}
		if (change->kind == SW_LIST_PORTS && is_needed) {
			return diag_set(change->reterr, -EBUSY,
					"port: mirror %s needs %s: change it, or say \"mirror off "
					"mirror=%s\" first",
					mirror->name, name, mirror->name);
		}
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_PORTS].count; i++) {
		const struct sw_port *port = sw_list_at(config, SW_LIST_PORTS, i);

		if (change->kind == SW_LIST_PROFILES && strcmp(port->profile, name) == 0) {
			return diag_set(change->reterr, -EBUSY,
					"profile: port %s has profile %s: give it another first",
					port->name, name);
		}
	}
	return 0;
}

static int take(struct change *change)
{
	const struct sw_table *table = table_of(change);
	const unsigned int identity = sw_lists[change->kind].identity;
	json_t *words = own_words(change);
	unsigned int index;
	const char *name;
	json_t *value;
	int err = words ? 0 : diag_set(change->reterr, -ENOMEM, "no memory");

	json_object_foreach(words, name, value)
	{
		int key = sw_table_find(table, name);

		if (key < 0 ? strcmp(name, "verb") != 0 && strcmp(name, "id") != 0 &&
				      strcmp(name, "switch") != 0
			    : (unsigned int)key >= identity) {
			err = diag_set(
				change->reterr, -EINVAL,
				"%s: \"%.64s\" does not say which one to remove: leave it out",
				table->what, name);
		}
	}
	err = err ? err : find(change, words, &index);
	json_decref(words);
	if (err) {
		return err;
	}
	if (change->kind == SW_LIST_PORTS || change->kind == SW_LIST_PROFILES) {
		const struct sw_port *port = sw_list_at(change->config, change->kind, index);
		char gone[SW_NAME_BYTES];

		strcpy(gone, port->name);
		err = refuse_needed(change, gone);
		if (err) {
			return err;
		}
		drop_belongings(change, gone);
	}
	sw_list_remove(change->config, change->kind, index);
	return 0;
}

static int list(struct change *change)
{
	const struct sw_config *config = change->config;
	json_t *array = json_array();

	for (unsigned int i = 0; i < config->lists[change->kind].count; i++) {
		const void *item = sw_list_at(config, change->kind, i);
		struct sw_port whole;
		json_t *json = json_object();

		if (change->kind == SW_LIST_PORTS) {
			sw_port_effective(config, item, &whole);
			sw_object_build(&sw_port_table, &whole, true, json);
			json_object_set_new(json, "auto", json_boolean(whole.is_auto));
		} else {
			sw_object_build(table_of(change), item, true, json);
		}
		json_array_append_new(array, json);
	}
	json_object_set_new(change->result, sw_lists[change->kind].name, array);
	return 0;
}

/* ---- the switch, NAT ---------------------------------------------------------------------------- */

static int set_settings(struct change *change)
{
	struct sw_settings *settings = &change->config->settings;
	const json_t *host_port = json_object_get(change->request, "host-port");
	json_t *words = json_copy((json_t *)change->request);
	int err = words ? 0 : diag_set(change->reterr, -ENOMEM, "no memory");

	/* "none" takes it away; it could not be an interface's name otherwise. */
	if (json_is_string(host_port) && strcmp(json_string_value(host_port), "none") == 0) {
		memset(settings->host_port, 0, sizeof(settings->host_port));
		settings->given &= ~(UINT64_C(1) << sw_table_find(&sw_settings_table, "host-port"));
		json_object_del(words, "host-port");
	}
	err = err ? err
		  : sw_object_parse(&sw_settings_table, words, skip, settings, change->reterr);
	json_decref(words);
	return err;
}

static int set_nat(struct change *change)
{
	return sw_object_parse(&sw_nat_table, change->request, skip, &change->config->nat,
			       change->reterr);
}

/* uplink add dev=eth1 team=hash: the team is the switch's. */
static int put_uplink(struct change *change, change_fn *fn)
{
	const json_t *request = change->request;
	const json_t *team = json_object_get(request, "team");
	json_t *settings, *words;
	int err;

	if (!team) {
		return fn(change);
	}
	settings = json_pack("{s:O}", "team", team);
	words = json_copy((json_t *)request);
	err = settings && words ? sw_object_parse(&sw_settings_table, settings, NULL,
						  &change->config->settings, change->reterr)
				: diag_set(change->reterr, -ENOMEM, "no memory");
	json_object_del(words, "team");
	change->request = words;
	err = err ? err : fn(change);
	change->request = request;
	json_decref(settings);
	json_decref(words);
	return err;
}

static int add_uplink(struct change *change)
{
	return put_uplink(change, add);
}

static int set_uplink(struct change *change)
{
	return put_uplink(change, set);
}

/* ---- the verbs ---------------------------------------------------------------------------------- */

const struct sw_change_verb sw_change_verbs[] = {
	{ "set",
	  "changes the switch itself: kind, mtu, ports, host-port, host-vlan, team, age, querier, "
	  "link-local" },
	{ "port add", "adds a port: name=, and its properties" },
	{ "port set", "changes properties of a port: port=" },
	{ "port remove", "removes a port: port=" },
	{ "port list", "all ports, with what holds for them" },
	{ "profile add", "adds a profile: name=, and properties of ports" },
	{ "profile set", "changes a profile: profile=" },
	{ "profile remove", "removes a profile: profile=" },
	{ "profile list", "all profiles" },
	{ "acl add", "adds a rule to a port or a profile" },
	{ "acl remove", "removes a rule: rule=" },
	{ "mirror set", "makes or changes a mirror session: mirror=, from=, direction=, to=" },
	{ "mirror off", "ends one: mirror=" },
	{ "mirror list", "all mirror sessions" },
	{ "ext add",
	  "says what holds for an extension: ext=, kind=, on-failure=, deadline=, owner=" },
	{ "ext remove", "takes that back: ext=" },
	{ "fdb add", "says where an address is: mac=, port=, vlan=" },
	{ "fdb delete", "takes that back: mac=, vlan=" },
	{ "uplink add", "adds an uplink: dev=, mode=, priority=, team=" },
	{ "uplink set", "changes an uplink: dev=" },
	{ "uplink remove", "removes an uplink: dev=" },
	{ "nat set", "address translation for all: on=, net=, gateway=, dns=, range=, lease=, "
		     "port-leases=, domain=, restricted=" },
	{ "nat forward", "forwards a port of the host: forward=tcp:2222:22" },
	{ "nat unforward", "no longer: forward=" },
	{ "nat reserve", "keeps an address for a client: mac=, ip=" },
	{ "nat unreserve", "no longer: mac=" },
};
const size_t sw_change_verb_count = ARRAY_SIZE(sw_change_verbs);

static const struct {
	const char *name;
	enum sw_list_kind kind;
	change_fn *fn;
} doers[] = {
	{ "set", SW_LIST_COUNT, set_settings },
	{ "port add", SW_LIST_PORTS, add },
	{ "port set", SW_LIST_PORTS, set },
	{ "port remove", SW_LIST_PORTS, take },
	{ "port list", SW_LIST_PORTS, list },
	{ "profile add", SW_LIST_PROFILES, add },
	{ "profile set", SW_LIST_PROFILES, set },
	{ "profile remove", SW_LIST_PROFILES, take },
	{ "profile list", SW_LIST_PROFILES, list },
	{ "acl add", SW_LIST_RULES, add },
	{ "acl remove", SW_LIST_RULES, take },
	{ "mirror set", SW_LIST_MIRRORS, put },
	{ "mirror off", SW_LIST_MIRRORS, take },
	{ "mirror list", SW_LIST_MIRRORS, list },
	{ "ext add", SW_LIST_EXTENSIONS, put },
	{ "ext remove", SW_LIST_EXTENSIONS, take },
	{ "fdb add", SW_LIST_STATICS, add },
	{ "fdb delete", SW_LIST_STATICS, take },
	{ "uplink add", SW_LIST_UPLINKS, add_uplink },
	{ "uplink set", SW_LIST_UPLINKS, set_uplink },
	{ "uplink remove", SW_LIST_UPLINKS, take },
	{ "nat set", SW_LIST_COUNT, set_nat },
	{ "nat forward", SW_LIST_FORWARDS, add },
	{ "nat unforward", SW_LIST_FORWARDS, take },
	{ "nat reserve", SW_LIST_RESERVATIONS, add },
	{ "nat unreserve", SW_LIST_RESERVATIONS, take },
};

int sw_change(const struct sw_config *config, const char *verb, const struct json_t *request,
	      struct sw_config **ret, struct json_t **ret_result, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *copy = NULL;
	struct change change = { .request = request, .reterr = reterr };
	change_fn *fn = NULL;
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(doers); i++) {
		if (strcmp(doers[i].name, verb) == 0) {
			fn = doers[i].fn;
			change.kind = doers[i].kind;
		}
	}
	if (!fn) {
		return diag_set(reterr, -ENOSYS, "there is no verb \"%.64s\"", verb);
	}
	change.result = json_object();
	if (!change.result || sw_config_copy(config, &copy)) {
		json_decref(change.result);
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	change.config = copy;
	err = fn(&change);
	err = err ? err : sw_config_check(copy, reterr);
	if (err) {
		json_decref(change.result);
		return err;
	}
	*ret = fn == list ? NULL : steal(copy);
	*ret_result = change.result;
	return 0;
}
