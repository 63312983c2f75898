/* SPDX-License-Identifier: MIT */
/*
 * VHDX: the log. Input:
 *
 *   template and flags (1 byte), number of entries (1), entries, patches, operations
 *
 * An entry: where its first sector is (1 byte), its sequence (1), its tail's sector (1), flags (1), the
 * number of descriptors (1), and for each kind and place (1), offset in pages (1), what it is filled
 * with (1). Its checksum is right unless the flags say no. The headers name the log.
 */
#include "vhdx_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOG_SECTORS     256U
#define ENTRIES_MAX     16
#define DESCRIPTORS_MAX 16

static const uint8_t guid[16] = { 1, 2, 3 };

static void put_descriptor(uint8_t *entry, unsigned int n, unsigned int *datas, uint64_t sequence,
			   struct bytes_cursor *c)
{
	static const uint64_t places[] = { 0,           FILE_METADATA_AT, FILE_BAT_AT, 4 * MIB,
					   FILE_LOG_AT, 5 * MIB,          1ULL << 40,  ~4095ULL };
	uint8_t kind = bytes_take_u8(c), page = bytes_take_u8(c), fill = bytes_take_u8(c);
	struct vhdx_log_desc desc = {
		.signature = kind & 1 ? VHDX_ZERO_SIGNATURE : VHDX_DESC_SIGNATURE,
		.file_offset = places[kind >> 1 & 7] + page * 4096ULL,
		.sequence = sequence,
	};

	if (kind & 1) {
		bytes_put_le64(desc.leading, fill * (kind & 16 ? 1ULL << 56 : 4096ULL));
	} else {
		struct vhdx_log_data sector = { .signature = VHDX_DATA_SIGNATURE };

		memset(desc.leading, fill, sizeof(desc.leading));
		memset(sector.data, fill, sizeof(sector.data));
		sector.sequence_high = (uint32_t)(sequence >> 32);
		sector.sequence_low = (uint32_t)sequence;
		memcpy(entry + (1 + (*datas)++) * FILE_PAGE, &sector, sizeof(sector));
	}
	memcpy(entry + sizeof(struct vhdx_log_header) + n * sizeof(desc), &desc, sizeof(desc));
}

/* Sector by sector, since it may run over the log's end. */
static void put_entry(struct bytes_cursor *c)
{
	static uint8_t entry[(1 + DESCRIPTORS_MAX) * FILE_PAGE];
	unsigned int at = bytes_take_u8(c), datas = 0;
	struct vhdx_log_header header = { .signature = VHDX_LOG_SIGNATURE };
	uint8_t flags;

	memset(entry, 0, sizeof(entry));
	header.sequence = bytes_take_u8(c);
	header.tail = bytes_take_u8(c) * FILE_PAGE;
	flags = bytes_take_u8(c);
	header.descriptors = bytes_take_u8(c) % (DESCRIPTORS_MAX + 1);
	header.sequence |= flags & 2 ? 1ULL << 40 : 0;
	header.flushed_bytes = flags & 4 ? 1ULL << 33 : 4 * MIB;
	header.last_bytes = flags & 8 ? 1ULL << (flags >> 4) * 4 : 6 * MIB;
	memcpy(&header.log, guid, sizeof(guid));
	for (unsigned int i = 0; i < header.descriptors; i++) {
		put_descriptor(entry, i, &datas, header.sequence, c);
	}
	header.entry_bytes = (1 + datas) * FILE_PAGE;
	memcpy(entry, &header, sizeof(header));
	bytes_put_le32(entry + 4, crc32c(0, entry, header.entry_bytes) ^ (flags & 1));
	for (unsigned int i = 0; i <= datas; i++) {
		check(pwrite(file.fd, entry + i * FILE_PAGE, FILE_PAGE,
			     (off_t)(FILE_LOG_AT + (at + i) % LOG_SECTORS * FILE_PAGE)) ==
		      FILE_PAGE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size), none = { 0 };
	struct image_report report = { 0 };
	struct diag diag = { "" };
	uint8_t flags = bytes_take_u8(&c), entries = bytes_take_u8(&c) % (ENTRIES_MAX + 1);

	file_setup();
	file_reset(flags);
	for (unsigned int i = 0; i < entries; i++) {
		put_entry(&c);
	}
	for (unsigned int i = 0; i < VHDX_HEADER_COPIES; i++) {
		check(pwrite(file.fd, guid, sizeof(guid),
			     (off_t)(VHDX_HEADER_AT(i) + offsetof(struct vhdx_header, log))) ==
		      sizeof(guid));
		file_sum(VHDX_HEADER_AT(i), VHDX_HEADER_BYTES);
	}
	file_patch(&c);
	/* Read-only leaves the file alone; so what it takes, writing takes, too. */
	if (!(flags & 16)) {
		check((vhdx_image_ops.check)(file.path, false, &report, NULL, &diag) <= 0);
	}
	bool reads = file_use(&none, true);
	bool writes = file_use(&c, false);

	check(!reads || writes);
	if (writes) {
		check(file_use(&none, true));
	}
	return 0;
}
