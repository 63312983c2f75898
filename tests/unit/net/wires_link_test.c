/* SPDX-License-Identifier: MIT */
/* Interfaces that go down, go, and come back; and those that cannot be opened. */
#include "wires_rig.h"

static void what_cannot_be_opened_says_why(void **state)
{
	int fds[2], again[1];
	struct diag diag;

	(void)state;
	assert_int_equal(net_tap_open("", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("a-name-that-is-too-long", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("a/b", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("tap%d", 1, fds, &diag), -EINVAL);
	assert_int_equal(net_tap_open("lo", 1, fds, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "no TAP device"));
	assert_int_equal(net_tap_open("mine", 1, fds, &diag), 0);
	assert_int_equal(net_tap_open("mine", 1, again, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "in use"));
	assert_int_equal(net_tap_open("mine", 2, again, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "several queues"));
	close(fds[0]);
	assert_int_equal(net_packet_open("nowhere", 1, fds, &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "nowhere"));
	assert_int_equal(net_packet_open("lo", 1, fds, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "no Ethernet"));
}

static void the_link_follows_the_interface(void **state)
{
	struct rig rig = { .coalesce = LARGE };

	(void)state;
	rig_up(&rig, TAP, PACKET);
	for (int i = 0; i < 3; i++) {
		for (int side = 0; side < 2; side++) {
			wait_link(&rig.sides[side], true);
			assert_int_equal(run_in(rig.sides[side].ns, "ip link set eth down"), 0);
			wait_link(&rig.sides[side], false);
			assert_int_equal(run_in(rig.sides[side].ns,
						"ip link set eth up && "
						"ip -6 addr replace fd09::%d/64 dev eth nodad",
						side + 1),
					 0);
			wait_link(&rig.sides[side], true);
		}
	}
	all_works(&rig);
	rig_down(&rig);
}

static void an_interface_may_go_and_come_back(void **state)
{
	(void)state;
	for (unsigned int ends = 1; ends <= 2; ends++) {
		struct rig rig = { .coalesce = LARGE, .ends = ends };

		rig_up(&rig, TAP, PACKET);
		tcp_works(&rig, false);
		assert_int_equal(run_in(rig.sides[0].ns, "ip link del eth"), 0);
		assert_int_equal(run_in(rig.sides[1].ns, "ip link del eth"), 0);
		wait_link(&rig.sides[0], false);
		wait_link(&rig.sides[1], false);
		assert_int_equal(run_in(rig.sides[0].ns,
					"ip tuntap add eth mode tap %s && ip link set eth up && "
					"ip addr add 10.9.0.1/24 dev eth",
					ends > 1 ? "multi_queue" : ""),
				 0);
		make_veth(&rig.sides[1], "right");
		assert_int_equal(run_in(rig.sides[1].ns, "ip addr add 10.9.0.2/24 dev eth"), 0);
		wait_link(&rig.sides[0], true);
		wait_link(&rig.sides[1], true);
		tcp_works(&rig, false);
		udp_works(&rig, false);
		rig_down(&rig);
	}
}

/* Who opens sockets for who may not; of another device, as long as it sees names that are not ours. */
struct opener {
	struct loop_work returned;
	struct net *net;
	const char *name;
	unsigned int asked;
};

static void on_asked(struct loop_work *work)
{
	struct opener *opener = container_of(work, struct opener, returned);
	struct diag diag;
	int fd;

	opener->asked++;
	assert_int_equal(net_packet_open(opener->name, 1, &fd, &diag), 0);
	net_packet_replace(opener->net, &fd);
}

static bool is_up_within(struct loop *loop, const struct net *net, uint64_t ns)
{
	for (uint64_t end_ns = loop_now_ns() + ns; loop_now_ns() < end_ns; usleep(1000)) {
		while (loop_turn(loop)) {}
		if (net_link_is_up(net)) {
			return true;
		}
	}
	return false;
}

static void on_done(struct loop_work *work)
{
	work->fn = NULL;
}

static void who_gives_another_devices_sockets_is_asked_once_a_second(void **state)
{
	struct opener opener = { .name = "other" };
	struct net_packet_config config = { .name = "given", .ends = 1, .link_fd_take = -1 };
	struct loop_work done;
	struct diag diag;
	int fd;

	(void)state;
	assert_int_equal(
		run_in(home_ns,
		       "ip link add other type veth peer name other1 && ip link set other up && "
		       "ip link add given type veth peer name given1 && ip link set given up"),
		0);
	loop_work_init(&opener.returned, on_asked);
	assert_int_equal(loop_create("test", &config.told, &diag), 0);
	config.returned = &opener.returned;
	config.fds_take = &fd;
	assert_int_equal(net_packet_open("given", 1, &fd, &diag), 0);
	assert_int_equal(net_packet_create(config.told, &config, &opener.net, &diag), 0);
	assert_int_equal(
		run_in(home_ns,
		       "ip link del given && ip link add given type veth peer name given1 && "
		       "ip link set given1 up && ip link set given up"),
		0);
	assert_false(is_up_within(config.told, opener.net, 500000000));
	assert_in_range(opener.asked, 1, 10); /* for each thing that happened to the device */
	opener.name = "given";
	assert_true(is_up_within(config.told, opener.net, WAIT_NS));
	loop_work_init(&done, on_done);
	net_stop(opener.net, &done);
	while (done.fn) {
		loop_turn(config.told);
	}
	net_destroy(opener.net);
	loop_destroy(config.told);
	assert_int_equal(run_in(home_ns, "ip link del given && ip link del other"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_opened_says_why),
		cmocka_unit_test(the_link_follows_the_interface),
		cmocka_unit_test(an_interface_may_go_and_come_back),
		cmocka_unit_test(who_gives_another_devices_sockets_is_asked_once_a_second),
	};
	int status = wires_rig_begin();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
