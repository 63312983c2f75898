/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "base/num.h"
#include "net/faces.h"
#include "net/net_impl.h"

enum { EMULATED, SYNTHETIC };

struct nic {
	struct net_front front;
	struct net *net;
	unsigned int got, ends, writable, links, asked;
	uint8_t last;
	bool is_full;
};

struct rig {
	struct loop *loop;
	struct net *null;
	struct net_faces *faces;
	struct nic nics[NET_FACES_MAX];
};

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct nic *nic = container_of(front, struct nic, front);

	if (nic->is_full) {
		return -EAGAIN;
	}
	nic->got++;
	nic->last = ((const uint8_t *)frame->iov[0].iov_base)[20];
	return 0;
}

static void on_batch_end(struct net_front *front)
{
	container_of(front, struct nic, front)->ends++;
}

static void on_writable(struct net_front *front)
{
	container_of(front, struct nic, front)->writable++;
}

static void on_link_changed(struct net_front *front)
{
	container_of(front, struct nic, front)->links++;
}

static bool has_room(struct net_front *front, uint32_t frames, uint32_t bytes, bool waits)
{
	struct nic *nic = container_of(front, struct nic, front);

	nic->asked++;
	return !nic->is_full;
}

static const struct net_front_ops ops = { .deliver = on_deliver,
					  .batch_end = on_batch_end,
					  .writable = on_writable,
					  .link_changed = on_link_changed,
					  .has_room = has_room };

static void plug(struct rig *rig, unsigned int face, uint32_t mtu)
{
	const struct net_front_config config = { .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = mtu };
	struct nic *nic = &rig->nics[face];

	nic->front.ops = &ops;
	nic->net = net_faces_end(rig->faces, face);
	assert_int_equal(net_attach(nic->net, &nic->front, &config), 0);
}

static void rig_init(struct rig *rig, bool echo)
{
	struct diag diag;

	memset(rig, 0, sizeof(*rig));
	assert_int_equal(loop_create("test", &rig->loop, &diag), 0);
	assert_int_equal(net_null_create(rig->loop, echo, &rig->null, &diag), 0);
	assert_int_equal(net_faces_create(rig->null, &rig->faces), 0);
	plug(rig, EMULATED, 1500);
	plug(rig, SYNTHETIC, 4000);
}

static void rig_fini(struct rig *rig)
{
	for (unsigned int i = 0; i < NET_FACES_MAX; i++) {
		net_detach(net_faces_end(rig->faces, i));
	}
	net_faces_destroy(rig->faces);
	net_destroy(rig->null);
	loop_destroy(rig->loop);
}

static uint8_t data[64];
static struct iovec pieces[4][2] = { { { 0 }, { data, 60 } }, { { 0 }, { data, 60 } } };

static struct net_frame a_frame(uint8_t number, unsigned int at)
{
	data[20] = number;
	pieces[at][1] = (struct iovec){ data, 60 };
	return (struct net_frame){ .iov = &pieces[at][1], .iov_count = 1, .bytes = 60 };
}

static void one_has_the_wire(void **state)
{
	struct net_frame frame = a_frame(7, 0);
	struct rig rig;

	rig_init(&rig, true);
	assert_true(net_link_is_up(rig.nics[EMULATED].net));
	assert_false(net_link_is_up(rig.nics[SYNTHETIC].net));
	assert_int_equal(net_send(rig.nics[SYNTHETIC].net, &frame), 0);
	assert_int_equal(net_counters(rig.nics[SYNTHETIC].net)->send_lost, 1);
	assert_int_equal(net_counters(rig.null)->sent_frames, 0);
	assert_int_equal(net_send(rig.nics[EMULATED].net, &frame), 0);
	loop_turn(rig.loop);
	assert_int_equal(rig.nics[EMULATED].got, 1);
	assert_int_equal(rig.nics[EMULATED].last, 7);
	assert_true(rig.nics[EMULATED].ends > 0);
	assert_int_equal(rig.nics[SYNTHETIC].got, 0);
	assert_int_equal(rig.null->config.mtu, 1500);
	rig_fini(&rig);
}

static void the_wire_is_handed_over_and_back(void **state)
{
	struct net_frame frame = a_frame(8, 0);
	struct rig rig;

	rig_init(&rig, false);
	for (unsigned int i = 0; i < 5; i++) {
		unsigned int face = i % 2 == 0 ? SYNTHETIC : EMULATED, other = 1 - face;
		unsigned int got = rig.nics[face].got, links = rig.nics[face].links;

		net_faces_choose(rig.faces, face);
		net_faces_choose(rig.faces, face);
		assert_int_equal(net_faces_chosen(rig.faces), face);
		assert_true(net_link_is_up(rig.nics[face].net));
		assert_false(net_link_is_up(rig.nics[other].net));
		assert_int_equal(rig.nics[face].links, links + 1);
		assert_int_equal(rig.null->config.mtu, face == SYNTHETIC ? 4000 : 1500);
		assert_int_equal(net_null_deliver(rig.null, &frame), 0);
		assert_int_equal(rig.nics[face].got, got + 1);
	}
	/* The other sees nothing of a cable that is pulled. */
	net_null_set_link(rig.null, false);
	assert_false(net_link_is_up(rig.nics[SYNTHETIC].net));
	net_faces_choose(rig.faces, EMULATED);
	assert_false(net_link_is_up(rig.nics[EMULATED].net));
	net_null_set_link(rig.null, true);
	assert_true(net_link_is_up(rig.nics[EMULATED].net));
	assert_false(net_link_is_up(rig.nics[SYNTHETIC].net));
	rig_fini(&rig);
}

static void who_waits_is_not_forgotten(void **state)
{
	struct net_frame frame = a_frame(9, 0);
	struct rig rig;

	rig_init(&rig, false);
	net_null_block(rig.null, true);
	assert_int_equal(net_send(rig.nics[EMULATED].net, &frame), -EAGAIN);
	assert_int_equal(rig.nics[EMULATED].writable, 0);
	net_faces_choose(rig.faces, SYNTHETIC);
	assert_int_equal(rig.nics[EMULATED].writable, 1); /* to lose what it kept */
	assert_int_equal(net_send(rig.nics[EMULATED].net, &frame), 0);
	assert_int_equal(net_send(rig.nics[SYNTHETIC].net, &frame), -EAGAIN);
	net_null_block(rig.null, false);
	loop_turn(rig.loop);
	assert_int_equal(rig.nics[SYNTHETIC].writable, 1);
	assert_int_equal(rig.nics[EMULATED].writable, 1);
	assert_int_equal(net_send(rig.nics[SYNTHETIC].net, &frame), 0);
	rig_fini(&rig);
}

static void frames_that_wait_below_are_for_the_new_one(void **state)
{
	struct net_frame frame = a_frame(10, 0);
	struct rig rig;

	rig_init(&rig, true);
	rig.nics[EMULATED].is_full = true;
	assert_int_equal(net_send(rig.nics[EMULATED].net, &frame), 0);
	loop_turn(rig.loop);
	assert_int_equal(rig.nics[EMULATED].got, 0);
	assert_false(rig.null->front->ops->has_room(rig.null->front, 1, 60, true));
	net_faces_choose(rig.faces, SYNTHETIC);
	loop_turn(rig.loop);
	assert_int_equal(rig.nics[SYNTHETIC].got, 1);
	assert_true(rig.null->front->ops->has_room(rig.null->front, 1, 60, true));
	assert_int_equal(rig.nics[SYNTHETIC].asked, 1);
	rig_fini(&rig);
}

static void many_are_counted(void **state)
{
	struct rig rig;
	unsigned int taken = 0;

	rig_init(&rig, false);
	for (unsigned int face = 0; face < NET_FACES_MAX; face++) {
		struct net_frame frames[2] = { a_frame(1, 0), a_frame(2, 1) };

		assert_int_equal(net_send_many(rig.nics[face].net, frames, 2, &taken), 0);
		assert_int_equal(taken, 2);
	}
	assert_int_equal(net_counters(rig.nics[EMULATED].net)->sent_frames, 2);
	assert_int_equal(net_counters(rig.nics[EMULATED].net)->sent_bytes, 120);
	assert_int_equal(net_counters(rig.nics[SYNTHETIC].net)->sent_frames, 0);
	assert_int_equal(net_counters(rig.nics[SYNTHETIC].net)->send_lost, 2);
	rig_fini(&rig);
}

/* A NIC that is not there yet, or any more. */
static void nobody_is_there(void **state)
{
	struct net_frame frame = a_frame(11, 0);
	struct rig rig;

	rig_init(&rig, false);
	net_detach(rig.nics[SYNTHETIC].net);
	assert_non_null(rig.null->front);
	net_faces_choose(rig.faces, SYNTHETIC);
	assert_null(rig.null->front);
	assert_int_equal(net_null_deliver(rig.null, &frame), 0);
	assert_int_equal(rig.nics[EMULATED].got, 0);
	plug(&rig, SYNTHETIC, 1500);
	assert_int_equal(net_null_deliver(rig.null, &frame), 0);
	assert_int_equal(rig.nics[SYNTHETIC].got, 1);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_has_the_wire),
		cmocka_unit_test(the_wire_is_handed_over_and_back),
		cmocka_unit_test(who_waits_is_not_forgotten),
		cmocka_unit_test(frames_that_wait_below_are_for_the_new_one),
		cmocka_unit_test(many_are_counted),
		cmocka_unit_test(nobody_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
