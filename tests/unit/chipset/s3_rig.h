/* SPDX-License-Identifier: MIT */
/* A graphics card on a bus, with port and memory accesses as its drivers do them, and windows of the test's own. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "chipset/s3/s3.h"
#include "pci_rig.h"
#include "proto/s3.h"

#define S3_DEVFN       PCI_DEVFN(2, 0)
#define S3_LFB         0xe0000000U
#define S3_WINDOWS_MAX 4U

struct s3_window {
	uint64_t gpa, bytes;
	uint8_t *hva;
	uint64_t dirty[16];
};

struct s3_rig {
	struct pci_rig p;
	struct s3 *s3;
	struct s3_window windows[S3_WINDOWS_MAX];
	unsigned int maps, unmaps;
	uint8_t late; /* written to a window's first byte just before it goes */
};

/* ---- windows ---- */

static inline int s3_rig_map(void *ctx, uint64_t gpa, void *hva, uint64_t bytes, bool is_readonly)
{
	struct s3_rig *g = ctx;

	assert_int_equal(gpa % 4096 + bytes % 4096 + (uintptr_t)hva % 4096, 0);
	for (unsigned int i = 0; i < S3_WINDOWS_MAX; i++) {
		if (g->windows[i].bytes == 0) {
			g->windows[i] =
				(struct s3_window){ .gpa = gpa, .bytes = bytes, .hva = hva };
			g->maps++;
			return 0;
		}
	}
	return -ENOSPC;
}

static inline struct s3_window *s3_rig_window(struct s3_rig *g, uint64_t gpa)
{
	for (unsigned int i = 0; i < S3_WINDOWS_MAX; i++) {
		struct s3_window *w = &g->windows[i];

		if (w->bytes && gpa >= w->gpa && gpa < w->gpa + w->bytes) {
			return w;
		}
	}
	return NULL;
}

static inline void s3_rig_unmap(void *ctx, uint64_t gpa, uint64_t bytes)
{
	struct s3_rig *g = ctx;
	struct s3_window *w = s3_rig_window(g, gpa);

	assert_non_null(w);
	assert_true(w->gpa == gpa && w->bytes == bytes);
	w->hva[0] = g->late ? g->late : w->hva[0];
	*w = (struct s3_window){ 0 };
	g->unmaps++;
}

static inline int s3_rig_dirty(void *ctx, uint64_t gpa, uint64_t bytes, uint64_t *ret)
{
	struct s3_window *w = s3_rig_window(ctx, gpa);

	assert_non_null(w);
	memcpy(ret, w->dirty, (bytes / 4096 + 63) / 64 * 8);
	memset(w->dirty, 0, sizeof(w->dirty));
	return 0;
}

static const struct window_ops s3_rig_window_ops = { s3_rig_map, s3_rig_unmap, s3_rig_dirty };

/* A guest's access: through a window without anybody's knowing, or an exit. */
static inline void s3_store(struct s3_rig *g, uint64_t gpa, uint64_t value, unsigned int bytes)
{
	struct s3_window *w = s3_rig_window(g, gpa);

	if (w && gpa + bytes <= w->gpa + w->bytes) {
		uint64_t page = (gpa - w->gpa) / 4096;

		memcpy(w->hva + (gpa - w->gpa), &value, bytes);
		w->dirty[page / 64] |= 1ULL << page % 64;
	} else {
		pci_rig_store(&g->p, gpa, value, bytes);
	}
}

static inline uint64_t s3_fetch(struct s3_rig *g, uint64_t gpa, unsigned int bytes)
{
	struct s3_window *w = s3_rig_window(g, gpa);
	uint64_t value = 0;

	if (w && gpa + bytes <= w->gpa + w->bytes) {
		memcpy(&value, w->hva + (gpa - w->gpa), bytes);
		return value;
	}
	return pci_rig_load(&g->p, gpa, bytes);
}

/* ---- life ---- */

static inline void s3_rig_enable(struct s3_rig *g)
{
	pci_rig_write(&g->p, S3_DEVFN, PCI_BAR_0, S3_LFB);
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
}

static inline void s3_rig_init(struct s3_rig *g, bool has_windows)
{
	struct s3_config config = { .devfn = S3_DEVFN };
	struct diag diag;

	*g = (struct s3_rig){ 0 };
	pci_rig_init(&g->p);
	config.chipset = g->p.rig.chipset;
	config.bus = g->p.bus;
	if (has_windows) {
		config.windows = (struct windows){ &s3_rig_window_ops, g };
	}
	assert_int_equal(s3_create(&config, &g->s3, &diag), 0);
	s3_rig_enable(g);
}

static inline void s3_rig_fini(struct s3_rig *g)
{
	s3_destroy(g->s3);
	assert_int_equal(g->maps, g->unmaps);
	pci_rig_fini(&g->p);
}

/* ---- registers ---- */

static inline void s3_out(struct s3_rig *g, uint16_t port, uint8_t value)
{
	rig_out(&g->p.rig, port, value);
}

static inline uint8_t s3_in(struct s3_rig *g, uint16_t port)
{
	return rig_in(&g->p.rig, port);
}

/* An index and its data in one word, as drivers like it. */
static inline void s3_set(struct s3_rig *g, uint16_t port, uint8_t index, uint8_t value)
{
	rig_out16(&g->p.rig, port, (uint16_t)(index | value << 8));
}

static inline uint8_t s3_get(struct s3_rig *g, uint16_t port, uint8_t index)
{
	s3_out(g, port, index);
	return s3_in(g, (uint16_t)(port + 1));
}

static inline void s3_change(struct s3_rig *g, uint16_t port, uint8_t index, uint8_t value,
			     uint8_t mask)
{
	s3_set(g, port, index, (uint8_t)((s3_get(g, port, index) & ~mask) | (value & mask)));
}

static inline void s3_attr(struct s3_rig *g, uint8_t index, uint8_t value)
{
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, index);
	s3_out(g, VGA_PORT_ATTRIBUTE, value);
}

static inline void s3_color(struct s3_rig *g, uint8_t index, uint8_t red, uint8_t green,
			    uint8_t blue)
{
	s3_out(g, VGA_PORT_DAC_WRITE, index);
	s3_out(g, VGA_PORT_DAC_DATA, red);
	s3_out(g, VGA_PORT_DAC_DATA, green);
	s3_out(g, VGA_PORT_DAC_DATA, blue);
}

static inline uint32_t s3_six(unsigned int value)
{
	return value << 2 | value >> 4;
}

static inline const struct picture *s3_picture(struct s3_rig *g, uint64_t frame,
					       uint32_t *ret_lines)
{
	const struct picture *picture = NULL;

	assert_int_equal(s3_render(g->s3, frame, &picture, ret_lines), 0);
	return picture;
}

static inline uint32_t s3_dot(const struct picture *picture, uint32_t x, uint32_t y)
{
	assert_true(x < picture->width && y < picture->height);
	return picture_line(picture, y)[x];
}

/* ---- a VGA BIOS: modes by their tables ---- */

struct s3_vga_mode {
	uint8_t misc;
	uint8_t seq[5];
	uint8_t crtc[25];
	uint8_t attr[21];
	uint8_t gfx[9];
};

static inline void s3_vga_set(struct s3_rig *g, const struct s3_vga_mode *m)
{
	s3_out(g, VGA_PORT_MISC, m->misc);
	for (uint8_t i = 0; i < 5; i++) {
		s3_set(g, VGA_PORT_SEQ_INDEX, i, m->seq[i]);
	}
	s3_set(g, VGA_PORT_CRTC_INDEX, VGA_CR_V_SYNC_END, 0);
	for (uint8_t i = 0; i < 25; i++) {
		s3_set(g, VGA_PORT_CRTC_INDEX, i, m->crtc[i]);
	}
	for (uint8_t i = 0; i < 9; i++) {
		s3_set(g, VGA_PORT_GFX_INDEX, i, m->gfx[i]);
	}
	for (uint8_t i = 0; i < 21; i++) {
		s3_attr(g, i, m->attr[i]);
	}
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, VGA_AR_INDEX_ON);
	for (unsigned int i = 0; i < 256; i++) { /* any colours, all different */
		s3_color(g, (uint8_t)i, i & 0x3f, (i * 5) & 0x3f, (i >> 2) & 0x3f);
	}
}

static inline uint32_t s3_vga_color(unsigned int i)
{
	return s3_six(i & 0x3f) << 16 | s3_six((i * 5) & 0x3f) << 8 | s3_six((i >> 2) & 0x3f);
}

/* IBM's parameter tables: text 80x25 in 720x400, 0x12 (640x480, 16 colours), 0x13 (320x200, 256), 4 (CGA). */
static const struct s3_vga_mode s3_vga_text = {
	.misc = 0x67,
	.seq = { 0x03, 0x00, 0x03, 0x00, 0x02 },
	.crtc = { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
		  0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
	.attr = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
		  0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00 },
	.gfx = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff },
};

static const struct s3_vga_mode s3_vga_12 = {
	.misc = 0xe3,
	.seq = { 0x03, 0x01, 0x0f, 0x00, 0x06 },
	.crtc = { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff },
	.attr = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
		  0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x01, 0x00, 0x0f, 0x00, 0x00 },
	.gfx = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff },
};

static const struct s3_vga_mode s3_vga_13 = {
	.misc = 0x63,
	.seq = { 0x03, 0x01, 0x0f, 0x00, 0x0e },
	.crtc = { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
	.attr = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
		  0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x41, 0x00, 0x0f, 0x00, 0x00 },
	.gfx = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff },
};

static const struct s3_vga_mode s3_vga_4 = {
	.misc = 0x63,
	.seq = { 0x03, 0x09, 0x03, 0x00, 0x02 },
	.crtc = { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff },
	.attr = { 0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12,
		  0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00 },
	.gfx = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x00, 0xff },
};
