/* SPDX-License-Identifier: MIT */
/*
 * The host bridge 82443BX, place 00.0, strapped for no AGP: its identity, its memory attribute registers
 * and SMRAM's, which read back as written.
 *
 * They do nothing: from 0xc0000 to 0xfffff the partition has RAM that can always be read and written,
 * into which the firmware is copied at power-on, as if all were shadowed and open. What that leaves out:
 * a guest cannot write-protect the area, nor look at the ROM behind it, and there is no SMRAM (nor SMM).
 *
 *   owner   vm    thread  vCPU threads under the chipset lock
 *   spec    Intel 440BX AGPset: 82443BX data sheet (290633): 3.3
 */
#pragma once

#include "chipset/pci.h"

struct i440bx;

/* At PCI_DEVFN(0, 0). 0, -ENOMEM or pci_add's. */
MUST_CHECK int i440bx_create(struct chipset *chipset, struct pci_bus *bus, struct i440bx **ret);
void i440bx_destroy(struct i440bx *bridge);

/* Any thread, while the vCPUs are out. */
void i440bx_reset(struct i440bx *bridge);
void i440bx_save(struct i440bx *bridge, struct save *save);
MUST_CHECK int i440bx_load(struct i440bx *bridge, struct load *load);

/* Any thread. */
void i440bx_inspect(struct i440bx *bridge, struct inspect *at);
