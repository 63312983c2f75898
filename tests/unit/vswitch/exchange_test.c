/* SPDX-License-Identifier: MIT */
/* Rings between cores, and two cores with a thread each. */
#include <pthread.h>

#include "switch_rig.h"
#include "base/fault.h"
#include "vswitch/core_internal.h"
#include "vswitch/hand.h"
#include "vswitch/news.h"

/* ---- rings ---- */

static void news_come_in_order_and_a_full_ring_says_so(void **state)
{
	struct news news = { .kind = NEWS_FDB };
	struct news_ring *ring;

	assert_int_equal(news_ring_create(&ring), 0);
	assert_false(news_take(ring, &news));
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < NEWS_DEPTH; i++) {
			news.port = (uint16_t)i;
			assert_true(news_put(ring, &news));
		}
		assert_int_equal(news_room(ring), 0);
		assert_false(news_put(ring, &news));
		for (unsigned int i = 0; i < NEWS_DEPTH; i++) {
			assert_true(news_take(ring, &news));
			assert_int_equal(news.port, i);
		}
		assert_false(news_take(ring, &news));
		assert_int_equal(news_room(ring), NEWS_DEPTH);
	}
	news_ring_destroy(ring);
}

static void handed_frames_come_whole_and_in_order(void **state)
{
	static uint8_t bytes[NET_FRAME_BYTES_MAX];
	struct hand_ring *ring;
	unsigned int put = 0, taken = 0;

	for (unsigned int i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * 13);
	}
	assert_int_equal(hand_ring_create(&ring), 0);
	while (taken < 5000) {
		uint32_t length = 14 + put * 7919 % (NET_FRAME_BYTES_MAX - 14);
		struct iovec iov[2] = { { bytes, 10 }, { bytes + 10, length - 10 } };
		struct net_frame frame = {
			.iov = iov, .iov_count = 2, .bytes = length, .mss = put
		};
		const struct hand_entry *entry;

		if (hand_put(ring, 3, 1, 0, &frame)) {
			put++;
			continue;
		}
		assert_true(put > taken); /* an empty ring has room for every frame */
		assert_true(hand_flush(ring));
		assert_false(hand_flush(ring));
		while ((entry = hand_peek(ring))) {
			assert_int_equal(entry->mss, taken);
			assert_int_equal(entry->bytes,
					 14 + taken * 7919 % (NET_FRAME_BYTES_MAX - 14));
			assert_memory_equal(entry->data, bytes, entry->bytes);
			hand_pop(ring);
			taken++;
		}
		assert_int_equal(taken, put);
	}
	hand_ring_destroy(ring);
}

static void who_waits_for_room_is_told_once(void **state)
{
	static uint8_t bytes[60000];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct net_frame frame = { .iov = &iov, .iov_count = 1, .bytes = sizeof(bytes) };
	struct hand_ring *ring;

	assert_int_equal(hand_ring_create(&ring), 0);
	assert_false(hand_is_high(ring));
	while (!hand_is_half(ring)) {
		assert_true(hand_put(ring, 0, 0, 0, &frame));
	}
	hand_flush(ring);
	assert_false(hand_has_room(ring)); /* nobody has asked */
	assert_true(hand_is_high(ring));
	assert_false(hand_has_room(ring)); /* there is none yet */
	while (hand_peek(ring)) {
		hand_pop(ring);
	}
	assert_true(hand_is_half(ring)); /* as far as it knows */
	assert_false(hand_is_half_still(ring));
	assert_true(hand_has_room(ring));
	assert_false(hand_has_room(ring));
	assert_false(hand_is_high(ring));
	hand_ring_destroy(ring);
}

/* ---- two cores ---- */

static int set_up(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_init(rig, 2);
	rig_plug(rig, 0, 0);
	rig_plug(rig, 1, 1);
	rig_plug(rig, 2, 1);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static void frames_reach_ports_of_another_core(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[2000];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	rig_frame(frame, 0, -1, 0x88b5, 60);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1) | RIG_TO(2));
	rig_frame(frame, 2, -1, 0x88b5, 60);
	rig_send(rig, 2, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(0) | RIG_TO(1));
	/* what is to be done to them is done there */
	bytes = rig_ip(frame, 0, 1, 17, 700);
	assert_int_equal(rig_send_flags(rig, 0, frame, bytes,
					NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM, 0),
			 0);
	rig_turn(rig);
	assert_true(rig_sums_are_right(&rig->nics[1].kept[(rig->nics[1].count - 1)]));
}

static void what_one_core_learns_all_know(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100], answer[100];
	uint32_t bytes = rig_frame(frame, 0, 1, 0x88b5, 60);

	memcpy(frame + 6, "\x02\x77\x00\x00\x00\x01", 6);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	rig_frame(answer, 2, 0, 0x88b5, 60);
	memcpy(answer, "\x02\x77\x00\x00\x00\x01", 6);
	rig_send(rig, 2, answer, bytes);
	rig_expect(rig, answer, bytes, RIG_TO(0)); /* not flooded */
}

/* Ports 1 and 2 are hostile, and core 0 sleeps: what it is to know must have room all the same. */
static void a_storm_of_moves_leaves_room_for_others_news(void **state)
{
	struct rig *rig = *state;
	struct acl_rule out = { .id = 1, .priority = 1, .action = ACL_DENY };
	struct acl_rule in = { .id = 2, .priority = 1, .action = ACL_ALLOW, .is_stateful = true };
	uint8_t frame[100], answer[100];
	uint32_t bytes = 60;
	const struct core_counters *counters = &rig->vswitch->cores[1]->counters;
	struct diag diag;

	rig_plug(rig, 3, 1);
	assert_int_equal(acl_compile(&out, 1, ACL_OUT, &rig->policy->ports[3].acl_out, &diag), 0);
	assert_int_equal(acl_compile(&in, 1, ACL_IN, &rig->policy->ports[3].acl_in, &diag), 0);
	rig_adopt(rig);
	for (unsigned int i = 0; i < 4 * NEWS_DEPTH; i++) {
		unsigned int port = 1 + (i & 1);

		rig_frame(frame, port, (int)port, 0x88b5, bytes);
		memcpy(frame + 6, "\x02\x77\x00\x00\x00\x01", 6);
		frame[11] = (uint8_t)(i / 2 % 16);
		while (rig_send_flags(rig, port, frame, bytes, 0, 0)) {
			loop_turn(rig->loops[1]);
		}
	}
	assert_int_equal(counter_read(&counters->news_lost), 0);
	/* The neighbour's flow is told, and what answers it on core 0 comes through. */
	bytes = rig_ip(frame, 3, 0, 17, 20);
	rig_send(rig, 3, frame, bytes);
	assert_int_equal(rig_drops(rig, 3, DROP_FLOW_TABLE), 0);
	rig_ip(answer, 0, 3, 17, 20);
	bytes_put_be16(answer + 34, 2000);
	bytes_put_be16(answer + 36, 1000);
	rig_send(rig, 0, answer, bytes);
	assert_non_null(rig_next(rig, 3));
	assert_int_equal(rig_drops(rig, 3, DROP_ACL_OUT), 0);
}

static void an_answer_finds_the_flow_on_its_own_core(void **state)
{
	struct rig *rig = *state;
	struct acl_rule out = { .id = 1, .priority = 1, .action = ACL_DENY };
	struct acl_rule in = { .id = 2, .priority = 1, .action = ACL_ALLOW, .is_stateful = true };
	uint8_t frame[100], answer[100];
	uint32_t bytes = rig_ip(frame, 0, 1, 17, 20);
	struct diag diag;

	assert_int_equal(acl_compile(&out, 1, ACL_OUT, &rig->policy->ports[0].acl_out, &diag), 0);
	assert_int_equal(acl_compile(&in, 1, ACL_IN, &rig->policy->ports[0].acl_in, &diag), 0);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	rig_ip(answer, 1, 0, 17, 20);
	bytes_put_be16(answer + 34, 2000);
	bytes_put_be16(answer + 36, 1000);
	rig_send(rig, 1, answer, bytes);
	rig_expect(rig, answer, bytes, RIG_TO(0));
}

/* Port 3 has a queue on each core, and a table that uses both. */
/* A DHCPACK from port 0: this address for the NIC at port 1, for 1000 s. */
static uint32_t dhcp_ack(uint8_t *frame, uint32_t address)
{
	static const uint8_t options[] = { 53, 1, 5, 51, 4, 0, 0, 3, 232, 255 };
	uint32_t bytes = rig_ip(frame, 0, 1, 17, 240 + sizeof(options));
	uint8_t *udp = frame + 34, *dhcp = udp + 8;

	bytes_put_be16(udp, 67);
	bytes_put_be16(udp + 2, 68);
	memset(dhcp, 0, 240);
	memcpy(dhcp, "\x02\x01\x06", 3);
	bytes_put_be32(dhcp + 16, address);
	rig_mac(1, dhcp + 28);
	bytes_put_be32(dhcp + 236, 0x63825363);
	memcpy(dhcp + 240, options, sizeof(options));
	return bytes;
}

struct looking {
	unsigned int cores;
	uint64_t address;
};

static void look_for_binding(struct core *core, void *arg)
{
	struct looking *looking = arg;
	const struct guard_policy *guard = core_guard(core, 1);

	for (unsigned int i = 0; i < guard->binding_count; i++) {
		looking->cores += guard->bindings[i].ip.lo == (0xffff00000000 | looking->address) &&
				  guard->bindings[i].until_s > core_now_s(core);
	}
}

static unsigned int cores_that_bind(struct rig *rig, uint32_t address)
{
	struct looking looking = { .address = address };

	vswitch_on_cores(rig->vswitch, look_for_binding, &looking);
	return looking.cores;
}

static void bind_one(struct core *core, void *arg)
{
	core_bind(core, 1, arg);
}

static void what_dhcp_gives_is_bound_on_all_cores_and_told(void **state)
{
	struct rig *rig = *state;
	struct guard_binding again = { .ip = { 0, 0xffff0a000099 }, .until_s = GUARD_FOREVER };
	struct port_policy *port = &rig->policy->ports[1];
	uint8_t frame[400];
	uint32_t bytes = dhcp_ack(frame, 0x0a000050);

	port->snoops = port->guard.arp = true;
	port->guard.mac_count = 1;
	rig_mac(1, port->guard.macs[0]);
	rig_adopt(rig);
	rig_send(rig, 0, frame, bytes);
	assert_int_equal(cores_that_bind(rig, 0x0a000050), 2);
	assert_int_equal(rig->bounds, 1);
	/* as what an earlier process knew */
	vswitch_on_cores(rig->vswitch, bind_one, &again);
	assert_int_equal(cores_that_bind(rig, 0x0a000099), 2);
	/* a new policy keeps it, until the port no longer learns that way */
	rig_adopt(rig);
	assert_int_equal(cores_that_bind(rig, 0x0a000050), 2);
	rig->policy->ports[1].snoops = false;
	rig_adopt(rig);
	assert_int_equal(cores_that_bind(rig, 0x0a000050), 0);
	vswitch_on_cores(rig->vswitch, bind_one, &again);
	assert_int_equal(cores_that_bind(rig, 0x0a000099), 0);
}

static void flows_are_spread_over_the_queues_of_a_port(void **state)
{
	struct rig *rig = *state;
	struct rig_nic second = { .front.ops = &rig_ops };
	struct rig_nic *first = &rig->nics[3];
	uint8_t frame[100];
	uint32_t bytes = 0;

	first->config.rss = (struct net_rss){ .is_on = true,
					      .queues = 2,
					      .table_entries = 2,
					      .hash_types = NET_RSS_IPV4 | NET_RSS_UDP_IPV4,
					      .table = { 0, 1 } };
	memset(first->config.rss.key, 0x6d, sizeof(first->config.rss.key));
	first->config.rss.key[3] = 0x5a;
	rig_plug(rig, 3, 0);
	assert_int_equal(net_twin(first->net, rig->loops[1], &second.net), 0);
	assert_int_equal(net_attach(second.net, &second.front, &first->config), 0);
	rig_turn(rig);
	for (uint16_t flow = 0; flow < 64; flow++) {
		bytes = rig_ip(frame, flow % 3, 3, 17, 20);
		bytes_put_be16(frame + 34, flow);
		rig_send(rig, flow % 3, frame, bytes);
	}
	assert_int_equal(first->count + second.count, 64);
	assert_in_range(first->count, 16, 48);
	assert_true(first->kept[0].flags & second.kept[0].flags & NET_FRAME_HASH);
	/* what is for everybody is for one of its queues, and carries no other's hash */
	rig_ip(frame, 0, -1, 17, 20);
	rig_send(rig, 0, frame, bytes);
	assert_int_equal(first->count + second.count, 65);
	assert_false(rig->nics[1].kept[rig->nics[1].count - 1].flags & NET_FRAME_HASH);
	rig_leave(rig, second.net, NULL);
	net_destroy(second.net);
	for (unsigned int i = 0; i < RIG_KEPT; i++) {
		free(second.kept[i].data);
	}
}

/* ---- a wire ---- */

static void a_sender_waits_for_a_full_uplink_and_nothing_is_lost(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	uint32_t bytes = rig_frame(frame, 0, 5, 0x88b5, 60);
	const struct net_counters *counters;
	struct port_end *wire;
	struct diag diag;
	struct net *null;
	unsigned int sent[2] = { 0 };

	assert_int_equal(net_null_create(rig->loops[0], false, &null, &diag), 0);
	assert_int_equal(vswitch_port_add(rig->vswitch, 5, "uplink"), 0);
	policy_port_init(rig->policy, 5, PORT_UPLINK);
	rig_adopt(rig);
	assert_int_equal(port_wire_attach(rig->vswitch, 5, null, &wire), 0);
	rig_turn(rig);
	/* somebody behind it is known */
	struct iovec iov = { frame, bytes };
	struct net_frame in = { .iov = &iov, .iov_count = 1, .bytes = bytes };

	rig_frame(frame, 5, 0, 0x88b5, 60);
	assert_int_equal(net_null_deliver(null, &in), 0);
	rig_turn(rig);
	rig_expect(rig, frame, bytes, RIG_TO(0));
	counters = net_counters(null);
	net_null_block(null, true);
	for (unsigned int port = 0; port < 2; port++) {
		rig_frame(frame, port, 5, 0x88b5, 60);
		for (int i = 0; i < 3; i++) {
			sent[port] += rig_send_flags(rig, port, frame, bytes, 0, 0) == 0;
			rig_turn(rig);
		}
	}
	assert_int_equal(sent[0], 1); /* the first was on its way already */
	assert_int_equal(sent[1], 0);
	/* others are none of its business */
	rig_frame(frame, 0, 1, 0x88b5, 60);
	rig_send(rig, 0, frame, bytes);
	rig_expect(rig, frame, bytes, RIG_TO(1));
	assert_int_equal(counters->sent_frames, 0);
	net_null_block(null, false);
	rig_turn(rig);
	assert_int_equal(rig->nics[0].writables, 1);
	assert_int_equal(rig->nics[1].writables, 1);
	for (unsigned int port = 0; port < 2; port++) {
		rig_frame(frame, port, 5, 0x88b5, 60);
		rig_send(rig, port, frame, bytes);
	}
	assert_int_equal(counters->sent_frames, 3);
	assert_int_equal(rig_drops(rig, 5, DROP_UPLINK_FULL), 0);
	rig_leave(rig, null, wire);
	vswitch_port_remove(rig->vswitch, 5);
	net_destroy(null);
}

/* ---- threads ---- */

struct sender {
	struct rig *rig;
	unsigned int from, to;
	_Atomic(bool) ends;
	struct loop_work work;
	uint64_t sent;
};

/* A batch, and again: on the port's loop. */
static void on_send(struct loop_work *work)
{
	struct sender *sender = container_of(work, struct sender, work);
	struct iovec iov[16][2];
	struct net_frame frames[16];
	uint8_t bytes[16][64];
	unsigned int taken;

	for (unsigned int i = 0; i < 16; i++) {
		rig_frame(bytes[i], sender->from, i == 7 ? -1 : (int)sender->to, 0x88b5, 60);
		bytes[i][11] = (uint8_t)(i == 3 ? sender->sent : bytes[i][11]);
		bytes[i][10] = (uint8_t)(i == 3 ? 1 + sender->from : bytes[i][10]);
		iov[i][1] = (struct iovec){ bytes[i], 60 };
		frames[i] = (struct net_frame){ .iov = &iov[i][1], .iov_count = 1, .bytes = 60 };
	}
	(void)!net_send_many(sender->rig->nics[sender->from].net, frames, 16, &taken);
	sender->sent += taken;
	if (!sender->ends) {
		loop_post(net_loop(sender->rig->nics[sender->from].net), &sender->work);
	}
}

static void two_threads_send_to_each_other_while_policies_change(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));
	struct sender senders[2] = { { rig, 0, 1 }, { rig, 1, 0 } };
	struct port_stats stats[2];
	struct diag diag;

	rig_init(rig, 2);
	rig_plug(rig, 0, 0);
	rig_plug(rig, 1, 1);
	rig_plug(rig, 2, 1);
	assert_int_equal(loop_start_thread(rig->loops[1], &diag), 0);
	rig->has_threads = true;
	for (unsigned int i = 0; i < 2; i++) {
		loop_work_init(&senders[i].work, on_send);
		loop_post(rig->loops[i], &senders[i].work);
	}
	for (int i = 0; i < 100; i++) {
		rig_turn(rig);
		rig->policy->ports[2].vlan.id = (uint16_t)(1 + i);
		rig->policy->ports[2].vlan.mode = i & 1 ? VLAN_ACCESS : VLAN_NONE;
		rig->policy->ports[0].limits.pps = i & 2 ? 0 : 1000000000;
		rig_adopt(rig);
		if (i % 10 == 5) {
			rig_unplug(rig, 2);
			rig_plug(rig, 2, (unsigned int)i / 10 & 1);
		}
	}
	senders[0].ends = senders[1].ends = true;
	rig_turn(rig);
	loop_stop_thread(rig->loops[1]);
	rig->has_threads = false;
	rig_turn(rig);
	for (uint16_t i = 0; i < 2; i++) {
		vswitch_port_stats(rig->vswitch, i, &stats[i]);
		assert_int_equal(stats[i].sent_frames, senders[i].sent);
	}
	assert_true(stats[0].delivered_frames > 0 && stats[1].delivered_frames > 0);
	rig_fini(rig);
	free(rig);
}

static void every_allocation_may_fail(void **state)
{
	struct vswitch_config config = { .core_count = 2, .fdb_entries = 64, .flows = 64 };
	struct vswitch *vswitch = NULL;
	struct diag diag;
	unsigned int n = 0;
	int err;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(loop_create("rig", &config.loops[i], &diag), 0);
	}
	config.control = config.loops[0];
	do {
		fault_arm(++n);
		err = vswitch_create(&config, &vswitch);
		fault_arm(0);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	assert_true(n > 5);
	struct rig_leaving leaving = { 0 };

	loop_work_init(&leaving.done, rig_left);
	vswitch_stop(vswitch, &leaving.done);
	while (!leaving.is_done) {
		loop_turn(config.loops[0]);
	}
	vswitch_destroy(vswitch);
	loop_destroy(config.loops[0]);
	loop_destroy(config.loops[1]);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_come_in_order_and_a_full_ring_says_so),
		cmocka_unit_test(handed_frames_come_whole_and_in_order),
		cmocka_unit_test(who_waits_for_room_is_told_once),
		TEST(frames_reach_ports_of_another_core),
		TEST(what_one_core_learns_all_know),
		TEST(a_storm_of_moves_leaves_room_for_others_news),
		TEST(an_answer_finds_the_flow_on_its_own_core),
		TEST(what_dhcp_gives_is_bound_on_all_cores_and_told),
		TEST(flows_are_spread_over_the_queues_of_a_port),
		TEST(a_sender_waits_for_a_full_uplink_and_nothing_is_lost),
		cmocka_unit_test(two_threads_send_to_each_other_while_policies_change),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
