/* SPDX-License-Identifier: MIT */
/*
 * Disks on the host, for their users (front ends such as a SCSI disk).
 *
 * A block is an array of bytes with a sector size. It is opened on the control thread, started on one
 * loop, and from then on takes requests from that loop only. Back ends take iovecs and never learn
 * that a guest exists. Layers (fail, delay) are blocks over a block, with the same contract.
 *
 *      block_open()        block_start()          block_stop(): drains, posts done
 *   ─────────────► open ─────────────────► started ────────────────────► open ──► block_close()
 *
 * Invariants:
 *   B1  A request that was submitted is completed exactly once, from the loop, after block_submit()
 *       has returned.
 *   B2  Transfers are whole: what the host splits is continued here. A file that turns out shorter
 *       than it was gives -EIO.
 *   B3  A flush covers every write that completed before it was submitted; a write with fua is on
 *       stable storage when it completes.
 *
 *   owner   vm   thread  as each section says
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/diag.h"
#include "base/list.h"
#include "loop/loop.h"

struct block;

#define BLOCK_IDENTITY_BYTES 40

/* iovecs in one request: the kernel's own limit (UIO_MAXIOV). */
#define BLOCK_IOVECS_MAX     1024

enum block_kind {
	BLOCK_RAW,  /* a file or a block device, byte for byte */
	BLOCK_NULL, /* reads zeroes, forgets writes; for tests and measurements */
	BLOCK_VHD,  /* fixed, dynamic, differencing */
	BLOCK_VHDX, /* fixed, dynamic, differencing */
	BLOCK_NBD,  /* path is a URI: nbd://, nbd+unix://, nbds:// */
	BLOCK_QEMU, /* any format that an installed qemu-nbd reads */
	BLOCK_AUTO, /* as image_probe() says: by the file's name and header together */
};

/* What becomes of a request that the back end failed. */
enum block_on_error {
	BLOCK_REPORT, /* the front end is told */
	BLOCK_STOP,   /* it is held, and on_stop called; block_retry() tries again */
	BLOCK_RETRY,  /* it is held and tried again by itself, until it succeeds */
};

struct qos_policy;

/* Everything borrowed for the call, unless it says longer. */
struct block_config {
	enum block_kind kind;
	const char *path;        /* not for BLOCK_NULL */
	const char *qemu_format; /* BLOCK_QEMU: "qcow2", "vmdk"…, as qemu-nbd calls it */
	bool read_only;
	bool buffered;       /* through the host's page cache even where direct I/O works */
	uint64_t null_bytes; /* BLOCK_NULL: its size, a multiple of the logical block */
	bool null_no_data;   /* BLOCK_NULL: reads leave the buffers as they are; for measurements */
	uint32_t
		logical_block_bytes; /* BLOCK_RAW, BLOCK_NULL: 512, 4096, or 0: what the host has */

	/* A window of a raw disk; slice_bytes 0: to its end. Both 0: all of it. */
	uint64_t slice_offset_bytes, slice_bytes;

	/* Layers, bottom up; "" or NULL: none. Words: block/faults.h. */
	const char *file_fault; /* between an image format and its file */
	const char *fault;      /* above the format */
	enum block_on_error on_error;
	void (*on_stop)(void *ctx, int err); /* BLOCK_STOP; the loop's thread; until close */
	void *on_stop_ctx;
	struct qos_policy *const *qos; /* block/qos.h; the policies are borrowed until close */
	unsigned int qos_count;

	/* For implementers. */
	bool growable;                    /* BLOCK_RAW: writes beyond the end make it longer */
	const struct block_config *child; /* who opens this as its parent; NULL: nobody */
};

struct block_info {
	_Atomic(uint64_t) bytes;       /* the only one that changes */
	uint32_t logical_block_bytes;  /* the unit of addresses: requests are multiples of it */
	uint32_t physical_block_bytes; /* below it, writes cost a read */
	bool read_only;
	bool rotational;
	bool can_discard;
	bool can_write_zeroes;
	bool can_resize;
	uint64_t grow_bytes_max; /* growable: where writes have to end at the latest; else 0 */
	char identity[BLOCK_IDENTITY_BYTES]; /* a GUID; the same disk has the same one */
};

/* ---- life: the control thread ------------------------------------------------------------------ */

/*
 * Opens and locks: one writer or many readers, also against other processes (OFD locks). A negative
 * errno and a sentence that names the file, the trouble and the remedy.
 */
MUST_CHECK int block_open(const struct block_config *config, struct block **ret,
			  struct diag *reterr);

/* Stopped, or never started. NULL is fine. Closes the layers below too. */
void block_close(struct block *block);

/* Constant until block_close(), but for bytes: see block_refresh(). Any thread. */
const struct block_info *block_info(const struct block *block);

/*
 * Another end of the same disk, for use on another loop: a block of its own, started after the original,
 * stopped and closed before the original is stopped. Where the back end cannot be used from two threads it
 * passes requests to the original's loop and back. B3 holds across twins. A twin of a twin is one
 * of the original. 0, -ENOMEM, or why there is no further descriptor.
 */
MUST_CHECK int block_twin(struct block *original, struct block **ret);

/* ---- activity: the loop's thread ---------------------------------------------------------------- */

/* Binds to the loop; requests are accepted from now on. 0 or a negative errno. */
MUST_CHECK int block_start(struct block *block, struct loop *loop);

/* No more submissions follow; posts done to the loop when nothing is in flight any more. */
void block_stop(struct block *block, struct loop_work *done);

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,
	BLOCK_DISCARD,
	BLOCK_WRITE_ZEROES,
	BLOCK_RESIZE, /* to offset_bytes; durable when done. Then block_refresh() it and its twins */
	BLOCK_MAP,    /* where the first part of the range is: fills request->map */
};
#define BLOCK_OPS (BLOCK_MAP + 1)

enum block_map_kind {
	BLOCK_MAP_DATA,   /* at file_offset_bytes of the file, or ~0 when that means nothing */
	BLOCK_MAP_ZERO,   /* reads as zeroes and takes no space */
	BLOCK_MAP_PARENT, /* not here: as the parent says, or zeroes beyond its end */
};

struct block_map {
	enum block_map_kind kind;
	uint64_t bytes; /* 1 to the length asked for */
	uint64_t file_offset_bytes;
};

struct block_request;

/*
 * result: 0 or a negative errno: -EIO, -ENOSPC, -EROFS, -EINVAL (range), -EOPNOTSUPP, -ECANCELED
 * (given up while it was held)…
 */
typedef void block_done_fn(struct block_request *request, int result);

struct block_request {
	/* The caller's; constant while in flight. */
	enum block_op op;
	bool fua;              /* BLOCK_WRITE */
	bool may_unmap;        /* BLOCK_WRITE_ZEROES: may give the space back */
	uint64_t offset_bytes; /* multiples of the logical block */
	uint64_t length_bytes; /* the sum of the iovecs for BLOCK_READ and BLOCK_WRITE */
	/*
	 * BLOCK_READ, BLOCK_WRITE: memory that stays valid until done. The array itself is the back
	 * end's until then, and it may change it.
	 */
	struct iovec *iov;
	int iov_count;
	block_done_fn *done;
	struct block_map map; /* the answer to BLOCK_MAP */

	/* The layers', while in flight. */
	struct block *top; /* where it was submitted, whose counters it moves */
	struct block *at;  /* who has it now */
	struct loop_request ring;
	struct list link;
	uint64_t done_bytes;
	uint64_t ready_ns; /* delay layer */
	int result; /* of a completion that waits for the loop; the first error of its parts */
	uint32_t pending; /* fragments, see block/fragment.h */
	int bounce;       /* slot of a bounce buffer, or -1 */
	uint32_t asked_bytes;
	uint8_t retries;
};

/* Takes the request until its done is called (B1). Nonsense (range, read-only) fails by done. */
void block_submit(struct block *block, struct block_request *request);

struct loop *block_loop(const struct block *block);

/* After a BLOCK_RESIZE, or when the host's storage has changed size: takes the new size over. */
void block_refresh(struct block *block);

/*
 * Requests that on_error holds, at all ends of the disk: how many (any thread); try them again now; fail
 * them with -ECANCELED, as well as those of now that would come to be held. Each at one end is enough.
 * While any is held block_stop() does not end: give up first.
 */
unsigned int block_held(const struct block *block);
void block_retry(struct block *block);
void block_give_up(struct block *block);

/* Counters since block_open(), written on the loop, read by any thread. */
struct block_stats {
	counter_u64 reads, writes, flushes, discards, zeroes; /* completed, errors included */
	counter_u64 read_bytes, written_bytes;                /* of those without error */
	counter_u64 resizes;
	counter_u64 errors;
	counter_u64 bounced; /* transfers that needed a copy because of their alignment */
	counter_u64 in_flight, in_flight_max;
};

/* This end's. */
const struct block_stats *block_read_stats(const struct block *block);

/*
 * The control thread: those of all ends together, closed twins included; for the original.
 * in_flight_max is that of the busiest end.
 */
void block_sum_stats(const struct block *original, struct block_stats *ret);

/* The block below a layer or an image; NULL: the lowest. For inspect. */
struct block *block_lower(const struct block *block);

/* The parent of the topmost image that has one, or NULL. For tools; it is not to be used for I/O. */
struct block *block_parent(const struct block *block);

/* "raw", "vhdx", "fail"…: literal of the topmost layer. Whether direct I/O is used. */
const char *block_name(const struct block *block);
bool block_is_direct(const struct block *block);
