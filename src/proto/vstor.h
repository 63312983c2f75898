/* SPDX-License-Identifier: MIT */
/*
 * VSTOR: SCSI over VMBus. Little-endian. Every packet from the guest is answered by a completion
 * packet that carries a packet of operation COMPLETE_IO and the guest's transaction id.
 *
 *   spec  docs/protocols.md#vstor (facts: Linux drivers/scsi/storvsc_drv.c; OpenVMM's
 *         storvsp_protocol)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VSTOR_VERSION(major, minor) ((uint16_t)((major) << 8 | (minor)))
#define VSTOR_VERSION_WIN8          VSTOR_VERSION(5, 1)
#define VSTOR_VERSION_WIN8_1        VSTOR_VERSION(6, 0)
#define VSTOR_VERSION_WIN10         VSTOR_VERSION(6, 2)

/* All are guest → host and answered, except where it says otherwise. */
enum {
	VSTOR_COMPLETE_IO = 1,   /* host → guest */
	VSTOR_REMOVE_DEVICE = 2, /* host → guest, unsolicited, transaction id 0 */
	VSTOR_EXECUTE_SRB = 3,
	VSTOR_RESET_LUN = 4,
	VSTOR_RESET_ADAPTER = 5,
	VSTOR_RESET_BUS = 6,
	VSTOR_BEGIN_INITIALIZATION = 7,
	VSTOR_END_INITIALIZATION = 8,
	VSTOR_QUERY_PROTOCOL_VERSION = 9,
	VSTOR_QUERY_PROPERTIES = 10,
	VSTOR_ENUMERATE_BUS = 11, /* host → guest, unsolicited, transaction id 0 */
	VSTOR_FC_HBA_DATA = 12,
	VSTOR_CREATE_SUB_CHANNELS = 13,
};

#define VSTOR_FLAG_COMPLETION               1U /* the guest wants an answer */

/* NT status codes in answers. */
#define VSTOR_STATUS_SUCCESS                0x00000000U
#define VSTOR_STATUS_BUFFER_OVERFLOW        0x80000005U
#define VSTOR_STATUS_DEVICE_BUSY            0x80000011U
#define VSTOR_STATUS_INVALID_PARAMETER      0xc000000dU
#define VSTOR_STATUS_INVALID_DEVICE_REQUEST 0xc0000010U
#define VSTOR_STATUS_REVISION_MISMATCH      0xc0000059U
#define VSTOR_STATUS_DEVICE_DOES_NOT_EXIST  0xc00000c0U
#define VSTOR_STATUS_INVALID_DEVICE_STATE   0xc0000184U
#define VSTOR_STATUS_IO_DEVICE_ERROR        0xc0000185U

/* What comes first in each packet. */
struct vstor_header {
	uint32_t operation; /* VSTOR_* */
	uint32_t flags;     /* VSTOR_FLAG_* */
	uint32_t status;    /* VSTOR_STATUS_*, in answers */
};
static_assert(sizeof(struct vstor_header) == 12, "vstor header");

#define VSTOR_CDB_BYTES   16
#define VSTOR_SENSE_BYTES 20

/* EXECUTE_SRB and its answer. */
struct vstor_srb {
	uint16_t length;     /* of this struct */
	uint8_t srb_status;  /* VSTOR_SRB_* */
	uint8_t scsi_status; /* SCSI_STATUS_* */
	uint8_t port;
	uint8_t path;
	uint8_t target;
	uint8_t lun;
	uint8_t cdb_bytes;
	uint8_t sense_bytes; /* room in the request, bytes in the answer */
	uint8_t data_in;     /* VSTOR_DATA_* */
	uint8_t reserved;
	uint32_t data_bytes; /* to be, or that were, transferred */
	union {
		uint8_t cdb[VSTOR_CDB_BYTES];
		uint8_t sense[VSTOR_SENSE_BYTES];
	};
	/* Since Windows 8; ignored by us. */
	uint16_t reserved2;
	uint8_t queue_tag;
	uint8_t queue_action;
	uint32_t srb_flags;
	uint32_t timeout_s;
	uint32_t queue_sort_key;
};
static_assert(sizeof(struct vstor_srb) == 0x34, "vstor SRB");

#define VSTOR_DATA_OUT            0
#define VSTOR_DATA_IN             1
#define VSTOR_DATA_NONE           2 /* Linux: unknown */

#define VSTOR_SRB_SUCCESS         0x01
#define VSTOR_SRB_ERROR           0x04
#define VSTOR_SRB_BUSY            0x05
#define VSTOR_SRB_INVALID_REQUEST 0x06
#define VSTOR_SRB_INVALID_LUN     0x20
#define VSTOR_SRB_AUTOSENSE_VALID 0x80

/* QUERY_PROPERTIES, answer. */
struct vstor_properties {
	uint32_t reserved;
	uint16_t sub_channels_max;
	uint16_t reserved1;
	uint32_t flags; /* VSTOR_PROPERTY_* */
	uint32_t transfer_bytes_max;
	uint32_t reserved2[2];
};
static_assert(sizeof(struct vstor_properties) == 24, "vstor properties");

#define VSTOR_PROPERTY_MULTI_CHANNEL 1U

/* QUERY_PROTOCOL_VERSION, and its answer. */
struct vstor_version {
	uint16_t version; /* VSTOR_VERSION_* */
	uint16_t revision;
};

/* A whole packet: the header and the longest of the above, which is the SRB. Before Windows 8 the
 * SRB ended with its union. */
#define VSTOR_PACKET_BYTES     (12 + 0x34)
#define VSTOR_PACKET_BYTES_OLD (12 + 0x24)
