/* SPDX-License-Identifier: MIT */
/*
 * VHDX: making an image.
 *
 *   0 identifier, headers, region tables │ 1 MiB log │ 2 MiB metadata │ 3 MiB block table │ blocks
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

#define CREATE_LOG_AT            (1 * MIB)
#define CREATE_LOG_BYTES         (1U << 20)
#define CREATE_METADATA_AT       (2 * MIB)
#define CREATE_METADATA_BYTES    (1U << 20)
#define CREATE_BAT_AT            (3 * MIB)
#define CREATE_BLOCK_BYTES       (32U << 20)
#define CREATE_BLOCK_BYTES_CHILD (2U << 20)
/* The table has room for a disk of so many times the size. */
#define CREATE_GROWTH            2
/* Of metadata: the table, then the items. */
#define CREATE_ITEMS_BYTES       (VHDX_METADATA_TABLE_BYTES + VHDX_METADATA_ITEM_MAX / 4)

struct create {
	const struct image_create_config *config;
	struct vhdx_geometry geometry;
	struct guid parent_state;
	uint64_t bat_bytes;
	struct block *file;
	struct block_sync *sync;
};

AUTO_DESTROY(block, block_close)

/* ---- what it shall be ---------------------------------------------------------------------------- */

/* A relative path begins at the child's directory. */
static void create_parent_path(const struct image_create_config *config, char ret[VHDX_PATH_BYTES])
{
	const char *slash = strrchr(config->path, '/');
	int directory = *config->parent_path == '/' || !slash ? 0 : (int)(slash + 1 - config->path);

	snprintf(ret, VHDX_PATH_BYTES, "%.*s%s", directory, config->path, config->parent_path);
}

/* Its size and its state are the child's own. */
static int create_ask_parent(struct create *create, struct diag *reterr)
{
	const struct image_create_config *config = create->config;
	auto_destroy(block) struct block *parent = NULL;
	char path[VHDX_PATH_BYTES];
	struct block_config open = { .kind = BLOCK_VHDX, .path = path, .read_only = true };
	const struct vhdx *vhdx;
	int err;

	if (!config->parent_path || !*config->parent_path || config->bytes ||
	    strlen(config->parent_path) + strlen(config->path) >= VHDX_PATH_BYTES / 2) {
		return diag_set(reterr, -EINVAL,
				"image %.200s needs a parent, and takes its size from that",
				config->path);
	}
	if (config->parent_kind != BLOCK_AUTO && config->parent_kind != BLOCK_VHDX) {
		return diag_set(
			reterr, -EINVAL,
			"image %.200s: the parent of a VHDX has to be a VHDX: convert it first",
			config->path);
	}
	create_parent_path(config, path);
	err = block_open(&open, &parent, reterr);
	if (err) {
		return err;
	}
	vhdx = vhdx_find(parent);
	create->geometry.disk_bytes = vhdx->geometry.disk_bytes;
	create->geometry.has_parent = true;
	create->geometry.logical_bytes = vhdx->geometry.logical_bytes;
	create->geometry.physical_bytes = vhdx->geometry.physical_bytes;
	create->parent_state = vhdx_data_write(vhdx);
	if (config->logical_block_bytes &&
	    config->logical_block_bytes != vhdx->geometry.logical_bytes) {
		return diag_set(reterr, -EINVAL,
				"image %.200s: its parent has sectors of %u bytes, so it has, too",
				config->path, vhdx->geometry.logical_bytes);
	}
	return 0;
}

static int create_plan(struct create *create, struct diag *reterr)
{
	const struct image_create_config *config = create->config;
	struct vhdx_geometry *geometry = &create->geometry;
	struct diag what;
	uint64_t most;
	int err = 0;

	geometry->disk_bytes = config->bytes;
	geometry->logical_bytes = config->logical_block_bytes ? config->logical_block_bytes : 512;
	geometry->physical_bytes = 4096;
	geometry->block_bytes = CREATE_BLOCK_BYTES;
	geometry->is_fixed = config->layout == IMAGE_FIXED;
	if (config->layout == IMAGE_DIFFERENCING) {
		geometry->block_bytes = CREATE_BLOCK_BYTES_CHILD;
		err = create_ask_parent(create, reterr);
		if (err) {
			return err;
		}
	}
	geometry->block_bytes = config->block_bytes ? config->block_bytes : geometry->block_bytes;
	if (config->physical_block_bytes) {
		geometry->physical_bytes = config->physical_block_bytes;
	}
	vhdx_guid_create(&geometry->page83);
	err = vhdx_geometry_init(geometry, &what);
	if (err) {
		return diag_set(reterr, err, "image %.200s cannot be made: it %.250s", config->path,
				what.text);
	}
	most = num_min(geometry->disk_bytes * CREATE_GROWTH, VHDX_DISK_BYTES_MAX);
	create->bat_bytes =
		num_align_up(vhdx_geometry_entries(geometry, most) * 8, VHDX_ALIGN_BYTES);
	return 0;
}

/* ---- what is written ----------------------------------------------------------------------------- */

static void put_region(uint8_t *to, struct guid guid, uint64_t offset, uint64_t bytes)
{
	struct vhdx_region region = {
		.guid = guid,
		.offset = offset,
		.bytes = (uint32_t)bytes,
		.flags = VHDX_REGION_REQUIRED,
	};

	memcpy(to, &region, sizeof(region));
}

static void build_regions(const struct create *create, uint8_t *table)
{
	struct vhdx_region_header head = { .signature = VHDX_REGION_SIGNATURE, .count = 2 };
	static const struct guid bat = VHDX_REGION_BAT, metadata = VHDX_REGION_METADATA;

	memcpy(table, &head, sizeof(head));
	put_region(table + sizeof(head), bat, CREATE_BAT_AT, create->bat_bytes);
	put_region(table + sizeof(head) + sizeof(struct vhdx_region), metadata, CREATE_METADATA_AT,
		   CREATE_METADATA_BYTES);
	bytes_put_le32(table + offsetof(struct vhdx_region_header, checksum),
		       crc32c(0, table, VHDX_REGION_TABLE_BYTES));
}

/* The first MiB. */
static void build_head(const struct create *create, uint8_t *buf)
{
	static const char creator[] = "Tabique";
	struct vhdx_header header = {
		.signature = VHDX_HEADER_SIGNATURE,
		.sequence = 1,
		.version = VHDX_VERSION,
		.log_version = VHDX_LOG_VERSION,
		.log_bytes = CREATE_LOG_BYTES,
		.log_offset = CREATE_LOG_AT,
	};

	bytes_put_le64(buf, VHDX_FILE_SIGNATURE);
	for (size_t i = 0; creator[i]; i++) {
		bytes_put_le16(buf + 8 + 2 * i, (uint16_t)creator[i]);
	}
	vhdx_guid_create(&header.file_write);
	vhdx_guid_create(&header.data_write);
	for (unsigned int i = 0; i < VHDX_HEADER_COPIES; i++) {
		vhdx_header_build(&header, buf + VHDX_HEADER_AT(i));
		header.sequence++;
	}
	for (unsigned int i = 0; i < VHDX_REGION_TABLE_COPIES; i++) {
		build_regions(create, buf + VHDX_REGION_TABLE_AT(i));
	}
}

struct items {
	uint8_t *buf;
	unsigned int count;
	uint32_t at;
};

static void put_item(struct items *items, struct guid item, uint32_t flags, const void *value,
		     uint32_t bytes)
{
	struct vhdx_metadata_entry entry = {
		.item = item,
		.offset = items->at,
		.bytes = bytes,
		.flags = flags | VHDX_ITEM_REQUIRED,
	};

	memcpy(items->buf + items->at, value, bytes);
	items->at += (uint32_t)num_align_up(bytes, 8); /* so that the size lies in one page */
	items->count++;
	memcpy(items->buf + sizeof(struct vhdx_metadata_header) +
		       (items->count - 1) * sizeof(entry),
	       &entry, sizeof(entry));
}

/* The next character of UTF-8; what is broken stands for itself, byte by byte. */
static uint32_t utf8_next(const char **text)
{
	const uint8_t *p = (const uint8_t *)*text;
	unsigned int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
	uint32_t c = more == 3 ? *p & 0x07 : more == 2 ? *p & 0x0f : more == 1 ? *p & 0x1f : *p;

	for (unsigned int i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			more = 0;
			c = *p;
			break;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	*text += 1 + more;
	return c;
}

/* Into UTF-16, slashes into backslashes. Returns its bytes. */
static uint16_t utf16_put(uint8_t *to, const char *text)
{
	uint16_t bytes = 0;

	while (*text) {
		uint32_t c = utf8_next(&text);

		c = c == '/' ? '\\' : c;
		if (c >= 0x10000) {
			bytes_put_le16(to + bytes,
				       (uint16_t)(0xd800 | ((c - 0x10000) >> 10 & 0x3ff)));
			bytes = (uint16_t)(bytes + 2);
			c = 0xdc00 | ((c - 0x10000) & 0x3ff);
		}
		bytes_put_le16(to + bytes, (uint16_t)c);
		bytes = (uint16_t)(bytes + 2);
	}
	return bytes;
}

/* Keys: the parent's state, and its path, relative or absolute as it was given. */
static uint32_t build_locator(const struct create *create, uint8_t *buf)
{
	static const struct guid type = VHDX_LOCATOR_VHDX;
	const char *path = create->config->parent_path;
	char guid[GUID_STRING_BYTES], linkage[GUID_STRING_BYTES + 2], relative[VHDX_PATH_BYTES];
	const char *pairs[2][2] = {
		{ "parent_linkage", linkage },
		{ *path == '/' ? "absolute_win32_path" : "relative_path", relative },
	};
	struct vhdx_locator_header head = { .type = type, .count = ARRAY_SIZE(pairs) };
	uint32_t at = sizeof(head) + ARRAY_SIZE(pairs) * sizeof(struct vhdx_locator_entry);

	snprintf(linkage, sizeof(linkage), "{%s}", guid_format(&create->parent_state, guid));
	snprintf(relative, sizeof(relative), "%s%s", *path == '/' || *path == '.' ? "" : "./",
		 path);
	memcpy(buf, &head, sizeof(head));
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct vhdx_locator_entry entry = { .key_offset = at };

		entry.key_bytes = utf16_put(buf + at, pairs[i][0]);
		entry.value_offset = at + entry.key_bytes;
		entry.value_bytes = utf16_put(buf + entry.value_offset, pairs[i][1]);
		at = entry.value_offset + entry.value_bytes;
		memcpy(buf + sizeof(head) + i * sizeof(entry), &entry, sizeof(entry));
	}
	return at;
}

static int build_metadata(const struct create *create, uint8_t *buf)
{
	static const struct guid parameters_guid = VHDX_ITEM_FILE_PARAMETERS,
				 bytes_guid = VHDX_ITEM_DISK_BYTES, page83_guid = VHDX_ITEM_PAGE83,
				 logical_guid = VHDX_ITEM_LOGICAL,
				 physical_guid = VHDX_ITEM_PHYSICAL, parent_guid = VHDX_ITEM_PARENT;
	const struct vhdx_geometry *geometry = &create->geometry;
	struct items items = { .buf = buf, .at = VHDX_METADATA_TABLE_BYTES };
	struct vhdx_metadata_header head = { .signature = VHDX_METADATA_SIGNATURE };
	struct vhdx_file_parameters parameters = {
		.block_bytes = geometry->block_bytes,
		.flags = (geometry->is_fixed ? VHDX_LEAVE_ALLOCATED : 0) |
			 (geometry->has_parent ? VHDX_HAS_PARENT : 0),
	};

	put_item(&items, parameters_guid, 0, &parameters, sizeof(parameters));
	put_item(&items, bytes_guid, VHDX_ITEM_VIRTUAL, &geometry->disk_bytes, 8);
	put_item(&items, page83_guid, VHDX_ITEM_VIRTUAL, &geometry->page83, 16);
	put_item(&items, logical_guid, VHDX_ITEM_VIRTUAL, &geometry->logical_bytes, 4);
	put_item(&items, physical_guid, VHDX_ITEM_VIRTUAL, &geometry->physical_bytes, 4);
	if (geometry->has_parent) {
		auto_free uint8_t *locator = fault_alloc(1, 4ULL * VHDX_PATH_BYTES);

		if (!locator) {
			return -ENOMEM;
		}
		put_item(&items, parent_guid, 0, locator, build_locator(create, locator));
	}
	head.count = (uint16_t)items.count;
	memcpy(buf, &head, sizeof(head));
	return 0;
}

/* All blocks one after the other, from where the table ends. */
static int write_fixed(const struct create *create, uint8_t *buf, uint32_t buf_bytes)
{
	const struct vhdx_geometry *geometry = &create->geometry;
	uint64_t at = CREATE_BAT_AT + create->bat_bytes, block = 0;
	uint64_t bytes = geometry->blocks << geometry->block_shift;
	int err;

	if (block_info(create->file)->can_write_zeroes) {
		err = block_sync_write_zeroes(create->sync, at, bytes, false);
	} else {
		err = block_sync_resize(create->sync, at + bytes);
	}
	for (uint64_t i = 0; i < geometry->entries && !err; i += buf_bytes / 8) {
		uint64_t count = num_min(buf_bytes / 8, geometry->entries - i);

		memset(buf, 0, buf_bytes);
		for (uint64_t j = 0; j < count; j++) {
			if (!vhdx_bat_is_bitmap(geometry, i + j)) {
				bytes_put_le64(buf + 8 * j,
					       (at + (block << geometry->block_shift)) |
						       VHDX_FULLY_PRESENT);
				block++;
			}
		}
		err = block_sync_write(create->sync, CREATE_BAT_AT + 8 * i, buf,
				       num_align_up(8 * count, VHDX_PAGE_BYTES));
	}
	return err;
}

static int create_write(struct create *create)
{
	uint64_t end = CREATE_BAT_AT + create->bat_bytes;
	auto_free uint8_t *buf = fault_alloc(1, VHDX_ALIGN_BYTES);
	int err;

	if (!buf) {
		return -ENOMEM;
	}
	err = block_sync_resize(create->sync, end);
	err = err ? err : build_metadata(create, buf);
	err = err ? err
		  : block_sync_write(create->sync, CREATE_METADATA_AT, buf, CREATE_ITEMS_BYTES);
	if (!err && create->geometry.is_fixed) {
		err = write_fixed(create, buf, VHDX_ALIGN_BYTES);
	}
	err = err ? err : block_sync_flush(create->sync);
	if (!err) {
		/* Last: without it, it is no image. */
		memset(buf, 0, VHDX_ALIGN_BYTES);
		build_head(create, buf);
		err = block_sync_write(create->sync, 0, buf, VHDX_ALIGN_BYTES);
	}
	return err ? err : block_sync_flush(create->sync);
}

/* ---- the file ------------------------------------------------------------------------------------ */

/* So that its name is on stable storage, too. */
static int create_sync_directory(const char *path)
{
	auto_free char *copy = strdup(path);
	auto_close int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	/* Some file systems cannot. */
	return !copy ? -ENOMEM : fd >= 0 && fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

static int create_fill(struct create *create, struct diag *reterr)
{
	const char *path = create->config->path;
	struct block_config file = { .kind = BLOCK_RAW, .path = path, .growable = true };
	int err = block_raw_open(&file, &create->file, reterr);

	if (err) {
		return err;
	}
	err = block_sync_create(create->file, &create->sync, reterr);
	if (!err) {
		err = create_write(create);
		err = err ? err : create_sync_directory(path);
		if (err) {
			diag_set(reterr, err, "image %.200s cannot be written: %s", path,
				 strerror(-err));
		}
	}
	block_sync_destroy(create->sync);
	block_close(create->file);
	return err;
}

int vhdx_create(const struct image_create_config *config, struct diag *reterr)
{
	struct create create = { .config = config };
	int err = create_plan(&create, reterr), fd;

	if (err) {
		return err;
	}
	fd = open(config->path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
	if (fd < 0) {
		return diag_set(reterr, -errno, "image %.200s cannot be made: %s", config->path,
				strerror(errno));
	}
	close(fd);
	err = create_fill(&create, reterr);
	if (err) {
		unlink(config->path);
	}
	return err;
}
