/* SPDX-License-Identifier: MIT */
/* For a test of switches' files: a directory of its own for them, as group set-up and tear-down. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

static char sw_dir[64];

static inline int sw_dir_make(void **state)
{
	(void)state;
	snprintf(sw_dir, sizeof(sw_dir), "/tmp/tabique-sw-XXXXXX");
	return mkdtemp(sw_dir) && setenv("TABIQUE_SWITCH_DIR", sw_dir, 1) == 0 ? 0 : -1;
}

static inline int sw_dir_remove(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", sw_dir);
	return system(command);
}
