/* SPDX-License-Identifier: MIT */
/*
 * The kernel's choice of a queue against our own, frame by frame. Needs CAP_BPF and CAP_NET_ADMIN; skipped
 * without. How a TAP device obeys is in wires_test.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "net/steer_bpf.h"

#define FRAMES 3000U

static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static struct net_rss any_rss(void)
{
	struct net_rss rss = { .is_on = true, .queues = 16, .hash_types = any(64) };

	rss.table_entries = (uint16_t)(1U << any(8));
	for (unsigned int i = 0; i < NET_RSS_KEY_BYTES; i++) {
		rss.key[i] = (uint8_t)any(256);
	}
	for (unsigned int i = 0; i < rss.table_entries; i++) {
		rss.table[i] = (uint16_t)any(16);
	}
	return rss;
}

/* Mostly what is hashed somehow, with each field wrong now and then. */
static uint32_t any_frame(uint8_t frame[128])
{
	static const uint8_t protocols[] = { 6, 17, 6, 17, 1, 58 };
	uint32_t at = 12, tags = any(4);
	bool is_v6 = any(2);
	uint8_t *ip;

	for (unsigned int i = 0; i < 128; i++) {
		frame[i] = (uint8_t)any(256);
	}
	for (unsigned int i = 0; i < tags && any(3) == 0; i++, at += 4) {
		bytes_put_be16(frame + at, any(2) ? 0x8100 : 0x88a8);
	}
	bytes_put_be16(frame + at, (uint16_t)(any(20) ? is_v6 ? 0x86dd : 0x0800 : any(65536)));
	ip = frame + at + 2;
	if (is_v6) {
		ip[0] = any(20) ? 0x60 : ip[0];
		ip[6] = protocols[any(sizeof(protocols))];
	} else {
		ip[0] = (uint8_t)(any(20) ? 0x45 + any(3) : ip[0]);
		ip[9] = protocols[any(sizeof(protocols))];
		bytes_put_be16(ip + 6, (uint16_t)(any(5) ? 0x4000 : any(65536)));
	}
	return any(10) ? 128 : 15 + any(113);
}

static int run(int program, const uint8_t *frame, uint32_t bytes, uint32_t *ret)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = (uint32_t)program;
	attr.test.data_in = (uintptr_t)frame;
	attr.test.data_size_in = bytes;
	if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr))) {
		return -errno;
	}
	*ret = attr.test.retval;
	return 0;
}

static void the_kernel_chooses_as_we_do(void **state)
{
	struct steer_bpf bpf;
	struct steer steer;
	unsigned int elsewhere = 0;
	/* where a test run's frame begins as in a device's queue: with its Ethernet header */
	int err = steer_bpf_create(BPF_PROG_TYPE_SCHED_CLS, &bpf);

	(void)state;
	if (err == -EPERM || err == -EACCES || err == -ENOSYS) {
		skip();
	}
	assert_int_equal(err, 0);
	for (unsigned int i = 0; i < FRAMES; i++) {
		uint8_t frame[128];
		uint32_t bytes = any_frame(frame), got = 0, hash;
		unsigned int wanted;

		if (i % 100 == 0) {
			struct net_rss rss = any_rss();

			rss.is_on = i % 1000 != 900;
			steer_init(&steer, &rss);
			assert_int_equal(steer_bpf_set(&bpf, &steer), 0);
		}
		wanted = steer_hash(&steer, frame, bytes, &hash) ? steer_queue(&steer, hash) : 0;
		err = run(bpf.program, frame, bytes, &got);
		if (err == -EINVAL) {
			continue; /* test runs want whole IP headers, newer kernels' */
		}
		assert_int_equal(err, 0);
		if (got != wanted) {
			fail_msg("frame %u of %u bytes: queue %u, not %u", i, bytes, got, wanted);
		}
		elsewhere += wanted != 0;
	}
	assert_true(elsewhere > FRAMES / 3);
	steer_bpf_destroy(&bpf);
	assert_int_equal(bpf.program, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_chooses_as_we_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
