/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include "chipset/i8042.h"

struct fixture {
	struct rig rig;
	struct i8042 *i8042;
};

static void fixture_init(struct fixture *f)
{
	struct chipset_power power = rig_power(&f->rig);

	rig_init(&f->rig);
	assert_int_equal(i8042_create(f->rig.chipset, &power, &f->i8042), 0);
}

static void fixture_fini(struct fixture *f)
{
	i8042_destroy(f->i8042);
	rig_fini(&f->rig);
}

static void each_reset_line_resets_once(void **state)
{
	struct fixture f;

	fixture_init(&f);
	rig_out(&f.rig, 0x64, 0xfe);
	assert_int_equal(f.rig.resets, 1);
	rig_out(&f.rig, 0x64, 0xd1);
	rig_out(&f.rig, 0x60, 0xfe);
	assert_int_equal(f.rig.resets, 2);
	rig_out(&f.rig, 0xcf9, 0x02);
	assert_int_equal(f.rig.resets, 2);
	rig_out(&f.rig, 0xcf9, 0x06);
	assert_int_equal(f.rig.resets, 3);
	rig_out(&f.rig, 0xcf9, 0x06); /* no edge */
	assert_int_equal(f.rig.resets, 3);
	fixture_fini(&f);
}

/* arch/x86/pci/direct.c: pci_check_type1(), then reads of devices that are not there. */
static void linux_finds_an_empty_pci_bus(void **state)
{
	struct fixture f;

	fixture_init(&f);
	rig_out(&f.rig, 0xcfb, 0x01);
	assert_int_equal(rig_in32(&f.rig, 0xcf8), 0);
	rig_out32(&f.rig, 0xcf8, 0x80000000U);
	assert_true(rig_in32(&f.rig, 0xcf8) == 0x80000000U);
	assert_int_equal(rig_in16(&f.rig, 0xcfe), 0xffff);
	assert_true(rig_in32(&f.rig, 0xcfc) == 0xffffffffU);
	assert_int_equal(f.rig.resets, 0);
	fixture_fini(&f);
}

static void probes_end_at_once(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(rig_in(&f.rig, 0x64) & 3, 0); /* nothing to read, ready for a command */
	rig_out(&f.rig, 0x64, 0xaa);
	assert_int_equal(rig_in(&f.rig, 0x64) & 1, 1);
	assert_int_equal(rig_in(&f.rig, 0x60), 0x55);
	assert_int_equal(rig_in(&f.rig, 0x64) & 1, 0);
	fixture_fini(&f);
}

/* arch/x86/kernel/nmi.c: default_do_nmi() looks here first; a set bit 6 or 7 is a dying machine. */
static void an_nmi_has_no_hardware_reason(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(rig_in(&f.rig, 0x61) & 0xc0, 0);
	assert_int_not_equal(rig_in(&f.rig, 0x61), rig_in(&f.rig, 0x61)); /* refresh goes on */
	rig_out(&f.rig, 0x61, 0xff);
	assert_int_equal(rig_in(&f.rig, 0x61) & 0xcf, 0x0f);
	fixture_fini(&f);
}

static void state_survives(void **state)
{
	struct save a, b;
	const uint8_t *bytes, *again;
	size_t length, length_again;
	struct load load;
	struct fixture f;

	fixture_init(&f);
	rig_out32(&f.rig, 0xcf8, 0x80001234U);
	rig_out(&f.rig, 0x64, 0xd1);
	save_init(&a);
	i8042_save(f.i8042, &a);
	assert_int_equal(save_finish(&a, &bytes, &length), 0);
	i8042_reset(f.i8042);
	load_init(&load, bytes, length);
	assert_int_equal(i8042_load(f.i8042, &load), 0);
	save_init(&b);
	i8042_save(f.i8042, &b);
	assert_int_equal(save_finish(&b, &again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, again, length);
	save_fini(&a);
	save_fini(&b);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_reset_line_resets_once),
		cmocka_unit_test(linux_finds_an_empty_pci_bus),
		cmocka_unit_test(probes_end_at_once),
		cmocka_unit_test(an_nmi_has_no_hardware_reason),
		cmocka_unit_test(state_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
