/* SPDX-License-Identifier: MIT */
/*
 * NetVSP, between its files.
 *
 *   netvsp.c          life, NVSP requests, answers
 *   netvsp_buffers.c  the guest's two buffers; pieces of the receive buffer
 *   netvsp_tx.c       frames from the guest
 *   netvsp_rx.c       frames and control messages to the guest
 *   netvsp_control.c  RNDIS requests
 *   netvsp_oid.c      what OIDs mean
 *   netvsp_state.c    saved state
 *
 * Invariants:
 *   I1  A piece is on the free stack, in the batch that is being made, or in a transaction that the
 *       guest has not completed; never in two of these.
 *   I2  answer.length != 0: an answer found no room in the ring; until it has gone nothing is read.
 *   I3  Data never takes the last NETVSP_CONTROL_PIECES pieces: control always gets through.
 */
#pragma once

#include "base/log.h"
#include "net/net.h"
#include "vmbus/device.h"
#include "vsp/net/netvsp.h"
#include "vsp/net/nvsp_parse.h"
#include "vsp/net/rndis_parse.h"

/* Limits on what a guest can make us hold. */
#define NETVSP_BUFFER_BYTES_MAX  (32U << 20)
#define NETVSP_PIECES_MIN        16U
#define NETVSP_PIECE_BYTES_MIN   2048U /* an answer of RNDIS_REPLY_BYTES_MAX fits */
#define NETVSP_CONTROL_PIECES    4U
#define NETVSP_MULTICAST_MAX     32U
#define NETVSP_CONTROL_QUEUE     8U
#define NETVSP_BATCH_RANGES      64U /* in one transfer-pages packet */
#define NETVSP_TX_RANGES         64  /* GPA ranges in one packet from the guest */
#define NETVSP_TX_MESSAGES_MAX   64U /* RNDIS messages in one packet; we say 8 */
#define NETVSP_PACKET_BYTES_MAX  16384U

/*
 * The piece of the receive buffer that a frame gets. A Linux guest takes a message only if it fits
 * one piece, and keeps 64 copies of one; 8 KiB make 2048 of them in Linux's 16 MiB, and a coalesced
 * frame of 32 KiB needs four.
 */
#define NETVSP_PIECE_BYTES       8192U
#define NETVSP_PIECE_BYTES_SMALL 2048U /* where the buffer is below 4 MiB */
#define NETVSP_SECTION_BYTES     6144U /* of the send buffer, as Hyper-V does */

/* What a frame of the MTU takes in a piece beyond it: its header, a tag, RNDIS. */
#define NETVSP_FRAME_OVERHEAD    (NET_HEADER_BYTES + 4U + RNDIS_RECEIVE_HEAD_MAX)

/* A coalesced frame: IP's 64 KiB. */
#define NETVSP_COALESCED_MAX     (65535U + NET_HEADER_BYTES)

enum netvsp_piece_state { PIECE_FREE, PIECE_HEAD, PIECE_TAIL };

/* A buffer of the guest's, as our pointers to its pages. */
struct netvsp_buffer {
	struct gpadl *gpadl; /* NULL: none; we hold a reference */
	uint32_t gpadl_id;
	uint16_t id;
	uint32_t bytes;
	uint8_t **pages;
};

struct netvsp_recv {
	struct netvsp_buffer buffer;
	uint32_t piece_bytes, pieces;
	uint32_t *free; /* a stack: the piece last given back is the warmest */
	uint32_t free_count;
	uint32_t *next; /* the pieces of a transaction; own index: the last */
	uint8_t *state; /* enum netvsp_piece_state */
};

struct netvsp_send_buffer {
	struct netvsp_buffer buffer;
	uint32_t sections;
};

/* A transfer-pages packet in the making. */
struct netvsp_batch {
	uint32_t head, tail; /* pieces; valid when ranges > 0 */
	uint32_t ranges;
	struct vmbus_transfer_pages_header header;
	struct vmbus_transfer_page_range range[NETVSP_BATCH_RANGES];
};

struct netvsp_reply {
	uint32_t bytes;
	uint8_t message[RNDIS_REPLY_BYTES_MAX];
};

struct netvsp_offloads {
	/* NDIS_PARAM_*, as the guest has set them; all on by default but RSC */
	uint8_t ip4, tcp4, udp4, tcp6, udp6, lso4, lso6, rsc4, rsc6;
};

struct netvsp {
	struct vmbus_device device;
	struct net_front front;
	struct net *net;
	char name[NETVSP_NAME_BYTES_MAX + 1];
	uint8_t permanent_mac[NET_MAC_BYTES];
	bool no_rsc;
	bool link_wanted; /* the user's half of the link */
	bool paused;

	/* an open channel's */
	struct vmbus_channel *channel;      /* NULL: closed */
	const struct nvsp_dialect *dialect; /* NULL: before INIT */
	uint32_t ndis_major, ndis_minor;
	uint32_t capabilities; /* NVSP_CAP_*, the guest's */
	uint32_t mtu;
	struct netvsp_recv recv;
	struct netvsp_send_buffer send;
	struct {
		uint64_t transaction_id;
		struct nvsp_message message;
		bool pending; /* I2 */
	} answer;

	/* RNDIS */
	bool operational;
	bool link_told; /* what the guest believes */
	uint8_t mac[NET_MAC_BYTES];
	uint32_t filter; /* NDIS_FILTER_* */
	uint32_t multicast_count;
	uint8_t multicast[NETVSP_MULTICAST_MAX][NET_MAC_BYTES];
	uint32_t lookahead;
	struct netvsp_offloads offloads;
	uint32_t replies_first, replies_count; /* a ring of those that found no room */
	struct netvsp_reply replies[NETVSP_CONTROL_QUEUE];

	/* transmit */
	uint32_t
		tx_done; /* bytes of the packet at hand that were sent before the back end was full */
	struct iovec tx_iov[NET_IOV_MAX];    /* all of a packet's messages */
	struct iovec frame_iov[NET_IOV_MAX]; /* one frame of them */
	struct gpa_range tx_ranges[NETVSP_TX_RANGES];
	uint8_t control[RNDIS_CONTROL_BYTES_MAX];

	/* receive */
	struct netvsp_batch batch;
	bool rx_ring_full;  /* the batch waits for writable() */
	uint32_t rx_wanted; /* pieces that a frame waits for; 0: none does */

	struct {
		uint64_t tx_frames, tx_bytes, tx_large, tx_packets, tx_refused, tx_waits;
		uint64_t rx_frames, rx_bytes, rx_large, rx_packets, rx_filtered, rx_lost, rx_waits;
		uint64_t control, control_lost, unknown_oids, bad_completions;
	} counters;
};

static inline bool netvsp_link(const struct netvsp *nic)
{
	return nic->link_wanted && net_link_is_up(nic->net);
}

/* ---- netvsp.c ---- */

/* After anything that the back end should know has changed. */
void netvsp_tell_net(struct netvsp *nic);
/* Whether coalesced frames may be given to the guest. */
bool netvsp_has_rsc(const struct netvsp *nic);
void netvsp_tell_link(struct netvsp *nic);
/* All that was said on a channel, and the channel. */
void netvsp_forget(struct netvsp *nic);

/* ---- netvsp_buffers.c ---- */

/* Both: 0 or a negative errno, and then there is no buffer. piece_bytes: 0 to choose them. */
MUST_CHECK int netvsp_recv_open(struct netvsp *nic, uint32_t gpadl_id, uint16_t id,
				uint32_t piece_bytes);
void netvsp_recv_close(struct netvsp *nic);
MUST_CHECK int netvsp_send_open(struct netvsp *nic, uint32_t gpadl_id, uint16_t id);
void netvsp_send_close(struct netvsp *nic);

/* I1: a free piece, made a transaction of its own; there must be one. */
uint32_t netvsp_piece_take(struct netvsp_recv *recv);
/* Adds piece to the transaction that ends with tail. */
void netvsp_piece_chain(struct netvsp_recv *recv, uint32_t tail, uint32_t piece);
/* All pieces of a transaction; -EBADMSG when that is none. */
MUST_CHECK int netvsp_pieces_release(struct netvsp_recv *recv, uint64_t head);

/* The range lies in the buffer. */
void netvsp_buffer_write(const struct netvsp_buffer *buffer, uint32_t offset, const void *src,
			 uint32_t bytes);
/* The number of iovecs, or -E2BIG. */
MUST_CHECK int netvsp_buffer_iovec(const struct netvsp_buffer *buffer, uint32_t offset,
				   uint32_t bytes, struct iovec *iov, int max);

/* ---- netvsp_tx.c ---- */

/*
 * The RNDIS messages of a packet. 0; -EAGAIN: the back end is full, call again with the same
 * packet; -EBADMSG. *ret_status: NVSP_STATUS_* for the completion.
 */
MUST_CHECK int netvsp_tx(struct netvsp *nic, const struct vmbus_packet *packet,
			 const struct nvsp_request *request, uint32_t *ret_status);

/* ---- netvsp_rx.c ---- */

extern const struct net_front_ops netvsp_front_ops;

/* Sends the batch. 0, or -EAGAIN: no room in the ring, writable() follows. */
int netvsp_rx_flush(struct netvsp *nic);
/* The guest has completed a transaction. */
MUST_CHECK int netvsp_rx_complete(struct netvsp *nic, uint64_t transaction_id);
/* There is room in the ring again. */
void netvsp_rx_writable(struct netvsp *nic);
/* An RNDIS control message to the guest, now or when there is room. */
void netvsp_reply(struct netvsp *nic, const uint8_t *message, uint32_t bytes);
/* Forgets the batch and the replies. */
void netvsp_rx_drop(struct netvsp *nic);

/* ---- netvsp_control.c, netvsp_oid.c ---- */

/* One message in our own memory. 0 or -EBADMSG. */
MUST_CHECK int netvsp_control(struct netvsp *nic, const uint8_t *message, uint32_t bytes);
void netvsp_rndis_reset(struct netvsp *nic);

/* RNDIS_STATUS_*; info has room for RNDIS_INFO_BYTES_MAX. */
uint32_t netvsp_oid_query(struct netvsp *nic, uint32_t oid, uint8_t *info, uint32_t *ret_bytes);
uint32_t netvsp_oid_set(struct netvsp *nic, uint32_t oid, const uint8_t *info, uint32_t bytes);

/* ---- netvsp_state.c ---- */

void netvsp_save(struct vmbus_device *device, struct save *save);
int netvsp_load(struct vmbus_device *device, struct load *load);
