/* SPDX-License-Identifier: MIT */
/* Saved state: a guest that is saved in one partition goes on in another. */
#include "kvm_guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void save_partition(struct kvm_guest *guest, struct save *save, const uint8_t **ret_bytes,
			   size_t *ret_length)
{
	save_init(save);
	partition_save(guest->partition, save);
	assert_int_equal(save_finish(save, ret_bytes, ret_length), 0);
}

/* Memory travels by other means: here, by hand. */
static void copy_memory(struct kvm_guest *to, struct kvm_guest *from)
{
	memcpy(mem_hva(to->mem, 0, KVM_GUEST_BYTES), mem_hva(from->mem, 0, KVM_GUEST_BYTES),
	       KVM_GUEST_BYTES);
}

static void saved_guest_goes_on_elsewhere(void **state)
{
	struct kvm_guest from, to;
	struct synic_message message = { .type = 1, .payload_bytes = 8 };
	struct save save;
	struct load load;
	struct diag diag = { "" };
	const uint8_t *bytes;
	size_t length;

	(void)state;
	kvm_guest_create(&from, 2);
	from.shared->in[0] = 0x1122334455667788;
	from.shared->in[1] = 0x99aabbccddeeff00;
	from.shared->in[2] = 0x0123456789abcdef;
	from.shared->in[3] = 1;
	kvm_guest_run(&from, guest_registers);
	partition_pause(from.partition);
	/* The slot is taken, and the bus waits for it. */
	assert_int_equal(from.synic->ops->post_message(from.synic, 0, 2, &message), 0);
	assert_int_equal(from.synic->ops->post_message(from.synic, 0, 2, &message), -EAGAIN);
	save_partition(&from, &save, &bytes, &length);

	kvm_guest_create(&to, 2);
	copy_memory(&to, &from);
	load_init(&load, bytes, length);
	if (partition_load(to.partition, &load, &diag)) {
		fail_msg("%s", diag.text);
	}
	to.shared->go = 1;
	assert_int_equal(partition_start(to.partition, &diag), 0);
	kvm_guest_wait(&to);
	assert_true(to.shared->out[0] == 0x1122334455667788);
	assert_true(to.shared->out[1] == 0x99aabbccddeeff00);
	assert_true(to.shared->out[2] == 0x0123456789abcdef);
	assert_int_equal(to.shared->out[3], GUEST_GPA_SIMP | 1);
	assert_int_equal(to.shared->out[4], GUEST_VECTOR_SINT);
	assert_int_equal(to.shared->out[5], GUEST_GPA_HYPERCALL | 1);
	/* The clock goes on from where it was: no step back, none of a minute. */
	assert_true(to.shared->out[6] > to.shared->out[7]);
	assert_true(to.shared->out[6] < to.shared->out[7] + 60 * 10000000ULL);
	/* The interrupt of the message was raised before the save, and comes after the load. */
	kvm_guest_wait(&to);
	assert_int_equal(to.shared->interrupts[GUEST_VECTOR_SINT], 1);
	save_fini(&save);
	kvm_guest_destroy(&from);
	kvm_guest_destroy(&to);
}

/* Zeroes what goes on while a VP stands still: TSC, VP runtime, LAPIC timer, clock. */
static void blank_clocks(uint8_t *bytes, size_t length)
{
	for (size_t at = 0; at + STATE_FIELD_HEADER_BYTES <= length;) {
		uint16_t tag = bytes_le16(bytes + at), kind = bytes_le16(bytes + at + 2);
		uint32_t field = bytes_le32(bytes + at + 4);
		uint8_t *inner = bytes + at + STATE_FIELD_HEADER_BYTES;

		if (kind == STATE_GROUP) {
			for (uint32_t i = 0; i + STATE_FIELD_HEADER_BYTES <= field;) {
				uint16_t vp_tag = bytes_le16(inner + i);
				uint32_t vp_field = bytes_le32(inner + i + 4);
				uint8_t *value = inner + i + STATE_FIELD_HEADER_BYTES;

				for (uint32_t m = 0; vp_tag == 9 && m < vp_field; m += 12) {
					uint32_t msr = bytes_le32(value + m);

					if (msr == 0x10 || msr == 0x40000010) {
						memset(value + m + 4, 0, 8);
					}
				}
				i += STATE_FIELD_HEADER_BYTES + vp_field;
			}
		} else if (tag == 3) {
			memset(inner, 0, field);
		}
		at += STATE_FIELD_HEADER_BYTES + field;
	}
}

static void load_of_saved_saves_the_same(void **state)
{
	struct kvm_guest from, to;
	struct save first, second;
	struct load load;
	struct diag diag = { "" };
	const uint8_t *bytes, *again;
	size_t length, again_length;
	uint8_t *a, *b;

	(void)state;
	kvm_guest_create(&from, 2);
	kvm_guest_run(&from, guest_registers);
	partition_pause(from.partition);
	save_partition(&from, &first, &bytes, &length);
	kvm_guest_create(&to, 2);
	copy_memory(&to, &from);
	load_init(&load, bytes, length);
	assert_int_equal(partition_load(to.partition, &load, &diag), 0);
	save_partition(&to, &second, &again, &again_length);
	assert_int_equal(length, again_length);
	a = malloc(length);
	b = malloc(length);
	memcpy(a, bytes, length);
	memcpy(b, again, length);
	blank_clocks(a, length);
	blank_clocks(b, length);
	assert_memory_equal(a, b, length);
	free(a);
	free(b);
	save_fini(&first);
	save_fini(&second);
	kvm_guest_destroy(&from);
	kvm_guest_destroy(&to);
}

static void load_refuses_another_number_of_processors(void **state)
{
	struct kvm_guest from, to;
	struct save save;
	struct load load;
	struct diag diag = { "" };
	const uint8_t *bytes;
	size_t length;

	(void)state;
	kvm_guest_create(&from, 1);
	save_partition(&from, &save, &bytes, &length);
	kvm_guest_create(&to, 2);
	load_init(&load, bytes, length);
	assert_int_equal(partition_load(to.partition, &load, &diag), -EINVAL);
	assert_string_equal(diag.text, "the saved partition has 1 processors, this one 2");
	save_fini(&save);
	kvm_guest_destroy(&from);
	kvm_guest_destroy(&to);
}

static void load_survives_damage(void **state)
{
	struct kvm_guest guest;
	struct save save;
	struct diag diag = { "" };
	const uint8_t *bytes;
	size_t length;
	uint8_t *copy;

	(void)state;
	kvm_guest_create(&guest, 1);
	save_partition(&guest, &save, &bytes, &length);
	copy = malloc(length);
	srand(1);
	for (int i = 0; i < 200; i++) {
		struct load load;
		int r;

		memcpy(copy, bytes, length);
		for (int n = 0; n < 8; n++) {
			copy[(size_t)rand() % length] = (uint8_t)rand();
		}
		load_init(&load, copy, i % 2 ? length : (size_t)rand() % length);
		r = partition_load(guest.partition, &load, &diag);
		assert_true(r <= 0);
	}
	free(copy);
	/* And it still works. */
	kvm_guest_run(&guest, guest_msrs);
	assert_true(guest.shared->out[1] > 0);
	save_fini(&save);
	kvm_guest_destroy(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saved_guest_goes_on_elsewhere),
		cmocka_unit_test(load_of_saved_saves_the_same),
		cmocka_unit_test(load_refuses_another_number_of_processors),
		cmocka_unit_test(load_survives_damage),
	};

	kvm_guest_need_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
