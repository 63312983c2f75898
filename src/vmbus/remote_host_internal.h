/* SPDX-License-Identifier: MIT */
/*
 * What remote_host.c (workers come and go) and remote_loan.c (their devices) share. Owner, thread and
 * pictures: remote_host.h.
 */
#pragma once

#include "base/list.h"
#include "loop/listener.h"
#include "vmbus/channel_internal.h"
#include "vmbus/journaled.h"
#include "vmbus/remote_host.h"
#include "vmbus/remote_socket.h"
#include "vmbus/remote_synic.h"

struct remote_peer;

/* COMING: LEND has come, START not yet. STOPPING: until it is given back. */
enum loan_state { LOAN_COMING, LOAN_SERVED, LOAN_STOPPING };

/* A channel as CHANNEL describes it. */
struct loan_channel {
	uint32_t relid, ring_gpadl, downstream_page;
	uint16_t index, flags;
	uint8_t user_data[120];
	int doorbell_fd; /* ours until the channel is made */
};

struct loan {
	struct remote_peer *peer;
	uint32_t number;
	enum loan_state state;
	struct remote_loan info;
	char kind[REMOTE_KIND_BYTES], port[REMOTE_NAME_BYTES];
	struct vmbus_offer offer;
	uint8_t config[REMOTE_CONFIG_BYTES_MAX];

	/* until START; what was wrong is told then */
	int error;
	struct diag why;
	unsigned int channels_expected, gpadls_expected;
	struct loan_channel described[REMOTE_CHANNELS_MAX];
	unsigned int described_count;
	uint32_t gpadls[REMOTE_GPADLS_MAX]; /* ids that are in the peer's table */
	unsigned int gpadl_count;
	unsigned int fds; /* of the peer's budget */

	int journal_fd; /* -1: refused */
	uint8_t *journal_map;
	size_t journal_bytes;
	struct journal journal;

	const struct remote_service *service;
	struct vmbus_device *device;
	struct vmbus_channel *channels[REMOTE_CHANNELS_MAX]; /* the primary first */
	unsigned int channel_count;

	/* STOPPING */
	struct loop_work stopped; /* by the service */
	enum remote_return_reason reason;
	uint32_t retry_ms;
	uint32_t closes[REMOTE_CHANNELS_MAX]; /* relids whose close() the VSP sees */
	unsigned int close_count, closing;
};

struct remote_peer {
	struct remote_host *host;
	struct list link;
	struct remote_socket socket;
	uid_t uid;
	pid_t pid;
	bool is_greeted, is_over;
	struct loop_timer greeting; /* until it has said HELLO */
	struct loop_work over;      /* nothing of it is served: free it */
	struct loop_timer last_words;
	unsigned int last_tries;
	char name[REMOTE_NAME_BYTES];
	uint8_t uuid[16];
	uint32_t vps;
	struct mem *mem;
	const struct remote_board *board; /* or NULL */
	int sint_fds[REMOTE_VPS_MAX];
	unsigned int sint_count;
	unsigned int fds; /* how many it has: at most the host's fds_max */
	struct remote_synic synic;
	struct gpadl_table *gpadls;
	struct loan *loans[REMOTE_DEVICES_MAX];
	uint64_t window_ns; /* of lends */
	uint32_t lends_in_window;
	uint64_t inspect_window_ns;
	uint32_t inspects_in_window;
	uint64_t lends, refusals;
};

struct remote_host {
	struct remote_host_config config;
	struct listener listener;
	struct list peers;
	unsigned int peer_count;
	int proc_fd; /* /proc/self/fd */
	bool is_returning;
	enum remote_return_reason reason;
	uint32_t retry_ms;
	struct loop_work *returned;
	uint64_t accepted, turned_away;
	struct log_rate log_rate;
};

/* ---- remote_loan.c ---- */

/* Messages about a device; fds as remote_socket_ops.on_message. 0 or -EPROTO. */
MUST_CHECK int loan_on_message(struct remote_peer *peer, const struct remote_message *message,
			       int *fds);

/* The worker is not told any more (is_over), or it is, with the reason. */
void loan_stop(struct loan *loan, enum remote_return_reason reason, uint32_t retry_ms,
	       const char *text);

void loan_inspect(const struct loan *loan, struct inspect *at);

/* ---- remote_host.c ---- */

/* A loan is gone: the peer may be over. */
void remote_peer_let_go(struct remote_peer *peer);
/* Whether it may have so many more; then they are counted, until they are given back. */
MUST_CHECK bool remote_peer_take_fds(struct remote_peer *peer, unsigned int count);
void remote_peer_give_fds(struct remote_peer *peer, unsigned int count);
bool remote_host_is_eventfd(const struct remote_host *host, int fd);
