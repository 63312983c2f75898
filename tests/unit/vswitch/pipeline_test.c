/* SPDX-License-Identifier: MIT */
/* Frames through the stages: one core, NICs that only remember. */
#include <time.h>

#include "switch_rig.h"

static int set_up(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_init(rig, 1);
	for (unsigned int i = 0; i < 4; i++) {
		rig_plug(rig, i, 0);
	}
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static void own_addresses_are_known_before_they_speak(void **state)
{
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 2, 0x88b5, 60);

	rig_send(*state, 0, frame, bytes);
	rig_expect(*state, frame, bytes, RIG_TO(2));
	assert_int_equal(((struct rig *)*state)->nics[2].ends, 1);
}

static void set_address(struct rig *rig, unsigned int port, const char *mac)
{
	memcpy(rig->nics[port].config.mac, mac, 6);
	net_configure(rig->nics[port].net, &rig->nics[port].config);
	rig_turn(rig);
}

static void a_nic_takes_no_address_that_is_anothers_or_denied(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 2, 0x88b5, 60);

	set_address(rig, 1, "\x02\x00\x00\x00\x00\x03");
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(2));
	/* one that is free it takes… */
	memcpy(frame, "\x02\x77\x00\x00\x00\x01", 6);
	set_address(rig, 1, "\x02\x77\x00\x00\x00\x01");
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	/* …if its guard lets it send from there */
	rig->policy->ports[1].guard.mac = true;
	rig->policy->ports[1].guard.mac_count = 1;
	rig_mac(1, rig->policy->ports[1].guard.macs[0]);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1) | RIG_TO(2) | RIG_TO(3));
}

static void unknown_and_broadcast_go_to_all_but_the_sender(void **state)
{
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 1, -1, 0x88b5, 60);

	rig_send(*state, 1, frame, bytes);
	rig_expect(*state, frame, bytes, RIG_TO(0) | RIG_TO(2) | RIG_TO(3));
	memcpy(frame, "\x02\x77\x00\x00\x00\x01", 6);
	rig_send(*state, 1, frame, bytes);
	rig_expect(*state, frame, bytes, RIG_TO(0) | RIG_TO(2) | RIG_TO(3));
}

static void addresses_are_learned(void **state)
{
	uint8_t frame[100], answer[100];
	uint32_t bytes = rig_frame(frame, 1, 2, 0x88b5, 60);

	memcpy(frame + 6, "\x02\x77\x00\x00\x00\x01", 6);
	rig_send(*state, 1, frame, bytes);
	rig_expect(*state, frame, bytes, RIG_TO(2));
	rig_frame(answer, 2, 0, 0x88b5, 60);
	memcpy(answer, "\x02\x77\x00\x00\x00\x01", 6);
	rig_send(*state, 2, answer, bytes);
	rig_expect(*state, answer, bytes, RIG_TO(1));
	/* and from where it lives it goes nowhere */
	rig_frame(answer, 1, 0, 0x88b5, 60);
	memcpy(answer, "\x02\x77\x00\x00\x00\x01", 6);
	rig_send(*state, 1, answer, bytes);
	rig_expect(*state, answer, bytes, 0);
	assert_int_equal(rig_drops(*state, 1, DROP_SPLIT_HORIZON), 1);
}

/* Pause and LACP never pass, spanning tree's always, the others if they may. */
static void what_is_for_the_end_of_a_cable_goes_no_further(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, -1, 0x88b5, 60);
	unsigned int kept = 0;

	memcpy(frame, "\x01\x80\xc2\x00\x00", 5);
	for (int may_pass = 0; may_pass < 2; may_pass++) {
		rig->policy->link_local = may_pass;
		rig_adopt(rig);
		for (unsigned int last = 0; last < 0x20; last++) {
			bool passes = last == 0 || last > (may_pass ? 2 : 0xf);

			frame[5] = (uint8_t)last;
			rig_send(rig, 0, frame, bytes);
			rig_expect(rig, frame, bytes,
				   passes ? RIG_TO(1) | RIG_TO(2) | RIG_TO(3) : 0);
			kept += !passes;
			assert_int_equal(rig_drops(rig, 0, DROP_LINK_LOCAL), kept);
		}
	}
	/* another vendor's groups are anybody's */
	frame[2] = 0xc3;
	frame[5] = 1;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1) | RIG_TO(2) | RIG_TO(3));
}

static void what_is_no_frame_is_dropped_and_counted(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[2000];

	rig_frame(frame, 0, 1, 0x88b5, 2000);
	rig_send(rig, 0, frame, 13);
	rig_send(rig, 0, frame, 1515);
	frame[6] |= 1;
	rig_send(rig, 0, frame, 60);
	memset(frame + 6, 0, 6);
	rig_send(rig, 0, frame, 60);
	rig_expect(rig, frame, 0, 0);
	assert_int_equal(rig_drops(rig, 0, DROP_RUNT), 1);
	assert_int_equal(rig_drops(rig, 0, DROP_LONG), 1);
	assert_int_equal(rig_drops(rig, 0, DROP_SOURCE), 2);
	rig_frame(frame, 0, 1, 0x88b5, 1514);
	rig_send(rig, 0, frame, 1514);
	rig_expect(rig, frame, 1514, RIG_TO(1));
}

static void a_port_sees_only_its_vlan(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, -1, 0x88b5, 60);

	rig->policy->ports[0].vlan = (struct vlan_policy){ .mode = VLAN_ACCESS, .id = 10 };
	rig->policy->ports[1].vlan = (struct vlan_policy){ .mode = VLAN_ACCESS, .id = 10 };
	rig->policy->ports[2].vlan = (struct vlan_policy){ .mode = VLAN_TRUNK };
	vlan_allow(&rig->policy->ports[2].vlan, 10);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	assert_int_equal(rig->nics[2].kept[0].flags & NET_FRAME_VLAN, NET_FRAME_VLAN);
	assert_int_equal(rig->nics[2].kept[0].vlan_tci, 10);
	rig_expect(rig, frame, bytes, RIG_TO(1) | RIG_TO(2));
	/* another VLAN's address is not known here */
	rig_frame(frame, 0, 3, 0x88b5, 60);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1) | RIG_TO(2));
	/* nor may it say that it is in another */
	frame[12] = 0x81;
	frame[13] = 0;
	frame[14] = 0;
	frame[15] = 11;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(rig_drops(rig, 0, DROP_VLAN), 1);
}

static void a_guarded_port_cannot_lie(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	rig->policy->ports[0].guard.mac = true;
	rig->policy->ports[0].guard.mac_count = 1;
	rig_mac(0, rig->policy->ports[0].guard.macs[0]);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	frame[11] = 0x77;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(rig_drops(rig, 0, DROP_MAC_SPOOF), 1);
}

static void rules_decide_and_answers_come_through(void **state)
{
	struct rig *rig = *state;
	struct acl_rule out = { .id = 1, .priority = 1, .action = ACL_DENY };
	struct acl_rule in = {
		.id = 2, .priority = 1, .action = ACL_ALLOW, .is_stateful = true, .protocol = 17
	};
	uint8_t frame[100], answer[100];
	uint32_t bytes = rig_ip(frame, 0, 1, 17, 20);
	uint64_t frames, counted;
	struct diag diag;

	assert_int_equal(acl_compile(&out, 1, ACL_OUT, &rig->policy->ports[0].acl_out, &diag), 0);
	assert_int_equal(acl_compile(&in, 1, ACL_IN, &rig->policy->ports[0].acl_in, &diag), 0);
	rig_adopt(rig);
	rig_ip(answer, 1, 0, 17, 20);
	bytes_put_be16(answer + 34, 2000);
	bytes_put_be16(answer + 36, 1000);
	rig_send(rig, 1, answer, bytes);
	rig_expect(rig, answer, bytes, 0);
	assert_int_equal(rig_drops(rig, 0, DROP_ACL_OUT), 1);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	rig_send(rig, 1, answer, bytes);
	rig_expect(rig, answer, bytes, RIG_TO(0));
	vswitch_rule_stats(rig->vswitch, 0, true, 0, &frames, &counted);
	assert_int_equal(frames, 1);
	assert_int_equal(counted, bytes);
	/* a new policy without the rule forgets what it let through */
	acl_destroy(rig->policy->ports[0].acl_in);
	rig->policy->ports[0].acl_in = NULL;
	rig_adopt(rig);
	rig_send(rig, 1, answer, bytes);
	rig_expect(rig, answer, bytes, 0);
	vswitch_rule_stats(rig->vswitch, 0, true, 0, &frames, &counted);
	assert_int_equal(frames, 2);
}

static void expect_rule(struct rig *rig, uint16_t port, uint64_t frames, uint64_t bytes)
{
	uint64_t got_frames, got_bytes;

	vswitch_rule_stats(rig->vswitch, port, false, 0, &got_frames, &got_bytes);
	assert_int_equal(got_frames, frames);
	assert_int_equal(got_bytes, bytes);
}

/* Of one rule at two ports, as a profile's is. */
static void rules_count_until_they_are_zeroed_or_gone(void **state)
{
	struct rig *rig = *state;
	struct acl_rule rule = { .id = 5, .priority = 1, .action = ACL_COUNT };
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);
	struct diag diag;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(
			acl_compile(&rule, 1, ACL_IN, &rig->policy->ports[i].acl_in, &diag), 0);
	}
	rig_adopt(rig);
	vswitch_rule_base(rig->vswitch, 0, false, 5, 10, 1000);
	vswitch_rule_base(rig->vswitch, 1, false, 5, 7, 700);
	vswitch_rule_base(rig->vswitch, 1, false, 6, 1, 1); /* there is no such rule */
	vswitch_rule_base(rig->vswitch, 1, true, 5, 1, 1);  /* nor any in this direction */
	rig_send(rig, 0, frame, bytes);
	expect_rule(rig, 0, 11, 1000 + bytes);
	/* something else changes */
	rig->policy->ports[3].link = false;
	rig_adopt(rig);
	expect_rule(rig, 0, 11, 1000 + bytes);
	vswitch_rule_zero(rig->vswitch, 0, 6);
	vswitch_rule_zero(rig->vswitch, 2, 5);
	expect_rule(rig, 0, 11, 1000 + bytes);
	vswitch_rule_zero(rig->vswitch, 0, 5);
	expect_rule(rig, 0, 0, 0);
	expect_rule(rig, 1, 7, 700);
	rig_send(rig, 0, frame, bytes);
	expect_rule(rig, 0, 1, bytes);
	vswitch_rule_zero(rig->vswitch, -1, 0);
	expect_rule(rig, 0, 0, 0);
	expect_rule(rig, 1, 0, 0);
}

static void missing_checksums_are_made(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[2000];
	const struct rig_frame *got;

	for (unsigned int protocol = 6; protocol <= 17; protocol += 11) {
		for (uint32_t payload = 0; payload < 1400; payload += 333) {
			uint32_t bytes = rig_ip(frame, 0, 1, (uint8_t)protocol, payload);

			assert_int_equal(
				rig_send_flags(rig, 0, frame, bytes,
					       NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM, 0),
				0);
			got = rig_next(rig, 1);
			assert_non_null(got);
			assert_true(rig_sums_are_right(got));
			assert_true(got->flags & NET_FRAME_CHECKSUM_GOOD);
			assert_int_equal(got->l4, protocol == 6 ? NET_L4_TCP : NET_L4_UDP);
		}
	}
	/* what has no such header is none of our business */
	rig_frame(frame, 0, 1, 0x88b5, 60);
	assert_int_equal(rig_send_flags(rig, 0, frame, 60, NET_FRAME_L4_CHECKSUM, 0), 0);
	assert_null(rig_next(rig, 1));
	assert_int_equal(rig_drops(rig, 0, DROP_OFFLOAD), 1);
}

/* A receiver beside whom the sender changes its memory, as soon as the switch has done what it does. */
static uint8_t *spoilt;

static int deliver_spoilt(struct net_front *front, const struct net_frame *frame)
{
	if (frame->bytes > 400) {
		memset(spoilt + 300, 0x77, frame->bytes - 300);
	}
	return rig_deliver(front, frame);
}

/* For all that it goes to, the sums are of what they got. */
static void a_sender_that_changes_its_memory_spoils_no_checksum(void **state)
{
	const uint16_t flags = NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM;
	static const struct net_front_ops ops = {
		.deliver = deliver_spoilt,
		.batch_end = rig_end,
		.writable = rig_writable,
		.link_changed = rig_link,
	};
	struct rig *rig = *state;
	uint8_t frame[4000];
	const struct rig_frame *got;

	rig->nics[1].front.ops = &ops;
	spoilt = frame;
	for (unsigned int protocol = 6; protocol <= 17; protocol += 11) {
		for (int is_flooded = 0; is_flooded < 2; is_flooded++) {
			uint32_t bytes = rig_ip(frame, 0, 1, (uint8_t)protocol, 1200);

			frame[0] = is_flooded ? 0xff : frame[0];
			assert_int_equal(rig_send_flags(rig, 0, frame, bytes, flags, 0), 0);
			for (unsigned int to = 1; to <= 2; to++) {
				got = rig_next(rig, to);
				if (to == 2 && !is_flooded) {
					assert_null(got);
					continue;
				}
				assert_non_null(got);
				assert_int_equal(got->data[301], 0x77);
				assert_true(rig_sums_are_right(got));
				assert_true(got->flags & NET_FRAME_CHECKSUM_GOOD);
			}
		}
	}
	/* Pieces of a large one, too. */
	uint32_t bytes = rig_ip(frame, 0, 1, 6, 3000);

	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, NET_FRAME_LSO, 1448), 0);
	while ((got = rig_next(rig, 1))) {
		assert_true(rig_sums_are_right(got));
	}
}

static void a_large_segment_goes_whole_to_who_takes_it(void **state)
{
	struct rig *rig = *state;
	uint8_t *frame = malloc(70000);
	uint32_t bytes = rig_ip(frame, 0, 1, 6, 40000);
	const struct rig_frame *got;

	rig->nics[1].config.coalesce_bytes_max = 65549;
	net_configure(rig->nics[1].net, &rig->nics[1].config);
	rig_turn(rig);
	memset(frame + 16, 0, 2); /* as Linux leaves it */
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, NET_FRAME_LSO, 1448), 0);
	got = rig_next(rig, 1);
	assert_non_null(got);
	assert_int_equal(got->bytes, bytes);
	assert_int_equal(got->mss, 1448);
	assert_int_equal(got->flags &
				 (NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD | NET_FRAME_LSO),
			 NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD);
	assert_int_equal(bytes_be16(got->data + 16), bytes - 14);
	assert_int_equal(net_sum_fold(net_sum(got->data + 14, 20)), 0);
	assert_memory_equal(got->data + 54, frame + 54, 40000);
	assert_null(rig_next(rig, 1));
	/* a guest that passes frames on has to see what was on the wire */
	rig->policy->ports[1].forwards = true;
	rig_adopt(rig);
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, NET_FRAME_LSO, 1448), 0);
	for (uint32_t at = 0; at < 40000; at += 1448) {
		got = rig_next(rig, 1);
		assert_non_null(got);
		assert_true(rig_sums_are_right(got));
	}
	free(frame);
}

static void a_large_segment_is_cut_for_who_does_not(void **state)
{
	struct rig *rig = *state;
	uint8_t *frame = malloc(70000);
	uint32_t bytes = rig_ip(frame, 0, 1, 6, 40001), at = 0;
	const struct rig_frame *got;

	memset(frame + 16, 0, 2);
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, NET_FRAME_LSO, 1448), 0);
	while ((got = rig_next(rig, 1))) {
		uint32_t piece = got->bytes - 54;

		assert_true(rig_sums_are_right(got));
		assert_int_equal(bytes_be32(got->data + 38), at);
		assert_memory_equal(got->data + 54, frame + 54 + at, piece);
		assert_false(got->flags & NET_FRAME_COALESCED);
		at += piece;
	}
	assert_int_equal(at, 40001);
	/* and not at all if it would not fit even so, or only in many thousands */
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, NET_FRAME_LSO, 1), 0);
	assert_null(rig_next(rig, 1));
	assert_int_equal(rig_drops(rig, 0, DROP_OFFLOAD), 1);
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, NET_FRAME_LSO, 1461), 0);
	assert_null(rig_next(rig, 1));
	assert_int_equal(rig_drops(rig, 1, DROP_MTU), 1);
	free(frame);
}

/* The head of a frame in as many pieces as there may be is one more piece. */
static void a_large_segment_in_most_pieces_is_cut_too(void **state)
{
	struct rig *rig = *state;
	uint8_t *frame = malloc(70000);
	uint32_t bytes = rig_ip(frame, 0, 1, 6, 40001), at = 0, part = 400;
	struct iovec iov[1 + NET_IOV_MAX];
	struct net_frame net = { .iov = iov + 1,
				 .iov_count = NET_IOV_MAX,
				 .bytes = bytes,
				 .flags = NET_FRAME_LSO,
				 .mss = 1448,
				 .l4 = NET_L4_TCP };
	const struct rig_frame *got;
	unsigned int taken;

	memset(frame + 16, 0, 2);
	for (int i = 1; i <= NET_IOV_MAX; i++, at += part, part = 100) {
		iov[i] = (struct iovec){ frame + at, i < NET_IOV_MAX ? part : bytes - at };
	}
	assert_int_equal(net_send_many(rig->nics[0].net, &net, 1, &taken), 0);
	rig_turn(rig);
	assert_int_equal(rig_drops(rig, 1, DROP_OFFLOAD), 0);
	for (at = 0; (got = rig_next(rig, 1)); at += got->bytes - 54) {
		assert_true(rig_sums_are_right(got));
		assert_memory_equal(got->data + 54, frame + 54 + at, got->bytes - 54);
	}
	assert_int_equal(at, 40001);
	free(frame);
}

static void a_full_receiver_loses_its_own_frames_only(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, -1, 0x88b5, 60);

	rig->nics[1].refuses = true;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(2) | RIG_TO(3));
	assert_int_equal(rig_drops(rig, 1, DROP_NO_BUFFER), 1);
	assert_int_equal(rig_drops(rig, 0, DROP_NO_BUFFER), 0);
}

static void over_its_rate_a_sender_waits_and_goes_on(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[1500];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 1500);
	unsigned int sent = 0;

	rig->policy->ports[0].limits.bytes_per_s = 1000000;
	rig->policy->ports[0].limits.burst_bytes = 10000;
	rig_adopt(rig);
	while (rig_send_flags(rig, 0, frame, bytes, 0, 0) == 0) {
		assert_in_range(++sent, 1, 20);
	}
	assert_int_equal(rig->nics[0].writables, 0);
	for (int i = 0; i < 100 && !rig->nics[0].writables; i++) {
		struct timespec pause = { .tv_nsec = 1000000 };

		nanosleep(&pause, NULL);
		rig_turn(rig);
	}
	assert_int_equal(rig->nics[0].writables, 1);
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes, 0, 0), 0);
	assert_int_equal(rig->nics[1].count, sent + 1);
}

static void storms_are_dropped(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, -1, 0x88b5, 60);
	struct port_stats stats;

	rig->policy->ports[0].limits.broadcast_pps = 10;
	rig_adopt(rig);
	for (int i = 0; i < 100; i++) {
		rig_send(rig, 0, frame, bytes);
	}
	assert_in_range(rig->nics[1].count, 1, 20);
	vswitch_port_stats(rig->vswitch, 0, &stats);
	assert_int_equal(stats.drops[DROP_STORM_BROADCAST] + rig->nics[1].count, 100);
	rig_frame(frame, 0, 1, 0x88b5, 60);
	rig_send(rig, 0, frame, bytes);
	assert_int_equal(rig->nics[1].count + stats.drops[DROP_STORM_BROADCAST], 101);
}

static void copies_go_to_the_mirror(void **state)
{
	struct rig *rig = *state;
	struct mirror_session session = { .directions = MIRROR_IN | MIRROR_OUT, .target = 3 };
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);
	struct diag diag;

	port_set_add(&session.sources, 0);
	assert_int_equal(mirror_compile(&session, 1, &rig->policy->mirror, &diag), 0);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1) | RIG_TO(3));
	rig_frame(frame, 1, 0, 0x88b5, 60);
	rig_send(rig, 1, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(0) | RIG_TO(3));
	rig_frame(frame, 1, 2, 0x88b5, 60);
	rig_send(rig, 1, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(2));
}

static void a_port_that_is_off_sends_and_gets_nothing(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	rig->policy->ports[0].link = false;
	rig_adopt(rig);
	assert_false(net_link_is_up(rig->nics[0].net));
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(rig_drops(rig, 0, DROP_PORT_LINK), 1);
	rig_frame(frame, 1, 0, 0x88b5, 60);
	rig_send(rig, 1, frame, bytes);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(rig_drops(rig, 0, DROP_LINK), 1);
}

static void a_port_that_has_gone_is_forgotten(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	rig_unplug(rig, 1);
	policy_port_fini(rig->policy, 1);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(2) | RIG_TO(3)); /* flooded: nobody knows it */
}

static void counters_tell_what_happened(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);
	struct port_stats stats, base = { .sent_frames = 100 };

	rig_send(rig, 0, frame, bytes);
	vswitch_port_stats(rig->vswitch, 0, &stats);
	assert_int_equal(stats.sent_frames, 1);
	assert_int_equal(stats.sent_bytes, 60);
	vswitch_port_stats(rig->vswitch, 1, &stats);
	assert_int_equal(stats.delivered_frames, 1);
	assert_int_equal(stats.delivered_bytes, 60);
	vswitch_port_stats_base(rig->vswitch, 0, &base);
	vswitch_port_stats(rig->vswitch, 0, &stats);
	assert_int_equal(stats.sent_frames, 101);
}

/* ---- extensions ---- */

static struct {
	struct core_held held;
	uint8_t bytes[200];
	uint32_t length;
	enum ext_answer answer;
	unsigned int captured_in, captured_out, dropped, filtered;
} ext;

static void on_capture(void *ctx, struct core *core, const struct vframe *frame, uint16_t port,
		       bool is_out)
{
	ext.captured_in += !is_out;
	ext.captured_out += is_out;
}

static void on_dropped(void *ctx, struct core *core, const struct vframe *frame, uint16_t port)
{
	assert_int_equal(frame->drop, DROP_EXT_FILTER);
	ext.dropped++;
}

static enum ext_answer on_filter(void *ctx, struct core *core, const struct vframe *frame,
				 uint16_t port, bool is_out, enum drop_cause *ret_cause)
{
	assert_int_equal(*ret_cause, DROP_EXT_FILTER);
	ext.filtered++;
	if (ext.answer == EXT_TAKEN) {
		core_held(frame, is_out ? STAGE_FILTER_OUT : STAGE_FILTER_IN, port, &ext.held);
		ext.length = vframe_copy(frame, 0, ext.bytes, sizeof(ext.bytes));
	}
	return ext.answer;
}

static const struct ext_hooks hooks = { .capture = on_capture,
					.dropped = on_dropped,
					.filter = on_filter };

static void resume(struct core *core, void *arg)
{
	struct iovec iov[2] = { { 0 }, { ext.bytes, ext.length } };
	struct net_frame net = { .iov = iov + 1, .iov_count = 1, .bytes = ext.length };

	core_resume(core, &ext.held, &net, NULL);
}

static void extensions_see_drop_and_take_frames(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	memset(&ext, 0, sizeof(ext));
	rig->policy->ext = &hooks;
	rig->policy->ports[0].ext = PORT_EXT_CAPTURE_IN | PORT_EXT_FILTER_IN;
	rig->policy->ports[1].ext = PORT_EXT_CAPTURE_OUT | PORT_EXT_FILTER_OUT;
	rig_adopt(rig);
	ext.answer = EXT_PASS;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	assert_int_equal(ext.captured_in, 1);
	assert_int_equal(ext.captured_out, 1);
	assert_int_equal(ext.filtered, 2);
	ext.answer = EXT_DROP;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(ext.dropped, 1);
	assert_int_equal(rig_drops(rig, 0, DROP_EXT_FILTER), 1);
	ext.answer = EXT_TAKEN;
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(ext.held.stage, STAGE_FILTER_IN);
	vswitch_on_cores(rig->vswitch, resume, NULL); /* and is taken again on its way out */
	rig_expect(rig, frame, bytes, 0);
	assert_int_equal(ext.held.stage, STAGE_FILTER_OUT);
	assert_int_equal(ext.held.port, 1);
	ext.bytes[20] = 0x55; /* changed */
	frame[20] = 0x55;
	vswitch_on_cores(rig->vswitch, resume, NULL);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	assert_int_equal(ext.captured_out, 2);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(own_addresses_are_known_before_they_speak),
		TEST(a_nic_takes_no_address_that_is_anothers_or_denied),
		TEST(unknown_and_broadcast_go_to_all_but_the_sender),
		TEST(addresses_are_learned),
		TEST(what_is_for_the_end_of_a_cable_goes_no_further),
		TEST(what_is_no_frame_is_dropped_and_counted),
		TEST(a_port_sees_only_its_vlan),
		TEST(a_guarded_port_cannot_lie),
		TEST(rules_decide_and_answers_come_through),
		TEST(rules_count_until_they_are_zeroed_or_gone),
		TEST(missing_checksums_are_made),
		TEST(a_sender_that_changes_its_memory_spoils_no_checksum),
		TEST(a_large_segment_goes_whole_to_who_takes_it),
		TEST(a_large_segment_is_cut_for_who_does_not),
		TEST(a_large_segment_in_most_pieces_is_cut_too),
		TEST(a_full_receiver_loses_its_own_frames_only),
		TEST(over_its_rate_a_sender_waits_and_goes_on),
		TEST(storms_are_dropped),
		TEST(copies_go_to_the_mirror),
		TEST(a_port_that_is_off_sends_and_gets_nothing),
		TEST(a_port_that_has_gone_is_forgotten),
		TEST(counters_tell_what_happened),
		TEST(extensions_see_drop_and_take_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
