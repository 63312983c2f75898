/* SPDX-License-Identifier: MIT */
/*
 * Firmware tables: ACPI (RSDP, XSDT, FADT, FACS, MADT, DSDT, SSDT) from 0xe0000, where the BIOS of
 * a PC has them, and SMBIOS from 0xf0000.
 *
 *   owner   none: only functions    thread  any one, while no processor runs
 *   spec    ACPI 6.4: 5.2, 20.2 (AML); SMBIOS 3.2: 5.2.2, 7
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "mem/mem.h"

#define ACPI_AREA_GPA     0xe0000ULL
#define ACPI_AREA_BYTES   0x10000U
#define SMBIOS_AREA_GPA   0xf0000ULL
#define SMBIOS_AREA_BYTES 0x10000U

struct acpi_config {
	uint32_t vps; /* APIC ids are 0 … vps - 1 */
	gpa_t mmio_high_gpa;
	uint64_t mmio_high_bytes; /* 0: none */
	bool pm_timer;
};

/*
 * Writes the tables; *ret_rsdp is where they begin. 0, or -E2BIG when there are too many
 * processors for the area.
 */
MUST_CHECK int acpi_build(const struct mem *mem, const struct acpi_config *config, gpa_t *ret_rsdp);

/* Writes who made this machine. Linux takes a PC with a date after 2001 at its word about PCI. */
MUST_CHECK int smbios_build(const struct mem *mem);
