/* SPDX-License-Identifier: MIT */
/*
 * What it costs that NAT is in a process of its own: frames between a switch and libslirp by a pipe (net/pipe.h), as
 * tabique-switch has it, beside libslirp in the same process, and the pipe alone.
 *
 *   bench_pipe [--quick]
 *
 * UDP between a guest and a socket of the host, in bursts. Both ends of the pipe are turned by one thread, one after
 * the other, so that what a burst costs is the same each time, and nobody waits for anybody's wake-up. "calls" are
 * system calls of the bridge's own, counted one by one (ptrace) without the load's; n/a where we may not trace.
 * Rates are by this thread's processor time, the best of many slices, since others use the machine: they leave out
 * that two processes may run at the same time, and what it costs to wake the other one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "loop/loop.h"
#include "meter.h"
#include "net/nat.h"
#include "net/offload.h"
#include "net/pipe.h"

#define NETWORK     0x0a420000U
#define GATEWAY     (NETWORK + 2)
#define GUEST       (NETWORK + 100)
#define GUEST_PORT  4000U
#define BURST_MAX   32U
#define FRAME_MAX   62054U
#define WARM        4U
#define COUNTED     64U /* bursts */
#define SLICE_TURNS 200U
#define TURNS_MAX   100000U

enum way { PIPE, SLIRP, SLIRP_BY_PIPE };
enum direction { OUT, IN };

struct load {
	enum way way;
	enum direction direction;
	uint32_t bytes; /* of a frame; beyond the MTU it is a segment to be cut */
	unsigned int burst;
};

struct end {
	struct net_front front;
	struct net *net;
	struct end *onward; /* NULL: what comes is only counted */
	uint64_t frames;
};

struct world {
	const struct load *load;
	struct loop *loops[2]; /* the switch's; NAT's */
	struct end guest, wire, nat;
	int host;
	struct sockaddr_in guests; /* what the host knows the guest by */
	uint8_t *frame;
};

static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 7, 1 };

/* ---- ends --------------------------------------------------------------------------------------- */

/* As NAT's process does (natd_nat.c). */
static int deliver(struct net_front *front, const struct net_frame *frame)
{
	struct end *end = container_of(front, struct end, front);
	struct net_frame copy = *frame;

	end->frames++;
	if (!end->onward) {
		return 0;
	}
	if (frame->flags & NET_FRAME_COALESCED) {
		copy.flags = NET_FRAME_LSO;
	} else if (frame->flags & NET_FRAME_L4_PARTIAL) {
		copy.flags = NET_FRAME_L4_CHECKSUM;
		copy.mss = 0;
	}
	return net_send(end->onward->net, &copy) == -EAGAIN ? -EAGAIN : 0;
}

static void batch_end(struct net_front *front)
{
	const struct end *end = container_of(front, struct end, front);

	if (end->onward) {
		net_batch_end(end->onward->net);
	}
}

static void writable(struct net_front *front)
{
	const struct end *end = container_of(front, struct end, front);

	if (end->onward) {
		net_room(end->onward->net);
	}
}

static void nothing(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops front_ops = {
	.deliver = deliver,
	.batch_end = batch_end,
	.writable = writable,
	.link_changed = nothing,
};

static void attach(struct end *end)
{
	const struct net_front_config config = { .mtu = 1500,
						 .coalesce_bytes_max = NET_FRAME_BYTES_MAX };

	end->front.ops = &front_ops;
	check(net_attach(end->net, &end->front, &config) == 0);
}

static void make_pipe(struct world *w)
{
	struct net_pipe_config config = { 0 };
	struct diag diag;
	int fds[2];

	check(net_pipe_pair(fds) == 0);
	config.fd_take = fds[0];
	check(net_pipe_create(w->loops[0], &config, &w->guest.net, &diag) == 0);
	config.fd_take = fds[1];
	check(net_pipe_create(w->loops[1], &config, &w->wire.net, &diag) == 0);
	attach(&w->wire);
}

static void make_nat(struct loop *loop, struct end *end)
{
	struct net_nat_network network;
	const struct net_nat_config config = { .network = &network };
	struct diag diag;

	check(net_nat_network_init(&network, NETWORK, 24, &diag) == 0);
	check(net_nat_create(loop, &config, &end->net, &diag) == 0);
}

/* ---- frames ------------------------------------------------------------------------------------- */

static void turn(struct world *w)
{
	bool any = true;

	for (unsigned int i = 0; any; i++) {
		check(i < TURNS_MAX);
		any = loop_turn(w->loops[0]);
		any |= loop_turn(w->loops[1]);
	}
}

static void send_frame(struct world *w, uint8_t *bytes, uint32_t count)
{
	const struct iovec iov = { bytes, count };
	struct net_frame frame = {
		.iov = &iov, .iov_count = 1, .bytes = count, .flags = NET_FRAME_CHECKSUM_GOOD
	};

	if (count > 1514) {
		frame.flags = NET_FRAME_LSO;
		frame.mss = 1448;
		frame.l4 = NET_L4_TCP;
	}
	while (net_send(w->guest.net, &frame) == -EAGAIN) {
		turn(w);
	}
}

/* Who the guest is: its neighbour learns it from the question. */
static void send_arp(struct world *w)
{
	uint8_t frame[42];

	memset(frame, 0xff, 6);
	memcpy(frame + 6, guest_mac, 6);
	bytes_put_be16(frame + 12, 0x0806);
	bytes_put_be64(frame + 14, 0x0001080006040001ULL);
	memcpy(frame + 22, guest_mac, 6);
	bytes_put_be32(frame + 28, GUEST);
	memset(frame + 32, 0, 6);
	bytes_put_be32(frame + 38, GATEWAY);
	send_frame(w, frame, sizeof(frame));
	net_batch_end(w->guest.net);
	turn(w);
}

/* From the guest to the host's socket: libslirp's own address is the host's loopback. */
static void make_frame(struct world *w)
{
	const uint32_t bytes = w->load->bytes;
	const bool is_tcp = bytes > 1514;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	uint8_t *f = w->frame;

	check(getsockname(w->host, (struct sockaddr *)&address, &length) == 0);
	memset(f, 0, FRAME_MAX);
	f[0] = 0x52;
	f[1] = 0x55;
	bytes_put_be32(f + 2, GATEWAY);
	memcpy(f + 6, guest_mac, 6);
	bytes_put_be16(f + 12, 0x0800);
	f[14] = 0x45;
	bytes_put_be16(f + 16, (uint16_t)(bytes - 14));
	f[22] = 64;
	f[23] = is_tcp ? 6 : 17;
	bytes_put_be32(f + 26, GUEST);
	bytes_put_be32(f + 30, GATEWAY);
	net_ipv4_checksum(f + 14, 20);
	bytes_put_be16(f + 34, GUEST_PORT);
	bytes_put_be16(f + 36, ntohs(address.sin_port));
	if (is_tcp) {
		f[46] = 0x50;
	} else {
		bytes_put_be16(f + 38, (uint16_t)(bytes - 34)); /* and no checksum */
	}
}

/* ---- the world ---------------------------------------------------------------------------------- */

static void make_host(struct world *w)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	w->host = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	check(w->host >= 0 && bind(w->host, (struct sockaddr *)&address, sizeof(address)) == 0);
}

/* The first frame makes libslirp's socket, whose address the host answers to. */
static void meet(struct world *w)
{
	socklen_t length = sizeof(w->guests);
	char byte;

	send_arp(w);
	send_frame(w, w->frame, w->load->bytes);
	net_batch_end(w->guest.net);
	turn(w);
	check(recvfrom(w->host, &byte, 1, 0, (struct sockaddr *)&w->guests, &length) >= 0);
}

static void create(struct world *w, const struct load *load)
{
	struct diag diag;

	*w = (struct world){ .load = load, .frame = malloc(FRAME_MAX) };
	check(w->frame);
	for (unsigned int i = 0; i < 2; i++) {
		check(loop_create("bench", &w->loops[i], &diag) == 0);
	}
	make_host(w);
	make_frame(w);
	if (load->way == SLIRP) {
		make_nat(w->loops[0], &w->guest);
	} else {
		make_pipe(w);
	}
	if (load->way == SLIRP_BY_PIPE) {
		make_nat(w->loops[1], &w->nat);
		w->nat.onward = &w->wire;
		w->wire.onward = &w->nat;
		attach(&w->nat);
	}
	attach(&w->guest);
	turn(w);
	if (load->way != PIPE) {
		meet(w);
	}
}

static void on_stopped(struct loop_work *work)
{
	work->fn = NULL;
}

static void drop(struct world *w, struct end *end)
{
	struct loop_work done;

	if (!end->net) {
		return;
	}
	net_detach(end->net);
	loop_work_init(&done, on_stopped);
	net_stop(end->net, &done);
	while (done.fn) {
		turn(w);
	}
	net_destroy(end->net);
}

static void destroy(struct world *w)
{
	w->nat.onward = w->wire.onward = NULL;
	drop(w, &w->guest);
	drop(w, &w->nat);
	drop(w, &w->wire);
	turn(w);
	loop_destroy(w->loops[0]);
	loop_destroy(w->loops[1]);
	close(w->host);
	free(w->frame);
}

/* ---- bursts ------------------------------------------------------------------------------------- */

/* The host's own part: one system call. */
static void send_from_host(struct world *w)
{
	struct mmsghdr messages[BURST_MAX] = { 0 };
	struct iovec iov = { w->frame, w->load->bytes - 42 };

	for (unsigned int i = 0; i < w->load->burst; i++) {
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &w->guests,
						       .msg_namelen = sizeof(w->guests),
						       .msg_iov = &iov,
						       .msg_iovlen = 1 };
	}
	check(sendmmsg(w->host, messages, w->load->burst, 0) == (int)w->load->burst);
}

static void run_burst(struct world *w)
{
	const uint64_t before = w->guest.frames, wired = w->wire.frames;
	const unsigned int burst = w->load->burst;

	if (w->load->direction == IN) {
		send_from_host(w);
		for (unsigned int i = 0; w->guest.frames < before + burst; i++) {
			check(i < TURNS_MAX);
			turn(w);
		}
		return;
	}
	for (unsigned int i = 0; i < burst; i++) {
		send_frame(w, w->frame, w->load->bytes);
	}
	net_batch_end(w->guest.net);
	turn(w);
	for (unsigned int i = 0; w->load->way != SLIRP && w->wire.frames < wired + burst; i++) {
		check(i < TURNS_MAX);
		turn(w);
	}
}

struct counted {
	const struct load *load;
	unsigned int bursts;
};

static void counted_main(void *ctx)
{
	const struct counted *counted = ctx;
	struct world w;

	create(&w, counted->load);
	for (unsigned int i = 0; i < WARM; i++) {
		run_burst(&w);
	}
	meter_mark();
	for (unsigned int i = 0; i < counted->bursts; i++) {
		run_burst(&w);
	}
	meter_mark();
}

/* A frame's system calls, the load's own left out; negative: not to be had. */
static double calls_of(const struct load *load)
{
	struct counted some = { load, COUNTED }, none = { load, 0 };
	uint64_t calls, marks;

	if (!meter_calls(counted_main, &some, &calls) ||
	    !meter_calls(counted_main, &none, &marks)) {
		return -1;
	}
	calls -= marks + (load->direction == IN ? COUNTED : 0);
	return (double)calls / (double)(COUNTED * load->burst);
}

static double spent_ns(void)
{
	struct timespec time;

	check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double rate_of(const struct load *load, unsigned int slices)
{
	double best = 1e18;
	struct world w;

	create(&w, load);
	for (unsigned int slice = 0; slice < slices; slice++) {
		double began = spent_ns(), took;

		for (unsigned int i = 0; i < SLICE_TURNS; i++) {
			run_burst(&w);
		}
		took = spent_ns() - began;
		best = took < best ? took : best;
	}
	destroy(&w);
	return SLICE_TURNS * load->burst / best * 1e9;
}

/* ---- the table ---------------------------------------------------------------------------------- */

static void show(const struct load *load, unsigned int slices)
{
	static const char *const ways[] = { "pipe alone", "libslirp, same process",
					    "libslirp by the pipe" };
	const double calls = calls_of(load), rate = rate_of(load, slices);

	printf("%-24s %-4s %7u %6u %12.0f ", ways[load->way], load->direction == OUT ? "out" : "in",
	       load->bytes, load->burst, rate);
	if (calls < 0) {
		printf("%8s\n", "n/a");
	} else {
		printf("%8.2f\n", calls);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 64, 1514, FRAME_MAX };
	static const unsigned int bursts[] = { 1, BURST_MAX };
	const unsigned int slices = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 5 : 50;

	printf("%-24s %-4s %7s %6s %12s %8s\n", "", "", "bytes", "burst", "frames/s", "calls");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(bursts); k++) {
			struct load load = { PIPE, OUT, sizes[i], bursts[k] };

			show(&load, slices);
			for (int in = 0; sizes[i] != FRAME_MAX && in < 2; in++) {
				load.direction = in ? IN : OUT;
				load.way = SLIRP;
				show(&load, slices);
				load.way = SLIRP_BY_PIPE;
				show(&load, slices);
			}
		}
	}
	return 0;
}
