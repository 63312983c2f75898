/* SPDX-License-Identifier: MIT */
/*
 * NAT: the input is frames from a hostile guest, each behind its length and its offload flags; they go
 * to a NAT for one guest and, by a bit beside the flags, to one that is a switch's. The
 * guest is restricted, so that nothing leaves the machine; what this looks for is what a guest can do
 * to libslirp through us.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/nat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUTS_PER_NET 500

struct guest {
	struct net_front front;
	bool full;
	unsigned int frames;
};

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct guest *guest = container_of(front, struct guest, front);
	uint32_t bytes = 0;

	for (int i = 0; i < frame->iov_count; i++) {
		bytes += (uint32_t)frame->iov[i].iov_len;
	}
	check(bytes == frame->bytes);
	guest->frames++;
	return guest->full ? -EAGAIN : 0;
}

static void on_event(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops front_ops = { on_deliver, on_event, on_event, on_event };

static struct loop *loop;
static struct net *nets[2];
static struct guest guest = { .front = { &front_ops } };
static unsigned int inputs;
static bool stopped;

static void on_stopped(struct loop_work *work)
{
	(void)work;
	stopped = true;
}

static void settle(void)
{
	for (int i = 0; i < 8 && loop_turn(loop); i++) {}
}

static void drop(struct net *net)
{
	struct loop_work done;

	net_detach(net);
	stopped = false;
	loop_work_init(&done, on_stopped);
	net_stop(net, &done);
	while (!stopped) {
		loop_turn(loop);
	}
	net_destroy(net);
}

static void make(void)
{
	struct net_nat_network network;
	struct net_nat_config config = { .restricted = true };
	const struct net_front_config front = { .mtu = 1500, .coalesce_bytes_max = 65549 };
	struct diag diag;

	if (nets[0] && inputs++ < INPUTS_PER_NET) {
		return;
	}
	if (!loop) {
		check(loop_create("fuzz", &loop, &diag) == 0);
	}
	check(net_nat_network_init(&network, 0x0a000200, 24, &diag) == 0);
	for (int i = 0; i < 2; i++) {
		if (nets[i]) {
			drop(nets[i]);
		}
		config.network = i ? &network : NULL;
		check(net_nat_create(loop, &config, &nets[i], &diag) == 0);
		check(net_attach(nets[i], &guest.front, &front) == 0);
	}
	inputs = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor input = bytes_cursor(data, size);

	make();
	while (input.left >= 4 && !input.failed) {
		uint16_t length = bytes_take_le16(&input);
		uint8_t flags = bytes_take_u8(&input), control = bytes_take_u8(&input);
		struct net_frame frame = { .flags = flags & 7, .mss = 1460, .iov_count = 1 };
		struct iovec iov;

		frame.bytes = (uint32_t)num_min(length, input.left);
		iov = (struct iovec){ (void *)(uintptr_t)bytes_take(&input, frame.bytes),
				      frame.bytes };
		frame.iov = &iov;
		guest.full = control & 1;
		/* Checksums that are right get a frame further. */
		if (!(control & 2)) {
			frame.flags |= NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM;
		}
		(void)!net_send(nets[(control & 8) != 0], &frame);
		if (control & 4) {
			settle();
		}
	}
	guest.full = false;
	net_room(nets[0]);
	net_room(nets[1]);
	settle();
	return 0;
}
