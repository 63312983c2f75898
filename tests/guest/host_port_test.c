/* SPDX-License-Identifier: MIT */
/*
 * The host sends faster than guests take: what waits in its TAP device, what is dropped, and who has to
 * wait for whom. Guests with their NICs' real VSPs are on a real switch; the TAP is a queue of frames
 * that gives out the next one when the one before has been taken.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/switch_guests.h"
#include "net/net_impl.h"

#define HOST_PORT 9U
#define FRAMES    4000U
#define BYTES     64U
#define EVERY                                                                                      \
	10U /* frame is for the second guest, where there are two: it has room for all of these */
#define BATCH   32U /* as a TAP's end delivers them */
#define MS      1000000ULL
#define POLL_NS 20000U    /* none came in so long: there is none */
#define AWAY_NS (15 * MS) /* not far from what the switch waits at most */
#define TRIES   20U
#define WAIT_NS 20000000000ULL

struct tap {
	struct net net;
	struct port_end *end;
	struct rig *rig;
	struct loop_work pump, gone;
	unsigned int guests; /* that frames are for */
	uint32_t at, sent[GUESTS_MAX];
	bool is_blocked;
	uint64_t blocked_at;
	uint64_t blocked_ns[GUESTS_MAX]; /* by a frame for this guest */
	_Atomic(unsigned int) blocked[GUESTS_MAX];
	uint64_t begun_ns, took_ns;
	_Atomic(bool) is_done, is_gone;
};

static struct tap *tap_of(struct net *net)
{
	return container_of(net, struct tap, net);
}

static unsigned int whom(const struct tap *tap)
{
	return tap->guests == 2 && tap->at % EVERY == 0;
}

static int deliver_next(struct tap *tap)
{
	static const uint8_t host[6] = { 2, 0, 0, 0, 9, 9 };
	unsigned int guest = whom(tap);
	uint8_t bytes[BYTES] = { 0 };
	struct iovec iov = { bytes, BYTES };
	const struct net_frame frame = { .iov = &iov, .iov_count = 1, .bytes = BYTES };

	memcpy(bytes, tap->rig->party[guest].mac, 6);
	memcpy(bytes + 6, host, 6);
	bytes_put_be16(bytes + 12, 0x88b5);
	bytes_put_be32(bytes + 14, tap->sent[guest]);
	if (net_deliver(&tap->net, &frame)) {
		return -EAGAIN;
	}
	tap->sent[guest]++;
	tap->at++;
	return 0;
}

static void on_pump(struct loop_work *work)
{
	struct tap *tap = container_of(work, struct tap, pump);
	unsigned int guest = whom(tap);

	if (tap->blocked_at) {
		tap->blocked_ns[guest] += loop_now_ns() - tap->blocked_at;
		tap->blocked_at = 0;
	}
	for (unsigned int i = 0; i < BATCH && tap->at < FRAMES; i++) {
		if (deliver_next(tap)) {
			tap->is_blocked = true;
			tap->blocked[whom(tap)]++;
			tap->blocked_at = loop_now_ns();
			break;
		}
	}
	net_deliver_end(&tap->net);
	if (tap->at == FRAMES) {
		tap->took_ns = loop_now_ns() - tap->begun_ns;
		tap->is_done = true;
	} else if (!tap->is_blocked) {
		loop_defer(tap->net.loop, &tap->pump);
	}
}

static void on_room(struct net *net)
{
	struct tap *tap = tap_of(net);

	if (tap->is_blocked) {
		tap->is_blocked = false;
		loop_defer(net->loop, &tap->pump);
	}
}

static int on_send(struct net *net, const struct net_frame *frame)
{
	(void)net;
	(void)frame;
	return 0;
}

static void on_destroy(struct net *net)
{
	(void)net;
}

static const struct net_ops tap_ops = {
	.kind = "model", .send = on_send, .room = on_room, .destroy = on_destroy
};

/* ---- the rig ----------------------------------------------------------------------------------- */

static void attach(void *arg)
{
	struct tap *tap = arg;

	assert_int_equal(port_wire_attach(tap->rig->vswitch, HOST_PORT, &tap->net, &tap->end), 0);
}

static void tap_up(struct tap *tap, struct rig *rig, unsigned int guests)
{
	memset(tap, 0, sizeof(*tap));
	rig_create(rig, 1, guests, 1500);
	tap->rig = rig;
	tap->guests = guests;
	net_init(&tap->net, &tap_ops, rig->loops[0]);
	tap->net.link_up = true;
	loop_work_init(&tap->pump, on_pump);
	assert_int_equal(vswitch_port_add(rig->vswitch, HOST_PORT, "host"), 0);
	policy_port_init(rig->policy, HOST_PORT, PORT_HOST);
	rig_adopt(rig);
	loop_call(rig->loops[0], attach, tap);
	rig_settle(rig);
	for (unsigned int i = 0; i < guests; i++) {
		netvsc_drain(&rig->party[i].vsc);
	}
}

static void begin(void *arg)
{
	struct tap *tap = arg;

	tap->begun_ns = loop_now_ns();
	loop_defer(tap->net.loop, &tap->pump);
}

static void on_gone(struct loop_work *work)
{
	container_of(work, struct tap, gone)->is_gone = true;
}

static void detach(void *arg)
{
	struct tap *tap = arg;

	loop_cancel(tap->net.loop, &tap->pump);
	port_wire_detach(tap->end, &tap->gone);
}

static void tap_down(struct tap *tap, struct rig *rig)
{
	loop_work_init(&tap->gone, on_gone);
	loop_call(rig->loops[0], detach, tap);
	while (!tap->is_gone) {
		loop_turn(rig->control);
	}
	vswitch_port_remove(rig->vswitch, HOST_PORT);
	rig_destroy(rig);
}

/* Frames that are there for a guest, in order, up to so many; those that were lost leave gaps. */
static unsigned int take(struct rig *rig, unsigned int guest, uint32_t *next, unsigned int most)
{
	struct netvsc_item *item;
	unsigned int n;

	for (n = 0; n < most && (item = netvsc_next_frame(&rig->party[guest].vsc, POLL_NS)); n++) {
		assert_int_equal(item->bytes, BYTES);
		assert_true(bytes_be32(item->data + 14) >= *next);
		*next = bytes_be32(item->data + 14) + 1;
		free(item);
	}
	return n;
}

/* All that was sent to the second guest. */
static void take_all(struct rig *rig)
{
	uint64_t end = loop_now_ns() + WAIT_NS;
	unsigned int got = 0;
	uint32_t next = 0;

	while (got < FRAMES / EVERY) {
		got += take(rig, 1, &next, UINT32_MAX);
		assert_true(loop_now_ns() < end);
	}
	assert_int_equal(got, FRAMES / EVERY);
}

/* Gives back the oldest that it keeps. */
static void give_one_back(struct netvsc *vsc)
{
	if (vsc->kept_count) {
		netvsc_complete(vsc, vsc->kept[0]);
		vsc->kept_count--;
		memmove(vsc->kept, vsc->kept + 1, vsc->kept_count * sizeof(vsc->kept[0]));
	}
}

static void wait_until_done(const struct tap *tap)
{
	for (uint64_t end = loop_now_ns() + WAIT_NS; !tap->is_done; usleep(1000)) {
		assert_true(loop_now_ns() < end);
	}
}

/* ---- tests ------------------------------------------------------------------------------------- */

/*
 * It takes what is there, does something else for a while, and only then gives the buffers back. How many
 * frames it got; *ret_away: the longest it has given nothing back.
 */
static unsigned int slow_guest_takes(struct rig *rig, struct tap *tap, uint64_t *ret_away)
{
	uint64_t last = loop_now_ns(), end = last + WAIT_NS;
	unsigned int got = 0;
	uint32_t next = 0;

	*ret_away = 0;
	while (!tap->is_done || got + rig_drops(rig, 0, DROP_NO_BUFFER) < FRAMES) {
		uint64_t now;

		got += take(rig, 0, &next, UINT32_MAX);
		usleep(500);
		netvsc_give_back(&rig->party[0].vsc);
		now = loop_now_ns();
		*ret_away = num_max(*ret_away, now - last);
		last = now;
		assert_true(now < end);
	}
	return got;
}

static void a_slow_guest_loses_next_to_nothing_of_a_burst(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));
	unsigned int got = 0;
	uint64_t away = AWAY_NS;
	struct tap tap;

	(void)state;
	/* On a busy machine this thread may not run for as long as the switch waits: that says nothing. */
	for (unsigned int i = 0; i < TRIES && got < FRAMES - FRAMES / 10 && away >= AWAY_NS; i++) {
		tap_up(&tap, rig, 1);
		rig->party[0].vsc.keep = true;
		assert_true(rig->party[0].vsc.pieces * 4 < FRAMES); /* all at once find no room */
		loop_call(rig->loops[0], begin, &tap);
		got = slow_guest_takes(rig, &tap, &away);
		assert_true(tap.blocked[0] > 0);
		tap_down(&tap, rig);
	}
	free(rig);
	if (got < FRAMES - FRAMES / 10 && away >= AWAY_NS) {
		skip();
	}
	assert_in_range(got, FRAMES - FRAMES / 10, FRAMES);
}

static void a_dead_guest_is_waited_for_once(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));
	struct tap tap;

	(void)state;
	tap_up(&tap, rig, 2);
	assert_true(rig->party[1].vsc.pieces > FRAMES / EVERY + 100);
	rig->party[0].vsc.keep = true;
	loop_call(rig->loops[0], begin, &tap);
	wait_until_done(&tap);
	assert_in_range(tap.blocked[0], 1, 2);
	assert_int_equal(tap.blocked[1], 0);
	take_all(rig);
	assert_in_range(rig_drops(rig, 0, DROP_NO_BUFFER),
			FRAMES - FRAMES / EVERY - rig->party[0].vsc.pieces, FRAMES);
	tap_down(&tap, rig);
	free(rig);
}

/* It comes back to life: then it is waited for again. */
static void who_gives_back_again_is_waited_for_again(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));
	struct tap tap;
	uint64_t end = loop_now_ns() + WAIT_NS;
	unsigned int got = 0, blocked;
	uint32_t next = 0;
	uint64_t dropped;

	(void)state;
	tap_up(&tap, rig, 1);
	rig->party[0].vsc.keep = true;
	loop_call(rig->loops[0], begin, &tap);
	wait_until_done(&tap);
	assert_in_range(tap.blocked[0], 1, 2);
	dropped = rig_drops(rig, 0, DROP_NO_BUFFER);
	while (got < FRAMES - dropped) {
		got += take(rig, 0, &next, UINT32_MAX);
		assert_true(loop_now_ns() < end);
	}
	netvsc_give_back(&rig->party[0].vsc);
	blocked = tap.blocked[0];
	tap.at = tap.sent[0] = next = 0;
	tap.is_done = false;
	loop_call(rig->loops[0], begin, &tap);
	while (tap.blocked[0] == blocked) {
		assert_true(loop_now_ns() < end);
	}
	while (!tap.is_done) {
		(void)take(rig, 0, &next, UINT32_MAX);
		netvsc_give_back(&rig->party[0].vsc);
		assert_true(loop_now_ns() < end);
	}
	tap_down(&tap, rig);
	free(rig);
}

/* A buffer now and then, so that it is never dead: it gets a small share of its neighbour's time. */
static void who_dribbles_holds_up_his_neighbour_little(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));
	struct tap tap;
	uint64_t begun, last;
	uint32_t next = 0;

	(void)state;
	tap_up(&tap, rig, 2);
	rig->party[0].vsc.keep = true;
	begun = last = loop_now_ns();
	loop_call(rig->loops[0], begin, &tap);
	while (!tap.is_done) {
		(void)take(rig, 0, &next, 1);
		if (loop_now_ns() - last > MS) {
			give_one_back(&rig->party[0].vsc);
			last = loop_now_ns();
		}
		assert_true(loop_now_ns() - begun < WAIT_NS);
	}
	assert_true(tap.blocked[0] > 0);
	take_all(rig);
	/* An eighth, and what a busy machine's late timers add. */
	assert_in_range(tap.blocked_ns[0], 0, tap.took_ns / 4 + 60 * MS);
	tap_down(&tap, rig);
	free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_guest_loses_next_to_nothing_of_a_burst),
		cmocka_unit_test(a_dead_guest_is_waited_for_once),
		cmocka_unit_test(who_gives_back_again_is_waited_for_again),
		cmocka_unit_test(who_dribbles_holds_up_his_neighbour_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
