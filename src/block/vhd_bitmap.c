/* SPDX-License-Identifier: MIT */
/*
 * The bitmaps of blocks that are not full, as many as there is room for. A slot that is neither pinned,
 * dirty, being loaded nor being written is idle, and may be given to another block.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "block/vhd_internal.h"

static void bitmap_on_room(struct loop_work *work);

int vhd_bitmaps_init(struct vhd *vhd)
{
	size_t bytes = vhd->bitmap_bytes;
	uint8_t *at = MAP_FAILED;

	vhd->slot_count = (uint32_t)num_min(
		num_max(VHD_BITMAP_CACHE_BYTES / (2 * bytes), VHD_SLOTS_MIN), VHD_SLOTS_MAX);
	/* The full one first, so that all are as aligned as their length allows. */
	vhd->slot_bytes_total =
		bytes + vhd->slot_count * 2 * bytes + vhd->slot_count * sizeof(struct vhd_slot);
	if (!fault_point()) {
		at = mmap(NULL, vhd->slot_bytes_total, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (at == MAP_FAILED) {
		return -ENOMEM;
	}
	vhd->slot_bytes = at;
	vhd->ones = at;
	memset(vhd->ones, 0xff, bytes);
	vhd->slots = (struct vhd_slot *)(at + bytes + vhd->slot_count * 2 * bytes);
	list_init(&vhd->idle);
	list_init(&vhd->slot_waiting);
	loop_work_init(&vhd->slot_work, bitmap_on_room);
	for (uint32_t i = 0; i < vhd->slot_count; i++) {
		struct vhd_slot *slot = &vhd->slots[i];

		slot->vhd = vhd;
		slot->block = VHD_NO_BLOCK;
		slot->bits = at + bytes + i * 2 * bytes;
		slot->out = slot->bits + bytes;
		list_init(&slot->waiting);
		list_init(&slot->link);
		list_append(&vhd->idle, &slot->link);
	}
	return 0;
}

void vhd_bitmaps_fini(struct vhd *vhd)
{
	if (vhd->slot_bytes) {
		check(list_is_empty(&vhd->slot_waiting));
		munmap(vhd->slot_bytes, vhd->slot_bytes_total);
		vhd->slot_bytes = NULL;
	}
}

struct vhd_slot *vhd_bitmap_find(struct vhd *vhd, uint32_t block)
{
	uint32_t index = vhd->slot_of[block];

	return index ? &vhd->slots[index - 1] : NULL;
}

/* Somebody waits for a slot, and there is one. */
static void bitmap_on_room(struct loop_work *work)
{
	struct vhd *vhd = container_of(work, struct vhd, slot_work);
	struct list batch;

	list_init(&batch);
	while (!list_is_empty(&vhd->slot_waiting)) {
		struct list *first = vhd->slot_waiting.next;

		list_remove(first);
		list_append(&batch, first);
	}
	/* Those that find none queue themselves again. */
	while (!list_is_empty(&batch)) {
		struct block_request *whole = list_first(&batch, struct block_request, link);

		list_remove(&whole->link);
		vhd_advance(&vhd->block, whole);
	}
}

static bool bitmap_is_full(const struct vhd_slot *slot)
{
	uint32_t sectors = slot->vhd->header.block_bytes / VHD_SECTOR_BYTES;
	bool set;

	return vhd_bitmap_run(slot->bits, 0, sectors, &set) == sectors && set;
}

void vhd_bitmap_settle(struct vhd_slot *slot)
{
	struct vhd *vhd = slot->vhd;

	if (slot->pins > 0 || slot->is_loading || slot->is_dirty || slot->is_committing) {
		return;
	}
	if (slot->block != VHD_NO_BLOCK && bitmap_is_full(slot)) {
		vhd->state[slot->block] |= VHD_STATE_FULL;
		vhd->slot_of[slot->block] = 0;
		slot->block = VHD_NO_BLOCK;
	}
	list_remove(&slot->link);
	if (slot->block == VHD_NO_BLOCK) {
		list_prepend(&vhd->idle, &slot->link);
	} else {
		list_append(&vhd->idle, &slot->link);
	}
	if (!list_is_empty(&vhd->slot_waiting)) {
		loop_defer(vhd->block.loop, &vhd->slot_work);
	}
}

void vhd_bitmap_pin(struct vhd_slot *slot)
{
	slot->pins++;
	list_remove(&slot->link);
}

static void bitmap_set(uint8_t *bits, uint32_t sector, uint32_t count)
{
	for (; count > 0 && sector % 8 != 0; sector++, count--) {
		bits[sector / 8] |= (uint8_t)(0x80U >> sector % 8);
	}
	memset(bits + sector / 8, 0xff, count / 8);
	sector += count / 8 * 8;
	for (count %= 8; count > 0; sector++, count--) {
		bits[sector / 8] |= (uint8_t)(0x80U >> sector % 8);
	}
}

void vhd_bitmap_unpin(struct vhd_slot *slot, uint32_t offset_bytes, uint32_t bytes)
{
	uint32_t sector = offset_bytes / VHD_SECTOR_BYTES, count = bytes / VHD_SECTOR_BYTES;
	bool set;

	check(slot->pins > 0);
	slot->pins--;
	/* A resize may have taken the block away meanwhile. */
	if (count > 0 && slot->vhd->table[slot->block] != VHD_NO_BLOCK &&
	    (vhd_bitmap_run(slot->bits, sector, count, &set) < count || !set)) {
		bitmap_set(slot->bits, sector, count);
		slot->is_dirty = true;
		vhd_mark_dirty(slot->vhd, slot->block);
	}
	vhd_bitmap_settle(slot);
}

uint32_t vhd_bitmap_run(const uint8_t *bits, uint32_t sector, uint32_t count, bool *ret_set)
{
	bool set = bits[sector / 8] & (0x80U >> sector % 8);
	uint8_t whole = set ? 0xff : 0;
	uint32_t n = 0;

	while (n < count) {
		if ((sector + n) % 8 == 0 && count - n >= 8 && bits[(sector + n) / 8] == whole) {
			n += 8;
		} else if (!!(bits[(sector + n) / 8] & (0x80U >> (sector + n) % 8)) == set) {
			n++;
		} else {
			break;
		}
	}
	*ret_set = set;
	return n;
}

static void bitmap_on_loaded(struct block_request *request, int result)
{
	struct vhd_slot *slot = container_of(request, struct vhd_slot, load);
	struct vhd *vhd = slot->vhd;
	struct list waiting;

	slot->is_loading = false;
	list_init(&waiting);
	while (!list_is_empty(&slot->waiting)) {
		struct list *first = slot->waiting.next;

		list_remove(first);
		list_append(&waiting, first);
	}
	if (result) {
		vhd->slot_of[slot->block] = 0;
		slot->block = VHD_NO_BLOCK;
	}
	vhd_bitmap_settle(slot);
	while (!list_is_empty(&waiting)) {
		struct block_request *whole = list_first(&waiting, struct block_request, link);

		list_remove(&whole->link);
		if (result) {
			vhd_whole_end(vhd, whole, result);
		} else {
			vhd_advance(&vhd->block, whole);
		}
	}
}

static void bitmap_load(struct vhd_slot *slot)
{
	struct vhd *vhd = slot->vhd;
	struct block_request *request = &slot->load;

	slot->is_loading = true;
	slot->iov = (struct iovec){ slot->bits, vhd->bitmap_bytes };
	*request = (struct block_request){
		.op = BLOCK_READ,
		.offset_bytes = vhd_bitmap_at(vhd, slot->block),
		.length_bytes = vhd->bitmap_bytes,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = bitmap_on_loaded,
	};
	block_submit(vhd_file(vhd), request);
}

struct vhd_slot *vhd_bitmap_get(struct vhd *vhd, uint32_t block, bool is_new,
				struct block_request *whole)
{
	struct vhd_slot *slot = vhd_bitmap_find(vhd, block);

	if (!slot) {
		slot = list_first(&vhd->idle, struct vhd_slot, link);
		if (!slot) {
			/* All are to be written: then do so. */
			list_append(&vhd->slot_waiting, &whole->link);
			vhd_commit_kick(vhd, true);
			return NULL;
		}
		if (slot->block != VHD_NO_BLOCK) {
			vhd->slot_of[slot->block] = 0;
		}
		slot->block = block;
		vhd->slot_of[block] = (uint32_t)(slot - vhd->slots) + 1;
		if (!is_new) {
			list_remove(&slot->link);
			bitmap_load(slot);
		} else {
			memset(slot->bits, 0, vhd->bitmap_bytes);
		}
	}
	if (slot->is_loading) {
		list_append(&slot->waiting, &whole->link);
		return NULL;
	}
	/* The last used is the last to go. */
	if (!list_is_empty(&slot->link)) {
		list_remove(&slot->link);
		list_append(&vhd->idle, &slot->link);
	}
	return slot;
}
