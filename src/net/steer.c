/* SPDX-License-Identifier: MIT */
#include "net/steer.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/ether.h"

#define TAGS_MAX 2

void steer_init(struct steer *steer, const struct net_rss *rss)
{
	steer->rss = *rss;
	if (!rss->is_on) {
		return;
	}
	if (rss->table_entries == 0 || rss->table_entries > NET_RSS_TABLE_ENTRIES ||
	    rss->table_entries & (rss->table_entries - 1)) {
		steer->rss.is_on = false;
	}
	for (unsigned int i = 0; steer->rss.is_on && i < rss->table_entries; i++) {
		if (rss->table[i] >= rss->queues) {
			steer->rss.is_on = false;
		}
	}
	static_assert(TOEPLITZ_KEY_BYTES == NET_RSS_KEY_BYTES, "one key");
	toeplitz_init(&steer->toeplitz, rss->key);
}

bool steer_hash_ip(const struct steer *steer, bool is_ipv6, const uint8_t *source,
		   const uint8_t *destination, uint8_t l4, const uint8_t *ports, uint32_t *ret_hash)
{
	const uint32_t tcp = is_ipv6 ? NET_RSS_TCP_IPV6 : NET_RSS_TCP_IPV4;
	const uint32_t udp = is_ipv6 ? NET_RSS_UDP_IPV6 : NET_RSS_UDP_IPV4;
	const uint32_t wanted = steer->rss.hash_types;
	uint8_t input[TOEPLITZ_INPUT_BYTES];
	size_t address = is_ipv6 ? 16 : 4, bytes = 2 * address;
	bool has_ports =
		ports && ((l4 == NET_L4_TCP && wanted & tcp) || (l4 == NET_L4_UDP && wanted & udp));

	if (!steer->rss.is_on ||
	    (!has_ports && !(wanted & (is_ipv6 ? NET_RSS_IPV6 : NET_RSS_IPV4)))) {
		return false;
	}
	memcpy(input, source, address);
	memcpy(input + address, destination, address);
	if (has_ports) {
		memcpy(input + bytes, ports, 4);
		bytes += 4;
	}
	*ret_hash = toeplitz_hash(&steer->toeplitz, input, bytes);
	return true;
}

static uint8_t l4_of(uint8_t protocol)
{
	return protocol == IP_PROTOCOL_TCP
		       ? NET_L4_TCP
		       : (protocol == IP_PROTOCOL_UDP ? NET_L4_UDP : NET_L4_NONE);
}

bool steer_hash(const struct steer *steer, const uint8_t *head, uint32_t bytes, uint32_t *ret_hash)
{
	uint32_t at = NET_HEADER_BYTES, length;
	uint16_t type;

	if (bytes < at) {
		return false;
	}
	type = bytes_be16(head + 12);
	for (int i = 0; i < TAGS_MAX && (type == ETHER_TYPE_VLAN || type == ETHER_TYPE_QINQ); i++) {
		if (bytes - at < 4) {
			return false;
		}
		type = bytes_be16(head + at + 2);
		at += 4;
	}
	head += at;
	bytes -= at;
	if (type == ETHER_TYPE_IPV4 && bytes >= 20 && head[0] >> 4 == 4) {
		/* Of a fragment, only the first has ports: all go by their addresses. */
		bool is_fragment = (bytes_be16(head + 6) & 0x3fff) != 0;

		length = (head[0] & 15U) * 4;
		return length >= 20 &&
		       steer_hash_ip(steer, false, head + 12, head + 16, l4_of(head[9]),
				     !is_fragment && bytes >= length + 4 ? head + length : NULL,
				     ret_hash);
	}
	if (type == ETHER_TYPE_IPV6 && bytes >= 40 && head[0] >> 4 == 6) {
		/* Ports behind extension headers are not looked for: addresses will do. */
		return steer_hash_ip(steer, true, head + 8, head + 24, l4_of(head[6]),
				     bytes >= 44 ? head + 40 : NULL, ret_hash);
	}
	return false;
}

unsigned int steer_frame(const struct steer *steer, struct net_frame *frame)
{
	uint8_t head[STEER_HEAD_BYTES];
	uint32_t have = 0;

	if (!steer->rss.is_on) {
		return 0;
	}
	if (!(frame->flags & NET_FRAME_HASH)) {
		for (int i = 0; i < frame->iov_count && have < sizeof(head); i++) {
			size_t run = num_min(frame->iov[i].iov_len, sizeof(head) - have);

			memcpy(head + have, frame->iov[i].iov_base, run);
			have += (uint32_t)run;
		}
		if (!steer_hash(steer, head, have, &frame->hash)) {
			return 0;
		}
		frame->flags |= NET_FRAME_HASH;
	}
	return steer_queue(steer, frame->hash);
}
