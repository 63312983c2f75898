/* SPDX-License-Identifier: MIT */
#include "net/away.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/net_impl.h"

struct net_away {
	struct net net;
	bool waits; /* somebody found no room */
};

static struct net_away *from_net(struct net *net)
{
	return container_of(net, struct net_away, net);
}

static int away_send(struct net *net, const struct net_frame *frame)
{
	(void)frame;
	if (net->link_up) {
		from_net(net)->waits = true;
		return -EAGAIN;
	}
	net->counters.send_lost++;
	return 0;
}

static int away_twin(struct net *net, struct loop *loop, struct net **ret)
{
	(void)net;
	return net_away_create(loop, ret);
}

static void away_destroy(struct net *net)
{
	free(from_net(net));
}

static const struct net_ops away_ops = {
	.kind = "away",
	.send = away_send,
	.twin = away_twin,
	.ends_max = NET_AWAY_ENDS_MAX,
	.destroy = away_destroy,
};

int net_away_create(struct loop *loop, struct net **ret)
{
	struct net_away *away = fault_alloc(1, sizeof(*away));

	if (!away) {
		return -ENOMEM;
	}
	net_init(&away->net, &away_ops, loop);
	away->net.link_up = false;
	*ret = &away->net;
	return 0;
}

void net_away_set_link(struct net *net, bool up)
{
	struct net_away *away = from_net(net);

	check(net->ops == &away_ops);
	loop_check_here(net->loop);
	net_link_set(net, up);
	if (!up && away->waits) {
		away->waits = false;
		net_now_writable(net);
	}
}
