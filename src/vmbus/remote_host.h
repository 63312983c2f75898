/* SPDX-License-Identifier: MIT */
/*
 * Serves devices of other processes' guests: the host's half of vmbus/remote_worker.h. It accepts
 * workers on a listening socket, maps their guests' memory and makes a VSP for each device that is
 * lent, by a service of that kind.
 *
 * The life of a device here:
 *
 *   LEND, GPADLs, CHANNELs, START ─► create ─► restored from the journal ─► started
 *        RECALL, return, worker gone ─► stop … done ─► channels leave ─► destroy ─► RETURNED
 *
 *   owner   the host process's assembly   thread  the control loop; each channel on its VSP's loops
 *   spec    docs/remote-vsp.md
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/diag.h"
#include "dev/inspect.h"
#include "loop/loop.h"
#include "proto/remote.h"
#include "vmbus/device.h"

struct remote_host;

/* What is lent, and by whom. Borrowed for the call. */
struct remote_loan {
	const char *kind, *port;
	const char *partition; /* its name, as it says */
	uint8_t uuid[16];
	uid_t uid; /* of the worker's process */
	pid_t pid;
	uint32_t vps;           /* virtual processors of the partition */
	unsigned int channels;  /* open now: the primary and sub-channels 1 to channels - 1 */
	uint32_t vmbus_version; /* VMBUS_VERSION_* */
	const struct vmbus_offer *offer;
	const uint8_t *config; /* fields of state/save.h, unchecked */
	size_t config_bytes;
};

/* Control loop, all of it. */
struct remote_service {
	const char *kind; /* "net" */

	/*
	 * Makes a VSP: fills ops, loop, sub_loops, sub_channels_max; the host fills the offer. 0, or a
	 * negative errno with a sentence for the worker (its first REMOTE_NAME_BYTES - 1 bytes).
	 */
	int (*create)(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		      struct diag *reterr);

	/* Optional: all is restored, packets flow. */
	void (*started)(void *ctx, struct vmbus_device *device);

	/*
	 * Optional: no packet is taken any more; what of the VSP's I/O touches guest memory or would
	 * call it is to end, and then done is to be posted, once, on the control loop.
	 */
	void (*stop)(void *ctx, struct vmbus_device *device, struct loop_work *done);

	/* All channels have left (or none was ever restored). Frees it. */
	void (*destroy)(void *ctx, struct vmbus_device *device);

	/* May this worker's user have this port? Optional: all may. */
	bool (*may)(void *ctx, const struct remote_loan *loan, struct diag *reterr);
};

struct remote_host_config {
	struct loop *control;
	int listen_fd; /* SOCK_SEQPACKET, listening, non-blocking; taken on success */
	const struct remote_service *services; /* borrowed */
	size_t service_count;
	void *ctx;
	/* 0: the defaults below. */
	uint32_t workers_max, devices_max, mappings_max, lends_per_second, fds_max;
};

/* Connections; devices of one; mappings of one device's rings (scattered pages); LENDs of one. */
#define REMOTE_HOST_WORKERS_MAX         64
#define REMOTE_HOST_DEVICES_MAX         REMOTE_DEVICES_MAX
#define REMOTE_HOST_MAPPINGS_MAX        4096
#define REMOTE_HOST_LENDS_PER_SECOND    50
/*
 * Descriptors of one worker: its connection, memory, interrupts, journals, doorbells; beyond them a
 * device is refused with -EMFILE. All workers together leave the process FDS_OWN: with a lower
 * RLIMIT_NOFILE each has less, and where that would be less than FDS_LEAST there are fewer workers.
 */
#define REMOTE_HOST_FDS_MAX             512U
#define REMOTE_HOST_FDS_LEAST           96U
#define REMOTE_HOST_FDS_OWN             256U
/* Of one worker: each looks at channels on their loops, where others are served. More are told nothing. */
#define REMOTE_HOST_INSPECTS_PER_SECOND 16U

/*
 * Opens /proc/self/fd, which it needs to tell what descriptors it is sent (later by readlinkat() alone):
 * before a chroot. 0, -ENOMEM, or what opening that said.
 */
MUST_CHECK int remote_host_create(const struct remote_host_config *config,
				  struct remote_host **ret);

/* NULL is fine. After remote_host_return_all() is done. */
void remote_host_destroy(struct remote_host *host);

/* Gives one device back, with REMOTE_RETURN_REMOVED as a rule; the service's destroy() follows. */
void remote_host_return(struct remote_host *host, struct vmbus_device *device,
			enum remote_return_reason reason, const char *text);

/*
 * Gives everything back, takes nothing any more, and ends the connections; done (on the control
 * loop) when no worker's memory is mapped. The listening socket stays open until destroy: whoever
 * connects waits in its backlog.
 */
void remote_host_return_all(struct remote_host *host, enum remote_return_reason reason,
			    uint32_t retry_ms, struct loop_work *done);

/* The device's loan (partition, port …) for people and verbs; valid until its destroy(). */
const struct remote_loan *remote_host_loan(const struct remote_host *host,
					   const struct vmbus_device *device);

void remote_host_inspect(struct remote_host *host, struct inspect *at);
