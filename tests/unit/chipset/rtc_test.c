/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <time.h>

#include "chipset/rtc.h"

#define A 0x0a
#define B 0x0b
#define C 0x0c

struct fixture {
	struct rig rig;
	struct rtc *rtc;
};

static void fixture_init(struct fixture *f)
{
	struct irq_line line = rig_line(&f->rig);

	rig_init(&f->rig);
	assert_int_equal(rtc_create(f->rig.chipset, f->rig.loop, 0x70, &line, &f->rtc), 0);
}

static void fixture_fini(struct fixture *f)
{
	rtc_destroy(f->rtc);
	rig_fini(&f->rig);
}

static uint8_t cmos_read(struct fixture *f, uint8_t reg)
{
	rig_out(&f->rig, 0x70, reg);
	return rig_in(&f->rig, 0x71);
}

static void cmos_write(struct fixture *f, uint8_t reg, uint8_t value)
{
	rig_out(&f->rig, 0x70, reg);
	rig_out(&f->rig, 0x71, value);
}

static int bcd(uint8_t value)
{
	return (value >> 4) * 10 + (value & 15);
}

/* As Linux reads it: wait for UIP to go, read, look at the seconds again. */
static time_t read_time(struct fixture *f)
{
	for (;;) {
		uint8_t seconds = cmos_read(f, 0);
		struct tm tm = { 0 };

		if (cmos_read(f, A) & 0x80) {
			continue;
		}
		tm.tm_sec = bcd(seconds);
		tm.tm_min = bcd(cmos_read(f, 2));
		tm.tm_hour = bcd(cmos_read(f, 4));
		tm.tm_mday = bcd(cmos_read(f, 7));
		tm.tm_mon = bcd(cmos_read(f, 8)) - 1;
		tm.tm_year = bcd(cmos_read(f, 9)) + bcd(cmos_read(f, 0x32)) * 100 - 1900;
		if (cmos_read(f, 0) == seconds) {
			return timegm(&tm);
		}
	}
}

/* Not time(), which lags by up to a tick. */
static time_t host_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static void it_shows_the_hosts_time(void **state)
{
	struct fixture f;
	time_t before, shown;

	fixture_init(&f);
	before = host_time();
	shown = read_time(&f);
	assert_true(shown >= before && shown <= host_time());
	assert_int_equal(cmos_read(&f, 0x0d), 0x80);
	assert_int_equal(cmos_read(&f, B) & 2, 2); /* 24 hours */
	fixture_fini(&f);
}

/* mc146818_set_time(): SET, divider in reset, write, back. */
static void the_guest_can_set_it(void **state)
{
	static const uint8_t value[][2] = { { 9, 0x30 }, { 8, 0x02 }, { 7, 0x29 },   { 4, 0x23 },
					    { 2, 0x59 }, { 0, 0x58 }, { 0x32, 0x20 } };
	struct fixture f;
	uint8_t a, b;
	struct tm want = { .tm_year = 128,
			   .tm_mon = 1,
			   .tm_mday = 29,
			   .tm_hour = 23,
			   .tm_min = 59,
			   .tm_sec = 58 };
	time_t shown;

	fixture_init(&f);
	b = cmos_read(&f, B);
	cmos_write(&f, B, b | 0x80);
	a = cmos_read(&f, A);
	cmos_write(&f, A, a | 0x70);
	for (size_t i = 0; i < sizeof(value) / sizeof(value[0]); i++) {
		cmos_write(&f, value[i][0], value[i][1]);
	}
	cmos_write(&f, 9, 0x28);
	assert_int_equal(cmos_read(&f, 0), 0x58); /* held */
	cmos_write(&f, B, b);
	cmos_write(&f, A, a);
	shown = read_time(&f);
	assert_true(shown - timegm(&want) <= 1 && shown >= timegm(&want));
	fixture_fini(&f);
}

static void garbage_does_not_break_it(void **state)
{
	struct fixture f;

	fixture_init(&f);
	for (unsigned int seed = 1; seed < 20000; seed++) {
		unsigned int x = seed * 2654435761U;

		cmos_write(&f, (uint8_t)(x >> 8), (uint8_t)(x >> 16));
		cmos_read(&f, (uint8_t)(x >> 24));
	}
	rig_turn(&f.rig, 5);
	fixture_fini(&f);
}

static void update_interrupts_come_once_a_second(void **state)
{
	struct fixture f;

	fixture_init(&f);
	cmos_read(&f, C);
	cmos_write(&f, B, 0x12);
	rig_turn(&f.rig, 1050);
	assert_true(f.rig.level);
	assert_int_equal(f.rig.raised, 1);
	assert_int_equal(cmos_read(&f, C) & 0x90, 0x90);
	assert_false(f.rig.level);
	/* The periodic flag, which interrupts nobody here, may be up again by now. */
	assert_int_equal(cmos_read(&f, C) & 0x90, 0);
	rig_turn(&f.rig, 1050);
	assert_int_equal(f.rig.raised, 2);
	rtc_reset(f.rtc);
	assert_false(f.rig.level);
	fixture_fini(&f);
}

static void the_alarm_rings_at_its_second(void **state)
{
	struct fixture f;
	int seconds;

	fixture_init(&f);
	seconds = (bcd(cmos_read(&f, 0)) + 2) % 60;
	cmos_write(&f, 1, (uint8_t)(seconds / 10 * 16 + seconds % 10));
	cmos_write(&f, 3, 0xff);
	cmos_write(&f, 5, 0xff);
	cmos_read(&f, C);
	cmos_write(&f, B, 0x22);
	/* It rings 1 to 2 s from now; a busy host may let us see it a second late, never early. */
	for (int i = 0; i < 500 && !f.rig.level; i++) {
		rig_turn(&f.rig, 10);
	}
	assert_true(f.rig.level);
	assert_int_equal(cmos_read(&f, C) & 0xa0, 0xa0);
	assert_true((bcd(cmos_read(&f, 0)) - seconds + 60) % 60 <= 1);
	fixture_fini(&f);
}

static void periodic_interrupts_wait_for_the_guest(void **state)
{
	struct fixture f;

	fixture_init(&f);
	cmos_read(&f, C);
	cmos_write(&f, A, 0x26); /* 1024 Hz */
	cmos_write(&f, B, 0x42);
	rig_turn(&f.rig, 20);
	assert_int_equal(f.rig.raised, 1); /* merged until C is read */
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(cmos_read(&f, C) & 0xc0, 0xc0);
		rig_turn(&f.rig, 5);
	}
	assert_int_equal(f.rig.raised, 6);
	fixture_fini(&f);
}

static void state_survives(void **state)
{
	const uint8_t *bytes, *again;
	struct save a, b;
	struct load load;
	struct fixture f, g;
	size_t length, length_again;

	fixture_init(&f);
	cmos_write(&f, 0x40, 0xa5);
	cmos_write(&f, 9, 0x31); /* another year */
	save_init(&a);
	rtc_save(f.rtc, &a);
	assert_int_equal(save_finish(&a, &bytes, &length), 0);
	fixture_init(&g);
	load_init(&load, bytes, length);
	assert_int_equal(rtc_load(g.rtc, &load), 0);
	assert_int_equal(cmos_read(&g, 0x40), 0xa5);
	assert_int_equal(cmos_read(&g, 9), 0x31);
	load_init(&load, bytes, length); /* as it was, without that look at the clock */
	assert_int_equal(rtc_load(g.rtc, &load), 0);
	save_init(&b);
	rtc_save(g.rtc, &b);
	assert_int_equal(save_finish(&b, &again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, again, length);
	save_fini(&a);
	save_fini(&b);
	fixture_fini(&f);
	fixture_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_shows_the_hosts_time),
		cmocka_unit_test(the_guest_can_set_it),
		cmocka_unit_test(garbage_does_not_break_it),
		cmocka_unit_test(update_interrupts_come_once_a_second),
		cmocka_unit_test(the_alarm_rings_at_its_second),
		cmocka_unit_test(periodic_interrupts_wait_for_the_guest),
		cmocka_unit_test(state_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
