/* SPDX-License-Identifier: MIT */
#include "net/offload.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

#define TYPE_IPV4       0x0800
#define TYPE_IPV6       0x86dd

#define IPV4_BYTES      20
#define IPV4_FRAG_MORE  0x2000
#define IPV4_FRAG_DONT  0x4000
#define IPV6_BYTES      40
#define IPV6_FRAG_BYTES 8
#define TCP_BYTES       20
#define TCP_BYTES_MAX   60
#define UDP_BYTES       8
#define EXTENSIONS_MAX  8 /* IPv6 extension headers that we look behind */
#define HEADERS_MAX     (NET_HEADER_BYTES + 60 + TCP_BYTES_MAX)

#define TCP_FIN         0x01
#define TCP_SYN         0x02
#define TCP_PSH         0x08

/* ---- sums ---- */

uint64_t net_sum(const void *buf, size_t bytes)
{
	const uint8_t *p = buf;
	uint64_t a = 0, b = 0;

	/* Words of four bytes into 64 bits: no carry is lost below 16 GiB. */
	for (; bytes >= 16; bytes -= 16, p += 16) {
		uint32_t w[4];

		memcpy(w, p, sizeof(w));
		a += (uint64_t)w[0] + w[1];
		b += (uint64_t)w[2] + w[3];
	}
	a += b;
	for (; bytes >= 2; bytes -= 2, p += 2) {
		uint16_t w;

		memcpy(&w, p, sizeof(w));
		a += w;
	}
	if (bytes) {
		uint16_t w = 0;

		memcpy(&w, p, 1);
		a += w;
	}
	return a;
}

uint16_t net_sum_fold(uint64_t sum)
{
	while (sum >> 16) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

/* The sum of the pseudo header of TCP and UDP, in memory order like net_sum(). */
static uint64_t pseudo_sum(const uint8_t *l3, const struct net_headers *h)
{
	uint32_t l4_bytes = h->end - h->l4_offset;
	uint8_t tail[8] = { (uint8_t)(l4_bytes >> 24),
			    (uint8_t)(l4_bytes >> 16),
			    (uint8_t)(l4_bytes >> 8),
			    (uint8_t)l4_bytes,
			    0,
			    0,
			    0,
			    h->protocol };
	uint64_t sum = h->ip_version == 4 ? net_sum(l3 + 12, 8) : net_sum(l3 + 8, 32);

	return sum + net_sum(tail, sizeof(tail));
}

static void ipv4_checksum(uint8_t *l3, uint32_t bytes)
{
	uint16_t sum;

	memset(l3 + 10, 0, 2);
	sum = net_sum_fold(net_sum(l3, bytes));
	memcpy(l3 + 10, &sum, 2);
}

/* ---- headers ---- */

static int parse_ipv4(const uint8_t *frame, uint32_t bytes, bool any_length, struct net_headers *h)
{
	const uint8_t *l3 = frame + h->l3_offset;
	uint32_t left = bytes - h->l3_offset, header, total;

	if (left < IPV4_BYTES || l3[0] >> 4 != 4) {
		return -EBADMSG;
	}
	header = (l3[0] & 0xfU) * 4;
	total = any_length ? left : bytes_be16(l3 + 2);
	if (header < IPV4_BYTES || total < header || total > left) {
		return -EBADMSG;
	}
	h->ip_version = 4;
	h->protocol = l3[9];
	h->is_fragment = (bytes_be16(l3 + 6) & ~IPV4_FRAG_DONT) != 0;
	h->l4_offset = (uint16_t)(h->l3_offset + header);
	h->end = h->l3_offset + total;
	return 0;
}

static int parse_ipv6(const uint8_t *frame, uint32_t bytes, bool any_length, struct net_headers *h)
{
	const uint8_t *l3 = frame + h->l3_offset;
	uint32_t left = bytes - h->l3_offset, total, at = IPV6_BYTES;
	uint8_t next;

	if (left < IPV6_BYTES || l3[0] >> 4 != 6) {
		return -EBADMSG;
	}
	total = any_length ? left : IPV6_BYTES + (uint32_t)bytes_be16(l3 + 4);
	if (total > left) {
		return -EBADMSG;
	}
	next = l3[6];
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		bool is_extension = next == 0 || next == 43 || next == 60;

		if (next == 44) {
			h->is_fragment = true;
		}
		if (!is_extension || total - at < 8) {
			break;
		}
		uint32_t extension = 8 + l3[at + 1] * 8U;

		if (extension > total - at) {
			return -EBADMSG;
		}
		next = l3[at];
		at += extension;
	}
	h->ip_version = 6;
	h->protocol = next;
	h->l4_offset = (uint16_t)(h->l3_offset + at);
	h->end = h->l3_offset + total;
	return 0;
}

int net_headers_parse(const uint8_t *frame, uint32_t bytes, bool any_length,
		      struct net_headers *ret)
{
	struct net_headers h = { .l3_offset = NET_HEADER_BYTES };
	int err;

	if (bytes < NET_HEADER_BYTES || bytes > NET_FRAME_BYTES_MAX) {
		return -EBADMSG;
	}
	switch (bytes_be16(frame + 12)) {
	case TYPE_IPV4:
		err = parse_ipv4(frame, bytes, any_length, &h);
		break;
	case TYPE_IPV6:
		err = parse_ipv6(frame, bytes, any_length, &h);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!err) {
		*ret = h;
	}
	return err;
}

/* Whether a whole TCP or UDP header is there, and of which length. */
static bool has_l4(const uint8_t *frame, const struct net_headers *h, uint32_t *ret_bytes)
{
	uint32_t left = h->end - h->l4_offset;

	if (h->is_fragment) {
		return false;
	}
	if (h->protocol == NET_IP_UDP && left >= UDP_BYTES) {
		*ret_bytes = UDP_BYTES;
		return true;
	}
	if (h->protocol == NET_IP_TCP && left >= TCP_BYTES) {
		*ret_bytes = (frame[h->l4_offset + 12] >> 4) * 4U;
		return *ret_bytes >= TCP_BYTES && *ret_bytes <= left;
	}
	return false;
}

static void l4_checksum(uint8_t *frame, const struct net_headers *h)
{
	uint8_t *field = frame + h->l4_offset + (h->protocol == NET_IP_TCP ? 16 : 6);
	uint16_t sum;

	memset(field, 0, 2);
	sum = net_sum_fold(pseudo_sum(frame + h->l3_offset, h) +
			   net_sum(frame + h->l4_offset, h->end - h->l4_offset));
	if (h->protocol == NET_IP_UDP && sum == 0) {
		sum = 0xffff;
	}
	memcpy(field, &sum, 2);
}

int net_offload_finish(uint8_t *frame, uint32_t bytes, uint16_t flags)
{
	const uint16_t todo = NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM | NET_FRAME_LSO;
	bool lso = (flags & NET_FRAME_LSO) != 0;
	struct net_headers h;
	uint32_t l4_bytes;
	uint8_t *l3;

	if (!(flags & todo)) {
		return 0;
	}
	if (net_headers_parse(frame, bytes, lso, &h)) {
		return -EBADMSG;
	}
	l3 = frame + h.l3_offset;
	if (lso) {
		uint32_t length = h.end - h.l3_offset - (h.ip_version == 6 ? IPV6_BYTES : 0);

		if (length > UINT16_MAX || h.protocol != NET_IP_TCP) {
			return -EBADMSG;
		}
		bytes_put_be16(l3 + (h.ip_version == 4 ? 2 : 4), (uint16_t)length);
	}
	if (h.ip_version == 4 && (flags & (NET_FRAME_IP_CHECKSUM | NET_FRAME_LSO))) {
		ipv4_checksum(l3, (uint32_t)h.l4_offset - h.l3_offset);
	}
	if (flags & (NET_FRAME_L4_CHECKSUM | NET_FRAME_LSO)) {
		if (!has_l4(frame, &h, &l4_bytes)) {
			return -EBADMSG;
		}
		l4_checksum(frame, &h);
	}
	return 0;
}

/* ---- the segment size ---- */

/* Where the value of the MSS option is; 0 when there is none. */
static uint32_t find_mss(const uint8_t *tcp, uint32_t tcp_bytes)
{
	uint32_t at = TCP_BYTES;

	while (at < tcp_bytes && tcp[at] != 0) {
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		if (tcp_bytes - at < 2 || tcp[at + 1] < 2 || tcp[at + 1] > tcp_bytes - at) {
			return 0;
		}
		if (tcp[at] == 2 && tcp[at + 1] == 4) {
			return at + 2;
		}
		at += tcp[at + 1];
	}
	return 0;
}

bool net_raise_mss(uint8_t *frame, uint32_t bytes, uint32_t max)
{
	struct net_headers h;
	uint32_t tcp_bytes, at, mss;
	uint8_t *tcp;

	if (net_headers_parse(frame, bytes, false, &h) || h.protocol != NET_IP_TCP ||
	    !has_l4(frame, &h, &tcp_bytes)) {
		return false;
	}
	tcp = frame + h.l4_offset;
	if (!(tcp[13] & TCP_SYN)) {
		return false;
	}
	at = find_mss(tcp, tcp_bytes);
	if (!at) {
		return false;
	}
	mss = bytes_be16(tcp + at);
	if (mss == 0 || max / mss < 2) {
		return false;
	}
	bytes_put_be16(tcp + at, (uint16_t)num_min(mss * (max / mss), UINT16_MAX));
	/* Options may lie at odd offsets; a SYN is short: sum it again. */
	l4_checksum(frame, &h);
	return true;
}

/* ---- cutting ---- */

int net_cut_tcp(const uint8_t *frame, uint32_t bytes, uint32_t mss, net_piece_fn *fn, void *ctx)
{
	uint8_t head[HEADERS_MAX];
	struct net_headers h;
	uint32_t tcp_bytes, head_bytes, seq, at;
	uint16_t id;
	uint8_t flags;

	if (net_headers_parse(frame, bytes, false, &h) || h.protocol != NET_IP_TCP || mss == 0 ||
	    !has_l4(frame, &h, &tcp_bytes)) {
		return -EBADMSG;
	}
	head_bytes = h.l4_offset + tcp_bytes;
	if (head_bytes > sizeof(head)) {
		return -EBADMSG;
	}
	memcpy(head, frame, head_bytes);
	seq = bytes_be32(head + h.l4_offset + 4);
	flags = head[h.l4_offset + 13];
	id = bytes_be16(head + h.l3_offset + 4);
	at = head_bytes;
	do {
		uint32_t piece = (uint32_t)num_min(mss, h.end - at);
		bool is_last = at + piece == h.end;
		struct net_headers ph = h;
		uint8_t *l3 = head + h.l3_offset, *tcp = head + h.l4_offset;
		struct iovec iov[2] = { { head, head_bytes }, { (uint8_t *)frame + at, piece } };
		uint16_t sum;

		ph.end = head_bytes + piece;
		if (h.ip_version == 4) {
			bytes_put_be16(l3 + 2, (uint16_t)(ph.end - h.l3_offset));
			bytes_put_be16(l3 + 4, id++);
			ipv4_checksum(l3, (uint32_t)h.l4_offset - h.l3_offset);
		} else {
			bytes_put_be16(l3 + 4, (uint16_t)(ph.end - h.l3_offset - IPV6_BYTES));
		}
		bytes_put_be32(tcp + 4, seq);
		tcp[13] = is_last ? flags : flags & (uint8_t) ~(TCP_FIN | TCP_PSH);
		memset(tcp + 16, 0, 2);
		/* The TCP header is a multiple of 4, so the payload starts on an even offset. */
		sum = net_sum_fold(pseudo_sum(l3, &ph) + net_sum(tcp, tcp_bytes) +
				   net_sum(frame + at, piece));
		memcpy(tcp + 16, &sum, 2);
		fn(ctx, iov, piece ? 2 : 1, ph.end);
		at += piece;
		seq += piece;
	} while (at < h.end);
	return 0;
}

static int cut_ipv4(const uint8_t *frame, const struct net_headers *h, uint32_t mtu,
		    net_piece_fn *fn, void *ctx)
{
	uint8_t head[HEADERS_MAX];
	uint32_t ip_bytes = (uint32_t)h->l4_offset - h->l3_offset;
	uint16_t fragment = bytes_be16(frame + h->l3_offset + 6);
	uint32_t step;

	if (fragment & IPV4_FRAG_DONT || mtu < ip_bytes + 8) {
		return -EMSGSIZE;
	}
	step = (mtu - ip_bytes) & ~7U;
	memcpy(head, frame, h->l4_offset);
	for (uint32_t at = h->l4_offset; at < h->end; at += step) {
		uint32_t piece = (uint32_t)num_min(step, h->end - at);
		bool is_last = at + piece == h->end;
		uint32_t offset = (fragment & 0x1fffU) + (at - h->l4_offset) / 8;
		struct iovec iov[2] = { { head, h->l4_offset }, { (uint8_t *)frame + at, piece } };

		bytes_put_be16(head + h->l3_offset + 2, (uint16_t)(ip_bytes + piece));
		bytes_put_be16(head + h->l3_offset + 6,
			       (uint16_t)((offset & 0x1fff) |
					  (is_last ? fragment & IPV4_FRAG_MORE : IPV4_FRAG_MORE)));
		ipv4_checksum(head + h->l3_offset, ip_bytes);
		fn(ctx, iov, 2, h->l4_offset + piece);
	}
	return 0;
}

static int cut_ipv6(const uint8_t *frame, const struct net_headers *h, uint32_t mtu, uint32_t id,
		    net_piece_fn *fn, void *ctx)
{
	/* Cut right behind the fixed header; what extensions there are go with the first piece. */
	const uint32_t fixed = NET_HEADER_BYTES + IPV6_BYTES;
	uint8_t head[NET_HEADER_BYTES + IPV6_BYTES + IPV6_FRAG_BYTES];
	uint8_t *fragment = head + fixed;
	uint32_t step;

	if (h->is_fragment || mtu < IPV6_BYTES + IPV6_FRAG_BYTES + 8) {
		return -EMSGSIZE;
	}
	step = (mtu - IPV6_BYTES - IPV6_FRAG_BYTES) & ~7U;
	memcpy(head, frame, fixed);
	fragment[0] = head[NET_HEADER_BYTES + 6];
	fragment[1] = 0;
	bytes_put_be32(fragment + 4, id);
	head[NET_HEADER_BYTES + 6] = 44;
	for (uint32_t at = fixed; at < h->end; at += step) {
		uint32_t piece = (uint32_t)num_min(step, h->end - at);
		bool is_last = at + piece == h->end;
		struct iovec iov[2] = { { head, sizeof(head) }, { (uint8_t *)frame + at, piece } };

		bytes_put_be16(head + NET_HEADER_BYTES + 4, (uint16_t)(IPV6_FRAG_BYTES + piece));
		bytes_put_be16(fragment + 2, (uint16_t)((at - fixed) | (is_last ? 0 : 1)));
		fn(ctx, iov, 2, (uint32_t)sizeof(head) + piece);
	}
	return 0;
}

int net_cut_ip(const uint8_t *frame, uint32_t bytes, uint32_t mtu, uint32_t id, net_piece_fn *fn,
	       void *ctx)
{
	struct net_headers h;

	if (net_headers_parse(frame, bytes, false, &h)) {
		return -EBADMSG;
	}
	return h.ip_version == 4 ? cut_ipv4(frame, &h, mtu, fn, ctx)
				 : cut_ipv6(frame, &h, mtu, id, fn, ctx);
}
