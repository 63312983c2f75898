/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/num.h"
#include "rpc/rpc_parse.h"

static void a_request_has_a_verb_and_perhaps_an_id(void **state)
{
	static const char line[] = "{\"verb\":\"status\",\"id\":7,\"x\":[1]}";
	struct rpc_request request;
	struct diag diag;

	(void)state;
	assert_int_equal(rpc_parse(line, strlen(line), &request, &diag), 0);
	assert_string_equal(request.verb, "status");
	assert_int_equal(json_integer_value(request.id), 7);
	json_decref(request.object);
}

static void nonsense_gets_a_sentence(void **state)
{
	static const char *const lines[] = { "{",
					     "[]",
					     "7",
					     "{\"verb\":7}",
					     "{}",
					     "\"verb\"",
					     "{\"verb\":\"a\",\"verb\":\"b\"}",
					     "\xff\xfe" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct rpc_request request;
		struct diag diag = { "" };

		assert_int_equal(rpc_parse(lines[i], strlen(lines[i]), &request, &diag), -EBADMSG);
		assert_true(strlen(diag.text) > 10);
		json_decref(request.object);
	}
}

static void the_id_of_nonsense_can_be_answered(void **state)
{
	static const char line[] = "{\"id\":\"x\"}";
	struct rpc_request request;
	struct diag diag;
	char *answer;

	(void)state;
	assert_int_equal(rpc_parse(line, strlen(line), &request, &diag), -EBADMSG);
	answer = rpc_build_error("No.", request.id);
	assert_string_equal(answer, "{\"ok\":false,\"error\":\"No.\",\"id\":\"x\"}\n");
	free(answer);
	json_decref(request.object);
}

static void answers_are_single_lines(void **state)
{
	json_t *result = json_pack("{s:s}", "text", "two\nlines");
	char *line = rpc_build_ok(result, NULL);

	(void)state;
	assert_string_equal(line, "{\"ok\":true,\"result\":{\"text\":\"two\\nlines\"}}\n");
	free(line);
	json_decref(result);
	line = rpc_build_error("bad \xff byte", NULL);
	assert_non_null(strstr(line, "\"ok\":false"));
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_has_a_verb_and_perhaps_an_id),
		cmocka_unit_test(nonsense_gets_a_sentence),
		cmocka_unit_test(the_id_of_nonsense_can_be_answered),
		cmocka_unit_test(answers_are_single_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
