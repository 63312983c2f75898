/* SPDX-License-Identifier: MIT */
/*
 * The power management function of the 82371AB (PIIX4), function 3: it says where the ACPI registers of
 * pm.h are, and has the SMBus host, to which no device answers.
 *
 * Of the 64 ports at PMBASE those of PM1 and the PM timer are there; the others (GPE, processor and
 * device states, general pins) read as zero. SMI sources do nothing.
 *
 *   owner   vm, which owns pm too and lets it live longer
 *   thread  vCPU threads under the chipset lock
 *   spec    Intel 82371AB data sheet (290562): 7.1 (configuration), 7.2 (ports), 7.3 (SMBus)
 */
#pragma once

#include "chipset/pci.h"
#include "chipset/pm.h"

struct piix4_pm;

/* pm has no ports until firmware says where. 0, -ENOMEM or pci_add's. */
MUST_CHECK int piix4_pm_create(struct chipset *chipset, struct pci_bus *bus, uint8_t devfn,
			       struct pm *pm, struct piix4_pm **ret);
void piix4_pm_destroy(struct piix4_pm *function);

/* Any thread, while the vCPUs are out. pm is reset apart, and loaded apart. */
void piix4_pm_reset(struct piix4_pm *function);
void piix4_pm_save(struct piix4_pm *function, struct save *save);
MUST_CHECK int piix4_pm_load(struct piix4_pm *function, struct load *load);

/* The same: what firmware would do, for a kernel that is booted without: places and enables both blocks. */
void piix4_pm_configure(struct piix4_pm *function, uint16_t pm_base, uint16_t smb_base);

/* Any thread. */
void piix4_pm_inspect(struct piix4_pm *function, struct inspect *at);
