/* SPDX-License-Identifier: MIT */
/*
 * What the keeper gives to whom: a data process that is nobody's friend asks, and the keeper's own code answers.
 * Nothing here needs rights: what may be opened is missing on this host, and says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sw_dir.h"
#include "sw_rig.h"
#include "switchd/keeper_internal.h"

#define NO_DEVICE "tq-none-0"

struct rig {
	struct keeper_config config;
	struct keeper keeper;
	struct sw_config *sw;
	int fd; /* the data process's */
};

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct diag diag;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	rig->config = (struct keeper_config){ .name = "sw0", .ready_fd = -1 };
	rig->keeper = (struct keeper){ .config = &rig->config,
				       .lock_fd = -1,
				       .listeners = { -1, -1, -1 },
				       .state_fd = -1,
				       .fd = pair[0] };
	rig->fd = pair[1];
	rig->sw = sw_rig_config();
	sw_rig_do(&rig->sw, "set", "kind=external");
	sw_rig_do(&rig->sw, "uplink add", "dev=" NO_DEVICE " mode=packet");
	assert_int_equal(sw_file_save(rig->sw, &diag), 0);
	assert_int_equal(sw_devices_save_for(rig->sw, &diag), 0);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;
	struct diag diag;

	assert_int_equal(sw_file_remove("sw0", &diag), 0);
	sw_config_destroy(rig->sw);
	close(rig->keeper.fd);
	close(rig->fd);
	free(rig);
	return 0;
}

/* The answer's status; its text is kept in *ret. */
static int ask(struct rig *rig, uint32_t type, const char *name, int fd, struct keeper_message *ret)
{
	struct keeper_message request = {
		.magic = KEEPER_MAGIC, .type = type, .serial = 7, .count = fd < 0 ? 1 : 0
	};
	int fds[KEEPER_FDS_MAX];
	unsigned int count;

	snprintf(request.name, sizeof(request.name), "%s", name);
	assert_int_equal(keeper_send(rig->fd, &request, &fd, fd >= 0), 0);
	assert_int_equal(keeper_serve(&rig->keeper), 0);
	assert_int_equal(keeper_receive(rig->fd, MSG_DONTWAIT, ret, fds, &count), 0);
	assert_int_equal(ret->serial, 7);
	for (unsigned int i = 0; i < count; i++) {
		close(fds[i]);
	}
	return ret->status;
}

/* As the data process stores one. */
static int store(struct rig *rig, const struct sw_config *config, struct keeper_message *ret)
{
	json_t *json = sw_config_build(config, false);
	char *text = json_dumps(json, 0);
	int fd = memfd_create("config", MFD_CLOEXEC), status;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	status = ask(rig, KEEPER_SAVE_CONFIG, "", fd, ret);
	close(fd);
	free(text);
	json_decref(json);
	return status;
}

static uint32_t refused(struct rig *rig)
{
	struct keeper_message answer;

	assert_int_equal(ask(rig, KEEPER_COUNT_REFUSED, "", -1, &answer), 0);
	return answer.count;
}

static void expect_one_line(const struct keeper_message *answer, const char *word)
{
	if (!strstr(answer->text, word) || strchr(answer->text, '\n')) {
		fail_msg("\"%s\" lacks \"%s\"", answer->text, word);
	}
}

static void a_device_that_only_the_data_process_names_is_refused(void **state)
{
	static const uint32_t types[] = { KEEPER_OPEN_PACKET, KEEPER_OPEN_XDP, KEEPER_OPEN_TAP };
	struct rig *rig = *state;
	struct keeper_message answer;

	/* It says in a configuration of its own that this is its device: that is stored, and not enough. */
	sw_rig_do(&rig->sw, "uplink add", "dev=lo mode=packet");
	sw_rig_do(&rig->sw, "uplink add", "dev=tq-tap-9 mode=tap");
	assert_int_equal(store(rig, rig->sw, &answer), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		const char *dev = types[i] == KEEPER_OPEN_TAP ? "tq-tap-9" : "lo";

		assert_int_equal(ask(rig, types[i], dev, -1, &answer), -EPERM);
		expect_one_line(&answer, "device allow sw0 dev=");
		expect_one_line(&answer, dev);
		assert_int_equal(refused(rig), i + 1);
	}
	/* Not in the configuration either. */
	assert_int_equal(ask(rig, KEEPER_OPEN_PACKET, "eth9", -1, &answer), -EPERM);
	assert_int_equal(refused(rig), 4);
}

static void what_users_have_allowed_is_tried(void **state)
{
	struct rig *rig = *state;
	struct keeper_message answer;
	struct diag diag;
	bool is_new;

	assert_int_equal(ask(rig, KEEPER_OPEN_PACKET, NO_DEVICE, -1, &answer), -ENODEV);
	expect_one_line(&answer, NO_DEVICE);
	assert_int_equal(refused(rig), 0);
	/* Allowed, and not wanted: both are needed. */
	assert_int_equal(sw_devices_allow("sw0", "tq-none-1", &is_new, &diag), 0);
	assert_true(is_new);
	assert_int_equal(ask(rig, KEEPER_OPEN_PACKET, "tq-none-1", -1, &answer), -EPERM);
	expect_one_line(&answer, "names no uplink tq-none-1");
	assert_int_equal(refused(rig), 0);
	/* A change holds at once. */
	assert_int_equal(sw_devices_deny("sw0", NO_DEVICE, &diag), 0);
	assert_int_equal(ask(rig, KEEPER_OPEN_PACKET, NO_DEVICE, -1, &answer), -EPERM);
	assert_int_equal(refused(rig), 1);
}

static void nat_is_not_turned_on_by_the_data_process(void **state)
{
	struct rig *rig = *state;
	struct sw_config *stored;
	struct keeper_message answer;
	struct diag diag;
	bool is_new;

	sw_rig_do(&rig->sw, "nat set", "on=on");
	assert_int_equal(store(rig, rig->sw, &answer), -EPERM);
	expect_one_line(&answer, "device allow sw0 nat=on");
	assert_int_equal(refused(rig), 1);
	assert_int_equal(sw_file_load("sw0", &stored, &diag), 0);
	assert_false(stored->nat.on);
	sw_config_destroy(stored);
	assert_int_equal(sw_devices_allow("sw0", SW_DEVICE_NAT, &is_new, &diag), 0);
	assert_int_equal(store(rig, rig->sw, &answer), 0);
}

static void nat_is_given_to_who_may_have_it(void **state)
{
	struct rig *rig = *state;
	struct keeper_message answer;
	struct diag diag;
	bool is_new;

	rig->config.program = "/bin/false"; /* one of NAT's that ends at once */
	rig->keeper.nat.fd = -1;
	assert_int_equal(ask(rig, KEEPER_OPEN_NAT, "", -1, &answer), -EPERM);
	expect_one_line(&answer, "device allow sw0 nat=on");
	assert_int_equal(sw_devices_allow("sw0", SW_DEVICE_NAT, &is_new, &diag), 0);
	assert_int_equal(ask(rig, KEEPER_OPEN_NAT, "", -1, &answer), -EPERM);
	expect_one_line(&answer, "no NAT");
	assert_int_equal(rig->keeper.nat.pid, 0);
	/* Leases are for NAT's process to keep, and for nobody else. */
	assert_int_equal(ask(rig, KEEPER_TAKE_LEASES, "", -1, &answer), -EOPNOTSUPP);
	assert_int_equal(ask(rig, KEEPER_SAVE_LEASES, "", -1, &answer), -EOPNOTSUPP);
}

/* Each ends at once: the next one has to wait longer and longer, and nobody waits with it. */
static void a_nat_that_ends_at_once_is_not_started_again_and_again(void **state)
{
	struct rig *rig = *state;
	struct keeper_message answer;
	struct diag diag;
	sigset_t none;
	unsigned int started = 0;
	int status;
	bool is_new;

	sigemptyset(&none);
	rig->config.program = "/bin/false";
	rig->keeper.signals = &none;
	rig->keeper.nat.fd = -1;
	assert_int_equal(sw_devices_allow("sw0", SW_DEVICE_NAT, &is_new, &diag), 0);
	sw_rig_do(&rig->sw, "nat set", "on=on");
	assert_int_equal(store(rig, rig->sw, &answer), 0);
	for (int i = 0; i < 50; i++) {
		int err = ask(rig, KEEPER_OPEN_NAT, "", -1, &answer);
		pid_t pid = rig->keeper.nat.pid;

		assert_true(err == 0 || err == -EAGAIN);
		if (pid > 0) {
			started++;
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(keeper_nat_ended(&rig->keeper, pid, status));
			assert_false(keeper_nat_ended(&rig->keeper, pid, status));
		}
	}
	assert_in_range(started, 2, 6);
	expect_one_line(&answer, "times in a row");
	/* Turned off, it is forgotten. */
	sw_rig_do(&rig->sw, "nat set", "on=off");
	assert_int_equal(store(rig, rig->sw, &answer), 0);
	assert_int_equal(ask(rig, KEEPER_OPEN_NAT, "", -1, &answer), -EPERM);
}

static void without_a_good_list_nothing_is_opened(void **state)
{
	struct rig *rig = *state;
	struct keeper_message answer;
	struct diag diag;

	assert_int_equal(sw_file_save_devices("sw0", "a/b\n", 4, &diag), 0);
	assert_int_equal(ask(rig, KEEPER_OPEN_PACKET, NO_DEVICE, -1, &answer), -EINVAL);
	expect_one_line(&answer, "a/b");
	assert_int_equal(refused(rig), 0);
}

static void nonsense_is_answered(void **state)
{
	struct rig *rig = *state;
	struct keeper_message answer;

	assert_int_equal(ask(rig, KEEPER_OPEN_PACKET, "", -1, &answer), -EINVAL);
	assert_int_equal(ask(rig, KEEPER_BIND_XDP, NO_DEVICE, -1, &answer), -EINVAL);
	assert_int_equal(ask(rig, KEEPER_CLOSE, NO_DEVICE, -1, &answer), 0);
	assert_int_equal(ask(rig, KEEPER_QUIT, "", -1, &answer), -EOPNOTSUPP);
	assert_int_equal(ask(rig, 12345, "", -1, &answer), -EOPNOTSUPP);
	expect_one_line(&answer, "12345");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_device_that_only_the_data_process_names_is_refused),
		TEST(what_users_have_allowed_is_tried),
		TEST(nat_is_not_turned_on_by_the_data_process),
		TEST(nat_is_given_to_who_may_have_it),
		TEST(a_nat_that_ends_at_once_is_not_started_again_and_again),
		TEST(without_a_good_list_nothing_is_opened),
		TEST(nonsense_is_answered),
	};

	return cmocka_run_group_tests(tests, sw_dir_make, sw_dir_remove);
}
