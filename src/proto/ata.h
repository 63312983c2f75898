/* SPDX-License-Identifier: MIT */
/*
 * ATA and ATAPI on the wire: registers, bits, commands, and where words of IDENTIFY stand; and the bus-master
 * registers that a PIIX4 has beside them.
 *
 *   spec    ATA/ATAPI-6 (T13 1410D): 7 (registers), 8 (commands), 9.1 (reset); SFF-8020i; Intel 82371AB (PIIX4):
 *           5.2 (configuration), 5.3 (bus master); Programming Interface for Bus Master IDE, revision 1.0
 */
#pragma once

/* Where a PC has them: command block, control block, interrupt. */
#define ATA_PORT_PRIMARY             0x1f0U
#define ATA_PORT_PRIMARY_CONTROL     0x3f6U
#define ATA_GSI_PRIMARY              14U
#define ATA_PORT_SECONDARY           0x170U
#define ATA_PORT_SECONDARY_CONTROL   0x376U
#define ATA_GSI_SECONDARY            15U

/* Command block. */
#define ATA_REG_DATA                 0U
#define ATA_REG_ERROR                1U /* write: features */
#define ATA_REG_FEATURE              1U
#define ATA_REG_COUNT                2U
#define ATA_REG_LBA_LOW              3U
#define ATA_REG_LBA_MID              4U
#define ATA_REG_LBA_HIGH             5U
#define ATA_REG_DEVICE               6U
#define ATA_REG_STATUS               7U /* write: command */
#define ATA_REG_COMMAND              7U
#define ATA_COMMAND_BLOCK_BYTES      8U

#define ATA_STATUS_ERR               0x01U /* CHK for ATAPI */
#define ATA_STATUS_DRQ               0x08U
#define ATA_STATUS_DSC               0x10U
#define ATA_STATUS_DF                0x20U
#define ATA_STATUS_DRDY              0x40U
#define ATA_STATUS_BSY               0x80U

#define ATA_ERROR_ABRT               0x04U
#define ATA_ERROR_IDNF               0x10U
#define ATA_ERROR_UNC                0x40U
#define ATA_ERROR_PASSED             0x01U /* of a diagnostic */

#define ATA_DEVICE_ONE               0x10U
#define ATA_DEVICE_LBA               0x40U
#define ATA_DEVICE_ALWAYS            0xa0U /* obsolete bits, read as ones */

#define ATA_CONTROL_NIEN             0x02U
#define ATA_CONTROL_SRST             0x04U
#define ATA_CONTROL_HOB              0x80U

/* Interrupt reason, in the count register of a PACKET command. */
#define ATAPI_REASON_CD              0x01U
#define ATAPI_REASON_IO              0x02U

#define ATAPI_FEATURE_DMA            0x01U
#define ATAPI_CDB_BYTES              12U
#define ATAPI_SIGNATURE_MID          0x14U
#define ATAPI_SIGNATURE_HIGH         0xebU

#define ATA_SECTOR_BYTES             512U
#define ATA_SECTORS_28               0x0fffffffULL /* the most that IDENTIFY's words 60 and 61 say */
#define ATA_SECTORS_48               0xffffffffffffULL

/* Commands. */
#define ATA_CMD_DEVICE_RESET         0x08U
#define ATA_CMD_RECALIBRATE          0x10U /* to 0x1f */
#define ATA_CMD_READ                 0x20U
#define ATA_CMD_READ_NO_RETRY        0x21U
#define ATA_CMD_READ_EXT             0x24U
#define ATA_CMD_READ_DMA_EXT         0x25U
#define ATA_CMD_READ_MULTIPLE_EXT    0x29U
#define ATA_CMD_WRITE                0x30U
#define ATA_CMD_WRITE_NO_RETRY       0x31U
#define ATA_CMD_WRITE_EXT            0x34U
#define ATA_CMD_WRITE_DMA_EXT        0x35U
#define ATA_CMD_WRITE_MULTIPLE_EXT   0x39U
#define ATA_CMD_WRITE_DMA_FUA_EXT    0x3dU
#define ATA_CMD_VERIFY               0x40U
#define ATA_CMD_VERIFY_NO_RETRY      0x41U
#define ATA_CMD_VERIFY_EXT           0x42U
#define ATA_CMD_SEEK                 0x70U /* to 0x7f */
#define ATA_CMD_DIAGNOSTIC           0x90U
#define ATA_CMD_INIT_PARAMETERS      0x91U
#define ATA_CMD_PACKET               0xa0U
#define ATA_CMD_IDENTIFY_PACKET      0xa1U
#define ATA_CMD_SMART                0xb0U
#define ATA_CMD_READ_MULTIPLE        0xc4U
#define ATA_CMD_WRITE_MULTIPLE       0xc5U
#define ATA_CMD_SET_MULTIPLE         0xc6U
#define ATA_CMD_READ_DMA             0xc8U
#define ATA_CMD_READ_DMA_NO_RETRY    0xc9U
#define ATA_CMD_WRITE_DMA            0xcaU
#define ATA_CMD_WRITE_DMA_NO_RETRY   0xcbU
#define ATA_CMD_WRITE_MULTIPLE_FUA   0xceU
#define ATA_CMD_STANDBY_NOW          0xe0U
#define ATA_CMD_IDLE_NOW             0xe1U
#define ATA_CMD_STANDBY              0xe2U
#define ATA_CMD_IDLE                 0xe3U
#define ATA_CMD_CHECK_POWER          0xe5U
#define ATA_CMD_SLEEP                0xe6U
#define ATA_CMD_FLUSH                0xe7U
#define ATA_CMD_FLUSH_EXT            0xeaU
#define ATA_CMD_IDENTIFY             0xecU
#define ATA_CMD_SET_FEATURES         0xefU

/* SET FEATURES. */
#define ATA_FEATURE_WRITE_CACHE_ON   0x02U
#define ATA_FEATURE_TRANSFER_MODE    0x03U
#define ATA_FEATURE_KEEP_SETTINGS    0x66U
#define ATA_FEATURE_LOOK_AHEAD_OFF   0x55U
#define ATA_FEATURE_WRITE_CACHE_OFF  0x82U
#define ATA_FEATURE_LOOK_AHEAD_ON    0xaaU
#define ATA_FEATURE_DEFAULT_SETTINGS 0xccU

/* Transfer modes: a kind in the upper bits, a number in the lower three. */
#define ATA_MODE_PIO_DEFAULT         0x00U
#define ATA_MODE_PIO                 0x08U
#define ATA_MODE_MULTIWORD_DMA       0x20U
#define ATA_MODE_ULTRA_DMA           0x40U

/* Words of IDENTIFY (PACKET) DEVICE. */
#define ATA_ID_CONFIG                0
#define ATA_ID_CYLINDERS             1
#define ATA_ID_HEADS                 3
#define ATA_ID_SECTORS               6
#define ATA_ID_SERIAL                10 /* 20 bytes */
#define ATA_ID_FIRMWARE              23 /* 8 bytes */
#define ATA_ID_MODEL                 27 /* 40 bytes */
#define ATA_ID_MULTIPLE_MAX          47
#define ATA_ID_CAPABILITIES          49
#define ATA_ID_VALID                 53
#define ATA_ID_NOW_CYLINDERS         54
#define ATA_ID_MULTIPLE              59
#define ATA_ID_LBA28                 60
#define ATA_ID_MULTIWORD_DMA         63
#define ATA_ID_PIO                   64
#define ATA_ID_CYCLE_TIMES           65 /* four words */
#define ATA_ID_VERSION               80
#define ATA_ID_SUPPORTED             82 /* three words */
#define ATA_ID_ENABLED               85 /* three words */
#define ATA_ID_ULTRA_DMA             88
#define ATA_ID_RESET_RESULT          93
#define ATA_ID_LBA48                 100 /* four words */
#define ATA_ID_SECTOR_SIZE           106
#define ATA_ID_ROTATION              217
#define ATA_ID_CHECKSUM              255
#define ATA_ID_WORDS                 256

/* PIIX4's configuration space, function 1. */
#define PIIX_IDE_VENDOR              0x8086U
#define PIIX_IDE_DEVICE              0x7111U
#define PIIX_IDE_CLASS               0x010180U /* IDE, legacy ports, bus master */
#define PIIX_IDE_TIMING              0x40U /* two bytes a channel; bit 15: its ports are decoded */
#define PIIX_IDE_TIMING_DECODE       0x80U /* in the upper byte */
#define PIIX_IDE_SLAVE_TIMING        0x44U
#define PIIX_IDE_ULTRA_CONTROL       0x48U
#define PIIX_IDE_ULTRA_TIMING        0x4aU /* two bytes */
#define PIIX_IDE_BAR                 4U
#define PIIX_IDE_BAR_BYTES           16U

/* Bus master: 8 bytes a channel. */
#define BM_REG_COMMAND               0U
#define BM_REG_STATUS                2U
#define BM_REG_TABLE                 4U
#define BM_CHANNEL_BYTES             8U

#define BM_COMMAND_START             0x01U
#define BM_COMMAND_TO_MEMORY         0x08U
#define BM_STATUS_ACTIVE             0x01U
#define BM_STATUS_ERROR              0x02U
#define BM_STATUS_IRQ                0x04U
#define BM_STATUS_CAPABLE            0x60U /* drive 0, drive 1: firmware's notes */

/* A physical region descriptor: address u32, bytes u16 (0: 64 KiB), flags u16. */
#define BM_PRD_BYTES                 8U
#define BM_PRD_END                   0x8000U
