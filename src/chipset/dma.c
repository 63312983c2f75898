/* SPDX-License-Identifier: MIT */
#include "chipset/dma.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"

#define CONTROLLERS 2U
#define CHANNELS    4U
#define PAGES       16U

/* Registers behind the channels' eight (8237A: figure 5). */
enum {
	REG_STATUS = 8, /* read; command on writing */
	REG_REQUEST = 9,
	REG_MASK_ONE = 10,
	REG_MODE = 11,
	REG_CLEAR_FLIP_FLOP = 12,
	REG_MASTER_CLEAR = 13,
	REG_CLEAR_MASK = 14,
	REG_MASK_ALL = 15,
};

#define MASK_SET         0x04U
#define CHANNEL          0x03U
#define MASK_EVERY       0x0fU

/* Saved: for each channel base address, base count, current address, current count, mode. */
#define CHANNEL_BYTES    9U
#define CONTROLLER_BYTES (CHANNELS * CHANNEL_BYTES + 4U)

enum { DMA_STATE_FIRST = 1, DMA_STATE_SECOND = 2, DMA_STATE_PAGES = 3 };

struct dma_channel {
	uint16_t base_address, base_count, address, count;
	uint8_t mode;
};

struct dma_controller {
	struct dma *dma;
	unsigned int stride; /* ports between registers: 1 or 2 */
	struct dma_channel channels[CHANNELS];
	uint8_t command, requests, masks;
	bool is_high; /* the flip-flop: the next byte is the upper one */
};

struct dma {
	struct chipset *chipset; /* borrowed */
	struct dma_controller controllers[CONTROLLERS];
	uint8_t pages[PAGES];
};

static uint8_t half(const struct dma_controller *at, uint16_t value)
{
	return (uint8_t)(at->is_high ? value >> 8 : value);
}

static void put_half(const struct dma_controller *at, uint16_t *value, uint8_t byte)
{
	*value = (uint16_t)(at->is_high ? (*value & 0x00ff) | byte << 8 : (*value & 0xff00) | byte);
}

static void master_clear(struct dma_controller *at)
{
	at->command = at->requests = 0;
	at->masks = MASK_EVERY;
	at->is_high = false;
}

static uint64_t controller_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct dma_controller *at = ctx;
	uint64_t reg = offset / at->stride;
	uint8_t value;

	if (reg < 2 * CHANNELS) {
		const struct dma_channel *channel = &at->channels[reg / 2];

		value = half(at, reg % 2 ? channel->count : channel->address);
		at->is_high = !at->is_high;
		return value;
	}
	switch (reg) {
	case REG_STATUS:
		return (uint8_t)(at->requests << 4); /* no channel has come to its end */
	case REG_MASK_ALL:
		return at->masks;
	default:
		return 0;
	}
}

static void write_channel(struct dma_controller *at, uint64_t reg, uint8_t value)
{
	struct dma_channel *channel = &at->channels[reg / 2];

	if (reg % 2) {
		put_half(at, &channel->base_count, value);
		channel->count = channel->base_count;
	} else {
		put_half(at, &channel->base_address, value);
		channel->address = channel->base_address;
	}
	at->is_high = !at->is_high;
}

static void set_bit(uint8_t *bits, uint8_t value)
{
	uint8_t bit = (uint8_t)(1U << (value & CHANNEL));

	*bits = value & MASK_SET ? *bits | bit : (uint8_t)(*bits & ~bit);
}

static void controller_write(void *ctx, uint64_t offset, uint64_t value64, unsigned int bytes)
{
	struct dma_controller *at = ctx;
	uint64_t reg = offset / at->stride;
	uint8_t value = (uint8_t)value64;

	if (reg < 2 * CHANNELS) {
		write_channel(at, reg, value);
		return;
	}
	switch (reg) {
	case REG_STATUS:
		at->command = value;
		break;
	case REG_REQUEST:
		set_bit(&at->requests, value);
		break;
	case REG_MASK_ONE:
		set_bit(&at->masks, value);
		break;
	case REG_MODE:
		at->channels[value & CHANNEL].mode = value;
		break;
	case REG_CLEAR_FLIP_FLOP:
		at->is_high = false;
		break;
	case REG_MASTER_CLEAR:
		master_clear(at);
		break;
	case REG_CLEAR_MASK:
		at->masks = 0;
		break;
	default: /* REG_MASK_ALL */
		at->masks = value & MASK_EVERY;
		break;
	}
}

static uint64_t pages_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct dma *dma = ctx;
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint64_t)dma->pages[offset + i] << 8 * i;
	}
	return value;
}

static void pages_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct dma *dma = ctx;

	for (unsigned int i = 0; i < bytes; i++) {
		dma->pages[offset + i] = (uint8_t)(value >> 8 * i);
	}
}

static const struct io_region_ops controller_ops = { controller_read, controller_write };
static const struct io_region_ops pages_ops = { pages_read, pages_write };

static void power_on(struct dma *dma)
{
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		struct dma_controller *at = &dma->controllers[i];

		memset(at->channels, 0, sizeof(at->channels));
		master_clear(at);
	}
	memset(dma->pages, 0, sizeof(dma->pages));
}

int dma_create(struct chipset *chipset, struct dma **ret)
{
	struct dma *dma = fault_alloc(1, sizeof(*dma));
	int err = 0;

	if (!dma) {
		return -ENOMEM;
	}
	dma->chipset = chipset;
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		dma->controllers[i].dma = dma;
		dma->controllers[i].stride = i + 1;
	}
	power_on(dma);

	const struct io_region regions[] = {
		{ &controller_ops, &dma->controllers[0], 0x00, 0x10, "dma 1" },
		{ &controller_ops, &dma->controllers[1], 0xc0, 0x20, "dma 2" },
		{ &pages_ops, dma, 0x80, PAGES, "dma pages" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regions) && !err; i++) {
		err = chipset_pio_add(chipset, &regions[i]);
	}
	if (err) {
		dma_destroy(dma);
		return err;
	}
	*ret = dma;
	return 0;
}

void dma_destroy(struct dma *dma)
{
	if (dma) {
		chipset_remove(dma->chipset, &dma->controllers[0]);
		chipset_remove(dma->chipset, &dma->controllers[1]);
		chipset_remove(dma->chipset, dma);
	}
	free(dma);
}

void dma_reset(struct dma *dma)
{
	chipset_lock(dma->chipset);
	power_on(dma);
	chipset_unlock(dma->chipset);
}

static void save_controller(const struct dma_controller *at, struct save *save, uint16_t tag)
{
	uint8_t saved[CONTROLLER_BYTES], *to = saved;

	for (unsigned int i = 0; i < CHANNELS; i++, to += CHANNEL_BYTES) {
		bytes_put_le16(to, at->channels[i].base_address);
		bytes_put_le16(to + 2, at->channels[i].base_count);
		bytes_put_le16(to + 4, at->channels[i].address);
		bytes_put_le16(to + 6, at->channels[i].count);
		to[8] = at->channels[i].mode;
	}
	to[0] = at->command;
	to[1] = at->requests;
	to[2] = at->masks;
	to[3] = at->is_high;
	save_bytes(save, tag, saved, sizeof(saved));
}

void dma_save(struct dma *dma, struct save *save)
{
	chipset_lock(dma->chipset);
	save_controller(&dma->controllers[0], save, DMA_STATE_FIRST);
	save_controller(&dma->controllers[1], save, DMA_STATE_SECOND);
	save_bytes(save, DMA_STATE_PAGES, dma->pages, sizeof(dma->pages));
	chipset_unlock(dma->chipset);
}

static void load_controller(struct dma_controller *at, struct load *load,
			    const struct load_field *field)
{
	uint8_t saved[CONTROLLER_BYTES], *from = saved;

	load_bytes(load, field, saved, sizeof(saved));
	for (unsigned int i = 0; i < CHANNELS; i++, from += CHANNEL_BYTES) {
		at->channels[i].base_address = bytes_le16(from);
		at->channels[i].base_count = bytes_le16(from + 2);
		at->channels[i].address = bytes_le16(from + 4);
		at->channels[i].count = bytes_le16(from + 6);
		at->channels[i].mode = from[8];
	}
	at->command = from[0];
	at->requests = from[1] & MASK_EVERY;
	at->masks = from[2] & MASK_EVERY;
	at->is_high = from[3] & 1;
}

int dma_load(struct dma *dma, struct load *load)
{
	struct load_field field;

	chipset_lock(dma->chipset);
	power_on(dma);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case DMA_STATE_FIRST:
			load_controller(&dma->controllers[0], load, &field);
			break;
		case DMA_STATE_SECOND:
			load_controller(&dma->controllers[1], load, &field);
			break;
		case DMA_STATE_PAGES:
			load_bytes(load, &field, dma->pages, sizeof(dma->pages));
			break;
		default:
			break;
		}
	}
	chipset_unlock(dma->chipset);
	return load_result(load);
}
