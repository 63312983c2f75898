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
	bool is_legacy; /* the legacy board: PCI, PS/2, two serial ports */
	bool has_vga;
};

/*
 * Writes the tables; *ret_rsdp is where they begin. 0, or -E2BIG when there are too many
 * processors for the area.
 */
MUST_CHECK int acpi_build(const struct mem *mem, const struct acpi_config *config, gpa_t *ret_rsdp);

/* Where pointers and tables are in the area, for who moves it. */
struct acpi_pointer {
	uint32_t offset, bytes;
};

struct acpi_table {
	uint32_t offset, bytes;
};

#define ACPI_CHECKSUM_OFFSET    9U
#define ACPI_RSDP_BYTES         36U
#define ACPI_RSDP_OLD_BYTES     20U
#define ACPI_RSDP_RSDT          16U
#define ACPI_RSDP_XSDT          24U
#define ACPI_LOADER_ENTRY_BYTES 128U

/*
 * The same tables for firmware that finds places for them itself: the files etc/acpi/tables and
 * etc/acpi/rsdp, with etc/table-loader, the commands that allocate them, turn offsets into pointers and
 * make checksums (SeaBIOS' src/fw/romfile_loader.h; QEMU's hw/acpi/bios-linker-loader.c).
 */
struct acpi_firmware {
	uint8_t tables[ACPI_AREA_BYTES];
	uint32_t tables_bytes;
	uint8_t rsdp[ACPI_RSDP_BYTES];
	uint8_t loader[ACPI_LOADER_ENTRY_BYTES * 46];
	uint32_t loader_bytes;
};

/* 0, or -E2BIG. No longer than that: 70 KiB, not for small stacks. */
MUST_CHECK int acpi_build_firmware(const struct acpi_config *config, struct acpi_firmware *ret);

/*
 * Who has made the machine. Linux's ata_piix leaves disks to hv_storvsc on one that calls itself a virtual
 * machine of Hyper-V, and drives them itself on one of Virtual Server 2005 (ata_piix.c:
 * piix_ignore_devices_quirk()).
 */
enum smbios_identity { SMBIOS_TABIQUE, SMBIOS_HYPER_V, SMBIOS_VIRTUAL_SERVER };

/*
 * SMBIOS as files for firmware, which finds places for them: etc/smbios/smbios-anchor (2.8) and
 * etc/smbios/smbios-tables. Firmware adds itself (type 0).
 */
#define SMBIOS_ANCHOR_BYTES 31U
#define SMBIOS_TABLES_BYTES 512U

struct smbios_firmware {
	uint8_t anchor[SMBIOS_ANCHOR_BYTES];
	uint8_t tables[SMBIOS_TABLES_BYTES];
	uint32_t tables_bytes;
};

void smbios_build_firmware(enum smbios_identity identity, struct smbios_firmware *ret);

/* Writes who made this machine. Linux takes a PC with a date after 2001 at its word about PCI. */
MUST_CHECK int smbios_build(const struct mem *mem, enum smbios_identity identity);
