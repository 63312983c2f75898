/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/offload.h"
#include "net/reassemble.h"

static struct reassembler r;
static uint8_t whole[9000], pieces[16][2000];
static uint32_t whole_bytes, piece_bytes[16];
static unsigned int piece_count;

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	(void)ctx;
	memcpy(pieces[piece_count], iov[0].iov_base, iov[0].iov_len);
	assert_int_equal(count, 2);
	memcpy(pieces[piece_count] + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	piece_bytes[piece_count++] = bytes;
}

static void make(uint16_t id, uint32_t payload)
{
	memset(whole, 0, 34);
	bytes_put_be16(whole + 12, 0x0800);
	whole[14] = 0x45;
	bytes_put_be16(whole + 16, (uint16_t)(20 + payload));
	bytes_put_be16(whole + 18, id);
	whole[22] = 64;
	whole[23] = 17;
	for (uint32_t i = 0; i < payload; i++) {
		whole[34 + i] = (uint8_t)(i * 3 + id);
	}
	whole_bytes = 34 + payload;
	assert_int_equal(net_offload_finish(whole, whole_bytes, NET_FRAME_IP_CHECKSUM), 0);
	piece_count = 0;
	assert_int_equal(net_cut_ip(whole, whole_bytes, 1500, 0, on_piece, NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	return reassembler_init(&r);
}

static int tear_down(void **state)
{
	(void)state;
	reassembler_fini(&r);
	return 0;
}

static bool take(unsigned int i)
{
	uint8_t *frame;
	uint32_t bytes;

	if (!reassembler_take(&r, pieces[i], piece_bytes[i], &frame, &bytes)) {
		return false;
	}
	assert_int_equal(bytes, whole_bytes);
	assert_memory_equal(frame, whole, bytes);
	return true;
}

static void fragments_in_any_order_make_the_datagram(void **state)
{
	(void)state;
	make(1, 5001);
	for (unsigned int first = 0; first < piece_count; first++) {
		for (unsigned int i = 0; i < piece_count; i++) {
			assert_int_equal(take((first + i) % piece_count), i == piece_count - 1);
		}
	}
	make(2, 5001);
	for (unsigned int i = piece_count; i-- > 0;) {
		assert_int_equal(take(i), i == 0);
	}
}

static void other_frames_pass(void **state)
{
	uint8_t *frame;
	uint32_t bytes;

	(void)state;
	make(1, 2000);
	assert_true(reassembler_take(&r, whole, whole_bytes, &frame, &bytes));
	assert_ptr_equal(frame, whole);
	whole[12] = 0;
	assert_true(reassembler_take(&r, whole, 20, &frame, &bytes));
	assert_int_equal(bytes, 20);
}

static void overlaps_cost_the_datagram(void **state)
{
	(void)state;
	make(1, 5001);
	assert_false(take(0));
	assert_false(take(0));
	assert_int_equal(r.overlaps, 1);
	for (unsigned int i = 1; i < piece_count; i++) {
		assert_false(take(i));
	}
}

static void the_oldest_gives_way(void **state)
{
	(void)state;
	for (uint16_t id = 0; id < 20; id++) {
		make(id, 3000);
		assert_false(take(0));
	}
	assert_int_equal(r.evicted, 12);
	make(19, 3000);
	assert_false(take(1));
	assert_true(take(2));
}

static void nonsense_is_dropped(void **state)
{
	(void)state;
	make(1, 3000);
	pieces[0][24] ^= 1; /* the header's checksum */
	assert_false(take(0));
	make(1, 3000);
	for (uint32_t field = 0; field < 0x10000; field += 257) {
		bytes_put_be16(pieces[0] + 20, (uint16_t)field);
		assert_int_equal(
			net_offload_finish(pieces[0], piece_bytes[0], NET_FRAME_IP_CHECKSUM), 0);
		uint8_t *frame;
		uint32_t bytes;

		(void)reassembler_take(&r, pieces[0], piece_bytes[0], &frame, &bytes);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(fragments_in_any_order_make_the_datagram),
		TEST(other_frames_pass),
		TEST(overlaps_cost_the_datagram),
		TEST(the_oldest_gives_way),
		TEST(nonsense_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
