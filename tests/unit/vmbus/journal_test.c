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
#include "vmbus/journal.h"

static const struct journal_config config = {
	.channels = 3, .log_bytes = 100, .keep_slots = 4, .keep_slot_bytes = 72
};

struct fixture {
	struct journal journal;
	uint8_t *memory; /* exactly as long as it must be: the sanitizers watch its ends */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->memory = aligned_alloc(64, journal_bytes(&config));
	memset(f->memory, 0xa5, journal_bytes(&config));
	journal_format(&f->journal, f->memory, &config);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	free(f->memory);
	free(f);
	return 0;
}

static void a_formatted_journal_is_attached_and_says_nothing(void **state)
{
	struct fixture *f = *state;
	struct journal found;
	uint8_t buf[JOURNAL_BANK_BYTES];
	struct journal_kept kept;
	size_t length;

	assert_int_equal(journal_bytes(&config) % 4096, 0);
	assert_int_equal(journal_attach(&found, f->memory, journal_bytes(&config)), 0);
	assert_memory_equal(&found.config, &config, sizeof(config));
	assert_false(journal_is_clean(&found));
	assert_int_equal(journal_bank_find(&found, UINT64_MAX - 1, buf, &length), -ENOENT);
	for (uint32_t channel = 0; channel < 3; channel++) {
		assert_int_equal(journal_seq(&found, channel), 0);
		for (uint32_t slot = 0; slot < 4; slot++) {
			assert_false(journal_kept(&found, channel, slot, 99, &kept, buf));
		}
	}
	for (size_t i = 0; i < config.log_bytes; i++) {
		assert_int_equal(((uint8_t *)journal_log(&found))[i], 0);
	}
	assert_int_equal((uintptr_t)journal_log(&found) % 64, 0);
}

/* Flags and sizes may be others that fit into the same memory. */
static bool may_differ(unsigned int byte)
{
	return (byte >= 20 && byte < 24) || (byte >= 40 && byte < 48) || byte >= 56;
}

static void each_bit_of_the_header_counts(void **state)
{
	struct fixture *f = *state;
	struct journal found;

	for (unsigned int bit = 0; bit < 64 * 8; bit++) {
		unsigned int byte = bit / 8;
		uint8_t mask = (uint8_t)(1U << bit % 8);

		f->memory[byte] ^= mask;
		int err = journal_attach(&found, f->memory, journal_bytes(&config));

		f->memory[byte] ^= mask;
		if (!err) {
			assert_true(may_differ(byte) && found.bytes <= journal_bytes(&config));
		} else {
			assert_int_equal(err, byte >= 4 && byte < 8 ? -EPROTONOSUPPORT : -EBADMSG);
		}
	}
	assert_int_equal(journal_attach(&found, f->memory, journal_bytes(&config) - 1), -EBADMSG);
	assert_int_equal(journal_attach(&found, f->memory, 63), -EBADMSG);
	assert_int_equal(journal_attach(&found, f->memory, journal_bytes(&config)), 0);
}

static void commits_of_channels_are_apart_and_the_last_one_counts(void **state)
{
	struct fixture *f = *state;
	uint32_t in, out;

	for (uint64_t seq = 1; seq < 10; seq++) {
		journal_commit(&f->journal, 1, seq, (uint32_t)seq * 8, (uint32_t)seq * 16);
		journal_commit(&f->journal, 2, seq, 1, 2);
		assert_int_equal(journal_seq(&f->journal, 1), seq);
		journal_where(&f->journal, 1, seq, &in, &out);
		assert_int_equal(in, seq * 8);
		assert_int_equal(out, seq * 16);
	}
	/* The one before is there, too: the next is not written over the last. */
	journal_where(&f->journal, 1, 8, &in, &out);
	assert_int_equal(in, 64);
	assert_int_equal(journal_seq(&f->journal, 0), 0);
}

static void write_bank(struct journal *journal, const char *text, uint64_t stamp)
{
	size_t room;
	char *bank = journal_bank_begin(journal, &room);

	assert_true(strlen(text) <= room);
	memcpy(bank, text, strlen(text));
	journal_bank_end(journal, strlen(text), stamp);
}

static void expect_bank(struct journal *journal, uint64_t seq, const char *text)
{
	struct journal copy = *journal; /* which bank comes next stays the writer's */
	uint8_t buf[JOURNAL_BANK_BYTES];
	size_t length;

	assert_int_equal(journal_bank_find(&copy, seq, buf, &length), 0);
	assert_int_equal(length, strlen(text));
	assert_memory_equal(buf, text, length);
}

static void a_bank_is_true_from_its_commit_on(void **state)
{
	struct fixture *f = *state;
	size_t room;

	write_bank(&f->journal, "one", 1);
	expect_bank(&f->journal, 1, "one");
	write_bank(&f->journal, "five", 5);
	expect_bank(&f->journal, 4, "one");
	expect_bank(&f->journal, 5, "five");
	memset(journal_bank_begin(&f->journal, &room), 'x', 100);
	expect_bank(&f->journal, 9, "five");
	journal_bank_end(&f->journal, 100, 7);
	expect_bank(&f->journal, 6, "five");
}

static void a_bank_with_another_sum_or_length_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[JOURNAL_BANK_BYTES];
	size_t length, room;
	uint8_t *bank = journal_bank_begin(&f->journal, &room);

	write_bank(&f->journal, "one", 1);
	bank[1] ^= 1;
	assert_int_equal(journal_bank_find(&f->journal, 1, buf, &length), -EBADMSG);
	bank[1] ^= 1;
	assert_int_equal(journal_bank_find(&f->journal, 1, buf, &length), 0);
	bytes_put_le32(bank - 8, JOURNAL_BANK_BYTES - 15);
	assert_int_equal(journal_bank_find(&f->journal, 1, buf, &length), -EBADMSG);
}

static const struct journal_kept packet = { .order = 11,
					    .transaction_id = 12,
					    .type = 6,
					    .flags = JOURNAL_KEPT_WANTS_COMPLETION,
					    .descriptor_bytes = 8,
					    .payload_bytes = 64 };

static void a_kept_packet_waits_from_its_commit_to_that_of_its_answer(void **state)
{
	struct fixture *f = *state;
	uint8_t descriptor[8] = "descript", payload[64] = "payload", buf[72];
	struct journal_kept kept;

	journal_keep(&f->journal, 2, 3, 5, &packet, descriptor, payload);
	assert_false(journal_kept(&f->journal, 2, 3, 4, &kept, buf));
	assert_true(journal_kept(&f->journal, 2, 3, 5, &kept, buf));
	assert_int_equal(kept.order, 11);
	assert_int_equal(kept.transaction_id, 12);
	assert_int_equal(kept.type, 6);
	assert_int_equal(kept.flags, JOURNAL_KEPT_WANTS_COMPLETION);
	assert_memory_equal(buf, descriptor, 8);
	assert_memory_equal(buf + 8, payload, 64);
	assert_false(journal_kept(&f->journal, 2, 2, 9, &kept, buf));
	assert_false(journal_kept(&f->journal, 1, 3, 9, &kept, buf));

	journal_keep_done(&f->journal, 2, 3, 8);
	assert_true(journal_kept(&f->journal, 2, 3, 7, &kept, buf));
	assert_false(journal_kept(&f->journal, 2, 3, 8, &kept, buf));
}

static void what_had_not_happened_does_not_happen_later(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[72] = { 0 }, bank[JOURNAL_BANK_BYTES];
	struct journal_kept kept;
	size_t length;

	journal_keep(&f->journal, 0, 0, 5, &packet, bytes, bytes);
	journal_keep(&f->journal, 0, 1, 3, &packet, bytes, bytes);
	journal_keep_done(&f->journal, 0, 1, 5);
	write_bank(&f->journal, "never", 5);
	journal_void(&f->journal, 0, 4);
	assert_false(journal_kept(&f->journal, 0, 0, 5, &kept, bank));
	assert_true(journal_kept(&f->journal, 0, 1, 5, &kept, bank));
	assert_int_equal(journal_bank_find(&f->journal, 5, bank, &length), -ENOENT);
}

static void a_slot_with_impossible_lengths_is_empty(void **state)
{
	static const uint32_t lengths[][2] = {
		{ 80, 0 }, { 8, 72 }, { 4, 8 }, { 8, 4 }, { UINT32_MAX - 7, 16 }, { 0, 1U << 31 },
	};
	struct fixture *f = *state;
	uint8_t bytes[72] = { 0 }, buf[72];
	struct journal_kept kept;

	journal_keep(&f->journal, 2, 3, 1, &packet, bytes, bytes);
	/* The last slot: at the end of what is not padding. */
	uint8_t *slot = f->memory + f->journal.keep_offset + (2 * 4 + 3) * (64 + 128);

	assert_int_equal(bytes_le64(slot + 16), 11);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		bytes_put_le32(slot + 36, lengths[i][0]);
		bytes_put_le32(slot + 40, lengths[i][1]);
		assert_false(journal_kept(&f->journal, 2, 3, 1, &kept, buf));
	}
}

static void clean_is_said_and_taken_back(void **state)
{
	struct fixture *f = *state;

	journal_set_clean(&f->journal, true);
	assert_true(journal_is_clean(&f->journal));
	journal_set_clean(&f->journal, false);
	assert_false(journal_is_clean(&f->journal));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_formatted_journal_is_attached_and_says_nothing),
		TEST(each_bit_of_the_header_counts),
		TEST(commits_of_channels_are_apart_and_the_last_one_counts),
		TEST(a_bank_is_true_from_its_commit_on),
		TEST(a_bank_with_another_sum_or_length_is_refused),
		TEST(a_kept_packet_waits_from_its_commit_to_that_of_its_answer),
		TEST(what_had_not_happened_does_not_happen_later),
		TEST(a_slot_with_impossible_lengths_is_empty),
		TEST(clean_is_said_and_taken_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
