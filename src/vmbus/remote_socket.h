/* SPDX-License-Identifier: MIT */
/*
 * A connection between a worker and a host process: whole messages both ways, with descriptors, never
 * blocking.
 *
 *   open ── anything wrong, or hang_up() ─► hung up (nothing is sent; what comes is dropped) ─► ended
 *     └──── the other side has closed, or is gone ─────────────────────────────────────────────►
 *
 *   owner   remote_worker, remote_host   thread  the control loop
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/list.h"
#include "loop/loop.h"
#include "vmbus/remote_wire.h"

/* What may wait to be sent; beyond that the other side does not read, and the connection ends. */
#define REMOTE_SOCKET_QUEUE_MESSAGES 1024U
#define REMOTE_SOCKET_QUEUE_BYTES    (16U << 20)

/* Messages that are taken at a time, before others on the loop have their turn. */
#define REMOTE_SOCKET_ROUND          64

struct remote_socket_ops {
	/*
	 * One message. Descriptors that the callee keeps it replaces by -1, the others are closed. pid:
	 * the process that sent it, 0 if unknown (see credentials). 0, or an error: it hangs up.
	 */
	int (*on_message)(void *ctx, const struct remote_message *message, int *fds,
			  unsigned int fd_count, pid_t pid);

	/*
	 * It hung up by itself: the other side has sent nonsense (-EPROTO), does not read (-ENOBUFS), or
	 * an errno. on_ended() follows when the other side has closed. Optional.
	 */
	void (*on_broken)(void *ctx, int err);

	/* The other side has closed or is gone. The last call. */
	void (*on_ended)(void *ctx);

	/* Hanging up is not to be seen over there: only closing is. */
	bool hangs_up_silently;
};

struct remote_socket {
	struct loop *loop;
	const struct remote_socket_ops *ops;
	void *ctx;
	int fd; /* -1: not open */
	struct loop_watch watch;
	struct loop_work go_on;
	struct list queue;
	unsigned int queued;
	size_t queued_bytes;
	uint32_t serial;
	int send_error;
	bool is_hung_up, is_ended, is_taking;
	uint64_t messages_in, messages_out;
	uint8_t buf[REMOTE_MESSAGE_BYTES_MAX + 8];
};

/* fd: connected, non-blocking; taken on success. 0 or -ENOMEM. */
MUST_CHECK int remote_socket_open(struct remote_socket *socket, struct loop *loop, int fd_take,
				  const struct remote_socket_ops *ops, void *ctx);

/* Not inside its calls. No-op when it is not open. */
void remote_socket_close(struct remote_socket *socket);

bool remote_socket_is_open(const struct remote_socket *socket);

/*
 * Sends, or queues it; its serial is set unless it is given. Descriptors are borrowed for the call.
 * When it cannot be sent the socket hangs up, and says so by on_broken(), later.
 */
void remote_socket_send(struct remote_socket *socket, struct remote_message *message,
			const int *fds, unsigned int fd_count);

/* Nothing is sent any more; the other side sees the end, unless hangs_up_silently. */
void remote_socket_hang_up(struct remote_socket *socket);

/* Waits for at most so long until something has come, and takes it. Not inside its calls. */
void remote_socket_wait(struct remote_socket *socket, int timeout_ms);
