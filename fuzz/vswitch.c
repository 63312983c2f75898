/* SPDX-License-Identifier: MIT */
/*
 * Frames through two switches that differ in one thing: the one takes the short path where it may, the
 * other always goes through all stages. What each NIC gets and what is counted must be the same.
 *
 * Input: a byte for each of four ports says what it is (VLAN, guard, what it takes), then frames: from
 * and to, flags, mss, length, pieces, bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "net/fifo.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"
#include "vswitch/stats.h"
#include "vswitch/vswitch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORTS      4U
#define FRAME_MAX  20000U
#define BATCH_MAX  4U
#define FRAMES_MAX 64U
#define HEADER     7U
#define WRITES_MAX 100 /* pieces of a frame */

struct nic {
	struct net_front front;
	struct net *net;
	uint64_t heard, frames; /* a hash of all that came */
};

struct side {
	struct vswitch *vswitch;
	struct nic nics[PORTS];
};

static void hash(struct nic *nic, const void *bytes, size_t length)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < length; i++) {
		nic->heard = (nic->heard ^ p[i]) * 0x100000001b3ULL;
	}
}

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct nic *nic = container_of(front, struct nic, front);
	uint16_t flags = frame->flags & (uint16_t) ~(NET_FRAME_HEAD | NET_FRAME_L4_PARTIAL);
	static uint8_t data[NET_FRAME_BYTES_MAX];
	uint32_t bytes = 0;

	hash(nic, &flags, sizeof(flags));
	hash(nic, &frame->bytes, sizeof(frame->bytes));
	if (flags & NET_FRAME_VLAN) {
		hash(nic, &frame->vlan_tci, sizeof(frame->vlan_tci));
	}
	for (int i = 0; i < frame->iov_count; i++) {
		bytes += (uint32_t)frame->iov[i].iov_len;
	}
	check(bytes == frame->bytes && bytes <= sizeof(data));
	fifo_gather(data, frame);
	hash(nic, data, bytes);
	check(!(flags & (NET_FRAME_LSO | NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM)));
	nic->frames++;
	return 0;
}

static void on_nothing(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops nic_ops = {
	.deliver = on_deliver,
	.batch_end = on_nothing,
	.writable = on_nothing,
	.link_changed = on_nothing,
};

static void make_mac(unsigned int port, uint8_t *mac)
{
	const uint8_t bytes[6] = { 2, 0, 0, 0, 0, (uint8_t)(port + 1) };

	memcpy(mac, bytes, 6);
}

static void make_policy(struct policy *policy, const uint8_t *what, bool is_plain)
{
	for (unsigned int i = 0; i < PORTS; i++) {
		struct port_policy *port = &policy->ports[i];

		policy_port_init(policy, (uint16_t)i, PORT_GUEST);
		port->vlan.mode = what[i] & 3 ? VLAN_ACCESS : VLAN_NONE;
		port->vlan.id = what[i] & 3;
		if ((what[i] & 3) == 3) {
			port->vlan = (struct vlan_policy){ .mode = VLAN_TRUNK, .id = 1 };
			vlan_allow(&port->vlan, 1);
			vlan_allow(&port->vlan, 2);
		}
		port->guard.mac = (what[i] & 4) != 0;
		port->guard.mac_count = 1;
		make_mac(i, port->guard.macs[0]);
		port->forwards = (what[i] & 8) != 0;
		port->macs_max = what[i] & 16 ? 2 : 100;
	}
	policy_seal(policy);
	for (unsigned int i = 0; i < PORTS && !is_plain; i++) {
		policy->ports[i].is_plain_in = false;
	}
}

static void set_up(struct side *side, struct loop *loop, const uint8_t *what, bool is_plain)
{
	struct vswitch_config config = { .control = loop,
					 .loops = { loop },
					 .core_count = 1,
					 .secret = 7,
					 .fdb_entries = 64,
					 .flows = 64 };
	struct policy *policy;

	check(vswitch_create(&config, &side->vswitch) == 0);
	check(policy_create(&policy) == 0);
	make_policy(policy, what, is_plain);
	vswitch_adopt(side->vswitch, policy);
	for (unsigned int i = 0; i < PORTS; i++) {
		struct nic *nic = &side->nics[i];
		struct net_front_config front = { .mtu = 1500,
						  .coalesce_bytes_max = what[i] & 32 ? 0 : 65549 };

		check(vswitch_port_add(side->vswitch, (uint16_t)i, "port") == 0);
		check(port_guest_create(side->vswitch, (uint16_t)i, loop, &nic->net) == 0);
		nic->front.ops = &nic_ops;
		make_mac(i, front.mac);
		check(net_attach(nic->net, &nic->front, &front) == 0);
	}
	loop_turn(loop);
}

static bool is_done;

static void on_done(struct loop_work *work)
{
	(void)work;
	is_done = true;
}

static void wait_for(struct loop *loop)
{
	while (!is_done) {
		loop_turn(loop);
	}
	is_done = false;
}

static void tear_down(struct side *side, struct loop *loop)
{
	struct loop_work done;

	loop_work_init(&done, on_done);
	for (unsigned int i = 0; i < PORTS; i++) {
		net_stop(side->nics[i].net, &done);
		wait_for(loop);
		net_destroy(side->nics[i].net);
	}
	vswitch_stop(side->vswitch, &done);
	wait_for(loop);
	vswitch_destroy(side->vswitch);
}

/* Frames of one batch, from one port; what is left of the input. */
struct batch {
	unsigned int from, count;
	struct net_frame frames[BATCH_MAX];
	struct iovec iov[BATCH_MAX][WRITES_MAX + 2];
	uint8_t bytes[BATCH_MAX][FRAME_MAX];
};

static void cut(struct batch *batch, unsigned int index, size_t step)
{
	struct net_frame *frame = &batch->frames[index];
	struct iovec *iov = batch->iov[index] + 1;

	frame->iov = iov;
	for (size_t at = 0; at < frame->bytes; frame->iov_count++) {
		size_t run = frame->iov_count < WRITES_MAX ? num_min(step, frame->bytes - at)
							   : frame->bytes - at;

		iov[frame->iov_count] = (struct iovec){ batch->bytes[index] + at, run };
		at += run;
	}
}

static size_t read_frame(struct batch *batch, const uint8_t *data, size_t size)
{
	unsigned int index = batch->count++, to = (data[0] >> 2) & 7;
	struct net_frame *frame = &batch->frames[index];
	uint32_t bytes = bytes_le16(data + 3) % FRAME_MAX;
	size_t have = num_min(num_min(bytes, size - HEADER), data[6]);
	uint8_t *to_mac = batch->bytes[index];

	*frame = (struct net_frame){ .bytes = (uint32_t)num_max(bytes, 1), .mss = data[2] * 8U };
	memset(batch->bytes[index], 0, bytes);
	memcpy(batch->bytes[index], data + HEADER, have);
	if (to < 4) {
		make_mac(to, to_mac);
	} else if (to == 4) {
		memset(to_mac, 0xff, 6);
	}
	if (!(data[0] & 32)) {
		make_mac(batch->from, to_mac + 6);
	}
	frame->flags = data[1] & (NET_FRAME_LSO | NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM |
				  NET_FRAME_VLAN);
	frame->vlan_tci = (uint16_t)(frame->flags & NET_FRAME_VLAN ? data[1] >> 6 : 0);
	frame->l4 = NET_L4_TCP;
	cut(batch, index, data[5] ? data[5] * 4U : 1);
	return HEADER + have;
}

static void send(struct side *side, struct batch *batch)
{
	unsigned int taken;

	check(net_send_many(side->nics[batch->from].net, batch->frames, batch->count, &taken) == 0);
}

/* The pipeline writes into iovecs: each side gets its own. */
static void send_to_both(struct side sides[2], const struct batch *batch, struct loop *loop)
{
	static struct batch copy;

	for (unsigned int i = 0; i < 2; i++) {
		copy = *batch;
		for (unsigned int j = 0; j < batch->count; j++) {
			copy.frames[j].iov = copy.iov[j] + 1;
		}
		send(&sides[i], &copy);
	}
	loop_turn(loop);
}

static void compare(struct side sides[2])
{
	for (unsigned int i = 0; i < PORTS; i++) {
		struct port_stats stats[2];

		for (unsigned int j = 0; j < 2; j++) {
			vswitch_port_stats(sides[j].vswitch, (uint16_t)i, &stats[j]);
		}
		check(sides[0].nics[i].frames == sides[1].nics[i].frames);
		check(sides[0].nics[i].heard == sides[1].nics[i].heard);
		check(memcmp(&stats[0], &stats[1], sizeof(stats[0])) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static struct batch batch;
	struct side sides[2] = { 0 };
	size_t at = PORTS;
	struct diag diag;

	if (size < PORTS) {
		return 0;
	}
	if (!loop && loop_create("fuzz", &loop, &diag)) {
		return 0;
	}
	set_up(&sides[0], loop, data, true);
	set_up(&sides[1], loop, data, false);
	for (unsigned int i = 0; i < FRAMES_MAX && size - at > HEADER; i++) {
		if (batch.count && (batch.count == BATCH_MAX || batch.from != (data[at] & 3))) {
			send_to_both(sides, &batch, loop);
			batch.count = 0;
		}
		batch.from = data[at] & 3;
		at += read_frame(&batch, data + at, size - at);
	}
	if (batch.count) {
		send_to_both(sides, &batch, loop);
		batch.count = 0;
	}
	compare(sides);
	tear_down(&sides[0], loop);
	tear_down(&sides[1], loop);
	return 0;
}
