/* SPDX-License-Identifier: MIT */
/* A chipset on a loop, with an interrupt line that counts, and port access as a driver has it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chipset/chipset.h"
#include "loop/loop.h"
#include "state/load.h"
#include "state/save.h"

struct rig {
	struct loop *loop;
	struct chipset *chipset;
	bool level;
	unsigned int raised; /* rising edges */
	unsigned int poweroffs, resets;
};

static inline void rig_set_line(void *ctx, uint32_t gsi, bool level)
{
	struct rig *rig = ctx;

	rig->raised += level && !rig->level;
	rig->level = level;
}

static inline struct irq_line rig_line(struct rig *rig)
{
	return (struct irq_line){ .set = rig_set_line, .ctx = rig, .gsi = 4 };
}

static inline void rig_on_poweroff(void *ctx)
{
	((struct rig *)ctx)->poweroffs++;
}

static inline void rig_on_reset(void *ctx)
{
	((struct rig *)ctx)->resets++;
}

static const struct chipset_power_ops rig_power_ops = { rig_on_poweroff, rig_on_reset };

static inline struct chipset_power rig_power(struct rig *rig)
{
	return (struct chipset_power){ .ops = &rig_power_ops, .ctx = rig };
}

static inline void rig_init(struct rig *rig)
{
	struct diag diag;

	*rig = (struct rig){ 0 };
	assert_int_equal(loop_create("test", &rig->loop, &diag), 0);
	assert_int_equal(chipset_create(&rig->chipset), 0);
}

static inline void rig_fini(struct rig *rig)
{
	chipset_destroy(rig->chipset);
	loop_destroy(rig->loop);
}

static inline uint8_t rig_in(struct rig *rig, uint16_t port)
{
	uint8_t value = 0;

	chipset_pio(rig->chipset, port, false, &value, 1, 1);
	return value;
}

static inline void rig_out(struct rig *rig, uint16_t port, uint8_t value)
{
	chipset_pio(rig->chipset, port, true, &value, 1, 1);
}

static inline uint16_t rig_in16(struct rig *rig, uint16_t port)
{
	uint16_t value = 0;

	chipset_pio(rig->chipset, port, false, &value, 2, 1);
	return value;
}

static inline void rig_out16(struct rig *rig, uint16_t port, uint16_t value)
{
	chipset_pio(rig->chipset, port, true, &value, 2, 1);
}

static inline uint32_t rig_in32(struct rig *rig, uint16_t port)
{
	uint32_t value = 0;

	chipset_pio(rig->chipset, port, false, &value, 4, 1);
	return value;
}

static inline void rig_out32(struct rig *rig, uint16_t port, uint32_t value)
{
	chipset_pio(rig->chipset, port, true, &value, 4, 1);
}

/* Runs the loop for a while. */
static inline void rig_turn(struct rig *rig, unsigned int milliseconds)
{
	uint64_t end_ns = loop_now_ns() + milliseconds * 1000000ULL;

	do {
		loop_turn(rig->loop);
	} while (loop_now_ns() < end_ns);
}
