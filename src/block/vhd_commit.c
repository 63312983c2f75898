/* SPDX-License-Identifier: MIT */
/* Changed tables on their way to the file: see the picture in vhd_internal.h. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "block/vhd_internal.h"

static void commit_begin(struct vhd *vhd);
static void commit_fill(struct vhd *vhd);
static void commit_sync(struct vhd *vhd);
static void commit_end(struct vhd *vhd);
static void commit_take(struct list *from, struct list *ret);

static void commit_on_timer(struct loop_timer *timer)
{
	vhd_commit_kick(container_of(timer, struct vhd, timer), true);
}

static void commit_on_work(struct loop_work *work)
{
	vhd_commit_next(container_of(work, struct vhd, commit_work));
}

void vhd_commit_init(struct vhd *vhd)
{
	list_init(&vhd->flush_next);
	list_init(&vhd->flush_now);
	list_init(&vhd->meta_free);
	list_init(&vhd->resize_waiting);
	loop_work_init(&vhd->commit_work, commit_on_work);
	for (int i = 0; i < VHD_META_REQUESTS; i++) {
		vhd->meta[i].vhd = vhd;
		list_init(&vhd->meta[i].link);
		list_append(&vhd->meta_free, &vhd->meta[i].link);
	}
}

void vhd_commit_start(struct vhd *vhd, struct loop *loop)
{
	loop_timer_init(&vhd->timer, loop, commit_on_timer);
}

bool vhd_commit_is_needed(const struct vhd *vhd)
{
	return vhd->dirty_count > 0 || vhd->phase != VHD_IDLE || vhd->is_unsynced;
}

void vhd_meta_submit(struct vhd *vhd, enum block_op op, uint64_t offset, void *buf, uint64_t bytes,
		     block_done_fn *done)
{
	struct vhd_meta *meta = list_first(&vhd->meta_free, struct vhd_meta, link);

	check(meta);
	list_remove(&meta->link);
	vhd->meta_flight++;
	meta->iov = (struct iovec){ buf, buf ? (size_t)bytes : 0 };
	meta->request = (struct block_request){
		.op = op,
		.may_unmap = true,
		.offset_bytes = offset,
		.length_bytes = bytes,
		.iov = &meta->iov,
		.iov_count = buf ? 1 : 0,
		.done = done,
	};
	block_submit(vhd_file(vhd), &meta->request);
}

void vhd_meta_put(struct vhd_meta *meta)
{
	meta->vhd->meta_flight--;
	list_append(&meta->vhd->meta_free, &meta->link);
}

void vhd_mark_dirty(struct vhd *vhd, uint32_t block)
{
	if (!(vhd->state[block] & VHD_STATE_DIRTY)) {
		vhd->state[block] |= VHD_STATE_DIRTY;
		vhd->dirty[vhd->dirty_count++] = block;
	}
	vhd_commit_kick(vhd, false);
}

void vhd_commit_kick(struct vhd *vhd, bool is_urgent)
{
	vhd->is_urgent |= is_urgent;
	if (vhd->phase != VHD_IDLE) {
		return; /* looked at again when it ends */
	}
	if (vhd->is_urgent) {
		/* Not inside of whoever kicks. */
		loop_defer(vhd->block.loop, &vhd->commit_work);
	} else if (!loop_timer_is_armed(&vhd->timer)) {
		loop_timer_arm(&vhd->timer, VHD_COMMIT_DELAY_NS);
	}
}

void vhd_commit_wait(struct vhd *vhd, struct block_request *whole)
{
	list_append(&vhd->flush_next, &whole->link);
	vhd_commit_kick(vhd, true);
}

void vhd_commit_next(struct vhd *vhd)
{
	if (vhd->phase != VHD_IDLE) {
		return;
	}
	if (vhd->dirty_count > 0 || !list_is_empty(&vhd->flush_next) ||
	    (vhd->is_quiescing && vhd->is_unsynced)) {
		/* When nobody is in a hurry the timer says when. */
		if (vhd->is_urgent || !list_is_empty(&vhd->flush_next) || vhd->is_quiescing ||
		    !list_is_empty(&vhd->resize_waiting)) {
			commit_begin(vhd);
		} else {
			vhd_commit_kick(vhd, false);
		}
	} else if (!list_is_empty(&vhd->resize_waiting)) {
		vhd_resize_begin(vhd);
	} else if (vhd->is_quiescing) {
		vhd->is_quiescing = false;
		block_quiesced(&vhd->block);
	}
}

/* ---- phases ------------------------------------------------------------------------------------ */

static void commit_on_step(struct block_request *request, int result)
{
	struct vhd_meta *meta = container_of(request, struct vhd_meta, request);
	struct vhd *vhd = meta->vhd;

	vhd_meta_put(meta);
	if (result && !vhd->commit_result) {
		vhd->commit_result = result;
	}
	if (vhd->meta_flight > 0 && vhd->phase != VHD_TABLES) {
		return;
	}
	switch (vhd->phase) {
	case VHD_FOOTER:
		if (vhd->commit_result) {
			commit_end(vhd);
			return;
		}
		vhd->phase = VHD_DATA;
		vhd_meta_submit(vhd, BLOCK_FLUSH, 0, NULL, 0, commit_on_step);
		return;
	case VHD_DATA:
		if (vhd->commit_result) {
			commit_end(vhd);
			return;
		}
		vhd->phase = VHD_TABLES;
		vhd->is_unsynced = false;
		commit_fill(vhd);
		return;
	case VHD_TABLES:
		commit_fill(vhd);
		return;
	case VHD_SYNC:
		commit_end(vhd);
		return;
	case VHD_IDLE:
	case VHD_RESIZING:
		break;
	}
	check(false);
}

/*
 * What the tables are at this moment is what goes to the file after the flush: all that they point at
 * has been written by now (V1, V3).
 */
static void commit_snapshot(struct vhd *vhd)
{
	uint32_t *swap = vhd->committing;

	vhd->committing = vhd->dirty;
	vhd->committing_count = vhd->dirty_count;
	vhd->dirty = swap;
	vhd->dirty_count = 0;
	vhd->committing_next = 0;
	vhd->page_next = 0;
	vhd->pages = (vhd->header.entries + VHD_TABLE_PAGE_ENTRIES - 1) / VHD_TABLE_PAGE_ENTRIES;
	for (uint32_t i = 0; i < vhd->committing_count; i++) {
		uint32_t block = vhd->committing[i];
		struct vhd_slot *slot = vhd_bitmap_find(vhd, block);

		vhd->state[block] &= (uint8_t)~VHD_STATE_DIRTY;
		if (bytes_be32(vhd->table_disk + (size_t)block * 4) != vhd->table[block]) {
			bytes_put_be32(vhd->table_disk + (size_t)block * 4, vhd->table[block]);
			vhd->page_marks[block / VHD_TABLE_PAGE_ENTRIES] = 1;
		}
		if (slot && slot->is_dirty) {
			memcpy(slot->out, slot->bits, vhd->bitmap_bytes);
			slot->is_dirty = false;
			slot->is_committing = true;
			list_remove(&slot->link);
		}
	}
}

static void commit_begin(struct vhd *vhd)
{
	check(vhd->phase == VHD_IDLE && list_is_empty(&vhd->flush_now));
	loop_timer_cancel(&vhd->timer);
	vhd->is_urgent = false;
	vhd->commit_result = 0;
	commit_take(&vhd->flush_next, &vhd->flush_now);
	commit_snapshot(vhd);
	if (vhd->footer_at != vhd->end) {
		vhd->phase = VHD_FOOTER;
		vhd->footer_at = vhd->end;
		*vhd->footer_out = vhd->footer.wire;
		vhd_meta_submit(vhd, BLOCK_WRITE, vhd->footer_at, vhd->footer_out,
				sizeof(*vhd->footer_out), commit_on_step);
		return;
	}
	vhd->phase = VHD_DATA;
	vhd_meta_submit(vhd, BLOCK_FLUSH, 0, NULL, 0, commit_on_step);
}

/* The next of the bitmaps; false: there are no more. */
static bool commit_bitmap(struct vhd *vhd)
{
	while (vhd->committing_next < vhd->committing_count) {
		uint32_t block = vhd->committing[vhd->committing_next++];
		struct vhd_slot *slot = vhd_bitmap_find(vhd, block);
		uint8_t *bits = slot && slot->is_committing          ? slot->out
				: vhd->state[block] & VHD_STATE_FULL ? vhd->ones
								     : NULL;

		if (bits && vhd->table[block] != VHD_NO_BLOCK) {
			vhd_meta_submit(vhd, BLOCK_WRITE, vhd_bitmap_at(vhd, block), bits,
					vhd->bitmap_bytes, commit_on_step);
			return true;
		}
	}
	return false;
}

/* The next page of the table that has changed. */
static bool commit_page(struct vhd *vhd)
{
	while (vhd->page_next < vhd->pages) {
		uint64_t at = (uint64_t)vhd->page_next * VHD_TABLE_PAGE_BYTES;

		if (vhd->page_marks[vhd->page_next++]) {
			vhd->page_marks[vhd->page_next - 1] = 0;
			vhd_meta_submit(vhd, BLOCK_WRITE, vhd->header.table_offset + at,
					vhd->table_disk + at,
					num_min(VHD_TABLE_PAGE_BYTES,
						vhd_table_bytes(vhd->header.entries) - at),
					commit_on_step);
			return true;
		}
	}
	return false;
}

/* As many writes at once as there are requests for; then on. */
static void commit_fill(struct vhd *vhd)
{
	while (!vhd->commit_result && !list_is_empty(&vhd->meta_free)) {
		if (!commit_bitmap(vhd) && !commit_page(vhd)) {
			break;
		}
	}
	if (vhd->meta_flight == 0) {
		commit_sync(vhd);
	}
}

/* Who only has to get tables out of memory does not wait for them to be stable. */
static void commit_sync(struct vhd *vhd)
{
	if (vhd->commit_result || vhd->committing_count == 0 ||
	    (list_is_empty(&vhd->flush_now) && !vhd->is_quiescing &&
	     list_is_empty(&vhd->resize_waiting))) {
		vhd->is_unsynced |= vhd->committing_count > 0;
		commit_end(vhd);
		return;
	}
	vhd->phase = VHD_SYNC;
	vhd_meta_submit(vhd, BLOCK_FLUSH, 0, NULL, 0, commit_on_step);
}

/* Failed: all of it is to be written again; which of it the file has, nobody knows. */
static void commit_undo(struct vhd *vhd)
{
	for (uint32_t i = 0; i < vhd->committing_count; i++) {
		uint32_t block = vhd->committing[i];
		struct vhd_slot *slot = vhd_bitmap_find(vhd, block);

		if (slot && slot->is_committing) {
			slot->is_dirty = true;
		}
		vhd->page_marks[block / VHD_TABLE_PAGE_ENTRIES] = 1;
		if (!(vhd->state[block] & VHD_STATE_DIRTY)) {
			vhd->state[block] |= VHD_STATE_DIRTY;
			vhd->dirty[vhd->dirty_count++] = block;
		}
	}
	vhd->footer_at = VHD_NO_OFFSET;
}

/* Takes all of a list's requests off. */
static void commit_take(struct list *from, struct list *ret)
{
	list_init(ret);
	while (!list_is_empty(from)) {
		struct list *first = from->next;

		list_remove(first);
		list_append(ret, first);
	}
}

/* Ends all wholes of a list. */
static void commit_end_all(struct vhd *vhd, struct list *list, int result)
{
	struct list ended;

	commit_take(list, &ended);
	while (!list_is_empty(&ended)) {
		struct block_request *whole = list_first(&ended, struct block_request, link);

		list_remove(&whole->link);
		vhd_whole_end(vhd, whole, result);
	}
}

/*
 * A disk that is full may be emptied, so it is tried again, by the timer or the next flush; but nobody
 * waits for that.
 */
static void commit_fail(struct vhd *vhd)
{
	commit_undo(vhd);
	if (!vhd_is_fixed(vhd)) {
		commit_end_all(vhd, &vhd->slot_waiting, vhd->commit_result);
	}
	while (!list_is_empty(&vhd->resize_waiting)) {
		struct block_request *resize =
			list_first(&vhd->resize_waiting, struct block_request, link);

		list_remove(&resize->link);
		block_complete_later(&vhd->block, resize, vhd->commit_result);
	}
}

static void commit_end(struct vhd *vhd)
{
	int result = vhd->commit_result;

	if (result) {
		commit_fail(vhd);
	}
	for (uint32_t i = 0; i < vhd->committing_count; i++) {
		struct vhd_slot *slot = vhd_bitmap_find(vhd, vhd->committing[i]);

		if (slot && slot->is_committing) {
			slot->is_committing = false;
			vhd_bitmap_settle(slot);
		}
	}
	vhd->committing_count = 0;
	vhd->phase = VHD_IDLE;
	commit_end_all(vhd, &vhd->flush_now, result);
	if (!result || !list_is_empty(&vhd->flush_next)) {
		vhd_commit_next(vhd);
	} else if (vhd->is_quiescing) {
		vhd->is_quiescing = false;
		block_quiesced(&vhd->block);
	} else {
		vhd_commit_kick(vhd, false);
	}
}
