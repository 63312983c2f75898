/* SPDX-License-Identifier: MIT */
/*
 * The tree that `tabique ctl PATH inspect` prints: objects, numbers and strings. A thin face over
 * jansson, so that devices need not know who asks. Failed allocations leave a field out.
 *
 *   thread  the thread of the object that is asked
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* jansson's json_t. */
struct json_t;
struct inspect {
	struct json_t *object; /* borrowed */
};

void inspect_u64(struct inspect *at, const char *name, uint64_t value);
void inspect_bool(struct inspect *at, const char *name, bool value);
void inspect_string(struct inspect *at, const char *name, const char *value);
__attribute__((format(printf, 3, 4))) void inspect_format(struct inspect *at, const char *name,
							  const char *fmt, ...);

/* A new object below; its field is `name`. */
struct inspect inspect_child(struct inspect *at, const char *name);

/* A new object appended to the array `name`, which is made when it is not there. */
struct inspect inspect_item(struct inspect *at, const char *name);

/* ---- a tree that travels as text, between processes ---- */

/* A tree of one's own; released with inspect_fini(). Its object is NULL without memory. */
struct inspect inspect_init(void);
void inspect_fini(struct inspect *at);

/* As JSON into buf, without an end; the bytes, or 0 when it does not fit. */
size_t inspect_print(const struct inspect *at, char *ret_buf, size_t room);

/* JSON from somewhere else, which is hostile, as the field `name`; what is none is left out. */
void inspect_text(struct inspect *at, const char *name, const char *text, size_t bytes);
