/* SPDX-License-Identifier: MIT */
/*
 * The end on this machine: starts QEMU, relays terminal, pipes and signals, and
 * ends with the command's status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

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
	static const char *const outside_only[] = {
		"DISPLAY=",      "WAYLAND_DISPLAY=",  "SSH_",
		"DBUS_",         "XDG_RUNTIME_DIR=",  "TMUX",
		"STY=",          "MAKEFLAGS=",        "MFLAGS=",
		"GNUMAKEFLAGS=", "MODPROBE_OPTIONS=", "TABIQUE_EMULATED_HOST="
	};

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
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
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
	int64_t kill_ms; /* when the grace after a signal ends; 0: no signal */
	int signal;
	int status; /* the command's; -1 while it runs */
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
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {}
	if (i + 1 >= argc) {
		fprintf(stderr, "emulated-host: started by tools/with-kvm, not by hand\n");
		exit(EXIT_FAILED);
	}
	argv[i] = NULL;
	o->command = argv + i + 1;
}

int outside(int argc, char **argv)
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
