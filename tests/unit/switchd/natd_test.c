/* SPDX-License-Identifier: MIT */
/*
 * NAT's process, with its sandbox, in a child of the test's, which is its keeper (the keeper's own code) and a
 * data process that is nobody's friend. Whatever it says is answered or ends its connection, within a bounded
 * time, and leaves no descriptor behind; and what NAT's process may say to the keeper, likewise.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/shared.h"
#include "loop/loop.h"
#include "sw_dir.h"
#include "sw_rig.h"
#include "switchd/keeper_internal.h"
#include "switchd/natd.h"
#include "switchd/sw_internal.h"

#define WAIT_MS  5000 /* a bounded time, on a host with much to do */
#define FDS_SENT 32U  /* of which a message may have KEEPER_FDS_MAX */

struct rig {
	struct keeper_config config;
	struct keeper keeper;
	struct sw_config *sw;
	int frames, words; /* the data process's; -1 */
	unsigned int natd_fds;
};

/* ---- the rig ------------------------------------------------------------------------------------ */

static unsigned int count_fds(pid_t pid)
{
	unsigned int count = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir)) {
		count++;
	}
	closedir(dir);
	return count;
}

static void wait_for(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
}

static void disconnect(struct rig *rig)
{
	if (rig->words >= 0) {
		close(rig->frames);
		close(rig->words);
		rig->frames = rig->words = -1;
	}
}

/* As the data process does, again and again. */
static void reconnect(struct rig *rig)
{
	struct keeper_answer answer = { .count = 0 };

	disconnect(rig);
	assert_int_equal(keeper_open_nat(&rig->keeper, &answer), 0);
	assert_int_equal(answer.count, 2);
	rig->frames = answer.fds[0];
	rig->words = answer.fds[1];
}

/* With these descriptors; the answer's status. Its sentence, if it is a refusal, is one line. */
static int say(struct rig *rig, uint32_t type, const int *fds, unsigned int count)
{
	struct keeper_message message = { .type = type };
	struct diag diag = { .text = "" };
	int err = keeper_converse(rig->words, "NAT", WAIT_MS, &message, fds, count, NULL, NULL,
				  &diag);

	if (err && (!diag.text[0] || strchr(diag.text, '\n'))) {
		fail_msg("request %u: no sentence: \"%s\"", type, diag.text);
	}
	return err;
}

static int configure(struct rig *rig)
{
	struct diag diag;
	int fd = sw_config_file(rig->sw, &diag), err;

	assert_true(fd >= 0);
	err = say(rig, NATD_CONFIGURE, &fd, 1);
	close(fd);
	return err;
}

/* What came with requests is closed after their answers: nothing comes with this one. */
static unsigned int count_natd_fds(struct rig *rig)
{
	assert_int_equal(say(rig, 0, NULL, 0), -EOPNOTSUPP);
	return count_fds(rig->keeper.nat.pid);
}

/* It serves, and has as many descriptors as at the beginning. */
static void expect_well(struct rig *rig)
{
	assert_int_equal(say(rig, NATD_FACTS, NULL, 0), 0);
	assert_int_equal(say(rig, NATD_LEASES, NULL, 0), 0);
	assert_int_equal(count_natd_fds(rig), rig->natd_fds);
	assert_int_equal(waitpid(rig->keeper.nat.pid, NULL, WNOHANG), 0);
}

static void start_natd(struct rig *rig)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	rig->keeper.nat = (struct keeper_nat){ .fd = pair[0], .pid = fork() };
	assert_true(rig->keeper.nat.pid >= 0);
	if (rig->keeper.nat.pid == 0) {
		const struct natd_config config = {
			.name = "sw0", .keeper_fd = pair[1], .uid = getuid(), .gid = getgid()
		};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		_exit(natd_run(&config));
	}
	close(pair[1]);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	wait_for(pair[0]); /* it asks for leases first */
	keeper_serve_nat(&rig->keeper);
}

static void end_natd(struct rig *rig)
{
	if (rig->keeper.nat.pid > 0) {
		kill(rig->keeper.nat.pid, SIGKILL);
		waitpid(rig->keeper.nat.pid, NULL, 0);
	}
	close(rig->keeper.nat.fd);
}

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct diag diag;

	rig->config =
		(struct keeper_config){ .name = "sw0", .ready_fd = -1, .program = "/bin/false" };
	rig->keeper = (struct keeper){ .config = &rig->config,
				       .lock_fd = -1,
				       .listeners = { -1, -1, -1 },
				       .state_fd = -1,
				       .fd = -1 };
	rig->frames = rig->words = -1;
	rig->sw = sw_rig_config();
	sw_rig_do(&rig->sw, "nat set", "on=on");
	assert_int_equal(sw_file_save(rig->sw, &diag), 0);
	assert_int_equal(sw_devices_save_for(rig->sw, &diag), 0);
	start_natd(rig);
	reconnect(rig);
	assert_int_equal(configure(rig), 0);
	rig->natd_fds = count_natd_fds(rig);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;
	struct diag diag;

	disconnect(rig);
	end_natd(rig);
	assert_int_equal(sw_file_remove("sw0", &diag), 0);
	sw_config_destroy(rig->sw);
	free(rig);
	return 0;
}

/* ---- messages that are none --------------------------------------------------------------------- */

/* Any bytes, with so many descriptors of nothing. Whether the kernel took them. */
static bool send_raw(int fd, const void *bytes, size_t length, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_SENT)];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[FDS_SENT] = { 0 };
	ssize_t sent;

	for (unsigned int i = 0; i < count; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
	shared_attach(&msg, control.bytes, fds, count);
	sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_fds(fds, count);
	return sent == (ssize_t)length;
}

static void expect_hung_up(struct rig *rig)
{
	char byte;

	wait_for(rig->words);
	assert_int_equal(recv(rig->words, &byte, 1, 0), 0);
	reconnect(rig);
	expect_well(rig);
}

static void what_is_no_message_ends_the_conversation(void **state)
{
	static const size_t lengths[] = {
		0, 1, 4, sizeof(struct keeper_message) - 1, sizeof(struct keeper_message) + 1, 65536
	};
	static const unsigned int counts[] = { 0, 1, KEEPER_FDS_MAX, FDS_SENT };
	static char bytes[65536];
	const struct keeper_message message = { .magic = KEEPER_MAGIC,
						.type = NATD_FACTS,
						.serial = 1 };
	struct rig *rig = *state;

	memcpy(bytes, &message, sizeof(message));
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(counts); k++) {
			assert_true(send_raw(rig->words, bytes, lengths[i], counts[k]));
			expect_hung_up(rig);
		}
	}
	/* The right length, and more descriptors than a message may have; or another magic number. */
	assert_true(send_raw(rig->words, bytes, sizeof(message), KEEPER_FDS_MAX + 1));
	expect_hung_up(rig);
	bytes[0] ^= 1;
	assert_true(send_raw(rig->words, bytes, sizeof(message), 2));
	expect_hung_up(rig);
}

/* ---- requests that make no sense ---------------------------------------------------------------- */

static bool is_known(uint32_t type)
{
	return type == NATD_CONFIGURE || type == NATD_LEASES || type == NATD_FACTS;
}

static void unknown_requests_are_refused(void **state)
{
	static const uint32_t large[] = { 1000, INT32_MAX, UINT32_MAX };
	struct rig *rig = *state;
	int fds[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };

	/* also the keeper's own: a peer is nobody's to name but the keeper's */
	for (uint32_t type = 0; type < 120; type++) {
		if (!is_known(type)) {
			assert_int_equal(say(rig, type, fds, type % 3), -EOPNOTSUPP);
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(large); i++) {
		assert_int_equal(say(rig, large[i], fds, 2), -EOPNOTSUPP);
	}
	/* known ones, with descriptors that nobody asked for */
	assert_int_equal(say(rig, NATD_FACTS, fds, 2), 0);
	assert_int_equal(say(rig, NATD_LEASES, fds, 1), 0);
	close_fds(fds, 2);
	expect_well(rig);
}

static int memory_of(const char *text, size_t bytes)
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static void only_one_file_is_a_configuration(void **state)
{
	struct rig *rig = *state;
	int pair[2], fds[16], none[KEEPER_FDS_MAX];
	unsigned int count = 0;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	fds[count++] = pair[0]; /* would wait for ever */
	fds[count++] = pair[1];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fds[count++] = pair[0];
	fds[count++] = pair[1];
	fds[count++] = eventfd(0, EFD_CLOEXEC);
	fds[count++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds[count++] = open("/dev/zero", O_RDONLY | O_CLOEXEC); /* has no end */
	fds[count++] = open("/", O_PATH | O_CLOEXEC);
	fds[count++] = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	fds[count++] = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fds[count++] = memory_of("", 0);
	fds[count++] = memory_of("{", 1);
	fds[count++] = memory_of("[]", 4096);
	fds[count++] = memory_of("{}", SW_CONFIG_BYTES_MAX);
	fds[count++] = memory_of("{}", SW_CONFIG_BYTES_MAX + 1);
	fds[count++] = memory_of("{}", (size_t)1 << 40);
	for (unsigned int i = 0; i < count; i++) {
		assert_true(fds[i] >= 0);
		assert_true(say(rig, NATD_CONFIGURE, &fds[i], 1) < 0);
	}
	assert_true(say(rig, NATD_CONFIGURE, NULL, 0) < 0);
	for (unsigned int i = 2; i <= KEEPER_FDS_MAX; i++) {
		for (unsigned int k = 0; k < i; k++) {
			none[k] = fds[k % count];
		}
		assert_true(say(rig, NATD_CONFIGURE, none, i) < 0);
	}
	close_fds(fds, count);
	/* one without NAT, and then all is as before */
	sw_rig_do(&rig->sw, "nat set", "on=off");
	assert_int_equal(configure(rig), -EINVAL);
	sw_rig_do(&rig->sw, "nat set", "on=on");
	assert_int_equal(configure(rig), 0);
	expect_well(rig);
}

/* ---- in the wrong order ------------------------------------------------------------------------- */

static void nothing_is_configured_and_all_is_asked(void **state)
{
	struct rig *rig = *state;

	/* another one, to which nobody has said anything */
	disconnect(rig);
	end_natd(rig);
	start_natd(rig);
	reconnect(rig);
	assert_int_equal(say(rig, NATD_LEASES, NULL, 0), 0);
	assert_int_equal(say(rig, NATD_FACTS, NULL, 0), 0);
	assert_true(send_raw(rig->frames, "frame", 5, 0));
	assert_int_equal(configure(rig), 0);
	rig->natd_fds = count_natd_fds(rig);
	expect_well(rig);
}

/* Sends one and does not wait. */
static void order(struct rig *rig, uint32_t serial, const char *net)
{
	struct keeper_message message = { .magic = KEEPER_MAGIC,
					  .type = NATD_CONFIGURE,
					  .serial = serial };
	struct diag diag;
	int fd;

	sw_rig_do(&rig->sw, "nat set", net);
	fd = sw_config_file(rig->sw, &diag);
	assert_true(fd >= 0);
	assert_int_equal(keeper_send(rig->words, &message, &fd, 1), 0);
	close(fd);
}

static void changes_that_overtake_each_other_are_answered_one_by_one(void **state)
{
	static const char *const nets[] = { "net=10.98.0.0/24", "net=10.97.0.0/24" };
	struct rig *rig = *state;
	unsigned int seen = 0;

	for (uint32_t i = 0; i < 8; i++) {
		order(rig, i + 1, nets[i % 2]);
	}
	while (seen != 0xff) {
		struct keeper_message answer;
		int fds[KEEPER_FDS_MAX];
		unsigned int count;

		wait_for(rig->words);
		assert_int_equal(keeper_receive(rig->words, 0, &answer, fds, &count), 0);
		assert_int_equal(count, 0);
		assert_int_equal(answer.type, NATD_CONFIGURE);
		assert_true(answer.status == 0 || answer.status == -EBUSY);
		assert_in_range(answer.serial, 1, 8);
		assert_false(seen & 1U << (answer.serial - 1));
		seen |= 1U << (answer.serial - 1);
	}
	assert_int_equal(configure(rig), 0);
	expect_well(rig);
}

/* The answer that nobody waits for any more is not taken for one to the next data process. */
static void who_goes_in_the_middle_is_forgotten(void **state)
{
	static const char *const nets[] = { "net=10.98.0.0/24", "net=10.97.0.0/24" };
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 20; i++) {
		static const char frame[64]; /* a header and so many bytes */
		char byte;

		order(rig, 77, nets[i % 2]);
		for (unsigned int k = 0; k < i; k++) {
			(void)send_raw(rig->frames, frame, 12 + k, k % 2);
		}
		if (i % 3 == 0) {
			shutdown(rig->words, SHUT_RDWR);
		}
		reconnect(rig);
		assert_int_equal(recv(rig->words, &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
		while (say(rig, NATD_LEASES, NULL, 0)) {}
	}
	/* and a request that has no serial is for nobody to be answered */
	order(rig, 0, "net=10.96.0.0/24");
	assert_int_equal(say(rig, NATD_FACTS, NULL, 0), 0);
	while (configure(rig) == -EBUSY) {}
	expect_well(rig);
}

/* ---- too much ----------------------------------------------------------------------------------- */

static void who_asks_and_does_not_read_is_hung_up_on(void **state)
{
	struct rig *rig = *state;
	const struct keeper_message message = { .magic = KEEPER_MAGIC,
						.type = NATD_FACTS,
						.serial = 1 };
	const uint64_t end_ns = loop_now_ns() + WAIT_MS * 1000000ULL;
	struct pollfd poll_fd = { .fd = rig->words, .events = POLLOUT };

	do {
		assert_true(loop_now_ns() < end_ns);
		assert_true(poll(&poll_fd, 1, WAIT_MS) >= 0);
	} while (send_raw(rig->words, &message, sizeof(message), 1) || errno == EAGAIN);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	reconnect(rig);
	expect_well(rig);
}

struct flood {
	int fd;
	pthread_t thread;
};

static void *flood(void *arg)
{
	const struct flood *flood = arg;
	const struct keeper_message message = { .magic = KEEPER_MAGIC, .type = NATD_PEER };

	while (send(flood->fd, &message, sizeof(message), MSG_NOSIGNAL) == sizeof(message)) {}
	return NULL;
}

/* Requests without a serial have no answer, so nothing stops who sends them. */
static void a_flood_drowns_nobody(void **state)
{
	const struct keeper_message quit = { .magic = KEEPER_MAGIC, .type = KEEPER_QUIT };
	struct rig *rig = *state;
	struct flood floods[3];
	uint64_t end_ns;
	int status;

	for (unsigned int i = 0; i < ARRAY_SIZE(floods); i++) {
		floods[i].fd = rig->words;
		assert_int_equal(pthread_create(&floods[i].thread, NULL, flood, &floods[i]), 0);
	}
	usleep(100000);
	assert_int_equal(keeper_send(rig->keeper.nat.fd, &quit, NULL, 0), 0);
	end_ns = loop_now_ns() + WAIT_MS * 1000000ULL;
	while (waitpid(rig->keeper.nat.pid, &status, WNOHANG) == 0) {
		assert_true(loop_now_ns() < end_ns);
		usleep(10000);
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rig->keeper.nat.pid = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(floods); i++) {
		pthread_join(floods[i].thread, NULL);
	}
}

/* ---- and to its keeper -------------------------------------------------------------------------- */

/* The test is NAT's process now; what the keeper has for that is a child that sleeps. */
static int become_natd(struct rig *rig)
{
	int pair[2];

	disconnect(rig);
	end_natd(rig);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	rig->keeper.nat = (struct keeper_nat){ .fd = pair[0], .pid = fork() };
	assert_true(rig->keeper.nat.pid >= 0);
	if (rig->keeper.nat.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	return pair[1];
}

static int ask_keeper(struct rig *rig, int fd, uint32_t type, const int *fds, unsigned int count)
{
	struct keeper_message message = { .magic = KEEPER_MAGIC, .type = type, .serial = 9 };
	int got[KEEPER_FDS_MAX];
	unsigned int got_count;

	assert_int_equal(keeper_send(fd, &message, fds, count), 0);
	keeper_serve_nat(&rig->keeper);
	assert_int_equal(keeper_receive(fd, MSG_DONTWAIT, &message, got, &got_count), 0);
	close_fds(got, got_count);
	assert_int_equal(message.serial, 9);
	return message.status;
}

static void the_keeper_gives_nat_leases_and_nothing_else(void **state)
{
	struct rig *rig = *state;
	int fd = become_natd(rig), pair[2], file;
	unsigned int before;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	file = memory_of("leases", 6);
	before = count_fds(getpid());
	for (uint32_t type = 0; type < 200; type++) {
		if (type != KEEPER_SAVE_LEASES && type != KEEPER_TAKE_LEASES) {
			assert_int_equal(ask_keeper(rig, fd, type, pair, type % 3), -EPERM);
		}
	}
	assert_int_equal(ask_keeper(rig, fd, KEEPER_SAVE_LEASES, NULL, 0), -EPROTO);
	assert_int_equal(ask_keeper(rig, fd, KEEPER_SAVE_LEASES, pair, 2), -EPROTO);
	assert_int_equal(ask_keeper(rig, fd, KEEPER_SAVE_LEASES, pair, 1), -EINVAL);
	assert_int_equal(ask_keeper(rig, fd, KEEPER_SAVE_LEASES, &fd, 1), -EINVAL);
	assert_int_equal(ask_keeper(rig, fd, KEEPER_SAVE_LEASES, &file, 1), 0);
	assert_int_equal(ftruncate(file, KEEPER_LEASE_BYTES_MAX + 1), 0);
	assert_int_equal(ask_keeper(rig, fd, KEEPER_SAVE_LEASES, &file, 1), -EINVAL);
	assert_int_equal(ask_keeper(rig, fd, KEEPER_TAKE_LEASES, pair, 2), 0);
	assert_int_equal(count_fds(getpid()), before);
	assert_int_equal(waitpid(rig->keeper.nat.pid, NULL, WNOHANG), 0);
	close(file);
	close_fds(pair, 2);
	close(fd);
}

static void nonsense_to_the_keeper_is_nats_end(void **state)
{
	static const char bytes[sizeof(struct keeper_message) + 1];
	static const size_t lengths[] = { 0, 1, sizeof(struct keeper_message), sizeof(bytes) };
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = become_natd(rig), status;
		unsigned int before = count_fds(getpid());

		assert_true(send_raw(fd, bytes, lengths[i], KEEPER_FDS_MAX));
		keeper_serve_nat(&rig->keeper);
		assert_int_equal(waitpid(rig->keeper.nat.pid, &status, 0), rig->keeper.nat.pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(count_fds(getpid()), before);
		rig->keeper.nat.pid = 0;
		close(fd);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_no_message_ends_the_conversation),
		TEST(unknown_requests_are_refused),
		TEST(only_one_file_is_a_configuration),
		TEST(nothing_is_configured_and_all_is_asked),
		TEST(changes_that_overtake_each_other_are_answered_one_by_one),
		TEST(who_goes_in_the_middle_is_forgotten),
		TEST(who_asks_and_does_not_read_is_hung_up_on),
		TEST(a_flood_drowns_nobody),
		TEST(the_keeper_gives_nat_leases_and_nothing_else),
		TEST(nonsense_to_the_keeper_is_nats_end),
	};

	return cmocka_run_group_tests(tests, sw_dir_make, sw_dir_remove);
}
