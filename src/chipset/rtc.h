/* SPDX-License-Identifier: MIT */
/*
 * The real-time clock and CMOS RAM: Motorola's MC146818, as in a PC/AT, with the century in
 * register 0x32. It shows the host's UTC plus an offset that the guest sets; UIP is on for the last
 * 244 µs of a second only, and does not stay on longer than the chip's. Alarm, update and periodic
 * interrupts (up to 8192 Hz, late ones merged) on its line.
 *
 *   owner   vm    thread  vCPU threads, and the loop for its timers, under the chipset lock
 *   spec    Motorola MC146818A data sheet
 */
#pragma once

#include <stdint.h>

#include "chipset/chipset.h"
#include "loop/loop.h"
#include "state/load.h"
#include "state/save.h"

struct rtc;

/* The control loop runs its timers. 0, -ENOMEM or chipset_pio_add's. Uses port and port + 1. */
MUST_CHECK int rtc_create(struct chipset *chipset, struct loop *loop, uint16_t port,
			  const struct irq_line *irq, struct rtc **ret);

/* Before the first vCPU runs: a byte of CMOS RAM (0x0e to 0x7f), as a set-up program leaves it. */
void rtc_set_cmos(struct rtc *rtc, uint8_t reg, uint8_t value);

/* On the loop's thread. */
void rtc_destroy(struct rtc *rtc);

/* The loop's thread, while the vCPUs are out. Time and CMOS RAM survive a reset. */
void rtc_reset(struct rtc *rtc);
void rtc_save(struct rtc *rtc, struct save *save);
MUST_CHECK int rtc_load(struct rtc *rtc, struct load *load);

/* Any thread. */
void rtc_inspect(struct rtc *rtc, struct inspect *at);
