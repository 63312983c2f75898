/* SPDX-License-Identifier: MIT */
#include "cmd/switch_devices.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/switch.h"
#include "switchd/sw_devices.h"
#include "switchd/sw_file.h"
#include "vm/vm.h"

static const char help[] =
	"usage: tabique switch device allow|deny NAME dev=INTERFACE|nat=on\n"
	"       tabique switch device list NAME\n"
	"\n"
	"Which devices of the host the switch may have, whatever its process asks for. `create`,\n"
	"`uplink add`, `set host-port=` and `nat set on=on` allow what they name, `uplink remove`\n"
	"and `nat set on=off` take it off the list again. What is open stays open when it is\n"
	"denied, until the switch closes it.\n";

int switch_devices_help(void)
{
	fputs(help, stdout);
	return 0;
}

/* The value of key ("dev="); NULL: it was not said. */
static const char *value_of(char *const *words, size_t count, const char *key)
{
	const char *value = NULL;

	for (size_t i = 0; i < count; i++) {
		if (strncmp(words[i], key, strlen(key)) == 0) {
			value = words[i] + strlen(key);
		}
	}
	return value;
}

/* ---- the verbs ---------------------------------------------------------------------------------- */

static int list(const char *name, bool is_json)
{
	json_t *array = json_array(), *result = json_pack("{s:O}", "devices", array);
	struct sw_devices devices;
	struct diag diag;
	int err = sw_devices_load(name, &devices, &diag);

	for (unsigned int i = 0; !err && i < devices.count; i++) {
		json_array_append_new(array, json_pack("{s:s}", "dev", devices.names[i]));
	}
	if (!err && is_json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!err) {
		switch_print_table(array, "dev");
	}
	json_decref(array);
	json_decref(result);
	return err ? cmd_fail(err == -ENOENT ? VM_STATUS_USER : VM_STATUS_HOST, &diag) : 0;
}

int switch_devices(const char *name, const char *what, char *const *words, size_t count,
		   bool is_json)
{
	const char *dev = value_of(words, count, "dev="), *nat = value_of(words, count, "nat=");
	struct diag diag;
	bool is_new;
	int err;

	if (name && strcmp(what, "list") == 0 && count == 0) {
		return list(name, is_json);
	}
	if (!dev && nat && strcmp(nat, "on") == 0) {
		dev = SW_DEVICE_NAT;
	}
	if (!name || !dev || count != 1 || strcmp(what, "list") == 0) {
		diag_set(&diag, 0, "device %s takes the name of a switch%s", what,
			 strcmp(what, "list") == 0 ? "" : ", and dev=INTERFACE or nat=on");
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	err = strcmp(what, "allow") == 0 ? sw_devices_allow(name, dev, &is_new, &diag)
					 : sw_devices_deny(name, dev, &diag);
	return err ? cmd_fail(VM_STATUS_USER, &diag) : 0;
}

/* ---- by the way --------------------------------------------------------------------------------- */

/* The device that a verb wants; NULL: none. */
static const char *wanted(const char *verb, char *const *words, size_t count)
{
	const char *value = NULL;

	if (strcmp(verb, "uplink add") == 0) {
		return value_of(words, count, "dev=");
	}
	if (strcmp(verb, "set") == 0) {
		value = value_of(words, count, "host-port=");
		return value && strcmp(value, "none") != 0 ? value : NULL;
	}
	if (strcmp(verb, "nat set") == 0) {
		value = value_of(words, count, "on=");
		return value && strcmp(value, "on") == 0 ? SW_DEVICE_NAT : NULL;
	}
	return NULL;
}

/* The host's port that there is, when the verb is to change it: it is not needed then. */
static void note_former(const char *name, const char *verb, char *const *words, size_t count,
			struct switch_devices_change *ret)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	struct diag ignored;

	if (strcmp(verb, "set") == 0 && value_of(words, count, "host-port=") &&
	    !sw_file_load(name, &config, &ignored)) {
		snprintf(ret->former, sizeof(ret->former), "%s", config->settings.host_port);
	}
}

int switch_devices_before(const char *name, const char *verb, char *const *words, size_t count,
			  struct switch_devices_change *ret, struct diag *reterr)
{
	const char *dev = wanted(verb, words, count);
	bool is_new = false;
	int err;

	*ret = (struct switch_devices_change){ 0 };
	note_former(name, verb, words, count, ret);
	if (!dev) {
		return 0;
	}
	err = sw_devices_allow(name, dev, &is_new, reterr);
	if (is_new && !err) {
		snprintf(ret->added, sizeof(ret->added), "%s", dev);
	}
	/* No such switch, or no such name: the switch's own words are better. */
	return err == -ENOENT || err == -EINVAL ? 0 : err;
}

void switch_devices_after(const char *name, const char *verb, char *const *words, size_t count,
			  const struct switch_devices_change *change, bool is_done)
{
	const char *gone = NULL, *value;
	struct diag ignored;

	if (!is_done) {
		gone = change->added;
	} else if (strcmp(verb, "uplink remove") == 0) {
		gone = value_of(words, count, "dev=");
	} else if (strcmp(verb, "nat set") == 0) {
		value = value_of(words, count, "on=");
		gone = value && strcmp(value, "off") == 0 ? SW_DEVICE_NAT : NULL;
	} else if (change->former[0]) {
		value = value_of(words, count, "host-port=");
		gone = value && strcmp(value, change->former) != 0 ? change->former : NULL;
	}
	if (gone && gone[0]) {
		(void)!sw_devices_deny(name, gone, &ignored);
	}
}
