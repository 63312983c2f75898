/* SPDX-License-Identifier: MIT */
/* Frames by TAP devices and packet sockets: large segments, tags, several queues, a kernel without room. */
#include "wires_rig.h"

static void taps_carry_large_segments_whole(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, TAP, TAP);
	all_works(&rig);
	is_large(&rig, true);
	rig_down(&rig);
}

static void taps_cut_large_segments_for_who_takes_none(void **state)
{
	struct rig rig = { .coalesce = 0 };

	(void)state;
	rig_up(&rig, TAP, TAP);
	all_works(&rig);
	is_large(&rig, false);
	rig_down(&rig);
}

static void packet_sockets_carry_large_segments_whole(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, PACKET, PACKET);
	all_works(&rig);
	is_large(&rig, true);
	rig_down(&rig);
}

static void packet_sockets_cut_large_segments_for_who_takes_none(void **state)
{
	struct rig rig = { .coalesce = 0 };

	(void)state;
	rig_up(&rig, PACKET, PACKET);
	all_works(&rig);
	is_large(&rig, false);
	rig_down(&rig);
}

static void a_tap_and_a_packet_socket_understand_each_other(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, TAP, PACKET);
	all_works(&rig);
	is_large(&rig, true);
	rig_down(&rig);
}

static void several_ends_share_what_arrives(void **state)
{
	static const enum kind kinds[] = { TAP, PACKET };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig rig = { .coalesce = LARGE, .ends = 2 };

		rig_up(&rig, kinds[i], kinds[i]);
		all_works(&rig);
		rig_down(&rig);
	}
}

/* Tags travel beside the frame, checksums and large segments go with them. */
static void tagged_interfaces_work(void **state)
{
	static const enum kind kinds[][2] = { { TAP, TAP }, { PACKET, PACKET }, { TAP, PACKET } };

	(void)state;
	if (run_in(home_ns, "ip link add name try type dummy && "
			    "ip link add link try name tagged type vlan id 7 2>/dev/null")) {
		print_message("no VLAN interfaces here\n");
		(void)run_in(home_ns, "ip link del try");
		return;
	}
	(void)run_in(home_ns, "ip link del try");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig rig = { .coalesce = i == 2 ? 0 : LARGE };

		rig_up(&rig, kinds[i][0], kinds[i][1]);
		for (int side = 0; side < 2; side++) {
			assert_int_equal(run_in(rig.sides[side].ns,
						"ip addr flush dev eth && ip link add link eth "
						"name tagged type vlan id 7 && ip link set tagged "
						"up && ip addr add 10.9.0.%d/24 dev tagged && "
						"ip -6 addr add fd09::%d/64 dev tagged nodad",
						side + 1, side + 1),
					 0);
		}
		all_works(&rig);
		assert_true(rig.sides[0].vlan_frames > 100);
		assert_true(rig.sides[1].vlan_frames > 100);
		rig_down(&rig);
	}
}

/* A tagged frame by hand, as an application would send it: no VLAN interface is needed. */
static void a_tag_is_taken_out_and_put_in(void **state)
{
	static const enum kind kinds[][2] = { { TAP, PACKET }, { PACKET, TAP } };
	uint8_t frame[64] = { 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x81, 0, 0x60, 7, 0x88, 0xb5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig rig = { .coalesce = LARGE };
		struct diag diag;
		struct pollfd pfd = { .events = POLLIN };
		uint8_t got[2048];
		int from, one = 1;
		ssize_t n = 0;

		rig_up(&rig, kinds[i][0], kinds[i][1]);
		enter(rig.sides[0].ns);
		assert_int_equal(net_packet_open("eth", 1, &from, &diag), 0);
		enter(rig.sides[1].ns);
		assert_int_equal(net_packet_open("eth", 1, &pfd.fd, &diag), 0);
		enter(home_ns);
		one = 0;
		assert_int_equal(
			setsockopt(from, SOL_PACKET, 15 /* PACKET_VNET_HDR */, &one, sizeof(one)),
			0);
		assert_int_equal(send(from, frame, sizeof(frame), 0), sizeof(frame));
		for (;;) {
			assert_int_equal(poll(&pfd, 1, 10000), 1);
			n = recv(pfd.fd, got, sizeof(got), MSG_DONTWAIT);
			if (n > 24 && !memcmp(got + 10, frame, 12)) {
				break;
			}
		}
		/* The kernel has taken the tag out of it, and put it beside. */
		assert_int_equal(n, 10 + sizeof(frame) - 4);
		assert_memory_equal(got + 22, frame + 16, sizeof(frame) - 16);
		assert_int_equal(rig.sides[0].vlan_frames, 1);
		close(from);
		close(pfd.fd);
		rig_down(&rig);
	}
}

struct counted {
	const struct net *net;
	uint64_t frames;
};

static void count_on_loop(void *arg)
{
	struct counted *counted = arg;

	counted->frames = net_counters(counted->net)->delivered_frames;
}

static uint64_t received(const struct rig *rig, const struct net *net)
{
	struct counted counted = { .net = net };

	loop_call(rig->loop, count_on_loop, &counted);
	return counted.frames;
}

/* All flows to one queue, as a guest may say, and to the other: also of a device that comes back. */
static void a_guests_table_holds_for_a_tap_devices_queues(void **state)
{
	struct steer_bpf probe;

	(void)state;
	if (steer_bpf_create(BPF_PROG_TYPE_SOCKET_FILTER, &probe)) {
		skip();
	}
	steer_bpf_destroy(&probe);
	for (uint16_t queue = 0; queue < 2; queue++) {
		struct net_rss rss = { .is_on = true,
				       .queues = 2,
				       .table_entries = 2,
				       .hash_types =
					       NET_RSS_IPV4 | NET_RSS_TCP_IPV4 | NET_RSS_UDP_IPV4,
				       .table = { queue, queue } };
		struct rig rig = { .coalesce = LARGE, .ends = 2, .rss = &rss };
		uint64_t other, wanted;

		rig_up(&rig, TAP, PACKET);
		for (int again = 0; again < 2; again++) {
			const struct side *side = &rig.sides[0];

			wanted = received(&rig, queue ? side->twin : side->net);
			other = received(&rig, queue ? side->net : side->twin);
			tcp_works(&rig, false);
			udp_works(&rig, false);
			wanted = received(&rig, queue ? side->twin : side->net) - wanted;
			other = received(&rig, queue ? side->net : side->twin) - other;
			/* what is no IP is for the first */
			assert_true(wanted > 50 && other < 20);
			if (again == 0) {
				assert_int_equal(run_in(side->ns, "ip link del eth"), 0);
				wait_link(side, false);
				assert_int_equal(run_in(side->ns,
							"ip tuntap add eth mode tap multi_queue && "
							"ip link set eth up && "
							"ip addr add 10.9.0.1/24 dev eth"),
						 0);
				wait_link(side, true);
			}
		}
		rig_down(&rig);
	}
}

/* A slow queue behind a small socket buffer: who sends waits, nothing is lost or reordered. */
static void a_sender_waits_while_the_kernel_has_no_room(void **state)
{
	struct rig rig = { .coalesce = LARGE, .packet_send_bytes = 65536 };
	uint64_t lost; /* what a kernel says to its neighbours before the other side's link is up */
	int client, server;

	(void)state;
	rig_up(&rig, TAP, PACKET);
	lost = counters_of(&rig, 1).send_lost;
	if (run_in(home_ns, "tc qdisc add dev right root tbf rate 400mbit burst 70k limit 8m")) {
		print_message("no tbf here\n");
	} else {
		connect_tcp(&rig, false, 0, &client, &server);
		pour(client, server, TRANSFER);
		close(client);
		close(server);
		assert_true(rig.sides[0].waits > 0);
		assert_true(counters_of(&rig, 1).send_waits > 0);
		assert_int_equal(counters_of(&rig, 1).send_lost, lost);
		assert_int_equal(counter_of(rig.sides[1].ns, "Tcp", "InCsumErrors"), 0);
	}
	rig_down(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taps_carry_large_segments_whole),
		cmocka_unit_test(taps_cut_large_segments_for_who_takes_none),
		cmocka_unit_test(packet_sockets_carry_large_segments_whole),
		cmocka_unit_test(packet_sockets_cut_large_segments_for_who_takes_none),
		cmocka_unit_test(a_tap_and_a_packet_socket_understand_each_other),
		cmocka_unit_test(several_ends_share_what_arrives),
		cmocka_unit_test(tagged_interfaces_work),
		cmocka_unit_test(a_tag_is_taken_out_and_put_in),
		cmocka_unit_test(a_guests_table_holds_for_a_tap_devices_queues),
		cmocka_unit_test(a_sender_waits_while_the_kernel_has_no_room),
	};
	int status = wires_rig_begin();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
