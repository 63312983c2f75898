/* SPDX-License-Identifier: MIT */
#include "net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "net/wire_internal.h"
#include "proto/ether.h"

#define NS_PER_MS     1000000ULL
#define LABEL_OFFSET  10U /* in the header: num_buffers, which nobody needs here */
/* What of a frame says whether it is a DHCP client's: Ethernet, IPv4 with options, UDP's ports. */
#define PEEK_BYTES    (ETHER_HEADER_BYTES + 60U + 4U)
#define FRAGMENT_BITS 0x1fffU

/* The group's state. */
struct pipe {
	struct net_pipe_config config;
	struct loop_timer stuck_timer; /* armed: it has been full since then */
	bool is_stuck;
	uint64_t stuck_lost;
	struct wire *wire;
};

static struct pipe *pipe_of(const struct wire *wire)
{
	return wire->group->state;
}

/* ---- frames that arrive ------------------------------------------------------------------------- */

static void say_label(const struct pipe *pipe, const uint8_t *message, uint32_t bytes)
{
	uint16_t label;

	if (!pipe->config.labelled || bytes < PIPE_HDR_BYTES + NET_HEADER_BYTES) {
		return;
	}
	label = bytes_le16(message + LABEL_OFFSET);
	if (label) {
		pipe->config.labelled(pipe->config.ctx,
				      message + PIPE_HDR_BYTES + ETHER_FROM_OFFSET, label);
	}
}

static void gone(struct wire *wire)
{
	const struct pipe *pipe = pipe_of(wire);

	wire_lost(wire);
	if (pipe->config.gone) {
		loop_post(pipe->config.told, pipe->config.gone);
	}
}

static void pipe_read(struct wire *wire)
{
	struct mmsghdr messages[WIRE_SLOTS] = { 0 };
	struct iovec iov[WIRE_SLOTS];
	int got = wire_read_messages(wire, messages, iov), n = 0;
	bool is_over;

	/* No bytes are the end of it: nobody sends a datagram without any. */
	is_over = got < 0 && errno != EAGAIN;
	for (; n < got && !is_over; n++) {
		struct wire_slot *slot = &wire->slots[n];

		is_over = messages[n].msg_len == 0;
		slot->bytes = (int)messages[n].msg_len;
		slot->has_tag = false;
		if (messages[n].msg_hdr.msg_flags & MSG_TRUNC) {
			slot->bytes = 0;
			wire->bad++;
			wire->net.counters.deliver_lost++;
		}
		say_label(pipe_of(wire), slot->buffer, (uint32_t)slot->bytes);
	}
	if (is_over) {
		gone(wire);
	}
	wire_received(wire, (unsigned int)n, got == (int)WIRE_SLOTS && !is_over);
}

/* ---- frames that leave -------------------------------------------------------------------------- */

/* The first bytes of a frame that lies in pieces behind its header; how many there were. */
static uint32_t peek(const struct msghdr *message, uint8_t ret[PEEK_BYTES])
{
	size_t skip = PIPE_HDR_BYTES;
	uint32_t have = 0;

	for (size_t i = 0; i < message->msg_iovlen && have < PEEK_BYTES; i++) {
		const struct iovec *piece = &message->msg_iov[i];
		size_t run;

		if (piece->iov_len <= skip) {
			skip -= piece->iov_len;
			continue;
		}
		run = num_min(piece->iov_len - skip, PEEK_BYTES - have);
		memcpy(ret + have, (const uint8_t *)piece->iov_base + skip, run);
		have += (uint32_t)run;
		skip = 0;
	}
	return have;
}

static bool is_dhcp_clients(const uint8_t *frame, uint32_t bytes)
{
	const uint8_t *ip = frame + ETHER_HEADER_BYTES;
	uint32_t ip_bytes;

	if (bytes < ETHER_HEADER_BYTES + 20 ||
	    bytes_be16(frame + ETHER_TYPE_OFFSET) != ETHER_TYPE_IPV4 || ip[9] != IP_PROTOCOL_UDP ||
	    (bytes_be16(ip + 6) & FRAGMENT_BITS) != 0) {
		return false;
	}
	ip_bytes = (ip[0] & 15U) * 4;
	return ETHER_HEADER_BYTES + ip_bytes + 4 <= bytes &&
	       bytes_be16(ip + ip_bytes + 2) == DHCP_SERVER_PORT;
}

/* Into the header, which is our own copy. */
static void put_label(const struct pipe *pipe, const struct msghdr *message)
{
	uint8_t *header = message->msg_iov[0].iov_base, frame[PEEK_BYTES];
	uint32_t bytes = pipe->config.label ? peek(message, frame) : 0;

	if (bytes && is_dhcp_clients(frame, bytes)) {
		bytes_put_le16(header + LABEL_OFFSET,
			       pipe->config.label(pipe->config.ctx, frame + ETHER_FROM_OFFSET));
	}
}

static void on_stuck(struct loop_timer *timer)
{
	struct pipe *pipe = container_of(timer, struct pipe, stuck_timer);

	pipe->is_stuck = true;
	wire_writable(pipe->wire);
}

static int pipe_write(struct wire *wire, struct mmsghdr *messages, unsigned int count,
		      unsigned int *ret_done)
{
	struct pipe *pipe = pipe_of(wire);
	int err;

	for (unsigned int i = 0; i < count; i++) {
		put_label(pipe, &messages[i].msg_hdr);
	}
	pipe->wire = wire;
	err = wire_write_messages(wire, messages, count, ret_done);
	if (*ret_done > 0 || !err) {
		loop_timer_cancel(&pipe->stuck_timer);
		pipe->is_stuck = false;
	}
	if (!err) {
		return 0;
	}
	if (pipe->is_stuck) {
		pipe->stuck_lost += count - *ret_done;
		wire->net.counters.send_lost += count - *ret_done;
		*ret_done = count;
		return 0;
	}
	if (!loop_timer_is_armed(&pipe->stuck_timer)) {
		loop_timer_arm(&pipe->stuck_timer, PIPE_STUCK_MS * NS_PER_MS);
	}
	return err;
}

/* ---- life --------------------------------------------------------------------------------------- */

static void pipe_stop(struct net *net, struct loop_work *done)
{
	wire_stop(net, done);
	/* What was put off has been tried once more, and may have found no room. */
	loop_timer_cancel(&pipe_of(wire_from_net(net))->stuck_timer);
}

static void pipe_destroy(struct net *net)
{
	loop_timer_cancel(&pipe_of(wire_from_net(net))->stuck_timer);
	wire_destroy(net);
}

static void pipe_facts(const struct net *net, net_fact_fn *fn, void *ctx)
{
	const struct wire *wire = wire_from_net(net);

	fn(ctx, "received_bad", wire->bad);
	fn(ctx, "send_refused", wire->refused);
	fn(ctx, "kernel_calls", wire->calls);
	fn(ctx, "stuck_lost", pipe_of(wire)->stuck_lost);
}

static const struct wire_kind pipe_kind = {
	.net = {
		.kind = "pipe",
		.send = wire_send,
		.send_many = wire_send_many,
		.batch_end = wire_batch_end,
		.room = wire_room,
		.configured = wire_configured,
		.stop = pipe_stop,
		.destroy = pipe_destroy,
		.facts = pipe_facts,
	},
	.read = pipe_read,
	.write = pipe_write,
	.fini = free,
	.says_good = true,
};

int net_pipe_pair(int ret_fds[2])
{
	const int bytes = PIPE_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds)) {
		return -errno;
	}
	for (unsigned int i = 0; i < 2; i++) {
		/* As much as this user may have. */
		if (setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes))) {
			(void)setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
		}
	}
	return 0;
}

int net_pipe_create(struct loop *loop, const struct net_pipe_config *config, struct net **ret,
		    struct diag *reterr)
{
	struct pipe *pipe = fault_alloc(1, sizeof(*pipe));
	const struct wire_config wire = { .fds_take = &config->fd_take,
					  .ends = 1,
					  .hdr_bytes = PIPE_HDR_BYTES,
					  .link_fd_take = -1,
					  .state_take = pipe };

	if (!pipe) {
		close(config->fd_take);
		return diag_set(reterr, -ENOMEM, "no memory for a network");
	}
	*pipe = (struct pipe){ .config = *config };
	loop_timer_init(&pipe->stuck_timer, loop, on_stuck);
	return wire_create(loop, &pipe_kind, &wire, ret, reterr);
}

int net_pipe_replace(struct net *net, int fd_take)
{
	struct wire *wire = wire_from_net(net);

	check(net->ops == &pipe_kind.net);
	loop_timer_cancel(&pipe_of(wire)->stuck_timer);
	pipe_of(wire)->is_stuck = false;
	return wire_found(wire, fd_take);
}
