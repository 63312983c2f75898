/* SPDX-License-Identifier: MIT */
#include "vswitch/guard.h"

#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/ether.h"

#define ETHER_TYPE_QINQ_OLD    0x9100U
#define LLC_SNAP_BYTES         8U
#define ICMP_REDIRECT          5U
#define ICMP_ROUTER            9U
#define RARP_OPERATION_REQUEST 3U
#define ND_OPTION_SOURCE_MAC   1U
#define ND_OPTION_TARGET_MAC   2U
#define ND_OPTION_UNIT_BYTES   8U
#define ND_TARGET_OFFSET       8U
#define LINK_LOCAL_PREFIX      0xfe80000000000000ULL
#define MAPPED                 0xffff00000000ULL

/* ---- claims ------------------------------------------------------------------------------------ */

bool guard_has_mac(const struct guard_policy *policy, const uint8_t mac[NET_MAC_BYTES])
{
	for (unsigned int i = 0; i < policy->mac_count; i++) {
		if (memcmp(policy->macs[i], mac, NET_MAC_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* The link-local address that a MAC makes (RFC 4291, appendix A). */
static bool is_eui64_of(struct vframe_ip ip, const uint8_t mac[NET_MAC_BYTES])
{
	uint8_t id[8] = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };

	return ip.hi == LINK_LOCAL_PREFIX && ip.lo == bytes_be64(id);
}

static bool is_bound(const struct guard_policy *policy, struct vframe_ip ip, uint32_t now_s)
{
	for (unsigned int i = 0; i < policy->binding_count; i++) {
		const struct guard_binding *binding = &policy->bindings[i];

		if (binding->ip.hi == ip.hi && binding->ip.lo == ip.lo &&
		    (binding->until_s == GUARD_FOREVER || binding->until_s > now_s)) {
			return true;
		}
	}
	for (unsigned int i = 0; i < policy->mac_count; i++) {
		if (is_eui64_of(ip, policy->macs[i])) {
			return true;
		}
	}
	return false;
}

static bool is_none(struct vframe_ip ip)
{
	return ip.hi == 0 && ip.lo == 0;
}

/* ---- what hides -------------------------------------------------------------------------------- */

static bool is_tag(uint16_t ethertype)
{
	return ethertype == ETHER_TYPE_VLAN || ethertype == ETHER_TYPE_QINQ ||
	       ethertype == ETHER_TYPE_QINQ_OLD;
}

static bool is_guarded_type(uint16_t ethertype)
{
	return ethertype == ETHER_TYPE_IPV4 || ethertype == ETHER_TYPE_IPV6 ||
	       ethertype == ETHER_TYPE_ARP || ethertype == ETHER_TYPE_RARP;
}

/*
 * Hosts take any number of priority tags away, and some take LLC/SNAP for the Ethernet type in it. A
 * stack of numbered tags is somebody's VLAN of his own, and stays opaque.
 */
static bool is_wrapped(const struct vframe *frame)
{
	static const uint8_t snap[] = { 0xaa, 0xaa, 0x03 };
	uint32_t at = ETHER_HEADER_BYTES + (frame->key.flags & VKEY_TAG ? ETHER_TAG_BYTES : 0);
	uint16_t type = frame->key.ethertype;

	while (is_tag(type)) {
		if (at + ETHER_TAG_BYTES > frame->head_bytes ||
		    (bytes_be16(frame->head + at) & ETHER_VLAN_MASK) == 0) {
			return true;
		}
		type = bytes_be16(frame->head + at + 2);
		at += ETHER_TAG_BYTES;
	}
	if (type > ETHER_TYPE_LENGTH_MAX || at + LLC_SNAP_BYTES > frame->head_bytes ||
	    memcmp(frame->head + at, snap, sizeof(snap)) != 0) {
		return false;
	}
	type = bytes_be16(frame->head + at + 6);
	return is_guarded_type(type) || is_tag(type);
}

static bool is_hidden(const struct vframe *frame)
{
	const struct vframe_key *key = &frame->key;
	bool is_rest = (key->flags & VKEY_FRAGMENT) && !(key->flags & VKEY_FIRST);

	if (key->ip_version == 0) {
		/* An IP header that cannot be read, or one in a wrapper. */
		return key->ethertype == ETHER_TYPE_IPV4 || key->ethertype == ETHER_TYPE_IPV6 ||
		       (key->flags & VKEY_TAG && key->flags & VKEY_TRUNCATED &&
			frame->head_bytes < ETHER_HEADER_BYTES + ETHER_TAG_BYTES) ||
		       is_wrapped(frame);
	}
	if (key->flags & VKEY_TRUNCATED) {
		return true; /* RFC 7113, 3: also a rest's, whose chain must have been in the first */
	}
	/* RFC 6980: nobody takes ND in fragments, and nobody needs to send it so. */
	return key->ip_version == 6 && !is_rest && (key->flags & VKEY_FRAGMENT) &&
	       key->protocol == IP_PROTOCOL_ICMPV6 && key->icmp_type >= ICMPV6_RS &&
	       key->icmp_type <= ICMPV6_REDIRECT;
}

/* ---- the guards -------------------------------------------------------------------------------- */

static bool is_dhcp_server(const struct vframe_key *key)
{
	if (key->protocol != IP_PROTOCOL_UDP || !(key->flags & VKEY_L4)) {
		return false;
	}
	if (key->ip_version == 4) {
		return key->port_to == DHCP_CLIENT_PORT || key->port_from == DHCP_SERVER_PORT;
	}
	return key->port_to == DHCPV6_CLIENT_PORT || key->port_from == DHCPV6_SERVER_PORT;
}

static bool is_router(const struct vframe_key *key)
{
	if (!(key->flags & VKEY_L4)) {
		return false;
	}
	if (key->ip_version == 4) {
		return key->protocol == IP_PROTOCOL_ICMP &&
		       (key->icmp_type == ICMP_REDIRECT || key->icmp_type == ICMP_ROUTER);
	}
	return key->protocol == IP_PROTOCOL_ICMPV6 &&
	       (key->icmp_type == ICMPV6_RA || key->icmp_type == ICMPV6_REDIRECT);
}

static enum drop_cause check_arp(const struct guard_policy *policy, const struct vframe *frame,
				 uint32_t now_s)
{
	const struct vframe_key *key = &frame->key;

	/* Of other hardware or protocols, or cut off: nothing that a guest needs. */
	if (!(key->flags & VKEY_ARP) || !guard_has_mac(policy, key->arp_mac)) {
		return DROP_ARP;
	}
	if (key->ethertype == ETHER_TYPE_RARP) {
		/* Asks for, and announces by, its MAC alone; a reply would give an address away. */
		return key->arp_operation == RARP_OPERATION_REQUEST ? DROP_NONE : DROP_ARP;
	}
	if (key->ip_from.lo == MAPPED) {
		/* A probe (RFC 5227) claims nothing yet. */
		return key->arp_operation == ARP_OPERATION_REQUEST ? DROP_NONE : DROP_ARP;
	}
	return is_bound(policy, key->ip_from, now_s) ? DROP_NONE : DROP_ARP;
}

/* ND's options from `at` on name no link-layer address but the port's. */
static enum drop_cause check_nd_options(const struct guard_policy *policy,
					const struct vframe *frame, uint32_t at, bool may_name)
{
	uint32_t end = vframe_ip_end(frame);

	while (at < end) {
		const uint8_t *option = frame->head + at;
		uint32_t bytes;

		if (at + 2 > end) {
			return DROP_ARP;
		}
		if (at + ND_OPTION_UNIT_BYTES > frame->head_bytes) {
			return DROP_HIDDEN;
		}
		bytes = option[1] * ND_OPTION_UNIT_BYTES;
		if (bytes == 0 || bytes > end - at) {
			return DROP_ARP;
		}
		if ((option[0] == ND_OPTION_SOURCE_MAC || option[0] == ND_OPTION_TARGET_MAC) &&
		    (!may_name || bytes != ND_OPTION_UNIT_BYTES ||
		     !guard_has_mac(policy, option + 2))) {
			return DROP_ARP;
		}
		at += bytes;
	}
	return DROP_NONE;
}

static enum drop_cause check_nd(const struct guard_policy *policy, const struct vframe *frame,
				uint32_t now_s)
{
	const struct vframe_key *key = &frame->key;
	uint32_t bytes = 24; /* NS, NA */
	bool is_from_nobody = is_none(key->ip_from);
	struct vframe_ip target;

	if (key->icmp_type < ICMPV6_RS || key->icmp_type > ICMPV6_REDIRECT) {
		return DROP_NONE;
	}
	if (key->icmp_type == ICMPV6_RS) {
		bytes = 8;
	} else if (key->icmp_type == ICMPV6_RA) {
		bytes = 16;
	} else if (key->icmp_type == ICMPV6_REDIRECT) {
		bytes = 40;
	}
	if (key->l4_offset + bytes > frame->head_bytes) {
		return DROP_HIDDEN;
	}
	if (key->l4_offset + bytes > vframe_ip_end(frame)) {
		return DROP_ARP;
	}
	if (is_from_nobody ? key->icmp_type != ICMPV6_NS && key->icmp_type != ICMPV6_RS
			   : !is_bound(policy, key->ip_from, now_s)) {
		return DROP_ARP;
	}
	target.hi = bytes_be64(frame->head + key->l4_offset + ND_TARGET_OFFSET);
	target.lo = bytes_be64(frame->head + key->l4_offset + ND_TARGET_OFFSET + 8);
	/* A probe for another's address would make that one give it up (RFC 4862, 5.4). */
	if ((key->icmp_type == ICMPV6_NA || (key->icmp_type == ICMPV6_NS && is_from_nobody)) &&
	    !is_bound(policy, target, now_s)) {
		return DROP_ARP;
	}
	return check_nd_options(policy, frame, key->l4_offset + bytes, !is_from_nobody);
}

enum drop_cause guard_check_slowly(const struct guard_policy *policy, const struct vframe *frame,
				   uint32_t now_s)
{
	const struct vframe_key *key = &frame->key;

	if (policy->arp &&
	    (key->ethertype == ETHER_TYPE_ARP || key->ethertype == ETHER_TYPE_RARP)) {
		return check_arp(policy, frame, now_s);
	}
	if (is_hidden(frame)) {
		return DROP_HIDDEN;
	}
	if (policy->dhcp && is_dhcp_server(key)) {
		return DROP_DHCP;
	}
	if (policy->router && is_router(key)) {
		return DROP_ROUTER;
	}
	if (policy->arp && key->ip_version == 6 && key->protocol == IP_PROTOCOL_ICMPV6 &&
	    (key->flags & VKEY_L4)) {
		return check_nd(policy, frame, now_s);
	}
	return DROP_NONE;
}

/* ---- bindings ---------------------------------------------------------------------------------- */

bool guard_bind(struct guard_policy *policy, const struct guard_binding *binding, uint32_t now_s)
{
	struct guard_binding *place = NULL;

	for (unsigned int i = 0; i < policy->binding_count; i++) {
		struct guard_binding *old = &policy->bindings[i];

		if (old->ip.hi == binding->ip.hi && old->ip.lo == binding->ip.lo) {
			if (old->is_static) {
				return false;
			}
			if (binding->until_s <= now_s) {
				*old = policy->bindings[--policy->binding_count];
				return true;
			}
			old->is_static = binding->is_static;
			old->until_s = binding->until_s;
			return false;
		}
		if (old->until_s != GUARD_FOREVER && old->until_s <= now_s) {
			place = old;
		}
	}
	if (binding->until_s <= now_s) {
		return false;
	}
	if (!place) {
		if (policy->binding_count == GUARD_BINDINGS_MAX) {
			return false;
		}
		place = &policy->bindings[policy->binding_count++];
	}
	*place = *binding;
	return true;
}
