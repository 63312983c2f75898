/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "state/load.h"
#include "state/save.h"

static void write_sample(struct save *save)
{
	save_u32(save, 1, 7);
	save_group_begin(save, 2);
	save_u64(save, 1, 1ULL << 40);
	save_bytes(save, 2, "hello", 5);
	save_group_end(save);
	save_u32(save, 99, 1); /* unknown to the reader */
}

static int read_sample(const uint8_t *bytes, size_t length, uint32_t *ret_a, uint64_t *ret_b)
{
	struct load load, inner;
	struct load_field f, g;
	char text[5];

	load_init(&load, bytes, length);
	while (load_next(&load, &f)) {
		if (f.tag == 1) {
			*ret_a = load_u32(&load, &f);
		} else if (f.tag == 2) {
			load_group(&load, &f, &inner);
			while (load_next(&inner, &g)) {
				if (g.tag == 1) {
					*ret_b = load_u64(&inner, &g);
				} else if (g.tag == 2) {
					load_bytes(&inner, &g, text, sizeof(text));
				}
			}
			load_close(&load, &inner);
		}
	}
	return load_result(&load);
}

static void what_was_saved_is_loaded(void **state)
{
	struct save save;
	const uint8_t *bytes;
	size_t length;
	uint32_t a = 0;
	uint64_t b = 0;

	save_init(&save);
	write_sample(&save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	assert_int_equal(read_sample(bytes, length, &a, &b), 0);
	assert_int_equal(a, 7);
	assert_int_equal(b, 1ULL << 40);
	save_fini(&save);
}

static void truncated_and_flipped_states_never_read_outside(void **state)
{
	struct save save;
	const uint8_t *bytes;
	size_t length;
	uint32_t a;
	uint64_t b;

	save_init(&save);
	write_sample(&save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	for (size_t n = 0; n < length; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, bytes, n);
		(void)read_sample(copy, n, &a, &b); /* the sanitizers watch */
		free(copy);
	}
	for (size_t i = 0; i < length * 8; i++) {
		uint8_t copy[256];

		memcpy(copy, bytes, length);
		copy[i / 8] ^= (uint8_t)(1 << i % 8);
		(void)read_sample(copy, length, &a, &b);
	}
	uint8_t cut[4] = { 1, 0, 1, 0 };

	assert_int_equal(read_sample(cut, sizeof(cut), &a, &b), -EBADMSG);
	save_fini(&save);
}

static void a_failed_allocation_is_sticky(void **state)
{
	struct save save;
	const uint8_t *bytes;
	size_t length;

	save_init(&save);
	fault_arm(1);
	write_sample(&save);
	fault_arm(0);
	assert_int_equal(save_finish(&save, &bytes, &length), -ENOMEM);
	save_fini(&save);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_saved_is_loaded),
		cmocka_unit_test(truncated_and_flipped_states_never_read_outside),
		cmocka_unit_test(a_failed_allocation_is_sticky),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
