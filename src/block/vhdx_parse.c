/* SPDX-License-Identifier: MIT */
/* VHDX: bytes of a hostile file into structs. No I/O, no allocation. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* Of a structure whose checksum field, at offset 4, counts as zero. */
static uint32_t parse_checksum(const uint8_t *buf, size_t bytes)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, buf, 4);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, buf + 8, bytes - 8);
}

bool vhdx_guid_is_zero(const struct guid *guid)
{
	static const struct guid zero;

	return guid_is_equal(guid, &zero);
}

/* ---- headers ------------------------------------------------------------------------------------- */

static bool header_parse(const uint8_t *buf, struct vhdx_header *ret)
{
	memcpy(ret, buf, sizeof(*ret));
	return ret->signature == VHDX_HEADER_SIGNATURE &&
	       ret->checksum == parse_checksum(buf, VHDX_HEADER_BYTES);
}

/* The one that counts, which has its checksum right: can we deal with it? */
static int header_check(const struct vhdx_header *header, struct diag *reterr)
{
	if (header->version != VHDX_VERSION) {
		return diag_set(reterr, -EINVAL, "is of version %u, only %u is known",
				header->version, VHDX_VERSION);
	}
	if (header->log_version != VHDX_LOG_VERSION && !vhdx_guid_is_zero(&header->log)) {
		return diag_set(reterr, -EINVAL, "has a log of version %u, only %u is known",
				header->log_version, VHDX_LOG_VERSION);
	}
	if (header->log_offset < VHDX_ALIGN_BYTES || header->log_offset % VHDX_ALIGN_BYTES ||
	    header->log_bytes == 0 || header->log_bytes % VHDX_ALIGN_BYTES ||
	    header->log_bytes > VHDX_LOG_BYTES_MAX ||
	    !num_range_fits(header->log_offset, header->log_bytes, VHDX_FILE_BYTES_MAX)) {
		return diag_set(reterr, -EINVAL,
				"has its log at %llu, %u bytes long, where none can be",
				(unsigned long long)header->log_offset, header->log_bytes);
	}
	return 0;
}

int vhdx_headers_parse(const uint8_t *const copies[VHDX_HEADER_COPIES], struct vhdx_headers *ret,
		       struct diag *reterr)
{
	struct vhdx_headers headers = { 0 };
	bool both;

	for (unsigned int i = 0; i < VHDX_HEADER_COPIES; i++) {
		headers.is_valid[i] = header_parse(copies[i], &headers.copy[i]);
	}
	both = headers.is_valid[0] && headers.is_valid[1];
	if (!headers.is_valid[0] && !headers.is_valid[1]) {
		return diag_set(reterr, -EINVAL, "has no valid header: both copies are damaged");
	}
	if (both && headers.copy[0].sequence == headers.copy[1].sequence &&
	    memcmp(&headers.copy[0], &headers.copy[1], sizeof(headers.copy[0])) != 0) {
		return diag_set(reterr, -EINVAL,
				"has two headers that differ and are of the same age");
	}
	headers.current = !headers.is_valid[0] ||
			  (both && headers.copy[1].sequence > headers.copy[0].sequence);
	int err = header_check(&headers.copy[headers.current], reterr);

	if (!err) {
		*ret = headers;
	}
	return err;
}

void vhdx_header_build(const struct vhdx_header *header, uint8_t *buf)
{
	memset(buf, 0, VHDX_HEADER_BYTES);
	memcpy(buf, header, sizeof(*header));
	bytes_put_le32(buf + offsetof(struct vhdx_header, checksum),
		       parse_checksum(buf, VHDX_HEADER_BYTES));
}

/* ---- regions ------------------------------------------------------------------------------------- */

static bool ranges_meet(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

/* One more region, after `count` others that are all right. */
static int region_check(const struct vhdx_regions *regions, const struct vhdx_region *region,
			const struct vhdx_header *header, uint64_t file_bytes, struct diag *reterr)
{
	unsigned long long offset = region->offset;

	if (region->offset < VHDX_ALIGN_BYTES || region->offset % VHDX_ALIGN_BYTES ||
	    region->bytes == 0 || region->bytes % VHDX_ALIGN_BYTES) {
		return diag_set(reterr, -EINVAL,
				"has a region at %llu, %u bytes long, that is not on whole MiB",
				offset, region->bytes);
	}
	if (!num_range_fits(region->offset, region->bytes, file_bytes)) {
		return diag_set(reterr, -EINVAL,
				"ends at %llu, before its region at %llu does: it is cut off",
				(unsigned long long)file_bytes, offset);
	}
	if (ranges_meet(region->offset, region->bytes, header->log_offset, header->log_bytes)) {
		return diag_set(reterr, -EINVAL, "has a region at %llu that meets the log", offset);
	}
	for (unsigned int i = 0; i < regions->count; i++) {
		if (ranges_meet(region->offset, region->bytes, regions->all[i].offset,
				regions->all[i].bytes)) {
			return diag_set(reterr, -EINVAL,
					"has a region at %llu that meets the one at %llu", offset,
					(unsigned long long)regions->all[i].offset);
		}
	}
	return 0;
}

/* Whose is it? A second one of a kind, and an unknown one that is required, are refused. */
static int region_take(struct vhdx_regions *regions, const struct vhdx_region *region,
		       struct diag *reterr)
{
	static const struct guid bat = VHDX_REGION_BAT, metadata = VHDX_REGION_METADATA;
	uint64_t *offset = NULL;
	uint32_t *bytes = NULL;
	char text[GUID_STRING_BYTES];

	if (guid_is_equal(&region->guid, &bat)) {
		offset = &regions->bat_offset;
		bytes = &regions->bat_bytes;
	} else if (guid_is_equal(&region->guid, &metadata)) {
		offset = &regions->metadata_offset;
		bytes = &regions->metadata_bytes;
	} else if (region->flags & VHDX_REGION_REQUIRED) {
		return diag_set(reterr, -EOPNOTSUPP,
				"has a region %s that is required and that we do not know",
				guid_format(&region->guid, text));
	} else {
		return 0;
	}
	if (*bytes) {
		return diag_set(reterr, -EINVAL, "has the region %s twice",
				guid_format(&region->guid, text));
	}
	*offset = region->offset;
	*bytes = region->bytes;
	return 0;
}

int vhdx_regions_parse(const uint8_t *buf, const struct vhdx_header *header, uint64_t file_bytes,
		       struct vhdx_regions *ret, struct diag *reterr)
{
	struct vhdx_region_header head;

	memcpy(&head, buf, sizeof(head));
	memset(ret, 0, sizeof(*ret));
	if (head.signature != VHDX_REGION_SIGNATURE ||
	    head.checksum != parse_checksum(buf, VHDX_REGION_TABLE_BYTES)) {
		return diag_set(reterr, -EBADMSG, "has a damaged region table");
	}
	if (head.count > VHDX_REGION_ENTRIES_MAX) {
		return diag_set(reterr, -EINVAL, "has %u regions, more than %u", head.count,
				VHDX_REGION_ENTRIES_MAX);
	}
	for (unsigned int i = 0; i < head.count; i++) {
		struct vhdx_region *region = &ret->all[i];
		int err;

		memcpy(region, buf + sizeof(head) + i * sizeof(*region), sizeof(*region));
		err = region_check(ret, region, header, file_bytes, reterr);
		err = err ? err : region_take(ret, region, reterr);
		if (err) {
			return err;
		}
		ret->count++;
	}
	if (!ret->bat_bytes || !ret->metadata_bytes) {
		return diag_set(reterr, -EINVAL, "has no region for its %s",
				ret->bat_bytes ? "metadata" : "block table");
	}
	return 0;
}

/* ---- metadata ------------------------------------------------------------------------------------ */

/* Where an item of this kind is kept; NULL: unknown. ret_bytes: how long it is; 0: any. */
static struct vhdx_item *item_known(struct vhdx_items *items, const struct guid *guid,
				    uint32_t *ret_bytes)
{
	static const struct guid known[] = {
		VHDX_ITEM_FILE_PARAMETERS, VHDX_ITEM_DISK_BYTES, VHDX_ITEM_PAGE83,
		VHDX_ITEM_LOGICAL,         VHDX_ITEM_PHYSICAL,   VHDX_ITEM_PARENT,
	};
	static const uint32_t bytes[] = { sizeof(struct vhdx_file_parameters), 8, 16, 4, 4, 0 };
	struct vhdx_item *const places[] = {
		&items->parameters, &items->disk_bytes, &items->page83,
		&items->logical,    &items->physical,   &items->parent
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (guid_is_equal(guid, &known[i])) {
			*ret_bytes = bytes[i];
			return places[i];
		}
	}
	return NULL;
}

static int item_parse(struct vhdx_items *items, const struct vhdx_metadata_entry *entry,
		      uint32_t region_bytes, struct diag *reterr)
{
	char text[GUID_STRING_BYTES];
	uint32_t bytes = 0;
	/* A user's item may have the GUID of one of the system's; it is another one. */
	struct vhdx_item *item =
		entry->flags & VHDX_ITEM_USER ? NULL : item_known(items, &entry->item, &bytes);

	guid_format(&entry->item, text);
	if (entry->bytes > VHDX_METADATA_ITEM_MAX ||
	    (entry->bytes && (entry->offset < VHDX_METADATA_TABLE_BYTES ||
			      !num_range_fits(entry->offset, entry->bytes, region_bytes)))) {
		return diag_set(reterr, -EINVAL, "has its metadata item %s at %u, %u bytes long",
				text, entry->offset, entry->bytes);
	}
	if (!item) {
		return entry->flags & VHDX_ITEM_REQUIRED
			       ? diag_set(reterr, -EOPNOTSUPP,
					  "has a metadata item %s that is required and that we do "
					  "not know",
					  text)
			       : 0;
	}
	if (item->bytes) {
		return diag_set(reterr, -EINVAL, "has the metadata item %s twice", text);
	}
	if (entry->bytes == 0 || (bytes && entry->bytes != bytes)) {
		return diag_set(reterr, -EINVAL, "has a metadata item %s of %u bytes", text,
				entry->bytes);
	}
	*item = (struct vhdx_item){ entry->offset, entry->bytes };
	return 0;
}

int vhdx_items_parse(const uint8_t *buf, uint32_t region_bytes, struct vhdx_items *ret,
		     struct diag *reterr)
{
	struct vhdx_metadata_header head;

	memcpy(&head, buf, sizeof(head));
	memset(ret, 0, sizeof(*ret));
	if (head.signature != VHDX_METADATA_SIGNATURE || head.count > VHDX_METADATA_ENTRIES_MAX) {
		return diag_set(reterr, -EINVAL, "has a damaged metadata table");
	}
	for (unsigned int i = 0; i < head.count; i++) {
		struct vhdx_metadata_entry entry;
		int err;

		memcpy(&entry, buf + sizeof(head) + i * sizeof(entry), sizeof(entry));
		err = item_parse(ret, &entry, region_bytes, reterr);
		if (err) {
			return err;
		}
	}
	if (!ret->parameters.bytes || !ret->disk_bytes.bytes || !ret->page83.bytes ||
	    !ret->logical.bytes || !ret->physical.bytes) {
		return diag_set(reterr, -EINVAL,
				"lacks one of its metadata items: parameters, size, identity or "
				"sector sizes");
	}
	return 0;
}

/* ---- geometry ------------------------------------------------------------------------------------ */

uint64_t vhdx_geometry_entries(const struct vhdx_geometry *geometry, uint64_t disk_bytes)
{
	uint64_t blocks = (disk_bytes + geometry->block_bytes - 1) >> geometry->block_shift;
	uint64_t chunks = ((blocks - 1) >> geometry->chunk_shift) + 1;

	if (geometry->has_parent) {
		return (chunks << geometry->chunk_shift) + chunks;
	}
	return blocks + chunks - 1;
}

int vhdx_geometry_init(struct vhdx_geometry *geometry, struct diag *reterr)
{
	uint32_t block = geometry->block_bytes, logical = geometry->logical_bytes;

	if (!num_is_power_of_2(block) || block < VHDX_BLOCK_BYTES_MIN ||
	    block > VHDX_BLOCK_BYTES_MAX) {
		return diag_set(reterr, -EINVAL,
				"has blocks of %u bytes: a power of two from 1 MiB to 256 MiB is "
				"allowed",
				block);
	}
	if ((logical != 512 && logical != 4096) ||
	    (geometry->physical_bytes != 512 && geometry->physical_bytes != 4096)) {
		return diag_set(reterr, -EINVAL,
				"has sectors of %u (physically %u) bytes: 512 or 4096 is allowed",
				logical, geometry->physical_bytes);
	}
	if (geometry->disk_bytes == 0 || geometry->disk_bytes % logical ||
	    geometry->disk_bytes > VHDX_DISK_BYTES_MAX) {
		return diag_set(
			reterr, -EINVAL,
			"holds a disk of %llu bytes: whole sectors up to 64 TiB are allowed",
			(unsigned long long)geometry->disk_bytes);
	}
	geometry->block_shift = (unsigned int)__builtin_ctz(block);
	geometry->sector_shift = (unsigned int)__builtin_ctz(logical);
	geometry->chunk_shift = (unsigned int)__builtin_ctzll(VHDX_CHUNK_SECTORS) +
				geometry->sector_shift - geometry->block_shift;
	geometry->blocks = (geometry->disk_bytes + block - 1) >> geometry->block_shift;
	geometry->chunks = ((geometry->blocks - 1) >> geometry->chunk_shift) + 1;
	geometry->entries = vhdx_geometry_entries(geometry, geometry->disk_bytes);
	return 0;
}
