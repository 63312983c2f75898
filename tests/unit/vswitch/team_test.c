/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/team.h"

static struct team make(uint8_t mode, unsigned int members)
{
	struct team team = { .mode = mode, .port = 7, .failback = true };
	struct diag diag;

	team.member_count = (uint8_t)members;
	for (unsigned int i = 0; i < members; i++) {
		team.members[i] = (struct team_member){ .uplink = (uint16_t)(i + 10),
							.priority = (uint8_t)i,
							.link = true };
	}
	assert_int_equal(team_init(&team, &diag), 0);
	return team;
}

static void standby_uses_the_best_and_fails_over_and_back(void **state)
{
	(void)state;
	struct team team = make(TEAM_STANDBY, 3);
	struct vframe frame = { 0 };

	assert_int_equal(team_pick(&team, 12345), 0);
	assert_false(team_link(&team, 1, false));
	assert_true(team_link(&team, 0, false));
	assert_int_equal(team_pick(&team, 1), 2);
	assert_int_equal(team_moved(&team, 1), 2);
	assert_true(team_accepts(&team, 2, &frame, -1));
	assert_false(team_accepts(&team, 0, &frame, -1));
	assert_false(team_accepts(&team, 99, &frame, -1));
	assert_true(team_link(&team, 0, true));
	assert_int_equal(team_pick(&team, 1), 0);
	assert_false(team_link(&team, 0, true));
}

static void without_failback_the_active_one_stays(void **state)
{
	(void)state;
	struct team team = make(TEAM_STANDBY, 2);

	team.failback = false;
	assert_true(team_link(&team, 0, false));
	assert_false(team_link(&team, 0, true));
	assert_int_equal(team_pick(&team, 0), 1);
	assert_true(team_link(&team, 1, false));
	assert_int_equal(team_pick(&team, 0), 0);
}

static void without_links_there_is_no_way(void **state)
{
	(void)state;
	struct team team = make(TEAM_HASH, 2);

	assert_true(team_link(&team, 0, false));
	assert_true(team_link(&team, 1, false));
	assert_int_equal(team_pick(&team, 0), -1);
	assert_int_equal(team_moved(&team, 0), -1);
}

static void a_member_that_goes_moves_only_what_was_on_it(void **state)
{
	(void)state;
	struct team before = make(TEAM_HASH, 4), team = before;
	unsigned int moved = 0;

	assert_true(team_link(&team, 2, false));
	for (uint32_t i = 0; i < TEAM_SLOTS; i++) {
		if (team_pick(&before, i) == 2) {
			moved++;
			assert_int_not_equal(team_pick(&team, i), 2);
			assert_int_equal(team_moved(&team, i), team_pick(&team, i));
		} else {
			assert_int_equal(team_pick(&before, i), team_pick(&team, i));
			assert_int_equal(team_moved(&team, i), -1);
		}
	}
	assert_in_range(moved, TEAM_SLOTS / 8, TEAM_SLOTS / 2);
	assert_true(team_link(&team, 2, true));
	assert_memory_equal(team.slots, before.slots, sizeof(team.slots));
}

static void independent_links_take_group_frames_from_one_and_none_of_our_own(void **state)
{
	(void)state;
	struct team team = make(TEAM_HASH, 2);
	struct vframe frame = { 0 };

	assert_true(team_accepts(&team, 1, &frame, -1));
	assert_true(team_accepts(&team, 1, &frame, 7));
	assert_false(team_accepts(&team, 1, &frame, 3));
	frame.key.to[0] = 0xff;
	assert_true(team_accepts(&team, 0, &frame, -1));
	assert_false(team_accepts(&team, 1, &frame, -1));
	assert_true(team_link(&team, 0, false));
	assert_true(team_accepts(&team, 1, &frame, -1));
	team.is_aggregated = true;
	assert_true(team_accepts(&team, 0, &frame, 3));
}

static void flows_are_spread_only_over_aggregated_links(void **state)
{
	(void)state;
	struct team team = make(TEAM_HASH, 2);
	struct vframe one = { .flow_hash = 1 }, other = { .flow_hash = 2 };

	assert_int_equal(team_hash(&team, &one, 5), team_hash(&team, &other, 5));
	assert_int_equal(team_hash(&team, &one, 5), team_hash_address(one.key.from, 5));
	team.is_aggregated = true;
	assert_int_equal(team_hash(&team, &one, 5), 1);
}

static void teams_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	struct team team = make(TEAM_HASH, 2), bad = team;
	struct diag diag;

	bad.mode = 2;
	assert_int_equal(team_init(&bad, &diag), -EINVAL);
	bad = team;
	bad.member_count = 0;
	assert_int_equal(team_init(&bad, &diag), -EINVAL);
	bad.member_count = TEAM_MEMBERS_MAX + 1;
	assert_int_equal(team_init(&bad, &diag), -EINVAL);
	bad = team;
	bad.members[1].uplink = bad.members[0].uplink;
	assert_int_equal(team_init(&bad, &diag), -EINVAL);
}

static void the_announcement_is_a_reverse_arp_request_for_oneself(void **state)
{
	(void)state;
	static const uint8_t mac[] = { 2, 0, 0, 1, 2, 3 };
	static const uint8_t head[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 1, 2,
					3,    0x80, 0x35, 0,    1,    0x08, 0, 6, 4, 0, 3 };
	uint8_t frame[TEAM_RARP_BYTES];

	team_build_rarp(mac, frame);
	assert_memory_equal(frame, head, sizeof(head));
	assert_memory_equal(frame + 22, mac, 6);
	assert_memory_equal(frame + 32, mac, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standby_uses_the_best_and_fails_over_and_back),
		cmocka_unit_test(without_failback_the_active_one_stays),
		cmocka_unit_test(without_links_there_is_no_way),
		cmocka_unit_test(a_member_that_goes_moves_only_what_was_on_it),
		cmocka_unit_test(independent_links_take_group_frames_from_one_and_none_of_our_own),
		cmocka_unit_test(flows_are_spread_only_over_aggregated_links),
		cmocka_unit_test(teams_that_make_no_sense_are_refused),
		cmocka_unit_test(the_announcement_is_a_reverse_arp_request_for_oneself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
