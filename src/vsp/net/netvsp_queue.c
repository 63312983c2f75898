/* SPDX-License-Identifier: MIT */
/*
 * Queues: what belongs to a channel and its loop; and the views by which they hear from the primary
 * (the picture is in netvsp_internal.h).
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vsp/net/netvsp_internal.h"
#include "vsp/net/netvsp_lane.h"

/* ---- views ------------------------------------------------------------------------------------- */

/* Zeroed before, so that two of the same content are the same bytes. */
static void view_make(const struct netvsp *nic, struct netvsp_view *view)
{
	memset(view, 0, sizeof(*view));
	view->dialect = nic->dialect;
	view->operational = nic->operational;
	view->link_wanted = nic->link_wanted;
	view->has_rsc = netvsp_has_rsc(nic);
	view->filter = nic->filter;
	view->multicast_count = nic->multicast_count;
	memcpy(view->multicast, nic->multicast, sizeof(view->multicast));
	view->ranges_max = nic->ndis_major >= 6 ? NETVSP_BATCH_RANGES : NETVSP_BATCH_RANGES_OLD;
	if (!nic->recv_is_going) {
		view->recv = nic->recv;
	}
	if (!nic->send_is_going) {
		view->send = nic->send;
	}
	memcpy(view->config.mac, nic->mac, NET_MAC_BYTES);
	view->config.mtu = nic->mtu;
	view->config.coalesce_bytes_max = view->has_rsc ? NETVSP_COALESCED_MAX : 0;
	netvsp_rss_to_net(&nic->rss, nic->granted + 1, &view->config.rss);
}

/* The half that touches nothing but the queue. */
static void take_view(struct netvsp_queue *queue, const struct netvsp_view *view)
{
	netvsp_lanes_shut(queue); /* they go by the old one */
	if (queue->view->recv.state != view->recv.state || !view->operational || !view->filter) {
		netvsp_rx_drop(queue); /* by the old one, whose tables are still there (I5) */
	}
	if (queue->view->recv.state != view->recv.state) {
		queue->returning.count = 0;
	}
	queue->view = view;
	if (!view->filter && queue->channel) {
		/* A driver that stops waits for empty rings: what no back end takes is lost. */
		vmbus_channel_resume(queue->channel);
	}
	if (queue->lanes) {
		netvsp_lanes_go_on(queue);
	}
}

static void configure(struct netvsp_queue *queue)
{
	const struct net_front_config *config = &queue->view->config;

	if (memcmp(&queue->told, config, sizeof(*config)) != 0) {
		queue->told = *config;
		net_configure(queue->net, config);
	}
}

static void adopt(struct netvsp_queue *queue, const struct netvsp_view *view)
{
	take_view(queue, view);
	configure(queue);
}

/* A sub-channel's loop. */
static void on_adopt(struct loop_work *work)
{
	struct netvsp_queue *queue = container_of(work, struct netvsp_queue, adopt);
	struct netvsp *nic = queue->nic;

	adopt(queue, nic->published);
	if (atomic_fetch_sub(&nic->acks_wanted, 1) == 1) {
		loop_post(nic->device.loop, &nic->acked);
	}
}

/* I4: the view that is not published is nobody's. */
static struct netvsp_view *next_view(struct netvsp *nic)
{
	struct netvsp_view *view = &nic->views[nic->published == &nic->views[0]];

	view_make(nic, view);
	return view;
}

void netvsp_publish(struct netvsp *nic)
{
	netvsp_touch(nic);
	if (nic->is_publishing) {
		nic->is_stale = true;
		return;
	}
	nic->published = next_view(nic);
	adopt(&nic->queues[0], nic->published);
	if (nic->queue_count == 1) {
		return;
	}
	nic->is_publishing = true;
	atomic_store(&nic->acks_wanted, nic->queue_count - 1);
	for (unsigned int i = 1; i < nic->queue_count; i++) {
		loop_post(nic->queues[i].loop, &nic->queues[i].adopt);
	}
}

static void on_acked(struct loop_work *work)
{
	struct netvsp *nic = container_of(work, struct netvsp, acked);

	nic->is_publishing = false;
	if (nic->is_stale) {
		nic->is_stale = false;
		netvsp_publish(nic);
		return;
	}
	netvsp_settled(nic);
}

void netvsp_publish_now(struct netvsp *nic)
{
	struct netvsp_view *view = nic->published;

	/* Nobody looks now: the one that is published may change. */
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		if (nic->queues[i].view) {
			netvsp_rx_drop(&nic->queues[i]);
		}
	}
	view_make(nic, view);
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		nic->queues[i].view = view;
	}
}

/* ---- sub-channels ------------------------------------------------------------------------------ */

unsigned int netvsp_grant(struct netvsp *nic, uint32_t wanted)
{
	nic->granted = (unsigned int)num_min(wanted, nic->queue_count - 1);
	if (nic->granted == 0) {
		return 0;
	}
	netvsp_pools_split(nic);
	/* Posted before the offer: who opens one has heard of its pool, and of the number of queues. */
	netvsp_publish(nic);
	vmbus_channel_offer_subs(nic->queues[0].channel, nic->granted);
	return nic->granted;
}

void netvsp_tell_table(struct netvsp *nic)
{
	struct netvsp_queue *primary = &nic->queues[0];
	struct nvsp_message message;
	int err;

	if (!primary->channel || nic->granted == 0 || nic->table_told || !nic->dialect) {
		return;
	}
	for (unsigned int i = 1; i <= nic->granted; i++) {
		if (!atomic_load(&nic->queues[i].is_open)) {
			return;
		}
	}
	if (primary->paused || vmbus_channel_is_paused(primary->channel)) {
		return; /* the next packets come back to it; guests begin with a table of their own */
	}
	nvsp_build_send_table(nic->granted + 1, &message);
	err = vmbus_channel_send_inband(primary->channel, 0, false, message.bytes, message.length);
	nic->table_told = err != -EAGAIN; /* else writable() comes back to it */
	netvsp_touch(nic);
}

static void on_sub_opened(struct loop_work *work)
{
	netvsp_tell_table(container_of(work, struct netvsp, sub_opened));
}

/* ---- life -------------------------------------------------------------------------------------- */

static void on_go_on(struct loop_work *work)
{
	struct netvsp_queue *queue = container_of(work, struct netvsp_queue, go_on);

	if (queue->channel && !queue->is_held) {
		netvsp_rx_go_on(queue);
		if (!netvsp_rx_is_stopped(queue)) {
			(void)netvsp_rx_flush(queue); /* what lanes have brought */
		}
	}
}

void netvsp_committed(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);

	if (queue->returning.count == 0) {
		return;
	}
	netvsp_pieces_committed(queue);
	/* Not here: a commit may happen in the middle of a send. */
	if (queue->rx_wanted || queue->lanes || (queue->index == 0 && queue->nic->replies_count)) {
		loop_defer(queue->loop, &queue->go_on);
	}
}

void netvsp_unpaused(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);

	if (!queue->is_held) {
		return;
	}
	queue->is_held = false;
	configure(queue);
	if (queue->index == 0) {
		netvsp_tell_link(queue->nic);
		netvsp_tell_table(queue->nic);
	}
	netvsp_rx_writable(queue);
	if (queue->rx_wanted && !queue->paused) {
		queue->rx_wanted = 0; /* who came while it was held */
		net_room(queue->net);
	}
}

void netvsp_queue_init(struct netvsp *nic, unsigned int index, struct net *net)
{
	struct netvsp_queue *queue = &nic->queues[index];

	queue->nic = nic;
	queue->index = index;
	queue->net = net;
	queue->loop = net_loop(net);
	queue->front.ops = &netvsp_front_ops;
	loop_work_init(&queue->adopt, on_adopt);
	loop_work_init(&queue->go_on, on_go_on);
	netvsp_lanes_init(queue);
	if (index == 0) {
		loop_work_init(&nic->acked, on_acked);
		loop_work_init(&nic->sub_opened, on_sub_opened);
	}
}

void netvsp_queue_open(struct netvsp_queue *queue, struct vmbus_channel *channel)
{
	check(!queue->channel || queue->channel == channel);
	queue->channel = channel;
	/* Whoever goes on in the journal; is_held: whoever is restored from one (I6). */
	queue->log = vmbus_channel_is_journaled(channel) ? queue->nic->log : NULL;
	queue->is_held = vmbus_channel_is_journaled(channel);
	atomic_store(&queue->is_open, true);
	if (queue->index > 0) {
		loop_post(queue->nic->device.loop, &queue->nic->sub_opened);
	}
}

void netvsp_queue_forget(struct netvsp_queue *queue)
{
	netvsp_rx_drop(queue);
	queue->answer.pending = false;
	queue->tx_done = 0;
	queue->returning.count = 0;
}

static void let_go(struct netvsp_queue *queue)
{
	loop_cancel(queue->loop, &queue->go_on);
	queue->channel = NULL;
	queue->log = NULL;
	queue->is_held = false;
	atomic_store(&queue->is_open, false);
}

void netvsp_queue_leave(struct netvsp_queue *queue)
{
	uint32_t tx_done = queue->tx_done;

	netvsp_lanes_shut(queue);
	netvsp_queue_forget(queue);
	queue->tx_done = tx_done;
	let_go(queue);
}

void netvsp_queue_close(struct netvsp_queue *queue)
{
	netvsp_lanes_shut(queue);
	netvsp_queue_forget(queue);
	netvsp_pieces_reclaim(queue);
	let_go(queue);
}
