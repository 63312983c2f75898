/* SPDX-License-Identifier: MIT */
/*
 * Foreign formats (qcow2, vmdk, vdi…): an installed qemu-nbd serves the file, and we are its only
 * client. The parser of a file that nobody here wrote runs in a process of its own.
 *
 *   us ──► network disk (nbd_open.c) ──► socket without a name ──► qemu-nbd ──► the file
 *
 * The socket is made and listened on here and handed over already open (LISTEN_FDS, as service
 * managers do). So there is no moment to wait for: we can connect before the child has begun, and when
 * it fails, what it had not accepted breaks at once. Its path is gone before the child starts; we
 * reach it through a descriptor, so that nobody else can.
 *
 * The child ends when the disk is closed, and when the thread that opened it ends (PR_SET_PDEATHSIG), also
 * by kill -9: open it on a thread that lives as long as the disk, which the control thread does.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/guid.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/nbd_internal.h"

/* Clients at once: the disk and its twins, and one that is about to replace another. */
#define QEMU_CLIENTS_MAX 32

#define QEMU_FORMAT_MAX  32

/* What it says on its standard error; the first line is what counts. */
#define QEMU_WORDS_BYTES 300

/* How long it has to write its caches back and end when its last client has gone. */
#define QEMU_END_MS      10000

/* How long a child that could not serve has to say why. */
#define QEMU_WHY_MS      2000

struct qemu {
	struct block block; /* over the network disk */
	pid_t pid;          /* 0: a twin, which has none */
	int socket_fd;      /* O_PATH: what its clients connect to */
	int words_fd;       /* the reading end of its standard error */
	char format[QEMU_FORMAT_MAX];
};

/* ---- the child ------------------------------------------------------------------------------------- */

/* All made before fork(), after which nothing may be allocated. Descriptors are above those it gets. */
struct qemu_child {
	const char *program;
	const char *argv[16];
	char **envp;
	char listen_pid[32]; /* its process number goes to the end */
	int listen_fd, words_fd, null_fd;
};

/* What to try, best first: not every file system has direct I/O, nor every host io_uring. */
struct qemu_mode {
	const char *cache, *aio;
};
static const struct qemu_mode qemu_modes[] = {
	{ "--cache=none", "--aio=io_uring" },
	{ "--cache=none", "--aio=threads" },
	{ "--cache=writeback", "--aio=threads" },
};

static _Noreturn void child_run(struct qemu_child *child, pid_t parent)
{
	char *digit = child->listen_pid + strlen(child->listen_pid);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) {
		_exit(1); /* too late to be told */
	}
	for (pid_t pid = getpid(); pid > 0; pid /= 10) {
		*--digit = (char)('0' + pid % 10);
	}
	/* dup2() clears close-on-exec; 3 is where a service looks for its first socket. */
	if (dup2(child->null_fd, 0) >= 0 && dup2(child->null_fd, 1) >= 0 &&
	    dup2(child->words_fd, 2) >= 0 && dup2(child->listen_fd, 3) >= 0) {
		execve(child->program, (char *const *)(uintptr_t)child->argv, child->envp);
	}
	_exit(126);
}

/* Our environment with the words that hand a socket over. */
static char **child_environment(struct qemu_child *child)
{
	static char listen_fds[] = "LISTEN_FDS=1";
	size_t count = 0, kept = 0;
	char **envp;

	while (environ[count]) {
		count++;
	}
	envp = fault_alloc(count + 3, sizeof(*envp));
	if (!envp) {
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		if (strncmp(environ[i], "LISTEN_", 7) != 0) {
			envp[kept++] = environ[i];
		}
	}
	strcpy(child->listen_pid, "LISTEN_PID=0000000000");
	envp[kept++] = listen_fds;
	envp[kept] = child->listen_pid;
	return envp;
}

/* ---- finding it ------------------------------------------------------------------------------------- */

static int qemu_find(char *ret_program, size_t bytes, struct diag *reterr)
{
	const char *named = getenv("TABIQUE_QEMU_NBD");
	const char *path = getenv("PATH");

	if (named && *named) {
		if ((size_t)snprintf(ret_program, bytes, "%s", named) < bytes &&
		    access(named, X_OK) == 0) {
			return 0;
		}
		return diag_set(reterr, -ENOENT,
				"TABIQUE_QEMU_NBD=%s is no program that can be run: give it the "
				"whole path of qemu-nbd",
				named);
	}
	for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
		size_t length = strcspn(at, ":");

		if (length > 0 &&
		    (size_t)snprintf(ret_program, bytes, "%.*s/qemu-nbd", (int)length, at) <
			    bytes &&
		    access(ret_program, X_OK) == 0) {
			return 0;
		}
		at += length + (at[length] == ':');
	}
	return diag_set(reterr, -ENOENT,
			"qemu-nbd is not installed, which reads this format: install the package "
			"qemu-utils, or convert the image to raw or VHDX");
}

/* A word, not an option and no list of them. */
static int qemu_check_format(const char *format, struct diag *reterr)
{
	size_t length = format ? strlen(format) : 0;

	if (length == 0 || length >= QEMU_FORMAT_MAX || !isalpha((unsigned char)format[0])) {
		return diag_set(reterr, -EINVAL,
				"format '%s' is none of qemu-nbd's: write one word such as qcow2",
				format ? format : "");
	}
	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)format[i]) && !strchr("-_.", format[i])) {
			return diag_set(reterr, -EINVAL,
					"format '%s' has a letter that no format has: write one "
					"word such as qcow2",
					format);
		}
	}
	return 0;
}

/* ---- its socket --------------------------------------------------------------------------------------- */

/* A listening socket, and a descriptor to reach it by; its name is gone already. */
static int socket_open(int *ret_listen_fd, int *ret_socket_fd)
{
	const char *where = getenv("TMPDIR");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	auto_close int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char dir[64];
	int fd = -1, err = 0;

	if (listen_fd < 0) {
		return -errno;
	}
	if (!where ||
	    (size_t)snprintf(dir, sizeof(dir), "%s/tabique-XXXXXX", where) >= sizeof(dir)) {
		strcpy(dir, "/tmp/tabique-XXXXXX");
	}
	if (!mkdtemp(dir)) {
		return -errno;
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/nbd", dir);
	if (bind(listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listen_fd, QEMU_CLIENTS_MAX) < 0 ||
	    (fd = open(address.sun_path, O_PATH | O_CLOEXEC)) < 0) {
		err = -errno;
	}
	unlink(address.sun_path);
	rmdir(dir);
	if (!err) {
		*ret_listen_fd = steal_fd(&listen_fd);
		*ret_socket_fd = fd;
	}
	return err;
}

/* ---- its life ------------------------------------------------------------------------------------------ */

/* Waits for the child's end, so long at most; whether it has ended. */
static bool child_wait(pid_t pid, int ms)
{
	static const struct timespec pause = { .tv_nsec = 2000000 };
	uint64_t until_ns = loop_now_ns() + (uint64_t)ms * 1000000;

	for (;;) {
		pid_t done = waitpid(pid, NULL, WNOHANG);

		if (done == pid || (done < 0 && errno == ECHILD)) {
			return true;
		}
		if (loop_now_ns() >= until_ns) {
			return false;
		}
		nanosleep(&pause, NULL);
	}
}

static void child_end(pid_t pid, int ms)
{
	kill(pid, SIGTERM);
	if (!child_wait(pid, ms)) {
		kill(pid, SIGKILL);
		(void)child_wait(pid, ms);
	}
}

/* Its reason: the first line that it wrote, without its own name. */
static void child_words(int words_fd, char *ret_text, size_t bytes)
{
	ssize_t length = read(words_fd, ret_text, bytes - 1);
	static const char name[] = "qemu-nbd: ";
	char *at = ret_text, *colon;

	ret_text[length > 0 ? length : 0] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
	colon = strstr(ret_text, name);
	if (colon) {
		at = colon + strlen(name);
	}
	memmove(ret_text, at, strlen(at) + 1);
	if (!*ret_text) {
		snprintf(ret_text, bytes, "it ended without a word");
	}
}

/* Above what the child's own descriptors will be. */
static int fd_above(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, 10);

	if (high < 0) {
		return -errno;
	}
	close(*fd);
	*fd = high;
	return 0;
}

static int child_start(struct qemu *qemu, struct qemu_child *child)
{
	auto_close int listen_fd = -1, words_fd = -1, null_fd = -1;
	int pipe_fds[2], err = socket_open(&listen_fd, &qemu->socket_fd);
	pid_t parent = getpid();

	/* A child that talks much shall not wait for us to listen. */
	if (!err && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		err = -errno;
	}
	if (err) {
		return err;
	}
	qemu->words_fd = pipe_fds[0];
	words_fd = pipe_fds[1];
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0) {
		return -errno;
	}
	err = fd_above(&listen_fd);
	err = err ? err : fd_above(&words_fd);
	err = err ? err : fd_above(&null_fd);
	if (err) {
		return err;
	}
	child->listen_fd = listen_fd;
	child->words_fd = words_fd;
	child->null_fd = null_fd;
	qemu->pid = fault_point() ? -1 : fork();
	if (qemu->pid == 0) {
		child_run(child, parent);
	}
	if (qemu->pid < 0) {
		qemu->pid = 0;
		return -EAGAIN;
	}
	return 0;
}

/* Ends the child and forgets its descriptors. */
static void qemu_end(struct qemu *qemu)
{
	if (qemu->pid > 0) {
		child_end(qemu->pid, QEMU_END_MS);
		qemu->pid = 0;
	}
	if (qemu->socket_fd >= 0) {
		close(qemu->socket_fd);
		qemu->socket_fd = -1;
	}
	if (qemu->words_fd >= 0) {
		close(qemu->words_fd);
		qemu->words_fd = -1;
	}
}

/* ---- the block ------------------------------------------------------------------------------------------ */

static void qemu_submit(struct block *block, struct block_request *request)
{
	block_forward(block->lower, request);
}

static void qemu_describe(struct block *block, image_fact_fn *fn, void *ctx)
{
	const struct qemu *qemu = container_of(block, struct qemu, block);
	char text[16];

	fn(ctx, "format", qemu->format);
	if (qemu->pid > 0) {
		snprintf(text, sizeof(text), "%d", (int)qemu->pid);
		fn(ctx, "qemu_nbd_pid", text);
	}
}

static void qemu_close(struct block *block)
{
	struct qemu *qemu = container_of(block, struct qemu, block);

	qemu_end(qemu);
	free(qemu);
}

static int qemu_twin(struct block *original, struct block **ret);

static const struct block_ops qemu_ops = {
	.name = "qemu",
	.submit = qemu_submit,
	.describe = qemu_describe,
	.close = qemu_close,
};

static const struct block_ops qemu_multi_ops = {
	.name = "qemu",
	.submit = qemu_submit,
	.twin = qemu_twin,
	.describe = qemu_describe,
	.close = qemu_close,
};

static struct qemu *qemu_alloc(const char *format)
{
	struct qemu *qemu = fault_alloc(1, sizeof(*qemu));

	if (qemu) {
		block_init(&qemu->block, &qemu_ops);
		qemu->socket_fd = qemu->words_fd = -1;
		snprintf(qemu->format, sizeof(qemu->format), "%s", format);
	}
	return qemu;
}

static void qemu_adopt(struct qemu *qemu, struct block *lower)
{
	qemu->block.lower = lower;
	qemu->block.info = lower->info;
	if (lower->ops->twin) {
		qemu->block.ops = &qemu_multi_ops;
	}
}

static int qemu_twin(struct block *original, struct block **ret)
{
	struct qemu *of = container_of(original, struct qemu, block);
	struct qemu *qemu = qemu_alloc(of->format);
	struct block *lower;
	int err;

	if (!qemu) {
		return -ENOMEM;
	}
	err = of->block.lower->ops->twin(of->block.lower, &lower);
	if (err) {
		free(qemu);
		return err;
	}
	qemu_adopt(qemu, lower);
	memcpy(qemu->block.info.identity, of->block.info.identity, BLOCK_IDENTITY_BYTES);
	qemu->block.is_direct = of->block.is_direct;
	*ret = &qemu->block;
	return 0;
}

/* ---- opening -------------------------------------------------------------------------------------------- */

/* Starts the program and connects. On failure no child is left. */
static int qemu_serve(struct qemu *qemu, struct qemu_child *child,
		      const struct block_config *config, struct diag *reterr)
{
	struct block_config below = { .kind = BLOCK_NBD,
				      .read_only = config->read_only,
				      .logical_block_bytes = config->logical_block_bytes };
	char uri[64], words[QEMU_WORDS_BYTES];
	struct block *lower;
	struct diag diag;
	int err = child_start(qemu, child);

	if (err) {
		qemu_end(qemu);
		return diag_set(reterr, err, "disk %s: qemu-nbd cannot be started: %s",
				config->path, strerror(-err));
	}
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=/proc/self/fd/%d", qemu->socket_fd);
	below.path = uri;
	err = block_nbd_open(&below, &lower, &diag);
	if (!err) {
		qemu_adopt(qemu, lower);
		return 0;
	}
	if (child_wait(qemu->pid, err == -ECONNRESET || err == -EIO ? QEMU_WHY_MS : 0)) {
		qemu->pid = 0;
		child_words(qemu->words_fd, words, sizeof(words));
		err = diag_set(reterr, -EIO, "disk %s: qemu-nbd: %s", config->path, words);
	} else {
		err = diag_set(reterr, err, "disk %s: through qemu-nbd: %s", config->path,
			       diag.text);
	}
	qemu_end(qemu);
	return err;
}

/* In the best way that works here. */
static int qemu_serve_somehow(struct qemu *qemu, struct qemu_child *child,
			      const struct block_config *config, const char *path,
			      struct diag *reterr)
{
	char format[QEMU_FORMAT_MAX + 16], shared[24];
	int err = -EIO;

	snprintf(format, sizeof(format), "--format=%s", qemu->format);
	snprintf(shared, sizeof(shared), "--shared=%d", QEMU_CLIENTS_MAX);
	for (size_t i = config->buffered ? ARRAY_SIZE(qemu_modes) - 1 : 0;
	     i < ARRAY_SIZE(qemu_modes); i++) {
		const char *argv[] = { "qemu-nbd",
				       format,
				       shared,
				       "--persistent",
				       "--discard=unmap",
				       "--detect-zeroes=off",
				       qemu_modes[i].aio,
				       qemu_modes[i].cache,
				       config->read_only ? "--read-only" : "--",
				       config->read_only ? "--" : path,
				       config->read_only ? path : NULL };

		memcpy(child->argv, argv, sizeof(argv));
		err = qemu_serve(qemu, child, config, reterr);
		if (err != -EIO) {
			qemu->block.is_direct = strcmp(qemu_modes[i].cache, "--cache=none") == 0;
			break;
		}
	}
	return err;
}

int block_qemu_open(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	auto_free char *path = realpath(config->path, NULL);
	char program[PATH_MAX];
	struct qemu_child child = { .program = program };
	struct qemu *qemu;
	struct guid guid;
	int err = qemu_check_format(config->qemu_format, reterr);

	if (!err && !path) {
		err = diag_set(reterr, -errno, "disk %s cannot be opened: %s: check the path",
			       config->path, strerror(errno));
	}
	err = err ? err : qemu_find(program, sizeof(program), reterr);
	if (err) {
		return err;
	}
	qemu = qemu_alloc(config->qemu_format);
	child.envp = child_environment(&child);
	if (!qemu || !child.envp) {
		err = diag_set(reterr, -ENOMEM, "disk %s: no memory for it", config->path);
	} else {
		err = qemu_serve_somehow(qemu, &child, config, path, reterr);
	}
	free(child.envp);
	if (err) {
		free(qemu);
		return err;
	}
	guid_from_name(path, &guid);
	guid_format(&guid, qemu->block.info.identity);
	*ret = &qemu->block;
	return 0;
}
