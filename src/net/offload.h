/* SPDX-License-Identifier: MIT */
/*
 * What a network card would do to a frame: checksums, cutting large TCP segments, fragmenting; and
 * one thing that it would not: raising the segment size that a guest asks for, so that its peer (a
 * back end of ours) hands over segments in large pieces.
 *
 * Frames here lie in one piece in memory of our own, but where iovecs are taken. They are hostile all
 * the same.
 *
 *   thread  any; pure functions
 *   spec    RFC 791, 793, 768, 8200, 1624
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "net/net.h"
#include "net/sum.h"

/* Where things are in a frame; offsets from its start. */
struct net_headers {
	uint8_t ip_version; /* 4 or 6 */
	uint8_t protocol;   /* IP's number of what follows the IP header */
	bool is_fragment;   /* a piece of a datagram: no use looking behind the IP header */
	uint16_t l3_offset;
	uint16_t l4_offset;
	uint32_t end; /* of the datagram; what lies behind it in the frame is padding */
};

#define NET_IP_TCP 6
#define NET_IP_UDP 17

/*
 * 0; -EOPNOTSUPP: not IP; -EBADMSG: headers that do not fit the frame. any_length: the IP header's
 * length is not there yet, the datagram ends with the frame.
 */
MUST_CHECK int net_headers_parse(const uint8_t *frame, uint32_t bytes, bool any_length,
				 struct net_headers *ret);

/* The sum of TCP's, UDP's or ICMPv6's pseudo header: ip points at the IP header, l4_bytes follow it. */
uint64_t net_pseudo_sum(const uint8_t *ip, uint8_t ip_version, uint8_t protocol, uint32_t l4_bytes);
/* The same, folded, as TCP's or UDP's field holds it until somebody makes the checksum. */
uint16_t net_pseudo_field(const uint8_t *ip, const struct net_headers *h);
/* enum net_l4 of a whole datagram: NET_L4_NONE for others, and for fragments. */
uint8_t net_headers_l4(const struct net_headers *h);
/* Makes the checksum of an IPv4 header. */
void net_ipv4_checksum(uint8_t *ip, uint32_t header_bytes);

/*
 * Does what frame->flags say has not been done: checksums, and the lengths of an LSO frame, which
 * stays whole. 0 or -EBADMSG: nothing in the frame fits the flags.
 */
MUST_CHECK int net_offload_finish(uint8_t *frame, uint32_t bytes, uint16_t flags);

/*
 * In a SYN, raises the MSS option from m to the largest multiple of m that does not exceed max, and
 * mends the checksum (which must be there). Frames that are no SYN stay as they are. Whether it
 * did something.
 */
bool net_raise_mss(uint8_t *frame, uint32_t bytes, uint32_t max);

/* Receives one frame: headers made anew and a piece of the payload. */
typedef void net_piece_fn(void *ctx, const struct iovec *iov, int count, uint32_t bytes);

/* Cuts a TCP frame into frames of mss payload bytes, with all checksums. 0 or -EBADMSG. */
MUST_CHECK int net_cut_tcp(const uint8_t *frame, uint32_t bytes, uint32_t mss, net_piece_fn *fn,
			   void *ctx);

/*
 * The same of a frame in up to NET_PIECES_MAX pieces, whose headers are read once, and whose payload is
 * not: TCP's checksums are as NET_FRAME_L4_PARTIAL says, for the piece as a whole.
 */
MUST_CHECK int net_cut_tcp_iov(const struct iovec *iov, int count, uint32_t bytes, uint32_t mss,
			       net_piece_fn *fn, void *ctx);

/*
 * Fragments an IPv4 or IPv6 datagram to the MTU. id: of the IPv6 fragments. 0; -EBADMSG; -EMSGSIZE:
 * IPv4 that forbids it, or is a fragment of IPv6 already.
 */
MUST_CHECK int net_cut_ip(const uint8_t *frame, uint32_t bytes, uint32_t mtu, uint32_t id,
			  net_piece_fn *fn, void *ctx);
