/* SPDX-License-Identifier: MIT */
/* What leaves by a wire: short frames are gathered into one call to the kernel, long ones go from where they lie. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>

#include "base/num.h"
#include "net/wire_internal.h"

/* ---- no room ---- */

static void wait_for_room(struct wire *wire)
{
	wire->waits = true;
	if (!wire->is_polling) {
		wire->is_polling = true;
		io_uring_prep_poll_add(loop_sqe(wire->net.loop, &wire->writable), wire->fd,
				       POLLOUT);
	}
}

/* What was put off, in order. -EAGAIN: not all of it. */
static int flush(struct wire *wire)
{
	unsigned int done = 0;
	int err;

	if (wire->put_count == 0) {
		return 0;
	}
	err = wire->kind->write(wire, wire->put, wire->put_count, &done);
	wire->put_count -= done;
	/* The others come first now; each place keeps a buffer. */
	for (unsigned int i = 0; done > 0 && i < wire->put_count; i++) {
		struct iovec first = wire->put_iov[i];

		wire->put_iov[i] = wire->put_iov[done + i];
		wire->put_iov[done + i] = first;
	}
	if (err) {
		wait_for_room(wire);
	}
	return err;
}

void wire_writable(struct wire *wire)
{
	if (wire->waits && !wire->is_stopping) {
		wire->waits = false;
		if (!flush(wire)) {
			net_now_writable(&wire->net);
		}
	}
}

static void on_writable(struct loop_request *request, int result)
{
	struct wire *wire = container_of(request, struct wire, writable);

	(void)result;
	wire->is_polling = false;
	if (wire->is_stopping) {
		wire_leave_when_idle(wire);
		return;
	}
	wire_writable(wire);
}

void wire_put_lost(struct wire *wire)
{
	wire->net.counters.send_lost += wire->put_count;
	wire->put_count = 0;
}

/* ---- frames ---- */

/* As the other side is to see it, its header and what was mended of it in head. 0 or -EBADMSG. */
static int dress(const struct wire *wire, const struct net_frame *frame, struct vnet_head *head,
		 struct iovec *iov, int *ret_pieces)
{
	int err = vnet_send(frame, wire->group->hdr_bytes, head, iov, ret_pieces);

	if (!err && wire->kind->says_good && frame->flags & NET_FRAME_CHECKSUM_GOOD &&
	    !head->bytes[0]) {
		head->bytes[0] = VNET_HDR_GOOD;
	}
	return err;
}

/* Copies a frame as the kernel wants it. There is a place. */
static void put_off(struct wire *wire, const struct net_frame *frame)
{
	struct iovec *place = &wire->put_iov[wire->put_count];
	uint8_t *to = place->iov_base;
	int pieces;

	if (dress(wire, frame, &wire->heads[0], wire->iov[0], &pieces)) {
		wire->net.counters.send_lost++;
		return;
	}
	place->iov_len = 0;
	for (int i = 0; i < pieces; i++) {
		const struct iovec *piece = &wire->iov[0][i];

		check(piece->iov_len <= WIRE_PUT_BYTES - place->iov_len);
		memcpy(to + place->iov_len, piece->iov_base, piece->iov_len);
		place->iov_len += piece->iov_len;
	}
	wire->put_count++;
}

/* Frames from the first, up to WIRE_BATCH; *ret_used: of how many, the bad ones (lost) included. */
static unsigned int prepare(struct wire *wire, const struct net_frame *frames, unsigned int count,
			    unsigned int *ret_used)
{
	unsigned int n = 0, i;

	for (i = 0; i < count && n < WIRE_BATCH; i++) {
		int pieces;

		if (dress(wire, &frames[i], &wire->heads[n], wire->iov[n], &pieces)) {
			wire->net.counters.send_lost++;
			continue;
		}
		wire->messages[n].msg_hdr =
			(struct msghdr){ .msg_iov = wire->iov[n], .msg_iovlen = (size_t)pieces };
		wire->which[n++] = i;
	}
	*ret_used = i;
	return n;
}

/* From where they lie, behind what was put off. */
static int send_now(struct wire *wire, const struct net_frame *frames, unsigned int count,
		    unsigned int *ret_taken)
{
	unsigned int at = 0;

	*ret_taken = 0;
	if (flush(wire)) {
		return -EAGAIN;
	}
	while (at < count) {
		unsigned int used, done = 0;
		unsigned int n = prepare(wire, frames + at, count - at, &used);

		if (n && wire->kind->write(wire, wire->messages, n, &done)) {
			*ret_taken = at + wire->which[done];
			wait_for_room(wire);
			return -EAGAIN;
		}
		at += used;
	}
	*ret_taken = count;
	return 0;
}

/* Copied into the next call, which is made when that is full or at wire_batch_end(). */
static int send_later(struct wire *wire, const struct net_frame *frames, unsigned int count,
		      unsigned int *ret_taken)
{
	unsigned int i;

	for (i = 0; i < count && !(wire->waits && wire->put_count > 0); i++) {
		put_off(wire, &frames[i]);
		if (wire->put_count == WIRE_PUTS) {
			(void)flush(wire); /* -EAGAIN is for who comes next */
		}
	}
	*ret_taken = i;
	return i < count ? -EAGAIN : 0;
}

static bool may_put_off(const struct wire *wire, const struct net_frame *frames, unsigned int count)
{
	if (!wire->kind->net.batch_end) {
		return false;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (frames[i].bytes > WIRE_PUT_BYTES - sizeof(struct vnet_head)) {
			return false;
		}
	}
	return true;
}

static int send_all(struct wire *wire, const struct net_frame *frames, unsigned int count,
		    unsigned int *ret_taken)
{
	if (!wire->net.link_up || wire->is_stopping) {
		wire->net.counters.send_lost += count;
		*ret_taken = count;
		return 0;
	}
	return may_put_off(wire, frames, count) ? send_later(wire, frames, count, ret_taken)
						: send_now(wire, frames, count, ret_taken);
}

int wire_send(struct net *net, const struct net_frame *frame)
{
	unsigned int taken;

	return send_all(wire_from_net(net), frame, 1, &taken);
}

int wire_send_many(struct net *net, struct net_frame *frames, unsigned int count,
		   unsigned int *ret_taken)
{
	int err = send_all(wire_from_net(net), frames, count, ret_taken);

	for (unsigned int i = 0; i < *ret_taken; i++) {
		net_count_sent(net, &frames[i]);
	}
	return err;
}

/* W2. Without room it waits for that, and is not tried again and again. */
void wire_batch_end(struct net *net)
{
	struct wire *wire = wire_from_net(net);

	if (!wire->waits && !wire->is_stopping) {
		(void)flush(wire);
	}
}

void wire_send_init(struct wire *wire)
{
	wire->writable.fn = on_writable;
	for (unsigned int i = 0; i < WIRE_PUTS; i++) {
		wire->put_iov[i].iov_base = wire->put_memory + (size_t)i * WIRE_PUT_BYTES;
		wire->put[i].msg_hdr =
			(struct msghdr){ .msg_iov = &wire->put_iov[i], .msg_iovlen = 1 };
	}
}

int wire_write_messages(struct wire *wire, struct mmsghdr *messages, unsigned int count,
			unsigned int *ret_done)
{
	for (unsigned int i = 0; i < count;) {
		int sent = sendmmsg(wire->fd, messages + i, count - i, MSG_DONTWAIT | MSG_NOSIGNAL);

		wire->calls++;
		*ret_done = i;
		if (sent > 0) {
			i += (unsigned int)sent;
			continue;
		}
		if (errno == EAGAIN) {
			return -EAGAIN;
		}
		if (errno != EINTR) {
			/* Down, longer than its MTU, or its queue is full: a wire may lose it. */
			wire->refused++;
			wire->net.counters.send_lost++;
			i++;
		}
	}
	*ret_done = count;
	return 0;
}
