/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/away.h"

struct seen {
	struct net_front front;
	unsigned int writable, links;
};

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	(void)front;
	(void)frame;
	fail_msg("nothing is ever delivered");
	return 0;
}

static void on_batch_end(struct net_front *front)
{
	(void)front;
}

static void on_writable(struct net_front *front)
{
	container_of(front, struct seen, front)->writable++;
}

static void on_link(struct net_front *front)
{
	container_of(front, struct seen, front)->links++;
}

static const struct net_front_ops ops = { on_deliver, on_batch_end, on_writable, on_link };

static uint8_t bytes[60];
static const struct iovec iov = { bytes, sizeof(bytes) };
static const struct net_frame frame = { .iov = &iov, .iov_count = 1, .bytes = sizeof(bytes) };

static void sends_wait_while_the_link_is_up_and_are_lost_while_it_is_down(void **state)
{
	struct seen seen = { .front.ops = &ops };
	struct net_front_config config = { .mtu = NET_MTU_DEFAULT };
	struct loop *loop;
	struct diag diag;
	struct net *net;

	(void)state;
	assert_int_equal(loop_create("away", &loop, &diag), 0);
	assert_int_equal(net_away_create(loop, &net), 0);
	assert_string_equal(net_kind(net), "away");
	assert_int_equal(net_attach(net, &seen.front, &config), 0);
	assert_false(net_link_is_up(net));
	assert_int_equal(net_send(net, &frame), 0);
	assert_int_equal(net_counters(net)->send_lost, 1);
	net_away_set_link(net, true);
	assert_int_equal(seen.links, 1);
	assert_int_equal(net_send(net, &frame), -EAGAIN);
	assert_int_equal(net_counters(net)->send_lost, 1);
	assert_int_equal(seen.writable, 0);
	net_away_set_link(net, false);
	assert_int_equal(seen.links, 2);
	assert_int_equal(seen.writable, 1);
	assert_int_equal(net_send(net, &frame), 0);
	assert_int_equal(net_counters(net)->send_lost, 2);
	/* Nobody waited this time. */
	net_away_set_link(net, true);
	net_away_set_link(net, false);
	assert_int_equal(seen.writable, 1);
	net_detach(net);
	net_destroy(net);
	loop_destroy(loop);
}

static void each_end_has_its_own_link(void **state)
{
	struct loop *loop;
	struct diag diag;
	struct net *net, *twin;

	(void)state;
	assert_int_equal(loop_create("away", &loop, &diag), 0);
	assert_int_equal(net_away_create(loop, &net), 0);
	assert_true(net_ends_max(net) > 1);
	assert_int_equal(net_twin(net, loop, &twin), 0);
	net_away_set_link(twin, true);
	assert_true(net_link_is_up(twin));
	assert_false(net_link_is_up(net));
	net_destroy(twin);
	net_destroy(net);
	loop_destroy(loop);
}

static void no_memory_is_said(void **state)
{
	struct net *net;

	(void)state;
	fault_arm(1);
	assert_int_equal(net_away_create(NULL, &net), -ENOMEM);
	fault_arm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_wait_while_the_link_is_up_and_are_lost_while_it_is_down),
		cmocka_unit_test(each_end_has_its_own_link),
		cmocka_unit_test(no_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
