/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/num.h"
#include "rig.h"
#include "vswitch/vlan.h"

static const uint8_t A[6] = { 2, 0, 0, 0, 0, 0xa }, B[6] = { 2, 0, 0, 0, 0, 0xb };
static struct rig rig;
static struct vlan_map map;

/* An untagged frame, or one with a tag in it or beside it. */
static struct vframe *make(int tci, bool is_beside, uint16_t type)
{
	rig_ethernet(&rig, B, A, type);
	if (tci >= 0 && !is_beside) {
		rig_type(&rig, ETHER_TYPE_VLAN);
		rig_tag(&rig, (uint16_t)tci, type);
	}
	rig_put(&rig, NULL, 46);
	return is_beside ? rig_parse_flags(&rig, NET_FRAME_VLAN, (uint16_t)tci) : rig_parse(&rig);
}

static struct vlan_policy trunk(uint16_t native, uint16_t a, uint16_t b)
{
	struct vlan_policy policy = { .mode = VLAN_TRUNK, .id = native };

	vlan_allow(&policy, native);
	vlan_allow(&policy, a);
	vlan_allow(&policy, b);
	return policy;
}

static void ports_that_are_no_trunks_take_untagged_and_priority_tagged_frames(void **state)
{
	static const struct {
		struct vlan_policy policy;
		uint16_t vlan, fid;
	} cases[] = {
		{ { .mode = VLAN_NONE }, 0, 0 },
		{ { .mode = VLAN_ACCESS, .id = 10 }, 10, 10 },
		{ { .mode = VLAN_PRIMARY, .id = 10 }, 10, 10 },
		{ { .mode = VLAN_ISOLATED, .id = 10, .secondary = 11 }, 11, 10 },
		{ { .mode = VLAN_COMMUNITY, .id = 10, .secondary = 12 }, 12, 10 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int beside = 0; beside <= 1; beside++) {
			struct vframe *frame = make(0x6000, beside, ETHER_TYPE_ARP);

			assert_true(vlan_ingress(&cases[i].policy, &map, frame));
			assert_int_equal(frame->vlan, cases[i].vlan);
			assert_int_equal(frame->fid, cases[i].fid);
			assert_int_equal(frame->pcp, 3);
			assert_false(frame->net.flags & NET_FRAME_VLAN);
			assert_int_equal(frame->net.bytes, 60);
			assert_int_equal(bytes_be16(frame->head + 12), ETHER_TYPE_ARP);
			/* A numbered tag, even the port's own, is not for it to choose. */
			assert_false(vlan_ingress(&cases[i].policy, &map,
						  make(10, beside, ETHER_TYPE_ARP)));
			/* A second tag behind a priority is smuggling. */
			assert_false(vlan_ingress(&cases[i].policy, &map,
						  make(0, beside, ETHER_TYPE_VLAN)));
		}
		assert_true(vlan_ingress(&cases[i].policy, NULL, make(-1, false, ETHER_TYPE_ARP)));
		assert_int_equal(rig.frame.vlan, cases[i].vlan);
		assert_int_equal(rig.frame.fid, cases[i].fid);
		assert_int_equal(rig.frame.pcp, 0);
	}
}

static void a_tag_cut_in_the_middle_is_refused(void **state)
{
	const struct vlan_policy policy = { .mode = VLAN_NONE };

	(void)state;
	for (uint32_t length = 14; length < 18; length++) {
		rig_ethernet(&rig, B, A, ETHER_TYPE_VLAN);
		rig_put(&rig, NULL, length - 14);
		assert_false(vlan_ingress(&policy, NULL, rig_parse(&rig)));
	}
}

static void a_trunk_takes_what_it_is_allowed(void **state)
{
	const struct vlan_policy native = trunk(5, 10, 20), plain = trunk(0, 10, 20);
	struct vlan_policy closed = trunk(5, 10, 20);

	(void)state;
	closed.allowed[0] &= ~(1ULL << 5);
	for (int beside = 0; beside <= 1; beside++) {
		assert_true(vlan_ingress(&native, &map, make(0xa00a, beside, ETHER_TYPE_ARP)));
		assert_int_equal(rig.frame.vlan, 10);
		assert_int_equal(rig.frame.pcp, 5);
		assert_false(vlan_ingress(&native, &map, make(11, beside, ETHER_TYPE_ARP)));
		assert_false(vlan_ingress(&native, &map, make(4095, beside, ETHER_TYPE_ARP)));
		/* QinQ: opaque behind a numbered tag, refused behind a priority. */
		assert_true(vlan_ingress(&native, &map, make(10, beside, ETHER_TYPE_VLAN)));
		assert_false(vlan_ingress(&native, &map, make(0, beside, ETHER_TYPE_VLAN)));
	}
	assert_true(vlan_ingress(&native, &map, make(-1, false, ETHER_TYPE_ARP)));
	assert_int_equal(rig.frame.vlan, 5);
	assert_true(vlan_ingress(&plain, &map, make(-1, false, ETHER_TYPE_QINQ)));
	assert_int_equal(rig.frame.vlan, 0);
	assert_false(vlan_ingress(&closed, &map, make(-1, false, ETHER_TYPE_ARP)));
}

static void a_trunk_tags_all_but_its_native_vlan(void **state)
{
	const struct vlan_policy native = trunk(5, 10, 20);
	struct vframe *frame = make(-1, false, ETHER_TYPE_ARP);
	uint16_t tci = 1;
	bool tagged = true;

	(void)state;
	frame->vlan = 5;
	frame->pcp = 3;
	assert_true(vlan_egress(&native, frame, &tci, &tagged));
	assert_false(tagged);
	assert_int_equal(tci, 0);
	frame->key.ethertype = ETHER_TYPE_VLAN; /* what is inside must not come out as the first */
	assert_true(vlan_egress(&native, frame, &tci, &tagged));
	assert_true(tagged);
	assert_int_equal(tci, 0x6005);
	frame->vlan = 10;
	assert_true(vlan_egress(&native, frame, &tci, &tagged));
	assert_true(tagged);
	assert_int_equal(tci, 0x600a);
	frame->vlan = 11;
	assert_false(vlan_egress(&native, frame, &tci, &tagged));
	frame->vlan = 0;
	assert_false(vlan_egress(&native, frame, &tci, &tagged));
}

/* Every kind of port to every other: the table of vlan.h, and ports that have nothing to do with it. */
static void the_whole_table_of_private_vlans(void **state)
{
	enum { NONE, ACCESS, PROM, ISO1, ISO2, COM_C, COM_C2, COM_D, OTHER, TRUNK, PORTS };
	struct vlan_policy p[PORTS] = {
		[NONE] = { .mode = VLAN_NONE },
		[ACCESS] = { .mode = VLAN_ACCESS, .id = 7 },
		[PROM] = { .mode = VLAN_PRIMARY, .id = 10 },
		[ISO1] = { .mode = VLAN_ISOLATED, .id = 10, .secondary = 11 },
		[ISO2] = { .mode = VLAN_ISOLATED, .id = 10, .secondary = 11 },
		[COM_C] = { .mode = VLAN_COMMUNITY, .id = 10, .secondary = 12 },
		[COM_C2] = { .mode = VLAN_COMMUNITY, .id = 10, .secondary = 12 },
		[COM_D] = { .mode = VLAN_COMMUNITY, .id = 10, .secondary = 13 },
		[OTHER] = { .mode = VLAN_PRIMARY, .id = 30 },
		[TRUNK] = { .mode = VLAN_TRUNK, .id = 0 },
	};
	static const char *const may[PORTS] = {
		/* to: N A P I I C C D O T */
		[NONE] = "1000000001",   [ACCESS] = "0100000001", [PROM] = "0011111101",
		[ISO1] = "0010000001",   [ISO2] = "0010000001",   [COM_C] = "0010011001",
		[COM_C2] = "0010011001", [COM_D] = "0010000101",  [OTHER] = "0000000011",
	};

	(void)state;
	for (uint16_t vlan = 0; vlan < 40; vlan++) {
		vlan_allow(&p[TRUNK], vlan);
	}
	map.primary[11] = map.primary[12] = map.primary[13] = 10;
	for (unsigned int from = 0; from < TRUNK; from++) {
		struct vframe *frame = make(-1, false, ETHER_TYPE_ARP);
		uint16_t tci;
		bool tagged;

		assert_true(vlan_ingress(&p[from], &map, frame));
		for (unsigned int to = 0; to < PORTS; to++) {
			bool is = vlan_egress(&p[to], frame, &tci, &tagged);

			if (is != (may[from][to] == '1')) {
				fail_msg("from %u to %u", from, to);
			}
			if (is && to != TRUNK) {
				assert_false(tagged);
			}
		}
		/* Across a trunk to another switch it is the same. */
		assert_true(vlan_egress(&p[TRUNK], frame, &tci, &tagged));
		frame = make(tagged ? tci : -1, true, ETHER_TYPE_ARP);
		if (!tagged) {
			frame = make(-1, false, ETHER_TYPE_ARP);
		}
		assert_true(vlan_ingress(&p[TRUNK], &map, frame));
		for (unsigned int to = 0; to < PORTS; to++) {
			if (vlan_egress(&p[to], frame, &tci, &tagged) != (may[from][to] == '1')) {
				fail_msg("across a trunk: from %u to %u", from, to);
			}
		}
	}
}

static void policies_are_checked(void **state)
{
	struct vlan_policy policy = { .mode = VLAN_ACCESS };

	(void)state;
	assert_false(vlan_policy_is_valid(&policy));
	policy.id = 4094;
	assert_true(vlan_policy_is_valid(&policy));
	policy.id = 4095;
	assert_false(vlan_policy_is_valid(&policy));
	policy = (struct vlan_policy){ .mode = VLAN_ISOLATED, .id = 10, .secondary = 10 };
	assert_false(vlan_policy_is_valid(&policy));
	policy.secondary = 11;
	assert_true(vlan_policy_is_valid(&policy));
	policy.mode = 99;
	assert_false(vlan_policy_is_valid(&policy));
	policy = trunk(0, 1, 2);
	assert_true(vlan_policy_is_valid(&policy));
	vlan_allow(&policy, 4095);
	assert_false(vlan_policy_is_valid(&policy));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_that_are_no_trunks_take_untagged_and_priority_tagged_frames),
		cmocka_unit_test(a_tag_cut_in_the_middle_is_refused),
		cmocka_unit_test(a_trunk_takes_what_it_is_allowed),
		cmocka_unit_test(a_trunk_tags_all_but_its_native_vlan),
		cmocka_unit_test(the_whole_table_of_private_vlans),
		cmocka_unit_test(policies_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
