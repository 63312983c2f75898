/* SPDX-License-Identifier: MIT */
/*
 * Both ends of the emulated host behind tools/with-kvm, in one static program.
 *
 * Outside it starts QEMU and relays terminal, pipes, signals and the exit
 * status of one command. Inside, as process 1 of the initramfs, it loads the
 * modules, mounts the outer machine's files and runs that command. They talk
 * over one virtio-serial port:
 *
 *   frame     type (1 byte), length (4 bytes, little endian), payload
 *   outside   S spec, I input, E end of input, W window size, K signal
 *   inside    H hello, R running, O output, A error output, C credit for
 *             input, B heartbeat, F failed (a sentence), X exit status
 *
 * Input is sent only against credit, so that a signal or a window size is
 * never stuck behind input that nobody reads. Output needs no credit: a full
 * port blocks the command, as a full pipe would.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <net/if.h>

enum {
	INPUT_WINDOW_BYTES = 64 * 1024,
	FRAME_MAX_BYTES = 4 * 1024 * 1024,
	CHUNK_BYTES = 32 * 1024,
	GRACE_S = 5,      /* between a passed-on signal and the end of QEMU */
	HEARTBEAT_S = 5,
	SILENCE_S = 240,  /* without a heartbeat: the emulated host hangs */
	EXIT_DIED = 124,  /* the emulated host ended under the command */
	EXIT_FAILED = 125 /* it did not come up */
};

enum { SPEC_TTY = 1, SPEC_SEPARATE_STDERR = 2 };

/* Reads frames from a descriptor that may deliver them in pieces. */
struct frames {
	unsigned char *data;
	size_t used, size;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR) {
				continue;
			}
			if (errno == EAGAIN) {
				struct pollfd pfd = { .fd = fd, .events = POLLOUT };

				poll(&pfd, 1, 1000);
				continue;
			}
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_frame(int fd, char type, const void *data, size_t len)
{
	unsigned char head[5] = { (unsigned char)type, len & 0xff, (len >> 8) & 0xff,
				  (len >> 16) & 0xff, (len >> 24) & 0xff };
	int r = write_all(fd, head, sizeof head);

	return r < 0 || len == 0 ? r : write_all(fd, data, len);
}

static int send_number(int fd, char type, uint32_t number)
{
	return send_frame(fd, type, &number, sizeof number);
}

/* Takes in what is there. Returns bytes read, 0 at the end, -errno. */
static ssize_t frames_fill(struct frames *f, int fd)
{
	if (f->size - f->used < CHUNK_BYTES) {
		f->size = f->size * 2 + 4 * CHUNK_BYTES;
		f->data = realloc(f->data, f->size);
		if (f->data == NULL) {
			abort();
		}
	}
	ssize_t n = read(fd, f->data + f->used, f->size - f->used);

	if (n < 0) {
		return -errno;
	}
	f->used += (size_t)n;
	return n;
}

/* The first whole frame, which stays valid until frames_drop; false if none. */
static bool frames_first(struct frames *f, char *ret_type, unsigned char **ret_data,
			 uint32_t *ret_len)
{
	if (f->used < 5) {
		return false;
	}
	uint32_t len = (uint32_t)f->data[1] | (uint32_t)f->data[2] << 8 |
		       (uint32_t)f->data[3] << 16 | (uint32_t)f->data[4] << 24;

	if (len > FRAME_MAX_BYTES) {
		fprintf(stderr, "with-kvm: the emulated host sends garbage\n");
		exit(EXIT_DIED);
	}
	if (f->used < 5 + (size_t)len) {
		return false;
	}
	*ret_type = (char)f->data[0];
	*ret_data = f->data + 5;
	*ret_len = len;
	return true;
}

static void frames_drop(struct frames *f, uint32_t len)
{
	f->used -= 5 + (size_t)len;
	memmove(f->data, f->data + 5 + len, f->used);
}

/* ---- inside ------------------------------------------------------------ */

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

/* The spec: four numbers, then strings that end in NUL. */
struct spec {
	uint32_t flags, rows, columns, shares, arguments, variables;
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

	if (type != 'S' || s == NULL || copy == NULL || len < 24) {
		inside_fail("no command came");
	}
	memcpy(s, data, 24);
	memcpy(copy, data, len);
	copy[len] = 0;
	frames_drop(in, len);
	char *at = copy + 24;
	char *end = copy + len;

	s->modules = take_strings(&at, end, 1)[0];
	s->directory = take_strings(&at, end, 1)[0];
	s->share = take_strings(&at, end, s->shares);
	s->argv = take_strings(&at, end, s->arguments);
	s->envp = take_strings(&at, end, s->variables);
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

	c->tty = (s->flags & SPEC_TTY) != 0;
	c->errors = -1;
	if (c->tty) {
		struct winsize w = { .ws_row = (unsigned short)s->rows,
				     .ws_col = (unsigned short)s->columns };

		if (openpty(&c->input, &slave, NULL, NULL, &w) < 0) {
			inside_fail("no terminal: %s", strerror(errno));
		}
		fcntl(c->input, F_SETFD, FD_CLOEXEC);
		c->output = dup(c->input);
		fcntl(c->output, F_SETFD, FD_CLOEXEC);
	} else if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
		inside_fail("no pipe: %s", strerror(errno));
	}
	if ((s->flags & SPEC_SEPARATE_STDERR) != 0 && pipe2(err, O_CLOEXEC) < 0) {
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

static void inside_frame(struct command *c, struct input *in, char type,
			 const unsigned char *data, uint32_t len)
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
	while (pass_output(&c->output, 'O') || pass_output(&c->errors, 'A')) {
	}
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

			while (read(children, &info, sizeof info) > 0) {
			}
			while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
				if (pid == c->pid) {
					inside_end(c, status);
				}
			}
		}
	}
}

__attribute__((noreturn)) static void inside(void)
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
	mount_shares(s->share, s->shares);
	offer_modules(s->modules);
	start_command(s, &command);
	send_frame(port_fd, 'R', NULL, 0);
	inside_serve(&command, &frames);
}

/* ---- outside ----------------------------------------------------------- */

struct options {
	const char *qemu, *log, *modules;
	int boot_limit_s;
	char **share;
	uint32_t shares;
	char **qemu_args;
	char **command;
};

static struct termios saved_terminal;
static bool terminal_is_raw;

static void restore_terminal(void)
{
	if (terminal_is_raw) {
		tcsetattr(0, TCSADRAIN, &saved_terminal);
		terminal_is_raw = false;
	}
}

static void make_terminal_raw(void)
{
	struct termios raw;

	if (tcgetattr(0, &saved_terminal) == 0) {
		raw = saved_terminal;
		cfmakeraw(&raw);
		tcsetattr(0, TCSADRAIN, &raw);
		terminal_is_raw = true;
		atexit(restore_terminal);
	}
}

struct bytes {
	char *data;
	size_t used, size;
};

static void append(struct bytes *b, const void *data, size_t len)
{
	if (b->used + len > b->size) {
		b->size = (b->used + len) * 2 + 4096;
		b->data = realloc(b->data, b->size);
		if (b->data == NULL) {
			abort();
		}
	}
	memcpy(b->data + b->used, data, len);
	b->used += len;
}

/* Variables that name things of the outer machine which the inner one has not. */
static bool variable_stays_outside(const char *v)
{
	static const char *const outside_only[] = { "DISPLAY=",	   "WAYLAND_DISPLAY=", "SSH_",
						    "DBUS_",	   "XDG_RUNTIME_DIR=", "TMUX",
						    "STY=",	   "MAKEFLAGS=",       "MFLAGS=",
						    "GNUMAKEFLAGS=", "MODPROBE_OPTIONS=",
						    "TABIQUE_EMULATED_HOST=" };

	for (size_t i = 0; i < sizeof outside_only / sizeof *outside_only; i++) {
		if (strncmp(v, outside_only[i], strlen(outside_only[i])) == 0) {
			return true;
		}
	}
	return false;
}

static void send_spec(int fd, const struct options *o, uint32_t flags)
{
	struct bytes b = { 0 };
	struct winsize w = { 0 };
	uint32_t number[6] = { flags, 24, 80, o->shares, 0, 0 };
	char directory[PATH_MAX] = "/";
	char text[PATH_MAX + 32];

	if (ioctl(0, TIOCGWINSZ, &w) == 0 && w.ws_row > 0) {
		number[1] = w.ws_row;
		number[2] = w.ws_col;
	}
	append(&b, number, sizeof number);
	append(&b, o->modules, strlen(o->modules) + 1);
	if (getcwd(directory, sizeof directory) == NULL) {
		strcpy(directory, "/");
	}
	append(&b, directory, strlen(directory) + 1);
	for (uint32_t i = 0; i < o->shares; i++) {
		append(&b, o->share[i], strlen(o->share[i]) + 1);
	}
	for (char **a = o->command; *a != NULL; a++, number[4]++) {
		append(&b, *a, strlen(*a) + 1);
	}
	for (char **e = environ; *e != NULL; e++) {
		if (!variable_stays_outside(*e)) {
			append(&b, *e, strlen(*e) + 1);
			number[5]++;
		}
	}
	int n = snprintf(text, sizeof text, "MODPROBE_OPTIONS=-d %.*s",
			 (int)strlen(o->modules) - (int)strlen("/lib/modules"), o->modules);

	append(&b, text, (size_t)n + 1);
	append(&b, "TABIQUE_EMULATED_HOST=1", 24);
	number[5] += 2;
	memcpy(b.data, number, sizeof number);
	send_frame(fd, 'S', b.data, b.used);
	free(b.data);
}

static pid_t start_qemu(const struct options *o, int socket_fd)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid != 0) {
		return pid;
	}
	/* Whatever ends us, kill -9 included, ends QEMU. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) {
		_exit(1);
	}
	/* Not in the terminal's foreground group: Ctrl-C is for the command. */
	setsid();
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	int null = open("/dev/null", O_RDWR);
	int log = open(o->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (dup2(socket_fd, 3) < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
		_exit(1);
	}
	closefrom(4);
	execvp(o->qemu_args[0], o->qemu_args);
	fprintf(stderr, "%s: %s\n", o->qemu_args[0], strerror(errno));
	_exit(127);
}

static void stop_qemu(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
	}
}

/* The console's last words, so that a panic can be read. */
static void show_log(const char *path)
{
	char text[4096];
	FILE *f = fopen(path, "re");

	if (f == NULL) {
		return;
	}
	if (fseek(f, -2048, SEEK_END) != 0) {
		rewind(f);
	}
	size_t n = fread(text, 1, sizeof text, f);
	bool line_start = true;

	fclose(f);
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\r' || text[i] == '\033') {
			continue;
		}
		if (line_start) {
			fputs("  | ", stderr);
		}
		fputc(text[i], stderr);
		line_start = text[i] == '\n';
	}
	if (!line_start) {
		fputc('\n', stderr);
	}
}

/* One life of the emulated host. */
struct run {
	const struct options *o;
	pid_t qemu;
	int port;
	uint32_t flags;
	bool hello, running, input_open;
	uint32_t credit;
	int64_t heard_ms, started_ms;
	int64_t kill_ms;  /* when the grace after a signal ends; 0: no signal */
	int signal;
	int status;       /* the command's; -1 while it runs */
	bool broken_pipe[2];
};

/* fd 1 or 2; a reader that has gone costs the command a SIGPIPE, as in a pipe. */
static void outside_output(struct run *r, int fd, const void *data, size_t len)
{
	if (r->broken_pipe[fd - 1]) {
		return;
	}
	if (write_all(fd, data, len) == -EPIPE) {
		r->broken_pipe[fd - 1] = true;
		send_number(r->port, 'K', SIGPIPE);
	}
}

static void outside_frame(struct run *r, char type, const unsigned char *data, uint32_t len)
{
	uint32_t number = 0;

	memcpy(&number, data, len < sizeof number ? len : sizeof number);
	switch (type) {
	case 'H':
		r->hello = true;
		send_spec(r->port, r->o, r->flags);
		break;
	case 'R':
		r->running = true;
		r->credit = INPUT_WINDOW_BYTES;
		if ((r->flags & SPEC_TTY) != 0) {
			make_terminal_raw();
		}
		break;
	case 'O':
		outside_output(r, 1, data, len);
		break;
	case 'A':
		outside_output(r, 2, data, len);
		break;
	case 'C':
		r->credit += number;
		break;
	case 'F':
		fprintf(stderr, "with-kvm: emulated host: %.*s\n", (int)len, data);
		break;
	case 'X':
		r->status = (int)number;
		break;
	default: /* B, a heartbeat: being heard is its message */
		break;
	}
}

static void outside_input(struct run *r)
{
	static char chunk[CHUNK_BYTES];
	ssize_t n = read(0, chunk, r->credit < sizeof chunk ? r->credit : sizeof chunk);

	if (n > 0) {
		send_frame(r->port, 'I', chunk, (size_t)n);
		r->credit -= (uint32_t)n;
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		send_frame(r->port, 'E', NULL, 0);
		r->input_open = false;
	}
}

static void outside_signal(struct run *r, int number)
{
	struct winsize w;

	if (number == SIGWINCH) {
		if (r->running && ioctl(0, TIOCGWINSZ, &w) == 0) {
			uint32_t size[2] = { w.ws_row, w.ws_col };

			send_frame(r->port, 'W', size, sizeof size);
		}
		return;
	}
	if (number == SIGCHLD) {
		return; /* the port's end says the same, after the last output */
	}
	if (!r->running || r->kill_ms != 0) {
		r->kill_ms = now_ms(); /* nothing to wait for, or asked twice */
	} else {
		send_number(r->port, 'K', (uint32_t)number);
		/* Ctrl-C may be handled by the command and not end it. */
		r->kill_ms = number == SIGINT ? 0 : now_ms() + GRACE_S * 1000;
	}
	r->signal = number;
}

/* Returns the command's status, or -1: this life of the host failed. */
static int outside_run(struct run *r, int signals)
{
	struct frames frames = { 0 };
	char type;
	unsigned char *data;
	uint32_t len;

	while (r->status < 0) {
		struct pollfd p[3] = {
			{ .fd = r->port, .events = POLLIN },
			{ .fd = signals, .events = POLLIN },
			{ .fd = r->input_open && r->credit > 0 ? 0 : -1, .events = POLLIN },
		};
		int n = poll(p, 3, 500);

		if (n < 0 && errno != EINTR) {
			break;
		}
		if (n > 0 && p[0].revents != 0) {
			if (frames_fill(&frames, r->port) <= 0) {
				break;
			}
			r->heard_ms = now_ms();
		}
		while (frames_first(&frames, &type, &data, &len)) {
			outside_frame(r, type, data, len);
			frames_drop(&frames, len);
		}
		if (n > 0 && p[1].revents != 0) {
			struct signalfd_siginfo info;

			while (read(signals, &info, sizeof info) == sizeof info) {
				outside_signal(r, (int)info.ssi_signo);
			}
		}
		if (n > 0 && p[2].revents != 0) {
			outside_input(r);
		}
		if (r->kill_ms != 0 && now_ms() >= r->kill_ms) {
			r->status = 128 + r->signal;
		}
		if (!r->running && now_ms() - r->started_ms > r->o->boot_limit_s * 1000) {
			break;
		}
		if (r->running && now_ms() - r->heard_ms > SILENCE_S * 1000) {
			fprintf(stderr, "with-kvm: nothing heard of the emulated host for %d s\n",
				SILENCE_S);
			break;
		}
	}
	free(frames.data);
	return r->status;
}

/* QEMU opens its end from descriptor 3. */
static int outside_once(const struct options *o, int signals, bool *ret_started)
{
	int pair[2];
	struct run r = { .o = o, .input_open = true, .status = -1 };

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		fprintf(stderr, "with-kvm: no socket: %s\n", strerror(errno));
		exit(EXIT_FAILED);
	}
	bool tty = isatty(0) && isatty(1);

	r.flags = (tty ? SPEC_TTY : 0) | (!tty || !isatty(2) ? SPEC_SEPARATE_STDERR : 0);
	r.port = pair[0];
	r.started_ms = r.heard_ms = now_ms();
	r.qemu = start_qemu(o, pair[1]);
	close(pair[1]);
	if (r.qemu < 0) {
		fprintf(stderr, "with-kvm: cannot start QEMU: %s\n", strerror(errno));
		exit(EXIT_FAILED);
	}
	int status = outside_run(&r, signals);

	restore_terminal();
	stop_qemu(r.qemu);
	close(r.port);
	*ret_started = r.running;
	return status;
}

/*
 * emulated-host --log FILE --modules DIR --boot-limit S [--share DIR]... \
 *               --qemu QEMU ARGS... -- COMMAND...
 */
static void read_options(int argc, char **argv, struct options *o)
{
	int i = 1;

	*o = (struct options){ .boot_limit_s = 60, .modules = "", .log = "/dev/null" };
	o->share = calloc((size_t)argc, sizeof *o->share);
	for (; i + 1 < argc && strcmp(argv[i], "--qemu") != 0; i += 2) {
		if (strcmp(argv[i], "--log") == 0) {
			o->log = argv[i + 1];
		} else if (strcmp(argv[i], "--modules") == 0) {
			o->modules = argv[i + 1];
		} else if (strcmp(argv[i], "--boot-limit") == 0) {
			o->boot_limit_s = atoi(argv[i + 1]);
		} else if (strcmp(argv[i], "--share") == 0) {
			o->share[o->shares++] = argv[i + 1];
		}
	}
	o->qemu_args = argv + i + 1;
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
	}
	if (i + 1 >= argc) {
		fprintf(stderr, "emulated-host: started by tools/with-kvm, not by hand\n");
		exit(EXIT_FAILED);
	}
	argv[i] = NULL;
	o->command = argv + i + 1;
}

static int outside(int argc, char **argv)
{
	struct options o;
	sigset_t set;

	read_options(argc, argv, &o);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD };

	for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
		sigaddset(&set, caught[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	for (int attempt = 1;; attempt++) {
		bool started;
		int status = outside_once(&o, signals, &started);

		if (status >= 0) {
			return status;
		}
		if (started) {
			fprintf(stderr, "with-kvm: the emulated host died; its last words:\n");
			show_log(o.log);
			return EXIT_DIED;
		}
		fprintf(stderr, "with-kvm: the emulated host did not come up%s\n",
			attempt == 1 ? ", trying once more; its last words:" : "; its last words:");
		show_log(o.log);
		if (attempt == 2) {
			return EXIT_FAILED;
		}
	}
}

int main(int argc, char **argv)
{
	if (getpid() == 1) {
		inside();
	}
	return outside(argc, argv);
}
