/* SPDX-License-Identifier: MIT */
/*
 * VHD on disk: the layouts, and the only functions that see them.
 *
 *   fixed          data, footer
 *   dynamic,       copy of the footer, header, block allocation table (BAT), blocks, footer;
 *   differencing   a block is a bitmap (a bit per sector: it is here) and its data
 *
 * All numbers are big-endian, all places are whole sectors of 512 bytes.
 *
 *   thread  any
 *   spec    Virtual Hard Disk Image Format Specification 1.0 (Microsoft, 2006)
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/guid.h"
#include "base/num.h"

#define VHD_SECTOR_BYTES        512U
#define VHD_BYTES_MAX           (2040 * GIB)

/* What we make, and what we take. The BAT is in memory, so its length has a limit of its own. */
#define VHD_BLOCK_BYTES_DEFAULT (2U << 20)
#define VHD_BLOCK_BYTES_MIN     512U
#define VHD_BLOCK_BYTES_MAX     (256U << 20)
#define VHD_ENTRIES_MAX         (8U << 20)

#define VHD_FIXED               2U
#define VHD_DYNAMIC             3U
#define VHD_DIFFERENCING        4U

#define VHD_NO_OFFSET           (~0ULL)
#define VHD_NO_BLOCK            0xffffffffU /* a BAT entry */
#define VHD_LOCATORS            8
#define VHD_EPOCH_S             946684800LL /* 2000-01-01 00:00:00 UTC */

/* Platform codes of parent locators: UTF-16LE paths of Windows. Others are passed over. */
#define VHD_PLATFORM_RELATIVE   0x57327275U /* "W2ru" */
#define VHD_PLATFORM_ABSOLUTE   0x57326b75U /* "W2ku" */
/* A locator's data, which is read into memory. */
#define VHD_LOCATOR_BYTES_MAX   (64U << 10)

struct vhd_wire_footer {
	uint8_t cookie[8];   /* "conectix" */
	uint8_t features[4]; /* 2: always set */
	uint8_t version[4];
	uint8_t data_offset[8]; /* of the header; fixed: all ones */
	uint8_t time_stamp[4];
	uint8_t creator[4];
	uint8_t creator_version[4];
	uint8_t creator_host[4];
	uint8_t original_bytes[8];
	uint8_t current_bytes[8];
	uint8_t cylinders[2];
	uint8_t heads;
	uint8_t sectors;
	uint8_t type[4]; /* VHD_FIXED… */
	uint8_t checksum[4];
	uint8_t unique_id[16];
	uint8_t saved_state;
	uint8_t reserved[427];
};
static_assert(sizeof(struct vhd_wire_footer) == 512, "layout");

struct vhd_wire_locator {
	uint8_t platform[4];
	uint8_t space[4]; /* in sectors by the specification, in bytes by habit */
	uint8_t length_bytes[4];
	uint8_t reserved[4];
	uint8_t offset[8];
};
static_assert(sizeof(struct vhd_wire_locator) == 24, "layout");

struct vhd_wire_header {
	uint8_t cookie[8];      /* "cxsparse" */
	uint8_t data_offset[8]; /* all ones */
	uint8_t table_offset[8];
	uint8_t version[4];
	uint8_t entries[4];
	uint8_t block_bytes[4];
	uint8_t checksum[4];
	uint8_t parent_id[16];
	uint8_t parent_time_stamp[4];
	uint8_t reserved[4];
	uint8_t parent_name[512]; /* UTF-16BE */
	struct vhd_wire_locator locators[VHD_LOCATORS];
	uint8_t reserved_end[256];
};
static_assert(sizeof(struct vhd_wire_header) == 1024, "layout");

struct vhd_footer {
	uint64_t header_offset; /* VHD_NO_OFFSET: fixed */
	uint64_t bytes;         /* as a guest has seen it: see vhd_footer_parse() */
	uint32_t type;
	uint32_t time_stamp;
	char creator[5];
	struct guid id;              /* as its text reads */
	struct vhd_wire_footer wire; /* as it stands in the file */
};

struct vhd_locator {
	uint32_t platform; /* 0: none */
	uint32_t length_bytes;
	uint64_t space_bytes;
	uint64_t offset;
};

struct vhd_header {
	uint64_t table_offset;
	uint32_t entries;
	uint32_t block_bytes;
	struct guid parent_id;
	uint32_t parent_time_stamp;
	struct vhd_locator locators[VHD_LOCATORS];
	struct vhd_wire_header wire;
};

/*
 * The disk's size is the footer's "current size", but where the creator is a program whose guests saw
 * the geometry's (Virtual PC and Server, old QEMU). 0; -EINVAL: it is no footer; -EBADMSG: it is one,
 * damaged or impossible.
 */
MUST_CHECK int vhd_footer_parse(const struct vhd_wire_footer *wire, struct vhd_footer *ret);
MUST_CHECK int vhd_header_parse(const struct vhd_wire_header *wire, struct vhd_header *ret);

/* A new footer, with a new id and the time of now. */
void vhd_footer_build(uint32_t type, uint64_t bytes, struct vhd_footer *ret);
/* The same disk with another size (geometry, creator and checksum follow). */
void vhd_footer_resize(struct vhd_footer *footer, uint64_t bytes);

/* The wire's fields follow the others; locators and the parent's name are put into the wire before. */
void vhd_header_seal(struct vhd_header *header);

/* The specification's geometry; in sectors what it covers. */
uint64_t vhd_geometry(uint64_t bytes, uint16_t *ret_cylinders, uint8_t *ret_heads,
		      uint8_t *ret_sectors);

/* What a block's bitmap takes: whole sectors. */
static inline uint32_t vhd_bitmap_bytes(uint32_t block_bytes)
{
	return (uint32_t)num_align_up(block_bytes / VHD_SECTOR_BYTES / 8 +
					      (block_bytes / VHD_SECTOR_BYTES % 8 != 0),
				      VHD_SECTOR_BYTES);
}

/* What the table takes: whole sectors. */
static inline uint64_t vhd_table_bytes(uint32_t entries)
{
	return num_align_up((uint64_t)entries * 4, VHD_SECTOR_BYTES);
}

static inline uint32_t vhd_entries(uint64_t bytes, uint32_t block_bytes)
{
	return (uint32_t)((bytes + block_bytes - 1) / block_bytes);
}

/*
 * Where a block goes that comes after `end`: its data at a multiple of 4 KiB, and the sector at `end`,
 * where the footer was, left alone.
 */
static inline uint64_t vhd_place(uint64_t end, uint32_t bitmap_bytes)
{
	return num_align_up(end + VHD_SECTOR_BYTES + bitmap_bytes, 4096) - bitmap_bytes;
}
