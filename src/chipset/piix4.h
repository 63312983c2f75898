/* SPDX-License-Identifier: MIT */
/*
 * The PCI-to-ISA bridge of the 82371AB (PIIX4), function 0: it routes PCI's four wires to ISA interrupts,
 * and has port 0x92 and the two APM ports. (Its PICs, timer and ELCR are KVM's; the reset register is
 * the PCI bus's, among whose ports it lies.)
 *
 *     pci_set_intx() ─► wire (pin + device) ─► PIRQ (wire - 1) ─► PIRQRC ─► IRQ 3 … 15 = GSI 3 … 15
 *
 * The board wires its slots as most do: INTA of device 1 is PIRQA, of device 2 PIRQB. Firmware that knows
 * the PIIX family counts on that.
 *
 * A20 is never masked: bit 1 of port 0x92 reads as written.
 *
 *   owner   vm    thread  vCPU threads under the chipset lock
 *   spec    Intel 82371AB data sheet (290562): 4.1 (configuration), 4.2.6 (NMI, port 92), 4.2.7 (APM)
 */
#pragma once

#include "chipset/pci.h"

struct piix4;

struct piix4_config {
	struct chipset *chipset;
	struct pci_bus *bus;
	uint8_t devfn;
	struct irq_line irq; /* whose gsi is of no account: lines 3 to 15 are set */
	const struct chipset_power *power;
};

/* Becomes the bus's router. 0, -ENOMEM, pci_add's or chipset_pio_add's. */
MUST_CHECK int piix4_create(const struct piix4_config *config, struct piix4 **ret);
void piix4_destroy(struct piix4 *piix4);

/*
 * Any thread, while the vCPUs are out. Chips on the bus are reset first, and loaded after: their pins
 * are theirs.
 */
void piix4_reset(struct piix4 *piix4);
void piix4_save(struct piix4 *piix4, struct save *save);
MUST_CHECK int piix4_load(struct piix4 *piix4, struct load *load);

/* Any thread. */
void piix4_inspect(struct piix4 *piix4, struct inspect *at);
