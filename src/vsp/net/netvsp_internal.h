/* SPDX-License-Identifier: MIT */
/*
 * NetVSP, between its files.
 *
 *   netvsp.c          life, NVSP requests, answers
 *   netvsp_queue.c    queues: channels that open and close, views
 *   netvsp_inspect.c  counters and state, for people
 *   netvsp_buffers.c  the guest's two buffers; pieces of the receive buffer
 *   netvsp_tx.c       frames from the guest
 *   netvsp_rx.c       frames and control messages to the guest
 *   netvsp_control.c  RNDIS requests
 *   netvsp_oid.c      what OIDs mean
 *   netvsp_rss.c      OID_GEN_RSS_PARAMETERS
 *   netvsp_state.c    saved state
 *   netvsp_log.c      the journal's log of pieces
 *
 * A queue is a channel, a loop, an end of the back end and a share of the receive buffer's pieces. What
 * the guest has negotiated is the primary's loop's alone (struct netvsp); the queues go by a view of it,
 * which does not change while they have it:
 *
 *                  netvsp_publish()          each queue, on its loop           the primary's loop
 *   settled ─────────────────────► publishing ── adopt, acknowledge ──► (the last) ──► settled
 *                                     │ ▲  a change meanwhile: published again │
 *                                     └─┴──────────────────────────────────────┘
 *
 * Until it is settled, answers wait, and no further request is read: an answer says that all queues
 * have heard.
 *
 * Invariants:
 *   I1  A piece is on its queue's free stack, in the batch that is being made, in a transaction
 *       that the guest has not completed, granted to a lane, or waits for the commit of its completion
 *       (returning); never in two of these. It belongs to one queue (owner[]), whose loop alone touches it, from
 *       SUBCHANNEL to the buffer's end.
 *   I2  A packet is read only when its answer will find room in the ring, and what else is to be said
 *       in its course is said after it. answer.pending: a saved state had an answer that found none;
 *       until it has gone nothing is read.
 *   I3  Data never takes the primary's last NETVSP_CONTROL_PIECES pieces: control always gets through.
 *   I4  There are two views: the one that is published, and one that nobody has when it is settled.
 *   I5  A buffer's tables are freed when all queues have acknowledged a view without them.
 *   I6  is_held: from restored() on a journaled channel to unpaused() nobody but load() and recover(),
 *       on the primary's loop, touches the queue, and nothing is said on its channel.
 */
#pragma once

#include <string.h>

#include "base/counter.h"
#include "base/log.h"
#include "net/net.h"
#include "net/sum.h"
#include "vmbus/device.h"
#include "vsp/net/netvsp.h"
#include "vsp/net/netvsp_log.h"
#include "vsp/net/netvsp_rss.h"
#include "vsp/net/nvsp_parse.h"
#include "vsp/net/rndis_parse.h"

/* Limits on what a guest can make us hold. */
#define NETVSP_BUFFER_BYTES_MAX  (32U << 20)
#define NETVSP_PIECES_MIN        16U
#define NETVSP_PIECE_BYTES_MIN   2048U /* an answer of RNDIS_REPLY_BYTES_MAX fits */
#define NETVSP_CONTROL_PIECES    4U
#define NETVSP_MULTICAST_MAX     32U
#define NETVSP_CONTROL_QUEUE     8U
#define NETVSP_BATCH_RANGES      NVSP_TRANSFER_RANGES_MAX /* in one transfer-pages packet */
#define NETVSP_BATCH_RANGES_OLD  64U                      /* below NDIS 6 */
#define NETVSP_TX_RANGES         64  /* GPA ranges in one packet from the guest */
#define NETVSP_TX_MESSAGES_MAX   64U /* RNDIS messages in one packet; we say 8 */
#define NETVSP_PACKET_BYTES_MAX  16384U

/*
 * The iovecs of a packet's frames: each has one of the back end's before it (net_send_many()), and where
 * it ends one of the packet's may be cut in two.
 */
#define NETVSP_TX_IOVECS         (NET_IOV_MAX + 2 * NETVSP_TX_MESSAGES_MAX)

/*
 * The piece of the receive buffer that a frame gets. A Linux guest takes a message only if it fits
 * one piece, and keeps 64 copies of one; 8 KiB make 2048 of them in Linux's 16 MiB, and a coalesced
 * frame of 32 KiB needs four.
 */
#define NETVSP_PIECE_BYTES       8192U
#define NETVSP_PIECE_BYTES_SMALL 2048U /* where the buffer is below 4 MiB */
#define NETVSP_SECTION_BYTES     6144U /* of the send buffer, as Hyper-V does */

/*
 * Where there is room, frames begin at an offset within their piece that differs from piece to piece:
 * 8 KiB strides would put all heads into the same eight ways of the first cache.
 */
#define NETVSP_COLOURS           8U
#define NETVSP_COLOUR_BYTES      64U

#define NETVSP_LINE_BYTES        64U /* of a cache */
#define NETVSP_FETCH_PIECES      8U  /* so many of the next pieces' heads are fetched */

/* What a frame of the MTU takes in a piece beyond it: its header, a tag, RNDIS. */
#define NETVSP_FRAME_OVERHEAD    (NET_HEADER_BYTES + 4U + RNDIS_RECEIVE_HEAD_MAX)

/* A coalesced frame: IP's 64 KiB. */
#define NETVSP_COALESCED_MAX     (65535U + NET_HEADER_BYTES)

enum netvsp_piece_state { PIECE_FREE, PIECE_HEAD, PIECE_TAIL, PIECE_RETURNING, PIECE_LANE };

/* A buffer of the guest's, as our pointers to its pages. */
struct netvsp_buffer {
	struct gpadl *gpadl; /* NULL: none; we hold a reference */
	uint32_t gpadl_id;
	uint16_t id;
	uint32_t bytes;
	uint8_t **pages;
};

/* Queues have copies of it in their views: the tables are the same. */
struct netvsp_recv {
	struct netvsp_buffer buffer;
	uint32_t piece_bytes, pieces;
	uint32_t *free; /* the queues' stacks (struct netvsp_pool), one after the other */
	uint32_t *next; /* the pieces of a transaction, or on returning; own index: the last */
	uint8_t *state; /* enum netvsp_piece_state */
	uint8_t *owner; /* queue */
};

/* The pieces of one queue that are free: the one last given back is the warmest. */
struct netvsp_pool {
	uint32_t *free;
	uint32_t count, owned;
};

/* Those that become free with the next commit. */
struct netvsp_returning {
	uint32_t first, count;
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

/* What queues go by. */
struct netvsp_view {
	const struct nvsp_dialect *dialect; /* NULL: before INIT */
	bool operational;
	bool link_wanted;
	bool has_rsc;
	uint32_t filter; /* NDIS_FILTER_* */
	uint32_t multicast_count;
	uint8_t multicast[NETVSP_MULTICAST_MAX][NET_MAC_BYTES];
	uint32_t ranges_max;     /* in one transfer-pages packet */
	struct netvsp_recv recv; /* buffer.gpadl is NULL: none */
	struct netvsp_send_buffer send;
	struct net_front_config config; /* address, MTU, RSS */
};

/* One writer, its loop; read by any. Frames as ethtool counts them: without RNDIS, large ones are one. */
struct netvsp_counters {
	counter_u64 tx_frames, tx_bytes, tx_large, tx_packets, tx_refused, tx_waits;
	counter_u64 tx_multicast, tx_broadcast;
	counter_u64 rx_frames, rx_bytes, rx_large, rx_packets, rx_filtered, rx_lost, rx_waits;
	counter_u64 rx_multicast, rx_broadcast;
	counter_u64 bad_completions;
	counter_u64 lane_frames, lane_granted,
		lane_refused; /* frames; pieces; frames without a piece */
};

/* What is written into a piece. */
struct netvsp_range {
	uint32_t offset, bytes; /* in the buffer */
};

/* A piece of a frame that another loop has filled; from `pieces` on in the first of them only. */
struct netvsp_filled {
	uint32_t piece, offset, bytes;
	uint32_t pieces, frame_bytes;
	uint8_t to[NET_MAC_BYTES];
	uint64_t run; /* of the sender's */
};

/* Where a frame's bytes are copied from. */
struct netvsp_source {
	const struct iovec *iov;
	size_t at; /* in the first of them */
	uint32_t done;
};

struct netvsp_tx_frame {
	uint32_t bytes;
	uint32_t at; /* of its message in the packet */
	bool is_large;
	uint8_t to[NET_MAC_BYTES]; /* for the counters */
};

struct netvsp_queue {
	struct netvsp *nic;
	unsigned int index; /* of the channel: 0 is the primary */
	struct loop *loop;
	struct net *net; /* its end */
	struct net_front front;
	struct vmbus_channel *channel; /* NULL: closed */
	const struct netvsp_view *view;
	struct net_front_config told; /* to the end */
	struct loop_work adopt;
	_Atomic(bool) is_open; /* channel is there, for other loops */
	bool paused;
	bool is_held;                 /* I6 */
	struct netvsp_log_entry *log; /* NULL: the channel is not journaled */
	struct {
		uint64_t transaction_id;
		struct nvsp_message message;
		bool pending; /* I2 */
	} answer;

	/* transmit */
	uint32_t
		tx_done; /* bytes of the packet at hand that were sent before the back end was full */
	struct iovec tx_iov[NET_IOV_MAX]; /* all of a packet's messages */
	/* Its frames that wait to be sent together; and of each what the back end cannot change. */
	struct net_frame frames[NETVSP_TX_MESSAGES_MAX];
	struct netvsp_tx_frame frame_facts[NETVSP_TX_MESSAGES_MAX];
	unsigned int frame_count;
	struct iovec frame_iov[NETVSP_TX_IOVECS];
	unsigned int frame_iov_count;
	struct gpa_range tx_ranges[NETVSP_TX_RANGES];

	/* receive */
	struct netvsp_pool pool;
	struct netvsp_returning returning;
	struct loop_work go_on; /* after a commit that somebody waited for */
	struct net_lane *lanes; /* netvsp_lane.h; a list */
	unsigned int lane_count;
	struct loop_timer lane_timer; /* looks for idle ones */
	struct netvsp_batch batch;
	bool rx_ring_full;  /* the batch waits for writable() */
	uint32_t rx_wanted; /* pieces that a frame waits for; 0: none does */

	struct netvsp_counters counters;
};

/* All of it is the primary's loop's. */
struct netvsp {
	struct vmbus_device device;
	struct net *net; /* the primary's end */
	char name[NETVSP_NAME_BYTES_MAX + 1];
	uint8_t permanent_mac[NET_MAC_BYTES];
	bool no_rsc;
	void (*on_driver)(void *ctx); /* or NULL */
	void *on_driver_ctx;
	uint32_t version_max; /* NVSP_VERSION_* */
	bool link_wanted;     /* the user's half of the link */
	uint64_t link_bits;   /* per second */

	struct netvsp_queue *queues;
	unsigned int queue_count;
	struct loop *sub_loops[NETVSP_QUEUES_MAX - 1];

	/* views */
	struct netvsp_view views[2];
	struct netvsp_view *published; /* I4 */
	bool is_publishing;
	bool is_stale; /* there is something newer than what is being published */
	_Atomic(unsigned int) acks_wanted;
	struct loop_work acked;

	/* an open channel's */
	struct netvsp_log_entry *log;       /* attached; NULL: none */
	struct vmbus_channel *closing;      /* waits for all queues to let go */
	bool has_left;                      /* the buffers' tables wait for that */
	bool is_answering;                  /* I2 */
	const struct nvsp_dialect *dialect; /* NULL: before INIT */
	uint32_t ndis_major, ndis_minor;
	uint32_t capabilities; /* NVSP_CAP_*, the guest's */
	uint32_t mtu;
	struct netvsp_recv recv;
	struct netvsp_send_buffer send;
	bool recv_is_going, send_is_going; /* revoked, and not in views any more */
	unsigned int granted;              /* sub-channels */
	bool table_told;                   /* the guest has the send table */
	struct loop_work sub_opened;

	/* RNDIS */
	bool operational;
	bool link_told; /* what the guest believes */
	uint8_t mac[NET_MAC_BYTES];
	uint32_t filter; /* NDIS_FILTER_* */
	uint32_t multicast_count;
	uint8_t multicast[NETVSP_MULTICAST_MAX][NET_MAC_BYTES];
	uint32_t lookahead;
	struct netvsp_offloads offloads;
	struct netvsp_rss rss;
	uint32_t replies_first, replies_count; /* a ring of those that had to wait */
	struct netvsp_reply replies[NETVSP_CONTROL_QUEUE];
	uint8_t control[RNDIS_CONTROL_BYTES_MAX];

	struct {
		uint64_t control, control_lost, unknown_oids;
	} counters;
};

static inline bool netvsp_link(const struct netvsp *nic)
{
	return nic->link_wanted && net_link_is_up(nic->net);
}

/* As OID_GEN_LINK_SPEED has it, in hundreds of bits per second; more than it can say is its most. */
static inline uint32_t netvsp_link_speed(const struct netvsp *nic)
{
	return nic->link_bits / 100 > UINT32_MAX ? UINT32_MAX : (uint32_t)(nic->link_bits / 100);
}

/* A queue's link, on its loop. */
static inline bool netvsp_queue_link(const struct netvsp_queue *queue)
{
	return queue->view->link_wanted && net_link_is_up(queue->net);
}

/* I3 */
static inline uint32_t netvsp_reserve(const struct netvsp_queue *queue)
{
	return queue->index == 0 ? NETVSP_CONTROL_PIECES : 0;
}

static inline struct netvsp *netvsp_of(struct vmbus_device *device)
{
	return container_of(device, struct netvsp, device);
}

static inline struct netvsp_queue *netvsp_queue_of(struct vmbus_device *device,
						   const struct vmbus_channel *channel)
{
	return &netvsp_of(device)->queues[vmbus_channel_index(channel)];
}

/* ---- netvsp.c ---- */

/* Whether coalesced frames may be given to the guest. */
bool netvsp_has_rsc(const struct netvsp *nic);
void netvsp_tell_link(struct netvsp *nic);
/* All that was said on the channel, but the buffers and their tables. */
void netvsp_forget(struct netvsp *nic);
/* The saved form has changed. */
void netvsp_touch(struct netvsp *nic);
/* All queues have heard: what waited for that goes on. */
void netvsp_settled(struct netvsp *nic);

/* ---- netvsp_queue.c ---- */

void netvsp_queue_init(struct netvsp *nic, unsigned int index, struct net *net);
/* A channel of its was opened, or restored; closes. Its loop. */
void netvsp_queue_open(struct netvsp_queue *queue, struct vmbus_channel *channel);
void netvsp_queue_close(struct netvsp_queue *queue);
/* Its channel goes to another process. What is saved of it stays until then. Its loop. */
void netvsp_queue_leave(struct netvsp_queue *queue);
/* Forgets what was said on it and what waits. Its loop, or while the machine is paused, or held (I6). */
void netvsp_queue_forget(struct netvsp_queue *queue);

/* The device's table. */
void netvsp_committed(struct vmbus_device *device, struct vmbus_channel *channel);
void netvsp_unpaused(struct vmbus_device *device, struct vmbus_channel *channel);

/* After anything that queues go by has changed. The primary has heard when it is not publishing. */
void netvsp_publish(struct netvsp *nic);
/* The same at once for all queues, while the machine is paused, or before it runs. */
void netvsp_publish_now(struct netvsp *nic);
/* Offers sub-channels: so many as the guest gets (at most those it wants). */
unsigned int netvsp_grant(struct netvsp *nic, uint32_t wanted);
/* Tells which queue to send on, when all sub-channels are open. */
void netvsp_tell_table(struct netvsp *nic);

/* ---- netvsp_inspect.c ---- */

void netvsp_inspect(struct vmbus_device *device, struct inspect *at);
void netvsp_inspect_channel(struct vmbus_device *device, struct vmbus_channel *channel,
			    struct inspect *at);

/* ---- netvsp_buffers.c ---- */

/*
 * Both: 0 or a negative errno, and then there is no buffer. piece_bytes: 0 to choose them. All pieces
 * are the primary's until netvsp_pools_split().
 */
MUST_CHECK int netvsp_recv_open(struct netvsp *nic, uint32_t gpadl_id, uint16_t id,
				uint32_t piece_bytes);
MUST_CHECK int netvsp_send_open(struct netvsp *nic, uint32_t gpadl_id, uint16_t id);
/* I5. No queue has it in its view. */
void netvsp_recv_close(struct netvsp *nic);
void netvsp_send_close(struct netvsp *nic);
/* Gives the GPADL back; no queue touches the buffer any more, and it is closed later. */
void netvsp_buffer_leave(struct netvsp_buffer *buffer);
/* Gives each sub-channel granted its share of what is free. None of them is open, or has the buffer. */
void netvsp_pools_split(struct netvsp *nic);
/* Makes the pools of owner[] and state[], as loaded. Owners are below queue_count. */
void netvsp_pools_make(struct netvsp *nic);

/* I1: a free piece, made a transaction of its own; there must be one. */
uint32_t netvsp_piece_take(struct netvsp_queue *queue);
/* The same of one that was granted to a lane. */
void netvsp_piece_use(struct netvsp_queue *queue, uint32_t piece);
/* Adds piece to the transaction that ends with tail. */
void netvsp_piece_chain(struct netvsp_queue *queue, uint32_t tail, uint32_t piece);
/* The guest has returned a transaction; -EBADMSG when that is none of the queue's. */
MUST_CHECK int netvsp_pieces_release(struct netvsp_queue *queue, uint64_t head);
/* The guest has never seen it. */
void netvsp_pieces_put_back(struct netvsp_queue *queue, uint32_t head);
/* A commit: returned pieces are free now. */
void netvsp_pieces_committed(struct netvsp_queue *queue);
/* All of the queue's: its channel is closed. */
void netvsp_pieces_reclaim(struct netvsp_queue *queue);

/* The range lies in the buffer. */
void netvsp_buffer_write(const struct netvsp_buffer *buffer, uint32_t offset, const void *src,
			 uint32_t bytes);
/* The same, and adds what was written to the tally. */
void netvsp_buffer_write_summed(const struct netvsp_buffer *buffer, uint32_t offset,
				const void *src, uint32_t bytes, struct net_tally *tally);
/* The number of iovecs, or -E2BIG. */
MUST_CHECK int netvsp_buffer_iovec(const struct netvsp_buffer *buffer, uint32_t offset,
				   uint32_t bytes, struct iovec *iov, int max);

/* ---- netvsp_tx.c ---- */

/*
 * The RNDIS messages of a packet. 0; -EAGAIN: the back end is full, call again with the same
 * packet; -EBADMSG. *ret_status: NVSP_STATUS_* for the completion; *ret_bytes: were sent; 0, and it is in a hurry.
 */
MUST_CHECK int netvsp_tx(struct netvsp_queue *queue, const struct vmbus_packet *packet,
			 const struct nvsp_request *request, uint32_t *ret_status,
			 uint32_t *ret_bytes);

/* ---- netvsp_rx.c ---- */

extern const struct net_front_ops netvsp_front_ops;

/* Fetches the first lines of a piece that is soon to be filled. */
void netvsp_fetch_piece(const struct netvsp_recv *recv, uint32_t piece);
/* How many pieces a frame of so many bytes needs. */
uint32_t netvsp_frame_pieces(const struct netvsp_recv *recv, uint32_t bytes);
/* Writes the next of them, RNDIS and all. Any loop, to which the piece is granted. */
struct netvsp_range netvsp_fill_piece(const struct netvsp_recv *recv, uint32_t piece,
				      const struct net_frame *frame, bool has_hash,
				      struct netvsp_source *source);
void netvsp_destination(const struct net_frame *frame, uint8_t *ret_to);
bool netvsp_rx_is_stopped(const struct netvsp_queue *queue);
/*
 * A frame that a lane has filled joins the batch; next() gives its further pieces. 0, also when it is
 * filtered or lost: its pieces are the queue's again; -EAGAIN: no room in the ring, writable() follows,
 * and it is the lane's still.
 */
MUST_CHECK int netvsp_rx_filled(struct netvsp_queue *queue, const struct netvsp_filled *filled,
				const struct netvsp_filled *(*next)(void *ctx), void *ctx);
/* Sends the batch. 0, or -EAGAIN: no room in the ring, writable() follows. */
int netvsp_rx_flush(struct netvsp_queue *queue);
/* The guest has completed a transaction. */
MUST_CHECK int netvsp_rx_complete(struct netvsp_queue *queue, uint64_t transaction_id);
/* There is room in the ring again. */
void netvsp_rx_writable(struct netvsp_queue *queue);
/* There may be room for what waits. */
void netvsp_rx_go_on(struct netvsp_queue *queue);
/* Forgets the batch; whoever waits may bring its frames, to be lost. */
void netvsp_rx_drop(struct netvsp_queue *queue);
/* The wanted counter of two, by a frame's destination: a group's or everybody's. Others are neither. */
static inline void netvsp_count_group(const uint8_t *to, counter_u64 *multicast,
				      counter_u64 *broadcast)
{
	static const uint8_t everybody[NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (to[0] & 1) {
		counter_add(memcmp(to, everybody, sizeof(everybody)) ? multicast : broadcast, 1);
	}
}
/* An RNDIS control message to the guest, now or when there is room and all queues have heard. */
void netvsp_reply(struct netvsp *nic, const uint8_t *message, uint32_t bytes);
void netvsp_drain_replies(struct netvsp *nic);

/* ---- netvsp_control.c, netvsp_oid.c ---- */

/* One message in our own memory. 0 or -EBADMSG. */
MUST_CHECK int netvsp_control(struct netvsp *nic, const uint8_t *message, uint32_t bytes);
void netvsp_rndis_reset(struct netvsp *nic);
/* Who wants to know that a driver is there. */
void netvsp_tell_driver(struct netvsp *nic);

/* RNDIS_STATUS_*; info has room for RNDIS_INFO_BYTES_MAX. */
uint32_t netvsp_oid_query(struct netvsp *nic, uint32_t oid, uint8_t *info, uint32_t *ret_bytes);
uint32_t netvsp_oid_set(struct netvsp *nic, uint32_t oid, const uint8_t *info, uint32_t bytes);

/* ---- netvsp_state.c ---- */

void netvsp_save(struct vmbus_device *device, struct save *save);
int netvsp_load(struct vmbus_device *device, struct load *load);
