/* SPDX-License-Identifier: MIT */
/*
 * Guards: what a port may claim to be.
 *
 *   mac     sends from its own addresses only
 *   dhcp    is no DHCP server: nothing to a client's port (68, 546), nothing from a server's (67, 547)
 *   router  is no router: no router advertisement, no redirect (ICMPv6, and ICMP's own)
 *   arp     speaks for its bindings only, in ARP and neighbour discovery (ND): sender and target
 *           addresses, and the link-layer addresses that they name. Probes for nobody's address (ARP
 *           from 0.0.0.0; ND from ::, for a binding) are fine. The link-local address that is made of
 *           one of its MACs (EUI-64) is always bound.
 *
 * With any of the last three on, what hides from a guard is dropped (DROP_HIDDEN): IPv6 whose upper
 * header is not in the head, in whole datagrams and in first fragments (RFC 7113); fragmented ND (RFC
 * 6980); cut-off UDP headers; ARP and IP behind further priority tags or LLC/SNAP, which hosts unwrap
 * (CVE-2021-27853, -27854, -27861, -27862). So ports with guards pull VFRAME_HEAD_MAX bytes.
 *
 *   owner   the policy   thread  any; pure functions, time handed in (seconds)
 *   spec    RFC 826, 5227 (ARP); 4861, 4862 (ND); 6105, 7113 (RA guard); 2131, 8415 (DHCP)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vswitch/frame.h"

#define GUARD_MACS_MAX        4U
#define GUARD_BINDINGS_MAX    16U
#define GUARD_SNOOP_MAX       4U /* addresses in one DHCPv6 reply that are looked at */
/* How much of a DHCP message is worth copying out for guard_snoop(). */
#define GUARD_SNOOP_BYTES_MAX 1500U
#define GUARD_FOREVER         UINT32_MAX

struct guard_binding {
	struct vframe_ip ip;
	uint32_t until_s; /* GUARD_FOREVER: no end */
	bool is_static;   /* configured, not snooped */
};

struct guard_policy {
	bool mac, dhcp, router, arp;
	uint8_t mac_count, binding_count;
	uint8_t macs[GUARD_MACS_MAX][NET_MAC_BYTES]; /* the NIC's own, and allowed ones */
	struct guard_binding bindings[GUARD_BINDINGS_MAX];
};

/* guard_check() behind the MAC. */
enum drop_cause guard_check_slowly(const struct guard_policy *policy, const struct vframe *frame,
				   uint32_t now_s);

bool guard_has_mac(const struct guard_policy *policy, const uint8_t mac[NET_MAC_BYTES]);

/* How much of a frame's head a port with this policy needs. */
static inline uint32_t guard_head_bytes(const struct guard_policy *policy)
{
	return policy->dhcp || policy->router || policy->arp ? VFRAME_HEAD_MAX : VFRAME_HEAD_PLAIN;
}

/* After vframe_parse(): DROP_NONE, or why not. */
static inline enum drop_cause guard_check(const struct guard_policy *policy,
					  const struct vframe *frame, uint32_t now_s)
{
	if (policy->mac && __builtin_expect(!guard_has_mac(policy, frame->key.from), 0)) {
		return DROP_MAC_SPOOF;
	}
	if (policy->dhcp || policy->router || policy->arp) {
		return guard_check_slowly(policy, frame, now_s);
	}
	return DROP_NONE;
}

/* Whether guard_snoop() is worth its copy: DHCP from a server to a client. One compare for others. */
static inline bool guard_is_snoopable(const struct vframe *frame)
{
	return frame->key.protocol == 17 && (frame->key.flags & VKEY_L4) &&
	       ((frame->key.ip_version == 4 && frame->key.port_to == 68 &&
		 frame->key.port_from == 67) ||
		(frame->key.ip_version == 6 && frame->key.port_to == 546 &&
		 frame->key.port_from == 547));
}

/*
 * A DHCPACK or a DHCPv6 Reply on its way to a port: which addresses it gives to whom, for a port that
 * binds what it is given. payload: what is behind the UDP header, a private copy (vframe_copy()).
 * How many of ret[GUARD_SNOOP_MAX] were filled; ret_mac: the client's (of DHCPv6, whom the frame is
 * for). An address that is given back (valid lifetime 0) has until_s = now_s. The caller believes it
 * only of a port that may be a server.
 */
unsigned int guard_snoop(const struct vframe *frame, const uint8_t *payload, uint32_t bytes,
			 uint32_t now_s, struct guard_binding ret[GUARD_SNOOP_MAX],
			 uint8_t ret_mac[NET_MAC_BYTES]);

/*
 * Adds it to the policy's bindings, renews or (until_s not after now_s) removes it; ended ones make
 * room. Whether anything but a time changed. A static one stays as it is; no room: nothing. For who
 * builds policies.
 */
bool guard_bind(struct guard_policy *policy, const struct guard_binding *binding, uint32_t now_s);
