/* SPDX-License-Identifier: MIT */
/* What a burst of frames costs in system calls, between two TAP devices. */
#include "wires_rig.h"

struct burst {
	int from;
	const struct sockaddr *to;
	socklen_t length;
	struct loop *loop;
	bool forget, has_batch;
};

#define BURST 150U

/* On the loop's thread: it reads nothing before all are there. */
static void send_burst(void *arg)
{
	struct burst *burst = arg;
	struct batch *batch = loop_batch(burst->loop);

	burst->has_batch = batch != NULL;
	if (batch && burst->forget) {
		batch_forget_nowait(batch);
	}
	for (uint32_t i = 0; i < BURST; i++) {
		assert_int_equal(sendto(burst->from, &i, sizeof(i), 0, burst->to, burst->length),
				 sizeof(i));
	}
}

struct calls {
	const struct net *net;
	uint64_t count;
};

static void note_calls(void *ctx, const char *name, uint64_t value)
{
	if (strcmp(name, "kernel_calls") == 0) {
		((struct calls *)ctx)->count = value;
	}
}

static void count_calls(void *arg)
{
	net_facts(((struct calls *)arg)->net, note_calls, arg);
}

static uint64_t calls_of(const struct rig *rig, int side)
{
	struct calls calls = { .net = rig->sides[side].net };

	loop_call(rig->loop, count_calls, &calls);
	return calls.count;
}

static void receive_numbers(int to, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct pollfd pfd = { .fd = to, .events = POLLIN };
		uint32_t got;

		assert_int_equal(poll(&pfd, 1, 10000), 1);
		assert_int_equal(recv(to, &got, sizeof(got), 0), sizeof(got));
		assert_int_equal(got, i);
	}
}

static void a_burst_goes_through(bool forget)
{
	struct rig rig = { 0 };
	struct sockaddr_storage address;
	socklen_t length = address_of(false, 1, 4444, &address);
	struct burst burst = { .to = (struct sockaddr *)&address,
			       .length = length,
			       .forget = forget };
	uint64_t calls[2];
	int to;

	rig_up(&rig, TAP, TAP);
	burst.loop = rig.loop;
	enter(rig.sides[1].ns);
	to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(to, burst.to, length), 0);
	enter(rig.sides[0].ns);
	burst.from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enter(home_ns);
	for (uint32_t i = 0; i < 3; i++) {
		/* The first asks for the address; with the others all has settled. */
		assert_int_equal(sendto(burst.from, &i, sizeof(i), 0, burst.to, length), sizeof(i));
		receive_numbers(to, i, 1);
	}
	for (int round = 0; round < 5; round++) {
		calls[0] = calls_of(&rig, 0);
		calls[1] = calls_of(&rig, 1);
		loop_call(rig.loop, send_burst, &burst);
		receive_numbers(to, 0, BURST);
		calls[0] = calls_of(&rig, 0) - calls[0];
		calls[1] = calls_of(&rig, 1) - calls[1];
		print_message("%u frames: %u calls to read, %u to write\n", BURST,
			      (unsigned int)calls[0], (unsigned int)calls[1]);
		if (burst.has_batch) {
			assert_in_range(calls[0], 1, BURST / 6);
			assert_in_range(calls[1], 1, BURST / 6);
		}
	}
	close(burst.from);
	close(to);
	rig_down(&rig);
}

static void a_burst_takes_few_system_calls(void **state)
{
	(void)state;
	a_burst_goes_through(false);
}

/* As with Linux 6.1, whose TAP devices know of no RWF_NOWAIT. */
static void a_burst_takes_few_system_calls_of_an_older_kernel(void **state)
{
	(void)state;
	a_burst_goes_through(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_takes_few_system_calls),
		cmocka_unit_test(a_burst_takes_few_system_calls_of_an_older_kernel),
	};
	int status = wires_rig_begin();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
