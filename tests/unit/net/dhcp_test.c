/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/dhcp.h"
#include "net/offload.h"
#include "state/load.h"
#include "state/save.h"
#include "unit/net/dhcp_frames.h"

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

#define NETWORK  0x0a090000U /* 10.9.0.0/24 */
#define SERVER   (NETWORK + 2)
#define RESOLVER (NETWORK + 3)
#define FIRST    (NETWORK + 15)

static const struct dhcp_config plain = { .network = NETWORK,
					  .prefix_bits = 24,
					  .mac = { 0x52, 0x55, 10, 9, 0, 2 },
					  .server = SERVER,
					  .router = SERVER,
					  .dns = RESOLVER,
					  .pool_first = FIRST,
					  .pool_last = NETWORK + 18,
					  .lease_s = 1000,
					  .mtu = 1400,
					  .domain = "lan" };

struct fixture {
	struct dhcp *dhcp;
	uint64_t now_s;
	uint8_t reply[DHCP_REPLY_BYTES];
	uint32_t bytes;
};

static void make(struct fixture *f, const struct dhcp_config *config)
{
	struct diag diag;

	assert_int_equal(dhcp_create(config, &f->dhcp, &diag), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->now_s = 5000;
	make(f, &plain);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	dhcp_destroy(f->dhcp);
	free(f);
	return 0;
}

static struct dhcp_words words(uint8_t type, uint8_t who)
{
	return (struct dhcp_words){ .type = type, .mac = { 2, 0, 0, 0, 0, who }, .xid = 77 };
}

/* An option of the reply; its length, -1: none. */
static int option(const struct fixture *f, uint8_t code, uint8_t value[255])
{
	const uint8_t *at = f->reply + 14 + 20 + 8 + 240;

	while (at < f->reply + f->bytes && *at != 255) {
		if (*at == code) {
			memcpy(value, at + 2, at[1]);
			return at[1];
		}
		at += 2 + at[1];
	}
	return -1;
}

static uint32_t option_u32(const struct fixture *f, uint8_t code)
{
	uint8_t value[255];

	return option(f, code, value) == 4 ? bytes_be32(value) : 0;
}

/* The reply's type, 0: none. */
static int say(struct fixture *f, const struct dhcp_words *w)
{
	uint8_t frame[DHCP_TEST_BYTES], value[255];
	uint32_t bytes = dhcp_test_frame(frame, w);
	enum dhcp_result result = dhcp_input(f->dhcp, frame, bytes, f->now_s, f->reply, &f->bytes);

	assert_int_not_equal(result, DHCP_NOT_OURS);
	if (result == DHCP_SILENT) {
		assert_int_equal(f->bytes, 0);
		return 0;
	}
	assert_int_equal(option(f, 53, value), 1);
	assert_int_equal(bytes_be32(f->reply + 42 + 4), w->xid);
	return value[0];
}

static uint32_t your_address(const struct fixture *f)
{
	return bytes_be32(f->reply + 42 + 16);
}

static uint32_t discover(struct fixture *f, uint8_t who)
{
	const struct dhcp_words w = words(DISCOVER, who);

	return say(f, &w) == OFFER ? your_address(f) : 0;
}

static int request(struct fixture *f, uint8_t who, uint32_t address)
{
	struct dhcp_words w = words(REQUEST, who);

	w.requested = address;
	w.server = SERVER;
	return say(f, &w);
}

static int renew(struct fixture *f, uint8_t who, uint32_t address)
{
	struct dhcp_words w = words(REQUEST, who);

	w.ciaddr = address;
	w.to = SERVER;
	return say(f, &w);
}

static uint32_t lease(struct fixture *f, uint8_t who)
{
	uint32_t address = discover(f, who);

	assert_int_not_equal(address, 0);
	assert_int_equal(request(f, who, address), ACK);
	assert_int_equal(your_address(f), address);
	return address;
}

static void a_client_gets_an_address_and_what_belongs_to_it(void **state)
{
	struct fixture *f = *state;
	uint8_t value[255];

	assert_int_equal(lease(f, 1), FIRST);
	assert_int_equal(option_u32(f, 1), 0xffffff00);
	assert_int_equal(option_u32(f, 3), SERVER);
	assert_int_equal(option_u32(f, 6), RESOLVER);
	assert_int_equal(option_u32(f, 54), SERVER);
	assert_int_equal(option_u32(f, 51), 1000);
	assert_int_equal(option_u32(f, 58), 500);
	assert_int_equal(option_u32(f, 59), 875);
	assert_int_equal(option_u32(f, 28), NETWORK + 255);
	assert_int_equal(option(f, 26, value), 2);
	assert_int_equal(bytes_be16(value), 1400);
	assert_int_equal(option(f, 15, value), 3);
	assert_memory_equal(value, "lan", 3);
}

static void the_reply_is_a_sound_frame_to_the_client(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(DISCOVER, 1);
	struct net_headers h;
	uint8_t copy[DHCP_REPLY_BYTES];

	assert_int_equal(say(f, &w), OFFER);
	assert_memory_equal(f->reply, w.mac, 6);
	assert_memory_equal(f->reply + 6, plain.mac, 6);
	assert_int_equal(bytes_be32(f->reply + 30), FIRST);
	assert_int_equal(net_headers_parse(f->reply, f->bytes, false, &h), 0);
	assert_int_equal(h.end, f->bytes);
	memcpy(copy, f->reply, f->bytes);
	assert_int_equal(
		net_offload_finish(copy, f->bytes, NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM),
		0);
	assert_memory_equal(copy, f->reply, f->bytes);
	w.broadcast = true;
	assert_int_equal(say(f, &w), OFFER);
	assert_memory_equal(f->reply, "\xff\xff\xff\xff\xff\xff", 6);
	assert_int_equal(bytes_be32(f->reply + 30), UINT32_MAX);
}

static void clients_get_different_addresses_and_keep_them(void **state)
{
	struct fixture *f = *state;
	uint32_t a = lease(f, 1), b = lease(f, 2);

	assert_int_not_equal(a, b);
	f->now_s += 900;
	assert_int_equal(discover(f, 1), a);
	assert_int_equal(renew(f, 2, b), ACK);
	assert_int_equal(bytes_be32(f->reply + 30), b); /* to its own address */
	f->now_s += 5000;                               /* both have ended, and nobody else came */
	assert_null(dhcp_holder(f->dhcp, a, f->now_s));
	assert_int_equal(discover(f, 2), b);
	assert_int_equal(discover(f, 1), a);
}

static void a_client_identifier_tells_clients_of_one_mac_apart(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words a = words(DISCOVER, 1), b = a;
	uint8_t value[255];
	uint32_t first;

	a.id = "\xff"
	       "one";
	b.id = "\xff"
	       "two";
	assert_int_equal(say(f, &a), OFFER);
	first = your_address(f);
	assert_int_equal(option(f, 61, value), 4);
	assert_memory_equal(value, a.id, 4);
	assert_int_equal(say(f, &b), OFFER);
	assert_int_not_equal(your_address(f), first);
	assert_int_equal(say(f, &a), OFFER);
	assert_int_equal(your_address(f), first);
}

static void a_mac_with_many_identifiers_does_not_empty_the_pool(void **state)
{
	struct fixture *f = *state;
	struct dhcp_config config = plain;

	dhcp_destroy(f->dhcp);
	config.pool_last = FIRST + DHCP_PER_MAC_MAX; /* one more than it may have */
	make(f, &config);
	for (int i = 0; i < 100; i++) {
		struct dhcp_words w = words(DISCOVER, 1);
		char id[16];

		snprintf(id, sizeof(id), "id%d", i);
		w.id = id;
		f->now_s++;
		assert_int_equal(say(f, &w), OFFER);
		w.type = REQUEST;
		w.server = SERVER;
		w.requested = your_address(f);
		assert_int_equal(say(f, &w), ACK);
	}
	(void)lease(f, 2);
}

static void what_a_client_cannot_have_is_refused(void **state)
{
	struct fixture *f = *state;
	uint32_t a = lease(f, 1);

	assert_int_equal(request(f, 2, a), NAK);
	assert_memory_equal(f->reply, "\xff\xff\xff\xff\xff\xff", 6);
	assert_int_equal(your_address(f), 0);
	assert_int_equal(option_u32(f, 51), 0);
	assert_int_equal(request(f, 2, 0xc0a80105), NAK);
	assert_int_equal(request(f, 2, SERVER), NAK);
	assert_int_equal(request(f, 2, RESOLVER), NAK);
	assert_int_equal(renew(f, 2, a), NAK);
	assert_int_equal(renew(f, 1, a), ACK);
}

static void an_unknown_client_may_keep_a_free_address(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(REQUEST, 9);

	assert_int_equal(renew(f, 3, FIRST + 2), ACK);
	w.requested = FIRST + 1; /* and after a restart: no server's identifier */
	assert_int_equal(say(f, &w), ACK);
	assert_int_equal(discover(f, 1), FIRST);
}

static void another_servers_offer_frees_ours(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(REQUEST, 1);

	for (uint8_t i = 1; i <= 4; i++) {
		assert_int_not_equal(discover(f, i), 0);
	}
	assert_int_equal(discover(f, 5), 0);
	w.server = NETWORK + 77;
	w.requested = NETWORK + 99;
	assert_int_equal(say(f, &w), 0);
	assert_int_equal(discover(f, 5), FIRST);
}

static void a_full_pool_is_silent_until_something_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(RELEASE, 2);

	for (uint8_t i = 1; i <= 4; i++) {
		(void)lease(f, i);
	}
	assert_int_equal(discover(f, 5), 0);
	assert_int_equal(dhcp_counters(f->dhcp)->no_address, 1);
	w.ciaddr = FIRST; /* another's */
	assert_int_equal(say(f, &w), 0);
	assert_int_equal(discover(f, 5), 0);
	w.ciaddr = FIRST + 1;
	assert_int_equal(say(f, &w), 0);
	assert_int_equal(discover(f, 5), FIRST + 1);
}

static void offers_that_nobody_takes_give_way(void **state)
{
	struct fixture *f = *state;

	for (uint8_t i = 1; i <= 4; i++) {
		(void)discover(f, i);
	}
	assert_int_equal(discover(f, 5), 0);
	f->now_s += DHCP_OFFER_GRACE_S;
	assert_int_equal(discover(f, 5), FIRST);
	f->now_s += DHCP_OFFER_S;
	assert_int_not_equal(discover(f, 6), 0);
}

static void a_declined_address_is_given_to_nobody_while_others_are_free(void **state)
{
	struct fixture *f = *state;
	uint32_t a = lease(f, 1);
	struct dhcp_words w = words(DECLINE, 1);

	w.requested = a;
	w.server = SERVER;
	assert_int_equal(say(f, &w), 0);
	assert_null(dhcp_holder(f->dhcp, a, f->now_s));
	assert_int_equal(lease(f, 1), FIRST + 1);
	assert_int_equal(lease(f, 2), FIRST + 2);
	assert_int_equal(request(f, 3, a), NAK);
	assert_int_equal(lease(f, 3), FIRST + 3);
	assert_int_equal(discover(f, 4), a); /* nothing else is left */
}

static void only_its_holder_declines_an_address(void **state)
{
	struct fixture *f = *state;
	uint32_t a = lease(f, 1);
	struct dhcp_words w = words(DECLINE, 2);

	w.requested = a;
	assert_int_equal(say(f, &w), 0);
	assert_non_null(dhcp_holder(f->dhcp, a, f->now_s));
}

static void a_static_lease_is_for_its_mac_alone(void **state)
{
	struct fixture *f = *state;
	const struct dhcp_static in = { { 2, 0, 0, 0, 0, 7 }, FIRST },
				 out = { { 2, 0, 0, 0, 0, 8 }, NETWORK + 200 };
	struct dhcp_words w = words(DISCOVER, 7);
	struct diag diag;

	assert_int_equal(dhcp_static_add(f->dhcp, &in, f->now_s, &diag), 0);
	assert_int_equal(dhcp_static_add(f->dhcp, &out, f->now_s, &diag), 0);
	assert_int_equal(lease(f, 1), FIRST + 1);
	assert_int_equal(request(f, 1, FIRST), NAK);
	assert_int_equal(lease(f, 7), FIRST);
	w.id = "whatever";
	assert_int_equal(say(f, &w), OFFER);
	assert_int_equal(your_address(f), FIRST);
	assert_int_equal(lease(f, 8), NETWORK + 200);
	assert_int_equal(dhcp_static_remove(f->dhcp, in.mac), 0);
	assert_int_equal(dhcp_static_remove(f->dhcp, in.mac), -ENOENT);
	assert_int_equal(renew(f, 8, NETWORK + 200), ACK);
	assert_int_equal(renew(f, 7, FIRST), ACK);
	assert_int_equal(dhcp_static_remove(f->dhcp, out.mac), 0);
	assert_int_equal(renew(f, 8, NETWORK + 200), NAK);
}

static void a_new_static_lease_waits_for_who_has_the_address(void **state)
{
	struct fixture *f = *state;
	const struct dhcp_static entry = { { 2, 0, 0, 0, 0, 7 }, FIRST };
	struct diag diag;

	assert_int_equal(lease(f, 1), FIRST);
	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), 0);
	assert_int_equal(lease(f, 7), FIRST + 1);
	assert_int_equal(renew(f, 7, FIRST + 1), ACK);
	assert_int_equal(renew(f, 1, FIRST), NAK);
	f->now_s += 1000;
	assert_int_equal(renew(f, 7, FIRST + 1), NAK);
	assert_int_equal(lease(f, 7), FIRST);
}

static void static_leases_do_not_contradict_each_other(void **state)
{
	struct fixture *f = *state;
	struct dhcp_static entry = { { 2, 0, 0, 0, 0, 7 }, FIRST };
	struct diag diag;

	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), 0);
	entry.address++;
	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), -EEXIST);
	entry = (struct dhcp_static){ { 2, 0, 0, 0, 0, 8 }, FIRST };
	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), -EEXIST);
	entry.address = SERVER;
	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), -EINVAL);
	entry.address = 0xc0a80101;
	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), -EINVAL);
	for (unsigned int i = 1; i < DHCP_STATICS_MAX; i++) {
		entry.mac[4] = (uint8_t)(i >> 8);
		entry.mac[5] = (uint8_t)i;
		entry.mac[3] = 1;
		entry.address = NETWORK + 19 + i % 230;
		if (i > 230) {
			break;
		}
		assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), 0);
	}
}

static void an_informing_client_is_told_everything_but_an_address(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(INFORM, 1);

	w.ciaddr = NETWORK + 240;
	assert_int_equal(say(f, &w), ACK);
	assert_int_equal(your_address(f), 0);
	assert_int_equal(option_u32(f, 51), 0);
	assert_int_equal(option_u32(f, 3), SERVER);
	assert_int_equal(bytes_be32(f->reply + 30), NETWORK + 240);
	w.ciaddr = 0x08080808;
	assert_int_equal(say(f, &w), 0);
}

static void leases_are_as_long_as_asked_within_limits(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(DISCOVER, 1);

	w.lease_s = 1;
	assert_int_equal(say(f, &w), OFFER);
	assert_int_equal(option_u32(f, 51), DHCP_LEASE_S_MIN);
	w.lease_s = UINT32_MAX;
	assert_int_equal(say(f, &w), OFFER);
	assert_int_equal(option_u32(f, 51), 1000);
}

static void relays_bootp_and_false_addresses_are_ignored(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(DISCOVER, 1);
	uint8_t frame[DHCP_TEST_BYTES];
	uint32_t bytes;

	w.relay = NETWORK + 9;
	assert_int_equal(say(f, &w), 0);
	w = words(0, 1);
	assert_int_equal(say(f, &w), 0);
	w = words(OFFER, 1);
	assert_int_equal(say(f, &w), 0);
	w = words(DISCOVER, 1);
	bytes = dhcp_test_frame(frame, &w);
	frame[11] ^= 1; /* the frame's own sender */
	assert_int_equal(dhcp_input(f->dhcp, frame, bytes, 1, f->reply, &f->bytes), DHCP_SILENT);
	assert_int_equal(dhcp_counters(f->dhcp)->ignored, 4);
}

static void other_frames_are_not_ours(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(DISCOVER, 1);
	uint8_t frame[DHCP_TEST_BYTES];
	uint32_t bytes;

	w.to = 0x08080808;
	bytes = dhcp_test_frame(frame, &w);
	assert_int_equal(dhcp_input(f->dhcp, frame, bytes, 1, f->reply, &f->bytes), DHCP_NOT_OURS);
	w.to = NETWORK + 255;
	bytes = dhcp_test_frame(frame, &w);
	assert_int_equal(dhcp_input(f->dhcp, frame, bytes, 1, f->reply, &f->bytes), DHCP_REPLY);
	bytes_put_be16(frame + 36, 53);
	assert_int_equal(dhcp_input(f->dhcp, frame, bytes, 1, f->reply, &f->bytes), DHCP_NOT_OURS);
	bytes_put_be16(frame + 12, 0x0806);
	assert_int_equal(dhcp_input(f->dhcp, frame, bytes, 1, f->reply, &f->bytes), DHCP_NOT_OURS);
	for (uint32_t n = 0; n < 42; n++) {
		assert_int_equal(dhcp_input(f->dhcp, frame, n, 1, f->reply, &f->bytes),
				 DHCP_NOT_OURS);
	}
}

static void leases_are_listed(void **state)
{
	struct fixture *f = *state;
	const struct dhcp_static entry = { { 2, 0, 0, 0, 0, 7 }, NETWORK + 99 };
	struct dhcp_words w = words(DISCOVER, 1);
	struct dhcp_lease l;
	uint32_t cursor = 0;
	struct diag diag;

	w.name = "guest-1\x1b[0m";
	assert_int_equal(say(f, &w), OFFER);
	assert_false(dhcp_next(f->dhcp, &cursor, f->now_s, &l));
	w.type = REQUEST;
	w.requested = FIRST;
	assert_int_equal(say(f, &w), ACK);
	assert_int_equal(dhcp_static_add(f->dhcp, &entry, f->now_s, &diag), 0);
	f->now_s += 10;
	cursor = 0;
	assert_true(dhcp_next(f->dhcp, &cursor, f->now_s, &l));
	assert_int_equal(l.address, FIRST);
	assert_int_equal(l.left_s, 990);
	assert_string_equal(l.name, "guest-1");
	assert_memory_equal(l.mac, w.mac, 6);
	assert_false(l.is_static);
	assert_true(dhcp_next(f->dhcp, &cursor, f->now_s, &l));
	assert_true(l.is_static);
	assert_int_equal(l.left_s, 0);
	assert_memory_equal(l.mac, entry.mac, 6);
	assert_false(dhcp_next(f->dhcp, &cursor, f->now_s, &l));
}

static void load_and_save_again_give_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	struct dhcp_words w = words(REQUEST, 3);
	const uint8_t *bytes, *again;
	size_t length, length_again;
	struct save save, second;
	struct dhcp *old = f->dhcp;
	struct load load;

	(void)lease(f, 1);
	(void)lease(f, 2);
	w.id = "\x01"
	       "abc";
	w.name = "three";
	w.requested = FIRST + 2;
	assert_int_equal(say(f, &w), ACK);
	f->now_s += 100;
	save_init(&save);
	dhcp_save(old, f->now_s, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	make(f, &plain);
	f->now_s = 17; /* another machine, perhaps */
	load_init(&load, bytes, length);
	dhcp_load(f->dhcp, &load, f->now_s);
	assert_int_equal(load_result(&load), 0);
	save_init(&second);
	dhcp_save(f->dhcp, f->now_s, &second);
	assert_int_equal(save_finish(&second, &again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, again, length);
	assert_int_equal(discover(f, 2), FIRST + 1);
	assert_int_equal(discover(f, 9), FIRST + 3);
	for (size_t n = 0; n < length; n++) { /* cut anywhere: an error or fewer leases, no more */
		load_init(&load, bytes, n);
		dhcp_load(f->dhcp, &load, f->now_s);
	}
	save_fini(&save);
	save_fini(&second);
	dhcp_destroy(old);
}

static void nonsense_is_no_configuration(void **state)
{
	struct dhcp_config bad[] = { plain, plain, plain, plain, plain, plain, plain, plain };
	struct dhcp *dhcp;

	(void)state;
	bad[0].prefix_bits = 31;
	bad[1].network++;
	bad[2].pool_last = FIRST - 1;
	bad[3].pool_last = NETWORK + 255;
	bad[4].server = 0x08080808;
	bad[5].lease_s = 5;
	bad[6].mtu = 20;
	memset(bad[7].domain, 'x', sizeof(bad[7].domain));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct diag diag = { "" };

		assert_int_equal(dhcp_create(&bad[i], &dhcp, &diag), -EINVAL);
		assert_true(strlen(diag.text) > 10);
	}
}

static void no_memory_is_an_answer(void **state)
{
	struct dhcp *dhcp;
	struct diag diag;

	(void)state;
	fault_arm(1);
	assert_int_equal(dhcp_create(&plain, &dhcp, &diag), -ENOMEM);
	fault_arm(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* D4. Even hardware addresses are at place 1, odd ones at place 2. */
static uint32_t place_of(void *ctx, const uint8_t mac[6])
{
	(void)ctx;
	return 1 + (mac[5] & 1U);
}

static void a_place_with_many_addresses_leaves_some_for_the_others(void **state)
{
	struct fixture *f = *state;
	const struct dhcp_static fixed = { { 2, 0, 0, 0, 0, 8 }, NETWORK + 99 };
	struct dhcp_config config = plain;
	struct diag diag;
	uint32_t mine;

	dhcp_destroy(f->dhcp);
	config.origin = place_of;
	config.per_origin_max = 2; /* of four */
	make(f, &config);
	assert_int_equal(dhcp_static_add(f->dhcp, &fixed, f->now_s, &diag), 0);
	mine = discover(f, 2);
	assert_int_equal(request(f, 2, mine), ACK);
	assert_int_equal(discover(f, 4), mine + 1); /* an offer counts too */
	assert_int_equal(discover(f, 6), 0);
	assert_int_equal(request(f, 6, FIRST + 3), 0); /* free, and not for this one; nor refused */
	assert_int_equal(dhcp_counters(f->dhcp)->over_limit, 2);
	assert_int_equal(dhcp_counters(f->dhcp)->no_address, 0);
	assert_int_equal(discover(f, 2), mine); /* who has one goes on */
	assert_int_equal(request(f, 2, mine), ACK);
	assert_int_equal(discover(f, 8), NETWORK + 99); /* what is kept is not counted */
	assert_int_not_equal(discover(f, 1), 0);        /* the other place has its own */
	assert_int_not_equal(discover(f, 3), 0);
	f->now_s += 2000; /* all over: what it had last, it has again */
	assert_int_equal(discover(f, 2), mine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_gets_an_address_and_what_belongs_to_it),
		TEST(the_reply_is_a_sound_frame_to_the_client),
		TEST(clients_get_different_addresses_and_keep_them),
		TEST(a_client_identifier_tells_clients_of_one_mac_apart),
		TEST(a_mac_with_many_identifiers_does_not_empty_the_pool),
		TEST(what_a_client_cannot_have_is_refused),
		TEST(an_unknown_client_may_keep_a_free_address),
		TEST(another_servers_offer_frees_ours),
		TEST(a_full_pool_is_silent_until_something_is_given_back),
		TEST(offers_that_nobody_takes_give_way),
		TEST(a_declined_address_is_given_to_nobody_while_others_are_free),
		TEST(only_its_holder_declines_an_address),
		TEST(a_static_lease_is_for_its_mac_alone),
		TEST(a_new_static_lease_waits_for_who_has_the_address),
		TEST(static_leases_do_not_contradict_each_other),
		TEST(an_informing_client_is_told_everything_but_an_address),
		TEST(leases_are_as_long_as_asked_within_limits),
		TEST(relays_bootp_and_false_addresses_are_ignored),
		TEST(other_frames_are_not_ours),
		TEST(leases_are_listed),
		TEST(load_and_save_again_give_the_same_bytes),
		TEST(nonsense_is_no_configuration),
		TEST(no_memory_is_an_answer),
		TEST(a_place_with_many_addresses_leaves_some_for_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
