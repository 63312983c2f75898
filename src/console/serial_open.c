/* SPDX-License-Identifier: MIT */
#include "console/serial_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/*
 * Our own way to one of the standard descriptors. O_NONBLOCK on a shared description would also be
 * seen by the shell, so terminals and pipes are opened anew.
 */
static int standard_end(int fd, int access, struct serial_end *ret)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st) != 0) {
		*ret = (struct serial_end){ .fd = -1 }; /* closed: nothing there, no mistake */
		return 0;
	}
	if (isatty(fd) || S_ISFIFO(st.st_mode)) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0) {
			*ret = (struct serial_end){ .fd = own, .io = SERIAL_IO_NONBLOCK };
			return 0;
		}
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0) {
		return -errno;
	}
	*ret = (struct serial_end){
		.fd = own,
		.io = S_ISSOCK(st.st_mode) ? SERIAL_IO_SOCKET : SERIAL_IO_FILE,
	};
	return 0;
}

/* A terminal that we may read: not one whose foreground is somebody else. */
static bool is_our_terminal(int fd)
{
	return isatty(fd) && tcgetpgrp(fd) == getpgrp();
}

static int open_stdio(struct serial *serial, struct diag *reterr)
{
	bool in_is_terminal = isatty(STDIN_FILENO);
	struct stat st;
	int err;

	(void)signal(SIGPIPE, SIG_IGN); /* a reader that leaves must not end the guest */
	err = standard_end(STDOUT_FILENO, O_WRONLY, &serial->out);
	if (err) {
		return diag_set(reterr, err, "serial port: standard output: %s", strerror(-err));
	}
	if (in_is_terminal && !is_our_terminal(STDIN_FILENO)) {
		return 0; /* in the background: reading would stop us */
	}
	err = standard_end(STDIN_FILENO, O_RDONLY, &serial->in);
	if (err) {
		return diag_set(reterr, err, "serial port: standard input: %s", strerror(-err));
	}
	/* Reads of a device that could not be opened anew would wait: do without input. */
	if (serial->in.io == SERIAL_IO_FILE && fstat(serial->in.fd, &st) == 0 &&
	    !S_ISREG(st.st_mode) && (in_is_terminal || S_ISFIFO(st.st_mode))) {
		close(serial->in.fd);
		serial->in = (struct serial_end){ .fd = -1 };
	}
	if (in_is_terminal && serial->in.fd >= 0) {
		err = terminal_make_raw(serial->in.fd);
		if (err) {
			return diag_set(reterr, err, "serial port: terminal: %s", strerror(-err));
		}
		serial->is_terminal = true;
	}
	return 0;
}

static int open_file(struct serial *serial, const char *path, struct diag *reterr)
{
	struct stat st;
	/* A FIFO or device is used as it is; O_NONBLOCK keeps us from waiting for its reader. */
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);

	if (fd < 0) {
		int err = errno;

		return diag_set(reterr, -err, "serial port: cannot write the file %s: %s", path,
				err == ENXIO ? "nobody reads this FIFO" : strerror(err));
	}
	serial->out.fd = fd;
	serial->out.io = SERIAL_IO_NONBLOCK;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		serial->out.io = SERIAL_IO_FILE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	return 0;
}

/* A socket that nobody listens on any more is in the way; whether it could be removed. */
static bool remove_stale_socket(const struct sockaddr_un *address)
{
	int auto_close fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0 || lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		return false;
	}
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno != ECONNREFUSED) {
		return false;
	}
	return unlink(address->sun_path) == 0;
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
	const struct sockaddr *sa = (const struct sockaddr *)address;

	if (bind(fd, sa, sizeof(*address)) == 0) {
		return 0;
	}
	if (errno == EADDRINUSE && remove_stale_socket(address) &&
	    bind(fd, sa, sizeof(*address)) == 0) {
		return 0;
	}
	return errno ? -errno : -EADDRINUSE;
}

static int open_socket(struct serial *serial, const char *path, struct diag *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int auto_close fd = -1;
	int err;

	if (strlen(path) >= sizeof(address.sun_path)) {
		return diag_set(reterr, -ENAMETOOLONG,
				"serial port: the socket's path is longer than %zu bytes: %s",
				sizeof(address.sun_path) - 1, path);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return diag_set(reterr, -errno, "serial port: socket: %s", strerror(errno));
	}
	err = bind_socket(fd, &address);
	if (err) {
		return diag_set(reterr, err, "serial port: cannot make the socket %s: %s", path,
				err == -EADDRINUSE ? "it exists; is it in use?" : strerror(-err));
	}
	/* Only its owner may type into a guest; nobody can connect before listen(). */
	if (chmod(path, 0600) != 0 || listen(fd, 1) != 0) {
		err = -errno;
		(void)unlink(path);
		return diag_set(reterr, err, "serial port: socket %s: %s", path, strerror(-err));
	}
	serial->listen_fd = steal_fd(&fd);
	serial->address = address;
	serial->lossy = true;
	return 0;
}

int serial_open(struct serial *serial, const char *spec, struct diag *reterr)
{
	if (strcmp(spec, "none") == 0) {
		return 0;
	}
	if (strcmp(spec, "stdio") == 0) {
		return open_stdio(serial, reterr);
	}
	if (strncmp(spec, "file:", 5) == 0 && spec[5]) {
		return open_file(serial, spec + 5, reterr);
	}
	if (strncmp(spec, "unix:", 5) == 0 && spec[5]) {
		return open_socket(serial, spec + 5, reterr);
	}
	return diag_set(reterr, -EINVAL,
			"serial port: \"%s\" is none of stdio, none, file:PATH, unix:PATH", spec);
}
