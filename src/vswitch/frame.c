/* SPDX-License-Identifier: MIT */
#include "vswitch/frame.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "proto/ether.h"

#define IPV4_HEADER_BYTES 20U
#define IPV6_HEADER_BYTES 40U
#define ARP_BYTES         28U
#define TCP_HEADER_BYTES  20U
#define UDP_HEADER_BYTES  8U
#define IPV4_MORE         0x2000U
#define IPV4_OFFSET       0x1fffU
#define IPV6_MORE         0x0001U
#define IPV6_OFFSET       0xfff8U
#define MAPPED            0xffff00000000ULL

/* What of vframe.lent is given back: its first iovec, its second. */
enum { LENT_FIRST = 1, LENT_SECOND = 2 };

/* ---- taking over ------------------------------------------------------------------------------- */

/* memcpy() of 14 to VFRAME_HEAD_MAX bytes; mostly of 60 or 64, for which a call costs most. */
static inline void copy_head(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	if (__builtin_expect(bytes >= 32 && bytes <= 64, 1)) {
		memcpy(dst, src, 32);
		memcpy(dst + bytes - 32, src + bytes - 32, 32);
	} else if (bytes == VFRAME_HEAD_PLAIN) {
		memcpy(dst, src, VFRAME_HEAD_PLAIN);
	} else {
		memcpy(dst, src, bytes);
	}
}

static void set_head(struct vframe *frame, struct iovec *at, uint32_t bytes)
{
	*at = (struct iovec){ .iov_base = frame->head, .iov_len = bytes };
	frame->net.iov = at;
	frame->net.flags |= NET_FRAME_HEAD;
	frame->head_bytes = (uint16_t)bytes;
}

/* The head lies in several iovecs, or the frame goes on behind it. */
static int pull_slowly(struct vframe *frame, const struct net_frame *from, uint32_t want)
{
	/* net_send_many() grants these. */
	struct iovec *iov = (struct iovec *)(uintptr_t)from->iov;
	uint32_t copied = 0, part = 0;
	int covered = 0; /* iovecs that are in the head as a whole */

	while (copied < want) {
		if (covered == from->iov_count) {
			return -EBADMSG;
		}
		part = want - copied;
		if (iov[covered].iov_len <= part) {
			part = (uint32_t)iov[covered].iov_len;
		}
		memcpy(frame->head + copied, iov[covered].iov_base, part);
		copied += part;
		if (part < iov[covered].iov_len) {
			break;
		}
		part = 0;
		covered++;
	}
	frame->net = *from;
	frame->lent = 0;
	if (covered > 0) {
		frame->lent = LENT_FIRST;
		frame->lent_iov[0] = iov[covered - 1];
	}
	if (want == from->bytes) {
		frame->net.iov_count = 1;
	} else {
		frame->net.iov_count = from->iov_count - covered + 1;
		if (part > 0) {
			frame->lent |= LENT_SECOND;
			frame->lent_iov[1] = iov[covered];
			iov[covered].iov_base = (uint8_t *)iov[covered].iov_base + part;
			iov[covered].iov_len -= part;
		}
	}
	set_head(frame, &iov[covered - 1], want);
	return 0;
}

int vframe_pull(struct vframe *frame, const struct net_frame *from, uint32_t head_bytes_max)
{
	uint32_t want = from->bytes;

	if (want < ETHER_HEADER_BYTES) {
		return -EBADMSG;
	}
	if (want <= head_bytes_max && from->iov[0].iov_len >= want) {
		copy_head(frame->head, from->iov[0].iov_base, want);
		frame->net = *from;
		frame->net.iov_count = 1;
		frame->lent = 0;
		set_head(frame, (struct iovec *)(uintptr_t)from->iov - 1, want);
		return 0;
	}
	check(head_bytes_max >= ETHER_HEADER_BYTES && head_bytes_max <= VFRAME_HEAD_MAX);
	return pull_slowly(frame, from, want < head_bytes_max ? want : head_bytes_max);
}

void vframe_unpull(struct vframe *frame)
{
	struct iovec *iov = (struct iovec *)(uintptr_t)frame->net.iov;

	if (frame->lent & LENT_FIRST) {
		iov[0] = frame->lent_iov[0];
	}
	if (frame->lent & LENT_SECOND) {
		iov[1] = frame->lent_iov[1];
	}
	frame->lent = 0;
}

uint32_t vframe_copy(const struct vframe *frame, uint32_t offset, void *dst, uint32_t bytes)
{
	uint32_t copied = 0, left = 0;

	if (offset >= frame->net.bytes) {
		return 0;
	}
	left = frame->net.bytes - offset;
	left = left < bytes ? left : bytes;
	for (int i = 0; i < frame->net.iov_count && copied < left; i++) {
		const struct iovec *iov = &frame->net.iov[i];
		size_t part;

		if (offset >= iov->iov_len) {
			offset -= (uint32_t)iov->iov_len;
			continue;
		}
		part = iov->iov_len - offset;
		part = part < left - copied ? part : left - copied;
		memcpy((uint8_t *)dst + copied, (const uint8_t *)iov->iov_base + offset, part);
		copied += (uint32_t)part;
		offset = 0;
	}
	return copied;
}

/* ---- reading ----------------------------------------------------------------------------------- */

/*
 * Where headers end at the latest: what the IP header says, and the frame. A large send's length may
 * be 0, and a jumbogram's is; then it is the frame that says it.
 */
static uint32_t ip_end(const struct vframe *frame, uint32_t l3, uint32_t length)
{
	if (length == 0 && (frame->net.flags & NET_FRAME_LSO)) {
		return frame->net.bytes;
	}
	return length < frame->net.bytes - l3 ? l3 + length : frame->net.bytes;
}

uint32_t vframe_ip_end(const struct vframe *frame)
{
	const uint8_t *ip = frame->head + frame->key.l3_offset;
	uint32_t length;

	if (frame->key.ip_version == 4) {
		return ip_end(frame, frame->key.l3_offset, bytes_be16(ip + 2));
	}
	if (frame->key.ip_version == 6) {
		length = bytes_be16(ip + 4);
		if (length == 0) {
			return frame->net.bytes;
		}
		return ip_end(frame, frame->key.l3_offset, IPV6_HEADER_BYTES + length);
	}
	return 0;
}

static uint64_t hash_end(uint64_t secret, struct vframe_ip ip, uint16_t port)
{
	return hash_mix(secret, ip.lo ^ (ip.hi * 0x9e3779b97f4a7c15ULL) ^ (uint64_t)port << 48);
}

/* The same when the ends are swapped: the sum of what each end hashes to. */
static inline uint32_t hash_flow(const struct vframe_key *key, uint64_t secret, bool ports)
{
	uint64_t hash = hash_end(secret, key->ip_from, ports ? key->port_from : 0) +
			hash_end(secret, key->ip_to, ports ? key->port_to : 0) +
			key->protocol * 0x9e3779b97f4a7c15ULL;

	return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t hash_ethernet(const struct vframe_key *key, uint64_t secret)
{
	struct vframe_ip from = { 0 }, to = { 0 };
	uint64_t hash;

	memcpy(&from.lo, key->from, NET_MAC_BYTES);
	memcpy(&to.lo, key->to, NET_MAC_BYTES);
	hash = hash_end(secret, from, 0) + hash_end(secret, to, 0) + key->ethertype;
	return (uint32_t)(hash ^ hash >> 32);
}

/* TCP, UDP, ICMP at l4; end: of the headers that there can be. */
static void parse_l4(struct vframe *frame, uint32_t l4, uint32_t end)
{
	struct vframe_key *key = &frame->key;
	const uint8_t *at;
	uint32_t left;

	end = end < frame->head_bytes ? end : frame->head_bytes;
	if (l4 >= end) {
		key->flags |= VKEY_TRUNCATED;
		return;
	}
	at = frame->head + l4;
	left = end - l4;
	key->l4_offset = (uint16_t)l4;
	switch (key->protocol) {
	case IP_PROTOCOL_TCP:
	case IP_PROTOCOL_UDP:
		/* Whoever receives less than the whole header drops it: so nothing is claimed. */
		if (left <
		    (key->protocol == IP_PROTOCOL_TCP ? TCP_HEADER_BYTES : UDP_HEADER_BYTES)) {
			key->flags |= VKEY_TRUNCATED;
			return;
		}
		key->port_from = bytes_be16(at);
		key->port_to = bytes_be16(at + 2);
		key->tcp_flags = key->protocol == IP_PROTOCOL_TCP ? at[13] : 0;
		key->flags |= VKEY_L4;
		return;
	case IP_PROTOCOL_ICMP:
	case IP_PROTOCOL_ICMPV6:
		if (left < 4) {
			key->flags |= VKEY_TRUNCATED;
			return;
		}
		key->icmp_type = at[0];
		key->icmp_code = at[1];
		key->flags |= VKEY_L4;
		return;
	default:
		return;
	}
}

/* Steps over an authentication header of IPv4, which is nothing else's business. */
static uint32_t skip_ah(struct vframe *frame, uint32_t l4, uint32_t end)
{
	end = end < frame->head_bytes ? end : frame->head_bytes;
	if (l4 + 8 > end) {
		frame->key.flags |= VKEY_TRUNCATED;
		return l4;
	}
	frame->key.protocol = frame->head[l4];
	frame->key.flags |= VKEY_OPTIONS;
	return l4 + (frame->head[l4 + 1] + 2U) * 4;
}

static void parse_ipv4(struct vframe *frame, uint32_t l3)
{
	struct vframe_key *key = &frame->key;
	const uint8_t *ip = frame->head + l3;
	uint32_t header, end, fragment, l4;

	if (frame->head_bytes < l3 + IPV4_HEADER_BYTES) {
		key->flags |= VKEY_TRUNCATED;
		return;
	}
	header = (ip[0] & 15U) * 4;
	end = ip_end(frame, l3, bytes_be16(ip + 2));
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER_BYTES || l3 + header > end) {
		key->flags |= VKEY_TRUNCATED;
		return;
	}
	key->ip_version = 4;
	key->l3_offset = (uint16_t)l3;
	key->protocol = ip[9];
	key->hop_limit = ip[8];
	key->ip_from.lo = MAPPED | bytes_be32(ip + 12);
	key->ip_to.lo = MAPPED | bytes_be32(ip + 16);
	if (header > IPV4_HEADER_BYTES) {
		key->flags |= VKEY_OPTIONS;
	}
	fragment = bytes_be16(ip + 6) & (IPV4_MORE | IPV4_OFFSET);
	if (fragment) {
		key->flags |= VKEY_FRAGMENT;
		if (fragment & IPV4_OFFSET) {
			return;
		}
		key->flags |= VKEY_FIRST;
	}
	l4 = l3 + header;
	if (key->protocol == IPV6_EXT_AH) {
		l4 = skip_ah(frame, l4, end);
	}
	parse_l4(frame, l4, end);
}

bool vframe_is_extension(uint8_t protocol)
{
	switch (protocol) {
	case IPV6_EXT_HOP_BY_HOP:
	case IPV6_EXT_ROUTING:
	case IPV6_EXT_FRAGMENT:
	case IPV6_EXT_AH:
	case IPV6_EXT_DESTINATION:
	case IPV6_EXT_MOBILITY:
	case IPV6_EXT_HIP:
	case IPV6_EXT_SHIM6:
		return true;
	default:
		return false;
	}
}

/* Follows the chain from `at`; where the upper header is, or 0: not to be seen, or not here. */
static uint32_t skip_extensions(struct vframe *frame, uint32_t at, uint32_t end)
{
	struct vframe_key *key = &frame->key;

	end = end < frame->head_bytes ? end : frame->head_bytes;
	for (unsigned int i = 0; vframe_is_extension(key->protocol); i++) {
		const uint8_t *header;
		uint8_t kind = key->protocol;
		uint32_t bytes = 8;

		key->flags |= VKEY_OPTIONS;
		if (i == VFRAME_EXTENSIONS_MAX || at + 8 > end) {
			key->flags |= VKEY_TRUNCATED;
			return 0;
		}
		header = frame->head + at;
		key->protocol = header[0];
		if (kind == IPV6_EXT_FRAGMENT) {
			uint32_t fragment = bytes_be16(header + 2);

			if (fragment & (IPV6_MORE | IPV6_OFFSET)) {
				key->flags |= VKEY_FRAGMENT;
			}
			if (fragment & IPV6_OFFSET) {
				key->flags &= (uint8_t)~VKEY_FIRST;
				return 0;
			}
			key->flags |= fragment & IPV6_MORE ? VKEY_FIRST : 0;
		} else if (kind == IPV6_EXT_AH) {
			bytes = (header[1] + 2U) * 4;
		} else {
			bytes = (header[1] + 1U) * 8;
		}
		at += bytes;
	}
	return at;
}

static void parse_ipv6(struct vframe *frame, uint32_t l3)
{
	struct vframe_key *key = &frame->key;
	const uint8_t *ip = frame->head + l3;
	uint32_t l4;

	if (frame->head_bytes < l3 + IPV6_HEADER_BYTES || ip[0] >> 4 != 6) {
		key->flags |= VKEY_TRUNCATED;
		return;
	}
	key->ip_version = 6;
	key->l3_offset = (uint16_t)l3;
	key->protocol = ip[6];
	key->hop_limit = ip[7];
	key->ip_from = (struct vframe_ip){ bytes_be64(ip + 8), bytes_be64(ip + 16) };
	key->ip_to = (struct vframe_ip){ bytes_be64(ip + 24), bytes_be64(ip + 32) };
	l4 = skip_extensions(frame, l3 + IPV6_HEADER_BYTES, vframe_ip_end(frame));
	if (l4 != 0 && key->protocol != IP_PROTOCOL_NONE) {
		parse_l4(frame, l4, vframe_ip_end(frame));
	}
}

static void parse_arp(struct vframe *frame, uint32_t l3)
{
	static const uint8_t ethernet_ipv4[] = { 0, 1, 8, 0, 6, 4 };
	struct vframe_key *key = &frame->key;
	const uint8_t *arp = frame->head + l3;

	if (frame->head_bytes < l3 + ARP_BYTES || memcmp(arp, ethernet_ipv4, 6) != 0) {
		key->flags |= VKEY_TRUNCATED;
		return;
	}
	key->flags |= VKEY_ARP;
	key->l3_offset = (uint16_t)l3;
	key->arp_operation = bytes_be16(arp + 6);
	memcpy(key->arp_mac, arp + 8, NET_MAC_BYTES);
	key->ip_from.lo = MAPPED | bytes_be32(arp + 14);
	key->ip_to.lo = MAPPED | bytes_be32(arp + 24);
}

static void parse_slowly(struct vframe *frame, uint64_t secret)
{
	struct vframe_key *key = &frame->key;
	uint32_t l3 = ETHER_HEADER_BYTES;

	if (key->ethertype == ETHER_TYPE_VLAN && !(frame->net.flags & NET_FRAME_VLAN)) {
		key->flags |= VKEY_TAG;
		if (frame->head_bytes < ETHER_HEADER_BYTES + ETHER_TAG_BYTES) {
			key->flags |= VKEY_TRUNCATED;
			frame->flow_hash = hash_ethernet(key, secret);
			return;
		}
		l3 += ETHER_TAG_BYTES;
		key->ethertype = bytes_be16(frame->head + l3 - 2);
	}
	switch (key->ethertype) {
	case ETHER_TYPE_IPV4:
		parse_ipv4(frame, l3);
		break;
	case ETHER_TYPE_IPV6:
		parse_ipv6(frame, l3);
		break;
	case ETHER_TYPE_ARP:
	case ETHER_TYPE_RARP:
		parse_arp(frame, l3);
		break;
	default:
		break;
	}
	/* All pieces of a datagram go one way, so that none of them goes by its ports. */
	frame->flow_hash = key->ip_version ? hash_flow(key, secret, !(key->flags & VKEY_FRAGMENT))
					   : hash_ethernet(key, secret);
}

/* Ethernet, IPv4 without options and fragments, TCP or UDP; nothing else. */
static inline bool parse_fast(struct vframe *frame, uint64_t secret)
{
	struct vframe_key *key = &frame->key;
	const uint8_t *ip = frame->head + ETHER_HEADER_BYTES, *l4 = ip + IPV4_HEADER_BYTES;
	uint32_t header, length;

	if (frame->head_bytes < ETHER_HEADER_BYTES + IPV4_HEADER_BYTES + UDP_HEADER_BYTES ||
	    key->ethertype != ETHER_TYPE_IPV4 || ip[0] != 0x45 ||
	    (bytes_be16(ip + 6) & (IPV4_MORE | IPV4_OFFSET))) {
		return false;
	}
	header = ip[9] == IP_PROTOCOL_TCP ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
	length = bytes_be16(ip + 2);
	if ((ip[9] != IP_PROTOCOL_TCP && ip[9] != IP_PROTOCOL_UDP) ||
	    length < IPV4_HEADER_BYTES + header ||
	    frame->head_bytes < ETHER_HEADER_BYTES + IPV4_HEADER_BYTES + header) {
		return false;
	}
	key->ip_version = 4;
	key->protocol = ip[9];
	key->flags = VKEY_L4;
	key->tcp_flags = header == TCP_HEADER_BYTES ? l4[13] : 0;
	key->hop_limit = ip[8];
	key->l3_offset = ETHER_HEADER_BYTES;
	key->l4_offset = ETHER_HEADER_BYTES + IPV4_HEADER_BYTES;
	key->port_from = bytes_be16(l4);
	key->port_to = bytes_be16(l4 + 2);
	key->ip_from.lo = MAPPED | bytes_be32(ip + 12);
	key->ip_to.lo = MAPPED | bytes_be32(ip + 16);
	frame->flow_hash = hash_flow(key, secret, true);
	return true;
}

void vframe_parse(struct vframe *frame, uint64_t secret)
{
	struct vframe_key *key = &frame->key;

	*key = (struct vframe_key){ 0 };
	memcpy(key->to, frame->head + ETHER_TO_OFFSET, NET_MAC_BYTES);
	memcpy(key->from, frame->head + ETHER_FROM_OFFSET, NET_MAC_BYTES);
	key->ethertype = bytes_be16(frame->head + ETHER_TYPE_OFFSET);
	if (!parse_fast(frame, secret)) {
		parse_slowly(frame, secret);
	}
}

void vframe_untag(struct vframe *frame)
{
	struct vframe_key *key = &frame->key;
	struct iovec *iov = (struct iovec *)(uintptr_t)frame->net.iov;

	if (!(key->flags & VKEY_TAG) || frame->head_bytes < ETHER_HEADER_BYTES + ETHER_TAG_BYTES) {
		return;
	}
	check(iov->iov_base == frame->head && iov->iov_len == frame->head_bytes);
	frame->net.vlan_tci = bytes_be16(frame->head + ETHER_TYPE_OFFSET + 2);
	frame->net.flags |= NET_FRAME_VLAN;
	frame->head_bytes = (uint16_t)(frame->head_bytes - ETHER_TAG_BYTES);
	memmove(frame->head + ETHER_TYPE_OFFSET, frame->head + ETHER_TYPE_OFFSET + ETHER_TAG_BYTES,
		frame->head_bytes - ETHER_TYPE_OFFSET);
	iov->iov_len = frame->head_bytes;
	frame->net.bytes -= ETHER_TAG_BYTES;
	if (frame->net.l4_offset >= ETHER_HEADER_BYTES + ETHER_TAG_BYTES) {
		frame->net.l4_offset = (uint16_t)(frame->net.l4_offset - ETHER_TAG_BYTES);
	}
	if (key->l3_offset) {
		key->l3_offset = (uint16_t)(key->l3_offset - ETHER_TAG_BYTES);
	}
	if (key->l4_offset) {
		key->l4_offset = (uint16_t)(key->l4_offset - ETHER_TAG_BYTES);
	}
	key->flags &= (uint8_t)~VKEY_TAG;
}
