/* SPDX-License-Identifier: MIT */
/* Counters and state of a NIC, for people. */
#include "vsp/net/netvsp_internal.h"
#include "vsp/net/netvsp_lane.h"

static void put_fact(void *ctx, const char *name, uint64_t value)
{
	inspect_u64(ctx, name, value);
}

static void put_mac(struct inspect *at, const char *name, const uint8_t *mac)
{
	inspect_format(at, name, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		       mac[4], mac[5]);
}

/* Of one end: its own loop's. */
static void inspect_net(struct net *net, struct inspect *at)
{
	struct inspect back = inspect_child(at, "backend");
	const struct net_counters *n = net_counters(net);

	inspect_string(&back, "kind", net_kind(net));
	inspect_u64(&back, "sent_frames", n->sent_frames);
	inspect_u64(&back, "sent_bytes", n->sent_bytes);
	inspect_u64(&back, "sent_large", n->sent_large);
	inspect_u64(&back, "delivered_frames", n->delivered_frames);
	inspect_u64(&back, "delivered_bytes", n->delivered_bytes);
	inspect_u64(&back, "delivered_large", n->delivered_large);
	inspect_u64(&back, "send_lost", n->send_lost);
	inspect_u64(&back, "deliver_lost", n->deliver_lost);
	inspect_u64(&back, "send_waits", n->send_waits);
	inspect_u64(&back, "deliver_waits", n->deliver_waits);
	net_facts(net, put_fact, &back);
}

/* A counter of each queue, or of all together (queue NULL). */
static void put_counter(const struct netvsp *nic, const struct netvsp_queue *queue, size_t offset,
			const char *name, struct inspect *at)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < nic->queue_count; i++) {
		const uint8_t *counters = (const uint8_t *)&nic->queues[i].counters;

		if (!queue || queue->index == i) {
			total += counter_read(
				(const counter_u64 *)(const void *)(counters + offset));
		}
	}
	inspect_u64(at, name, total);
}

static void inspect_counters(const struct netvsp *nic, const struct netvsp_queue *queue,
			     struct inspect *at)
{
#define PUT(name) put_counter(nic, queue, offsetof(struct netvsp_counters, name), #name, at)
	PUT(tx_frames);
	PUT(tx_bytes);
	PUT(tx_large);
	PUT(tx_packets);
	PUT(tx_refused);
	PUT(tx_waits);
	PUT(tx_multicast);
	PUT(tx_broadcast);
	PUT(rx_frames);
	PUT(rx_bytes);
	PUT(rx_large);
	PUT(rx_packets);
	PUT(rx_filtered);
	PUT(rx_lost);
	PUT(rx_waits);
	PUT(rx_multicast);
	PUT(rx_broadcast);
	PUT(bad_completions);
	PUT(lane_frames);
	PUT(lane_granted);
#undef PUT
}

void netvsp_inspect(struct vmbus_device *device, struct inspect *at)
{
	const struct netvsp *nic = netvsp_of(device);

	inspect_string(at, "name", nic->name);
	put_mac(at, "mac", nic->mac);
	inspect_bool(at, "link", netvsp_link(nic));
	inspect_string(at, "nvsp", nic->dialect ? nic->dialect->name : "none");
	inspect_format(at, "ndis", "%u.%u", nic->ndis_major, nic->ndis_minor);
	inspect_bool(at, "operational", nic->operational);
	inspect_u64(at, "mtu", nic->mtu);
	inspect_format(at, "filter", "0x%x", nic->filter);
	inspect_bool(at, "rsc", netvsp_has_rsc(nic));
	inspect_u64(at, "queues", nic->queue_count);
	inspect_u64(at, "sub_channels", nic->granted);
	inspect_bool(at, "rss", nic->rss.is_on);
	inspect_u64(at, "recv_piece_bytes", nic->recv.piece_bytes);
	inspect_u64(at, "recv_pieces", nic->recv.pieces);
	inspect_u64(at, "recv_free", nic->queues[0].pool.count);
	inspect_u64(at, "send_sections", nic->send.sections);
	inspect_counters(nic, NULL, at);
	inspect_u64(at, "control", nic->counters.control);
	inspect_u64(at, "control_lost", nic->counters.control_lost);
	inspect_u64(at, "unknown_oids", nic->counters.unknown_oids);
	inspect_net(nic->net, at);
}

void netvsp_inspect_channel(struct vmbus_device *device, struct vmbus_channel *channel,
			    struct inspect *at)
{
	const struct netvsp_queue *queue = netvsp_queue_of(device, channel);

	bool has_pool = queue->view->recv.pieces > 0;

	inspect_u64(at, "recv_pieces", has_pool ? queue->pool.owned : 0);
	inspect_u64(at, "recv_free", has_pool ? queue->pool.count : 0);
	inspect_counters(queue->nic, queue, at);
	inspect_u64(at, "lanes", queue->lane_count);
	inspect_u64(at, "lane_refused", netvsp_lanes_refused(queue));
	if (queue->index > 0) {
		inspect_net(queue->net, at);
	}
}
