/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/nat_internal.h"
#include "proto/ether.h"

#define NS_PER_S 1000000000ULL

/* ARP for IPv4 on Ethernet: offsets in the frame. */
enum {
	ARP_OPERATION = 20,
	ARP_SENDER_MAC = 22,
	ARP_SENDER = 28,
	ARP_TARGET_MAC = 32,
	ARP_TARGET = 38,
	ARP_FRAME_BYTES = 42,
};
#define ARP_ETHERNET_IPV4 0x0001080006040000ULL /* hardware, protocol, their sizes; no operation */
#define IPV4_FROM         (ETHER_HEADER_BYTES + 12)

uint64_t net_nat_now_s(void)
{
	return loop_now_ns() / NS_PER_S;
}

/* ---- the network ------------------------------------------------------------------------------- */

int net_nat_network_init(struct net_nat_network *network, uint32_t address, uint8_t prefix_bits,
			 struct diag *reterr)
{
	uint32_t hosts, first, last;

	if (prefix_bits < DHCP_PREFIX_MIN || prefix_bits > DHCP_PREFIX_MAX) {
		return diag_set(reterr, -EINVAL,
				"NAT's network has a prefix of %u to %u bits, not %u",
				DHCP_PREFIX_MIN, DHCP_PREFIX_MAX, prefix_bits);
	}
	hosts = UINT32_MAX >> prefix_bits;
	if (address & hosts) {
		return diag_set(reterr, -EINVAL,
				"NAT's network has bits behind its prefix; write one like "
				"10.0.2.0/24");
	}
	first = hosts < 63 ? 4 : 15;
	last = (uint32_t)num_min(hosts - 1, first + DHCP_POOL_MAX - 1);
	*network = (struct net_nat_network){ .network = address,
					     .prefix_bits = prefix_bits,
					     .gateway = address + 2,
					     .dns = address + 3,
					     .pool_first = address + first,
					     .pool_last = address + last };
	return 0;
}

static bool is_host(const struct net_nat_network *n, uint32_t address)
{
	const uint32_t hosts = UINT32_MAX >> n->prefix_bits, host = address & hosts;

	return (address & ~hosts) == n->network && host != 0 && host != hosts;
}

bool net_nat_network_has_guest(const struct net_nat_network *n, uint32_t address)
{
	return is_host(n, address) && address != n->gateway && address != n->dns;
}

static struct dhcp_config dhcp_config_of(const struct net_nat_network *n)
{
	struct dhcp_config config = { .network = n->network,
				      .prefix_bits = n->prefix_bits,
				      .mac = { 0x52, 0x55 }, /* and the address: libslirp's */
				      .server = n->gateway,
				      .router = n->gateway,
				      .dns = n->resolver ? n->resolver : n->dns,
				      .pool_first = n->pool_first,
				      .pool_last = n->pool_last,
				      .lease_s = n->lease_s,
				      .mtu = n->mtu,
				      .origin = n->origin,
				      .origin_ctx = n->origin_ctx,
				      .per_origin_max = n->per_origin_max };

	bytes_put_be32(config.mac + 2, n->gateway);
	memcpy(config.domain, n->domain, sizeof(config.domain));
	return config;
}

int net_nat_network_check(const struct net_nat_network *n, struct diag *reterr)
{
	const struct dhcp_config config = dhcp_config_of(n);
	int err = dhcp_config_check(&config, reterr);

	if (!err && (n->gateway == n->dns || !is_host(n, n->gateway) || !is_host(n, n->dns))) {
		err = diag_set(
			reterr, -EINVAL,
			"NAT's gateway and its resolver must be two addresses of its network");
	}
	return err;
}

int nat_service_start(struct nat *nat, struct diag *reterr)
{
	const struct dhcp_config config = dhcp_config_of(&nat->network);
	int err = net_nat_network_check(&nat->network, reterr);

	return err ? err : dhcp_create(&config, &nat->dhcp, reterr);
}

/* ---- S1 ---------------------------------------------------------------------------------------- */

/* Whether who has this hardware address may speak from this one of IP. */
static bool may_speak(struct nat *nat, uint32_t address, const uint8_t *mac)
{
	const uint8_t *holder;

	if (!net_nat_network_has_guest(&nat->network, address)) {
		nat->counters.strangers++;
		return false;
	}
	holder = dhcp_holder(nat->dhcp, address, net_nat_now_s());
	if (holder && memcmp(holder, mac, NET_MAC_BYTES) != 0) {
		nat->counters.impostors++;
		return false;
	}
	return true;
}

static bool is_arp(const uint8_t *frame, uint32_t bytes)
{
	return bytes >= ARP_FRAME_BYTES &&
	       bytes_be16(frame + ETHER_TYPE_OFFSET) == ETHER_TYPE_ARP &&
	       (bytes_be64(frame + ETHER_HEADER_BYTES) & ~0xffffULL) == ARP_ETHERNET_IPV4;
}

static uint64_t lease_changes(const struct nat *nat)
{
	const struct dhcp_counters *c = dhcp_counters(nat->dhcp);

	return c->acks + c->releases + c->declines;
}

/* An answer of the DHCP server's, if the frame is for it. */
static bool take_dhcp(struct nat *nat, const uint8_t *frame, uint32_t bytes)
{
	uint8_t reply[DHCP_REPLY_BYTES];
	struct iovec iov = { reply, 0 };
	struct net_frame answer = { .iov = &iov,
				    .iov_count = 1,
				    .flags = NET_FRAME_CHECKSUM_GOOD,
				    .l4 = NET_L4_UDP,
				    .l4_offset = ETHER_HEADER_BYTES + 20 };
	const uint64_t before = lease_changes(nat);
	enum dhcp_result result =
		dhcp_input(nat->dhcp, frame, bytes, net_nat_now_s(), reply, &answer.bytes);

	if (lease_changes(nat) != before && nat->network.leases_changed) {
		loop_post(nat->network.told, nat->network.leases_changed);
	}
	if (result == DHCP_REPLY) {
		iov.iov_len = answer.bytes;
		nat_deliver(nat, &answer);
	}
	return result != DHCP_NOT_OURS;
}

bool nat_service_input(struct nat *nat, const uint8_t *frame, uint32_t bytes)
{
	switch (bytes_be16(frame + ETHER_TYPE_OFFSET)) {
	case ETHER_TYPE_ARP:
		/* A probe (from 0) is for the other guests. */
		return is_arp(frame, bytes) && bytes_be32(frame + ARP_SENDER) != 0 &&
		       may_speak(nat, bytes_be32(frame + ARP_SENDER), frame + ARP_SENDER_MAC);
	case ETHER_TYPE_IPV4:
		return !take_dhcp(nat, frame, bytes) &&
		       may_speak(nat, bytes_be32(frame + IPV4_FROM), frame + ETHER_FROM_OFFSET);
	default:
		return true;
	}
}

/* ---- S2 ---------------------------------------------------------------------------------------- */

bool nat_service_takes(struct nat *nat, const uint8_t *frame, uint32_t bytes)
{
	struct nat_answer *answer = &nat->answers[nat->answer_count];
	const uint8_t *holder;
	uint32_t address;

	if (!is_arp(frame, bytes) || bytes_be16(frame + ARP_OPERATION) != ARP_OPERATION_REQUEST ||
	    nat->answer_count == NAT_ANSWERS_MAX) {
		return false;
	}
	address = bytes_be32(frame + ARP_TARGET);
	holder = dhcp_holder(nat->dhcp, address, net_nat_now_s());
	if (!holder) {
		return false;
	}
	answer->address = address;
	memcpy(answer->mac, holder, NET_MAC_BYTES);
	nat->answer_count++;
	return true;
}

void nat_service_answer(struct nat *nat)
{
	uint8_t frame[ARP_FRAME_BYTES];

	for (unsigned int i = 0; i < nat->answer_count; i++) {
		const struct nat_answer *answer = &nat->answers[i];

		frame[0] = 0x52;
		frame[1] = 0x55;
		bytes_put_be32(frame + 2, nat->network.gateway);
		memcpy(frame + ETHER_FROM_OFFSET, answer->mac, NET_MAC_BYTES);
		bytes_put_be16(frame + ETHER_TYPE_OFFSET, ETHER_TYPE_ARP);
		bytes_put_be64(frame + ETHER_HEADER_BYTES, ARP_ETHERNET_IPV4 | ARP_OPERATION_REPLY);
		memcpy(frame + ARP_SENDER_MAC, answer->mac, NET_MAC_BYTES);
		bytes_put_be32(frame + ARP_SENDER, answer->address);
		memcpy(frame + ARP_TARGET_MAC, frame, NET_MAC_BYTES);
		bytes_put_be32(frame + ARP_TARGET, nat->network.gateway);
		slirp_input(nat->slirp, frame, sizeof(frame));
		nat->counters.arp_answered++;
	}
	nat->answer_count = 0;
}

/* ---- facts ------------------------------------------------------------------------------------- */

bool net_nat_leases(const struct net *net, uint32_t *cursor, struct dhcp_lease *ret)
{
	const struct nat *nat = nat_of(net);

	return nat->dhcp && dhcp_next(nat->dhcp, cursor, net_nat_now_s(), ret);
}

struct dhcp *net_nat_dhcp(struct net *net)
{
	return nat_of(net)->dhcp;
}

void nat_service_facts(const struct nat *nat, net_fact_fn *fn, void *ctx)
{
	const struct dhcp_counters *c = dhcp_counters(nat->dhcp);

	fn(ctx, "strangers_refused", nat->counters.strangers);
	fn(ctx, "impostors_refused", nat->counters.impostors);
	fn(ctx, "arp_answered", nat->counters.arp_answered);
	fn(ctx, "dhcp_discovers", c->discovers);
	fn(ctx, "dhcp_requests", c->requests);
	fn(ctx, "dhcp_acks", c->acks);
	fn(ctx, "dhcp_naks", c->naks);
	fn(ctx, "dhcp_no_address", c->no_address);
	fn(ctx, "dhcp_over_limit", c->over_limit);
	fn(ctx, "dhcp_ignored", c->ignored);
}
