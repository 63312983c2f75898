/* SPDX-License-Identifier: MIT */
/*
 * TAP devices and packet sockets against the kernel itself: two network namespaces, in each an
 * interface, and between them our back ends, joined by a front end that hands from one to the other
 * what it is given. What the kernels' own TCP and UDP make of it is the judge.
 *
 * Needs root (or user namespaces), /dev/net/tun, iproute2; skipped without.
 */
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

static int this_ns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

static int new_ns(void)
{
	int ns;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	ns = this_ns();
	enter(home_ns);
	return ns;
}

__attribute__((format(printf, 2, 3))) static int run_in(int ns, const char *fmt, ...)
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
static long counter_of(int ns, const char *group, const char *name)
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

static struct side *from_front(struct net_front *front)
{
	return container_of(front, struct side, front);
}

/* A checksum that is left to us: made in a copy, or left to the other side, in turns. */
static void finish(struct side *side, struct net_frame *frame, struct iovec *ret_whole)
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
static int on_deliver(struct net_front *front, const struct net_frame *received)
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

static void on_batch_end(struct net_front *front)
{
	if (!from_front(front)->rig->is_ending) {
		net_batch_end(from_front(front)->other->net);
	}
}

static void on_writable(struct net_front *front)
{
	if (!from_front(front)->rig->is_ending) {
		net_room(from_front(front)->other->net);
	}
}

static void on_link_changed(struct net_front *front)
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

static void make_tap(struct rig *rig, struct side *side)
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

static void make_veth(struct side *side, const char *ours)
{
	assert_int_equal(run_in(side->ns,
				"ip link add eth type veth peer name %s netns /proc/%d/fd/%d && "
				"ip link set eth up",
				ours, getpid(), home_ns),
			 0);
	assert_int_equal(run_in(home_ns, "ip link set %s up", ours), 0);
}

static void make_packet(struct rig *rig, struct side *side, const char *ours)
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

static void wait_link(const struct side *side, bool up)
{
	for (uint64_t end = loop_now_ns() + WAIT_NS; side->is_up != up; usleep(1000)) {
		assert_true(loop_now_ns() < end);
	}
}

static void rig_up(struct rig *rig, enum kind left, enum kind right)
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

static void on_stopped(struct loop_work *work)
{
	container_of(work, struct stop, done)->is_done = true;
}

static void stop_here(void *arg)
{
	struct stop *stop = arg;

	net_stop(stop->net, &stop->done);
}

static void stop_net(struct rig *rig, struct net *net)
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

static void end_here(void *rig)
{
	((struct rig *)rig)->is_ending = true;
}

static void rig_down(struct rig *rig)
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

static void count_here(void *arg)
{
	struct count *count = arg;

	count->counters = *net_counters(count->net);
}

static struct net_counters counters_of(const struct rig *rig, int side)
{
	struct count count = { .net = rig->sides[side].net };

	loop_call(rig->loop, count_here, &count);
	return count.counters;
}

/* ---- transfers ---- */

static socklen_t address_of(bool v6, int side, uint16_t port, struct sockaddr_storage *ret)
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
static void connect_tcp(const struct rig *rig, bool v6, int client_side, int *ret_client,
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
static void pour(int from, int to, size_t bytes)
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
static void tcp_works(struct rig *rig, bool v6)
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
static void udp_works(struct rig *rig, bool v6)
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

static void all_works(struct rig *rig)
{
	tcp_works(rig, false);
	tcp_works(rig, true);
	udp_works(rig, false);
	udp_works(rig, true);
}

static void is_large(const struct rig *rig, bool large)
{
	for (int i = 0; i < 2; i++) {
		struct net_counters c = counters_of(rig, i);

		assert_int_equal(c.sent_large > 50, large);
		assert_int_equal(c.delivered_large > 50, large);
	}
}

/* ---- tests ---- */

static void taps_carry_large_segments_whole(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, TAP, TAP);
	all_works(&rig);
	is_large(&rig, true);
	rig_down(&rig);
}

static void taps_cut_large_segments_for_who_takes_none(void **state)
{
	struct rig rig = { .coalesce = 0 };

	(void)state;
	rig_up(&rig, TAP, TAP);
	all_works(&rig);
	is_large(&rig, false);
	rig_down(&rig);
}

static void packet_sockets_carry_large_segments_whole(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, PACKET, PACKET);
	all_works(&rig);
	is_large(&rig, true);
	rig_down(&rig);
}

static void packet_sockets_cut_large_segments_for_who_takes_none(void **state)
{
	struct rig rig = { .coalesce = 0 };

	(void)state;
	rig_up(&rig, PACKET, PACKET);
	all_works(&rig);
	is_large(&rig, false);
	rig_down(&rig);
}

static void a_tap_and_a_packet_socket_understand_each_other(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, TAP, PACKET);
	all_works(&rig);
	is_large(&rig, true);
	rig_down(&rig);
}

static void several_ends_share_what_arrives(void **state)
{
	static const enum kind kinds[] = { TAP, PACKET };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig rig = { .coalesce = LARGE, .ends = 2 };

		rig_up(&rig, kinds[i], kinds[i]);
		all_works(&rig);
		rig_down(&rig);
	}
}

/* Tags travel beside the frame, checksums and large segments go with them. */
static void tagged_interfaces_work(void **state)
{
	static const enum kind kinds[][2] = { { TAP, TAP }, { PACKET, PACKET }, { TAP, PACKET } };

	(void)state;
	if (run_in(home_ns, "ip link add name try type dummy && "
			    "ip link add link try name tagged type vlan id 7 2>/dev/null")) {
		print_message("no VLAN interfaces here\n");
		(void)run_in(home_ns, "ip link del try");
		return;
	}
	(void)run_in(home_ns, "ip link del try");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig rig = { .coalesce = i == 2 ? 0 : LARGE };

		rig_up(&rig, kinds[i][0], kinds[i][1]);
		for (int side = 0; side < 2; side++) {
			assert_int_equal(run_in(rig.sides[side].ns,
						"ip addr flush dev eth && ip link add link eth "
						"name tagged type vlan id 7 && ip link set tagged "
						"up && ip addr add 10.9.0.%d/24 dev tagged && "
						"ip -6 addr add fd09::%d/64 dev tagged nodad",
						side + 1, side + 1),
					 0);
		}
		all_works(&rig);
		assert_true(rig.sides[0].vlan_frames > 100);
		assert_true(rig.sides[1].vlan_frames > 100);
		rig_down(&rig);
	}
}

/* A tagged frame by hand, as an application would send it: no VLAN interface is needed. */
static void a_tag_is_taken_out_and_put_in(void **state)
{
	static const enum kind kinds[][2] = { { TAP, PACKET }, { PACKET, TAP } };
	uint8_t frame[64] = { 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x81, 0, 0x60, 7, 0x88, 0xb5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig rig = { .coalesce = LARGE };
		struct diag diag;
		struct pollfd pfd = { .events = POLLIN };
		uint8_t got[2048];
		int from, one = 1;
		ssize_t n = 0;

		rig_up(&rig, kinds[i][0], kinds[i][1]);
		enter(rig.sides[0].ns);
		assert_int_equal(net_packet_open("eth", 1, &from, &diag), 0);
		enter(rig.sides[1].ns);
		assert_int_equal(net_packet_open("eth", 1, &pfd.fd, &diag), 0);
		enter(home_ns);
		one = 0;
		assert_int_equal(
			setsockopt(from, SOL_PACKET, 15 /* PACKET_VNET_HDR */, &one, sizeof(one)),
			0);
		assert_int_equal(send(from, frame, sizeof(frame), 0), sizeof(frame));
		for (;;) {
			assert_int_equal(poll(&pfd, 1, 10000), 1);
			n = recv(pfd.fd, got, sizeof(got), MSG_DONTWAIT);
			if (n > 24 && !memcmp(got + 10, frame, 12)) {
				break;
			}
		}
		/* The kernel has taken the tag out of it, and put it beside. */
		assert_int_equal(n, 10 + sizeof(frame) - 4);
		assert_memory_equal(got + 22, frame + 16, sizeof(frame) - 16);
		assert_int_equal(rig.sides[0].vlan_frames, 1);
		close(from);
		close(pfd.fd);
		rig_down(&rig);
	}
}

static void the_link_follows_the_interface(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, TAP, PACKET);
	for (int i = 0; i < 3; i++) {
		for (int side = 0; side < 2; side++) {
			wait_link(&rig.sides[side], true);
			assert_int_equal(run_in(rig.sides[side].ns, "ip link set eth down"), 0);
			wait_link(&rig.sides[side], false);
			assert_int_equal(run_in(rig.sides[side].ns,
						"ip link set eth up && "
						"ip -6 addr replace fd09::%d/64 dev eth nodad",
						side + 1),
					 0);
			wait_link(&rig.sides[side], true);
		}
	}
	all_works(&rig);
	rig_down(&rig);
}

static void an_interface_may_go_and_come_back(void **state)
{
	(void)state;
	for (unsigned int ends = 1; ends <= 2; ends++) {
		struct rig rig = { .coalesce = LARGE, .ends = ends };

		rig_up(&rig, TAP, PACKET);
		tcp_works(&rig, false);
		assert_int_equal(run_in(rig.sides[0].ns, "ip link del eth"), 0);
		assert_int_equal(run_in(rig.sides[1].ns, "ip link del eth"), 0);
		wait_link(&rig.sides[0], false);
		wait_link(&rig.sides[1], false);
		assert_int_equal(run_in(rig.sides[0].ns,
					"ip tuntap add eth mode tap %s && ip link set eth up && "
					"ip addr add 10.9.0.1/24 dev eth",
					ends > 1 ? "multi_queue" : ""),
				 0);
		make_veth(&rig.sides[1], "right");
		assert_int_equal(run_in(rig.sides[1].ns, "ip addr add 10.9.0.2/24 dev eth"), 0);
		wait_link(&rig.sides[0], true);
		wait_link(&rig.sides[1], true);
		tcp_works(&rig, false);
		udp_works(&rig, false);
		rig_down(&rig);
	}
}

struct counted {
	const struct net *net;
	uint64_t frames;
};

static void count_on_loop(void *arg)
{
	struct counted *counted = arg;

	counted->frames = net_counters(counted->net)->delivered_frames;
}

static uint64_t received(const struct rig *rig, const struct net *net)
{
	struct counted counted = { .net = net };

	loop_call(rig->loop, count_on_loop, &counted);
	return counted.frames;
}

/* All flows to one queue, as a guest may say, and to the other: also of a device that comes back. */
static void a_guests_table_holds_for_a_tap_devices_queues(void **state)
{
	struct steer_bpf probe;

	(void)state;
	if (steer_bpf_create(BPF_PROG_TYPE_SOCKET_FILTER, &probe)) {
		skip();
	}
	steer_bpf_destroy(&probe);
	for (uint16_t queue = 0; queue < 2; queue++) {
		struct net_rss rss = { .is_on = true,
				       .queues = 2,
				       .table_entries = 2,
				       .hash_types =
					       NET_RSS_IPV4 | NET_RSS_TCP_IPV4 | NET_RSS_UDP_IPV4,
				       .table = { queue, queue } };
		struct rig rig = { .coalesce = LARGE, .ends = 2, .rss = &rss };
		uint64_t other, wanted;

		rig_up(&rig, TAP, PACKET);
		for (int again = 0; again < 2; again++) {
			const struct side *side = &rig.sides[0];

			wanted = received(&rig, queue ? side->twin : side->net);
			other = received(&rig, queue ? side->net : side->twin);
			tcp_works(&rig, false);
			udp_works(&rig, false);
			wanted = received(&rig, queue ? side->twin : side->net) - wanted;
			other = received(&rig, queue ? side->net : side->twin) - other;
			/* what is no IP is for the first */
			assert_true(wanted > 50 && other < 20);
			if (again == 0) {
				assert_int_equal(run_in(side->ns, "ip link del eth"), 0);
				wait_link(side, false);
				assert_int_equal(run_in(side->ns,
							"ip tuntap add eth mode tap multi_queue && "
							"ip link set eth up && "
							"ip addr add 10.9.0.1/24 dev eth"),
						 0);
				wait_link(side, true);
			}
		}
		rig_down(&rig);
	}
}

/* A slow queue behind a small socket buffer: who sends waits, nothing is lost or reordered. */
static void a_sender_waits_while_the_kernel_has_no_room(void **state)
{
	struct rig rig = { .coalesce = LARGE, .packet_send_bytes = 65536 };
	uint64_t lost; /* what a kernel says to its neighbours before the other side's link is up */
	int client, server;

	(void)state;
	rig_up(&rig, TAP, PACKET);
	lost = counters_of(&rig, 1).send_lost;
	if (run_in(home_ns, "tc qdisc add dev right root tbf rate 400mbit burst 70k limit 8m")) {
		print_message("no tbf here\n");
	} else {
		connect_tcp(&rig, false, 0, &client, &server);
		pour(client, server, TRANSFER);
		close(client);
		close(server);
		assert_true(rig.sides[0].waits > 0);
		assert_true(counters_of(&rig, 1).send_waits > 0);
		assert_int_equal(counters_of(&rig, 1).send_lost, lost);
		assert_int_equal(counter_of(rig.sides[1].ns, "Tcp", "InCsumErrors"), 0);
	}
	rig_down(&rig);
}

struct burst {
	int from;
	const struct sockaddr *to;
	socklen_t length;
	struct loop *loop;
	bool forget, has_batch;
};

#define BURST 150U

/* On the loop's thread: it reads nothing before all are there. */
static void send_burst(void *arg)
{
	struct burst *burst = arg;
	struct batch *batch = loop_batch(burst->loop);

	burst->has_batch = batch != NULL;
	if (batch && burst->forget) {
		batch_forget_nowait(batch);
	}
	for (uint32_t i = 0; i < BURST; i++) {
		assert_int_equal(sendto(burst->from, &i, sizeof(i), 0, burst->to, burst->length),
				 sizeof(i));
	}
}

struct calls {
	const struct net *net;
	uint64_t count;
};

static void note_calls(void *ctx, const char *name, uint64_t value)
{
	if (strcmp(name, "kernel_calls") == 0) {
		((struct calls *)ctx)->count = value;
	}
}

static void count_calls(void *arg)
{
	net_facts(((struct calls *)arg)->net, note_calls, arg);
}

static uint64_t calls_of(const struct rig *rig, int side)
{
	struct calls calls = { .net = rig->sides[side].net };

	loop_call(rig->loop, count_calls, &calls);
	return calls.count;
}

static void receive_numbers(int to, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct pollfd pfd = { .fd = to, .events = POLLIN };
		uint32_t got;

		assert_int_equal(poll(&pfd, 1, 10000), 1);
		assert_int_equal(recv(to, &got, sizeof(got), 0), sizeof(got));
		assert_int_equal(got, i);
	}
}

static void a_burst_goes_through(bool forget)
{
	struct rig rig = { 0 };
	struct sockaddr_storage address;
	socklen_t length = address_of(false, 1, 4444, &address);
	struct burst burst = { .to = (struct sockaddr *)&address,
			       .length = length,
			       .forget = forget };
	uint64_t calls[2];
	int to;

	rig_up(&rig, TAP, TAP);
	burst.loop = rig.loop;
	enter(rig.sides[1].ns);
	to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(to, burst.to, length), 0);
	enter(rig.sides[0].ns);
	burst.from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enter(home_ns);
	for (uint32_t i = 0; i < 3; i++) {
		/* The first asks for the address; with the others all has settled. */
		assert_int_equal(sendto(burst.from, &i, sizeof(i), 0, burst.to, length), sizeof(i));
		receive_numbers(to, i, 1);
	}
	for (int round = 0; round < 5; round++) {
		calls[0] = calls_of(&rig, 0);
		calls[1] = calls_of(&rig, 1);
		loop_call(rig.loop, send_burst, &burst);
		receive_numbers(to, 0, BURST);
		calls[0] = calls_of(&rig, 0) - calls[0];
		calls[1] = calls_of(&rig, 1) - calls[1];
		print_message("%u frames: %u calls to read, %u to write\n", BURST,
			      (unsigned int)calls[0], (unsigned int)calls[1]);
		if (burst.has_batch) {
			assert_in_range(calls[0], 1, BURST / 6);
			assert_in_range(calls[1], 1, BURST / 6);
		}
	}
	close(burst.from);
	close(to);
	rig_down(&rig);
}

static void a_burst_takes_few_system_calls(void **state)
{
	(void)state;
	a_burst_goes_through(false);
}

/* As with Linux 6.1, whose TAP devices know of no RWF_NOWAIT. */
static void a_burst_takes_few_system_calls_of_an_older_kernel(void **state)
{
	(void)state;
	a_burst_goes_through(true);
}

static void what_cannot_be_opened_says_why(void **state)
{
	int fds[2], again[1];
	struct diag diag;

	(void)state;
	assert_int_equal(net_tap_open("", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("a-name-that-is-too-long", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("a/b", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("tap%d", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("lo", 1, fds, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "no TAP device"));
	assert_int_equal(net_tap_open("mine", 1, fds, &diag), 0);
	assert_int_equal(net_tap_open("mine", 1, again, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "in use"));
	assert_int_equal(net_tap_open("mine", 2, again, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "several queues"));
	close(fds[0]);
	assert_int_equal(net_packet_open("nowhere", 1, fds, &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "nowhere"));
	assert_int_equal(net_packet_open("lo", 1, fds, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "no Ethernet"));
}

/*
 * All on one processor: a veth pair queues what it gets per processor, so that the kernel itself reorders
 * the frames of a thread that moves to another one, and its TCP sends large segments again that were not lost.
 */
static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	(void)sched_setaffinity(0, sizeof(here), &here);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_opened_says_why),
		cmocka_unit_test(taps_carry_large_segments_whole),
		cmocka_unit_test(taps_cut_large_segments_for_who_takes_none),
		cmocka_unit_test(packet_sockets_carry_large_segments_whole),
		cmocka_unit_test(packet_sockets_cut_large_segments_for_who_takes_none),
		cmocka_unit_test(a_tap_and_a_packet_socket_understand_each_other),
		cmocka_unit_test(several_ends_share_what_arrives),
		cmocka_unit_test(tagged_interfaces_work),
		cmocka_unit_test(a_tag_is_taken_out_and_put_in),
		cmocka_unit_test(the_link_follows_the_interface),
		cmocka_unit_test(an_interface_may_go_and_come_back),
		cmocka_unit_test(a_guests_table_holds_for_a_tap_devices_queues),
		cmocka_unit_test(a_sender_waits_while_the_kernel_has_no_room),
		cmocka_unit_test(a_burst_takes_few_system_calls),
		cmocka_unit_test(a_burst_takes_few_system_calls_of_an_older_kernel),
	};

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
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
