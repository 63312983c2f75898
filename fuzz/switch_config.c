/* SPDX-License-Identifier: MIT */
/*
 * A switch's configuration. Input that begins with '{' is a file; anything else is verbs, one a line:
 * "port add|name=web vlan=access:10". What is accepted is whole, and its file says the same again.
 */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/num.h"
#include "rpc/rpc.h"
#include "switchd/sw_change.h"
#include "switchd/sw_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES 16384
#define WORDS_MAX  32
#define LINES_MAX  64

static char *text_of(const struct sw_config *config, bool everything)
{
	json_t *json = sw_config_build(config, everything);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	check(text);
	return text;
}

static void check_whole(const struct sw_config *config)
{
	struct sw_config *again;
	struct diag diag;
	char *text = text_of(config, false), *text_again;

	check(sw_config_check(config, &diag) == 0);
	for (unsigned int i = 0; i < config->lists[SW_LIST_PORTS].count; i++) {
		const struct sw_port *port = sw_list_at(config, SW_LIST_PORTS, i);

		check(port->number >= SW_PORT_FIRST);
		check(sw_port_by_number(config, port->number) == port);
	}
	check(sw_config_parse_text(text, strlen(text), &again, &diag) == 0);
	text_again = text_of(again, false);
	check(strcmp(text, text_again) == 0);
	free(text);
	free(text_again);
	sw_config_destroy(again);
}

static void one_verb(struct sw_config **config, char *line)
{
	char *verb = strsep(&line, "|"), *words[WORDS_MAX], *word;
	struct sw_config *changed = NULL;
	json_t *request, *result = NULL;
	struct diag diag = { .text = "" };
	size_t count = 0;
	int err;

	while (count < WORDS_MAX && (word = strsep(&line, " ")) != NULL) {
		if (*word) {
			words[count++] = word;
		}
	}
	if (rpc_request_from_words(verb, words, count, &request, &diag)) {
		return;
	}
	err = sw_change(*config, verb, request, &changed, &result, &diag);
	json_decref(request);
	if (err) {
		check(diag.text[0] && !changed);
		return;
	}
	json_decref(result);
	if (changed) {
		sw_config_destroy(*config);
		*config = changed;
	}
}

static void verbs(char *text)
{
	struct sw_config *config;
	char *line;

	check(sw_config_create("fuzz", &config) == 0);
	for (unsigned int i = 0; i < LINES_MAX && (line = strsep(&text, "\n")) != NULL; i++) {
		if (*line) {
			one_verb(&config, line);
		}
	}
	check_whole(config);
	sw_config_destroy(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[TEXT_BYTES];
	struct sw_config *config;
	struct diag diag = { .text = "" };

	size = num_min(size, sizeof(text) - 1);
	memcpy(text, data, size);
	text[size] = '\0';
	if (text[0] != '{') {
		verbs(text);
	} else if (sw_config_parse_text(text, size, &config, &diag) == 0) {
		check_whole(config);
		sw_config_destroy(config);
	} else {
		check(diag.text[0]);
	}
	return 0;
}
