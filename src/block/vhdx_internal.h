/* SPDX-License-Identifier: MIT */
/*
 * A VHDX image: what its files share.
 *
 *   vhdx_parse.c   bytes of headers, region tables, metadata ──► structs; vhdx_locator.c: of locators
 *   vhdx_replay.c  bytes of the log ──► what it wants written where
 *   vhdx_read.c    structures of a file; vhdx_bat.c: its table; vhdx_parent.c: its parent
 *   vhdx_open.c    life
 *   vhdx_io.c      requests; vhdx_write.c, vhdx_resize.c: those that change something
 *   vhdx_space.c   the file's MiB: used, free, known to be zero
 *   vhdx_bitmap.c  sector bitmaps of a differencing disk
 *   vhdx_log.c     how changed tables reach the file; vhdx_pages.c: which; vhdx_header.c: the headers
 *   vhdx_create.c vhdx_check.c vhdx_compact.c: image.h
 *
 * Invariants:
 *   X1  A table on stable storage names a block only after the block's data, or its zeroes, are there.
 *   X2  Space that a table on stable storage names is neither written for another purpose nor punched.
 *   X3  A table in the file changes only after the log holds the change on stable storage.
 *   X4  A flush, or a write with fua, is completed when the log holds all that the completed writes
 *       before it have changed.
 *   X5  Space is handed out only when the file is known to hold zeroes there.
 *
 *   owner   the block's   thread  the loop's, once started
 */
#pragma once

#include "block/block_impl.h"
#include "block/fragment.h"
#include "block/sync.h"
#include "block/vhdx_format.h"

/* ---- vhdx_parse.c -------------------------------------------------------------------------------- */

struct vhdx_headers {
	struct vhdx_header copy[VHDX_HEADER_COPIES];
	bool is_valid[VHDX_HEADER_COPIES];
	unsigned int current;
};

/* Both copies, VHDX_HEADER_BYTES each. 0, or -EINVAL with the rest of a sentence about the file. */
MUST_CHECK int vhdx_headers_parse(const uint8_t *const copies[VHDX_HEADER_COPIES],
				  struct vhdx_headers *ret, struct diag *reterr);
/* Into VHDX_HEADER_BYTES, with its checksum. */
void vhdx_header_build(const struct vhdx_header *header, uint8_t *buf);

struct vhdx_regions {
	struct vhdx_region all[VHDX_REGION_ENTRIES_MAX];
	unsigned int count;
	uint64_t bat_offset, metadata_offset;
	uint32_t bat_bytes, metadata_bytes;
};

/* One copy, VHDX_REGION_TABLE_BYTES, of a file of so many bytes; the log is kept clear of, too. */
MUST_CHECK int vhdx_regions_parse(const uint8_t *buf, const struct vhdx_header *header,
				  uint64_t file_bytes, struct vhdx_regions *ret,
				  struct diag *reterr);

struct vhdx_item {
	uint32_t offset, bytes; /* in the metadata region; bytes 0: there is none */
};

struct vhdx_items {
	struct vhdx_item parameters, disk_bytes, page83, logical, physical, parent;
};

/* The table, VHDX_METADATA_TABLE_BYTES, of a region of so many bytes. */
MUST_CHECK int vhdx_items_parse(const uint8_t *buf, uint32_t region_bytes, struct vhdx_items *ret,
				struct diag *reterr);

struct vhdx_geometry {
	uint64_t disk_bytes;
	uint32_t block_bytes, logical_bytes, physical_bytes;
	bool is_fixed, has_parent;
	struct guid page83;

	/* Made of these. */
	unsigned int block_shift, sector_shift, chunk_shift; /* chunk: blocks of one bitmap */
	uint64_t blocks, chunks;
	uint64_t entries; /* of the table, bitmaps' included */
};

/* Checks sizes and computes the rest. 0 or -EINVAL. */
MUST_CHECK int vhdx_geometry_init(struct vhdx_geometry *geometry, struct diag *reterr);

/* How many entries so many bytes of disk need. */
uint64_t vhdx_geometry_entries(const struct vhdx_geometry *geometry, uint64_t disk_bytes);

static inline uint64_t vhdx_bat_index(const struct vhdx_geometry *geometry, uint64_t block)
{
	return block + (block >> geometry->chunk_shift);
}

static inline uint64_t vhdx_bitmap_index(const struct vhdx_geometry *geometry, uint64_t chunk)
{
	return ((chunk + 1) << geometry->chunk_shift) + chunk;
}

/* Bytes of the disk that this block holds: the last one may be cut off. */
static inline uint64_t vhdx_block_span(const struct vhdx_geometry *geometry, uint64_t block)
{
	return num_min(geometry->block_bytes,
		       geometry->disk_bytes - (block << geometry->block_shift));
}

#define VHDX_PATH_BYTES 4096 /* of UTF-8, its zero included */

struct vhdx_locator {
	struct guid linkage[2]; /* the parent's data_write; the second one of an unfinished merge */
	unsigned int linkages;
	char relative[VHDX_PATH_BYTES], volume[VHDX_PATH_BYTES], absolute[VHDX_PATH_BYTES];
};

MUST_CHECK int vhdx_locator_parse(const uint8_t *buf, uint32_t bytes, struct vhdx_locator *ret,
				  struct diag *reterr);

/* ---- vhdx_replay.c ------------------------------------------------------------------------------- */

/* What a log wants: `bytes` at `offset`, in order; data NULL: zeroes. */
struct vhdx_update {
	uint64_t offset, bytes;
	const uint8_t *data;
};

struct vhdx_replay {
	struct vhdx_update *updates;
	size_t count;
	uint8_t *data; /* what updates[].data points into */
	uint64_t flushed_bytes, last_bytes;
	unsigned int entries;
};

/*
 * The log's bytes and the header that names it: finds the active sequence. -ENOMEM; -EINVAL: there is
 * none, or it wants to write where it must not.
 */
MUST_CHECK int vhdx_replay_parse(const uint8_t *log, const struct vhdx_header *header,
				 uint64_t file_bytes, struct vhdx_replay *ret, struct diag *reterr);
void vhdx_replay_fini(struct vhdx_replay *replay);

/* Lays the updates over bytes that were read at this offset. */
void vhdx_replay_overlay(const struct vhdx_replay *replay, uint64_t offset, void *buf,
			 size_t bytes);

/* ---- the image ----------------------------------------------------------------------------------- */

/* Data requests below at once, of all requests together. */
#define VHDX_FRAGMENTS      256

/* Pages of tables in one log entry; each is a sector of it. */
#define VHDX_COMMIT_PAGES   64U
#define VHDX_PAGE_BYTES     VHDX_SECTOR_BYTES
#define VHDX_PAGE_ENTRIES   (VHDX_PAGE_BYTES / 8)
#define VHDX_BITMAP_PAGES   (VHDX_BITMAP_BYTES / VHDX_PAGE_BYTES)

/* The file grows by an eighth of itself, within these, rounded to blocks. */
#define VHDX_GROW_BYTES_MIN (64ULL << 20)
#define VHDX_GROW_BYTES_MAX (1ULL << 30)

/*
 * In the reserved bits of entries in memory:
 *   FRESH    allocated, and no write to it has completed: the file shall still say the old state (X1)
 *   FREEING  not present any more; the offset is what it leaves, until the file knows (X2)
 *   LOGGED   FREEING, and the change is in the log or on its way there
 */
#define VHDX_FRESH          0x08ULL
#define VHDX_FREEING        0x10ULL
#define VHDX_LOGGED         0x20ULL
#define VHDX_OLD_SHIFT      8
#define VHDX_OLD            (7ULL << VHDX_OLD_SHIFT)

static inline unsigned int vhdx_state(uint64_t entry)
{
	return (unsigned int)(entry & VHDX_BAT_STATE);
}

static inline bool vhdx_is_present(uint64_t entry)
{
	return vhdx_state(entry) >= VHDX_FULLY_PRESENT;
}

/* Units of 1 MiB of the file. */
struct vhdx_space {
	uint64_t *used, *clean; /* bit per unit; clean: free and known to be zero (X5) */
	uint64_t end;           /* whole units of the file */
	uint64_t from;          /* no free unit below */
	bool can_punch;
	/* One preparation at a time: growing the file, or punching [at, at + units). */
	struct block_request request;
	bool is_busy, is_growing;
	uint64_t at, units;
};

/*
 * Which pages of tables differ from the file: bitmaps' first, then the BAT's, then metadata's. Lower
 * ones are logged first, so that bits are right before an entry says that they count.
 */
struct vhdx_dirty {
	uint64_t *bits;
	uint64_t bitmap_pages, bat_pages; /* that there is room for */
	uint64_t count;
	uint64_t low, high; /* all are in [low, high) */
};

#define VHDX_METADATA_PAGES 2 /* those that hold the disk's size */

struct vhdx_bitmaps {
	uint8_t *bits;    /* chunk after chunk, mapped, touched as they are used; NULL: no parent */
	uint64_t *loaded; /* bit per page */
	uint64_t chunks;  /* that there is room for */
	struct block_request request;
	struct iovec iov;
	uint64_t loading; /* page */
	bool is_busy;
};

enum vhdx_session { VHDX_CLEAN, VHDX_OPENING, VHDX_OPEN };

struct vhdx;
typedef void vhdx_step_fn(struct vhdx *vhdx);

/* What the log is doing, which decides what an error breaks. */
enum vhdx_stage {
	VHDX_IDLE,
	VHDX_SESSION, /* the first change: new GUIDs */
	VHDX_COMMIT,  /* until the entry is on stable storage */
	VHDX_APPLY,   /* from the entry to the tables' own place */
	VHDX_FREE,    /* giving space back that no table names any more */
	VHDX_CLOSE,   /* nothing is left to do: the headers name no log */
};

struct vhdx_log {
	struct vhdx_headers headers;
	bool keeps_data;     /* what a guest sees does not change: neither does data_write */
	bool headers_unsure; /* one may or may not have reached the file */
	bool is_open;        /* the headers name it */
	struct guid guid;
	uint64_t sequence;
	uint32_t head; /* where the next entry goes */

	enum vhdx_stage stage;
	vhdx_step_fn *next, *after_headers;
	struct block_request request;
	struct iovec iov;
	struct vhdx_header header_next;
	unsigned int headers_written;

	uint8_t *buffers;                 /* mapped: header, pages, entry */
	uint64_t page[VHDX_COMMIT_PAGES]; /* of this commit */
	unsigned int pages, applied;
	bool riding_partial; /* more pages were dirty than it takes */
	bool wants_commit;
	bool has_frees;
	bool is_draining; /* waits for data requests of the epoch before */
	unsigned int free_page, free_entry;

	struct list waiting, riding; /* wholes that want, or are in, a commit */
	struct loop_work kick;
	int broken; /* no change is taken any more */
	bool is_quiescing;
};

struct vhdx {
	struct block block;
	struct block *parent;
	char *path;
	struct vhdx_geometry geometry;
	struct vhdx_regions *regions;
	uint64_t metadata_at[VHDX_METADATA_PAGES]; /* in the file; ~0: none */
	uint8_t *metadata;                         /* VHDX_METADATA_PAGES pages */
	uint64_t disk_bytes_at;                    /* in the file */
	struct vhdx_item locator_item;
	struct vhdx_locator *locator;

	uint64_t *bat;
	uint64_t bat_pages;
	uint64_t fresh;     /* how many entries are FRESH */
	uint64_t allocated; /* blocks present */

	struct vhdx_space space;
	struct vhdx_dirty dirty;
	struct vhdx_bitmaps bitmaps;
	struct vhdx_log log;
	enum vhdx_session session;
	struct vhdx_replay replay; /* read-only: laid over what is read; else done and forgotten */
	unsigned int replayed;     /* entries of the log, by this opening */

	struct block_fragments fragments;
	struct list parked;
	unsigned int epoch;
	uint64_t in_flight[2]; /* data requests below, by epoch */
	uint64_t resize_bytes; /* 0: no resize going on */
	struct block_request *resizing, resize_request;
};

extern const struct block_ops vhdx_ops;

static inline struct vhdx *vhdx_of(struct block *block)
{
	return container_of(block, struct vhdx, block);
}

/* The image among a block and what is below it, or NULL. */
struct vhdx *vhdx_find(struct block *block);

static inline struct guid vhdx_data_write(const struct vhdx *vhdx)
{
	return vhdx->log.headers.copy[vhdx->log.headers.current].data_write;
}

/* A random one. */
void vhdx_guid_create(struct guid *ret);

bool vhdx_guid_is_zero(const struct guid *guid);

/* ---- vhdx_open.c, vhdx_bat.c, vhdx_parent.c: the caller's thread, before start ---------------------- */

/* Reads from the file, the log's updates laid over. */
struct vhdx_reader {
	struct block_sync *sync;
	const struct vhdx_replay *replay; /* NULL: none */
	uint64_t file_bytes;
	const char *path;
};

/* Any offset and length. */
MUST_CHECK int vhdx_read(const struct vhdx_reader *reader, uint64_t offset, void *buf,
			 size_t bytes);

/* The pieces of an opening, for vhdx_check.c, too. Each says what is wrong in a whole sentence. */
MUST_CHECK int vhdx_read_headers(const struct vhdx_reader *reader, struct vhdx_headers *ret,
				 struct diag *reterr);
/* *ret is empty when the headers name no log. To be finished by vhdx_replay_fini(). */
MUST_CHECK int vhdx_read_log(const struct vhdx_reader *reader, const struct vhdx_headers *headers,
			     struct vhdx_replay *ret, struct diag *reterr);
/* The first copy that is valid; ret_valid: which are. */
MUST_CHECK int vhdx_read_regions(const struct vhdx_reader *reader, const struct vhdx_header *header,
				 struct vhdx_regions *ret, bool ret_valid[VHDX_REGION_TABLE_COPIES],
				 struct diag *reterr);
MUST_CHECK int vhdx_read_metadata(struct vhdx *vhdx, const struct vhdx_reader *reader,
				  struct diag *reterr);
/* Reads the table, converts it, and marks what it names as used. */
MUST_CHECK int vhdx_bat_load(struct vhdx *vhdx, const struct vhdx_reader *reader,
			     struct diag *reterr);
/* What is wrong with an entry, or NULL. */
const char *vhdx_bat_complain(const struct vhdx *vhdx, uint64_t index, uint64_t entry,
			      uint64_t file_bytes);
/* Whether this index is a bitmap's. */
bool vhdx_bat_is_bitmap(const struct vhdx_geometry *geometry, uint64_t index);

/* What the log wants, into the file; then both headers, which name no log. May be done twice. */
MUST_CHECK int vhdx_replay_apply(const struct vhdx_replay *replay, struct vhdx_headers *headers,
				 struct vhdx_reader *reader);

MUST_CHECK int vhdx_parent_load(struct vhdx *vhdx, const struct block_config *config,
				const struct vhdx_reader *reader, struct diag *reterr);

/* ---- vhdx_io.c, vhdx_write.c ---------------------------------------------------------------------- */

void vhdx_submit(struct block *block, struct block_request *whole);
void vhdx_advance(struct block *block, struct block_request *whole);

/* The piece of a whole that lies in one block. */
struct vhdx_piece {
	uint64_t block, index; /* of the disk; its entry's */
	uint64_t at, bytes;    /* in the block */
};

/* Each handles the beginning of what is left. 0; -EAGAIN: it is parked; or what it ends with. */
MUST_CHECK int vhdx_step_write(struct vhdx *vhdx, struct block_request *whole,
			       const struct vhdx_piece *piece);
MUST_CHECK int vhdx_step_clear(struct vhdx *vhdx, struct block_request *whole,
			       const struct vhdx_piece *piece);
MUST_CHECK int vhdx_step_resize(struct vhdx *vhdx, struct block_request *whole);
/* The log holds it, or not: makes it true. */
void vhdx_resized(struct vhdx *vhdx, int result);

/* A piece of the whole to the image's file. -EAGAIN when there is no fragment. */
MUST_CHECK int vhdx_submit_data(struct vhdx *vhdx, struct block_request *whole,
				const struct vhdx_piece *piece, bool mark);
/* The block's data are there: a fresh block becomes true, sectors become present. */
void vhdx_mark(struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes);

/* Sets the whole aside until something has changed; returns -EAGAIN. */
int vhdx_park(struct vhdx *vhdx, struct block_request *whole);
void vhdx_unpark(struct vhdx *vhdx);
/* Those that want to change something end with err; the others go on. */
void vhdx_unpark_failed(struct vhdx *vhdx, int err);
/* All end with err. */
void vhdx_unpark_ended(struct vhdx *vhdx, int err);

/* ---- vhdx_space.c -------------------------------------------------------------------------------- */

MUST_CHECK int vhdx_space_init(struct vhdx_space *space, uint64_t file_bytes, bool can_punch);
void vhdx_space_fini(struct vhdx_space *space);
/* False: some of it is used already. Within VHDX_FILE_BYTES_MAX. */
MUST_CHECK bool vhdx_space_mark(struct vhdx_space *space, uint64_t offset, uint64_t bytes);
/* Zeroed, and the caller's. 0, -EAGAIN: being prepared, park; -EFBIG. */
MUST_CHECK int vhdx_space_take(struct vhdx *vhdx, uint64_t bytes, uint64_t *ret_offset);
void vhdx_space_free(struct vhdx_space *space, uint64_t offset, uint64_t bytes, bool is_clean);
/* Behind the last unit that is used. */
uint64_t vhdx_space_end_bytes(const struct vhdx_space *space);
/* Used units below the end. */
uint64_t vhdx_space_used_units(const struct vhdx_space *space);
/* The lowest free run of so many bytes that ends below the limit, or 0: there is none. */
uint64_t vhdx_space_find(const struct vhdx_space *space, uint64_t bytes, uint64_t limit);

/* ---- vhdx_bitmap.c ------------------------------------------------------------------------------- */

MUST_CHECK int vhdx_bitmaps_init(struct vhdx *vhdx);
void vhdx_bitmaps_fini(struct vhdx *vhdx);
/* The bits of this part of the block are in memory: 0; being read: -EAGAIN, park. */
MUST_CHECK int vhdx_bitmap_load(struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes);
/* A new bitmap, all zero, for a chunk that had none. */
void vhdx_bitmap_create(struct vhdx *vhdx, uint64_t chunk, uint64_t offset);
/* Whether the sector at `at` is present, and for how many bytes (at most `bytes`) that holds. */
bool vhdx_bitmap_run(const struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes,
		     uint64_t *ret_bytes);
void vhdx_bitmap_set(struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes, bool present);

/* ---- vhdx_log.c, vhdx_header.c ------------------------------------------------------------------- */

MUST_CHECK int vhdx_log_init(struct vhdx *vhdx);
void vhdx_log_fini(struct vhdx *vhdx);
MUST_CHECK int vhdx_dirty_init(struct vhdx *vhdx);
void vhdx_dirty_page(struct vhdx *vhdx, uint64_t page);
void vhdx_dirty_entry(struct vhdx *vhdx, uint64_t index);
void vhdx_dirty_metadata(struct vhdx *vhdx);

/* Whether a flush has more to do than flush the file. */
bool vhdx_log_is_needed(const struct vhdx *vhdx);
/* The whole's hold is given back when the next commit is on stable storage. */
void vhdx_log_wait(struct vhdx *vhdx, struct block_request *whole);
/* A commit soon, though nobody waits. */
void vhdx_log_want(struct vhdx *vhdx);
/* New GUIDs before the first change; then parked wholes go on. */
void vhdx_log_open_session(struct vhdx *vhdx);
/* The last data request of the old epoch is done. */
void vhdx_log_drained(struct vhdx *vhdx);
void vhdx_log_quiesce(struct vhdx *vhdx);

/* One request of the log's to the file; then next(), or what an error of this stage means. */
void vhdx_log_submit(struct vhdx *vhdx, enum block_op op, uint64_t offset, void *buf,
		     uint64_t bytes, vhdx_step_fn *next);
/* The same on stable storage. */
void vhdx_log_submit_durable(struct vhdx *vhdx, uint64_t offset, void *buf, uint64_t bytes,
			     vhdx_step_fn *next);
/* Both headers become log.header_next, one after the other, with new sequences; then after(). */
void vhdx_headers_write(struct vhdx *vhdx, vhdx_step_fn *after);
/* What is to be done next, if nothing is going on. */
void vhdx_log_kick(struct vhdx *vhdx);

/* ---- vhdx_pages.c: pages of tables ---------------------------------------------------------------- */

/* Takes up to VHDX_COMMIT_PAGES of them, as they shall be in the file, for this commit. */
void vhdx_pages_take(struct vhdx *vhdx);
/* They are not in the log: dirty again. */
void vhdx_pages_restore(struct vhdx *vhdx);
/* Where the page is in the file. */
uint64_t vhdx_page_offset(const struct vhdx *vhdx, uint64_t page);
/* The next entry of these pages whose space is to be given back; NULL: none. */
uint64_t *vhdx_pages_next_free(struct vhdx *vhdx);

static inline uint8_t *vhdx_log_header_buffer(const struct vhdx_log *log)
{
	return log->buffers;
}

static inline uint8_t *vhdx_log_page_buffer(const struct vhdx_log *log, unsigned int n)
{
	return log->buffers + VHDX_HEADER_BYTES + (size_t)n * VHDX_PAGE_BYTES;
}

/* Descriptors of VHDX_COMMIT_PAGES fit beside the entry's header into its first sector. */
#define VHDX_ENTRY_SECTORS_MAX (1 + VHDX_COMMIT_PAGES)
#define VHDX_LOG_BUFFERS_BYTES                                                                     \
	(VHDX_HEADER_BYTES + (VHDX_COMMIT_PAGES + VHDX_ENTRY_SECTORS_MAX) * VHDX_PAGE_BYTES)

static inline uint8_t *vhdx_log_entry_buffer(const struct vhdx_log *log)
{
	return vhdx_log_page_buffer(log, VHDX_COMMIT_PAGES);
}

/* ---- vhdx_create.c, vhdx_check.c, vhdx_compact.c: see image.h --------------------------------------- */

MUST_CHECK int vhdx_create(const struct image_create_config *config, struct diag *reterr);
MUST_CHECK int vhdx_check(const char *path, bool repair, struct image_report *report,
			  const struct image_progress *progress, struct diag *reterr);
MUST_CHECK int vhdx_compact(const char *path, const struct image_progress *progress,
			    uint64_t *ret_bytes, struct diag *reterr);
/* The same with an image that is open and started. */
MUST_CHECK int vhdx_compact_started(struct block_sync *sync, const struct image_progress *progress);
