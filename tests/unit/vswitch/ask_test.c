/* SPDX-License-Identifier: MIT */
/* The switch's own questions about groups on their way to its ports. */
#include "proto/ether.h"
#include "switch_rig.h"
#include "vswitch/core_internal.h"

#define GROUP 0xe1010203U /* 225.1.2.3 */

/* Guests at 0 and 1 without a VLAN, at 2 in 7; at 3 with both. */
static int set_up(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_init(rig, 1);
	for (unsigned int i = 0; i < 4; i++) {
		rig_plug(rig, i, 0);
	}
	rig->policy->ports[2].vlan.mode = VLAN_ACCESS;
	rig->policy->ports[2].vlan.id = 7;
	rig->policy->ports[3].vlan.mode = VLAN_TRUNK;
	vlan_allow(&rig->policy->ports[3].vlan, 0);
	vlan_allow(&rig->policy->ports[3].vlan, 7);
	rig->policy->querier = true;
	memcpy(rig->policy->querier_mac, "\x02\x11\x22\x33\x44\x55", 6);
	rig_adopt(rig);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static void ask_on_core(struct core *core, void *arg)
{
	core_ask(core, core_now_s(core) + *(const uint32_t *)arg);
}

/* As if so many seconds had passed. */
static void ask(struct rig *rig, uint32_t later_s)
{
	vswitch_on_cores(rig->vswitch, ask_on_core, &later_s);
	rig_turn(rig);
}

/* The next frame is a query of this family, with this tag (0: none). */
static void expect_query(struct rig *rig, unsigned int port, bool is_v6, uint16_t tag)
{
	const struct rig_frame *frame = rig_next(rig, port);

	assert_non_null(frame);
	assert_memory_equal(frame->data + 6, "\x02\x11\x22\x33\x44\x55", 6);
	assert_int_equal(bytes_be16(frame->data + 12), is_v6 ? 0x86dd : 0x0800);
	assert_int_equal(frame->flags & NET_FRAME_VLAN ? frame->vlan_tci : 0, tag);
}

static void expect_nothing(struct rig *rig)
{
	for (unsigned int i = 0; i < 4; i++) {
		assert_null(rig_next(rig, i));
	}
}

/* VLAN 0 first. */
static void expect_one_round(struct rig *rig)
{
	for (unsigned int i = 0; i < 3; i++) {
		expect_query(rig, i, false, 0);
		expect_query(rig, i, true, 0);
	}
	expect_query(rig, 3, false, 0);
	expect_query(rig, 3, true, 0);
	expect_query(rig, 3, false, 7);
	expect_query(rig, 3, true, 7);
	expect_nothing(rig);
}

static void each_vlan_is_asked_at_its_time(void **state)
{
	struct rig *rig = *state;

	ask(rig, 0);
	expect_one_round(rig);
	ask(rig, 1);
	expect_nothing(rig);
	ask(rig, QUERIER_STARTUP_S);
	expect_one_round(rig);
	/* something else changes */
	rig->policy->mtu = 2000;
	rig_adopt(rig);
	ask(rig, QUERIER_STARTUP_S + QUERIER_INTERVAL_S - 1);
	expect_nothing(rig);
	ask(rig, QUERIER_STARTUP_S + QUERIER_INTERVAL_S);
	expect_one_round(rig);
	rig->policy->querier = false;
	rig_adopt(rig);
	ask(rig, 10000);
	expect_nothing(rig);
}

static uint32_t igmp(uint8_t *frame, unsigned int from, uint32_t source, uint8_t type,
		     uint32_t group)
{
	uint32_t bytes = rig_ip(frame, from, 0, 17, 0);
	uint16_t sum;

	memcpy(frame, "\x01\x00\x5e\x01\x02\x03", 6);
	frame[14 + 8] = 1;
	frame[14 + 9] = 2;
	bytes_put_be32(frame + 14 + 12, source);
	bytes_put_be32(frame + 14 + 16, GROUP);
	memset(frame + 34, 0, 8);
	frame[34] = type;
	bytes_put_be32(frame + 38, group);
	sum = net_sum_fold(net_sum(frame + 34, 8));
	memcpy(frame + 36, &sum, 2);
	return bytes;
}

static void who_leaves_is_asked_about_the_group_and_nobody_else(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes;
	const struct rig_frame *got;

	ask(rig, 0);
	expect_one_round(rig);
	/* Reports are for who asks: others that hear one say nothing themselves (RFC 2236, 3). */
	bytes = igmp(frame, 1, 0x0a000002, 0x16, GROUP);
	rig_send(rig, 1, frame, bytes);
	expect_nothing(rig);
	bytes = igmp(frame, 1, 0x0a000002, 0x17, GROUP);
	rig_send(rig, 1, frame, bytes);
	got = rig_next(rig, 1);
	assert_non_null(got);
	assert_memory_equal(got->data, "\x01\x00\x5e\x01\x02\x03", 6);
	assert_int_equal(got->data[14 + 24], 0x11);
	assert_int_equal(got->data[14 + 25], 10); /* a second */
	assert_int_equal(bytes_be32(got->data + 14 + 28), GROUP);
	expect_nothing(rig);
	rig_send(rig, 1, frame, bytes);
	expect_nothing(rig);
}

static void again_on_core(struct core *core, void *arg)
{
	core_ask_again(core, loop_now_ns() + *(const uint64_t *)arg);
}

/* As if so many milliseconds had passed. */
static void again(struct rig *rig, uint64_t later_ms)
{
	uint64_t later_ns = later_ms * 1000000;

	vswitch_on_cores(rig->vswitch, again_on_core, &later_ns);
	rig_turn(rig);
}

static void say(struct rig *rig, uint8_t type)
{
	uint8_t frame[100];

	rig_send(rig, 1, frame, igmp(frame, 1, 0x0a000002, type, GROUP));
}

static void expect_question_about_the_group(struct rig *rig)
{
	const struct rig_frame *got = rig_next(rig, 1);

	assert_non_null(got);
	assert_int_equal(got->data[14 + 24], 0x11);
	assert_int_equal(bytes_be32(got->data + 14 + 28), GROUP);
	expect_nothing(rig);
}

static void it_is_asked_twice_a_second_apart(void **state)
{
	struct rig *rig = *state;

	ask(rig, 0);
	expect_one_round(rig);
	say(rig, 0x16);
	say(rig, 0x17);
	expect_question_about_the_group(rig);
	again(rig, 500);
	expect_nothing(rig);
	again(rig, 1000);
	expect_question_about_the_group(rig);
	again(rig, 3000);
	expect_nothing(rig);
}

static void who_says_that_he_wants_it_is_not_asked_again(void **state)
{
	struct rig *rig = *state;

	ask(rig, 0);
	expect_one_round(rig);
	say(rig, 0x16);
	say(rig, 0x17);
	expect_question_about_the_group(rig);
	say(rig, 0x16);
	again(rig, 1000);
	expect_nothing(rig);
	/* nor where the switch asks no more */
	say(rig, 0x17);
	expect_question_about_the_group(rig);
	rig->policy->querier = false;
	rig_adopt(rig);
	again(rig, 1000);
	expect_nothing(rig);
}

static void it_is_silent_where_a_better_one_asks(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = igmp(frame, 1, 0x0a000002, 0x11, 0);

	/* a guest that may be a router */
	rig->policy->ports[1].mcast.is_host = false;
	rig_adopt(rig);
	rig_send(rig, 1, frame, bytes);
	assert_non_null(rig_next(rig, 0));
	assert_non_null(rig_next(rig, 3));
	ask(rig, 0);
	/* of VLAN 0, IPv4 is that one's */
	expect_query(rig, 0, true, 0);
	expect_query(rig, 1, true, 0);
	expect_query(rig, 2, false, 0);
	expect_query(rig, 2, true, 0);
	expect_query(rig, 3, true, 0);
	expect_query(rig, 3, false, 7);
	expect_query(rig, 3, true, 7);
	expect_nothing(rig);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_vlan_is_asked_at_its_time),
		TEST(who_leaves_is_asked_about_the_group_and_nobody_else),
		TEST(it_is_asked_twice_a_second_apart),
		TEST(who_says_that_he_wants_it_is_not_asked_again),
		TEST(it_is_silent_where_a_better_one_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
