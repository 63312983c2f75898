/* SPDX-License-Identifier: MIT */
/*
 * A device that another process serves: a fake guest and the bus in this process, hosts in others
 * (remote_rig.h). The guest sends echoes all the time; each must be answered once, whatever happens to
 * hosts and to the guest's control plane meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/fake_internal.h"
#include "guest/remote_rig.h"
#include "proto/echo.h"
#include "vmbus/remote_mute.h"
#include "vmbus/remote_wire.h"
#include "vmbus/remote_worker.h"
#include "vsp/echo/echo.h"

#define RING_BYTES (8 * 4096)
#define WINDOW     32U
#define KILLS      60

struct fixture {
	struct fake_guest *guest;
	struct echo *echo;           /* the twin */
	struct vmbus_device *device; /* it, or a mute one */
	struct fake_channel *channel;
	struct remote_worker *worker;
	int listen_fd;
	char path[96];
	pid_t host;
	unsigned int events[REMOTE_REFUSED + 1];
	uint32_t retry_ms;
	bool is_served; /* by the host */
	struct loop_work work;
	bool is_done;

	/* traffic */
	uint64_t sent, answered; /* transaction ids 1 to sent */
	bool is_waiting[1 << 20];
	unsigned int waiting;
	uint64_t answers_away;
};

static const struct guid echo_type = ECHO_INTERFACE;

static void on_event(void *ctx, struct vmbus_device *device, enum remote_event event,
		     uint32_t retry_ms, const char *text)
{
	struct fixture *f = ctx;

	(void)device;
	(void)text;
	f->events[event]++;
	f->retry_ms = retry_ms;
	f->is_served = event == REMOTE_AWAY;
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct fixture, work)->is_done = true;
}

static bool is_done(void *arg)
{
	return ((struct fixture *)arg)->is_done;
}

static void wait_done(struct fixture *f)
{
	assert_true(fake_guest_wait(f->guest, is_done, f));
}

static struct loop_work *begin_work(struct fixture *f)
{
	f->is_done = false;
	loop_work_init(&f->work, on_done);
	return &f->work;
}

/* ---- the guest's traffic ---- */

static void send_hello(struct fixture *f)
{
	uint32_t message[4] = { ECHO_MSG_HELLO, 8, ECHO_VERSION_1 };
	struct fake_packet packet;

	fake_channel_send_inband(f->channel, UINT64_MAX, message, sizeof(message));
	fake_channel_expect_completion(f->channel, UINT64_MAX, &packet);
	assert_int_equal(bytes_le32(packet.payload + 8), ECHO_STATUS_OK);
}

static void open_channel(struct fixture *f)
{
	f->channel = fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
	f->sent = f->answered = f->waiting = 0;
	memset(f->is_waiting, 0, sizeof(f->is_waiting));
	send_hello(f);
}

static bool send_one(struct fixture *f)
{
	uint8_t message[16 + 64] = { 0 };
	uint64_t id = f->sent + 1;
	struct iovec iov = { message, sizeof(message) };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .wants_completion = true,
				   .transaction_id = id,
				   .payload = &iov,
				   .payload_count = 1 };

	bytes_put_le32(message, ECHO_MSG_ECHO);
	bytes_put_le32(message + 4, sizeof(message) - 8);
	memset(message + 16, (int)(id & 0xff), 64);
	if (f->waiting == WINDOW || id >= ARRAY_SIZE(f->is_waiting) ||
	    !fake_channel_try_send(f->channel, &send)) {
		return false;
	}
	f->sent = id;
	f->is_waiting[id] = true;
	f->waiting++;
	return true;
}

static bool take_one(struct fixture *f)
{
	struct fake_packet packet;

	if (!fake_channel_poll(f->channel, &packet)) {
		return false;
	}
	uint64_t id = packet.transaction_id;

	assert_int_equal(packet.type, VMBUS_PACKET_COMPLETION);
	assert_true(id >= 1 && id <= f->sent);
	assert_true(f->is_waiting[id]); /* once, and no more */
	assert_int_equal(bytes_le32(packet.payload), ECHO_MSG_ECHO);
	assert_int_equal(packet.payload[16], id & 0xff);
	assert_int_equal(packet.payload[16 + 63], id & 0xff);
	f->is_waiting[id] = false;
	f->waiting--;
	f->answered++;
	f->answers_away += remote_worker_is_away(f->device);
	return true;
}

static bool all_is_answered(void *arg)
{
	struct fixture *f = arg;

	while (take_one(f)) {}
	return f->waiting == 0;
}

static void finish_traffic(struct fixture *f)
{
	assert_true(fake_guest_wait(f->guest, all_is_answered, f));
	assert_int_equal(f->answered, f->sent);
}

/* Sends and receives until so many more have been answered. */
static void traffic(struct fixture *f, unsigned int count)
{
	uint64_t until = f->answered + count, deadline = loop_now_ns() + 4 * FAKE_WAIT_NS;

	while (f->answered < until) {
		bool any = send_one(f);

		any |= take_one(f);
		if (!any) {
			assert_true(loop_now_ns() < deadline);
			nanosleep(&(struct timespec){ .tv_nsec = 10000 }, NULL);
		}
	}
}

static bool is_away(void *arg)
{
	struct fixture *f = arg;

	while (take_one(f)) {}
	return f->is_served;
}

static bool is_home(void *arg)
{
	return !is_away(arg);
}

/* Until the host serves. */
static void wait_away(struct fixture *f)
{
	assert_true(fake_guest_wait(f->guest, is_away, f));
}

/* ---- life ---- */

static void start_host(struct fixture *f, const char *mode)
{
	f->host = remote_rig_start(f->listen_fd, mode);
}

static void kill_host(struct fixture *f)
{
	kill(f->host, SIGKILL);
	remote_rig_wait(f->host);
	f->host = 0;
	if (f->channel) {
		assert_true(fake_guest_wait(f->guest, is_home, f));
	}
}

static void create_worker(struct fixture *f)
{
	struct remote_worker_config config = { .bus = fake_guest_bus(f->guest),
					       .path = f->path,
					       .name = "test",
					       .on_event = on_event,
					       .ctx = f };

	assert_int_equal(remote_worker_create(&config, &f->worker), 0);
}

static void add_device(struct fixture *f)
{
	struct remote_target target = { .kind = "echo", .port = "test/echo0" };

	create_worker(f);
	assert_int_equal(remote_worker_add(f->worker, f->device, &target), 0);
}

static int set_up_guest(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->listen_fd = remote_rig_listen(f->path, sizeof(f->path));
	f->guest = fake_guest_create(64 << 20, 2);
	for (uint32_t vp = 0; vp < 2; vp++) {
		gpa_t page = fake_guest_alloc(f->guest, MEM_PAGE_BYTES);

		fake_synic_set_event_page(f->guest->synic, vp, page,
					  fake_guest_hva(f->guest, page, MEM_PAGE_BYTES));
	}
	assert_int_equal(echo_create("test", &f->echo), 0);
	f->device = echo_device(f->echo);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f;

	set_up_guest(state);
	f = *state;
	fake_guest_offer(f->guest, f->device);
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	open_channel(f);
	add_device(f);
	return 0;
}

/* Nobody here has its VSP. */
static int set_up_mute(void **state)
{
	struct fixture *f;

	set_up_guest(state);
	f = *state;
	struct remote_mute_config config = {
		.name = "mute",
		.offer = f->device->offer,
		.packet_bytes_max = f->device->ops->packet_bytes_max,
		.keep_max = f->device->ops->keep_max,
	};

	assert_int_equal(remote_mute_create(&config, &f->device), 0);
	fake_guest_offer(f->guest, f->device);
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	add_device(f);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->channel) {
		fake_channel_close(f->channel);
		f->channel = NULL;
	}
	bus_revoke(fake_guest_bus(f->guest), f->device, begin_work(f));
	wait_done(f);
	remote_worker_remove(f->worker, f->device, begin_work(f));
	wait_done(f);
	remote_worker_destroy(f->worker);
	if (f->host) {
		kill_host(f);
	}
	if (f->device->sub_channels_max > 0) {
		rig_fan_destroy(f->device);
	} else if (f->device != echo_device(f->echo)) {
		remote_mute_destroy(f->device);
	}
	echo_destroy(f->echo);
	fake_guest_destroy(f->guest);
	close(f->listen_fd);
	remote_rig_unlink(f->path);
	free(f);
	return 0;
}

/* ---- tests ---- */

static void a_device_is_served_by_the_host(void **state)
{
	struct fixture *f = *state;

	traffic(f, 100); /* at home: there is no host */
	assert_int_equal(f->answers_away, 0);
	start_host(f, REMOTE_RIG_SERVE);
	wait_away(f);
	assert_true(remote_rig_maps_ram(f->host));
	f->answers_away = 0;
	traffic(f, 1000);
	assert_true(f->answers_away >= 1000);
	finish_traffic(f);
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

static bool has_flag(void *arg)
{
	struct fixture *f = arg;

	return fake_synic_take_flag(f->guest->synic, 0, fake_channel_relid(f->channel));
}

/* One who polls needs none: this one waits. */
static void expect_interrupt(struct fixture *f)
{
	struct synic *synic = fake_synic_base(f->guest->synic);
	uint64_t counted, deadline = loop_now_ns() + FAKE_WAIT_NS;
	int fd = synic->ops->sint_eventfd(synic, 0, VMBUS_SINT);

	fake_guest_settle(f->guest);
	(void)has_flag(f);
	(void)!read(fd, &counted, sizeof(counted));
	assert_true(send_one(f));
	assert_true(fake_guest_wait(f->guest, has_flag, f));
	while (read(fd, &counted, sizeof(counted)) != sizeof(counted)) {
		assert_true(loop_now_ns() < deadline);
	}
	finish_traffic(f);
}

static void interrupts_come_from_the_host(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_SERVE);
	wait_away(f);
	finish_traffic(f);
	expect_interrupt(f);
	/* Another page from now on. */
	gpa_t page = fake_guest_alloc(f->guest, MEM_PAGE_BYTES);

	fake_synic_set_event_page(f->guest->synic, 0, page,
				  fake_guest_hva(f->guest, page, MEM_PAGE_BYTES));
	expect_interrupt(f);
	assert_true(f->is_served);
	finish_traffic(f);
}

/* Killed at any moment: while it is lent to, serves, gives back. */
static void a_killed_host_loses_and_doubles_nothing(void **state)
{
	struct fixture *f = *state;

	srand(4711);
	for (int i = 0; i < KILLS; i++) {
		start_host(f, REMOTE_RIG_SERVE);
		if (i % 4) {
			wait_away(f);
		}
		traffic(f, (unsigned int)(rand() % 300));
		while (send_one(f)) {}
		nanosleep(&(struct timespec){ .tv_nsec = rand() % 300000 }, NULL);
		kill_host(f);
		traffic(f, (unsigned int)(rand() % 50));
	}
	finish_traffic(f);
	assert_true(f->answers_away > 1000);
	assert_true(f->events[REMOTE_HOME_KILLED] >= KILLS * 3 / 4);
	assert_int_equal(f->events[REMOTE_REFUSED], 0);
}

static void the_control_plane_takes_the_device_home_first(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_SERVE);
	for (int i = 0; i < 5; i++) {
		uint32_t relid = fake_channel_relid(f->channel), gpadl;

		wait_away(f);
		while (send_one(f)) {}
		gpadl = fake_guest_gpadl(f->guest, relid, fake_guest_alloc(f->guest, 8192), 8192);
		traffic(f, 10);
		wait_away(f);
		fake_guest_gpadl_teardown(f->guest, relid, gpadl);
		finish_traffic(f);
		wait_away(f);
		fake_channel_close(f->channel);
		open_channel(f);
		wait_away(f);
		traffic(f, 100);
	}
	finish_traffic(f);
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

static void unload_and_reset_take_it_home_first(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_SERVE);
	for (int i = 0; i < 4; i++) {
		wait_away(f);
		traffic(f, 100);
		while (send_one(f)) {}
		if (i % 2) {
			fake_guest_unload(f->guest);
		} else {
			bus_reset(fake_guest_bus(f->guest), begin_work(f));
			wait_done(f);
		}
		assert_false(remote_worker_is_away(f->device));
		free(f->channel);
		fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
		open_channel(f);
	}
	wait_away(f);
	traffic(f, 100);
	finish_traffic(f);
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

static void a_pause_finds_it_home(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_SERVE);
	for (int i = 0; i < 5; i++) {
		struct save save;
		const uint8_t *bytes;
		size_t length;

		wait_away(f);
		traffic(f, 50);
		while (send_one(f)) {}
		assert_int_equal(bus_pause(fake_guest_bus(f->guest)), 0);
		assert_false(remote_worker_is_away(f->device));
		save_init(&save);
		bus_save(fake_guest_bus(f->guest), &save);
		assert_int_equal(save_finish(&save, &bytes, &length), 0);
		save_fini(&save);
		fake_guest_settle(f->guest);
		assert_false(remote_worker_is_away(f->device));
		bus_resume(fake_guest_bus(f->guest));
		finish_traffic(f);
	}
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

static void a_host_that_stands_still_stops_a_pause_but_not_for_ever(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_SERVE);
	wait_away(f);
	kill(f->host, SIGSTOP);
	assert_int_equal(bus_pause(fake_guest_bus(f->guest)), -ETIMEDOUT);
	assert_true(remote_worker_is_away(f->device)); /* W1 */
	kill(f->host, SIGCONT);
	traffic(f, 100);
	assert_int_equal(bus_pause(fake_guest_bus(f->guest)), 0);
	bus_resume(fake_guest_bus(f->guest));
	finish_traffic(f);
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

static void an_upgrade_is_orderly(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		start_host(f, REMOTE_RIG_SERVE);
		wait_away(f);
		traffic(f, 200);
		while (send_one(f)) {}
		kill(f->host, SIGTERM);
		traffic(f, 100);
		assert_int_equal(remote_rig_wait(f->host), 0);
		f->host = 0;
		finish_traffic(f);
	}
	assert_int_equal(f->events[REMOTE_HOME_ORDERLY], 5);
	assert_int_equal(f->retry_ms, 500);
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

static bool is_refused(void *arg)
{
	struct fixture *f = arg;

	while (take_one(f)) {}
	return f->events[REMOTE_REFUSED] > 0;
}

static void a_refused_device_is_served_at_home(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_REFUSE);
	traffic(f, 100);
	assert_true(fake_guest_wait(f->guest, is_refused, f));
	traffic(f, 1000);
	finish_traffic(f);
	assert_false(remote_worker_is_away(f->device));
	assert_int_equal(f->events[REMOTE_AWAY], 0);
}

/* ---- hosts that talk nonsense: this process plays them ---- */

struct liar {
	struct fixture *f;
	int fd;
};

static bool is_there(void *arg)
{
	struct liar *liar = arg;

	while (take_one(liar->f)) {}
	liar->fd = accept4(liar->f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return liar->fd >= 0;
}

static bool has_hung_up(void *arg)
{
	struct liar *liar = arg;
	uint8_t buf[REMOTE_MESSAGE_BYTES_MAX];
	ssize_t n;

	while (take_one(liar->f)) {}
	do {
		n = recv(liar->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n > 0);
	return n == 0 || errno != EAGAIN;
}

static void say(const struct liar *liar, struct remote_message *message)
{
	uint8_t buf[REMOTE_MESSAGE_BYTES_MAX];
	uint32_t bytes = remote_build(message, buf);

	assert_int_equal(send(liar->fd, buf, bytes, MSG_NOSIGNAL), bytes);
}

static void say_welcome(const struct liar *liar)
{
	struct remote_message welcome = { .type = REMOTE_MSG_WELCOME, .serial = 1 };

	welcome.welcome.version = 1;
	welcome.welcome.channels_max = 64;
	say(liar, &welcome);
}

static void a_host_that_talks_nonsense_is_left(void **state)
{
	struct fixture *f = *state;

	for (uint16_t type = 0; type <= REMOTE_MSG_PONG + 1; type++) {
		struct liar liar = { .f = f };
		struct remote_message message = { .type = type, .serial = 77 };
		uint8_t garbage[16] = { (uint8_t)type, 0, 0, 0, 99 };

		assert_true(fake_guest_wait(f->guest, is_there, &liar));
		if (type % 2) {
			say_welcome(&liar);
		}
		if (type >= REMOTE_MSG_STARTED && type <= REMOTE_MSG_PONG) {
			say(&liar, &message);
		} else {
			assert_int_equal(send(liar.fd, garbage, sizeof(garbage), MSG_NOSIGNAL), 16);
		}
		assert_true(fake_guest_wait(f->guest, has_hung_up, &liar));
		close(liar.fd);
		traffic(f, 20);
	}
	finish_traffic(f);
	assert_int_equal(f->events[REMOTE_AWAY], 0);
	start_host(f, REMOTE_RIG_SERVE);
	wait_away(f);
	traffic(f, 100);
	finish_traffic(f);
}

/* ---- a worker that dies ---- */

static bool maps_nothing(void *arg)
{
	return !remote_rig_maps_ram(((struct fixture *)arg)->host);
}

static int run_worker(const char *path)
{
	void *state;

	/* As set_up(), but with another's socket; the parent kills us. */
	setenv("REMOTE_TEST_PATH", path, 1);
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "%s", path);
	f->guest = fake_guest_create(64 << 20, 1);
	check(echo_create("test", &f->echo) == 0);
	f->device = echo_device(f->echo);
	fake_guest_offer(f->guest, f->device);
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	open_channel(f);
	add_device(f);
	state = f;
	(void)state;
	for (;;) {
		traffic(f, 1000);
		if (f->sent > ARRAY_SIZE(f->is_waiting) / 2) {
			finish_traffic(f);
			f->sent = f->answered = 0;
		}
	}
}

static bool maps_ram(void *arg)
{
	return remote_rig_maps_ram(((struct fixture *)arg)->host);
}

static void the_host_forgets_a_worker_that_dies(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "remote-worker", "worker", f->path, NULL };

	/* Ours stays at home, so that the only memory there is the other's. */
	remote_worker_remove(f->worker, f->device, begin_work(f));
	wait_done(f);
	start_host(f, REMOTE_RIG_SERVE);
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			execv("/proc/self/exe", argv);
			_exit(127);
		}
		assert_true(fake_guest_wait(f->guest, maps_ram, f));
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 + rand() % 5000000 }, NULL);
		kill(pid, SIGKILL);
		remote_rig_wait(pid);
		assert_true(fake_guest_wait(f->guest, maps_nothing, f));
	}
	struct remote_target target = { .kind = "echo", .port = "test/echo0" };

	assert_int_equal(remote_worker_add(f->worker, f->device, &target), 0);
	wait_away(f);
	traffic(f, 100);
	finish_traffic(f);
}

/* ---- a device without a twin ---- */

static void a_mute_device_waits_for_its_host(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		start_host(f, REMOTE_RIG_SERVE);
		open_channel(f); /* its HELLO is answered over there */
		traffic(f, 300);
		wait_away(f);
		for (int kills = 0; kills < 10; kills++) {
			while (send_one(f)) {}
			kill_host(f);
			while (send_one(f)) {}
			fake_guest_settle(f->guest);
			while (take_one(f)) { /* what the host had answered */
			}
			uint64_t before = f->answered;

			fake_guest_settle(f->guest);
			assert_false(take_one(f));
			assert_int_equal(f->answered, before);
			start_host(f, REMOTE_RIG_SERVE);
			traffic(f, 100);
		}
		finish_traffic(f);
		fake_channel_close(
			f->channel); /* seen over there, or the next HELLO would not be new */
		f->channel = NULL;
		kill_host(f);
	}
	assert_int_equal(f->events[REMOTE_REFUSED], 0);
}

static void a_mute_device_is_paused_and_upgraded(void **state)
{
	struct fixture *f = *state;

	start_host(f, REMOTE_RIG_SERVE);
	open_channel(f);
	for (int i = 0; i < 5; i++) {
		struct save save;
		const uint8_t *bytes;
		size_t length;

		traffic(f, 100);
		while (send_one(f)) {}
		assert_int_equal(bus_pause(fake_guest_bus(f->guest)), 0);
		save_init(&save);
		bus_save(fake_guest_bus(f->guest), &save);
		assert_int_equal(save_finish(&save, &bytes, &length), 0);
		assert_true(length > 4096); /* the journal is in it */
		save_fini(&save);
		bus_resume(fake_guest_bus(f->guest));
		finish_traffic(f);
		kill(f->host, SIGTERM);
		assert_true(fake_guest_wait(f->guest, is_home, f));
		assert_int_equal(remote_rig_wait(f->host), 0);
		start_host(f, REMOTE_RIG_SERVE);
	}
	traffic(f, 100);
	finish_traffic(f);
	assert_int_equal(f->events[REMOTE_HOME_KILLED], 0);
}

/* ---- a device with several channels ---- */

struct lane {
	struct fake_channel *channel;
	uint64_t sent, answered;
};

struct fan_world {
	struct fixture *f;
	struct lane lanes[1 + RIG_FAN_SUBS];
	unsigned int lane_count;
};

static const struct guid fan_type = RIG_FAN_TYPE;

static void set_up_fan(struct fixture *f)
{
	struct remote_target target = { .kind = "fan", .port = "test/fan0" };

	f->device = rig_fan_create("fan");
	rig_fan_set_loops(f->device, f->guest->loop, f->guest->loop);
	assert_int_equal(bus_offer(f->guest->bus, f->device), 0);
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	create_worker(f);
	assert_int_equal(remote_worker_add(f->worker, f->device, &target), 0);
}

/* Packets on each lane; each is answered once, and in order. */
static bool turn_lanes(struct fan_world *w)
{
	bool any = false;

	for (unsigned int i = 0; i < w->lane_count; i++) {
		struct lane *lane = &w->lanes[i];
		struct fake_packet packet;
		uint64_t payload = lane->sent + 1;
		struct iovec iov = { &payload, sizeof(payload) };
		struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
					   .wants_completion = true,
					   .transaction_id = payload,
					   .payload = &iov,
					   .payload_count = 1 };

		if (payload % 256 == 'S') {
			payload |= 0xff00; /* no offer: there are not so many */
		}
		if (lane->sent - lane->answered < WINDOW &&
		    fake_channel_try_send(lane->channel, &send)) {
			lane->sent++;
			any = true;
		}
		while (fake_channel_poll(lane->channel, &packet)) {
			assert_int_equal(packet.type, VMBUS_PACKET_COMPLETION);
			assert_int_equal(packet.transaction_id, ++lane->answered);
			any = true;
		}
	}
	return any;
}

static void fan_traffic(struct fan_world *w, unsigned int count)
{
	uint64_t deadline = loop_now_ns() + 4 * FAKE_WAIT_NS;

	for (unsigned int i = 0; i < w->lane_count; i++) {
		uint64_t until = w->lanes[i].answered + count;

		while (w->lanes[i].answered < until) {
			if (!turn_lanes(w)) {
				assert_true(loop_now_ns() < deadline);
				nanosleep(&(struct timespec){ .tv_nsec = 10000 }, NULL);
			}
		}
	}
}

static bool fan_is_away(void *arg)
{
	struct fan_world *w = arg;

	turn_lanes(w);
	return w->f->is_served;
}

static bool has_subs(void *arg)
{
	const struct fan_world *w = arg;

	return fake_guest_find_offer(w->f->guest, &fan_type, RIG_FAN_SUBS) != NULL;
}

static void all_channels_of_a_device_move_together(void **state)
{
	struct fixture *f = *state;
	struct fan_world w = { .f = f, .lane_count = 1 };
	uint8_t ask[8] = { 'S', RIG_FAN_SUBS };

	set_up_fan(f);
	start_host(f, REMOTE_RIG_SERVE);
	w.lanes[0].channel = fake_channel_open(f->guest, &fan_type, 0, RING_BYTES);
	assert_true(fake_guest_wait(f->guest, fan_is_away, &w));
	/* Asked for over there, offered here. */
	fake_channel_send_inband(w.lanes[0].channel, ++w.lanes[0].sent, ask, sizeof(ask));
	assert_true(fake_guest_wait(f->guest, has_subs, &w));
	for (unsigned int i = 1; i <= RIG_FAN_SUBS; i++) {
		w.lanes[i].channel = fake_channel_open(f->guest, &fan_type, i, RING_BYTES);
		w.lane_count = i + 1;
		fan_traffic(&w, 20);
	}
	for (int i = 0; i < 12; i++) {
		assert_true(fake_guest_wait(f->guest, fan_is_away, &w));
		fan_traffic(&w, 100);
		if (i % 3 == 2) {
			kill(f->host, SIGTERM);
			assert_int_equal(remote_rig_wait(f->host), 0);
		} else {
			kill(f->host, SIGKILL);
			remote_rig_wait(f->host);
		}
		fan_traffic(&w, 50);
		start_host(f, REMOTE_RIG_SERVE);
	}
	assert_true(f->events[REMOTE_HOME_KILLED] >= 6);
	assert_int_equal(f->events[REMOTE_REFUSED], 0);
	/* The primary takes the others with it. */
	fake_channel_close(w.lanes[0].channel);
	for (unsigned int i = 1; i <= RIG_FAN_SUBS; i++) {
		free(w.lanes[i].channel);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_device_is_served_by_the_host),
		T(interrupts_come_from_the_host),
		T(a_killed_host_loses_and_doubles_nothing),
		T(the_control_plane_takes_the_device_home_first),
		T(unload_and_reset_take_it_home_first),
		T(a_pause_finds_it_home),
		T(a_host_that_stands_still_stops_a_pause_but_not_for_ever),
		T(an_upgrade_is_orderly),
		T(a_refused_device_is_served_at_home),
		T(a_host_that_talks_nonsense_is_left),
		T(the_host_forgets_a_worker_that_dies),
		cmocka_unit_test_setup_teardown(all_channels_of_a_device_move_together,
						set_up_guest, tear_down),
		cmocka_unit_test_setup_teardown(a_mute_device_waits_for_its_host, set_up_mute,
						tear_down),
		cmocka_unit_test_setup_teardown(a_mute_device_is_paused_and_upgraded, set_up_mute,
						tear_down),
	};
	int status;

	if (remote_rig_is_host(argc, argv, &status)) {
		return status;
	}
	if (argc == 3 && strcmp(argv[1], "worker") == 0) {
		return run_worker(argv[2]);
	}
	if (argc == 2) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
