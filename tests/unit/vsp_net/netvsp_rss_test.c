/* SPDX-License-Identifier: MIT */
/* OID_GEN_RSS_PARAMETERS: what a guest sets, where it may lie, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/rndis.h"
#include "vsp/net/netvsp_rss.h"

#define QUEUES 4
#define HASHES (NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV6 | NDIS_HASH_UDP_IPV4)

static const struct netvsp_rss example = {
	.is_set = true,
	.is_on = true,
	.hash_info = HASHES,
	.table_entries = 8,
	.key = { 1, 2, 3, [NET_RSS_KEY_BYTES - 1] = 4 },
	.table = { 0, 1, 2, 3, 3, 2, 1, 0 },
};

/* In memory of just this size, so that a sanitizer sees what is read beyond. */
static uint32_t set(struct netvsp_rss *rss, const uint8_t *info, uint32_t bytes)
{
	uint8_t *exact = malloc(bytes ? bytes : 1);
	uint32_t status;

	memcpy(exact, info, bytes);
	status = netvsp_rss_set(rss, exact, bytes, QUEUES);
	free(exact);
	return status;
}

static void what_is_built_can_be_set(void **state)
{
	uint8_t info[NETVSP_RSS_INFO_BYTES_MAX];
	uint32_t bytes = netvsp_rss_build(&example, info);
	struct netvsp_rss rss = { 0 };
	struct net_rss net;

	(void)state;
	assert_int_equal(bytes, 40 + 4 * 8 + 40);
	assert_int_equal(set(&rss, info, bytes), RNDIS_STATUS_SUCCESS);
	assert_memory_equal(&rss, &example, sizeof(rss));
	netvsp_rss_to_net(&rss, QUEUES, &net);
	assert_true(net.is_on);
	assert_int_equal(net.queues, QUEUES);
	assert_int_equal(net.table_entries, 8);
	assert_int_equal(net.table[4], 3);
	assert_int_equal(net.hash_types, NET_RSS_IPV4 | NET_RSS_TCP_IPV6 | NET_RSS_UDP_IPV4);
	assert_memory_equal(net.key, example.key, sizeof(net.key));
}

static void disabling_keeps_the_rest_and_looks_at_nothing_else(void **state)
{
	uint8_t info[NDIS_RSS_PARAMETERS_BYTES_MIN] = { NDIS_OBJECT_RSS_PARAMETERS, 2 };
	struct netvsp_rss rss = example;
	struct net_rss net;

	(void)state;
	bytes_put_le16(info + 4, NDIS_RSS_DISABLE);
	memset(info + 8, 0xff, sizeof(info) - 8);
	assert_int_equal(set(&rss, info, sizeof(info)), RNDIS_STATUS_SUCCESS);
	assert_false(rss.is_on);
	assert_int_equal(rss.table[3], 3);
	netvsp_rss_to_net(&rss, QUEUES, &net);
	assert_false(net.is_on);
	/* On again, with all as it was. */
	bytes_put_le16(info + 4, NDIS_RSS_HASH_INFO_UNCHANGED | NDIS_RSS_TABLE_UNCHANGED |
					 NDIS_RSS_KEY_UNCHANGED | NDIS_RSS_BASE_CPU_UNCHANGED);
	assert_int_equal(set(&rss, info, sizeof(info)), RNDIS_STATUS_SUCCESS);
	assert_memory_equal(&rss, &example, sizeof(rss));
	/* Unchanged from nothing is nothing. */
	rss = (struct netvsp_rss){ 0 };
	assert_int_equal(set(&rss, info, sizeof(info)), RNDIS_STATUS_INVALID_DATA);
	/* A table of before that has queues which are gone. */
	rss = example;
	assert_int_equal(netvsp_rss_set(&rss, info, sizeof(info), 3), RNDIS_STATUS_INVALID_DATA);
}

static void each_half_can_change_alone(void **state)
{
	struct netvsp_rss rss = example, other = example;
	uint8_t info[NETVSP_RSS_INFO_BYTES_MAX];
	uint32_t bytes;

	(void)state;
	other.key[0] = 99;
	other.table[0] = 2;
	other.hash_info = NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV6;
	bytes = netvsp_rss_build(&other, info);
	bytes_put_le16(info + 4, NDIS_RSS_TABLE_UNCHANGED | NDIS_RSS_HASH_INFO_UNCHANGED);
	assert_int_equal(set(&rss, info, bytes), RNDIS_STATUS_SUCCESS);
	assert_int_equal(rss.key[0], 99);
	assert_int_equal(rss.table[0], 0);
	assert_int_equal(rss.hash_info, HASHES);
	bytes_put_le16(info + 4, NDIS_RSS_KEY_UNCHANGED);
	assert_int_equal(set(&rss, info, bytes), RNDIS_STATUS_SUCCESS);
	assert_memory_equal(&rss, &other, sizeof(rss));
}

struct spoil {
	uint32_t offset, bytes, value;
};

static void nonsense_is_refused_and_changes_nothing(void **state)
{
	static const struct spoil spoils[] = {
		{ 0, 1, 0x88 },        /* another object */
		{ 1, 1, 1 },           /* a revision whose entries are bytes */
		{ 8, 4, 0x102 },       /* another hash */
		{ 8, 4, 0x1 },         /* of nothing */
		{ 12, 2, 0 },          /* no table */
		{ 12, 2, 30 },         /* half an entry */
		{ 12, 2, 24 },         /* six entries */
		{ 12, 2, 1024 },       /* too many */
		{ 16, 4, 100 },        /* a table that sticks out */
		{ 16, 4, 0xffffffff }, /* and one that wraps */
		{ 20, 2, 39 },         /* a short key */
		{ 20, 2, 0xffff },     /* a long one */
		{ 24, 4, 73 },         /* sticks out */
		{ 24, 4, 0xfffffff0 }, /* wraps */
		{ 40, 4, 4 },          /* a queue that there is not */
		{ 68, 4, 0x80000000 }, /* a large one */
	};
	uint8_t info[NETVSP_RSS_INFO_BYTES_MAX], spoilt[sizeof(info)];
	uint32_t bytes = netvsp_rss_build(&example, info);
	struct netvsp_rss rss = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(spoils); i++) {
		uint8_t value[4];

		bytes_put_le32(value, spoils[i].value);
		memcpy(spoilt, info, bytes);
		memcpy(spoilt + spoils[i].offset, value, spoils[i].bytes);
		assert_int_not_equal(set(&rss, spoilt, bytes), RNDIS_STATUS_SUCCESS);
		assert_false(rss.is_set || rss.is_on || rss.table_entries);
	}
	for (uint32_t cut = 0; cut < bytes; cut++) {
		assert_int_not_equal(set(&rss, info, cut), RNDIS_STATUS_SUCCESS);
	}
	/* Table and key may lie anywhere, also on top of each other. */
	bytes_put_le32(info + 24, bytes - NET_RSS_KEY_BYTES - 7);
	assert_int_equal(set(&rss, info, bytes), RNDIS_STATUS_SUCCESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_built_can_be_set),
		cmocka_unit_test(disabling_keeps_the_rest_and_looks_at_nothing_else),
		cmocka_unit_test(each_half_can_change_alone),
		cmocka_unit_test(nonsense_is_refused_and_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
