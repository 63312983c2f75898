/* SPDX-License-Identifier: MIT */
/* How each type of value is read and written. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "switchd/sw_value_internal.h"

/* ---- numbers ------------------------------------------------------------------------------------ */

/* A whole number in base 10 at the start of text; *ret_end is behind it. */
static bool read_number(const char *text, uint64_t *ret, const char **ret_end)
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

/* All of text is a number from min to max. */
static bool read_whole(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *end;
	uint64_t number;

	if (!read_number(text, &number, &end) || *end || number < min || number > max) {
		return false;
	}
	*ret = number;
	return true;
}

bool sw_parse_number(const struct sw_key *key, const char *text, void *ret)
{
	uint64_t number;

	if (!read_whole(text, key->min, num_min(key->max, UINT32_MAX), &number)) {
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

	if (!read_number(text, &number, &end)) {
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
	if (strcmp(text, "any") != 0 && !read_whole(text, 0, SW_OWNER_ANY - 1, &number)) {
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
	if (!read_whole(text, 1, 255, &number)) {
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

/* ---- lists -------------------------------------------------------------------------------------- */

/* The next of what commas divide, in `word`; false: there is none, or it is longer (*ok says which). */
static bool next_word(const char **at, char *word, size_t bytes, bool *ok)
{
	const char *from = *at;
	size_t length;

	*ok = true;
	if (!from) {
		return false;
	}
	length = strcspn(from, ",");
	if (length == 0 || length >= bytes) {
		*ok = false;
		return false;
	}
	memcpy(word, from, length);
	word[length] = '\0';
	*at = from[length] ? from + length + 1 : NULL;
	return true;
}

bool sw_parse_names(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_names *names = ret;
	char word[SW_NAME_BYTES];
	bool ok;

	if (strcmp(text, "none") == 0) {
		return true;
	}
	while (next_word(&text, word, sizeof(word), &ok)) {
		if (names->count == SW_NAMES_MAX ||
		    !sw_parse_name(key, word, names->names[names->count])) {
			return false;
		}
		names->count++;
	}
	return ok;
}

void sw_build_names(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_names *names = value;
	size_t length = 0;

	(void)key;
	strcpy(ret, "none");
	for (unsigned int i = 0; i < names->count; i++) {
		length += (size_t)snprintf(ret + length, SW_TEXT_BYTES - length, "%s%s",
					   i ? "," : "", names->names[i]);
	}
}

bool sw_parse_mac(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_mac *mac = ret;
	static const uint8_t none[6];

	(void)key;
	for (unsigned int i = 0; i < 6; i++) {
		const char *at = text + (size_t)i * 3;

		if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]) ||
		    at[2] != (i < 5 ? ':' : '\0')) {
			return false;
		}
		mac->bytes[i] = (uint8_t)strtoul(at, NULL, 16);
	}
	return !(mac->bytes[0] & 1) && memcmp(mac->bytes, none, 6) != 0;
}

void sw_build_mac(const struct sw_key *key, const void *value, char *ret)
{
	const uint8_t *m = ((const struct sw_mac *)value)->bytes;

	(void)key;
	snprintf(ret, SW_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
}

bool sw_parse_macs(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_macs *macs = ret;
	char word[32];
	bool ok;

	if (strcmp(text, "none") == 0) {
		return true;
	}
	while (next_word(&text, word, sizeof(word), &ok)) {
		if (macs->count == SW_MACS_MAX ||
		    !sw_parse_mac(key, word, &macs->macs[macs->count])) {
			return false;
		}
		macs->count++;
	}
	return ok;
}

void sw_build_macs(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_macs *macs = value;
	char one[SW_TEXT_BYTES];
	size_t length = 0;

	strcpy(ret, "none");
	for (unsigned int i = 0; i < macs->count; i++) {
		sw_build_mac(key, &macs->macs[i], one);
		length += (size_t)snprintf(ret + length, SW_TEXT_BYTES - length, "%s%s",
					   i ? "," : "", one);
	}
}

/* ---- IP ----------------------------------------------------------------------------------------- */

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool parse_address(const char *text, struct sw_address *ret, bool *ret_is_v4)
{
	if (inet_pton(AF_INET, text, ret->bytes + 12) == 1) {
		memcpy(ret->bytes, v4_mapped, sizeof(v4_mapped));
		*ret_is_v4 = true;
		return true;
	}
	*ret_is_v4 = false;
	/* ::ffff:1.2.3.4 would be written as 1.2.3.4 and is that. */
	return inet_pton(AF_INET6, text, ret->bytes) == 1 &&
	       memcmp(ret->bytes, v4_mapped, sizeof(v4_mapped)) != 0;
}

static void build_address(const struct sw_address *address, char ret[INET6_ADDRSTRLEN])
{
	bool is_v4 = memcmp(address->bytes, v4_mapped, sizeof(v4_mapped)) == 0;

	inet_ntop(is_v4 ? AF_INET : AF_INET6, address->bytes + (is_v4 ? 12 : 0), ret,
		  INET6_ADDRSTRLEN);
}

bool sw_parse_arp(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_arp *arp = ret;
	char word[INET6_ADDRSTRLEN];
	bool ok, is_v4;

	(void)key;
	if (strcmp(text, "off") == 0 || strcmp(text, "snoop") == 0) {
		arp->mode = text[0] == 'o' ? SW_ARP_OFF : SW_ARP_SNOOP;
		return true;
	}
	arp->mode = SW_ARP_LIST;
	while (next_word(&text, word, sizeof(word), &ok)) {
		if (arp->count == SW_ADDRESSES_MAX ||
		    !parse_address(word, &arp->addresses[arp->count], &is_v4)) {
			return false;
		}
		arp->count++;
	}
	return ok;
}

void sw_build_arp(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_arp *arp = value;
	char one[INET6_ADDRSTRLEN];
	size_t length = 0;

	(void)key;
	strcpy(ret, arp->mode == SW_ARP_SNOOP ? "snoop" : "off");
	for (unsigned int i = 0; i < arp->count; i++) {
		build_address(&arp->addresses[i], one);
		length += (size_t)snprintf(ret + length, SW_TEXT_BYTES - length, "%s%s",
					   i ? "," : "", one);
	}
}

/* Whether all bits behind the first `bits` are zero. */
static bool is_prefix(const struct sw_address *address, unsigned int bits)
{
	for (unsigned int i = bits; i < 128; i++) {
		if (address->bytes[i / 8] >> (7 - i % 8) & 1) {
			return false;
		}
	}
	return true;
}

bool sw_parse_prefix(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_prefix *prefix = ret;
	char word[INET6_ADDRSTRLEN];
	size_t length = strcspn(text, "/");
	uint64_t bits;
	unsigned int before;

	(void)key;
	if (strcmp(text, "any") == 0) {
		return true;
	}
	if (length >= sizeof(word)) {
		return false;
	}
	memcpy(word, text, length);
	word[length] = '\0';
	if (!parse_address(word, &prefix->address, &prefix->is_v4)) {
		return false;
	}
	before = prefix->is_v4 ? 96 : 0;
	bits = 128 - before;
	if (text[length] && !read_whole(text + length + 1, 1, 128 - before, &bits)) {
		return false;
	}
	prefix->bits = (uint8_t)(bits + before);
	return is_prefix(&prefix->address, prefix->bits);
}

void sw_build_prefix(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_prefix *prefix = value;
	char one[INET6_ADDRSTRLEN];

	(void)key;
	if (prefix->bits == 0) {
		strcpy(ret, "any");
		return;
	}
	build_address(&prefix->address, one);
	if (prefix->bits == 128) {
		snprintf(ret, SW_TEXT_BYTES, "%s", one);
	} else {
		snprintf(ret, SW_TEXT_BYTES, "%s/%d", one, prefix->bits - (prefix->is_v4 ? 96 : 0));
	}
}

static bool read_ipv4(const char *text, uint32_t *ret)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1 || address.s_addr == 0) {
		return false;
	}
	*ret = ntohl(address.s_addr);
	return true;
}

static void write_ipv4(uint32_t address, char ret[INET_ADDRSTRLEN])
{
	struct in_addr in = { htonl(address) };

	inet_ntop(AF_INET, &in, ret, INET_ADDRSTRLEN);
}

bool sw_parse_ipv4(const struct sw_key *key, const char *text, void *ret)
{
	(void)key;
	return strcmp(text, "auto") == 0 || read_ipv4(text, ret);
}

void sw_build_ipv4(const struct sw_key *key, const void *value, char *ret)
{
	uint32_t address = *(const uint32_t *)value;

	(void)key;
	if (address == 0) {
		strcpy(ret, "auto");
	} else {
		write_ipv4(address, ret);
	}
}

bool sw_parse_pool(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_pool *pool = ret;
	char first[INET_ADDRSTRLEN];
	size_t length = strcspn(text, "-");

	(void)key;
	if (strcmp(text, "auto") == 0) {
		return true;
	}
	if (!text[length] || length >= sizeof(first)) {
		return false;
	}
	memcpy(first, text, length);
	first[length] = '\0';
	return read_ipv4(first, &pool->first) && read_ipv4(text + length + 1, &pool->last) &&
	       pool->first <= pool->last;
}

void sw_build_pool(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_pool *pool = value;
	char first[INET_ADDRSTRLEN], last[INET_ADDRSTRLEN];

	(void)key;
	if (pool->first == 0) {
		strcpy(ret, "auto");
		return;
	}
	write_ipv4(pool->first, first);
	write_ipv4(pool->last, last);
	snprintf(ret, SW_TEXT_BYTES, "%s-%s", first, last);
}

/* ---- ranges, VLANs ------------------------------------------------------------------------------ */

/* "7" or "7-9" */
static bool read_range(const char *text, uint64_t min, uint64_t max, uint16_t *ret_from,
		       uint16_t *ret_to)
{
	uint64_t from, to;
	const char *end;

	if (!read_number(text, &from, &end)) {
		return false;
	}
	to = from;
	if (*end == '-' ? !read_whole(end + 1, from, max, &to) : *end != '\0') {
		return false;
	}
	if (from < min || to > max) {
		return false;
	}
	*ret_from = (uint16_t)from;
	*ret_to = (uint16_t)to;
	return true;
}

bool sw_parse_range(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_range *range = ret;

	(void)key;
	if (strcmp(text, "any") == 0) {
		range->to = UINT16_MAX;
		return true;
	}
	return read_range(text, 0, UINT16_MAX, &range->from, &range->to);
}

void sw_build_range(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_range *range = value;

	(void)key;
	if (range->from == 0 && range->to == UINT16_MAX) {
		strcpy(ret, "any");
	} else if (range->from == range->to) {
		snprintf(ret, SW_TEXT_BYTES, "%u", range->from);
	} else {
		snprintf(ret, SW_TEXT_BYTES, "%u-%u", range->from, range->to);
	}
}

/* "1,2-20": the native one, then those that are allowed */
static bool parse_trunk(const char *text, struct sw_vlan *vlan)
{
	uint16_t from, to;
	char word[16];
	bool ok, is_first = true;

	while (next_word(&text, word, sizeof(word), &ok)) {
		if (is_first) {
			uint64_t native;

			if (!read_whole(word, 0, SW_VLAN_MAX, &native)) {
				return false;
			}
			vlan->id = (uint16_t)native;
			is_first = false;
			continue;
		}
		if (!read_range(word, 1, SW_VLAN_MAX, &from, &to)) {
			return false;
		}
		for (unsigned int i = from; i <= to; i++) {
			vlan->allowed[i / 64] |= UINT64_C(1) << (i % 64);
		}
	}
	return ok && !is_first;
}

/* "100/isolated:101" */
static bool parse_private(const char *text, struct sw_vlan *vlan)
{
	static const char isolated[] = "/isolated:", community[] = "/community:";
	uint64_t id, secondary = 0;
	const char *end;

	if (!read_number(text, &id, &end) || id < 1 || id > SW_VLAN_MAX) {
		return false;
	}
	vlan->id = (uint16_t)id;
	if (strcmp(end, "/promiscuous") == 0) {
		vlan->mode = SW_VLAN_PROMISCUOUS;
		return true;
	}
	if (strncmp(end, isolated, sizeof(isolated) - 1) == 0) {
		vlan->mode = SW_VLAN_ISOLATED;
		end += sizeof(isolated) - 1;
	} else if (strncmp(end, community, sizeof(community) - 1) == 0) {
		vlan->mode = SW_VLAN_COMMUNITY;
		end += sizeof(community) - 1;
	} else {
		return false;
	}
	if (!read_whole(end, 1, SW_VLAN_MAX, &secondary) || secondary == id) {
		return false;
	}
	vlan->secondary = (uint16_t)secondary;
	return true;
}

bool sw_parse_vlan(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_vlan *vlan = ret;
	uint64_t id;

	(void)key;
	if (strcmp(text, "none") == 0) {
		return true;
	}
	if (strncmp(text, "access:", 7) == 0) {
		if (!read_whole(text + 7, 1, SW_VLAN_MAX, &id)) {
			return false;
		}
		vlan->mode = SW_VLAN_ACCESS;
		vlan->id = (uint16_t)id;
		return true;
	}
	if (strncmp(text, "trunk:", 6) == 0) {
		vlan->mode = SW_VLAN_TRUNK;
		return parse_trunk(text + 6, vlan);
	}
	return strncmp(text, "private:", 8) == 0 && parse_private(text + 8, vlan);
}

static bool is_allowed(const struct sw_vlan *vlan, unsigned int id)
{
	return id <= SW_VLAN_MAX && (vlan->allowed[id / 64] >> (id % 64) & 1);
}

/* At most 2,047 runs of 1 to 9 bytes; and it is never that: alternating ones are 5 bytes each. */
static void build_trunk(const struct sw_vlan *vlan, char *ret)
{
	int length = snprintf(ret, SW_TEXT_BYTES, "trunk:%u", vlan->id);

	for (unsigned int from = 1; from <= SW_VLAN_MAX; from++) {
		unsigned int to = from;

		if (!is_allowed(vlan, from)) {
			continue;
		}
		while (is_allowed(vlan, to + 1)) {
			to++;
		}
		if (length < 0 || length > SW_TEXT_BYTES - 16) {
			return;
		}
		length += snprintf(ret + length, SW_TEXT_BYTES - (size_t)length,
				   from == to ? ",%u" : ",%u-%u", from, to);
		from = to;
	}
}

void sw_build_vlan(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_vlan *vlan = value;

	(void)key;
	switch ((enum sw_vlan_mode)vlan->mode) {
	case SW_VLAN_NONE:
		strcpy(ret, "none");
		break;
	case SW_VLAN_ACCESS:
		snprintf(ret, SW_TEXT_BYTES, "access:%u", vlan->id);
		break;
	case SW_VLAN_TRUNK:
		build_trunk(vlan, ret);
		break;
	case SW_VLAN_PROMISCUOUS:
		snprintf(ret, SW_TEXT_BYTES, "private:%u/promiscuous", vlan->id);
		break;
	case SW_VLAN_ISOLATED:
	case SW_VLAN_COMMUNITY:
		snprintf(ret, SW_TEXT_BYTES, "private:%u/%s:%u", vlan->id,
			 vlan->mode == SW_VLAN_ISOLATED ? "isolated" : "community",
			 vlan->secondary);
		break;
	}
}
