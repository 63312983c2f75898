/* SPDX-License-Identifier: MIT */
/*
 * VHDX: how changed tables reach the file. One thing at a time:
 *
 *   session   new GUIDs into both headers, before the first change
 *   commit    take dirty pages ─► flush the file: data, zeroes, what was applied before (X1)
 *             ─► no room in the log: both headers name none, begin it anew
 *             ─► the entry, durable ─► new log: both headers name it ─► whoever waits is told (X4)
 *   apply     the pages to their own place (X3)
 *   free      when data requests from before are done: punch, then the space may be used again (X2)
 *   close     flush ─► both headers name no log ─► cut off what is free at the end
 *
 * The log is never run over its end: a sequence begins at its first byte, with a GUID of its own, so
 * nothing older can be taken for a part of it. Its tail is always that byte.
 *
 * Errors: until the entry is durable nothing has happened, the pages are dirty again, and the next flush
 * tries once more. An error while tables are written leaves the log as it is, for the next opening,
 * and no change is taken any more.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

static_assert(sizeof(struct vhdx_log_header) + VHDX_COMMIT_PAGES * sizeof(struct vhdx_log_desc) <=
		      VHDX_SECTOR_BYTES,
	      "descriptors fit into the first sector");
static_assert(VHDX_ENTRY_SECTORS_MAX * VHDX_SECTOR_BYTES <= VHDX_ALIGN_BYTES,
	      "an entry fits into the smallest log");

static void log_on_kick(struct loop_work *work)
{
	vhdx_log_kick(container_of(work, struct vhdx, log.kick));
}

int vhdx_log_init(struct vhdx *vhdx)
{
	void *map = MAP_FAILED;

	loop_work_init(&vhdx->log.kick, log_on_kick);
	vhdx->log.sequence = 1;
	if (!fault_point()) {
		map = mmap(NULL, VHDX_LOG_BUFFERS_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	vhdx->log.buffers = map == MAP_FAILED ? NULL : map;
	return vhdx->log.buffers ? 0 : -ENOMEM;
}

void vhdx_log_fini(struct vhdx *vhdx)
{
	if (vhdx->log.buffers) {
		munmap(vhdx->log.buffers, VHDX_LOG_BUFFERS_BYTES);
	}
}

/* ---- requests ------------------------------------------------------------------------------------ */

static void log_fail(struct vhdx *vhdx, int err);

static void log_on_done(struct block_request *request, int result)
{
	struct vhdx *vhdx = container_of(request, struct vhdx, log.request);

	if (result) {
		log_fail(vhdx, result);
	} else {
		vhdx->log.next(vhdx);
	}
}

static void log_submit(struct vhdx *vhdx, enum block_op op, uint64_t offset, void *buf,
		       uint64_t bytes, bool fua, vhdx_step_fn *next)
{
	struct vhdx_log *log = &vhdx->log;
	struct block_request *request = &log->request;

	log->next = next;
	log->iov = (struct iovec){ buf, bytes };
	request->op = op;
	request->fua = fua;
	request->may_unmap = true;
	request->offset_bytes = offset;
	request->length_bytes = bytes;
	request->iov = &log->iov;
	request->iov_count = buf ? 1 : 0;
	request->done = log_on_done;
	block_submit(vhdx->block.lower, request);
}

void vhdx_log_submit(struct vhdx *vhdx, enum block_op op, uint64_t offset, void *buf,
		     uint64_t bytes, vhdx_step_fn *next)
{
	log_submit(vhdx, op, offset, buf, bytes, false, next);
}

void vhdx_log_submit_durable(struct vhdx *vhdx, uint64_t offset, void *buf, uint64_t bytes,
			     vhdx_step_fn *next)
{
	log_submit(vhdx, BLOCK_WRITE, offset, buf, bytes, true, next);
}

/* Tells all of a list. */
static void log_tell(struct vhdx *vhdx, struct list *wholes, int result)
{
	struct block_request *whole;

	while ((whole = list_first(wholes, struct block_request, link)) != NULL) {
		list_remove(&whole->link);
		if (whole->op == BLOCK_RESIZE) {
			vhdx_resized(vhdx, result);
		}
		block_whole_end(&vhdx->block, whole, result);
	}
}

/* Nothing is going on any more: those who waited for that, then whatever is next. */
static void log_idle(struct vhdx *vhdx)
{
	vhdx->log.stage = VHDX_IDLE;
	vhdx_unpark(vhdx);
	vhdx_log_kick(vhdx);
}

static void log_finish_quiesce(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	log->stage = VHDX_IDLE;
	log->is_quiescing = false;
	log->wants_commit = false;
	loop_cancel(vhdx->block.loop, &log->kick);
	block_quiesced(&vhdx->block);
}

/* ---- session ------------------------------------------------------------------------------------- */

static void session_on_open(struct vhdx *vhdx)
{
	vhdx->session = VHDX_OPEN;
	log_idle(vhdx);
}

void vhdx_log_open_session(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	if (vhdx->session != VHDX_CLEAN || log->stage != VHDX_IDLE) {
		return;
	}
	vhdx->session = VHDX_OPENING;
	log->stage = VHDX_SESSION;
	log->header_next = log->headers.copy[log->headers.current];
	vhdx_guid_create(&log->header_next.file_write);
	if (!log->keeps_data) {
		vhdx_guid_create(&log->header_next.data_write);
	}
	vhdx_headers_write(vhdx, session_on_open);
}

/* ---- free ---------------------------------------------------------------------------------------- */

static void free_next(struct vhdx *vhdx);

static void free_done(struct vhdx *vhdx, bool is_clean)
{
	uint64_t *entry = vhdx_pages_next_free(vhdx);

	vhdx_space_free(&vhdx->space, *entry & VHDX_BAT_OFFSET, vhdx->geometry.block_bytes,
			is_clean);
	*entry = vhdx_state(*entry);
	free_next(vhdx);
}

static void free_on_punched(struct vhdx *vhdx)
{
	free_done(vhdx, true);
}

static void free_next(struct vhdx *vhdx)
{
	uint64_t *entry;

	while ((entry = vhdx_pages_next_free(vhdx)) != NULL) {
		uint64_t offset = *entry & VHDX_BAT_OFFSET;

		if (vhdx->space.can_punch) {
			vhdx_log_submit(vhdx, BLOCK_DISCARD, offset, NULL,
					vhdx->geometry.block_bytes, free_on_punched);
			return;
		}
		vhdx_space_free(&vhdx->space, offset, vhdx->geometry.block_bytes, false);
		*entry = vhdx_state(*entry);
	}
	log_idle(vhdx);
}

void vhdx_log_drained(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	if (log->is_draining) {
		log->is_draining = false;
		if (log->stage == VHDX_FREE) {
			free_next(vhdx);
		} else {
			vhdx_log_kick(vhdx);
		}
	}
}

static void free_begin(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	log->stage = VHDX_FREE;
	if (vhdx->in_flight[1 - vhdx->epoch] > 0) {
		log->is_draining = true;
	} else {
		free_next(vhdx);
	}
}

/* ---- apply --------------------------------------------------------------------------------------- */

static void apply_next(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;
	unsigned int first = log->applied, count = 0;
	uint64_t offset;

	if (first == log->pages) {
		if (log->has_frees) {
			free_begin(vhdx);
		} else {
			log_idle(vhdx);
		}
		return;
	}
	/* Neighbours in the file go together; their copies are neighbours, too. */
	offset = vhdx_page_offset(vhdx, log->page[first]);
	do {
		count++;
	} while (first + count < log->pages && vhdx_page_offset(vhdx, log->page[first + count]) ==
						       offset + (uint64_t)count * VHDX_PAGE_BYTES);
	log->applied += count;
	vhdx_log_submit(vhdx, BLOCK_WRITE, offset, vhdx_log_page_buffer(log, first),
			(uint64_t)count * VHDX_PAGE_BYTES, apply_next);
}

/* ---- commit -------------------------------------------------------------------------------------- */

static uint32_t entry_bytes(const struct vhdx_log *log)
{
	return (1 + log->pages) * VHDX_SECTOR_BYTES;
}

/* The n-th page: its ends into the descriptor, the rest into its data sector. */
static void entry_build_page(const struct vhdx *vhdx, unsigned int n, uint8_t *buf)
{
	const struct vhdx_log *log = &vhdx->log;
	const uint8_t *page = vhdx_log_page_buffer(log, n);
	uint8_t *to = buf + (size_t)(1 + n) * VHDX_SECTOR_BYTES;
	struct vhdx_log_desc desc = {
		.signature = VHDX_DESC_SIGNATURE,
		.file_offset = vhdx_page_offset(vhdx, log->page[n]),
		.sequence = log->sequence,
	};

	memcpy(desc.leading, page, sizeof(desc.leading));
	memcpy(desc.trailing, page + VHDX_PAGE_BYTES - sizeof(desc.trailing),
	       sizeof(desc.trailing));
	memcpy(buf + sizeof(struct vhdx_log_header) + n * sizeof(desc), &desc, sizeof(desc));

	memcpy(to, page, VHDX_PAGE_BYTES);
	bytes_put_le32(to, VHDX_DATA_SIGNATURE);
	bytes_put_le32(to + 4, (uint32_t)(log->sequence >> 32));
	bytes_put_le32(to + VHDX_SECTOR_BYTES - 4, (uint32_t)log->sequence);
}

static void entry_build(const struct vhdx *vhdx, uint8_t *buf)
{
	const struct vhdx_log *log = &vhdx->log;
	uint64_t file_bytes = block_info(vhdx->block.lower)->bytes;
	struct vhdx_log_header header = {
		.signature = VHDX_LOG_SIGNATURE,
		.entry_bytes = entry_bytes(log),
		.sequence = log->sequence,
		.descriptors = log->pages,
		.log = log->guid,
		.flushed_bytes = num_align_down(file_bytes, VHDX_ALIGN_BYTES),
		.last_bytes = num_align_up(file_bytes, VHDX_ALIGN_BYTES),
	};

	memset(buf, 0, VHDX_SECTOR_BYTES);
	memcpy(buf, &header, sizeof(header));
	for (unsigned int i = 0; i < log->pages; i++) {
		entry_build_page(vhdx, i, buf);
	}
	bytes_put_le32(buf + offsetof(struct vhdx_log_header, checksum),
		       crc32c(0, buf, entry_bytes(log)));
}

/* The entry counts: what it holds is as good as in the file. */
static void commit_on_live(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	log->is_open = true;
	log->head += entry_bytes(log);
	log->sequence++;
	log->stage = VHDX_APPLY;
	if (!log->riding_partial) {
		log_tell(vhdx, &log->riding, 0);
	}
	apply_next(vhdx);
}

static void commit_on_entry(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	if (log->is_open) {
		commit_on_live(vhdx);
		return;
	}
	log->header_next = log->headers.copy[log->headers.current];
	log->header_next.log = log->guid;
	vhdx_headers_write(vhdx, commit_on_live);
}

static void commit_write_entry(struct vhdx *vhdx)
{
	const struct vhdx_header *header = &vhdx->log.headers.copy[vhdx->log.headers.current];
	struct vhdx_log *log = &vhdx->log;
	uint8_t *buf = vhdx_log_entry_buffer(log);

	if (!log->is_open) {
		log->head = 0;
		vhdx_guid_create(&log->guid);
	}
	entry_build(vhdx, buf);
	vhdx_log_submit_durable(vhdx, header->log_offset + log->head, buf, entry_bytes(log),
				commit_on_entry);
}

/* All that is in the log has been applied and flushed: it may be forgotten. */
static void commit_close_log(struct vhdx *vhdx, vhdx_step_fn *after)
{
	struct vhdx_log *log = &vhdx->log;

	log->is_open = false;
	log->header_next = log->headers.copy[log->headers.current];
	memset(&log->header_next.log, 0, sizeof(log->header_next.log));
	vhdx_headers_write(vhdx, after);
}

static void commit_on_flushed(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;
	uint32_t room = log->headers.copy[log->headers.current].log_bytes;

	if (log->pages == 0) {
		log_tell(vhdx, &log->riding, 0);
		log_idle(vhdx);
	} else if (log->headers_unsure || (log->is_open && log->head + entry_bytes(log) > room)) {
		commit_close_log(vhdx, commit_write_entry);
	} else {
		commit_write_entry(vhdx);
	}
}

static void commit_begin(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	log->stage = VHDX_COMMIT;
	log->wants_commit = false;
	while (!list_is_empty(&log->waiting)) {
		struct list *first = log->waiting.next;

		list_remove(first);
		list_append(&log->riding, first);
	}
	vhdx_pages_take(vhdx);
	log->riding_partial = vhdx->dirty.count > 0;
	if (log->has_frees) {
		/* Who was submitted until now may still use that space. */
		check(vhdx->in_flight[1 - vhdx->epoch] == 0);
		vhdx->epoch = 1 - vhdx->epoch;
	}
	vhdx_log_submit(vhdx, BLOCK_FLUSH, 0, NULL, 0, commit_on_flushed);
}

/* ---- close --------------------------------------------------------------------------------------- */

static void close_on_done(struct vhdx *vhdx)
{
	vhdx->space.end = block_info(vhdx->block.lower)->bytes / VHDX_ALIGN_BYTES;
	vhdx->session = VHDX_CLEAN;
	log_finish_quiesce(vhdx);
}

static void close_on_headers(struct vhdx *vhdx)
{
	uint64_t end = vhdx_space_end_bytes(&vhdx->space);

	if (end < block_info(vhdx->block.lower)->bytes) {
		vhdx_log_submit(vhdx, BLOCK_RESIZE, end, NULL, 0, close_on_done);
	} else {
		close_on_done(vhdx);
	}
}

static void close_on_flushed(struct vhdx *vhdx)
{
	if (vhdx->log.is_open || vhdx->log.headers_unsure) {
		commit_close_log(vhdx, close_on_headers);
	} else {
		close_on_headers(vhdx);
	}
}

/* Blocks that no write has reached go back to what the file says of them. */
static void close_drop_fresh(struct vhdx *vhdx)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;

	for (uint64_t block = 0; block < geometry->blocks && vhdx->fresh > 0; block++) {
		uint64_t *entry = &vhdx->bat[vhdx_bat_index(geometry, block)];

		if (*entry & VHDX_FRESH) {
			vhdx_space_free(&vhdx->space, *entry & VHDX_BAT_OFFSET,
					geometry->block_bytes, false);
			*entry = (*entry & VHDX_OLD) >> VHDX_OLD_SHIFT;
			vhdx->fresh--;
			vhdx->allocated--;
		}
	}
}

static void close_begin(struct vhdx *vhdx)
{
	close_drop_fresh(vhdx);
	vhdx->log.stage = VHDX_CLOSE;
	vhdx_log_submit(vhdx, BLOCK_FLUSH, 0, NULL, 0, close_on_flushed);
}

/* ---- what is next -------------------------------------------------------------------------------- */

/* The last commit did not take all, or somebody wants one. */
static bool kick_wants_commit(const struct vhdx *vhdx)
{
	const struct vhdx_log *log = &vhdx->log;

	return !list_is_empty(&log->waiting) || !list_is_empty(&log->riding) ||
	       ((log->wants_commit || log->is_quiescing) && vhdx->dirty.count > 0);
}

void vhdx_log_kick(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	if (log->stage != VHDX_IDLE || log->is_draining) {
		return; /* comes here again when it is done */
	}
	if (log->broken || vhdx->session == VHDX_CLEAN) {
		log_tell(vhdx, &log->waiting, log->broken);
		if (log->is_quiescing && !vhdx->space.is_busy && !vhdx->bitmaps.is_busy) {
			log_finish_quiesce(vhdx);
		}
	} else if (kick_wants_commit(vhdx)) {
		if (vhdx->in_flight[1 - vhdx->epoch] > 0) {
			log->is_draining = true; /* a commit with frees has failed before */
		} else {
			commit_begin(vhdx);
		}
	} else if (log->is_quiescing && !vhdx->space.is_busy && !vhdx->bitmaps.is_busy) {
		close_begin(vhdx); /* those two come here, too */
	}
}

bool vhdx_log_is_needed(const struct vhdx *vhdx)
{
	return vhdx->session == VHDX_OPEN &&
	       (vhdx->dirty.count > 0 || vhdx->log.stage != VHDX_IDLE);
}

void vhdx_log_wait(struct vhdx *vhdx, struct block_request *whole)
{
	list_append(&vhdx->log.waiting, &whole->link);
	/* At the end of the round, so that all of this round's share it. */
	loop_defer(vhdx->block.loop, &vhdx->log.kick);
}

void vhdx_log_want(struct vhdx *vhdx)
{
	vhdx->log.wants_commit = true;
	loop_defer(vhdx->block.loop, &vhdx->log.kick);
}

void vhdx_log_quiesce(struct vhdx *vhdx)
{
	vhdx->log.is_quiescing = true;
	vhdx_log_kick(vhdx);
}

/* ---- errors -------------------------------------------------------------------------------------- */

static void log_fail(struct vhdx *vhdx, int err)
{
	struct vhdx_log *log = &vhdx->log;
	enum vhdx_stage stage = log->stage;

	if (stage == VHDX_FREE) {
		free_done(vhdx, false); /* no hole, but free */
		return;
	}
	if (stage == VHDX_SESSION) {
		vhdx->session = VHDX_CLEAN;
	} else if (stage == VHDX_COMMIT) {
		vhdx_pages_restore(vhdx);
	} else if (stage == VHDX_APPLY) {
		log->broken = -EIO;
		log_tell(vhdx, &log->waiting, -EIO);
	}
	log->stage = VHDX_IDLE;
	log_tell(vhdx, &log->riding, err);
	if (log->is_quiescing) {
		/* Nobody to tell: the log stays, for the next opening. */
		log_finish_quiesce(vhdx);
		return;
	}
	vhdx_unpark_failed(vhdx, err);
	vhdx_log_kick(vhdx);
}
