/* SPDX-License-Identifier: MIT */
/*
 * What is left of the keyboard controller: its reset line, and answers that make a probe for
 * keyboard and mouse fail at once instead of after a time-out. And the two other things a PC is
 * poked for without an own device: the reset control register at 0xcf9 within PCI's configuration
 * ports, which keep an address and show an empty bus; and port B, which a guest asks for an NMI's
 * reason.
 *
 *   owner   vm    thread  vCPU threads under the chipset lock
 *   spec    Intel 8042; PCI 2.1: 3.7.4.1 (configuration mechanism #1); PIIX4: 4.1.4 (RC register)
 */
#pragma once

#include <stdint.h>

#include "chipset/chipset.h"
#include "state/load.h"
#include "state/save.h"

struct i8042;

/* power is copied. 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int i8042_create(struct chipset *chipset, const struct chipset_power *power,
			    struct i8042 **ret);
void i8042_destroy(struct i8042 *i8042);

/* Any thread, while the vCPUs are out. */
void i8042_reset(struct i8042 *i8042);
void i8042_save(struct i8042 *i8042, struct save *save);
MUST_CHECK int i8042_load(struct i8042 *i8042, struct load *load);

/* Any thread. */
void i8042_inspect(struct i8042 *i8042, struct inspect *at);
