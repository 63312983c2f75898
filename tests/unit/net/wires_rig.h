/* SPDX-License-Identifier: MIT */
/*
 * TAP devices and packet sockets against the kernel itself: two network namespaces, in each an
 * interface, and between them our back ends, joined by a front end that hands from one to the other
 * what it is given. What the kernels' own TCP and UDP make of it is the judge.
 *
 * Needs root (or user namespaces), /dev/net/tun, iproute2; skipped without.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/num.h"
#include "loop/batch.h"
#include "net/fifo.h"
#include "net/linkwatch.h"
#include "net/packet.h"
#include "net/steer_bpf.h"
#include "net/tap.h"

#define WAIT_NS  10000000000ULL
#define LARGE    65549U
#define TRANSFER (4U << 20)
#define PATTERN  65521U /* a prime: no period that segments could share */

enum kind { TAP, PACKET };

/* One side: a namespace with an interface "eth", and our end of it. */
struct side {
	struct net_front front;
	struct rig *rig;
	struct side *other;
	struct net *net, *twin;
	enum kind kind;
	int ns; /* where the kernel's end is */
	_Atomic(unsigned int) link_changes, vlan_frames, waits, partial;
	_Atomic(bool) is_up;
};

struct rig {
	struct loop *loop;
	struct side sides[2];
	uint32_t coalesce;
	unsigned int ends;
	const struct net_rss *rss; /* of the first side; NULL: off */
	bool is_ending;            /* of the loop: the other side's end may be gone */
	uint32_t tap_send_max;
	int packet_send_bytes;
};

static int home_ns = -1; /* where packet sockets are */

/* ---- namespaces ---- */

static inline int this_ns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static inline void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

static inline int new_ns(void)
{
	int ns;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	ns = this_ns();
	enter(home_ns);
	return ns;
}

__attribute__((format(printf, 2, 3))) static inline int run_in(int ns, const char *fmt, ...)
{
	char command[512];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	enter(ns);
	status = system(command);
	enter(home_ns);
	return status;
}

/* A number of /proc/net/snmp of a namespace: the column of this name in the lines of this group. */
static inline long counter_of(int ns, const char *group, const char *name)
{
	char names[1024], values[1024];
	long found = -1;
	FILE *f;

	enter(ns);
	f = fopen("/proc/thread-self/net/snmp", "r");
	enter(home_ns);
	assert_non_null(f);
	while (found < 0 && fgets(names, sizeof(names), f) && fgets(values, sizeof(values), f)) {
		char *n, *v, *n_at, *v_at;

		if (strncmp(names, group, strlen(group)) != 0 || names[strlen(group)] != ':') {
			continue;
		}
		n = strtok_r(names, " \n", &n_at);
		v = strtok_r(values, " \n", &v_at);
		while (n && v && strcmp(n, name) != 0) {
			n = strtok_r(NULL, " \n", &n_at);
			v = strtok_r(NULL, " \n", &v_at);
		}
		found = n && v ? strtol(v, NULL, 10) : -1;
	}
	fclose(f);
	assert_true(found >= 0);
	return found;
}

/* ---- the front end between the sides ---- */

static inline struct side *from_front(struct net_front *front)
{
	return container_of(front, struct side, front);
}

/* A checksum that is left to us: made in a copy, or left to the other side, in turns. */
static inline void finish(struct side *side, struct net_frame *frame, struct iovec *ret_whole)
{
	static uint8_t copy[NET_FRAME_BYTES_MAX]; /* the loop's */

	if (side->partial++ & 1) {
		frame->flags |= NET_FRAME_L4_CHECKSUM;
		return;
	}
	fifo_gather(copy, frame);
	*ret_whole = (struct iovec){ copy, frame->bytes };
	frame->iov = ret_whole;
	frame->iov_count = 1;
}

/* What was received becomes what is sent: a large segment is one to be cut. */
static inline int on_deliver(struct net_front *front, const struct net_frame *received)
{
	struct side *side = from_front(front);
	struct net_frame frame = *received;
	struct iovec whole;

	if (side->rig->is_ending) {
		return 0;
	}
	side->vlan_frames += (frame.flags & NET_FRAME_VLAN) != 0;
	if (frame.flags & NET_FRAME_L4_PARTIAL) {
		finish(side, &frame, &whole);
	}
	frame.flags &= NET_FRAME_VLAN | NET_FRAME_COALESCED | NET_FRAME_L4_CHECKSUM;
	if (frame.flags & NET_FRAME_COALESCED) {
		frame.flags = (frame.flags & NET_FRAME_VLAN) | NET_FRAME_LSO;
	}
	if (net_send(side->other->net, &frame) == -EAGAIN) {
		side->waits++;
		return -EAGAIN;
	}
	return 0;
}

static inline void on_batch_end(struct net_front *front)
{
	if (!from_front(front)->rig->is_ending) {
		net_batch_end(from_front(front)->other->net);
	}
}

static inline void on_writable(struct net_front *front)
{
	if (!from_front(front)->rig->is_ending) {
		net_room(from_front(front)->other->net);
	}
}

static inline void on_link_changed(struct net_front *front)
{
	struct side *side = from_front(front);

	side->is_up = net_link_is_up(side->net);
	side->link_changes++;
}

static const struct net_front_ops front_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_writable,
	.link_changed = on_link_changed,
};

/* ---- rigs ---- */

static inline void make_tap(struct rig *rig, struct side *side)
{
	struct diag diag = { "" };
	int fds[NET_TAP_QUEUES_MAX];
	struct net_tap_config config = { .fds_take = fds,
					 .queues = rig->ends,
					 .send_bytes_max = rig->tap_send_max };

	if (rig->ends > 1) {
		assert_int_equal(run_in(side->ns, "ip tuntap add eth mode tap multi_queue"), 0);
	} else {
		assert_int_equal(run_in(side->ns, "ip tuntap add eth mode tap"), 0);
	}
	enter(side->ns);
	assert_int_equal(net_tap_open("eth", rig->ends, fds, &diag), 0);
	config.link_fd_take = linkwatch_open(&diag);
	enter(home_ns);
	assert_int_equal(run_in(side->ns, "ip link set eth up"), 0);
	assert_int_equal(net_tap_create(rig->loop, &config, &side->net, &diag), 0);
}

static inline void make_veth(struct side *side, const char *ours)
{
	assert_int_equal(run_in(side->ns,
				"ip link add eth type veth peer name %s netns /proc/%d/fd/%d && "
				"ip link set eth up",
				ours, getpid(), home_ns),
			 0);
	assert_int_equal(run_in(home_ns, "ip link set %s up", ours), 0);
}

static inline void make_packet(struct rig *rig, struct side *side, const char *ours)
{
	struct diag diag = { "" };
	int fds[NET_PACKET_ENDS_MAX];
	struct net_packet_config config = {
		.name = ours, .fds_take = fds, .ends = rig->ends, .link_fd_take = -1
	};

	make_veth(side, ours);
	assert_int_equal(net_packet_open(ours, rig->ends, fds, &diag), 0);
	if (rig->packet_send_bytes) {
		assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &rig->packet_send_bytes,
					    sizeof(rig->packet_send_bytes)),
				 0);
	}
	assert_int_equal(net_packet_create(rig->loop, &config, &side->net, &diag), 0);
}

static inline void wait_link(const struct side *side, bool up)
{
	for (uint64_t end = loop_now_ns() + WAIT_NS; side->is_up != up; usleep(1000)) {
		assert_true(loop_now_ns() < end);
	}
}

static inline void rig_up(struct rig *rig, enum kind left, enum kind right)
{
	const enum kind kinds[2] = { left, right };
	struct diag diag;

	rig->ends = rig->ends ? rig->ends : 1;
	assert_int_equal(loop_create("wires", &rig->loop, &diag), 0);
	for (int i = 0; i < 2; i++) {
		struct side *side = &rig->sides[i];
		struct net_front_config config = { .mac = { 2 },
						   .mtu = 1500,
						   .coalesce_bytes_max = rig->coalesce };

		if (rig->rss && i == 0) {
			config.rss = *rig->rss;
		}
		side->front.ops = &front_ops;
		side->rig = rig;
		side->other = &rig->sides[!i];
		side->kind = kinds[i];
		side->ns = new_ns();
		if (kinds[i] == TAP) {
			make_tap(rig, side);
		} else {
			make_packet(rig, side, i ? "right" : "left");
		}
		if (rig->ends > 1) {
			assert_int_equal(net_twin(side->net, rig->loop, &side->twin), 0);
			assert_int_equal(net_attach(side->twin, &side->front, &config), 0);
		}
		assert_int_equal(net_attach(side->net, &side->front, &config), 0);
		side->is_up = net_link_is_up(side->net);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run_in(rig->sides[i].ns,
					"ip link set lo up && ip addr add 10.9.0.%d/24 dev eth && "
					"ip -6 addr add fd09::%d/64 dev eth nodad",
					i + 1, i + 1),
				 0);
	}
	assert_int_equal(loop_start_thread(rig->loop, &diag), 0);
	/* The kernel says of a new interface that it runs a little later. */
	wait_link(&rig->sides[0], true);
	wait_link(&rig->sides[1], true);
}

struct stop {
	struct loop_work done;
	struct net *net;
	_Atomic(bool) is_done;
};

static inline void on_stopped(struct loop_work *work)
{
	container_of(work, struct stop, done)->is_done = true;
}

static inline void stop_here(void *arg)
{
	struct stop *stop = arg;

	net_stop(stop->net, &stop->done);
}

static inline void stop_net(struct rig *rig, struct net *net)
{
	struct stop stop = { .net = net };

	if (!net) {
		return;
	}
	loop_work_init(&stop.done, on_stopped);
	loop_call(rig->loop, stop_here, &stop);
	for (uint64_t end = loop_now_ns() + WAIT_NS; !stop.is_done; usleep(1000)) {
		assert_true(loop_now_ns() < end);
	}
	loop_call(rig->loop, (void (*)(void *))net_destroy, net);
}

static inline void end_here(void *rig)
{
	((struct rig *)rig)->is_ending = true;
}

static inline void rig_down(struct rig *rig)
{
	loop_call(rig->loop, end_here, rig);
	for (int i = 0; i < 2; i++) {
		stop_net(rig, rig->sides[i].twin);
		stop_net(rig, rig->sides[i].net);
	}
	loop_stop_thread(rig->loop);
	loop_destroy(rig->loop);
	for (int i = 0; i < 2; i++) {
		(void)run_in(rig->sides[i].ns, "ip link del eth 2>/dev/null");
		close(rig->sides[i].ns);
	}
}

struct count {
	const struct net *net;
	struct net_counters counters;
};

static inline void count_here(void *arg)
{
	struct count *count = arg;

	count->counters = *net_counters(count->net);
}

static inline struct net_counters counters_of(const struct rig *rig, int side)
{
	struct count count = { .net = rig->sides[side].net };

	loop_call(rig->loop, count_here, &count);
	return count.counters;
}

/* ---- transfers ---- */

static inline socklen_t address_of(bool v6, int side, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (v6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		in6->sin6_addr.s6_addr[0] = 0xfd;
		in6->sin6_addr.s6_addr[1] = 0x09;
		in6->sin6_addr.s6_addr[15] = (uint8_t)(side + 1);
		return sizeof(*in6);
	}
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	in->sin_addr.s_addr = htonl(0x0a090001U + (uint32_t)side);
	return sizeof(*in);
}

/* Connected TCP sockets in the sides' namespaces; server's side is the other one. */
static inline void connect_tcp(const struct rig *rig, bool v6, int client_side, int *ret_client,
			       int *ret_server)
{
	const int family = v6 ? AF_INET6 : AF_INET;
	struct sockaddr_storage address;
	socklen_t length = address_of(v6, !client_side, 4321, &address);
	struct pollfd pfd = { .events = POLLIN };
	int one = 1;

	enter(rig->sides[!client_side].ns);
	pfd.fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(pfd.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(pfd.fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(pfd.fd, 1), 0);
	enter(rig->sides[client_side].ns);
	*ret_client = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)connect(*ret_client, (struct sockaddr *)&address, length);
	enter(home_ns);
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	*ret_server = accept4(pfd.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(*ret_server >= 0);
	close(pfd.fd);
}

static uint8_t pattern[PATTERN + TRANSFER];

/* So many bytes from one to the other, each looked at. */
static inline void pour(int from, int to, size_t bytes)
{
	static uint8_t got[1 << 18];
	uint64_t end = loop_now_ns() + 6 * WAIT_NS;
	size_t sent = 0, received = 0;

	while (received < bytes) {
		struct pollfd pfd[2] = { { .fd = from, .events = sent < bytes ? POLLOUT : 0 },
					 { .fd = to, .events = POLLIN } };
		ssize_t n;

		assert_true(poll(pfd, 2, 10000) > 0);
		assert_true(loop_now_ns() < end);
		if (pfd[0].revents & POLLOUT) {
			n = send(from, pattern + sent, num_min(bytes - sent, 1 << 18), 0);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (pfd[1].revents & POLLIN) {
			n = recv(to, got, sizeof(got), 0);
			assert_true(n > 0);
			assert_memory_equal(got, pattern + received, (size_t)n);
			received += (size_t)n;
		}
	}
}

/* TCP both ways; what the kernels say of it: no checksum was wrong, little was sent twice. */
static inline void tcp_works(struct rig *rig, bool v6)
{
	for (int side = 0; side < 2; side++) {
		int client, server;

		connect_tcp(rig, v6, side, &client, &server);
		pour(client, server, TRANSFER);
		pour(server, client, TRANSFER);
		close(client);
		close(server);
	}
	for (int side = 0; side < 2; side++) {
		assert_int_equal(counter_of(rig->sides[side].ns, "Tcp", "InCsumErrors"), 0);
		assert_int_equal(counter_of(rig->sides[side].ns, "Ip", "InHdrErrors"), 0);
		assert_in_range(counter_of(rig->sides[side].ns, "Tcp", "RetransSegs"), 0, 200);
		assert_true(rig->sides[side].partial > 0);
	}
}

/* Datagrams of sizes around everything, and larger than the MTU (fragments). */
static inline void udp_works(struct rig *rig, bool v6)
{
	static const size_t sizes[] = { 1, 17, 18, 511, 1452, 1472, 4000, 9001 };
	const int family = v6 ? AF_INET6 : AF_INET;
	struct sockaddr_storage address;
	socklen_t length = address_of(v6, 1, 4444, &address);
	uint8_t got[16384];
	int from, to;

	enter(rig->sides[1].ns);
	to = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(to, (struct sockaddr *)&address, length), 0);
	enter(rig->sides[0].ns);
	from = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enter(home_ns);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct pollfd pfd = { .fd = to, .events = POLLIN };

		assert_int_equal(
			sendto(from, pattern, sizes[i], 0, (struct sockaddr *)&address, length),
			sizes[i]);
		assert_int_equal(poll(&pfd, 1, 10000), 1);
		assert_int_equal(recv(to, got, sizeof(got), 0), sizes[i]);
		assert_memory_equal(got, pattern, sizes[i]);
	}
	close(from);
	close(to);
	assert_int_equal(counter_of(rig->sides[1].ns, "Udp", "InCsumErrors"), 0);
}

static inline void all_works(struct rig *rig)
{
	tcp_works(rig, false);
	tcp_works(rig, true);
	udp_works(rig, false);
	udp_works(rig, true);
}

static inline void is_large(const struct rig *rig, bool large)
{
	for (int i = 0; i < 2; i++) {
		struct net_counters c = counters_of(rig, i);

		assert_int_equal(c.sent_large > 50, large);
		assert_int_equal(c.delivered_large > 50, large);
	}
}

/* ---- all of it ---- */

/*
 * All on one processor: a veth pair queues what it gets per processor, so that the kernel itself reorders
 * the frames of a thread that moves to another one, and its TCP sends large segments again that were not lost.
 */
static inline void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	(void)sched_setaffinity(0, sizeof(here), &here);
}

/* As the first thing of main(). 0, or 77: this host, or this user, has not what it takes. */
static inline int wires_rig_begin(void)
{
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("skipped: no network namespace of our own: %s\n", strerror(errno));
		return 77;
	}
	if (access("/dev/net/tun", R_OK | W_OK)) {
		printf("skipped: /dev/net/tun: %s\n", strerror(errno));
		return 77;
	}
	if (system("ip link set lo up")) {
		printf("skipped: ip (iproute2) does not work here\n");
		return 77;
	}
	stay_here();
	home_ns = this_ns();
	for (size_t i = 0; i < sizeof(pattern); i++) {
		pattern[i] = (uint8_t)((i % PATTERN) * 2654435761U >> 13);
	}
	return 0;
}
