/* SPDX-License-Identifier: MIT */
/*
 * Integration components: heartbeat, shutdown, time sync. Each is a channel that is a pipe in
 * message mode; each message is an in-band packet:
 *
 *     ic_pipe_header | ic_header | body of ic_header.message_bytes
 *
 * The host asks (flags TRANSACTION | REQUEST), the guest answers with the same message, the flags
 * TRANSACTION | RESPONSE and, where the body says so, other values in it. The first exchange on an
 * open channel is NEGOTIATE. All fields are little-endian; the header is not aligned by nature, but
 * every field lies where plain C puts it, given 2-byte versions.
 *
 *   spec  docs/protocols.md#ic (facts: Linux include/linux/hyperv.h, drivers/hv/hv_util.c,
 *         channel_mgmt.c vmbus_prep_negotiate_resp(); OpenVMM hyperv_ic_protocol)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"

#define IC_HEARTBEAT_INTERFACE GUID(0x57164f39, 0x9115, 0x4e78, 0xab55, 0x382f3bd5422d)
#define IC_SHUTDOWN_INTERFACE  GUID(0x0e0b6031, 0x5213, 0x4934, 0x818b, 0x38d90ced39db)
#define IC_TIMESYNC_INTERFACE  GUID(0x9527e630, 0xd0ae, 0x497b, 0xadce, 0xe80ab0175caf)

/* The instances that Hyper-V itself uses, the same in every partition. */
#define IC_HEARTBEAT_INSTANCE  GUID(0xfd149e91, 0x82e0, 0x4a7d, 0xafa6, 0x2a4166cbd7c0)
#define IC_SHUTDOWN_INSTANCE   GUID(0xb6650ff7, 0x33bc, 0x4840, 0x8048, 0xe0676786f393)
#define IC_TIMESYNC_INSTANCE   GUID(0x2dd1ce17, 0x079e, 0x403c, 0xb352, 0xa1921ee207ee)

/* ---- framing ---------------------------------------------------------------------------------- */

#define IC_PIPE_DATA           1

struct ic_pipe_header {
	uint32_t type;  /* IC_PIPE_DATA; guests echo it */
	uint32_t bytes; /* of what follows */
};
static_assert(sizeof(struct ic_pipe_header) == 8, "pipe header");

/* Version words here and in tables: major in the low half, as it lies on the wire. */
#define IC_VERSION(major, minor) ((uint32_t)(major) | (uint32_t)(minor) << 16)
#define IC_VERSION_MAJOR(v)      ((uint16_t)((v)&0xffffU))
#define IC_VERSION_MINOR(v)      ((uint16_t)((v) >> 16))

#define IC_FRAMEWORK_1_0         IC_VERSION(1, 0)
#define IC_FRAMEWORK_3_0         IC_VERSION(3, 0)

enum {
	IC_MSG_NEGOTIATE = 0,
	IC_MSG_HEARTBEAT = 1,
	IC_MSG_KVP = 2,
	IC_MSG_SHUTDOWN = 3,
	IC_MSG_TIMESYNC = 4,
	IC_MSG_VSS = 5,
	IC_MSG_FCOPY = 7,
};

#define IC_FLAG_TRANSACTION     0x01
#define IC_FLAG_REQUEST         0x02
#define IC_FLAG_RESPONSE        0x04

/* HRESULTs that guests give. */
#define IC_STATUS_OK            0x00000000U
#define IC_STATUS_FAIL          0x80004005U
#define IC_STATUS_NOT_SUPPORTED 0x80070032U

struct ic_header {
	uint16_t framework_major, framework_minor;
	uint16_t message_type;                 /* IC_MSG_* */
	uint16_t version_major, version_minor; /* of the message */
	uint16_t message_bytes;                /* of what follows this header */
	uint32_t status;                       /* IC_STATUS_*; of a response */
	uint8_t transaction_id;
	uint8_t flags; /* IC_FLAG_* */
	uint8_t reserved[2];
};
static_assert(sizeof(struct ic_header) == 20, "ic header");
static_assert(offsetof(struct ic_header, status) == 12, "ic header");

#define IC_FRAME_BYTES       (sizeof(struct ic_pipe_header) + sizeof(struct ic_header))

/* Linux gives its integration components a receive buffer of one page. */
#define IC_MESSAGE_BYTES_MAX 4096

/* ---- NEGOTIATE: host → guest; answered by itself ---------------------------------------------- */

/*
 * `framework_count` framework versions, then `message_count` message versions follow, major before
 * minor. The answer has one of each, or both counts 0: nothing in common.
 */
struct ic_negotiate {
	uint16_t framework_count;
	uint16_t message_count;
	uint32_t reserved;
};
static_assert(sizeof(struct ic_negotiate) == 8, "NEGOTIATE");

/* ---- HEARTBEAT 1.0, 3.0: host → guest, every 2 s; answered by itself -------------------------- */

#define IC_HEARTBEAT_1_0       IC_VERSION(1, 0)
#define IC_HEARTBEAT_3_0       IC_VERSION(3, 0)

#define IC_HEARTBEAT_PERIOD_NS 2000000000ULL

/* From 3.0; what the guest's integration service thinks of the guest. Linux leaves it 0. */
enum {
	IC_APPLICATION_UNKNOWN = 0,
	IC_APPLICATION_HEALTHY = 1,
	IC_APPLICATION_CRITICAL = 2,
	IC_APPLICATION_STOPPED = 3,
};

struct ic_heartbeat {
	uint64_t sequence;          /* the answer's is one more */
	uint32_t application_state; /* IC_APPLICATION_*, in the answer */
	uint32_t reserved[7];
};
static_assert(sizeof(struct ic_heartbeat) == 40, "HEARTBEAT");

/* ---- SHUTDOWN 1.0 … 3.2: host → guest; answered by itself, before the guest goes down ---------- */

#define IC_SHUTDOWN_1_0            IC_VERSION(1, 0)
#define IC_SHUTDOWN_3_0            IC_VERSION(3, 0)
#define IC_SHUTDOWN_3_1            IC_VERSION(3, 1) /* adds restart */
#define IC_SHUTDOWN_3_2            IC_VERSION(3, 2) /* adds hibernate */

#define IC_SHUTDOWN_FLAG_FORCE     0x1
#define IC_SHUTDOWN_FLAG_RESTART   0x2
#define IC_SHUTDOWN_FLAG_HIBERNATE 0x4

#define IC_SHUTDOWN_REASON_PLANNED 0x80000000U

#define IC_SHUTDOWN_TEXT_BYTES     2048

struct ic_shutdown {
	uint32_t reason; /* IC_SHUTDOWN_REASON_* */
	uint32_t timeout_seconds;
	uint32_t flags;                       /* IC_SHUTDOWN_FLAG_* */
	uint8_t text[IC_SHUTDOWN_TEXT_BYTES]; /* shown to whoever sits there; UTF-16, ends with 0 */
};
static_assert(sizeof(struct ic_shutdown) == 2060, "SHUTDOWN");

/* ---- TIMESYNC 1.0, 3.0, 4.0: host → guest; answered by itself ---------------------------------- */

#define IC_TIMESYNC_1_0         IC_VERSION(1, 0)
#define IC_TIMESYNC_3_0         IC_VERSION(3, 0)
#define IC_TIMESYNC_4_0         IC_VERSION(4, 0)

/* Set your clock to this; against: one more sample, for whoever disciplines a clock. */
#define IC_TIMESYNC_FLAG_SYNC   0x1
#define IC_TIMESYNC_FLAG_SAMPLE 0x2

/* Units of 100 ns from 1601-01-01 to 1970-01-01, UTC. */
#define IC_TIMESYNC_EPOCH_100NS 116444736000000000ULL

/* Below 4.0. */
struct ic_timesync {
	uint64_t parent_time; /* UTC in units of 100 ns since 1601 */
	uint64_t child_time;
	uint64_t round_trip_time;
	uint8_t flags; /* IC_TIMESYNC_FLAG_* */
	uint8_t reserved[7];
};
static_assert(sizeof(struct ic_timesync) == 32, "TIMESYNC");

/* From 4.0. */
struct ic_timesync_4 {
	uint64_t parent_time;    /* UTC in units of 100 ns since 1601 */
	uint64_t reference_time; /* the partition's reference counter at that time, 100 ns */
	uint8_t flags;           /* IC_TIMESYNC_FLAG_* */
	uint8_t leap_indicator;  /* NTP's */
	uint8_t stratum;         /* NTP's */
	uint8_t reserved[5];
};
static_assert(sizeof(struct ic_timesync_4) == 24, "TIMESYNC 4.0");
