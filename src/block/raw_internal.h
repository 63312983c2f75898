/* SPDX-License-Identifier: MIT */
/*
 * A raw file or block device, or a slice of one: what raw_open.c (life) and raw.c (I/O) share.
 *
 * Invariants of slices:
 *   S1  A request is compared with the window once, in raw_check(), together with the memory that it
 *       brings; whatever is done for it afterwards lies within the range that was compared.
 *   S2  raw_position() is the only place that makes an offset of the file from one of the disk.
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
	bool is_slice;
	uint64_t slice_offset_bytes; /* 0 unless a slice */
	uint64_t slice_bytes;        /* as it was asked for; 0: to the end of the file */
	/*
	 * A page of the host's is shared with a neighbour: two ways to it, one through the page cache and one
	 * past it, would undo each other's writes. So this one stays direct.
	 */
	bool must_be_direct;
	bool is_growable; /* an image's file: writes beyond the end make it longer */
	/*
	 * The host could not write back what its page cache had, and has forgotten it: another flush would
	 * succeed and be a lie. All flushes fail from now on, at all ends.
	 */
	atomic_bool writes_lost;
	struct raw *original; /* whose writes_lost counts: ourselves, or whose twin we are */
	bool no_zero_range;   /* the file system has none: punch instead */
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

/*
 * Gives the lock back at once: closing the descriptor is not enough, since the kernel lets a file that was registered
 * with a ring go later, in the background.
 */
void raw_unlock(const struct raw *raw);

/* The size that the host's storage has now; a negative errno. */
int raw_read_size(const struct raw *raw, uint64_t *ret_bytes);

/* What of a file of this size is ours, in whole blocks. */
uint64_t raw_window_bytes(const struct raw *raw, uint64_t file_bytes);
