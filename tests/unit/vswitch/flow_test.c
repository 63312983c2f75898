/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"
#include "vswitch/flow.h"

static struct flow_table *make(uint32_t entries, uint32_t per_port)
{
	struct flow_table *table = NULL;

	assert_int_equal(flow_table_create(entries, per_port, 42, &table), 0);
	return table;
}

static struct vframe_ip ipv4(uint32_t ip)
{
	return (struct vframe_ip){ .lo = 0xffffULL << 32 | ip };
}

/* From 1 to 2, or the answer. */
static struct vframe make_frame(uint8_t protocol, uint16_t port, uint8_t tcp, bool is_answer)
{
	struct vframe frame = { .head_bytes = 128,
				.key = { .ip_version = 4,
					 .protocol = protocol,
					 .flags = VKEY_L4,
					 .tcp_flags = tcp,
					 .l4_offset = 34 } };

	frame.key.ip_from = ipv4(is_answer ? 2 : 1);
	frame.key.ip_to = ipv4(is_answer ? 1 : 2);
	frame.key.port_from = is_answer ? 80 : port;
	frame.key.port_to = is_answer ? port : 80;
	return frame;
}

static void add(struct flow_table *table, const struct vframe *frame, struct flow_news *news)
{
	assert_int_equal(flow_add(table, 3, frame, false, 1, 0, 100, news), 0);
	assert_int_equal(news->kind, FLOW_NEWS_IS);
}

static void only_the_answer_of_what_went_out_is_found(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe frame = make_frame(17, 5, 0, false), answer = make_frame(17, 5, 0, true);
	struct vframe other = make_frame(17, 6, 0, true);
	struct flow_news news;

	assert_null(flow_find(table, 3, &answer, true, 100, &news));
	add(table, &frame, &news);
	assert_non_null(flow_find(table, 3, &answer, true, 100, &news));
	assert_int_equal(news.kind, FLOW_NEWS_IS);
	assert_non_null(flow_find(table, 3, &answer, true, 101, &news));
	assert_int_equal(news.kind, FLOW_NEWS_NONE);
	assert_null(flow_find(table, 3, &other, true, 100, &news));
	assert_null(flow_find(table, 4, &answer, true, 100, &news));
	assert_null(flow_find(table, 3, &answer, false, 100, &news));
	flow_table_destroy(table);
}

static void tcp_goes_from_new_to_established_to_closing(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe syn = make_frame(6, 5, VKEY_TCP_SYN, false);
	struct vframe both = make_frame(6, 5, VKEY_TCP_SYN | VKEY_TCP_ACK, true);
	struct vframe fin = make_frame(6, 5, VKEY_TCP_FIN | VKEY_TCP_ACK, false);
	struct vframe fin2 = make_frame(6, 5, VKEY_TCP_FIN | VKEY_TCP_ACK, true);
	struct flow_news news;

	add(table, &syn, &news);
	assert_int_equal(flow_find(table, 3, &syn, false, 100, &news)->state, FLOW_NEW);
	assert_int_equal(flow_find(table, 3, &both, true, 100, &news)->state, FLOW_ESTABLISHED);
	assert_int_equal(flow_find(table, 3, &fin, false, 1000, &news)->state, FLOW_ESTABLISHED);
	assert_int_equal(flow_find(table, 3, &fin2, true, 1000, &news)->state, FLOW_CLOSING);
	/* a new connection from the same port is the rules' matter */
	assert_null(flow_find(table, 3, &syn, false, 1001, &news));
	assert_int_equal(news.kind, FLOW_NEWS_GONE);
	assert_int_equal(flow_count(table), 0);
	flow_table_destroy(table);
}

static void a_reset_that_was_not_believed_does_not_end_a_flow(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe syn = make_frame(6, 5, VKEY_TCP_SYN, false);
	struct vframe reset = make_frame(6, 5, VKEY_TCP_RST, true);
	struct vframe data = make_frame(6, 5, VKEY_TCP_ACK, false);
	struct flow_news news;

	add(table, &syn, &news);
	assert_int_equal(flow_find(table, 3, &reset, true, 100, &news)->state, FLOW_CLOSING);
	assert_int_equal(flow_find(table, 3, &data, false, 101, &news)->state, FLOW_ESTABLISHED);
	assert_int_equal(flow_find(table, 3, &reset, true, 102, &news)->state, FLOW_CLOSING);
	assert_null(flow_find(table, 3, &data, false, 102 + FLOW_CLOSING_S, &news));
	flow_table_destroy(table);
}

static void silent_flows_are_not_found_and_age_out(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe frame = make_frame(17, 5, 0, false), answer = make_frame(17, 5, 0, true);
	struct flow_news news;

	add(table, &frame, &news);
	assert_null(flow_find(table, 3, &answer, true, 100 + FLOW_NEW_S, &news));
	assert_non_null(flow_find(table, 3, &answer, true, 99 + FLOW_NEW_S, &news));
	assert_int_equal(flow_age(table, 98 + FLOW_NEW_S + FLOW_UDP_IDLE_S, 64), 0);
	assert_int_equal(flow_age(table, 99 + FLOW_NEW_S + FLOW_UDP_IDLE_S, 64), 1);
	assert_int_equal(flow_count_of(table, 3), 0);
	flow_table_destroy(table);
}

static void a_port_at_its_quota_loses_unanswered_flows_first(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 4);
	struct vframe frame, answer;
	struct flow_news news;

	for (uint16_t i = 0; i < 100; i++) {
		frame = make_frame(17, i, 0, false);
		add(table, &frame, &news);
		assert_true(flow_count_of(table, 3) <= 4);
	}
	for (uint16_t i = 96; i < 100; i++) {
		answer = make_frame(17, i, 0, true);
		assert_non_null(flow_find(table, 3, &answer, true, 101, &news));
	}
	frame = make_frame(17, 200, 0, false);
	assert_int_equal(flow_add(table, 3, &frame, false, 1, 0, 101, &news), -ENOSPC);
	assert_int_equal(flow_add(table, 4, &frame, false, 1, 0, 101, &news), 0);
	flow_table_destroy(table);
}

static void a_full_table_still_has_what_is_each_ports_own(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 1024);
	struct flow_news news;
	uint32_t added = 0;

	for (uint16_t i = 0; i < 2000; i++) {
		struct vframe frame = make_frame(17, i, 0, false),
			      answer = make_frame(17, i, 0, true);

		if (flow_add(table, 3, &frame, false, 1, 0, 100, &news) == 0) {
			added++;
			assert_non_null(flow_find(table, 3, &answer, true, 100, &news));
		}
	}
	assert_int_equal(added, 1024 - 255 * 2);
	for (uint16_t port = 0; port < VSWITCH_PORTS_MAX; port++) {
		for (uint16_t i = 0; port != 3 && i < 2; i++) {
			struct vframe frame = make_frame(17, i, 0, false);

			assert_int_equal(flow_add(table, port, &frame, false, 1, 0, 100, &news), 0);
		}
	}
	assert_int_equal(flow_count(table), 1024);
	flow_flush_port(table, 3);
	assert_int_equal(flow_count(table), 510);
	flow_flush_rule(table, 4, 9);
	assert_int_equal(flow_count(table), 510);
	flow_flush_rule(table, 4, 1);
	assert_int_equal(flow_count(table), 508);
	flow_table_destroy(table);
}

static void another_core_finds_what_it_was_told(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16), *other = make(1024, 16);
	struct vframe syn = make_frame(6, 5, VKEY_TCP_SYN, false);
	struct vframe both = make_frame(6, 5, VKEY_TCP_SYN | VKEY_TCP_ACK, true);
	struct flow_news news;

	add(table, &syn, &news);
	assert_true(flow_apply(other, &news, 100));
	assert_int_equal(flow_find(other, 3, &both, true, 100, &news)->state, FLOW_ESTABLISHED);
	assert_true(flow_apply(table, &news, 100));
	assert_int_equal(flow_find(table, 3, &syn, false, 500, &news)->state, FLOW_ESTABLISHED);
	news.kind = FLOW_NEWS_GONE;
	news.key = flow_find(table, 3, &syn, false, 500, &news)->key;
	news.kind = FLOW_NEWS_GONE;
	assert_true(flow_apply(other, &news, 500));
	assert_int_equal(flow_count(other), 0);
	flow_table_destroy(table);
	flow_table_destroy(other);
}

static void a_flow_in_use_is_told_again_before_others_forget_it(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe frame = make_frame(17, 5, 0, false);
	struct flow_news news;
	unsigned int told = 0;

	add(table, &frame, &news);
	for (uint32_t now = 100; now < 200; now++) {
		assert_non_null(flow_find(table, 3, &frame, false, now, &news));
		told += news.kind == FLOW_NEWS_IS;
	}
	assert_in_range(told, 9, 15);
	flow_table_destroy(table);
}

static void an_icmp_error_finds_the_flow_that_it_quotes(void **state)
{
	(void)state;
	static const uint8_t quote[] = { 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0,
					 0,    1, 0, 0,  0, 2, 0, 5, 0,  80, 0, 8, 0, 0 };
	struct flow_table *table = make(1024, 16);
	struct vframe frame = make_frame(17, 5, 0, false), error = make_frame(1, 0, 0, true);
	struct flow_news news;

	add(table, &frame, &news);
	error.key.ip_from = ipv4(77); /* some router */
	error.key.icmp_type = 3;
	memcpy(error.head + 42, quote, sizeof(quote));
	assert_non_null(flow_find(table, 3, &error, true, 100, &news));
	assert_int_equal(news.kind, FLOW_NEWS_NONE);
	assert_int_equal(flow_add(table, 3, &error, true, 1, 0, 100, &news), 0);
	assert_int_equal(flow_count(table), 1);
	error.head[42 + 23] = 81;
	assert_null(flow_find(table, 3, &error, true, 100, &news));
	error.head[42 + 23] = 80;
	error.key.ip_to = ipv4(9); /* to somebody else */
	assert_null(flow_find(table, 3, &error, true, 100, &news));
	error.key.ip_to = ipv4(1);
	error.head_bytes = 62;
	assert_null(flow_find(table, 3, &error, true, 100, &news));
	flow_table_destroy(table);
}

static void an_echo_reply_needs_the_identifier_of_the_request(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe request = make_frame(1, 0, 0, false), reply = make_frame(1, 0, 0, true);
	struct flow_news news;

	request.key.port_from = request.key.port_to = reply.key.port_from = reply.key.port_to = 0;
	request.key.icmp_type = 8;
	request.head[39] = reply.head[39] = 33;
	add(table, &request, &news);
	assert_non_null(flow_find(table, 3, &reply, true, 100, &news));
	reply.head[39] = 34;
	assert_null(flow_find(table, 3, &reply, true, 100, &news));
	flow_table_destroy(table);
}

static void pieces_follow_their_first_one(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16);
	struct vframe frame = make_frame(17, 5, 0, false), answer = make_frame(17, 5, 0, true);
	struct vframe piece = make_frame(17, 0, 0, true);
	struct flow_news news;

	piece.key.port_from = piece.key.port_to = 0;
	piece.key.flags = VKEY_FRAGMENT;
	add(table, &frame, &news);
	assert_null(flow_find(table, 3, &piece, true, 100, &news));
	answer.key.flags |= VKEY_FRAGMENT | VKEY_FIRST;
	assert_non_null(flow_find(table, 3, &answer, true, 100, &news));
	assert_non_null(flow_find(table, 3, &piece, true, 100, &news));
	assert_null(flow_find(table, 3, &piece, true, 100 + FLOW_PIECES_S, &news));
	flow_table_destroy(table);
}

static void a_saved_table_loads_and_saves_the_same_bytes(void **state)
{
	(void)state;
	struct flow_table *table = make(1024, 16), *loaded = make(1024, 16);
	struct save save, again;
	const uint8_t *bytes, *bytes_again;
	size_t length, length_again;
	port_set ports = { { 0 } };
	struct flow_news news;
	struct load load;

	for (uint16_t i = 0; i < 10; i++) {
		struct vframe frame = make_frame(17, i, 0, false);

		add(table, &frame, &news);
	}
	save_init(&save);
	save_init(&again);
	flow_save(table, &save, 110);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	flow_load(loaded, &load, &ports, 5010);
	assert_int_equal(load_result(&load), 0);
	assert_int_equal(flow_count(loaded), 0); /* the port is not there any more */
	port_set_add(&ports, 3);
	load_init(&load, bytes, length);
	flow_load(loaded, &load, &ports, 5010);
	assert_int_equal(flow_count(loaded), 10);
	flow_save(loaded, &again, 5010);
	assert_int_equal(save_finish(&again, &bytes_again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, bytes_again, length);
	save.bytes[8 + 33] = 0xff; /* no such port */
	load_init(&load, bytes, length);
	flow_load(loaded, &load, &ports, 5010);
	assert_int_equal(load_result(&load), -EBADMSG);
	save_fini(&save);
	save_fini(&again);
	flow_table_destroy(table);
	flow_table_destroy(loaded);
}

static void no_memory_is_told(void **state)
{
	(void)state;
	struct flow_table *table = NULL;

	for (unsigned int n = 1;; n++) {
		int err;

		fault_arm(n);
		err = flow_table_create(64, 64, 1, &table);
		if (!fault_fired()) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -ENOMEM);
	}
	fault_arm(0);
	flow_table_destroy(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_answer_of_what_went_out_is_found),
		cmocka_unit_test(tcp_goes_from_new_to_established_to_closing),
		cmocka_unit_test(a_reset_that_was_not_believed_does_not_end_a_flow),
		cmocka_unit_test(silent_flows_are_not_found_and_age_out),
		cmocka_unit_test(a_port_at_its_quota_loses_unanswered_flows_first),
		cmocka_unit_test(a_full_table_still_has_what_is_each_ports_own),
		cmocka_unit_test(another_core_finds_what_it_was_told),
		cmocka_unit_test(a_flow_in_use_is_told_again_before_others_forget_it),
		cmocka_unit_test(an_icmp_error_finds_the_flow_that_it_quotes),
		cmocka_unit_test(an_echo_reply_needs_the_identifier_of_the_request),
		cmocka_unit_test(pieces_follow_their_first_one),
		cmocka_unit_test(a_saved_table_loads_and_saves_the_same_bytes),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
