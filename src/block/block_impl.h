/* SPDX-License-Identifier: MIT */
/*
 * What an implementer of a disk, or of a layer over one, provides and may use. See block.h.
 */
#pragma once

#include "block/block.h"
#include "block/image.h"

struct block_ops {
	const char *name;

	/* The loop's thread. Optional. */
	int (*start)(struct block *block, struct loop *loop);

	/*
	 * Takes a request that lies within the block and is allowed. Completes it by
	 * block_complete() from the loop, or by block_complete_later().
	 */
	void (*submit)(struct block *block, struct block_request *request);

	/*
	 * Nothing of the user's is in flight and no more will come: finish what you do by yourself
	 * (write back, flush), then call block_quiesced(), perhaps at once. Optional.
	 */
	void (*quiesce)(struct block *block);

	/* No more will come: let go what you hold back by choice. Optional. */
	void (*drain)(struct block *block);

	/* Nothing is in flight: give back what start took. Optional. */
	void (*stop)(struct block *block);

	/*
	 * The control thread; we may be running. Another end, see block_twin(); whatever it borrows from
	 * us lives until it is closed. Optional: without it, or when it says -EOPNOTSUPP, requests are
	 * passed to our loop.
	 */
	int (*twin)(struct block *block, struct block **ret);

	/* The size of what is below may have changed. Optional; a layer's is copied from below. */
	void (*refresh)(struct block *block);

	/* For layers that hold requests back. Optional. */
	unsigned int (*held)(const struct block *block);
	void (*retry)(struct block *block);
	void (*give_up)(struct block *block);

	/* Facts for people, of this block alone; fn and ctx as image_describe()'s. Optional. */
	void (*describe)(struct block *block, image_fact_fn *fn, void *ctx);

	/* An image's parent, open, or NULL; it stays the image's. Optional. */
	struct block *(*parent)(const struct block *block);

	/* Frees the block. */
	void (*close)(struct block *block);
};

/* Embedded first by implementers. */
struct block {
	const struct block_ops *ops;
	struct block_info info; /* filled by the implementer */
	atomic_bool is_direct;
	/*
	 * A layer's: the block that it forwards requests to (block_forward), which is started, quiesced,
	 * stopped, refreshed and closed with it by block.c. An image's: its file, to which it submits
	 * requests of its own (block_submit); the same holds. NULL: the lowest.
	 */
	struct block *lower;
	struct block *upper; /* the layer above; NULL: an image, or nothing */
	struct loop *loop;   /* NULL: not started */
	struct block_stats stats;
	struct loop_work *stop_done; /* stopping */
	struct block *quiescing;     /* of the topmost: who finishes now */
	struct block *top;           /* of one that quiesces: the topmost */
	struct list later;           /* requests whose completion waits for the loop */
	struct loop_work later_work;

	/* The control thread's. */
	struct block *original; /* of a twin */
	bool is_pass;           /* a twin whose requests the original counts, too */
	struct list twins;      /* of an original: those that are open, by twin_link */
	struct list twin_link;
	struct block_stats closed_stats; /* what closed twins had counted */
};

void block_init(struct block *block, const struct block_ops *ops);

/* The same for a layer: takes lower, and its info over. */
void block_layer_init(struct block *block, const struct block_ops *ops, struct block *lower_take);

/* The loop's thread: it has another size now, and so have the layers (not the image) above it. */
void block_set_bytes(struct block *block, uint64_t bytes);

/* Of a block that may be running: any thread. */
void block_copy_info(struct block_info *to, const struct block_info *from);

/* From the loop, never inside submit: counts, then calls done. The request is the caller's again. */
void block_complete(struct block_request *request, int result);

/* Completes it in this round of the loop, after the current call chain has returned. */
void block_complete_later(struct block *block, struct block_request *request, int result);

/* A layer hands the request, unchanged, to the block below it. */
void block_forward(struct block *lower, struct block_request *request);

/* From ops->quiesce or later, on the loop. */
void block_quiesced(struct block *block);

/* An image that has a second block below (a parent) starts and stops that by itself. */
MUST_CHECK int block_start_lower(struct block *lower, struct loop *loop);
void block_stop_lower(struct block *lower);

/* A twin that passes requests to the original's loop: what block_twin() does by default. */
MUST_CHECK int block_pass_create(struct block *original, struct block **ret);

/*
 * The implementers that block_open() knows. file_take: the open image file, growable unless read-only,
 * with its layers; it is closed on failure too. config is the image's own.
 */
MUST_CHECK int block_raw_open(const struct block_config *config, struct block **ret,
			      struct diag *reterr);
MUST_CHECK int block_null_open(const struct block_config *config, struct block **ret,
			       struct diag *reterr);
MUST_CHECK int block_vhd_open(const struct block_config *config, struct block *file_take,
			      struct block **ret, struct diag *reterr);
MUST_CHECK int block_vhdx_open(const struct block_config *config, struct block *file_take,
			       struct block **ret, struct diag *reterr);
MUST_CHECK int block_nbd_open(const struct block_config *config, struct block **ret,
			      struct diag *reterr);
MUST_CHECK int block_qemu_open(const struct block_config *config, struct block **ret,
			       struct diag *reterr);

/* An image that is being made: the fields are image_file.c's, but for fd. */
struct image_file {
	int fd;
	bool is_named;    /* the file system knows no nameless files: it has its name already */
	const char *path; /* borrowed */
};

/* What image.c asks of a format: see block/image.h. NULL: not to be had. */
struct image_ops {
	int (*create)(const struct image_create_config *config, struct diag *reterr);
	int (*check)(const char *path, bool repair, struct image_report *report,
		     const struct image_progress *progress, struct diag *reterr);
	int (*compact)(const char *path, const struct image_progress *progress, uint64_t *ret_bytes,
		       struct diag *reterr);
};
extern const struct image_ops raw_image_ops, vhd_image_ops, vhdx_image_ops;

/* For image_ops->create: a new file that gets its name only when it is whole. Negative errno. */
MUST_CHECK int image_file_create(const char *path, struct image_file *ret, struct diag *reterr);

/*
 * With err 0 syncs it and gives it its name, durably; else (and when that fails) nothing is left.
 * Returns err, or why it could not be done, with a sentence.
 */
MUST_CHECK int image_file_finish(struct image_file *file, int err, struct diag *reterr);

/* The sentence for an errno of writing it; returns err. */
int image_file_error(const struct image_file *file, int err, struct diag *reterr);

/*
 * An image opens its parent: path as it stands in the image, with slashes of either kind. Relative ones
 * begin at the child's directory; one with a drive letter is looked for there by its last name, as
 * images that were brought from Windows lie together. Read-only and shared. -ENOENT: no such file;
 * refuses cycles (-ELOOP) and chains of more than BLOCK_CHAIN_MAX (-EMLINK). config: the child's.
 */
#define BLOCK_CHAIN_MAX 64
MUST_CHECK int block_parent_open(const struct block_config *config, const char *path,
				 enum block_kind kind, struct block **ret, struct diag *reterr);
