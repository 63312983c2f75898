/* SPDX-License-Identifier: MIT */
/*
 * The board: ports, lines and addresses that firmware tables tell the guest and that devices
 * answer. One place, so that the ACPI tables and the chipset cannot disagree.
 *
 *   spec    IBM PC/AT; ACPI 6.4: 4.8 (fixed hardware); Intel 82093AA (IOAPIC)
 */
#pragma once

/* Serial port 1: 16550A, 8 ports. */
#define BOARD_COM1_PORT          0x3f8U
#define BOARD_COM1_GSI           4U

/* The IDE channels' lines, where PCs have them. */
#define BOARD_IDE_GSI_0          14U
#define BOARD_IDE_GSI_1          15U

/* Real-time clock and CMOS RAM: index and data. */
#define BOARD_RTC_PORT           0x70U
#define BOARD_RTC_GSI            8U

/* Keyboard controller: data and status/command. Only its reset line is there. */
#define BOARD_I8042_DATA_PORT    0x60U
#define BOARD_PORT_B             0x61U /* NMI reasons, speaker gate */
#define BOARD_I8042_COMMAND_PORT 0x64U

/* ACPI fixed hardware. */
#define BOARD_PM1_EVENT_PORT     0x600U /* status u16, enable u16 */
#define BOARD_PM1_EVENT_BYTES    4U
#define BOARD_PM1_CONTROL_PORT   0x604U
#define BOARD_PM1_CONTROL_BYTES  2U
#define BOARD_PM_TIMER_PORT      0x608U
#define BOARD_PM_TIMER_BYTES     4U
#define BOARD_PM_TIMER_HZ        3579545U
#define BOARD_SCI_GSI            9U

/* ---- the legacy board's besides ---- */

#define BOARD_COM2_PORT          0x2f8U
#define BOARD_COM2_GSI           3U
#define BOARD_KEYBOARD_GSI       1U
#define BOARD_MOUSE_GSI          12U
#define BOARD_PORT_92            0x92U /* fast A20 and INIT */
#define BOARD_APM_PORT           0xb2U /* command, status */
#define BOARD_APM_BYTES          2U
#define BOARD_SMB_PORT           0x700U /* where firmware puts the SMBus host */

/* Firmware configuration: selector and data; DMA address. And its debug output. */
#define BOARD_FWCFG_PORT         0x510U
#define BOARD_FWCFG_DMA_PORT     0x514U
#define BOARD_DEBUG_PORT         0x402U

/* Firmware ends at 4 GiB and, a copy of it, at 1 MiB. */
#define BOARD_FIRMWARE_BYTES_MAX 0x40000U
#define BOARD_OPTION_ROMS_GPA    0xc0000ULL

/*
 * VMBus devices and PCI's share the hole below 4 GiB: SeaBIOS hands out PCI's from the end of
 * 0xe0000000 to 0xfebfffff downwards.
 */
#define BOARD_LEGACY_MMIO_GPA    0xd0000000ULL
#define BOARD_LEGACY_MMIO_BYTES  0x10000000ULL
#define BOARD_PCI_MMIO_GPA       0xe0000000ULL

/* SLP_TYP of \_S5 in dsdt.asl, and the fixed register's bits that concern us (ACPI 4.8.3). */
#define BOARD_SLP_TYP_S5         5U

/* PCI configuration mechanism #1 (there is no PCI bus) and the reset control register in it. */
#define BOARD_PCI_CONFIG_PORT    0xcf8U
#define BOARD_PCI_CONFIG_BYTES   8U
#define BOARD_RESET_PORT         0xcf9U
#define BOARD_RESET_VALUE        0x06U

/* MMIO: interrupt controllers, and the window below 4 GiB that VMBus devices may use. */
#define BOARD_IOAPIC_GPA         0xfec00000ULL
#define BOARD_IOAPIC_GSIS        24U
#define BOARD_LAPIC_GPA          0xfee00000ULL
#define BOARD_MMIO_LOW_GPA       0xf8000000ULL
#define BOARD_MMIO_LOW_BYTES     0x06c00000ULL /* ends at the IOAPIC */
