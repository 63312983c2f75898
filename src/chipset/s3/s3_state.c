/* SPDX-License-Identifier: MIT */
/*
 * Saved state. Pages of memory that are all zero are not in it. docs/formats.md.
 */
#include "chipset/s3/s3_internal.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

enum {
	S3_STATE_FUNCTION = 1, /* group: pci_function_save() */
	S3_STATE_GENERAL = 2,  /* bytes, in the order of general_fields() */
	S3_STATE_SEQ = 3,
	S3_STATE_GFX = 4,
	S3_STATE_ATTR = 5,
	S3_STATE_CRTC = 6,
	S3_STATE_DAC = 7,
	S3_STATE_LATCH = 8,
	S3_STATE_ENGINE = 9, /* le32 each, in the order of ports */
	S3_STATE_PAGE = 10,  /* le32 number, 4096 bytes */
};

#define GENERAL_BYTES 25U
#define PAGE_FIELD    (4 + S3_PAGE_BYTES)

/* The bytes of the general field, in order. */
static void general_fields(struct s3_regs *r, uint8_t *fields[GENERAL_BYTES])
{
	uint8_t *const all[GENERAL_BYTES] = {
		&r->misc,         &r->feature,      &r->enable,       &r->seq_index,
		&r->gfx_index,    &r->crtc_index,   &r->attr_index,   &r->bank,
		&r->start_high,   &r->dac_mask,     &r->dac_read,     &r->dac_write,
		&r->dac_state,    &r->dac_part,     &r->dac_entry[0], &r->dac_entry[1],
		&r->status_1,     &r->cursor_fg[0], &r->cursor_fg[1], &r->cursor_fg[2],
		&r->cursor_bg[0], &r->cursor_bg[1], &r->cursor_bg[2], &r->cursor_fg_at,
		&r->cursor_bg_at,
	};

	memcpy(fields, all, sizeof(all));
}

/* ---- save ---------------------------------------------------------------------------------------------------- */

static void save_general(struct s3 *s3, struct save *save)
{
	uint8_t *fields[GENERAL_BYTES], bytes[GENERAL_BYTES + 1];

	general_fields(&s3->regs, fields);
	for (uint32_t i = 0; i < GENERAL_BYTES; i++) {
		bytes[i] = *fields[i];
	}
	bytes[GENERAL_BYTES] = s3->regs.attr_is_data;
	save_bytes(save, S3_STATE_GENERAL, bytes, sizeof(bytes));
}

static void save_engine(const struct s3 *s3, struct save *save)
{
	uint8_t bytes[4 * S3_ENGINE_PORTS];

	for (uint32_t i = 0; i < S3_ENGINE_PORTS; i++) {
		bytes_put_le32(bytes + 4ULL * i, s3->engine[i].value);
	}
	save_bytes(save, S3_STATE_ENGINE, bytes, sizeof(bytes));
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, S3_PAGE_BYTES - 1) == 0;
}

static void save_pages(const struct s3 *s3, struct save *save)
{
	uint8_t field[PAGE_FIELD];

	for (uint32_t i = 0; i < S3_PAGES; i++) {
		const uint8_t *page = s3->vram + (size_t)i * S3_PAGE_BYTES;

		if (!is_zero(page)) {
			bytes_put_le32(field, i);
			memcpy(field + 4, page, S3_PAGE_BYTES);
			save_bytes(save, S3_STATE_PAGE, field, sizeof(field));
		}
	}
}

void s3_save(struct s3 *s3, struct save *save)
{
	const struct s3_regs *r = &s3->regs;

	chipset_lock(s3->chipset);
	s3_map_collect(s3);
	save_group_begin(save, S3_STATE_FUNCTION);
	pci_function_save(&s3->function, save);
	save_group_end(save);
	save_general(s3, save);
	save_bytes(save, S3_STATE_SEQ, r->seq, sizeof(r->seq));
	save_bytes(save, S3_STATE_GFX, r->gfx, sizeof(r->gfx));
	save_bytes(save, S3_STATE_ATTR, r->attr, sizeof(r->attr));
	save_bytes(save, S3_STATE_CRTC, r->crtc, sizeof(r->crtc));
	save_bytes(save, S3_STATE_DAC, r->dac, sizeof(r->dac));
	save_u32(save, S3_STATE_LATCH, r->latch);
	save_engine(s3, save);
	save_pages(s3, save);
	chipset_unlock(s3->chipset);
}

/* ---- load: hostile -------------------------------------------------------------------------------------------- */

static void load_general(struct s3_regs *r, struct load *load, const struct load_field *field)
{
	uint8_t *fields[GENERAL_BYTES], bytes[GENERAL_BYTES + 1];

	load_bytes(load, field, bytes, sizeof(bytes));
	general_fields(r, fields);
	for (uint32_t i = 0; i < GENERAL_BYTES; i++) {
		*fields[i] = bytes[i];
	}
	r->attr_is_data = bytes[GENERAL_BYTES];
}

static void load_engine(struct s3 *s3, struct load *load, const struct load_field *field)
{
	uint8_t bytes[4 * S3_ENGINE_PORTS];

	load_bytes(load, field, bytes, sizeof(bytes));
	for (uint32_t i = 0; i < S3_ENGINE_PORTS; i++) {
		s3->engine[i].value = bytes_le32(bytes + 4ULL * i);
	}
}

static void load_page(struct s3 *s3, struct load *load, const struct load_field *field)
{
	uint8_t bytes[PAGE_FIELD];
	uint32_t number;

	load_bytes(load, field, bytes, sizeof(bytes));
	number = bytes_le32(bytes);
	if (number >= S3_PAGES) {
		load_fail(load);
		return;
	}
	memcpy(s3->vram + (size_t)number * S3_PAGE_BYTES, bytes + 4, S3_PAGE_BYTES);
}

/* Values that the running chip cannot have are made ones that it can: indices into our arrays above all. */
static void tame(struct s3_regs *r)
{
	r->dac_part %= 3;
	r->cursor_fg_at %= 3;
	r->cursor_bg_at %= 3;
	r->bank &= 0x7f;
	r->start_high &= 0x1f;
	for (uint32_t i = 0; i < sizeof(r->dac); i++) {
		r->dac[i] &= 0x3f;
	}
}

static void load_one(struct s3 *s3, struct load *load, const struct load_field *field)
{
	struct s3_regs *r = &s3->regs;

	switch (field->tag) {
	case S3_STATE_GENERAL:
		load_general(r, load, field);
		break;
	case S3_STATE_SEQ:
		load_bytes(load, field, r->seq, sizeof(r->seq));
		break;
	case S3_STATE_GFX:
		load_bytes(load, field, r->gfx, sizeof(r->gfx));
		break;
	case S3_STATE_ATTR:
		load_bytes(load, field, r->attr, sizeof(r->attr));
		break;
	case S3_STATE_CRTC:
		load_bytes(load, field, r->crtc, sizeof(r->crtc));
		break;
	case S3_STATE_DAC:
		load_bytes(load, field, r->dac, sizeof(r->dac));
		break;
	case S3_STATE_LATCH:
		r->latch = load_u32(load, field);
		break;
	case S3_STATE_ENGINE:
		load_engine(s3, load, field);
		break;
	case S3_STATE_PAGE:
		load_page(s3, load, field);
		break;
	default:
		break;
	}
}

int s3_load(struct s3 *s3, struct load *load)
{
	struct load_field field;
	struct load inner;

	chipset_lock(s3->chipset);
	s3_quiet(s3);
	s3_power_on(&s3->regs);
	memset(s3->vram, 0, S3_VRAM_BYTES);
	while (load_next(load, &field)) {
		if (field.tag == S3_STATE_FUNCTION) {
			load_group(load, &field, &inner);
			if (pci_function_load(&s3->function, &inner)) {
				load_fail(load);
			}
			load_close(load, &inner);
		} else {
			load_one(s3, load, &field);
		}
	}
	tame(&s3->regs);
	s3_loaded(s3);
	chipset_unlock(s3->chipset);
	return load_result(load);
}
