/* SPDX-License-Identifier: MIT */
#include "chipset/fwcfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "proto/board.h"

#define KEY_SIGNATURE     0x00U
#define KEY_ID            0x01U
#define KEY_DIRECTORY     0x19U
#define KEY_FIRST_FILE    0x20U

#define ID_TRADITIONAL    1U
#define ID_DMA            2U

#define DIRECTORY_ENTRY   64U

#define DMA_BYTES         8U
#define DMA_SIGNATURE     0x51454d5520434647ULL /* "QEMU CFG" */
#define DMA_REQUEST_BYTES 16U
#define DMA_ERROR         0x01U
#define DMA_READ          0x02U
#define DMA_SKIP          0x04U
#define DMA_SELECT        0x08U

/* More than any item; a request for more is nonsense, and would hold the lock for long. */
#define DMA_LENGTH_MAX    (1U << 20)

#define ITEMS_MAX         (FWCFG_FILES_MAX + 8U)

enum {
	FWCFG_STATE_KEY = 1,
	FWCFG_STATE_OFFSET = 2,
	FWCFG_STATE_DMA_HIGH = 3,
};

struct item {
	uint16_t key;
	uint8_t *bytes;
	uint32_t count;
	char name[FWCFG_NAME_BYTES]; /* "": no file */
};

struct fwcfg {
	struct chipset *chipset; /* borrowed */
	const struct mem *mem;   /* borrowed */
	struct item items[ITEMS_MAX];
	size_t count;
	uint16_t files;
	uint16_t key;
	uint32_t offset; /* into the selected item */
	uint32_t dma_high;
	uint64_t dma_requests, dma_errors;
};

/* ---- items ---- */

static struct item *find(struct fwcfg *fwcfg, uint16_t key)
{
	for (size_t i = 0; i < fwcfg->count; i++) {
		if (fwcfg->items[i].key == key) {
			return &fwcfg->items[i];
		}
	}
	return NULL;
}

static int add(struct fwcfg *fwcfg, uint16_t key, const char *name, const void *bytes, size_t count)
{
	struct item *item = &fwcfg->items[fwcfg->count];

	if (fwcfg->count == ITEMS_MAX || count > DMA_LENGTH_MAX) {
		return -ENOSPC;
	}
	if (find(fwcfg, key)) {
		return -EEXIST;
	}
	item->bytes = fault_alloc(1, count + 1); /* an empty one, too */
	if (!item->bytes) {
		return -ENOMEM;
	}
	memcpy(item->bytes, bytes, count);
	item->key = key;
	item->count = (uint32_t)count;
	snprintf(item->name, sizeof(item->name), "%s", name);
	fwcfg->count++;
	return 0;
}

/* The directory is an item whose bytes grow with each file. */
static void list_file(struct fwcfg *fwcfg, const struct item *file)
{
	struct item *directory = find(fwcfg, KEY_DIRECTORY);
	uint8_t *entry = directory->bytes + directory->count;

	bytes_put_be32(entry, file->count);
	bytes_put_be16(entry + 4, file->key);
	memcpy(entry + 8, file->name, FWCFG_NAME_BYTES);
	directory->count += DIRECTORY_ENTRY;
	fwcfg->files++;
	bytes_put_be32(directory->bytes, fwcfg->files);
}

int fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *bytes, size_t count)
{
	int err;

	if (fwcfg->files == FWCFG_FILES_MAX || strlen(name) >= FWCFG_NAME_BYTES) {
		return -ENOSPC;
	}
	for (size_t i = 0; i < fwcfg->count; i++) {
		if (strcmp(fwcfg->items[i].name, name) == 0) {
			return -EEXIST;
		}
	}
	err = add(fwcfg, (uint16_t)(KEY_FIRST_FILE + fwcfg->files), name, bytes, count);
	if (!err) {
		list_file(fwcfg, &fwcfg->items[fwcfg->count - 1]);
	}
	return err;
}

int fwcfg_add_number(struct fwcfg *fwcfg, uint16_t key, uint64_t value, unsigned int bytes)
{
	uint8_t number[8];

	check(bytes <= sizeof(number));
	bytes_put_le64(number, value);
	return add(fwcfg, key, "", number, bytes);
}

/* ---- the ports ---- */

static void select_item(struct fwcfg *fwcfg, uint16_t key)
{
	fwcfg->key = key;
	fwcfg->offset = 0;
}

/* The next bytes of the selected item, zeroes behind its end. */
static void take(struct fwcfg *fwcfg, uint8_t *ret, uint32_t count)
{
	const struct item *item = find(fwcfg, fwcfg->key);
	uint32_t left = item && fwcfg->offset < item->count ? item->count - fwcfg->offset : 0;
	uint32_t have = count < left ? count : left;

	if (have) {
		memcpy(ret, item->bytes + fwcfg->offset, have);
	}
	memset(ret + have, 0, count - have);
	fwcfg->offset += have;
}

static uint64_t port_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	uint8_t byte = 0xff;

	if (offset == 1) {
		take(ctx, &byte, 1);
	}
	return byte;
}

static void port_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	if (offset == 0 && bytes == 2) {
		select_item(ctx, (uint16_t)value);
	}
}

/* Whether all went well; the item's bytes go straight into the guest's memory. */
static bool dma_transfer(struct fwcfg *fwcfg, uint32_t control, uint32_t length, gpa_t gpa)
{
	uint8_t *hva;

	if (control & DMA_SELECT) {
		select_item(fwcfg, (uint16_t)(control >> 16));
	}
	if (control & DMA_SKIP && !(control & DMA_READ)) {
		fwcfg->offset = (uint32_t)num_min((uint64_t)fwcfg->offset + length, UINT32_MAX);
		return true;
	}
	if (!(control & DMA_READ)) {
		return !(control & ~(uint32_t)(DMA_SELECT | 0xffff0000U)); /* nor writing */
	}
	hva = length <= DMA_LENGTH_MAX ? mem_hva(fwcfg->mem, gpa, length) : NULL;
	if (!hva) {
		return false;
	}
	take(fwcfg, hva, length);
	return true;
}

static void dma_run(struct fwcfg *fwcfg, gpa_t gpa)
{
	uint8_t request[DMA_REQUEST_BYTES], status[4];
	bool is_good;

	fwcfg->dma_requests++;
	if (mem_read(fwcfg->mem, gpa, request, sizeof(request))) {
		fwcfg->dma_errors++;
		return; /* nowhere to put the error */
	}
	is_good = dma_transfer(fwcfg, bytes_be32(request), bytes_be32(request + 4),
			       (gpa_t)bytes_be32(request + 8) << 32 | bytes_be32(request + 12));
	fwcfg->dma_errors += !is_good;
	bytes_put_be32(status, is_good ? 0 : DMA_ERROR);
	if (mem_write(fwcfg->mem, gpa, status, sizeof(status))) {
		fwcfg->dma_errors++;
	}
}

static uint64_t dma_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	uint8_t signature[DMA_BYTES];
	uint64_t value = 0;

	bytes_put_be64(signature, DMA_SIGNATURE);
	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint64_t)signature[offset + i] << 8 * i;
	}
	return value;
}

/* The request's address, big-endian, upper half first; the lower one starts it. */
static void dma_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct fwcfg *fwcfg = ctx;
	uint32_t half = __builtin_bswap32((uint32_t)value);

	if (bytes != 4 || offset % 4) {
		return;
	}
	if (offset == 0) {
		fwcfg->dma_high = half;
	} else {
		gpa_t gpa = (gpa_t)fwcfg->dma_high << 32 | half;

		fwcfg->dma_high = 0;
		dma_run(fwcfg, gpa);
	}
}

static const struct io_region_ops port_ops = { port_read, port_write };
static const struct io_region_ops dma_ops = { dma_read, dma_write };

/* ---- life ---- */

static int add_fixed(struct fwcfg *fwcfg)
{
	static const uint8_t directory[4 + FWCFG_FILES_MAX * DIRECTORY_ENTRY];
	int err = add(fwcfg, KEY_SIGNATURE, "", "QEMU", 4);

	if (!err) {
		err = fwcfg_add_number(fwcfg, KEY_ID, ID_TRADITIONAL | ID_DMA, 4);
	}
	if (!err) {
		err = add(fwcfg, KEY_DIRECTORY, "", directory, sizeof(directory));
	}
	if (!err) {
		find(fwcfg, KEY_DIRECTORY)->count = 4;
	}
	return err;
}

int fwcfg_create(struct chipset *chipset, const struct mem *mem, struct fwcfg **ret)
{
	struct fwcfg *fwcfg = fault_alloc(1, sizeof(*fwcfg));
	int err;

	if (!fwcfg) {
		return -ENOMEM;
	}
	fwcfg->chipset = chipset;
	fwcfg->mem = mem;

	const struct io_region regions[] = {
		{ &port_ops, fwcfg, BOARD_FWCFG_PORT, 2, "fw_cfg" },
		{ &dma_ops, fwcfg, BOARD_FWCFG_DMA_PORT, DMA_BYTES, "fw_cfg dma" },
	};

	err = add_fixed(fwcfg);
	for (size_t i = 0; i < ARRAY_SIZE(regions) && !err; i++) {
		err = chipset_pio_add(chipset, &regions[i]);
	}
	if (err) {
		fwcfg_destroy(fwcfg);
		return err;
	}
	*ret = fwcfg;
	return 0;
}

void fwcfg_destroy(struct fwcfg *fwcfg)
{
	if (!fwcfg) {
		return;
	}
	chipset_remove(fwcfg->chipset, fwcfg);
	for (size_t i = 0; i < fwcfg->count; i++) {
		free(fwcfg->items[i].bytes);
	}
	free(fwcfg);
}

void fwcfg_reset(struct fwcfg *fwcfg)
{
	chipset_lock(fwcfg->chipset);
	select_item(fwcfg, 0);
	fwcfg->dma_high = 0;
	chipset_unlock(fwcfg->chipset);
}

void fwcfg_save(struct fwcfg *fwcfg, struct save *save)
{
	chipset_lock(fwcfg->chipset);
	save_u32(save, FWCFG_STATE_KEY, fwcfg->key);
	save_u32(save, FWCFG_STATE_OFFSET, fwcfg->offset);
	save_u32(save, FWCFG_STATE_DMA_HIGH, fwcfg->dma_high);
	chipset_unlock(fwcfg->chipset);
}

int fwcfg_load(struct fwcfg *fwcfg, struct load *load)
{
	struct load_field field;

	chipset_lock(fwcfg->chipset);
	select_item(fwcfg, 0);
	fwcfg->dma_high = 0;
	while (load_next(load, &field)) {
		switch (field.tag) {
		case FWCFG_STATE_KEY:
			fwcfg->key = (uint16_t)load_u32(load, &field);
			break;
		case FWCFG_STATE_OFFSET:
			fwcfg->offset = load_u32(load, &field);
			break;
		case FWCFG_STATE_DMA_HIGH:
			fwcfg->dma_high = load_u32(load, &field);
			break;
		default:
			break;
		}
	}
	chipset_unlock(fwcfg->chipset);
	return load_result(load);
}

void fwcfg_inspect(struct fwcfg *fwcfg, struct inspect *at)
{
	chipset_lock(fwcfg->chipset);
	for (size_t i = 0; i < fwcfg->count; i++) {
		if (fwcfg->items[i].name[0]) {
			struct inspect item = inspect_item(at, "files");

			inspect_string(&item, "name", fwcfg->items[i].name);
			inspect_u64(&item, "bytes", fwcfg->items[i].count);
		}
	}
	inspect_u64(at, "dma_requests", fwcfg->dma_requests);
	inspect_u64(at, "dma_errors", fwcfg->dma_errors);
	chipset_unlock(fwcfg->chipset);
}
