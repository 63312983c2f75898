/* SPDX-License-Identifier: MIT */
/*
 * A host process for tests: the test program runs itself again ("host MODE", the listening socket as
 * descriptor 3), so that nothing of the worker's is inherited. It serves echo, and NICs ("net") on a
 * wire that gives back what is sent, on a loop of its own thread, until SIGTERM: then it gives everything back, as for an upgrade, and ends.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "vmbus/device.h"

/*
 * A VSP with sub-channels: it completes each packet with its own payload, and offers as many further
 * channels as the second byte says when the first is 'S'. Kind "fan"; no state but that.
 */
#define RIG_FAN_SUBS 3
#define RIG_FAN_TYPE GUID(0x5a0c3d1e, 0x77b2, 0x4c19, 0x8e4f, 0x0b6a91d2c3e4)
struct vmbus_device *rig_fan_create(const char *name);
void rig_fan_destroy(struct vmbus_device *device);
/* All its channels live on this loop, or on both in turn. */
void rig_fan_set_loops(struct vmbus_device *device, struct loop *loop, struct loop *other);

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
