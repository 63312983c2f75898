/* SPDX-License-Identifier: MIT */
/* How each type of value is read and written: ranges and VLANs. */
#include <stdio.h>
#include <string.h>

#include "switchd/sw_value_internal.h"

/* ---- ranges, VLANs ------------------------------------------------------------------------------ */

/* "7" or "7-9" */
static bool read_range(const char *text, uint64_t min, uint64_t max, uint16_t *ret_from,
		       uint16_t *ret_to)
{
	uint64_t from, to;
	const char *end;

	if (!sw_read_number(text, &from, &end)) {
		return false;
	}
	to = from;
	if (*end == '-' ? !sw_read_whole(end + 1, from, max, &to) : *end != '\0') {
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

	while (sw_next_word(&text, word, sizeof(word), &ok)) {
		if (is_first) {
			uint64_t native;

			if (!sw_read_whole(word, 0, SW_VLAN_MAX, &native)) {
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

	if (!sw_read_number(text, &id, &end) || id < 1 || id > SW_VLAN_MAX) {
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
	if (!sw_read_whole(end, 1, SW_VLAN_MAX, &secondary) || secondary == id) {
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
		if (!sw_read_whole(text + 7, 1, SW_VLAN_MAX, &id)) {
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
