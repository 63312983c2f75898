/* SPDX-License-Identifier: MIT */
/*
 * An open VHD: what its files share.
 *
 *   vhd_open.c     opening, repairing a footer, the parent      vhd_bitmap.c  sector bitmaps in memory
 *   vhd.c          requests                                     vhd_commit.c  tables to the file
 *   vhd_resize.c   growing and shrinking                        vhd_create.c vhd_check.c vhd_compact.c
 *
 * A write goes straight to its place in the file. What it changes in the tables (a new block's BAT
 * entry, a bit in a bitmap) changes in memory and is written by a commit, which runs a moment later, or
 * at once for a flush:
 *
 *              kick            footer written       flushed             written         (who flushes waits)
 *     idle ───────────► FOOTER ─────────────► DATA ─────────► TABLES ───────────► SYNC ───► idle
 *
 * Invariants:
 *   V1  An entry or a bit is written to the file only after a flush that covers what it points at:
 *       the data of each write that had completed, and the file's length. So a crash leaves each
 *       sector as it was or as it was written, and whatever a completed flush covers is there.
 *   V2  New blocks lie beyond the end of the file, so they begin as zeroes; the place of the last
 *       footer is left alone, so it is there until the next one is. If none is, the copy at offset 0,
 *       which no guest can write, says what the image is.
 *   V3  A bit is set in memory when its sector's write has completed; but for a new block of an image
 *       without parent, which is complete, with zeroes, from the beginning.
 *
 *   owner   the block's   thread  the loop's, once started
 */
#pragma once

#include "block/block_impl.h"
#include "block/fragment.h"
#include "block/sync.h"
#include "block/vhd_format.h"

/* Pieces of requests in flight. */
#define VHD_FRAGMENTS          128
/* Metadata requests in flight. */
#define VHD_META_REQUESTS      16
/* How long changed tables may stay in memory only. */
#define VHD_COMMIT_DELAY_NS    50000000ULL
/* Bitmaps in memory: so many bytes, within these counts. */
#define VHD_BITMAP_CACHE_BYTES (8U << 20)
#define VHD_SLOTS_MIN          8U
#define VHD_SLOTS_MAX          4096U
/* Of the table, written at once. */
#define VHD_TABLE_PAGE_BYTES   4096U
#define VHD_TABLE_PAGE_ENTRIES (VHD_TABLE_PAGE_BYTES / 4)

/* Of a block, in vhd->state. */
#define VHD_STATE_FULL         1U /* all sectors are here: it needs no slot */
#define VHD_STATE_DIRTY        2U /* in vhd->dirty: entry and bitmap are to be written */

/* A bitmap in memory. */
struct vhd_slot {
	struct vhd *vhd;
	struct list link; /* in vhd->idle when nobody needs it: it may be taken for another block */
	uint32_t block;   /* VHD_NO_BLOCK: none */
	uint32_t pins;    /* writes in flight that will set bits */
	bool is_loading, is_dirty, is_committing;
	struct list waiting; /* wholes, for the load */
	uint8_t *bits;       /* first sector: highest bit of the first byte */
	uint8_t *out;        /* as it was when the commit began */
	struct block_request load;
	struct iovec iov;
};

struct vhd_meta {
	struct vhd *vhd;
	struct block_request request;
	struct iovec iov;
	struct list link; /* in vhd->meta_free */
};

enum vhd_phase {
	VHD_IDLE,
	VHD_FOOTER,
	VHD_DATA,
	VHD_TABLES,
	VHD_SYNC,
	VHD_RESIZING,
};

struct vhd {
	struct block block;   /* lower: the file */
	struct block *parent; /* NULL: none; started and stopped by us */
	struct vhd_footer footer;
	struct vhd_header header;
	char *path; /* for sentences and facts */
	char *parent_path;
	bool parent_modified; /* its file's time is not the header's */

	/* Dynamic ones; mapped for as many entries as the largest disk has, so they never move. */
	uint32_t entries_max;
	uint32_t bitmap_bytes;
	uint32_t *table;     /* sector of each block's bitmap, or VHD_NO_BLOCK */
	uint8_t *table_disk; /* what the file has, or is to have after this commit */
	uint8_t *state;      /* VHD_STATE_* */
	uint32_t *slot_of;   /* 1 + index of the block's slot; 0: none */
	uint32_t *dirty, dirty_count;
	uint32_t *committing, committing_count, committing_next;
	uint8_t *page_marks; /* per page of the table: to be written */
	uint32_t page_next, pages;
	void *arrays;
	size_t arrays_bytes;
	uint64_t end;       /* behind the last block: where the footer is or goes */
	uint64_t footer_at; /* where it is; ~0: none is right */

	struct block_fragments fragments;
	struct vhd_slot *slots;
	uint32_t slot_count;
	uint8_t *slot_bytes;
	size_t slot_bytes_total;
	uint8_t *ones;            /* a full bitmap, with room around for direct I/O */
	struct list idle;         /* slots */
	struct list slot_waiting; /* wholes that found none */
	struct loop_work slot_work;

	enum vhd_phase phase;
	int commit_result;
	uint32_t meta_flight;
	struct vhd_meta meta[VHD_META_REQUESTS];
	struct list meta_free;
	struct loop_timer timer;
	struct loop_work commit_work;
	struct list flush_next, flush_now; /* wholes: flushes, and writes that must last */
	bool is_unsynced;                  /* tables were written and not flushed */
	bool is_urgent;                    /* do not wait for the timer */
	bool is_quiescing;
	struct vhd_wire_footer *footer_out; /* aligned memory for the commit's and resize's I/O */
	struct vhd_wire_header *header_out;

	struct block_request *resize; /* the one that is being done, or waits for its turn */
	struct list resize_waiting;
	const uint8_t *resize_steps;
	struct vhd_footer resize_footer;
	struct vhd_header resize_header;
};

extern const struct block_ops vhd_ops;

static inline struct block *vhd_file(const struct vhd *vhd)
{
	return vhd->block.lower;
}

static inline bool vhd_is_fixed(const struct vhd *vhd)
{
	return vhd->footer.type == VHD_FIXED;
}

/* Of an allocated block, in the file. */
static inline uint64_t vhd_bitmap_at(const struct vhd *vhd, uint32_t block)
{
	return (uint64_t)vhd->table[block] * VHD_SECTOR_BYTES;
}

static inline uint64_t vhd_data_at(const struct vhd *vhd, uint32_t block)
{
	return vhd_bitmap_at(vhd, block) + vhd->bitmap_bytes;
}

/* ---- vhd_bitmap.c ------------------------------------------------------------------------------ */

MUST_CHECK int vhd_bitmaps_init(struct vhd *vhd);
void vhd_bitmaps_fini(struct vhd *vhd);

/*
 * The block's bitmap, its block not being full. NULL: the whole waits (with advance's hold) and is
 * advanced again, or has failed. is_new: nothing is in the file yet, all is zero.
 */
struct vhd_slot *vhd_bitmap_get(struct vhd *vhd, uint32_t block, bool is_new,
				struct block_request *whole);
struct vhd_slot *vhd_bitmap_find(struct vhd *vhd, uint32_t block);

/* How many sectors from `sector` on (at most count) are alike, and whether they are here. */
uint32_t vhd_bitmap_run(const uint8_t *bits, uint32_t sector, uint32_t count, bool *ret_set);

/* A pinned slot stays until it is unpinned; bytes > 0: these have been written. */
void vhd_bitmap_pin(struct vhd_slot *slot);
void vhd_bitmap_unpin(struct vhd_slot *slot, uint32_t offset_bytes, uint32_t bytes);
/* Idle again, if nothing else keeps it. */
void vhd_bitmap_settle(struct vhd_slot *slot);

/* ---- vhd_commit.c ------------------------------------------------------------------------------ */

void vhd_commit_init(struct vhd *vhd);
void vhd_commit_start(struct vhd *vhd, struct loop *loop);
/* Whether tables in memory, or written, are not stable yet. */
bool vhd_commit_is_needed(const struct vhd *vhd);
/* The block's entry or bitmap has changed. */
void vhd_mark_dirty(struct vhd *vhd, uint32_t block);
/* Tables go to the file soon; urgent: now. */
void vhd_commit_kick(struct vhd *vhd, bool is_urgent);
/* The whole, a flush or a write that must last, ends when all that has completed is stable. */
void vhd_commit_wait(struct vhd *vhd, struct block_request *whole);
/* The phase is over and another may begin. */
void vhd_commit_next(struct vhd *vhd);
/* A request of our own to the file; done's argument is a struct vhd_meta's. */
void vhd_meta_submit(struct vhd *vhd, enum block_op op, uint64_t offset, void *buf, uint64_t bytes,
		     block_done_fn *done);
void vhd_meta_put(struct vhd_meta *meta);

/* ---- vhd_resize.c ------------------------------------------------------------------------------ */

/* On the loop, with no commit under way and nothing dirty. */
void vhd_resize_begin(struct vhd *vhd);

/* ---- vhd.c ------------------------------------------------------------------------------------- */

void vhd_advance(struct block *image, struct block_request *whole);
/* Gives advance's hold back. */
void vhd_whole_end(struct vhd *vhd, struct block_request *whole, int result);

/* ---- vhd_open.c, for tools ---------------------------------------------------------------------- */

/* The locator's text as a path in UTF-8, of at most `bytes`; negative errno: unreadable. */
MUST_CHECK int vhd_locator_read(struct block_sync *file, const struct vhd_locator *locator,
				char *buf, size_t bytes);

/* The VHD below layers; NULL: it is of another kind. */
struct vhd *vhd_of(struct block *block);

/* ---- image_ops --------------------------------------------------------------------------------- */

MUST_CHECK int vhd_image_check(const char *path, bool repair, struct image_report *report,
			       const struct image_progress *progress, struct diag *reterr);
MUST_CHECK int vhd_image_compact(const char *path, const struct image_progress *progress,
				 uint64_t *ret_bytes, struct diag *reterr);
