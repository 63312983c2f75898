/* SPDX-License-Identifier: MIT */
#include "block/vhd_format.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"

#define VHD_VERSION     0x00010000U
#define VHD_FEATURES    2U
#define VHD_CHS_SECTORS (65535ULL * 16 * 255)

/* The sum of all bytes but its own, complemented. */
static uint32_t vhd_checksum(const void *wire, size_t bytes, size_t at)
{
	const uint8_t *b = wire;
	uint32_t sum = 0;

	for (size_t i = 0; i < bytes; i++) {
		sum += i >= at && i < at + 4 ? 0 : b[i];
	}
	return ~sum;
}

static uint32_t footer_checksum(const struct vhd_wire_footer *wire)
{
	return vhd_checksum(wire, sizeof(*wire), offsetof(struct vhd_wire_footer, checksum));
}

static uint32_t header_checksum(const struct vhd_wire_header *wire)
{
	return vhd_checksum(wire, sizeof(*wire), offsetof(struct vhd_wire_header, checksum));
}

uint64_t vhd_geometry(uint64_t bytes, uint16_t *ret_cylinders, uint8_t *ret_heads,
		      uint8_t *ret_sectors)
{
	uint64_t total = num_min(bytes / VHD_SECTOR_BYTES, VHD_CHS_SECTORS);
	uint64_t sectors, heads, tracks;

	if (total >= 65535ULL * 16 * 63) {
		sectors = 255;
		heads = 16;
		tracks = total / sectors;
	} else {
		sectors = 17;
		tracks = total / sectors;
		heads = num_max((tracks + 1023) / 1024, 4);
		if (tracks >= heads * 1024 || heads > 16) {
			sectors = 31;
			heads = 16;
			tracks = total / sectors;
		}
		if (tracks >= heads * 1024) {
			sectors = 63;
			heads = 16;
			tracks = total / sectors;
		}
	}
	*ret_cylinders = (uint16_t)(tracks / heads);
	*ret_heads = (uint8_t)heads;
	*ret_sectors = (uint8_t)sectors;
	return tracks / heads * heads * sectors;
}

/* Identifiers read as their bytes stand; struct guid has the first three fields the other way. */
static void vhd_guid_swap(const uint8_t *from, uint8_t *to)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (int i = 0; i < 16; i++) {
		to[i] = from[order[i]];
	}
}

/* Programs that gave their guests what the geometry covers. */
static bool footer_uses_geometry(const struct vhd_wire_footer *wire)
{
	static const char creators[][5] = { "vpc ", "vs  ", "qemu" };

	for (size_t i = 0; i < ARRAY_SIZE(creators); i++) {
		if (memcmp(wire->creator, creators[i], 4) == 0) {
			return true;
		}
	}
	return false;
}

static uint64_t footer_bytes(const struct vhd_wire_footer *wire)
{
	uint64_t current = bytes_be64(wire->current_bytes);
	uint64_t sectors = (uint64_t)bytes_be16(wire->cylinders) * wire->heads * wire->sectors;

	if (footer_uses_geometry(wire) && sectors > 0 && sectors < VHD_CHS_SECTORS &&
	    sectors * VHD_SECTOR_BYTES <= current) {
		return sectors * VHD_SECTOR_BYTES;
	}
	return current;
}

int vhd_footer_parse(const struct vhd_wire_footer *wire, struct vhd_footer *ret)
{
	struct vhd_footer footer = {
		.header_offset = bytes_be64(wire->data_offset),
		.bytes = footer_bytes(wire),
		.type = bytes_be32(wire->type),
		.time_stamp = bytes_be32(wire->time_stamp),
		.wire = *wire,
	};

	if (memcmp(wire->cookie, "conectix", 8) != 0) {
		return -EINVAL;
	}
	if (bytes_be32(wire->checksum) != footer_checksum(wire) ||
	    bytes_be32(wire->version) >> 16 != VHD_VERSION >> 16 || footer.type < VHD_FIXED ||
	    footer.type > VHD_DIFFERENCING || footer.bytes == 0 ||
	    footer.bytes % VHD_SECTOR_BYTES != 0 || footer.bytes > VHD_BYTES_MAX) {
		return -EBADMSG;
	}
	if (footer.type != VHD_FIXED &&
	    (footer.header_offset % VHD_SECTOR_BYTES != 0 || footer.header_offset < sizeof(*wire) ||
	     footer.header_offset > INT64_MAX)) {
		return -EBADMSG;
	}
	for (int i = 0; i < 4; i++) {
		footer.creator[i] =
			(char)(wire->creator[i] >= ' ' && wire->creator[i] < 127 ? wire->creator[i]
										 : '?');
	}
	vhd_guid_swap(wire->unique_id, footer.id.bytes);
	*ret = footer;
	return 0;
}

void vhd_footer_resize(struct vhd_footer *footer, uint64_t bytes)
{
	struct vhd_wire_footer *wire = &footer->wire;
	uint16_t cylinders;

	footer->bytes = bytes;
	bytes_put_be64(wire->current_bytes, bytes);
	vhd_geometry(bytes, &cylinders, &wire->heads, &wire->sectors);
	bytes_put_be16(wire->cylinders, cylinders);
	/* Whoever reads this field learns from it that the size counts, not the geometry. */
	memcpy(wire->creator, "win ", 4);
	memcpy(footer->creator, "win ", 5);
	bytes_put_be32(wire->checksum, footer_checksum(wire));
}

void vhd_footer_build(uint32_t type, uint64_t bytes, struct vhd_footer *ret)
{
	struct vhd_wire_footer *wire = &ret->wire;
	struct timespec now;

	memset(ret, 0, sizeof(*ret));
	clock_gettime(CLOCK_REALTIME, &now);
	ret->type = type;
	ret->time_stamp = (uint32_t)(now.tv_sec - VHD_EPOCH_S);
	ret->header_offset = type == VHD_FIXED ? VHD_NO_OFFSET : sizeof(*wire);
	memcpy(wire->cookie, "conectix", 8);
	bytes_put_be32(wire->features, VHD_FEATURES);
	bytes_put_be32(wire->version, VHD_VERSION);
	bytes_put_be64(wire->data_offset, ret->header_offset);
	bytes_put_be32(wire->time_stamp, ret->time_stamp);
	bytes_put_be32(wire->creator_version, 0x00060001);
	memcpy(wire->creator_host, "Wi2k", 4);
	bytes_put_be64(wire->original_bytes, bytes);
	bytes_put_be32(wire->type, type);
	if (getrandom(wire->unique_id, sizeof(wire->unique_id), 0) < 0) {
		/* Only a kernel without randomness: the time is better than nothing. */
		memcpy(wire->unique_id, &now, sizeof(now));
	}
	wire->unique_id[6] = (uint8_t)((wire->unique_id[6] & 0x0f) | 0x40);
	wire->unique_id[8] = (uint8_t)((wire->unique_id[8] & 0x3f) | 0x80);
	vhd_guid_swap(wire->unique_id, ret->id.bytes);
	vhd_footer_resize(ret, bytes);
}

static int locator_parse(const struct vhd_wire_locator *wire, struct vhd_locator *ret)
{
	uint32_t space = bytes_be32(wire->space);

	ret->platform = bytes_be32(wire->platform);
	ret->length_bytes = bytes_be32(wire->length_bytes);
	ret->offset = bytes_be64(wire->offset);
	/* A small number is of sectors, as the specification has it. */
	ret->space_bytes =
		space % VHD_SECTOR_BYTES == 0 ? space : (uint64_t)space * VHD_SECTOR_BYTES;
	ret->space_bytes = num_max(ret->space_bytes, ret->length_bytes);
	if (ret->platform != 0 &&
	    (ret->length_bytes > VHD_LOCATOR_BYTES_MAX || ret->offset > INT64_MAX ||
	     ret->offset % VHD_SECTOR_BYTES != 0)) {
		return -EBADMSG;
	}
	return 0;
}

int vhd_header_parse(const struct vhd_wire_header *wire, struct vhd_header *ret)
{
	struct vhd_header header = {
		.table_offset = bytes_be64(wire->table_offset),
		.entries = bytes_be32(wire->entries),
		.block_bytes = bytes_be32(wire->block_bytes),
		.parent_time_stamp = bytes_be32(wire->parent_time_stamp),
		.wire = *wire,
	};

	if (memcmp(wire->cookie, "cxsparse", 8) != 0) {
		return -EINVAL;
	}
	if (bytes_be32(wire->checksum) != header_checksum(wire) ||
	    bytes_be32(wire->version) >> 16 != VHD_VERSION >> 16 ||
	    !num_is_power_of_2(header.block_bytes) || header.block_bytes < VHD_BLOCK_BYTES_MIN ||
	    header.block_bytes > VHD_BLOCK_BYTES_MAX || header.entries == 0 ||
	    header.entries > VHD_ENTRIES_MAX || header.table_offset % VHD_SECTOR_BYTES != 0 ||
	    header.table_offset > INT64_MAX) {
		return -EBADMSG;
	}
	for (int i = 0; i < VHD_LOCATORS; i++) {
		if (locator_parse(&wire->locators[i], &header.locators[i])) {
			return -EBADMSG;
		}
	}
	vhd_guid_swap(wire->parent_id, header.parent_id.bytes);
	*ret = header;
	return 0;
}

void vhd_header_seal(struct vhd_header *header)
{
	struct vhd_wire_header *wire = &header->wire;

	memcpy(wire->cookie, "cxsparse", 8);
	bytes_put_be64(wire->data_offset, VHD_NO_OFFSET);
	bytes_put_be64(wire->table_offset, header->table_offset);
	bytes_put_be32(wire->version, VHD_VERSION);
	bytes_put_be32(wire->entries, header->entries);
	bytes_put_be32(wire->block_bytes, header->block_bytes);
	vhd_guid_swap(header->parent_id.bytes, wire->parent_id);
	bytes_put_be32(wire->parent_time_stamp, header->parent_time_stamp);
	bytes_put_be32(wire->checksum, header_checksum(wire));
}
