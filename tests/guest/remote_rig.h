/* SPDX-License-Identifier: MIT */
/*
 * A host process for tests: the test program runs itself again ("host MODE", the listening socket as
 * descriptor 3), so that nothing of the worker's is inherited. It serves echo, on a loop of its own
 * thread, until SIGTERM: then it gives everything back, as for an upgrade, and ends.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Modes. */
#define REMOTE_RIG_SERVE  "serve"
#define REMOTE_RIG_REFUSE "refuse" /* create() fails */

/* main() of a program that may be its own host: whether it was, and its status. */
bool remote_rig_is_host(int argc, char **argv, int *ret_status);

/* A listening socket at a new path in a new directory under /tmp. */
int remote_rig_listen(char *ret_path, size_t room);
void remote_rig_unlink(const char *path);

pid_t remote_rig_start(int listen_fd, const char *mode);
/* Waits for its end; its wait status. */
int remote_rig_wait(pid_t pid);

/* Whether the process maps guest memory. */
bool remote_rig_maps_ram(pid_t pid);
