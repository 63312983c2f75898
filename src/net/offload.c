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

uint64_t net_pseudo_sum(const uint8_t *ip, uint8_t ip_version, uint8_t protocol, uint32_t l4_bytes)
{
	uint64_t sum = ip_version == 4 ? net_sum(ip + 12, 8) : net_sum(ip + 8, 32);

	return sum + __builtin_bswap16((uint16_t)(l4_bytes >> 16)) +
	       __builtin_bswap16((uint16_t)l4_bytes) + __builtin_bswap16(protocol);
}

void net_ipv4_checksum(uint8_t *ip, uint32_t header_bytes)
{
	uint16_t sum;

	memset(ip + 10, 0, 2);
	sum = net_sum_fold(net_sum(ip, header_bytes));
	memcpy(ip + 10, &sum, 2);
}

/* Of a frame's TCP or UDP. */
static uint64_t pseudo_sum(const uint8_t *l3, const struct net_headers *h)
{
	return net_pseudo_sum(l3, h->ip_version, h->protocol, h->end - h->l4_offset);
}

uint16_t net_pseudo_field(const uint8_t *ip, const struct net_headers *h)
{
	return (uint16_t)~net_sum_fold(pseudo_sum(ip, h));
}

uint8_t net_headers_l4(const struct net_headers *h)
{
	if (h->is_fragment) {
		return NET_L4_NONE;
	}
	return h->protocol == NET_IP_TCP   ? NET_L4_TCP
	       : h->protocol == NET_IP_UDP ? NET_L4_UDP
					   : NET_L4_NONE;
}

/* ---- headers ---- */

static int parse_ipv4(const uint8_t *frame, uint32_t readable, uint32_t bytes, bool any_length,
		      struct net_headers *h)
{
	const uint8_t *l3 = frame + h->l3_offset;
	uint32_t left = bytes - h->l3_offset, header, total;

	if (left < IPV4_BYTES || h->l3_offset + (uint32_t)IPV4_BYTES > readable ||
	    l3[0] >> 4 != 4) {
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

static int parse_ipv6(const uint8_t *frame, uint32_t readable, uint32_t bytes, bool any_length,
		      struct net_headers *h)
{
	const uint8_t *l3 = frame + h->l3_offset;
	uint32_t left = bytes - h->l3_offset, total, at = IPV6_BYTES;
	uint8_t next;

	if (left < IPV6_BYTES || h->l3_offset + (uint32_t)IPV6_BYTES > readable ||
	    l3[0] >> 4 != 6) {
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
		if (h->l3_offset + at + 8 > readable) {
			return -EBADMSG;
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

/* Of the frame's bytes the first `readable` can be looked at. */
static int parse_headers(const uint8_t *frame, uint32_t readable, uint32_t bytes, bool any_length,
			 struct net_headers *ret)
{
	struct net_headers h = { .l3_offset = NET_HEADER_BYTES };
	int err;

	if (readable < NET_HEADER_BYTES || bytes > NET_FRAME_BYTES_MAX) {
		return -EBADMSG;
	}
	switch (bytes_be16(frame + 12)) {
	case TYPE_IPV4:
		err = parse_ipv4(frame, readable, bytes, any_length, &h);
		break;
	case TYPE_IPV6:
		err = parse_ipv6(frame, readable, bytes, any_length, &h);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!err) {
		*ret = h;
	}
	return err;
}

int net_headers_parse(const uint8_t *frame, uint32_t bytes, bool any_length,
		      struct net_headers *ret)
{
	return parse_headers(frame, bytes, bytes, any_length, ret);
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
	sum = net_sum_fold_l4(pseudo_sum(frame + h->l3_offset, h) +
				      net_sum(frame + h->l4_offset, h->end - h->l4_offset),
			      h->protocol == NET_IP_UDP);
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
		net_ipv4_checksum(l3, (uint32_t)h.l4_offset - h.l3_offset);
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

/* A frame that is cut: its headers, made anew for each piece, and where its payload is. */
struct tcp_cut {
	uint8_t head[HEADERS_MAX];
	struct net_headers h;
	uint32_t tcp_bytes, head_bytes;
	bool is_partial;                      /* the rest of the checksum is left to who copies */
	struct iovec iov[NET_PIECES_MAX + 1]; /* head, and slices of the payload */
};

/* iov[1] and on become the payload from `offset` of the frame. Their count. */
static int slice(const struct iovec *iov, int count, uint32_t offset, uint32_t bytes,
		 struct iovec *ret)
{
	int slices = 0;

	for (int i = 0; i < count && bytes; i++) {
		uint32_t run;

		if (offset >= iov[i].iov_len) {
			offset -= (uint32_t)iov[i].iov_len;
			continue;
		}
		run = (uint32_t)num_min(iov[i].iov_len - offset, bytes);
		ret[slices++] = (struct iovec){ (uint8_t *)iov[i].iov_base + offset, run };
		bytes -= run;
		offset = 0;
	}
	return slices;
}

/* Lengths, id, sequence and checksums of the piece whose payload the slices are. */
static void mend_head(struct tcp_cut *cut, uint32_t piece, uint16_t id, uint32_t seq, uint8_t flags,
		      int slices)
{
	struct net_headers ph = cut->h;
	uint8_t *l3 = cut->head + ph.l3_offset, *tcp = cut->head + ph.l4_offset;
	uint16_t sum;

	ph.end = cut->head_bytes + piece;
	if (ph.ip_version == 4) {
		bytes_put_be16(l3 + 2, (uint16_t)(ph.end - ph.l3_offset));
		bytes_put_be16(l3 + 4, id);
		net_ipv4_checksum(l3, (uint32_t)ph.l4_offset - ph.l3_offset);
	} else {
		bytes_put_be16(l3 + 4, (uint16_t)(ph.end - ph.l3_offset - IPV6_BYTES));
	}
	bytes_put_be32(tcp + 4, seq);
	tcp[13] = flags;
	if (cut->is_partial) {
		sum = net_pseudo_field(l3, &ph);
	} else {
		memset(tcp + 16, 0, 2);
		/* The TCP header is a multiple of 4, so the payload starts on an even offset. */
		sum = net_sum_fold(pseudo_sum(l3, &ph) + net_sum(tcp, cut->tcp_bytes) +
				   net_sum_iov(cut->iov + 1, slices, 0, piece));
	}
	memcpy(tcp + 16, &sum, 2);
}

static int read_head(const struct iovec *iov, int count, uint32_t bytes, struct tcp_cut *cut)
{
	uint32_t readable = (uint32_t)num_min(bytes, sizeof(cut->head)), have = 0;

	for (int i = 0; i < count && have < readable; i++) {
		uint32_t run = (uint32_t)num_min(iov[i].iov_len, readable - have);

		memcpy(cut->head + have, iov[i].iov_base, run);
		have += run;
	}
	if (have < readable || parse_headers(cut->head, readable, bytes, false, &cut->h) ||
	    cut->h.protocol != NET_IP_TCP || cut->h.l4_offset + (uint32_t)TCP_BYTES > readable ||
	    !has_l4(cut->head, &cut->h, &cut->tcp_bytes)) {
		return -EBADMSG;
	}
	cut->head_bytes = cut->h.l4_offset + cut->tcp_bytes;
	return cut->head_bytes <= readable ? 0 : -EBADMSG;
}

static int cut_tcp(const struct iovec *iov, int count, uint32_t bytes, uint32_t mss,
		   bool is_partial, net_piece_fn *fn, void *ctx)
{
	struct tcp_cut cut;
	uint32_t seq, at;
	uint16_t id;
	uint8_t flags;

	if (mss == 0 || count > NET_PIECES_MAX || read_head(iov, count, bytes, &cut)) {
		return -EBADMSG;
	}
	cut.is_partial = is_partial;
	seq = bytes_be32(cut.head + cut.h.l4_offset + 4);
	flags = cut.head[cut.h.l4_offset + 13];
	id = bytes_be16(cut.head + cut.h.l3_offset + 4);
	cut.iov[0] = (struct iovec){ cut.head, cut.head_bytes };
	at = cut.head_bytes;
	do {
		uint32_t piece = (uint32_t)num_min(mss, cut.h.end - at);
		bool is_last = at + piece == cut.h.end;
		int slices = slice(iov, count, at, piece, cut.iov + 1);

		mend_head(&cut, piece, id++, seq,
			  is_last ? flags : flags & (uint8_t) ~(TCP_FIN | TCP_PSH), slices);
		fn(ctx, cut.iov, 1 + slices, cut.head_bytes + piece);
		at += piece;
		seq += piece;
	} while (at < cut.h.end);
	return 0;
}

int net_cut_tcp(const uint8_t *frame, uint32_t bytes, uint32_t mss, net_piece_fn *fn, void *ctx)
{
	struct iovec iov = { (uint8_t *)frame, bytes };

	return cut_tcp(&iov, 1, bytes, mss, false, fn, ctx);
}

int net_cut_tcp_iov(const struct iovec *iov, int count, uint32_t bytes, uint32_t mss,
		    net_piece_fn *fn, void *ctx)
{
	return cut_tcp(iov, count, bytes, mss, true, fn, ctx);
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
		net_ipv4_checksum(head + h->l3_offset, ip_bytes);
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
