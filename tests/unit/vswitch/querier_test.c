/* SPDX-License-Identifier: MIT */
/* When the switch asks for groups, by a time of the test's own, and what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"
#include "vswitch/querier.h"

static const uint8_t MAC[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

/* How often it asks in a VLAN in so many seconds. */
static unsigned int count(struct querier *querier, unsigned int index, bool is_v6, bool has_other,
			  uint32_t *now_s, unsigned int seconds)
{
	unsigned int asked = 0;

	for (unsigned int i = 0; i < seconds; i++, (*now_s)++) {
		asked += querier_is_due(querier, index, is_v6, has_other, *now_s);
	}
	return asked;
}

static void it_asks_at_once_soon_again_and_then_at_its_interval(void **state)
{
	const uint16_t vlans[] = { 0, 7 };
	struct querier querier = { 0 };
	uint32_t now = UINT32_MAX - 20; /* the clock may begin anywhere */

	(void)state;
	querier_set(&querier, vlans, 2, now);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t at = now;

		assert_true(querier_is_due(&querier, i / 2, i & 1, false, at));
		at++;
		assert_int_equal(count(&querier, i / 2, i & 1, false, &at, 30), 0);
		assert_true(querier_is_due(&querier, i / 2, i & 1, false, at));
		at++;
		assert_int_equal(count(&querier, i / 2, i & 1, false, &at, 124), 0);
		assert_int_equal(count(&querier, i / 2, i & 1, false, &at, 1250), 10);
	}
}

static void it_is_silent_while_another_asks_and_begins_when_that_one_is_gone(void **state)
{
	const uint16_t vlans[] = { 0 };
	struct querier querier = { 0 };
	uint32_t now = 1000;

	(void)state;
	querier_set(&querier, vlans, 1, now);
	assert_int_equal(count(&querier, 0, false, true, &now, 1000), 0);
	/* the other family has its own */
	assert_true(querier_is_due(&querier, 0, true, false, now));
	assert_true(querier_is_due(&querier, 0, false, false, now++));
	assert_int_equal(count(&querier, 0, false, false, &now, 31), 1);
}

static void a_vlan_that_stays_keeps_its_time(void **state)
{
	const uint16_t before[] = { 1, 2 }, after[] = { 2, 3 };
	struct querier querier = { 0 };

	(void)state;
	querier_set(&querier, before, 2, 1000);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(querier_is_due(&querier, i, false, false, 1000));
		assert_true(querier_is_due(&querier, i, false, false, 1031));
	}
	querier_set(&querier, after, 2, 1040);
	assert_int_equal(querier.vlans[0].vlan, 2);
	assert_false(querier_is_due(&querier, 0, false, false, 1040));
	assert_true(querier_is_due(&querier, 1, false, false, 1040));
	assert_true(querier_is_due(&querier, 0, false, false, 1031 + 125));
	querier_set(&querier, NULL, 0, 1040);
	assert_int_equal(querier.count, 0);
}

#define S 1000000000ULL

static void what_was_left_is_due_once_more_a_second_later(void **state)
{
	static struct querier_left left;
	const struct querier_again one = { .port = 1, .vlan = 7 },
				   two = { .port = 2, .is_v6 = true };
	struct querier_again got;
	uint64_t wait_ns;

	(void)state;
	assert_false(querier_left_wait(&left, 5 * S, &wait_ns));
	assert_false(querier_left_take(&left, 5 * S, &got));
	assert_true(querier_left_add(&left, &one, 5 * S));
	assert_true(querier_left_add(&left, &two, 5 * S + S / 4));
	assert_false(querier_left_take(&left, 6 * S - 1, &got));
	assert_true(querier_left_wait(&left, 6 * S - 1, &wait_ns) && wait_ns == 1);
	assert_true(querier_left_take(&left, 6 * S, &got));
	assert_true(got.port == 1 && got.vlan == 7 && !got.is_v6);
	assert_true(querier_left_wait(&left, 6 * S, &wait_ns) && wait_ns == S / 4);
	assert_false(querier_left_take(&left, 6 * S, &got));
	assert_true(querier_left_take(&left, 9 * S, &got) && got.port == 2 && got.is_v6);
	assert_false(querier_left_take(&left, 9 * S, &got));
}

static void one_port_leaves_room_for_the_others(void **state)
{
	static struct querier_left left;
	struct querier_again what = { .port = 0 }, got;
	unsigned int added = 0;

	(void)state;
	/* around the end of the list, too */
	for (unsigned int i = 0; i < QUERIER_LEFT_MAX - 3; i++) {
		assert_true(querier_left_add(&left, &what, 0));
		assert_true(querier_left_take(&left, S, &got));
	}
	for (unsigned int i = 0; i < 100; i++) {
		added += querier_left_add(&left, &what, 0);
	}
	assert_int_equal(added, QUERIER_LEFT_PER_PORT);
	for (what.port = 1; what.port < 100; what.port++) {
		for (unsigned int i = 0; i < QUERIER_LEFT_PER_PORT; i++) {
			added += querier_left_add(&left, &what, 0);
		}
	}
	assert_int_equal(added, QUERIER_LEFT_MAX);
	while (querier_left_take(&left, S, &got)) {
		added--;
	}
	assert_int_equal(added, 0);
}

static const struct vframe *parse(struct rig *rig, bool is_v6, const struct vframe_ip *group,
				  uint32_t answer_ms)
{
	uint8_t bytes[QUERIER_FRAME_BYTES_MAX];
	uint32_t length = querier_build(MAC, is_v6, group, answer_ms, bytes);

	rig->length = 0;
	rig_put(rig, bytes, length);
	return rig_parse(rig);
}

static void expect_good_sums(const struct rig *rig, const struct vframe *frame)
{
	const uint8_t *ip = rig->bytes + 14, *l4 = rig->bytes + frame->key.l4_offset;
	uint32_t bytes = rig->length - frame->key.l4_offset;
	uint8_t tail[8] = { 0, 0, 0, (uint8_t)bytes, 0, 0, 0, 58 };

	if (frame->key.ip_version == 4) {
		assert_int_equal(net_sum_fold(net_sum(ip, (ip[0] & 15U) * 4)), 0);
		assert_int_equal(net_sum_fold(net_sum(l4, bytes)), 0);
	} else {
		assert_int_equal(
			net_sum_fold(net_sum(ip + 8, 32) + net_sum(tail, 8) + net_sum(l4, bytes)),
			0);
	}
}

static void igmp_is_asked_for_as_version_3(void **state)
{
	const struct vframe_ip group = { 0, 0xffffe1818283 };
	static const uint8_t all[] = { 0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0 };
	static struct rig rig;
	const struct vframe *frame = parse(&rig, false, NULL, QUERIER_ANSWER_MS);
	uint8_t message[12];

	(void)state;
	assert_memory_equal(frame->key.to, "\x01\x00\x5e\x00\x00\x01", 6);
	assert_memory_equal(frame->key.from, MAC, 6);
	assert_true(frame->key.ip_from.lo == 0xffff00000000 &&
		    frame->key.ip_to.lo == 0xffffe0000001);
	assert_int_equal(frame->key.hop_limit, 1);
	assert_int_equal(frame->key.protocol, 2);
	assert_memory_equal(rig.bytes + 34, "\x94\x04\x00\x00", 4);
	assert_int_equal(rig.length - frame->key.l4_offset, 12);
	memcpy(message, rig.bytes + frame->key.l4_offset, 12);
	memset(message + 2, 0, 2);
	assert_memory_equal(message, all, 12);
	expect_good_sums(&rig, frame);

	frame = parse(&rig, false, &group, QUERIER_LAST_MS);
	assert_memory_equal(frame->key.to, "\x01\x00\x5e\x01\x82\x83", 6);
	assert_true(frame->key.ip_to.lo == group.lo);
	assert_memory_equal(rig.bytes + frame->key.l4_offset + 4, "\xe1\x81\x82\x83", 4);
	assert_int_equal(rig.bytes[frame->key.l4_offset + 1], 10);
	expect_good_sums(&rig, frame);
}

static void mld_is_asked_for_as_version_2(void **state)
{
	const struct vframe_ip group = { 0xff0e000000000000, 0x1122334455667788 };
	static struct rig rig;
	const struct vframe *frame = parse(&rig, true, NULL, QUERIER_ANSWER_MS);
	const uint8_t *message = rig.bytes + frame->key.l4_offset;

	(void)state;
	assert_memory_equal(frame->key.to, "\x33\x33\x00\x00\x00\x01", 6);
	assert_true(frame->key.ip_from.hi == 0xfe80000000000000 &&
		    frame->key.ip_from.lo == 0x001122fffe334455);
	assert_true(frame->key.ip_to.hi == 0xff02000000000000 && frame->key.ip_to.lo == 1);
	assert_int_equal(frame->key.hop_limit, 1);
	assert_int_equal(frame->key.protocol, 58);
	assert_true(frame->key.flags & VKEY_OPTIONS);
	assert_int_equal(rig.length - frame->key.l4_offset, 28);
	assert_int_equal(message[0], 130);
	assert_int_equal(bytes_be16(message + 4), 10000);
	assert_memory_equal(message + 24, "\x02\x7d\x00\x00", 4);
	expect_good_sums(&rig, frame);

	frame = parse(&rig, true, &group, QUERIER_LAST_MS);
	message = rig.bytes + frame->key.l4_offset;
	assert_memory_equal(frame->key.to, "\x33\x33\x55\x66\x77\x88", 6);
	assert_true(frame->key.ip_to.lo == group.lo && bytes_be64(message + 16) == group.lo);
	expect_good_sums(&rig, frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_asks_at_once_soon_again_and_then_at_its_interval),
		cmocka_unit_test(it_is_silent_while_another_asks_and_begins_when_that_one_is_gone),
		cmocka_unit_test(a_vlan_that_stays_keeps_its_time),
		cmocka_unit_test(what_was_left_is_due_once_more_a_second_later),
		cmocka_unit_test(one_port_leaves_room_for_the_others),
		cmocka_unit_test(igmp_is_asked_for_as_version_3),
		cmocka_unit_test(mld_is_asked_for_as_version_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
