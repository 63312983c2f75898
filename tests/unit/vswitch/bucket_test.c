/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/bucket.h"

static void a_full_bucket_gives_its_burst_and_then_its_rate(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;
	uint64_t now = 1ULL << 40, sent = 0;

	bucket_init(&bucket, 1000000, 50000, now);
	bucket_share_init(&share, &bucket);
	while (bucket_take(&share, 1000, now)) {
		sent += 1000;
	}
	assert_in_range(sent, 48000, 51000);
	for (unsigned int i = 0; i < 10000; i++) {
		now += 100000; /* a second in all */
		while (bucket_take(&share, 1000, now)) {
			sent += 1000;
		}
	}
	assert_in_range(sent, 1040000, 1052000);
}

static void no_limit_is_no_limit(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;

	bucket_init(&bucket, 0, 0, 5);
	bucket_share_init(&share, &bucket);
	assert_true(bucket_take(&share, UINT32_MAX, 5));
	assert_true(bucket_take(&share, UINT32_MAX, 5));
	assert_int_equal(bucket_wait_ns(&share, UINT32_MAX, 5), 0);
}

static void the_highest_rate_and_burst_do_not_overflow(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;
	uint64_t now = 3600ULL * 1000000000, sent = 0;

	bucket_init(&bucket, UINT64_MAX, UINT64_MAX, now);
	bucket_share_init(&share, &bucket);
	assert_true(bucket_take(&share, UINT32_MAX, now));
	while (bucket_take(&share, 9000, now)) {}
	for (unsigned int i = 0; i < 100000; i++) {
		now += 1000;
		while (bucket_take(&share, 9000, now)) {
			sent += 9000;
		}
	}
	/* a tenth of a second, and what was left of a quantum */
	assert_in_range(sent, 4900000000, 5100000000);
}

static void a_long_silence_earns_no_more_than_the_burst(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;
	uint64_t now = 1000, sent = 0;

	bucket_init(&bucket, BUCKET_RATE_MAX, 100000, now);
	bucket_share_init(&share, &bucket);
	now += 1ULL << 60;
	while (bucket_take(&share, 100, now)) {
		sent += 100;
	}
	assert_in_range(sent, 99000, 101000);
}

static void after_the_wait_that_is_told_there_is_enough(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;
	uint64_t now = 1ULL << 33, wait;

	bucket_init(&bucket, 12345, 3000, now);
	bucket_share_init(&share, &bucket);
	for (unsigned int i = 0; i < 1000; i++) {
		uint64_t amount = 1 + (i * 7919) % 9000; /* also above the burst */

		wait = bucket_wait_ns(&share, amount, now);
		if (wait > 1) {
			assert_false(bucket_take(&share, amount, now + wait - 2));
		}
		now += wait;
		assert_true(bucket_take(&share, amount, now));
	}
	/* 4.5 MB at 12,345 a second */
	assert_in_range(now - (1ULL << 33), 350ULL * 1000000000, 380ULL * 1000000000);
}

static void what_is_given_back_can_be_taken_again(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;

	bucket_init(&bucket, 1000, 100, 1);
	bucket_share_init(&share, &bucket);
	assert_true(bucket_take(&share, 500, 1000000000));
	assert_false(bucket_take(&share, 500, 1000000000));
	bucket_give_back(&share, 500);
	assert_true(bucket_take(&share, 500, 1000000000));
}

static void a_new_rate_counts_at_once(void **state)
{
	(void)state;
	struct bucket bucket;
	struct bucket_share share;

	bucket_init(&bucket, 1, 1, 1000);
	bucket_share_init(&share, &bucket);
	while (bucket_take(&share, 1, 1000)) {}
	bucket_set(&bucket, 1000000000, 1000);
	assert_true(bucket_take(&share, 1000, 3000000000));
}

#define THREADS 4

struct worker {
	struct bucket *bucket;
	uint64_t sent;
};

static void *worker_run(void *arg)
{
	struct worker *worker = arg;
	struct bucket_share share;

	bucket_share_init(&share, worker->bucket);
	for (uint64_t now = 1000000000; now < 2000000000; now += 20000) {
		while (bucket_take(&share, 1500, now)) {
			worker->sent += 1500;
		}
	}
	return NULL;
}

static void many_cores_together_keep_to_the_rate(void **state)
{
	(void)state;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	struct bucket bucket;
	uint64_t sent = 0;

	bucket_init(&bucket, 100000000, 1000000, 1000000000);
	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .bucket = &bucket };
		assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		sent += workers[i].sent;
	}
	/* B1: a second, the burst, a quantum each */
	assert_in_range(sent, 99000000, 101000000 + THREADS * 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_bucket_gives_its_burst_and_then_its_rate),
		cmocka_unit_test(no_limit_is_no_limit),
		cmocka_unit_test(the_highest_rate_and_burst_do_not_overflow),
		cmocka_unit_test(a_long_silence_earns_no_more_than_the_burst),
		cmocka_unit_test(after_the_wait_that_is_told_there_is_enough),
		cmocka_unit_test(what_is_given_back_can_be_taken_again),
		cmocka_unit_test(a_new_rate_counts_at_once),
		cmocka_unit_test(many_cores_together_keep_to_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
