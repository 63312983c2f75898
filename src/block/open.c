/* SPDX-License-Identifier: MIT */
/*
 * block_open(): what lies on what. From the bottom:
 *
 *   raw file ─► file_fault ─► image format ─► fault ─► hold (on_error) ─► qos
 */
#include <errno.h>

#include "base/num.h"
#include "block/block_impl.h"
#include "block/faults.h"
#include "block/hold.h"
#include "block/qos_layer.h"

/* A file or a device as it is, with the layers right above it. */
static int open_raw(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	struct block *raw;
	int err = block_faults_check(config->file_fault, reterr);

	err = err ? err : block_raw_open(config, &raw, reterr);
	return err ? err : block_faults_create(config->file_fault, raw, ret, reterr);
}

/* The file of an image: all of it, longer when it is written, with the layers that belong below. */
static int open_file(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	struct block_config file = *config;

	file.kind = BLOCK_RAW;
	file.growable = !config->read_only;
	return open_raw(&file, ret, reterr);
}

/* A format is one line here: it opens its path itself, or is put on a file that is open. */
static const struct {
	int (*open)(const struct block_config *config, struct block **ret, struct diag *reterr);
	int (*open_image)(const struct block_config *config, struct block *file_take,
			  struct block **ret, struct diag *reterr);
} formats[] = {
	[BLOCK_RAW] = { .open = open_raw },
	[BLOCK_NULL] = { .open = block_null_open },
	[BLOCK_VHD] = { .open_image = block_vhd_open },
	[BLOCK_VHDX] = { .open_image = block_vhdx_open },
	[BLOCK_NBD] = { .open = block_nbd_open },
	[BLOCK_QEMU] = { .open = block_qemu_open },
};

/* The disk without the layers above it. */
static int open_format(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	struct block *file;
	int err;

	if ((unsigned int)config->kind >= ARRAY_SIZE(formats)) {
		return diag_set(reterr, -EINVAL, "a disk of an unknown kind");
	}
	if (formats[config->kind].open) {
		return formats[config->kind].open(config, ret, reterr);
	}
	if (!formats[config->kind].open_image) {
		return diag_set(reterr, -EINVAL, "a disk of an unknown kind");
	}
	err = open_file(config, &file, reterr);
	return err ? err : formats[config->kind].open_image(config, file, ret, reterr);
}

/* What the user got wrong, before anything is opened or made. */
static int check_config(const struct block_config *config, struct diag *reterr)
{
	if (config->kind != BLOCK_RAW && (config->slice_offset_bytes || config->slice_bytes)) {
		return diag_set(reterr, -EINVAL,
				"disk %s: offset= and size= are for raw disks only",
				config->path ? config->path : "null");
	}
	if (config->qos_count > BLOCK_QOS_MAX) {
		return diag_set(reterr, -EINVAL, "disk %s has %u QoS policies: use at most %d",
				config->path ? config->path : "null", config->qos_count,
				BLOCK_QOS_MAX);
	}
	return block_faults_check(config->fault, reterr);
}

/* What BLOCK_AUTO means for this path. */
static int resolve_kind(struct block_config *config, struct diag *reterr)
{
	struct image_probe probe;
	int err = config->kind == BLOCK_AUTO ? image_probe(config->path, &probe, reterr) : 0;

	if (config->kind == BLOCK_AUTO && !err) {
		config->kind = probe.kind;
		config->qemu_format = probe.qemu_format;
	}
	return err;
}

int block_open(const struct block_config *from, struct block **ret, struct diag *reterr)
{
	struct block_config resolved = *from, *config = &resolved;
	struct block *block;
	int err = resolve_kind(config, reterr);

	err = err ? err : check_config(config, reterr);
	err = err ? err : open_format(config, &block, reterr);
	err = err ? err : block_faults_create(config->fault, block, &block, reterr);
	if (!err && config->on_error != BLOCK_REPORT) {
		err = block_hold_create(config, block, &block, reterr);
	}
	if (!err && config->qos_count > 0) {
		err = block_qos_create(config, block, &block, reterr);
	}
	if (!err) {
		*ret = block;
	}
	return err;
}
