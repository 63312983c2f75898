/* SPDX-License-Identifier: MIT */
/*
 * NAT as a service to a whole switch: many guests behind one back end of net_nat_create(), with
 * net_nat_config.network. Each gets its address by DHCP (net/dhcp.h, not libslirp's) or has set one of
 * this network by itself; router advertisements (fec0::/64) come from libslirp.
 *
 *   S1  libslirp sees only IPv4 and ARP of guests that speak from an address of the network that is
 *       not the service's, and not leased to another guest
 *   S2  libslirp sees no DHCP; where it asks for the hardware address of a leased address, it is told
 *       at once (its own table holds 16)
 *
 *   owner   the caller of net_nat_create()   thread  its loop, all of it
 */
#pragma once

#include "net/dhcp.h"
#include "net/net.h"

/* Addresses are in host order. */
struct net_nat_network {
	uint32_t network;
	uint8_t prefix_bits;
	uint32_t gateway, dns; /* the service itself; both within the network */
	uint32_t resolver;     /* that clients are told of, anywhere; 0: dns */
	uint32_t pool_first, pool_last;
	uint32_t lease_s;               /* 0: DHCP_LEASE_S_DEFAULT */
	uint16_t mtu;                   /* told to clients; 0: not told */
	char domain[DHCP_DOMAIN_BYTES]; /* the same; "" */
	dhcp_origin_fn *origin;         /* as dhcp_config's */
	void *origin_ctx;
	uint32_t per_origin_max;
	/* Posted there (both borrowed) when a lease has been given, renewed or given back; or NULL. */
	struct loop *told;
	struct loop_work *leases_changed;
};

/*
 * The usual one: the gateway is the network's second address, the resolver its third, and the pool
 * begins with the 15th (in networks of less than 64 addresses, with the fourth). -EINVAL and a sentence.
 */
MUST_CHECK int net_nat_network_init(struct net_nat_network *network, uint32_t address,
				    uint8_t prefix_bits, struct diag *reterr);

/* Does it fit together? 0, or -EINVAL with a sentence. net_nat_create() refuses what does not. */
MUST_CHECK int net_nat_network_check(const struct net_nat_network *network, struct diag *reterr);

/* Whether a guest can have this address there. */
bool net_nat_network_has_guest(const struct net_nat_network *network, uint32_t address);

/*
 * From now on. 0, or with a sentence -EADDRINUSE, -EACCES or another errno of the host's; -ENOSPC
 * (NET_NAT_FORWARDS_MAX); -EINVAL: a service's forward must name a guest of its network.
 */
MUST_CHECK int net_nat_forward_add(struct net *net, const struct net_forward *forward,
				   struct diag *reterr);
/* By protocol and the host's address and port. Connections stay. -ENOENT. */
MUST_CHECK int net_nat_forward_remove(struct net *net, const struct net_forward *forward);
/* Those there are; *cursor: 0 at first. */
bool net_nat_forward_next(const struct net *net, uint32_t *cursor, struct net_forward *ret);

/* Who has which address: as dhcp_next(). Never true without a network. */
bool net_nat_leases(const struct net *net, uint32_t *cursor, struct dhcp_lease *ret);

/* The service's DHCP server, for static leases, saving, loading; NULL without a network. */
struct dhcp *net_nat_dhcp(struct net *net);
/* The time that it goes by. */
uint64_t net_nat_now_s(void);
