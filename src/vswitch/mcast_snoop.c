/* SPDX-License-Identifier: MIT */
/* What IGMP, MLD and PIM messages say. The formats: RFC 2236, 3376; 2710, 3810; 7761. */
#include <string.h>

#include "base/bytes.h"
#include "net/offload.h"
#include "proto/ether.h"
#include "vswitch/mcast_internal.h"

#define IGMP_BYTES          8U
#define IGMP_V3_QUERY_BYTES 12U
#define IGMP_GROUP_OFFSET   4U
#define MLD_BYTES           24U
#define MLD_V2_QUERY_BYTES  28U
#define MLD_GROUP_OFFSET    8U
#define REPORT_HEADER_BYTES 8U    /* of IGMPv3 and MLDv2 alike */
#define PIM_HELLO           0x20U /* version 2, type 0 */
#define PIM_HEADER_BYTES    4U
#define ANSWER_S_MAX        25U

/* Records of IGMPv3 and MLDv2 */
enum {
	RECORD_IS_INCLUDE = 1,
	RECORD_IS_EXCLUDE = 2,
	RECORD_TO_INCLUDE = 3,
	RECORD_TO_EXCLUDE = 4,
	RECORD_ALLOW = 5,
	RECORD_BLOCK = 6,
};

struct snoop {
	struct mcast *mcast;
	const struct vframe *frame;
	const struct mcast_policy *policy;
	uint32_t now_s;
	bool is_v6;
	struct mcast_news_list *news;
};

/* Whether it was something new. */
static bool say(struct snoop *s, enum mcast_news_kind kind, const uint8_t *mac, uint32_t seconds)
{
	struct mcast_news news = {
		.kind = (uint8_t)kind,
		.is_v6 = s->is_v6,
		.vlan = s->frame->fid,
		.port = s->frame->from,
		.limit = s->policy->limit ? s->policy->limit : MCAST_PORT_LIMIT,
		.seconds = (uint16_t)seconds,
	};

	if (mac) {
		memcpy(news.mac, mac, NET_MAC_BYTES);
	}
	if (s->news->count >= MCAST_NEWS_MAX || !mcast_take(s->mcast, &news, s->now_s)) {
		return false;
	}
	s->news->news[s->news->count++] = news;
	return true;
}

/* The Ethernet address of a group; false: none, or one that is never pruned. */
static bool group_mac(const struct snoop *s, const uint8_t *group, uint8_t mac[NET_MAC_BYTES])
{
	if (s->is_v6) {
		if (group[0] != 0xff || (group[1] & 15) <= 2) {
			return false;
		}
		mac[0] = 0x33;
		mac[1] = 0x33;
		memcpy(mac + 2, group + 12, 4);
		return true;
	}
	if (group[0] >> 4 != 14 || (group[0] == 224 && group[1] == 0 && group[2] == 0)) {
		return false;
	}
	mac[0] = 0x01;
	mac[1] = 0x00;
	mac[2] = 0x5e;
	mac[3] = group[1] & 0x7f;
	mac[4] = group[2];
	mac[5] = group[3];
	return true;
}

static void join(struct snoop *s, const uint8_t *group)
{
	uint8_t mac[NET_MAC_BYTES];

	if (group_mac(s, group, mac)) {
		(void)say(s, MCAST_JOIN, mac, 0);
	}
}

static struct vframe_ip group_ip(const struct snoop *s, const uint8_t *group)
{
	if (s->is_v6) {
		return (struct vframe_ip){ bytes_be64(group), bytes_be64(group + 8) };
	}
	return (struct vframe_ip){ 0, 0xffff00000000ULL | bytes_be32(group) };
}

static void leave(struct snoop *s, const uint8_t *group)
{
	uint8_t mac[NET_MAC_BYTES];

	s->mcast->counters.leaves++;
	if (group_mac(s, group, mac) &&
	    say(s, MCAST_LEAVE, mac, s->policy->fast_leave ? 0 : MCAST_LAST_MEMBER_S) &&
	    !s->policy->fast_leave) {
		if (s->news->left_count < MCAST_LEFT_MAX) {
			s->news->left[s->news->left_count].group = group_ip(s, group);
			memcpy(s->news->left[s->news->left_count].mac, mac, sizeof(mac));
		}
		s->news->left_count++;
	}
}

/* The records of IGMPv3 and MLDv2: type, auxiliary words, sources, group. */
static enum mcast_where snoop_records(struct snoop *s, const uint8_t *message, uint32_t bytes)
{
	struct bytes_cursor c = bytes_cursor(message, bytes);
	const uint8_t *header = bytes_take(&c, REPORT_HEADER_BYTES);
	uint32_t address = s->is_v6 ? 16 : 4;
	unsigned int count = header ? bytes_be16(header + 6) : 0;

	for (unsigned int i = 0; i < count && i < MCAST_NEWS_MAX; i++) {
		const uint8_t *record = bytes_take(&c, 4);
		const uint8_t *group = bytes_take(&c, address);
		uint32_t sources = record ? bytes_be16(record + 2) : 0;

		if (!group || !bytes_take(&c, sources * address + record[1] * 4U)) {
			s->mcast->counters.bad++;
			break;
		}
		switch (record[0]) {
		case RECORD_IS_EXCLUDE:
		case RECORD_TO_EXCLUDE:
			join(s, group);
			break;
		case RECORD_IS_INCLUDE:
		case RECORD_ALLOW:
			if (sources > 0) {
				join(s, group);
			}
			break;
		case RECORD_TO_INCLUDE:
			if (sources > 0) {
				join(s, group);
			} else {
				leave(s, group);
			}
			break;
		case RECORD_BLOCK:
		default:
			break;
		}
	}
	return MCAST_TO_ROUTERS;
}

/* A floating-point code of IGMPv3 or MLDv2: `bits` of mantissa and three of exponent above. */
static uint32_t unfold_code(uint32_t code, unsigned int bits)
{
	uint32_t one = 1U << bits;

	if (code < one << 3) {
		return code;
	}
	return ((code & (one - 1)) | one) << ((code >> bits & 7U) + 3);
}

/* Whether who asks has a better claim than this switch, which has no IPv4 address. */
static bool is_better(const struct snoop *s)
{
	const struct vframe_ip *from = &s->frame->key.ip_from, *own = &s->mcast->address;

	if (!s->is_v6) {
		return (from->lo & UINT32_MAX) != 0;
	}
	return from->hi != 0 && (from->hi < own->hi || (from->hi == own->hi && from->lo < own->lo));
}

static enum mcast_where snoop_query(struct snoop *s, const uint8_t *group, uint32_t answer_s)
{
	static const uint8_t nobody[16];
	uint8_t mac[NET_MAC_BYTES];

	s->mcast->counters.queries++;
	if (s->policy->is_host) {
		return MCAST_NOWHERE;
	}
	/* A query from nobody is a snooping switch's, which is no router (RFC 4541, 2.1.1). */
	if (s->is_v6 ? s->frame->key.ip_from.hi != 0
		     : (s->frame->key.ip_from.lo & UINT32_MAX) != 0) {
		(void)say(s, MCAST_ROUTER, NULL, 0);
	}
	(void)say(s, MCAST_QUERIER, NULL, 0);
	if (is_better(s)) {
		(void)say(s, MCAST_OTHER, NULL, 0);
	}
	if (memcmp(group, nobody, s->is_v6 ? 16 : 4) != 0 && group_mac(s, group, mac)) {
		(void)say(s, MCAST_ASKED, mac,
			  answer_s < ANSWER_S_MAX ? answer_s + 1 : ANSWER_S_MAX);
	}
	return MCAST_TO_ALL;
}

static enum mcast_where snoop_igmp(struct snoop *s, const uint8_t *message, uint32_t bytes)
{
	const uint8_t *group = message + IGMP_GROUP_OFFSET;
	uint32_t code;

	if (bytes < IGMP_BYTES || s->frame->key.hop_limit != 1 ||
	    net_sum_fold(net_sum(message, bytes)) != 0) {
		s->mcast->counters.bad++;
		return MCAST_TO_ALL;
	}
	switch (message[0]) {
	case IGMP_QUERY:
		code = bytes >= IGMP_V3_QUERY_BYTES ? unfold_code(message[1], 4) : message[1];
		return snoop_query(s, group, (code + 9) / 10);
	case IGMP_V1_REPORT:
	case IGMP_V2_REPORT:
		s->mcast->counters.reports++;
		join(s, group);
		return MCAST_TO_ROUTERS;
	case IGMP_V3_REPORT:
		s->mcast->counters.reports++;
		return snoop_records(s, message, bytes);
	case IGMP_LEAVE:
		leave(s, group);
		return MCAST_TO_ROUTERS;
	default:
		return MCAST_TO_ALL; /* DVMRP, mtrace, and what is not known */
	}
}

/* RFC 8200, 8.1 */
static bool is_sum_good_v6(const struct vframe_key *key, const uint8_t *message, uint32_t bytes)
{
	uint8_t pseudo[40] = { 0 };

	bytes_put_be64(pseudo, key->ip_from.hi);
	bytes_put_be64(pseudo + 8, key->ip_from.lo);
	bytes_put_be64(pseudo + 16, key->ip_to.hi);
	bytes_put_be64(pseudo + 24, key->ip_to.lo);
	bytes_put_be32(pseudo + 32, bytes);
	pseudo[39] = key->protocol;
	return net_sum_fold(net_sum(pseudo, sizeof(pseudo)) + net_sum(message, bytes)) == 0;
}

static enum mcast_where snoop_mld(struct snoop *s, const uint8_t *message, uint32_t bytes)
{
	const struct vframe_key *key = &s->frame->key;
	bool is_v2_report = bytes >= REPORT_HEADER_BYTES && message[0] == ICMPV6_MLD2_REPORT;
	const uint8_t *group = message + MLD_GROUP_OFFSET;
	bool is_link_local = key->ip_from.hi >> 54 == 0xfe80U >> 6;
	bool is_nobody = key->ip_from.hi == 0 && key->ip_from.lo == 0;
	uint32_t code;

	if ((bytes < MLD_BYTES && !is_v2_report) || key->hop_limit != 1 ||
	    (!is_link_local && !is_nobody) || !is_sum_good_v6(key, message, bytes)) {
		s->mcast->counters.bad++;
		return MCAST_TO_ALL;
	}
	switch (message[0]) {
	case ICMPV6_MLD_QUERY:
		code = bytes_be16(message + 4);
		code = bytes >= MLD_V2_QUERY_BYTES ? unfold_code(code, 12) : code;
		return snoop_query(s, group, (code + 999) / 1000);
	case ICMPV6_MLD_REPORT:
		s->mcast->counters.reports++;
		join(s, group);
		return MCAST_TO_ROUTERS;
	case ICMPV6_MLD_DONE:
		leave(s, group);
		return MCAST_TO_ROUTERS;
	case ICMPV6_MLD2_REPORT:
		s->mcast->counters.reports++;
		return snoop_records(s, message, bytes);
	default:
		return MCAST_TO_ALL;
	}
}

static enum mcast_where snoop_pim(struct snoop *s, const uint8_t *message, uint32_t bytes)
{
	if (bytes < PIM_HEADER_BYTES || message[0] != PIM_HELLO) {
		return MCAST_BY_GROUP;
	}
	if (!(s->is_v6 ? is_sum_good_v6(&s->frame->key, message, bytes)
		       : net_sum_fold(net_sum(message, bytes)) == 0)) {
		s->mcast->counters.bad++;
		return MCAST_TO_ALL;
	}
	if (s->policy->is_host) {
		return MCAST_NOWHERE;
	}
	(void)say(s, MCAST_ROUTER, NULL, 0);
	return MCAST_TO_ALL;
}

enum mcast_where mcast_snoop(struct mcast *mcast, const struct vframe *frame,
			     const uint8_t *payload, uint32_t bytes,
			     const struct mcast_policy *policy, uint32_t now_s,
			     struct mcast_news_list *ret)
{
	struct snoop s = {
		.mcast = mcast,
		.frame = frame,
		.policy = policy,
		.now_s = now_s,
		.is_v6 = frame->key.ip_version == 6,
		.news = ret,
	};

	ret->count = ret->left_count = 0;
	if (!mcast_is_snoopable(frame) || (frame->key.flags & VKEY_FRAGMENT) ||
	    frame->key.l4_offset == 0) {
		return MCAST_BY_GROUP;
	}
	if (frame->key.protocol == IP_PROTOCOL_PIM) {
		return snoop_pim(&s, payload, bytes);
	}
	return s.is_v6 ? snoop_mld(&s, payload, bytes) : snoop_igmp(&s, payload, bytes);
}
