/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "partition/partition_internal.h"
#include "proto/hv.h"

struct heard {
	uint32_t connection_id, type, bytes;
	unsigned int count;
	uint16_t answer;
};

static uint16_t on_post_message(void *ctx, uint32_t connection_id, uint32_t type,
				const uint8_t *payload, uint32_t payload_bytes)
{
	struct heard *heard = ctx;

	(void)payload;
	heard->connection_id = connection_id;
	heard->type = type;
	heard->bytes = payload_bytes;
	heard->count++;
	return heard->answer;
}

static const struct synic_sink_ops sink = { .on_post_message = on_post_message };

struct fixture {
	struct partition partition;
	struct vcpu vcpu;
	struct mem *mem;
	struct heard heard;
};

static void fixture_init(struct fixture *f)
{
	const struct mem_config config = { .bytes = MEM_BYTES_MIN };
	struct diag diag;

	memset(f, 0, sizeof(*f));
	assert_int_equal(mem_create(&config, &f->mem, &diag), 0);
	f->partition.mem = f->mem;
	f->partition.synic.sink = &sink;
	f->partition.synic.sink_ctx = &f->heard;
	f->vcpu.partition = &f->partition;
}

static uint64_t post(struct fixture *f, gpa_t gpa, uint32_t type, uint32_t bytes)
{
	const struct hv_post_message_input input = {
		.connection_id = 1,
		.message_type = type,
		.payload_bytes = bytes,
	};

	if (mem_write(f->mem, gpa, &input, sizeof(input))) {
		/* That is the point of some of these. */
	}
	return hypercall_handle(&f->vcpu, HV_CALL_POST_MESSAGE, gpa, 0);
}

static void post_message_is_checked_as_the_specification_says(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(post(&f, 0x1000, 1, 240), HV_STATUS_SUCCESS);
	assert_int_equal(f.heard.bytes, 240);
	assert_int_equal(post(&f, 0x1f00, 1, 0), HV_STATUS_SUCCESS);
	f.heard.answer = HV_STATUS_INVALID_CONNECTION_ID;
	assert_int_equal(post(&f, 0x1000, 0x7fffffff, 1), HV_STATUS_INVALID_CONNECTION_ID);
	assert_int_equal(f.heard.count, 3);
	assert_int_equal(post(&f, 0x1f08, 1, 0), HV_STATUS_INVALID_ALIGNMENT);
	assert_int_equal(post(&f, 0x1004, 1, 0), HV_STATUS_INVALID_ALIGNMENT);
	assert_int_equal(post(&f, MEM_BYTES_MIN, 1, 0), HV_STATUS_INVALID_ALIGNMENT);
	assert_int_equal(post(&f, 0xfffffffffffff000, 1, 0), HV_STATUS_INVALID_ALIGNMENT);
	assert_int_equal(post(&f, 0x1000, 1, 241), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(post(&f, 0x1000, 1, ~0U), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(post(&f, 0x1000, 0, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(post(&f, 0x1000, 0x80000000, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(f.heard.count, 3);
	assert_int_equal(counter_read(&f.vcpu.counters.hypercalls[VCPU_HYPERCALL_POST_MESSAGE]),
			 11);
	assert_int_equal(counter_read(&f.vcpu.counters.hypercall_errors), 9);
	mem_destroy(f.mem);
}

static void without_a_bus_there_is_no_connection(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.partition.synic.sink = NULL;
	assert_int_equal(post(&f, 0x1000, 1, 0), HV_STATUS_INVALID_CONNECTION_ID);
	mem_destroy(f.mem);
}

static void other_hypercalls_are_refused(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(hypercall_handle(&f.vcpu, HV_CALL_POST_MESSAGE | 1 << 16, 0, 0),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal(hypercall_handle(&f.vcpu, HV_CALL_SIGNAL_EVENT | 1 << 16, 5, 0),
			 HV_STATUS_INVALID_CONNECTION_ID);
	assert_int_equal(hypercall_handle(&f.vcpu, 0x8001, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
	mem_destroy(f.mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(post_message_is_checked_as_the_specification_says),
		cmocka_unit_test(without_a_bus_there_is_no_connection),
		cmocka_unit_test(other_hypercalls_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
