/* SPDX-License-Identifier: MIT */
/*
 * block_open(): what lies on what. From the bottom:
 *
 *   raw file ─► file_fault ─► image format ─► fault ─► hold (on_error) ─► qos
 */
#include <errno.h>

#include "base/num.h"
#include "block/block_impl.h"

/* A format is one line here: it opens its path itself, or is put on a file that is open. */
static const struct {
	int (*open)(const struct block_config *config, struct block **ret, struct diag *reterr);
	int (*open_image)(const struct block_config *config, struct block *file_take,
			  struct block **ret, struct diag *reterr);
} formats[] = {
	[BLOCK_RAW] = { .open = block_raw_open },
	[BLOCK_NULL] = { .open = block_null_open },
};

/* The file of an image: all of it, longer when it is written, with the layers that belong below. */
static int open_file(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	struct block_config file = *config;

	file.kind = BLOCK_RAW;
	file.growable = !config->read_only;
	return block_raw_open(&file, ret, reterr);
}

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

int block_open(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	return open_format(config, ret, reterr);
}
