/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "block/iovec.h"

static uint8_t a[4], b[1], c[8];
static struct iovec iov[4];

static int reset(void **state)
{
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	memset(c, 0, sizeof(c));
	iov[0] = (struct iovec){ a, 4 };
	iov[1] = (struct iovec){ NULL, 0 };
	iov[2] = (struct iovec){ b, 1 };
	iov[3] = (struct iovec){ c, 8 };
	return 0;
}

static void scatter_and_gather_skip(void **state)
{
	static const uint8_t in[] = { 1, 2, 3, 4, 5, 6 };
	uint8_t out[16] = { 0 };

	assert_int_equal(iovec_bytes(iov, 4), 13);
	assert_int_equal(iovec_scatter(iov, 4, 3, in, 6), 6);
	assert_int_equal(a[3], 1);
	assert_int_equal(b[0], 2);
	assert_int_equal(c[3], 6);
	assert_int_equal(iovec_gather(iov, 4, 3, out, 6), 6);
	assert_memory_equal(out, in, 6);
	assert_int_equal(iovec_gather(iov, 4, 10, out, 16), 3);
	assert_int_equal(iovec_gather(iov, 4, 13, out, 16), 0);
	assert_int_equal(iovec_scatter(iov, 0, 0, in, 6), 0);
}

static void trim_keeps_the_first_bytes(void **state)
{
	assert_int_equal(iovec_trim(iov, 4, 5), 3);
	assert_int_equal(iovec_bytes(iov, 3), 5);
	assert_int_equal(iovec_trim(iov, 3, 2), 1);
	assert_int_equal(iov[0].iov_len, 2);
	assert_int_equal(iovec_trim(iov, 1, 0), 0);
}

static void skip_drops_the_first_bytes(void **state)
{
	int count = 4;
	struct iovec *at = iovec_skip(iov, &count, 6);

	assert_int_equal(count, 1);
	assert_ptr_equal(at->iov_base, c + 1);
	assert_int_equal(at->iov_len, 7);
	at = iovec_skip(at, &count, 7);
	assert_int_equal(count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(scatter_and_gather_skip, reset),
		cmocka_unit_test_setup(trim_keeps_the_first_bytes, reset),
		cmocka_unit_test_setup(skip_drops_the_first_bytes, reset),
	};

	return cmocka_run_group_tests_name("block/iovec", tests, NULL, NULL);
}
