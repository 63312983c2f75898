/* SPDX-License-Identifier: MIT */
/*
 * What the extensions that come with Tabique have in common: they ask again and again until the switch is
 * there, also when it has gone in between, and end in order on SIGINT and SIGTERM.
 *
 *   thread  the program's only one
 */
#pragma once

#include "base/diag.h"
#include "ext/ext_client.h"

/* What it does with a frame: answers it. */
typedef void ext_program_fn(void *ctx, struct ext_client *client, const struct ext_frame *frame);

struct ext_program {
	const char *name;  /* "tabique-ext-dns" */
	const char *where; /* the switch's name or its socket */
	struct ext_client_config client;
	ext_program_fn *on_frame;
	void *ctx;
	bool once; /* ends with the switch */
};

/* Exit status: 0 a signal, or `once` and the switch has gone; 1: the switch said no; 2: no switch, `once`. */
int ext_program_run(const struct ext_program *program);

/* A number within [min, max], or false. */
bool ext_program_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret);
