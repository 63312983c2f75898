/* SPDX-License-Identifier: MIT */
/*
 * NVSP: what a synthetic NIC's VMBus channel carries. Little-endian.
 *
 * Each packet's payload is one NVSP message: a type and a body, NVSP_MESSAGE_BYTES long (shorter
 * ones are legal as long as the body is there). Requests travel in-band and are answered in the
 * completion; frames and RNDIS control travel as NVSP_SEND_RNDIS, guest → host out of the send
 * buffer or from pages (GPA direct), host → guest in sections of the receive buffer (transfer
 * pages), and are given back by a completion.
 *
 *   spec  docs/protocols.md#nvsp (facts: Linux drivers/net/hyperv/hyperv_net.h, netvsc.c; OpenVMM
 *         netvsp protocol.rs)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"

#define NVSP_INTERFACE         GUID(0xf8615163, 0xdf3e, 0x46c5, 0x913f, 0xf2d2f965ed0e)

/* Versions, oldest first; a guest offers one at a time (min == max). */
#define NVSP_VERSION_1         0x00002U
#define NVSP_VERSION_2         0x30002U
#define NVSP_VERSION_4         0x40000U
#define NVSP_VERSION_5         0x50000U
#define NVSP_VERSION_6         0x60000U
#define NVSP_VERSION_61        0x60001U

/* Bytes of a message on the wire, up to 6.0 and from 6.1 on. */
#define NVSP_MESSAGE_BYTES_V1  28
#define NVSP_MESSAGE_BYTES_V61 40

enum {
	NVSP_INIT = 1,
	NVSP_INIT_COMPLETE = 2,

	/* version 1 */
	NVSP_SEND_NDIS_VERSION = 100,
	NVSP_SEND_RECV_BUF = 101,
	NVSP_SEND_RECV_BUF_COMPLETE = 102,
	NVSP_REVOKE_RECV_BUF = 103,
	NVSP_SEND_SEND_BUF = 104,
	NVSP_SEND_SEND_BUF_COMPLETE = 105,
	NVSP_REVOKE_SEND_BUF = 106,
	NVSP_SEND_RNDIS = 107,
	NVSP_SEND_RNDIS_COMPLETE = 108,

	/* version 2; 109 to 124 are TCP chimney and VMQ, which nobody speaks any more */
	NVSP_SEND_NDIS_CONFIG = 125,

	/* version 4 */
	NVSP_SEND_VF_ASSOCIATION = 128,
	NVSP_SWITCH_DATA_PATH = 129,

	/* version 5 */
	NVSP_OID_QUERY_EX = 131,
	NVSP_OID_QUERY_EX_COMPLETE = 132,
	NVSP_SUBCHANNEL = 133,
	NVSP_SEND_INDIRECTION_TABLE = 134,

	/* version 6 */
	NVSP_PD_API = 135,
	NVSP_PD_POST_BATCH = 136,
};

/* The last message type that a version knows. */
#define NVSP_LAST_V1 NVSP_SEND_RNDIS_COMPLETE
#define NVSP_LAST_V2 127U
#define NVSP_LAST_V4 130U
#define NVSP_LAST_V5 NVSP_SEND_INDIRECTION_TABLE
#define NVSP_LAST_V6 NVSP_PD_POST_BATCH

/* status */
enum {
	NVSP_STATUS_NONE = 0,
	NVSP_STATUS_SUCCESS = 1,
	NVSP_STATUS_FAIL = 2,
	NVSP_STATUS_PROTOCOL_TOO_NEW = 3,
	NVSP_STATUS_PROTOCOL_TOO_OLD = 4,
	NVSP_STATUS_INVALID_RNDIS = 5,
	NVSP_STATUS_BUSY = 6,
	NVSP_STATUS_PROTOCOL_UNSUPPORTED = 7,
};

/* guest → host; answered by nvsp_init_complete in the completion */
struct nvsp_init {
	uint32_t type; /* NVSP_INIT */
	uint32_t version_min;
	uint32_t version_max;
};
static_assert(sizeof(struct nvsp_init) == 12, "nvsp init");

struct nvsp_init_complete {
	uint32_t type; /* NVSP_INIT_COMPLETE */
	uint32_t version;
	uint32_t mdl_chain_max; /* GPA ranges in one packet */
	uint32_t status;
};
static_assert(sizeof(struct nvsp_init_complete) == 16, "nvsp init complete");

#define NVSP_MDL_CHAIN_MAX 34

/* guest → host; no answer */
struct nvsp_ndis_version {
	uint32_t type; /* NVSP_SEND_NDIS_VERSION */
	uint32_t major;
	uint32_t minor;
};
static_assert(sizeof(struct nvsp_ndis_version) == 12, "nvsp ndis version");

/* guest → host; answered by nvsp_recv_buf_complete, nvsp_send_buf_complete */
struct nvsp_buffer {
	uint32_t type; /* NVSP_SEND_RECV_BUF, NVSP_SEND_SEND_BUF */
	uint32_t gpadl;
	uint16_t id; /* 0xcafe and 0 with Linux */
	uint16_t reserved;
};
static_assert(sizeof(struct nvsp_buffer) == 12, "nvsp buffer");
#define NVSP_BUFFER_BYTES 10 /* on the wire without what pads it */

struct nvsp_recv_buf_complete {
	uint32_t type; /* NVSP_SEND_RECV_BUF_COMPLETE */
	uint32_t status;
	uint32_t section_count; /* always 1 */
	/* The one section, cut into pieces. */
	uint32_t offset;
	uint32_t piece_bytes;
	uint32_t pieces;
	uint32_t end_offset;
};
static_assert(sizeof(struct nvsp_recv_buf_complete) == 28, "nvsp recv buf complete");

struct nvsp_send_buf_complete {
	uint32_t type; /* NVSP_SEND_SEND_BUF_COMPLETE */
	uint32_t status;
	uint32_t section_bytes;
};
static_assert(sizeof(struct nvsp_send_buf_complete) == 12, "nvsp send buf complete");

/* guest → host; no answer (an empty completion when one is asked for) */
struct nvsp_revoke {
	uint32_t type; /* NVSP_REVOKE_RECV_BUF, NVSP_REVOKE_SEND_BUF */
	uint16_t id;
	uint16_t reserved;
};
static_assert(sizeof(struct nvsp_revoke) == 8, "nvsp revoke");
#define NVSP_REVOKE_BYTES 6

/* both ways; answered by nvsp_rndis_complete */
struct nvsp_rndis {
	uint32_t type;          /* NVSP_SEND_RNDIS */
	uint32_t channel;       /* NVSP_RNDIS_* */
	uint32_t section;       /* of the send buffer, or NVSP_SECTION_NONE */
	uint32_t section_bytes; /* used in it */
};
static_assert(sizeof(struct nvsp_rndis) == 16, "nvsp rndis");

#define NVSP_RNDIS_DATA    0
#define NVSP_RNDIS_CONTROL 1
#define NVSP_SECTION_NONE  0xffffffffU

struct nvsp_rndis_complete {
	uint32_t type; /* NVSP_SEND_RNDIS_COMPLETE */
	uint32_t status;
};
static_assert(sizeof(struct nvsp_rndis_complete) == 8, "nvsp rndis complete");

/* guest → host; no answer */
struct nvsp_ndis_config {
	uint32_t type; /* NVSP_SEND_NDIS_CONFIG */
	uint32_t mtu;  /* with the Ethernet header */
	uint32_t reserved;
	uint32_t capabilities; /* NVSP_CAP_*; the wire has 64 bits here, at offset 12 */
	uint32_t capabilities_high;
};
static_assert(sizeof(struct nvsp_ndis_config) == 20, "nvsp ndis config");

#define NVSP_CAP_VMQ     (1U << 0)
#define NVSP_CAP_SRIOV   (1U << 2)
#define NVSP_CAP_VLAN    (1U << 3)
#define NVSP_CAP_TEAMING (1U << 5)
#define NVSP_CAP_RSC     (1U << 7)

/* guest → host; answered by a completion without payload */
struct nvsp_switch_data_path {
	uint32_t type; /* NVSP_SWITCH_DATA_PATH */
	uint32_t path; /* 0 synthetic, 1 VF */
};
static_assert(sizeof(struct nvsp_switch_data_path) == 8, "nvsp switch data path");

/* guest → host, and the answer with status and number swapped in */
struct nvsp_subchannel {
	uint32_t type; /* NVSP_SUBCHANNEL */
	uint32_t op;   /* 1 allocate; in the answer NVSP_STATUS_* */
	uint32_t count;
};
static_assert(sizeof(struct nvsp_subchannel) == 12, "nvsp subchannel");

#define NVSP_SUBCHANNEL_ALLOCATE 1

/*
 * host → guest, in-band, no answer: which queue the guest is to send on, by the low bits of its flow's
 * hash. Linux up to 6.0 takes 40 for the offset when the message has 104 bytes or more.
 */
#define NVSP_SEND_TABLE_ENTRIES  16U /* Linux takes no other number */
struct nvsp_send_indirection_table {
	uint32_t type; /* NVSP_SEND_INDIRECTION_TABLE */
	uint32_t count;
	uint32_t offset; /* of the table, from the message's start */
	uint32_t table[NVSP_SEND_TABLE_ENTRIES];
};
static_assert(sizeof(struct nvsp_send_indirection_table) == 76, "nvsp send table");

/* The answer to messages that are known and refused: OID_QUERY_EX. */
struct nvsp_refusal {
	uint32_t type;
	uint32_t status;
};

/* Ranges in one transfer-pages packet, from NDIS 6 on; what RSC pieces may add is beyond our use. */
#define NVSP_TRANSFER_RANGES_MAX 375
