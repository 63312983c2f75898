/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest and its graphics card: ports and memory of all widths and places, modes that no monitor has,
 * pictures in between, saved states that are loaded back or made up. Actions, eight bytes each: what, where,
 * which value. The last of the input is a state.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/s3/s3.h"
#include "proto/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTIONS_MAX 512U
#define PIXELS_MAX  (1U << 20) /* then no more pictures: they take the time */
#define LFB         0xe0000000U

struct machine {
	struct chipset *chipset;
	struct pci_bus *bus;
	struct s3 *s3;
	uint64_t pixels; /* drawn */
	struct {
		uint64_t gpa, bytes;
		uint8_t *hva;
	} windows[4];
};

static void ignore(void *ctx)
{
}

/* Windows that check what they are given: pages, and nothing twice. */
static int map(void *ctx, uint64_t gpa, void *hva, uint64_t bytes, bool is_readonly)
{
	struct machine *m = ctx;

	check(gpa % 4096 == 0 && bytes % 4096 == 0 && bytes > 0);
	for (size_t i = 0; i < ARRAY_SIZE(m->windows); i++) {
		if (m->windows[i].bytes) {
			check(gpa >= m->windows[i].gpa + m->windows[i].bytes ||
			      gpa + bytes <= m->windows[i].gpa);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(m->windows); i++) {
		if (m->windows[i].bytes == 0) {
			m->windows[i].gpa = gpa;
			m->windows[i].bytes = bytes;
			m->windows[i].hva = hva;
			memset(hva, (int)(gpa >> 16 & 0x7f), 16);
			((uint8_t *)hva)[bytes - 1] ^= 1; /* all of it is there */
			return 0;
		}
	}
	return -ENOSPC;
}

static void unmap(void *ctx, uint64_t gpa, uint64_t bytes)
{
	struct machine *m = ctx;
	size_t i = 0;

	while (i < ARRAY_SIZE(m->windows) &&
	       !(m->windows[i].bytes == bytes && m->windows[i].gpa == gpa)) {
		i++;
	}
	check(i < ARRAY_SIZE(m->windows)); /* it is there */
	m->windows[i].bytes = 0;
}

static const struct window_ops window_ops = { map, unmap, NULL };
static const struct chipset_power_ops power_ops = { ignore, ignore };

static void machine_init(struct machine *m, bool has_windows)
{
	const struct chipset_power power = { &power_ops, NULL };
	struct s3_config config = { .devfn = PCI_DEVFN(2, 0) };
	struct diag diag;

	*m = (struct machine){ 0 };
	check(chipset_create(&m->chipset) == 0);
	check(pci_bus_create(m->chipset, &power, &m->bus) == 0);
	config.chipset = m->chipset;
	config.bus = m->bus;
	if (has_windows) {
		config.windows = (struct windows){ &window_ops, m };
	}
	check(s3_create(&config, &m->s3, &diag) == 0);
}

static void out(struct machine *m, uint16_t port, uint32_t value, unsigned int bytes)
{
	chipset_pio(m->chipset, port, true, &value, bytes, 1);
}

static void config_write(struct machine *m, uint32_t offset, uint32_t value)
{
	out(m, 0xcf8, 0x80001000U | (offset & 0xfc), 4);
	out(m, 0xcfc, value, 4);
}

/* What a test or a driver would do first, so that not each input has to find it. */
static void wake(struct machine *m)
{
	config_write(m, PCI_BAR_0, LFB);
	config_write(m, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	out(m, VGA_PORT_MISC, 0x67, 1);
	out(m, VGA_PORT_CRTC_INDEX, 0x4838, 2);
	out(m, VGA_PORT_CRTC_INDEX, 0xa539, 2);
	out(m, VGA_PORT_SEQ_INDEX, 0x0608, 2);
}

static void machine_fini(struct machine *m)
{
	s3_destroy(m->s3);
	for (size_t i = 0; i < ARRAY_SIZE(m->windows); i++) {
		check(m->windows[i].bytes == 0);
	}
	pci_bus_destroy(m->bus);
	chipset_destroy(m->chipset);
}

static void picture(struct machine *m, uint32_t frame)
{
	const struct picture *p;
	uint32_t lines;

	if (m->pixels > PIXELS_MAX) {
		return;
	}
	check(s3_render(m->s3, frame, &p, &lines) == 0);
	m->pixels += (uint64_t)lines * p->width;
	check(p->width > 0 && p->width <= PICTURE_WIDTH_MAX);
	check(p->height > 0 && p->height <= PICTURE_HEIGHT_MAX && lines <= p->height);
}

static void save_and_load(struct machine *m)
{
	const uint8_t *bytes, *again;
	struct save save, second;
	struct load load;
	size_t length, length_again;

	save_init(&save);
	save_init(&second);
	s3_save(m->s3, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	load_init(&load, bytes, length);
	check(s3_load(m->s3, &load) == 0);
	s3_save(m->s3, &second);
	check(save_finish(&second, &again, &length_again) == 0);
	save_fini(&second);
	save_fini(&save);
}

static void memory(struct machine *m, uint64_t gpa, uint64_t value, unsigned int bytes,
		   bool is_write)
{
	chipset_mmio(m->chipset, gpa, is_write, &value, bytes);
}

static void act(struct machine *m, uint8_t what, uint8_t where, uint16_t place, uint32_t value)
{
	unsigned int bytes = 1U << (what >> 4) % 4;

	switch (what % 8) {
	case 0: /* a register by index and data */
		out(m, (uint16_t[]){ 0x3c4, 0x3ce, 0x3d4, 0x3d4 }[where % 4],
		    place % 0x70 | (value & 0xff) << 8, 2);
		break;
	case 1:
		out(m, (uint16_t)(0x3b0 + where % 0x30), value, bytes > 4 ? 4 : bytes);
		break;
	case 2:
		chipset_pio(m->chipset, (uint16_t)(0x3b0 + where % 0x30), false, &value,
			    bytes > 4 ? 4 : bytes, 1);
		break;
	case 3:
		memory(m, 0xa0000 + ((uint32_t)where << 16 | place) % 0x20000, value, bytes,
		       where & 0x80);
		break;
	case 4:
		memory(m, LFB + ((uint32_t)where << 16 | place), value, bytes, where & 0x80);
		break;
	case 5: /* the attribute controller */
		chipset_pio(m->chipset, VGA_PORT_STATUS_1, false, &(uint8_t){ 0 }, 1, 1);
		out(m, VGA_PORT_ATTRIBUTE, where % 0x40, 1);
		out(m, VGA_PORT_ATTRIBUTE, value & 0xff, 1);
		break;
	case 6:
		if (where % 8 == 0) {
			config_write(m, place & 0xfc, value);
		} else {
			uint32_t port = 0x42e8 + place % 48 * 0x400 + where % 4;

			out(m, (uint16_t)port, value, where & 0x80 ? 2 : 1);
		}
		break;
	default:
		if (where < 0x20) {
			save_and_load(m);
		} else if (where < 0x24) {
			s3_reset(m->s3);
			wake(m);
		} else {
			picture(m, value);
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size);
	struct machine m;
	struct load load;
	int ignored;

	machine_init(&m, size & 1);
	wake(&m);
	for (unsigned int i = 0; i < ACTIONS_MAX && c.left >= 8; i++) {
		uint8_t what = bytes_take_u8(&c), where = bytes_take_u8(&c);
		uint16_t place = bytes_take_le16(&c);

		act(&m, what, where, place, bytes_take_le32(&c));
	}
	picture(&m, 0);
	load_init(&load, data, size);
	ignored = s3_load(m.s3, &load);
	(void)ignored;
	m.pixels = 0;
	picture(&m, 1);
	machine_fini(&m);
	return 0;
}
