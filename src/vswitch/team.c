/* SPDX-License-Identifier: MIT */
#include "vswitch/team.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "proto/ether.h"

#define ARP_HARDWARE_ETHERNET 1U
#define RARP_REQUEST_REVERSE  3U

static uint8_t best_member(const struct team *team)
{
	uint8_t best = TEAM_NO_MEMBER;

	for (uint8_t i = 0; i < team->member_count; i++) {
		if (team->members[i].link &&
		    (best == TEAM_NO_MEMBER ||
		     team->members[i].priority < team->members[best].priority)) {
			best = i;
		}
	}
	return best;
}

/* The member that this slot likes best (rendezvous hashing): T1, for no other member's liking matters. */
static uint8_t member_of_slot(const struct team *team, unsigned int slot)
{
	uint8_t best = TEAM_NO_MEMBER;
	uint64_t most = 0;

	for (uint8_t i = 0; i < team->member_count; i++) {
		uint64_t liking = hash_mix(team->members[i].uplink, slot + 1);

		if (team->members[i].link && (best == TEAM_NO_MEMBER || liking > most)) {
			best = i;
			most = liking;
		}
	}
	return best;
}

static void fill(struct team *team)
{
	bool keeps = team->mode == TEAM_STANDBY && !team->failback &&
		     team->active != TEAM_NO_MEMBER && team->members[team->active].link;

	if (!keeps) {
		team->active = best_member(team);
	}
	for (unsigned int i = 0; i < TEAM_SLOTS; i++) {
		team->slots[i] =
			team->mode == TEAM_STANDBY ? team->active : member_of_slot(team, i);
	}
}

int team_init(struct team *team, struct diag *diag)
{
	if (team->mode > TEAM_HASH) {
		return diag_set(diag, -EINVAL, "a team's mode is standby or hash");
	}
	if (team->member_count == 0 || team->member_count > TEAM_MEMBERS_MAX) {
		return diag_set(diag, -EINVAL, "a team of %u uplinks: there can be 1 to %u",
				team->member_count, TEAM_MEMBERS_MAX);
	}
	for (unsigned int i = 0; i < team->member_count; i++) {
		for (unsigned int k = 0; k < i; k++) {
			if (team->members[k].uplink == team->members[i].uplink) {
				return diag_set(diag, -EINVAL, "uplink %u is twice in its team",
						team->members[i].uplink);
			}
		}
	}
	team->active = TEAM_NO_MEMBER;
	fill(team);
	memcpy(team->before, team->slots, sizeof(team->before));
	return 0;
}

uint32_t team_hash_address(const uint8_t mac[NET_MAC_BYTES], uint64_t secret)
{
	return (uint32_t)hash_mix(secret, (uint64_t)bytes_be16(mac) << 32 | bytes_be32(mac + 2));
}

uint32_t team_hash(const struct team *team, const struct vframe *frame, uint64_t secret)
{
	return team->is_aggregated ? frame->flow_hash : team_hash_address(frame->key.from, secret);
}

bool team_accepts(const struct team *team, unsigned int member, const struct vframe *frame,
		  int source_port)
{
	if (member >= team->member_count) {
		return false;
	}
	if (team->mode == TEAM_STANDBY) {
		return member == team->active;
	}
	if (team->is_aggregated) {
		return true;
	}
	if (source_port >= 0 && source_port != (int)team->port) {
		return false;
	}
	return !vframe_is_group(frame) || member == team->active;
}

bool team_link(struct team *team, unsigned int member, bool up)
{
	uint8_t before[TEAM_SLOTS];

	if (member >= team->member_count || team->members[member].link == up) {
		return false;
	}
	team->members[member].link = up;
	memcpy(before, team->slots, sizeof(before));
	fill(team);
	if (memcmp(before, team->slots, sizeof(before)) == 0) {
		return false;
	}
	memcpy(team->before, before, sizeof(before));
	return true;
}

int team_moved(const struct team *team, uint32_t hash)
{
	unsigned int slot = hash % TEAM_SLOTS;

	return team->slots[slot] == team->before[slot] ? -1 : team_pick(team, hash);
}

void team_build_rarp(const uint8_t mac[NET_MAC_BYTES], uint8_t ret[TEAM_RARP_BYTES])
{
	uint8_t *body = ret + ETHER_HEADER_BYTES;

	memset(ret, 0, TEAM_RARP_BYTES);
	memset(ret + ETHER_TO_OFFSET, 0xff, NET_MAC_BYTES);
	memcpy(ret + ETHER_FROM_OFFSET, mac, NET_MAC_BYTES);
	bytes_put_be16(ret + ETHER_TYPE_OFFSET, ETHER_TYPE_RARP);
	bytes_put_be16(body, ARP_HARDWARE_ETHERNET);
	bytes_put_be16(body + 2, ETHER_TYPE_IPV4);
	body[4] = NET_MAC_BYTES;
	body[5] = 4; /* bytes of an IPv4 address */
	bytes_put_be16(body + 6, RARP_REQUEST_REVERSE);
	memcpy(body + 8, mac, NET_MAC_BYTES);  /* sender */
	memcpy(body + 18, mac, NET_MAC_BYTES); /* target */
}
