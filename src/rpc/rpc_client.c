/* SPDX-License-Identifier: MIT */
/* The client half: one request, one answer, blocking. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "rpc/rpc.h"

/* A number only where its text comes back: a serial number like 1.50 or 1e3 is no quantity. */
static json_t *value_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
	char again[24] = "";

	if (json_is_integer(value)) {
		snprintf(again, sizeof(again), "%lld", (long long)json_integer_value(value));
	}
	if ((again[0] && strcmp(again, text) == 0) || json_is_boolean(value) ||
	    json_is_null(value)) {
		return value;
	}
	json_decref(value);
	return json_string(text);
}

static int add_word(json_t *request, const char *word, struct diag *reterr)
{
	const char *equals = strchr(word, '=');

	if (!equals || equals == word) {
		return diag_set(reterr, -EINVAL, "\"%s\" is not of the form name=value", word);
	}

	auto_free char *name = strndup(word, (size_t)(equals - word));

	if (!name || json_object_get(request, name)) {
		return diag_set(reterr, -EINVAL, "\"%s\" is given twice", word);
	}
	json_t *value = strcmp(name, "id") == 0 ? json_string(equals + 1) : value_of(equals + 1);

	if (json_object_set_new(request, name, value) < 0) {
		return diag_set(reterr, -EINVAL, "\"%s\" is not UTF-8", word);
	}
	return 0;
}

int rpc_request_from_words(const char *verb, char *const *words, size_t count, struct json_t **ret,
			   struct diag *reterr)
{
	json_t *request = json_pack("{s:s}", "verb", verb);

	if (!request) {
		return diag_set(reterr, -EINVAL, "the verb is not UTF-8");
	}
	for (size_t i = 0; i < count; i++) {
		int err = add_word(request, words[i], reterr);

		if (err) {
			json_decref(request);
			return err;
		}
	}
	*ret = request;
	return 0;
}

static int connect_to(const char *path, int *ret_fd, struct diag *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	auto_close int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path)) {
		return diag_set(reterr, -ENAMETOOLONG,
				"the path of the control socket is too long: %s", path);
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	switch (errno) {
	case ENOENT:
		return diag_set(reterr, -ENOENT,
				"There is no control socket %s; is the partition running, and was "
				"it started with --control unix:%s?",
				path, path);
	case ECONNREFUSED:
		return diag_set(reterr, -ECONNREFUSED,
				"nobody listens at %s any more: the partition has ended", path);
	default:
		return diag_set(reterr, -errno, "cannot connect to %s: %s", path, strerror(errno));
	}
}

static int send_line(int fd, const json_t *request, struct diag *reterr)
{
	auto_free char *text = json_dumps(request, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0, sent = 0;

	if (!text) {
		return diag_set(reterr, -ENOMEM, "out of memory");
	}
	text[length++] = '\n'; /* in place of its terminating zero */
	while (sent < length) {
		ssize_t n = send(fd, text + sent, length - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR) {
			return diag_set(reterr, -errno, "cannot send the request: %s",
					strerror(errno));
		}
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Waits until the socket is readable, at the latest until deadline_ns (0: for ever). */
static int wait_readable(int fd, uint64_t deadline_ns, struct diag *reterr)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int n;

	do {
		uint64_t now = loop_now_ns();
		int timeout_ms = -1;

		if (deadline_ns) {
			uint64_t left = deadline_ns > now ? deadline_ns - now : 0;

			timeout_ms = (int)((left + 999999) / 1000000);
		}
		n = poll(&pollfd, 1, timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n == 0) {
		return diag_set(reterr, -ETIMEDOUT, "there was no answer in time");
	}
	return n < 0 ? diag_set(reterr, -errno, "Cannot wait for the answer: %s.", strerror(errno))
		     : 0;
}

#define ANSWER_BYTES_MAX (RPC_RESPONSE_BYTES_MAX + 4096U)

/* Reads up to the end of the line, which *ret has no more; for free(). */
static int receive_line(int fd, uint64_t deadline_ns, char **ret, size_t *ret_length,
			struct diag *reterr)
{
	auto_free char *line = malloc(ANSWER_BYTES_MAX);
	size_t length = 0;

	if (!line) {
		return diag_set(reterr, -ENOMEM, "out of memory");
	}
	while (length < ANSWER_BYTES_MAX) {
		int err = wait_readable(fd, deadline_ns, reterr);
		const char *end;
		ssize_t n;

		if (err) {
			return err;
		}
		n = recv(fd, line + length, ANSWER_BYTES_MAX - length, 0);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return diag_set(reterr, -ECONNRESET,
					"the partition closed the connection without an answer");
		}
		end = memchr(line + length, '\n', (size_t)n);
		length += (size_t)n;
		if (end) {
			*ret_length = (size_t)(end - line);
			*ret = steal(line);
			return 0;
		}
	}
	return diag_set(reterr, -EMSGSIZE, "the answer is too long");
}

/* Takes answer. */
static int result_of_take(json_t *answer, json_t **ret, struct diag *reterr)
{
	json_t *ok = json_object_get(answer, "ok");
	json_t *result = json_object_get(answer, "result");
	const char *error = json_string_value(json_object_get(answer, "error"));
	int err = 0;

	if (json_is_true(ok) && result) {
		*ret = json_incref(result);
	} else if (json_is_false(ok) && error) {
		err = diag_set(reterr, -EREMOTEIO, "%s", error);
	} else {
		err = diag_set(reterr, -EBADMSG, "the answer is not one of Tabique's");
	}
	json_decref(answer);
	return err;
}

int rpc_call(const char *path, const struct json_t *request, unsigned int timeout_ms,
	     struct json_t **ret, struct diag *reterr)
{
	uint64_t deadline_ns = timeout_ms ? loop_now_ns() + timeout_ms * 1000000ULL : 0;
	auto_close int fd = -1;
	auto_free char *line = NULL;
	size_t length = 0;
	int err;

	err = connect_to(path, &fd, reterr);
	if (!err) {
		err = send_line(fd, request, reterr);
	}
	if (!err) {
		err = receive_line(fd, deadline_ns, &line, &length, reterr);
	}
	if (err) {
		return err;
	}
	return result_of_take(json_loadb(line, length, 0, NULL), ret, reterr);
}
