/* SPDX-License-Identifier: MIT */
/* A chipset with a PCI bus and guest memory: what a chip's test needs to be its driver. */
#pragma once

#include "chipset/pci.h"
#include "mem/mem.h"
#include "rig.h"

#define PCI_RIG_MEM_BYTES (64ULL << 20)

struct pci_rig {
	struct rig rig;
	struct pci_bus *bus;
	struct mem *mem;
	bool wires[PCI_WIRES];
	unsigned int edges[PCI_WIRES]; /* rising */
};

static inline void pci_rig_route(void *ctx, unsigned int wire, bool level)
{
	struct pci_rig *p = ctx;

	p->edges[wire] += level && !p->wires[wire];
	p->wires[wire] = level;
}

static inline void pci_rig_init(struct pci_rig *p)
{
	const struct mem_config config = { .bytes = PCI_RIG_MEM_BYTES };
	struct chipset_power power;
	struct diag diag;

	*p = (struct pci_rig){ 0 };
	rig_init(&p->rig);
	power = rig_power(&p->rig);
	assert_int_equal(mem_create(&config, &p->mem, &diag), 0);
	assert_int_equal(pci_bus_create(p->rig.chipset, &power, &p->bus), 0);
	pci_bus_route(p->bus, pci_rig_route, p);
}

static inline void pci_rig_fini(struct pci_rig *p)
{
	pci_bus_destroy(p->bus);
	mem_destroy(p->mem);
	rig_fini(&p->rig);
}

static inline void pci_rig_select(struct pci_rig *p, uint8_t devfn, uint32_t offset)
{
	rig_out32(&p->rig, 0xcf8, 0x80000000U | (uint32_t)devfn << 8 | (offset & 0xfc));
}

static inline uint32_t pci_rig_read(struct pci_rig *p, uint8_t devfn, uint32_t offset)
{
	pci_rig_select(p, devfn, offset);
	return rig_in32(&p->rig, 0xcfc);
}

static inline void pci_rig_write(struct pci_rig *p, uint8_t devfn, uint32_t offset, uint32_t value)
{
	pci_rig_select(p, devfn, offset);
	rig_out32(&p->rig, 0xcfc, value);
}

static inline void pci_rig_write16(struct pci_rig *p, uint8_t devfn, uint32_t offset,
				   uint16_t value)
{
	pci_rig_select(p, devfn, offset);
	rig_out16(&p->rig, (uint16_t)(0xcfc + (offset & 2)), value);
}

static inline void pci_rig_write8(struct pci_rig *p, uint8_t devfn, uint32_t offset, uint8_t value)
{
	pci_rig_select(p, devfn, offset);
	rig_out(&p->rig, (uint16_t)(0xcfc + (offset & 3)), value);
}

/* MMIO of a width; what nobody answers reads as all ones. */
static inline uint64_t pci_rig_load(struct pci_rig *p, uint64_t gpa, unsigned int bytes)
{
	uint64_t value = ~0ULL;

	if (!chipset_mmio(p->rig.chipset, gpa, false, &value, bytes)) {
		value = ~0ULL;
	}
	return bytes == 8 ? value : value & ((1ULL << 8 * bytes) - 1);
}

static inline void pci_rig_store(struct pci_rig *p, uint64_t gpa, uint64_t value,
				 unsigned int bytes)
{
	chipset_mmio(p->rig.chipset, gpa, true, &value, bytes);
}
