/* SPDX-License-Identifier: MIT */
/*
 * One parser and one printer for each type of value (sw_value.h). A parser fills *ret, which is zeroed,
 * and says whether text is one. A printer has SW_TEXT_BYTES.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "switchd/sw_value.h"

#define SW_DECLARE(type)                                                                           \
	bool sw_parse_##type(const struct sw_key *key, const char *text, void *ret);               \
	void sw_build_##type(const struct sw_key *key, const void *value, char *ret)

SW_DECLARE(switch);
SW_DECLARE(number);
SW_DECLARE(rate);
SW_DECLARE(size);
SW_DECLARE(word);
SW_DECLARE(link);
SW_DECLARE(owner);
SW_DECLARE(ethertype);
SW_DECLARE(protocol);
SW_DECLARE(vlan);
SW_DECLARE(arp);
SW_DECLARE(mac);
SW_DECLARE(macs);
SW_DECLARE(prefix);
SW_DECLARE(range);
SW_DECLARE(names);
SW_DECLARE(ipv4);
SW_DECLARE(pool);
#undef SW_DECLARE

/* A whole number in base 10 at the start of text; *ret_end is behind it. */
bool sw_read_number(const char *text, uint64_t *ret, const char **ret_end);

/* All of text is a number from min to max. */
bool sw_read_whole(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* The next of what commas divide, in `word`; false: there is none, or it is longer (*ok says which). */
bool sw_next_word(const char **at, char *word, size_t bytes, bool *ok);

bool sw_parse_name(const struct sw_key *key, const char *text, void *ret);
bool sw_parse_ifname(const struct sw_key *key, const char *text, void *ret);
void sw_build_text(const struct sw_key *key, const void *value, char *ret);
