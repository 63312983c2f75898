/* SPDX-License-Identifier: MIT */
/*
 * Between a worker, whose guest it is, and a host process that serves some of the guest's devices:
 * SOCK_SEQPACKET on a Unix socket, one message per datagram, little-endian, descriptors as
 * SCM_RIGHTS. w→h and h→w say who sends a message. Bytes beyond what a message needs are ignored, so
 * that messages can grow; the rest of what is wrong with one ends the connection.
 *
 *   spec  docs/remote-vsp.md
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"

#define REMOTE_VERSION           1 /* the only one so far */
#define REMOTE_MESSAGE_BYTES_MAX 32768U
#define REMOTE_DEVICE_CONNECTION 0xffffffffU /* header.device of what is about no device */

#define REMOTE_VPS_MAX           64
#define REMOTE_RANGES_MAX        2  /* mem_ranges() */
#define REMOTE_DEVICES_MAX       16 /* devices of one worker: numbers 0 to 15 */
#define REMOTE_CHANNELS_MAX      64 /* of one device */
#define REMOTE_GPADLS_MAX        4096
#define REMOTE_GPADL_PAGES_MAX   (1U << 20)           /* of one connection */
#define REMOTE_GFNS_MAX          4090                 /* in one GPADL message */
#define REMOTE_CONFIG_BYTES_MAX  4096                 /* in LEND */
#define REMOTE_JOURNAL_BYTES_MAX (128U << 20)         /* of one device */
#define REMOTE_FDS_MAX           (2 + REMOTE_VPS_MAX) /* of one message: HELLO's */

#define REMOTE_KIND_BYTES        16
#define REMOTE_NAME_BYTES        64 /* names and sentences: UTF-8, ends with a zero */

enum {
	REMOTE_MSG_HELLO = 1,      /* w→h: RAM, board, and a SINT eventfd per VP */
	REMOTE_MSG_WELCOME = 2,    /* h→w */
	REMOTE_MSG_LEND = 3,       /* w→h: journal */
	REMOTE_MSG_GPADL = 4,      /* w→h */
	REMOTE_MSG_CHANNEL = 5,    /* w→h: doorbell */
	REMOTE_MSG_START = 6,      /* w→h: header only */
	REMOTE_MSG_STARTED = 7,    /* h→w */
	REMOTE_MSG_RECALL = 8,     /* w→h */
	REMOTE_MSG_RETURNED = 9,   /* h→w */
	REMOTE_MSG_SUBS = 10,      /* h→w */
	REMOTE_MSG_INSPECT = 11,   /* w→h: header only */
	REMOTE_MSG_INSPECTED = 12, /* h→w: JSON */
	REMOTE_MSG_PING = 13,      /* w→h: header only */
	REMOTE_MSG_PONG = 14,      /* h→w: header only, with the ping's serial */
};

struct remote_header {
	uint16_t type;   /* REMOTE_MSG_* */
	uint16_t flags;  /* 0 */
	uint32_t bytes;  /* of the whole datagram */
	uint32_t device; /* the worker's number, or REMOTE_DEVICE_CONNECTION */
	uint32_t serial; /* of what it answers, else the sender's count */
};
static_assert(sizeof(struct remote_header) == 16, "header");

struct remote_range {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t fd_offset;
};

/* w→h, the first; answered by WELCOME. Descriptors: RAM, board, vps SINT eventfds. */
struct remote_hello {
	struct remote_header header;
	uint16_t version_min, version_max;
	uint32_t vps;
	uint64_t features; /* none yet: 0 */
	uint32_t range_count;
	uint32_t board_bytes;
	struct remote_range ranges[REMOTE_RANGES_MAX];
	uint8_t uuid[16];             /* of the partition */
	char name[REMOTE_NAME_BYTES]; /* of the partition */
};
static_assert(sizeof(struct remote_hello) == 168, "HELLO");

/* h→w */
struct remote_welcome {
	struct remote_header header;
	uint16_t version; /* from now on */
	uint16_t reserved;
	int32_t status;    /* 0, or a negative errno: text says why, and the connection ends */
	uint64_t features; /* those of HELLO that the host has, too */
	uint32_t devices_max;
	uint32_t channels_max; /* per device */
	char text[REMOTE_NAME_BYTES];
};
static_assert(sizeof(struct remote_welcome) == 104, "WELCOME");

/*
 * w→h: a device; its GPADLs, its CHANNELs and START follow without waiting, and STARTED or RETURNED
 * answers. config_bytes of config follow, fields of state/save.h. Descriptor: journal.
 */
struct remote_lend {
	struct remote_header header;
	char kind[REMOTE_KIND_BYTES]; /* "net"; which service */
	char port[REMOTE_NAME_BYTES]; /* where it is plugged in there */
	struct guid interface_type, interface_instance;
	uint8_t user_defined[120];
	uint16_t offer_flags, mmio_mib;
	uint32_t vmbus_version;
	uint16_t channels, gpadls; /* how many follow */
	uint32_t journal_bytes;
	uint32_t config_bytes;
	uint32_t reserved;
};
static_assert(sizeof(struct remote_lend) == 272, "LEND");
static_assert(offsetof(struct remote_lend, offer_flags) == 248, "LEND");

/* w→h: a GPADL, or a part of one. count page frame numbers (u64) follow. */
struct remote_gpadl {
	struct remote_header header;
	uint32_t gpadl, relid;
	uint32_t offset, length; /* bytes, as in GPADL_HEADER */
	uint32_t pages;          /* in all */
	uint32_t first, count;   /* this part; parts come in order */
	uint32_t reserved;
};
static_assert(sizeof(struct remote_gpadl) == 48, "GPADL");

#define REMOTE_CHANNEL_FRESH 1 /* the VSP has not seen open() */

/* w→h. Descriptor: the doorbell. */
struct remote_channel {
	struct remote_header header;
	uint32_t relid;
	uint16_t index; /* 0: the primary, which comes first */
	uint16_t flags; /* REMOTE_CHANNEL_* */
	uint32_t ring_gpadl;
	uint32_t downstream_page;
	uint8_t user_data[120]; /* of OPEN_CHANNEL */
};
static_assert(sizeof(struct remote_channel) == 152, "CHANNEL");

/* h→w: packets flow; or status < 0, and the host has let go of the device. */
struct remote_started {
	struct remote_header header;
	int32_t status;
	uint32_t reserved;
	char text[REMOTE_NAME_BYTES];
};
static_assert(sizeof(struct remote_started) == 88, "STARTED");

enum remote_recall_reason {
	REMOTE_RECALL_CONTROL = 1, /* the guest's control plane touches it */
	REMOTE_RECALL_PAUSE = 2,
	REMOTE_RECALL_END = 3, /* it is not lent again */
};

/*
 * w→h; answered by RETURNED. One for a device that is not there has crossed a RETURNED and is
 * ignored. close_count relids (u32) follow: their close() is to be seen by the VSP.
 */
struct remote_recall {
	struct remote_header header;
	uint32_t reason; /* REMOTE_RECALL_* */
	uint16_t close_count;
	uint16_t reserved;
};
static_assert(sizeof(struct remote_recall) == 24, "RECALL");

enum remote_return_reason {
	REMOTE_RETURN_RECALLED = 1,
	REMOTE_RETURN_UPGRADE = 2,  /* the host comes back within retry_ms */
	REMOTE_RETURN_SHUTDOWN = 3, /* it does not */
	REMOTE_RETURN_REMOVED = 4,  /* the port is gone */
	REMOTE_RETURN_BROKEN = 5,   /* the VSP refused; status says why */
};

/* h→w: the host's last word on a device: nothing of it is mapped there any more. */
struct remote_returned {
	struct remote_header header;
	uint32_t reason; /* REMOTE_RETURN_* */
	int32_t status;
	uint32_t retry_ms;
	uint32_t reserved;
	char text[REMOTE_NAME_BYTES];
};
static_assert(sizeof(struct remote_returned) == 96, "RETURNED");

/* h→w: vmbus_channel_offer_subs(). */
struct remote_subs {
	struct remote_header header;
	uint32_t count;
	uint32_t reserved;
};
static_assert(sizeof(struct remote_subs) == 24, "SUBS");

/*
 * The board: what changes while devices are away. Written by the worker alone, each field by one
 * store.
 */
#define REMOTE_BOARD_MAGIC   0x44524254U /* "TBRD" */
#define REMOTE_BOARD_VERSION 1
#define REMOTE_BOARD_BYTES   12288

struct remote_board {
	uint32_t magic, version, vps, reserved;
	_Atomic(uint64_t) siefp[REMOTE_VPS_MAX]; /* the register: gpa of the page, bit 0: enabled */
	uint8_t reserved_2[1024 - 16 - 8 * REMOTE_VPS_MAX];
	_Atomic(uint32_t) target_vp[2048]; /* by relid */
	uint8_t reserved_3[REMOTE_BOARD_BYTES - 1024 - 4 * 2048];
};
static_assert(sizeof(struct remote_board) == REMOTE_BOARD_BYTES, "board");
static_assert(offsetof(struct remote_board, target_vp) == 1024, "board");
