/* SPDX-License-Identifier: MIT */
/*
 * Packets on the host: where a front end (a NIC that a guest sees) meets a back end (NAT, a tap, a
 * port of a switch), without knowing it.
 *
 *            net_send()  ──────────────►
 *   front                                 back        offloads travel as metadata: what is not
 *            front->deliver() ◄─────────              done yet (send), what is known (deliver)
 *
 * An end of a back end serves one front end. Both live on one loop, and so every call here is made on
 * it. A NIC with several queues has a front end, an end and a loop for each: the first end is made
 * with the back end, the others are its twins (net_twin()). Only a lane (below) crosses loops.
 *
 * Invariants:
 *   N1  A frame belongs to the caller again when net_send() or deliver() has returned: who wants to
 *       keep it copies it.
 *   N2  Nobody is called back from within a call: deliver(), writable() and link_changed() come
 *       from the loop, never from inside net_send(), net_room() or net_configure().
 *   N3  No room is a value, -EAGAIN, and it is not a loss: the receiver says when there is room
 *       again (writable(), net_room()), and the sender keeps the frame until then.
 *   N4  A back end's kernel I/O may read a frame's pages, which can be a guest's, and never writes
 *       into memory that is a guest's: who dies in the middle leaves nothing behind that writes there.
 *
 *   owner   vm (one per --net)   thread  its loop; before the loop runs, who creates it
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/diag.h"
#include "loop/loop.h"

struct net;
struct net_front;

#define NET_MAC_BYTES       6
#define NET_HEADER_BYTES    14 /* Ethernet, without a tag */
#define NET_MTU_MIN         68
#define NET_MTU_DEFAULT     1500
#define NET_MTU_MAX         9000  /* what we offer to guests */
#define NET_FRAME_BYTES_MAX 65600 /* a large send: 64 KiB of IP and the headers below it */
#define NET_IOV_MAX         192   /* pieces in one frame, as it is sent */
#define NET_PIECES_MAX      (NET_IOV_MAX + 1) /* and with a head of its own (NET_FRAME_HEAD) */
/* Smaller segments (Linux sends none) would be a flood made of one frame, to be refused. */
#define NET_MSS_MIN         48U

enum net_l4 { NET_L4_NONE, NET_L4_TCP, NET_L4_UDP };

/* net_frame.flags */
enum {
	/* send: the TCP or UDP checksum (l4 says which) is not there yet; its field is noise */
	NET_FRAME_L4_CHECKSUM = 1U << 0,
	/* send: nor is the IPv4 header's */
	NET_FRAME_IP_CHECKSUM = 1U << 1,
	/*
	 * send: one TCP segment to be cut into pieces of mss payload bytes, or handed on whole. No
	 * checksum is there, and the IP header's length may be 0.
	 */
	NET_FRAME_LSO = 1U << 2,
	/* deliver: checksums of IP and of l4 are known to be right */
	NET_FRAME_CHECKSUM_GOOD = 1U << 3,
	/* deliver: one TCP segment made of several of mss payload bytes; longer than the MTU */
	NET_FRAME_COALESCED = 1U << 4,
	/* vlan_tci holds a tag that is not in the frame */
	NET_FRAME_VLAN = 1U << 5,
	/*
	 * iov[0] is memory that nobody else writes: the checked copy of the frame's headers, so that
	 * what was checked is what is delivered
	 */
	NET_FRAME_HEAD = 1U << 6,
	/* hash is the flow's (Toeplitz, as the front end's net_rss asks for) */
	NET_FRAME_HASH = 1U << 7,
	/*
	 * deliver: the field of l4's checksum holds the sum of the pseudo header, not complemented. Who copies
	 * the frame sums what it copies from l4_offset to l4_end (net/sum.h; fifo_gather() does) and puts the
	 * checksum into the copy. So it is right, whatever the frame's owner writes there meanwhile. The frame
	 * is no longer than the MTU, and iov[0] holds its headers.
	 */
	NET_FRAME_L4_PARTIAL = 1U << 8,
};

/* An Ethernet frame without its check sequence. */
struct net_frame {
	const struct iovec *iov;
	int iov_count;  /* 1 to NET_IOV_MAX; NET_PIECES_MAX with NET_FRAME_HEAD */
	uint32_t bytes; /* in all of them together */
	uint16_t flags; /* NET_FRAME_* */
	uint16_t
		l4_offset; /* of the TCP or UDP header, from the frame's start; 0: find it yourself */
	uint8_t l4;        /* enum net_l4 */
	uint16_t vlan_tci;
	union {
		uint32_t mss;    /* with LSO, COALESCED */
		uint32_t l4_end; /* with L4_PARTIAL: of what is summed; padding lies behind it */
	};
	uint32_t hash;
};

/* Where l4's checksum is in its header. */
static inline uint32_t net_l4_field(uint8_t l4)
{
	return l4 == NET_L4_UDP ? 6 : 16;
}

#define NET_RSS_KEY_BYTES     40
#define NET_RSS_TABLE_ENTRIES 128
/* net_rss.hash_types: which headers are hashed; addresses alone where the ports' type is missing */
#define NET_RSS_IPV4          (1U << 0)
#define NET_RSS_TCP_IPV4      (1U << 1)
#define NET_RSS_IPV6          (1U << 2)
#define NET_RSS_TCP_IPV6      (1U << 3)
#define NET_RSS_UDP_IPV4      (1U << 4)
#define NET_RSS_UDP_IPV6      (1U << 5)

/* Which of a front end's queues a frame is for: table[hash % table_entries]. */
struct net_rss {
	bool is_on;             /* otherwise queue 0 */
	uint16_t queues;        /* each entry is smaller */
	uint16_t table_entries; /* a power of two, at most NET_RSS_TABLE_ENTRIES */
	uint32_t hash_types;
	uint8_t key[NET_RSS_KEY_BYTES];
	uint16_t table[NET_RSS_TABLE_ENTRIES];
};

/* What a front end can take and how it wants to be addressed. */
struct net_front_config {
	uint8_t mac[NET_MAC_BYTES];
	uint32_t mtu;
	uint32_t coalesce_bytes_max; /* the longest coalesced frame; 0: none, please */
	struct net_rss rss;
};

struct net_lane;

struct net_front_ops {
	/* A frame for the guest. 0 (also when it was filtered out or lost), or -EAGAIN: see N3. */
	int (*deliver)(struct net_front *front, const struct net_frame *frame);

	/* No more for now: tell the guest about what was delivered. */
	void (*batch_end)(struct net_front *front);

	/* net_send() found no room and there is some again. */
	void (*writable)(struct net_front *front);

	/* net_link_is_up() has changed. */
	void (*link_changed)(struct net_front *front);

	/*
	 * Optional: whether so many frames of so many bytes would find room now, for who would rather
	 * keep one as long as it is whole. false with waits: net_room() follows, as after deliver()'s
	 * -EAGAIN. What would be lost anyway has room.
	 */
	bool (*has_room)(struct net_front *front, uint32_t frames, uint32_t bytes, bool waits);

	/*
	 * Optional, all five: a way into this front end for frames from another loop, without a copy
	 * in between. create, cut and pass on the front end's loop, deliver and flush on `from`. A lane
	 * lives from create to cut, however often the guest closes and opens what is behind it; the back
	 * end cuts all of them within net_detach(). create: 0, -ENOMEM, -ENOSPC (too many).
	 */
	int (*lane_create)(struct net_front *front, struct loop *from, struct net_lane **ret);
	/*
	 * No frame enters any more; done is posted on the front's loop when `from` has let go of it, and
	 * the lane is gone. Until something that the caller posts to `from` at this moment has run there,
	 * lane_deliver() and lane_flush() may be called still.
	 */
	void (*lane_cut)(struct net_lane *lane, struct loop_work *done);
	/*
	 * 0: copied; -ENOBUFS: the front end has granted no room (yet: it hears of that with the next
	 * flush), or does not take such a frame, which is the caller's: lost, or sent another way;
	 * -ENOSPC: the guest has all the room there is, and the frame is lost.
	 *
	 * Frames that go another way must not be overtaken: the caller numbers its runs, the frames
	 * between which none went another way. The number never becomes smaller.
	 */
	int (*lane_deliver)(struct net_lane *lane, const struct net_frame *frame, uint64_t run);
	/*
	 * Frames of runs up to this one may be taken now and from now on; those behind wait in the lane.
	 * A new lane has passed 0. What is there and may be taken is taken (batch_end() is to follow):
	 * true; false when some of it has found no room yet, and so no later frame may be delivered.
	 */
	bool (*lane_pass)(struct net_lane *lane, uint64_t run);
	/* No more for now: the front end's loop is told, also that a frame found no room. */
	void (*lane_flush)(struct net_lane *lane);
};

/* Embedded in a front end. */
struct net_front {
	const struct net_front_ops *ops;
};

/* ---- life -------------------------------------------------------------------------------------- */

/* The loop that the back end lives on. */
struct loop *net_loop(const struct net *net);

/*
 * A further end of the same back end, for another queue on another loop (or the same). It is stopped
 * and destroyed like the first, before it. -EOPNOTSUPP: the back end has one end only, and so the NIC
 * gets one queue; -ENOMEM and other errnos of the host. Before the loop runs, or on it.
 */
MUST_CHECK int net_twin(struct net *net, struct loop *loop, struct net **ret);

/* How many ends it can have, the first included; 1: net_twin() never works. */
unsigned int net_ends_max(const struct net *net);

/* Connects the one front end, borrowed until net_detach(). -EBUSY when there is one. */
MUST_CHECK int net_attach(struct net *net, struct net_front *front,
			  const struct net_front_config *config);

/* Says that the front end's address, MTU or abilities have changed. */
void net_configure(struct net *net, const struct net_front_config *config);

/* Disconnects it: it is not called again. No-op without one. */
void net_detach(struct net *net);

/*
 * Detaches the front end, gives up what the back end has in the kernel, and posts done on its loop
 * when nothing is in flight any more. Frames that a front end still sends are lost.
 */
void net_stop(struct net *net, struct loop_work *done);

/* NULL is fine. Stopped, or never used. */
void net_destroy(struct net *net);

/* ---- work -------------------------------------------------------------------------------------- */

/*
 * A frame from the guest. 0: taken, or lost as a wire may lose it (counted); -EAGAIN: see N3;
 * -EBADMSG: no frame at all (shorter than a header, longer than NET_FRAME_BYTES_MAX).
 */
MUST_CHECK int net_send(struct net *net, const struct net_frame *frame);

/*
 * Frames in order, of one packet mostly. *ret_taken of them, from the first, are done with as
 * net_send() says; 0 when that is all of them, -EAGAIN: see N3. A frame that is none (-EBADMSG of
 * net_send()) counts as taken, and is lost. Each frame's iov[-1] is the back end's to write during the
 * call (for NET_FRAME_HEAD): the caller leaves that room. So are frames and their iovecs: of those that
 * are not taken they are as before when it returns, and of those that are, nobody may look at them.
 */
#define NET_SEND_MANY_MAX 64U
MUST_CHECK int net_send_many(struct net *net, struct net_frame *frames, unsigned int count,
			     unsigned int *ret_taken);

/* No more frames for now: send what was put off. */
void net_batch_end(struct net *net);

/* The front end has room again after deliver() said -EAGAIN. */
void net_room(struct net *net);

/* ---- facts ------------------------------------------------------------------------------------- */

bool net_link_is_up(const struct net *net);
uint32_t net_mtu_max(const struct net *net);

struct net_counters {
	uint64_t sent_frames, sent_bytes;           /* by the guest */
	uint64_t delivered_frames, delivered_bytes; /* to it */
	uint64_t sent_large, delivered_large;       /* of these, LSO and coalesced */
	uint64_t send_lost, deliver_lost;
	uint64_t send_waits, deliver_waits; /* -EAGAIN */
};
const struct net_counters *net_counters(const struct net *net);
/* For front ends: a frame has come by a lane, and is counted as one that was delivered. */
void net_count_delivered(struct net *net, uint32_t bytes, bool is_large);

/* The kind ("nat"), and what else it has to tell: one number per call, for `inspect`. */
const char *net_kind(const struct net *net);
typedef void net_fact_fn(void *ctx, const char *name, uint64_t value);
void net_facts(const struct net *net, net_fact_fn *fn, void *ctx);

/* ---- back ends --------------------------------------------------------------------------------- */

/*
 * Nowhere: counts frames and drops them or, with echo, delivers what it was sent (source and
 * destination addresses swapped), at the end of the loop's round; at most so many frames wait.
 */
#define NET_NULL_ECHO_FRAMES 64
MUST_CHECK int net_null_create(struct loop *loop, bool echo, struct net **ret, struct diag *reterr);

/*
 * For tests: the same with several ends. Each echoes to itself what it was sent; a frame that comes from
 * nowhere goes to the end that the front's net_rss says, whose number is returned (*ret_err as
 * net_null_deliver()): all ends on the caller's loop.
 */
#define NET_NULL_ENDS_MAX 64U
MUST_CHECK int net_null_create_many(struct loop *loop, bool echo, struct net **ret);
unsigned int net_null_deliver_steered(struct net *net, const struct net_frame *frame, int *ret_err);

/* For tests: the cable. */
void net_null_set_link(struct net *net, bool up);
/* For tests: net_send() answers -EAGAIN while blocked. */
void net_null_block(struct net *net, bool blocked);
/* For tests: hands a frame to the front end as a real back end would from its loop. */
int net_null_deliver(struct net *net, const struct net_frame *frame);

/*
 * Address translation on the host's own sockets through libslirp: the guest is 10.0.2.15 by DHCP
 * (10.0.2.0/24, fec0::/64), the gateway and host 10.0.2.2, the resolver 10.0.2.3.
 */
struct net_forward {
	bool udp;
	uint32_t host_address; /* IPv4, host order; 0: all */
	uint16_t host_port;
	uint32_t guest_address; /* 0: 10.0.2.15 */
	uint16_t guest_port;
};

#define NET_NAT_FORWARDS_MAX 64

struct net_nat_network;

struct net_nat_config {
	const struct net_forward *forwards;
	size_t forward_count;
	const struct net_nat_network
		*network; /* for many guests (net/nat.h); NULL: one, as above */
	bool no_large;    /* never hand coalesced frames to the guest */
	bool restricted;  /* only the forwards work: the guest reaches nobody */
};

/*
 * "tcp:2222:22", "udp:53:53", "tcp:127.0.0.1:2222:22", "tcp:2222:10.0.2.15:22",
 * "tcp:127.0.0.1:2222:10.0.2.15:22". 0, or -EINVAL and a sentence.
 */
MUST_CHECK int net_nat_parse_forward(const char *text, struct net_forward *ret,
				     struct diag *reterr);

/* 0; -EADDRINUSE, -EACCES or another errno for a forward that cannot be had; -EINVAL; -ENOMEM. */
MUST_CHECK int net_nat_create(struct loop *loop, const struct net_nat_config *config,
			      struct net **ret, struct diag *reterr);
