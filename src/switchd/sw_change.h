/* SPDX-License-Identifier: MIT */
/*
 * The verbs that change a switch's configuration, or tell it, as transformations: nothing here runs.
 *
 * A request is a JSON object: the verb's keys, and `verb`, `id` and `switch`, which are not looked at.
 *
 *   owner   the caller   thread  any one
 *   spec    docs/control-socket.md, tabique-switch(1)
 */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/diag.h"
#include "switchd/sw_config.h"

struct json_t;

struct sw_change_verb {
	const char *name; /* "port add" */
	const char *help; /* one line */
};
extern const struct sw_change_verb sw_change_verbs[];
extern const size_t sw_change_verb_count;

/*
 * What the verb makes of config, which stays as it is: *ret is a new one, whole and checked, or NULL when
 * nothing was to be changed (lists). *ret_result is what to answer, a new reference. -EINVAL, -ENOENT,
 * -EEXIST, -ENOSPC, each with a sentence; -ENOMEM; -ENOSYS: no such verb.
 */
MUST_CHECK int sw_change(const struct sw_config *config, const char *verb,
			 const struct json_t *request, struct sw_config **ret,
			 struct json_t **ret_result, struct diag *reterr);
