/* SPDX-License-Identifier: MIT */
/* tabique switch: answers as tables and lines. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "cmd/switch.h"

#define COLUMNS_MAX 24
#define CELL_BYTES  256
#define DEPTH_MAX   8

struct columns {
	char text[256];
	const char *names[COLUMNS_MAX];
	int widths[COLUMNS_MAX];
	unsigned int count;
};

/* "-" for what is not there. */
static void cell(const json_t *value, char ret[CELL_BYTES])
{
	if (json_is_string(value)) {
		snprintf(ret, CELL_BYTES, "%s",
			 *json_string_value(value) ? json_string_value(value) : "-");
	} else if (json_is_integer(value)) {
		snprintf(ret, CELL_BYTES, "%lld", (long long)json_integer_value(value));
	} else if (json_is_boolean(value)) {
		snprintf(ret, CELL_BYTES, "%s", json_is_true(value) ? "on" : "off");
	} else {
		snprintf(ret, CELL_BYTES, "-");
	}
}

static void split(const char *text, struct columns *columns)
{
	char *at = columns->text, *word;

	snprintf(columns->text, sizeof(columns->text), "%s", text);
	while (columns->count < COLUMNS_MAX && (word = strsep(&at, " ")) != NULL) {
		if (*word) {
			columns->widths[columns->count] = (int)strlen(word);
			columns->names[columns->count++] = word;
		}
	}
}

void switch_print_table(const struct json_t *array, const char *text)
{
	struct columns columns = { .count = 0 };
	char one[CELL_BYTES];

	split(text, &columns);
	for (size_t i = 0; i < json_array_size(array); i++) {
		for (unsigned int j = 0; j < columns.count; j++) {
			cell(json_object_get(json_array_get(array, i), columns.names[j]), one);
			columns.widths[j] = (int)num_max((uint64_t)columns.widths[j], strlen(one));
		}
	}
	for (unsigned int j = 0; j < columns.count; j++) {
		printf("%-*s%s", j + 1 < columns.count ? columns.widths[j] : 0, columns.names[j],
		       j + 1 < columns.count ? "  " : "\n");
	}
	for (size_t i = 0; i < json_array_size(array); i++) {
		for (unsigned int j = 0; j < columns.count; j++) {
			cell(json_object_get(json_array_get(array, i), columns.names[j]), one);
			printf("%-*s%s", j + 1 < columns.count ? columns.widths[j] : 0, one,
			       j + 1 < columns.count ? "  " : "\n");
		}
	}
}

static void print_tree(const json_t *value, int depth)
{
	char one[CELL_BYTES];
	const char *name;
	json_t *member;

	if (depth > DEPTH_MAX) {
		return;
	}
	json_object_foreach((json_t *)value, name, member)
	{
		if (json_is_object(member)) {
			printf("%*s%s:\n", depth * 2, "", name);
			print_tree(member, depth + 1);
		} else if (json_is_array(member)) {
			printf("%*s%s:%s\n", depth * 2, "", name,
			       json_array_size(member) ? "" : " none");
			for (size_t i = 0; i < json_array_size(member); i++) {
				const json_t *item = json_array_get(member, i);

				if (json_is_object(item)) {
					printf("%*s- %zu\n", depth * 2, "", i + 1);
					print_tree(item, depth + 2);
				} else {
					cell(item, one);
					printf("%*s- %s\n", depth * 2, "", one);
				}
			}
		} else {
			cell(member, one);
			printf("%*s%s: %s\n", depth * 2, "", name, one);
		}
	}
}

void switch_print(const struct switch_verb *verb, const struct json_t *result)
{
	if (verb->list && json_is_array(json_object_get(result, verb->list))) {
		switch_print_table(json_object_get(result, verb->list), verb->columns);
	} else {
		print_tree(result, 0);
	}
}
