/* SPDX-License-Identifier: MIT */
/* A back end that leads nowhere, or back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/net_impl.h"
#include "net/steer.h"

#define ECHO_FIFO_BYTES (1U << 20)

struct net_null {
	struct net net;
	/* with several ends: the first, and in that all of them */
	struct net_null *first, *ends[NET_NULL_ENDS_MAX];
	struct steer steer;
	bool echo, blocked, was_blocked;
	struct fifo echoes;
	struct loop_work work;
};

static struct net_null *from_net(struct net *net)
{
	return container_of(net, struct net_null, net);
}

static void swap_addresses(uint8_t *frame)
{
	uint8_t keep[NET_MAC_BYTES];

	memcpy(keep, frame, NET_MAC_BYTES);
	memcpy(frame, frame + NET_MAC_BYTES, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, keep, NET_MAC_BYTES);
}

static void on_work(struct loop_work *work)
{
	struct net_null *null = container_of(work, struct net_null, work);
	struct fifo_frame *entry;

	while ((entry = fifo_peek(&null->echoes))) {
		struct iovec iov = { entry->data, entry->bytes };
		struct net_frame frame = { .iov = &iov,
					   .iov_count = 1,
					   .bytes = entry->bytes,
					   .flags = entry->flags & NET_FRAME_VLAN,
					   .vlan_tci = entry->vlan_tci };

		if (net_deliver(&null->net, &frame)) {
			break;
		}
		fifo_pop(&null->echoes);
	}
	net_deliver_end(&null->net);
	if (null->was_blocked && !null->blocked && null->echoes.frames < NET_NULL_ECHO_FRAMES) {
		null->was_blocked = false;
		net_now_writable(&null->net);
	}
}

static int null_send(struct net *net, const struct net_frame *frame)
{
	struct net_null *null = from_net(net);

	if (null->blocked || null->echoes.frames >= NET_NULL_ECHO_FRAMES) {
		null->was_blocked = true;
		return -EAGAIN;
	}
	if (!null->echo) {
		return 0;
	}
	struct fifo_frame *entry;

	if (fifo_put(&null->echoes, frame, &entry)) {
		null->was_blocked = true;
		return -EAGAIN;
	}
	swap_addresses(entry->data);
	loop_defer(net->loop, &null->work);
	return 0;
}

static void null_room(struct net *net)
{
	loop_defer(net->loop, &from_net(net)->work);
}

static void null_stop(struct net *net, struct loop_work *done)
{
	loop_cancel(net->loop, &from_net(net)->work);
	loop_post(net->loop, done);
}

static void null_destroy(struct net *net)
{
	struct net_null *null = from_net(net);

	for (unsigned int i = 0; i < NET_NULL_ENDS_MAX; i++) {
		if (null->first && null->first->ends[i] == null) {
			null->first->ends[i] = NULL;
		}
	}
	loop_cancel(net->loop, &null->work);
	fifo_fini(&null->echoes);
	free(null);
}

static int null_twin(struct net *net, struct loop *loop, struct net **ret);

static void null_configured(struct net *net)
{
	if (net->front) {
		steer_init(&from_net(net)->steer, &net->config.rss);
	}
}

static const struct net_ops null_ops = {
	.kind = "null",
	.send = null_send,
	.room = null_room,
	.stop = null_stop,
	.destroy = null_destroy,
};

/* The same with several ends. */
static const struct net_ops null_ops_many = {
	.kind = "null",
	.send = null_send,
	.twin = null_twin,
	.ends_max = NET_NULL_ENDS_MAX,
	.configured = null_configured,
	.room = null_room,
	.stop = null_stop,
	.destroy = null_destroy,
};

static bool is_null(const struct net *net)
{
	return net->ops == &null_ops || net->ops == &null_ops_many;
}

static struct net_null *make(struct loop *loop, bool echo, const struct net_ops *ops)
{
	struct net_null *null = fault_alloc(1, sizeof(*null));

	if (!null || (echo && fifo_init(&null->echoes, ECHO_FIFO_BYTES))) {
		free(null);
		return NULL;
	}
	net_init(&null->net, ops, loop);
	null->echo = echo;
	loop_work_init(&null->work, on_work);
	return null;
}

static int null_twin(struct net *net, struct loop *loop, struct net **ret)
{
	struct net_null *first = from_net(net), *null;
	unsigned int at = 1;

	while (at < NET_NULL_ENDS_MAX && first->ends[at]) {
		at++;
	}
	if (at == NET_NULL_ENDS_MAX) {
		return -ENOSPC;
	}
	null = make(loop, first->echo, &null_ops_many);
	if (!null) {
		return -ENOMEM;
	}
	null->first = first;
	first->ends[at] = null;
	*ret = &null->net;
	return 0;
}

int net_null_create(struct loop *loop, bool echo, struct net **ret, struct diag *reterr)
{
	struct net_null *null = make(loop, echo, &null_ops);

	if (!null) {
		return diag_set(reterr, -ENOMEM, "no memory for a network");
	}
	*ret = &null->net;
	return 0;
}

int net_null_create_many(struct loop *loop, bool echo, struct net **ret)
{
	struct net_null *null = make(loop, echo, &null_ops_many);

	if (!null) {
		return -ENOMEM;
	}
	null->first = null->ends[0] = null;
	*ret = &null->net;
	return 0;
}

void net_null_set_link(struct net *net, bool up)
{
	check(is_null(net));
	net_link_set(net, up);
}

void net_null_block(struct net *net, bool blocked)
{
	struct net_null *null = from_net(net);

	check(is_null(net));
	null->blocked = blocked;
	if (!blocked) {
		loop_defer(net->loop, &null->work);
	}
}

int net_null_deliver(struct net *net, const struct net_frame *frame)
{
	int err;

	check(is_null(net));
	err = net_deliver(net, frame);
	net_deliver_end(net);
	return err;
}

unsigned int net_null_deliver_steered(struct net *net, const struct net_frame *frame, int *ret_err)
{
	struct net_null *first = from_net(net);
	struct net_frame copy = *frame;
	unsigned int queue;

	check(net->ops == &null_ops_many && first->first == first);
	queue = steer_frame(&first->steer, &copy);
	check(queue < NET_NULL_ENDS_MAX && first->ends[queue]);
	*ret_err = net_null_deliver(&first->ends[queue]->net, &copy);
	return queue;
}
