/* SPDX-License-Identifier: MIT */
/*
 * For those who implement a back end: the table of functions, and the part that net.c keeps.
 */
#pragma once

#include "net/net.h"

struct net_ops {
	const char *kind;

	/* net_send(), length checked. 0, or -EAGAIN and later net_now_writable(). */
	int (*send)(struct net *net, const struct net_frame *frame);
	/* Optional: net_send_many(), lengths not checked. Without it send() is called for each. */
	int (*send_many)(struct net *net, struct net_frame *frames, unsigned int count,
			 unsigned int *ret_taken);
	/* Optional, with ends_max: net_twin(). */
	int (*twin)(struct net *net, struct loop *loop, struct net **ret);
	unsigned int ends_max; /* 0 is 1 */
	/* Optional. */
	void (*batch_end)(struct net *net);
	void (*room)(struct net *net);
	/* Optional: net->config has changed, or there is a front end now or none any more. */
	void (*configured)(struct net *net);
	/* Optional; posts done. Without it there is never anything in flight. */
	void (*stop)(struct net *net, struct loop_work *done);
	void (*destroy)(struct net *net);
	/* Optional. */
	void (*facts)(const struct net *net, net_fact_fn *fn, void *ctx);
};

/* Embedded first by implementers. */
struct net {
	const struct net_ops *ops;
	struct loop *loop;
	struct net_front *front; /* NULL: nobody */
	struct net_front_config config;
	uint32_t mtu_max;
	bool link_up;
	struct net_counters counters;
};

/* A frame taken of a batch, counted as net_send() counts: for send_many(). */
void net_count_sent(struct net *net, const struct net_frame *frame);

void net_init(struct net *net, const struct net_ops *ops, struct loop *loop);

/*
 * Hands a frame to the front end: 0, also when there is none (counted as lost); -EAGAIN: the
 * implementer keeps it until room().
 */
MUST_CHECK int net_deliver(struct net *net, const struct net_frame *frame);
void net_deliver_end(struct net *net);
void net_now_writable(struct net *net);
void net_link_set(struct net *net, bool up);
