/* SPDX-License-Identifier: MIT */
/*
 * Register noise against the legacy board's own chips: host bridge, ISA bridge, power management, DMA,
 * PS/2, fw_cfg. An input is a sequence of actions of eight bytes: accesses of all widths to ports and to
 * configuration space, words in memory that fw_cfg's DMA reads, keys and mouse, resets, states saved and
 * loaded back. It ends in a load of the input itself as each chip's state.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/dma.h"
#include "chipset/fwcfg.h"
#include "chipset/i440bx.h"
#include "chipset/piix4.h"
#include "chipset/piix4_pm.h"
#include "chipset/ps2/ps2.h"
#include "mem/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEM_BYTES    (64ULL << 20)
#define DMA_GPA      0x1000ULL
#define ACTION_BYTES 8U

struct board {
	struct chipset *chipset;
	struct mem *mem;
	struct pci_bus *bus;
	struct i440bx *bridge;
	struct piix4 *piix4;
	struct pm *pm;
	struct piix4_pm *function;
	struct dma *dma;
	struct ps2 *ps2;
	struct fwcfg *fwcfg;
	unsigned int levels; /* of the lines that chips pull */
};

static void ignore(void *ctx)
{
}

static void set_line(void *ctx, uint32_t gsi, bool level)
{
	struct board *board = ctx;

	check(gsi < 16);
	board->levels = level ? board->levels | 1U << gsi : board->levels & ~(1U << gsi);
}

static const struct chipset_power_ops power_ops = { ignore, ignore };

static void board_init(struct board *b)
{
	const struct mem_config memory = { .bytes = MEM_BYTES };
	const struct chipset_power power = { &power_ops, NULL };
	const struct irq_line sci = { set_line, b, 9 };
	struct piix4_config piix4 = { .devfn = PCI_DEVFN(7, 0), .irq = sci, .power = &power };
	struct ps2_config ps2 = { .keyboard = { set_line, b, 1 },
				  .mouse = { set_line, b, 12 },
				  .power = &power };
	struct diag diag;

	*b = (struct board){ 0 };
	check(chipset_create(&b->chipset) == 0);
	check(mem_create(&memory, &b->mem, &diag) == 0);
	check(pci_bus_create(b->chipset, &power, &b->bus) == 0);
	check(i440bx_create(b->chipset, b->bus, &b->bridge) == 0);
	piix4.chipset = ps2.chipset = b->chipset;
	piix4.bus = b->bus;
	check(piix4_create(&piix4, &b->piix4) == 0);
	check(pm_create(b->chipset, &sci, &power, &b->pm) == 0);
	check(piix4_pm_create(b->chipset, b->bus, PCI_DEVFN(7, 3), b->pm, &b->function) == 0);
	check(dma_create(b->chipset, &b->dma) == 0);
	check(ps2_create(&ps2, &b->ps2) == 0);
	check(fwcfg_create(b->chipset, b->mem, &b->fwcfg) == 0);
	check(fwcfg_add_number(b->fwcfg, FWCFG_CPUS, 2, 2) == 0);
	check(fwcfg_add_file(b->fwcfg, "etc/words", "words of a file", 15) == 0);
}

static void board_fini(struct board *b)
{
	fwcfg_destroy(b->fwcfg);
	ps2_destroy(b->ps2);
	dma_destroy(b->dma);
	piix4_pm_destroy(b->function);
	pm_destroy(b->pm);
	piix4_destroy(b->piix4);
	i440bx_destroy(b->bridge);
	pci_bus_destroy(b->bus);
	mem_destroy(b->mem);
	chipset_destroy(b->chipset);
}

/* ---- states ---- */

static void save_chip(struct board *b, unsigned int chip, struct save *save)
{
	switch (chip % 6) {
	case 0:
		i440bx_save(b->bridge, save);
		break;
	case 1:
		piix4_save(b->piix4, save);
		break;
	case 2:
		piix4_pm_save(b->function, save);
		break;
	case 3:
		dma_save(b->dma, save);
		break;
	case 4:
		ps2_save(b->ps2, save);
		break;
	default:
		fwcfg_save(b->fwcfg, save);
		break;
	}
}

static int load_chip(struct board *b, unsigned int chip, const uint8_t *bytes, size_t size)
{
	struct load load;

	load_init(&load, bytes, size);
	switch (chip % 6) {
	case 0:
		return i440bx_load(b->bridge, &load);
	case 1:
		return piix4_load(b->piix4, &load);
	case 2:
		return piix4_pm_load(b->function, &load);
	case 3:
		return dma_load(b->dma, &load);
	case 4:
		return ps2_load(b->ps2, &load);
	default:
		return fwcfg_load(b->fwcfg, &load);
	}
}

/* What was saved loads, and gives the same bytes again. */
static void save_and_load(struct board *b, unsigned int chip)
{
	const uint8_t *bytes, *bytes_again;
	struct save save, again;
	size_t length, length_again;

	save_init(&save);
	save_chip(b, chip, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	check(load_chip(b, chip, bytes, length) == 0);
	save_init(&again);
	save_chip(b, chip, &again);
	check(save_finish(&again, &bytes_again, &length_again) == 0);
	check(length == length_again && memcmp(bytes, bytes_again, length) == 0);
	save_fini(&again);
	save_fini(&save);
}

static void reset(struct board *b)
{
	i440bx_reset(b->bridge);
	piix4_pm_reset(b->function);
	pm_reset(b->pm);
	piix4_reset(b->piix4);
	pci_bus_reset(b->bus);
	dma_reset(b->dma);
	ps2_reset(b->ps2);
	fwcfg_reset(b->fwcfg);
	check(b->levels == 0);
}

/* ---- actions ---- */

static void configure(struct board *b, bool is_write, uint16_t where, uint32_t value,
		      unsigned int bytes)
{
	static const uint8_t places[] = { 0, PCI_DEVFN(7, 0), PCI_DEVFN(7, 3), PCI_DEVFN(7, 1) };
	uint32_t address = 0x80000000U | (uint32_t)places[where >> 8 & 3] << 8 | (where & 0xfc);

	chipset_pio(b->chipset, 0xcf8, true, &address, 4, 1);
	chipset_pio(b->chipset, (uint16_t)(0xcfc + (where & 3 & ~(bytes - 1))), is_write, &value,
		    bytes, 1);
}

static uint16_t pick_port(uint16_t where)
{
	static const uint16_t bases[] = { 0x00,  0x60,  0x64,  0x80,  0xb0,  0xc0,
					  0x510, 0x514, 0x518, 0x600, 0x700, 0xcf8 };
	unsigned int n = where >> 8;

	return n < 0xc0 ? (uint16_t)(bases[n % ARRAY_SIZE(bases)] + (where & 0x1f)) : where;
}

static void act(struct board *b, const uint8_t action[ACTION_BYTES])
{
	unsigned int what = action[0], bytes = 1U << (action[1] & 3) % 3;
	uint16_t where = bytes_le16(action + 2);
	uint32_t value = bytes_le32(action + 4);
	bool is_write = action[1] & 4;

	if (what < 0x80) {
		chipset_pio(b->chipset, pick_port(where), is_write, &value, bytes, 1);
	} else if (what < 0xb0) {
		configure(b, is_write, where, value, bytes);
	} else if (what < 0xc0) {
		check(mem_write(b->mem, DMA_GPA + (where & 0x1c), &value, sizeof(value)) == 0);
	} else if (what < 0xc8) {
		value = __builtin_bswap32((uint32_t)(DMA_GPA + (where & 0x1c)));
		chipset_pio(b->chipset, 0x518, true, &value, 4, 1);
	} else if (what < 0xd8) {
		(void)ps2_key(b->ps2, where, is_write);
	} else if (what < 0xe8) {
		ps2_mouse(b->ps2, (int8_t)action[4], (int32_t)value, (int8_t)action[5], action[6]);
	} else if (what < 0xf8) {
		save_and_load(b, what);
	} else if (what < 0xfc) {
		pm_press_power_button(b->pm);
	} else {
		reset(b);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board board;

	board_init(&board);
	for (size_t at = 0; at + ACTION_BYTES <= size; at += ACTION_BYTES) {
		act(&board, data + at);
	}
	for (unsigned int chip = 0; chip < 6; chip++) {
		if (load_chip(&board, chip, data, size) == 0) {
			save_and_load(&board, chip);
		}
	}
	reset(&board);
	board_fini(&board);
	return 0;
}
