/* SPDX-License-Identifier: MIT */
/*
 * Many guests behind one NAT: each a hardware address and an address of IP that speak by hand-made
 * frames, the host's sockets at the other end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "net/nat.h"
#include "net/offload.h"
#include "unit/net/dhcp_frames.h"

#define NETWORK 0x0a000200U
#define GATEWAY (NETWORK + 2)
#define WAIT_NS 10000000000ULL
#define GUESTS  40U
#define FRAMES  64U

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

struct guest {
	uint8_t mac[6];
	uint32_t ip, seq, ack;
	uint16_t port;
	unsigned int count; /* frames that arrived and were not looked at */
	uint8_t frames[FRAMES][1600];
	uint32_t bytes[FRAMES];
};

struct fixture {
	struct net_front front;
	struct loop *loop;
	struct net *net;
	struct guest *guests;
	unsigned int others; /* frames for nobody */
};

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct fixture *f = container_of(front, struct fixture, front);
	uint8_t bytes[1600];
	uint32_t at = 0;
	bool taken = false;

	for (int i = 0; i < frame->iov_count; i++) {
		assert_true(at + frame->iov[i].iov_len <= sizeof(bytes));
		memcpy(bytes + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += (uint32_t)frame->iov[i].iov_len;
	}
	for (unsigned int i = 0; i < GUESTS; i++) {
		struct guest *g = &f->guests[i];

		if (!(bytes[0] & 1) && memcmp(bytes, g->mac, 6) != 0) {
			continue;
		}
		taken = true;
		if (g->count < FRAMES) {
			memcpy(g->frames[g->count], bytes, at);
			g->bytes[g->count++] = at;
		}
	}
	f->others += !taken;
	return 0;
}

static void on_event(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops front_ops = { on_deliver, on_event, on_event, on_event };

static void make_net(struct fixture *f, const struct net_nat_network *network)
{
	const struct net_nat_config config = { .network = network };
	const struct net_front_config front = { .mtu = 1500 };
	struct diag diag;

	assert_int_equal(net_nat_create(f->loop, &config, &f->net, &diag), 0);
	assert_int_equal(net_attach(f->net, &f->front, &front), 0);
}

static bool stopped;

static void on_stopped(struct loop_work *work)
{
	(void)work;
	stopped = true;
}

static void drop_net(struct fixture *f)
{
	struct loop_work done;

	stopped = false;
	loop_work_init(&done, on_stopped);
	net_stop(f->net, &done);
	while (!stopped) {
		loop_turn(f->loop);
	}
	net_destroy(f->net);
	f->net = NULL;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct net_nat_network network;
	struct diag diag;

	f->front.ops = &front_ops;
	f->guests = calloc(GUESTS, sizeof(*f->guests));
	for (unsigned int i = 0; i < GUESTS; i++) {
		memcpy(f->guests[i].mac, (uint8_t[]){ 2, 0, 0, 0, 7, (uint8_t)i }, 6);
	}
	assert_int_equal(loop_create("test", &f->loop, &diag), 0);
	assert_int_equal(net_nat_network_init(&network, NETWORK, 24, &diag), 0);
	make_net(f, &network);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	drop_net(f);
	loop_destroy(f->loop);
	free(f->guests);
	free(f);
	return 0;
}

/* ---- frames ---- */

static void send_frame(struct fixture *f, uint8_t *bytes, uint32_t count)
{
	struct iovec iov[2] = { { NULL, 0 }, { bytes, count } };
	const struct net_frame frame = { .iov = iov + 1, .iov_count = 1, .bytes = count };

	assert_int_equal(net_send(f->net, &frame), 0);
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++) {
		loop_turn(f->loop);
	}
}

/* The oldest frame of a guest's that is of this type and (IP) protocol; NULL: none within the time. */
static uint8_t *next(struct fixture *f, struct guest *g, uint16_t type, uint8_t protocol)
{
	static uint8_t frame[1600];

	for (uint64_t until = loop_now_ns() + WAIT_NS; loop_now_ns() < until;) {
		while (g->count > 0) {
			memcpy(frame, g->frames[0], sizeof(frame));
			g->count--;
			memmove(g->frames[0], g->frames[1], g->count * sizeof(g->frames[0]));
			if (bytes_be16(frame + 12) == type &&
			    (!protocol || frame[23] == protocol)) {
				return frame;
			}
		}
		loop_turn(f->loop);
	}
	return NULL;
}

static void send_ip(struct fixture *f, uint8_t *frame, uint32_t bytes)
{
	assert_int_equal(
		net_offload_finish(frame, bytes, NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM), 0);
	send_frame(f, frame, bytes);
}

static uint8_t *next_dhcp(struct fixture *f, struct guest *g)
{
	uint8_t *reply;

	do {
		reply = next(f, g, 0x0800, 17);
	} while (reply && bytes_be16(reply + 34) != 67);
	return reply;
}

static void get_lease(struct fixture *f, struct guest *g)
{
	struct dhcp_words w = { .type = 1, .xid = 5 };
	uint8_t frame[DHCP_TEST_BYTES], *reply;

	memcpy(w.mac, g->mac, 6);
	send_ip(f, frame, dhcp_test_frame(frame, &w));
	reply = next_dhcp(f, g);
	assert_non_null(reply);
	g->ip = bytes_be32(reply + 42 + 16);
	w.type = 3;
	w.requested = g->ip;
	w.server = bytes_be32(reply + 26);
	send_ip(f, frame, dhcp_test_frame(frame, &w));
	reply = next_dhcp(f, g);
	assert_non_null(reply);
	assert_int_equal(bytes_be32(reply + 42 + 16), g->ip);
}

static void send_arp(struct fixture *f, const struct guest *g, uint32_t from, uint32_t for_whom)
{
	uint8_t frame[42];

	memset(frame, 0xff, 6);
	memcpy(frame + 6, g->mac, 6);
	bytes_put_be16(frame + 12, 0x0806);
	bytes_put_be64(frame + 14, 0x0001080006040001ULL);
	memcpy(frame + 22, g->mac, 6);
	bytes_put_be32(frame + 28, from);
	memset(frame + 32, 0, 6);
	bytes_put_be32(frame + 38, for_whom);
	send_frame(f, frame, sizeof(frame));
}

static void put_ip(uint8_t *frame, const struct guest *g, uint8_t protocol, uint32_t payload)
{
	memset(frame, 0, 54);
	frame[0] = 0x52;
	frame[1] = 0x55;
	bytes_put_be32(frame + 2, GATEWAY);
	memcpy(frame + 6, g->mac, 6);
	bytes_put_be16(frame + 12, 0x0800);
	frame[14] = 0x45;
	bytes_put_be16(frame + 16, (uint16_t)(20 + payload));
	frame[22] = 64;
	frame[23] = protocol;
	bytes_put_be32(frame + 26, g->ip);
	bytes_put_be32(frame + 30, GATEWAY);
}

static void send_udp(struct fixture *f, const struct guest *g, uint16_t port, const char *text)
{
	uint8_t frame[200];
	uint32_t length = (uint32_t)strlen(text);

	put_ip(frame, g, 17, 8 + length);
	bytes_put_be16(frame + 34, 4000);
	bytes_put_be16(frame + 36, port);
	bytes_put_be16(frame + 38, (uint16_t)(8 + length));
	memcpy(frame + 42, text, length);
	send_ip(f, frame, 42 + length);
}

static void send_tcp(struct fixture *f, struct guest *g, uint16_t from, uint16_t to, uint8_t flags,
		     const char *text)
{
	uint8_t frame[200];
	uint32_t length = (uint32_t)strlen(text);

	put_ip(frame, g, 6, 20 + length);
	bytes_put_be16(frame + 34, from);
	bytes_put_be16(frame + 36, to);
	bytes_put_be32(frame + 38, g->seq);
	bytes_put_be32(frame + 42, g->ack);
	frame[46] = 0x50;
	frame[47] = flags;
	bytes_put_be16(frame + 48, 60000);
	memcpy(frame + 54, text, length);
	send_ip(f, frame, 54 + length);
	g->seq += length + ((flags & SYN) != 0);
}

/* A segment with data, whose text is returned; takes its place in the sequence. */
static const char *next_text(struct fixture *f, struct guest *g)
{
	static char text[200];
	uint8_t *frame;

	while ((frame = next(f, g, 0x0800, 6))) {
		uint32_t length = bytes_be16(frame + 16) - 20U - (frame[46] >> 4) * 4U;

		if (length > 0 && length < sizeof(text)) {
			memcpy(text, frame + 34 + (frame[46] >> 4) * 4, length);
			text[length] = 0;
			g->ack += length;
			return text;
		}
	}
	return NULL;
}

static int listener(int type, uint16_t *ret_port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	if (type == SOCK_STREAM) {
		assert_int_equal(listen(fd, 8), 0);
	}
	*ret_port = ntohs(sa.sin_port);
	return fd;
}

static int accept_one(struct fixture *f, int listener)
{
	int fd = -1;

	for (uint64_t until = loop_now_ns() + WAIT_NS; fd < 0 && loop_now_ns() < until;) {
		loop_turn(f->loop);
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	assert_true(fd >= 0);
	return fd;
}

static void expect_text(struct fixture *f, int fd, const char *text)
{
	char got[200] = "";
	ssize_t n = -1;

	for (uint64_t until = loop_now_ns() + WAIT_NS; n <= 0 && loop_now_ns() < until;) {
		loop_turn(f->loop);
		n = recv(fd, got, sizeof(got) - 1, 0);
	}
	assert_string_equal(got, text);
}

static uint64_t wanted_value;
static const char *wanted;

static void on_fact(void *ctx, const char *name, uint64_t value)
{
	(void)ctx;
	if (strcmp(name, wanted) == 0) {
		wanted_value = value;
	}
}

static uint64_t fact(const struct fixture *f, const char *name)
{
	wanted = name;
	wanted_value = UINT64_MAX;
	net_facts(f->net, on_fact, NULL);
	assert_true(wanted_value != UINT64_MAX);
	return wanted_value;
}

/* ---- tests ---- */

static int connect_out(struct fixture *f, struct guest *g, int server, uint16_t port)
{
	uint8_t *frame;

	g->seq = 1000;
	g->ack = 0;
	send_tcp(f, g, 3000, port, SYN, "");
	frame = next(f, g, 0x0800, 6);
	assert_non_null(frame);
	assert_int_equal(frame[47] & (SYN | ACK), SYN | ACK);
	assert_int_equal(bytes_be32(frame + 30), g->ip);
	g->ack = bytes_be32(frame + 38) + 1;
	send_tcp(f, g, 3000, port, ACK, "");
	return accept_one(f, server);
}

static void two_guests_reach_a_server_at_the_same_time(void **state)
{
	struct fixture *f = *state;
	struct guest *a = &f->guests[0], *b = &f->guests[1];
	uint16_t port;
	int server = listener(SOCK_STREAM, &port), fd[2];

	get_lease(f, a);
	get_lease(f, b);
	assert_int_not_equal(a->ip, b->ip);
	fd[0] = connect_out(f, a, server, port); /* the same port on both */
	fd[1] = connect_out(f, b, server, port);
	send_tcp(f, b, 3000, port, ACK | PSH, "I am b");
	send_tcp(f, a, 3000, port, ACK | PSH, "I am a");
	expect_text(f, fd[0], "I am a");
	expect_text(f, fd[1], "I am b");
	assert_int_equal(send(fd[1], "hello b", 7, 0), 7);
	assert_int_equal(send(fd[0], "hello a", 7, 0), 7);
	assert_string_equal(next_text(f, a), "hello a");
	assert_string_equal(next_text(f, b), "hello b");
	assert_int_equal(f->others, 0);
	close(fd[0]);
	close(fd[1]);
	close(server);
}

/* More than libslirp's table of hardware addresses holds, each after the other, and twice. */
static void forty_guests_get_their_answers(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int server = listener(SOCK_DGRAM, &port);

	for (unsigned int i = 0; i < GUESTS; i++) {
		get_lease(f, &f->guests[i]);
	}
	for (unsigned int i = 0; i < 2 * GUESTS; i++) {
		struct guest *g = &f->guests[i % GUESTS];
		struct sockaddr_in from;
		socklen_t length = sizeof(from);
		char text[32];
		ssize_t n = -1;
		uint8_t *frame;

		snprintf(text, sizeof(text), "guest %u", i);
		send_udp(f, g, port, text);
		for (uint64_t until = loop_now_ns() + WAIT_NS; n < 0 && loop_now_ns() < until;) {
			loop_turn(f->loop);
			n = recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&from,
				     &length);
		}
		assert_true(n > 0);
		assert_int_equal(
			sendto(server, text, (size_t)n, 0, (struct sockaddr *)&from, length), n);
		frame = next(f, g, 0x0800, 17);
		assert_non_null(frame);
		assert_memory_equal(frame + 42, text, (size_t)n);
	}
	assert_int_equal(f->others, 0);
	assert_true(fact(f, "arp_answered") >= GUESTS);
	close(server);
}

static void a_guest_with_an_address_of_its_own_is_asked_for_it(void **state)
{
	struct fixture *f = *state;
	struct guest *g = &f->guests[3];
	uint8_t *frame;
	uint16_t port;
	int server = listener(SOCK_DGRAM, &port);

	g->ip = NETWORK + 9; /* not in the pool */
	send_arp(f, g, g->ip, GATEWAY);
	frame = next(f, g, 0x0806, 0);
	assert_non_null(frame);
	assert_int_equal(bytes_be16(frame + 20), 2);
	assert_int_equal(bytes_be32(frame + 28), GATEWAY);
	send_udp(f, g, port, "hello");
	expect_text(f, server, "hello");
	close(server);
}

static void leases_are_listed_and_counted(void **state)
{
	struct fixture *f = *state;
	struct dhcp_lease lease;
	uint32_t cursor = 0;

	get_lease(f, &f->guests[5]);
	assert_true(net_nat_leases(f->net, &cursor, &lease));
	assert_int_equal(lease.address, NETWORK + 15);
	assert_memory_equal(lease.mac, f->guests[5].mac, 6);
	assert_false(net_nat_leases(f->net, &cursor, &lease));
	assert_int_equal(fact(f, "dhcp_acks"), 1);
	assert_non_null(net_nat_dhcp(f->net));
}

static int try_connect(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) },
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	err = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : fd;
	if (err < 0) {
		close(fd);
	}
	return err;
}

static void forwards_come_and_go_and_reach_the_guest_they_name(void **state)
{
	struct fixture *f = *state;
	struct guest *b = &f->guests[1];
	struct net_forward forward = { .host_address = INADDR_LOOPBACK, .guest_port = 22 }, got;
	uint32_t cursor = 0;
	struct diag diag;
	uint8_t *frame;
	int fd = listener(SOCK_STREAM, &forward.host_port);

	get_lease(f, &f->guests[0]);
	get_lease(f, b);
	forward.guest_address = b->ip;
	assert_int_equal(net_nat_forward_add(f->net, &forward, &diag), -EADDRINUSE);
	close(fd);
	assert_int_equal(net_nat_forward_add(f->net, &forward, &diag), 0);
	assert_true(net_nat_forward_next(f->net, &cursor, &got));
	assert_int_equal(got.guest_address, b->ip);
	assert_false(net_nat_forward_next(f->net, &cursor, &got));
	settle(f);
	fd = try_connect(forward.host_port);
	assert_true(fd >= 0);
	frame = next(f, b, 0x0800, 6);
	assert_non_null(frame);
	assert_int_equal(frame[47] & (SYN | ACK), SYN);
	assert_int_equal(bytes_be16(frame + 36), 22);
	assert_int_equal(f->guests[0].count, 0);
	close(fd);
	assert_int_equal(net_nat_forward_remove(f->net, &forward), 0);
	assert_int_equal(net_nat_forward_remove(f->net, &forward), -ENOENT);
	settle(f);
	assert_int_equal(try_connect(forward.host_port), -ECONNREFUSED);
}

static void a_forward_names_a_guest_of_the_network(void **state)
{
	struct fixture *f = *state;
	const uint32_t bad[] = { 0,          GATEWAY,   NETWORK + 3, NETWORK, NETWORK + 255,
				 0x10000000, 0x0a000315 };
	struct net_forward forward = { .host_address = INADDR_LOOPBACK,
				       .host_port = 1,
				       .guest_port = 22 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct diag diag;

		forward.guest_address = bad[i];
		assert_int_equal(net_nat_forward_add(f->net, &forward, &diag), -EINVAL);
	}
}

static void nobody_speaks_from_anothers_address(void **state)
{
	struct fixture *f = *state;
	struct guest *a = &f->guests[0], *b = &f->guests[1];
	uint16_t port;
	int server = listener(SOCK_STREAM, &port), fd;

	get_lease(f, a);
	get_lease(f, b);
	fd = connect_out(f, a, server, port);
	send_arp(f, b, a->ip, GATEWAY);
	b->ip = a->ip;
	b->seq = a->seq;
	b->ack = a->ack;
	send_tcp(f, b, 3000, port, ACK | PSH, "evil");
	send_tcp(f, a, 3000, port, ACK | PSH, "good");
	expect_text(f, fd, "good");
	assert_int_equal(send(fd, "for a", 5, 0), 5);
	assert_string_equal(next_text(f, a), "for a");
	assert_int_equal(b->count, 0);
	assert_int_equal(fact(f, "impostors_refused"), 2);
	close(fd);
	close(server);
}

/* Some of these end the process if libslirp is to answer them. */
static void send_from_everywhere(struct fixture *f, struct guest *g, uint16_t port)
{
	const uint32_t from[] = { 0,          0x10000000,    0x20000000, 0xe0000000,
				  0xf0000000, 0x7f000001,    GATEWAY,    NETWORK + 3,
				  NETWORK,    NETWORK + 255, UINT32_MAX, 0x08080808 };

	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		g->ip = from[i];
		send_udp(f, g, port, "x");
		send_udp(f, g, 69, "x");
		send_tcp(f, g, 3000, port, SYN, "");
		send_tcp(f, g, 3000, 1, SYN, "");
		send_arp(f, g, from[i], GATEWAY);
		settle(f);
	}
}

static void strangers_addresses_hurt_nobody(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int server = listener(SOCK_STREAM, &port);

	send_from_everywhere(f, &f->guests[0], port);
	assert_true(fact(f, "strangers_refused") > 30);
	get_lease(f, &f->guests[0]);
	close(server);
}

static void nor_do_they_where_there_is_one_guest(void **state)
{
	struct fixture *f = *state;
	struct guest *g = &f->guests[0];
	uint32_t cursor = 0;
	struct dhcp_lease lease;
	uint16_t port;
	int server = listener(SOCK_STREAM, &port), fd;

	drop_net(f);
	make_net(f, NULL);
	assert_null(net_nat_dhcp(f->net));
	assert_false(net_nat_leases(f->net, &cursor, &lease));
	get_lease(f, g); /* of libslirp's */
	assert_int_equal(g->ip, NETWORK + 15);
	send_from_everywhere(f, g, port);
	g->ip = NETWORK + 15;
	drop_net(f); /* with what is under way */
	make_net(f, NULL);
	close(server);
	server = listener(SOCK_STREAM, &port);
	g->count = 0;
	send_arp(f, g, g->ip, GATEWAY);
	assert_non_null(next(f, g, 0x0806, 0));
	fd = connect_out(f, g, server, port);
	close(fd);
	close(server);
}

static void the_network_is_what_was_asked_for(void **state)
{
	struct fixture *f = *state;
	struct net_nat_network n;
	struct diag diag;

	assert_int_equal(net_nat_network_init(&n, 0xc0a84d00, 28, &diag), 0);
	assert_int_equal(n.pool_first, 0xc0a84d04);
	assert_int_equal(n.pool_last, 0xc0a84d0e);
	n.mtu = 1400;
	drop_net(f);
	make_net(f, &n);
	get_lease(f, &f->guests[0]);
	assert_int_equal(f->guests[0].ip, 0xc0a84d04);
	send_arp(f, &f->guests[0], f->guests[0].ip, 0xc0a84d02);
	assert_non_null(next(f, &f->guests[0], 0x0806, 0));
	assert_int_equal(net_nat_network_init(&n, 0xc0a84d01, 28, &diag), -EINVAL);
	assert_int_equal(net_nat_network_init(&n, 0xc0a84d00, 31, &diag), -EINVAL);
	assert_int_equal(net_nat_network_init(&n, 0x0a000000, 8, &diag), 0);
	assert_int_equal(n.pool_last - n.pool_first + 1, DHCP_POOL_MAX);
}

static void what_does_not_fit_together_is_refused(void **state)
{
	struct fixture *f = *state;
	struct net_nat_network good, n;
	const struct net_nat_config config = { .network = &n };
	struct net *net;
	struct diag diag;

	assert_int_equal(net_nat_network_init(&good, NETWORK, 24, &diag), 0);
	assert_int_equal(net_nat_network_check(&good, &diag), 0);
	n = good;
	n.dns = n.gateway;
	assert_int_equal(net_nat_network_check(&n, &diag), -EINVAL);
	n.dns = 0x08080808; /* the service cannot be there; clients may be told of it */
	assert_int_equal(net_nat_network_check(&n, &diag), -EINVAL);
	n = good;
	n.resolver = 0x08080808;
	assert_int_equal(net_nat_network_check(&n, &diag), 0);
	n.pool_last = NETWORK + 256;
	assert_int_equal(net_nat_network_check(&n, &diag), -EINVAL);
	assert_int_equal(net_nat_create(f->loop, &config, &net, &diag), -EINVAL);
	assert_true(net_nat_network_has_guest(&good, NETWORK + 200));
	assert_false(net_nat_network_has_guest(&good, GATEWAY));
	assert_false(net_nat_network_has_guest(&good, NETWORK + 255));
}

struct change {
	struct loop_work work;
	unsigned int count;
};

static void count_change(struct loop_work *work)
{
	container_of(work, struct change, work)->count++;
}

static void who_keeps_leases_hears_of_changes(void **state)
{
	struct fixture *f = *state;
	struct guest *g = &f->guests[0];
	struct change change = { .count = 0 };
	struct net_nat_network network;
	struct diag diag;

	drop_net(f);
	loop_work_init(&change.work, count_change);
	assert_int_equal(net_nat_network_init(&network, NETWORK, 24, &diag), 0);
	network.told = f->loop;
	network.leases_changed = &change.work;
	make_net(f, &network);
	send_arp(f, g, NETWORK + 20, GATEWAY);
	settle(f);
	assert_int_equal(change.count, 0);
	get_lease(f, g);
	settle(f);
	assert_int_equal(change.count, 1);
}

static void no_memory_is_an_answer(void **state)
{
	struct fixture *f = *state;
	struct net_nat_network network;
	struct net_nat_config config = { .network = &network };
	struct diag diag;
	int err = -ENOMEM;

	assert_int_equal(net_nat_network_init(&network, NETWORK, 24, &diag), 0);
	drop_net(f);
	for (unsigned int n = 1; err; n++) {
		fault_arm(n);
		err = net_nat_create(f->loop, &config, &f->net, &diag);
		fault_arm(0);
		assert_true(err == 0 || err == -ENOMEM);
		assert_true(n < 50);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_guests_reach_a_server_at_the_same_time),
		TEST(forty_guests_get_their_answers),
		TEST(a_guest_with_an_address_of_its_own_is_asked_for_it),
		TEST(leases_are_listed_and_counted),
		TEST(forwards_come_and_go_and_reach_the_guest_they_name),
		TEST(a_forward_names_a_guest_of_the_network),
		TEST(nobody_speaks_from_anothers_address),
		TEST(strangers_addresses_hurt_nobody),
		TEST(nor_do_they_where_there_is_one_guest),
		TEST(the_network_is_what_was_asked_for),
		TEST(what_does_not_fit_together_is_refused),
		TEST(who_keeps_leases_hears_of_changes),
		TEST(no_memory_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
