/* SPDX-License-Identifier: MIT */
/*
 * The keyboard controller of a PS/2 with a keyboard and a mouse behind it.
 *
 *     host's input ─► keyboard ─┐ queue  ┌─ translation (set 2 to set 1) ─┐
 *     host's input ─► mouse ────┤ queue  └────────────────────────────────┴─► output buffer ─► port 0x60
 *     guest's commands ─────────┴────── answers of the controller first ─┘         └─► IRQ 1 or 12
 *
 * A byte moves into the output buffer as soon as that is empty; it takes no time. The interrupt line of
 * the buffer's byte is up while the byte is there and the command byte lets it.
 *
 * The keyboard has 102 keys, scan code sets 1 and 2; no typematic of its own (hosts repeat). The mouse
 * has three buttons; it becomes one with a wheel, or with a wheel and five buttons, by the usual knocks
 * (sample rates 200, 100, 80; 200, 200, 80).
 *
 * The controller's reset line works (command 0xfe, output port bit 0); A20 is never masked.
 *
 *   owner   vm    thread  vCPU threads under the chipset lock; input from any thread
 *   spec    IBM PS/2 Hardware Interface Technical Reference: keyboard and auxiliary device controller,
 *           keyboards, mouse
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "chipset/chipset.h"
#include "state/load.h"
#include "state/save.h"

/* Keys are named by their codes of set 1, with this for those behind 0xe0. */
#define PS2_KEY_EXTENDED  0x100U
#define PS2_KEY_PRINT     (PS2_KEY_EXTENDED | 0x37U)
#define PS2_KEY_PAUSE     (PS2_KEY_EXTENDED | 0x45U)

/* Buttons of the mouse. */
#define PS2_BUTTON_LEFT   0x01U
#define PS2_BUTTON_RIGHT  0x02U
#define PS2_BUTTON_MIDDLE 0x04U
#define PS2_BUTTON_4      0x08U
#define PS2_BUTTON_5      0x10U

struct ps2;

struct ps2_config {
	struct chipset *chipset;
	struct irq_line keyboard, mouse; /* IRQ 1 and 12 */
	const struct chipset_power *power;
};

/* Ports 0x60 and 0x64. 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int ps2_create(const struct ps2_config *config, struct ps2 **ret);
void ps2_destroy(struct ps2 *ps2);

/* Any thread: a key goes down (again: it repeats) or up. False: no room, or no such key; it is lost. */
bool ps2_key(struct ps2 *ps2, uint16_t key, bool is_down);

/* Any thread: movement (right and down are positive), wheel (down is positive), buttons held now. */
void ps2_mouse(struct ps2 *ps2, int32_t dx, int32_t dy, int32_t dz, uint8_t buttons);

/* Any thread, while the vCPUs are out. */
void ps2_reset(struct ps2 *ps2);
void ps2_save(struct ps2 *ps2, struct save *save);
MUST_CHECK int ps2_load(struct ps2 *ps2, struct load *load);

/* Any thread. */
void ps2_inspect(struct ps2 *ps2, struct inspect *at);
