/* SPDX-License-Identifier: MIT */
/*
 * What TAP devices, packet sockets, AF_XDP and pipes to another process have in common: a descriptor per end, frames with a
 * virtio_net_hdr in front (where the kernel has none, the kind makes it), an interface whose state is the link's. Each kind adds how several frames
 * are read and written, and how its descriptors come to an interface that has returned.
 *
 *   W1  Frames are delivered in the order in which they were read, and nothing is read before all that
 *       was read has been delivered.
 *   W2  A frame is in the kernel, lost, or copied when net_send() has returned 0. What was copied goes
 *       before all that comes later, and by net_batch_end() unless the kernel has no room; while it has
 *       none, net_send() takes no more.
 *   W3  The group belongs to the first end's loop, which tells the others what has happened to the
 *       interface by posting their link_work. An end that stops leaves the group there first.
 *
 *   owner   as net.h says   thread  an end: its loop; the group: the first end's
 */
#pragma once

#include <stdatomic.h>
#include <sys/socket.h>

#include "net/linkwatch.h"
#include "net/net_impl.h"
#include "net/vnet_hdr.h"

#define WIRE_SLOTS      32U
#define WIRE_SLOT_BYTES (68U * 1024)
#define WIRE_BATCH      16U   /* frames in one go to the kernel, from where they lie */
#define WIRE_PUTS       32U   /* and of those that are put off, copied */
#define WIRE_PUT_BYTES  2048U /* no longer than this, with their headers */
#define WIRE_ENDS_MAX   16U

struct batch;
struct wire;
struct wire_group;

struct wire_kind {
	struct net_ops net;
	/*
	 * Reads up to WIRE_SLOTS frames into the slots, from the first, and calls wire_received().
	 */
	void (*read)(struct wire *wire);
	/*
	 * Writes them in order. 0, or -EAGAIN: the kernel has no room. *ret_done: written, or lost
	 * (the callee counts them).
	 */
	int (*write)(struct wire *wire, struct mmsghdr *messages, unsigned int count,
		     unsigned int *ret_done);
	/* The descriptors to an interface that has returned. 0 or a negative errno. Not without one. */
	int (*attach)(struct wire_group *group, int ifindex);
	/* Optional: frees what wire_config.state_take was, after the descriptors. */
	void (*fini)(void *state);
	uint32_t mtu_max; /* 0: NET_MTU_MAX */
	bool wants_batch; /* of the loop's, for wire->batch */
	bool says_good;   /* the other side is told which checksums are good */
};

/* A frame from the kernel. */
struct wire_slot {
	uint8_t *buffer; /* hdr_bytes of header, then the frame */
	int bytes;       /* of both; not positive: none */
	bool is_parsed;  /* frame is filled */
	struct vnet_frame frame;
	bool has_tag; /* told beside the frame */
	uint16_t tci;
};

struct wire {
	struct net net;
	const struct wire_kind *kind;
	struct wire_group *group;
	unsigned int index;
	int fd;
	struct loop_watch watch;
	struct loop_work pump_work, link_work, leave_work, left_work;
	struct loop_work *done;
	struct batch *batch; /* the loop's; NULL: there is none, or it wants none */
	bool is_stopping, has_left;
	unsigned int link_seen; /* the interface's generation when we last looked */

	/* what arrives */
	struct wire_slot slots[WIRE_SLOTS];
	uint8_t *buffers;
	unsigned int first, filled; /* slots that wait to be delivered */
	unsigned int pieces_done;   /* of the first slot, that is being cut */
	unsigned int ahead;         /* frames that are likely to be there: the kind's */
	bool more, is_blocked;
	uint64_t cut, bad;

	/* what leaves */
	struct loop_request writable, cancel;
	bool waits;      /* somebody found no room */
	bool is_polling; /* writable is in the kernel */
	bool is_cancelling;
	struct mmsghdr messages[WIRE_BATCH];
	unsigned int which[WIRE_BATCH]; /* frame of the batch that a message is of */
	struct vnet_head heads[WIRE_BATCH];
	struct iovec iov[WIRE_BATCH][VNET_SEND_PIECES];
	struct mmsghdr put[WIRE_PUTS]; /* copies that wait for net_batch_end() */
	struct iovec put_iov[WIRE_PUTS];
	unsigned int put_count;
	uint8_t *put_memory;
	uint64_t refused; /* by the kernel, for any reason */

	uint64_t calls; /* system calls that moved frames, or found none */
};

struct wire_group {
	void *state; /* the kind's */
	struct loop *loop;
	struct linkwatch *linkwatch;
	struct linkwatch_entry entry;
	const struct wire_kind *kind;
	unsigned int hdr_bytes, ends, made;
	int fds[WIRE_ENDS_MAX];
	struct wire *wires[WIRE_ENDS_MAX];
	_Atomic(unsigned int) users;
	_Atomic(bool) is_up;
	_Atomic(unsigned int) generation; /* counts the interface's returns */
	int ifindex;                      /* that the descriptors are on; 0: none */
	uint64_t attach_errors;
	struct loop_timer retry;
};

struct wire_config {
	const char *name; /* the interface's; NULL: there is none, but somebody at the other end */
	const int *fds_take; /* non-blocking */
	unsigned int ends, hdr_bytes;
	int link_fd_take;
	void *state_take; /* for the kind; taken over, also on failure */
};

/* Makes the group and its first end; takes the descriptors over, also on failure. */
MUST_CHECK int wire_create(struct loop *loop, const struct wire_kind *kind,
			   const struct wire_config *config, struct net **ret, struct diag *reterr);

/* Closes the descriptors that were to be taken. */
void wire_drop(const struct wire_config *config);

/*
 * For the kinds' read(): count slots are filled (some perhaps without a frame). more: the kernel may
 * have further ones, and will not wake us for them.
 */
void wire_received(struct wire *wire, unsigned int count, bool more);

/* On the group's loop: what made attach() fail may be mended. */
void wire_look_again(struct wire_group *group);

/* wire_send.c's, for wire.c: life; what is put off is lost, and counted. */
void wire_send_init(struct wire *wire);
void wire_put_lost(struct wire *wire);
/* And wire.c's for that: a stopping end goes when the kernel has let go of it. */
void wire_leave_when_idle(struct wire *wire);

/*
 * Reads into all slots by recvmmsg(2), whose result it returns. messages, iov: WIRE_SLOTS of them; what
 * messages have besides their pieces (msg_control) the caller has put there.
 */
int wire_read_messages(struct wire *wire, struct mmsghdr *messages, struct iovec *iov);
/* A write() for sockets, which counts what the kernel refuses. */
int wire_write_messages(struct wire *wire, struct mmsghdr *messages, unsigned int count,
			unsigned int *ret_done);
/* From the loop: who found no room tries again. */
void wire_writable(struct wire *wire);

/*
 * Without an interface: nobody is at the other end any more; and somebody is again, behind another descriptor
 * (taken over, also on failure). On the loop; a group of one end.
 */
void wire_lost(struct wire *wire);
MUST_CHECK int wire_found(struct wire *wire, int fd_take);

/* For their net_ops. With wire_batch_end, short frames are put off until then (W2). */
void wire_batch_end(struct net *net);
int wire_twin(struct net *net, struct loop *loop, struct net **ret);
int wire_send(struct net *net, const struct net_frame *frame);
int wire_send_many(struct net *net, struct net_frame *frames, unsigned int count,
		   unsigned int *ret_taken);
void wire_room(struct net *net);
void wire_configured(struct net *net);
void wire_stop(struct net *net, struct loop_work *done);
void wire_destroy(struct net *net);
void wire_facts(const struct net *net, net_fact_fn *fn, void *ctx);

static inline struct wire *wire_from_net(const struct net *net)
{
	return container_of(net, struct wire, net);
}
