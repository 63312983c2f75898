/* SPDX-License-Identifier: MIT */
/* The board's own chips: host bridge, ISA bridge with its router, power management, DMA. */
#include "pci_rig.h"

#include <errno.h>

#include "chipset/dma.h"
#include "chipset/i440bx.h"
#include "chipset/piix4.h"
#include "chipset/piix4_pm.h"
#include "proto/piix4.h"

#define ISA       PCI_DEVFN(7, 0)
#define PM        PCI_DEVFN(7, 3)
#define CARD_SLOT 10U

struct fixture {
	struct pci_rig p;
	struct i440bx *bridge;
	struct piix4 *piix4;
	struct pm *pm;
	struct piix4_pm *function;
	struct dma *dma;
	struct pci_function card;
	bool irqs[24];
};

static void set_irq(void *ctx, uint32_t gsi, bool level)
{
	((struct fixture *)ctx)->irqs[gsi] = level;
}

static void make_card(struct fixture *f, uint8_t pin)
{
	const struct pci_identity identity = { .vendor = 0x1234,
					       .device = 0x5678,
					       .interrupt_pin = pin };

	pci_function_init(&f->card, "card", &identity);
	assert_int_equal(pci_add(f->p.bus, &f->card, PCI_DEVFN(CARD_SLOT, 0)), 0);
}

static void fixture_init(struct fixture *f)
{
	const struct irq_line line = { set_irq, f, 9 };
	struct chipset_power power;
	struct piix4_config config = { .devfn = ISA, .irq = line, .power = &power };

	*f = (struct fixture){ 0 };
	pci_rig_init(&f->p);
	power = rig_power(&f->p.rig);
	config.chipset = f->p.rig.chipset;
	config.bus = f->p.bus;
	assert_int_equal(i440bx_create(f->p.rig.chipset, f->p.bus, &f->bridge), 0);
	assert_int_equal(piix4_create(&config, &f->piix4), 0);
	assert_int_equal(pm_create(f->p.rig.chipset, &line, &power, &f->pm), 0);
	assert_int_equal(piix4_pm_create(f->p.rig.chipset, f->p.bus, PM, f->pm, &f->function), 0);
	assert_int_equal(dma_create(f->p.rig.chipset, &f->dma), 0);
	make_card(f, 1);
}

static void fixture_fini(struct fixture *f)
{
	pci_remove(&f->card);
	dma_destroy(f->dma);
	piix4_pm_destroy(f->function);
	pm_destroy(f->pm);
	piix4_destroy(f->piix4);
	i440bx_destroy(f->bridge);
	pci_rig_fini(&f->p);
}

static void card_pulls(struct fixture *f, bool level)
{
	chipset_lock(f->p.rig.chipset);
	pci_set_intx(&f->card, level);
	chipset_unlock(f->p.rig.chipset);
}

static bool any_irq(const struct fixture *f)
{
	for (unsigned int i = 0; i < 24; i++) {
		if (f->irqs[i]) {
			return true;
		}
	}
	return false;
}

static void functions_are_who_they_are(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_true(pci_rig_read(&f.p, 0, 0) == 0x71928086);
	assert_true(pci_rig_read(&f.p, 0, 8) == 0x06000003);
	assert_true(pci_rig_read(&f.p, 0, 0x2c) == 0x11001af4);
	assert_true(pci_rig_read(&f.p, ISA, 0) == 0x71108086);
	assert_true(pci_rig_read(&f.p, ISA, 8) == 0x06010001);
	assert_int_equal(pci_rig_read(&f.p, ISA, 0x0c) >> 16 & 0xff, 0x80);
	assert_int_equal(pci_rig_read(&f.p, ISA, 4) & 0xffff, 7);
	assert_true(pci_rig_read(&f.p, PM, 0) == 0x71138086);
	assert_true(pci_rig_read(&f.p, PM, 8) >> 8 == 0x068000);
	assert_int_equal(pci_rig_read(&f.p, PM, 0x3c) >> 8 & 0xff, 1);
	fixture_fini(&f);
}

static void pam_and_smram_read_back_as_written(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	pci_rig_write(&f.p, 0, 0x58, 0xffffff00);
	pci_rig_write(&f.p, 0, 0x5c, 0xffffffff);
	assert_true(pci_rig_read(&f.p, 0, 0x58) == 0x33333000);
	assert_true(pci_rig_read(&f.p, 0, 0x5c) == 0x33333333);
	assert_int_equal(pci_rig_read(&f.p, 0, 4) & 0xffff, 6);
	pci_rig_write8(&f.p, 0, 0x72, 0x4a);
	assert_int_equal(pci_rig_read(&f.p, 0, 0x70) >> 16 & 0xff, 0x4a);
	pci_rig_write8(&f.p, 0, 0x72, 0x5a); /* locked: it shuts */
	assert_int_equal(pci_rig_read(&f.p, 0, 0x70) >> 16 & 0xff, 0x1a);
	pci_rig_write8(&f.p, 0, 0x72, 0x4a);
	assert_int_equal(pci_rig_read(&f.p, 0, 0x70) >> 16 & 0xff, 0x1a);
	i440bx_reset(f.bridge);
	assert_int_equal(pci_rig_read(&f.p, 0, 0x70) >> 16 & 0xff, 0x02);
	assert_int_equal(pci_rig_read(&f.p, 0, 0x58) >> 8, 0);
	pci_rig_write8(&f.p, 0, 0x72, 0x4a);
	assert_int_equal(pci_rig_read(&f.p, 0, 0x70) >> 16 & 0xff, 0x4a);
	fixture_fini(&f);
}

static void wires_lead_where_firmware_says(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_true(pci_rig_read(&f.p, ISA, 0x60) == 0x80808080);
	card_pulls(&f, true);
	assert_false(any_irq(&f));
	/* SeaBIOS: 10, 10, 11, 11; slot 10's INTA is (0 + 10 - 1) mod 4: PIRQB. */
	pci_rig_write(&f.p, ISA, 0x60, 0x0b0b0b0a);
	assert_true(f.irqs[11]);
	pci_rig_write8(&f.p, ISA, 0x61, 10);
	assert_true(f.irqs[10]);
	assert_false(f.irqs[11]);
	pci_rig_write8(&f.p, ISA, 0x61, 8); /* not one that can be chosen */
	assert_false(any_irq(&f));
	pci_rig_write8(&f.p, ISA, 0x61, 0x8a);
	assert_false(any_irq(&f));
	pci_rig_write8(&f.p, ISA, 0x61, 0x0a);
	card_pulls(&f, false);
	assert_false(any_irq(&f));
	fixture_fini(&f);
}

static void two_wires_share_a_line(void **state)
{
	struct pci_function other;
	const struct pci_identity identity = { .vendor = 1, .device = 2, .interrupt_pin = 1 };
	struct fixture f;

	(void)state;
	fixture_init(&f);
	pci_function_init(&other, "other", &identity);
	assert_int_equal(pci_add(f.p.bus, &other, PCI_DEVFN(9, 0)), 0); /* PIRQA */
	pci_rig_write(&f.p, ISA, 0x60, 0x0b0b0a0a);
	card_pulls(&f, true);
	chipset_lock(f.p.rig.chipset);
	pci_set_intx(&other, true);
	chipset_unlock(f.p.rig.chipset);
	assert_true(f.irqs[10]);
	card_pulls(&f, false);
	assert_true(f.irqs[10]);
	pci_remove(&other);
	assert_false(f.irqs[10]);
	fixture_fini(&f);
}

static void port_92_resets_and_keeps_a20(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	rig_out(&f.p.rig, 0x92, 0x02);
	assert_int_equal(rig_in(&f.p.rig, 0x92), 0x02);
	assert_int_equal(f.p.rig.resets, 0);
	rig_out(&f.p.rig, 0x92, 0x03);
	rig_out(&f.p.rig, 0x92, 0x03);
	assert_int_equal(f.p.rig.resets, 1);
	rig_out16(&f.p.rig, 0xb2, 0x1234);
	assert_int_equal(rig_in(&f.p.rig, 0xb2), 0x34);
	assert_int_equal(rig_in(&f.p.rig, 0xb3), 0x12);
	fixture_fini(&f);
}

/* SeaBIOS: piix4_pm_config_setup(). */
static void firmware_places_the_acpi_ports(void **state)
{
	struct fixture f;
	uint32_t then;

	(void)state;
	fixture_init(&f);
	assert_true(rig_in32(&f.p.rig, 0x608) == 0 || rig_in32(&f.p.rig, 0x608) == ~0U);
	assert_true(pci_rig_read(&f.p, PM, 0x40) == 1);
	pci_rig_write(&f.p, PM, 0x40, 0x0601);
	assert_false(chipset_pio(f.p.rig.chipset, 0x604, false, &then, 2, 1));
	pci_rig_write8(&f.p, PM, 0x80, 0x01);
	assert_int_equal(rig_in16(&f.p.rig, 0x604) & 1, 1);
	then = rig_in32(&f.p.rig, 0x608);
	rig_turn(&f.p.rig, 2);
	assert_int_not_equal(rig_in32(&f.p.rig, 0x608), then);
	assert_int_equal(rig_in32(&f.p.rig, 0x60c), 0);

	/* Elsewhere, and then S5 is SUS_TYP 0. */
	pci_rig_write(&f.p, PM, 0x40, 0xb001);
	assert_false(chipset_pio(f.p.rig.chipset, 0x604, false, &then, 2, 1));
	assert_int_equal(rig_in16(&f.p.rig, 0xb004) & 1, 1);
	rig_out16(&f.p.rig, 0xb004, 0x3400);
	assert_int_equal(f.p.rig.poweroffs, 0);
	rig_out16(&f.p.rig, 0xb004, 0x2000);
	assert_int_equal(f.p.rig.poweroffs, 1);

	/* Over the serial port of somebody: it has none until it moves on. */
	pci_rig_write(&f.p, PM, 0x40, 0x0081);
	assert_false(chipset_pio(f.p.rig.chipset, 0xb004, false, &then, 2, 1));
	pci_rig_write(&f.p, PM, 0x40, 0x0601);
	assert_int_equal(rig_in16(&f.p.rig, 0x604) & 1, 1);
	piix4_pm_reset(f.function);
	assert_false(chipset_pio(f.p.rig.chipset, 0x604, false, &then, 2, 1));
	piix4_pm_configure(f.function, 0x600, 0x700);
	assert_int_equal(rig_in16(&f.p.rig, 0x604) & 1, 1);
	assert_int_equal(rig_in(&f.p.rig, 0x700), 0);
	fixture_fini(&f);
}

/* Linux drivers/i2c/busses/i2c-piix4.c: piix4_setup(), piix4_transaction(). */
static void nobody_answers_on_the_smbus(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	pci_rig_write(&f.p, PM, 0x90, 0x0701);
	pci_rig_write8(&f.p, PM, 0xd2, 0x09);
	assert_int_equal(rig_in(&f.p.rig, 0x700), 0xff & rig_in(&f.p.rig, 0x700));
	pci_rig_write16(&f.p, PM, 4, PCI_COMMAND_IO);
	assert_int_equal(rig_in(&f.p.rig, 0x700), 0);
	rig_out(&f.p.rig, 0x704, 0x50 << 1 | 1);
	rig_out(&f.p.rig, 0x702, 0x48);
	assert_int_equal(rig_in(&f.p.rig, 0x700), 0x04);
	assert_int_equal(rig_in(&f.p.rig, 0x702), 0x08);
	rig_out(&f.p.rig, 0x700, 0x04);
	assert_int_equal(rig_in(&f.p.rig, 0x700), 0);
	assert_int_equal(rig_in(&f.p.rig, 0x704), 0xa1);
	fixture_fini(&f);
}

static void dma_registers_are_the_chips(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(rig_in(&f.p.rig, 0x0f), 0x0f); /* all masked */
	rig_out(&f.p.rig, 0x0d, 0);
	rig_out(&f.p.rig, 0x0c, 0);
	rig_out(&f.p.rig, 0x04, 0x34);
	rig_out(&f.p.rig, 0x04, 0x12);
	rig_out(&f.p.rig, 0x05, 0xff);
	rig_out(&f.p.rig, 0x05, 0x01);
	rig_out(&f.p.rig, 0x81, 0x0f);
	rig_out(&f.p.rig, 0x0a, 0x02);
	rig_out(&f.p.rig, 0x0c, 0);
	assert_int_equal(rig_in(&f.p.rig, 0x04), 0x34);
	assert_int_equal(rig_in(&f.p.rig, 0x04), 0x12);
	assert_int_equal(rig_in(&f.p.rig, 0x05), 0xff);
	assert_int_equal(rig_in(&f.p.rig, 0x05), 0x01);
	assert_int_equal(rig_in(&f.p.rig, 0x81), 0x0f);
	assert_int_equal(rig_in(&f.p.rig, 0x0f), 0x0b);
	assert_int_equal(rig_in(&f.p.rig, 0x08), 0);
	/* The second one's registers are two ports apart. */
	rig_out(&f.p.rig, 0xd8, 0);
	rig_out(&f.p.rig, 0xc4, 0x78);
	rig_out(&f.p.rig, 0xc4, 0x56);
	assert_int_equal(rig_in(&f.p.rig, 0xc4), 0x78);
	assert_int_equal(rig_in(&f.p.rig, 0xc4), 0x56);
	rig_out(&f.p.rig, 0xd4, 0x04);
	assert_int_equal(rig_in(&f.p.rig, 0xde), 0x0f);
	fixture_fini(&f);
}

struct saved {
	struct save save;
	const uint8_t *bytes;
	size_t length;
};

typedef void save_fn(struct fixture *f, struct save *save);
typedef int load_fn(struct fixture *f, struct load *load);

static void save_bridge(struct fixture *f, struct save *save)
{
	i440bx_save(f->bridge, save);
}

static int load_bridge(struct fixture *f, struct load *load)
{
	return i440bx_load(f->bridge, load);
}

static void save_isa(struct fixture *f, struct save *save)
{
	piix4_save(f->piix4, save);
}

static int load_isa(struct fixture *f, struct load *load)
{
	return piix4_load(f->piix4, load);
}

static void save_pm(struct fixture *f, struct save *save)
{
	piix4_pm_save(f->function, save);
}

static int load_pm(struct fixture *f, struct load *load)
{
	return piix4_pm_load(f->function, load);
}

static void save_dma(struct fixture *f, struct save *save)
{
	dma_save(f->dma, save);
}

static int load_dma(struct fixture *f, struct load *load)
{
	return dma_load(f->dma, load);
}

static void saved(struct fixture *f, save_fn *fn, struct saved *ret)
{
	save_init(&ret->save);
	fn(f, &ret->save);
	assert_int_equal(save_finish(&ret->save, &ret->bytes, &ret->length), 0);
}

static void touch_everything(struct fixture *f)
{
	pci_rig_write(&f->p, 0, 0x58, 0x11223300);
	pci_rig_write8(&f->p, 0, 0x72, 0x5a);
	pci_rig_write(&f->p, ISA, 0x60, 0x0b0b0a0a);
	rig_out(&f->p.rig, 0x92, 0x02);
	rig_out(&f->p.rig, 0xb3, 0x77);
	pci_rig_write(&f->p, PM, 0x40, 0x0641);
	pci_rig_write8(&f->p, PM, 0x80, 1);
	pci_rig_write(&f->p, PM, 0x90, 0x0701);
	pci_rig_write8(&f->p, PM, 0xd2, 0x09);
	pci_rig_write16(&f->p, PM, 4, 1);
	rig_out(&f->p.rig, 0x703, 0x42);
	rig_out(&f->p.rig, 0x02, 0x42);
	rig_out(&f->p.rig, 0x83, 0x0e);
}

static void what_is_saved_comes_back(void **state)
{
	static save_fn *const saves[] = { save_bridge, save_isa, save_pm, save_dma };
	static load_fn *const loads[] = { load_bridge, load_isa, load_pm, load_dma };
	struct saved first[4], second;
	struct fixture f;
	struct load load;

	(void)state;
	fixture_init(&f);
	touch_everything(&f);
	for (unsigned int i = 0; i < 4; i++) {
		saved(&f, saves[i], &first[i]);
	}
	fixture_fini(&f);
	fixture_init(&f);
	card_pulls(&f, true);
	for (unsigned int i = 0; i < 4; i++) {
		load_init(&load, first[i].bytes, first[i].length);
		assert_int_equal(loads[i](&f, &load), 0);
		saved(&f, saves[i], &second);
		assert_int_equal(second.length, first[i].length);
		assert_memory_equal(second.bytes, first[i].bytes, second.length);
		save_fini(&second.save);
		/* Half of it is none of it. */
		load_init(&load, first[i].bytes, first[i].length - 1);
		assert_int_equal(loads[i](&f, &load), -EBADMSG);
		load_init(&load, first[i].bytes, first[i].length);
		assert_int_equal(loads[i](&f, &load), 0);
		save_fini(&first[i].save);
	}
	assert_true(f.irqs[10]);
	assert_int_equal(rig_in16(&f.p.rig, 0x644) & 1, 1);
	assert_int_equal(rig_in(&f.p.rig, 0x703), 0x42);
	pci_rig_write8(&f.p, 0, 0x72, 0x40);
	assert_int_equal(pci_rig_read(&f.p, 0, 0x70) >> 16 & 0x50, 0x10); /* still locked */
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_who_they_are),
		cmocka_unit_test(pam_and_smram_read_back_as_written),
		cmocka_unit_test(wires_lead_where_firmware_says),
		cmocka_unit_test(two_wires_share_a_line),
		cmocka_unit_test(port_92_resets_and_keeps_a20),
		cmocka_unit_test(firmware_places_the_acpi_ports),
		cmocka_unit_test(nobody_answers_on_the_smbus),
		cmocka_unit_test(dma_registers_are_the_chips),
		cmocka_unit_test(what_is_saved_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
