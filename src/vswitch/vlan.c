/* SPDX-License-Identifier: MIT */
#include "vswitch/vlan.h"

static bool is_number(uint16_t vlan)
{
	return vlan >= 1 && vlan <= ETHER_VLAN_MAX;
}

bool vlan_policy_is_valid(const struct vlan_policy *policy)
{
	switch ((enum vlan_mode)policy->mode) {
	case VLAN_NONE:
		return true;
	case VLAN_ACCESS:
	case VLAN_PRIMARY:
		return is_number(policy->id);
	case VLAN_TRUNK:
		return policy->id <= ETHER_VLAN_MAX && !vlan_is_allowed(policy, ETHER_VLAN_MASK);
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		return is_number(policy->id) && is_number(policy->secondary) &&
		       policy->id != policy->secondary;
	default:
		return false;
	}
}

/* The VLAN of frames without a number on this port. */
static uint16_t own_vlan(const struct vlan_policy *policy)
{
	switch ((enum vlan_mode)policy->mode) {
	case VLAN_ACCESS:
	case VLAN_TRUNK:
	case VLAN_PRIMARY:
		return policy->id;
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		return policy->secondary;
	case VLAN_NONE:
	default:
		return 0;
	}
}

static uint16_t fid_of(const struct vlan_policy *policy, const struct vlan_map *map, uint16_t vlan)
{
	if (policy->mode == VLAN_ISOLATED || policy->mode == VLAN_COMMUNITY) {
		return policy->id;
	}
	if (policy->mode == VLAN_TRUNK && map && map->primary[vlan]) {
		return map->primary[vlan];
	}
	return vlan;
}

bool vlan_ingress_slowly(const struct vlan_policy *policy, const struct vlan_map *map,
			 struct vframe *frame)
{
	uint16_t tci = 0, vlan;

	vframe_untag(frame);
	if (frame->key.flags & VKEY_TAG) {
		return false; /* cut off in the middle of its tag */
	}
	if (frame->net.flags & NET_FRAME_VLAN) {
		tci = frame->net.vlan_tci;
		frame->net.flags &= (uint16_t)~NET_FRAME_VLAN;
		frame->net.vlan_tci = 0;
	}
	vlan = tci & ETHER_VLAN_MASK;
	frame->pcp = (uint8_t)(tci >> ETHER_PCP_SHIFT);
	if (vlan == 0) {
		/* What is behind a priority tag must not become the first tag of the next wire. */
		if (frame->key.ethertype == ETHER_TYPE_VLAN) {
			return false;
		}
		vlan = own_vlan(policy);
	} else if (policy->mode != VLAN_TRUNK || vlan > ETHER_VLAN_MAX) {
		return false;
	}
	if (policy->mode == VLAN_TRUNK && !vlan_is_allowed(policy, vlan)) {
		return false;
	}
	frame->vlan = vlan;
	frame->fid = fid_of(policy, map, vlan);
	return true;
}

static bool is_for(const struct vlan_policy *policy, const struct vframe *frame)
{
	switch ((enum vlan_mode)policy->mode) {
	case VLAN_NONE:
		return frame->vlan == 0;
	case VLAN_ACCESS:
		return frame->vlan == policy->id;
	case VLAN_TRUNK:
		return vlan_is_allowed(policy, frame->vlan);
	case VLAN_PRIMARY:
		return frame->fid == policy->id;
	case VLAN_ISOLATED:
		return frame->vlan == policy->id;
	case VLAN_COMMUNITY:
		return frame->vlan == policy->id || frame->vlan == policy->secondary;
	default:
		return false;
	}
}

bool vlan_egress_slowly(const struct vlan_policy *policy, const struct vframe *frame,
			uint16_t *ret_tci, bool *ret_tagged)
{
	bool is_tagged = false;

	if (!is_for(policy, frame)) {
		return false;
	}
	if (policy->mode == VLAN_TRUNK) {
		/* A native frame with a tag inside keeps its own, or the other end would take that. */
		is_tagged = frame->vlan != 0 &&
			    (frame->vlan != policy->id || frame->key.ethertype == ETHER_TYPE_VLAN);
	}
	*ret_tagged = is_tagged;
	*ret_tci = 0;
	if (is_tagged) {
		*ret_tci = (uint16_t)(frame->pcp << ETHER_PCP_SHIFT | frame->vlan);
	}
	return true;
}
