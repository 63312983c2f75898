/* SPDX-License-Identifier: MIT */
#include "switchd/sw_nat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

#define V4_BITS  96 /* of ::ffff:0:0/96 */
#define BITS_MIN 8
#define BITS_MAX 28

_Static_assert(SW_FORWARDS_MAX <= NET_NAT_FORWARDS_MAX, "all forwards can be had");
_Static_assert(SW_RESERVATIONS_MAX <= DHCP_STATICS_MAX, "all reservations can be kept");

/* ---- the network -------------------------------------------------------------------------------- */

static bool is_within(const struct net_nat_network *n, uint32_t address)
{
	return ((address ^ n->network) >> (32 - n->prefix_bits)) == 0;
}

static void set_dns(struct net_nat_network *n, uint32_t dns)
{
	if (is_within(n, dns)) {
		n->dns = dns;
	} else if (dns) {
		n->resolver = dns;
	}
}

int sw_nat_network(const struct sw_config *config, struct net_nat_network *ret, struct diag *reterr)
{
	const struct sw_nat *nat = &config->nat;
	struct net_nat_network network;
	struct diag why;
	int err;

	if (!nat->net.is_v4 || nat->net.bits < V4_BITS + BITS_MIN ||
	    nat->net.bits > V4_BITS + BITS_MAX) {
		return diag_set(reterr, -EINVAL,
				"nat: net must be an IPv4 network of %d to %d bits, as in "
				"10.0.2.0/24",
				BITS_MIN, BITS_MAX);
	}
	err = net_nat_network_init(&network, bytes_be32(nat->net.address.bytes + 12),
				   (uint8_t)(nat->net.bits - V4_BITS), &why);
	if (!err) {
		network.gateway = nat->gateway ? nat->gateway : network.gateway;
		set_dns(&network, nat->dns);
		network.pool_first = nat->pool.first ? nat->pool.first : network.pool_first;
		network.pool_last = nat->pool.first ? nat->pool.last : network.pool_last;
		network.lease_s = nat->lease_s;
		network.per_origin_max = nat->port_leases;
		network.mtu = config->settings.mtu == NET_MTU_DEFAULT
				      ? 0
				      : (uint16_t)config->settings.mtu;
		if (strcmp(nat->domain, "none") != 0) {
			snprintf(network.domain, sizeof(network.domain), "%s", nat->domain);
		}
		err = net_nat_network_check(&network, &why);
	}
	if (err) {
		return diag_set(reterr, err, "nat: %.400s", why.text);
	}
	*ret = network;
	return 0;
}

/* ---- what is in it ------------------------------------------------------------------------------ */

static int check_forward(const struct sw_forward *forward, const struct net_nat_network *network,
			 struct diag *reterr)
{
	struct net_forward parsed;
	char gateway[16], example[16];
	struct diag why;

	if (net_nat_parse_forward(forward->text, &parsed, &why)) {
		return diag_set(reterr, -EINVAL, "nat: forward: %.400s", why.text);
	}
	if (net_nat_network_has_guest(network, parsed.guest_address)) {
		return 0;
	}
	sw_ipv4_text(network->gateway, gateway);
	sw_ipv4_text(network->pool_first, example);
	return diag_set(reterr, -EINVAL,
			"nat: forward %s names no guest of the network (the gateway is %s): write "
			"its address, as in tcp:2222:%s:22",
			forward->text, gateway, example);
}

static int check_reservation(const struct sw_config *config, unsigned int index,
			     const struct net_nat_network *network, struct diag *reterr)
{
	const struct sw_reservation *one = sw_list_at(config, SW_LIST_RESERVATIONS, index);
	char text[16];

	sw_ipv4_text(one->address, text);
	if (!net_nat_network_has_guest(network, one->address)) {
		return diag_set(reterr, -EINVAL,
				"nat: ip %s cannot be reserved: it must be an address of the "
				"network that is not the gateway's or the resolver's",
				one->address ? text : "(none)");
	}
	for (unsigned int i = 0; i < index; i++) {
		const struct sw_reservation *other = sw_list_at(config, SW_LIST_RESERVATIONS, i);

		if (other->address == one->address) {
			return diag_set(reterr, -EINVAL,
					"nat: ip %s is reserved already, for another address",
					text);
		}
	}
	return 0;
}

int sw_nat_check(const struct sw_config *config, struct diag *reterr)
{
	struct net_nat_network network;
	int err = sw_nat_network(config, &network, reterr);

	for (unsigned int i = 0; !err && i < config->lists[SW_LIST_FORWARDS].count; i++) {
		err = check_forward(sw_list_at(config, SW_LIST_FORWARDS, i), &network, reterr);
	}
	for (unsigned int i = 0; !err && i < config->lists[SW_LIST_RESERVATIONS].count; i++) {
		err = check_reservation(config, i, &network, reterr);
	}
	return err;
}

/* ---- for those who run it ----------------------------------------------------------------------- */

uint64_t sw_nat_signature(const struct sw_config *config)
{
	uint64_t hash = config->settings.mtu;
	char text[SW_TEXT_BYTES];

	for (unsigned int i = 0; i < sw_nat_table.count; i++) {
		sw_value_text(&sw_nat_table, i, &config->nat, text);
		hash = hash_fnv1a(hash_fnv1a(hash, text), ",");
	}
	return hash;
}

unsigned int sw_nat_forwards(const struct sw_config *config,
			     struct net_forward ret[SW_FORWARDS_MAX])
{
	unsigned int count = 0;
	struct diag ignored;

	for (unsigned int i = 0; i < config->lists[SW_LIST_FORWARDS].count; i++) {
		const struct sw_forward *forward = sw_list_at(config, SW_LIST_FORWARDS, i);

		count += !net_nat_parse_forward(forward->text, &ret[count], &ignored);
	}
	return count;
}
