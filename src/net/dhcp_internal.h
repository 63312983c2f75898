/* SPDX-License-Identifier: MIT */
/*
 * The DHCP server, between its files.
 *
 *   dhcp.c        slots, and what the protocol makes of them
 *   dhcp_wire.c   messages in frames
 *   dhcp_state.c  saved leases
 */
#pragma once

#include "net/dhcp.h"

#define DHCP_BOOTP_BYTES 240U /* with the magic cookie */

enum dhcp_type {
	DHCP_DISCOVER = 1,
	DHCP_OFFER = 2,
	DHCP_REQUEST = 3,
	DHCP_DECLINE = 4,
	DHCP_ACK = 5,
	DHCP_NAK = 6,
	DHCP_RELEASE = 7,
	DHCP_INFORM = 8,
};

/* Who a client is. */
struct dhcp_client {
	uint8_t mac[NET_MAC_BYTES];
	uint8_t id_bytes; /* 0: the hardware address is all there is */
	uint8_t id[DHCP_ID_BYTES_MAX];
};

/* A message to the server, copied out of its frame. */
struct dhcp_message {
	struct dhcp_client client; /* its identifier is sent back (RFC 6842) */
	uint8_t type;              /* enum dhcp_type */
	uint32_t xid;
	uint16_t flags;
	uint32_t ciaddr;
	uint32_t requested, server; /* options 50, 54; 0: none */
	uint32_t lease_s;           /* option 51; 0: none */
	char name[DHCP_NAME_BYTES];
};

struct dhcp_answer {
	uint8_t type;
	uint32_t address; /* yiaddr */
	uint32_t lease_s; /* 0: not told */
};

enum dhcp_slot_state { DHCP_SLOT_FREE, DHCP_SLOT_OFFERED, DHCP_SLOT_BOUND, DHCP_SLOT_DECLINED };

#define DHCP_KEPT_NEVER UINT16_MAX

/* An address. What is free remembers who had it last. */
struct dhcp_slot {
	uint8_t state; /* enum dhcp_slot_state; void after until_s */
	uint16_t
		kept; /* 0: for everybody; DHCP_KEPT_NEVER, or 1 + the index of the static that has it */
	uint32_t origin; /* from where it was asked for; 0: not known, not counted */
	uint64_t at_s;   /* when it was given */
	uint64_t until_s;
	struct dhcp_client client;
	char name[DHCP_NAME_BYTES];
};

struct dhcp {
	struct dhcp_config config;
	struct dhcp_counters counters;
	struct dhcp_static statics[DHCP_STATICS_MAX];
	unsigned int static_count;
	unsigned int pool, next; /* addresses in the pool; where the search for a free one begins */
	/* pool of them, in order of the address, and then one for each static */
	struct dhcp_slot slots[];
};

/* ---- dhcp.c ---- */

/* The slot of an address; NULL: none of ours. */
struct dhcp_slot *dhcp_slot_of(const struct dhcp *dhcp, uint32_t address);
uint32_t dhcp_address_of(const struct dhcp *dhcp, const struct dhcp_slot *slot);
unsigned int dhcp_slot_count(const struct dhcp *dhcp);
/* Whether the address is kept for nobody else (D1). */
bool dhcp_may_have(const struct dhcp *dhcp, const struct dhcp_slot *slot, const uint8_t *mac);

static inline uint32_t dhcp_mask(const struct dhcp_config *config)
{
	return UINT32_MAX << (32 - config->prefix_bits);
}

/* Given to somebody, or declined, at this time. */
static inline bool dhcp_slot_is_taken(const struct dhcp_slot *slot, uint64_t now_s)
{
	return slot->state != DHCP_SLOT_FREE && slot->until_s > now_s;
}

/* ---- dhcp_wire.c ---- */

/* DHCP_REPLY: *ret is a message to be answered. */
enum dhcp_result dhcp_parse(const struct dhcp_config *config, const uint8_t *frame, uint32_t bytes,
			    struct dhcp_message *ret);
/* The bytes of the frame. */
uint32_t dhcp_build(const struct dhcp_config *config, const struct dhcp_message *to,
		    const struct dhcp_answer *answer, uint8_t reply[DHCP_REPLY_BYTES]);
