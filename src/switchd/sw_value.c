/* SPDX-License-Identifier: MIT */
#include "switchd/sw_value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "switchd/sw_value_internal.h"

/* ---- which parser, which printer, how large ---------------------------------------------------- */

typedef bool parse_fn(const struct sw_key *key, const char *text, void *ret);
typedef void build_fn(const struct sw_key *key, const void *value, char *ret);

static const struct {
	size_t bytes;
	parse_fn *parse;
	build_fn *build;
	const char *form; /* what a good one looks like */
} types[] = {
	[SW_NAME] = { SW_NAME_BYTES, sw_parse_name, sw_build_text,
		      "1 to 63 letters, digits, dots, dashes, underscores, slashes, colons or plus "
		      "signs" },
	[SW_IFNAME] = { SW_IFNAME_BYTES, sw_parse_ifname, sw_build_text,
			"the name of a network interface: 1 to 15 characters" },
	[SW_SWITCH] = { sizeof(bool), sw_parse_switch, sw_build_switch, "on or off" },
	[SW_NUMBER] = { sizeof(uint32_t), sw_parse_number, sw_build_number, "a whole number" },
	[SW_RATE] = { sizeof(uint64_t), sw_parse_rate, sw_build_rate,
		      "bits per second, as in 100M, or 0 for none" },
	[SW_SIZE] = { sizeof(uint64_t), sw_parse_size, sw_build_size, "bytes, as in 64K" },
	[SW_WORD] = { sizeof(uint8_t), sw_parse_word, sw_build_word, NULL },
	[SW_LINK] = { sizeof(bool), sw_parse_link, sw_build_link, "up or down" },
	[SW_OWNER] = { sizeof(uint32_t), sw_parse_owner, sw_build_owner,
		       "the number of a user, or any" },
	[SW_ETHERTYPE] = { sizeof(uint16_t), sw_parse_ethertype, sw_build_ethertype,
			   "a number from 0x600 to 0xffff, or any" },
	[SW_PROTOCOL] = { sizeof(uint8_t), sw_parse_protocol, sw_build_protocol,
			  "tcp, udp, icmp, icmp6, igmp, a number from 1 to 255, or any" },
	[SW_VLAN] = { sizeof(struct sw_vlan), sw_parse_vlan, sw_build_vlan,
		      "none, access:10, trunk:1,2-20 (first the VLAN of untagged frames, 0 for "
		      "none), "
		      "private:100/isolated:101, private:100/community:102 or "
		      "private:100/promiscuous" },
	[SW_ARP] = { sizeof(struct sw_arp), sw_parse_arp, sw_build_arp,
		     "off, snoop, or up to 16 addresses with commas between them" },
	[SW_MAC] = { sizeof(struct sw_mac), sw_parse_mac, sw_build_mac,
		     "an address of one station, as in 02:00:00:00:00:01" },
	[SW_MACS] = { sizeof(struct sw_macs), sw_parse_macs, sw_build_macs,
		      "none, or up to 4 addresses as in 02:00:00:00:00:01, with commas between" },
	[SW_PREFIX] = { sizeof(struct sw_prefix), sw_parse_prefix, sw_build_prefix,
			"any, or an address or prefix as in 10.0.0.0/8 or fe80::/10" },
	[SW_RANGE] = { sizeof(struct sw_range), sw_parse_range, sw_build_range,
		       "any, a port's number, or two as in 1000-2000" },
	[SW_NAMES] = { sizeof(struct sw_names), sw_parse_names, sw_build_names,
		       "none, or up to 16 names with commas between them" },
	[SW_IPV4] = { sizeof(uint32_t), sw_parse_ipv4, sw_build_ipv4,
		      "auto, or an IPv4 address as in 10.0.2.2" },
	[SW_POOL] = { sizeof(struct sw_pool), sw_parse_pool, sw_build_pool,
		      "auto, or the first and the last address as in 10.0.2.15-10.0.2.99" },
};

int sw_table_find(const struct sw_table *table, const char *name)
{
	for (unsigned int i = 0; i < table->count; i++) {
		if (strcmp(table->keys[i].name, name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

/* "external, internal or private" */
static void list_words(const char *const *words, char *ret, size_t bytes)
{
	size_t length = 0;

	for (size_t i = 0; words[i]; i++) {
		const char *between = i == 0 ? "" : words[i + 1] ? ", " : " or ";
		int n = snprintf(ret + length, bytes - length, "%s%s", between, words[i]);

		if (n < 0 || (size_t)n >= bytes - length) {
			return;
		}
		length += (size_t)n;
	}
}

static int refuse(const struct sw_table *table, const struct sw_key *key, const char *text,
		  struct diag *reterr)
{
	const char *form = types[key->type].form;
	char wanted[256] = "";

	if (key->type == SW_WORD) {
		list_words(key->words, wanted, sizeof(wanted));
	} else if (key->max) {
		snprintf(wanted, sizeof(wanted), "%s from %llu to %llu", form,
			 (unsigned long long)key->min, (unsigned long long)key->max);
	} else {
		snprintf(wanted, sizeof(wanted), "%s", form);
	}
	return diag_set(reterr, -EINVAL, "%s: %s \"%.64s\": give %s", table->what, key->name, text,
			wanted);
}

static void *value_at(const struct sw_key *key, const void *object)
{
	return (char *)object + key->offset;
}

int sw_value_set(const struct sw_table *table, unsigned int key, void *object, const char *text,
		 struct diag *reterr)
{
	const struct sw_key *k = &table->keys[key];
	/* As large as the largest. */
	union {
		struct sw_vlan vlan;
		struct sw_arp arp;
		struct sw_names names;
		uint64_t number;
	} value;

	memset(&value, 0, sizeof(value));
	if (!types[k->type].parse(k, text, &value)) {
		return refuse(table, k, text, reterr);
	}
	memcpy(value_at(k, object), &value, types[k->type].bytes);
	*(uint64_t *)object |= UINT64_C(1) << key;
	return 0;
}

void sw_value_text(const struct sw_table *table, unsigned int key, const void *object,
		   char ret[SW_TEXT_BYTES])
{
	const struct sw_key *k = &table->keys[key];

	types[k->type].build(k, value_at(k, object), ret);
}

void sw_value_copy(const struct sw_table *table, unsigned int key, const void *from, void *to)
{
	const struct sw_key *k = &table->keys[key];

	memcpy(value_at(k, to), value_at(k, from), types[k->type].bytes);
}

bool sw_value_is_same(const struct sw_table *table, unsigned int key, const void *a, const void *b)
{
	const struct sw_key *k = &table->keys[key];

	/* Values are copied whole from a zeroed one: no noise behind a text's end. */
	return memcmp(value_at(k, a), value_at(k, b), types[k->type].bytes) == 0;
}

/* ---- JSON --------------------------------------------------------------------------------------- */

bool sw_json_text(const struct json_t *value, char *ret, size_t bytes)
{
	int n = -1;

	if (json_is_string(value)) {
		const char *text = json_string_value(value);

		n = json_string_length(value) == strlen(text) ? snprintf(ret, bytes, "%s", text)
							      : -1;
	} else if (json_is_integer(value)) {
		n = snprintf(ret, bytes, "%lld", (long long)json_integer_value(value));
	} else if (json_is_boolean(value)) {
		n = snprintf(ret, bytes, "%s", json_is_true(value) ? "on" : "off");
	}
	return n >= 0 && (size_t)n < bytes;
}

static bool is_skipped(const char *const *skip, const char *name)
{
	for (; skip && *skip; skip++) {
		if (strcmp(*skip, name) == 0) {
			return true;
		}
	}
	return false;
}

static int refuse_key(const struct sw_table *table, const char *name, struct diag *reterr)
{
	char known[400] = "";
	size_t length = 0;

	for (unsigned int i = 0; i < table->count; i++) {
		int n = snprintf(known + length, sizeof(known) - length, "%s%s", i ? ", " : "",
				 table->keys[i].name);

		if (n < 0 || (size_t)n >= sizeof(known) - length) {
			break;
		}
		length += (size_t)n;
	}
	return diag_set(reterr, -EINVAL, "%s: there is no \"%.64s\": known are %s", table->what,
			name, known);
}

int sw_object_parse(const struct sw_table *table, const struct json_t *json,
		    const char *const *skip, void *object, struct diag *reterr)
{
	char text[SW_TEXT_BYTES];
	const char *name;
	json_t *value;

	/* jansson's iteration takes no const, and changes nothing */
	json_object_foreach((json_t *)json, name, value)
	{
		int err, key;

		if (is_skipped(skip, name)) {
			continue;
		}
		key = sw_table_find(table, name);
		if (key < 0) {
			return refuse_key(table, name, reterr);
		}
		if (!sw_json_text(value, text, sizeof(text))) {
			return diag_set(reterr, -EINVAL,
					"%s: %s is neither a text, a whole number, true nor false",
					table->what, name);
		}
		err = sw_value_set(table, (unsigned int)key, object, text, reterr);
		if (err) {
			return err;
		}
	}
	return 0;
}

void sw_object_build(const struct sw_table *table, const void *object, bool everything,
		     struct json_t *json)
{
	char text[SW_TEXT_BYTES];

	for (unsigned int i = 0; i < table->count; i++) {
		const struct sw_key *key = &table->keys[i];
		const void *at = value_at(key, object);
		json_t *value;

		if (!everything && !sw_value_given(object, i)) {
			continue;
		}
		if (key->type == SW_NUMBER) {
			value = json_integer(*(const uint32_t *)at);
		} else if (key->type == SW_SWITCH) {
			value = json_boolean(*(const bool *)at);
		} else {
			sw_value_text(table, i, object, text);
			value = json_string(text);
		}
		json_object_set_new(json, key->name, value);
	}
}
