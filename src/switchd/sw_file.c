/* SPDX-License-Identifier: MIT */
#include "switchd/sw_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"

/* ---- places ------------------------------------------------------------------------------------- */

/* The directory of configurations or (is_run) of sockets; -ENOENT: this user has none. */
static int place(bool is_run, char *ret, size_t bytes, struct diag *reterr)
{
	const char *chosen = getenv("TABIQUE_SWITCH_DIR");
	const char *base = getenv(is_run ? "XDG_RUNTIME_DIR" : "XDG_STATE_HOME");
	const char *home = getenv("HOME");
	int n;

	if (chosen && *chosen) {
		n = snprintf(ret, bytes, "%s", chosen);
	} else if (geteuid() == 0) {
		n = snprintf(ret, bytes, "%s/tabique/switch", is_run ? "/run" : "/var/lib");
	} else if (base && *base) {
		n = snprintf(ret, bytes, "%s/tabique/switch", base);
	} else if (!is_run && home && *home) {
		n = snprintf(ret, bytes, "%s/.local/state/tabique/switch", home);
	} else {
		return diag_set(reterr, -ENOENT,
				"%s is not set, so there is no place for switches: set it, or "
				"TABIQUE_SWITCH_DIR",
				is_run ? "XDG_RUNTIME_DIR" : "HOME");
	}
	if (n < 0 || (size_t)n >= bytes) {
		return diag_set(
			reterr, -ENAMETOOLONG,
			"the directory of switches has too long a name: set TABIQUE_SWITCH_DIR "
			"to a shorter one");
	}
	return 0;
}

int sw_path(enum sw_path which, const char *name, char ret[SW_PATH_BYTES], struct diag *reterr)
{
	static const char *const suffixes[] = { "json",  "vsp",    "ctl", "ext",    "lock",
						"state", "leases", "log", "devices" };
	char dir[SW_PATH_BYTES];
	bool is_run =
		which != SW_PATH_CONFIG && which != SW_PATH_LEASES && which != SW_PATH_DEVICES;
	int n, err = place(is_run, dir, sizeof(dir), reterr);

	if (err) {
		return err;
	}
	n = name ? snprintf(ret, SW_PATH_BYTES, "%s/%s.%s", dir, name, suffixes[which])
		 : snprintf(ret, SW_PATH_BYTES, "%s", dir);
	if (n < 0 || n >= SW_PATH_BYTES) {
		return diag_set(
			reterr, -ENAMETOOLONG,
			"%s/%s is too long for a socket's name: set TABIQUE_SWITCH_DIR to a "
			"shorter directory",
			dir, name ? name : "");
	}
	return 0;
}

static int make_dirs(char *path, struct diag *reterr)
{
	for (char *at = path + 1;; at++) {
		char was = *at;

		if (was != '/' && was != '\0') {
			continue;
		}
		*at = '\0';
		if (mkdir(path, 0700) && errno != EEXIST) {
			return diag_set(reterr, -errno, "cannot make the directory %s: %s", path,
					strerror(errno));
		}
		*at = was;
		if (was == '\0') {
			return 0;
		}
	}
}

int sw_path_make(struct diag *reterr)
{
	char dir[SW_PATH_BYTES];
	int err = sw_path(SW_PATH_CONFIG, NULL, dir, reterr);

	err = err ? err : make_dirs(dir, reterr);
	err = err ? err : sw_path(SW_PATH_CTL, NULL, dir, reterr);
	return err ? err : make_dirs(dir, reterr);
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* All of the file, at most one byte more than is possible. */
static int read_all(const char *path, char **ret, size_t *ret_bytes)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_free char *text = NULL;
	struct stat st;
	size_t room, bytes = 0;

	if (fd < 0 || fstat(fd, &st)) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		return -EINVAL;
	}
	room = (size_t)num_min((uint64_t)st.st_size, SW_CONFIG_BYTES_MAX) + 1;
	text = malloc(room);
	if (!text) {
		return -ENOMEM;
	}
	while (bytes < room) {
		ssize_t n = read(fd, text + bytes, room - bytes);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		if (n == 0) {
			break;
		}
		bytes += (size_t)n;
	}
	*ret = steal(text);
	*ret_bytes = bytes;
	return 0;
}

int sw_file_load(const char *name, struct sw_config **ret, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	auto_free char *text = NULL;
	char path[SW_PATH_BYTES];
	struct diag why;
	size_t bytes = 0;
	int err;

	if (!sw_switch_name_is_good(name)) {
		return diag_set(reterr, -EINVAL,
				"\"%.64s\" is no name for a switch: 1 to 31 letters, digits, dots, "
				"dashes and underscores",
				name);
	}
	err = sw_path(SW_PATH_CONFIG, name, path, reterr);
	if (err) {
		return err;
	}
	err = read_all(path, &text, &bytes);
	if (err == -ENOENT) {
		return diag_set(reterr, err,
				"there is no switch %s: make it with tabique switch create %s",
				name, name);
	}
	if (err) {
		return diag_set(reterr, err, "cannot read %s: %s", path, strerror(-err));
	}
	err = sw_config_parse_text(text, bytes, &config, &why);
	if (!err && strcmp(config->name, name) != 0) {
		err = diag_set(&why, -EINVAL, "it is the configuration of switch %s", config->name);
	}
	if (err) {
		return diag_set(reterr, err, "%s: %.300s: mend the file, or move it away", path,
				why.text);
	}
	*ret = steal(config);
	return 0;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static int write_all(int fd, const char *text, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, text, bytes);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		text += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* The directory's entry as well. */
static int sync_dir(void)
{
	char dir[SW_PATH_BYTES];
	struct diag diag;
	int err = sw_path(SW_PATH_CONFIG, NULL, dir, &diag);
	auto_close int fd = err ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

/* is_sure: on stable storage before it has the name, and then the name too. */
static int replace(enum sw_path which, const char *name, const char *text, size_t bytes,
		   bool is_sure, struct diag *reterr)
{
	char path[SW_PATH_BYTES], temporary[SW_PATH_BYTES + 16];
	int err = sw_path(which, name, path, reterr);
	auto_close int fd = -1;

	if (err) {
		return err;
	}
	/* One process writes a switch's file: a leftover is of one that died. */
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = fd < 0 ? -errno : write_all(fd, text, bytes);
	if (!err && ((is_sure && fsync(fd)) || rename(temporary, path))) {
		err = -errno;
	}
	err = err || !is_sure ? err : sync_dir();
	if (err) {
		if (fd >= 0) {
			(void)!unlink(temporary);
		}
		return diag_set(reterr, err, "cannot write %s: %s; what was there is untouched",
				path, strerror(-err));
	}
	return 0;
}

int sw_file_save_text(const char *name, const char *text, size_t bytes, struct diag *reterr)
{
	return replace(SW_PATH_CONFIG, name, text, bytes, true, reterr);
}

int sw_file_save_leases(const char *name, const char *bytes, size_t length, struct diag *reterr)
{
	return replace(SW_PATH_LEASES, name, bytes, length, false, reterr);
}

int sw_file_save_devices(const char *name, const char *text, size_t bytes, struct diag *reterr)
{
	return replace(SW_PATH_DEVICES, name, text, bytes, true, reterr);
}

int sw_file_save(const struct sw_config *config, struct diag *reterr)
{
	json_t *json = sw_config_build(config, false);
	auto_free char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;

	json_decref(json);
	if (!text) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	return sw_file_save_text(config->name, text, strlen(text), reterr);
}

int sw_file_remove(const char *name, struct diag *reterr)
{
	static const enum sw_path left[] = { SW_PATH_DEVICES, SW_PATH_LEASES, SW_PATH_STATE };
	char path[SW_PATH_BYTES];
	struct diag ignored;
	int err = sw_path(SW_PATH_CONFIG, name, path, reterr);

	if (!err && unlink(path)) {
		err = diag_set(reterr, -errno, "cannot remove %s: %s", path, strerror(errno));
	}
	/* Another one of this name is another one. */
	for (unsigned int i = 0; !err && i < ARRAY_SIZE(left); i++) {
		if (!sw_path(left[i], name, path, &ignored)) {
			(void)!unlink(path);
		}
	}
	return err;
}

int sw_file_each(sw_file_fn *fn, void *ctx, struct diag *reterr)
{
	char dir[SW_PATH_BYTES], name[SW_SWITCH_NAME_BYTES];
	int err = sw_path(SW_PATH_CONFIG, NULL, dir, reterr);
	DIR *list = err ? NULL : opendir(dir);
	const struct dirent *entry;

	if (err || (!list && errno == ENOENT)) {
		return err;
	}
	if (!list) {
		return diag_set(reterr, -errno, "cannot read %s: %s", dir, strerror(errno));
	}
	while (!err && (entry = readdir(list)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (length > 5 && length - 5 < sizeof(name) &&
		    strcmp(entry->d_name + length - 5, ".json") == 0) {
			memcpy(name, entry->d_name, length - 5);
			name[length - 5] = '\0';
			err = sw_switch_name_is_good(name) ? fn(ctx, name) : 0;
		}
	}
	closedir(list);
	return err;
}
