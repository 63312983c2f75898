/* SPDX-License-Identifier: MIT */
#include "dev/inspect.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#define VALUE_BYTES 256

void inspect_u64(struct inspect *at, const char *name, uint64_t value)
{
	json_object_set_new(at->object, name, json_integer((json_int_t)value));
}

void inspect_bool(struct inspect *at, const char *name, bool value)
{
	json_object_set_new(at->object, name, json_boolean(value));
}

void inspect_string(struct inspect *at, const char *name, const char *value)
{
	json_t *string = json_string(value);

	/* What is not UTF-8 (a file's name) is shown all the same. */
	json_object_set_new(at->object, name, string ? string : json_string("(not UTF-8)"));
}

void inspect_format(struct inspect *at, const char *name, const char *fmt, ...)
{
	char value[VALUE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	inspect_string(at, name, value);
}

struct inspect inspect_child(struct inspect *at, const char *name)
{
	json_t *child = json_object();

	json_object_set_new(at->object, name, child);
	return (struct inspect){ child };
}

struct inspect inspect_item(struct inspect *at, const char *name)
{
	json_t *array = json_object_get(at->object, name), *item = json_object();

	if (!array) {
		array = json_array();
		json_object_set_new(at->object, name, array);
	}
	json_array_append_new(array, item);
	return (struct inspect){ item };
}

struct inspect inspect_init(void)
{
	return (struct inspect){ json_object() };
}

void inspect_fini(struct inspect *at)
{
	json_decref(at->object);
	at->object = NULL;
}

size_t inspect_print(const struct inspect *at, char *ret_buf, size_t room)
{
	size_t bytes = json_dumpb(at->object, ret_buf, room, JSON_COMPACT);

	return bytes <= room ? bytes : 0;
}

void inspect_text(struct inspect *at, const char *name, const char *text, size_t bytes)
{
	json_t *tree = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);

	if (tree) {
		json_object_set_new(at->object, name, tree);
	}
}
