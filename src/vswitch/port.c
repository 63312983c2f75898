/* SPDX-License-Identifier: MIT */
/* What ends of both sides have in common: how cores come to know them, and forget them. */
#include <errno.h>
#include <string.h>

#include "vswitch/core_internal.h"

static struct core *core_of(struct vswitch *vswitch, const struct loop *loop)
{
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		if (vswitch->cores[i]->loop == loop) {
			return vswitch->cores[i];
		}
	}
	return NULL;
}

/* The lowest free queue; ends of one port may be made on several loops. */
static int claim(struct port *port)
{
	uint64_t claimed = atomic_load(&port->claimed);
	int queue;

	do {
		if (claimed == UINT64_MAX) {
			return -EBUSY;
		}
		queue = __builtin_ctzll(~claimed);
	} while (!atomic_compare_exchange_weak(&port->claimed, &claimed, claimed | 1ULL << queue));
	return queue;
}

/* The rate that its sender is held to allows more; or it has waited for a guest long enough. */
static void on_timer(struct loop_timer *timer)
{
	port_end_resume(container_of(timer, struct port_end, timer));
}

static void on_left(struct loop_work *work)
{
	struct port_end *end = container_of(work, struct port_end, left);

	if (end->lanes_going) {
		end->has_left = true;
		return;
	}
	port_end_left(end);
}

void port_end_left(struct port_end *end)
{
	if (end->lanes) {
		loop_cancel(end->core->loop, &end->ask); /* no core can post it any more */
	}
	port_end_fini(end);
	loop_post(end->core->loop, end->done);
	if (end->is_wire) {
		port_wire_free(end);
	}
}

int port_end_init(struct port_end *end, struct vswitch *vswitch, uint16_t port, struct loop *loop)
{
	struct core *core = core_of(vswitch, loop);
	int queue;

	_Static_assert(VSWITCH_QUEUES_MAX == 64, "a port's queues are the bits of a word");
	if (port >= VSWITCH_PORTS_MAX || !vswitch->ports[port]) {
		return -ENOENT;
	}
	if (!core) {
		return -EINVAL;
	}
	queue = claim(vswitch->ports[port]);
	if (queue < 0) {
		return queue;
	}
	end->vswitch = vswitch;
	end->core = core;
	end->port = port;
	end->queue = (uint16_t)queue;
	atomic_fetch_add(&vswitch->ends_on[core->index], 1);
	end->round = end->sent_round = core->round - 1;
	sched_entry_init(&end->sched,
			 core->ports[port].policy ? core->ports[port].policy->limits.weight : 1);
	loop_timer_init(&end->timer, loop, on_timer);
	loop_work_init(&end->left, on_left);
	list_init(&end->link);
	list_init(&end->dirty);
	list_init(&end->yield);
	list_init(&end->held);
	return 0;
}

void port_end_fini(struct port_end *end)
{
	loop_timer_cancel(&end->timer);
	hold_forget(end);
	sched_entry_fini(&end->sched);
	list_remove(&end->link);
	list_remove(&end->dirty);
	list_remove(&end->yield);
	atomic_fetch_sub(&end->vswitch->ends_on[end->core->index], 1);
	atomic_fetch_and(&end->vswitch->ports[end->port]->claimed, ~(1ULL << end->queue));
}

void port_end_join(struct port_end *end)
{
	loop_check_here(end->core->loop);
	if (list_is_empty(&end->link)) {
		list_append(&end->core->ends, &end->link);
		atomic_store(&end->vswitch->ports[end->port]->ends[end->queue], end);
	}
	port_end_changed(end);
}

void port_end_changed(struct port_end *end)
{
	vswitch_port_changed(end->vswitch, end->port);
}

void port_end_leave(struct port_end *end, struct loop_work *done)
{
	loop_check_here(end->core->loop);
	end->done = done;
	end->is_leaving = true;
	loop_timer_cancel(&end->timer);
	hold_forget(end);
	if (list_is_empty(&end->link)) {
		on_left(&end->left); /* nobody was told */
		return;
	}
	port_end_changed(end);
}

void port_end_resume(struct port_end *end)
{
	if (end->is_leaving) {
		return;
	}
	if (end->is_wire) {
		net_room(end->net);
	} else {
		net_now_writable(end->net);
	}
}
