/* SPDX-License-Identifier: MIT */
/* A switch's configuration as JSON: its file, and what `show` tells. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "switchd/sw_config.h"

/* ---- reading ------------------------------------------------------------------------------------ */

static int parse_list(struct sw_config *config, enum sw_list_kind kind, const json_t *array,
		      struct diag *reterr)
{
	const struct sw_list_info *info = &sw_lists[kind];

	if (!json_is_array(array)) {
		return diag_set(reterr, -EINVAL, "\"%s\" is no list", info->name);
	}
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *json = json_array_get(array, i);
		uint16_t number = 0;
		void *item;
		int err;

		if (!json_is_object(json)) {
			return diag_set(reterr, -EINVAL,
					"\"%s\" has something in it that is no object", info->name);
		}
		/* Before it is in the list, where it has the number 0 */
		err = kind == SW_LIST_PORTS ? sw_port_number(config, &number, reterr) : 0;
		err = err ? err : sw_list_add(config, kind, &item, reterr);
		err = err ? err : sw_object_parse(info->table, json, NULL, item, reterr);
		if (err) {
			return err;
		}
		if (kind == SW_LIST_PORTS) {
			((struct sw_port *)item)->number = number;
		} else if (kind == SW_LIST_UPLINKS) {
			((struct sw_uplink *)item)->number = (uint16_t)(SW_PORT_UPLINK + i);
		}
	}
	return 0;
}

static int parse_member(struct sw_config *config, const char *name, const json_t *value,
			struct diag *reterr)
{
	bool is_settings = strcmp(name, "settings") == 0;

	if (strcmp(name, "version") == 0 || strcmp(name, "name") == 0) {
		return 0;
	}
	if (is_settings || strcmp(name, "nat") == 0) {
		if (!json_is_object(value)) {
			return diag_set(reterr, -EINVAL, "\"%s\" is no object", name);
		}
		return is_settings
			       ? sw_object_parse(&sw_settings_table, value, NULL, &config->settings,
						 reterr)
			       : sw_object_parse(&sw_nat_table, value, NULL, &config->nat, reterr);
	}
	for (unsigned int i = 0; i < SW_LIST_COUNT; i++) {
		if (strcmp(name, sw_lists[i].name) == 0) {
			return parse_list(config, i, value, reterr);
		}
	}
	return diag_set(reterr, -EINVAL, "there is no \"%.64s\" in a switch's configuration", name);
}

static int parse_head(const json_t *json, const char **ret_name, struct diag *reterr)
{
	const json_t *version = json_object_get(json, "version");
	const char *name = json_string_value(json_object_get(json, "name"));

	if (!json_is_object(json)) {
		return diag_set(reterr, -EINVAL, "it is no JSON object");
	}
	if (!json_is_integer(version) || json_integer_value(version) != SW_CONFIG_VERSION) {
		return diag_set(
			reterr, -EINVAL,
			"its \"version\" is not %d: it was written by another version of the "
			"program",
			SW_CONFIG_VERSION);
	}
	if (!name || !sw_switch_name_is_good(name)) {
		return diag_set(reterr, -EINVAL, "its \"name\" is no switch's");
	}
	*ret_name = name;
	return 0;
}

int sw_config_parse(const struct json_t *json, struct sw_config **ret, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	const char *name = NULL;
	json_t *value;
	int err = parse_head(json, &name, reterr);

	if (err) {
		return err;
	}
	if (sw_config_create(name, &config)) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	json_object_foreach((json_t *)json, name, value)
	{
		err = parse_member(config, name, value, reterr);
		if (err) {
			return err;
		}
	}
	err = sw_config_check(config, reterr);
	if (!err) {
		*ret = steal(config);
	}
	return err;
}

int sw_config_parse_text(const char *text, size_t bytes, struct sw_config **ret,
			 struct diag *reterr)
{
	json_error_t error;
	json_t *json;
	int err;

	if (bytes > SW_CONFIG_BYTES_MAX) {
		return diag_set(reterr, -EINVAL, "it is longer than %u bytes", SW_CONFIG_BYTES_MAX);
	}
	json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		return diag_set(reterr, -EINVAL, "line %d: %s", error.line, error.text);
	}
	err = sw_config_parse(json, ret, reterr);
	json_decref(json);
	return err;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static json_t *build_object(const struct sw_table *table, const void *object, bool everything)
{
	json_t *json = json_object();

	sw_object_build(table, object, everything, json);
	return json;
}

static json_t *build_list(const struct sw_config *config, enum sw_list_kind kind, bool everything)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < config->lists[kind].count; i++) {
		const void *item = sw_list_at(config, kind, i);
		const struct sw_port *port = item;

		if (kind == SW_LIST_PORTS && port->is_auto && !everything) {
			continue;
		}
		json_array_append_new(array, build_object(sw_lists[kind].table, item, false));
	}
	return array;
}

struct json_t *sw_config_build(const struct sw_config *config, bool everything)
{
	json_t *json = json_pack("{s:i, s:s}", "version", SW_CONFIG_VERSION, "name", config->name);

	if (!json) {
		return NULL;
	}
	json_object_set_new(json, "settings",
			    build_object(&sw_settings_table, &config->settings, everything));
	json_object_set_new(json, "nat", build_object(&sw_nat_table, &config->nat, everything));
	for (unsigned int i = 0; i < SW_LIST_COUNT; i++) {
		json_object_set_new(json, sw_lists[i].name, build_list(config, i, everything));
	}
	return json;
}
