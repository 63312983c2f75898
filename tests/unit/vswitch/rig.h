/* SPDX-License-Identifier: MIT */
/* Frames for the tests of the switch's tables: built by hand, pulled and parsed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/offload.h"
#include "proto/ether.h"
#include "vswitch/frame.h"

#define RIG_SECRET 0x1234567890abcdefULL

struct rig {
	uint8_t bytes[2048];
	uint32_t length;
	struct iovec iov[8]; /* [1] is the first */
	struct vframe frame;
};

static inline uint8_t *rig_put(struct rig *rig, const void *bytes, uint32_t length)
{
	uint8_t *at = rig->bytes + rig->length;

	check(rig->length + length <= sizeof(rig->bytes));
	if (bytes) {
		memcpy(at, bytes, length);
	} else {
		memset(at, 0, length);
	}
	rig->length += length;
	return at;
}

static inline void rig_ethernet(struct rig *rig, const uint8_t *to, const uint8_t *from,
				uint16_t type)
{
	rig->length = 0;
	rig_put(rig, to, 6);
	rig_put(rig, from, 6);
	bytes_put_be16(rig_put(rig, NULL, 2), type);
}

/* Behind the addresses, the type replaced. */
static inline void rig_type(struct rig *rig, uint16_t type)
{
	bytes_put_be16(rig->bytes + rig->length - 2, type);
}

static inline void rig_tag(struct rig *rig, uint16_t tci, uint16_t type)
{
	bytes_put_be16(rig_put(rig, NULL, 2), tci);
	bytes_put_be16(rig_put(rig, NULL, 2), type);
}

static inline uint8_t *rig_ipv4(struct rig *rig, uint8_t protocol, uint32_t from, uint32_t to,
				uint32_t payload)
{
	uint8_t *ip = rig_put(rig, NULL, 20);

	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(20 + payload));
	ip[8] = protocol == IP_PROTOCOL_IGMP ? 1 : 64;
	ip[9] = protocol;
	bytes_put_be32(ip + 12, from);
	bytes_put_be32(ip + 16, to);
	return ip;
}

static inline uint8_t *rig_ipv6(struct rig *rig, uint8_t protocol, struct vframe_ip from,
				struct vframe_ip to, uint32_t payload)
{
	uint8_t *ip = rig_put(rig, NULL, 40);

	ip[0] = 0x60;
	bytes_put_be16(ip + 4, (uint16_t)payload);
	ip[6] = protocol;
	ip[7] = 255;
	bytes_put_be64(ip + 8, from.hi);
	bytes_put_be64(ip + 16, from.lo);
	bytes_put_be64(ip + 24, to.hi);
	bytes_put_be64(ip + 32, to.lo);
	return ip;
}

static inline uint8_t *rig_udp(struct rig *rig, uint16_t from, uint16_t to, uint32_t payload)
{
	uint8_t *udp = rig_put(rig, NULL, 8);

	bytes_put_be16(udp, from);
	bytes_put_be16(udp + 2, to);
	bytes_put_be16(udp + 4, (uint16_t)(8 + payload));
	rig_put(rig, NULL, payload);
	return udp;
}

static inline struct vframe *rig_parse_flags(struct rig *rig, uint16_t flags, uint16_t tci)
{
	struct net_frame net = {
		.iov = &rig->iov[1],
		.iov_count = 1,
		.bytes = rig->length,
		.flags = flags,
		.vlan_tci = tci,
	};

	rig->iov[1] = (struct iovec){ rig->bytes, rig->length };
	check(vframe_pull(&rig->frame, &net, VFRAME_HEAD_MAX) == 0);
	vframe_parse(&rig->frame, RIG_SECRET);
	return &rig->frame;
}

static inline struct vframe *rig_parse(struct rig *rig)
{
	return rig_parse_flags(rig, 0, 0);
}
