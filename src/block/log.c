/* SPDX-License-Identifier: MIT */
/*
 * A layer that writes a line for each request. Two buffers: one is filled while the other is on its way
 * to the file.
 *
 *   log_on_done ──► log_append ──► filling ──(end of round)──► on_flush ──► writing ──► on_written
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/layers.h"
#include "block/shadow.h"

#define LOG_SHADOWS      256 /* requests at once; others wait */
#define LOG_BUFFER_BYTES 65536U
#define LOG_LINE_BYTES   160U

struct log_buffer {
	uint32_t used, written;
	char text[LOG_BUFFER_BYTES];
};

struct block_log {
	struct block block;
	struct block_shadows shadows;
	int fd; /* O_APPEND: twins share the file, line by line */
	struct log_buffer *buffers;
	struct log_buffer *filling, *writing; /* writing: NULL when nothing is on its way */
	uint64_t dropped;
	uint64_t
		telling; /* how many the last line of what is on its way tells of; 0: it does not */
	struct loop_work flush;
	struct loop_request ring;
	bool is_quiescing;
};

static const char *const log_op_names[BLOCK_OPS] = {
	[BLOCK_READ] = "read",       [BLOCK_WRITE] = "write",         [BLOCK_FLUSH] = "flush",
	[BLOCK_DISCARD] = "discard", [BLOCK_WRITE_ZEROES] = "zeroes", [BLOCK_RESIZE] = "resize",
	[BLOCK_MAP] = "map",
};

static void log_advance(struct block_log *log);

static void log_put(struct block_log *log, const char *line, size_t bytes)
{
	struct log_buffer *to = log->filling;

	memcpy(to->text + to->used, line, bytes);
	to->used += (uint32_t)bytes;
	loop_defer(log->block.loop, &log->flush);
}

static size_t log_clock(char *line)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(line, LOG_LINE_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(line + n, LOG_LINE_BYTES - n, ".%06ldZ ", now.tv_nsec / 1000);
}

static void log_append(struct block_log *log, const struct block_request *request, uint64_t ns,
		       int result)
{
	const char *error = result ? strerrorname_np(-result) : "ok";
	char line[LOG_LINE_BYTES];
	size_t n;

	/* There is always room for the line that counts those without. */
	if (log->filling->used + 2 * LOG_LINE_BYTES > LOG_BUFFER_BYTES) {
		log->dropped++;
		return;
	}
	n = log_clock(line);
	n += (size_t)snprintf(
		line + n, sizeof(line) - n, "%s%s %" PRIu64 " %" PRIu64 " %s %" PRIu64 "\n",
		log_op_names[request->op], request->op == BLOCK_WRITE && request->fua ? "+fua" : "",
		request->offset_bytes, request->length_bytes, error ? error : "error", ns / 1000);
	log_put(log, line, n);
}

/* The next piece of what is on its way. */
static void log_write(struct block_log *log)
{
	struct log_buffer *from = log->writing;
	struct io_uring_sqe *sqe = loop_sqe(log->block.loop, &log->ring);

	io_uring_prep_write(sqe, log->fd, from->text + from->written, from->used - from->written,
			    (uint64_t)-1);
}

static void log_on_written(struct loop_request *ring, int result)
{
	struct block_log *log = container_of(ring, struct block_log, ring);
	struct log_buffer *from = log->writing;

	if (result == -EINTR || result == -EAGAIN) {
		log_write(log);
		return;
	}
	if (result > 0) {
		from->written += (uint32_t)result;
		if (from->written < from->used) {
			log_write(log);
			return;
		}
	} else {
		/* A full host, say: the requests matter more than their log. */
		log->dropped += log->telling - (log->telling > 0);
		for (uint32_t i = from->written; i < from->used; i++) {
			log->dropped += from->text[i] == '\n';
		}
	}
	from->used = from->written = 0;
	log->writing = NULL;
	log_advance(log);
}

static void log_advance(struct block_log *log)
{
	char line[LOG_LINE_BYTES];
	size_t n;

	if (log->writing) {
		return;
	}
	if (log->filling->used == 0) {
		if (log->is_quiescing) {
			log->is_quiescing = false;
			block_quiesced(&log->block);
		}
		return;
	}
	log->telling = log->dropped;
	if (log->dropped > 0) {
		n = log_clock(line);
		n += (size_t)snprintf(line + n, sizeof(line) - n, "dropped %" PRIu64 "\n",
				      log->dropped);
		memcpy(log->filling->text + log->filling->used, line, n);
		log->filling->used += (uint32_t)n;
		log->dropped = 0;
	}
	log->writing = log->filling;
	log->filling = log->filling == &log->buffers[0] ? &log->buffers[1] : &log->buffers[0];
	log_write(log);
}

static void log_on_flush(struct loop_work *work)
{
	log_advance(container_of(work, struct block_log, flush));
}

static void log_submit(struct block *block, struct block_request *request);

static void log_on_done(struct block_request *request, int result)
{
	struct block_shadow *shadow = container_of(request, struct block_shadow, request);
	struct block_request *whole = shadow->whole, *waited;
	struct block_log *log = container_of(whole->at, struct block_log, block);

	log_append(log, whole, loop_now_ns() - shadow->context, result);
	waited = block_shadow_put(&log->shadows, shadow);
	block_complete(whole, result);
	if (waited) {
		log_submit(&log->block, waited);
	}
}

static void log_submit(struct block *block, struct block_request *request)
{
	struct block_log *log = container_of(block, struct block_log, block);
	struct block_shadow *shadow = block_shadow_get(&log->shadows, request);

	if (shadow) {
		shadow->context = loop_now_ns();
		shadow->request.done = log_on_done;
		block_submit(block->lower, &shadow->request);
	}
}

static void log_quiesce(struct block *block)
{
	struct block_log *log = container_of(block, struct block_log, block);

	log->is_quiescing = true;
	log_advance(log);
}

static void log_stop(struct block *block)
{
	loop_cancel(block->loop, &container_of(block, struct block_log, block)->flush);
}

static void log_close(struct block *block)
{
	struct block_log *log = container_of(block, struct block_log, block);

	block_shadows_fini(&log->shadows);
	free(log->buffers);
	if (log->fd >= 0) {
		close(log->fd);
	}
	free(log);
}

static int log_twin(struct block *block, struct block **ret);

static const struct block_ops log_ops = {
	.name = "log",
	.submit = log_submit,
	.quiesce = log_quiesce,
	.stop = log_stop,
	.twin = log_twin,
	.close = log_close,
};

/* Takes both, also on failure. */
static int log_create(struct block *lower_take, int fd_take, struct block **ret)
{
	struct block_log *log = fault_alloc(1, sizeof(*log));

	if (!log) {
		close(fd_take);
		block_close(lower_take);
		return -ENOMEM;
	}
	block_layer_init(&log->block, &log_ops, lower_take);
	log->fd = fd_take;
	log->buffers = fault_alloc(2, sizeof(*log->buffers));
	if (!log->buffers || block_shadows_init(&log->shadows, LOG_SHADOWS, false)) {
		block_close(&log->block);
		return -ENOMEM;
	}
	log->filling = &log->buffers[0];
	log->ring.fn = log_on_written;
	loop_work_init(&log->flush, log_on_flush);
	*ret = &log->block;
	return 0;
}

static int log_twin(struct block *block, struct block **ret)
{
	struct block *lower;
	int err = block_twin(block->lower, &lower), fd;

	if (err) {
		return err;
	}
	fd = fcntl(container_of(block, struct block_log, block)->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		err = -errno;
		block_close(lower);
		return err;
	}
	return log_create(lower, fd, ret);
}

int block_log_create(struct block *lower_take, const char *path, struct block **ret,
		     struct diag *reterr)
{
	/* Without O_NONBLOCK a FIFO would wait for its other end. */
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600), err;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		block_close(lower_take);
		return diag_set(reterr, -EINVAL, "log file %s is no regular file: name one", path);
	}
	if (fd < 0) {
		err = -errno;
		block_close(lower_take);
		return diag_set(reterr, err, "log file %s cannot be opened: %s", path,
				strerror(-err));
	}
	err = log_create(lower_take, fd, ret);
	return err ? diag_set(reterr, err, "no memory for log file %s", path) : 0;
}
