/* SPDX-License-Identifier: MIT */
/*
 * Between a switch and its extensions, processes of their own that see, change or forward frames: a few
 * messages over SOCK_SEQPACKET on a Unix socket (one per datagram), then shared memory and doorbells only.
 * e→s and s→e say who sends a message. Everything is in the byte order of the host that both are on
 * (little-endian). Bytes behind what a message needs are ignored, so that messages can grow.
 *
 *   extension                                switch
 *     HELLO        ───────────────────────►
 *                  ◄───────────────────────  WELCOME (two memfds, a doorbell per core)
 *                  ◄───────────────────────  PORTS, now and whenever they change
 *     asks memory  ◄── ring, slots ────────  one region per core; the extension can only read it
 *     answers mem. ─── ring, changed bytes ►  one region per core; the switch believes nothing in it
 *
 *   spec  docs/extensions.md
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VSEXT_VERSION           1U
#define VSEXT_NAME_BYTES        64U /* names and sentences: UTF-8, ends with a zero */
#define VSEXT_CORES_MAX         16U
#define VSEXT_PORTS_MAX         256U
#define VSEXT_MESSAGE_BYTES_MAX 32768U
#define VSEXT_FDS_MAX           (2U + VSEXT_CORES_MAX)

enum {
	VSEXT_MSG_HELLO = 1,   /* e→s */
	VSEXT_MSG_WELCOME = 2, /* s→e */
	VSEXT_MSG_PORTS = 3,   /* s→e */
};

struct vsext_header {
	uint16_t type;  /* VSEXT_MSG_* */
	uint16_t flags; /* 0 */
	uint32_t bytes; /* of the whole datagram */
};
static_assert(sizeof(struct vsext_header) == 8, "header");

enum vsext_kind {
	VSEXT_CAPTURE = 1, /* sees; answers only give slots back */
	VSEXT_FILTER = 2,  /* lets pass, changes or drops */
	VSEXT_FORWARD = 3, /* says where frames go; one per switch */
};

/* vsext_hello.directions. A forwarder has none: it sees what enters the switch. */
#define VSEXT_IN  1U /* from a port into the switch */
#define VSEXT_OUT 2U /* from the switch to a port */

/* vsext_hello.match: which of the fields must fit; no bit: all frames */
enum {
	VSEXT_MATCH_PORT = 1U << 0,
	VSEXT_MATCH_VLAN = 1U << 1, /* as the switch classifies it; 0: none */
	VSEXT_MATCH_ETHERTYPE = 1U << 2,
	/* Frames whose headers hide what is asked for (fragments, truncated ones) fit. */
	VSEXT_MATCH_PROTOCOL = 1U << 3, /* of IP */
	VSEXT_MATCH_L4_PORT = 1U << 4,  /* of TCP or UDP, source or destination */
	VSEXT_MATCH_TO = 1U << 5,       /* the destination address */
};

/* e→s, the first and only; answered by WELCOME */
struct vsext_hello {
	struct vsext_header header;
	uint16_t version;
	uint8_t kind;       /* enum vsext_kind */
	uint8_t directions; /* VSEXT_IN, VSEXT_OUT */
	uint32_t snaplen;   /* capture: how many bytes of a frame; 0: all */
	uint16_t match;     /* VSEXT_MATCH_* */
	uint16_t vlan, ethertype, l4_port;
	uint8_t protocol;
	uint8_t to[6];
	uint8_t no_drops; /* capture: 1: frames are not shown again when they are dropped */
	char port[VSEXT_NAME_BYTES];
	char name[VSEXT_NAME_BYTES]; /* of the extension */
};
static_assert(sizeof(struct vsext_hello) == 160, "HELLO");
static_assert(offsetof(struct vsext_hello, port) == 32, "HELLO");

/*
 * s→e. Descriptors, when status is 0: the memory of asks (to be mapped for reading only), the memory of
 * answers, and for each core a doorbell: a stream socket that either side sends a byte through to wake
 * the other, which throws it away. (No eventfd: whoever has one can make the other's write block.)
 */
struct vsext_welcome {
	struct vsext_header header;
	uint16_t version;
	uint16_t reserved;
	int32_t status; /* 0, or a negative errno: text says why, and the connection ends */
	uint32_t cores;
	uint32_t asks_bytes, answers_bytes; /* of each core's region: VSEXT_ASKS_BYTES … */
	uint32_t deadline_us;               /* for an answer; 0: there is none (capture) */
	char text[VSEXT_NAME_BYTES];
};
static_assert(sizeof(struct vsext_welcome) == 96, "WELCOME");

#define VSEXT_PORT_HERE 1U /* flags of a port: it exists */
#define VSEXT_PORT_LINK 2U /* something is plugged in, and its link is up */

struct vsext_port {
	uint16_t port;
	uint16_t flags; /* VSEXT_PORT_*; 0: it is gone */
	char name[VSEXT_NAME_BYTES];
};
static_assert(sizeof(struct vsext_port) == 68, "port");

/* s→e: ports that have come, changed or gone; after WELCOME all that are there. count of them follow. */
struct vsext_ports {
	struct vsext_header header;
	uint32_t count;
};
static_assert(sizeof(struct vsext_ports) == 12, "PORTS");
static_assert(sizeof(struct vsext_ports) + VSEXT_PORTS_MAX * sizeof(struct vsext_port) <
		      VSEXT_MESSAGE_BYTES_MAX,
	      "all ports fit into one message");

/* ---- shared memory ----------------------------------------------------------------------------- */

/*
 * A slot holds one frame. Small ones take any frame of a usual MTU, large ones whatever there is. The
 * rings have more places than there are slots, and so are never full.
 */
#define VSEXT_RING         4096U
#define VSEXT_SMALL        2048U
#define VSEXT_SMALL_BYTES  2048U
#define VSEXT_LARGE        32U
#define VSEXT_LARGE_BYTES  69632U
#define VSEXT_SLOTS        (VSEXT_SMALL + VSEXT_LARGE)
#define VSEXT_SLOTS_BYTES  (VSEXT_SMALL * VSEXT_SMALL_BYTES + VSEXT_LARGE * VSEXT_LARGE_BYTES)
#define VSEXT_HEADER_BYTES 4096U /* before a ring */

/* vsext_slot.flags: as the sender left the frame */
enum {
	VSEXT_FRAME_L4_CHECKSUM = 1U << 0, /* the TCP or UDP checksum is not there yet */
	VSEXT_FRAME_IP_CHECKSUM = 1U << 1, /* nor the IPv4 header's */
	VSEXT_FRAME_LARGE = 1U << 2,       /* one TCP segment to be cut into pieces of mss bytes */
	VSEXT_FRAME_CHECKSUM_GOOD = 1U << 3, /* both are known to be right */
};

/* Before each frame's bytes. */
struct vsext_slot {
	uint64_t time_ns;     /* since 1970 */
	uint32_t frame_bytes; /* of the whole frame, without a tag that vlan says */
	uint32_t bytes;       /* that follow here: fewer, when snaplen cuts it */
	uint32_t hash;        /* of its flow: both directions have the same */
	uint16_t port;        /* where it is seen: the source, or with VSEXT_OUT the destination */
	uint16_t from;        /* the source */
	uint16_t vlan;        /* 0: none; a tag is not in the bytes */
	uint16_t flags;       /* VSEXT_FRAME_* */
	uint16_t mss;
	uint16_t ethertype;
	uint16_t l3_offset, l4_offset; /* 0: not known */
	uint8_t pcp;
	uint8_t direction;  /* VSEXT_IN or VSEXT_OUT */
	uint8_t protocol;   /* of IP; 0: no IP */
	uint8_t ip_version; /* 0, 4, 6 */
	char reason[16];    /* capture: why the frame was dropped here; "": it goes on */
	uint32_t reserved[2];
};
static_assert(sizeof(struct vsext_slot) == 64, "slot");
static_assert(offsetof(struct vsext_slot, reason) == 40, "slot");

struct vsext_ask {
	uint32_t slot;
	uint32_t seq; /* to be repeated in the answer */
};
static_assert(sizeof(struct vsext_ask) == 8, "ask");

/*
 * Who finds nothing to do stores the number of its sleep in its `sleeping` (never 0), looks once more and
 * waits for its bell; awake, it stores 0. The other side, after it has stored `produced`, looks at
 * `sleeping` and rings, once for a number. Both put a full barrier between the two.
 */

/* A core's region of asks: this, the ring (VSEXT_HEADER_BYTES on), the slots behind it. */
struct vsext_asks {
	_Atomic(uint32_t)
		produced; /* asks so far; the ring's place is the rest modulo VSEXT_RING */
	_Atomic(uint32_t) sleeping; /* the switch's: see below */
	_Atomic(uint64_t) lost;     /* frames that were not shown, because there was no room */
};

enum vsext_verdict {
	VSEXT_PASS =
		1, /* goes on as it is; a forwarder's: the switch decides. A capture's only one */
	VSEXT_DROP = 2, /* filter, forward */
	VSEXT_CHANGED =
		3, /* filter: `bytes` bytes in the slot's place in the answers' memory instead */
	VSEXT_SEND = 4, /* forward: to the ports in `to` */
};

struct vsext_answer {
	uint32_t slot;
	uint32_t seq;
	uint8_t verdict; /* enum vsext_verdict */
	uint8_t reserved[3];
	uint32_t bytes;                     /* CHANGED */
	uint64_t to[VSEXT_PORTS_MAX / 64U]; /* SEND: port p is bit p % 64 of to[p / 64] */
	uint64_t reserved2[2];
};
static_assert(sizeof(struct vsext_answer) == 64, "answer");

/* A core's region of answers: this, the ring, and for a filter places for changed bytes, as slots are. */
struct vsext_answers {
	_Atomic(uint32_t) produced;
	_Atomic(uint32_t) sleeping; /* the extension's */
};

#define VSEXT_ASKS_SLOTS      (VSEXT_HEADER_BYTES + VSEXT_RING * 8U)
#define VSEXT_ASKS_BYTES      (VSEXT_ASKS_SLOTS + VSEXT_SLOTS_BYTES)
#define VSEXT_ANSWERS_CHANGED (VSEXT_HEADER_BYTES + VSEXT_RING * 64U)
#define VSEXT_ANSWERS_BYTES   (VSEXT_ANSWERS_CHANGED + VSEXT_SLOTS_BYTES) /* a filter's */
static_assert(VSEXT_ASKS_BYTES % 4096 == 0 && VSEXT_ANSWERS_BYTES % 4096 == 0, "whole pages");
static_assert(VSEXT_RING > VSEXT_SLOTS, "a ring is never full");

/* Where a slot lies, behind VSEXT_ASKS_SLOTS or VSEXT_ANSWERS_CHANGED. slot < VSEXT_SLOTS. */
static inline uint32_t vsext_slot_offset(uint32_t slot)
{
	return slot < VSEXT_SMALL
		       ? slot * VSEXT_SMALL_BYTES
		       : VSEXT_SMALL * VSEXT_SMALL_BYTES + (slot - VSEXT_SMALL) * VSEXT_LARGE_BYTES;
}

/* How many of a frame's bytes it takes, behind struct vsext_slot. (Changed bytes begin at its start.) */
static inline uint32_t vsext_slot_room(uint32_t slot)
{
	return (slot < VSEXT_SMALL ? VSEXT_SMALL_BYTES : VSEXT_LARGE_BYTES) -
	       (uint32_t)sizeof(struct vsext_slot);
}
