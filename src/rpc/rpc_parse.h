/* SPDX-License-Identifier: MIT */
/*
 * The management protocol: one line to a request, and answers to lines.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/diag.h"

struct json_t;

struct rpc_request {
	struct json_t *object; /* a reference of the caller's */
	const char *verb;      /* borrowed from object */
	struct json_t *id;     /* borrowed from object; NULL when there is none */
};

/*
 * line needs no end mark. 0; -EBADMSG, and a sentence, when it is not JSON, not an object or has no
 * verb: then ret->object may still be set (and is the caller's), so that its id can be answered.
 * Sets *ret in any case.
 */
MUST_CHECK int rpc_parse(const char *line, size_t length, struct rpc_request *ret,
			 struct diag *reterr);

/* A line with its '\n', for free(); NULL when memory ran out. result and id are borrowed; id may
 * be NULL. */
char *rpc_build_ok(struct json_t *result, struct json_t *id);
char *rpc_build_error(const char *sentence, struct json_t *id);
