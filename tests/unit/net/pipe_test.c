/* SPDX-License-Identifier: MIT */
/* Frames between two processes through a socket: both ends here, and an end that speaks nonsense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/offload.h"
#include "net/pipe.h"

#define KEPT 64U

struct kept {
	uint32_t bytes, mss;
	uint16_t flags;
	uint8_t l4;
	uint8_t data[NET_FRAME_BYTES_MAX];
};

struct side {
	struct net_front front;
	struct net *net;
	struct kept *kept; /* KEPT of them, in a ring */
	unsigned int count, writables, links;
	bool refuses;
	uint16_t label;
	uint8_t label_mac[6];
	unsigned int labels;
};

struct rig {
	struct loop *loop;
	struct side sides[2];
	struct loop_work gone;
	unsigned int gones;
	int raw; /* the other end, when the test itself is that */
};

static int deliver(struct net_front *front, const struct net_frame *frame)
{
	struct side *side = container_of(front, struct side, front);
	struct kept *kept = &side->kept[side->count % KEPT];

	if (side->refuses) {
		return -EAGAIN;
	}
	fifo_gather(kept->data, frame);
	kept->bytes = frame->bytes;
	kept->mss = frame->mss;
	kept->flags = frame->flags;
	kept->l4 = frame->l4;
	side->count++;
	return 0;
}

static void batch_end(struct net_front *front)
{
	(void)front;
}

static void writable(struct net_front *front)
{
	container_of(front, struct side, front)->writables++;
}

static void link_changed(struct net_front *front)
{
	container_of(front, struct side, front)->links++;
}

static const struct net_front_ops front_ops = {
	.deliver = deliver,
	.batch_end = batch_end,
	.writable = writable,
	.link_changed = link_changed,
};

static uint16_t label(void *ctx, const uint8_t mac[6])
{
	(void)ctx;
	return (uint16_t)(100 + mac[5]);
}

static void labelled(void *ctx, const uint8_t mac[6], uint16_t got)
{
	struct side *side = ctx;

	side->label = got;
	side->labels++;
	memcpy(side->label_mac, mac, 6);
}

static void on_gone(struct loop_work *work)
{
	container_of(work, struct rig, gone)->gones++;
}

static void turn(struct rig *rig)
{
	for (int i = 0; i < 20; i++) {
		loop_turn(rig->loop);
	}
}

static void plug(struct rig *rig, unsigned int i, int fd)
{
	const struct net_front_config front = { .mtu = 1500,
						.coalesce_bytes_max = NET_FRAME_BYTES_MAX };
	struct side *side = &rig->sides[i];
	const struct net_pipe_config config = { .fd_take = fd,
						.label = i == 0 ? label : NULL,
						.labelled = labelled,
						.ctx = side,
						.told = rig->loop,
						.gone = &rig->gone };
	struct diag diag;

	side->kept = calloc(KEPT, sizeof(*side->kept));
	side->front.ops = &front_ops;
	assert_int_equal(net_pipe_create(rig->loop, &config, &side->net, &diag), 0);
	assert_int_equal(net_attach(side->net, &side->front, &front), 0);
}

/* One side alone: the other end is the test's. */
static struct rig *begin(bool is_raw)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct diag diag;
	int fds[2];

	assert_int_equal(loop_create("test", &rig->loop, &diag), 0);
	loop_work_init(&rig->gone, on_gone);
	assert_int_equal(net_pipe_pair(fds), 0);
	plug(rig, 0, fds[0]);
	rig->raw = -1;
	if (is_raw) {
		rig->raw = fds[1];
	} else {
		plug(rig, 1, fds[1]);
	}
	turn(rig);
	return rig;
}

static void on_stopped(struct loop_work *work)
{
	work->fn = NULL;
}

static void end(struct rig *rig)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct loop_work done;

		if (!rig->sides[i].net) {
			continue;
		}
		loop_work_init(&done, on_stopped);
		net_stop(rig->sides[i].net, &done);
		while (done.fn) {
			loop_turn(rig->loop);
		}
		net_destroy(rig->sides[i].net);
		free(rig->sides[i].kept);
	}
	if (rig->raw >= 0) {
		close(rig->raw);
	}
	turn(rig);
	loop_destroy(rig->loop);
	free(rig);
}

/* IPv4 with TCP or UDP; no checksum of L4. */
static uint32_t ip(uint8_t *frame, uint8_t protocol, uint16_t port, uint32_t payload)
{
	uint32_t l4 = protocol == 6 ? 20 : 8, total = 20 + l4 + payload;

	memcpy(frame, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0", 14);
	memset(frame + 14, 0, 20 + l4);
	frame[14] = 0x45;
	bytes_put_be16(frame + 16, (uint16_t)total);
	frame[22] = 64;
	frame[23] = protocol;
	bytes_put_be32(frame + 26, 0x0a420064);
	bytes_put_be32(frame + 30, 0x0a420002);
	net_ipv4_checksum(frame + 14, 20);
	bytes_put_be16(frame + 34, 68);
	bytes_put_be16(frame + 36, port);
	if (protocol == 6) {
		frame[34 + 12] = 0x50;
		frame[34 + 13] = 0x10;
	} else {
		bytes_put_be16(frame + 38, (uint16_t)(8 + payload));
	}
	for (uint32_t i = 0; i < payload; i++) {
		frame[34 + l4 + i] = (uint8_t)(i * 7);
	}
	return 14 + total;
}

static int send_as(struct side *side, uint8_t *bytes, uint32_t length, uint16_t flags, uint32_t mss)
{
	/* in pieces, the first of which ends within the headers */
	const uint32_t first = (uint32_t)num_min(length, 30);
	const struct iovec iov[] = { { bytes, first }, { bytes + first, length - first } };
	const struct net_frame frame = { .iov = iov,
					 .iov_count = 2,
					 .bytes = length,
					 .flags = flags,
					 .mss = mss,
					 .l4 = NET_L4_TCP };

	int err = net_send(side->net, &frame);

	net_batch_end(side->net);
	return err;
}

static void frames_go_both_ways_and_large_ones_stay_whole(void **state)
{
	struct rig *rig = begin(false);
	static uint8_t frame[NET_FRAME_BYTES_MAX];
	uint32_t bytes = ip(frame, 17, 53, 100);
	const struct kept *got;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct side *from = &rig->sides[i], *to = &rig->sides[!i];

		assert_int_equal(send_as(from, frame, bytes, 0, 0), 0);
		turn(rig);
		assert_int_equal(to->count, 1);
		got = &to->kept[0];
		assert_int_equal(got->bytes, bytes);
		assert_memory_equal(got->data, frame, bytes);
		assert_int_equal(got->flags, 0);
		/* that a checksum is good is believed, where there is one to be good */
		assert_int_equal(send_as(from, frame, bytes, NET_FRAME_CHECKSUM_GOOD, 0), 0);
		turn(rig);
		assert_int_equal(to->kept[1].flags, NET_FRAME_CHECKSUM_GOOD);
		/* one that is missing is made */
		assert_int_equal(send_as(from, frame, bytes, NET_FRAME_L4_CHECKSUM, 0), 0);
		turn(rig);
		assert_true(to->kept[2].flags & NET_FRAME_L4_PARTIAL);
		assert_int_equal(net_sum_fold(net_sum(to->kept[2].data + 34, 108) +
					      net_sum(frame + 26, 8) +
					      net_sum((const uint8_t[]){ 0, 17, 0, 108 }, 4)),
				 0);
	}
	bytes = ip(frame, 6, 80, 60000);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, NET_FRAME_LSO, 1400), 0);
	turn(rig);
	got = &rig->sides[1].kept[3];
	assert_int_equal(rig->sides[1].count, 4);
	assert_true(got->flags & NET_FRAME_COALESCED);
	assert_int_equal(got->mss, 1400);
	assert_int_equal(got->bytes, bytes);
	assert_memory_equal(got->data + 54, frame + 54, 60000);
	end(rig);
}

static void many_at_once_arrive_in_order(void **state)
{
	struct rig *rig = begin(false);
	uint8_t frame[200];

	(void)state;
	rig->sides[1].refuses = true; /* and nothing is read before there is room again */
	for (unsigned int i = 0; i < 40; i++) {
		uint32_t bytes = ip(frame, 17, 53, 50 + i);

		assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	}
	turn(rig);
	assert_int_equal(rig->sides[1].count, 0);
	rig->sides[1].refuses = false;
	net_room(rig->sides[1].net);
	turn(rig);
	assert_int_equal(rig->sides[1].count, 40);
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(rig->sides[1].kept[i].bytes, 14 + 28 + 50 + i);
	}
	end(rig);
}

static void only_a_dhcp_clients_messages_have_a_label(void **state)
{
	struct rig *rig = begin(false);
	struct side *to = &rig->sides[1];
	uint8_t frame[400];
	uint32_t bytes = ip(frame, 17, 67, 300);

	(void)state;
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	turn(rig);
	assert_int_equal(to->label, 102);
	assert_memory_equal(to->label_mac, "\x02\0\0\0\0\x02", 6);
	/* with its checksum undone, its header is copied: the label is there all the same */
	frame[11] = 3;
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, NET_FRAME_L4_CHECKSUM, 0), 0);
	turn(rig);
	assert_int_equal(to->label, 103);
	assert_int_equal(to->labels, 2);
	/* another port, another protocol, a fragment, and what is too short to be one */
	bytes = ip(frame, 17, 68, 300);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	bytes = ip(frame, 6, 67, 300);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	bytes = ip(frame, 17, 67, 300);
	frame[21] = 8;
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	bytes = ip(frame, 17, 67, 300);
	assert_int_equal(send_as(&rig->sides[0], frame, 36, 0, 0), 0);
	/* nobody labels what comes back */
	assert_int_equal(send_as(to, frame, bytes, 0, 0), 0);
	turn(rig);
	assert_int_equal(to->labels, 2);
	assert_int_equal(rig->sides[0].labels, 0);
	assert_int_equal(to->count, 6);
	end(rig);
}

static uint64_t bad;
static void note_bad(void *ctx, const char *name, uint64_t value)
{
	(void)ctx;
	bad = strcmp(name, "received_bad") == 0 ? value : bad;
}

static void nonsense_is_counted_and_nothing_else(void **state)
{
	struct rig *rig = begin(true);
	static uint8_t message[12 + NET_FRAME_BYTES_MAX + 4096];
	uint32_t seed = 1, bytes = ip(message + 12, 17, 53, 100);

	(void)state;
	assert_int_equal(send(rig->raw, message, 12 + bytes, 0), 12 + bytes);
	turn(rig);
	assert_int_equal(rig->sides[0].count, 1);
	/* too short, too long, segments of what is no TCP, a checksum outside of it */
	assert_int_equal(send(rig->raw, message, 1, 0), 1);
	assert_int_equal(send(rig->raw, message, 12, 0), 12);
	assert_int_equal(send(rig->raw, message, 12 + 13, 0), 12 + 13);
	assert_int_equal(send(rig->raw, message, sizeof(message), 0), sizeof(message));
	message[1] = 1;
	assert_int_equal(send(rig->raw, message, 12 + bytes, 0), 12 + bytes);
	message[1] = 0;
	message[0] = 1;
	message[6] = message[7] = 0xff;
	assert_int_equal(send(rig->raw, message, 12 + bytes, 0), 12 + bytes);
	turn(rig);
	assert_int_equal(rig->sides[0].count, 1);
	net_facts(rig->sides[0].net, note_bad, NULL);
	assert_int_equal(bad, 6);
	for (unsigned int i = 0; i < 2000; i++) {
		for (uint32_t k = 0; k < 100; k++) {
			seed = seed * 1664525 + 1013904223;
			message[k < 12 ? k : 12 + k % 64] = (uint8_t)(seed >> 24);
		}
		assert_true(send(rig->raw, message, 1 + seed % 300, 0) > 0);
		turn(rig);
	}
	assert_true(net_link_is_up(rig->sides[0].net));
	assert_int_equal(rig->gones, 0);
	end(rig);
}

static void who_goes_takes_the_link_along_and_another_brings_it_back(void **state)
{
	struct rig *rig = begin(true);
	uint8_t frame[200], got[300];
	uint32_t bytes = ip(frame, 17, 53, 50);
	int fds[2];

	(void)state;
	assert_true(net_link_is_up(rig->sides[0].net));
	/* what it has said before is heard */
	memset(got, 0, 12);
	memcpy(got + 12, frame, bytes);
	assert_int_equal(send(rig->raw, got, 12 + bytes, 0), 12 + bytes);
	close(rig->raw);
	turn(rig);
	assert_int_equal(rig->sides[0].count, 1);
	assert_false(net_link_is_up(rig->sides[0].net));
	assert_int_equal(rig->gones, 1);
	assert_int_equal(rig->sides[0].links, 1);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0); /* lost */
	assert_int_equal(net_counters(rig->sides[0].net)->send_lost, 1);

	assert_int_equal(net_pipe_pair(fds), 0);
	rig->raw = fds[1];
	assert_int_equal(net_pipe_replace(rig->sides[0].net, fds[0]), 0);
	assert_int_equal(send(rig->raw, got, 12 + bytes, 0), 12 + bytes);
	turn(rig);
	assert_true(net_link_is_up(rig->sides[0].net));
	assert_int_equal(rig->sides[0].links, 2);
	assert_int_equal(rig->sides[0].count, 2);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	assert_int_equal(recv(rig->raw, got, sizeof(got), MSG_DONTWAIT), 12 + bytes);
	assert_memory_equal(got + 12, frame, bytes);
	end(rig);
}

/* Also while frames wait for room at the one that goes. */
static void one_takes_anothers_place_under_load(void **state)
{
	struct rig *rig = begin(true);
	static uint8_t frame[NET_FRAME_BYTES_MAX];
	uint32_t bytes = ip(frame, 17, 53, 1400);
	int fds[2], old = rig->raw;

	(void)state;
	while (send_as(&rig->sides[0], frame, bytes, 0, 0) == 0) {}
	turn(rig);
	assert_int_equal(rig->sides[0].writables, 0);
	assert_int_equal(net_pipe_pair(fds), 0);
	rig->raw = fds[1];
	assert_int_equal(net_pipe_replace(rig->sides[0].net, fds[0]), 0);
	turn(rig);
	assert_true(rig->sides[0].writables > 0);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	assert_int_equal(recv(rig->raw, frame, sizeof(frame), MSG_DONTWAIT), 12 + bytes);
	close(old);
	turn(rig);
	assert_true(net_link_is_up(rig->sides[0].net));
	assert_int_equal(rig->gones, 0);
	end(rig);
}

static void who_does_not_read_holds_up_nobody_for_long(void **state)
{
	struct rig *rig = begin(true);
	static uint8_t frame[NET_FRAME_BYTES_MAX];
	uint32_t bytes = ip(frame, 17, 53, 1400);
	uint64_t begun_ns = loop_now_ns();
	unsigned int sent = 0;

	(void)state;
	while (send_as(&rig->sides[0], frame, bytes, 0, 0) == 0) {
		sent++;
	}
	assert_true(sent > 1);
	sent--; /* the last one was put off, and is on no way yet */
	while (rig->sides[0].writables == 0) {
		loop_turn(rig->loop);
	}
	assert_true(loop_now_ns() - begun_ns >= PIPE_STUCK_MS * 1000000ULL);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	}
	assert_int_equal(net_counters(rig->sides[0].net)->send_lost, 101);
	/* It reads again: nothing is lost any more. */
	while (recv(rig->raw, frame, sizeof(frame), MSG_DONTWAIT) > 0) {
		sent--;
	}
	assert_int_equal(sent, 0);
	bytes = ip(frame, 17, 53, 1400);
	assert_int_equal(send_as(&rig->sides[0], frame, bytes, 0, 0), 0);
	assert_int_equal(recv(rig->raw, frame, sizeof(frame), MSG_DONTWAIT), 12 + bytes);
	assert_int_equal(net_counters(rig->sides[0].net)->send_lost, 101);
	end(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_both_ways_and_large_ones_stay_whole),
		cmocka_unit_test(many_at_once_arrive_in_order),
		cmocka_unit_test(only_a_dhcp_clients_messages_have_a_label),
		cmocka_unit_test(nonsense_is_counted_and_nothing_else),
		cmocka_unit_test(who_goes_takes_the_link_along_and_another_brings_it_back),
		cmocka_unit_test(one_takes_anothers_place_under_load),
		cmocka_unit_test(who_does_not_read_holds_up_nobody_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
