/* SPDX-License-Identifier: MIT */
#include "switchd/sw_value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/num.h"
#include "switchd/sw_config.h"

/* A struct that has one value of each type. */
struct thing {
	uint64_t given;
	char name[SW_NAME_BYTES];
	char ifname[SW_IFNAME_BYTES];
	bool on, link;
	uint32_t number, owner;
	uint64_t rate, size;
	uint8_t word, protocol;
	uint16_t ethertype;
	struct sw_vlan vlan;
	struct sw_arp arp;
	struct sw_mac mac;
	struct sw_macs macs;
	struct sw_prefix prefix;
	struct sw_range range;
	struct sw_names names;
};

#define AT(member) offsetof(struct thing, member)
static const char *const words[] = { "a", "b", "c", NULL };
static const struct sw_key keys[] = {
	{ "name", SW_NAME, AT(name) },
	{ "ifname", SW_IFNAME, AT(ifname) },
	{ "on", SW_SWITCH, AT(on) },
	{ "link", SW_LINK, AT(link) },
	{ "number", SW_NUMBER, AT(number), 5, 50 },
	{ "owner", SW_OWNER, AT(owner) },
	{ "rate", SW_RATE, AT(rate), 64000, 1000000000 },
	{ "size", SW_SIZE, AT(size) },
	{ "word", SW_WORD, AT(word), .words = words },
	{ "proto", SW_PROTOCOL, AT(protocol) },
	{ "ethertype", SW_ETHERTYPE, AT(ethertype) },
	{ "vlan", SW_VLAN, AT(vlan) },
	{ "arp", SW_ARP, AT(arp) },
	{ "mac", SW_MAC, AT(mac) },
	{ "macs", SW_MACS, AT(macs) },
	{ "prefix", SW_PREFIX, AT(prefix) },
	{ "range", SW_RANGE, AT(range) },
	{ "names", SW_NAMES, AT(names) },
};
static const struct sw_table table = { "thing", keys, ARRAY_SIZE(keys) };

/* key=text is taken and written as `written`. */
static void good(const char *key, const char *text, const char *written)
{
	static char got[SW_TEXT_BYTES];
	struct thing thing = { 0 }, again = { 0 };
	struct diag diag = { .text = "" };
	int index = sw_table_find(&table, key);

	assert_true(index >= 0);
	if (sw_value_set(&table, (unsigned int)index, &thing, text, &diag)) {
		fail_msg("%s=%s: %s", key, text, diag.text);
	}
	assert_true(sw_value_given(&thing, (unsigned int)index));
	sw_value_text(&table, (unsigned int)index, &thing, got);
	assert_string_equal(got, written);
	assert_int_equal(sw_value_set(&table, (unsigned int)index, &again, got, &diag), 0);
	assert_true(sw_value_is_same(&table, (unsigned int)index, &thing, &again));
}

static void same(const char *key, const char *text)
{
	good(key, text, text);
}

/* It is refused with a sentence that has the value in it, and nothing is changed. */
static void bad(const char *key, const char *text)
{
	struct thing thing = { 0 };
	static const struct thing untouched;
	struct diag diag = { .text = "" };
	int index = sw_table_find(&table, key);

	assert_true(index >= 0);
	if (!sw_value_set(&table, (unsigned int)index, &thing, text, &diag)) {
		fail_msg("%s=%s was taken", key, text);
	}
	assert_memory_equal(&thing, &untouched, sizeof(thing));
	assert_non_null(strstr(diag.text, "give"));
	assert_non_null(strstr(diag.text, key));
}

static void words_and_numbers_are_read_and_written(void **state)
{
	(void)state;
	same("name", "web/net0");
	bad("name", "");
	bad("name", "a b");
	bad("name", "0123456789012345678901234567890123456789012345678901234567890123");
	same("ifname", "eth0.10");
	bad("ifname", "tap%d");
	bad("ifname", "a/b");
	bad("ifname", "0123456789abcdef");
	bad("ifname", "..");
	same("on", "on");
	good("on", "false", "off");
	bad("on", "yes");
	same("link", "down");
	bad("link", "on");
	same("number", "5");
	same("number", "50");
	bad("number", "4");
	bad("number", "51");
	bad("number", "5x");
	bad("number", "99999999999999999999999");
	same("owner", "any");
	same("owner", "0");
	bad("owner", "4294967295");
	same("word", "c");
	bad("word", "d");
	same("proto", "tcp");
	good("proto", "17", "udp");
	same("proto", "132");
	bad("proto", "0");
	bad("proto", "256");
	good("ethertype", "0x88CC", "0x88cc");
	good("ethertype", "35020", "0x88cc");
	bad("ethertype", "0x5ff");
	bad("ethertype", "0x10000");
}

static void rates_count_in_thousands_and_sizes_in_1024s(void **state)
{
	(void)state;
	same("rate", "100M");
	good("rate", "1500000", "1500K");
	good("rate", "1g", "1G");
	same("rate", "0");
	bad("rate", "1K");
	bad("rate", "2G");
	bad("rate", "1MM");
	bad("rate", "-1");
	good("size", "65536", "64K");
	same("size", "1025");
	bad("size", "99999999999T");
}

static void vlans_are_read_and_written(void **state)
{
	(void)state;
	same("vlan", "none");
	same("vlan", "access:10");
	bad("vlan", "access:0");
	bad("vlan", "access:4095");
	bad("vlan", "access:10x");
	same("vlan", "trunk:0");
	same("vlan", "trunk:1,2-20");
	good("vlan", "trunk:1,5,3,4,20-21,4094", "trunk:1,3-5,20-21,4094");
	bad("vlan", "trunk:");
	bad("vlan", "trunk:1,");
	bad("vlan", "trunk:1,20-2");
	bad("vlan", "trunk:1,0-2");
	bad("vlan", "trunk:1,2-4095");
	same("vlan", "private:100/isolated:101");
	same("vlan", "private:100/community:102");
	same("vlan", "private:100/promiscuous");
	bad("vlan", "private:100");
	bad("vlan", "private:100/isolated:100");
	bad("vlan", "private:100/promiscuous:1");
	bad("vlan", "10");
}

static void the_longest_trunk_can_be_written(void **state)
{
	static char text[SW_TEXT_BYTES];
	int length = snprintf(text, sizeof(text), "trunk:0");

	(void)state;
	for (int i = 1; i <= 4094; i += 2) {
		length += snprintf(text + length, sizeof(text) - (size_t)length, ",%d", i);
	}
	same("vlan", text);
}

static void addresses_are_read_and_written(void **state)
{
	(void)state;
	same("mac", "02:00:00:00:00:01");
	good("mac", "02:AB:cd:00:00:01", "02:ab:cd:00:00:01");
	bad("mac", "03:00:00:00:00:01");
	bad("mac", "00:00:00:00:00:00");
	bad("mac", "02:00:00:00:00");
	bad("mac", "02:00:00:00:00:01:02");
	same("macs", "none");
	same("macs", "02:00:00:00:00:01,02:00:00:00:00:02");
	bad("macs", "02:00:00:00:00:01,");
	bad("macs", "02:00:00:00:00:01,02:00:00:00:00:02,02:00:00:00:00:03,02:00:00:00:00:04,"
		    "02:00:00:00:00:05");
	same("arp", "off");
	same("arp", "snoop");
	same("arp", "10.0.0.1,fe80::1");
	bad("arp", "10.0.0");
	bad("arp", "on");
	same("prefix", "any");
	same("prefix", "10.0.0.0/8");
	same("prefix", "10.1.2.3");
	good("prefix", "10.1.2.3/32", "10.1.2.3");
	same("prefix", "fe80::/10");
	bad("prefix", "10.0.0.1/8");
	bad("prefix", "10.0.0.0/0");
	bad("prefix", "10.0.0.0/33");
	bad("prefix", "::ffff:1.2.3.4");
	same("range", "any");
	same("range", "80");
	same("range", "1000-2000");
	good("range", "0-65535", "any");
	bad("range", "2000-1000");
	bad("range", "65536");
	same("names", "none");
	same("names", "a,b/net0");
	bad("names", ",a");
	bad("names", "a,a b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_numbers_are_read_and_written),
		cmocka_unit_test(rates_count_in_thousands_and_sizes_in_1024s),
		cmocka_unit_test(vlans_are_read_and_written),
		cmocka_unit_test(the_longest_trunk_can_be_written),
		cmocka_unit_test(addresses_are_read_and_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
