/* SPDX-License-Identifier: MIT */
/* Images from outside: who does what, by format. */
#include "block/image.h"

#include <errno.h>

#include "block/block_impl.h"

/* NULL: a format that is only read and written. */
static const struct image_ops *image_ops_of(enum block_kind kind)
{
	switch (kind) {
	case BLOCK_RAW:
		return &raw_image_ops;
	case BLOCK_VHD:
		return &vhd_image_ops;
	case BLOCK_VHDX:
		return &vhdx_image_ops;
	case BLOCK_NULL:
	case BLOCK_NBD:
	case BLOCK_QEMU:
	case BLOCK_AUTO:
		break;
	}
	return NULL;
}

static int image_refuse(const char *path, enum block_kind kind, const char *what,
			struct diag *reterr)
{
	return diag_set(reterr, -EINVAL,
			"disk %s: an image of format %s cannot be %s here: only raw, vhd and vhdx "
			"can",
			path, image_kind_name(kind), what);
}

/* BLOCK_AUTO becomes what the path is. */
static int image_settle(const char *path, enum block_kind *kind, struct diag *reterr)
{
	struct image_probe probe;
	int err;

	if (*kind != BLOCK_AUTO) {
		return 0;
	}
	err = image_probe(path, &probe, reterr);
	if (!err) {
		*kind = probe.kind;
	}
	return err;
}

int image_create(const struct image_create_config *config, struct diag *reterr)
{
	const struct image_ops *ops = image_ops_of(config->kind);

	if (!ops || !ops->create) {
		return image_refuse(config->path, config->kind, "made", reterr);
	}
	return ops->create(config, reterr);
}

int image_check(const char *path, enum block_kind kind, bool repair, struct image_report *report,
		const struct image_progress *progress, struct diag *reterr)
{
	const struct image_ops *ops;
	int err = image_settle(path, &kind, reterr);

	if (err) {
		return err;
	}
	ops = image_ops_of(kind);
	if (!ops || !ops->check) {
		return image_refuse(path, kind, "checked", reterr);
	}
	/* In brackets: check() is a macro. */
	return (ops->check)(path, repair, report, progress, reterr);
}

int image_compact(const char *path, enum block_kind kind, const struct image_progress *progress,
		  uint64_t *ret_bytes, struct diag *reterr)
{
	const struct image_ops *ops;
	int err = image_settle(path, &kind, reterr);

	if (err) {
		return err;
	}
	ops = image_ops_of(kind);
	if (!ops || !ops->compact) {
		return image_refuse(path, kind, "compacted", reterr);
	}
	return ops->compact(path, progress, ret_bytes, reterr);
}

void image_describe(struct block *block, image_fact_fn *fn, void *ctx)
{
	for (; block; block = block->lower) {
		fn(ctx, "layer", block->ops->name);
		if (block->ops->describe) {
			block->ops->describe(block, fn, ctx);
		}
	}
}
