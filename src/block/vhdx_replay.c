/* SPDX-License-Identifier: MIT */
/*
 * VHDX: finding the active sequence of a log. An entry counts only when it is whole: its structure first,
 * which stops at the first sector that belongs to something else, then its checksum; so a log of n
 * sectors costs O(n), whatever is in it.
 *
 *      ┌──────┬────┬────┬──────┬────┬──────┬────┬────┬───────
 *      │ loge │data│data│ loge │data│ loge │data│data│ old…       tail of the last entry: where the
 *      └──────┴────┴────┴──────┴────┴──────┴────┴────┴───────     sequence has to begin at the latest
 *        n                n+1         n+2
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

struct log_view {
	const uint8_t *log;
	uint32_t sectors;
	struct guid guid;
};

/* A run of entries: [from, from + sectors) of the ring. */
struct log_run {
	uint32_t from, sectors, last; /* last: where its last entry begins */
	uint64_t sequence;            /* the last entry's */
	unsigned int entries;
	uint64_t updates, data_sectors;
};

static const uint8_t *view_sector(const struct log_view *view, uint64_t index)
{
	return view->log + (index % view->sectors) * VHDX_SECTOR_BYTES;
}

/* The n-th descriptor of the entry at this sector. */
static void view_desc(const struct log_view *view, uint32_t at, uint32_t n,
		      struct vhdx_log_desc *ret)
{
	uint64_t offset = sizeof(struct vhdx_log_header) + (uint64_t)n * sizeof(*ret);

	memcpy(ret, view_sector(view, at + offset / VHDX_SECTOR_BYTES) + offset % VHDX_SECTOR_BYTES,
	       sizeof(*ret));
}

static uint64_t desc_zero_bytes(const struct vhdx_log_desc *desc)
{
	uint64_t bytes;

	memcpy(&bytes, desc->leading, sizeof(bytes));
	return bytes;
}

static uint32_t entry_desc_sectors(uint32_t descriptors)
{
	uint64_t bytes = sizeof(struct vhdx_log_header) +
			 (uint64_t)descriptors * sizeof(struct vhdx_log_desc);

	return (uint32_t)((bytes + VHDX_SECTOR_BYTES - 1) / VHDX_SECTOR_BYTES);
}

/* Descriptors and data sectors are what they have to be; returns how many of the latter. */
static bool entry_check_parts(const struct log_view *view, uint32_t at,
			      const struct vhdx_log_header *header, uint32_t *ret_data)
{
	uint32_t data = 0, first = entry_desc_sectors(header->descriptors);

	for (uint32_t i = 0; i < header->descriptors; i++) {
		struct vhdx_log_desc desc;

		view_desc(view, at, i, &desc);
		if ((desc.signature != VHDX_DESC_SIGNATURE &&
		     desc.signature != VHDX_ZERO_SIGNATURE) ||
		    desc.sequence != header->sequence || desc.file_offset % VHDX_SECTOR_BYTES) {
			return false;
		}
		if (desc.signature == VHDX_ZERO_SIGNATURE &&
		    desc_zero_bytes(&desc) % VHDX_SECTOR_BYTES) {
			return false;
		}
		data += desc.signature == VHDX_DESC_SIGNATURE;
	}
	if ((uint64_t)(first + data) * VHDX_SECTOR_BYTES != header->entry_bytes) {
		return false;
	}
	for (uint32_t i = 0; i < data; i++) {
		struct vhdx_log_data sector;

		memcpy(&sector, view_sector(view, (uint64_t)at + first + i), sizeof(sector));
		if (sector.signature != VHDX_DATA_SIGNATURE ||
		    sector.sequence_high != (uint32_t)(header->sequence >> 32) ||
		    sector.sequence_low != (uint32_t)header->sequence) {
			return false;
		}
	}
	*ret_data = data;
	return true;
}

static bool entry_check_sum(const struct log_view *view, uint32_t at,
			    const struct vhdx_log_header *header)
{
	static const uint8_t zero[4];
	const uint8_t *sector = view_sector(view, at);
	uint32_t crc = crc32c(0, sector, 4);

	crc = crc32c(crc, zero, sizeof(zero));
	crc = crc32c(crc, sector + 8, VHDX_SECTOR_BYTES - 8);
	for (uint32_t i = 1; i < header->entry_bytes / VHDX_SECTOR_BYTES; i++) {
		crc = crc32c(crc, view_sector(view, (uint64_t)at + i), VHDX_SECTOR_BYTES);
	}
	return crc == header->checksum;
}

/* A whole entry begins at this sector. */
static bool entry_parse(const struct log_view *view, uint32_t at, struct vhdx_log_header *ret,
			uint32_t *ret_data)
{
	struct vhdx_log_header header;
	uint32_t log_bytes = view->sectors * VHDX_SECTOR_BYTES;

	memcpy(&header, view_sector(view, at), sizeof(header));
	if (header.signature != VHDX_LOG_SIGNATURE || header.sequence == 0 ||
	    !guid_is_equal(&header.log, &view->guid) || header.entry_bytes == 0 ||
	    header.entry_bytes % VHDX_SECTOR_BYTES || header.entry_bytes > log_bytes ||
	    header.tail % VHDX_SECTOR_BYTES || header.tail >= log_bytes ||
	    header.descriptors > header.entry_bytes / sizeof(struct vhdx_log_desc) ||
	    entry_desc_sectors(header.descriptors) > header.entry_bytes / VHDX_SECTOR_BYTES ||
	    !entry_check_parts(view, at, &header, ret_data) ||
	    !entry_check_sum(view, at, &header)) {
		return false;
	}
	*ret = header;
	return true;
}

/* Follows entries from this sector as long as each is the next; false: there is none. */
static bool run_follow(const struct log_view *view, uint32_t from, struct log_run *ret)
{
	struct log_run run = { .from = from };
	struct vhdx_log_header header;
	uint32_t data, tail = 0;

	for (;;) {
		uint32_t at = (from + run.sectors) % view->sectors;

		if (run.sectors >= view->sectors || !entry_parse(view, at, &header, &data) ||
		    (run.entries > 0 && header.sequence != run.sequence + 1) ||
		    header.entry_bytes / VHDX_SECTOR_BYTES > view->sectors - run.sectors) {
			break;
		}
		run.sequence = header.sequence;
		run.last = at;
		run.sectors += header.entry_bytes / VHDX_SECTOR_BYTES;
		run.entries++;
		run.updates += header.descriptors;
		run.data_sectors += data;
		tail = header.tail / VHDX_SECTOR_BYTES;
	}
	if (run.entries == 0) {
		return false;
	}
	*ret = run;
	/* What the last entry still needs has to be here. */
	return (tail + view->sectors - from) % view->sectors < run.sectors;
}

/*
 * The sequence with the newest end. One that runs over the ring's end is found from its beginning; its
 * second half, found first, is a part of it with the same end but without its tail.
 */
static bool view_find(const struct log_view *view, struct log_run *ret)
{
	struct log_run best = { 0 };
	uint32_t at = 0;

	while (at < view->sectors) {
		struct log_run run = { 0 };
		bool is_whole = run_follow(view, at, &run);

		if (is_whole && run.sequence > best.sequence) {
			best = run;
		}
		at += run.entries ? run.sectors : 1;
	}
	*ret = best;
	return best.entries > 0;
}

/* May the log write there? */
static int update_check(const struct vhdx_update *update, const struct vhdx_header *header,
			const struct vhdx_replay *replay, uint64_t file_bytes, struct diag *reterr)
{
	uint64_t limit = num_max(file_bytes, replay->last_bytes);
	bool meets_log = update->offset < header->log_offset + header->log_bytes &&
			 header->log_offset < update->offset + update->bytes;

	if (update->offset < VHDX_LOGGABLE_AT ||
	    !num_range_fits(update->offset, update->bytes, limit) || meets_log) {
		return diag_set(reterr, -EINVAL,
				"has a log that wants to write to %llu, where it must not",
				(unsigned long long)update->offset);
	}
	return 0;
}

/* What the entry at this sector wants. */
static int replay_add(struct vhdx_replay *replay, const struct log_view *view, uint32_t at,
		      const struct vhdx_log_header *header, size_t *data_sectors)
{
	uint64_t sector = (uint64_t)at + entry_desc_sectors(header->descriptors);

	for (uint32_t i = 0; i < header->descriptors; i++) {
		struct vhdx_update *update = &replay->updates[replay->count++];
		struct vhdx_log_desc desc;
		uint8_t *data;

		view_desc(view, at, i, &desc);
		update->offset = desc.file_offset;
		if (desc.signature == VHDX_ZERO_SIGNATURE) {
			update->bytes = desc_zero_bytes(&desc);
			continue;
		}
		data = replay->data + (*data_sectors)++ * VHDX_SECTOR_BYTES;
		memcpy(data, view_sector(view, sector++), VHDX_SECTOR_BYTES);
		memcpy(data, desc.leading, sizeof(desc.leading));
		memcpy(data + VHDX_SECTOR_BYTES - sizeof(desc.trailing), desc.trailing,
		       sizeof(desc.trailing));
		update->data = data;
		update->bytes = VHDX_SECTOR_BYTES;
	}
	replay->entries++;
	replay->flushed_bytes = num_max(replay->flushed_bytes, header->flushed_bytes);
	replay->last_bytes = num_max(replay->last_bytes, header->last_bytes);
	return 0;
}

/* All entries of the run, oldest first, then whether that may be. */
static int replay_build(struct vhdx_replay *replay, const struct log_view *view,
			const struct log_run *run, const struct vhdx_header *header,
			uint64_t file_bytes, struct diag *reterr)
{
	uint32_t done = 0, data;
	size_t data_sectors = 0;
	int err = 0;

	while (done < run->sectors) {
		uint32_t at = (run->from + done) % view->sectors;
		struct vhdx_log_header entry;

		check(entry_parse(view, at, &entry, &data));
		err = replay_add(replay, view, at, &entry, &data_sectors);
		done += entry.entry_bytes / VHDX_SECTOR_BYTES;
	}
	if (replay->flushed_bytes > file_bytes) {
		return diag_set(
			reterr, -EINVAL,
			"has %llu bytes and had %llu when its log was written: it is cut off",
			(unsigned long long)file_bytes, (unsigned long long)replay->flushed_bytes);
	}
	if (replay->last_bytes > VHDX_FILE_BYTES_MAX) {
		return diag_set(reterr, -EINVAL, "has a log that wants a file of %llu bytes",
				(unsigned long long)replay->last_bytes);
	}
	for (size_t i = 0; i < replay->count && !err; i++) {
		err = update_check(&replay->updates[i], header, replay, file_bytes, reterr);
	}
	return err;
}

int vhdx_replay_parse(const uint8_t *log, const struct vhdx_header *header, uint64_t file_bytes,
		      struct vhdx_replay *ret, struct diag *reterr)
{
	struct log_view view = { log, header->log_bytes / VHDX_SECTOR_BYTES, header->log };
	struct vhdx_replay replay = { 0 };
	struct log_run run;
	int err;

	if (!view_find(&view, &run)) {
		return diag_set(reterr, -EINVAL,
				"was not closed, and its log holds no valid sequence: its tables "
				"cannot be trusted");
	}
	replay.updates = fault_alloc(run.updates + 1, sizeof(*replay.updates));
	replay.data = fault_alloc(run.data_sectors + 1, VHDX_SECTOR_BYTES);
	if (!replay.updates || !replay.data) {
		vhdx_replay_fini(&replay);
		return diag_set(reterr, -ENOMEM, "has a log that no memory can be had for");
	}
	err = replay_build(&replay, &view, &run, header, file_bytes, reterr);
	if (err) {
		vhdx_replay_fini(&replay);
		return err;
	}
	*ret = replay;
	return 0;
}

void vhdx_replay_fini(struct vhdx_replay *replay)
{
	free(replay->updates);
	free(replay->data);
	memset(replay, 0, sizeof(*replay));
}

void vhdx_replay_overlay(const struct vhdx_replay *replay, uint64_t offset, void *buf, size_t bytes)
{
	for (size_t i = 0; i < replay->count; i++) {
		const struct vhdx_update *update = &replay->updates[i];
		uint64_t from = num_max(offset, update->offset);
		uint64_t until = num_min(offset + bytes, update->offset + update->bytes);
		uint8_t *to = (uint8_t *)buf + (from - offset);

		if (from >= until) {
			continue;
		}
		if (update->data) {
			memcpy(to, update->data + (from - update->offset), until - from);
		} else {
			memset(to, 0, until - from);
		}
	}
}
