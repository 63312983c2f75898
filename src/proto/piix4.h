/* SPDX-License-Identifier: MIT */
/*
 * The 440BX board's own chips as PCI functions: the host bridge 82443BX, and the 82371AB (PIIX4) with
 * ISA bridge (function 0) and power management (function 3). Function 1 is the IDE controller.
 *
 *   spec    Intel 82443BX data sheet (290633): 3.3; 82371AB data sheet (290562): 4.1, 7.1, 7.2
 */
#pragma once

#define PIIX4_VENDOR            0x8086U
#define I440BX_DEVICE           0x7190U /* with AGP, and then a bridge at 01.0 */
#define I440BX_DEVICE_NO_AGP    0x7192U
#define PIIX4_ISA_DEVICE        0x7110U
#define PIIX4_PM_DEVICE         0x7113U
#define PIIX4_SLOT              7U /* on this board */

/* 82443BX */
#define I440BX_SMRAM            0x72U
#define I440BX_SMRAM_OPEN       0x40U
#define I440BX_SMRAM_CLOSE      0x20U
#define I440BX_SMRAM_LOCK       0x10U

/* Function 0: where PIRQA to PIRQD lead (4.1.10). */
#define PIIX4_PIRQ              0x60U
#define PIIX4_PIRQ_DISABLED     0x80U
#define PIIX4_PIRQ_IRQ          0x0fU
#define PIIX4_PIRQS             4U

/* Function 3: bases of the two blocks of ports (7.1). Bit 0 of a base is always one. */
#define PIIX4_PM_BASE           0x40U
#define PIIX4_PM_MISC           0x80U
#define PIIX4_PM_MISC_ENABLE    0x01U
#define PIIX4_PM_BYTES          64U
#define PIIX4_SMB_BASE          0x90U
#define PIIX4_SMB_CONFIG        0xd2U
#define PIIX4_SMB_CONFIG_ENABLE 0x01U
#define PIIX4_SMB_BYTES         16U

/* The SMBus host's ports (7.3). */
#define PIIX4_SMB_STATUS        0x00U
#define PIIX4_SMB_DEVICE_ERROR  0x04U
#define PIIX4_SMB_STATUS_CLEARS 0x1eU
#define PIIX4_SMB_CONTROL       0x02U
#define PIIX4_SMB_START         0x40U

/* SUS_TYP that switches the machine off (7.2.3). */
#define PIIX4_SLP_TYP_S5        0U
