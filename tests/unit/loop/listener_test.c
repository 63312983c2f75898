/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/listener.h"

#define CALLERS (3U * LISTENER_TURN + 1)

struct world {
	struct loop *loop;
	struct listener listener;
	struct loop_work other;
	unsigned int accepted, stop_after;
	unsigned int most_between; /* accepted between two runs of the other's work */
	unsigned int since;
	int fd;
	struct sockaddr_un address;
	socklen_t address_bytes;
	int callers[CALLERS];
};

static void on_caller(struct listener *listener, int fd_take)
{
	struct world *w = container_of(listener, struct world, listener);

	assert_true(fcntl(fd_take, F_GETFL) & O_NONBLOCK);
	close(fd_take);
	w->since++;
	w->most_between = w->since > w->most_between ? w->since : w->most_between;
	if (++w->accepted == w->stop_after) {
		listener_stop(listener);
	}
}

/* Somebody else on the loop, who has something to do all the time. */
static void on_other(struct loop_work *work)
{
	struct world *w = container_of(work, struct world, other);

	w->since = 0;
	loop_post(w->loop, work);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct diag diag;

	assert_int_equal(loop_create("test", &w->loop, &diag), 0);
	w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	w->address.sun_family = AF_UNIX;
	assert_int_equal(bind(w->fd, (struct sockaddr *)&w->address, sizeof(sa_family_t)), 0);
	w->address_bytes = sizeof(w->address);
	assert_int_equal(getsockname(w->fd, (struct sockaddr *)&w->address, &w->address_bytes), 0);
	assert_int_equal(listen(w->fd, CALLERS), 0);
	for (unsigned int i = 0; i < CALLERS; i++) {
		w->callers[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			connect(w->callers[i], (struct sockaddr *)&w->address, w->address_bytes),
			0);
	}
	loop_work_init(&w->other, on_other);
	loop_post(w->loop, &w->other);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	listener_stop(&w->listener);
	loop_cancel(w->loop, &w->other);
	for (int i = 0; i < 4; i++) {
		loop_turn(w->loop);
	}
	for (unsigned int i = 0; i < CALLERS; i++) {
		close(w->callers[i]);
	}
	close(w->fd);
	loop_destroy(w->loop);
	free(w);
	return 0;
}

static void turn_for(struct world *w, unsigned int accepted, uint64_t ns)
{
	uint64_t until = loop_now_ns() + ns;

	while (w->accepted < accepted && loop_now_ns() < until) {
		loop_turn(w->loop);
	}
}

static void all_are_accepted_but_others_have_their_turn_between(void **state)
{
	struct world *w = *state;

	assert_int_equal(listener_start(&w->listener, w->loop, w->fd, on_caller), 0);
	turn_for(w, CALLERS, 5000000000ULL);
	assert_int_equal(w->accepted, CALLERS);
	assert_in_range(w->most_between, 1, LISTENER_TURN);
}

static void who_stops_it_from_within_is_not_called_again(void **state)
{
	struct world *w = *state;

	w->stop_after = 3;
	assert_int_equal(listener_start(&w->listener, w->loop, w->fd, on_caller), 0);
	turn_for(w, CALLERS, 50000000ULL);
	assert_int_equal(w->accepted, 3);
	/* And it starts again with those who are left. */
	w->stop_after = 0;
	assert_int_equal(listener_start(&w->listener, w->loop, w->fd, on_caller), 0);
	turn_for(w, CALLERS, 5000000000ULL);
	assert_int_equal(w->accepted, CALLERS);
}

static void who_found_no_descriptor_is_accepted_when_there_is_one(void **state)
{
	struct world *w = *state;
	struct rlimit old, none;

	assert_int_equal(listener_start(&w->listener, w->loop, w->fd, on_caller), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	turn_for(w, 1, 20000000ULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(w->accepted, 0);
	turn_for(w, CALLERS, 5000000000ULL); /* nobody else connects: there is no edge */
	assert_int_equal(w->accepted, CALLERS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_are_accepted_but_others_have_their_turn_between),
		T(who_stops_it_from_within_is_not_called_again),
		T(who_found_no_descriptor_is_accepted_when_there_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
