/* SPDX-License-Identifier: MIT */
/*
 * The user's terminal. It must be given back as it was however the process ends, also from a signal
 * handler, which has no argument: hence the only mutable globals of this directory.
 */
#include "console/serial_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/num.h"

static struct {
	atomic_bool raw; /* saved and fd are valid */
	int fd;
	struct termios saved;
} terminal;

static const int fatal_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGILL,  SIGABRT,
				     SIGBUS, SIGFPE, SIGSEGV, SIGTERM, SIGSYS };

void serial_restore_terminal(void)
{
	int saved_errno = errno;

	if (atomic_exchange(&terminal.raw, false)) {
		(void)tcsetattr(terminal.fd, TCSANOW, &terminal.saved);
	}
	errno = saved_errno;
}

static void on_fatal_signal(int signal_number)
{
	serial_restore_terminal();
	/* SA_RESETHAND has put the default back, so this ends us as it would have without us. */
	(void)raise(signal_number);
}

static void terminal_guard(void)
{
	struct sigaction ours = { .sa_handler = on_fatal_signal,
				  .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
	static bool guarded;

	if (guarded) {
		return;
	}
	guarded = true;
	(void)atexit(serial_restore_terminal);
	sigemptyset(&ours.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction theirs;

		/* Whoever handles a signal already, ends by exit() or lives on. */
		if (sigaction(fatal_signals[i], NULL, &theirs) == 0 &&
		    theirs.sa_handler == SIG_DFL) {
			(void)sigaction(fatal_signals[i], &ours, NULL);
		}
	}
}

int terminal_make_raw(int fd)
{
	struct termios raw;

	if (atomic_load(&terminal.raw)) {
		return -EBUSY;
	}
	if (tcgetattr(fd, &terminal.saved) != 0) {
		return -errno;
	}
	terminal_guard();
	raw = terminal.saved;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST; /* our own log lines end in a bare newline */
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	terminal.fd = fd;
	atomic_store(&terminal.raw, true);
	if (tcsetattr(fd, TCSANOW, &raw) != 0) {
		int err = errno;

		atomic_store(&terminal.raw, false);
		return -err;
	}
	return 0;
}
