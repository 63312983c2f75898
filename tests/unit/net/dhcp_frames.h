/* SPDX-License-Identifier: MIT */
/* A DHCP client's frames, for tests. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "net/net.h"

#define DHCP_TEST_BYTES 640U

struct dhcp_words {
	uint8_t type;
	uint8_t mac[NET_MAC_BYTES];
	uint32_t xid, ciaddr, requested, server, lease_s;
	uint32_t to, relay; /* to: 0 is broadcast */
	const char *id, *name;
	bool broadcast;
};

static inline uint8_t *dhcp_test_option(uint8_t *at, uint8_t code, const void *value, size_t bytes)
{
	at[0] = code;
	at[1] = (uint8_t)bytes;
	memcpy(at + 2, value, bytes);
	return at + 2 + bytes;
}

static inline uint8_t *dhcp_test_u32(uint8_t *at, uint8_t code, uint32_t value)
{
	uint8_t be[4];

	bytes_put_be32(be, value);
	return value ? dhcp_test_option(at, code, be, 4) : at;
}

/* Its bytes. */
static inline uint32_t dhcp_test_frame(uint8_t frame[DHCP_TEST_BYTES], const struct dhcp_words *w)
{
	uint8_t *ip = frame + 14, *udp = ip + 20, *bootp = udp + 8, *at = bootp + 240;
	uint32_t bytes;

	memset(frame, 0, DHCP_TEST_BYTES);
	memset(frame, 0xff, NET_MAC_BYTES);
	memcpy(frame + 6, w->mac, NET_MAC_BYTES);
	bytes_put_be16(frame + 12, 0x0800);
	bootp[0] = bootp[1] = 1;
	bootp[2] = NET_MAC_BYTES;
	bytes_put_be32(bootp + 4, w->xid);
	bytes_put_be16(bootp + 10, w->broadcast ? 0x8000 : 0);
	bytes_put_be32(bootp + 12, w->ciaddr);
	bytes_put_be32(bootp + 24, w->relay);
	memcpy(bootp + 28, w->mac, NET_MAC_BYTES);
	bytes_put_be32(bootp + 236, 0x63825363);
	if (w->type) {
		at = dhcp_test_option(at, 53, &w->type, 1);
	}
	if (w->id) {
		at = dhcp_test_option(at, 61, w->id, strlen(w->id));
	}
	if (w->name) {
		at = dhcp_test_option(at, 12, w->name, strlen(w->name));
	}
	at = dhcp_test_u32(at, 50, w->requested);
	at = dhcp_test_u32(at, 54, w->server);
	at = dhcp_test_u32(at, 51, w->lease_s);
	*at++ = 255;
	bytes = (uint32_t)(at - frame);
	bytes = bytes < 342 ? 342 : bytes;
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(bytes - 14));
	ip[8] = 64;
	ip[9] = 17;
	bytes_put_be32(ip + 12, w->ciaddr);
	bytes_put_be32(ip + 16, w->to ? w->to : UINT32_MAX);
	bytes_put_be16(udp, 68);
	bytes_put_be16(udp + 2, 67);
	bytes_put_be16(udp + 4, (uint16_t)(bytes - 34));
	return bytes;
}
