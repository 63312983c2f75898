/* SPDX-License-Identifier: MIT */
#include "switchd/sw_config.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/dhcp.h"
#include "switchd/sw_nat.h"

/* ---- life --------------------------------------------------------------------------------------- */

bool sw_switch_name_is_good(const char *name)
{
	size_t length = strlen(name);
	bool ok = length >= 1 && length < SW_SWITCH_NAME_BYTES && isalnum((unsigned char)name[0]);

	for (size_t i = 0; ok && i < length; i++) {
		ok = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
	}
	return ok;
}

int sw_config_create(const char *name, struct sw_config **ret)
{
	struct sw_config *config = fault_alloc(1, sizeof(*config));

	if (!config) {
		return -ENOMEM;
	}
	snprintf(config->name, sizeof(config->name), "%s", name);
	config->settings.mtu = 1500;
	config->settings.age_s = 300;
	config->nat.lease_s = DHCP_LEASE_S_DEFAULT;
	config->nat.port_leases = 32;
	config->nat.net = (struct sw_prefix){ .is_v4 = true, .bits = 96 + 24 };
	memcpy(config->nat.net.address.bytes,
	       (const uint8_t[16]){ [10] = 0xff, [11] = 0xff, 10, 0, 2, 0 }, 16);
	*ret = config;
	return 0;
}

int sw_config_copy(const struct sw_config *config, struct sw_config **ret)
{
	auto_destroy(sw_config) struct sw_config *copy = fault_alloc(1, sizeof(*copy));

	if (!copy) {
		return -ENOMEM;
	}
	*copy = *config;
	for (unsigned int i = 0; i < SW_LIST_COUNT; i++) {
		copy->lists[i] = (struct sw_list){ 0 };
	}
	for (unsigned int i = 0; i < SW_LIST_COUNT; i++) {
		const struct sw_list *list = &config->lists[i];

		if (list->count) {
			copy->lists[i].items = fault_alloc(list->count, sw_lists[i].bytes);
			if (!copy->lists[i].items) {
				return -ENOMEM;
			}
			memcpy(copy->lists[i].items, list->items, list->count * sw_lists[i].bytes);
			copy->lists[i].count = list->count;
		}
	}
	*ret = steal(copy);
	return 0;
}

void sw_config_destroy(struct sw_config *config)
{
	if (!config) {
		return;
	}
	for (unsigned int i = 0; i < SW_LIST_COUNT; i++) {
		free(config->lists[i].items);
	}
	free(config);
}

/* ---- lists -------------------------------------------------------------------------------------- */

void *sw_list_at(const struct sw_config *config, enum sw_list_kind kind, unsigned int index)
{
	check(index < config->lists[kind].count);
	return (char *)config->lists[kind].items + index * sw_lists[kind].bytes;
}

int sw_list_add(struct sw_config *config, enum sw_list_kind kind, void **ret, struct diag *reterr)
{
	const struct sw_list_info *info = &sw_lists[kind];
	struct sw_list *list = &config->lists[kind];
	void *items;

	if (list->count == info->max) {
		return diag_set(reterr, -ENOSPC, "%s: a switch has at most %u: remove one first",
				info->table->what, info->max);
	}
	items = fault_point() ? NULL : realloc(list->items, (list->count + 1) * info->bytes);
	if (!items) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	list->items = items;
	list->count++;
	*ret = sw_list_at(config, kind, list->count - 1);
	info->init(*ret);
	return 0;
}

void sw_list_remove(struct sw_config *config, enum sw_list_kind kind, unsigned int index)
{
	struct sw_list *list = &config->lists[kind];
	char *at = sw_list_at(config, kind, index);

	list->count--;
	memmove(at, at + sw_lists[kind].bytes, (list->count - index) * sw_lists[kind].bytes);
}

static struct sw_port *find_port(const struct sw_config *config, enum sw_list_kind kind,
				 const char *name)
{
	for (unsigned int i = 0; i < config->lists[kind].count; i++) {
		struct sw_port *port = sw_list_at(config, kind, i);

		if (strcmp(port->name, name) == 0) {
			return port;
		}
	}
	return NULL;
}

struct sw_port *sw_port_find(const struct sw_config *config, const char *name)
{
	return find_port(config, SW_LIST_PORTS, name);
}

struct sw_port *sw_port_by_number(const struct sw_config *config, unsigned int number)
{
	for (unsigned int i = 0; i < config->lists[SW_LIST_PORTS].count; i++) {
		struct sw_port *port = sw_list_at(config, SW_LIST_PORTS, i);

		if (port->number == number) {
			return port;
		}
	}
	return NULL;
}

struct sw_uplink *sw_uplink_find(const struct sw_config *config, const char *dev)
{
	for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
		struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

		if (strcmp(uplink->dev, dev) == 0) {
			return uplink;
		}
	}
	return NULL;
}

int sw_port_number(const struct sw_config *config, uint16_t *ret, struct diag *reterr)
{
	for (unsigned int n = SW_PORT_FIRST; n < SW_PORT_FIRST + SW_PORTS_MAX; n++) {
		if (!sw_port_by_number(config, n)) {
			*ret = (uint16_t)n;
			return 0;
		}
	}
	return diag_set(reterr, -ENOSPC, "port: a switch has at most %u: remove one first",
			SW_PORTS_MAX);
}

void sw_port_effective(const struct sw_config *config, const struct sw_port *port,
		       struct sw_port *ret)
{
	const struct sw_port *profile = find_port(
		config, SW_LIST_PROFILES, port->profile[0] ? port->profile : SW_PROFILE_DEFAULT);
	struct sw_port result = *port;

	/* The first two are the names. */
	for (unsigned int i = 2; profile && i < sw_port_table.count; i++) {
		if (!sw_value_given(port, i)) {
			sw_value_copy(&sw_port_table, i, profile, &result);
		}
	}
	*ret = result;
}

/* Not for others: what a mirror copies to "host" is for the host. */
static bool is_own_name(const char *name)
{
	return strcmp(name, SW_HOST_NAME) == 0 || strcmp(name, SW_UPLINK_NAME) == 0 ||
	       strcmp(name, SW_NAT_NAME) == 0;
}

int sw_config_add_auto(struct sw_config *config, const char *name, struct diag *reterr)
{
	struct sw_port *port;
	uint16_t number;
	void *item;
	int err;

	if (!sw_name_is_good(name)) {
		return diag_set(reterr, -EINVAL,
				"port: name \"%.64s\": give 1 to 63 letters, digits, dots, dashes, "
				"underscores, slashes, colons or plus signs",
				name);
	}
	if (is_own_name(name)) {
		return diag_set(reterr, -EINVAL,
				"port: the name \"%s\" is the switch's own: take another", name);
	}
	if (sw_port_find(config, name)) {
		return diag_set(reterr, -EEXIST, "port %s is there already", name);
	}
	if (config->settings.ports == SW_PORTS_FIXED) {
		return diag_set(
			reterr, -EPERM,
			"switch %s has no port %s, and ports=fixed: add it with tabique switch "
			"port add %s name=%s",
			config->name, name, config->name, name);
	}
	err = sw_port_number(config, &number, reterr);
	err = err ? err : sw_list_add(config, SW_LIST_PORTS, &item, reterr);
	if (err) {
		return err;
	}
	port = item;
	strcpy(port->name, name);
	port->given |= 1;
	port->number = number;
	port->is_auto = true;
	return 0;
}

/* ---- does it fit together ---------------------------------------------------------------------- */

static bool is_port(const struct sw_config *config, const char *name)
{
	return sw_port_find(config, name) || is_own_name(name);
}

static int check_kind(const struct sw_config *config, struct diag *reterr)
{
	static const char *const names[] = { "external", "internal", "private" };
	const struct sw_settings *settings = &config->settings;
	const char *kind = names[settings->kind];

	if (settings->kind != SW_EXTERNAL && config->lists[SW_LIST_UPLINKS].count) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, 0);

		return diag_set(reterr, -EINVAL,
				"%s switches have no uplinks: remove %s, or say kind=external",
				kind, uplink->dev);
	}
	if (settings->kind == SW_PRIVATE && settings->host_port[0]) {
		return diag_set(
			reterr, -EINVAL,
			"private switches have no port for the host: leave host-port=%s out, or "
			"say kind=internal",
			settings->host_port);
	}
	if (settings->kind == SW_PRIVATE && config->nat.on) {
		return diag_set(reterr, -EINVAL,
				"private switches reach nobody outside: turn nat off, or say "
				"kind=internal");
	}
	if (settings->host_port[0] && sw_uplink_find(config, settings->host_port)) {
		return diag_set(
			reterr, -EINVAL,
			"%s cannot be the host's port and an uplink: take another interface for "
			"one of them",
			settings->host_port);
	}
	return 0;
}

static int check_port(const struct sw_config *config, const struct sw_port *port, const char *what,
		      struct diag *reterr)
{
	struct sw_port whole;

	if (port->profile[0] && !find_port(config, SW_LIST_PROFILES, port->profile)) {
		return diag_set(
			reterr, -EINVAL,
			"%s %s: there is no profile \"%s\": add it first with tabique switch "
			"profile add",
			what, port->name, port->profile);
	}
	if (is_own_name(port->name)) {
		return diag_set(reterr, -EINVAL,
				"%s: the name \"%s\" is the switch's own: take another", what,
				port->name);
	}
	if (port->profile[0] && strcmp(what, "profile") == 0) {
		return diag_set(reterr, -EINVAL,
				"profile %s: a profile has no profile of its own: leave it out",
				port->name);
	}
	sw_port_effective(config, port, &whole);
	if (whole.burst_bytes && !whole.max_bits) {
		return diag_set(reterr, -EINVAL, "%s %s: burst goes with a maximum: say max= too",
				what, port->name);
	}
	return 0;
}

static bool is_any(const struct sw_range *range)
{
	return range->from == 0 && range->to == UINT16_MAX;
}

static int check_rule_words(const struct sw_rule *rule, struct diag *reterr)
{
	bool has_ports = !is_any(&rule->local_port) || !is_any(&rule->remote_port);
	bool has_address = rule->local.bits || rule->remote.bits;

	if (has_ports && rule->protocol != IPPROTO_TCP && rule->protocol != IPPROTO_UDP) {
		return diag_set(reterr, -EINVAL,
				"acl: only tcp and udp have ports: say proto=tcp or proto=udp");
	}
	if (rule->local.bits && rule->remote.bits && rule->local.is_v4 != rule->remote.is_v4) {
		return diag_set(reterr, -EINVAL,
				"acl: local and remote must both be IPv4 or both IPv6");
	}
	if (rule->ethertype && (has_address || rule->protocol)) {
		return diag_set(
			reterr, -EINVAL,
			"acl: ethertype goes with no addresses and no proto, which are IP's: "
			"leave it out");
	}
	if (rule->is_stateful && rule->action != SW_ALLOW) {
		return diag_set(reterr, -EINVAL, "acl: stateful goes with action=allow only");
	}
	if (sw_value_given(rule,
			   (unsigned int)sw_table_find(sw_lists[SW_LIST_RULES].table, "idle")) &&
	    !rule->is_stateful) {
		return diag_set(reterr, -EINVAL, "acl: idle is for stateful=on: say that too");
	}
	return 0;
}

static int check_rule(const struct sw_config *config, const struct sw_rule *rule,
		      struct diag *reterr)
{
	unsigned int count = 0;

	if (!rule->port[0] == !rule->profile[0]) {
		return diag_set(reterr, -EINVAL, "acl: say port= or profile=, and one of them");
	}
	if (rule->port[0] && !is_port(config, rule->port)) {
		return diag_set(
			reterr, -EINVAL,
			"acl: there is no port \"%s\": tabique switch port list %s shows them",
			rule->port, config->name);
	}
	if (rule->profile[0] && !find_port(config, SW_LIST_PROFILES, rule->profile)) {
		return diag_set(reterr, -EINVAL,
				"acl: there is no profile \"%s\": add it first with tabique switch "
				"profile add",
				rule->profile);
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_RULES].count; i++) {
		const struct sw_rule *other = sw_list_at(config, SW_LIST_RULES, i);

		count += strcmp(other->port, rule->port) == 0 &&
			 strcmp(other->profile, rule->profile) == 0 &&
			 other->direction == rule->direction;
	}
	/* half for the port, half for its profile */
	if (count > SW_PORT_RULES_MAX / 2) {
		return diag_set(
			reterr, -ENOSPC,
			"acl: %s has %u rules in this direction, and at most %u are possible: "
			"remove some",
			rule->port[0] ? rule->port : rule->profile, count, SW_PORT_RULES_MAX / 2);
	}
	return check_rule_words(rule, reterr);
}

static int check_mirror(const struct sw_config *config, const struct sw_mirror *mirror,
			struct diag *reterr)
{
	if (!mirror->from.count || !mirror->to[0]) {
		return diag_set(reterr, -EINVAL,
				"mirror %s: say from=PORT,... and to=PORT: what is seen, and where",
				mirror->name);
	}
	if (!is_port(config, mirror->to)) {
		return diag_set(reterr, -EINVAL, "mirror %s: there is no port \"%s\" (to=)",
				mirror->name, mirror->to);
	}
	for (unsigned int i = 0; i < mirror->from.count; i++) {
		if (!is_port(config, mirror->from.names[i])) {
			return diag_set(reterr, -EINVAL,
					"mirror %s: there is no port \"%s\" (from=)", mirror->name,
					mirror->from.names[i]);
		}
		if (strcmp(mirror->from.names[i], mirror->to) == 0) {
			return diag_set(
				reterr, -EINVAL,
				"mirror %s: port %s cannot be mirrored to itself: take another "
				"in to=",
				mirror->name, mirror->to);
		}
	}
	return 0;
}

static int check_item(const struct sw_config *config, enum sw_list_kind kind, const void *item,
		      struct diag *reterr)
{
	const struct sw_static *entry = item;

	switch (kind) {
	case SW_LIST_PROFILES:
		return check_port(config, item, "profile", reterr);
	case SW_LIST_PORTS:
		return check_port(config, item, "port", reterr);
	case SW_LIST_RULES:
		return check_rule(config, item, reterr);
	case SW_LIST_MIRRORS:
		return check_mirror(config, item, reterr);
	case SW_LIST_STATICS:
		if (!is_port(config, entry->port)) {
			return diag_set(reterr, -EINVAL,
					"fdb: there is no port \"%s\": tabique switch port list %s "
					"shows them",
					entry->port, config->name);
		}
		return 0;
	case SW_LIST_FORWARDS: /* sw_nat_check() */
	case SW_LIST_RESERVATIONS:
	case SW_LIST_UPLINKS:
	case SW_LIST_EXTENSIONS:
	case SW_LIST_COUNT:
		break;
	}
	return 0;
}

static bool is_same(const struct sw_list_info *info, const void *a, const void *b)
{
	for (unsigned int i = 0; i < info->identity; i++) {
		if (!sw_value_is_same(info->table, i, a, b)) {
			return false;
		}
	}
	return true;
}

static int check_list(const struct sw_config *config, enum sw_list_kind kind, struct diag *reterr)
{
	const struct sw_list_info *info = &sw_lists[kind];
	char text[SW_TEXT_BYTES];

	for (unsigned int i = 0; i < config->lists[kind].count; i++) {
		const void *item = sw_list_at(config, kind, i);
		int err;

		if (!sw_value_given(item, 0)) {
			return diag_set(reterr, -EINVAL, "%s: one has no %s: say %s=...",
					info->table->what, info->table->keys[0].name,
					info->table->keys[0].name);
		}
		for (unsigned int j = 0; j < i; j++) {
			if (is_same(info, item, sw_list_at(config, kind, j))) {
				sw_value_text(info->table, 0, item, text);
				return diag_set(reterr, -EINVAL, "%s: %s %.64s is there already",
						info->table->what, info->table->keys[0].name, text);
			}
		}
		err = check_item(config, kind, item, reterr);
		if (err) {
			return err;
		}
	}
	return 0;
}

int sw_config_check(const struct sw_config *config, struct diag *reterr)
{
	int err = check_kind(config, reterr);

	for (unsigned int i = 0; !err && i < SW_LIST_COUNT; i++) {
		err = check_list(config, i, reterr);
	}
	return err ? err : sw_nat_check(config, reterr);
}
