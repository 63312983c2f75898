/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include "chipset/pm.h"
#include "proto/board.h"

#define STATUS  0x600
#define ENABLE  0x602
#define CONTROL 0x604
#define TIMER   0x608
#define PWRBTN  0x100

struct fixture {
	struct rig rig;
	struct pm *pm;
};

static void fixture_init(struct fixture *f)
{
	struct chipset_power power = rig_power(&f->rig);
	struct irq_line sci = rig_line(&f->rig);

	rig_init(&f->rig);
	assert_int_equal(pm_create(f->rig.chipset, &sci, &power, &f->pm), 0);
}

static void fixture_fini(struct fixture *f)
{
	pm_destroy(f->pm);
	rig_fini(&f->rig);
}

static void the_button_raises_the_sci_until_it_is_acknowledged(void **state)
{
	struct fixture f;

	fixture_init(&f);
	pm_press_power_button(f.pm);
	assert_false(f.rig.level);
	rig_out16(&f.rig, STATUS, PWRBTN);
	rig_out16(&f.rig, ENABLE, PWRBTN);
	assert_false(f.rig.level);
	pm_press_power_button(f.pm);
	assert_true(f.rig.level);
	assert_int_equal(rig_in16(&f.rig, STATUS), PWRBTN);
	rig_out16(&f.rig, STATUS, PWRBTN);
	assert_false(f.rig.level);
	assert_int_equal(rig_in16(&f.rig, ENABLE), PWRBTN);
	pm_press_power_button(f.pm);
	pm_reset(f.pm);
	assert_false(f.rig.level);
	assert_int_equal(rig_in16(&f.rig, ENABLE), 0);
	fixture_fini(&f);
}

/* acpi_install_fixed_event_handler() reads back what it has enabled, and complains. */
static void every_fixed_event_of_the_fadt_can_be_enabled(void **state)
{
	struct fixture f;

	fixture_init(&f);
	rig_out16(&f.rig, ENABLE, 0x521);
	assert_int_equal(rig_in16(&f.rig, ENABLE), 0x521);
	assert_false(f.rig.level);
	fixture_fini(&f);
}

/* ACPICA writes SLP_TYP first and then once more with SLP_EN. */
static void only_s5_with_sleep_enable_turns_off(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(rig_in16(&f.rig, CONTROL), 1); /* SCI_EN */
	rig_out16(&f.rig, CONTROL, 5 << 10 | 1);
	assert_int_equal(f.rig.poweroffs, 0);
	rig_out16(&f.rig, CONTROL, 3 << 10 | 1 << 13 | 1);
	assert_int_equal(f.rig.poweroffs, 0);
	rig_out16(&f.rig, CONTROL, 5 << 10 | 1 << 13 | 1);
	assert_int_equal(f.rig.poweroffs, 1);
	fixture_fini(&f);
}

static void the_timer_runs_at_its_rate(void **state)
{
	struct fixture f;
	uint64_t start_ns, spent_ns;
	uint32_t start, ticks;

	fixture_init(&f);
	start_ns = loop_now_ns();
	start = rig_in32(&f.rig, TIMER);
	rig_turn(&f.rig, 50);
	ticks = (rig_in32(&f.rig, TIMER) - start) & 0xffffff;
	spent_ns = loop_now_ns() - start_ns;
	assert_true(ticks >= 50 * 3579);
	assert_true(ticks <= spent_ns * 3580 / 1000000 + 1);
	fixture_fini(&f);
}

static void state_survives(void **state)
{
	const uint8_t *bytes;
	struct save save;
	struct load load;
	struct fixture f;
	size_t length;

	fixture_init(&f);
	rig_out16(&f.rig, ENABLE, PWRBTN);
	pm_press_power_button(f.pm);
	save_init(&save);
	pm_save(f.pm, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	pm_reset(f.pm);
	assert_false(f.rig.level);
	load_init(&load, bytes, length);
	assert_int_equal(pm_load(f.pm, &load), 0);
	assert_true(f.rig.level);
	assert_int_equal(rig_in16(&f.rig, STATUS), PWRBTN);
	save_fini(&save);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_button_raises_the_sci_until_it_is_acknowledged),
		cmocka_unit_test(every_fixed_event_of_the_fadt_can_be_enabled),
		cmocka_unit_test(only_s5_with_sleep_enable_turns_off),
		cmocka_unit_test(the_timer_runs_at_its_rate),
		cmocka_unit_test(state_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
