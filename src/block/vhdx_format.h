/* SPDX-License-Identifier: MIT */
/*
 * VHDX, the file format. Little-endian. In file order: identifier, two headers, two region tables (the
 * first MiB); then, anywhere on MiB boundaries: log, metadata region, BAT region, blocks.
 *
 *   spec  Microsoft, [MS-VHDX]; docs/disk-formats.md#vhdx
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "these structs are read as they are");

/* ---- the first MiB ------------------------------------------------------------------------------ */

#define VHDX_ALIGN_BYTES          0x100000ULL /* of regions, the log and blocks */
#define VHDX_HEADER_BYTES         4096U
#define VHDX_HEADER_COPIES        2
#define VHDX_HEADER_AT(copy)      (0x10000ULL * (1 + (unsigned int)(copy)))
#define VHDX_REGION_TABLE_BYTES   0x10000U
#define VHDX_REGION_TABLE_COPIES  2
#define VHDX_REGION_TABLE_AT(cpy) (0x10000ULL * (3 + (unsigned int)(cpy)))
/* What the log may change begins here. */
#define VHDX_LOGGABLE_AT          VHDX_REGION_TABLE_AT(0)

#define VHDX_FILE_SIGNATURE       0x656c696678646876ULL /* "vhdxfile" */

struct vhdx_file_id {
	uint64_t signature;
	uint16_t creator[256]; /* UTF-16, for people */
};
static_assert(sizeof(struct vhdx_file_id) == 520, "vhdx_file_id");

#define VHDX_HEADER_SIGNATURE 0x64616568U /* "head" */
#define VHDX_VERSION          1
#define VHDX_LOG_VERSION      0

/* Of the two copies that one counts which is valid and has the greater sequence. */
struct vhdx_header {
	uint32_t signature;
	uint32_t checksum; /* CRC-32C of VHDX_HEADER_BYTES, with this field as 0 */
	uint64_t sequence;
	struct guid file_write; /* a new one before the first change of the file */
	struct guid data_write; /* a new one before the first change that a guest can see */
	struct guid log;        /* entries of the log count when they carry it; zero: none does */
	uint16_t log_version;
	uint16_t version;
	uint32_t log_bytes;
	uint64_t log_offset;
};
static_assert(sizeof(struct vhdx_header) == 80, "vhdx_header");

#define VHDX_REGION_SIGNATURE   0x69676572U /* "regi" */
#define VHDX_REGION_ENTRIES_MAX 2047
#define VHDX_REGION_REQUIRED    1U
/* 2dc27766-f623-4200-9d64-115e9bfd4a08, 8b7ca206-4790-4b9a-b8fe-575f050f886e */
#define VHDX_REGION_BAT         GUID(0x2dc27766, 0xf623, 0x4200, 0x9d64, 0x115e9bfd4a08)
#define VHDX_REGION_METADATA    GUID(0x8b7ca206, 0x4790, 0x4b9a, 0xb8fe, 0x575f050f886e)

struct vhdx_region_header {
	uint32_t signature;
	uint32_t checksum; /* of VHDX_REGION_TABLE_BYTES */
	uint32_t count;
	uint32_t reserved;
};
static_assert(sizeof(struct vhdx_region_header) == 16, "vhdx_region_header");

struct vhdx_region {
	struct guid guid; /* VHDX_REGION_… */
	uint64_t offset;
	uint32_t bytes;
	uint32_t flags; /* VHDX_REGION_REQUIRED */
};
static_assert(sizeof(struct vhdx_region) == 32, "vhdx_region");

/* ---- the log: a ring of sectors of 4 KiB --------------------------------------------------------- */

#define VHDX_SECTOR_BYTES   4096U
#define VHDX_LOG_SIGNATURE  0x65676f6cU /* "loge" */
#define VHDX_DESC_SIGNATURE 0x63736564U /* "desc" */
#define VHDX_ZERO_SIGNATURE 0x6f72657aU /* "zero" */
#define VHDX_DATA_SIGNATURE 0x61746164U /* "data" */

/* An entry: this, its descriptors, then on a sector boundary its data sectors. */
struct vhdx_log_header {
	uint32_t signature;
	uint32_t checksum;    /* of the whole entry */
	uint32_t entry_bytes; /* a multiple of the sector */
	uint32_t tail;        /* where the sequence began whose last entry this is; in the log */
	uint64_t sequence;    /* its predecessor's + 1 */
	uint32_t descriptors;
	uint32_t reserved;
	struct guid log;        /* as in the header of the file */
	uint64_t flushed_bytes; /* the file had at least this size on stable storage */
	uint64_t last_bytes;    /* the size of the file that holds all that is allocated */
};
static_assert(sizeof(struct vhdx_log_header) == 64, "vhdx_log_header");

/* "desc": the next data sector goes to file_offset, with these bytes at its two ends. */
struct vhdx_log_desc {
	uint32_t signature;
	uint8_t trailing[4];
	uint8_t leading[8]; /* "zero": the length of what becomes zero */
	uint64_t file_offset;
	uint64_t sequence;
};
static_assert(sizeof(struct vhdx_log_desc) == 32, "vhdx_log_desc");

struct vhdx_log_data {
	uint32_t signature;
	uint32_t sequence_high;
	uint8_t data[4084];
	uint32_t sequence_low;
};
static_assert(sizeof(struct vhdx_log_data) == VHDX_SECTOR_BYTES, "vhdx_log_data");

/* ---- metadata ------------------------------------------------------------------------------------ */

#define VHDX_METADATA_SIGNATURE   0x617461646174656dULL /* "metadata" */
#define VHDX_METADATA_TABLE_BYTES 0x10000U
#define VHDX_METADATA_ENTRIES_MAX 2047
#define VHDX_METADATA_ITEM_MAX    0x100000U

struct vhdx_metadata_header {
	uint64_t signature;
	uint16_t reserved;
	uint16_t count;
	uint32_t reserved2[5];
};
static_assert(sizeof(struct vhdx_metadata_header) == 32, "vhdx_metadata_header");

#define VHDX_ITEM_USER     1U
#define VHDX_ITEM_VIRTUAL  2U /* of the disk rather than of the file */
#define VHDX_ITEM_REQUIRED 4U

struct vhdx_metadata_entry {
	struct guid item; /* VHDX_ITEM_… */
	uint32_t offset;  /* in the region */
	uint32_t bytes;
	uint32_t flags; /* VHDX_ITEM_USER… */
	uint32_t reserved;
};
static_assert(sizeof(struct vhdx_metadata_entry) == 32, "vhdx_metadata_entry");

#define VHDX_ITEM_FILE_PARAMETERS GUID(0xcaa16737, 0xfa36, 0x4d43, 0xb3b6, 0x33f0aa44e76b)
#define VHDX_ITEM_DISK_BYTES      GUID(0x2fa54224, 0xcd1b, 0x4876, 0xb211, 0x5dbed83bf4b8)
#define VHDX_ITEM_PAGE83          GUID(0xbeca12ab, 0xb2e6, 0x4523, 0x93ef, 0xc309e000c746)
#define VHDX_ITEM_LOGICAL         GUID(0x8141bf1d, 0xa96f, 0x4709, 0xba47, 0xf233a8faab5f)
#define VHDX_ITEM_PHYSICAL        GUID(0xcda348c7, 0x445d, 0x4471, 0x9cc9, 0xe9885251c556)
#define VHDX_ITEM_PARENT          GUID(0xa8d35f2d, 0xb30b, 0x454d, 0xabf7, 0xd3d84834ab0c)

#define VHDX_LEAVE_ALLOCATED      1U /* a fixed disk */
#define VHDX_HAS_PARENT           2U

struct vhdx_file_parameters {
	uint32_t block_bytes;
	uint32_t flags; /* VHDX_LEAVE_ALLOCATED, VHDX_HAS_PARENT */
};
static_assert(sizeof(struct vhdx_file_parameters) == 8, "vhdx_file_parameters");

#define VHDX_LOCATOR_VHDX        GUID(0xb04aefb7, 0xd19e, 0x4a81, 0xb789, 0x25b8e9445913)
#define VHDX_LOCATOR_ENTRIES_MAX 256

/* Keys and values: UTF-16 at these offsets of the item. */
struct vhdx_locator_header {
	struct guid type; /* VHDX_LOCATOR_VHDX */
	uint16_t reserved;
	uint16_t count;
};
static_assert(sizeof(struct vhdx_locator_header) == 20, "vhdx_locator_header");

struct vhdx_locator_entry {
	uint32_t key_offset, value_offset;
	uint16_t key_bytes, value_bytes;
};
static_assert(sizeof(struct vhdx_locator_entry) == 12, "vhdx_locator_entry");

/* ---- the block allocation table ------------------------------------------------------------------ */

/*
 * Entries of payload blocks; after each chunk of them the entry of its sector bitmap. Bits 0 to 2: the
 * state; 20 to 63: the offset in the file (in MiB, so that masking gives bytes).
 */
#define VHDX_BAT_STATE         7ULL
#define VHDX_BAT_RESERVED      0xffff8ULL
#define VHDX_BAT_OFFSET        (~0xfffffULL)

#define VHDX_NOT_PRESENT       0U /* the parent has it; without one: zeroes */
#define VHDX_UNDEFINED         1U
#define VHDX_ZERO              2U
#define VHDX_UNMAPPED          3U /* given back by the guest; we read zeroes */
#define VHDX_FULLY_PRESENT     6U
#define VHDX_PARTIALLY_PRESENT 7U /* with a parent: the sector bitmap says which sectors */

#define VHDX_BITMAP_BYTES      0x100000U
#define VHDX_CHUNK_SECTORS     (8ULL * VHDX_BITMAP_BYTES)

/* ---- limits --------------------------------------------------------------------------------------- */

#define VHDX_BLOCK_BYTES_MIN   0x100000U
#define VHDX_BLOCK_BYTES_MAX   0x10000000U
#define VHDX_DISK_BYTES_MAX    (64ULL << 40)
/* Ours, not the specification's: twice what the greatest disk needs. */
#define VHDX_FILE_BYTES_MAX    (128ULL << 40)
#define VHDX_LOG_BYTES_MAX     (256U << 20)
