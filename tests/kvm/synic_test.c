/* SPDX-License-Identifier: MIT */
/* SynIC: messages, event flags, interrupts, doorbells, hypercalls, timers. */
#include "kvm_guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/num.h"
#include "proto/hv.h"

#define SINT 2

static int post(struct kvm_guest *guest, uint64_t word)
{
	struct synic_message message = { .type = 1, .payload_bytes = 8 };

	memcpy(message.payload, &word, sizeof(word));
	return guest->synic->ops->post_message(guest->synic, 0, SINT, &message);
}

static void message_is_refused_until_there_is_a_page(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	assert_int_equal(post(&guest, 1), -ENODEV);
	assert_false(guest.synic->ops->set_event_flag(guest.synic, 0, SINT, 1));
	assert_int_equal(guest.synic->ops->sint_eventfd(guest.synic, 1, SINT), -1);
	assert_true(guest.synic->ops->sint_eventfd(guest.synic, 0, SINT) >= 0);
	assert_int_equal(guest.synic->ops->vp_count(guest.synic), 1);
	kvm_guest_destroy(&guest);
}

static void message_arrives_and_a_taken_slot_is_told_when_free(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	guest.shared->in[0] = 3;
	kvm_guest_run(&guest, guest_receive);
	assert_int_equal(post(&guest, 0x1111), 0);
	assert_int_equal(post(&guest, 0x2222), -EAGAIN);
	assert_int_equal(post(&guest, 0x2222), -EAGAIN);
	assert_int_equal(guest.slots_freed, 0);
	guest.shared->go = 1;
	kvm_guest_wait(&guest);
	kvm_guest_turn(&guest, 100 * 1000 * 1000);
	assert_int_equal(guest.shared->out[0], 0x1111);
	assert_int_equal(guest.shared->out[32], 1); /* asked for an EOM */
	assert_int_equal(guest.slots_freed, 1);
	/* Nobody waits: no EOM asked for, none told. */
	assert_int_equal(post(&guest, 0x2222), 0);
	guest.shared->go = 2;
	kvm_guest_wait(&guest);
	kvm_guest_turn(&guest, 50 * 1000 * 1000);
	assert_int_equal(guest.shared->out[1], 0x2222);
	assert_int_equal(guest.shared->out[33], 0);
	assert_int_equal(guest.slots_freed, 1);
	/* The interrupts came too, and none of it was an exit to user space. */
	assert_true(guest.shared->interrupts[GUEST_VECTOR_SINT] >= 1);
	assert_int_equal(kvm_guest_exits(&guest, "synic"), 3);
	assert_int_equal(kvm_guest_exits(&guest, "pio"), 3);
	assert_int_equal(kvm_guest_exits(&guest, NULL), 6);
	kvm_guest_destroy(&guest);
}

static void event_flag_and_interrupt_wake_the_guest(void **state)
{
	struct kvm_guest guest;
	uint64_t one = 1;
	int fd;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_run(&guest, guest_flags);
	assert_true(guest.synic->ops->set_event_flag(guest.synic, 0, SINT, 5));
	assert_true(guest.synic->ops->set_event_flag(guest.synic, 0, SINT, 2047));
	fd = guest.synic->ops->sint_eventfd(guest.synic, 0, SINT);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	kvm_guest_wait(&guest);
	assert_int_equal(guest.shared->out[0], 1 << 5);
	assert_true(guest.shared->out[1] == 1ULL << 63);
	assert_int_equal(guest.shared->interrupts[GUEST_VECTOR_SINT], 1);
	kvm_guest_destroy(&guest);
}

static void doorbell_is_no_exit(void **state)
{
	struct kvm_guest guest;
	uint64_t before, rung = 0;
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	kvm_guest_create(&guest, 1);
	assert_int_equal(guest.synic->ops->doorbell_add(guest.synic, 0x12345, fd), 0);
	assert_int_equal(guest.synic->ops->doorbell_add(guest.synic, 0x12345, fd), -EEXIST);
	guest.shared->in[0] = 0x12345;
	guest.shared->in[1] = 1000;
	kvm_guest_run(&guest, guest_doorbell);
	before = kvm_guest_exits(&guest, NULL);
	guest.shared->go = 1;
	while (!guest.shared->out[1]) {
		usleep(1000);
	}
	assert_int_equal(guest.shared->out[0], 0);
	assert_int_equal(kvm_guest_exits(&guest, NULL), before);
	assert_int_equal(read(fd, &rung, sizeof(rung)), sizeof(rung));
	assert_int_equal(rung, 1000);
	guest.synic->ops->doorbell_remove(guest.synic, 0x12345);
	close(fd);
	kvm_guest_destroy(&guest);
}

static void put_message(struct kvm_guest *guest, gpa_t gpa, uint32_t type, uint32_t bytes)
{
	struct hv_post_message_input input = {
		.connection_id = 4,
		.message_type = type,
		.payload_bytes = bytes,
	};

	memset(input.payload, 0xab, sizeof(input.payload));
	assert_int_equal(mem_write(guest->mem, gpa, &input, sizeof(input)), 0);
}

static void hypercalls_get_the_statuses_of_the_specification(void **state)
{
	static const struct {
		uint64_t control, input;
		uint16_t status;
	} calls[] = {
		{ HV_CALL_POST_MESSAGE, GUEST_GPA_INPUT, HV_STATUS_INSUFFICIENT_BUFFERS },
		{ HV_CALL_POST_MESSAGE, GUEST_GPA_INPUT + 4, HV_STATUS_INVALID_ALIGNMENT },
		{ HV_CALL_POST_MESSAGE, GUEST_GPA_INPUT + 4096 - 128, HV_STATUS_INVALID_ALIGNMENT },
		{ HV_CALL_POST_MESSAGE, 0xffff00000000, HV_STATUS_INVALID_ALIGNMENT },
		{ HV_CALL_POST_MESSAGE, GUEST_GPA_INPUT + 0x100, HV_STATUS_INVALID_PARAMETER },
		{ HV_CALL_POST_MESSAGE, GUEST_GPA_INPUT + 0x200, HV_STATUS_INVALID_PARAMETER },
		{ HV_CALL_POST_MESSAGE, GUEST_GPA_INPUT + 0x300, HV_STATUS_INVALID_PARAMETER },
		{ HV_CALL_POST_MESSAGE | 1 << 16, 0, HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HV_CALL_SIGNAL_EVENT | 1 << 16, 7, HV_STATUS_INVALID_CONNECTION_ID },
		{ 0x7e, GUEST_GPA_INPUT, HV_STATUS_INVALID_HYPERCALL_CODE },
		{ 0x9999, 0, HV_STATUS_INVALID_HYPERCALL_CODE },
	};
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	put_message(&guest, GUEST_GPA_INPUT, 1, 240);
	put_message(&guest, GUEST_GPA_INPUT + 0x100, 1, 241);
	put_message(&guest, GUEST_GPA_INPUT + 0x200, 0, 8);
	put_message(&guest, GUEST_GPA_INPUT + 0x300, 0x80000010, 8);
	guest.message_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		guest.shared->in[2 * i] = calls[i].control;
		guest.shared->in[2 * i + 1] = calls[i].input;
	}
	kvm_guest_run(&guest, guest_hypercalls);
	assert_int_equal(guest.shared->out[GUEST_VALUES - 1], GUEST_GPA_HYPERCALL | 1);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_int_equal(guest.shared->out[i], calls[i].status);
	}
	assert_int_equal(atomic_load(&guest.messages), 1);
	assert_int_equal(guest.message_connection, 4);
	assert_int_equal(guest.message_type, 1);
	assert_int_equal(guest.message_bytes, 240);
	assert_int_equal(guest.message[239], 0xab);
	kvm_guest_destroy(&guest);
}

static void direct_timer_fires_without_exits(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_run(&guest, guest_stimer);
	assert_int_equal(guest.shared->interrupts[GUEST_VECTOR_STIMER], 3);
	assert_true(guest.shared->out[1] - guest.shared->out[0] >= 30000);
	assert_int_equal(kvm_guest_exits(&guest, NULL), 1);
	kvm_guest_destroy(&guest);
}

static void timer_that_expired_before_the_page_is_not_lost(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_run(&guest, guest_stimer_before_simp);
	assert_int_equal(guest.shared->out[0], HV_MESSAGE_TIMER_EXPIRED);
	kvm_guest_destroy(&guest);
}

static void reset_takes_the_pages_away(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	guest.shared->in[0] = 1;
	kvm_guest_run(&guest, guest_receive);
	assert_int_equal(post(&guest, 1), 0);
	assert_int_equal(post(&guest, 2), -EAGAIN);
	partition_pause(guest.partition);
	kvm_guest_boot(&guest, guest_msrs);
	assert_int_equal(post(&guest, 3), -ENODEV);
	partition_resume(guest.partition);
	kvm_guest_wait(&guest);
	assert_int_equal(guest.slots_freed, 0);
	kvm_guest_destroy(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_is_refused_until_there_is_a_page),
		cmocka_unit_test(message_arrives_and_a_taken_slot_is_told_when_free),
		cmocka_unit_test(event_flag_and_interrupt_wake_the_guest),
		cmocka_unit_test(doorbell_is_no_exit),
		cmocka_unit_test(hypercalls_get_the_statuses_of_the_specification),
		cmocka_unit_test(direct_timer_fires_without_exits),
		cmocka_unit_test(timer_that_expired_before_the_page_is_not_lost),
		cmocka_unit_test(reset_takes_the_pages_away),
	};

	kvm_guest_need_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
