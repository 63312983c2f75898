/* SPDX-License-Identifier: MIT */
/*
 * Nothing ticks. The clock is the host's plus an offset; what would have happened since the last
 * look (updates, alarms, periods) is worked out by rtc_advance(). A timer of the loop is armed only
 * while an interrupt is enabled and not yet pending.
 */
#include "chipset/rtc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fault.h"
#include "base/num.h"

#define RTC_PORTS      2
#define RTC_CMOS_BYTES 128U

enum {
	REG_SECONDS = 0x00,
	REG_SECONDS_ALARM = 0x01,
	REG_MINUTES = 0x02,
	REG_MINUTES_ALARM = 0x03,
	REG_HOURS = 0x04,
	REG_HOURS_ALARM = 0x05,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
};

#define A_UPDATE_IN_PROGRESS 0x80U
#define A_DIVIDER            0x70U
#define A_DIVIDER_RUN        0x20U /* the 32.768 kHz crystal */
#define A_DIVIDER_RESET      0x60U /* and 0x70 */
#define A_RATE               0x0fU
#define A_POWER_ON           0x26U

#define B_SET                0x80U
#define B_PERIODIC           0x40U
#define B_ALARM              0x20U
#define B_UPDATE             0x10U
#define B_BINARY             0x04U
#define B_24_HOURS           0x02U
#define B_INTERRUPTS         (B_PERIODIC | B_ALARM | B_UPDATE) /* the same bits flag them in C */
#define C_IRQ                0x80U
#define D_VALID              0x80U
#define ALARM_DONT_CARE      0xc0U
#define HOURS_PM             0x80U
#define DAY_SECONDS          86400

#define SECOND_NS            1000000000LL
#define UIP_NS               244000LL

/* The clock stays well within 64 bits of nanoseconds: 1855 to 2084; others cannot be set. */
#define CLOCK_SECONDS_MAX    3600000000LL
#define OFFSET_NS_MAX        (6000000000LL * SECOND_NS)
#define TIMER_MAX_NS         (60ULL * 1000000000ULL) /* the host's clock may be set meanwhile */

enum {
	RTC_STATE_INDEX = 1,
	RTC_STATE_OFFSET_NS = 2,
	RTC_STATE_CMOS = 3,
};

struct rtc {
	struct chipset *chipset; /* borrowed */
	struct loop *loop;       /* borrowed */
	struct irq_line irq;
	struct loop_timer timer;
	struct loop_work rearm; /* from a vCPU to the loop: the timer's time has changed */

	bool level;
	uint8_t index;
	uint8_t cmos[RTC_CMOS_BYTES]; /* time registers count only while B_SET holds them */
	int64_t offset_ns;            /* guest's clock - host's clock */
	int64_t seen_ns;              /* guest's clock at the last rtc_advance() */
	uint64_t interrupts;
};

static int64_t rtc_now_ns(const struct rtc *rtc)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)((uint64_t)ts.tv_sec * SECOND_NS + ts.tv_nsec + (uint64_t)rtc->offset_ns);
}

static int64_t floor_seconds(int64_t ns)
{
	return ns / SECOND_NS - (ns % SECOND_NS < 0);
}

/* ---- numbers as the chip writes them ---- */

static uint8_t rtc_encode(const struct rtc *rtc, int value)
{
	return (uint8_t)(rtc->cmos[REG_B] & B_BINARY ? value : value / 10 * 16 + value % 10);
}

static int rtc_decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t rtc_encode_hours(const struct rtc *rtc, int hours)
{
	if (rtc->cmos[REG_B] & B_24_HOURS) {
		return rtc_encode(rtc, hours);
	}
	return (uint8_t)(rtc_encode(rtc, hours % 12 ? hours % 12 : 12) |
			 (hours >= 12 ? HOURS_PM : 0));
}

static int rtc_decode_hours(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_24_HOURS) {
		return rtc_decode(rtc, value);
	}
	return rtc_decode(rtc, value & (uint8_t)~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

/* The clock into the time registers. */
static void rtc_latch(struct rtc *rtc, int64_t now_ns)
{
	time_t seconds = floor_seconds(now_ns);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm)) {
		return;
	}
	rtc->cmos[REG_SECONDS] = rtc_encode(rtc, tm.tm_sec);
	rtc->cmos[REG_MINUTES] = rtc_encode(rtc, tm.tm_min);
	rtc->cmos[REG_HOURS] = rtc_encode_hours(rtc, tm.tm_hour);
	rtc->cmos[REG_WEEKDAY] = rtc_encode(rtc, tm.tm_wday + 1);
	rtc->cmos[REG_DAY] = rtc_encode(rtc, tm.tm_mday);
	rtc->cmos[REG_MONTH] = rtc_encode(rtc, tm.tm_mon + 1);
	rtc->cmos[REG_YEAR] = rtc_encode(rtc, (tm.tm_year + 1900) % 100);
	rtc->cmos[REG_CENTURY] = rtc_encode(rtc, (tm.tm_year + 1900) / 100);
}

/* The time registers into the clock; fraction_ns of the second have passed. */
static void rtc_set_clock(struct rtc *rtc, int64_t fraction_ns)
{
	struct tm tm = {
		.tm_sec = rtc_decode(rtc, rtc->cmos[REG_SECONDS]),
		.tm_min = rtc_decode(rtc, rtc->cmos[REG_MINUTES]),
		.tm_hour = rtc_decode_hours(rtc, rtc->cmos[REG_HOURS]),
		.tm_mday = rtc_decode(rtc, rtc->cmos[REG_DAY]),
		.tm_mon = rtc_decode(rtc, rtc->cmos[REG_MONTH]) - 1,
		.tm_year = rtc_decode(rtc, rtc->cmos[REG_CENTURY]) * 100 +
			   rtc_decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
	};
	/* Whatever the registers hold (0 … 25855 years, days 0 … 165): no overflow of 64 bits. */
	int64_t seconds = timegm(&tm);
	int64_t host_ns = rtc_now_ns(rtc) - rtc->offset_ns;

	if (seconds > CLOCK_SECONDS_MAX || seconds < -CLOCK_SECONDS_MAX) {
		return;
	}
	rtc->offset_ns = seconds * SECOND_NS + fraction_ns - host_ns;
	rtc->seen_ns = seconds * SECOND_NS + fraction_ns;
}

/* ---- what happens by itself ---- */

/* Nanoseconds between periodic interrupts, or 0. */
static int64_t rtc_period_ns(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[REG_A] & A_RATE;

	if (rate == 0 || (rtc->cmos[REG_A] & A_DIVIDER) != A_DIVIDER_RUN) {
		return 0;
	}
	if (rate < 3) {
		rate += 7; /* 256 and 128 Hz a second time */
	}
	return (SECOND_NS << (rate - 1)) / 32768;
}

static bool alarm_matches(const struct rtc *rtc, uint8_t reg, int value)
{
	uint8_t alarm = rtc->cmos[reg];

	if (alarm >= ALARM_DONT_CARE &&
	    (reg != REG_HOURS_ALARM || alarm == 0xff || (rtc->cmos[REG_B] & B_24_HOURS))) {
		return true;
	}
	return value ==
	       (reg == REG_HOURS_ALARM ? rtc_decode_hours(rtc, alarm) : rtc_decode(rtc, alarm));
}

/*
 * The first second after `from` at which the alarm rings; false when it never does. A field that
 * does not match skips to its next value, so this takes at most 24 + 60 + 60 steps and some.
 */
static bool rtc_next_alarm(const struct rtc *rtc, int64_t from, int64_t *ret)
{
	int64_t at = from + 1;

	while (at <= from + DAY_SECONDS) {
		int64_t day = (at % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;

		if (!alarm_matches(rtc, REG_HOURS_ALARM, (int)(day / 3600))) {
			at += 3600 - day % 3600;
		} else if (!alarm_matches(rtc, REG_MINUTES_ALARM, (int)(day / 60 % 60))) {
			at += 60 - day % 60;
		} else if (!alarm_matches(rtc, REG_SECONDS_ALARM, (int)(day % 60))) {
			at++;
		} else {
			*ret = at;
			return true;
		}
	}
	return false;
}

static void rtc_update_irq(struct rtc *rtc)
{
	bool level = (rtc->cmos[REG_C] & rtc->cmos[REG_B] & B_INTERRUPTS) != 0;

	rtc->cmos[REG_C] &= (uint8_t)~C_IRQ;
	rtc->cmos[REG_C] |= level ? C_IRQ : 0;
	if (level != rtc->level) {
		rtc->level = level;
		rtc->interrupts += level;
		irq_line_set(&rtc->irq, level);
	}
}

/* Sets the flags of what has happened until now. */
static void rtc_advance(struct rtc *rtc)
{
	int64_t now_ns = rtc_now_ns(rtc), was_ns = rtc->seen_ns;
	int64_t now = floor_seconds(now_ns), was = floor_seconds(was_ns);
	int64_t period_ns = rtc_period_ns(rtc), alarm;

	rtc->seen_ns = now_ns;
	if (period_ns && now_ns / period_ns > was_ns / period_ns) {
		rtc->cmos[REG_C] |= B_PERIODIC;
	}
	if (now > was && !(rtc->cmos[REG_B] & B_SET)) {
		rtc->cmos[REG_C] |= B_UPDATE;
		if (rtc_next_alarm(rtc, was, &alarm) && alarm <= now) {
			rtc->cmos[REG_C] |= B_ALARM;
		}
	}
	rtc_update_irq(rtc);
}

/* Nanoseconds until an enabled interrupt is due; 0 when none is wanted or one is pending. */
static uint64_t rtc_delay_ns(const struct rtc *rtc)
{
	uint8_t b = rtc->cmos[REG_B];
	int64_t now_ns = rtc->seen_ns, next_ns = INT64_MAX, period_ns = rtc_period_ns(rtc), alarm;
	int64_t now = floor_seconds(now_ns);

	if (rtc->level) {
		return 0;
	}
	if ((b & B_PERIODIC) && period_ns) {
		next_ns = (now_ns / period_ns + 1) * period_ns;
	}
	if ((b & B_UPDATE) && !(b & B_SET) && (now + 1) * SECOND_NS < next_ns) {
		next_ns = (now + 1) * SECOND_NS;
	}
	if ((b & B_ALARM) && !(b & B_SET) && rtc_next_alarm(rtc, now, &alarm) &&
	    alarm * SECOND_NS < next_ns) {
		next_ns = alarm * SECOND_NS;
	}
	return next_ns == INT64_MAX ? 0 : num_min((uint64_t)(next_ns - now_ns), TIMER_MAX_NS);
}

/* Loop's thread. */
static void rtc_arm(struct rtc *rtc)
{
	uint64_t delay_ns;

	chipset_lock(rtc->chipset);
	rtc_advance(rtc);
	delay_ns = rtc_delay_ns(rtc);
	chipset_unlock(rtc->chipset);

	if (delay_ns) {
		loop_timer_arm(&rtc->timer, delay_ns);
	} else {
		loop_timer_cancel(&rtc->timer);
	}
}

static void rtc_on_timer(struct loop_timer *timer)
{
	rtc_arm(container_of(timer, struct rtc, timer));
}

static void rtc_on_rearm(struct loop_work *work)
{
	rtc_arm(container_of(work, struct rtc, rearm));
}

/* vCPU: something that the timer depends on has changed. */
static void rtc_ask_rearm(struct rtc *rtc)
{
	if (rtc->cmos[REG_B] & B_INTERRUPTS) {
		loop_post(rtc->loop, &rtc->rearm);
	}
}

/* ---- registers ---- */

static bool is_time_register(uint8_t reg)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t rtc_read_c(struct rtc *rtc)
{
	uint8_t flags;

	rtc_advance(rtc);
	flags = rtc->cmos[REG_C];
	rtc->cmos[REG_C] = 0;
	rtc_update_irq(rtc);
	if (flags & C_IRQ) {
		rtc_ask_rearm(rtc);
	}
	return flags;
}

static uint8_t rtc_read_a(const struct rtc *rtc)
{
	int64_t now_ns = rtc_now_ns(rtc);
	bool updating = now_ns - floor_seconds(now_ns) * SECOND_NS >= SECOND_NS - UIP_NS;

	if ((rtc->cmos[REG_B] & B_SET) || !updating) {
		return rtc->cmos[REG_A];
	}
	return rtc->cmos[REG_A] | A_UPDATE_IN_PROGRESS;
}

static uint64_t rtc_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct rtc *rtc = ctx;

	if (offset == 0) {
		return 0xff; /* the index cannot be read */
	}
	switch (rtc->index) {
	case REG_A:
		return rtc_read_a(rtc);
	case REG_C:
		return rtc_read_c(rtc);
	case REG_D:
		return D_VALID;
	default:
		break;
	}
	if (is_time_register(rtc->index) && !(rtc->cmos[REG_B] & B_SET)) {
		rtc_latch(rtc, rtc_now_ns(rtc));
	}
	return rtc->cmos[rtc->index];
}

static void rtc_write_a(struct rtc *rtc, uint8_t value)
{
	bool was_reset = (rtc->cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
	bool is_reset = (value & A_DIVIDER_RESET) == A_DIVIDER_RESET;

	rtc_advance(rtc);
	rtc->cmos[REG_A] = value & (uint8_t)~A_UPDATE_IN_PROGRESS;
	/* Out of the divider's reset the next update is half a second away: drivers count on it. */
	if (was_reset && !is_reset) {
		if (!(rtc->cmos[REG_B] & B_SET)) {
			rtc_latch(rtc, rtc_now_ns(rtc));
		}
		rtc_set_clock(rtc, SECOND_NS / 2);
	}
	rtc_ask_rearm(rtc);
}

static void rtc_write_b(struct rtc *rtc, uint8_t value)
{
	uint8_t was = rtc->cmos[REG_B];

	rtc_advance(rtc);
	if ((value & B_SET) && !(was & B_SET)) {
		rtc_latch(rtc, rtc_now_ns(rtc)); /* in the old format, as the chip holds them */
		value &= (uint8_t)~B_UPDATE;
	}
	rtc->cmos[REG_B] = value;
	if (!(value & B_SET) && (was & B_SET)) {
		rtc_set_clock(rtc, 0);
	}
	rtc_update_irq(rtc);
	rtc_ask_rearm(rtc);
}

static void rtc_write_data(struct rtc *rtc, uint8_t value)
{
	switch (rtc->index) {
	case REG_A:
		rtc_write_a(rtc, value);
		return;
	case REG_B:
		rtc_write_b(rtc, value);
		return;
	case REG_C:
	case REG_D:
		return;
	default:
		break;
	}
	if (is_time_register(rtc->index) && !(rtc->cmos[REG_B] & B_SET)) {
		int64_t now_ns = rtc_now_ns(rtc);

		rtc_latch(rtc, now_ns);
		rtc->cmos[rtc->index] = value;
		rtc_set_clock(rtc, now_ns - floor_seconds(now_ns) * SECOND_NS);
		return;
	}
	if (rtc->index <= REG_HOURS_ALARM) {
		rtc_advance(rtc); /* by the old alarm until now */
		rtc->cmos[rtc->index] = value;
		rtc_ask_rearm(rtc);
		return;
	}
	rtc->cmos[rtc->index] = value;
}

static void rtc_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct rtc *rtc = ctx;

	if (offset == 0) {
		rtc->index = (uint8_t)value & (RTC_CMOS_BYTES - 1); /* bit 7 masks NMI */
	} else {
		rtc_write_data(rtc, (uint8_t)value);
	}
}

/* ---- life ---- */

static const struct io_region_ops rtc_io_ops = { rtc_read, rtc_write };

int rtc_create(struct chipset *chipset, struct loop *loop, uint16_t port,
	       const struct irq_line *irq, struct rtc **ret)
{
	struct rtc *rtc = fault_alloc(1, sizeof(*rtc));
	int err;

	if (!rtc) {
		return -ENOMEM;
	}
	rtc->chipset = chipset;
	rtc->loop = loop;
	rtc->irq = *irq;
	rtc->cmos[REG_A] = A_POWER_ON;
	rtc->cmos[REG_B] = B_24_HOURS;
	rtc->seen_ns = rtc_now_ns(rtc);
	loop_timer_init(&rtc->timer, loop, rtc_on_timer);
	loop_work_init(&rtc->rearm, rtc_on_rearm);

	err = chipset_pio_add(chipset,
			      &(struct io_region){ &rtc_io_ops, rtc, port, RTC_PORTS, "rtc" });
	if (err) {
		free(rtc);
		return err;
	}
	*ret = rtc;
	return 0;
}

void rtc_set_cmos(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	check(reg > REG_D && reg < RTC_CMOS_BYTES && reg != REG_CENTURY);
	chipset_lock(rtc->chipset);
	rtc->cmos[reg] = value;
	chipset_unlock(rtc->chipset);
}

void rtc_destroy(struct rtc *rtc)
{
	if (!rtc) {
		return;
	}
	chipset_remove(rtc->chipset, rtc);
	/* No vCPU posts any more; what one has posted runs now. */
	while (atomic_load(&rtc->rearm.queued)) {
		loop_turn(rtc->loop);
	}
	loop_timer_cancel(&rtc->timer);
	free(rtc);
}

void rtc_reset(struct rtc *rtc)
{
	chipset_lock(rtc->chipset);
	rtc->cmos[REG_B] &= (uint8_t) ~(B_INTERRUPTS | B_SET);
	rtc->cmos[REG_C] = 0;
	rtc->index = 0;
	rtc_update_irq(rtc);
	chipset_unlock(rtc->chipset);
	loop_timer_cancel(&rtc->timer);
}

void rtc_save(struct rtc *rtc, struct save *save)
{
	chipset_lock(rtc->chipset);
	save_u32(save, RTC_STATE_INDEX, rtc->index);
	save_u64(save, RTC_STATE_OFFSET_NS, (uint64_t)rtc->offset_ns);
	save_bytes(save, RTC_STATE_CMOS, rtc->cmos, sizeof(rtc->cmos));
	chipset_unlock(rtc->chipset);
}

int rtc_load(struct rtc *rtc, struct load *load)
{
	struct load_field field;

	chipset_lock(rtc->chipset);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case RTC_STATE_INDEX:
			rtc->index = (uint8_t)load_u32(load, &field) & (RTC_CMOS_BYTES - 1);
			break;
		case RTC_STATE_OFFSET_NS:
			rtc->offset_ns = (int64_t)load_u64(load, &field);
			if (rtc->offset_ns > OFFSET_NS_MAX || rtc->offset_ns < -OFFSET_NS_MAX) {
				rtc->offset_ns = 0;
				load_fail(load);
			}
			break;
		case RTC_STATE_CMOS:
			load_bytes(load, &field, rtc->cmos, sizeof(rtc->cmos));
			break;
		default:
			break;
		}
	}
	rtc->seen_ns = rtc_now_ns(rtc);
	rtc->level = (rtc->cmos[REG_C] & rtc->cmos[REG_B] & B_INTERRUPTS) != 0;
	irq_line_set(&rtc->irq, rtc->level);
	chipset_unlock(rtc->chipset);
	rtc_arm(rtc);
	return load_result(load);
}

void rtc_inspect(struct rtc *rtc, struct inspect *at)
{
	chipset_lock(rtc->chipset);
	inspect_format(at, "offset_seconds", "%lld", (long long)(rtc->offset_ns / SECOND_NS));
	inspect_format(at, "control", "0x%x", rtc->cmos[REG_B]);
	inspect_u64(at, "interrupts", rtc->interrupts);
	chipset_unlock(rtc->chipset);
}
