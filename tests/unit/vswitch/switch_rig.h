/* SPDX-License-Identifier: MIT */
/*
 * A switch with NICs that are nothing but a front end: each remembers what it was given, and can
 * refuse. On loops of the test's own thread, or with a thread each (rig_start()).
 */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/net.h"
#include "net/offload.h"
#include "vswitch/core.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"
#include "vswitch/stats.h"
#include "vswitch/vswitch.h"

#define RIG_PORTS 8U
#define RIG_KEPT  256U

/* A frame that a NIC got, in one piece. */
struct rig_frame {
	uint32_t bytes;
	uint16_t flags, vlan_tci;
	uint32_t mss;
	uint8_t l4;
	uint8_t *data;
};

struct rig_nic {
	struct net_front front;
	struct net_front_config config;
	struct net *net;
	bool refuses; /* deliver() says -EAGAIN */
	struct rig_frame kept[RIG_KEPT];
	unsigned int count, read;
	unsigned int ends, writables;
};

struct rig {
	struct loop *loops[2];
	unsigned int cores;
	bool has_threads;
	struct vswitch *vswitch;
	struct policy *policy; /* to be changed: rig_adopt() */
	struct rig_nic nics[RIG_PORTS];
	struct net *null; /* behind port 7: rig_wire() */
	struct port_end *wire;
	struct rig_nic *wire_nic;
	unsigned int bounds; /* vswitch_events.bound */
};

static inline void rig_keep(struct rig_nic *nic, const struct net_frame *frame)
{
	struct rig_frame *kept = &nic->kept[nic->count++ % RIG_KEPT];
	uint32_t all = 0;

	for (int i = 0; i < frame->iov_count; i++) {
		all += (uint32_t)frame->iov[i].iov_len;
	}
	assert_int_equal(all, frame->bytes);
	free(kept->data);
	kept->data = malloc(frame->bytes);
	fifo_gather(kept->data, frame);
	kept->bytes = frame->bytes;
	kept->flags = frame->flags & (uint16_t)~NET_FRAME_L4_PARTIAL;
	kept->vlan_tci = frame->vlan_tci;
	kept->mss = frame->mss;
	kept->l4 = frame->l4;
}

static inline int rig_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct rig_nic *nic = container_of(front, struct rig_nic, front);

	if (nic->refuses) {
		return -EAGAIN;
	}
	rig_keep(nic, frame);
	return 0;
}

static inline void rig_end(struct net_front *front)
{
	container_of(front, struct rig_nic, front)->ends++;
}

static inline void rig_writable(struct net_front *front)
{
	container_of(front, struct rig_nic, front)->writables++;
}

static inline void rig_link(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops rig_ops = {
	.deliver = rig_deliver,
	.batch_end = rig_end,
	.writable = rig_writable,
	.link_changed = rig_link,
};

static inline void rig_turn(struct rig *rig)
{
	for (int i = 0; i < 20; i++) {
		for (unsigned int j = 0; j < rig->cores; j++) {
			if (!rig->has_threads || j == 0) {
				loop_turn(rig->loops[j]);
			}
		}
	}
}

static inline void rig_mac(unsigned int port, uint8_t mac[6])
{
	const uint8_t bytes[6] = { 2, 0, 0, 0, 0, (uint8_t)(port + 1) };

	memcpy(mac, bytes, 6);
}

static inline void rig_bound(void *ctx)
{
	((struct rig *)ctx)->bounds++;
}

static const struct vswitch_events rig_events = { .bound = rig_bound };

static inline void rig_init(struct rig *rig, unsigned int cores)
{
	struct vswitch_config config = {
		.core_count = cores, .secret = 42, .fdb_entries = 1024, .flows = 1024
	};
	struct diag diag;

	memset(rig, 0, sizeof(*rig));
	rig->cores = cores;
	for (unsigned int i = 0; i < cores; i++) {
		assert_int_equal(loop_create("rig", &rig->loops[i], &diag), 0);
		config.loops[i] = rig->loops[i];
	}
	config.control = rig->loops[0];
	config.events = &rig_events;
	config.ctx = rig;
	assert_int_equal(vswitch_create(&config, &rig->vswitch), 0);
	assert_int_equal(policy_create(&rig->policy), 0);
}

/* The policy as it is now comes into force; rig->policy goes on as a copy. */
static inline void rig_adopt(struct rig *rig)
{
	struct policy *next;

	policy_seal(rig->policy);
	assert_int_equal(policy_copy(rig->policy, &next), 0);
	vswitch_adopt(rig->vswitch, rig->policy);
	rig->policy = next;
}

struct rig_plugging {
	struct rig *rig;
	unsigned int port;
	struct loop *loop;
};

static inline void rig_do_plug(void *arg)
{
	struct rig_plugging *p = arg;
	struct rig_nic *nic = &p->rig->nics[p->port];

	assert_int_equal(port_guest_create(p->rig->vswitch, (uint16_t)p->port, p->loop, &nic->net),
			 0);
	nic->front.ops = &rig_ops;
	rig_mac(p->port, nic->config.mac);
	nic->config.mtu = nic->config.mtu ? nic->config.mtu : 1500;
	assert_int_equal(net_attach(nic->net, &nic->front, &nic->config), 0);
}

/* A guest's NIC on a core; its address is 02:00:00:00:00:(port + 1). */
static inline void rig_plug(struct rig *rig, unsigned int port, unsigned int core)
{
	struct rig_plugging p = { rig, port, rig->loops[core] };
	char name[16];

	snprintf(name, sizeof(name), "port%u", port);
	assert_int_equal(vswitch_port_add(rig->vswitch, (uint16_t)port, name), 0);
	policy_port_init(rig->policy, (uint16_t)port, PORT_GUEST);
	rig_adopt(rig);
	loop_call(p.loop, rig_do_plug, &p);
	rig_turn(rig);
}

static inline void rig_note(struct loop_work *work)
{
	work->fn = NULL;
}

static inline void rig_do_stop(void *arg)
{
	struct rig_plugging *p = arg;
	struct rig_nic *nic = &p->rig->nics[p->port];

	net_detach(nic->net);
}

struct rig_leaving {
	struct net *net;
	struct port_end *wire;
	struct loop_work done;
	_Atomic(bool) is_done;
};

static inline void rig_left(struct loop_work *work)
{
	container_of(work, struct rig_leaving, done)->is_done = true;
}

static inline void rig_do_leave(void *arg)
{
	struct rig_leaving *leaving = arg;

	loop_work_init(&leaving->done, rig_left);
	if (leaving->wire) {
		port_wire_detach(leaving->wire, &leaving->done);
	} else {
		net_stop(leaving->net, &leaving->done);
	}
}

static inline void rig_leave(struct rig *rig, struct net *net, struct port_end *wire)
{
	struct rig_leaving leaving = { .net = net, .wire = wire };

	loop_call(net_loop(net), rig_do_leave, &leaving);
	while (!leaving.is_done) {
		rig_turn(rig);
	}
}

static inline void rig_unplug(struct rig *rig, unsigned int port)
{
	struct rig_nic *nic = &rig->nics[port];

	rig_leave(rig, nic->net, NULL);
	net_destroy(nic->net);
	nic->net = NULL;
	vswitch_port_remove(rig->vswitch, (uint16_t)port);
	for (unsigned int i = 0; i < RIG_KEPT; i++) {
		free(nic->kept[i].data);
	}
	memset(nic, 0, sizeof(*nic));
}

static inline void rig_fini(struct rig *rig)
{
	struct rig_leaving leaving = { 0 };

	for (unsigned int i = 0; i < RIG_PORTS; i++) {
		if (rig->nics[i].net) {
			rig_unplug(rig, i);
		}
	}
	loop_work_init(&leaving.done, rig_left);
	vswitch_stop(rig->vswitch, &leaving.done);
	while (!leaving.is_done) {
		rig_turn(rig);
	}
	for (unsigned int i = 1; rig->has_threads && i < rig->cores; i++) {
		loop_stop_thread(rig->loops[i]);
	}
	vswitch_destroy(rig->vswitch);
	policy_destroy(rig->policy);
	for (unsigned int i = 0; i < rig->cores; i++) {
		loop_destroy(rig->loops[i]);
	}
}

/* ---- frames ---- */

/* From port to port, with this ethertype, filled up to `bytes`. */
static inline uint32_t rig_frame(uint8_t *frame, unsigned int from, int to, uint16_t type,
				 uint32_t bytes)
{
	if (to < 0) {
		memset(frame, 0xff, 6);
	} else {
		rig_mac((unsigned int)to, frame);
	}
	rig_mac(from, frame + 6);
	bytes_put_be16(frame + 12, type);
	for (uint32_t i = 14; i < bytes; i++) {
		frame[i] = (uint8_t)(i * 7);
	}
	return bytes;
}

/* IPv4 with TCP or UDP and payload bytes; checksums as the flags leave them. The whole length. */
static inline uint32_t rig_ip(uint8_t *frame, unsigned int from, int to, uint8_t protocol,
			      uint32_t payload)
{
	uint32_t l4 = protocol == 6 ? 20 : 8;
	uint8_t *ip = frame + 14;

	rig_frame(frame, from, to, 0x0800, 14 + 20 + l4 + payload);
	memset(ip, 0, 20 + l4);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(20 + l4 + payload));
	ip[8] = 64;
	ip[9] = protocol;
	bytes_put_be32(ip + 12, 0x0a000001 + from);
	bytes_put_be32(ip + 16, 0x0a000001 + (uint32_t)to);
	bytes_put_be16(ip + 20, 1000);
	bytes_put_be16(ip + 22, 2000);
	if (protocol == 6) {
		ip[20 + 12] = 0x50;
		ip[20 + 13] = 0x10;
	} else {
		bytes_put_be16(ip + 24, (uint16_t)(8 + payload));
	}
	return 14 + 20 + l4 + payload;
}

/* Whether all checksums of a frame are right. */
static inline bool rig_sums_are_right(const struct rig_frame *frame)
{
	struct net_headers h;
	const uint8_t *l3;
	uint8_t tail[4];
	uint32_t bytes;

	if (net_headers_parse(frame->data, frame->bytes, false, &h) || h.ip_version != 4) {
		return false;
	}
	l3 = frame->data + h.l3_offset;
	bytes = h.end - h.l4_offset;
	bytes_put_be16(tail, h.protocol);
	bytes_put_be16(tail + 2, (uint16_t)bytes);
	return net_sum_fold(net_sum(l3, 20)) == 0 &&
	       net_sum_fold(net_sum(l3 + 12, 8) + net_sum(tail, 4) +
			    net_sum(frame->data + h.l4_offset, bytes)) == 0;
}

/* In pieces of 1000 bytes and with room before them. What net_send_many() says. */
static inline int rig_send_flags(struct rig *rig, unsigned int port, const uint8_t *bytes,
				 uint32_t length, uint16_t flags, uint32_t mss)
{
	struct iovec iov[128];
	struct net_frame frame = {
		.iov = iov + 1, .bytes = length, .flags = flags, .mss = mss, .l4 = NET_L4_TCP
	};
	unsigned int taken;

	for (uint32_t at = 0; at < length; at += 1000) {
		iov[1 + frame.iov_count++] =
			(struct iovec){ (uint8_t *)bytes + at, (size_t)num_min(1000, length - at) };
	}
	return net_send_many(rig->nics[port].net, &frame, 1, &taken);
}

static inline void rig_send(struct rig *rig, unsigned int port, const uint8_t *bytes,
			    uint32_t length)
{
	assert_int_equal(rig_send_flags(rig, port, bytes, length, 0, 0), 0);
	rig_turn(rig);
}

/* The next frame that the NIC got; NULL: none. */
static inline const struct rig_frame *rig_next(struct rig *rig, unsigned int port)
{
	struct rig_nic *nic = &rig->nics[port];

	return nic->read < nic->count ? &nic->kept[nic->read++ % RIG_KEPT] : NULL;
}

/* Nothing for anybody, but the frame for these. */
static inline void rig_expect(struct rig *rig, const uint8_t *bytes, uint32_t length,
			      unsigned int ports)
{
	for (unsigned int i = 0; i < RIG_PORTS; i++) {
		const struct rig_frame *frame = rig_next(rig, i);

		if (!((ports >> i) & 1)) {
			assert_null(frame);
			continue;
		}
		assert_non_null(frame);
		assert_int_equal(frame->bytes, length);
		assert_memory_equal(frame->data, bytes, length);
	}
}

static inline uint64_t rig_drops(struct rig *rig, unsigned int port, enum drop_cause cause)
{
	struct port_stats stats;

	vswitch_port_stats(rig->vswitch, (uint16_t)port, &stats);
	return stats.drops[cause];
}

#define RIG_TO(port) (1U << (port))
