/* SPDX-License-Identifier: MIT */
/*
 * Image files from outside: probing, making, examining, repairing and shrinking them. For tools and
 * for whoever opens a disk without being told its format. What can be done through an open block
 * (reading, writing, resizing, mapping) is done there: block/block.h.
 *
 * Everything here blocks the caller, on loops of its own (block/sync.h).
 *
 *   owner   the caller   thread  any that runs no loop at that moment
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "block/block.h"

/* ---- which format ------------------------------------------------------------------------------ */

struct image_probe {
	enum block_kind kind;    /* of image_probe() never BLOCK_AUTO */
	const char *qemu_format; /* BLOCK_QEMU: a literal, "qcow2"…; else NULL */
};

/*
 * What BLOCK_AUTO means for this path: a URI is BLOCK_NBD; a name that ends like a format's (.vhd,
 * .avhd, .vhdx, .avhdx, .qcow2, .vmdk, .vdi…) must have that format's header; any other name is raw,
 * and refused (-EINVAL, with the remedy: format=…) when its first bytes are a known format's header, so
 * that a guest cannot turn its raw disk into an image by writing one. 0, or an errno of opening it.
 */
MUST_CHECK int image_probe(const char *path, struct image_probe *ret, struct diag *reterr);

/* What the name alone proposes, for a file that is to be made: raw when it proposes nothing. */
void image_probe_name(const char *path, struct image_probe *ret);

/* "raw", "vhd", "vhdx", "nbd", "auto", or a format of qemu-nbd's: as users write it. -EINVAL. */
MUST_CHECK int image_kind_parse(const char *text, struct image_probe *ret, struct diag *reterr);
const char *image_kind_name(enum block_kind kind);

/* ---- making ------------------------------------------------------------------------------------ */

enum image_layout {
	IMAGE_DYNAMIC,      /* grows as it is written; raw: a file with holes */
	IMAGE_FIXED,        /* all space is there from the beginning; raw: allocated */
	IMAGE_DIFFERENCING, /* only what differs from its parent */
};

struct image_create_config {
	enum block_kind kind; /* BLOCK_RAW, BLOCK_VHD, BLOCK_VHDX */
	enum image_layout layout;
	const char *path;              /* must not exist */
	uint64_t bytes;                /* IMAGE_DIFFERENCING: 0, the parent's is taken */
	uint32_t block_bytes;          /* allocation unit; 0: the format's default */
	uint32_t logical_block_bytes;  /* VHDX: 512 (0) or 4096 */
	uint32_t physical_block_bytes; /* VHDX: 512 or 4096 (0) */
	const char *parent_path;       /* IMAGE_DIFFERENCING: as the image shall name it */
	enum block_kind parent_kind;   /* BLOCK_AUTO: as image_probe() says */
};

/* Durable when it returns. On failure no file is left. -EEXIST, -EINVAL, -ENOSPC…, with a sentence. */
MUST_CHECK int image_create(const struct image_create_config *config, struct diag *reterr);

/* ---- examining --------------------------------------------------------------------------------- */

/* Facts for people, in order: name is lower_case, as JSON wants it; numbers are decimal text. */
typedef void image_fact_fn(void *ctx, const char *name, const char *value);

/*
 * The facts of an open image and of what lies below it: layout, sizes, identifiers… Each layer begins
 * with the fact "layer", its block_name(). The parent's are asked for apart: block_parent().
 */
void image_describe(struct block *block, image_fact_fn *fn, void *ctx);

/* ---- long work --------------------------------------------------------------------------------- */

struct image_progress {
	/* Called now and then; done ≤ total, in any unit. False: give up (-ECANCELED). NULL is fine. */
	bool (*report)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

struct image_report {
	uint64_t errors;   /* what makes the image wrong */
	uint64_t leaks;    /* space that nobody refers to */
	uint64_t repaired; /* of both */
	/* A sentence for each, at most IMAGE_LINES_MAX. NULL is fine. */
	void (*line)(void *ctx, const char *text);
	void *ctx;
};
#define IMAGE_LINES_MAX 100

/*
 * Reads all metadata (headers, log, tables) and checks them against each other; with repair, mends what
 * can be mended without a guess (and replays a log). An image with errors is a result (0), not a
 * failure. -EINVAL: it is no image of this kind; -EBUSY: somebody has it open.
 */
MUST_CHECK int image_check(const char *path, enum block_kind kind, bool repair,
			   struct image_report *report, const struct image_progress *progress,
			   struct diag *reterr);

/*
 * Gives space back that holds only zeroes (or what the parent holds, for a difference), moves blocks
 * towards the beginning and cuts the file off. Killed at any moment, the image stays whole.
 * ret_bytes: by how much the file (raw: its allocation) shrank.
 */
MUST_CHECK int image_compact(const char *path, enum block_kind kind,
			     const struct image_progress *progress, uint64_t *ret_bytes,
			     struct diag *reterr);
