/* SPDX-License-Identifier: MIT */
/*
 * What `tabique switch` is made of: the table of its verbs, and how answers are shown. Exit status: 0
 * done; 1 the switch said no, or nonsense; 2 it cannot be reached, or the host cannot.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct json_t;

struct switch_verb {
	const char *name; /* as in the request: "port add" */
	const char *args; /* behind the switch's name */
	const char *help; /* paragraphs for --help */
	/* What is shown of the answer: a list in it as a table, or (list NULL) all of it as lines. */
	const char *list;
	const char *columns; /* "name vlan link": members, in order */
	bool is_quiet;       /* an empty answer is no line */
};

extern const struct switch_verb switch_verbs[];
extern const size_t switch_verb_count;

/* The answer as people read it, on standard output. */
void switch_print(const struct switch_verb *verb, const struct json_t *result);

/* A table of an array's objects: the members that columns names. */
void switch_print_table(const struct json_t *array, const char *columns);
