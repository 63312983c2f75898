/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "console/serial.h"

struct user {
	char got[8192];
	size_t count, room;
	unsigned int writable;
	unsigned int quits;
};

static struct loop *loop;
static char dir[32];

static size_t on_input(void *ctx, const uint8_t *bytes, size_t count)
{
	struct user *user = ctx;
	size_t taken = count < user->room ? count : user->room;

	memcpy(user->got + user->count, bytes, taken);
	user->count += taken;
	user->room -= taken;
	return taken;
}

static void on_writable(void *ctx)
{
	((struct user *)ctx)->writable++;
}

static void on_quit(void *ctx)
{
	((struct user *)ctx)->quits++;
}

static const struct serial_user_ops user_ops = { on_input, on_writable };

/* So long, and so many idle rounds: on a busy host the first alone may mean a single one. */
static void turn(unsigned int milliseconds)
{
	static const struct timespec nap = { .tv_nsec = 200000 };
	uint64_t end_ns = loop_now_ns() + milliseconds * 1000000ULL;
	unsigned int idle = 0;

	do {
		if (!loop_turn(loop)) {
			idle++;
			nanosleep(&nap, NULL);
		}
	} while (idle < 20 || loop_now_ns() < end_ns);
}

static const char *path_of(const char *spec)
{
	return strchr(spec, ':') + 1;
}

static const char *make_spec(char *buf, size_t room, const char *kind, const char *name)
{
	(void)snprintf(buf, room, "%s:%s/%s", kind, dir, name);
	return buf;
}

static int dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void bad_specs_get_a_sentence(void **state)
{
	static const struct {
		const char *spec;
		int err;
	} bad[] = {
		{ "", -EINVAL },
		{ "pty", -EINVAL },
		{ "file:", -EINVAL },
		{ "file:/nonexistent/file", -ENOENT },
		{ "unix:/nonexistent/socket", -ENOENT },
		{ "file:/tmp", -EISDIR },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct diag diag = { "" };
		struct serial *serial;

		assert_int_equal(serial_create(loop, bad[i].spec, &serial, &diag), bad[i].err);
		assert_non_null(strstr(diag.text, "serial port"));
	}
}

static void a_file_gets_every_byte(void **state)
{
	char spec[64], chunk[1000];
	struct serial_stats stats;
	struct serial *serial;
	struct user user = { 0 };
	struct diag diag;
	struct stat st;
	size_t total = 0, taken;

	make_spec(spec, sizeof(spec), "file", "out");
	assert_int_equal(serial_create(loop, spec, &serial, &diag), 0);
	serial_attach(serial, &user_ops, &user);
	memset(chunk, 'x', sizeof(chunk));
	while ((taken = serial_write(serial, chunk, sizeof(chunk))) == sizeof(chunk)) {
		total += taken;
	}
	total += taken;
	assert_int_equal(total, SERIAL_RING_BYTES);
	turn(10);
	assert_int_equal(user.writable, 1);
	total += serial_write(serial, "end", 3);
	serial_read_stats(serial, &stats);
	assert_int_equal(stats.dropped_bytes, 0);
	serial_destroy(serial); /* writes the rest */
	assert_int_equal(stat(path_of(spec), &st), 0);
	assert_int_equal(st.st_size, total);
	unlink(path_of(spec));
}

static void none_swallows(void **state)
{
	struct serial_stats stats;
	struct serial *serial;
	struct diag diag;

	assert_int_equal(serial_create(loop, "none", &serial, &diag), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		char chunk[1000] = { 0 };

		assert_int_equal(serial_write(serial, chunk, sizeof(chunk)), sizeof(chunk));
		turn(0);
	}
	turn(5);
	serial_read_stats(serial, &stats);
	assert_int_equal(stats.dropped_bytes, 1000000);
	serial_destroy(serial);
}

static void a_client_gets_what_was_kept_and_types(void **state)
{
	struct user user = { .room = 4 };
	struct serial_stats stats;
	struct serial *serial;
	struct diag diag;
	char spec[64], text[64] = { 0 };
	int first, second;

	make_spec(spec, sizeof(spec), "unix", "s");
	assert_int_equal(serial_create(loop, spec, &serial, &diag), 0);
	serial_attach(serial, &user_ops, &user);
	for (unsigned int i = 0; i < SERIAL_RING_BYTES; i++) {
		assert_int_equal(serial_write(serial, "old", 3), 3);
	}
	assert_int_equal(serial_write(serial, "hello", 5), 5);
	turn(5);
	first = dial(path_of(spec));
	assert_true(first >= 0);
	turn(5);
	second = dial(path_of(spec)); /* accepted and closed: one at a time */
	turn(5);
	assert_int_equal(recv(second, text, sizeof(text), MSG_DONTWAIT), 0);
	close(second);

	for (size_t got = 0; got < SERIAL_RING_BYTES;) {
		char buf[4096];
		ssize_t n = recv(first, buf, sizeof(buf), MSG_DONTWAIT);

		if (n > 0) {
			got += (size_t)n;
			memcpy(text, buf + n - 5, 5);
		}
		turn(1);
	}
	assert_memory_equal(text, "hello", 5);
	serial_read_stats(serial, &stats);
	assert_int_equal(stats.dropped_bytes, 3 * SERIAL_RING_BYTES + 5 - SERIAL_RING_BYTES);

	assert_int_equal(write(first, "typing", 6), 6);
	turn(5);
	assert_int_equal(user.count, 4);
	user.room = 100;
	serial_input_ready(serial);
	turn(5);
	assert_int_equal(user.count, 6);
	assert_memory_equal(user.got, "typing", 6);

	close(first);
	turn(5);
	first = dial(path_of(spec));
	turn(5);
	serial_write(serial, "again", 5);
	turn(10);
	assert_int_equal(recv(first, text, sizeof(text), MSG_DONTWAIT), 5);
	close(first);
	serial_destroy(serial);
	assert_int_equal(access(path_of(spec), F_OK), -1);
}

static void a_socket_in_use_is_refused_a_stale_one_replaced(void **state)
{
	struct serial *serial, *other;
	struct diag diag;
	char spec[64];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	make_spec(spec, sizeof(spec), "unix", "t");
	assert_int_equal(serial_create(loop, spec, &serial, &diag), 0);
	assert_int_equal(serial_create(loop, spec, &other, &diag), -EADDRINUSE);
	serial_destroy(serial);

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, path_of(spec));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(serial_create(loop, spec, &serial, &diag), 0);
	serial_destroy(serial);
}

/* Puts fd in the place of a standard descriptor; returns the old one. */
static int swap_fd(int fd, int standard)
{
	int old = fcntl(standard, F_DUPFD_CLOEXEC, 10);

	assert_int_equal(dup2(fd, standard), standard);
	return old;
}

static void restore_fd(int old, int standard)
{
	assert_int_equal(dup2(old, standard), standard);
	close(old);
}

static void pipes_do_without_a_terminal(void **state)
{
	struct user user = { .room = 100 };
	struct serial *serial;
	struct diag diag;
	char text[64] = { 0 };
	int in[2], out[2], old_in, old_out;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	(void)fflush(stdout);
	old_in = swap_fd(in[0], 0);
	old_out = swap_fd(out[1], 1);
	assert_int_equal(serial_create(loop, "stdio", &serial, &diag), 0);
	restore_fd(old_in, 0);
	restore_fd(old_out, 1);
	serial_attach(serial, &user_ops, &user);
	serial_on_quit(serial, on_quit, &user);

	assert_int_equal(write(in[1], "\001xab", 4), 4); /* no terminal: no escape */
	turn(5);
	assert_int_equal(user.count, 4);
	close(in[1]);
	turn(5); /* the end of input is no mistake */
	serial_write(serial, "out", 3);
	turn(10);
	assert_int_equal(read(out[0], text, sizeof(text)), 3);
	assert_string_equal(text, "out");
	assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(user.quits, 0);
	close(out[0]);
	close(out[1]);
	serial_write(serial, "lost", 4);
	turn(10);
	serial_destroy(serial);
	close(in[0]);
}

/* Runs in a child, which can have a terminal of its own. */
static int terminal_child(void)
{
	struct user user = { .room = 100 };
	struct termios raw;
	struct serial *serial;
	struct diag diag;

	if (serial_create(loop, "stdio", &serial, &diag) != 0) {
		return 1;
	}
	serial_attach(serial, &user_ops, &user);
	serial_on_quit(serial, on_quit, &user);
	if (tcgetattr(0, &raw) != 0 || (raw.c_lflag & (ICANON | ECHO | ISIG))) {
		return 2;
	}
	serial_write(serial, "ready", 5);
	for (unsigned int i = 0; i < 200 && !user.quits; i++) {
		turn(10);
	}
	if (user.quits != 1 || user.count != 3 || memcmp(user.got, "a\001b", 3) != 0) {
		return 3;
	}
	serial_destroy(serial);
	return tcgetattr(0, &raw) == 0 && (raw.c_lflag & ICANON) ? 0 : 4;
}

static void a_terminal_is_raw_and_given_back(void **state)
{
	char text[16] = { 0 };
	int master, status = -1;
	pid_t child;

	(void)fflush(stdout);
	child = forkpty(&master, NULL, NULL, NULL);
	assert_true(child >= 0);
	if (child == 0) {
		struct diag diag;

		_exit(loop_create("child", &loop, &diag) == 0 ? terminal_child() : 9);
	}
	assert_int_equal(read(master, text, 5), 5);
	assert_string_equal(text, "ready");
	assert_int_equal(write(master, "a\001\001b\001x", 6), 6);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(master);
}

static int setup(void **state)
{
	struct diag diag;

	strcpy(dir, "/tmp/serial-test-XXXXXX");
	return mkdtemp(dir) ? loop_create("test", &loop, &diag) : -1;
}

static int teardown(void **state)
{
	loop_destroy(loop);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_specs_get_a_sentence),
		cmocka_unit_test(a_file_gets_every_byte),
		cmocka_unit_test(none_swallows),
		cmocka_unit_test(a_client_gets_what_was_kept_and_types),
		cmocka_unit_test(a_socket_in_use_is_refused_a_stale_one_replaced),
		cmocka_unit_test(pipes_do_without_a_terminal),
		cmocka_unit_test(a_terminal_is_raw_and_given_back),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
