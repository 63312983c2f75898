/* SPDX-License-Identifier: MIT */
#include "switchd/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "loop/loop.h"
#include "switchd/keeper_internal.h"

#define AREA        "keeper"
#define MS          1000000ULL
#define S           (1000 * MS)

/* What `tabique switch` and its friends return. */
#define STATUS_OK   0
#define STATUS_USER 1
#define STATUS_HOST 2

static const enum sw_path paths[3] = { SW_PATH_VSP, SW_PATH_CTL, SW_PATH_EXT };

void keeper_tell_ready(const struct keeper_config *config, const char *sentence)
{
	if (config->ready_fd >= 0) {
		dprintf(config->ready_fd, "%s\n", sentence);
		close(config->ready_fd);
	}
}

/* ---- what it owns ------------------------------------------------------------------------------- */

/* One keeper for a switch: the others' sockets would be taken away from under them. */
static int lock(struct keeper *keeper, struct diag *reterr)
{
	char path[SW_PATH_BYTES];
	int err = sw_path(SW_PATH_LOCK, keeper->config->name, path, reterr);

	if (err) {
		return err;
	}
	keeper->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (keeper->lock_fd < 0) {
		return diag_set(reterr, -errno, "cannot make %s: %s", path, strerror(errno));
	}
	if (flock(keeper->lock_fd, LOCK_EX | LOCK_NB)) {
		return diag_set(reterr, -EBUSY, "switch %s runs already", keeper->config->name);
	}
	return 0;
}

static int listen_at(enum sw_path which, const char *name, int *ret, struct diag *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int type = which == SW_PATH_CTL ? SOCK_STREAM : SOCK_SEQPACKET;
	auto_close int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = sw_path(which, name, address.sun_path, reterr);

	if (err) {
		return err;
	}
	if (fd < 0) {
		return diag_set(reterr, -errno, "cannot make a socket: %s", strerror(errno));
	}
	/* Whoever was here before is not: we have the lock. The mode becomes the path's. */
	if ((unlink(address.sun_path) && errno != ENOENT) || fchmod(fd, 0600) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) || listen(fd, SOMAXCONN)) {
		return diag_set(reterr, -errno, "cannot listen at %s: %s", address.sun_path,
				strerror(errno));
	}
	*ret = steal_fd(&fd);
	return 0;
}

static int init(struct keeper *keeper, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	int err = sw_file_load(keeper->config->name, &config, reterr);

	err = err ? err : sw_path_make(reterr);
	err = err ? err : lock(keeper, reterr);
	/* One from before there were lists gets what it has. */
	err = err ? err : sw_devices_make(config, reterr);
	for (unsigned int i = 0; !err && i < 3; i++) {
		err = listen_at(paths[i], keeper->config->name, &keeper->listeners[i], reterr);
	}
	if (!err) {
		keeper_find_state(keeper);
	}
	return err;
}

static void fini(struct keeper *keeper)
{
	char path[SW_PATH_BYTES];
	struct diag diag;

	for (unsigned int i = 0; i < 3; i++) {
		if (keeper->listeners[i] >= 0) {
			close(keeper->listeners[i]);
			if (!sw_path(paths[i], keeper->config->name, path, &diag)) {
				(void)!unlink(path);
			}
		}
	}
	keeper_close_taps(keeper);
	keeper_keep_state(keeper);
	/* The file stays: who removed it would remove the next one's. */
	if (keeper->lock_fd >= 0) {
		close(keeper->lock_fd);
	}
}

/* ---- the data process --------------------------------------------------------------------------- */

/* In the child. What it gives up itself comes later (sandbox.c): it needs its keeper for that. */
static void exec_role(const struct keeper *keeper, const char *role, int fd)
{
	const struct keeper_config *config = keeper->config;
	char uid[16], gid[16];

	snprintf(uid, sizeof(uid), "%u", config->uid);
	snprintf(gid, sizeof(gid), "%u", config->gid);
	sigprocmask(SIG_UNBLOCK, keeper->signals, NULL);
	/* dup2() to itself would leave it close-on-exec */
	if (fd == KEEPER_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, KEEPER_FD) < 0) {
		_exit(126);
	}
	execl(config->program, "tabique-switch", role, "--uid", uid, "--gid", gid,
	      config->is_verbose ? "--verbose" : "--quiet", config->name, (char *)NULL);
	log_error(AREA, "cannot run %s: %s", config->program, strerror(errno));
	_exit(126);
}

int keeper_spawn(struct keeper *keeper, const char *role, int *ret_fd, pid_t *ret_pid)
{
	int pair[2], err = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		return -errno;
	}
	pid = fork();
	if (pid == 0) {
		exec_role(keeper, role, pair[1]);
	}
	err = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return err;
	}
	*ret_fd = pair[0];
	*ret_pid = pid;
	return 0;
}

static void start(struct keeper *keeper)
{
	int err = keeper_spawn(keeper, "--data", &keeper->fd, &keeper->pid);

	if (err) {
		log_error(AREA, "cannot start a process: %s", strerror(-err));
		return;
	}
	keeper->started_ns = loop_now_ns();
	keeper->is_upgrade = false;
	keeper->quit_ns = 0;
}

void keeper_describe(int status, char *ret, size_t bytes)
{
	if (WIFSIGNALED(status)) {
		snprintf(ret, bytes, "was killed by signal %d", WTERMSIG(status));
	} else {
		snprintf(ret, bytes, "ended with status %d", WEXITSTATUS(status));
	}
}

uint32_t keeper_restart_delay_ms(unsigned int failures)
{
	unsigned int doublings = failures < 2 ? 0 : failures - 2;

	if (failures < 2) {
		return 0;
	}
	return doublings > 16 ? KEEPER_RESTART_MAX_MS
			      : (uint32_t)num_min((uint64_t)KEEPER_RESTART_FIRST_MS << doublings,
						  KEEPER_RESTART_MAX_MS);
}

/* It has ended: when comes the next? */
static void on_exit_of_data(struct keeper *keeper, int status)
{
	uint64_t lived_ns = loop_now_ns() - keeper->started_ns;
	char how[64];

	close(keeper->fd);
	keeper->fd = -1;
	keeper->pid = 0;
	keeper_close_xdps(keeper);
	if (keeper->is_ending) {
		return;
	}
	if (keeper->is_upgrade) {
		log_info(AREA, "switch %s is started anew", keeper->config->name);
		keeper->delay_ms = 0;
		keeper->failures = 0;
		return;
	}
	keeper_describe(status, how, sizeof(how));
	/* Who has served for a while is replaced at once, and so is who fails for the first time. */
	keeper->failures = lived_ns >= KEEPER_RESTART_HEALTHY_S * S ? 1 : keeper->failures + 1;
	keeper->delay_ms = keeper_restart_delay_ms(keeper->failures);
	log_error(AREA, "the data process of switch %s %s; the next one begins in %u ms",
		  keeper->config->name, how, keeper->delay_ms);
	if (!keeper->was_ready) {
		char sentence[DIAG_BYTES];

		snprintf(sentence, sizeof(sentence),
			 "switch %s cannot be started: its process %s; its log says why",
			 keeper->config->name, how);
		keeper_tell_ready(keeper->config, sentence);
		keeper->is_ending = true;
	}
}

static void reap(struct keeper *keeper)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!keeper_nat_ended(keeper, pid, status) && pid == keeper->pid) {
			on_exit_of_data(keeper, status);
		}
	}
}

/* Asks it to end, and again: it may have been waiting for an answer of ours. At last it is ended. */
static void quit_data(struct keeper *keeper)
{
	struct keeper_message message = { .magic = KEEPER_MAGIC, .type = KEEPER_QUIT };
	uint64_t now_ns = loop_now_ns();

	if (keeper->pid <= 0) {
		return;
	}
	if (!keeper->quit_ns) {
		keeper->quit_ns = now_ns;
	}
	if (now_ns - keeper->quit_ns > KEEPER_QUIT_MS * MS ||
	    (keeper_send(keeper->fd, &message, NULL, 0) && errno != EAGAIN)) {
		kill(keeper->pid, SIGKILL);
	}
}

/* ---- its life ----------------------------------------------------------------------------------- */

static void on_signals(struct keeper *keeper, int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			reap(keeper);
		} else {
			keeper->is_ending = true;
		}
	}
}

/* How long poll() may wait. */
static int patience_ms(const struct keeper *keeper, uint64_t start_ns)
{
	uint64_t now_ns = loop_now_ns();

	if (keeper->is_ending || keeper->nat.quit_ns) {
		return 200;
	}
	if (keeper->pid > 0) {
		return -1;
	}
	return start_ns <= now_ns ? 0 : (int)((start_ns - now_ns) / MS) + 1;
}

/* At the end NAT goes last: connections through it end in order. */
static void quit_all(struct keeper *keeper)
{
	if (keeper->is_ending && keeper->pid > 0) {
		quit_data(keeper);
	} else if (keeper->is_ending || keeper->nat.quit_ns) {
		keeper_quit_nat(keeper);
	}
}

static void serve_data(struct keeper *keeper, short revents)
{
	if (!revents || !keeper_serve(keeper) || keeper->pid <= 0) {
		return;
	}
	/* It has closed our socket, or speaks nonsense: its end is near, or due. */
	usleep(1000);
	reap(keeper);
	if (keeper->pid > 0 && !(revents & POLLHUP)) {
		kill(keeper->pid, SIGKILL);
	}
}

static void run(struct keeper *keeper, int signal_fd)
{
	uint64_t start_ns = 0;

	while (!keeper->is_ending || keeper->pid > 0 || keeper->nat.pid > 0) {
		struct pollfd fds[3] = { { .fd = signal_fd, .events = POLLIN },
					 { .fd = keeper->fd, .events = POLLIN },
					 { .fd = keeper->nat.fd, .events = POLLIN } };
		bool had_one = keeper->pid > 0;

		if (!had_one && !keeper->is_ending && loop_now_ns() >= start_ns) {
			start(keeper);
			start_ns = loop_now_ns() + KEEPER_RESTART_MAX_MS * MS;
			continue;
		}
		quit_all(keeper);
		(void)!poll(fds, 3, patience_ms(keeper, start_ns));
		if (fds[2].revents) {
			keeper_serve_nat(keeper);
		}
		serve_data(keeper, fds[1].revents);
		on_signals(keeper, signal_fd);
		if (had_one && keeper->pid <= 0) {
			start_ns = loop_now_ns() + keeper->delay_ms * MS;
		}
	}
}

int keeper_run(const struct keeper_config *config)
{
	struct keeper keeper = { .config = config,
				 .lock_fd = -1,
				 .listeners = { -1, -1, -1 },
				 .state_fd = -1,
				 .fd = -1,
				 .nat = { .fd = -1 } };
	struct diag diag;
	sigset_t signals;
	int signal_fd, status = STATUS_OK;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0 || init(&keeper, &diag)) {
		if (signal_fd < 0) {
			diag_set(&diag, 0, "cannot hear signals: %s", strerror(errno));
		}
		keeper_tell_ready(config, diag.text);
		fprintf(stderr, "tabique-switch: error: %s\n", diag.text);
		status = signal_fd < 0 ? STATUS_HOST : STATUS_USER;
	} else {
		keeper.signals = &signals;
		run(&keeper, signal_fd);
		status = keeper.was_ready ? STATUS_OK : STATUS_HOST;
	}
	fini(&keeper);
	if (signal_fd >= 0) {
		close(signal_fd);
	}
	return status;
}
