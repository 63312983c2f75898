/* SPDX-License-Identifier: MIT */
#include "chipset/pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "loop/loop.h"
#include "proto/board.h"

/* PM1 status and enable (ACPI 4.8.3.1). */
#define PM1_TIMER          0x0001U
#define PM1_GLOBAL         0x0020U
#define PM1_POWER_BUTTON   0x0100U
#define PM1_RTC            0x0400U /* never happens, but Linux insists on enabling it */
#define PM1_WAKE           0x8000U
#define PM1_STATUS_MASK    (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC | PM1_WAKE)
#define PM1_ENABLE_MASK    (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC)

/* PM1 control (ACPI 4.8.3.2). SCI_EN is always on: there is no legacy mode to leave. */
#define PM1_SCI_ENABLE     0x0001U
#define PM1_SLEEP_SHIFT    10
#define PM1_SLEEP_MASK     7U
#define PM1_SLEEP_ENABLE   0x2000U
#define PM1_CONTROL_STORED (PM1_SLEEP_MASK << PM1_SLEEP_SHIFT)

/* Bit 23 of the timer turns over: status bit TMR. The timer itself counts 24 bits here. */
#define PM_TIMER_MASK      0xffffffU

enum {
	PM_STATE_STATUS = 1,
	PM_STATE_ENABLE = 2,
	PM_STATE_CONTROL = 3,
	PM_STATE_TIMER_NS = 4,
};

/* The block's layout, the PIIX4's too (290562: 7.2). */
#define PM_REGIONS        3U
#define PM_EVENT_OFFSET   0U
#define PM_CONTROL_OFFSET (BOARD_PM1_CONTROL_PORT - BOARD_PM1_EVENT_PORT)
#define PM_TIMER_OFFSET   (BOARD_PM_TIMER_PORT - BOARD_PM1_EVENT_PORT)

struct pm {
	struct chipset *chipset; /* borrowed */
	struct irq_line sci;
	struct chipset_power power;
	uint16_t status, enable, control;
	bool sci_level;
	uint8_t slp_typ_s5;
	struct io_region regions[PM_REGIONS]; /* bases: of the block at port 0 */
	bool is_mapped[PM_REGIONS];
	uint16_t base;
	uint64_t timer_zero_ns; /* when the timer was 0; may be "negative" */
	uint64_t presses;
};

static void pm_update_sci(struct pm *pm)
{
	bool level = (pm->status & pm->enable) != 0;

	if (level != pm->sci_level) {
		pm->sci_level = level;
		irq_line_set(&pm->sci, level);
	}
}

static uint64_t event_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct pm *pm = ctx;
	uint32_t both = pm->status | (uint32_t)pm->enable << 16;

	return both >> (offset * 8);
}

static void event_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct pm *pm = ctx;
	uint32_t mask = (uint32_t)((1ULL << (bytes * 8)) - 1) << (offset * 8);
	uint32_t bits = (uint32_t)(value << (offset * 8)) & mask;

	pm->status &= (uint16_t)~bits; /* write 1 to clear */
	if (mask >> 16) {
		uint32_t enable = ((uint32_t)pm->enable << 16 & ~mask) | bits;

		pm->enable = (uint16_t)(enable >> 16) & PM1_ENABLE_MASK;
	}
	pm_update_sci(pm);
}

static uint64_t control_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct pm *pm = ctx;

	return (uint64_t)(pm->control | PM1_SCI_ENABLE) >> (offset * 8);
}

static void control_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct pm *pm = ctx;
	uint32_t mask = (uint32_t)((1ULL << (bytes * 8)) - 1) << (offset * 8);
	uint32_t control = (pm->control & ~mask) | ((uint32_t)(value << (offset * 8)) & mask);

	pm->control = (uint16_t)(control & PM1_CONTROL_STORED);
	if ((control & PM1_SLEEP_ENABLE) &&
	    (control >> PM1_SLEEP_SHIFT & PM1_SLEEP_MASK) == pm->slp_typ_s5) {
		pm->power.ops->on_poweroff(pm->power.ctx);
	}
}

static uint64_t timer_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct pm *pm = ctx;
	unsigned __int128 ns = loop_now_ns() - pm->timer_zero_ns;
	uint32_t ticks = (uint32_t)(ns * BOARD_PM_TIMER_HZ / 1000000000U) & PM_TIMER_MASK;

	return ticks >> (offset * 8);
}

static void timer_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
}

static const struct io_region_ops event_ops = { event_read, event_write };
static const struct io_region_ops control_ops = { control_read, control_write };
static const struct io_region_ops timer_ops = { timer_read, timer_write };

static void unmap(struct pm *pm)
{
	for (size_t i = 0; i < PM_REGIONS; i++) {
		if (pm->is_mapped[i]) {
			chipset_unmap(pm->chipset, true, pm->base + pm->regions[i].base);
		}
		pm->is_mapped[i] = false;
	}
}

int pm_place(struct pm *pm, uint16_t base)
{
	int err = 0;

	unmap(pm);
	pm->base = base;
	for (size_t i = 0; i < PM_REGIONS && base && !err; i++) {
		struct io_region region = pm->regions[i];

		region.base += base;
		err = chipset_map(pm->chipset, true, &region);
		pm->is_mapped[i] = !err;
	}
	if (err) {
		unmap(pm);
	}
	return err;
}

void pm_set_s5(struct pm *pm, uint8_t slp_typ)
{
	pm->slp_typ_s5 = slp_typ;
}

int pm_create(struct chipset *chipset, const struct irq_line *sci,
	      const struct chipset_power *power, struct pm **ret)
{
	struct pm *pm = fault_alloc(1, sizeof(*pm));
	int err;

	if (!pm) {
		return -ENOMEM;
	}
	pm->chipset = chipset;
	pm->sci = *sci;
	pm->power = *power;
	pm->slp_typ_s5 = BOARD_SLP_TYP_S5;
	pm->timer_zero_ns = loop_now_ns();
	pm->regions[0] = (struct io_region){ &event_ops, pm, PM_EVENT_OFFSET, BOARD_PM1_EVENT_BYTES,
					     "pm1 event" };
	pm->regions[1] = (struct io_region){ &control_ops, pm, PM_CONTROL_OFFSET,
					     BOARD_PM1_CONTROL_BYTES, "pm1 control" };
	pm->regions[2] = (struct io_region){ &timer_ops, pm, PM_TIMER_OFFSET, BOARD_PM_TIMER_BYTES,
					     "pm timer" };
	chipset_lock(chipset);
	err = pm_place(pm, BOARD_PM1_EVENT_PORT);
	chipset_unlock(chipset);
	if (err) {
		pm_destroy(pm);
		return err;
	}
	*ret = pm;
	return 0;
}

void pm_destroy(struct pm *pm)
{
	if (pm) {
		chipset_remove(pm->chipset, pm);
	}
	free(pm);
}

void pm_press_power_button(struct pm *pm)
{
	chipset_lock(pm->chipset);
	pm->presses++;
	pm->status |= PM1_POWER_BUTTON;
	pm_update_sci(pm);
	chipset_unlock(pm->chipset);
}

void pm_reset(struct pm *pm)
{
	chipset_lock(pm->chipset);
	pm->status = 0;
	pm->enable = 0;
	pm->control = 0;
	pm->timer_zero_ns = loop_now_ns();
	pm_update_sci(pm);
	chipset_unlock(pm->chipset);
}

void pm_save(struct pm *pm, struct save *save)
{
	chipset_lock(pm->chipset);
	save_u32(save, PM_STATE_STATUS, pm->status);
	save_u32(save, PM_STATE_ENABLE, pm->enable);
	save_u32(save, PM_STATE_CONTROL, pm->control);
	save_u64(save, PM_STATE_TIMER_NS, loop_now_ns() - pm->timer_zero_ns);
	chipset_unlock(pm->chipset);
}

int pm_load(struct pm *pm, struct load *load)
{
	struct load_field field;

	chipset_lock(pm->chipset);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case PM_STATE_STATUS:
			pm->status = (uint16_t)load_u32(load, &field) & PM1_STATUS_MASK;
			break;
		case PM_STATE_ENABLE:
			pm->enable = (uint16_t)load_u32(load, &field) & PM1_ENABLE_MASK;
			break;
		case PM_STATE_CONTROL:
			pm->control = (uint16_t)load_u32(load, &field) & PM1_CONTROL_STORED;
			break;
		case PM_STATE_TIMER_NS:
			pm->timer_zero_ns = loop_now_ns() - load_u64(load, &field);
			break;
		default:
			break;
		}
	}
	pm->sci_level = (pm->status & pm->enable) != 0;
	irq_line_set(&pm->sci, pm->sci_level);
	chipset_unlock(pm->chipset);
	return load_result(load);
}

void pm_inspect(struct pm *pm, struct inspect *at)
{
	chipset_lock(pm->chipset);
	inspect_format(at, "status", "0x%x", pm->status);
	inspect_format(at, "enable", "0x%x", pm->enable);
	inspect_bool(at, "sci", pm->sci_level);
	inspect_u64(at, "power_button_presses", pm->presses);
	chipset_unlock(pm->chipset);
}
