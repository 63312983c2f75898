/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>

#include "net/net_impl.h"

void net_init(struct net *net, const struct net_ops *ops, struct loop *loop)
{
	*net = (struct net){ .ops = ops,
			     .loop = loop,
			     .mtu_max = NET_MTU_MAX,
			     .link_up = true,
			     .config = { .mtu = NET_MTU_DEFAULT } };
}

struct loop *net_loop(const struct net *net)
{
	return net->loop;
}

int net_twin(struct net *net, struct loop *loop, struct net **ret)
{
	return net->ops->twin ? net->ops->twin(net, loop, ret) : -EOPNOTSUPP;
}

unsigned int net_ends_max(const struct net *net)
{
	return net->ops->ends_max ? net->ops->ends_max : 1;
}

int net_attach(struct net *net, struct net_front *front, const struct net_front_config *config)
{
	loop_check_here(net->loop);
	if (net->front) {
		return -EBUSY;
	}
	net->front = front;
	net_configure(net, config);
	return 0;
}

void net_configure(struct net *net, const struct net_front_config *config)
{
	net->config = *config;
	if (net->ops->configured) {
		net->ops->configured(net);
	}
}

void net_detach(struct net *net)
{
	loop_check_here(net->loop);
	if (!net->front) {
		return;
	}
	net->front = NULL;
	if (net->ops->configured) {
		net->ops->configured(net);
	}
}

void net_stop(struct net *net, struct loop_work *done)
{
	net_detach(net);
	if (net->ops->stop) {
		net->ops->stop(net, done);
		return;
	}
	loop_post(net->loop, done);
}

void net_destroy(struct net *net)
{
	if (!net) {
		return;
	}
	check(!net->front);
	net->ops->destroy(net);
}

void net_count_sent(struct net *net, const struct net_frame *frame)
{
	net->counters.sent_frames++;
	net->counters.sent_bytes += frame->bytes;
	net->counters.sent_large += (frame->flags & NET_FRAME_LSO) != 0;
}

int net_send(struct net *net, const struct net_frame *frame)
{
	int err;

	if (frame->bytes < NET_HEADER_BYTES || frame->bytes > NET_FRAME_BYTES_MAX) {
		net->counters.send_lost++;
		return -EBADMSG;
	}
	err = net->ops->send(net, frame);
	if (err) {
		check(err == -EAGAIN);
		net->counters.send_waits++;
		return err;
	}
	net_count_sent(net, frame);
	return 0;
}

static int send_each(struct net *net, struct net_frame *frames, unsigned int count,
		     unsigned int *ret_taken)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < count; i++) {
		err = net_send(net, &frames[i]);
		if (err == -EAGAIN) {
			break;
		}
	}
	*ret_taken = i;
	return i < count ? -EAGAIN : 0;
}

int net_send_many(struct net *net, struct net_frame *frames, unsigned int count,
		  unsigned int *ret_taken)
{
	int err;

	check(count <= NET_SEND_MANY_MAX);
	if (!net->ops->send_many) {
		return send_each(net, frames, count, ret_taken);
	}
	err = net->ops->send_many(net, frames, count, ret_taken);
	check(err == 0 || err == -EAGAIN);
	check(*ret_taken <= count && (err != 0) == (*ret_taken < count));
	net->counters.send_waits += err != 0;
	return err;
}

void net_batch_end(struct net *net)
{
	if (net->ops->batch_end) {
		net->ops->batch_end(net);
	}
}

void net_room(struct net *net)
{
	if (net->ops->room) {
		net->ops->room(net);
	}
}

void net_count_delivered(struct net *net, uint32_t bytes, bool is_large)
{
	net->counters.delivered_frames++;
	net->counters.delivered_bytes += bytes;
	net->counters.delivered_large += is_large;
}

int net_deliver(struct net *net, const struct net_frame *frame)
{
	int err;

	if (!net->front) {
		net->counters.deliver_lost++;
		return 0;
	}
	err = net->front->ops->deliver(net->front, frame);
	if (err) {
		check(err == -EAGAIN);
		net->counters.deliver_waits++;
		return err;
	}
	net_count_delivered(net, frame->bytes, (frame->flags & NET_FRAME_COALESCED) != 0);
	return 0;
}

void net_deliver_end(struct net *net)
{
	if (net->front) {
		net->front->ops->batch_end(net->front);
	}
}

void net_now_writable(struct net *net)
{
	if (net->front) {
		net->front->ops->writable(net->front);
	}
}

void net_link_set(struct net *net, bool up)
{
	if (net->link_up == up) {
		return;
	}
	net->link_up = up;
	if (net->front) {
		net->front->ops->link_changed(net->front);
	}
}

bool net_link_is_up(const struct net *net)
{
	return net->link_up;
}

uint32_t net_mtu_max(const struct net *net)
{
	return net->mtu_max;
}

const struct net_counters *net_counters(const struct net *net)
{
	return &net->counters;
}

const char *net_kind(const struct net *net)
{
	return net->ops->kind;
}

void net_facts(const struct net *net, net_fact_fn *fn, void *ctx)
{
	if (net->ops->facts) {
		net->ops->facts(net, fn, ctx);
	}
}
