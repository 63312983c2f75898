/* SPDX-License-Identifier: MIT */
#include "chipset/i440bx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/piix4.h"

/* Registers that are kept and do nothing, with what power-on leaves in them (3.3). */
static const struct {
	uint8_t offset, bytes;
	uint32_t writable, power_on;
} registers[] = {
	{ 0x50, 4, 0xff00bff7, 0x00000000 }, /* NBXCFG */
	{ 0x57, 1, 0x3f, 0x00 },             /* DRAMC */
	{ 0x58, 1, 0x03, 0x03 },             /* DRAMT */
	{ 0x59, 1, 0x30, 0x00 },             /* PAM0: 0xf0000 to 0xfffff */
	{ 0x5a, 1, 0x33, 0x00 },             /* PAM1 to PAM6: 16 KiB each, from 0xc0000 */
	{ 0x5b, 1, 0x33, 0x00 },
	{ 0x5c, 1, 0x33, 0x00 },
	{ 0x5d, 1, 0x33, 0x00 },
	{ 0x5e, 1, 0x33, 0x00 },
	{ 0x5f, 1, 0x33, 0x00 },
	{ 0x60, 4, 0xffffffff, 0x01010101 }, /* DRB */
	{ 0x64, 4, 0xffffffff, 0x01010101 },
	{ 0x68, 1, 0xc0, 0x00 },       /* FDHC */
	{ 0x69, 4, 0xffffffff, 0x00 }, /* MBSC */
	{ 0x6d, 2, 0xffff, 0x00 },
	{ I440BX_SMRAM, 1, 0x78, 0x02 },
	{ 0x73, 1, 0x80, 0x38 },     /* ESMRAMC */
	{ 0x74, 2, 0xffff, 0x0000 }, /* RPS */
	{ 0x76, 2, 0x03ff, 0x0000 }, /* SDRAMC */
	{ 0x78, 2, 0xffff, 0x0000 }, /* PGPOL */
	{ 0x7a, 1, 0xff, 0x00 },     /* PMCR */
	{ 0x90, 1, 0xff, 0x80 },     /* ERRCMD */
};

struct i440bx {
	struct pci_function function; /* first */
	struct chipset *chipset;      /* borrowed */
};

/* D_LCK shuts SMRAM for good: neither it nor D_OPEN can be written until power-on. */
static void config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	uint8_t *smram = &function->config[I440BX_SMRAM];

	(void)offset;
	(void)bytes;
	if (*smram & I440BX_SMRAM_LOCK) {
		*smram &= (uint8_t)~I440BX_SMRAM_OPEN;
		function->writable[I440BX_SMRAM] = I440BX_SMRAM_CLOSE;
	}
}

static const struct pci_function_ops bridge_ops = { .config_written = config_written };

static void power_on(struct i440bx *bridge)
{
	struct pci_function *function = &bridge->function;

	/* Always a master, always seeing memory (3.3.3). */
	pci_put(function, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		pci_put(function, registers[i].offset, registers[i].power_on, registers[i].bytes);
		for (unsigned int byte = 0; byte < registers[i].bytes; byte++) {
			function->writable[registers[i].offset + byte] =
				(uint8_t)(registers[i].writable >> 8 * byte);
		}
	}
}

int i440bx_create(struct chipset *chipset, struct pci_bus *bus, struct i440bx **ret)
{
	/*
	 * The subsystem is what SeaBIOS knows emulated machines by (src/fw/paravirt.c): it then takes
	 * its settings from fw_cfg.
	 */
	static const struct pci_identity identity = {
		.vendor = PIIX4_VENDOR,
		.device = I440BX_DEVICE_NO_AGP,
		.revision = 3,
		.class_code = 0x060000,
		.subsystem_vendor = 0x1af4,
		.subsystem_device = 0x1100,
	};
	struct i440bx *bridge = fault_alloc(1, sizeof(*bridge));
	int err;

	if (!bridge) {
		return -ENOMEM;
	}
	bridge->chipset = chipset;
	pci_function_init(&bridge->function, "82443BX", &identity);
	bridge->function.ops = &bridge_ops;
	pci_put(&bridge->function, PCI_STATUS, PCI_STATUS_MEDIUM, 2);
	bridge->function.writable[PCI_COMMAND] = 0;
	bridge->function.writable[PCI_COMMAND + 1] = 0x01; /* SERRE */
	bridge->function.writable[PCI_CACHE_LINE] = 0;
	power_on(bridge);
	err = pci_add(bus, &bridge->function, PCI_DEVFN(0, 0));
	if (err) {
		free(bridge);
		return err;
	}
	*ret = bridge;
	return 0;
}

void i440bx_destroy(struct i440bx *bridge)
{
	if (bridge) {
		pci_remove(&bridge->function);
	}
	free(bridge);
}

void i440bx_reset(struct i440bx *bridge)
{
	chipset_lock(bridge->chipset);
	pci_function_reset(&bridge->function);
	power_on(bridge);
	chipset_unlock(bridge->chipset);
}

void i440bx_save(struct i440bx *bridge, struct save *save)
{
	chipset_lock(bridge->chipset);
	pci_function_save(&bridge->function, save);
	chipset_unlock(bridge->chipset);
}

int i440bx_load(struct i440bx *bridge, struct load *load)
{
	int err;

	chipset_lock(bridge->chipset);
	power_on(bridge);
	err = pci_function_load(&bridge->function, load);
	config_written(&bridge->function, 0, 0);
	chipset_unlock(bridge->chipset);
	return err;
}

void i440bx_inspect(struct i440bx *bridge, struct inspect *at)
{
	const uint8_t *config = bridge->function.config;

	chipset_lock(bridge->chipset);
	inspect_format(at, "pam", "%02x %02x %02x %02x %02x %02x %02x", config[0x59], config[0x5a],
		       config[0x5b], config[0x5c], config[0x5d], config[0x5e], config[0x5f]);
	inspect_format(at, "smram", "%02x", config[I440BX_SMRAM]);
	chipset_unlock(bridge->chipset);
}
