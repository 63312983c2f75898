/* SPDX-License-Identifier: MIT */
/*
 * What remote_worker.c (the connection) and remote_lend.c (devices go and come) share. Owner, thread
 * and pictures: remote_worker.h.
 */
#pragma once

#include "vmbus/bus_away.h"
#include "vmbus/journaled.h"
#include "vmbus/remote_socket.h"
#include "vmbus/remote_worker.h"

/* How long the control plane of a device must have been quiet; longer when it keeps coming home. */
#define LEND_QUIET_NS     5000000ULL
#define LEND_QUIET_NS_MAX 200000000ULL

/* Between attempts to lend what the host has refused. */
#define LEND_REFUSED_NS   1000000000ULL

/* How long people wait for what the host says of a device. */
#define INSPECT_LIMIT_NS  200000000ULL

#define LEND_WAITERS      4

enum lend_state { LEND_HOME, LEND_LENDING, LEND_AWAY, LEND_RETURNING };

struct remote_lending {
	struct vmbus_lending base;
	struct remote_worker *worker;
	struct vmbus_device *device;
	uint32_t number;
	char kind[REMOTE_KIND_BYTES], port[REMOTE_NAME_BYTES];
	uint8_t config[REMOTE_CONFIG_BYTES_MAX];
	size_t config_bytes;

	enum lend_state state;
	bool is_leaving; /* remote_worker_remove() */
	bool is_mute;    /* there is no twin: remote_mute.h */
	bool closes;     /* mute: the VSP over there is to see its close() when it is recalled */
	enum remote_recall_reason reason;
	struct loop_work *waiters[LEND_WAITERS];
	struct loop_work over; /* of one that leaves: it is home */
	struct loop_timer quiet;
	uint64_t quiet_ns;
	uint64_t lent_at_ns;

	/* not HOME; of a mute device the journal stays */
	struct vmbus_channel *channels[REMOTE_CHANNELS_MAX]; /* the primary first */
	unsigned int channel_count;
	struct journal journal;
	int journal_fd;
	uint8_t *journal_map;
	size_t journal_bytes;

	char *inspected; /* JSON, when it has come */
	size_t inspected_bytes;
	struct log_rate log_rate; /* the guest, or the host, can have it lent again and again */
	uint64_t lends, recalls, returns, kills, refusals, losses;
};

enum worker_state { WORKER_IDLE, WORKER_GREETING, WORKER_CHECKING, WORKER_READY };

struct remote_worker {
	struct vmbus_bus *bus;
	char path[108];
	char name[REMOTE_NAME_BYTES];
	uint8_t uuid[16];
	remote_event_fn *on_event;
	void *ctx;
	enum worker_state state;
	struct remote_socket socket;
	pid_t pid; /* of the host's process */
	int pidfd; /* -1 */
	struct loop_watch pid_watch;
	uint32_t check_serial; /* of the ping that makes it READY */
	uint32_t channels_max;
	struct loop_timer retry, ping;
	uint64_t retry_ns;
	uint64_t pong_at_ns; /* the last one, or when pings began */
	bool is_stalled;
	struct remote_lending *lendings[REMOTE_DEVICES_MAX];
	uint64_t connects;
	struct log_rate log_rate;
};

extern const struct vmbus_lending_ops remote_lending_ops;

/* ---- remote_lend.c ---- */

/* Lends it if it can be; else it is tried again when something changes. */
void remote_lend_try(struct remote_lending *lending);
/* After so long, unless it is touched. */
void remote_lend_later(struct remote_lending *lending, uint64_t ns);
/* It comes home: the rings are mapped, the twin restored. Not HOME. */
void remote_lend_home(struct remote_lending *lending, enum remote_event event, uint32_t retry_ms,
		      const char *text);
/* Messages about a device: 0 or -EPROTO. */
MUST_CHECK int remote_lend_on_message(struct remote_lending *lending,
				      const struct remote_message *message);
void remote_lend_send_recall(struct remote_lending *lending, enum remote_recall_reason reason);
void remote_lend_free(struct remote_lending *lending);

/* ---- remote_worker.c ---- */

/* Something is away: pings begin. */
void remote_worker_start_pings(struct remote_worker *worker);
