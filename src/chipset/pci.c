/* SPDX-License-Identifier: MIT */
#include "chipset/pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/board.h"

#define DEVFNS           256U
#define ADDRESS_ENABLE   0x80000000U
#define ADDRESS_MASK     0x80fffffcU
#define DATA_OFFSET      4U /* 0xcfc among the ports */
#define RESET_OFFSET     (BOARD_RESET_PORT - BOARD_PCI_CONFIG_PORT)
#define RESET_CPU        0x04U
#define RESET_WRITABLE   0x06U

#define BAR_IS_IO        0x1U
#define BAR_PREFETCH     0x8U
#define BAR_IO_FLAGS     0x3U
#define BAR_FLAGS        0xfU
#define ROM_ENABLE       0x1U
#define ROM_FLAGS        0x7ffU

#define COMMAND_WRITABLE 0x0147U /* io, memory, master, parity error response, SERR */
#define STATUS_CLEARS                                                                              \
	(PCI_STATUS_TARGET_ABORT | PCI_STATUS_GOT_ABORT | PCI_STATUS_MASTER_ABORT |                \
	 PCI_STATUS_SYSTEM_ERROR | PCI_STATUS_PARITY_ERROR | 0x0100U)

enum { BUS_STATE_ADDRESS = 1, BUS_STATE_RESET_CONTROL = 2 };
enum { FUNCTION_STATE_CONFIG = 1 };

struct pci_bus {
	struct chipset *chipset; /* borrowed */
	struct chipset_power power;
	struct pci_function *functions[DEVFNS]; /* borrowed */
	pci_route_fn *route;
	void *route_ctx;
	unsigned int raised[PCI_WIRES]; /* pins that pull each wire */
	uint32_t address;
	uint8_t reset_control;
	uint64_t resets, conflicts;
};

/* ---- base addresses ------------------------------------------------------------------------------ */

static uint32_t bar_offset(unsigned int bar)
{
	return bar == PCI_BAR_ROM ? PCI_ROM_ADDRESS : PCI_BAR_0 + 4 * bar;
}

/*
 * Where the guest wants it, or 0: nowhere. All ones are a question for its size, and nothing is put
 * at address 0, where every BAR begins.
 */
static uint64_t bar_wanted(const struct pci_function *function, unsigned int bar)
{
	const struct pci_bar *b = &function->bars[bar];
	uint32_t command = pci_get(function, PCI_COMMAND, 2);
	uint32_t value = pci_get(function, bar_offset(bar), 4);
	uint32_t mask = ~(b->bytes - 1);
	uint32_t base = value & mask;

	if (b->bytes == 0 || !(command & (b->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) ||
	    base == mask || (bar == PCI_BAR_ROM && !(value & ROM_ENABLE)) ||
	    (b->is_io && base > UINT16_MAX)) {
		return 0;
	}
	return base;
}

static void bar_unmap(struct pci_function *function, unsigned int bar)
{
	struct pci_bar *b = &function->bars[bar];

	if (b->ops) {
		chipset_unmap(function->bus->chipset, b->is_io, b->base);
	}
	b->is_mapped = false;
	if (function->ops && function->ops->bar_moved) {
		function->ops->bar_moved(function, bar, b->base, false);
	}
}

static void bar_map(struct pci_function *function, unsigned int bar, uint64_t base)
{
	struct pci_bar *b = &function->bars[bar];
	const struct io_region region = {
		.ops = b->ops, .ctx = b->ctx, .base = base, .bytes = b->bytes, .name = b->name
	};

	if (b->ops && chipset_map(function->bus->chipset, b->is_io, &region)) {
		function->bus
			->conflicts++; /* somebody is there: it is tried again when anything moves */
		return;
	}
	b->base = base;
	b->is_mapped = true;
	if (function->ops && function->ops->bar_moved) {
		function->ops->bar_moved(function, bar, base, true);
	}
}

static void unmap_moved(struct pci_function *function)
{
	for (unsigned int bar = 0; bar < PCI_BARS_MAX; bar++) {
		const struct pci_bar *b = &function->bars[bar];

		if (b->is_mapped && bar_wanted(function, bar) != b->base) {
			bar_unmap(function, bar);
		}
	}
}

static void map_wanted(struct pci_function *function)
{
	for (unsigned int bar = 0; bar < PCI_BARS_MAX; bar++) {
		uint64_t base = bar_wanted(function, bar);

		if (!function->bars[bar].is_mapped && base) {
			bar_map(function, bar, base);
		}
	}
}

/* What has left its place may have made room for another. */
static void map_all(struct pci_bus *bus)
{
	for (unsigned int i = 0; i < DEVFNS; i++) {
		if (bus->functions[i]) {
			map_wanted(bus->functions[i]);
		}
	}
}

static void init_bar(struct pci_function *function, unsigned int bar)
{
	const struct pci_bar *b = &function->bars[bar];
	uint32_t at = bar_offset(bar), mask = ~(b->bytes - 1), flags = 0;

	if (b->bytes == 0) {
		return;
	}
	check(num_is_power_of_2(b->bytes));
	if (bar == PCI_BAR_ROM) {
		mask = (mask & ~ROM_FLAGS) | ROM_ENABLE;
	} else if (b->is_io) {
		mask &= ~BAR_IO_FLAGS;
		flags = BAR_IS_IO;
	} else {
		mask &= ~BAR_FLAGS;
		flags = b->is_prefetchable ? BAR_PREFETCH : 0;
	}
	pci_put(function, at, flags, 4);
	for (unsigned int i = 0; i < 4; i++) {
		function->writable[at + i] = (uint8_t)(mask >> 8 * i);
	}
}

/* ---- interrupts ---------------------------------------------------------------------------------- */

void pci_set_intx(struct pci_function *function, bool level)
{
	struct pci_bus *bus = function->bus;
	unsigned int pin = function->config[PCI_INTERRUPT_PIN], wire;

	if (!bus || pin == 0 || function->intx == level) {
		return;
	}
	function->intx = level;
	wire = (pin - 1 + (function->devfn >> 3)) % PCI_WIRES;
	bus->raised[wire] += level ? 1U : -1U;
	if (bus->route && bus->raised[wire] == (level ? 1U : 0U)) {
		bus->route(bus->route_ctx, wire, level);
	}
}

/* ---- configuration space -------------------------------------------------------------------------- */

static bool touches(uint32_t offset, unsigned int bytes, uint32_t first, uint32_t end)
{
	return offset < end && offset + bytes > first;
}

static void function_write(struct pci_function *function, uint32_t offset, uint32_t value,
			   unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++) {
		uint8_t *byte = &function->config[offset + i];
		uint8_t written = (uint8_t)(value >> 8 * i);
		uint8_t writable = function->writable[offset + i];

		*byte = (uint8_t)((*byte & ~writable) | (written & writable));
		*byte &= (uint8_t) ~(written & function->clears[offset + i]);
	}
	if (touches(offset, bytes, PCI_COMMAND, PCI_COMMAND + 2) ||
	    touches(offset, bytes, PCI_BAR_0, PCI_BAR_0 + 24) ||
	    touches(offset, bytes, PCI_ROM_ADDRESS, PCI_ROM_ADDRESS + 4)) {
		unmap_moved(function);
		map_all(function->bus);
	}
	if (function->ops && function->ops->config_written) {
		function->ops->config_written(function, offset, bytes);
	}
}

static uint32_t function_read(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	if (function->ops && function->ops->config_read) {
		function->ops->config_read(function, offset, bytes);
	}
	return pci_get(function, offset, bytes);
}

/* The function at the address register's place, or NULL. There is one bus. */
static struct pci_function *addressed(const struct pci_bus *bus)
{
	if (!(bus->address & ADDRESS_ENABLE) || (bus->address >> 16 & 0xff) != 0) {
		return NULL;
	}
	return bus->functions[bus->address >> 8 & 0xff];
}

static uint64_t port_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct pci_bus *bus = ctx;
	struct pci_function *function;

	if (offset == 0 && bytes == 4) {
		return bus->address;
	}
	if (offset == RESET_OFFSET && bytes == 1) {
		return bus->reset_control;
	}
	function = addressed(bus);
	if (offset < DATA_OFFSET || !function) {
		return ~0ULL;
	}
	return function_read(function, (bus->address & 0xfc) + (uint32_t)offset - DATA_OFFSET,
			     bytes);
}

static void write_reset_control(struct pci_bus *bus, uint8_t value)
{
	bool was_set = bus->reset_control & RESET_CPU;

	bus->reset_control = value & RESET_WRITABLE;
	if (value & RESET_CPU && !was_set) {
		bus->resets++;
		bus->power.ops->on_reset(bus->power.ctx);
	}
}

static void port_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct pci_bus *bus = ctx;
	struct pci_function *function;

	if (offset == 0 && bytes == 4) {
		bus->address = (uint32_t)value & ADDRESS_MASK;
		return;
	}
	if (offset == RESET_OFFSET && bytes == 1) {
		write_reset_control(bus, (uint8_t)value);
		return;
	}
	function = addressed(bus);
	if (offset >= DATA_OFFSET && function) {
		function_write(function, (bus->address & 0xfc) + (uint32_t)offset - DATA_OFFSET,
			       (uint32_t)value, bytes);
	}
}

/* ---- functions ------------------------------------------------------------------------------------ */

void pci_function_init(struct pci_function *function, const char *name,
		       const struct pci_identity *identity)
{
	*function = (struct pci_function){ .name = name };
	pci_put(function, PCI_VENDOR_ID, identity->vendor, 2);
	pci_put(function, PCI_DEVICE_ID, identity->device, 2);
	pci_put(function, PCI_REVISION, identity->revision, 1);
	pci_put(function, PCI_CLASS_PROG, identity->class_code, 3);
	pci_put(function, PCI_SUBSYSTEM, identity->subsystem_vendor, 2);
	pci_put(function, PCI_SUBSYSTEM + 2, identity->subsystem_device, 2);
	pci_put(function, PCI_INTERRUPT_PIN, identity->interrupt_pin, 1);
	function->writable[PCI_COMMAND] = COMMAND_WRITABLE & 0xff;
	function->writable[PCI_COMMAND + 1] = COMMAND_WRITABLE >> 8;
	function->clears[PCI_STATUS + 1] = STATUS_CLEARS >> 8;
	function->writable[PCI_CACHE_LINE] = function->writable[PCI_LATENCY] = 0xff;
	if (identity->interrupt_pin) {
		function->writable[PCI_INTERRUPT_LINE] = 0xff;
	}
}

int pci_add(struct pci_bus *bus, struct pci_function *function, uint8_t devfn)
{
	int err = 0;

	chipset_lock(bus->chipset);
	if (bus->functions[devfn]) {
		err = -EEXIST;
	} else {
		for (unsigned int bar = 0; bar < PCI_BARS_MAX; bar++) {
			init_bar(function, bar);
		}
		function->bus = bus;
		function->devfn = devfn;
		bus->functions[devfn] = function;
	}
	chipset_unlock(bus->chipset);
	return err;
}

static void unmap_bars(struct pci_function *function)
{
	for (unsigned int bar = 0; bar < PCI_BARS_MAX; bar++) {
		if (function->bars[bar].is_mapped) {
			bar_unmap(function, bar);
		}
	}
}

void pci_remove(struct pci_function *function)
{
	struct pci_bus *bus = function->bus;

	if (!bus) {
		return; /* it was never added */
	}
	chipset_lock(bus->chipset);
	pci_set_intx(function, false);
	unmap_bars(function);
	bus->functions[function->devfn] = NULL;
	function->bus = NULL;
	map_all(bus);
	chipset_unlock(bus->chipset);
}

void pci_function_reset(struct pci_function *function)
{
	pci_set_intx(function, false);
	unmap_bars(function);
	pci_put(function, PCI_COMMAND, 0, 2);
	function->config[PCI_CACHE_LINE] = function->config[PCI_LATENCY] = 0;
	function->config[PCI_STATUS + 1] &= (uint8_t) ~(STATUS_CLEARS >> 8);
	function->config[PCI_INTERRUPT_LINE] = 0;
	for (unsigned int bar = 0; bar < PCI_BARS_MAX; bar++) {
		init_bar(function, bar);
	}
}

void pci_function_save(const struct pci_function *function, struct save *save)
{
	save_bytes(save, FUNCTION_STATE_CONFIG, function->config, sizeof(function->config));
}

int pci_function_load(struct pci_function *function, struct load *load)
{
	uint8_t saved[PCI_CONFIG_BYTES];
	struct load_field field;

	while (load_next(load, &field)) {
		if (field.tag != FUNCTION_STATE_CONFIG) {
			continue;
		}
		load_bytes(load, &field, saved, sizeof(saved));
		for (unsigned int i = 0; i < sizeof(saved); i++) {
			uint8_t mask = function->writable[i] | function->clears[i];

			function->config[i] =
				(uint8_t)((function->config[i] & ~mask) | (saved[i] & mask));
		}
	}
	if (function->bus) {
		unmap_moved(function);
		map_all(function->bus);
	}
	return load_result(load);
}

/* ---- the bus -------------------------------------------------------------------------------------- */

int pci_bus_create(struct chipset *chipset, const struct chipset_power *power, struct pci_bus **ret)
{
	static const struct io_region_ops port_ops = { port_read, port_write };
	struct pci_bus *bus = fault_alloc(1, sizeof(*bus));
	int err;

	if (!bus) {
		return -ENOMEM;
	}
	bus->chipset = chipset;
	bus->power = *power;
	const struct io_region region = { &port_ops, bus, BOARD_PCI_CONFIG_PORT,
					  BOARD_PCI_CONFIG_BYTES, "pci config" };

	err = chipset_pio_add(chipset, &region);
	if (err) {
		free(bus);
		return err;
	}
	*ret = bus;
	return 0;
}

void pci_bus_destroy(struct pci_bus *bus)
{
	if (bus) {
		chipset_remove(bus->chipset, bus);
	}
	free(bus);
}

void pci_bus_route(struct pci_bus *bus, pci_route_fn *route, void *ctx)
{
	bus->route = route;
	bus->route_ctx = ctx;
}

void pci_bus_reset(struct pci_bus *bus)
{
	chipset_lock(bus->chipset);
	bus->address = 0;
	bus->reset_control = 0;
	chipset_unlock(bus->chipset);
}

void pci_bus_save(struct pci_bus *bus, struct save *save)
{
	chipset_lock(bus->chipset);
	save_u32(save, BUS_STATE_ADDRESS, bus->address);
	save_u32(save, BUS_STATE_RESET_CONTROL, bus->reset_control);
	chipset_unlock(bus->chipset);
}

int pci_bus_load(struct pci_bus *bus, struct load *load)
{
	struct load_field field;

	chipset_lock(bus->chipset);
	while (load_next(load, &field)) {
		if (field.tag == BUS_STATE_ADDRESS) {
			bus->address = load_u32(load, &field) & ADDRESS_MASK;
		} else if (field.tag == BUS_STATE_RESET_CONTROL) {
			bus->reset_control = (uint8_t)load_u32(load, &field) & RESET_WRITABLE;
		}
	}
	chipset_unlock(bus->chipset);
	return load_result(load);
}

static void inspect_bars(const struct pci_function *function, struct inspect *at)
{
	for (unsigned int bar = 0; bar < PCI_BARS_MAX; bar++) {
		const struct pci_bar *b = &function->bars[bar];

		if (b->is_mapped) {
			struct inspect item = inspect_item(at, "bars");

			inspect_u64(&item, "bar", bar);
			inspect_format(&item, b->is_io ? "port" : "gpa", "0x%llx",
				       (unsigned long long)b->base);
			inspect_u64(&item, "bytes", b->bytes);
		}
	}
}

void pci_bus_inspect(struct pci_bus *bus, struct inspect *at)
{
	chipset_lock(bus->chipset);
	for (unsigned int i = 0; i < DEVFNS; i++) {
		const struct pci_function *function = bus->functions[i];

		if (function) {
			struct inspect item = inspect_item(at, "functions");

			inspect_format(&item, "place", "%02x.%u", i >> 3, i & 7);
			inspect_string(&item, "name", function->name);
			inspect_format(&item, "id", "%04x:%04x",
				       pci_get(function, PCI_VENDOR_ID, 2),
				       pci_get(function, PCI_DEVICE_ID, 2));
			inspect_format(&item, "command", "0x%04x",
				       pci_get(function, PCI_COMMAND, 2));
			inspect_bool(&item, "interrupt", function->intx);
			inspect_bars(function, &item);
		}
	}
	inspect_u64(at, "resets", bus->resets);
	inspect_u64(at, "conflicts", bus->conflicts);
	chipset_unlock(bus->chipset);
}
