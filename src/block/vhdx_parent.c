/* SPDX-License-Identifier: MIT */
/*
 * VHDX: a differencing disk finds its parent. The paths are Windows' own; the state that the parent has to
 * be in (its data_write) tells whether a file is the one, so a path may be tried that only might be right.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* Backslashes become slashes; what is none of a path's here (\\?\, a drive, a volume) goes. */
static const char *parent_convert(char *path)
{
	char *rest;

	for (char *p = path; *p; p++) {
		if (*p == '\\') {
			*p = '/';
		}
	}
	if (strncmp(path, "//?/", 4) == 0) {
		path += 4;
	}
	if (strncmp(path, "Volume{", 7) == 0 && (rest = strchr(path, '/')) != NULL) {
		return rest;
	}
	if (((path[0] | 0x20) >= 'a' && (path[0] | 0x20) <= 'z') && path[1] == ':') {
		return path + 2;
	}
	return path;
}

static int parent_check(const struct vhdx *vhdx, const char *path, struct block *parent,
			struct diag *reterr)
{
	const struct vhdx *image = vhdx_find(parent);
	struct guid guid;

	if (!image) {
		return diag_set(reterr, -EINVAL, "image %.180s: its parent %.180s is no VHDX",
				vhdx->path, path);
	}
	if (image->geometry.logical_bytes > vhdx->geometry.logical_bytes) {
		return diag_set(reterr, -EINVAL,
				"image %.180s has smaller sectors than its parent %.180s",
				vhdx->path, path);
	}
	guid = vhdx_data_write(image);
	for (unsigned int i = 0; i < vhdx->locator->linkages; i++) {
		if (guid_is_equal(&guid, &vhdx->locator->linkage[i])) {
			return 0;
		}
	}
	return diag_set(
		reterr, -ESTALE,
		"image %.150s: its parent %.150s was changed after the image was made, so the "
		"two do not fit any more: use the parent as it was then",
		vhdx->path, path);
}

/* One path; *ret_found: there was a file, so its error counts. */
static int parent_try(struct vhdx *vhdx, const struct block_config *config, const char *path,
		      struct diag *reterr)
{
	struct block *parent = NULL;
	int err;

	if (!*path) {
		return -ENOENT;
	}
	err = block_parent_open(config, path, BLOCK_VHDX, &parent, reterr);
	if (err) {
		return err;
	}
	err = parent_check(vhdx, path, parent, reterr);
	if (err) {
		block_close(parent);
		return err;
	}
	vhdx->parent = parent;
	return 0;
}

/* The relative path, then the absolute ones, then their last parts beside the child. */
static int parent_find(struct vhdx *vhdx, const struct block_config *config, struct diag *reterr)
{
	const char *const places[] = { vhdx->locator->relative, vhdx->locator->absolute,
				       vhdx->locator->volume };
	auto_free char *copy = fault_alloc(1, VHDX_PATH_BYTES);
	struct diag first;
	int err = -ENOENT;

	if (!copy) {
		return diag_set(reterr, -ENOMEM, "image %.200s: no memory for it", vhdx->path);
	}
	diag_set(&first, 0, "no path is given");
	for (size_t i = 0; i < 2 * ARRAY_SIZE(places) && err == -ENOENT; i++) {
		const char *path, *last;
		struct diag diag;

		memcpy(copy, places[i % ARRAY_SIZE(places)], VHDX_PATH_BYTES);
		path = parent_convert(copy);
		last = strrchr(path, '/');
		if (i >= ARRAY_SIZE(places) && last) {
			path = last + 1;
		}
		err = parent_try(vhdx, config, path, &diag);
		if (err && err != -ENOENT) {
			*reterr = diag;
		} else if (err && i == 0) {
			first = diag;
		}
	}
	if (err == -ENOENT) {
		return diag_set(
			reterr, err,
			"image %.120s: its parent is neither at \"%.100s\" nor beside it: put it "
			"there",
			vhdx->path,
			vhdx->locator->relative[0] ? vhdx->locator->relative
						   : vhdx->locator->absolute);
	}
	return err;
}

int vhdx_parent_load(struct vhdx *vhdx, const struct block_config *config,
		     const struct vhdx_reader *reader, struct diag *reterr)
{
	auto_free uint8_t *buf = fault_alloc(1, vhdx->locator_item.bytes);
	struct diag what;
	int err;

	vhdx->locator = fault_alloc(1, sizeof(*vhdx->locator));
	err = buf && vhdx->locator ? 0 : -ENOMEM;
	err = err ? err
		  : vhdx_read(reader, vhdx->regions->metadata_offset + vhdx->locator_item.offset,
			      buf, vhdx->locator_item.bytes);
	if (err) {
		return diag_set(reterr, err, "image %.200s: its parent locator cannot be read: %s",
				vhdx->path, strerror(-err));
	}
	err = vhdx_locator_parse(buf, vhdx->locator_item.bytes, vhdx->locator, &what);
	if (err) {
		return diag_set(reterr, err, "image %.200s %.280s", vhdx->path, what.text);
	}
	return parent_find(vhdx, config, reterr);
}
