/* SPDX-License-Identifier: MIT */
/*
 * AF_XDP against the kernel itself: two namespaces, each with a veth whose other end is taken over, and
 * what arrives at one is sent from the other. The kernels' TCP and UDP are the judges. And which back
 * end an uplink becomes.
 *
 * Needs root, iproute2, a kernel with AF_XDP, libxdp; skipped without.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/num.h"
#include "net/uplink.h"
#include "net/xdp.h"

#define WAIT_NS  20000000000ULL
#define TRANSFER (2U << 20)

/* libxdp 1.3 forgets the program that xsk_setup_xdp_prog() has loaded. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libxdp.so";
}

struct side {
	struct net_front front;
	struct side *other;
	struct net *net;
	int ns;
	const char *ours;
	_Atomic(unsigned int) checksums_asked, tags, larges;
};

struct rig {
	struct loop *loop;
	struct side sides[2];
	bool pretends_large; /* what is sent has no checksum, as of a guest that leaves it to us */
};

static int home_ns = -1;

static int this_ns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

__attribute__((format(printf, 2, 3))) static void run_in(int ns, const char *fmt, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	enter(ns);
	assert_int_equal(system(command), 0);
	enter(home_ns);
}

/* ---- the front end between the sides ---- */

static struct rig *rig_of(struct side *side)
{
	return container_of(side->other < side ? side->other : side, struct rig, sides[0]);
}

static int on_deliver(struct net_front *front, const struct net_frame *received)
{
	struct side *side = container_of(front, struct side, front);
	struct iovec iov[3] = { { NULL, 0 } };
	struct net_frame frame = *received;

	assert_int_equal(frame.iov_count, 1);
	side->tags += (frame.flags & NET_FRAME_VLAN) != 0;
	iov[1] = frame.iov[0];
	frame.iov = iov + 1;
	frame.flags &= NET_FRAME_VLAN;
	if (rig_of(side)->pretends_large && frame.l4 == NET_L4_TCP && frame.bytes > 600) {
		/* As a guest's large segment would come: cut in two. */
		frame.flags |= NET_FRAME_LSO;
		frame.mss = 500;
		side->larges++;
	} else if (frame.l4 != NET_L4_NONE &&
		   received->flags & (NET_FRAME_CHECKSUM_GOOD | NET_FRAME_L4_PARTIAL)) {
		frame.flags |= NET_FRAME_L4_CHECKSUM;
		side->checksums_asked++;
	}
	return net_send(side->other->net, &frame) == -EAGAIN ? -EAGAIN : 0;
}

static void on_batch_end(struct net_front *front)
{
	net_batch_end(container_of(front, struct side, front)->other->net);
}

static void on_writable(struct net_front *front)
{
	net_room(container_of(front, struct side, front)->other->net);
}

static void on_link_changed(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops front_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_writable,
	.link_changed = on_link_changed,
};

/* ---- rigs ---- */

/* No large segments of the kernel's own. */
static void turn_off(int ns, const char *name, uint32_t command)
{
	struct ethtool_value value = { .cmd = command, .data = 0 };
	struct ifreq request = { 0 };
	int fd;

	enter(ns);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(request.ifr_name, name);
	request.ifr_data = (void *)&value;
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
	close(fd);
	enter(home_ns);
}

static void make_veth(struct side *side)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	side->ns = this_ns();
	enter(home_ns);
	run_in(side->ns, "ip link add eth type veth peer name %s netns /proc/%d/fd/%d", side->ours,
	       getpid(), home_ns);
	run_in(side->ns, "ip link set lo up; ip link set eth up");
	run_in(home_ns, "ip link set %s up", side->ours);
	turn_off(side->ns, "eth", ETHTOOL_STSO);
	turn_off(side->ns, "eth", ETHTOOL_SGSO);
}

static void rig_up(struct rig *rig, enum net_xdp_mode mode)
{
	struct diag diag = { "" };

	assert_int_equal(loop_create("xdp", &rig->loop, &diag), 0);
	for (int i = 0; i < 2; i++) {
		struct side *side = &rig->sides[i];
		const struct net_front_config front = { .mac = { 2 }, .mtu = 1500 };
		struct net_xdp_config config = {
			.mode = mode, .queues = 1, .map_fd = -1, .link_fd_take = -1
		};

		side->front.ops = &front_ops;
		side->other = &rig->sides[!i];
		side->ours = config.name = i ? "right" : "left";
		make_veth(side);
		if (net_xdp_create(rig->loop, &config, &side->net, &diag)) {
			print_message("%s\n", diag.text);
			fail();
		}
		assert_int_equal(net_attach(side->net, &side->front, &front), 0);
		run_in(side->ns,
		       "ip addr add 10.9.0.%d/24 dev eth && ip -6 addr add fd09::%d/64 dev "
		       "eth nodad",
		       i + 1, i + 1);
	}
	assert_int_equal(loop_start_thread(rig->loop, &diag), 0);
	usleep(300000); /* until the kernel says that they run */
}

struct stop {
	struct loop_work done;
	struct net *net;
	_Atomic(bool) is_done;
};

static void on_stopped(struct loop_work *work)
{
	container_of(work, struct stop, done)->is_done = true;
}

static void stop_here(void *arg)
{
	struct stop *stop = arg;

	net_stop(stop->net, &stop->done);
}

static void rig_down(struct rig *rig)
{
	for (int i = 0; i < 2; i++) {
		struct stop stop = { .net = rig->sides[i].net };

		loop_work_init(&stop.done, on_stopped);
		loop_call(rig->loop, stop_here, &stop);
		while (!stop.is_done) {
			usleep(1000);
		}
	}
	for (int i = 0; i < 2; i++) {
		loop_call(rig->loop, (void (*)(void *))net_destroy, rig->sides[i].net);
	}
	loop_stop_thread(rig->loop);
	loop_destroy(rig->loop);
	for (int i = 0; i < 2; i++) {
		run_in(rig->sides[i].ns, "ip link del eth");
		close(rig->sides[i].ns);
	}
}

/* ---- transfers ---- */

static socklen_t address_of(bool v6, int side, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (v6) {
		*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(4321) };
		in6->sin6_addr.s6_addr[0] = 0xfd;
		in6->sin6_addr.s6_addr[1] = 0x09;
		in6->sin6_addr.s6_addr[15] = (uint8_t)(side + 1);
		return sizeof(*in6);
	}
	*in = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_port = htons(4321),
				    .sin_addr = { htonl(0x0a090001U + (uint32_t)side) } };
	return sizeof(*in);
}

static int socket_in(int ns, bool v6, int type)
{
	int fd;

	enter(ns);
	fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	enter(home_ns);
	assert_true(fd >= 0);
	return fd;
}

static uint8_t byte_at(size_t at)
{
	return (uint8_t)(at * 2654435761U >> 11);
}

static void pour(int from, int to)
{
	static uint8_t block[1 << 16];
	size_t sent = 0, received = 0;

	while (received < TRANSFER) {
		struct pollfd pfd[2] = { { from, sent < TRANSFER ? POLLOUT : 0, 0 },
					 { to, POLLIN, 0 } };
		ssize_t n;

		assert_true(poll(pfd, 2, 20000) > 0);
		if (pfd[0].revents) {
			size_t count = num_min(sizeof(block), TRANSFER - sent);

			for (size_t i = 0; i < count; i++) {
				block[i] = byte_at(sent + i);
			}
			n = send(from, block, count, 0);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (pfd[1].revents) {
			n = recv(to, block, sizeof(block), 0);
			assert_true(n > 0 || errno == EAGAIN);
			for (ssize_t i = 0; i < n; i++) {
				assert_int_equal(block[i], byte_at(received + (size_t)i));
			}
			received += n > 0 ? (size_t)n : 0;
		}
	}
}

static void transfer(struct rig *rig, bool v6)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(v6, 1, &address);
	int listener = socket_in(rig->sides[1].ns, v6, SOCK_STREAM), server;
	int client = socket_in(rig->sides[0].ns, v6, SOCK_STREAM);
	struct pollfd pfd = { listener, POLLIN, 0 };

	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	(void)connect(client, (struct sockaddr *)&address, length);
	assert_int_equal(poll(&pfd, 1, 20000), 1);
	server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(server >= 0);
	pour(client, server);
	pour(server, client);
	close(server);
	close(client);
	close(listener);
}

static void datagrams_arrive(struct rig *rig)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(false, 1, &address);
	int server = socket_in(rig->sides[1].ns, false, SOCK_DGRAM);
	int client = socket_in(rig->sides[0].ns, false, SOCK_DGRAM);
	struct pollfd pfd = { server, POLLIN, 0 };
	char got[2000];

	assert_int_equal(bind(server, (struct sockaddr *)&address, length), 0);
	for (size_t bytes = 1; bytes < 1472; bytes += 97) {
		assert_int_equal(sendto(client, got, bytes, 0, (struct sockaddr *)&address, length),
				 bytes);
		assert_int_equal(poll(&pfd, 1, 20000), 1);
		assert_int_equal(recv(server, got, sizeof(got), 0), bytes);
	}
	close(server);
	close(client);
}

/* ---- tests ---- */

static void generic_xdp_carries_tcp_and_udp(void **state)
{
	struct rig rig = { 0 };

	(void)state;
	rig_up(&rig, NET_XDP_GENERIC);
	transfer(&rig, false);
	transfer(&rig, true);
	datagrams_arrive(&rig);
	/* veth leaves checksums to others: they have been found missing, and made. */
	assert_true(rig.sides[0].checksums_asked > 0);
	rig_down(&rig);
}

static void native_xdp_carries_tcp_and_udp(void **state)
{
	struct rig rig = { 0 };

	(void)state;
	rig_up(&rig, NET_XDP_NATIVE);
	transfer(&rig, false);
	datagrams_arrive(&rig);
	rig_down(&rig);
}

static void large_segments_are_cut(void **state)
{
	struct rig rig = { .pretends_large = true };

	(void)state;
	rig_up(&rig, NET_XDP_GENERIC);
	transfer(&rig, false);
	transfer(&rig, true);
	assert_true(rig.sides[0].larges > 1000);
	rig_down(&rig);
}

static int raw_socket(int ns)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	const int one = 1;
	int fd;

	enter(ns);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	address.sll_ifindex = (int)if_nametoindex("eth");
	enter(home_ns);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	return fd;
}

/* The tag of the next frame of the type that we send; the kernel has taken it out. */
static uint16_t tag_of_ours(int fd)
{
	for (;;) {
		uint8_t bytes[2048], control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
		struct iovec iov = { bytes, sizeof(bytes) };
		struct msghdr message = { .msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control) };
		struct pollfd pfd = { fd, POLLIN, 0 };
		struct tpacket_auxdata aux;

		assert_int_equal(poll(&pfd, 1, 20000), 1);
		assert_true(recvmsg(fd, &message, 0) > 14);
		if (bytes[12] == 0x88 && bytes[13] == 0xb5) {
			memcpy(&aux, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(aux));
			assert_true(aux.tp_status & TP_STATUS_VLAN_VALID);
			return aux.tp_vlan_tci;
		}
	}
}

static void tags_are_taken_out_and_put_in(void **state)
{
	uint8_t frame[80] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,    0,
			      0,    0,    1,    0x81, 0,    0x60, 7, 0x88, 0xb5 };
	struct rig rig = { 0 };
	int from, to;

	(void)state;
	rig_up(&rig, NET_XDP_GENERIC);
	from = raw_socket(rig.sides[0].ns);
	to = raw_socket(rig.sides[1].ns);
	assert_int_equal(send(from, frame, sizeof(frame), 0), sizeof(frame));
	assert_int_equal(tag_of_ours(to), 0x6007);
	assert_int_equal(rig.sides[0].tags, 1);
	close(from);
	close(to);
	rig_down(&rig);
}

static void the_program_may_be_loaded_by_another(void **state)
{
	struct side side = { .ours = "left" };
	struct net_xdp_config config = { .name = "left", .queues = 1, .link_fd_take = -1 };
	struct loop *loop;
	struct net *net;
	struct diag diag = { "" };
	FILE *links;
	char line[512], all[4096] = "";

	(void)state;
	make_veth(&side);
	assert_int_equal(loop_create("xdp", &loop, &diag), 0);
	assert_int_equal(net_xdp_load("left", &config.map_fd, &diag), 0);
	assert_int_equal(net_xdp_create(loop, &config, &net, &diag), 0);
	assert_string_equal(net_kind(net), "xdp");
	assert_int_equal(net_mtu_max(net), 1500);
	assert_int_equal(net_twin(net, loop, &net), -EOPNOTSUPP);
	net_destroy(net);
	net_xdp_unload("left");
	close(config.map_fd);
	links = popen("ip link show left", "r");
	while (fgets(line, sizeof(line), links)) {
		strncat(all, line, sizeof(all) - strlen(all) - 1);
	}
	pclose(links);
	assert_null(strstr(all, "xdp"));
	loop_destroy(loop);
	run_in(side.ns, "ip link del eth");
	close(side.ns);
}

static void what_cannot_be_had_says_why(void **state)
{
	struct side side = { .ours = "left" };
	struct net_xdp_config config = { .queues = 1, .map_fd = -1, .link_fd_take = -1 };
	struct diag diag = { "" };
	struct loop *loop;
	struct net *net;

	(void)state;
	make_veth(&side);
	assert_int_equal(loop_create("xdp", &loop, &diag), 0);
	config.name = "nowhere";
	assert_int_equal(net_xdp_create(loop, &config, &net, &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "nowhere"));
	config.name = "left";
	run_in(home_ns, "ip link set left mtu 9000");
	assert_int_equal(net_xdp_create(loop, &config, &net, &diag), -EMSGSIZE);
	assert_non_null(strstr(diag.text, "9000"));
	run_in(home_ns, "ip link set left mtu 1500");
	config.queues = 5; /* it has one */
	assert_true(net_xdp_create(loop, &config, &net, &diag) < 0);
	loop_destroy(loop);
	run_in(side.ns, "ip link del eth");
	close(side.ns);
}

static void a_virtual_interface_becomes_a_packet_socket(void **state)
{
	struct side side = { .ours = "left" };
	struct net_uplink_config config = { .name = "left", .ends = 1, .link_fd_take = -1 };
	struct diag diag = { "" }, why = { "" };
	struct loop *loop;
	struct net *net;

	(void)state;
	make_veth(&side);
	assert_int_equal(loop_create("xdp", &loop, &diag), 0);
	assert_int_equal(net_uplink_create(loop, &config, &net, &why, &diag), 0);
	assert_string_equal(net_kind(net), "packet");
	assert_non_null(strstr(why.text, "veth"));
	net_destroy(net);
	config.mode = NET_UPLINK_XDP;
	assert_int_equal(net_uplink_create(loop, &config, &net, &why, &diag), 0);
	assert_string_equal(net_kind(net), "xdp");
	net_destroy(net);
	config.mode = NET_UPLINK_AUTO;
	config.name = "nowhere";
	assert_int_equal(net_uplink_create(loop, &config, &net, &why, &diag), -ENODEV);
	loop_destroy(loop);
	run_in(side.ns, "ip link del eth");
	close(side.ns);
}

static void drivers_decide(void **state)
{
	(void)state;
	assert_int_equal(net_uplink_for_driver("ixgbe"), NET_UPLINK_XDP);
	assert_int_equal(net_uplink_for_driver("mlx5_core"), NET_UPLINK_XDP);
	assert_int_equal(net_uplink_for_driver("veth"), NET_UPLINK_PACKET);
	assert_int_equal(net_uplink_for_driver("bridge"), NET_UPLINK_PACKET);
	assert_int_equal(net_uplink_for_driver("tun"), NET_UPLINK_PACKET);
	assert_int_equal(net_uplink_for_driver("bonding"), NET_UPLINK_PACKET);
	assert_int_equal(net_uplink_for_driver(""), NET_UPLINK_PACKET);
}

/* Whether this kernel and this user can do it at all. */
static bool works(struct diag *diag)
{
	struct net_xdp_config config = { .name = "probe",
					 .mode = NET_XDP_GENERIC,
					 .queues = 1,
					 .map_fd = -1,
					 .link_fd_take = -1 };
	struct loop *loop;
	struct net *net;
	int err;

	if (system("ip link add probe type veth peer name probe1 && ip link set probe up") != 0 ||
	    loop_create("xdp", &loop, diag)) {
		return false;
	}
	err = net_xdp_create(loop, &config, &net, diag);
	if (!err) {
		net_destroy(net);
	}
	loop_destroy(loop);
	return system("ip link del probe") == 0 && !err;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(generic_xdp_carries_tcp_and_udp),
		cmocka_unit_test(native_xdp_carries_tcp_and_udp),
		cmocka_unit_test(large_segments_are_cut),
		cmocka_unit_test(tags_are_taken_out_and_put_in),
		cmocka_unit_test(the_program_may_be_loaded_by_another),
		cmocka_unit_test(what_cannot_be_had_says_why),
		cmocka_unit_test(a_virtual_interface_becomes_a_packet_socket),
		cmocka_unit_test(drivers_decide),
	};
	struct diag diag = { "ip (iproute2) does not work here" };

	if (unshare(CLONE_NEWNET) || !works(&diag)) {
		printf("skipped: %s\n", diag.text);
		return 77;
	}
	home_ns = this_ns();
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
