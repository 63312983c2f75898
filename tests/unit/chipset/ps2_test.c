/* SPDX-License-Identifier: MIT */
/* Firmware's and Linux' drivers (drivers/input/serio/i8042.c, keyboard/atkbd.c, mouse/psmouse-base.c). */
#include "rig.h"

#include "chipset/ps2/ps2.h"

struct fixture {
	struct rig rig;
	struct ps2 *ps2;
	bool keyboard, mouse;
	unsigned int keyboard_edges, mouse_edges;
};

static void set_keyboard(void *ctx, uint32_t gsi, bool level)
{
	struct fixture *f = ctx;

	assert_int_equal(gsi, 1);
	f->keyboard_edges += level && !f->keyboard;
	f->keyboard = level;
}

static void set_mouse(void *ctx, uint32_t gsi, bool level)
{
	struct fixture *f = ctx;

	assert_int_equal(gsi, 12);
	f->mouse_edges += level && !f->mouse;
	f->mouse = level;
}

static struct ps2 *make(struct fixture *f)
{
	struct chipset_power power = rig_power(&f->rig);
	const struct ps2_config config = {
		.chipset = f->rig.chipset,
		.keyboard = { set_keyboard, f, 1 },
		.mouse = { set_mouse, f, 12 },
		.power = &power,
	};
	struct ps2 *ps2;

	assert_int_equal(ps2_create(&config, &ps2), 0);
	return ps2;
}

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ 0 };
	rig_init(&f->rig);
	f->ps2 = make(f);
}

static void fixture_fini(struct fixture *f)
{
	ps2_destroy(f->ps2);
	rig_fini(&f->rig);
}

/* ---- a driver ---- */

#define NOTHING (-1)

static int take(struct fixture *f)
{
	return rig_in(&f->rig, 0x64) & 1 ? rig_in(&f->rig, 0x60) : NOTHING;
}

static void expect(struct fixture *f, bool from_mouse, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t status = rig_in(&f->rig, 0x64);

		assert_int_equal(status & 0x21, from_mouse ? 0x21 : 0x01);
		assert_int_equal(rig_in(&f->rig, 0x60), (uint8_t)bytes[i]);
	}
	assert_int_equal(rig_in(&f->rig, 0x64) & 1, 0);
}

#define EXPECT(f, from_mouse, text) expect(f, from_mouse, text, sizeof(text) - 1)

static void command(struct fixture *f, uint8_t byte)
{
	rig_out(&f->rig, 0x64, byte);
}

static void set_mode(struct fixture *f, uint8_t mode)
{
	command(f, 0x60);
	rig_out(&f->rig, 0x60, mode);
}

static void to_keyboard(struct fixture *f, uint8_t byte)
{
	rig_out(&f->rig, 0x60, byte);
}

static void to_mouse(struct fixture *f, uint8_t byte)
{
	command(f, 0xd4);
	rig_out(&f->rig, 0x60, byte);
}

static void tell_mouse(struct fixture *f, uint8_t byte)
{
	to_mouse(f, byte);
	EXPECT(f, true, "\xfa");
}

/* ---- the controller ---- */

static void the_controller_passes_linux_probe(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(rig_in(&f.rig, 0x64) & 0x11, 0x10); /* empty, not locked */
	command(&f, 0xaa);
	assert_int_equal(take(&f), 0x55);
	assert_int_equal(rig_in(&f.rig, 0x64) & 0x04, 0x04);
	command(&f, 0x20);
	assert_int_equal(take(&f) & 0x34, 0x34);
	set_mode(&f, 0x74);
	command(&f, 0x20);
	assert_int_equal(take(&f), 0x74);
	/* No multiplexer: what is looped comes back as it was. */
	command(&f, 0xd3);
	rig_out(&f.rig, 0x60, 0xf0);
	EXPECT(&f, true, "\xf0");
	command(&f, 0xa7);
	command(&f, 0x20);
	assert_int_equal(take(&f) & 0x20, 0x20);
	command(&f, 0xa8);
	command(&f, 0x20);
	assert_int_equal(take(&f) & 0x20, 0);
	/* The test of the line: looped, with the interrupt on. */
	set_mode(&f, 0x16);
	command(&f, 0xd3);
	rig_out(&f.rig, 0x60, 0xa5);
	assert_int_equal(f.mouse_edges, 1);
	assert_int_equal(f.keyboard_edges, 0);
	EXPECT(&f, true, "\xa5");
	assert_false(f.mouse);
	command(&f, 0xab);
	assert_int_equal(take(&f), 0);
	command(&f, 0xa9);
	assert_int_equal(take(&f), 0);
	fixture_fini(&f);
}

static void its_reset_lines_reset(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	command(&f, 0xff);
	command(&f, 0xfd);
	assert_int_equal(f.rig.resets, 0);
	command(&f, 0xfe);
	assert_int_equal(f.rig.resets, 1);
	command(&f, 0xd1);
	rig_out(&f.rig, 0x60, 0x03); /* A20 on, no reset */
	assert_int_equal(f.rig.resets, 1);
	command(&f, 0xd0);
	assert_int_equal(take(&f), 0x03);
	command(&f, 0xd1);
	rig_out(&f.rig, 0x60, 0xfe);
	assert_int_equal(f.rig.resets, 2);
	fixture_fini(&f);
}

/* ---- the keyboard ---- */

static void firmware_sets_up_the_keyboard(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x20); /* translation off, mouse off */
	to_keyboard(&f, 0xff);
	EXPECT(&f, false, "\xfa\xaa");
	to_keyboard(&f, 0xf5);
	EXPECT(&f, false, "\xfa");
	assert_true(ps2_key(f.ps2, 0x1e, true)); /* not scanning: nobody hears */
	assert_int_equal(take(&f), NOTHING);
	to_keyboard(&f, 0xf0);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0x02);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0xf2);
	EXPECT(&f, false, "\xfa\xab\x83");
	to_keyboard(&f, 0xee);
	EXPECT(&f, false, "\xee");
	to_keyboard(&f, 0xed);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0x02);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0xea); /* no such command: again, please */
	EXPECT(&f, false, "\xfe");
	set_mode(&f, 0x61);
	to_keyboard(&f, 0xf4);
	assert_int_equal(f.keyboard_edges, 1);
	EXPECT(&f, false, "\xfa");
	assert_false(f.keyboard);
	fixture_fini(&f);
}

static void keys_come_in_set_2_and_in_translation_in_set_1(void **state)
{
	static const struct {
		uint16_t key;
		const char *press, *release, *press_2, *release_2;
	} keys[] = {
		{ 0x1e, "\x1e", "\x9e", "\x1c", "\xf0\x1c" },                  /* A */
		{ 0x01, "\x01", "\x81", "\x76", "\xf0\x76" },                  /* Escape */
		{ 0x41, "\x41", "\xc1", "\x83", "\xf0\x83" },                  /* F7 */
		{ 0x57, "\x57", "\xd7", "\x78", "\xf0\x78" },                  /* F11 */
		{ 0x56, "\x56", "\xd6", "\x61", "\xf0\x61" },                  /* <> */
		{ 0x148, "\xe0\x48", "\xe0\xc8", "\xe0\x75", "\xe0\xf0\x75" }, /* up */
		{ 0x11d, "\xe0\x1d", "\xe0\x9d", "\xe0\x14", "\xe0\xf0\x14" }, /* right Ctrl */
		{ PS2_KEY_PRINT, "\xe0\x2a\xe0\x37", "\xe0\xb7\xe0\xaa", "\xe0\x12\xe0\x7c",
		  "\xe0\xf0\x7c\xe0\xf0\x12" },
		{ PS2_KEY_PAUSE, "\xe1\x1d\x45\xe1\x9d\xc5", "", "\xe1\x14\x77\xe1\xf0\x14\xf0\x77",
		  "" },
	};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		set_mode(&f, 0x40);
		assert_true(ps2_key(f.ps2, keys[i].key, true));
		expect(&f, false, keys[i].press, strlen(keys[i].press));
		assert_true(ps2_key(f.ps2, keys[i].key, false));
		expect(&f, false, keys[i].release, strlen(keys[i].release));
		set_mode(&f, 0x00);
		assert_true(ps2_key(f.ps2, keys[i].key, true));
		expect(&f, false, keys[i].press_2, strlen(keys[i].press_2));
		assert_true(ps2_key(f.ps2, keys[i].key, false));
		expect(&f, false, keys[i].release_2, strlen(keys[i].release_2));
	}
	assert_false(ps2_key(f.ps2, 0, true));
	assert_false(ps2_key(f.ps2, 0x80, true));
	assert_false(ps2_key(f.ps2, 0x200, true));
	fixture_fini(&f);
}

static void set_1_needs_no_translation(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x00);
	to_keyboard(&f, 0xf0);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0x01);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0xf0);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0x00);
	EXPECT(&f, false, "\xfa\x01");
	ps2_key(f.ps2, 0x1e, true);
	ps2_key(f.ps2, 0x1e, false);
	EXPECT(&f, false, "\x1e\x9e");
	to_keyboard(&f, 0xf0);
	EXPECT(&f, false, "\xfa");
	to_keyboard(&f, 0x03); /* there is no set 3 */
	EXPECT(&f, false, "\xfe");
	fixture_fini(&f);
}

static void each_byte_is_an_interrupt(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x41);
	ps2_key(f.ps2, 0x148, true);
	assert_true(f.keyboard);
	assert_int_equal(f.keyboard_edges, 1);
	assert_int_equal(rig_in(&f.rig, 0x60), 0xe0);
	assert_true(f.keyboard);
	assert_int_equal(f.keyboard_edges, 2);
	assert_int_equal(rig_in(&f.rig, 0x60), 0x48);
	assert_false(f.keyboard);
	/* A closed line keeps what is behind it. */
	command(&f, 0xad);
	ps2_key(f.ps2, 0x1e, true);
	assert_int_equal(take(&f), NOTHING);
	command(&f, 0xae);
	assert_true(f.keyboard);
	EXPECT(&f, false, "\x1e");
	fixture_fini(&f);
}

static void presses_are_refused_before_releases(void **state)
{
	unsigned int presses = 0, releases = 0;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x50); /* the line is closed */
	while (presses < 1000 && ps2_key(f.ps2, 0x1e, true)) {
		presses++;
	}
	assert_true(presses >= 16 && presses < 1000);
	while (releases < 1000 && ps2_key(f.ps2, 0x1e, false)) {
		releases++;
	}
	assert_true(releases >= 10 && releases < 1000);
	command(&f, 0xae);
	for (unsigned int i = 0; i < presses + releases; i++) {
		assert_int_equal(take(&f), i < presses ? 0x1e : 0x9e);
	}
	assert_int_equal(take(&f), NOTHING);
	fixture_fini(&f);
}

/* ---- the mouse ---- */

static void linux_finds_a_mouse_with_a_wheel_and_five_buttons(void **state)
{
	static const uint8_t knocks[][2] = { { 200, 100 }, { 200, 200 } };
	static const char *const ids[] = { "\x03", "\x04" };
	struct fixture f;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x12);
	to_mouse(&f, 0xff);
	expect(&f, true, "\xfa\xaa\x00", 3);
	to_mouse(&f, 0xf2);
	expect(&f, true, "\xfa\x00", 2);
	for (unsigned int i = 0; i < 2; i++) {
		const uint8_t rates[] = { knocks[i][0], knocks[i][1], 80 };

		for (unsigned int n = 0; n < 3; n++) {
			tell_mouse(&f, 0xf3);
			tell_mouse(&f, rates[n]);
		}
		to_mouse(&f, 0xf2);
		assert_int_equal(take(&f), 0xfa);
		expect(&f, true, ids[i], 1);
	}
	tell_mouse(&f, 0xf3);
	tell_mouse(&f, 100);
	tell_mouse(&f, 0xe8);
	tell_mouse(&f, 3);
	tell_mouse(&f, 0xf4);
	to_mouse(&f, 0xe9);
	EXPECT(&f, true, "\xfa\x20\x03\x64");
	ps2_mouse(f.ps2, 5, 3, -1, PS2_BUTTON_LEFT | PS2_BUTTON_5);
	assert_true(f.mouse);
	EXPECT(&f, true, "\x29\x05\xfd\x2f");
	ps2_mouse(f.ps2, -300, 0, 0, 0); /* more than a packet holds */
	EXPECT(&f, true, "\x18\x01\x00\x00\x18\xd3\x00\x00");
	tell_mouse(&f, 0xf5);
	ps2_mouse(f.ps2, 1, 1, 0, PS2_BUTTON_RIGHT);
	assert_int_equal(take(&f), NOTHING);
	to_mouse(&f, 0xe9);
	EXPECT(&f, true, "\xfa\x01\x03\x64");
	to_mouse(&f, 0xe1); /* no such command (a trackpoint's) */
	EXPECT(&f, true, "\xfe");
	fixture_fini(&f);
}

static void movement_that_nobody_fetches_is_added_up(void **state)
{
	struct fixture f;
	int sum = 0, packets = 0, first;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x10);
	tell_mouse(&f, 0xf4);
	for (int i = 0; i < 1000; i++) {
		ps2_mouse(f.ps2, 1, 0, 0, 0);
	}
	while ((first = take(&f)) != NOTHING) {
		assert_int_equal(first, 0x08);
		sum += take(&f);
		assert_int_equal(take(&f), 0);
		packets++;
	}
	assert_int_equal(sum, 1000);
	assert_true(packets < 20);
	/* Within reason. */
	command(&f, 0xa7);
	for (int i = 0; i < 100; i++) {
		ps2_mouse(f.ps2, INT32_MAX, INT32_MIN, INT32_MAX, 0);
	}
	command(&f, 0xa8);
	for (packets = 0; take(&f) != NOTHING; packets++) {}
	assert_true(packets > 0 && packets < 200);
	fixture_fini(&f);
}

static void the_keyboard_goes_before_the_mouse(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x03 | 0x40);
	tell_mouse(&f, 0xf4);
	ps2_mouse(f.ps2, 1, 0, 0, 0);
	ps2_key(f.ps2, 0x1e, true);
	command(&f, 0x20);
	assert_int_equal(rig_in(&f.rig, 0x64) & 0x21, 0x21); /* the byte that was first stays */
	assert_int_equal(take(&f), 0x08);
	assert_int_equal(take(&f), 0x43); /* the controller's answer */
	assert_int_equal(take(&f), 0x1e);
	EXPECT(&f, true, "\x01\x00");
	fixture_fini(&f);
}

/* ---- saved state ---- */

static void a_saved_controller_goes_on_in_the_middle(void **state)
{
	struct fixture f;
	struct save save, again;
	const uint8_t *bytes, *bytes_again;
	size_t length, length_again;
	struct load load;

	(void)state;
	fixture_init(&f);
	set_mode(&f, 0x43);
	tell_mouse(&f, 0xf4);
	ps2_mouse(f.ps2, 7, 0, 0, PS2_BUTTON_LEFT);
	ps2_key(f.ps2, 0x148, false);
	command(&f, 0xd4); /* a byte is due */
	save_init(&save);
	ps2_save(f.ps2, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	ps2_destroy(f.ps2);
	f.keyboard = f.mouse = false;
	f.ps2 = make(&f);
	load_init(&load, bytes, length);
	assert_int_equal(ps2_load(f.ps2, &load), 0);
	assert_true(f.mouse);
	save_init(&again);
	ps2_save(f.ps2, &again);
	assert_int_equal(save_finish(&again, &bytes_again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, bytes_again, length);
	save_fini(&again);
	save_fini(&save);
	assert_int_equal(take(&f), 0x09);
	assert_int_equal(take(&f), 0xe0);
	assert_int_equal(take(&f), 0xc8);
	EXPECT(&f, true, "\x07\x00");
	rig_out(&f.rig, 0x60, 0xf2);
	EXPECT(&f, true, "\xfa\x00");
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_controller_passes_linux_probe),
		cmocka_unit_test(its_reset_lines_reset),
		cmocka_unit_test(firmware_sets_up_the_keyboard),
		cmocka_unit_test(keys_come_in_set_2_and_in_translation_in_set_1),
		cmocka_unit_test(set_1_needs_no_translation),
		cmocka_unit_test(each_byte_is_an_interrupt),
		cmocka_unit_test(presses_are_refused_before_releases),
		cmocka_unit_test(linux_finds_a_mouse_with_a_wheel_and_five_buttons),
		cmocka_unit_test(movement_that_nobody_fetches_is_added_up),
		cmocka_unit_test(the_keyboard_goes_before_the_mouse),
		cmocka_unit_test(a_saved_controller_goes_on_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
