/* SPDX-License-Identifier: MIT */
/*
 * An image's parent: from the words that stand in the image to an open block.
 *
 *   /data/base.vhd, \data\base.vhd      absolute
 *   base.vhd, .\base.vhd, ..\a\b.vhd    from the child's directory
 *   C:\VMs\base.vhd, \\server\share\base.vhd
 *                                       Windows' own; its last name, in the child's directory
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "block/block_impl.h"

/* The child's directory with its slash, and then name. */
static int parent_beside(const char *child, const char *name, char buf[PATH_MAX])
{
	const char *slash = strrchr(child, '/');
	int dir = slash ? (int)(slash - child) + 1 : 0;

	return snprintf(buf, PATH_MAX, "%.*s%s", dir, child, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static bool parent_has_drive(const char *path)
{
	char letter = (char)(path[0] | 0x20);

	return letter >= 'a' && letter <= 'z' && path[1] == ':';
}

/* Where it is to be found on this host. */
static int parent_resolve(const char *child, const char *path, char buf[PATH_MAX])
{
	char name[PATH_MAX];
	const char *at = name;
	size_t len = strlen(path);
	bool is_windows = parent_has_drive(path) || strncmp(path, "\\\\", 2) == 0;

	if (len == 0) {
		return -ENOENT;
	}
	if (len >= sizeof(name)) {
		return -ENAMETOOLONG;
	}
	for (size_t i = 0; i <= len; i++) {
		name[i] = path[i] == '\\' ? '/' : path[i];
	}
	if (is_windows) {
		const char *slash = strrchr(name, '/');

		at = slash ? slash + 1 : name + 2;
		return *at ? parent_beside(child, at, buf) : -ENOENT;
	}
	if (name[0] == '/') {
		memcpy(buf, name, len + 1);
		return 0;
	}
	while (strncmp(at, "./", 2) == 0) {
		at += 2;
	}
	return *at ? parent_beside(child, at, buf) : -ENOENT;
}

/* Those that are open on the way here must all be other files. */
static int parent_check_chain(const struct block_config *config, const char *path,
			      struct diag *reterr)
{
	struct stat parent, st;
	unsigned int depth = 1;

	if (stat(path, &parent) < 0) {
		return diag_set(
			reterr, -errno,
			"disk %s: its parent %s cannot be opened: %s: put it there, or give "
			"the image the parent's new path",
			config->path, path, strerror(errno));
	}
	for (const struct block_config *at = config; at; at = at->child) {
		if (++depth > BLOCK_CHAIN_MAX) {
			return diag_set(
				reterr, -EMLINK,
				"disk %s: its chain of parents is longer than %u: merge some", path,
				BLOCK_CHAIN_MAX);
		}
		if (at->path && stat(at->path, &st) == 0 && st.st_dev == parent.st_dev &&
		    st.st_ino == parent.st_ino) {
			return diag_set(
				reterr, -ELOOP,
				"disk %s: its chain of parents comes back to %s: one of them "
				"names a wrong parent",
				config->path, path);
		}
	}
	return 0;
}

int block_parent_open(const struct block_config *config, const char *path, enum block_kind kind,
		      struct block **ret, struct diag *reterr)
{
	struct image_probe probe = { .kind = kind };
	char resolved[PATH_MAX];
	struct block_config parent = {
		.path = resolved,
		.read_only = true,
		.buffered = config->buffered,
		.child = config,
	};
	int err;

	err = parent_resolve(config->path, path, resolved);
	if (err) {
		return diag_set(reterr, err, "disk %s: \"%.200s\" is no path of a parent: %s",
				config->path, path, strerror(-err));
	}
	err = parent_check_chain(config, resolved, reterr);
	if (!err && kind == BLOCK_AUTO) {
		err = image_probe(resolved, &probe, reterr);
	}
	if (err) {
		return err;
	}
	parent.kind = probe.kind;
	parent.qemu_format = probe.qemu_format;
	return block_open(&parent, ret, reterr);
}
