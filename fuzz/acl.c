/* SPDX-License-Identifier: MIT */
/*
 * Rules and a frame made from the input: the compiled list must decide as a plain reading of acl.h does,
 * which is below, bit by bit.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "vswitch/acl.h"

#define RULES 24U

static struct bytes_cursor input;

/* Few values, so that rules and frames meet. */
static struct vframe_ip make_ip(uint8_t version)
{
	uint8_t a = bytes_take_u8(&input), b = bytes_take_u8(&input);

	if (version == 4) {
		return (struct vframe_ip){ .lo = 0xffffULL << 32 | (uint64_t)(a & 3) << 24 |
						 (b & 7) };
	}
	return (struct vframe_ip){ .hi = (uint64_t)(a & 3) << 60 | (a >> 6), .lo = b & 7 };
}

static uint8_t make_protocol(void)
{
	static const uint8_t some[] = { 0, 1, 6, 17, 58, 47, 44, 51 };

	return some[bytes_take_u8(&input) % sizeof(some)];
}

static void make_rule(struct acl_rule *rule, uint32_t id)
{
	uint8_t bits = bytes_take_u8(&input), what = bytes_take_u8(&input);
	uint8_t version = what & 1 ? 4 : 6;

	*rule = (struct acl_rule){ .id = id, .priority = what >> 5, .action = bits & 3 };
	rule->action = rule->action > ACL_COUNT ? ACL_DENY : rule->action;
	rule->is_stateful = rule->action == ACL_ALLOW && (bits & 4);
	rule->protocol = bits & 8 ? make_protocol() : 0;
	if (bits & 16) {
		rule->local = (struct acl_prefix){ make_ip(version), bytes_take_u8(&input) % 129 };
	}
	if (bits & 32) {
		rule->remote = (struct acl_prefix){ make_ip(version), bytes_take_u8(&input) % 129 };
	}
	if (bits & 64) {
		rule->local_ports.first = bytes_take_u8(&input) & 7;
		rule->local_ports.last = bytes_take_u8(&input) & 7;
	}
	if (bits & 128) {
		rule->remote_ports.first = bytes_take_u8(&input) & 7;
		rule->remote_ports.last = bytes_take_u8(&input) & 7;
	}
	rule->has_icmp_type = what & 2;
	rule->icmp_type = rule->has_icmp_type ? bytes_take_u8(&input) & 3 : 0;
	rule->has_mac = what & 4;
	rule->mac[5] = rule->has_mac ? bytes_take_u8(&input) & 1 : 0;
	rule->ethertype = what & 8 ? (what & 16 ? 0x0800 : 0x86dd) : 0;
}

static void make_frame(struct vframe *frame)
{
	static const uint8_t versions[] = { 0, 4, 6, 4 };
	struct vframe_key *key = &frame->key;

	memset(frame, 0, sizeof(*frame));
	frame->net.bytes = 60;
	key->ip_version = versions[bytes_take_u8(&input) & 3];
	key->ethertype = key->ip_version == 4 ? 0x0800 : key->ip_version == 6 ? 0x86dd : 0x0806;
	key->to[5] = bytes_take_u8(&input) & 1;
	key->from[5] = bytes_take_u8(&input) & 1;
	key->flags =
		bytes_take_u8(&input) & (VKEY_FRAGMENT | VKEY_FIRST | VKEY_L4 | VKEY_TRUNCATED);
	if (key->ip_version == 0) {
		return;
	}
	key->protocol = make_protocol();
	key->ip_from = make_ip(key->ip_version);
	key->ip_to = make_ip(key->ip_version);
	if (key->flags & VKEY_L4) {
		key->port_from = bytes_take_u8(&input) & 7;
		key->port_to = bytes_take_u8(&input) & 7;
		key->icmp_type = bytes_take_u8(&input) & 3;
	}
}

/* ---- the plain reading ------------------------------------------------------------------------- */

static bool bit_of(const struct vframe_ip *ip, unsigned int bit)
{
	return bit < 64 ? (ip->hi >> (63 - bit)) & 1 : (ip->lo >> (127 - bit)) & 1;
}

static bool plain_prefix(const struct acl_prefix *prefix, const struct vframe_key *key,
			 const struct vframe_ip *ip)
{
	static const struct vframe_ip mapped = { .lo = 0xffffULL << 32 };
	bool is_ipv4 = prefix->bits >= 96;

	if (prefix->bits == 0) {
		return true;
	}
	for (unsigned int i = 0; is_ipv4 && i < 96; i++) {
		is_ipv4 = bit_of(&prefix->ip, i) == bit_of(&mapped, i);
	}
	if (key->ip_version != (is_ipv4 ? 4 : 6)) {
		return false;
	}
	for (unsigned int i = 0; i < prefix->bits; i++) {
		if (bit_of(ip, i) != bit_of(&prefix->ip, i)) {
			return false;
		}
	}
	return true;
}

static bool plain_ports(const struct acl_ports *ports, uint16_t port)
{
	return (ports->first == 0 && ports->last == 0) ||
	       (ports->first <= port && port <= ports->last);
}

static bool plain_match(const struct acl_rule *rule, const struct vframe_key *key, bool is_out)
{
	bool hides_protocol = key->ip_version != 0 &&
			      (key->protocol == 44 || key->protocol == 51 || key->protocol == 0) &&
			      (key->ip_version == 6 || key->protocol == 51);
	bool if_hidden = rule->action == ACL_DENY;
	bool asks_ports = rule->local_ports.last || rule->remote_ports.last;

	if (!plain_prefix(&rule->local, key, is_out ? &key->ip_to : &key->ip_from) ||
	    !plain_prefix(&rule->remote, key, is_out ? &key->ip_from : &key->ip_to)) {
		return false;
	}
	if ((rule->has_mac && memcmp(rule->mac, is_out ? key->from : key->to, 6) != 0) ||
	    (rule->ethertype && rule->ethertype != key->ethertype)) {
		return false;
	}
	if (rule->protocol == 0) {
		return true;
	}
	if (key->ip_version == 0) {
		return false;
	}
	if (hides_protocol) {
		return if_hidden;
	}
	if (rule->protocol != key->protocol) {
		return false;
	}
	if ((asks_ports || rule->has_icmp_type) && !(key->flags & VKEY_L4)) {
		return if_hidden;
	}
	return plain_ports(&rule->local_ports, is_out ? key->port_to : key->port_from) &&
	       plain_ports(&rule->remote_ports, is_out ? key->port_from : key->port_to) &&
	       (!rule->has_icmp_type || rule->icmp_type == key->icmp_type);
}

static void compare(const struct acl *acl, struct acl_counter *counters, const struct vframe *frame,
		    bool is_out)
{
	uint64_t hits[RULES];
	struct acl_verdict verdict;
	int decided = -1;

	for (unsigned int i = 0; i < acl_rules(acl); i++) {
		hits[i] = counter_read(&counters[i].frames);
	}
	verdict = acl_match(acl, counters, frame);
	for (unsigned int i = 0; i < acl_rules(acl); i++) {
		const struct acl_rule *rule = acl_rule_at(acl, i);

		if (decided < 0 && plain_match(rule, &frame->key, is_out)) {
			hits[i]++;
			decided = rule->action == ACL_COUNT ? -1 : (int)i;
		}
		check(counter_read(&counters[i].frames) == hits[i]);
	}
	check(verdict.rule == decided);
	check(verdict.action ==
	      (decided < 0 ? ACL_ALLOW : acl_rule_at(acl, (unsigned int)decided)->action));
	check(verdict.wants_flow ==
	      (decided >= 0 && acl_rule_at(acl, (unsigned int)decided)->is_stateful));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct acl_rule rules[RULES];
	struct acl_counter *counters;
	struct acl *acl = NULL;
	struct vframe frame;
	struct diag diag;
	unsigned int asked, count = 0;
	bool is_out;

	input = bytes_cursor(bytes, length);
	is_out = bytes_take_u8(&input) & 1;
	asked = bytes_take_u8(&input) % (RULES + 1);
	for (uint32_t id = 0; id < asked; id++) {
		make_rule(&rules[count], id);
		/* Those that make no sense are refused, and left out. */
		if (acl_compile(&rules[count], 1, ACL_IN, &acl, &diag) == 0) {
			acl_destroy(acl);
			count++;
		}
	}
	if (acl_compile(rules, count, is_out ? ACL_OUT : ACL_IN, &acl, &diag) ||
	    acl_counters_create(acl, &counters)) {
		abort();
	}
	for (unsigned int i = 0; i < 16 && !input.failed; i++) {
		make_frame(&frame);
		compare(acl, counters, &frame, is_out);
	}
	acl_counters_destroy(counters);
	acl_destroy(acl);
	return 0;
}
