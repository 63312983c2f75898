/* SPDX-License-Identifier: MIT */
/*
 * A PCI bus: configuration mechanism #1 (ports 0xcf8 and 0xcfc), base addresses that become regions of
 * the chipset while the guest has them decoded, and interrupt pins, which meet in four wires on their way
 * to the interrupt router.
 *
 *     guest ── 0xcf8/0xcfc ──► pci ──► pci_function's config ──► BARs ──► chipset's regions
 *     chip  ── pci_set_intx() ──► wire (pin + device) mod 4 ──► router (the ISA bridge) ──► irq_line
 *
 *   owner   vm; functions are removed before it is destroyed
 *   thread  the chipset lock; see each function
 *   spec    PCI Local Bus 2.1: 3.7.4.1 (mechanism #1), 6.1, 6.2.5 (base addresses)
 */
#pragma once

#include <stdint.h>

#include "chipset/chipset.h"
#include "dev/inspect.h"
#include "dev/pci.h"
#include "state/load.h"
#include "state/save.h"

#define PCI_DEVICES_MAX             32U
#define PCI_WIRES                   4U /* PIRQA to PIRQD */

#define PCI_DEVFN(device, function) ((uint8_t)((device) << 3 | (function)))

struct pci_bus;

/* Called with the chipset lock held when the level of a wire (0 to 3) changes. */
typedef void pci_route_fn(void *ctx, unsigned int wire, bool level);

/* 0, -ENOMEM or chipset_pio_add's. The reset control register lies among its ports: power's. */
MUST_CHECK int pci_bus_create(struct chipset *chipset, const struct chipset_power *power,
			      struct pci_bus **ret);
void pci_bus_destroy(struct pci_bus *bus);

/* Before the first VP runs: where the wires lead. */
void pci_bus_route(struct pci_bus *bus, pci_route_fn *route, void *ctx);

/* ---- for chips ------------------------------------------------------------------------------------ */

/*
 * The common header: identity, and which of its bits can be written. BARs are the chip's to fill in
 * (function->bars) before pci_add().
 */
void pci_function_init(struct pci_function *function, const char *name,
		       const struct pci_identity *identity);

/* Takes the chipset lock. 0, or -EEXIST when this place is taken. */
MUST_CHECK int pci_add(struct pci_bus *bus, struct pci_function *function, uint8_t devfn);

/* Takes the chipset lock: its pin falls, its BARs are unmapped, nobody calls it any more. */
void pci_remove(struct pci_function *function);

/* With the chipset lock held: the level of its interrupt pin. */
void pci_set_intx(struct pci_function *function, bool level);

/*
 * With the chipset lock held: power-on values of the header (command, BARs, interrupt line); the rest is
 * the chip's.
 */
void pci_function_reset(struct pci_function *function);

/* The header, with all that depends on it: BARs are mapped anew by load. Within the chip's own fields. */
void pci_function_save(const struct pci_function *function, struct save *save);
MUST_CHECK int pci_function_load(struct pci_function *function, struct load *load);

/* ---- the bus's life --------------------------------------------------------------------------------- */

/* Any thread, while the vCPUs are out. */
void pci_bus_reset(struct pci_bus *bus);
void pci_bus_save(struct pci_bus *bus, struct save *save);
MUST_CHECK int pci_bus_load(struct pci_bus *bus, struct load *load);

/* Functions by place, with identity and BARs. Any thread. */
void pci_bus_inspect(struct pci_bus *bus, struct inspect *at);
