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
#include "base/fault.h"
#include "state/load.h"
#include "state/save.h"
#include "vswitch/fdb.h"

#define NO_LIMIT UINT32_MAX

static const uint8_t *mac(uint32_t number)
{
	static uint8_t ret[6] = { 2 };

	bytes_put_be32(ret + 2, number);
	return ret;
}

static struct fdb *make(uint32_t entries)
{
	struct fdb *fdb;

	assert_int_equal(fdb_create(entries, 77, &fdb), 0);
	return fdb;
}

static void an_address_is_learned_per_vlan(void **state)
{
	struct fdb *fdb = make(64);

	(void)state;
	assert_int_equal(fdb_find(fdb, mac(1), 5), -1);
	assert_int_equal(fdb_learn(fdb, mac(1), 5, 3, NO_LIMIT, 10), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, mac(1), 5, 3, NO_LIMIT, 10), FDB_KNOWN);
	assert_int_equal(fdb_find(fdb, mac(1), 5), 3);
	assert_int_equal(fdb_find(fdb, mac(1), 6), -1);
	assert_int_equal(fdb_learn(fdb, mac(1), 5, 4, NO_LIMIT, 10), FDB_MOVED);
	assert_int_equal(fdb_find(fdb, mac(1), 5), 4);
	assert_int_equal(fdb->learned[3], 0);
	assert_int_equal(fdb->learned[4], 1);
	assert_true(fdb_remove(fdb, mac(1), 5));
	assert_false(fdb_remove(fdb, mac(1), 5));
	assert_int_equal(fdb->count, 0);
	fdb_destroy(fdb);
}

static void the_zero_address_is_one_too(void **state)
{
	static const uint8_t zero[6];
	struct fdb *fdb = make(64);

	(void)state;
	assert_int_equal(fdb_find(fdb, zero, 0), -1);
	assert_int_equal(fdb_learn(fdb, zero, 0, 3, NO_LIMIT, 10), FDB_NEW);
	assert_int_equal(fdb_find(fdb, zero, 0), 3);
	fdb_destroy(fdb);
}

static void an_address_that_moves_again_and_again_is_told_once_a_second(void **state)
{
	struct fdb *fdb = make(64);
	unsigned int told = 0;

	(void)state;
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 3, NO_LIMIT, 10), FDB_NEW);
	for (uint32_t i = 0; i < 10000; i++) {
		uint16_t port = 4 + (i & 1);
		enum fdb_learn learn = fdb_learn(fdb, mac(1), 0, port, NO_LIMIT, 10 + i / 1000);

		assert_int_equal(fdb_find(fdb, mac(1), 0), port); /* known at once all the same */
		told += learn == FDB_MOVED || learn == FDB_REFRESH;
		if (i % 100 == 0) {
			/* Another core sees the same, and tells it. */
			assert_int_equal(fdb_set(fdb, mac(1), 0, 6, FDB_LEARNED, 10 + i / 1000), 0);
		}
	}
	assert_in_range(told, 10, 20);
	/* Where it is in the end is told. */
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 5, NO_LIMIT, 20), FDB_REFRESH);
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 5, NO_LIMIT, 21), FDB_KNOWN);
	fdb_destroy(fdb);
}

static void an_address_in_use_is_told_again(void **state)
{
	struct fdb *fdb = make(64);
	unsigned int told = 0;

	(void)state;
	/* Across the wrap of the stored bits. */
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 3, NO_LIMIT, 65500), FDB_NEW);
	for (uint32_t now = 65501; now < 65500 + 300; now++) {
		enum fdb_learn learn = fdb_learn(fdb, mac(1), 0, 3, NO_LIMIT, now);

		assert_true(learn == FDB_KNOWN || learn == FDB_REFRESH);
		told += learn == FDB_REFRESH;
	}
	assert_int_equal(told, 3);
	fdb_destroy(fdb);
}

static void a_port_has_a_limit_also_for_moves(void **state)
{
	struct fdb *fdb = make(64);

	(void)state;
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 3, 2, 1), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, mac(2), 0, 3, 2, 1), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, mac(3), 0, 3, 2, 1), FDB_REFUSED_LIMIT);
	assert_int_equal(fdb_learn(fdb, mac(3), 0, 4, 2, 1), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, mac(3), 0, 3, 2, 1), FDB_REFUSED_LIMIT);
	assert_int_equal(fdb_find(fdb, mac(3), 0), 4);
	fdb_destroy(fdb);
}

static void statics_and_own_addresses_do_not_move(void **state)
{
	struct fdb *fdb = make(64);

	(void)state;
	assert_int_equal(fdb_set(fdb, mac(1), 0, 1, FDB_OWN, 1), 0);
	assert_int_equal(fdb_set(fdb, mac(2), 0, 2, FDB_STATIC, 1), 0);
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 3, NO_LIMIT, 1), FDB_REFUSED_STATIC);
	assert_int_equal(fdb_learn(fdb, mac(2), 0, 3, NO_LIMIT, 1), FDB_REFUSED_STATIC);
	assert_int_equal(fdb_learn(fdb, mac(1), 0, 1, 0, 200), FDB_KNOWN);
	assert_int_equal(fdb_set(fdb, mac(1), 0, 3, FDB_LEARNED, 1), -EEXIST);
	fdb_age(fdb, 100000, FDB_AGE_S, fdb_buckets(fdb), NULL, NULL);
	fdb_flush(fdb);
	fdb_flush_port(fdb, 1, false);
	assert_int_equal(fdb_find(fdb, mac(1), 0), 1);
	fdb_flush_port(fdb, 1, true);
	assert_int_equal(fdb_find(fdb, mac(1), 0), -1);
	assert_int_equal(fdb_find(fdb, mac(2), 0), 2);
	fdb_destroy(fdb);
}

/* F1: whatever one port does, another's entries stay, and statics always find a place. */
static void a_flood_of_addresses_costs_others_nothing(void **state)
{
	struct fdb *fdb = make(64);
	unsigned int full = 0;

	(void)state;
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(fdb_learn(fdb, mac(i), 0, 1, NO_LIMIT, 1), FDB_NEW);
	}
	for (uint32_t i = 1000; i < 11000; i++) {
		full += fdb_learn(fdb, mac(i), 0, 2, NO_LIMIT, 2 + i) == FDB_REFUSED_FULL;
	}
	assert_int_equal(fdb->count, 64);
	assert_int_equal(fdb->learned[1], 32);
	assert_int_equal(fdb->learned[2], 32);
	assert_true(full > 0 && fdb->gave_way > 0);
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(fdb_find(fdb, mac(i), 0), 1);
	}
	for (uint32_t i = 500; i < 520; i++) {
		assert_int_equal(fdb_set(fdb, mac(i), 0, 3, FDB_OWN, 20000), 0);
	}
	fdb_destroy(fdb);
}

static void count_gone(void *ctx, const struct fdb_entry *entry)
{
	assert_int_equal(entry->port, 3);
	assert_true(entry->idle_s >= 300);
	(*(unsigned int *)ctx)++;
}

static void ageing_goes_bucket_by_bucket(void **state)
{
	struct fdb *fdb = make(256);
	unsigned int gone = 0, calls = 0;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(fdb_learn(fdb, mac(i), 0, 3, NO_LIMIT, 10), FDB_NEW);
		if (i % 2) {
			assert_int_equal(fdb_learn(fdb, mac(i), 0, 3, NO_LIMIT, 50), FDB_KNOWN);
		}
	}
	for (; gone < 50; calls++) {
		fdb_age(fdb, 310, FDB_AGE_S, 8, count_gone, &gone);
		assert_true(calls < fdb_buckets(fdb) / 8);
	}
	assert_true(calls > 1);
	assert_int_equal(fdb->count, 50);
	fdb_age(fdb, 350, FDB_AGE_S, UINT32_MAX, count_gone, &gone);
	assert_int_equal(gone, 100);
	assert_int_equal(fdb->count, 0);
	fdb_destroy(fdb);
}

static void iteration_sees_each_once(void **state)
{
	struct fdb *fdb = make(256);
	struct fdb_entry entry;
	bool seen[100] = { false };
	uint32_t cursor = 0, count = 0;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(fdb_learn(fdb, mac(i), (uint16_t)(i * 40), (uint16_t)i, 1, 10),
				 FDB_NEW);
	}
	while (fdb_next(fdb, &cursor, 15, &entry)) {
		uint32_t number = bytes_be32(entry.mac + 2);

		assert_false(seen[number]);
		seen[number] = true;
		assert_int_equal(entry.mac[0], 2);
		assert_int_equal(entry.vlan, number * 40);
		assert_int_equal(entry.port, number);
		assert_int_equal(entry.idle_s, 5);
		assert_int_equal(entry.kind, FDB_LEARNED);
		count++;
	}
	assert_int_equal(count, 100);
	fdb_destroy(fdb);
}

static int halve(void *ctx, uint32_t port)
{
	(void)ctx;
	return port % 2 ? -1 : (int)port / 2;
}

static void load_and_save_again_give_the_same_bytes(void **state)
{
	struct fdb *fdb = make(256), *other = make(256), *mapped = make(256);
	const uint8_t *bytes, *again;
	size_t length, again_length;
	struct save save, second;
	struct load load;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(fdb_learn(fdb, mac(i), 7, (uint16_t)(i % 8), 100, 1000 + i),
				 FDB_NEW);
	}
	assert_int_equal(fdb_set(fdb, mac(1000), 0, 2, FDB_STATIC, 1), 0);
	save_init(&save);
	fdb_save(fdb, 1150, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	fdb_load(other, &load, NULL, NULL, 20);
	assert_int_equal(load_result(&load), 0);
	save_init(&second);
	fdb_save(other, 20, &second);
	assert_int_equal(save_finish(&second, &again, &again_length), 0);
	assert_int_equal(length, again_length);
	assert_memory_equal(bytes, again, length);
	load_init(&load, bytes, length);
	fdb_load(mapped, &load, halve, NULL, 20);
	assert_int_equal(fdb_find(mapped, mac(6), 7), 3);
	assert_int_equal(fdb_find(mapped, mac(5), 7), -1);
	assert_int_equal(mapped->count, 50);
	/* Cut anywhere, it is an error or a shorter table, never more. */
	for (size_t cut = 0; cut < length; cut += 3) {
		fdb_flush(other);
		load_init(&load, bytes, cut);
		fdb_load(other, &load, NULL, NULL, 20);
		assert_true(other->count <= 100);
	}
	save_fini(&save);
	save_fini(&second);
	fdb_destroy(fdb);
	fdb_destroy(other);
	fdb_destroy(mapped);
}

static void creation_fails_cleanly(void **state)
{
	struct fdb *fdb = NULL;

	(void)state;
	assert_int_equal(fdb_create(0, 1, &fdb), -EINVAL);
	assert_int_equal(fdb_create(FDB_ENTRIES_MAX + 1, 1, &fdb), -EINVAL);
	for (unsigned int n = 1;; n++) {
		int err;

		fault_arm(n);
		err = fdb_create(FDB_ENTRIES_MAX, 1, &fdb);
		if (!fault_fired()) {
			fault_arm(0);
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_null(fdb);
	}
	fdb_destroy(fdb);
	fdb_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_learned_per_vlan),
		cmocka_unit_test(the_zero_address_is_one_too),
		cmocka_unit_test(an_address_that_moves_again_and_again_is_told_once_a_second),
		cmocka_unit_test(an_address_in_use_is_told_again),
		cmocka_unit_test(a_port_has_a_limit_also_for_moves),
		cmocka_unit_test(statics_and_own_addresses_do_not_move),
		cmocka_unit_test(a_flood_of_addresses_costs_others_nothing),
		cmocka_unit_test(ageing_goes_bucket_by_bucket),
		cmocka_unit_test(iteration_sees_each_once),
		cmocka_unit_test(load_and_save_again_give_the_same_bytes),
		cmocka_unit_test(creation_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
