/* SPDX-License-Identifier: MIT */
/*
 * The data process of a switch: everything of src/vswitch, net, vsp and vmbus put together. It lives
 * between two messages of its keeper (keeper.h).
 *
 *   owner   the program tabique-switch   thread  the control loop: who calls sw_run()
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct sw_run_config {
	const char *name;
	int keeper_fd;
	uid_t uid; /* whose it becomes when it is root's */
	gid_t gid;
};

/* Serves until the keeper, or a verb, ends it: the exit status of the program. */
int sw_run(const struct sw_run_config *config);
