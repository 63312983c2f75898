/* SPDX-License-Identifier: MIT */
/* Wires: teams of them, groups that routers and members are heard by, DHCP that binds. */
#include "switch_rig.h"

#define TEAM 7U

struct uplinks {
	struct rig rig;
	struct net *wires[2];
	struct port_end *ends[2];
	struct net_counters before[2]; /* when it was set up: addresses were announced */
};

/* Guests at 0 and 1; wires at 4 and 5, which are a team at 7. */
static int set_up(void **state)
{
	struct uplinks *u = calloc(1, sizeof(*u));
	struct rig *rig = &u->rig;
	struct diag diag;

	rig_init(rig, 1);
	rig_plug(rig, 0, 0);
	rig_plug(rig, 1, 0);
	assert_int_equal(vswitch_port_add(rig->vswitch, TEAM, "team"), 0);
	policy_port_init(rig->policy, TEAM, PORT_TEAM);
	for (uint16_t i = 0; i < 2; i++) {
		assert_int_equal(vswitch_port_add(rig->vswitch, 4 + i, "wire"), 0);
		policy_port_init(rig->policy, 4 + i, PORT_UPLINK);
		rig->policy->team.members[i] =
			(struct team_member){ .uplink = 4 + i, .priority = (uint8_t)i };
		assert_int_equal(net_null_create(rig->loops[0], false, &u->wires[i], &diag), 0);
	}
	rig->policy->team.mode = TEAM_STANDBY;
	rig->policy->team.port = TEAM;
	rig->policy->team.member_count = 2;
	rig->policy->has_team = true;
	assert_int_equal(team_init(&rig->policy->team, &diag), 0);
	rig_adopt(rig);
	for (uint16_t i = 0; i < 2; i++) {
		assert_int_equal(port_wire_attach(rig->vswitch, 4 + i, u->wires[i], &u->ends[i]),
				 0);
	}
	rig_turn(rig);
	for (unsigned int i = 0; i < 2; i++) {
		u->before[i] = *net_counters(u->wires[i]);
	}
	*state = u;
	return 0;
}

static int tear_down(void **state)
{
	struct uplinks *u = *state;

	for (unsigned int i = 0; i < 2; i++) {
		rig_leave(&u->rig, u->wires[i], u->ends[i]);
		vswitch_port_remove(u->rig.vswitch, (uint16_t)(4 + i));
		net_destroy(u->wires[i]);
	}
	vswitch_port_remove(u->rig.vswitch, TEAM);
	rig_fini(&u->rig);
	free(u);
	return 0;
}

static uint64_t sent(const struct uplinks *u, unsigned int wire)
{
	return net_counters(u->wires[wire])->sent_frames - u->before[wire].sent_frames;
}

static void receive(struct uplinks *u, unsigned int wire, uint8_t *frame, uint32_t bytes)
{
	struct iovec iov = { frame, bytes };
	struct net_frame net = { .iov = &iov, .iov_count = 1, .bytes = bytes };

	assert_int_equal(net_null_deliver(u->wires[wire], &net), 0);
	rig_turn(&u->rig);
}

static void a_team_is_one_port_and_its_standby_takes_over(void **state)
{
	struct uplinks *u = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 30, 0x88b5, 60);
	uint64_t before;

	rig_send(&u->rig, 0, frame, bytes);
	rig_expect(&u->rig, frame, bytes, RIG_TO(1));
	assert_int_equal(sent(u, 0), 1);
	assert_int_equal(sent(u, 1), 0);
	/* what comes in on the standby is not listened to */
	rig_frame(frame, 30, 0, 0x88b5, 60);
	receive(u, 1, frame, bytes);
	rig_expect(&u->rig, frame, bytes, 0);
	assert_int_equal(rig_drops(&u->rig, TEAM, DROP_TEAM), 1);
	receive(u, 0, frame, bytes);
	rig_expect(&u->rig, frame, bytes, RIG_TO(0));
	/* the active one fails: the others' addresses are announced on the standby */
	net_null_set_link(u->wires[0], false);
	rig_turn(&u->rig);
	assert_int_equal(sent(u, 1), 2);
	before = sent(u, 0);
	rig_frame(frame, 0, 30, 0x88b5, 60);
	rig_send(&u->rig, 0, frame, bytes);
	rig_expect(&u->rig, frame, bytes, 0); /* known: to the team only */
	assert_int_equal(sent(u, 0), before);
	assert_int_equal(sent(u, 1), 3);
	rig_frame(frame, 30, 0, 0x88b5, 60);
	receive(u, 1, frame, bytes);
	rig_expect(&u->rig, frame, bytes, RIG_TO(0));
	/* and both */
	net_null_set_link(u->wires[1], false);
	rig_turn(&u->rig);
	rig_frame(frame, 0, 30, 0x88b5, 60);
	rig_send(&u->rig, 0, frame, bytes);
	assert_int_equal(rig_drops(&u->rig, TEAM, DROP_LINK), 1);
}

static void what_a_team_sends_itself_does_not_come_back(void **state)
{
	struct uplinks *u = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 30, -1, 0x88b5, 60);

	receive(u, 0, frame, bytes);
	rig_expect(&u->rig, frame, bytes, RIG_TO(0) | RIG_TO(1));
	assert_int_equal(sent(u, 0) + sent(u, 1), 0);
}

static void large_segments_of_wires_are_whole_for_guests_and_left_whole_for_wires(void **state)
{
	struct uplinks *u = *state;
	uint8_t *frame = malloc(66000);
	uint32_t bytes = rig_ip(frame, 30, 0, 6, 20000);
	struct iovec iov = { frame, bytes };
	struct net_frame net = { .iov = &iov,
				 .iov_count = 1,
				 .bytes = bytes,
				 .flags = NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD,
				 .l4 = NET_L4_TCP,
				 .l4_offset = 34,
				 .mss = 1000 };
	const struct rig_frame *got;
	unsigned int count = 0;

	assert_int_equal(net_null_deliver(u->wires[0], &net), 0);
	rig_turn(&u->rig);
	while ((got = rig_next(&u->rig, 0))) {
		assert_true(rig_sums_are_right(got));
		count++;
	}
	assert_int_equal(count, 20);
	rig_ip(frame, 0, 30, 6, 20000);
	assert_int_equal(rig_send_flags(&u->rig, 0, frame, bytes, NET_FRAME_LSO, 1000), 0);
	assert_int_equal(net_counters(u->wires[0])->sent_large, 1);
	assert_int_equal(net_counters(u->wires[0])->sent_bytes - u->before[0].sent_bytes, bytes);
	free(frame);
}

/* A checksum that the kernel has left undone. */
static void what_a_wire_leaves_undone_is_made_for_guests(void **state)
{
	struct uplinks *u = *state;
	uint8_t frame[2000];
	const struct rig_frame *got;

	for (uint32_t payload = 1; payload < 1400; payload += 333) {
		uint32_t bytes = rig_ip(frame, 30, 0, 17, payload);
		struct iovec iov = { frame, bytes };
		struct net_frame net = { .iov = &iov,
					 .iov_count = 1,
					 .bytes = bytes,
					 .flags = NET_FRAME_L4_PARTIAL,
					 .l4 = NET_L4_UDP,
					 .l4_offset = 34,
					 .l4_end = bytes };
		uint16_t pseudo =
			(uint16_t)~net_sum_fold(net_pseudo_sum(frame + 14, 4, 17, bytes - 34));

		net_ipv4_checksum(frame + 14, 20);
		memcpy(frame + 40, &pseudo, 2);
		assert_int_equal(net_null_deliver(u->wires[0], &net), 0);
		rig_turn(&u->rig);
		got = rig_next(&u->rig, 0);
		assert_non_null(got);
		assert_int_equal(got->bytes, bytes);
		assert_true(rig_sums_are_right(got));
		assert_true(got->flags & NET_FRAME_CHECKSUM_GOOD);
	}
}

/* Port 1 is NAT's, as far as the switch can tell. */
static void nat_and_uplinks_are_apart(void **state)
{
	struct uplinks *u = *state;
	struct rig *rig = &u->rig;
	uint8_t frame[100];
	uint64_t sent;
	uint32_t bytes;
	struct net_frame in;
	struct iovec iov;

	rig->policy->ports[1].kind = PORT_NAT;
	rig_adopt(rig);
	rig_turn(rig);
	sent = net_counters(u->wires[0])->sent_frames;
	/* A broadcast of an uplink's neighbour (a DHCP client's, say) is for the guest alone, */
	bytes = rig_frame(frame, 5, -1, 0x0800, 80);
	iov = (struct iovec){ frame, bytes };
	in = (struct net_frame){ .iov = &iov, .iov_count = 1, .bytes = bytes };
	assert_int_equal(net_null_deliver(u->wires[0], &in), 0);
	rig_turn(rig);
	rig_expect(rig, frame, bytes, RIG_TO(0));
	/* NAT's for the guest alone, the guest's for both. */
	bytes = rig_frame(frame, 1, -1, 0x0800, 80);
	rig_send(rig, 1, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(0));
	assert_int_equal(net_counters(u->wires[0])->sent_frames, sent);
	bytes = rig_frame(frame, 0, -1, 0x0800, 80);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	assert_int_equal(net_counters(u->wires[0])->sent_frames, sent + 1);
	/* With each other's addresses it is the same, and counted. */
	bytes = rig_frame(frame, 5, 1, 0x0800, 80);
	assert_int_equal(net_null_deliver(u->wires[0], &in), 0);
	rig_turn(rig);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(rig_drops(rig, 1, DROP_NAT), 1);
	bytes = rig_frame(frame, 1, 5, 0x0800, 80);
	rig_send(rig, 1, frame, bytes);
	assert_int_equal(rig_drops(rig, TEAM, DROP_NAT), 1);
	assert_int_equal(net_counters(u->wires[0])->sent_frames, sent + 1);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_team_is_one_port_and_its_standby_takes_over),
		TEST(what_a_team_sends_itself_does_not_come_back),
		TEST(nat_and_uplinks_are_apart),
		TEST(large_segments_of_wires_are_whole_for_guests_and_left_whole_for_wires),
		TEST(what_a_wire_leaves_undone_is_made_for_guests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
