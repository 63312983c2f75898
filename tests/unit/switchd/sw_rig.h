/* SPDX-License-Identifier: MIT */
/* A switch's configuration and verbs as on a command line: "port add", "name=web vlan=access:10". */
#pragma once

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/num.h"
#include "rpc/rpc.h"
#include "switchd/sw_change.h"
#include "switchd/sw_config.h"

static inline json_t *sw_rig_request(const char *verb, const char *line)
{
	char text[1024], *words[32], *at = text, *word;
	struct diag diag;
	json_t *request;
	size_t count = 0;

	snprintf(text, sizeof(text), "%s", line);
	while ((word = strsep(&at, " ")) != NULL) {
		if (*word) {
			words[count++] = word;
		}
	}
	assert_int_equal(rpc_request_from_words(verb, words, count, &request, &diag), 0);
	return request;
}

/* Does it, or says why not; the configuration stays as it was then. */
static inline int sw_rig_try(struct sw_config **config, const char *verb, const char *line,
			     json_t **ret_result, struct diag *diag)
{
	struct sw_config *changed = NULL;
	json_t *request = sw_rig_request(verb, line), *result = NULL;
	int err = sw_change(*config, verb, request, &changed, &result, diag);

	json_decref(request);
	if (err) {
		assert_null(changed);
		return err;
	}
	if (changed) {
		sw_config_destroy(*config);
		*config = changed;
	}
	if (ret_result) {
		*ret_result = result;
	} else {
		json_decref(result);
	}
	return 0;
}

static inline void sw_rig_do(struct sw_config **config, const char *verb, const char *line)
{
	struct diag diag;

	if (sw_rig_try(config, verb, line, NULL, &diag)) {
		fail_msg("%s %s: %s", verb, line, diag.text);
	}
}

/* It is refused with this errno, in one sentence that has this word in it. */
static inline void sw_rig_refused(struct sw_config **config, const char *verb, const char *line,
				  int err, const char *word)
{
	struct diag diag = { .text = "" };
	const struct sw_config *before = *config;
	int got = sw_rig_try(config, verb, line, NULL, &diag);

	if (got != err || !strstr(diag.text, word) || strchr(diag.text, '\n')) {
		fail_msg("%s %s: %d, \"%s\"", verb, line, got, diag.text);
	}
	assert_ptr_equal(before, *config);
}

static inline struct sw_config *sw_rig_config(void)
{
	struct sw_config *config;

	assert_int_equal(sw_config_create("sw0", &config), 0);
	return config;
}
