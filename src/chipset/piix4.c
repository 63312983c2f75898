/* SPDX-License-Identifier: MIT */
#include "chipset/piix4.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/board.h"
#include "proto/piix4.h"

#define IRQS              16U
/* 0, 1, 2, 8 and 13 are the board's own and cannot be chosen (4.1.10). */
#define IRQS_ALLOWED      0xdef8U

#define PORT_92_WRITABLE  0x03U
#define PORT_92_FAST_INIT 0x01U

/* Kept, and without effect but for PIRQRC (4.1). */
static const struct {
	uint8_t offset, bytes;
	uint32_t writable, power_on;
} registers[] = {
	{ 0x4c, 1, 0x7f, 0x4d },             /* IORT */
	{ 0x4e, 2, 0x07ff, 0x0003 },         /* XBCS */
	{ 0x60, 4, 0x8f8f8f8f, 0x80808080 }, /* PIRQRC */
	{ 0x64, 1, 0xff, 0x10 },             /* SERIRQC */
	{ 0x69, 1, 0xfe, 0x02 },             /* TOM */
	{ 0x6a, 2, 0x80d4, 0x0000 },         /* MSTAT */
	{ 0x76, 2, 0x8f8f, 0x0c0c },         /* MBDMA */
	{ 0x80, 1, 0x7f, 0x00 },             /* APICBASE */
	{ 0x82, 1, 0x0f, 0x00 },             /* DLC */
	{ 0x90, 2, 0xfcff, 0x0000 },         /* PDMACFG */
	{ 0x92, 4, 0xffffffff, 0x00 },       /* DDMABP */
	{ 0xb0, 4, 0xffffffff, 0x00 },       /* GENCFG */
	{ 0xcb, 1, 0x3d, 0x21 },             /* RTCCFG */
};

enum {
	PIIX4_STATE_FUNCTION = 1,
	PIIX4_STATE_PORT_92 = 2,
	PIIX4_STATE_APM_CONTROL = 3,
	PIIX4_STATE_APM_STATUS = 4,
};

struct piix4 {
	struct pci_function function; /* first */
	struct chipset *chipset;      /* borrowed */
	struct pci_bus *bus;          /* borrowed */
	struct chipset_power power;
	struct irq_line irq;
	bool pirqs[PIIX4_PIRQS];
	uint16_t levels; /* of the IRQs, as the router pulls them */
	uint8_t port_92, apm_control, apm_status;
	uint64_t resets;
};

/* ---- interrupts ---- */

static uint16_t wanted_levels(const struct piix4 *piix4)
{
	uint16_t levels = 0;

	for (unsigned int i = 0; i < PIIX4_PIRQS; i++) {
		uint8_t route = piix4->function.config[PIIX4_PIRQ + i];

		if (piix4->pirqs[i] && !(route & PIIX4_PIRQ_DISABLED)) {
			levels |= (uint16_t)(1U << (route & PIIX4_PIRQ_IRQ));
		}
	}
	return levels & IRQS_ALLOWED;
}

static void update_irqs(struct piix4 *piix4)
{
	uint16_t levels = wanted_levels(piix4), changed = levels ^ piix4->levels;

	piix4->levels = levels;
	for (unsigned int irq = 0; irq < IRQS; irq++) {
		if (changed & 1U << irq && piix4->irq.set) {
			piix4->irq.set(piix4->irq.ctx, irq, (levels & 1U << irq) != 0);
		}
	}
}

static void on_wire(void *ctx, unsigned int wire, bool level)
{
	struct piix4 *piix4 = ctx;

	piix4->pirqs[(wire + PIIX4_PIRQS - 1) % PIIX4_PIRQS] = level;
	update_irqs(piix4);
}

static void config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	if (offset < PIIX4_PIRQ + PIIX4_PIRQS && offset + bytes > PIIX4_PIRQ) {
		update_irqs(container_of(function, struct piix4, function));
	}
}

static const struct pci_function_ops function_ops = { .config_written = config_written };

/* ---- ports ---- */

static uint64_t port_92_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct piix4 *piix4 = ctx;

	return piix4->port_92;
}

static void port_92_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct piix4 *piix4 = ctx;
	bool was_set = piix4->port_92 & PORT_92_FAST_INIT;

	piix4->port_92 = (uint8_t)value & PORT_92_WRITABLE;
	if ((value & PORT_92_FAST_INIT) && !was_set) {
		piix4->resets++;
		piix4->power.ops->on_reset(piix4->power.ctx);
	}
}

static uint64_t apm_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct piix4 *piix4 = ctx;

	return (uint64_t)(piix4->apm_control | piix4->apm_status << 8) >> 8 * offset;
}

/* There is no SMM: nobody hears the command. */
static void apm_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct piix4 *piix4 = ctx;

	if (offset == 0) {
		piix4->apm_control = (uint8_t)value;
		value >>= 8;
	}
	if (offset + bytes > 1) {
		piix4->apm_status = (uint8_t)value;
	}
}

static const struct io_region_ops port_92_ops = { port_92_read, port_92_write };
static const struct io_region_ops apm_ops = { apm_read, apm_write };

/* ---- life ---- */

static void power_on(struct piix4 *piix4)
{
	struct pci_function *function = &piix4->function;

	/* Its accesses to ISA cannot be switched off (4.1.3). */
	pci_put(function, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		pci_put(function, registers[i].offset, registers[i].power_on, registers[i].bytes);
		for (unsigned int byte = 0; byte < registers[i].bytes; byte++) {
			function->writable[registers[i].offset + byte] =
				(uint8_t)(registers[i].writable >> 8 * byte);
		}
	}
	piix4->port_92 = piix4->apm_control = piix4->apm_status = 0;
	update_irqs(piix4);
}

static void init_function(struct piix4 *piix4)
{
	static const struct pci_identity identity = {
		.vendor = PIIX4_VENDOR,
		.device = PIIX4_ISA_DEVICE,
		.revision = 1,
		.class_code = 0x060100,
	};
	struct pci_function *function = &piix4->function;

	pci_function_init(function, "PIIX4 ISA bridge", &identity);
	function->ops = &function_ops;
	pci_put(function, PCI_STATUS, PCI_STATUS_MEDIUM | PCI_STATUS_FAST_BACK, 2);
	function->config[PCI_HEADER_TYPE] = PCI_HEADER_MULTI;
	function->writable[PCI_COMMAND] = 0x08;     /* special cycles */
	function->writable[PCI_COMMAND + 1] = 0x01; /* SERR */
	function->writable[PCI_CACHE_LINE] = function->writable[PCI_LATENCY] = 0;
}

int piix4_create(const struct piix4_config *config, struct piix4 **ret)
{
	struct piix4 *piix4 = fault_alloc(1, sizeof(*piix4));
	int err = 0;

	if (!piix4) {
		return -ENOMEM;
	}
	piix4->chipset = config->chipset;
	piix4->bus = config->bus;
	piix4->irq = config->irq;
	piix4->power = *config->power;
	init_function(piix4);
	power_on(piix4);

	const struct io_region regions[] = {
		{ &port_92_ops, piix4, BOARD_PORT_92, 1, "port 92" },
		{ &apm_ops, piix4, BOARD_APM_PORT, BOARD_APM_BYTES, "apm" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regions) && !err; i++) {
		err = chipset_pio_add(config->chipset, &regions[i]);
	}
	if (!err) {
		err = pci_add(config->bus, &piix4->function, config->devfn);
	}
	if (err) {
		chipset_remove(config->chipset, piix4);
		free(piix4);
		return err;
	}
	pci_bus_route(config->bus, on_wire, piix4);
	*ret = piix4;
	return 0;
}

void piix4_destroy(struct piix4 *piix4)
{
	if (piix4) {
		pci_bus_route(piix4->bus, NULL, NULL);
		pci_remove(&piix4->function);
		chipset_remove(piix4->chipset, piix4);
	}
	free(piix4);
}

void piix4_reset(struct piix4 *piix4)
{
	chipset_lock(piix4->chipset);
	pci_function_reset(&piix4->function);
	power_on(piix4);
	chipset_unlock(piix4->chipset);
}

void piix4_save(struct piix4 *piix4, struct save *save)
{
	chipset_lock(piix4->chipset);
	save_group_begin(save, PIIX4_STATE_FUNCTION);
	pci_function_save(&piix4->function, save);
	save_group_end(save);
	save_u32(save, PIIX4_STATE_PORT_92, piix4->port_92);
	save_u32(save, PIIX4_STATE_APM_CONTROL, piix4->apm_control);
	save_u32(save, PIIX4_STATE_APM_STATUS, piix4->apm_status);
	chipset_unlock(piix4->chipset);
}

static void load_function(struct piix4 *piix4, struct load *load, const struct load_field *field)
{
	struct load inner;

	load_group(load, field, &inner);
	if (pci_function_load(&piix4->function, &inner)) {
		load_fail(&inner);
	}
	load_close(load, &inner);
}

int piix4_load(struct piix4 *piix4, struct load *load)
{
	struct load_field field;

	chipset_lock(piix4->chipset);
	power_on(piix4);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case PIIX4_STATE_FUNCTION:
			load_function(piix4, load, &field);
			break;
		case PIIX4_STATE_PORT_92:
			piix4->port_92 = (uint8_t)load_u32(load, &field) & PORT_92_WRITABLE;
			break;
		case PIIX4_STATE_APM_CONTROL:
			piix4->apm_control = (uint8_t)load_u32(load, &field);
			break;
		case PIIX4_STATE_APM_STATUS:
			piix4->apm_status = (uint8_t)load_u32(load, &field);
			break;
		default:
			break;
		}
	}
	update_irqs(piix4);
	chipset_unlock(piix4->chipset);
	return load_result(load);
}

void piix4_inspect(struct piix4 *piix4, struct inspect *at)
{
	chipset_lock(piix4->chipset);
	for (unsigned int i = 0; i < PIIX4_PIRQS; i++) {
		struct inspect item = inspect_item(at, "pirqs");
		uint8_t route = piix4->function.config[PIIX4_PIRQ + i];

		inspect_bool(&item, "enabled", !(route & PIIX4_PIRQ_DISABLED));
		inspect_u64(&item, "irq", route & PIIX4_PIRQ_IRQ);
		inspect_bool(&item, "level", piix4->pirqs[i]);
	}
	inspect_u64(at, "resets", piix4->resets);
	chipset_unlock(piix4->chipset);
}
