/* SPDX-License-Identifier: MIT */
/*
 * The server half. A client is worked on from two places only, on_client() when its socket is ready
 * and on_turn() when the loop's round ends; a reply that is completed, from wherever, only queues
 * bytes and asks for the latter. So nothing here is re-entered, and a client is freed only there.
 *
 * Invariants:
 *   R1  A reply is in its client's list until it is completed or the client has gone; then its
 *       client is NULL. server->open counts both.
 *   R2  A client is not read further while it has unsent bytes or RPC_REQUESTS_MAX open requests.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/num.h"
#include "loop/listener.h"
#include "rpc/rpc.h"
#include "rpc/rpc_parse.h"

struct rpc_server {
	struct loop *loop;
	const struct rpc_verb *verbs;
	size_t verb_count;
	void *ctx;

	int fd; /* listens */
	struct listener listener;
	struct sockaddr_un address;
	struct stat identity; /* of the path, to remove only what is ours */

	struct list clients;
	unsigned int client_count;
	unsigned int open; /* R1 */
};

struct rpc_client {
	struct list link;
	struct rpc_server *server;
	int fd;
	struct loop_watch watch;
	struct loop_work turn;

	struct list replies; /* R1 */
	unsigned int open;

	bool ended;  /* it has sent its last byte */
	bool gone;   /* nothing more can be sent: to be freed */
	bool refuse; /* to be closed when all is sent */

	char *out; /* unsent answers */
	size_t out_bytes, out_sent;

	size_t in_bytes;
	char in[RPC_LINE_BYTES_MAX];
};

struct rpc_reply {
	struct list link;
	struct rpc_server *server;
	struct rpc_client *client; /* NULL: gone */
	json_t *id;
};

/* ---- answers ----------------------------------------------------------------------------------- */

/* Takes line; NULL, memory ran out, ends the client: it must not wait for what never comes. */
static void queue_line(struct rpc_client *client, char *line)
{
	size_t length = line ? strlen(line) : 0;
	char *out = line ? realloc(client->out, client->out_bytes + length) : NULL;

	if (out) {
		memcpy(out + client->out_bytes, line, length);
		client->out = out;
		client->out_bytes += length;
	} else {
		client->gone = true;
	}
	free(line);
	loop_defer(client->server->loop, &client->turn);
}

static void finish_reply(struct rpc_reply *reply, char *line)
{
	struct rpc_client *client = reply->client;

	check(reply->server->open > 0);
	reply->server->open--;
	if (client) {
		client->open--;
		queue_line(client, line);
	} else {
		free(line);
	}
	list_remove(&reply->link);
	json_decref(reply->id);
	free(reply);
}

void rpc_reply_ok_take(struct rpc_reply *reply, struct json_t *result)
{
	json_t *object = result ? result : json_object();
	char *line = NULL;

	loop_check_here(reply->server->loop);
	if (reply->client && object) {
		line = rpc_build_ok(object, reply->id);
	}
	json_decref(object);
	if (line && strlen(line) > RPC_RESPONSE_BYTES_MAX) {
		free(line);
		line = rpc_build_error("The answer is too long.", reply->id);
	}
	finish_reply(reply, line);
}

void rpc_reply_error(struct rpc_reply *reply, const char *fmt, ...)
{
	char sentence[DIAG_BYTES];
	va_list args;

	loop_check_here(reply->server->loop);
	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	finish_reply(reply, reply->client ? rpc_build_error(sentence, reply->id) : NULL);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void reply_help(const struct rpc_server *server, struct rpc_reply *reply)
{
	json_t *verbs = json_object();

	for (size_t i = 0; i < server->verb_count; i++) {
		json_object_set_new(verbs, server->verbs[i].name,
				    json_string(server->verbs[i].help));
	}
	json_object_set_new(verbs, "help", json_string("lists the verbs"));
	rpc_reply_ok_take(reply, json_pack("{s:o}", "verbs", verbs));
}

static const struct rpc_verb *find_verb(const struct rpc_server *server, const char *name)
{
	for (size_t i = 0; i < server->verb_count; i++) {
		if (strcmp(server->verbs[i].name, name) == 0) {
			return &server->verbs[i];
		}
	}
	return NULL;
}

static void serve(struct rpc_client *client, const struct rpc_request *request)
{
	struct rpc_server *server = client->server;
	const struct rpc_verb *verb = find_verb(server, request->verb);
	struct rpc_reply *reply = fault_alloc(1, sizeof(*reply));

	if (!reply) {
		queue_line(client, rpc_build_error("Out of memory.", request->id));
		return;
	}
	reply->server = server;
	reply->client = client;
	reply->id = json_incref(request->id);
	list_append(&client->replies, &reply->link);
	client->open++;
	server->open++;
	if (verb) {
		verb->handler(server->ctx, request->object, reply);
	} else if (strcmp(request->verb, "help") == 0) {
		reply_help(server, reply);
	} else {
		rpc_reply_error(reply, "There is no verb \"%.64s\"; \"help\" lists them.",
				request->verb);
	}
}

static void handle_line(struct rpc_client *client, const char *line, size_t length)
{
	struct rpc_request request;
	struct diag diag;

	if (length > 0 && line[length - 1] == '\r') {
		length--;
	}
	if (length == 0) {
		return; /* somebody typing */
	}
	if (rpc_parse(line, length, &request, &diag)) {
		queue_line(client, rpc_build_error(diag.text, request.id));
	} else {
		serve(client, &request);
	}
	json_decref(request.object);
}

static bool may_read(const struct rpc_client *client) /* R2 */
{
	return !client->gone && !client->refuse && client->out_bytes == 0 &&
	       client->open < RPC_REQUESTS_MAX;
}

static void take_lines(struct rpc_client *client)
{
	size_t start = 0;

	while (may_read(client)) {
		char *line = client->in + start;
		const char *end = memchr(line, '\n', client->in_bytes - start);

		if (!end) {
			break;
		}
		handle_line(client, line, (size_t)(end - line));
		start += (size_t)(end - line) + 1;
	}
	client->in_bytes -= start;
	memmove(client->in, client->in + start, client->in_bytes);
}

/* ---- the socket -------------------------------------------------------------------------------- */

static void flush(struct rpc_client *client)
{
	while (!client->gone && client->out_sent < client->out_bytes) {
		ssize_t n = send(client->fd, client->out + client->out_sent,
				 client->out_bytes - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			return; /* on_client() comes when there is room */
		}
		if (n < 0) {
			client->gone = true;
			return;
		}
		client->out_sent += (size_t)n;
	}
	if (client->out_sent == client->out_bytes) {
		free(steal(client->out));
		client->out_bytes = 0;
		client->out_sent = 0;
	}
}

/* Whether anything came. */
static bool fill(struct rpc_client *client)
{
	ssize_t n;

	if (!may_read(client) || client->ended || client->in_bytes == sizeof(client->in)) {
		return false;
	}
	do {
		n = recv(client->fd, client->in + client->in_bytes,
			 sizeof(client->in) - client->in_bytes, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		client->in_bytes += (size_t)n;
	} else if (n == 0) {
		client->ended = true;
	} else if (errno != EAGAIN) {
		client->gone = true;
	}
	return n > 0;
}

static void client_destroy(struct rpc_client *client)
{
	list_for_each_safe (it, &client->replies) {
		list_entry(it, struct rpc_reply, link)->client = NULL;
		list_remove(it);
	}
	loop_cancel(client->server->loop, &client->turn);
	loop_watch_stop(&client->watch);
	list_remove(&client->link);
	client->server->client_count--;
	close(client->fd);
	free(client->out);
	free(client);
}

/* Does all that can be done for this client now. May free it. */
static void advance(struct rpc_client *client)
{
	bool more, has_line;

	do {
		flush(client);
		take_lines(client);
		more = fill(client);
	} while (more);
	flush(client);

	/* A line that is left belongs to the next turn, which an answer has asked for. */
	has_line = memchr(client->in, '\n', client->in_bytes) != NULL;
	if (client->in_bytes == sizeof(client->in) && !has_line && may_read(client)) {
		queue_line(client, rpc_build_error("The request is too long.", NULL));
		client->refuse = true;
	}
	if (client->gone || (client->refuse && client->out_bytes == 0) ||
	    (client->ended && !has_line && client->out_bytes == 0 && client->open == 0)) {
		client_destroy(client);
	}
}

static void on_turn(struct loop_work *work)
{
	advance(container_of(work, struct rpc_client, turn));
}

static void on_client(struct loop_watch *watch, uint32_t poll_events)
{
	struct rpc_client *client = container_of(watch, struct rpc_client, watch);

	if (poll_events & POLLERR) {
		client->gone = true;
	}
	/* Closed at both ends: what it sent is served, but nobody waits for the rest. */
	if (poll_events & POLLHUP && client->ended) {
		client->gone = true;
	}
	advance(client);
}

int rpc_server_adopt_take(struct rpc_server *server, int fd)
{
	auto_close int owned = fd;
	struct rpc_client *client;
	int err;

	if (server->client_count == RPC_CLIENTS_MAX) {
		static const char line[] = "{\"ok\":false,\"error\":\"Too many clients.\"}\n";

		(void)!send(owned, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		return -ENOSPC;
	}
	client = fault_alloc(1, sizeof(*client));
	if (!client) {
		return -ENOMEM;
	}
	client->server = server;
	client->fd = owned;
	list_init(&client->replies);
	list_init(&client->link);
	loop_work_init(&client->turn, on_turn);
	err = loop_watch_start(server->loop, &client->watch, owned, POLLIN | POLLOUT, on_client);
	if (err) {
		free(client);
		return err;
	}
	steal_fd(&owned);
	list_append(&server->clients, &client->link);
	server->client_count++;
	return 0;
}

static void on_connection(struct listener *listener, int fd_take)
{
	/* Who finds no room has been told; the others are served. */
	(void)!rpc_server_adopt_take(container_of(listener, struct rpc_server, listener), fd_take);
}

/* ---- life --------------------------------------------------------------------------------------- */

/* Removes a socket that nobody listens at. */
static int clear_path(const struct sockaddr_un *address, struct diag *reterr)
{
	const char *path = address->sun_path;
	auto_close int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0) {
		return errno == ENOENT ? 0
				       : diag_set(reterr, -errno, "cannot look at %s: %s", path,
						  strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode)) {
		return diag_set(reterr, -EADDRINUSE,
				"%s exists and is not a socket; name another control socket.",
				path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return diag_set(reterr, -errno, "cannot make a socket: %s", strerror(errno));
	}
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno != ECONNREFUSED) {
		return diag_set(reterr, -EADDRINUSE,
				"%s is in use by a running partition; name another control socket.",
				path);
	}
	if (unlink(path) < 0 && errno != ENOENT) {
		return diag_set(reterr, -errno, "cannot remove the old socket %s: %s", path,
				strerror(errno));
	}
	return 0;
}

static int listen_at(struct rpc_server *server, const char *path, struct diag *reterr)
{
	int err;

	if (strlen(path) >= sizeof(server->address.sun_path)) {
		return diag_set(reterr, -ENAMETOOLONG,
				"The path of the control socket is too long: %zu bytes, %zu fit; "
				"use a shorter one: %s",
				strlen(path), sizeof(server->address.sun_path) - 1, path);
	}
	if (path[0] == '\0') {
		return diag_set(reterr, -EINVAL, "the path of the control socket is empty");
	}
	server->address.sun_family = AF_UNIX;
	strcpy(server->address.sun_path, path);
	err = clear_path(&server->address, reterr);
	if (err) {
		return err;
	}
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of the descriptor becomes the path's: there is no moment at which others may. */
	if (server->fd < 0 || fchmod(server->fd, 0600) < 0 ||
	    bind(server->fd, (const struct sockaddr *)&server->address, sizeof(server->address)) <
		    0 ||
	    lstat(path, &server->identity) < 0 || listen(server->fd, RPC_CLIENTS_MAX) < 0) {
		return diag_set(reterr, -errno, "cannot listen at the control socket %s: %s", path,
				strerror(errno));
	}
	return 0;
}

static int server_create(struct loop *loop, const struct rpc_verb *verbs, size_t verb_count,
			 void *ctx, struct rpc_server **ret, struct diag *reterr)
{
	struct rpc_server *server = fault_alloc(1, sizeof(*server));

	if (!server) {
		return diag_set(reterr, -ENOMEM, "out of memory for the control socket");
	}
	server->loop = loop;
	server->verbs = verbs;
	server->verb_count = verb_count;
	server->ctx = ctx;
	server->fd = -1;
	list_init(&server->clients);
	*ret = server;
	return 0;
}

static int watch(struct rpc_server *server, struct diag *reterr)
{
	int err = listener_start(&server->listener, server->loop, server->fd, on_connection);

	return err ? diag_set(reterr, err, "cannot watch the control socket: %s", strerror(-err))
		   : 0;
}

int rpc_server_create(struct loop *loop, const char *path, const struct rpc_verb *verbs,
		      size_t verb_count, void *ctx, struct rpc_server **ret, struct diag *reterr)
{
	struct rpc_server *server = NULL;
	int err = server_create(loop, verbs, verb_count, ctx, &server, reterr);

	if (err) {
		return err;
	}
	err = listen_at(server, path, reterr);
	err = err ? err : watch(server, reterr);
	if (err) {
		rpc_server_destroy(server);
		return err;
	}
	*ret = server;
	return 0;
}

int rpc_server_create_listening(struct loop *loop, int fd, const struct rpc_verb *verbs,
				size_t verb_count, void *ctx, struct rpc_server **ret,
				struct diag *reterr)
{
	struct rpc_server *server = NULL;
	int err = server_create(loop, verbs, verb_count, ctx, &server, reterr);

	if (err) {
		return err;
	}
	server->fd = fd;
	err = watch(server, reterr);
	if (err) {
		server->fd = -1; /* the caller's still */
		rpc_server_destroy(server);
		return err;
	}
	*ret = server;
	return 0;
}

static void remove_path(const struct rpc_server *server)
{
	struct stat st;

	if (server->identity.st_ino && lstat(server->address.sun_path, &st) == 0 &&
	    st.st_ino == server->identity.st_ino && st.st_dev == server->identity.st_dev) {
		unlink(server->address.sun_path);
	}
}

void rpc_server_destroy(struct rpc_server *server)
{
	if (!server) {
		return;
	}
	check(server->open == 0);
	listener_stop(&server->listener);
	list_for_each_safe (it, &server->clients) {
		struct rpc_client *client = list_entry(it, struct rpc_client, link);

		flush(client);
		client_destroy(client);
	}
	if (server->fd >= 0) {
		close(server->fd);
	}
	remove_path(server);
	free(server);
}

unsigned int rpc_server_open_requests(const struct rpc_server *server)
{
	return server->open;
}

unsigned int rpc_server_clients(const struct rpc_server *server)
{
	return server->client_count;
}
