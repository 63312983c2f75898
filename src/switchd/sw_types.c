/* SPDX-License-Identifier: MIT */
/* How each type of value is read and written: numbers and words. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "switchd/sw_value_internal.h"

/* ---- numbers ------------------------------------------------------------------------------------ */

bool sw_read_number(const char *text, uint64_t *ret, const char **ret_end)
{
	uint64_t number = 0;

	if (!isdigit((unsigned char)*text)) {
		return false;
	}
	for (; isdigit((unsigned char)*text); text++) {
		if (!num_mul_u64(number, 10, &number) ||
		    !num_add_u64(number, (uint64_t)(*text - '0'), &number)) {
			return false;
		}
	}
	*ret = number;
	*ret_end = text;
	return true;
}

bool sw_read_whole(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *end;
	uint64_t number;

	if (!sw_read_number(text, &number, &end) || *end || number < min || number > max) {
		return false;
	}
	*ret = number;
	return true;
}

bool sw_parse_number(const struct sw_key *key, const char *text, void *ret)
{
	uint64_t number;

	if (!sw_read_whole(text, key->min, num_min(key->max, UINT32_MAX), &number)) {
		return false;
	}
	*(uint32_t *)ret = (uint32_t)number;
	return true;
}

void sw_build_number(const struct sw_key *key, const void *value, char *ret)
{
	(void)key;
	snprintf(ret, SW_TEXT_BYTES, "%u", *(const uint32_t *)value);
}

static bool parse_scaled(const struct sw_key *key, const char *text, uint64_t unit, uint64_t *ret)
{
	static const char letters[] = "KMGT";
	const char *end, *letter;
	uint64_t number;

	if (!sw_read_number(text, &number, &end)) {
		return false;
	}
	if (*end) {
		letter = strchr(letters, toupper((unsigned char)*end));
		if (!letter || end[1]) {
			return false;
		}
		for (const char *at = letters; at <= letter; at++) {
			if (!num_mul_u64(number, unit, &number)) {
				return false;
			}
		}
	}
	if (key->max && number && (number < key->min || number > key->max)) {
		return false;
	}
	*ret = number;
	return true;
}

static void build_scaled(uint64_t value, uint64_t unit, char *ret)
{
	static const char letters[] = "KMGT";
	int scale = -1;

	while (value && value % unit == 0 && scale < 3) {
		value /= unit;
		scale++;
	}
	snprintf(ret, SW_TEXT_BYTES, "%llu%.*s", (unsigned long long)value, scale >= 0 ? 1 : 0,
		 scale >= 0 ? letters + scale : "");
}

bool sw_parse_rate(const struct sw_key *key, const char *text, void *ret)
{
	return parse_scaled(key, text, 1000, ret);
}

void sw_build_rate(const struct sw_key *key, const void *value, char *ret)
{
	(void)key;
	build_scaled(*(const uint64_t *)value, 1000, ret);
}

bool sw_parse_size(const struct sw_key *key, const char *text, void *ret)
{
	return parse_scaled(key, text, 1024, ret);
}

void sw_build_size(const struct sw_key *key, const void *value, char *ret)
{
	(void)key;
	build_scaled(*(const uint64_t *)value, 1024, ret);
}

bool sw_parse_owner(const struct sw_key *key, const char *text, void *ret)
{
	uint64_t number = SW_OWNER_ANY;

	(void)key;
	if (strcmp(text, "any") != 0 && !sw_read_whole(text, 0, SW_OWNER_ANY - 1, &number)) {
		return false;
	}
	*(uint32_t *)ret = (uint32_t)number;
	return true;
}

void sw_build_owner(const struct sw_key *key, const void *value, char *ret)
{
	uint32_t owner = *(const uint32_t *)value;

	if (owner == SW_OWNER_ANY) {
		strcpy(ret, "any");
	} else {
		sw_build_number(key, value, ret);
	}
}

bool sw_parse_ethertype(const struct sw_key *key, const char *text, void *ret)
{
	char *end;
	unsigned long number;

	(void)key;
	if (strcmp(text, "any") == 0) {
		return true;
	}
	if (!isdigit((unsigned char)*text)) {
		return false;
	}
	errno = 0;
	number = strtoul(text, &end, 0);
	if (*end || errno || number < 0x600 || number > 0xffff) {
		return false;
	}
	*(uint16_t *)ret = (uint16_t)number;
	return true;
}

void sw_build_ethertype(const struct sw_key *key, const void *value, char *ret)
{
	uint16_t type = *(const uint16_t *)value;

	(void)key;
	snprintf(ret, SW_TEXT_BYTES, type ? "0x%04x" : "any", type);
}

/* ---- words -------------------------------------------------------------------------------------- */

bool sw_name_is_good(const char *name)
{
	size_t length = strlen(name);
	bool ok = length >= 1 && length < SW_NAME_BYTES;

	for (size_t i = 0; ok && i < length; i++) {
		ok = isalnum((unsigned char)name[i]) || strchr("._-/:+", name[i]);
	}
	return ok;
}

bool sw_parse_name(const struct sw_key *key, const char *text, void *ret)
{
	(void)key;
	if (!sw_name_is_good(text)) {
		return false;
	}
	strcpy(ret, text);
	return true;
}

bool sw_parse_ifname(const struct sw_key *key, const char *text, void *ret)
{
	size_t length = strlen(text);

	(void)key;
	if (length < 1 || length >= SW_IFNAME_BYTES || strcmp(text, ".") == 0 ||
	    strcmp(text, "..") == 0) {
		return false;
	}
	for (size_t i = 0; i < length; i++) {
		/* '%' would be a pattern to the kernel: tap%d */
		if (!isgraph((unsigned char)text[i]) || strchr("/:%,\"\\", text[i])) {
			return false;
		}
	}
	strcpy(ret, text);
	return true;
}

void sw_build_text(const struct sw_key *key, const void *value, char *ret)
{
	(void)key;
	snprintf(ret, SW_TEXT_BYTES, "%s", (const char *)value);
}

static bool either(const char *text, const char *yes, const char *no, bool *ret)
{
	*ret = strcmp(text, yes) == 0;
	return *ret || strcmp(text, no) == 0;
}

bool sw_parse_switch(const struct sw_key *key, const char *text, void *ret)
{
	(void)key;
	return either(text, "on", "off", ret) || either(text, "true", "false", ret);
}

void sw_build_switch(const struct sw_key *key, const void *value, char *ret)
{
	(void)key;
	strcpy(ret, *(const bool *)value ? "on" : "off");
}

bool sw_parse_link(const struct sw_key *key, const char *text, void *ret)
{
	(void)key;
	return either(text, "up", "down", ret);
}

void sw_build_link(const struct sw_key *key, const void *value, char *ret)
{
	(void)key;
	strcpy(ret, *(const bool *)value ? "up" : "down");
}

bool sw_parse_word(const struct sw_key *key, const char *text, void *ret)
{
	for (uint8_t i = 0; key->words[i]; i++) {
		if (strcmp(key->words[i], text) == 0) {
			*(uint8_t *)ret = i;
			return true;
		}
	}
	return false;
}

void sw_build_word(const struct sw_key *key, const void *value, char *ret)
{
	snprintf(ret, SW_TEXT_BYTES, "%s", key->words[*(const uint8_t *)value]);
}

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {
	{ "any", 0 }, { "icmp", 1 }, { "igmp", 2 }, { "tcp", 6 }, { "udp", 17 }, { "icmp6", 58 },
};

bool sw_parse_protocol(const struct sw_key *key, const char *text, void *ret)
{
	uint64_t number;

	(void)key;
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (strcmp(protocols[i].name, text) == 0) {
			*(uint8_t *)ret = protocols[i].number;
			return true;
		}
	}
	if (!sw_read_whole(text, 1, 255, &number)) {
		return false;
	}
	*(uint8_t *)ret = (uint8_t)number;
	return true;
}

void sw_build_protocol(const struct sw_key *key, const void *value, char *ret)
{
	uint8_t number = *(const uint8_t *)value;

	(void)key;
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (protocols[i].number == number) {
			strcpy(ret, protocols[i].name);
			return;
		}
	}
	snprintf(ret, SW_TEXT_BYTES, "%u", number);
}
