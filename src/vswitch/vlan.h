/* SPDX-License-Identifier: MIT */
/*
 * VLANs and private VLANs: which VLAN a frame from a port is in, and which ports it may leave by.
 *
 * Every frame is in one VLAN, frame->vlan, 0 being that of frames without a tag on ports without a
 * VLAN. Private VLANs need nothing more: a frame of an isolated or community port is in the
 * secondary, that of a promiscuous port in the primary; so the one number says who may have it, also
 * when it comes in by a trunk.
 *
 *   frame is in      promiscuous(P)  isolated(P, I)  community(P, C)  community(P, D)  trunk
 *   primary P        yes             yes             yes              yes              if allowed, tag P
 *   isolated I       yes             no              no               no               if allowed, tag I
 *   community C      yes             no              yes              no               if allowed, tag C
 *
 * Addresses are learned and looked up in frame->fid, which is P for all of these.
 *
 * Tags: the first 802.1Q tag counts, in the frame or beside it (NET_FRAME_VLAN). VLAN 0 is a priority
 * only (802.1Q 9.6). Tags behind the first, and 802.1ad, are payload (opaque), with two exceptions that
 * keep a guest from smuggling a tag out to where somebody would read it as the first: a priority tag
 * with an 802.1Q tag behind it is refused, and a frame with one inside never leaves a trunk untagged.
 * Ports that are not trunks take frames without a tag, or with a priority tag; others are refused.
 *
 *   thread  any; pure functions   spec  IEEE 802.1Q; RFC 5517 (private VLANs)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/ether.h"
#include "vswitch/frame.h"

enum vlan_mode {
	VLAN_NONE,    /* the VLAN without a number */
	VLAN_ACCESS,  /* id */
	VLAN_TRUNK,   /* allowed; frames without a tag are in id, the native VLAN, which may be 0 */
	VLAN_PRIMARY, /* promiscuous: id */
	VLAN_ISOLATED,  /* id is the primary */
	VLAN_COMMUNITY, /* id is the primary */
};

#define VLAN_SET_WORDS 64U /* of 64 bits: VLANs 0 to 4095 */

struct vlan_policy {
	uint8_t mode;                     /* enum vlan_mode */
	uint16_t id;                      /* access, native, primary */
	uint16_t secondary;               /* isolated, community */
	uint64_t allowed[VLAN_SET_WORDS]; /* trunk: bit 0 is the VLAN without a number */
};

/* Of the whole switch: which VLANs are secondaries, and of which primary. For frames from trunks. */
struct vlan_map {
	uint16_t primary[ETHER_VLAN_MASK + 1]; /* 0: none, a VLAN of its own */
};

static inline bool vlan_is_allowed(const struct vlan_policy *policy, uint16_t vlan)
{
	return (policy->allowed[(vlan >> 6) & 63] >> (vlan & 63)) & 1;
}

static inline void vlan_allow(struct vlan_policy *policy, uint16_t vlan)
{
	policy->allowed[(vlan >> 6) & 63] |= 1ULL << (vlan & 63);
}

/* Numbers in range and meaningful together (access 1 to 4094; secondary other than primary). */
bool vlan_policy_is_valid(const struct vlan_policy *policy);

/* vlan_ingress() of frames with a tag, and of trunks. */
bool vlan_ingress_slowly(const struct vlan_policy *policy, const struct vlan_map *map,
			 struct vframe *frame);

/*
 * After vframe_parse(). Sets vlan, fid and pcp, and takes the first tag away: afterwards it is neither
 * in the frame nor in net. map may be NULL: no private VLANs. false: DROP_VLAN; what was set is of no
 * use then.
 */
static inline bool vlan_ingress(const struct vlan_policy *policy, const struct vlan_map *map,
				struct vframe *frame)
{
	if (policy->mode <= VLAN_ACCESS &&
	    !((frame->net.flags & NET_FRAME_VLAN) | (frame->key.flags & VKEY_TAG))) {
		frame->vlan = policy->mode == VLAN_ACCESS ? policy->id : 0;
		frame->fid = frame->vlan;
		frame->pcp = 0;
		return true;
	}
	return vlan_ingress_slowly(policy, map, frame);
}

/* vlan_egress() of others. */
bool vlan_egress_slowly(const struct vlan_policy *policy, const struct vframe *frame,
			uint16_t *ret_tci, bool *ret_tagged);

/*
 * Whether the frame may leave by a port with this policy, and with which tag: the whole control
 * information, priority included. Not tagged: *ret_tci is 0. On false nothing is set.
 */
static inline bool vlan_egress(const struct vlan_policy *policy, const struct vframe *frame,
			       uint16_t *ret_tci, bool *ret_tagged)
{
	if (policy->mode <= VLAN_ACCESS) {
		if (frame->vlan != (policy->mode == VLAN_ACCESS ? policy->id : 0)) {
			return false;
		}
		*ret_tci = 0;
		*ret_tagged = false;
		return true;
	}
	return vlan_egress_slowly(policy, frame, ret_tci, ret_tagged);
}
