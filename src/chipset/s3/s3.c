/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"

#define BAR_LINEAR 0U

/* ---- regions ---------------------------------------------------------------------------------------------- */

static uint64_t ports_read(struct s3 *s3, uint16_t first, uint64_t offset, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint64_t)s3_port_read(s3, (uint16_t)(first + offset + i)) << 8 * i;
	}
	return value;
}

/* A word to an index register is an index and its data, and so on. */
static void ports_write(struct s3 *s3, uint16_t first, uint64_t offset, uint64_t value,
			unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++) {
		s3_port_write(s3, (uint16_t)(first + offset + i), (uint8_t)(value >> 8 * i));
	}
}

static uint64_t mono_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return ports_read(ctx, VGA_PORT_MONO, offset, bytes);
}

static void mono_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	ports_write(ctx, VGA_PORT_MONO, offset, value, bytes);
}

static uint64_t color_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return ports_read(ctx, VGA_PORT_COLOR, offset, bytes);
}

static void color_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	ports_write(ctx, VGA_PORT_COLOR, offset, value, bytes);
}

static uint64_t rom_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct s3 *s3 = ctx;
	uint64_t value = 0;

	memcpy(&value, s3->rom + offset, bytes); /* the region has ended before the ROM does */
	return value;
}

static void rom_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
}

static bool map_region(struct s3 *s3, bool is_port, const struct io_region *region)
{
	if (chipset_map(s3->chipset, is_port, region)) {
		s3->conflicts++; /* somebody is there; it is tried again with the next command */
		return false;
	}
	return true;
}

static void decode_ports(struct s3 *s3, bool is_on)
{
	static const struct io_region_ops mono_ops = { mono_read, mono_write };
	static const struct io_region_ops color_ops = { color_read, color_write };
	const struct io_region mono = { &mono_ops, s3, VGA_PORT_MONO, VGA_PORT_MONO_COUNT,
					"vga mono" };
	const struct io_region color = { &color_ops, s3, VGA_PORT_COLOR, VGA_PORT_COLOR_COUNT,
					 "vga" };

	if (is_on == s3->has_ports) {
		return;
	}
	if (is_on && map_region(s3, true, &color)) {
		if (map_region(s3, true, &mono)) {
			s3->has_ports = true;
		} else {
			chipset_unmap(s3->chipset, true, VGA_PORT_COLOR);
		}
	} else if (!is_on) {
		chipset_unmap(s3->chipset, true, VGA_PORT_COLOR);
		chipset_unmap(s3->chipset, true, VGA_PORT_MONO);
		s3->has_ports = false;
	}
}

static void decode_memory(struct s3 *s3, bool is_on)
{
	const struct io_region region = { &s3_memory_ops, s3, VGA_MEMORY_GPA, VGA_MEMORY_BYTES,
					  "vga memory" };

	if (is_on && !s3->has_memory) {
		s3->has_memory = map_region(s3, false, &region);
	} else if (!is_on && s3->has_memory) {
		chipset_unmap(s3->chipset, false, VGA_MEMORY_GPA);
		s3->has_memory = false;
	}
}

/* What the command register says of VGA's own addresses, which no BAR names. */
static void decode(struct s3 *s3)
{
	uint32_t command = pci_get(&s3->function, PCI_COMMAND, 2);

	decode_ports(s3, command & PCI_COMMAND_IO);
	decode_memory(s3, command & PCI_COMMAND_MEMORY);
	s3_engine_decode(s3);
	s3_map_update(s3);
}

static void on_config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	if (offset < PCI_COMMAND + 2 && offset + bytes > PCI_COMMAND) {
		decode(function->ctx);
	}
}

static void on_bar_moved(struct pci_function *function, unsigned int bar, uint64_t base,
			 bool is_mapped)
{
	struct s3 *s3 = function->ctx;

	if (bar == BAR_LINEAR) {
		s3->bar_base = is_mapped ? base : 0;
		s3_map_update(s3);
	}
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void init_function(struct s3 *s3)
{
	static const struct pci_function_ops ops = { .config_written = on_config_written,
						     .bar_moved = on_bar_moved };
	static const struct io_region_ops rom_ops = { rom_read, rom_write };
	const struct pci_identity identity = { .vendor = S3_VENDOR,
					       .device = S3_DEVICE_TRIO64,
					       .class_code = 0x030000 };

	pci_function_init(&s3->function, "s3", &identity);
	pci_put(&s3->function, PCI_STATUS, PCI_STATUS_MEDIUM, 2);
	s3->function.ops = &ops;
	s3->function.ctx = s3;
	s3->function.bars[BAR_LINEAR] = (struct pci_bar){
		.bytes = S3_BAR_BYTES, .ops = &s3_linear_ops, .ctx = s3, .name = "s3 memory"
	};
	if (s3->rom) {
		s3->function.bars[PCI_BAR_ROM] = (struct pci_bar){
			.bytes = S3_ROM_BYTES, .ops = &rom_ops, .ctx = s3, .name = "s3 rom"
		};
	}
}

/* Whole pages: the guest may get them as memory. */
static uint8_t *alloc_pages(size_t bytes)
{
	uint8_t *pages = fault_point() ? NULL : aligned_alloc(S3_PAGE_BYTES, bytes);

	if (pages) {
		memset(pages, 0, bytes);
	}
	return pages;
}

static int fill(struct s3 *s3, const struct s3_config *config, struct diag *reterr)
{
	int err;

	s3->vram = alloc_pages(S3_VRAM_BYTES);
	s3->shadow = alloc_pages(S3_BANK_BYTES);
	if (!s3->vram || !s3->shadow) {
		return diag_set(reterr, -ENOMEM, "graphics card: no memory");
	}
	if (config->rom) {
		err = s3_rom_take(s3, config->rom, config->rom_bytes, reterr);
		if (err) {
			return err;
		}
	}
	s3_power_on(&s3->regs);
	s3_engine_init(s3);
	init_function(s3);
	err = pci_add(config->bus, &s3->function, config->devfn);
	return err ? diag_set(reterr, err, "graphics card: its place on the PCI bus is taken") : 0;
}

int s3_create(const struct s3_config *config, struct s3 **ret, struct diag *reterr)
{
	struct s3 *s3 = fault_alloc(1, sizeof(*s3));
	int err;

	if (!s3) {
		return diag_set(reterr, -ENOMEM, "graphics card: no memory");
	}
	s3->chipset = config->chipset;
	s3->windows = config->windows;
	s3->is_changed = s3->screen.is_stale = true;
	err = fill(s3, config, reterr);
	if (err) {
		s3_destroy(s3);
		return err;
	}
	*ret = s3;
	return 0;
}

void s3_quiet(struct s3 *s3)
{
	pci_put(&s3->function, PCI_COMMAND, 0, 2);
	decode(s3);
	s3_map_clear(s3);
}

void s3_destroy(struct s3 *s3)
{
	if (!s3) {
		return;
	}
	if (s3->function.bus) {
		chipset_lock(s3->chipset);
		s3_quiet(s3);
		chipset_unlock(s3->chipset);
		pci_remove(&s3->function);
	}
	picture_fini(&s3->screen.picture);
	free(s3->rom);
	free(s3->shadow);
	free(s3->vram);
	free(s3);
}

void s3_reset(struct s3 *s3)
{
	chipset_lock(s3->chipset);
	s3_quiet(s3);
	pci_function_reset(&s3->function);
	s3_power_on(&s3->regs);
	for (uint32_t i = 0; i < S3_ENGINE_PORTS; i++) {
		s3->engine[i].value = 0;
	}
	memset(s3->vram, 0, S3_VRAM_BYTES);
	s3->is_changed = true;
	chipset_unlock(s3->chipset);
}

void s3_loaded(struct s3 *s3)
{
	decode(s3);
	s3->is_changed = true;
}

/* ---- inspect ----------------------------------------------------------------------------------------------- */

static const char *kind_name(enum s3_kind kind)
{
	static const char *const names[] = {
		[S3_TEXT] = "text",      [S3_PLANAR] = "16 colors", [S3_CGA] = "4 colors",
		[S3_256] = "256 colors", [S3_NIBBLE] = "4 bits",    [S3_8] = "8 bits",
		[S3_15] = "15 bits",     [S3_16] = "16 bits",       [S3_32] = "32 bits",
	};

	return names[kind];
}

static const char *low_name(enum s3_low low)
{
	static const char *const names[] = { [S3_LOW_NONE] = "none",
					     [S3_LOW_FLAT] = "flat",
					     [S3_LOW_TEXT] = "text",
					     [S3_LOW_CHAIN_4] = "chain 4" };

	return names[low];
}

void s3_inspect(struct s3 *s3, struct inspect *at)
{
	struct s3_mode mode;

	chipset_lock(s3->chipset);
	s3_mode_of(&s3->regs, &mode);
	inspect_format(at, "mode", "%ux%u", mode.width, mode.height);
	inspect_string(at, "kind", kind_name(mode.kind));
	inspect_bool(at, "off", mode.is_off);
	inspect_u64(at, "start", mode.start);
	inspect_u64(at, "pitch", mode.pitch);
	inspect_bool(at, "linear_window", s3->lfb_gpa != 0);
	inspect_string(at, "low_window", low_name(s3->low));
	inspect_u64(at, "window_changes", s3->window_changes);
	inspect_u64(at, "window_refusals", s3->window_refusals);
	inspect_u64(at, "conflicts", s3->conflicts);
	inspect_u64(at, "engine_commands", s3->engine_commands);
	chipset_unlock(s3->chipset);
}
