/* SPDX-License-Identifier: MIT */
/*
 * The management protocol: requests and answers, one line of JSON each, over a Unix stream socket.
 *
 *     {"verb":"status","id":7}          id is optional, anything, and comes back
 *     {"ok":true,"result":{…},"id":7}   or {"ok":false,"error":"One sentence.","id":7}
 *
 * Answers may overtake each other: a verb that takes its time (shutdown, pause) holds up nobody.
 * The verbs are the caller's table; "help" is built in.
 *
 * A client is never trusted with our time or memory: its socket never blocks us, a line, the open
 * requests and the clients are bounded, and who does not read its answers is not read either.
 *
 *   owner   vm    thread  the server's loop; the client half: any, blocking
 *   spec    docs/control-socket.md
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "loop/loop.h"

struct json_t; /* jansson's json_t */
struct rpc_reply;
struct rpc_server;

#define RPC_CLIENTS_MAX        16U
#define RPC_REQUESTS_MAX       8U          /* open at once, per client; more wait unread */
#define RPC_LINE_BYTES_MAX     (64U << 10) /* of a request */
#define RPC_RESPONSE_BYTES_MAX (4U << 20)  /* a longer answer becomes an error */

/* ---- verbs ------------------------------------------------------------------------------------ */

/*
 * Serves one request, an object, borrowed for the call. Completes the reply exactly once, with one
 * of the two below, now or later, on the loop; also when the client has gone meanwhile.
 */
typedef void rpc_verb_fn(void *ctx, const struct json_t *request, struct rpc_reply *reply);

struct rpc_verb {
	const char *name;
	const char *help; /* one line */
	rpc_verb_fn *handler;
};

/* Takes result (NULL: an empty object; also after an allocation of the caller's failed). */
void rpc_reply_ok_take(struct rpc_reply *reply, struct json_t *result);

/* One sentence for whoever asked. */
__attribute__((format(printf, 2, 3))) void rpc_reply_error(struct rpc_reply *reply, const char *fmt,
							   ...);

/* ---- server ------------------------------------------------------------------------------------ */

/*
 * Listens at path (mode 0600), where a socket that nobody listens at any more is removed first.
 * verbs and ctx are borrowed for the server's life. 0; -ENAMETOOLONG, -EADDRINUSE (a living server
 * or something that is no socket), or another errno, with a sentence in *reterr.
 */
MUST_CHECK int rpc_server_create(struct loop *loop, const char *path, const struct rpc_verb *verbs,
				 size_t verb_count, void *ctx, struct rpc_server **ret,
				 struct diag *reterr);

/*
 * The same at a stream socket that listens already and does not block, which is taken on success: it
 * was made, and its path is removed, by somebody else. 0, -ENOMEM or another errno, with a sentence.
 */
MUST_CHECK int rpc_server_create_listening(struct loop *loop, int fd, const struct rpc_verb *verbs,
					   size_t verb_count, void *ctx, struct rpc_server **ret,
					   struct diag *reterr);

/*
 * Every reply has been completed. Sends what the sockets take at once, closes, removes the path.
 * NULL is fine.
 */
void rpc_server_destroy(struct rpc_server *server);

/* Serves a connected stream socket, which is taken in any case. 0, -ENOSPC (clients) or -ENOMEM. */
MUST_CHECK int rpc_server_adopt_take(struct rpc_server *server, int fd);

/* Requests that have not been completed; clients. */
unsigned int rpc_server_open_requests(const struct rpc_server *server);
unsigned int rpc_server_clients(const struct rpc_server *server);

/* ---- client ------------------------------------------------------------------------------------ */

/*
 * A request from words as on a command line: verb, then key=value each. A value that is a whole
 * number, true, false or null is that in JSON; anything else, and always that of "id", which names
 * things here, is a string. -EINVAL with a sentence.
 */
MUST_CHECK int rpc_request_from_words(const char *verb, char *const *words, size_t count,
				      struct json_t **ret, struct diag *reterr);

/*
 * Sends one request and waits for its answer; timeout_ms 0 waits for ever. On 0 *ret is the result,
 * a new reference. -EREMOTEIO: the server said no, its sentence is in *reterr; any other errno: no
 * answer was had, and the sentence says why.
 */
MUST_CHECK int rpc_call(const char *path, const struct json_t *request, unsigned int timeout_ms,
			struct json_t **ret, struct diag *reterr);
