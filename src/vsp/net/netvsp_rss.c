/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp_rss.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/rndis.h"

static_assert(NETVSP_RSS_INFO_BYTES_MAX == sizeof(struct ndis_rss_parameters) +
						   4 * NET_RSS_TABLE_ENTRIES + NET_RSS_KEY_BYTES,
	      "what Linux sends");

static uint32_t set_hash_info(struct netvsp_rss *rss, uint32_t hash_info)
{
	if ((hash_info & NDIS_HASH_FUNCTION_MASK) != NDIS_HASH_TOEPLITZ ||
	    !(hash_info & ~NDIS_HASH_FUNCTION_MASK)) {
		return RNDIS_STATUS_INVALID_DATA;
	}
	rss->hash_info = hash_info;
	return RNDIS_STATUS_SUCCESS;
}

/* Entries are 32 bits from revision 2 on: a queue's number each. */
static uint32_t set_table(struct netvsp_rss *rss, const uint8_t *info, uint32_t bytes,
			  unsigned int queues)
{
	uint32_t offset = bytes_le32(info + offsetof(struct ndis_rss_parameters, table_offset));
	uint32_t length = bytes_le16(info + offsetof(struct ndis_rss_parameters, table_bytes));
	uint32_t entries = length / 4;

	if (length % 4 || entries == 0 || entries > NET_RSS_TABLE_ENTRIES ||
	    entries & (entries - 1) || !num_range_fits(offset, length, bytes)) {
		return RNDIS_STATUS_INVALID_DATA;
	}
	for (uint32_t i = 0; i < entries; i++) {
		uint32_t queue = bytes_le32(info + offset + 4 * (size_t)i);

		if (queue >= queues) {
			return RNDIS_STATUS_INVALID_DATA;
		}
		rss->table[i] = (uint16_t)queue;
	}
	rss->table_entries = (uint16_t)entries;
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_key(struct netvsp_rss *rss, const uint8_t *info, uint32_t bytes)
{
	uint32_t offset = bytes_le32(info + offsetof(struct ndis_rss_parameters, key_offset));
	uint32_t length = bytes_le16(info + offsetof(struct ndis_rss_parameters, key_bytes));

	if (length != NET_RSS_KEY_BYTES || !num_range_fits(offset, length, bytes)) {
		return RNDIS_STATUS_INVALID_DATA;
	}
	memcpy(rss->key, info + offset, length);
	return RNDIS_STATUS_SUCCESS;
}

uint32_t netvsp_rss_set(struct netvsp_rss *rss, const uint8_t *info, uint32_t bytes,
			unsigned int queues)
{
	const uint32_t all_unchanged =
		NDIS_RSS_HASH_INFO_UNCHANGED | NDIS_RSS_TABLE_UNCHANGED | NDIS_RSS_KEY_UNCHANGED;
	struct netvsp_rss want = *rss;
	uint32_t status = RNDIS_STATUS_SUCCESS, flags;

	if (bytes < NDIS_RSS_PARAMETERS_BYTES_MIN) {
		return RNDIS_STATUS_INVALID_LENGTH;
	}
	if (info[0] != NDIS_OBJECT_RSS_PARAMETERS || info[1] < NDIS_RSS_PARAMETERS_REVISION) {
		return RNDIS_STATUS_INVALID_DATA;
	}
	flags = bytes_le16(info + offsetof(struct ndis_rss_parameters, flags));
	if (flags & NDIS_RSS_DISABLE) {
		/* Whatever else it brings is not looked at: Linux sends all of it again. */
		rss->is_on = false;
		return RNDIS_STATUS_SUCCESS;
	}
	if (flags & all_unchanged && !rss->is_set) {
		return RNDIS_STATUS_INVALID_DATA;
	}
	if (!(flags & NDIS_RSS_HASH_INFO_UNCHANGED)) {
		status = set_hash_info(
			&want, bytes_le32(info + offsetof(struct ndis_rss_parameters, hash_info)));
	}
	if (status == RNDIS_STATUS_SUCCESS && !(flags & NDIS_RSS_TABLE_UNCHANGED)) {
		status = set_table(&want, info, bytes, queues);
	}
	if (status == RNDIS_STATUS_SUCCESS && !(flags & NDIS_RSS_KEY_UNCHANGED)) {
		status = set_key(&want, info, bytes);
	}
	want.is_set = want.is_on = true;
	if (status == RNDIS_STATUS_SUCCESS && !netvsp_rss_is_sound(&want, queues)) {
		status = RNDIS_STATUS_INVALID_DATA; /* a table of before, with fewer queues now */
	}
	if (status == RNDIS_STATUS_SUCCESS) {
		*rss = want;
	}
	return status;
}

uint32_t netvsp_rss_build(const struct netvsp_rss *rss, uint8_t *info)
{
	const uint32_t head = sizeof(struct ndis_rss_parameters);
	const uint32_t table_bytes = 4U * rss->table_entries;

	memset(info, 0, head);
	info[0] = NDIS_OBJECT_RSS_PARAMETERS;
	info[1] = NDIS_RSS_PARAMETERS_REVISION;
	bytes_put_le16(info + 2, (uint16_t)head);
#define AT(field) (info + offsetof(struct ndis_rss_parameters, field))
	bytes_put_le16(AT(flags), rss->is_on ? 0 : NDIS_RSS_DISABLE);
	bytes_put_le32(AT(hash_info), rss->hash_info);
	bytes_put_le16(AT(table_bytes), (uint16_t)table_bytes);
	bytes_put_le32(AT(table_offset), head);
	bytes_put_le16(AT(key_bytes), NET_RSS_KEY_BYTES);
	bytes_put_le32(AT(key_offset), head + table_bytes);
#undef AT
	for (uint32_t i = 0; i < rss->table_entries; i++) {
		bytes_put_le32(info + head + 4 * (size_t)i, rss->table[i]);
	}
	memcpy(info + head + table_bytes, rss->key, NET_RSS_KEY_BYTES);
	return head + table_bytes + NET_RSS_KEY_BYTES;
}

bool netvsp_rss_is_sound(const struct netvsp_rss *rss, unsigned int queues)
{
	if (!rss->is_set) {
		return !rss->is_on && rss->table_entries == 0;
	}
	if (rss->table_entries == 0 || rss->table_entries > NET_RSS_TABLE_ENTRIES ||
	    rss->table_entries & (rss->table_entries - 1)) {
		return false;
	}
	for (uint32_t i = 0; i < rss->table_entries && rss->is_on; i++) {
		if (rss->table[i] >= queues) {
			return false;
		}
	}
	return true;
}

void netvsp_rss_to_net(const struct netvsp_rss *rss, unsigned int queues, struct net_rss *ret)
{
	static const struct {
		uint32_t ndis, net;
	} types[] = {
		{ NDIS_HASH_IPV4, NET_RSS_IPV4 },         { NDIS_HASH_TCP_IPV4, NET_RSS_TCP_IPV4 },
		{ NDIS_HASH_IPV6, NET_RSS_IPV6 },         { NDIS_HASH_TCP_IPV6, NET_RSS_TCP_IPV6 },
		{ NDIS_HASH_UDP_IPV4, NET_RSS_UDP_IPV4 }, { NDIS_HASH_UDP_IPV6, NET_RSS_UDP_IPV6 },
	};

	memset(ret, 0, sizeof(*ret));
	if (!rss->is_on) {
		return;
	}
	ret->is_on = true;
	ret->queues = (uint16_t)queues;
	ret->table_entries = rss->table_entries;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ret->hash_types |= rss->hash_info & types[i].ndis ? types[i].net : 0;
	}
	memcpy(ret->key, rss->key, sizeof(ret->key));
	memcpy(ret->table, rss->table, sizeof(ret->table));
}
