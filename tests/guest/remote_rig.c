/* SPDX-License-Identifier: MIT */
#include "guest/remote_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/num.h"
#include "vmbus/remote_host.h"
#include "vsp/echo/echo.h"

#define LISTEN_FD 3

/* ---- the host process ---- */

struct rig_host {
	struct loop *control, *io;
	struct remote_host *host;
	struct loop_watch signal;
	struct loop_work returned;
	bool refuses;
	struct {
		struct vmbus_device *device;
		struct echo *echo;
	} echoes[REMOTE_DEVICES_MAX];
};

static int create(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		  struct diag *reterr)
{
	struct rig_host *rig = ctx;

	if (rig->refuses) {
		return diag_set(reterr, -EPERM, "not today");
	}
	for (size_t i = 0; i < ARRAY_SIZE(rig->echoes); i++) {
		if (rig->echoes[i].device) {
			continue;
		}
		int err = echo_create(loan->port, &rig->echoes[i].echo);

		if (err) {
			return diag_set(reterr, err, "no memory");
		}
		*ret = rig->echoes[i].device = echo_device(rig->echoes[i].echo);
		(*ret)->loop = rig->io;
		return 0;
	}
	return diag_set(reterr, -ENOSPC, "too many");
}

static void destroy(void *ctx, struct vmbus_device *device)
{
	struct rig_host *rig = ctx;

	for (size_t i = 0; i < ARRAY_SIZE(rig->echoes); i++) {
		if (rig->echoes[i].device == device) {
			echo_destroy(rig->echoes[i].echo);
			rig->echoes[i].device = NULL;
			return;
		}
	}
	check(false);
}

static void on_returned(struct loop_work *work)
{
	struct rig_host *rig = container_of(work, struct rig_host, returned);

	loop_quit(rig->control);
}

static void on_signal(struct loop_watch *watch, uint32_t poll_events)
{
	struct rig_host *rig = container_of(watch, struct rig_host, signal);
	struct signalfd_siginfo info;

	(void)poll_events;
	if (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
		remote_host_return_all(rig->host, REMOTE_RETURN_UPGRADE, 500, &rig->returned);
	}
}

static int run_host(const char *mode)
{
	static const struct remote_service service = { .kind = "echo",
						       .create = create,
						       .destroy = destroy };
	struct rig_host rig = { .refuses = strcmp(mode, REMOTE_RIG_REFUSE) == 0 };
	struct diag diag;
	sigset_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);

	check(loop_create("host", &rig.control, &diag) == 0);
	check(loop_create("host-io", &rig.io, &diag) == 0);
	check(loop_start_thread(rig.io, &diag) == 0);
	struct remote_host_config config = {
		.control = rig.control,
		.listen_fd = LISTEN_FD,
		.services = &service,
		.service_count = 1,
		.ctx = &rig,
		.lends_per_second = 100000, /* the tests' own pace */
	};

	loop_work_init(&rig.returned, on_returned);
	check(loop_watch_start(rig.control, &rig.signal, fd, POLLIN, on_signal) == 0);
	check(remote_host_create(&config, &rig.host) == 0);
	loop_run(rig.control);
	remote_host_destroy(rig.host);
	loop_watch_stop(&rig.signal);
	loop_stop_thread(rig.io);
	loop_destroy(rig.io);
	loop_destroy(rig.control);
	close(fd);
	return 0;
}

bool remote_rig_is_host(int argc, char **argv, int *ret_status)
{
	if (argc != 3 || strcmp(argv[1], "host") != 0) {
		return false;
	}
	*ret_status = run_host(argv[2]);
	return true;
}

/* ---- for the test ---- */

int remote_rig_listen(char *ret_path, size_t room)
{
	char dir[] = "/tmp/tabique-test-XXXXXX";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	check(fd >= 0 && mkdtemp(dir));
	snprintf(ret_path, room, "%s/host.vsp", dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", ret_path);
	check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	check(listen(fd, 16) == 0);
	return fd;
}

void remote_rig_unlink(const char *path)
{
	char dir[128];

	unlink(path);
	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	rmdir(dir);
}

pid_t remote_rig_start(int listen_fd, const char *mode)
{
	char *argv[] = { "remote-host", "host", (char *)(uintptr_t)mode, NULL };
	/* Beyond 3, so that dup2() makes one without CLOEXEC in any case. */
	int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 10);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(fd, LISTEN_FD);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(fd);
	check(pid > 0);
	return pid;
}

int remote_rig_wait(pid_t pid)
{
	int status;

	check(waitpid(pid, &status, 0) == pid);
	return status;
}

bool remote_rig_maps_ram(pid_t pid)
{
	char path[64], line[512];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		found |= strstr(line, "memfd:guest-ram") != NULL;
	}
	if (f) {
		fclose(f);
	}
	return found;
}
