/* SPDX-License-Identifier: MIT */
/*
 * A function on a PCI bus, as the chip behind it sees it: its configuration space with the bits that a
 * guest may write, its base addresses (BARs), its interrupt pin, and whether it may be master of the bus.
 * The bus (chipset/pci.h) does what every function has in common; the chip adds what is its own.
 *
 * All values are the guest's: little-endian in config[], in the machine's order in calls.
 *
 *   owner   the chip embeds a struct pci_function; the bus keeps a pointer between pci_add() and
 *           pci_remove()
 *   thread  everything under the chipset lock
 *   spec    PCI Local Bus 2.1: 6 (configuration space), 2.2.6 (interrupts)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dev/pio.h"

#define PCI_CONFIG_BYTES        256U
#define PCI_BARS_MAX            7U /* six base addresses and the expansion ROM */
#define PCI_BAR_ROM             6U

/* Offsets in configuration space (6.1). */
#define PCI_VENDOR_ID           0x00U
#define PCI_DEVICE_ID           0x02U
#define PCI_COMMAND             0x04U
#define PCI_STATUS              0x06U
#define PCI_REVISION            0x08U
#define PCI_CLASS_PROG          0x09U
#define PCI_CLASS_DEVICE        0x0aU
#define PCI_CACHE_LINE          0x0cU
#define PCI_LATENCY             0x0dU
#define PCI_HEADER_TYPE         0x0eU
#define PCI_BAR_0               0x10U
#define PCI_SUBSYSTEM           0x2cU /* vendor, then device */
#define PCI_ROM_ADDRESS         0x30U
#define PCI_CAPABILITIES        0x34U
#define PCI_INTERRUPT_LINE      0x3cU
#define PCI_INTERRUPT_PIN       0x3dU
#define PCI_MIN_GRANT           0x3eU
#define PCI_MAX_LATENCY         0x3fU

/* PCI_COMMAND */
#define PCI_COMMAND_IO          0x0001U
#define PCI_COMMAND_MEMORY      0x0002U
#define PCI_COMMAND_MASTER      0x0004U

/* PCI_STATUS */
#define PCI_STATUS_CAPABILITIES 0x0010U
#define PCI_STATUS_FAST_BACK    0x0080U
#define PCI_STATUS_MEDIUM       0x0200U /* DEVSEL timing */
#define PCI_STATUS_TARGET_ABORT 0x0800U
#define PCI_STATUS_GOT_ABORT    0x1000U
#define PCI_STATUS_MASTER_ABORT 0x2000U
#define PCI_STATUS_SYSTEM_ERROR 0x4000U
#define PCI_STATUS_PARITY_ERROR 0x8000U

#define PCI_HEADER_MULTI        0x80U

struct pci_function;

struct pci_function_ops {
	/* Optional: before config[offset, offset + bytes) is read: what changes by itself is put there. */
	void (*config_read)(struct pci_function *function, uint32_t offset, unsigned int bytes);
	/* Optional: after the bits that can be written were; the common header is dealt with. */
	void (*config_written)(struct pci_function *function, uint32_t offset, unsigned int bytes);
	/*
	 * Optional: a BAR is mapped at base, or (is_mapped false) no longer where it was. For what a chip
	 * has there beside its ops: doorbells, memory. After it the bus's own mapping is up to date.
	 */
	void (*bar_moved)(struct pci_function *function, unsigned int bar, uint64_t base,
			  bool is_mapped);
};

/* What a BAR decodes. bytes: a power of two (ports: 4 to 256; memory: 16 or more), 0: no BAR. */
struct pci_bar {
	uint32_t bytes;
	bool is_io;
	bool is_prefetchable;
	const struct io_region_ops *ops; /* NULL: the chip maps it itself (bar_moved) */
	void *ctx;
	const char *name; /* of the region, in inspect */

	/* the bus's */
	bool is_mapped;
	uint64_t base;
};

struct pci_bus;

struct pci_function {
	const struct pci_function_ops *ops; /* may be NULL */
	void *ctx;
	const char *name;

	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits that a guest can set and clear */
	uint8_t clears[PCI_CONFIG_BYTES];   /* bits that writing a one clears */
	struct pci_bar bars[PCI_BARS_MAX];

	/* the bus's */
	struct pci_bus *bus;
	uint8_t devfn; /* device << 3 | function */
	bool intx;     /* the level of its pin */
};

struct pci_identity {
	uint16_t vendor, device;
	uint8_t revision;
	uint32_t class_code; /* base class, sub-class, interface: 0x020000 */
	uint16_t subsystem_vendor, subsystem_device;
	uint8_t interrupt_pin; /* 1: INTA … 4: INTD, 0: none */
};

/* Bytes of configuration space, in the chip's hands. */
static inline uint32_t pci_get(const struct pci_function *function, uint32_t offset,
			       unsigned int bytes)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint32_t)function->config[offset + i] << 8 * i;
	}
	return value;
}

static inline void pci_put(struct pci_function *function, uint32_t offset, uint32_t value,
			   unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++) {
		function->config[offset + i] = (uint8_t)(value >> 8 * i);
	}
}

/* Whether the guest lets it read and write memory: a chip looks before each burst. */
static inline bool pci_is_master(const struct pci_function *function)
{
	return (function->config[PCI_COMMAND] & PCI_COMMAND_MASTER) != 0;
}
