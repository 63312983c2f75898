/* SPDX-License-Identifier: MIT */
#include "ext/ext_program.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

#define RETRY_MS 500

static volatile sig_atomic_t is_over;

static void on_signal(int number)
{
	(void)number;
	is_over = 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Answers frames until the switch has gone, or a signal came. */
static void serve(const struct ext_program *program, struct ext_client *client)
{
	struct ext_frame frame;
	int n = 0;

	while (!is_over && n >= 0) {
		/* A signal between the question and the sleep is seen a second later. */
		n = ext_client_next(client, 1000, &frame);
		if (n > 0) {
			program->on_frame(program->ctx, client, &frame);
		}
	}
}

static bool may_come(int err)
{
	return err == -ENOENT || err == -ECONNREFUSED || err == -EPIPE || err == -ECONNRESET ||
	       err == -ETIMEDOUT;
}

int ext_program_run(const struct ext_program *program)
{
	bool has_complained = false;

	catch_signals();
	while (!is_over) {
		struct ext_client *client;
		struct diag diag;
		int err = ext_client_open(program->where, &program->client, &client, &diag);

		if (!err) {
			has_complained = false;
			serve(program, client);
			ext_client_close(client);
			if (program->once) {
				return 0;
			}
			continue;
		}
		if (!has_complained || !may_come(err) || program->once) {
			fprintf(stderr, "%s: error: %s\n", program->name, diag.text);
			has_complained = true;
		}
		if (!may_come(err) || program->once) {
			return may_come(err) ? 2 : 1;
		}
		(void)poll(NULL, 0, RETRY_MS);
	}
	return 0;
}

bool ext_program_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(text, &end, 0);
	if (errno || end == text || *end || text[0] == '-' || number < min || number > max) {
		return false;
	}
	*ret = number;
	return true;
}
