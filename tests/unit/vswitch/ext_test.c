/* SPDX-License-Identifier: MIT */
/* Extensions over their real socket and rings: one core, one thread. */
#include <time.h>

#include "ext_rig.h"

#define DROPPED 1U /* ext_rules.drops_on_failure */

static int set_up(void **state)
{
	*state = ext_rig_create(1);
	return 0;
}

static int tear_down(void **state)
{
	ext_rig_destroy(*state);
	return 0;
}

static void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* ---- capture ---- */

static void a_capture_sees_what_passes_both_ways(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hello = fake_hello(VSEXT_CAPTURE);
	const struct vsext_slot *slot;
	uint8_t frame[200];
	uint32_t bytes = rig_ip(frame, 0, 1, 17, 100);
	struct vsext_ask ask;
	struct fake fake;

	hello.directions = VSEXT_IN | VSEXT_OUT;
	hello.snaplen = 64;
	assert_int_equal(fake_greet(rig, &fake, &hello), 0);
	rig_send(&rig->rig, 0, frame, bytes);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	slot = fake_next(&fake, 0, &ask);
	assert_non_null(slot);
	assert_int_equal(slot->direction, VSEXT_IN);
	assert_int_equal(slot->port, 0);
	assert_int_equal(slot->frame_bytes, bytes);
	assert_int_equal(slot->bytes, 64);
	assert_memory_equal(slot + 1, frame, 64);
	assert_int_equal(slot->ethertype, 0x0800);
	assert_int_equal(slot->protocol, 17);
	assert_int_equal(slot->l4_offset, 34);
	assert_true(slot->time_ns / 1000000000 >= (uint64_t)time(NULL) - 5);
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	slot = fake_next(&fake, 0, &ask);
	assert_int_equal(slot->direction, VSEXT_OUT);
	assert_int_equal(slot->port, 1);
	assert_int_equal(slot->from, 0);
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	assert_null(fake_next(&fake, 0, &ask));
	fake_die(rig, &fake);
}

static void a_capture_is_shown_why_a_frame_was_dropped(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hello = fake_hello(VSEXT_CAPTURE);
	const struct vsext_slot *slot;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 1, 0, 0x88b5, 60);

	rig->rig.policy->ports[1].guard.mac = true;
	ext_rig_adopt(rig);
	assert_int_equal(fake_greet(rig, &fake, &hello), 0);
	rig_send(&rig->rig, 1, frame, bytes);
	slot = fake_next(&fake, 0, &ask);
	assert_string_equal(slot->reason, "");
	slot = fake_next(&fake, 0, &ask);
	assert_string_equal(slot->reason, "mac-spoof");
	fake_die(rig, &fake);
	hello.no_drops = 1;
	assert_int_equal(fake_greet(rig, &fake, &hello), 0);
	rig_send(&rig->rig, 1, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	assert_null(fake_next(&fake, 0, &ask));
	fake_die(rig, &fake);
}

static void a_capture_that_does_not_read_loses_frames_and_nobody_else_does(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	fake_connect(rig, &fake, VSEXT_CAPTURE);
	for (unsigned int i = 0; i < VSEXT_SMALL + 10; i++) {
		assert_int_equal(rig_send_flags(&rig->rig, 0, frame, bytes, 0, 0), 0);
	}
	rig_turn(&rig->rig);
	assert_int_equal(rig->rig.nics[1].count, VSEXT_SMALL + 10);
	assert_int_equal(fake_info(rig).full, 10);
	assert_int_equal(atomic_load(&fake_asks(&fake, 0)->lost), 10);
	for (unsigned int i = 0; i < VSEXT_SMALL; i++) {
		assert_non_null(fake_next(&fake, 0, &ask));
		fake_say(&fake, 0, &ask, VSEXT_PASS);
	}
	rig_turn(&rig->rig);
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	assert_int_equal(fake_info(rig).full, 10);
	fake_die(rig, &fake);
}

static void only_what_matches_is_shown(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hello = fake_hello(VSEXT_CAPTURE);
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[100], other[100], arp[60];
	uint32_t bytes = rig_ip(frame, 2, 1, 17, 20);

	rig_ip(other, 2, 1, 17, 20);
	bytes_put_be16(other + 34, 53);
	rig_frame(arp, 2, 1, 0x0806, 60);
	hello.match = VSEXT_MATCH_PORT | VSEXT_MATCH_PROTOCOL | VSEXT_MATCH_L4_PORT;
	hello.protocol = 17;
	hello.l4_port = 53;
	strcpy(hello.port, "port2");
	assert_int_equal(fake_greet(rig, &fake, &hello), 0);
	assert_int_equal(exts_stages(rig->exts, 2), PORT_EXT_CAPTURE_IN);
	assert_int_equal(exts_stages(rig->exts, 1), 0);
	rig_send(&rig->rig, 2, frame, bytes);
	rig_send(&rig->rig, 2, arp, 60);
	rig_send(&rig->rig, 1, other, bytes);
	assert_null(fake_next(&fake, 0, &ask));
	rig_send(&rig->rig, 2, other, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	/* a later fragment hides the port */
	bytes_put_be16(frame + 20, 0x2001);
	rig_send(&rig->rig, 2, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_die(rig, &fake);
}

/* ---- filters ---- */

static void a_filter_lets_pass_drops_and_changes(void **state)
{
	struct ext_rig *rig = *state;
	const struct vsext_slot *slot;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[200], changed[200];
	uint32_t bytes = rig_ip(frame, 0, 1, 17, 100);

	fake_connect(rig, &fake, VSEXT_FILTER);
	for (int i = 0; i < 3; i++) {
		rig_send(&rig->rig, 0, frame, bytes);
	}
	rig_expect(&rig->rig, NULL, 0, 0);
	assert_int_equal(fake_info(rig).held, 3);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_DROP);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, NULL, 0, 0);
	assert_int_equal(rig_drops(&rig->rig, 0, DROP_EXT_FILTER), 1);
	slot = fake_next(&fake, 0, &ask);
	assert_non_null(slot);
	assert_int_equal(slot->bytes, bytes);
	memcpy(changed, frame, bytes);
	rig_mac(2, changed); /* to another port, and longer */
	memset(changed + bytes, 7, 20);
	memcpy(fake_changed(&fake, 0, ask.slot), changed, bytes + 20);
	fake_answer(&fake, 0,
		    (struct vsext_answer){ .slot = ask.slot,
					   .seq = ask.seq,
					   .verdict = VSEXT_CHANGED,
					   .bytes = bytes + 20 });
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, changed, bytes + 20, RIG_TO(2));
	assert_int_equal(fake_info(rig).passed, 1);
	assert_int_equal(fake_info(rig).dropped, 1);
	assert_int_equal(fake_info(rig).changed, 1);
	assert_int_equal(fake_info(rig).held, 0);
	fake_die(rig, &fake);
	/* and without it, as before */
	rig_send(&rig->rig, 0, frame, bytes);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
}

static void guards_see_what_a_filter_has_made(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);
	uint8_t *changed;

	rig->rig.policy->ports[0].guard.mac = true;
	rig->rig.policy->ports[0].guard.mac_count = 1;
	rig_mac(0, rig->rig.policy->ports[0].guard.macs[0]);
	ext_rig_adopt(rig);
	fake_connect(rig, &fake, VSEXT_FILTER);
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	changed = fake_changed(&fake, 0, ask.slot);
	memcpy(changed, frame, bytes);
	rig_mac(3, changed + 6);
	fake_answer(&fake, 0,
		    (struct vsext_answer){ .slot = ask.slot,
					   .seq = ask.seq,
					   .verdict = VSEXT_CHANGED,
					   .bytes = bytes });
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, NULL, 0, 0);
	assert_int_equal(rig_drops(&rig->rig, 0, DROP_MAC_SPOOF), 1);
	fake_die(rig, &fake);
}

/* Whatever it makes of a frame that cannot be: the frame goes on as it was, or is dropped. */
static void a_change_that_makes_no_sense_is_a_failure(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_answer answers[4] = {
		{ .verdict = VSEXT_CHANGED, .bytes = 13 },
		{ .verdict = VSEXT_CHANGED, .bytes = VSEXT_SMALL_BYTES - 63 },
		{ .verdict = VSEXT_SEND },
		{ .verdict = 99 },
	};
	struct vsext_ask ask;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	for (unsigned int i = 0; i < 10; i++) {
		struct fake fake;

		rig->rules.drops_on_failure = i % 2;
		fake_connect(rig, &fake, VSEXT_FILTER);
		rig_send(&rig->rig, 0, frame, bytes);
		assert_non_null(fake_next(&fake, 0, &ask));
		if (i < 8) {
			answers[i / 2].slot = ask.slot;
			answers[i / 2].seq = ask.seq;
			fake_answer(&fake, 0, answers[i / 2]);
		} else {
			/* a tag from nowhere */
			memcpy(fake_changed(&fake, 0, ask.slot), frame, bytes);
			bytes_put_be16(fake_changed(&fake, 0, ask.slot) + 12, 0x8100);
			fake_answer(&fake, 0,
				    (struct vsext_answer){ .slot = ask.slot,
							   .seq = ask.seq,
							   .verdict = VSEXT_CHANGED,
							   .bytes = bytes });
		}
		rig_turn(&rig->rig);
		rig_expect(&rig->rig, frame, bytes, i % 2 ? 0 : RIG_TO(1));
		assert_int_equal(fake_info(rig).bad, 1);
		assert_int_equal(rig_drops(&rig->rig, 0, DROP_EXT_BAD), (i + 1) / 2);
		fake_die(rig, &fake);
	}
}

static void frames_go_on_in_the_order_they_came(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask asks[4];
	uint8_t frames[4][60];
	struct fake fake;

	fake_connect(rig, &fake, VSEXT_FILTER);
	for (unsigned int i = 0; i < 4; i++) {
		rig_frame(frames[i], 0, 1, 0x88b5, 60);
		frames[i][59] = (uint8_t)i;
		rig_send(&rig->rig, 0, frames[i], 60);
		assert_non_null(fake_next(&fake, 0, &asks[i]));
	}
	for (unsigned int i = 3; i > 0; i--) {
		fake_say(&fake, 0, &asks[i], VSEXT_PASS);
		rig_turn(&rig->rig);
		rig_expect(&rig->rig, NULL, 0, 0);
	}
	fake_say(&fake, 0, &asks[0], VSEXT_PASS);
	rig_turn(&rig->rig);
	for (unsigned int i = 0; i < 4; i++) {
		const struct rig_frame *got = rig_next(&rig->rig, 1);

		assert_non_null(got);
		assert_memory_equal(got->data, frames[i], 60);
	}
	fake_die(rig, &fake);
}

static void filters_are_asked_one_after_the_other(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hello = fake_hello(VSEXT_FILTER);
	struct fake first, second;
	struct vsext_ask ask;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	hello.directions = VSEXT_IN | VSEXT_OUT;
	rig->rules.position = 2;
	assert_int_equal(fake_greet(rig, &second, &hello), 0);
	rig->rules.position = 1;
	assert_int_equal(fake_greet(rig, &first, &hello), 0);
	rig_send(&rig->rig, 0, frame, bytes);
	/* in: the first one first; out: the other way round */
	for (int i = 0; i < 4; i++) {
		struct fake *asked = i == 0 || i == 3 ? &first : &second;
		struct fake *waits = asked == &first ? &second : &first;

		assert_null(fake_next(waits, 0, &ask));
		assert_non_null(fake_next(asked, 0, &ask));
		rig_expect(&rig->rig, NULL, 0, 0);
		fake_say(asked, 0, &ask, VSEXT_PASS);
		rig_turn(&rig->rig);
	}
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	/* one goes while it has a frame: the other still sees it */
	rig_send(&rig->rig, 0, frame, bytes);
	fake_die(rig, &first);
	assert_non_null(fake_next(&second, 0, &ask));
	fake_say(&second, 0, &ask, VSEXT_DROP);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, NULL, 0, 0);
	fake_die(rig, &second);
}

static void a_large_frame_goes_through_a_large_slot(void **state)
{
	struct ext_rig *rig = *state;
	const struct vsext_slot *slot;
	uint8_t *frame = malloc(65000);
	uint32_t bytes = rig_ip(frame, 0, 1, 6, 60000);
	const struct rig_frame *got;
	struct vsext_ask ask;
	struct fake fake;

	rig->rig.nics[1].config.coalesce_bytes_max = 65549;
	net_configure(rig->rig.nics[1].net, &rig->rig.nics[1].config);
	rig_turn(&rig->rig);
	fake_connect(rig, &fake, VSEXT_FILTER);
	assert_int_equal(rig_send_flags(&rig->rig, 0, frame, bytes, NET_FRAME_LSO, 1460), 0);
	rig_turn(&rig->rig);
	slot = fake_next(&fake, 0, &ask);
	assert_true(ask.slot >= VSEXT_SMALL);
	assert_int_equal(slot->bytes, bytes);
	assert_int_equal(slot->flags & VSEXT_FRAME_LARGE, VSEXT_FRAME_LARGE);
	assert_int_equal(slot->mss, 1460);
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	rig_turn(&rig->rig);
	got = rig_next(&rig->rig, 1);
	assert_non_null(got);
	assert_int_equal(got->bytes, bytes);
	assert_int_equal(got->mss, 1460);
	free(frame);
	fake_die(rig, &fake);
}

/* ---- those that fail ---- */

static void who_is_late_is_passed_over_and_then_suspended(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask asks[3], ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	for (unsigned int drops = 0; drops <= DROPPED; drops++) {
		rig->rules.drops_on_failure = drops;
		rig->rules.deadline_ns = 100000000;
		fake_connect(rig, &fake, VSEXT_FILTER);
		for (int i = 0; i < 3; i++) {
			rig_send(&rig->rig, 0, frame, bytes);
			assert_non_null(fake_next(&fake, 0, &asks[i]));
			rig_expect(&rig->rig, NULL, 0, 0);
			sleep_ms(110);
			rig_turn(&rig->rig);
			rig_expect(&rig->rig, frame, bytes, drops ? 0 : RIG_TO(1));
		}
		assert_int_equal(fake_info(rig).late, 3);
		assert_true(fake_info(rig).is_suspended);
		rig_send(&rig->rig, 0, frame, bytes);
		assert_null(fake_next(&fake, 0, &ask));
		rig_expect(&rig->rig, frame, bytes, drops ? 0 : RIG_TO(1));
		assert_int_equal(fake_info(rig).bypassed, 1);
		/* an answer that comes late is none, but gives the slot back */
		for (int i = 0; i < 3; i++) {
			fake_say(&fake, 0, &asks[i], VSEXT_PASS);
		}
		rig_turn(&rig->rig);
		rig_expect(&rig->rig, NULL, 0, 0);
		sleep_ms(1000);
		rig_send(&rig->rig, 0, frame, bytes);
		assert_non_null(fake_next(&fake, 0, &ask));
		assert_false(fake_info(rig).is_suspended);
		fake_say(&fake, 0, &ask, VSEXT_PASS);
		rig_turn(&rig->rig);
		rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
		fake_die(rig, &fake);
	}
	assert_int_equal(rig_drops(&rig->rig, 0, DROP_EXT_LATE), 4);
}

static void who_dies_with_frames_holds_nothing_up(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	for (unsigned int drops = 0; drops <= DROPPED; drops++) {
		rig->rules.drops_on_failure = drops;
		fake_connect(rig, &fake, VSEXT_FILTER);
		rig_send(&rig->rig, 0, frame, bytes);
		assert_non_null(fake_next(&fake, 0, &ask));
		fake_die(rig, &fake);
		rig_expect(&rig->rig, frame, bytes, drops ? 0 : RIG_TO(1));
		assert_int_equal(exts_stages(rig->exts, 0), 0);
	}
}

static void a_filter_without_room_decides_nothing(void **state)
{
	struct ext_rig *rig = *state;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	rig->rules =
		(struct ext_rules){ .drops_on_failure = true, .deadline_ns = EXT_DEADLINE_MAX_NS };
	fake_connect(rig, &fake, VSEXT_FILTER);
	for (unsigned int i = 0; i < VSEXT_SMALL + 5; i++) {
		assert_int_equal(rig_send_flags(&rig->rig, 0, frame, bytes, 0, 0), 0);
	}
	assert_int_equal(rig_drops(&rig->rig, 0, DROP_EXT_FULL), 5);
	assert_int_equal(fake_info(rig).full, 5);
	fake_die(rig, &fake);
}

/* Indices, slots and numbers that cannot be: it is disconnected, and frames go on. */
static void who_speaks_nonsense_is_disconnected(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask ask;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	for (int i = 0; i < 6; i++) {
		struct fake fake;
		struct vsext_answer answer;

		fake_connect(rig, &fake, VSEXT_FILTER);
		rig_send(&rig->rig, 0, frame, bytes);
		assert_non_null(fake_next(&fake, 0, &ask));
		answer = (struct vsext_answer){ .slot = ask.slot,
						.seq = ask.seq,
						.verdict = VSEXT_DROP };
		answer.slot = i == 0 ? VSEXT_SLOTS : i == 1 ? UINT32_MAX : answer.slot;
		answer.slot = i == 2 ? ask.slot + 1 : answer.slot;
		answer.seq += i == 3;
		if (i == 4) {
			atomic_store(&fake_answers(&fake, 0)->produced, 2);
		} else if (i == 5) {
			atomic_store(&fake_answers(&fake, 0)->produced, UINT32_MAX);
		} else {
			fake_answer(&fake, 0, answer);
		}
		rig_turn(&rig->rig);
		rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
		assert_string_equal(fake_info(rig).name, "");
		fake_die(rig, &fake);
	}
}

static void an_answer_that_was_given_is_not_taken_again(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask ask, second;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	fake_connect(rig, &fake, VSEXT_FILTER);
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &second));
	fake_say(&fake, 0, &ask, VSEXT_DROP);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	assert_string_equal(fake_info(rig).name, "");
	fake_die(rig, &fake);
}

/* ---- forwarders ---- */

static void a_forwarder_says_where_frames_go(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_answer answer = { .verdict = VSEXT_SEND };
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	fake_connect(rig, &fake, VSEXT_FORWARD);
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	answer.slot = ask.slot;
	answer.seq = ask.seq;
	/* not back, and not to where nothing is */
	answer.to[0] = 1U << 0 | 1U << 2 | 1U << 3 | 1ULL << 60;
	answer.to[3] = UINT64_MAX;
	fake_answer(&fake, 0, answer);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(2) | RIG_TO(3));
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_DROP);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, NULL, 0, 0);
	/* changing is a filter's: nonsense here, and the tables decide */
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_CHANGED);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	fake_die(rig, &fake);
}

static void a_forwarder_is_above_neither_vlans_nor_rules(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_answer answer = { .verdict = VSEXT_SEND };
	struct port_policy *ports = rig->rig.policy->ports;
	struct acl_rule rule = { .id = 1, .action = ACL_DENY };
	struct diag diag;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[100];
	uint32_t bytes = rig_ip(frame, 0, 1, 17, 20);

	ports[0].vlan = (struct vlan_policy){ .mode = VLAN_ACCESS, .id = 5 };
	ports[1].vlan = (struct vlan_policy){ .mode = VLAN_ACCESS, .id = 5 };
	ports[2].vlan = (struct vlan_policy){ .mode = VLAN_ACCESS, .id = 6 };
	ports[3].vlan = (struct vlan_policy){ .mode = VLAN_ACCESS, .id = 5 };
	assert_int_equal(acl_compile(&rule, 1, ACL_OUT, &ports[3].acl_out, &diag), 0);
	ext_rig_adopt(rig);
	fake_connect(rig, &fake, VSEXT_FORWARD);
	rig_send(&rig->rig, 0, frame, bytes);
	assert_non_null(fake_next(&fake, 0, &ask));
	answer.slot = ask.slot;
	answer.seq = ask.seq;
	answer.to[0] = 0xf;
	fake_answer(&fake, 0, answer);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	assert_int_equal(rig_drops(&rig->rig, 3, DROP_ACL_OUT), 1);
	fake_die(rig, &fake);
}

static void a_forwarder_that_dies_leaves_the_tables(void **state)
{
	struct ext_rig *rig = *state;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	fake_connect(rig, &fake, VSEXT_FORWARD);
	rig_send(&rig->rig, 0, frame, bytes);
	rig_expect(&rig->rig, NULL, 0, 0);
	fake_die(rig, &fake);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
}

static void a_port_that_has_gone_gets_nothing_of_what_was_held(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60];
	uint32_t bytes = rig_frame(frame, 2, 1, 0x88b5, 60);

	fake_connect(rig, &fake, VSEXT_FILTER);
	rig_send(&rig->rig, 2, frame, bytes);
	rig_unplug(&rig->rig, 2);
	policy_port_fini(rig->rig.policy, 2);
	ext_rig_adopt(rig);
	assert_non_null(fake_next(&fake, 0, &ask));
	fake_say(&fake, 0, &ask, VSEXT_PASS);
	rig_turn(&rig->rig);
	rig_expect(&rig->rig, NULL, 0, 0);
	fake_die(rig, &fake);
}

/* ---- two cores ---- */

static void each_core_asks_for_its_own_frames(void **state)
{
	struct ext_rig *rig = ext_rig_create(2);
	struct vsext_ask ask;
	struct fake fake;
	uint8_t frame[60], other[60];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	(void)state;
	rig_frame(other, 1, 0, 0x88b5, 60);
	fake_connect(rig, &fake, VSEXT_FILTER);
	assert_int_equal(fake.welcome.cores, 2);
	rig_send(&rig->rig, 0, frame, bytes);
	rig_send(&rig->rig, 1, other, bytes);
	rig_expect(&rig->rig, NULL, 0, 0);
	for (unsigned int core = 0; core < 2; core++) {
		const struct vsext_slot *slot = fake_next(&fake, core, &ask);

		assert_non_null(slot);
		assert_int_equal(slot->port, core);
		fake_say(&fake, core, &ask, VSEXT_PASS);
		rig_turn(&rig->rig);
		rig_expect(&rig->rig, core ? other : frame, bytes, RIG_TO(1 - core));
	}
	rig_send(&rig->rig, 0, frame, bytes);
	rig_send(&rig->rig, 1, other, bytes);
	fake_die(rig, &fake);
	assert_non_null(rig_next(&rig->rig, 0));
	assert_non_null(rig_next(&rig->rig, 1));
	ext_rig_destroy(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_capture_sees_what_passes_both_ways),
		TEST(a_capture_is_shown_why_a_frame_was_dropped),
		TEST(a_capture_that_does_not_read_loses_frames_and_nobody_else_does),
		TEST(only_what_matches_is_shown),
		TEST(a_filter_lets_pass_drops_and_changes),
		TEST(guards_see_what_a_filter_has_made),
		TEST(a_change_that_makes_no_sense_is_a_failure),
		TEST(frames_go_on_in_the_order_they_came),
		TEST(filters_are_asked_one_after_the_other),
		TEST(a_large_frame_goes_through_a_large_slot),
		TEST(who_is_late_is_passed_over_and_then_suspended),
		TEST(who_dies_with_frames_holds_nothing_up),
		TEST(a_filter_without_room_decides_nothing),
		TEST(who_speaks_nonsense_is_disconnected),
		TEST(an_answer_that_was_given_is_not_taken_again),
		TEST(a_forwarder_says_where_frames_go),
		TEST(a_forwarder_is_above_neither_vlans_nor_rules),
		TEST(a_forwarder_that_dies_leaves_the_tables),
		TEST(a_port_that_has_gone_gets_nothing_of_what_was_held),
		cmocka_unit_test(each_core_asks_for_its_own_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
