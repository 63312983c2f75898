/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/num.h"
#include "rpc/rpc.h"

static struct rpc_reply *kept;

static void verb_double(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	(void)ctx;
	rpc_reply_ok_take(reply, json_pack("{s:I}", "twice",
					   2 * json_integer_value(json_object_get(request, "x"))));
}

static void verb_silent(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	(void)ctx;
	(void)request;
	kept = reply;
}

static const struct rpc_verb verbs[] = {
	{ "double", "doubles x", verb_double },
	{ "silent", "says nothing", verb_silent },
};

static void reply_kept(void *arg)
{
	(void)arg;
	if (kept) {
		rpc_reply_error(kept, "Never mind.");
		kept = NULL;
	}
}

static void words_become_a_request(void **state)
{
	char *words[] = { "x=7",
			  "name=a=b",
			  "on=true",
			  "empty=",
			  "text=\"7\"",
			  "id=7",
			  "wwn=50000000000000e1",
			  "serial=1.50",
			  "big=99999999999999999999" };
	struct diag diag;
	json_t *request;

	(void)state;
	assert_int_equal(rpc_request_from_words("go", words, ARRAY_SIZE(words), &request, &diag),
			 0);
	assert_string_equal(json_string_value(json_object_get(request, "verb")), "go");
	assert_int_equal(json_integer_value(json_object_get(request, "x")), 7);
	assert_string_equal(json_string_value(json_object_get(request, "name")), "a=b");
	assert_true(json_is_true(json_object_get(request, "on")));
	assert_string_equal(json_string_value(json_object_get(request, "empty")), "");
	/* What names something keeps its letters. */
	assert_string_equal(json_string_value(json_object_get(request, "id")), "7");
	assert_string_equal(json_string_value(json_object_get(request, "wwn")), "50000000000000e1");
	assert_string_equal(json_string_value(json_object_get(request, "serial")), "1.50");
	assert_string_equal(json_string_value(json_object_get(request, "big")),
			    "99999999999999999999");
	json_decref(request);
}

static void words_without_a_name_are_refused(void **state)
{
	char *bad[] = { "x", "=7", "verb=y", "\xff=\xff" };
	struct diag diag;
	json_t *request;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(rpc_request_from_words("go", &bad[i], 1, &request, &diag),
				 -EINVAL);
	}
}

static void a_call_gets_its_result_or_a_sentence(void **state)
{
	char dir[] = "/tmp/rpc_test.XXXXXX", path[64];
	struct rpc_server *server;
	json_t *request, *result = NULL;
	struct loop *loop;
	struct diag diag;
	char *words[] = { "x=21" };

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/control", dir);
	assert_int_equal(loop_create("test", &loop, &diag), 0);
	assert_int_equal(
		rpc_server_create(loop, path, verbs, ARRAY_SIZE(verbs), NULL, &server, &diag), 0);
	assert_int_equal(loop_start_thread(loop, &diag), 0);

	assert_int_equal(rpc_request_from_words("double", words, 1, &request, &diag), 0);
	assert_int_equal(rpc_call(path, request, 5000, &result, &diag), 0);
	assert_int_equal(json_integer_value(json_object_get(result, "twice")), 42);
	json_decref(result);
	json_decref(request);

	assert_int_equal(rpc_request_from_words("fly", NULL, 0, &request, &diag), 0);
	assert_int_equal(rpc_call(path, request, 5000, &result, &diag), -EREMOTEIO);
	assert_non_null(strstr(diag.text, "no verb \"fly\""));
	json_decref(request);

	assert_int_equal(rpc_request_from_words("silent", NULL, 0, &request, &diag), 0);
	assert_int_equal(rpc_call(path, request, 50, &result, &diag), -ETIMEDOUT);
	json_decref(request);
	loop_call(loop, reply_kept, NULL);

	loop_stop_thread(loop);
	rpc_server_destroy(server);
	while (loop_turn(loop)) {}
	loop_destroy(loop);
	rmdir(dir);
}

static void nobody_there_is_said_clearly(void **state)
{
	json_t *request = json_pack("{s:s}", "verb", "status"), *result;
	char path[256];
	struct diag diag;

	(void)state;
	assert_int_equal(rpc_call("/tmp/no-such-socket", request, 0, &result, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "no control socket"));
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(rpc_call(path, request, 0, &result, &diag), -ENAMETOOLONG);
	json_decref(request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_become_a_request),
		cmocka_unit_test(words_without_a_name_are_refused),
		cmocka_unit_test(a_call_gets_its_result_or_a_sentence),
		cmocka_unit_test(nobody_there_is_said_clearly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
