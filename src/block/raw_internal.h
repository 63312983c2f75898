/* SPDX-License-Identifier: MIT */
/*
 * A raw file or block device: what raw_open.c (life) and raw.c (I/O) share.
 *
 *   owner   the block's   thread  the loop's, once started
 */
#pragma once

#include "block/block_impl.h"

/* Direct I/O that the guest's memory is not aligned for goes through these, piece by piece. */
#define RAW_BOUNCE_SLOTS 4
#define RAW_BOUNCE_BYTES (256U << 10)

struct raw {
	struct block block;
	int fd;
	int file_index; /* registered with the loop, or -1 */
	bool is_device;
	bool is_growable;              /* an image's file: writes beyond the end make it longer */
	bool no_zero_range;            /* the file system has none: punch instead */
	_Atomic(uint32_t) memory_mask; /* direct I/O: addresses must have these bits clear */
	uint32_t length_mask;          /* and lengths of each iovec these */
	uint8_t *bounce; /* RAW_BOUNCE_SLOTS × RAW_BOUNCE_BYTES, mapped, untouched until used */
	uint32_t bounce_free; /* bit per slot */
	struct list waiting;  /* requests that wait for a slot */
};

extern const struct block_ops raw_ops;

/* Another end: the same open file, and its lock, by a descriptor of its own. */
MUST_CHECK int raw_twin(struct block *block, struct block **ret);

/* Back to buffered I/O for good: the host's storage wants an alignment that we cannot give. */
void raw_drop_direct(struct raw *raw);

/* The size that the host's storage has now; a negative errno. */
int raw_read_size(const struct raw *raw, uint64_t *ret_bytes);
