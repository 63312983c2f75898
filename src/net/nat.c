/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "net/nat_internal.h"
#include "net/offload.h"

/*
 * libslirp's MTU decides the size of the TCP segments that it makes, also for guests that have asked
 * for smaller ones: it forgets the options of a SYN when connect(2) does not succeed at once. 32120
 * is 22 times 1460, the commonest guest's segment; two of them fill the window that Linux opens with
 * (64240); and a frame of this size with what a Linux guest puts around it is just below 32 KiB, one
 * allocation of order 3. What a guest cannot take whole is cut for it (deliver_large()).
 */
#define SLIRP_MSS            32120U
#define SLIRP_MTU            (SLIRP_MSS + 60)

/* libslirp takes IPv6 only up to its MTU: larger segments are cut to whole ones below it. */
#define SLIRP_IPV6_BYTES_MAX (NET_HEADER_BYTES + SLIRP_MTU)

/* What slirp_pollfds_fill() asks for when it has nothing to wait for. */
#define SLIRP_IDLE_MS        1000U

#define NS_PER_MS            1000000ULL

/* 10.0.2.0/24: the guest's, when there is one */
#define NAT_NETWORK          0x0a000200U
#define NAT_PREFIX_BITS      24

static struct nat *from_net(struct net *net)
{
	return container_of(net, struct nat, net);
}

void nat_round_soon(struct nat *nat)
{
	if (!nat->in_round) {
		loop_defer(nat->net.loop, &nat->round);
	}
}

/* ---- to the guest ------------------------------------------------------------------------------ */

void nat_deliver(struct nat *nat, const struct net_frame *frame)
{
	nat->delivered = true;
	if (fifo_is_empty(&nat->backlog) && !net_deliver(&nat->net, frame)) {
		return;
	}
	nat->counters.backlogged++;
	if (fifo_put(&nat->backlog, frame, NULL)) {
		nat->counters.backlog_lost++;
		nat->net.counters.deliver_lost++;
	}
}

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	struct nat *nat = ctx;
	struct net_frame frame = { .iov = iov, .iov_count = count, .bytes = bytes };

	if (nat->cutting_tcp) {
		frame.l4 = NET_L4_TCP;
		frame.flags = NET_FRAME_CHECKSUM_GOOD; /* made a moment ago */
	}
	nat->counters.cut++;
	nat_deliver(nat, &frame);
}

/* A frame longer than the guest's MTU. */
static void deliver_large(struct nat *nat, struct net_frame *frame, const uint8_t *bytes,
			  const struct net_headers *headers)
{
	uint32_t mtu = nat->net.config.mtu;
	int err;

	if (headers->protocol == NET_IP_TCP && !headers->is_fragment) {
		uint32_t mss = mtu - (headers->ip_version == 4 ? 40 : 60);

		if (!nat->no_large && frame->bytes <= nat->net.config.coalesce_bytes_max) {
			frame->flags |= NET_FRAME_COALESCED;
			frame->mss = mss;
			nat_deliver(nat, frame);
			return;
		}
		/* A connection from before the guest changed its mind about large frames. */
		nat->cutting_tcp = true;
		err = net_cut_tcp(bytes, frame->bytes, mss, on_piece, nat);
		nat->cutting_tcp = false;
	} else {
		err = net_cut_ip(bytes, frame->bytes, mtu, ++nat->fragment_id, on_piece, nat);
	}
	if (err) {
		nat->net.counters.deliver_lost++;
	}
}

static ssize_t on_slirp_packet(const void *buf, size_t len, void *opaque)
{
	struct nat *nat = opaque;
	struct iovec iov = { (void *)buf, len };
	struct net_frame frame = { .iov = &iov, .iov_count = 1, .bytes = (uint32_t)len };
	struct net_headers headers;

	if (len < NET_HEADER_BYTES || len > NET_FRAME_BYTES_MAX) {
		return -1;
	}
	if (nat->dhcp && nat_service_takes(nat, buf, frame.bytes)) {
		return (ssize_t)len;
	}
	if (net_headers_parse(buf, frame.bytes, false, &headers)) {
		headers = (struct net_headers){ .is_fragment = true }; /* ARP */
	}
	frame.l4 = net_headers_l4(&headers);
	if (frame.l4 != NET_L4_NONE) {
		frame.l4_offset = headers.l4_offset;
		frame.flags = NET_FRAME_CHECKSUM_GOOD; /* slirp has just computed it */
	}
	if (frame.bytes <= nat->net.config.mtu + NET_HEADER_BYTES) {
		nat_deliver(nat, &frame);
	} else if (headers.ip_version) {
		deliver_large(nat, &frame, buf, &headers);
	} else {
		nat->net.counters.deliver_lost++;
	}
	return (ssize_t)len;
}

/* Whether all of it went. */
static bool deliver_backlog(struct nat *nat)
{
	struct fifo_frame *entry;

	while ((entry = fifo_peek(&nat->backlog))) {
		struct iovec iov = { entry->data, entry->bytes };
		struct net_frame frame = { .iov = &iov,
					   .iov_count = 1,
					   .bytes = entry->bytes,
					   .flags = entry->flags,
					   .l4 = entry->l4,
					   .l4_offset = entry->l4_offset,
					   .mss = entry->mss };

		nat->delivered = true;
		if (net_deliver(&nat->net, &frame)) {
			return false;
		}
		fifo_pop(&nat->backlog);
	}
	return true;
}

/* ---- from the guest ---------------------------------------------------------------------------- */

static int nat_send(struct net *net, const struct net_frame *frame)
{
	struct nat *nat = from_net(net);

	if (frame->flags & NET_FRAME_VLAN && (frame->vlan_tci & 0xfff) != 0) {
		net->counters.send_lost++; /* we are on no VLAN */
		return 0;
	}
	if (nat->stopping) {
		net->counters.send_lost++;
		return 0;
	}
	if (fifo_put(&nat->input, frame, NULL)) {
		nat->input_was_full = true;
		nat->counters.input_refused++;
		return -EAGAIN;
	}
	nat_round_soon(nat);
	return 0;
}

static void on_input_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	struct nat *nat = ctx;
	uint8_t piece[SLIRP_IPV6_BYTES_MAX];
	struct net_frame frame = { .iov = iov, .iov_count = count, .bytes = bytes };

	check(bytes <= sizeof(piece));
	fifo_gather(piece, &frame);
	slirp_input(nat->slirp, piece, (int)bytes);
}

/*
 * What libslirp may see of a hostile guest's frame: its parsers are old, so what can be refused here
 * is: fragments (put together before), headers that do not fit the frame.
 */
static bool is_sound(const uint8_t *frame, uint32_t bytes)
{
	struct net_headers h;
	int err = net_headers_parse(frame, bytes, false, &h);

	if (err == -EOPNOTSUPP) {
		return bytes_be16(frame + 12) == 0x0806 && bytes >= NET_HEADER_BYTES + 28;
	}
	return !err && !h.is_fragment;
}

/* A frame of the guest's, all its checksums done. */
static void input(struct nat *nat, struct fifo_frame *frame)
{
	const uint32_t headers_max = 120; /* IPv6 with some extensions, and TCP's options */
	uint8_t *data;
	uint32_t bytes;

	if (!reassembler_take(&nat->reassembler, frame->data, frame->bytes, &data, &bytes)) {
		return;
	}
	if (!is_sound(data, bytes)) {
		nat->net.counters.send_lost++;
		return;
	}
	if (nat->dhcp && !nat_service_input(nat, data, bytes)) {
		return;
	}
	if (nat->mss_max && net_raise_mss(data, bytes, nat->mss_max)) {
		nat->counters.syns_raised++;
	}
	if (bytes <= SLIRP_IPV6_BYTES_MAX || bytes_be16(data + 12) != 0x86dd ||
	    !(frame->flags & NET_FRAME_LSO)) {
		slirp_input(nat->slirp, data, (int)bytes);
		return;
	}
	if (net_cut_tcp(data, bytes, SLIRP_IPV6_BYTES_MAX - headers_max, on_input_piece, nat)) {
		nat->net.counters.send_lost++;
	}
}

static void take_input(struct nat *nat)
{
	struct fifo_frame *frame;

	while ((frame = fifo_peek(&nat->input))) {
		if (net_offload_finish(frame->data, frame->bytes, frame->flags)) {
			nat->net.counters.send_lost++;
		} else {
			input(nat, frame);
		}
		fifo_pop(&nat->input);
	}
	if (nat->input_was_full) {
		nat->input_was_full = false;
		net_now_writable(&nat->net);
	}
}

/* ---- the round --------------------------------------------------------------------------------- */

/* Urgent data are not asked for: see nat_poll_add(). */
static int on_slirp_add(int fd, int events, void *opaque)
{
	struct nat *nat = opaque;

	return nat_poll_add(&nat->poll, fd,
			    (events & SLIRP_POLL_IN ? POLLIN : 0) |
				    (events & SLIRP_POLL_OUT ? POLLOUT : 0));
}

static int on_slirp_revents(int id, void *opaque)
{
	struct nat *nat = opaque;
	uint32_t events = nat_poll_take(&nat->poll, id, fifo_is_empty(&nat->backlog));

	return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & POLLERR ? SLIRP_POLL_ERR : 0) | (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void on_timer(struct loop_timer *timer)
{
	nat_round_soon(container_of(timer, struct nat, timer));
}

static void finish_stop(struct nat *nat)
{
	if (nat->stop_done && !nat_poll_is_busy(&nat->poll)) {
		loop_post(nat->net.loop, nat->stop_done);
		nat->stop_done = NULL;
	}
}

static void nat_round(struct loop_work *work)
{
	struct nat *nat = container_of(work, struct nat, round);
	uint32_t timeout_ms = UINT32_MAX;
	bool again;

	if (nat->stopping) {
		finish_stop(nat);
		return;
	}
	nat->counters.rounds++;
	nat->in_round = true;
	nat->delivered = false;
	deliver_backlog(nat);
	take_input(nat);
	nat_service_answer(nat);
	slirp_pollfds_poll(nat->slirp, 0, on_slirp_revents, nat);
	nat_poll_begin(&nat->poll);
	slirp_pollfds_fill(nat->slirp, &timeout_ms, on_slirp_add, nat);
	again = nat_poll_end(&nat->poll) && fifo_is_empty(&nat->backlog);
	if (nat->delivered) {
		net_deliver_end(&nat->net);
	}
	nat->in_round = false;
	if (again || nat->answer_count || !fifo_is_empty(&nat->input)) {
		nat_round_soon(nat);
	}
	if (timeout_ms < SLIRP_IDLE_MS) {
		loop_timer_arm(&nat->timer, timeout_ms * NS_PER_MS);
	} else {
		loop_timer_cancel(&nat->timer);
	}
}

static void on_poll_ready(struct nat_poll *poll)
{
	nat_round_soon(container_of(poll, struct nat, poll));
}

static void nat_room(struct net *net)
{
	nat_round_soon(from_net(net));
}

/*
 * A guest's SYNs are raised to what libslirp makes anyway, in multiples of the guest's own size, so
 * that where libslirp does heed them coalesced frames are made of whole segments.
 */
static void nat_configured(struct net *net)
{
	struct nat *nat = from_net(net);
	uint32_t max = net->config.coalesce_bytes_max;
	const uint32_t headers = NET_HEADER_BYTES + 60; /* of the longer kind, IPv6 */

	nat->mss_max = !net->front || nat->no_large || max <= headers
			       ? 0
			       : (uint32_t)num_min(max - headers, SLIRP_MSS);
	nat_round_soon(nat);
}

/* ---- slirp's other wishes ---------------------------------------------------------------------- */

static void on_slirp_guest_error(const char *msg, void *opaque)
{
	struct nat *nat = opaque;

	(void)msg;
	nat->counters.guest_errors++;
}

static int64_t on_slirp_clock(void *opaque)
{
	(void)opaque;
	return (int64_t)loop_now_ns();
}

/* The one timer that slirp makes: IPv6 router advertisements. */
struct nat_timer {
	struct loop_timer timer;
	struct nat *nat;
	SlirpTimerId id;
	void *cb_opaque;
};

static void on_slirp_timer(struct loop_timer *timer)
{
	struct nat_timer *t = container_of(timer, struct nat_timer, timer);
	struct nat *nat = t->nat;

	nat->in_round = true;
	nat->delivered = false;
	slirp_handle_timer(nat->slirp, t->id, t->cb_opaque);
	if (nat->delivered) {
		net_deliver_end(&nat->net);
	}
	nat->in_round = false;
	nat_round_soon(nat);
}

static void *on_slirp_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct nat *nat = opaque;
	struct nat_timer *t = calloc(1, sizeof(*t));

	check(t); /* libslirp itself ends the process when it gets no memory */
	*t = (struct nat_timer){ .nat = nat, .id = id, .cb_opaque = cb_opaque };
	loop_timer_init(&t->timer, nat->net.loop, on_slirp_timer);
	return t;
}

static void on_slirp_timer_free(void *timer, void *opaque)
{
	struct nat_timer *t = timer;

	(void)opaque;
	if (t) {
		loop_timer_cancel(&t->timer);
		free(t);
	}
}

static void on_slirp_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct nat_timer *t = timer;
	int64_t now_ms = (int64_t)(loop_now_ns() / NS_PER_MS);

	(void)opaque;
	loop_timer_arm(&t->timer,
		       expire_ms > now_ms ? (uint64_t)(expire_ms - now_ms) * NS_PER_MS : 0);
}

static void on_slirp_register(int fd, void *opaque)
{
	/* A socket is known when it is first to be polled. */
	(void)fd;
	(void)opaque;
}

static void on_slirp_unregister(int fd, void *opaque)
{
	struct nat *nat = opaque;

	nat_poll_forget(&nat->poll, fd);
}

static void on_slirp_notify(void *opaque)
{
	nat_round_soon(opaque);
}

static const SlirpCb slirp_callbacks = {
	.send_packet = on_slirp_packet,
	.guest_error = on_slirp_guest_error,
	.clock_get_ns = on_slirp_clock,
	.timer_free = on_slirp_timer_free,
	.timer_mod = on_slirp_timer_mod,
	.register_poll_fd = on_slirp_register,
	.unregister_poll_fd = on_slirp_unregister,
	.notify = on_slirp_notify,
	.timer_new_opaque = on_slirp_timer_new,
};

/* ---- life -------------------------------------------------------------------------------------- */

static void nat_stop(struct net *net, struct loop_work *done)
{
	struct nat *nat = from_net(net);

	nat->stopping = true;
	nat->in_round = true; /* no rounds any more on slirp's behalf */
	loop_timer_cancel(&nat->timer);
	if (nat->slirp) {
		slirp_cleanup(nat->slirp);
		nat->slirp = NULL;
	}
	nat->in_round = false;
	nat->stop_done = done;
	nat_round_soon(nat);
}

static void nat_destroy(struct net *net)
{
	struct nat *nat = from_net(net);

	if (nat->slirp) {
		slirp_cleanup(nat->slirp); /* never ran: nothing is armed */
	}
	loop_timer_cancel(&nat->timer);
	loop_cancel(net->loop, &nat->round);
	nat_poll_fini(&nat->poll);
	fifo_fini(&nat->input);
	fifo_fini(&nat->backlog);
	reassembler_fini(&nat->reassembler);
	dhcp_destroy(nat->dhcp);
	free(nat);
}

static void nat_facts(const struct net *net, net_fact_fn *fn, void *ctx)
{
	const struct nat *nat = container_of(net, struct nat, net);

	fn(ctx, "rounds", nat->counters.rounds);
	fn(ctx, "input_refused", nat->counters.input_refused);
	fn(ctx, "backlogged", nat->counters.backlogged);
	fn(ctx, "backlog_lost", nat->counters.backlog_lost);
	fn(ctx, "cut", nat->counters.cut);
	fn(ctx, "syns_raised", nat->counters.syns_raised);
	fn(ctx, "guest_errors", nat->counters.guest_errors);
	fn(ctx, "reassembled", nat->reassembler.completed);
	fn(ctx, "polls_armed", nat->poll.arms);
	fn(ctx, "polls_cancelled", nat->poll.cancels);
	fn(ctx, "polls_refused", nat->poll.refused);
	fn(ctx, "forwards", nat->forward_count);
	if (nat->dhcp) {
		nat_service_facts(nat, fn, ctx);
	}
}

static const struct net_ops nat_ops = {
	.kind = "nat",
	.send = nat_send,
	.room = nat_room,
	.configured = nat_configured,
	.stop = nat_stop,
	.destroy = nat_destroy,
	.facts = nat_facts,
};

struct nat *nat_of(const struct net *net)
{
	check(net->ops == &nat_ops);
	return container_of(net, struct nat, net);
}

static Slirp *start_slirp(struct nat *nat, bool restricted)
{
	const struct net_nat_network *n = &nat->network;
	SlirpConfig config = { .version = 4,
			       .restricted = restricted,
			       .in_enabled = true,
			       .in6_enabled = true,
			       .vprefix_len = 64,
			       .vhostname = "tabique",
			       .if_mtu = SLIRP_MTU,
			       .if_mru = SLIRP_MTU };

	config.vnetwork.s_addr = htonl(n->network);
	config.vnetmask.s_addr = htonl(UINT32_MAX << (32 - n->prefix_bits));
	config.vhost.s_addr = htonl(n->gateway);
	config.vdhcp_start.s_addr = htonl(n->pool_first);
	config.vnameserver.s_addr = htonl(n->dns);
	inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &config.vhost6);
	inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
	return slirp_new(&config, &slirp_callbacks, nat);
}

/* One guest's network, or a switch's. */
static int choose_network(struct nat *nat, const struct net_nat_network *network,
			  struct diag *reterr)
{
	if (!network) {
		return net_nat_network_init(&nat->network, NAT_NETWORK, NAT_PREFIX_BITS, reterr);
	}
	nat->network = *network;
	return nat_service_start(nat, reterr);
}

int net_nat_create(struct loop *loop, const struct net_nat_config *config, struct net **ret,
		   struct diag *reterr)
{
	struct nat *nat = fault_alloc(1, sizeof(*nat));
	int err = 0;

	if (!nat) {
		return diag_set(reterr, -ENOMEM, "no memory for a network");
	}
	net_init(&nat->net, &nat_ops, loop);
	nat->no_large = config->no_large;
	loop_work_init(&nat->round, nat_round);
	loop_timer_init(&nat->timer, loop, on_timer);
	if (nat_poll_init(&nat->poll, loop, on_poll_ready) ||
	    fifo_init(&nat->input, NAT_INPUT_BYTES) ||
	    fifo_init(&nat->backlog, NAT_BACKLOG_BYTES) || reassembler_init(&nat->reassembler)) {
		err = diag_set(reterr, -ENOMEM, "no memory for a network");
		goto out;
	}
	err = choose_network(nat, config->network, reterr);
	if (err) {
		goto out;
	}
	nat->slirp = start_slirp(nat, config->restricted);
	if (!nat->slirp) {
		err = diag_set(reterr, -EIO, "libslirp %s refuses our configuration",
			       slirp_version_string());
		goto out;
	}
	for (size_t i = 0; i < config->forward_count && !err; i++) {
		err = net_nat_forward_add(&nat->net, &config->forwards[i], reterr);
	}
out:
	if (err) {
		nat_destroy(&nat->net);
		return err;
	}
	nat_round_soon(nat);
	*ret = &nat->net;
	return 0;
}
