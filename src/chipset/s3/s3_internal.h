/* SPDX-License-Identifier: MIT */
/*
 * What the files of this directory share.
 *
 *   s3.c         the card: PCI, regions, life             s3_mode.c    what the registers say
 *   s3_ports.c   VGA's ports                              s3_line.c    one line of graphics
 *   s3_crtc.c    CR00-CR6F with their locks               s3_text.c    one line of text
 *   s3_memory.c  planes, latches, flat memory             s3_cursor.c  the hardware cursor
 *   s3_map.c     memory that the guest has                s3_screen.c  the picture, and what of it is stale
 *   s3_engine.c  the enhanced commands' ports             s3_rom.c, s3_state.c
 */
#pragma once

#include "chipset/s3/s3.h"
#include "proto/s3.h"

#define S3_PAGE_BYTES   4096U
#define S3_PAGES        (S3_VRAM_BYTES / S3_PAGE_BYTES)
#define S3_DIRTY_WORDS  (S3_PAGES / 64)
#define S3_BANK_BYTES   0x10000U
#define S3_DAC_BYTES    768U
#define S3_ENGINE_PORTS 19U /* 0x42e8, 0x4ae8, 0x82e8 … 0xbee8, 0xe2e8 */
#define S3_LINES_MAX    PICTURE_HEIGHT_MAX

/* All registers: what a picture is made by, besides memory. */
struct s3_regs {
	uint8_t misc, feature, enable;
	uint8_t seq_index, gfx_index, crtc_index;
	uint8_t attr_index; /* with VGA_AR_INDEX_ON */
	bool attr_is_data;  /* the flip-flop */
	uint8_t seq[S3_SR_COUNT];
	uint8_t gfx[VGA_GR_COUNT];
	uint8_t attr[VGA_AR_COUNT];
	uint8_t crtc[S3_CR_COUNT];
	uint8_t bank;       /* 64 KB each; CR35, CR51 and CR6A are its faces */
	uint8_t start_high; /* start address, bits 20-16; CR31, CR51 and CR69 are its faces */
	uint8_t dac[S3_DAC_BYTES];
	uint8_t dac_mask, dac_read, dac_write, dac_state, dac_part;
	uint8_t dac_entry[2]; /* red and green, until blue comes */
	uint8_t status_1;
	uint8_t cursor_fg[3], cursor_bg[3], cursor_fg_at, cursor_bg_at;
	uint32_t latch; /* a byte of each plane, plane 0 lowest */
};

enum s3_kind {
	S3_TEXT,
	S3_PLANAR, /* 16 colours, a plane each bit */
	S3_CGA,    /* 4 colours, two bits side by side */
	S3_256,    /* a byte for each two dots */
	S3_NIBBLE, /* four bits side by side (s3fb's packed 16 colours) */
	S3_8,
	S3_15,
	S3_16,
	S3_32,
};

/* What the registers say about the screen: s3_mode_of(). */
struct s3_mode {
	enum s3_kind kind;
	bool is_off;
	uint32_t width, height; /* of the picture */
	uint32_t cells, cell_dots;
	bool is_half_clock;     /* each dot is two wide */
	uint32_t start, pitch;  /* in the CRTC's counts */
	uint32_t lines_per_row; /* scan lines, doubling included */
	uint32_t scans;         /* of a row: a character's lines */
	uint32_t preset;        /* scan line of the row with which a frame begins */
	uint32_t pan;           /* dots */
	uint32_t line_compare;  /* the last line above the split */
	bool split_stops_pan;
	bool is_enhanced; /* the CRTC counts in doublewords of flat memory */
	uint32_t mask;    /* of doublewords */
};

/* Where one line of the picture comes from. */
struct s3_line {
	uint32_t count, scan, pan;
};

/* The picture, and what was known when it was made. The renderer's. */
struct s3_screen {
	struct picture picture;
	struct s3_regs regs;
	struct s3_mode mode;
	uint64_t seen[S3_LINES_MAX]; /* of text: what each line was made from */
	uint64_t dirty[S3_DIRTY_WORDS];
	uint32_t cursor_top, cursor_end; /* lines that had the hardware cursor on them */
	uint64_t cursor_seen;            /* what it was made from; 0: none */
	uint32_t colors[256];            /* the DAC's */
	bool is_stale;                   /* everything is made anew */
	bool is_any_dirty;
};

/* A register of the enhanced commands: four ports. */
struct s3_engine_port {
	struct s3 *s3;
	uint32_t value;
	uint16_t port;
	bool is_mapped;
};

/* What the guest has as memory in 0xa0000-0xbffff. */
enum s3_low { S3_LOW_NONE, S3_LOW_FLAT, S3_LOW_TEXT, S3_LOW_CHAIN_4 };

struct s3 {
	struct chipset *chipset; /* borrowed */
	struct pci_function function;
	struct windows windows;
	uint8_t *rom;
	uint32_t rom_bytes;

	/* under the chipset lock */
	struct s3_regs regs;
	uint8_t *vram; /* doublewords of four planes, or flat; page aligned */
	uint8_t *
		shadow; /* 64 KB that the guest has while memory is plain (s3_map.c); page aligned */
	uint64_t dirty[S3_DIRTY_WORDS];
	bool is_changed; /* registers: all lines are stale */
	bool has_ports, has_memory;
	struct s3_engine_port engine[S3_ENGINE_PORTS];
	uint64_t bar_base; /* 0: not mapped */
	uint64_t lfb_gpa;  /* windows; 0: none */
	uint32_t lfb_bytes;
	enum s3_low low;
	uint64_t low_gpa;
	uint32_t low_bytes;
	uint8_t *low_hva;
	uint64_t window_changes, window_refusals, conflicts, engine_commands;

	struct s3_screen screen;
};

/* The card: nothing of it answers; what the configuration space says does. The chipset lock. */
void s3_quiet(struct s3 *s3);
void s3_loaded(struct s3 *s3);

/* ---- registers; the chipset lock -------------------------------------------------------------------- */

void s3_power_on(struct s3_regs *regs);
uint8_t s3_port_read(struct s3 *s3, uint16_t port);
void s3_port_write(struct s3 *s3, uint16_t port, uint8_t value);
uint8_t s3_crtc_read(struct s3 *s3, uint8_t index);
void s3_crtc_write(struct s3 *s3, uint8_t index, uint8_t value);

void s3_engine_init(struct s3 *s3);
void s3_engine_decode(struct s3 *s3);

/* ---- memory; the chipset lock ----------------------------------------------------------------------- */

extern const struct io_region_ops s3_memory_ops; /* 0xa0000 to 0xbffff */
extern const struct io_region_ops s3_linear_ops; /* BAR 0 */
bool s3_is_flat(const struct s3_regs *regs);
uint32_t s3_linear_bytes(const struct s3_regs *regs); /* of BAR 0 that answer; 0: none */
uint32_t s3_bank_offset(const struct s3_regs *regs);
bool s3_low_window(const struct s3_regs *regs, uint32_t *ret_offset, uint32_t *ret_bytes);

static inline void s3_touch(struct s3 *s3, uint32_t byte)
{
	s3->dirty[byte / S3_PAGE_BYTES / 64] |= 1ULL << byte / S3_PAGE_BYTES % 64;
}

/* The windows are made to fit the registers; what was written through those that go is noted. */
void s3_map_update(struct s3 *s3);
void s3_map_clear(struct s3 *s3);
/* Notes what the guest has written through windows since the last time. */
void s3_map_collect(struct s3 *s3);

/* 0, or -EINVAL, -EFBIG with a sentence. */
MUST_CHECK int s3_rom_take(struct s3 *s3, const void *rom, size_t bytes, struct diag *reterr);

/* ---- the picture: pure functions of registers and memory --------------------------------------------- */

void s3_mode_of(const struct s3_regs *regs, struct s3_mode *ret);
struct s3_line s3_line_of(const struct s3_mode *mode, uint32_t y);
/* The doubleword that the CRTC reads at a count. */
uint32_t s3_address_of(const struct s3_regs *regs, const struct s3_mode *mode, uint32_t count,
		       uint32_t scan);
void s3_draw_line(const struct s3_screen *screen, const uint8_t *vram, const struct s3_line *line,
		  uint32_t *ret);

/* A colour of sixteen, by palette and colour select, as an index of the DAC. */
uint8_t s3_palette(const struct s3_regs *regs, unsigned int color);
/* A value of the screen's form (an index, two bytes, four) as a colour. */
uint32_t s3_pixel(const struct s3_screen *screen, uint32_t value);
/* Bytes of memory that a line of this mode comes from, as far as they are one run; false: anywhere. */
bool s3_line_run(const struct s3_screen *screen, const struct s3_line *line, uint32_t *ret_at,
		 uint32_t *ret_bytes);

struct s3_text_phase {
	bool is_cursor_on, is_blink_on; /* blinking things show */
	uint64_t fonts;                 /* a hash of the fonts in use */
};

struct s3_text_phase s3_text_phase_of(const struct s3_screen *screen, const uint8_t *vram,
				      uint64_t frame);
uint64_t s3_text_hash(const struct s3_screen *screen, const uint8_t *vram,
		      const struct s3_line *line, const struct s3_text_phase *phase);
void s3_text_line(const struct s3_screen *screen, const uint8_t *vram, const struct s3_line *line,
		  const struct s3_text_phase *phase, uint32_t *ret);

/* What the hardware cursor is made from, or 0: none; the lines that it covers. */
uint64_t s3_cursor_look(const struct s3_screen *screen, const uint8_t *vram, uint32_t *ret_top,
			uint32_t *ret_end);
void s3_cursor_draw(const struct s3_screen *screen, const uint8_t *vram, uint32_t y,
		    uint32_t *line);

static inline uint64_t s3_hash(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 29;
}
