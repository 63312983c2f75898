/* SPDX-License-Identifier: MIT */
/*
 * The control socket. Input: a byte that sizes the pieces, then what a client sends. Verbs: "now"
 * answers at once, "later" in a later piece, or after the client has gone.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "rpc/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rpc_reply *later[RPC_REQUESTS_MAX];
static unsigned int later_count;

static void verb_now(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	(void)ctx;
	rpc_reply_ok_take(reply, json_deep_copy(request));
}

static void verb_later(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	(void)ctx;
	(void)request;
	check(later_count < ARRAY_SIZE(later));
	later[later_count++] = reply;
}

static void reply_later(void)
{
	while (later_count > 0) {
		rpc_reply_error(later[--later_count], "Later.");
	}
}

static void turn(struct loop *loop, int fd)
{
	char answers[4096];

	for (unsigned int idle = 0; idle < 2;) {
		idle = loop_turn(loop) ? 0 : idle + 1;
		while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0) {}
	}
}

static const struct rpc_verb verbs[] = {
	{ "now", "answers at once", verb_now },
	{ "later", "answers later", verb_later },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static struct rpc_server *server;
	size_t piece, at = 1;
	struct diag diag;
	int fds[2];

	if (!loop) {
		char dir[] = "/tmp/fuzz_rpc.XXXXXX", path[64];

		check(mkdtemp(dir) != NULL);
		snprintf(path, sizeof(path), "%s/control", dir);
		check(loop_create("fuzz", &loop, &diag) == 0);
		check(rpc_server_create(loop, path, verbs, ARRAY_SIZE(verbs), NULL, &server,
					&diag) == 0);
		unlink(path);
		rmdir(dir);
	}
	if (size == 0) {
		return 0;
	}
	piece = (size_t)data[0] * 16 + 1;
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	check(rpc_server_adopt_take(server, fds[0]) == 0);
	while (at < size) {
		size_t bytes = num_min(piece, size - at);

		if (send(fds[1], data + at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) <= 0) {
			break; /* it has closed on us */
		}
		at += bytes;
		turn(loop, fds[1]);
		if (data[0] & 1) {
			reply_later();
		}
	}
	close(fds[1]);
	while (loop_turn(loop)) {}
	reply_later();
	while (loop_turn(loop)) {}
	check(rpc_server_clients(server) == 0 && rpc_server_open_requests(server) == 0);
	return 0;
}
