/* SPDX-License-Identifier: MIT */
/*
 * A DHCP server for one network: a frame goes in, at most one comes out. It knows no sockets and no
 * clock; who asks hands in the time.
 *
 *   pool     each address has a slot of its own, and so has each static lease; nothing grows
 *   client   its hardware address, which must be its frame's too, and its client identifier if it
 *            sends one that is not very long; with a static lease the hardware address alone
 *   D1       An address is given to one client at a time, and never to a stranger when it is kept for
 *            somebody (static), or is the gateway's, the resolver's, the network's or its broadcast
 *   D2       A request for what the client cannot have is refused (NAK). One for a free address is
 *            granted also to a client that we have never seen: this server alone speaks for its network
 *   D3       One hardware address holds at most DHCP_PER_MAC_MAX addresses; a further one costs the
 *            oldest of them. When the pool is empty, what was declined, then what was offered for
 *            DHCP_OFFER_GRACE_S and not taken, is given away
 *   D4       Clients that come from one place (dhcp_config.origin) hold at most per_origin_max addresses,
 *            however many hardware addresses they invent; a further one gets no answer. What is kept for
 *            somebody (static) is not counted
 *
 * Relays are not served. Frames come without a tag and with checksums that nobody checks again.
 *
 *   owner   the caller: create, destroy   thread  any one
 *   spec    RFC 2131, 2132; 951 (BOOTP, whose clients get no answer)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/diag.h"
#include "net/net.h"

struct load;
struct save;

#define DHCP_POOL_MAX        1024U /* addresses */
#define DHCP_STATICS_MAX     256U
#define DHCP_PER_MAC_MAX     4U
#define DHCP_ID_BYTES_MAX    32U /* of a client identifier */
#define DHCP_NAME_BYTES      64U /* of a client's host name, with the 0 */
#define DHCP_DOMAIN_BYTES    64U
#define DHCP_LEASE_S_MIN     60U
#define DHCP_LEASE_S_DEFAULT 3600U
#define DHCP_LEASE_S_MAX     (30U * 86400)
#define DHCP_OFFER_S         60U
#define DHCP_OFFER_GRACE_S   5U
#define DHCP_DECLINED_S      600U
#define DHCP_REPLY_BYTES     640U /* the longest frame that is built */
#define DHCP_PREFIX_MIN      8U
#define DHCP_PREFIX_MAX      29U

/* Where a hardware address is, as a number that is the caller's; 0: wherever, there is no limit. */
typedef uint32_t dhcp_origin_fn(void *ctx, const uint8_t mac[NET_MAC_BYTES]);

/* Addresses are in host order. */
struct dhcp_config {
	uint32_t network;
	uint8_t prefix_bits;        /* DHCP_PREFIX_MIN to DHCP_PREFIX_MAX */
	uint8_t mac[NET_MAC_BYTES]; /* the server's */
	uint32_t server;            /* its address, within the network */
	uint32_t router, dns;       /* 0: clients are not told of any */
	uint32_t pool_first, pool_last;
	uint32_t lease_s;               /* 0: DHCP_LEASE_S_DEFAULT */
	uint16_t mtu;                   /* 0: not told */
	char domain[DHCP_DOMAIN_BYTES]; /* "": not told */
	dhcp_origin_fn *origin;         /* asked from dhcp_input(); NULL: there are no places */
	void *origin_ctx;
	uint32_t per_origin_max; /* D4; 0: no limit */
};

struct dhcp_static {
	uint8_t mac[NET_MAC_BYTES];
	uint32_t address; /* of the network; in the pool or not */
};

struct dhcp_lease {
	uint32_t address;
	uint8_t mac[NET_MAC_BYTES];
	char name[DHCP_NAME_BYTES]; /* as the client calls itself: printable, or "" */
	uint32_t left_s;            /* 0: a static one that is not in use */
	bool is_static;
};

struct dhcp_counters {
	uint64_t discovers, requests, declines, releases, informs;
	uint64_t offers, acks, naks;
	uint64_t no_address; /* the pool was empty */
	uint64_t over_limit; /* D4 */
	uint64_t ignored; /* ours to answer, and nonsense, BOOTP, a relay's, or another server's */
};

enum dhcp_result {
	DHCP_NOT_OURS, /* no message to this server: *ret_bytes is 0 */
	DHCP_SILENT,   /* taken, no answer */
	DHCP_REPLY,
};

struct dhcp;

/* Whether dhcp_create() would take it: 0, or -EINVAL with a sentence. */
MUST_CHECK int dhcp_config_check(const struct dhcp_config *config, struct diag *reterr);

/* 0; -EINVAL with a sentence; -ENOMEM. */
MUST_CHECK int dhcp_create(const struct dhcp_config *config, struct dhcp **ret,
			   struct diag *reterr);
void dhcp_destroy(struct dhcp *dhcp); /* NULL is fine */
AUTO_DESTROY(dhcp, dhcp_destroy)

/*
 * 0, or with a sentence -EINVAL (not of this network, or somebody else's by D1), -EEXIST (this hardware
 * address or this address has a static lease), -ENOSPC. Another client that holds the address loses it
 * when it asks to renew; until then the address's new owner is served from the pool.
 */
MUST_CHECK int dhcp_static_add(struct dhcp *dhcp, const struct dhcp_static *entry, uint64_t now_s,
			       struct diag *reterr);
/* -ENOENT. Who has the address keeps it until the lease ends, if it is one of the pool's. */
MUST_CHECK int dhcp_static_remove(struct dhcp *dhcp, const uint8_t mac[NET_MAC_BYTES]);

/* A frame from the network; the answer, a frame too, is written to reply. now_s never goes back. */
enum dhcp_result dhcp_input(struct dhcp *dhcp, const uint8_t *frame, uint32_t bytes, uint64_t now_s,
			    uint8_t reply[DHCP_REPLY_BYTES], uint32_t *ret_bytes);

/* The hardware address that has leased an address; NULL: nobody. Valid until the next call. */
const uint8_t *dhcp_holder(const struct dhcp *dhcp, uint32_t address, uint64_t now_s);

/* Leases and static leases, in no order. *cursor: 0 at first. */
bool dhcp_next(const struct dhcp *dhcp, uint32_t *cursor, uint64_t now_s, struct dhcp_lease *ret);

const struct dhcp_counters *dhcp_counters(const struct dhcp *dhcp);

/*
 * Leases with the time that they have left. Loading takes what fits the configuration (addresses in the
 * pool, or static ones' own); leases that there are stay. Statics are configuration and not saved.
 */
void dhcp_save(const struct dhcp *dhcp, uint64_t now_s, struct save *save);
void dhcp_load(struct dhcp *dhcp, struct load *load, uint64_t now_s);
