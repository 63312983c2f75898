/* SPDX-License-Identifier: MIT */
/*
 * What tests of golden states have in common: finding the files, loading each into a paused bus, and
 * making one.
 *
 *   NAME_test DIRECTORY      loads each DIRECTORY/NAME-*.state
 *   NAME_test --write FILE   saves such a state as this version does: for a new golden file, when the
 *                            saved form has changed and a release is made
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "guest/fake_guest.h"
#include "state/load.h"
#include "state/save.h"
#include "vmbus/bus.h"

struct golden {
	const char *name; /* "netvsp" */
	/* One file's state; golden_load() is called within. */
	void (*load)(const char *path);
	/* golden_write() is called within. */
	void (*make)(const char *path);
	const char *where; /* set by golden_main() */
};

static struct golden golden;

/* The bus, where nothing of the state is open yet, is paused and has the state afterwards. */
static inline void golden_load(struct fake_guest *guest, const char *path)
{
	static uint8_t bytes[1 << 20];
	struct load load;
	size_t length;
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	length = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	/* A process that takes a machine over has heard nothing of its guest. */
	fake_guest_unload(guest);
	assert_int_equal(bus_pause(fake_guest_bus(guest)), 0);
	load_init(&load, bytes, length);
	assert_int_equal(bus_load(fake_guest_bus(guest), &load), 0);
}

/* The bus is paused. */
static inline void golden_write(struct fake_guest *guest, const char *path)
{
	const uint8_t *bytes;
	struct save save;
	size_t length;
	FILE *f;

	save_init(&save);
	bus_save(fake_guest_bus(guest), &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, length, f), length);
	assert_int_equal(fclose(f), 0);
	save_fini(&save);
}

static inline bool golden_is_one(const char *file)
{
	size_t length = strlen(file), prefix = strlen(golden.name);

	return strncmp(file, golden.name, prefix) == 0 && file[prefix] == '-' && length > 6 &&
	       strcmp(file + length - 6, ".state") == 0;
}

static inline void each_golden_state_loads(void **state)
{
	unsigned int count = 0;
	struct dirent *entry;
	char path[4096];
	DIR *dir = opendir(golden.where);

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (golden_is_one(entry->d_name)) {
			snprintf(path, sizeof(path), "%s/%s", golden.where, entry->d_name);
			golden.load(path);
			count++;
		}
	}
	closedir(dir);
	assert_true(count > 0);
}

static inline void golden_make(void **state)
{
	(void)state;
	golden.make(golden.where);
}

static inline int golden_main(struct golden what, int argc, char **argv)
{
	const struct CMUnitTest load[] = { cmocka_unit_test(each_golden_state_loads) };
	const struct CMUnitTest make[] = { cmocka_unit_test(golden_make) };

	golden = what;
	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		golden.where = argv[2];
		return cmocka_run_group_tests_name(what.name, make, NULL, NULL);
	}
	if (argc != 2) {
		fprintf(stderr, "usage: %s_test DIRECTORY | --write FILE\n", what.name);
		return 1;
	}
	golden.where = argv[1];
	return cmocka_run_group_tests_name(what.name, load, NULL, NULL);
}
