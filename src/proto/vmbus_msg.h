/* SPDX-License-Identifier: MIT */
/*
 * VMBus control messages, in protocol order. Each is the payload of one SynIC message (at most 240
 * bytes, little-endian): guest → host by HvCallPostMessage, host → guest in the SIMP page.
 *
 *   spec  docs/protocols.md#control (facts: Linux include/linux/hyperv.h, drivers/hv/connection.c,
 *         channel_mgmt.c; OpenVMM's vmbus_core protocol)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"

/* Connection ids of HvCallPostMessage, and the SINT and message type of everything here. */
#define VMBUS_CONNECTION_ID_OLD     1 /* versions below 5.0 */
#define VMBUS_CONNECTION_ID_NEW     4 /* INITIATE_CONTACT of 5.0 and above */
#define VMBUS_SINT                  2
#define VMBUS_MESSAGE_TYPE          1
#define VMBUS_MESSAGE_BYTES_MAX     240

#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define VMBUS_VERSION_WIN7          VMBUS_VERSION(1, 1)
#define VMBUS_VERSION_2_4           VMBUS_VERSION(2, 4)
#define VMBUS_VERSION_3_0           VMBUS_VERSION(3, 0)
#define VMBUS_VERSION_4_0           VMBUS_VERSION(4, 0)
#define VMBUS_VERSION_4_1           VMBUS_VERSION(4, 1)
#define VMBUS_VERSION_5_0           VMBUS_VERSION(5, 0)
#define VMBUS_VERSION_5_1           VMBUS_VERSION(5, 1)
#define VMBUS_VERSION_5_2           VMBUS_VERSION(5, 2)
#define VMBUS_VERSION_5_3           VMBUS_VERSION(5, 3)

/* relids: the channel's number and its bit in the event flags page; 0 is for the bus. */
#define VMBUS_RELID_MAX             2047

enum {
	VMBUS_MSG_OFFER_CHANNEL = 1,
	VMBUS_MSG_RESCIND_OFFER = 2,
	VMBUS_MSG_REQUEST_OFFERS = 3,
	VMBUS_MSG_ALL_OFFERS_DELIVERED = 4,
	VMBUS_MSG_OPEN_CHANNEL = 5,
	VMBUS_MSG_OPEN_RESULT = 6,
	VMBUS_MSG_CLOSE_CHANNEL = 7,
	VMBUS_MSG_GPADL_HEADER = 8,
	VMBUS_MSG_GPADL_BODY = 9,
	VMBUS_MSG_GPADL_CREATED = 10,
	VMBUS_MSG_GPADL_TEARDOWN = 11,
	VMBUS_MSG_GPADL_TORNDOWN = 12,
	VMBUS_MSG_RELID_RELEASED = 13,
	VMBUS_MSG_INITIATE_CONTACT = 14,
	VMBUS_MSG_VERSION_RESPONSE = 15,
	VMBUS_MSG_UNLOAD = 16,
	VMBUS_MSG_UNLOAD_RESPONSE = 17,
	VMBUS_MSG_TL_CONNECT_REQUEST = 21,
	VMBUS_MSG_MODIFY_CHANNEL = 22,
	VMBUS_MSG_TL_CONNECT_RESULT = 23,
	VMBUS_MSG_MODIFY_CHANNEL_RESPONSE = 24,
};

struct vmbus_msg_header {
	uint32_t type; /* VMBUS_MSG_* */
	uint32_t padding;
};

/* guest → host; answered by VERSION_RESPONSE */
struct vmbus_msg_initiate_contact {
	struct vmbus_msg_header header;
	uint32_t version;                /* VMBUS_VERSION_* */
	uint32_t target_vp;              /* control messages go to this VP */
	uint64_t interrupt_page_or_sint; /* below 5.0: gpa of the interrupt page; from 5.0: byte 0
					    is the SINT, byte 1 the VTL */
	uint64_t monitor_page1;          /* gpa; host → guest trigger bits; unused by us */
	uint64_t monitor_page2;
};
static_assert(sizeof(struct vmbus_msg_initiate_contact) == 40, "INITIATE_CONTACT");

/* host → guest. Below 5.0 the guest reads the first byte only. */
struct vmbus_msg_version_response {
	struct vmbus_msg_header header;
	uint8_t supported;
	uint8_t connection_state; /* 0: success */
	uint16_t padding;
	uint32_t message_connection_id; /* from 5.0: where later messages go */
};
static_assert(sizeof(struct vmbus_msg_version_response) == 16, "VERSION_RESPONSE");

/* REQUEST_OFFERS: guest → host, header only; answered by OFFER_CHANNEL…, ALL_OFFERS_DELIVERED. */

#define VMBUS_OFFER_FLAG_ENUMERATE_DEVICE_INTERFACE 0x0001
#define VMBUS_OFFER_FLAG_NAMED_PIPE                 0x0010
#define VMBUS_OFFER_FLAG_TLNPI                      0x2000
#define VMBUS_OFFER_USER_DEFINED_BYTES              120

/* First word of user_defined of a pipe offer (flag NAMED_PIPE). */
#define VMBUS_PIPE_MODE_BYTE                        0
#define VMBUS_PIPE_MODE_MESSAGE                     4

/* host → guest; no answer (OPEN_CHANNEL may follow) */
struct vmbus_msg_offer_channel {
	struct vmbus_msg_header header;
	struct guid interface_type;
	struct guid interface_instance;
	uint32_t reserved1[4];
	uint16_t flags; /* VMBUS_OFFER_FLAG_* */
	uint16_t mmio_mib;
	uint8_t user_defined[VMBUS_OFFER_USER_DEFINED_BYTES];
	uint16_t sub_channel_index; /* 0: the primary channel */
	uint16_t reserved2;
	uint32_t relid;
	uint8_t monitor_id;
	uint8_t monitor_allocated;       /* bit 0 */
	uint16_t is_dedicated_interrupt; /* bit 0 */
	uint32_t connection_id;          /* for HvCallSignalEvent */
};
static_assert(sizeof(struct vmbus_msg_offer_channel) == 196, "OFFER_CHANNEL");
static_assert(offsetof(struct vmbus_msg_offer_channel, relid) == 184, "OFFER_CHANNEL");

/* host → guest; answered by RELID_RELEASED */
struct vmbus_msg_rescind_offer {
	struct vmbus_msg_header header;
	uint32_t relid;
};

/* guest → host; no answer */
struct vmbus_msg_relid_released {
	struct vmbus_msg_header header;
	uint32_t relid;
};

/* guest → host; answered by OPEN_RESULT */
struct vmbus_msg_open_channel {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t open_id; /* echoed */
	uint32_t ring_gpadl;
	uint32_t target_vp;
	uint32_t downstream_page_offset; /* where the host → guest ring begins, in pages */
	uint8_t user_data[120];
};
static_assert(sizeof(struct vmbus_msg_open_channel) == 148, "OPEN_CHANNEL");

#define VMBUS_STATUS_SUCCESS 0x00000000U
#define VMBUS_STATUS_FAILURE 0xc0000001U /* STATUS_UNSUCCESSFUL; guests look for non-zero */

struct vmbus_msg_open_result {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t open_id;
	uint32_t status; /* VMBUS_STATUS_* */
};

/* guest → host; no answer */
struct vmbus_msg_close_channel {
	struct vmbus_msg_header header;
	uint32_t relid;
};

/*
 * guest → host; answered by GPADL_CREATED when all of it has come. range_bytes of ranges follow:
 * struct vmbus_gpa_range and its page numbers; what does not fit here comes in GPADL_BODY.
 */
struct vmbus_msg_gpadl_header {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t gpadl;
	uint16_t range_bytes; /* of all ranges, in this and later messages */
	uint16_t range_count;
};
static_assert(sizeof(struct vmbus_msg_gpadl_header) == 20, "GPADL_HEADER");

/* guest → host; page numbers follow */
struct vmbus_msg_gpadl_body {
	struct vmbus_msg_header header;
	uint32_t message_number;
	uint32_t gpadl;
};

struct vmbus_msg_gpadl_created {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t gpadl;
	uint32_t status; /* VMBUS_STATUS_* */
};

/* guest → host; answered by GPADL_TORNDOWN when nobody uses it any more */
struct vmbus_msg_gpadl_teardown {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t gpadl;
};

struct vmbus_msg_gpadl_torndown {
	struct vmbus_msg_header header;
	uint32_t gpadl;
};

/* UNLOAD: guest → host, header only; answered by UNLOAD_RESPONSE, header only (from 3.0). */

/* guest → host (hv_sock); answered by an offer or by TL_CONNECT_RESULT */
struct vmbus_msg_tl_connect_request {
	struct vmbus_msg_header header;
	struct guid endpoint_id;
	struct guid service_id;
};

struct vmbus_msg_tl_connect_result {
	struct vmbus_msg_header header;
	struct guid endpoint_id;
	struct guid service_id;
	uint32_t status;
};

#define VMBUS_STATUS_CONNECTION_REFUSED 0xc0000236U

/* guest → host (from 4.1); answered by MODIFY_CHANNEL_RESPONSE from 5.3 */
struct vmbus_msg_modify_channel {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t target_vp;
};

struct vmbus_msg_modify_channel_response {
	struct vmbus_msg_header header;
	uint32_t relid;
	uint32_t status;
};
