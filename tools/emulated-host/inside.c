/* SPDX-License-Identifier: MIT */
/*
 * Process 1 of the emulated host: loads the modules, mounts the outer machine's
 * files, runs the command and passes on what it reads and writes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

static int port_fd = -1;

__attribute__((noreturn)) static void halt(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;) {
		pause();
	}
}

__attribute__((noreturn, format(printf, 1, 2))) static void inside_fail(const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	printf("emulated-host: %s\n", text);
	if (port_fd >= 0) {
		send_frame(port_fd, 'F', text, (size_t)n);
	}
	halt();
}

static void load_modules(void)
{
	FILE *list = fopen("/modules.list", "re");
	char line[PATH_MAX];

	if (list == NULL) {
		inside_fail("no list of modules in the initramfs");
	}
	while (fgets(line, sizeof line, list) != NULL) {
		line[strcspn(line, "\n")] = 0;
		char *args = strchr(line, ' ');

		if (args != NULL) {
			*args++ = 0;
		}
		int fd = open(line, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || (syscall(SYS_finit_module, fd, args != NULL ? args : "", 0) < 0 &&
			       errno != EEXIST && errno != ENODEV)) {
			printf("emulated-host: module %s: %s\n", line, strerror(errno));
		}
		if (fd >= 0) {
			close(fd);
		}
	}
	fclose(list);
}

static void make_dirs(const char *path)
{
	char copy[PATH_MAX];

	snprintf(copy, sizeof copy, "%s", path);
	for (char *p = copy + 1; *p != 0; p++) {
		if (*p == '/') {
			*p = 0;
			mkdir(copy, 0755);
			*p = '/';
		}
	}
	mkdir(copy, 0755);
}

static void mount_or_fail(const char *what, const char *where, const char *type,
			  unsigned long flags, const char *options)
{
	if (mount(what, where, type, flags, options) < 0) {
		inside_fail("cannot mount %s on %s: %s", what, where, strerror(errno));
	}
}

static void mount_maybe(const char *what, const char *where, const char *type, const char *options)
{
	struct stat st;

	if (stat(where, &st) == 0 && mount(what, where, type, 0, options) < 0) {
		printf("emulated-host: %s on %s: %s\n", what, where, strerror(errno));
	}
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0) {
			printf("emulated-host: %s: %s\n", path, strerror(errno));
		}
		close(fd);
	}
}

static void raise_loopback(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r) < 0) {
		printf("emulated-host: loopback: %s\n", strerror(errno));
	}
	if (fd >= 0) {
		close(fd);
	}
}

static void mount_root(void)
{
	mkdir("/outer", 0755);
	mount_or_fail("root", "/outer", "9p", MS_RDONLY,
		      "trans=virtio,version=9p2000.L,msize=512000,cache=loose,noxattr");
	mount_or_fail("/dev", "/outer/dev", NULL, MS_MOVE, NULL);
	mount_or_fail("proc", "/outer/proc", "proc", 0, NULL);
	mount_or_fail("sysfs", "/outer/sys", "sysfs", 0, NULL);
	if (chdir("/outer") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0) {
		inside_fail("cannot change the root: %s", strerror(errno));
	}
	mount_or_fail("tmpfs", "/tmp", "tmpfs", 0, "mode=1777,size=90%,huge=advise");
	mount_or_fail("tmpfs", "/run", "tmpfs", 0, "mode=755");
	mount_maybe("tmpfs", "/var/tmp", "tmpfs", "mode=1777");
	mount_maybe("debugfs", "/sys/kernel/debug", "debugfs", NULL);
	mount_maybe("tracefs", "/sys/kernel/tracing", "tracefs", NULL);
	mount_maybe("cgroup2", "/sys/fs/cgroup", "cgroup2", NULL);
	mkdir("/run/lock", 01777);
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	mount_maybe("devpts", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666");
	mount_maybe("tmpfs", "/dev/shm", "tmpfs", "mode=1777,huge=advise");
	if (symlink("/proc/self/fd", "/dev/fd") < 0 ||
	    symlink("/proc/self/fd/0", "/dev/stdin") < 0 ||
	    symlink("/proc/self/fd/1", "/dev/stdout") < 0 ||
	    symlink("/proc/self/fd/2", "/dev/stderr") < 0) {
		printf("emulated-host: links in /dev: %s\n", strerror(errno));
	}
	put_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
	put_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	put_file("/proc/sys/kernel/printk", "1");
	chmod("/dev/kvm", 0666);
	raise_loopback();
	if (sethostname("emulated-host", 13) < 0) {
		printf("emulated-host: host name: %s\n", strerror(errno));
	}
}

static void mount_shares(char **shares, uint32_t count)
{
	char tag[32];

	for (uint32_t i = 0; i < count; i++) {
		snprintf(tag, sizeof tag, "share%u", i);
		make_dirs(shares[i]);
		mount_or_fail(tag, shares[i], "9p", 0,
			      "trans=virtio,version=9p2000.L,msize=512000,cache=mmap");
	}
}

/* Lets modprobe, run by hand or by the kernel, find the modules of this kernel. */
static void offer_modules(const char *modules)
{
	struct stat st;
	int fd = open("/run/modprobe", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	/* Where the outer machine has no /lib/modules, -d does it alone. */
	if (*modules != 0 && stat("/lib/modules", &st) == 0 &&
	    mount(modules, "/lib/modules", NULL, MS_BIND, NULL) < 0) {
		printf("emulated-host: %s: %s\n", modules, strerror(errno));
	}
	if (fd >= 0) {
		dprintf(fd, "#!/bin/sh\nexec /sbin/modprobe -d '%.*s' \"$@\"\n",
			(int)strlen(modules) - (int)strlen("/lib/modules"), modules);
		close(fd);
		put_file("/proc/sys/kernel/modprobe", "/run/modprobe");
	}
}

static int open_port(void)
{
	for (int i = 0; i < 2000; i++) {
		int fd = open("/dev/vport0p1", O_RDWR | O_CLOEXEC);

		if (fd < 0) {
			fd = open("/dev/vport1p1", O_RDWR | O_CLOEXEC);
		}
		if (fd >= 0) {
			return fd;
		}
		usleep(5000);
	}
	inside_fail("no virtio-serial port");
}

struct spec {
	struct spec_numbers n;
	char *modules, *directory;
	char **share, **argv, **envp;
};

static char **take_strings(char **at, char *end, uint32_t count)
{
	char **list = calloc(count + 1U, sizeof *list);

	for (uint32_t i = 0; list != NULL && i < count && *at < end; i++) {
		list[i] = *at;
		*at += strlen(*at) + 1;
	}
	return list;
}

static struct spec *read_spec(struct frames *in)
{
	char type;
	unsigned char *data;
	uint32_t len;

	while (!frames_first(in, &type, &data, &len)) {
		if (frames_fill(in, port_fd) < 0 && errno != EINTR && errno != EAGAIN) {
			inside_fail("reading the command: %s", strerror(errno));
		}
	}
	struct spec *s = calloc(1, sizeof *s);
	char *copy = malloc(len + 1U);

	if (type != 'S' || s == NULL || copy == NULL || len < sizeof s->n) {
		inside_fail("no command came");
	}
	memcpy(&s->n, data, sizeof s->n);
	memcpy(copy, data, len);
	copy[len] = 0;
	frames_drop(in, len);
	char *at = copy + sizeof s->n;
	char *end = copy + len;

	s->modules = take_strings(&at, end, 1)[0];
	s->directory = take_strings(&at, end, 1)[0];
	s->share = take_strings(&at, end, s->n.shares);
	s->argv = take_strings(&at, end, s->n.arguments);
	s->envp = take_strings(&at, end, s->n.variables);
	return s;
}

/* What the command reads and writes, seen from us; -1 when closed. */
struct command {
	pid_t pid;
	int input, output, errors;
	bool tty;
};

static void start_command(const struct spec *s, struct command *c)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	int slave = -1;

	c->tty = (s->n.flags & SPEC_TTY) != 0;
	c->errors = -1;
	if (c->tty) {
		struct winsize w = { .ws_row = (unsigned short)s->n.rows,
				     .ws_col = (unsigned short)s->n.columns };

		if (openpty(&c->input, &slave, NULL, NULL, &w) < 0) {
			inside_fail("no terminal: %s", strerror(errno));
		}
		fcntl(c->input, F_SETFD, FD_CLOEXEC);
		c->output = dup(c->input);
		fcntl(c->output, F_SETFD, FD_CLOEXEC);
	} else if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
		inside_fail("no pipe: %s", strerror(errno));
	}
	if ((s->n.flags & SPEC_SEPARATE_STDERR) != 0 && pipe2(err, O_CLOEXEC) < 0) {
		inside_fail("no pipe: %s", strerror(errno));
	}
	c->pid = fork();
	if (c->pid < 0) {
		inside_fail("fork: %s", strerror(errno));
	}
	if (c->pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		for (int n = 1; n < NSIG; n++) {
			signal(n, SIG_DFL);
		}
		setsid();
		if (c->tty) {
			ioctl(slave, TIOCSCTTY, 0);
			dup2(slave, 0);
			dup2(slave, 1);
			dup2(slave, 2);
			if (slave > 2) {
				close(slave);
			}
		} else {
			dup2(in[0], 0);
			dup2(out[1], 1);
		}
		if (err[1] >= 0) {
			dup2(err[1], 2);
		}
		if (chdir(s->directory) < 0) {
			fprintf(stderr, "with-kvm: the emulated host has no directory %s\n",
				s->directory);
			_exit(EXIT_FAILED);
		}
		environ = s->envp;
		execvp(s->argv[0], s->argv);
		fprintf(stderr, "with-kvm: %s: %s\n", s->argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (c->tty) {
		close(slave);
	} else {
		close(in[0]);
		close(out[1]);
		c->input = in[1];
		c->output = out[0];
	}
	if (err[1] >= 0) {
		close(err[1]);
		c->errors = err[0];
	}
	fcntl(c->input, F_SETFL, O_NONBLOCK);
	fcntl(c->output, F_SETFL, O_NONBLOCK);
	if (c->errors >= 0) {
		fcntl(c->errors, F_SETFL, O_NONBLOCK);
	}
}

static void close_fd(int *fd)
{
	if (*fd >= 0) {
		close(*fd);
		*fd = -1;
	}
}

/* Passes on one chunk; false when there is nothing (now, or ever). */
static bool pass_output(int *fd, char type)
{
	static char chunk[CHUNK_BYTES];

	if (*fd < 0) {
		return false;
	}
	ssize_t n = read(*fd, chunk, sizeof chunk);

	if (n > 0) {
		send_frame(port_fd, type, chunk, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close_fd(fd); /* EIO: a terminal whose last user has gone */
	}
	return false;
}

/* Input that the command has not taken yet. */
struct input {
	char data[INPUT_WINDOW_BYTES];
	size_t from, to;
	bool ended;
};

static void pass_input(struct command *c, struct input *in)
{
	if (c->input >= 0 && in->from < in->to) {
		ssize_t n = write(c->input, in->data + in->from, in->to - in->from);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			n = (ssize_t)(in->to - in->from); /* nobody reads: swallow */
			if (!c->tty) {
				close_fd(&c->input);
			}
		}
		if (n > 0) {
			in->from += (size_t)n;
			send_number(port_fd, 'C', (uint32_t)n);
		}
	}
	if (c->input < 0 && in->from < in->to) {
		send_number(port_fd, 'C', (uint32_t)(in->to - in->from));
		in->from = in->to;
	}
	if (in->from == in->to) {
		in->from = in->to = 0;
		if (in->ended && !c->tty) {
			close_fd(&c->input);
		}
	}
}

static void inside_frame(struct command *c, struct input *in, char type, const unsigned char *data,
			 uint32_t len)
{
	uint32_t number[2] = { 0, 0 };

	memcpy(number, data, len < sizeof number ? len : sizeof number);
	if (type == 'I' && len <= sizeof in->data) {
		if (in->to + len > sizeof in->data) {
			memmove(in->data, in->data + in->from, in->to - in->from);
			in->to -= in->from;
			in->from = 0;
		}
		memcpy(in->data + in->to, data, len);
		in->to += len;
	} else if (type == 'E') {
		in->ended = true;
	} else if (type == 'W' && c->tty) {
		struct winsize w = { .ws_row = (unsigned short)number[0],
				     .ws_col = (unsigned short)number[1] };

		ioctl(c->output, TIOCSWINSZ, &w);
	} else if (type == 'K') {
		kill(-c->pid, (int)number[0]);
	}
}

__attribute__((noreturn)) static void inside_end(struct command *c, int status)
{
	/* What was written before the exit is still in the pipes. */
	while (pass_output(&c->output, 'O') || pass_output(&c->errors, 'A')) {}
	sync();
	send_number(port_fd, 'X',
		    WIFSIGNALED(status) ? 128U + (uint32_t)WTERMSIG(status)
					: (uint32_t)WEXITSTATUS(status));
	halt();
}

__attribute__((noreturn)) static void inside_serve(struct command *c, struct frames *frames)
{
	static struct input in;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	int children = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	int beat = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec every = { { HEARTBEAT_S, 0 }, { HEARTBEAT_S, 0 } };

	timerfd_settime(beat, 0, &every, NULL);
	for (;;) {
		struct pollfd p[6] = {
			{ .fd = port_fd, .events = POLLIN },
			{ .fd = children, .events = POLLIN },
			{ .fd = beat, .events = POLLIN },
			{ .fd = c->output, .events = POLLIN },
			{ .fd = c->errors, .events = POLLIN },
			{ .fd = in.from < in.to ? c->input : -1, .events = POLLOUT },
		};
		char type;
		unsigned char *data;
		uint32_t len;

		if (poll(p, 6, -1) < 0 && errno != EINTR) {
			inside_fail("poll: %s", strerror(errno));
		}
		if (p[0].revents != 0 && frames_fill(frames, port_fd) == 0) {
			halt(); /* the outside has gone */
		}
		while (frames_first(frames, &type, &data, &len)) {
			inside_frame(c, &in, type, data, len);
			frames_drop(frames, len);
		}
		pass_input(c, &in);
		if (p[3].revents != 0) {
			pass_output(&c->output, 'O');
		}
		if (p[4].revents != 0) {
			pass_output(&c->errors, 'A');
		}
		if (p[2].revents != 0) {
			uint64_t times;

			if (read(beat, &times, sizeof times) > 0) {
				send_frame(port_fd, 'B', NULL, 0);
			}
		}
		if (p[1].revents != 0) {
			struct signalfd_siginfo info;
			int status;
			pid_t pid;

			while (read(children, &info, sizeof info) > 0) {}
			while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
				if (pid == c->pid) {
					inside_end(c, status);
				}
			}
		}
	}
}

void inside(void)
{
	static struct frames frames;
	static struct command command;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	int console = open("/dev/console", O_RDWR);

	if (console >= 0) {
		dup2(console, 0);
		dup2(console, 1);
		dup2(console, 2);
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	load_modules();
	port_fd = open_port();
	send_frame(port_fd, 'H', NULL, 0);
	struct spec *s = read_spec(&frames);

	mount_root();
	mount_shares(s->share, s->n.shares);
	offer_modules(s->modules);
	start_command(s, &command);
	/* A busy command must not silence the heartbeat. */
	setpriority(PRIO_PROCESS, 0, -10);
	send_frame(port_fd, 'R', NULL, 0);
	inside_serve(&command, &frames);
}
