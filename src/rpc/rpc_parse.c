/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_parse.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int rpc_parse(const char *line, size_t length, struct rpc_request *ret, struct diag *reterr)
{
	json_error_t error;
	json_t *verb;

	memset(ret, 0, sizeof(*ret));
	ret->object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	if (!ret->object) {
		return diag_set(reterr, -EBADMSG, "The request is not JSON: %s at byte %d.",
				error.text, error.position);
	}
	if (!json_is_object(ret->object)) {
		return diag_set(reterr, -EBADMSG,
				"The request is not an object like {\"verb\":\"status\"}.");
	}
	ret->id = json_object_get(ret->object, "id");
	verb = json_object_get(ret->object, "verb");
	if (!json_is_string(verb)) {
		return diag_set(reterr, -EBADMSG,
				"The request has no \"verb\"; try "
				"{\"verb\":\"help\"}.");
	}
	ret->verb = json_string_value(verb);
	return 0;
}

/* Takes body. */
static char *build(json_t *body, json_t *id)
{
	char *text, *line = NULL;
	size_t length;

	if (body && id && json_object_set(body, "id", id) < 0) {
		json_decref(body);
		return NULL;
	}
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (text) {
		length = strlen(text);
		line = realloc(text, length + 2);
		if (!line) {
			free(text);
			return NULL;
		}
		memcpy(line + length, "\n", 2);
	}
	return line;
}

char *rpc_build_ok(struct json_t *result, struct json_t *id)
{
	return build(json_pack("{s:b, s:O}", "ok", 1, "result", result), id);
}

char *rpc_build_error(const char *sentence, struct json_t *id)
{
	/* s+ would refuse a sentence with a broken character in it, such as a path of the user's. */
	json_t *text = json_string(sentence);

	if (!text) {
		text = json_string("An error that cannot be shown.");
	}
	return build(json_pack("{s:b, s:o}", "ok", 0, "error", text), id);
}
