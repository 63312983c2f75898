/* SPDX-License-Identifier: MIT */
/*
 * Our own mistakes.
 *
 * check() guards invariants of this program: when one is broken the process says where and ends, in
 * every build. It is never used on anything that a guest, a user or the host decides; those get
 * values (see CONTRIBUTING.md, errors).
 */
#pragma once

/* Logs "file:line: function: broken: condition" and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *func, const char *cond);

#define check(cond)                                                                                \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0)) {                                                \
			check_failed(__FILE__, __LINE__, __func__, #cond);                         \
		}                                                                                  \
	} while (0)

/* The result may not be dropped on the floor. */
#define MUST_CHECK __attribute__((warn_unused_result))
