/* SPDX-License-Identifier: MIT */
#include "chipset/piix4_pm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/board.h"
#include "proto/piix4.h"

/* The ports of PM1 and the timer are pm.c's; those behind them are here. */
#define REST_OFFSET   12U
#define REST_BYTES    (PIIX4_PM_BYTES - REST_OFFSET)

#define PM_BASE_MASK  0xffc0U
#define SMB_BASE_MASK 0xfff0U
#define BASE_IS_IO    0x01U

/* INTB of nobody: the SCI is wired to IRQ 9 (7.1.10). */
#define INTERRUPT_PIN 1

enum { PM_FUNCTION_STATE_FUNCTION = 1, PM_FUNCTION_STATE_SMB = 2 };

struct piix4_pm {
	struct pci_function function; /* first */
	struct chipset *chipset;      /* borrowed */
	struct pm *pm;                /* borrowed */
	uint16_t pm_base, smb_base;   /* 0: not decoded */
	bool has_rest, has_smb;       /* mapped; false also where another has the ports */
	uint8_t smb[PIIX4_SMB_BYTES];
	uint64_t conflicts, transactions;
};

/* ---- ports ---- */

static uint64_t rest_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return 0;
}

static void rest_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
}

static uint64_t smb_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct piix4_pm *f = ctx;
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint64_t)f->smb[offset + i] << 8 * i;
	}
	return value;
}

/* A transaction is over at once: the address was not acknowledged. */
static void smb_write_byte(struct piix4_pm *f, uint64_t offset, uint8_t value)
{
	if (offset == PIIX4_SMB_STATUS) {
		f->smb[offset] &= (uint8_t) ~(value & PIIX4_SMB_STATUS_CLEARS);
		return;
	}
	f->smb[offset] = value;
	if (offset == PIIX4_SMB_CONTROL && (value & PIIX4_SMB_START)) {
		f->smb[offset] &= (uint8_t)~PIIX4_SMB_START;
		f->smb[PIIX4_SMB_STATUS] |= PIIX4_SMB_DEVICE_ERROR;
		f->transactions++;
	}
}

static void smb_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++) {
		smb_write_byte(ctx, offset + i, (uint8_t)(value >> 8 * i));
	}
}

static const struct io_region_ops rest_ops = { rest_read, rest_write };
static const struct io_region_ops smb_ops = { smb_read, smb_write };

/* ---- where they are ---- */

static void place_pm(struct piix4_pm *f, uint16_t base)
{
	const struct io_region rest = { &rest_ops, f, base + REST_OFFSET, REST_BYTES, "pm rest" };

	if (base == f->pm_base) {
		return;
	}
	if (f->has_rest) {
		chipset_unmap(f->chipset, true, f->pm_base + REST_OFFSET);
	}
	f->pm_base = base;
	f->has_rest = base && chipset_map(f->chipset, true, &rest) == 0;
	if (pm_place(f->pm, base)) {
		f->conflicts++;
	}
}

static void place_smb(struct piix4_pm *f, uint16_t base)
{
	const struct io_region region = { &smb_ops, f, base, PIIX4_SMB_BYTES, "smbus" };

	if (base == f->smb_base) {
		return;
	}
	if (f->has_smb) {
		chipset_unmap(f->chipset, true, f->smb_base);
	}
	f->smb_base = base;
	f->has_smb = base && chipset_map(f->chipset, true, &region) == 0;
	f->conflicts += base && !f->has_smb;
}

static void place(struct piix4_pm *f)
{
	struct pci_function *function = &f->function;
	uint32_t pm_base = pci_get(function, PIIX4_PM_BASE, 2) & PM_BASE_MASK;
	uint32_t smb_base = pci_get(function, PIIX4_SMB_BASE, 2) & SMB_BASE_MASK;
	bool has_pm = function->config[PIIX4_PM_MISC] & PIIX4_PM_MISC_ENABLE;
	bool has_smb = (function->config[PIIX4_SMB_CONFIG] & PIIX4_SMB_CONFIG_ENABLE) &&
		       (function->config[PCI_COMMAND] & PCI_COMMAND_IO);

	/* SMBus first leaves, then PM moves: so they can change places. */
	if (!has_smb || smb_base != f->smb_base) {
		place_smb(f, 0);
	}
	place_pm(f, has_pm ? (uint16_t)pm_base : 0);
	place_smb(f, has_smb ? (uint16_t)smb_base : 0);
}

static void config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	(void)offset;
	(void)bytes;
	place(container_of(function, struct piix4_pm, function));
}

static const struct pci_function_ops function_ops = { .config_written = config_written };

/* ---- life ---- */

static void power_on(struct piix4_pm *f)
{
	struct pci_function *function = &f->function;

	/* DEVACTA, DEVRES and the like: kept, without effect (7.1.12 on). */
	memset(function->config + 0x44, 0, PIIX4_SMB_BASE - 0x44);
	memset(function->writable + 0x44, 0xff, PIIX4_PM_MISC - 0x44);
	pci_put(function, PIIX4_PM_BASE, BASE_IS_IO, 4);
	function->writable[PIIX4_PM_BASE] = PM_BASE_MASK & 0xff;
	function->writable[PIIX4_PM_BASE + 1] = PM_BASE_MASK >> 8;
	function->writable[PIIX4_PM_MISC] = 0x01;
	pci_put(function, PIIX4_SMB_BASE, BASE_IS_IO, 4);
	function->writable[PIIX4_SMB_BASE] = SMB_BASE_MASK & 0xff;
	function->writable[PIIX4_SMB_BASE + 1] = SMB_BASE_MASK >> 8;
	pci_put(function, PIIX4_SMB_CONFIG, 0, 4);
	pci_put(function, PIIX4_SMB_CONFIG, 0, 4);
	memset(function->writable + PIIX4_SMB_CONFIG, 0xff, 4);
	function->writable[PIIX4_SMB_CONFIG] = 0x0f;
	memset(f->smb, 0, sizeof(f->smb));
	place(f);
}

int piix4_pm_create(struct chipset *chipset, struct pci_bus *bus, uint8_t devfn, struct pm *pm,
		    struct piix4_pm **ret)
{
	static const struct pci_identity identity = {
		.vendor = PIIX4_VENDOR,
		.device = PIIX4_PM_DEVICE,
		.revision = 3,
		.class_code = 0x068000,
		.interrupt_pin = INTERRUPT_PIN,
	};
	struct piix4_pm *f = fault_alloc(1, sizeof(*f));
	int err;

	if (!f) {
		return -ENOMEM;
	}
	f->chipset = chipset;
	f->pm = pm;
	pci_function_init(&f->function, "PIIX4 power management", &identity);
	f->function.ops = &function_ops;
	pci_put(&f->function, PCI_STATUS, PCI_STATUS_MEDIUM | PCI_STATUS_FAST_BACK, 2);
	f->function.writable[PCI_COMMAND] = PCI_COMMAND_IO;
	f->function.writable[PCI_COMMAND + 1] = 0;
	f->function.writable[PCI_CACHE_LINE] = 0;
	chipset_lock(chipset);
	pm_set_s5(pm, PIIX4_SLP_TYP_S5);
	power_on(f);
	err = pm_place(pm, 0);
	chipset_unlock(chipset);
	if (!err) {
		err = pci_add(bus, &f->function, devfn);
	}
	if (err) {
		free(f);
		return err;
	}
	*ret = f;
	return 0;
}

void piix4_pm_destroy(struct piix4_pm *f)
{
	if (f) {
		pci_remove(&f->function);
		chipset_remove(f->chipset, f);
	}
	free(f);
}

void piix4_pm_reset(struct piix4_pm *f)
{
	chipset_lock(f->chipset);
	pci_function_reset(&f->function);
	power_on(f);
	chipset_unlock(f->chipset);
}

void piix4_pm_configure(struct piix4_pm *f, uint16_t pm_base, uint16_t smb_base)
{
	struct pci_function *function = &f->function;

	chipset_lock(f->chipset);
	function->config[PCI_INTERRUPT_LINE] = BOARD_SCI_GSI;
	function->config[PCI_COMMAND] |= PCI_COMMAND_IO;
	pci_put(function, PIIX4_PM_BASE, pm_base | BASE_IS_IO, 4);
	function->config[PIIX4_PM_MISC] = PIIX4_PM_MISC_ENABLE;
	pci_put(function, PIIX4_SMB_BASE, smb_base | BASE_IS_IO, 4);
	function->config[PIIX4_SMB_CONFIG] = PIIX4_SMB_CONFIG_ENABLE;
	place(f);
	chipset_unlock(f->chipset);
}

void piix4_pm_save(struct piix4_pm *f, struct save *save)
{
	chipset_lock(f->chipset);
	save_group_begin(save, PM_FUNCTION_STATE_FUNCTION);
	pci_function_save(&f->function, save);
	save_group_end(save);
	save_bytes(save, PM_FUNCTION_STATE_SMB, f->smb, sizeof(f->smb));
	chipset_unlock(f->chipset);
}

int piix4_pm_load(struct piix4_pm *f, struct load *load)
{
	struct load_field field;
	struct load inner;

	chipset_lock(f->chipset);
	power_on(f);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case PM_FUNCTION_STATE_FUNCTION:
			load_group(load, &field, &inner);
			if (pci_function_load(&f->function, &inner)) {
				load_fail(&inner);
			}
			load_close(load, &inner);
			break;
		case PM_FUNCTION_STATE_SMB:
			load_bytes(load, &field, f->smb, sizeof(f->smb));
			break;
		default:
			break;
		}
	}
	place(f);
	chipset_unlock(f->chipset);
	return load_result(load);
}

void piix4_pm_inspect(struct piix4_pm *f, struct inspect *at)
{
	chipset_lock(f->chipset);
	inspect_format(at, "pm_base", "0x%x", f->pm_base);
	inspect_format(at, "smb_base", "0x%x", f->smb_base);
	inspect_u64(at, "smb_transactions", f->transactions);
	inspect_u64(at, "conflicts", f->conflicts);
	chipset_unlock(f->chipset);
}
