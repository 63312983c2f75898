/* SPDX-License-Identifier: MIT */
#include "vswitch/querier.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/offload.h"
#include "proto/ether.h"

#define ROBUSTNESS    2U
#define IPV4_BYTES    24U /* with the router-alert option (RFC 2113) */
#define IGMP_BYTES    12U
#define IPV6_BYTES    40U
#define ALERT_BYTES   8U /* the hop-by-hop header with the same (RFC 2711) */
#define MLD_BYTES     28U
#define ALL_HOSTS     0xe0000001U
#define ALL_NODES_HI  0xff02000000000000ULL
#define LINK_LOCAL_HI 0xfe80000000000000ULL
#define PRECEDENCE    0xc0U /* internetwork control (RFC 3376, 4) */
#define ETHER_SOURCE  6U
#define ETHER_TYPE    12U

/* ---- when --------------------------------------------------------------------------------------- */

void querier_set(struct querier *querier, const uint16_t *vlans, unsigned int count, uint32_t now_s)
{
	const struct querier old = *querier;

	check(count <= QUERIER_VLANS_MAX);
	querier->count = count;
	for (unsigned int i = 0; i < count; i++) {
		querier->vlans[i] =
			(struct querier_vlan){ .vlan = vlans[i], .next_s = { now_s, now_s } };
		for (unsigned int k = 0; k < old.count; k++) {
			if (old.vlans[k].vlan == vlans[i]) {
				querier->vlans[i] = old.vlans[k];
			}
		}
	}
}

bool querier_is_due(struct querier *querier, unsigned int index, bool is_v6, bool has_other,
		    uint32_t now_s)
{
	struct querier_vlan *vlan = &querier->vlans[index];

	check(index < querier->count);
	if (has_other) {
		/* When that one is gone, it begins at once. */
		vlan->sent[is_v6] = 0;
		vlan->next_s[is_v6] = now_s;
		return false;
	}
	if ((int32_t)(vlan->next_s[is_v6] - now_s) > 0) {
		return false;
	}
	if (vlan->sent[is_v6] < QUERIER_STARTUP_COUNT) {
		vlan->sent[is_v6]++;
	}
	vlan->next_s[is_v6] =
		now_s + (vlan->sent[is_v6] < QUERIER_STARTUP_COUNT ? QUERIER_STARTUP_S
								   : QUERIER_INTERVAL_S);
	return true;
}

/* ---- once more ---------------------------------------------------------------------------------- */

bool querier_left_add(struct querier_left *left, const struct querier_again *what, uint64_t now_ns)
{
	struct querier_again *again;
	unsigned int of_port = 0;

	for (unsigned int i = 0; i < left->count; i++) {
		of_port += left->list[(left->first + i) % QUERIER_LEFT_MAX].port == what->port;
	}
	if (left->count == QUERIER_LEFT_MAX || of_port >= QUERIER_LEFT_PER_PORT) {
		return false;
	}
	again = &left->list[(left->first + left->count++) % QUERIER_LEFT_MAX];
	*again = *what;
	again->due_ns = now_ns + QUERIER_LAST_MS * 1000000ULL;
	return true;
}

bool querier_left_take(struct querier_left *left, uint64_t now_ns, struct querier_again *ret)
{
	uint64_t wait_ns;

	if (!querier_left_wait(left, now_ns, &wait_ns) || wait_ns > 0) {
		return false;
	}
	*ret = left->list[left->first];
	left->first = (left->first + 1) % QUERIER_LEFT_MAX;
	left->count--;
	return true;
}

bool querier_left_wait(const struct querier_left *left, uint64_t now_ns, uint64_t *ret_ns)
{
	const struct querier_again *next = &left->list[left->first];

	if (left->count == 0) {
		return false;
	}
	*ret_ns = next->due_ns > now_ns ? next->due_ns - now_ns : 0;
	return true;
}

/* ---- what --------------------------------------------------------------------------------------- */

struct vframe_ip querier_address(const uint8_t mac[NET_MAC_BYTES])
{
	/* RFC 4291, appendix A */
	uint8_t id[8] = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };

	return (struct vframe_ip){ LINK_LOCAL_HI, bytes_be64(id) };
}

static void put_sum(uint8_t *at, uint64_t sum)
{
	uint16_t folded = net_sum_fold(sum);

	memcpy(at, &folded, sizeof(folded));
}

static void put_ip(uint8_t *at, const struct vframe_ip *ip)
{
	bytes_put_be64(at, ip->hi);
	bytes_put_be64(at + 8, ip->lo);
}

static uint32_t build_igmp(uint32_t group, uint32_t answer_ms, uint8_t *ret)
{
	uint32_t to = group ? group : ALL_HOSTS;
	uint8_t *ip = ret + NET_HEADER_BYTES, *igmp = ip + IPV4_BYTES;

	memcpy(ret, (const uint8_t[]){ 0x01, 0x00, 0x5e }, 3);
	ret[3] = (uint8_t)(to >> 16 & 0x7f);
	bytes_put_be16(ret + 4, (uint16_t)to);
	bytes_put_be16(ret + ETHER_TYPE, ETHER_TYPE_IPV4);
	ip[0] = 0x40 | IPV4_BYTES / 4;
	ip[1] = PRECEDENCE;
	bytes_put_be16(ip + 2, IPV4_BYTES + IGMP_BYTES);
	ip[8] = 1;
	ip[9] = IP_PROTOCOL_IGMP;
	bytes_put_be32(ip + 16, to);
	bytes_put_be32(ip + 20, 0x94040000);
	put_sum(ip + 10, net_sum(ip, IPV4_BYTES));
	igmp[0] = IGMP_QUERY;
	igmp[1] = (uint8_t)(answer_ms / 100);
	bytes_put_be32(igmp + 4, group);
	igmp[8] = ROBUSTNESS;
	igmp[9] = QUERIER_INTERVAL_S;
	put_sum(igmp + 2, net_sum(igmp, IGMP_BYTES));
	return NET_HEADER_BYTES + IPV4_BYTES + IGMP_BYTES;
}

static uint32_t build_mld(const uint8_t mac[NET_MAC_BYTES], const struct vframe_ip *group,
			  uint32_t answer_ms, uint8_t *ret)
{
	const struct vframe_ip from = querier_address(mac), all = { ALL_NODES_HI, 1 };
	const struct vframe_ip *to = group ? group : &all;
	uint8_t *ip = ret + NET_HEADER_BYTES, *alert = ip + IPV6_BYTES, *mld = alert + ALERT_BYTES;
	uint8_t pseudo[8] = { 0, 0, 0, MLD_BYTES, 0, 0, 0, IP_PROTOCOL_ICMPV6 };

	bytes_put_be16(ret, 0x3333);
	bytes_put_be32(ret + 2, (uint32_t)to->lo);
	bytes_put_be16(ret + ETHER_TYPE, ETHER_TYPE_IPV6);
	ip[0] = 0x60;
	bytes_put_be16(ip + 4, ALERT_BYTES + MLD_BYTES);
	ip[7] = 1;
	put_ip(ip + 8, &from);
	put_ip(ip + 24, to);
	memcpy(alert, (const uint8_t[]){ IP_PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0 }, ALERT_BYTES);
	mld[0] = ICMPV6_MLD_QUERY;
	bytes_put_be16(mld + 4, (uint16_t)answer_ms);
	if (group) {
		put_ip(mld + 8, group);
	}
	mld[24] = ROBUSTNESS;
	mld[25] = QUERIER_INTERVAL_S;
	put_sum(mld + 2,
		net_sum(ip + 8, 32) + net_sum(pseudo, sizeof(pseudo)) + net_sum(mld, MLD_BYTES));
	return NET_HEADER_BYTES + IPV6_BYTES + ALERT_BYTES + MLD_BYTES;
}

uint32_t querier_build(const uint8_t mac[NET_MAC_BYTES], bool is_v6, const struct vframe_ip *group,
		       uint32_t answer_ms, uint8_t ret[QUERIER_FRAME_BYTES_MAX])
{
	_Static_assert(NET_HEADER_BYTES + IPV6_BYTES + ALERT_BYTES + MLD_BYTES ==
			       QUERIER_FRAME_BYTES_MAX,
		       "the longest");
	/* Codes of up to 127 and 32,767 are the time itself. */
	check(answer_ms / 100 < 128);
	memset(ret, 0, QUERIER_FRAME_BYTES_MAX);
	memcpy(ret + ETHER_SOURCE, mac, NET_MAC_BYTES);
	return is_v6 ? build_mld(mac, group, answer_ms, ret)
		     : build_igmp(group ? (uint32_t)group->lo : 0, answer_ms, ret);
}
