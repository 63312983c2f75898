/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware: the PM1 event and control registers with the power button, the PM timer, and
 * sleep state S5, which turns the machine off. Ports and lines: proto/board.h.
 *
 *   owner   vm    thread  vCPU threads under the chipset lock; the button from any thread
 *   spec    ACPI 6.4: 4.8 (fixed hardware registers)
 */
#pragma once

#include <stdint.h>

#include "chipset/chipset.h"
#include "state/load.h"
#include "state/save.h"

struct pm;

/* sci: the level of the ACPI interrupt. power is copied. 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int pm_create(struct chipset *chipset, const struct irq_line *sci,
			 const struct chipset_power *power, struct pm **ret);
void pm_destroy(struct pm *pm);

/*
 * With the chipset lock held, or before the first vCPU runs: its ports begin at base (0: it has none);
 * at first they are proto/board.h's. chipset_map's errors: then it has none.
 */
MUST_CHECK int pm_place(struct pm *pm, uint16_t base);

/* Likewise: the SLP_TYP that switches the machine off; at first BOARD_SLP_TYP_S5. */
void pm_set_s5(struct pm *pm, uint8_t slp_typ);

/* Any thread: the power button is pressed; the guest is asked to shut down, if it listens. */
void pm_press_power_button(struct pm *pm);

/* Any thread, while the vCPUs are out. */
void pm_reset(struct pm *pm);
void pm_save(struct pm *pm, struct save *save);
MUST_CHECK int pm_load(struct pm *pm, struct load *load);

/* Any thread. */
void pm_inspect(struct pm *pm, struct inspect *at);
