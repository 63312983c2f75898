/* SPDX-License-Identifier: MIT */
/*
 * A frame in the pipeline: where it is, what it says, where it goes.
 *
 * The frame's bytes may lie in a guest's memory, which the guest can change at any time. So its head is
 * copied out once (vframe_pull()), everything that decides about the frame looks at the copy, and the
 * copy is what is delivered.
 *
 *   owner   the core that the frame came in on   thread  that core's loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "net/net.h"
#include "vswitch/drop.h"

#define VSWITCH_PORTS_MAX 256U
#define VSWITCH_NO_PORT   0xffffU

/* How much of a frame's beginning is copied out; what a plain port needs, and with IPv6 guards. */
#define VFRAME_HEAD_PLAIN 128U
#define VFRAME_HEAD_MAX   256U
#define VFRAME_BATCH_MAX  64U

/* A set of ports. */
typedef struct {
	uint64_t bits[VSWITCH_PORTS_MAX / 64];
} port_set;

static inline void port_set_add(port_set *set, unsigned int port)
{
	set->bits[port / 64] |= 1ULL << (port % 64);
}

static inline void port_set_remove(port_set *set, unsigned int port)
{
	set->bits[port / 64] &= ~(1ULL << (port % 64));
}

static inline bool port_set_has(const port_set *set, unsigned int port)
{
	return (set->bits[port / 64] >> (port % 64)) & 1;
}

static inline void port_set_clear(port_set *set)
{
	*set = (port_set){ 0 };
}

static inline bool port_set_is_empty(const port_set *set)
{
	uint64_t any = 0;

	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX / 64; i++) {
		any |= set->bits[i];
	}
	return any == 0;
}

static inline void port_set_or(port_set *set, const port_set *other)
{
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX / 64; i++) {
		set->bits[i] |= other->bits[i];
	}
}

static inline void port_set_and(port_set *set, const port_set *other)
{
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX / 64; i++) {
		set->bits[i] &= other->bits[i];
	}
}

/* The first port at or behind `from`, or -1: for (int p = next(s, 0); p >= 0; p = next(s, p + 1)). */
static inline int port_set_next(const port_set *set, unsigned int from)
{
	for (unsigned int word = from / 64; word < VSWITCH_PORTS_MAX / 64; word++) {
		uint64_t bits = set->bits[word];

		if (word == from / 64) {
			bits &= ~0ULL << (from % 64);
		}
		if (bits) {
			return (int)(word * 64) + __builtin_ctzll(bits);
		}
	}
	return -1;
}

/* An address of either family; IPv4 as ::ffff:a.b.c.d. Host order. */
struct vframe_ip {
	uint64_t hi, lo;
};

/* vframe_key.flags */
enum {
	VKEY_FRAGMENT = 1U << 0,  /* a piece of a datagram; ports are known only of the first */
	VKEY_FIRST = 1U << 1,     /* its first one */
	VKEY_L4 = 1U << 2,        /* ports (or icmp_type) are known */
	VKEY_TRUNCATED = 1U << 3, /* headers go on behind what was copied out, or are cut off */
	VKEY_ARP = 1U << 4,       /* arp_operation is valid; ip_from and ip_to are what it says */
	VKEY_OPTIONS = 1U << 5,   /* IPv4 options or IPv6 extension headers */
	VKEY_TAG = 1U << 6,       /* the first tag is in the frame itself (behind the addresses) */
};

#define VKEY_TCP_FIN 0x01U
#define VKEY_TCP_SYN 0x02U
#define VKEY_TCP_RST 0x04U
#define VKEY_TCP_ACK 0x10U

/* What the tables look at, all of it read from the private copy of the head. Host order. */
struct vframe_key {
	uint8_t to[NET_MAC_BYTES], from[NET_MAC_BYTES];
	/*
	 * Behind the first 802.1Q tag, whether that is in the frame or in net.vlan_tci. Tags behind it, and
	 * a first tag of 802.1ad (0x88a8), are opaque: then this is 0x8100 or 0x88a8 and nothing further
	 * is known.
	 */
	uint16_t ethertype;
	uint8_t ip_version; /* 0, 4, 6 */
	uint8_t protocol;   /* of IPv6, the one behind the extension headers */
	uint8_t flags;      /* VKEY_* */
	uint8_t tcp_flags;  /* VKEY_TCP_* */
	uint8_t icmp_type, icmp_code;
	uint8_t hop_limit;
	uint16_t arp_operation;
	uint16_t l3_offset, l4_offset; /* in the frame as it lies, a tag included */
	uint16_t port_from, port_to;
	struct vframe_ip ip_from, ip_to;
	uint8_t arp_mac[NET_MAC_BYTES]; /* ARP's sender */
};

struct vframe {
	struct net_frame net; /* iov[0] is head, or the caller's before vframe_pull() */
	struct vframe_key key;
	port_set to;     /* where it goes, once that is decided */
	uint16_t from;   /* port */
	uint16_t member; /* of a team: the uplink that it came in on */
	uint16_t vlan;   /* after classification, as on a wire; 0: none */
	uint16_t fid;    /* what FDB and groups are asked with: vlan, or a private VLAN's primary */
	uint8_t pcp;     /* priority of its tag */
	uint8_t drop;    /* enum drop_cause; DROP_NONE: goes on */
	uint32_t flow_hash; /* the same for both directions of a flow */
	uint16_t head_bytes;
	uint16_t lent; /* how many of lent_iov are in use: see vframe_unpull() */
	struct iovec lent_iov[2];
	/* Two bytes in front, so that what is behind the Ethernet header is aligned. */
	_Alignas(16) uint8_t head_pad[2];
	uint8_t head[VFRAME_HEAD_MAX];
};

static inline bool vframe_is_group(const struct vframe *frame)
{
	return (frame->key.to[0] & 1) != 0;
}

static inline bool vframe_is_broadcast(const struct vframe *frame)
{
	const uint8_t *to = frame->key.to;

	return (to[0] & to[1] & to[2] & to[3] & to[4] & to[5]) == 0xff;
}

/*
 * Takes a frame over: its first head_bytes_max bytes (14 to VFRAME_HEAD_MAX) are copied into head, and
 * head becomes its first iovec, with NET_FRAME_HEAD. For that from->iov[-1] is written, as
 * net_send_many() grants, and the iovecs that the head covers are shortened or skipped. 0, or -EBADMSG:
 * shorter than an Ethernet header, or fewer bytes in the iovecs than that. Then nothing is changed.
 * *from is copied; its iovecs stay the caller's. The vframe must not move afterwards.
 */
MUST_CHECK int vframe_pull(struct vframe *frame, const struct net_frame *from,
			   uint32_t head_bytes_max);

/*
 * Gives the iovecs back as they were, for a frame that is not taken (-EAGAIN) and will be offered
 * again from the same iovecs. iov[-1] is not restored.
 */
void vframe_unpull(struct vframe *frame);

/*
 * Fills key and flow_hash from the head. Never fails: what cannot be read is not claimed. Reads one
 * 802.1Q tag, ARP, IPv4, IPv6 with its extension headers (VFRAME_EXTENSIONS_MAX), TCP, UDP, ICMP.
 * net's own offsets are not believed.
 *
 * What holds then: l3_offset and l4_offset are 0 or within the head; with VKEY_L4 the whole ports (or
 * type and code) are within it; ip_from and ip_to are of the head when ip_version is set, or VKEY_ARP.
 */
#define VFRAME_EXTENSIONS_MAX 8U
void vframe_parse(struct vframe *frame, uint64_t secret);

/* An IPv6 extension header, by its number: what is behind it says what the frame carries. */
bool vframe_is_extension(uint8_t protocol);

/*
 * Takes the first tag out of the frame, if it is there (0x8100 and no NET_FRAME_VLAN): it becomes
 * net.vlan_tci with NET_FRAME_VLAN, and all offsets move. After vframe_parse(). vlan_ingress() does it.
 */
void vframe_untag(struct vframe *frame);

/*
 * Copies bytes of the frame, from offset on, through its iovecs: payload that is to be looked at once
 * (DHCP, IGMP). How many there were, up to `bytes`.
 */
uint32_t vframe_copy(const struct vframe *frame, uint32_t offset, void *dst, uint32_t bytes);

/*
 * Where the payload of IPv4 or IPv6 ends, from the frame's start, as the IP header says and no further
 * than the frame: what is behind is padding. 0: no IP header in the head.
 */
uint32_t vframe_ip_end(const struct vframe *frame);
