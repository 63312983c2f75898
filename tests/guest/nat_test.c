/* SPDX-License-Identifier: MIT */
/*
 * A guest on NAT, from its driver to the host's sockets: ARP, DHCP, TCP both ways with large
 * segments, UDP larger than the MTU, port forwards.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#include "base/num.h"
#include "guest/netvsc.h"
#include "net/offload.h"

#define WAIT_NS 3000000000ULL

struct fixture {
	struct netvsc vsc;
	struct net *net;
	struct netvsp *nic;
	int listener; /* TCP on loopback */
	uint16_t port, forward_port;
	/* the guest's end of one TCP connection */
	uint8_t gateway[6];
	uint32_t seq, ack;
	uint16_t guest_port, peer_port;
	uint32_t peer_mss;
	bool raw; /* finished checksums instead of offloads */
};

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
static const uint8_t host_ip[4] = { 10, 0, 2, 2 }, guest_ip[4] = { 10, 0, 2, 15 };

static uint16_t bind_loopback(int fd)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin_port);
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint16_t port = bind_loopback(fd);

	close(fd);
	return port;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct netvsp_config config = { .name = "net0", .mac = mac };
	struct net_nat_config nat = { .forward_count = 1 };
	struct net_forward forward = { .host_address = INADDR_LOOPBACK, .guest_port = 22 };
	struct diag diag;

	f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	f->port = bind_loopback(f->listener);
	assert_int_equal(listen(f->listener, 5), 0);
	f->forward_port = forward.host_port = free_port();
	nat.forwards = &forward;
	netvsc_init(&f->vsc);
	assert_int_equal(net_nat_create(fake_guest_loop(f->vsc.guest), &nat, &f->net, &diag), 0);
	config.net = f->net;
	assert_int_equal(netvsp_create(&config, &f->nic, &diag), 0);
	fake_guest_offer(f->vsc.guest, netvsp_device(f->nic));
	fake_guest_connect(f->vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&f->vsc);
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc,
			  NDIS_FILTER_DIRECTED | NDIS_FILTER_BROADCAST | NDIS_FILTER_ALL_MULTICAST);
	*state = f;
	return 0;
}

static bool stopped;

static void on_stopped(struct loop_work *work)
{
	(void)work;
	stopped = true;
}

static bool is_stopped(void *arg)
{
	(void)arg;
	return stopped;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	struct loop_work done;

	netvsc_close(&f->vsc);
	netvsc_revoke_device(&f->vsc, netvsp_device(f->nic));
	netvsp_destroy(f->nic);
	stopped = false;
	loop_work_init(&done, on_stopped);
	net_stop(f->net, &done);
	assert_true(fake_guest_wait(f->vsc.guest, is_stopped, NULL));
	net_destroy(f->net);
	netvsc_fini(&f->vsc);
	close(f->listener);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	loop_turn(fake_guest_loop(f->vsc.guest));
}

/* ---- frames ---- */

static void put_ethernet(uint8_t *frame, const uint8_t *to, uint16_t type)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, mac, 6);
	bytes_put_be16(frame + 12, type);
}

/* An IPv4 header; its checksum is left to net_offload_finish(). */
static void put_ip(uint8_t *ip, uint8_t protocol, uint32_t payload, const uint8_t *to)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(20 + payload));
	bytes_put_be16(ip + 4, 4711);
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, guest_ip, 4);
	memcpy(ip + 16, to, 4);
}

/* The next frame that satisfies the test, freed by the caller. */
static struct netvsc_item *next_ip(struct fixture *f, uint8_t protocol)
{
	for (;;) {
		struct netvsc_item *item = netvsc_next_frame(&f->vsc, WAIT_NS);

		assert_non_null(item);
		if (bytes_be16(item->data + 12) == 0x0806) {
			/* slirp asks who we are */
			uint8_t reply[42];

			put_ethernet(reply, item->data + 6, 0x0806);
			memcpy(reply + 14, item->data + 14, 28);
			reply[21] = 2;
			memcpy(reply + 22, mac, 6);
			memcpy(reply + 28, item->data + 38, 4);
			memcpy(reply + 32, item->data + 22, 10);
			netvsc_send_section(&f->vsc, 0, reply, sizeof(reply));
		} else if (bytes_be16(item->data + 12) == 0x0800 && item->data[23] == protocol) {
			return item;
		}
		free(item);
	}
}

static void resolve(struct fixture *f)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t frame[60] = { 0 };
	struct netvsc_item *item;

	put_ethernet(frame, all, 0x0806);
	memcpy(frame + 14, (uint8_t[]){ 0, 1, 8, 0, 6, 4, 0, 1 }, 8);
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 28, guest_ip, 4);
	memcpy(frame + 38, host_ip, 4);
	netvsc_send_section(&f->vsc, 0, frame, sizeof(frame));
	do {
		item = netvsc_next_frame(&f->vsc, WAIT_NS);
		assert_non_null(item);
		if (bytes_be16(item->data + 12) == 0x0806 && item->data[21] == 2) {
			memcpy(f->gateway, item->data + 22, 6);
			free(item);
			return;
		}
		free(item);
	} while (true);
}

static void put_ppi(uint8_t *ppi, uint32_t type, uint32_t value)
{
	bytes_put_le32(ppi, 16);
	bytes_put_le32(ppi + 4, type);
	bytes_put_le32(ppi + 8, 12);
	bytes_put_le32(ppi + 12, value);
}

#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16
#define URG 32

/* A segment as Linux sends it: checksum offloaded, or LSO when longer than one. */
static void send_tcp(struct fixture *f, uint8_t flags, const void *data, uint32_t bytes)
{
	static uint8_t frame[70000];
	uint8_t *ip = frame + 14, *tcp = ip + 20, ppi[16];
	uint32_t options = flags & SYN ? 4 : 0, head = 54 + options;

	put_ethernet(frame, f->gateway, 0x0800);
	put_ip(ip, 6, 20 + options + bytes, host_ip);
	memset(tcp, 0, 24);
	bytes_put_be16(tcp, f->guest_port);
	bytes_put_be16(tcp + 2, f->peer_port);
	bytes_put_be32(tcp + 4, f->seq);
	bytes_put_be32(tcp + 8, f->ack);
	tcp[12] = (uint8_t)((20 + options) << 2);
	tcp[13] = flags;
	bytes_put_be16(tcp + 14, 64240);
	bytes_put_be16(tcp + 16, 0x1234); /* noise */
	if (options) {
		memcpy(tcp + 20, (uint8_t[]){ 2, 4, 1460 >> 8, 1460 & 0xff }, 4);
	}
	if (bytes) {
		memcpy(frame + head, data, bytes);
	}
	if (bytes > 1460) {
		bytes_put_be16(ip + 2, 0);
		put_ppi(ppi, RNDIS_PPI_LSO, 1460 | 34U << 20 | RNDIS_LSO_TYPE_V2);
	} else {
		assert_int_equal(net_offload_finish(frame, head + bytes, NET_FRAME_IP_CHECKSUM), 0);
		put_ppi(ppi, RNDIS_PPI_CHECKSUM, RNDIS_TX_IPV4 | RNDIS_TX_TCP | 34U << 16);
	}
	if (f->raw) {
		assert_int_equal(net_offload_finish(frame, head + bytes,
						    NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM),
				 0);
	}
	assert_int_equal(
		netvsc_send_pages_ppi(&f->vsc, frame, head + bytes, ppi, f->raw ? 0 : sizeof(ppi)),
		NVSP_STATUS_SUCCESS);
	f->seq += bytes + ((flags & (SYN | FIN)) != 0);
}

struct segment {
	struct netvsc_item *item;
	uint8_t flags;
	uint32_t seq, ack;
	const uint8_t *data;
	uint32_t bytes;
};

static struct segment next_tcp(struct fixture *f)
{
	struct segment s = { .item = next_ip(f, 6) };
	const uint8_t *tcp = s.item->data + 34;
	uint32_t head = 34 + (uint32_t)(tcp[12] >> 4) * 4;
	struct net_headers h;
	uint8_t *copy = malloc(s.item->bytes);

	/* Its checksums are right, and it says so. */
	memcpy(copy, s.item->data, s.item->bytes);
	assert_int_equal(net_headers_parse(copy, s.item->bytes, false, &h), 0);
	assert_int_equal(net_offload_finish(copy, s.item->bytes,
					    NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM),
			 0);
	assert_memory_equal(copy, s.item->data, s.item->bytes);
	free(copy);
	assert_int_equal(s.item->checksum, RNDIS_RX_TCP_GOOD | RNDIS_RX_IP_GOOD);
	s.flags = tcp[13];
	assert_false(s.flags & URG);
	s.seq = bytes_be32(tcp + 4);
	s.ack = bytes_be32(tcp + 8);
	s.data = s.item->data + head;
	s.bytes = h.end - head;
	return s;
}

/* The guest connects to a port of the host; returns the host's end. */
static int connect_out(struct fixture *f)
{
	struct segment s;
	int fd = -1;

	resolve(f);
	f->guest_port = 40000;
	f->peer_port = f->port;
	f->seq = 1000;
	f->ack = 0;
	send_tcp(f, SYN, NULL, 0);
	s = next_tcp(f);
	assert_int_equal(s.flags & (SYN | ACK | RST), SYN | ACK);
	assert_int_equal(s.ack, f->seq);
	f->ack = s.seq + 1;
	free(s.item);
	send_tcp(f, ACK, NULL, 0);
	for (uint64_t until = loop_now_ns() + WAIT_NS; fd < 0 && loop_now_ns() < until; turn(f)) {
		fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK);
	}
	assert_true(fd >= 0);
	return fd;
}

/* Reads what the guest has sent. */
static void expect_bytes(struct fixture *f, int fd, const uint8_t *data, uint32_t bytes)
{
	uint8_t *got = malloc(bytes);
	uint32_t have = 0;

	for (uint64_t until = loop_now_ns() + WAIT_NS; have < bytes && loop_now_ns() < until;
	     turn(f)) {
		ssize_t n = recv(fd, got + have, bytes - have, 0);

		if (n > 0) {
			have += (uint32_t)n;
		}
	}
	assert_int_equal(have, bytes);
	assert_memory_equal(got, data, bytes);
	free(got);
}

static void fill(uint8_t *data, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++) {
		data[i] = (uint8_t)(i * 31 + (i >> 9));
	}
}

/* ---- tests ---- */

static void the_gateway_answers_arp(void **state)
{
	struct fixture *f = *state;

	resolve(f);
	assert_memory_equal(f->gateway, ((uint8_t[]){ 0x52, 0x55, 10, 0, 2, 2 }), 6);
}

static void dhcp_offers_an_address(void **state)
{
	struct fixture *f = *state;
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t frame[14 + 20 + 8 + 300] = { 0 }, *udp = frame + 34, *dhcp = udp + 8;
	struct netvsc_item *item;

	put_ethernet(frame, all, 0x0800);
	put_ip(frame + 14, 17, 308, (uint8_t[]){ 255, 255, 255, 255 });
	memset(frame + 26, 0, 4);
	bytes_put_be16(udp, 68);
	bytes_put_be16(udp + 2, 67);
	bytes_put_be16(udp + 4, 308);
	memcpy(dhcp, (uint8_t[]){ 1, 1, 6, 0, 1, 2, 3, 4 }, 8);
	memcpy(dhcp + 28, mac, 6);
	memcpy(dhcp + 236, (uint8_t[]){ 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 0xff }, 8);
	assert_int_equal(net_offload_finish(frame, sizeof(frame),
					    NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM),
			 0);
	netvsc_send_section(&f->vsc, 0, frame, sizeof(frame));
	item = next_ip(f, 17);
	assert_int_equal(bytes_be16(item->data + 34), 67);
	assert_memory_equal(item->data + 42 + 16, guest_ip, 4);
	assert_memory_equal(item->data + 42 + 236 + 4, ((uint8_t[]){ 53, 1, 2 }), 3); /* offer */
	free(item);
}

static void a_large_send_goes_through_whole(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[62000];
	uint32_t total = 0;
	int fd = connect_out(f);

	fill(data, sizeof(data));
	for (uint32_t bytes = 1; bytes <= sizeof(data); bytes = bytes * 3 + 100) {
		struct segment s;

		send_tcp(f, ACK | PSH, data, bytes);
		expect_bytes(f, fd, data, bytes);
		do {
			s = next_tcp(f);
			free(s.item);
		} while (s.ack != f->seq);
		total += bytes;
	}
	send_tcp(f, ACK | PSH, data, sizeof(data));
	expect_bytes(f, fd, data, sizeof(data));
	assert_true(net_counters(f->net)->sent_large >= 3);
	assert_true(total > 40000);
	close(fd);
}

static void receive_all(struct fixture *f, const uint8_t *data, uint32_t bytes,
			uint32_t *ret_largest)
{
	uint32_t have = 0;

	*ret_largest = 0;
	while (have < bytes) {
		struct segment s = next_tcp(f);

		if (s.bytes && s.seq == f->ack) {
			assert_true(s.bytes <= bytes - have);
			assert_memory_equal(s.data, data + have, s.bytes);
			have += s.bytes;
			f->ack += s.bytes;
			*ret_largest = (uint32_t)num_max(*ret_largest, s.item->bytes);
			send_tcp(f, ACK, NULL, 0);
		}
		free(s.item);
	}
}

static void send_host(struct fixture *f, int fd, const uint8_t *data, uint32_t bytes)
{
	int room = 4 << 20;

	/* So that a poll waits for it: an answer that has to wait is another than one at once. */
	for (int i = 0; i < 50; i++) {
		turn(f);
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	assert_int_equal(send(fd, data, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

static void a_guest_with_rsc_receives_segments_of_32_kib(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[500000];
	uint32_t largest;
	int fd;

	netvsc_enable_rsc(&f->vsc, true);
	fd = connect_out(f);
	fill(data, sizeof(data));
	send_host(f, fd, data, sizeof(data));
	receive_all(f, data, sizeof(data), &largest);
	assert_int_equal(largest, 54 + 22 * 1460);
	assert_true(net_counters(f->net)->delivered_frames < 200);
	close(fd);
}

static void a_guest_without_rsc_receives_segments_of_its_own_size(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[200000];
	uint32_t largest;
	int fd = connect_out(f);

	fill(data, sizeof(data));
	send_host(f, fd, data, sizeof(data));
	receive_all(f, data, sizeof(data), &largest);
	assert_int_equal(largest, 1514);
	close(fd);
}

static void a_guest_that_turns_rsc_off_still_gets_its_connections(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[200000];
	uint32_t largest;
	int fd;

	netvsc_enable_rsc(&f->vsc, true);
	fd = connect_out(f);
	netvsc_enable_rsc(&f->vsc, false);
	fill(data, sizeof(data));
	send_host(f, fd, data, sizeof(data));
	receive_all(f, data, sizeof(data), &largest);
	assert_int_equal(largest, 1514); /* cut for it */
	close(fd);
}

static void a_guest_out_of_pieces_loses_no_tcp(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[200000];
	uint32_t largest;
	int fd;

	netvsc_enable_rsc(&f->vsc, true);
	fd = connect_out(f);
	fill(data, sizeof(data));
	f->vsc.keep = true;
	send_host(f, fd, data, 100000);
	/* Hoard: nothing is read from the host's socket once the pieces are out. */
	for (int i = 0; i < 2000; i++) {
		turn(f);
	}
	netvsc_give_back(&f->vsc);
	f->vsc.keep = false;
	receive_all(f, data, 100000, &largest);
	assert_int_equal(net_counters(f->net)->deliver_lost, 0);
	close(fd);
}

static void a_close_behind_the_data_comes_behind_the_data(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[300000];
	uint32_t largest;
	struct segment s;
	int fd;

	netvsc_enable_rsc(&f->vsc, true);
	fd = connect_out(f);
	fill(data, sizeof(data));
	send_tcp(f, ACK | PSH, "GET", 3);
	expect_bytes(f, fd, (const uint8_t *)"GET", 3);
	send_host(f, fd, data, sizeof(data));
	close(fd);
	receive_all(f, data, sizeof(data), &largest);
	do {
		s = next_tcp(f);
		free(s.item);
		assert_false(s.flags & RST);
	} while (!(s.flags & FIN));
	assert_int_equal(s.seq + s.bytes, f->ack);
}

static void large_udp_arrives_in_fragments(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[142], *udp = frame + 34, data[5000], got[9000] = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	uint16_t port = bind_loopback(fd);
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint32_t have = 0;
	ssize_t n = -1;

	resolve(f);
	put_ethernet(frame, f->gateway, 0x0800);
	put_ip(frame + 14, 17, 108, host_ip);
	memset(udp, 7, 108);
	bytes_put_be16(udp, 5000);
	bytes_put_be16(udp + 2, port);
	bytes_put_be16(udp + 4, 108);
	assert_int_equal(net_offload_finish(frame, sizeof(frame),
					    NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM),
			 0);
	netvsc_send_section(&f->vsc, 0, frame, sizeof(frame));
	for (uint64_t until = loop_now_ns() + WAIT_NS; n < 0 && loop_now_ns() < until; turn(f)) {
		n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &from_len);
	}
	assert_int_equal(n, 100);
	fill(data, sizeof(data));
	assert_int_equal(sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&from, from_len),
			 (ssize_t)sizeof(data));
	while (have < sizeof(data) + 8) {
		struct netvsc_item *item = next_ip(f, 17);
		uint32_t offset = (bytes_be16(item->data + 20) & 0x1fffU) * 8;
		uint32_t length = bytes_be16(item->data + 16) - 20U;

		assert_true(item->bytes <= 1514);
		assert_int_equal(net_sum_fold(net_sum(item->data + 14, 20)), 0);
		memcpy(got + offset, item->data + 34, length);
		have += length;
		free(item);
	}
	assert_int_equal(have, sizeof(data) + 8);
	assert_memory_equal(got + 8, data, sizeof(data));
	close(fd);
}

static void a_port_forward_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) },
				  .sin_port = htons(f->forward_port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct segment s;
	uint8_t hello[] = "SSH-2.0-guest";

	resolve(f);
	assert_true(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EINPROGRESS);
	s = next_tcp(f);
	assert_int_equal(s.flags & (SYN | ACK), SYN);
	assert_int_equal(bytes_be16(s.item->data + 36), 22);
	f->guest_port = 22;
	f->peer_port = bytes_be16(s.item->data + 34);
	f->seq = 5000;
	f->ack = s.seq + 1;
	free(s.item);
	send_tcp(f, SYN | ACK, NULL, 0);
	s = next_tcp(f);
	free(s.item);
	send_tcp(f, ACK | PSH, hello, sizeof(hello));
	expect_bytes(f, fd, hello, sizeof(hello));
	close(fd);
}

static void closed_sockets_let_go_at_once(void **state)
{
	struct fixture *f = *state;
	int fd = connect_out(f);
	char byte;
	ssize_t n = -1;

	/* The guest resets: the host's end sees it, though a poll was armed on the socket. */
	send_tcp(f, RST | ACK, NULL, 0);
	for (uint64_t until = loop_now_ns() + WAIT_NS; n < 0 && loop_now_ns() < until; turn(f)) {
		n = recv(fd, &byte, 1, 0);
		if (n < 0 && errno == ECONNRESET) {
			n = 0;
		}
	}
	assert_int_equal(n, 0);
	close(fd);
}

static void a_port_that_is_taken_is_named(void **state)
{
	struct fixture *f = *state;
	struct net_forward forward = { .host_address = INADDR_LOOPBACK,
				       .host_port = f->port,
				       .guest_port = 22 };
	struct net_nat_config nat = { .forwards = &forward, .forward_count = 1 };
	struct net *net = NULL;
	struct diag diag;
	char port[16];

	assert_int_equal(net_nat_create(fake_guest_loop(f->vsc.guest), &nat, &net, &diag),
			 -EADDRINUSE);
	assert_null(net);
	snprintf(port, sizeof(port), "%u", f->port);
	assert_non_null(strstr(diag.text, port));
}

static void garbage_hurts_nobody(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[2000], ppi[16];
	uint32_t seed = 1;

	resolve(f);
	for (int i = 0; i < 3000; i++) {
		uint32_t bytes = 14 + (seed >> 8) % 1500;

		for (uint32_t k = 0; k < bytes; k++) {
			seed = seed * 1103515245 + 12345;
			frame[k] = (uint8_t)(seed >> 16);
		}
		put_ethernet(frame, f->gateway, i % 3 ? 0x0800 : 0x86dd);
		frame[14] = i % 3 ? 0x45 : 0x60;
		frame[23] = i % 2 ? 6 : 17;
		frame[20] = i % 2 ? 6 : 17;
		put_ppi(ppi, i % 5 ? RNDIS_PPI_CHECKSUM : RNDIS_PPI_LSO, seed | 1);
		netvsc_send_pages_ppi(&f->vsc, frame, bytes, ppi, sizeof(ppi));
	}
	netvsc_drain(&f->vsc);
	resolve(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_gateway_answers_arp),
		TEST(dhcp_offers_an_address),
		TEST(a_large_send_goes_through_whole),
		TEST(a_guest_with_rsc_receives_segments_of_32_kib),
		TEST(a_guest_without_rsc_receives_segments_of_its_own_size),
		TEST(a_guest_that_turns_rsc_off_still_gets_its_connections),
		TEST(a_guest_out_of_pieces_loses_no_tcp),
		TEST(a_close_behind_the_data_comes_behind_the_data),
		TEST(large_udp_arrives_in_fragments),
		TEST(a_port_forward_reaches_the_guest),
		TEST(closed_sockets_let_go_at_once),
		TEST(a_port_that_is_taken_is_named),
		TEST(garbage_hurts_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
