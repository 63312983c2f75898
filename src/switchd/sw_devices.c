/* SPDX-License-Identifier: MIT */
#include "switchd/sw_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "switchd/sw_file.h"
#include "switchd/sw_value_internal.h"

#define HEAD                                                                                       \
	"# Devices of the host that this switch may have, one a line (:nat: address "              \
	"translation).\n"                                                                          \
	"# tabique switch device allow|deny NAME dev=DEV\n"
#define BYTES_MAX (sizeof(HEAD) + 8192)

/* ---- names -------------------------------------------------------------------------------------- */

static bool is_name(const char *dev)
{
	char ignored[SW_IFNAME_BYTES];

	return strcmp(dev, SW_DEVICE_NAT) == 0 || sw_parse_ifname(NULL, dev, ignored);
}

bool sw_devices_has(const struct sw_devices *devices, const char *dev)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		if (strcmp(devices->names[i], dev) == 0) {
			return true;
		}
	}
	return false;
}

/* One that is there already is no second one. false: there is no room. */
static bool add(struct sw_devices *devices, const char *dev)
{
	if (sw_devices_has(devices, dev)) {
		return true;
	}
	if (devices->count == SW_DEVICES_MAX) {
		return false;
	}
	snprintf(devices->names[devices->count++], SW_IFNAME_BYTES, "%s", dev);
	return true;
}

static void fill(struct sw_devices *devices, const struct sw_config *config)
{
	_Static_assert(SW_UPLINKS_MAX + 2 <= SW_DEVICES_MAX, "a configuration's are on a list");
	devices->count = 0;
	if (config->settings.host_port[0]) {
		(void)add(devices, config->settings.host_port);
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_UPLINKS].count; i++) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

		(void)add(devices, uplink->dev);
	}
	if (config->nat.on) {
		(void)add(devices, SW_DEVICE_NAT);
	}
}

/* ---- the file ----------------------------------------------------------------------------------- */

/* text: changed on the way. false: a line is no name. */
static bool parse(char *text, struct sw_devices *ret, const char **ret_line)
{
	const char *line;

	ret->count = 0;
	while ((line = strsep(&text, "\n")) != NULL) {
		*ret_line = line;
		if (line[0] && line[0] != '#' && (!is_name(line) || !add(ret, line))) {
			return false;
		}
	}
	return true;
}

int sw_devices_load(const char *name, struct sw_devices *ret, struct diag *reterr)
{
	char path[SW_PATH_BYTES], text[BYTES_MAX + 1];
	struct sw_devices devices;
	const char *line = "";
	int err = sw_path(SW_PATH_DEVICES, name, path, reterr);
	auto_close int fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t bytes;

	if (err) {
		return err;
	}
	bytes = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (bytes < 0) {
		return diag_set(reterr, -errno, "cannot read %s: %s", path, strerror(errno));
	}
	if ((size_t)bytes > BYTES_MAX || memchr(text, '\0', (size_t)bytes)) {
		return diag_set(reterr, -EINVAL, "%s is no list of devices: remove it", path);
	}
	text[bytes] = '\0';
	if (!parse(text, &devices, &line)) {
		return diag_set(reterr, -EINVAL,
				"%s: \"%.32s\" is no name of a device, or one of more than %u: "
				"mend the file",
				path, line, SW_DEVICES_MAX);
	}
	*ret = devices;
	return 0;
}

static int save(const char *name, const struct sw_devices *devices, struct diag *reterr)
{
	char text[BYTES_MAX] = HEAD;
	size_t at = sizeof(HEAD) - 1;

	_Static_assert(sizeof(HEAD) + SW_DEVICES_MAX * (SW_IFNAME_BYTES + 1) <= BYTES_MAX,
		       "all fit");
	for (unsigned int i = 0; i < devices->count; i++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s\n", devices->names[i]);
	}
	return sw_file_save_devices(name, text, at, reterr);
}

/* Who changes it waits for others: one at a time in this directory. The descriptor is the lock. */
static int lock(int *ret, struct diag *reterr)
{
	char dir[SW_PATH_BYTES];
	int err = sw_path(SW_PATH_DEVICES, NULL, dir, reterr);

	if (err) {
		return err;
	}
	*ret = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret < 0 || flock(*ret, LOCK_EX)) {
		return diag_set(reterr, -errno, "cannot lock %s: %s", dir, strerror(errno));
	}
	return 0;
}

/* As it is, or as the configuration's file would have it made. */
static int load_or_make(const char *name, struct sw_devices *ret, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	int err = sw_devices_load(name, ret, reterr);

	if (err != -ENOENT) {
		return err;
	}
	err = sw_file_load(name, &config, reterr);
	if (!err) {
		fill(ret, config);
	}
	return err;
}

/* ---- for those who ask -------------------------------------------------------------------------- */

int sw_devices_save_for(const struct sw_config *config, struct diag *reterr)
{
	auto_close int locked = -1;
	struct sw_devices devices;
	int err = lock(&locked, reterr);

	fill(&devices, config);
	return err ? err : save(config->name, &devices, reterr);
}

int sw_devices_make(const struct sw_config *config, struct diag *reterr)
{
	auto_close int locked = -1;
	struct sw_devices devices;
	int err = lock(&locked, reterr);

	err = err ? err : sw_devices_load(config->name, &devices, reterr);
	if (err != -ENOENT) {
		return err;
	}
	fill(&devices, config);
	return save(config->name, &devices, reterr);
}

int sw_devices_allow(const char *name, const char *dev, bool *ret_is_new, struct diag *reterr)
{
	auto_close int locked = -1;
	struct sw_devices devices;
	int err;

	if (!is_name(dev)) {
		return diag_set(reterr, -EINVAL, "\"%.32s\" is no name of a network interface",
				dev);
	}
	err = lock(&locked, reterr);
	err = err ? err : load_or_make(name, &devices, reterr);
	if (err) {
		return err;
	}
	*ret_is_new = !sw_devices_has(&devices, dev);
	if (!add(&devices, dev)) {
		return diag_set(
			reterr, -ENOSPC,
			"%u devices are on the list of switch %s already: take one off with "
			"tabique switch device deny %s dev=DEV",
			devices.count, name, name);
	}
	/* Also when it is not new: the list may have been made a moment ago. */
	return save(name, &devices, reterr);
}

int sw_devices_deny(const char *name, const char *dev, struct diag *reterr)
{
	auto_close int locked = -1;
	struct sw_devices devices, rest = { 0 };
	int err = lock(&locked, reterr);

	err = err ? err : load_or_make(name, &devices, reterr);
	if (err) {
		return err;
	}
	if (!sw_devices_has(&devices, dev)) {
		return diag_set(reterr, -ENOENT, "%.32s is not on the list of devices of switch %s",
				dev, name);
	}
	for (unsigned int i = 0; i < devices.count; i++) {
		if (strcmp(devices.names[i], dev) != 0) {
			(void)add(&rest, devices.names[i]);
		}
	}
	return save(name, &rest, reterr);
}

int sw_devices_check(const char *name, const char *dev, struct diag *reterr)
{
	bool is_nat = strcmp(dev, SW_DEVICE_NAT) == 0;
	struct sw_devices devices;
	int err = sw_devices_load(name, &devices, reterr);

	if (err || sw_devices_has(&devices, dev)) {
		return err;
	}
	return diag_set(reterr, -EPERM,
			"switch %s may not have %s: its list of devices lacks it; say tabique "
			"switch device allow %s %s%s",
			name, is_nat ? "NAT" : dev, name,
			is_nat ? "nat=on" : "dev=", is_nat ? "" : dev);
}
