/* SPDX-License-Identifier: MIT */
/*
 * SCSI as a disk and a DVD drive speak it: operation codes, status, sense, pages. All multi-byte
 * fields of SCSI are big-endian; layouts are given where they are built, by byte offset, as the
 * standards do.
 *
 *   spec  T10 SPC-4 (primary commands), SBC-3 (block commands), MMC-6 (multi-media)
 */
#pragma once

#define SCSI_CDB_BYTES_MAX              16

/* Operation codes. */
#define SCSI_OP_TEST_UNIT_READY         0x00
#define SCSI_OP_REQUEST_SENSE           0x03
#define SCSI_OP_READ_6                  0x08
#define SCSI_OP_WRITE_6                 0x0a
#define SCSI_OP_INQUIRY                 0x12
#define SCSI_OP_MODE_SELECT_6           0x15
#define SCSI_OP_MODE_SENSE_6            0x1a
#define SCSI_OP_START_STOP_UNIT         0x1b
#define SCSI_OP_PREVENT_ALLOW           0x1e /* medium removal */
#define SCSI_OP_READ_FORMAT_CAPACITIES  0x23
#define SCSI_OP_READ_CAPACITY_10        0x25
#define SCSI_OP_READ_10                 0x28
#define SCSI_OP_WRITE_10                0x2a
#define SCSI_OP_SEEK_10                 0x2b
#define SCSI_OP_WRITE_VERIFY_10         0x2e
#define SCSI_OP_VERIFY_10               0x2f
#define SCSI_OP_SYNCHRONIZE_CACHE_10    0x35
#define SCSI_OP_WRITE_SAME_10           0x41
#define SCSI_OP_UNMAP                   0x42
#define SCSI_OP_READ_TOC                0x43
#define SCSI_OP_GET_CONFIGURATION       0x46
#define SCSI_OP_GET_EVENT_STATUS        0x4a
#define SCSI_OP_LOG_SENSE               0x4d
#define SCSI_OP_READ_DISC_INFORMATION   0x51
#define SCSI_OP_READ_TRACK_INFORMATION  0x52
#define SCSI_OP_MODE_SELECT_10          0x55
#define SCSI_OP_MODE_SENSE_10           0x5a
#define SCSI_OP_READ_16                 0x88
#define SCSI_OP_WRITE_16                0x8a
#define SCSI_OP_WRITE_VERIFY_16         0x8e
#define SCSI_OP_VERIFY_16               0x8f
#define SCSI_OP_SYNCHRONIZE_CACHE_16    0x91
#define SCSI_OP_WRITE_SAME_16           0x93
#define SCSI_OP_SERVICE_ACTION_IN_16    0x9e
#define SCSI_OP_REPORT_LUNS             0xa0
#define SCSI_OP_MAINTENANCE_IN          0xa3
#define SCSI_OP_READ_12                 0xa8
#define SCSI_OP_WRITE_12                0xaa
#define SCSI_OP_READ_DISC_STRUCTURE     0xad /* MMC: READ DVD STRUCTURE */
#define SCSI_OP_SET_CD_SPEED            0xbb
#define SCSI_OP_MECHANISM_STATUS        0xbd
#define SCSI_OP_READ_CD                 0xbe

#define SCSI_SA_READ_CAPACITY_16        0x10 /* of SERVICE ACTION IN(16) */
#define SCSI_SA_REPORT_OP_CODES         0x0c /* of MAINTENANCE IN */
#define SCSI_SA_REPORT_FUNCTIONS        0x0d /* task management functions */

/* Status bytes. */
#define SCSI_STATUS_GOOD                0x00
#define SCSI_STATUS_CHECK_CONDITION     0x02
#define SCSI_STATUS_BUSY                0x08

/* Sense keys. */
#define SCSI_KEY_NO_SENSE               0x0
#define SCSI_KEY_NOT_READY              0x2
#define SCSI_KEY_MEDIUM_ERROR           0x3
#define SCSI_KEY_HARDWARE_ERROR         0x4
#define SCSI_KEY_ILLEGAL_REQUEST        0x5
#define SCSI_KEY_UNIT_ATTENTION         0x6
#define SCSI_KEY_DATA_PROTECT           0x7
#define SCSI_KEY_ABORTED_COMMAND        0xb
#define SCSI_KEY_MISCOMPARE             0xe

/* Additional sense: code << 8 | qualifier. */
#define SCSI_ASC_NONE                   0x0000
#define SCSI_ASC_BECOMING_READY         0x0401
#define SCSI_ASC_NOT_READY_START_NEEDED 0x0402 /* initializing command required */
#define SCSI_ASC_NOT_READY_MANUAL       0x0403 /* manual intervention required */
#define SCSI_ASC_WRITE_ERROR            0x0c00
#define SCSI_ASC_READ_ERROR             0x1100 /* unrecovered read error */
#define SCSI_ASC_PARAMETER_LIST_LENGTH  0x1a00
#define SCSI_ASC_INVALID_OPCODE         0x2000
#define SCSI_ASC_MISCOMPARE             0x1d00 /* during verify operation */
#define SCSI_ASC_LBA_OUT_OF_RANGE       0x2100
#define SCSI_ASC_INVALID_FIELD_IN_CDB   0x2400
#define SCSI_ASC_LUN_NOT_SUPPORTED      0x2500
#define SCSI_ASC_INVALID_FIELD_IN_LIST  0x2600
#define SCSI_ASC_WRITE_PROTECTED        0x2700
#define SCSI_ASC_SPACE_ALLOCATION       0x2707 /* Linux: "no space left on device" */
#define SCSI_ASC_MEDIUM_CHANGED         0x2800 /* not ready to ready: it may be another */
#define SCSI_ASC_RESET_DEVICE           0x2903 /* bus device reset function occurred */
#define SCSI_ASC_MODE_CHANGED           0x2a01 /* mode parameters changed */
#define SCSI_ASC_CAPACITY_CHANGED       0x2a09
#define SCSI_ASC_INCOMPATIBLE_FORMAT    0x3002 /* cannot read medium */
#define SCSI_ASC_SAVING_NOT_SUPPORTED   0x3900
#define SCSI_ASC_NO_MEDIUM              0x3a00
#define SCSI_ASC_NO_MEDIUM_TRAY_OPEN    0x3a02
#define SCSI_ASC_LUNS_CHANGED           0x3f0e /* reported LUNs data has changed */
#define SCSI_ASC_INTERNAL_FAILURE       0x4400 /* internal target failure */
#define SCSI_ASC_REMOVAL_PREVENTED      0x5302
#define SCSI_ASC_ILLEGAL_TRACK_MODE     0x6400 /* illegal mode for this track */

/* Fixed-format sense data. */
#define SCSI_SENSE_BYTES                18
#define SCSI_SENSE_FIXED_CURRENT        0x70
#define SCSI_SENSE_DESCRIPTOR_CURRENT   0x72
#define SCSI_SENSE_ADDITIONAL           (SCSI_SENSE_BYTES - 8)
#define SCSI_SENSE_SKSV                 0x80 /* byte 15: the field pointer is valid */
#define SCSI_SENSE_IN_CDB               0x40 /* byte 15: it points into the CDB, not the list */
#define SCSI_SENSE_BPV                  0x08 /* byte 15: bits 0 to 2 name the bit */

/* INQUIRY. */
#define SCSI_INQUIRY_EVPD               0x01
#define SCSI_INQUIRY_CMDDT              0x02 /* obsolete */
#define SCSI_INQUIRY_BYTES              36
#define SCSI_INQUIRY_BYTES_MAX          96
#define SCSI_INQUIRY_NO_UNIT            0x7f /* qualifier 3, type 0x1f: no unit is possible here */
#define SCSI_INQUIRY_TYPE_DISK          0x00
#define SCSI_INQUIRY_TYPE_DVD           0x05
#define SCSI_INQUIRY_RMB                0x80 /* byte 1: the medium can be removed */
#define SCSI_INQUIRY_VERSION_SPC3       0x05
#define SCSI_INQUIRY_CMDQUE             0x02 /* byte 7 */

#define SCSI_VPD_SUPPORTED              0x00
#define SCSI_VPD_SERIAL                 0x80
#define SCSI_VPD_IDENTIFICATION         0x83
#define SCSI_VPD_BLOCK_LIMITS           0xb0
#define SCSI_VPD_CHARACTERISTICS        0xb1
#define SCSI_VPD_PROVISIONING           0xb2

/* Mode pages and parameters. */
#define SCSI_MODE_ERROR_RECOVERY        0x01
#define SCSI_MODE_CACHING               0x08
#define SCSI_MODE_CONTROL               0x0a
#define SCSI_MODE_EXCEPTIONS            0x1c /* informational exceptions control */
#define SCSI_MODE_CAPABILITIES          0x2a /* of a CD or DVD drive */
#define SCSI_MODE_ALL                   0x3f
#define SCSI_MODE_WP                    0x80 /* device-specific parameter */
#define SCSI_MODE_DPOFUA                0x10
#define SCSI_MODE_WCE                   0x04 /* caching page, byte 2 */
#define SCSI_MODE_PC_CURRENT            0
#define SCSI_MODE_PC_CHANGEABLE         1
#define SCSI_MODE_PC_DEFAULT            2
#define SCSI_MODE_PC_SAVED              3

/* Bits of CDBs. */
#define SCSI_CDB_FUA                    0x08 /* byte 1 of READ and WRITE */
#define SCSI_CDB_PROTECT                0xe0 /* byte 1: protection information */
#define SCSI_CDB_BYTCHK                 0x06 /* byte 1 of VERIFY, WRITE AND VERIFY */
#define SCSI_CDB_UNMAP                  0x08 /* byte 1 of WRITE SAME */
#define SCSI_CDB_ANCHOR                 0x10 /* byte 1 of WRITE SAME; bit 0 of UNMAP's is its own */
#define SCSI_CDB_NDOB                   0x01 /* byte 1 of WRITE SAME(16): no data-out buffer, zeroes */
