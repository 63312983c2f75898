/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "net/fifo.h"

static void frames_come_out_as_they_went_in(void **state)
{
	struct fifo fifo;
	uint32_t seed = 7, in = 0, out = 0;
	uint8_t data[700];

	(void)state;
	assert_int_equal(fifo_init(&fifo, 4096), 0);
	assert_null(fifo_peek(&fifo));
	for (int i = 0; i < 100000; i++) {
		seed = seed * 1103515245 + 12345;
		if (seed >> 31) {
			uint32_t bytes = 14 + (in * 37) % 600;
			struct iovec iov[2] = { { data, 5 }, { data + 5, bytes - 5 } };
			struct net_frame frame = {
				.iov = iov, .iov_count = 2, .bytes = bytes, .mss = in
			};

			memset(data, (int)in, sizeof(data));
			if (fifo_put(&fifo, &frame, NULL) == 0) {
				in++;
			} else {
				assert_false(fifo_is_empty(&fifo));
			}
		} else if (!fifo_is_empty(&fifo)) {
			struct fifo_frame *f = fifo_peek(&fifo);

			assert_int_equal(f->mss, out);
			assert_int_equal(f->bytes, 14 + (out * 37) % 600);
			for (uint32_t k = 0; k < f->bytes; k++) {
				assert_int_equal(f->data[k], (uint8_t)out);
			}
			fifo_pop(&fifo);
			out++;
		}
	}
	assert_true(out > 1000);
	fifo_fini(&fifo);
}

static void a_frame_larger_than_all_is_never_taken(void **state)
{
	struct fifo fifo;
	static uint8_t data[5000];
	struct iovec iov = { data, sizeof(data) };
	struct net_frame frame = { .iov = &iov, .iov_count = 1, .bytes = sizeof(data) };

	(void)state;
	assert_int_equal(fifo_init(&fifo, 4096), 0);
	assert_int_equal(fifo_put(&fifo, &frame, NULL), -EAGAIN);
	fifo_fini(&fifo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_went_in),
		cmocka_unit_test(a_frame_larger_than_all_is_never_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
