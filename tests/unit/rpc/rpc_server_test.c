/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/num.h"
#include "rpc/rpc.h"

/* Replies that "later" has put aside, and how often each verb was called. */
struct fixture {
	struct loop *loop;
	struct rpc_server *server;
	char dir[64], path[96];
	struct rpc_reply *later[64];
	unsigned int later_count, calls;
};

static void verb_now(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct fixture *f = ctx;

	f->calls++;
	rpc_reply_ok_take(reply, json_pack("{s:O?}", "x", json_object_get(request, "x")));
}

static void verb_later(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct fixture *f = ctx;

	(void)request;
	assert_true(f->later_count < ARRAY_SIZE(f->later));
	f->later[f->later_count++] = reply;
}

static void verb_no(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	(void)ctx;
	(void)request;
	rpc_reply_error(reply, "No %s.", "way");
}

static void verb_big(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	size_t bytes = (size_t)json_integer_value(json_object_get(request, "bytes"));
	char *text = malloc(bytes + 1);

	(void)ctx;
	memset(text, 'x', bytes);
	text[bytes] = '\0';
	rpc_reply_ok_take(reply, json_pack("{s:s}", "text", text));
	free(text);
}

static const struct rpc_verb verbs[] = {
	{ "now", "answers at once", verb_now },
	{ "later", "answers later", verb_later },
	{ "no", "refuses", verb_no },
	{ "big", "has much to say", verb_big },
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct diag diag;

	strcpy(f->dir, "/tmp/rpc_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/control", f->dir);
	assert_int_equal(loop_create("test", &f->loop, &diag), 0);
	assert_int_equal(
		rpc_server_create(f->loop, f->path, verbs, ARRAY_SIZE(verbs), f, &f->server, &diag),
		0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	rpc_server_destroy(f->server);
	while (loop_turn(f->loop)) {}
	loop_destroy(f->loop);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void settle(struct fixture *f)
{
	for (unsigned int idle = 0; idle < 3;) {
		idle = loop_turn(f->loop) ? 0 : idle + 1;
	}
}

static int client(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(rpc_server_adopt_take(f->server, fds[0]), 0);
	settle(f);
	return fds[1];
}

static void say(struct fixture *f, int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	settle(f);
}

/* The next line, or NULL at the end of the connection or when there is none. Byte by byte. */
static const char *hear(struct fixture *f, int fd)
{
	static char line[8192];
	size_t length = 0;

	settle(f);
	while (length < sizeof(line) - 1 && recv(fd, line + length, 1, MSG_DONTWAIT) == 1) {
		if (line[length] == '\n') {
			line[length] = '\0';
			return line;
		}
		length++;
	}
	return NULL;
}

static void expect(struct fixture *f, int fd, const char *line)
{
	const char *heard = hear(f, fd);

	assert_non_null(heard);
	assert_string_equal(heard, line);
}

static void expect_end(struct fixture *f, int fd)
{
	char c;

	settle(f);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
	close(fd);
}

static void a_request_is_answered_with_its_id(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "{\"verb\":\"now\",\"x\":5,\"id\":\"a\"}\n");
	expect(f, fd, "{\"ok\":true,\"result\":{\"x\":5},\"id\":\"a\"}");
	say(f, fd, "{\"verb\":\"no\"}\r\n");
	expect(f, fd, "{\"ok\":false,\"error\":\"No way.\"}");
	close(fd);
}

static void requests_in_one_piece_and_in_crumbs_are_the_same(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);
	static const char crumbs[] = "\n{\"verb\":\"no\"}\n";

	say(f, fd, "{\"verb\":\"now\"}\n{\"verb\":\"no\"}\n\n{\"verb\":\"now\"}\n");
	expect(f, fd, "{\"ok\":true,\"result\":{\"x\":null}}");
	expect(f, fd, "{\"ok\":false,\"error\":\"No way.\"}");
	expect(f, fd, "{\"ok\":true,\"result\":{\"x\":null}}");
	for (const char *c = crumbs; *c; c++) {
		char crumb[2] = { *c, 0 };

		say(f, fd, crumb);
	}
	expect(f, fd, "{\"ok\":false,\"error\":\"No way.\"}");
	close(fd);
}

static void an_unknown_verb_and_garbage_get_an_error_line(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "{\"verb\":\"fly\",\"id\":1}\n");
	expect(f, fd,
	       "{\"ok\":false,\"error\":\"There is no verb \\\"fly\\\"; \\\"help\\\" lists "
	       "them.\",\"id\":1}");
	say(f, fd, "GET / HTTP/1.1\n");
	assert_non_null(strstr(hear(f, fd), "\"ok\":false"));
	say(f, fd, "{\"verb\":\"help\"}\n");
	assert_non_null(strstr(hear(f, fd), "\"later\":\"answers later\""));
	close(fd);
}

static void a_late_answer_is_overtaken(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "{\"verb\":\"later\",\"id\":1}\n{\"verb\":\"no\",\"id\":2}\n");
	expect(f, fd, "{\"ok\":false,\"error\":\"No way.\",\"id\":2}");
	assert_int_equal(rpc_server_open_requests(f->server), 1);
	rpc_reply_ok_take(f->later[0], NULL);
	expect(f, fd, "{\"ok\":true,\"result\":{},\"id\":1}");
	assert_int_equal(rpc_server_open_requests(f->server), 0);
	close(fd);
}

static void a_reply_may_come_after_its_client_has_gone(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "{\"verb\":\"later\"}\n{\"verb\":\"later\"}\n");
	close(fd);
	settle(f);
	rpc_reply_ok_take(f->later[0], json_object());
	settle(f);
	rpc_reply_error(f->later[1], "Too late.");
	settle(f);
	assert_int_equal(rpc_server_clients(f->server), 0);
	assert_int_equal(rpc_server_open_requests(f->server), 0);
}

static void a_client_that_has_finished_speaking_still_hears(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "{\"verb\":\"later\"}\n{\"verb\":\"now\"}\n{\"verb\":\"no\"}\n");
	shutdown(fd, SHUT_WR);
	expect(f, fd, "{\"ok\":true,\"result\":{\"x\":null}}");
	expect(f, fd, "{\"ok\":false,\"error\":\"No way.\"}");
	rpc_reply_ok_take(f->later[0], NULL);
	expect(f, fd, "{\"ok\":true,\"result\":{}}");
	expect_end(f, fd);
	assert_int_equal(rpc_server_clients(f->server), 0);
}

static void open_requests_are_bounded(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	for (unsigned int i = 0; i < RPC_REQUESTS_MAX + 3; i++) {
		say(f, fd, "{\"verb\":\"later\"}\n");
	}
	assert_int_equal(f->later_count, RPC_REQUESTS_MAX);
	for (unsigned int i = 0; i < RPC_REQUESTS_MAX + 3; i++) {
		assert_true(i < f->later_count);
		rpc_reply_ok_take(f->later[i], NULL);
		expect(f, fd, "{\"ok\":true,\"result\":{}}");
	}
	close(fd);
}

static void a_line_that_is_too_long_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);
	char *text = malloc(RPC_LINE_BYTES_MAX + 1);

	memset(text, 'a', RPC_LINE_BYTES_MAX);
	text[RPC_LINE_BYTES_MAX] = '\0';
	say(f, fd, text);
	free(text);
	expect(f, fd, "{\"ok\":false,\"error\":\"The request is too long.\"}");
	expect_end(f, fd);
}

static void who_does_not_read_is_not_read_and_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	int slow = client(f), quick = client(f);
	size_t heard = 0;
	ssize_t n;
	static char buf[65536];

	/* Far more than a socket holds. */
	say(f, slow, "{\"verb\":\"big\",\"bytes\":3000000}\n{\"verb\":\"now\"}\n");
	assert_int_equal(f->calls, 0);
	say(f, quick, "{\"verb\":\"now\"}\n");
	expect(f, quick, "{\"ok\":true,\"result\":{\"x\":null}}");
	for (unsigned int i = 0; i < 10000 && heard < 3000000; i++) {
		settle(f);
		n = recv(slow, buf, sizeof(buf), MSG_DONTWAIT);
		heard += n > 0 ? (size_t)n : 0;
	}
	settle(f);
	assert_int_equal(f->calls, 2);
	close(slow);
	close(quick);
}

static void an_answer_that_is_too_long_becomes_an_error(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "{\"verb\":\"big\",\"bytes\":5000000}\n");
	expect(f, fd, "{\"ok\":false,\"error\":\"The answer is too long.\"}");
	close(fd);
}

static void clients_are_bounded(void **state)
{
	struct fixture *f = *state;
	int fds[RPC_CLIENTS_MAX], extra[2];

	for (unsigned int i = 0; i < RPC_CLIENTS_MAX; i++) {
		fds[i] = client(f);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, extra), 0);
	assert_int_equal(rpc_server_adopt_take(f->server, extra[0]), -ENOSPC);
	expect(f, extra[1], "{\"ok\":false,\"error\":\"Too many clients.\"}");
	expect_end(f, extra[1]);
	for (unsigned int i = 0; i < RPC_CLIENTS_MAX; i++) {
		close(fds[i]);
	}
	settle(f);
	assert_int_equal(rpc_server_clients(f->server), 0);
}

static int create_at(struct fixture *f, const char *path, struct diag *diag)
{
	struct rpc_server *server = NULL;
	int err = rpc_server_create(f->loop, path, verbs, 1, f, &server, diag);

	rpc_server_destroy(server);
	settle(f);
	return err;
}

static void a_path_is_refused_with_a_sentence(void **state)
{
	struct fixture *f = *state;
	char path[256], file[128];
	struct diag diag;

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(create_at(f, path, &diag), -ENAMETOOLONG);
	assert_non_null(strstr(diag.text, "too long"));

	assert_int_equal(create_at(f, f->path, &diag), -EADDRINUSE);
	assert_non_null(strstr(diag.text, "in use"));
	assert_int_equal(access(f->path, F_OK), 0);

	snprintf(file, sizeof(file), "%s/file", f->dir);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(create_at(f, file, &diag), -EADDRINUSE);
	assert_non_null(strstr(diag.text, "not a socket"));
	unlink(file);

	snprintf(file, sizeof(file), "%s/no/such", f->dir);
	assert_int_equal(create_at(f, file, &diag), -ENOENT);
	assert_int_equal(create_at(f, "", &diag), -EINVAL);
}

static void a_stale_socket_is_replaced_and_only_ours_is_removed(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	struct diag diag;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/stale", f->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(create_at(f, address.sun_path, &diag), 0);
	assert_int_equal(access(address.sun_path, F_OK), -1);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void creation_survives_each_failing_allocation(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct diag diag;
	int err;

	snprintf(path, sizeof(path), "%s/fault", f->dir);
	for (unsigned int n = 1;; n++) {
		fault_arm(n);
		err = create_at(f, path, &diag);
		if (!fault_fired()) {
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(access(path, F_OK), -1);
	}
	fault_arm(0);
	assert_int_equal(err, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_answered_with_its_id),
		TEST(requests_in_one_piece_and_in_crumbs_are_the_same),
		TEST(an_unknown_verb_and_garbage_get_an_error_line),
		TEST(a_late_answer_is_overtaken),
		TEST(a_reply_may_come_after_its_client_has_gone),
		TEST(a_client_that_has_finished_speaking_still_hears),
		TEST(open_requests_are_bounded),
		TEST(a_line_that_is_too_long_ends_the_connection),
		TEST(who_does_not_read_is_not_read_and_holds_up_nobody),
		TEST(an_answer_that_is_too_long_becomes_an_error),
		TEST(clients_are_bounded),
		TEST(a_path_is_refused_with_a_sentence),
		TEST(a_stale_socket_is_replaced_and_only_ours_is_removed),
		TEST(creation_survives_each_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
