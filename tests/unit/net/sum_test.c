/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/offload.h"

#define SPAN      9000U
#define LONG      1200000U /* longer than what the wide ways sum in one go */
#define PIECES    12
#define ROUNDS    3000
#define CHANGES   2000U
#define GUARD     0xa5
#define L4        34U /* behind Ethernet and IPv4 */
#define UDP_BYTES 8U

static uint32_t random_state = 2463534242U;

static uint32_t rnd(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % below;
}

static void fill(uint8_t *at, size_t bytes)
{
	/* Some of it extreme: carries. */
	uint32_t kind = rnd(4);

	for (size_t i = 0; i < bytes; i++) {
		at[i] = kind == 0   ? 0xff
			: kind == 1 ? (uint8_t)(i & 1 ? 0 : 0x80)
				    : (uint8_t)rnd(256);
	}
}

/* By the book: words in network order, the carry added at once. */
static uint16_t by_the_book(const uint8_t *at, size_t bytes)
{
	uint32_t sum = 0;
	uint16_t wire;

	for (size_t i = 0; i < bytes; i++) {
		sum += i & 1 ? at[i] : (uint32_t)at[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	bytes_put_be16((uint8_t *)&wire, (uint16_t)~sum);
	return wire;
}

static void every_way_copies_and_sums_any_bytes(void **state)
{
	static uint8_t src[SPAN + 64], dst[SPAN + 128];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint32_t bytes = round < 400 ? round : rnd(SPAN);
		uint32_t from = rnd(64), to = rnd(64);
		uint16_t right;

		fill(src + from, bytes);
		right = by_the_book(src + from, bytes);
		assert_int_equal(net_sum_fold(net_sum(src + from, bytes)), right);
		for (enum net_sum_way way = NET_SUM_PLAIN; way <= net_sum_best(); way++) {
			assert_int_equal(
				net_sum_fold(net_copy_and_sum_by(way, NULL, src + from, bytes)),
				right);
			memset(dst, GUARD, sizeof(dst));
			assert_int_equal(
				net_sum_fold(net_copy_and_sum_by(way, dst + to, src + from, bytes)),
				right);
			assert_memory_equal(dst + to, src + from, bytes);
			assert_true(to == 0 || dst[to - 1] == GUARD);
			assert_int_equal(dst[to + bytes], GUARD);
		}
	}
}

static void a_copy_is_whole_and_no_more(void **state)
{
	static uint8_t src[SPAN + 64], dst[SPAN + 128];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint32_t bytes = round < 400 ? 1900 + round : rnd(SPAN);
		uint32_t from = rnd(64), to = rnd(64);

		fill(src + from, bytes);
		memset(dst, GUARD, sizeof(dst));
		net_copy(dst + to, src + from, bytes);
		assert_memory_equal(dst + to, src + from, bytes);
		assert_true(to == 0 || dst[to - 1] == GUARD);
		assert_int_equal(dst[to + bytes], GUARD);
	}
}

/* Lanes do not overflow, whatever the bytes. */
static void long_ones_are_summed_too(void **state)
{
	uint8_t *src = malloc(LONG), *dst = malloc(LONG);

	(void)state;
	for (unsigned int value = 0; value <= 0xff; value += 0x33) {
		memset(src, (int)value, LONG);
		for (enum net_sum_way way = NET_SUM_PLAIN; way <= net_sum_best(); way++) {
			assert_int_equal(net_sum_fold(net_copy_and_sum_by(way, dst, src, LONG - 3)),
					 by_the_book(src, LONG - 3));
			assert_memory_equal(src, dst, LONG - 3);
		}
	}
	free(src);
	free(dst);
}

/* Random pieces of random bytes, some of them empty. Their count. */
static int split(uint8_t *at, uint32_t bytes, struct iovec *iov)
{
	int count = 0;

	while (count < PIECES - 1 && bytes) {
		uint32_t run = rnd(4) ? rnd(bytes + 1) : rnd((uint32_t)num_min(bytes, 7) + 1);

		iov[count++] = (struct iovec){ at, run };
		at += run;
		bytes -= run;
	}
	iov[count++] = (struct iovec){ at, bytes };
	return count;
}

static void pieces_may_begin_and_end_anywhere(void **state)
{
	static uint8_t src[SPAN], dst[SPAN + 1];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint32_t all = 1 + rnd(SPAN - 1), offset = rnd(all), bytes = rnd(all - offset + 1);
		struct iovec iov[PIECES];
		uint16_t right;
		int count;

		fill(src, all);
		count = split(src, all, iov);
		right = by_the_book(src + offset, bytes);
		assert_int_equal(net_sum_fold(net_sum_iov(iov, count, offset, bytes)), right);
		dst[bytes] = GUARD;
		assert_int_equal(net_sum_fold(net_copy_and_sum_iov(dst, iov, count, offset, bytes)),
				 right);
		assert_memory_equal(dst, src + offset, bytes);
		assert_int_equal(dst[bytes], GUARD);
	}
}

static void udp_has_no_checksum_of_zero(void **state)
{
	(void)state;
	assert_int_equal(net_sum_fold_l4(0xffff, true), 0xffff);
	assert_int_equal(net_sum_fold_l4(0xffff, false), 0);
	assert_int_equal(net_sum_fold_l4(0x1234, true), net_sum_fold(0x1234));
}

/* A frame whose checksum is left to who copies it; padding behind its datagram. */
static struct net_frame make_partial(uint8_t *at, uint32_t payload, uint32_t padding,
				     struct iovec *iov)
{
	uint32_t end = L4 + UDP_BYTES + payload;
	struct net_frame frame = { .iov = iov,
				   .bytes = end + padding,
				   .flags = NET_FRAME_L4_PARTIAL,
				   .l4 = NET_L4_UDP,
				   .l4_offset = L4,
				   .l4_end = end };
	uint16_t folded;

	fill(at, frame.bytes);
	bytes_put_be16(at + 12, 0x0800);
	at[14] = 0x45;
	bytes_put_be16(at + 16, (uint16_t)(end - 14));
	bytes_put_be16(at + 20, 0);
	at[23] = NET_IP_UDP;
	folded = (uint16_t)~net_sum_fold(net_pseudo_sum(at + 14, 4, NET_IP_UDP, end - L4));
	memcpy(at + L4 + 6, &folded, 2);
	frame.iov_count = split(at, frame.bytes, iov);
	return frame;
}

/* As net_offload_finish() makes it, of the same bytes. */
static void expect_right(const uint8_t *copy, const struct net_frame *frame)
{
	static uint8_t right[SPAN];

	memcpy(right, copy, frame->bytes);
	assert_int_equal(net_offload_finish(right, frame->bytes, NET_FRAME_L4_CHECKSUM), 0);
	assert_memory_equal(copy, right, frame->bytes);
}

static void a_partial_checksum_is_whole_in_the_copy(void **state)
{
	static uint8_t src[SPAN], before[SPAN], copy[SPAN];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct iovec iov[PIECES];
		struct net_frame frame = make_partial(src, rnd(2000), round & 1 ? rnd(60) : 0, iov);

		memcpy(before, src, frame.bytes);
		fifo_gather(copy, &frame);
		assert_memory_equal(src, before, frame.bytes);
		expect_right(copy, &frame);
		memcpy(before + L4 + 6, copy + L4 + 6, 2);
		assert_memory_equal(copy, before, frame.bytes);
	}
}

/* Changes memory that both processes have, until it is killed. */
static pid_t start_changing(volatile uint8_t *at, uint32_t bytes)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (uint8_t value = 0;; value++) {
			for (uint32_t i = 0; i < bytes; i++) {
				at[i] = value;
			}
		}
	}
	return pid;
}

static void stop_changing(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static uint8_t *map_shared(void)
{
	uint8_t *at = mmap(NULL, SPAN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static void what_is_summed_is_what_was_copied(void **state)
{
	uint8_t *src = map_shared();
	static uint8_t dst[SPAN], last[SPAN];
	pid_t pid = start_changing(src, SPAN);
	uint32_t changes = 0;

	(void)state;
	/* As long as it takes to see it change; under load the other may be slow. */
	for (unsigned int round = 0; changes < CHANGES; round++) {
		enum net_sum_way way = round % (net_sum_best() + 1U);
		uint32_t at = rnd(40), bytes = SPAN - at - rnd(40);
		uint64_t sum = net_copy_and_sum_by(way, dst, src + at, bytes);

		assert_int_equal(net_sum_fold(sum), by_the_book(dst, bytes));
		changes += memcmp(dst, last, bytes) != 0;
		memcpy(last, dst, bytes);
	}
	stop_changing(pid);
	munmap(src, SPAN);
}

static void a_partial_checksum_is_that_of_the_copy(void **state)
{
	uint8_t *src = map_shared();
	static uint8_t copy[SPAN], last[SPAN];
	struct iovec iov[PIECES];
	struct net_frame frame = make_partial(src, 8000, 7, iov);
	pid_t pid = start_changing(src + L4 + UDP_BYTES, 8000);
	uint32_t changes = 0;

	(void)state;
	while (changes < CHANGES) {
		fifo_gather(copy, &frame);
		expect_right(copy, &frame);
		changes += memcmp(copy, last, frame.bytes) != 0;
		memcpy(last, copy, frame.bytes);
	}
	stop_changing(pid);
	munmap(src, SPAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_copies_and_sums_any_bytes),
		cmocka_unit_test(a_copy_is_whole_and_no_more),
		cmocka_unit_test(long_ones_are_summed_too),
		cmocka_unit_test(pieces_may_begin_and_end_anywhere),
		cmocka_unit_test(udp_has_no_checksum_of_zero),
		cmocka_unit_test(a_partial_checksum_is_whole_in_the_copy),
		cmocka_unit_test(what_is_summed_is_what_was_copied),
		cmocka_unit_test(a_partial_checksum_is_that_of_the_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
