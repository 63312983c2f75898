/* SPDX-License-Identifier: MIT */
#include "vswitch/acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "proto/ether.h"

/* more IPv6 extension headers (RFC 7401, 5533), as frame.c steps over them */

#define PREFIX_BITS_MAX 128U
#define MAPPED_BITS     96U
#define MAPPED_PREFIX   0xffffULL /* of ::ffff:0:0/96: the low word's upper half */

/*
 * One rule as differences that must all be 0: one cache line, all that IPv4 needs. The high halves of
 * IPv6 addresses lie beside.
 */
struct compare {
	uint64_t local, local_mask, remote, remote_mask; /* low halves */
	uint64_t link, link_mask;                        /* remote MAC and ethertype */
	uint16_t local_first, local_span, remote_first, remote_span;
	uint16_t what, what_mask; /* protocol and ICMP type */
	uint8_t action;
	bool wants_flow;
};

struct compare_high {
	uint64_t local, local_mask, remote, remote_mask;
};

/* Frames by what a rule can be excluded for beforehand. */
enum acl_class {
	CLASS_NO_IP,
	CLASS_IPV4_TCP,
	CLASS_IPV4_UDP,
	CLASS_IPV4_OTHER,
	CLASS_IPV6_TCP,
	CLASS_IPV6_UDP,
	CLASS_IPV6_OTHER,
	CLASS_COUNT
};

struct acl {
	unsigned int count;
	enum acl_direction direction;
	uint16_t class_count[CLASS_COUNT];
	uint8_t class_rules[CLASS_COUNT][ACL_RULES_MAX]; /* indices, in the order of search */
	struct compare_high high[ACL_RULES_MAX];
	struct acl_rule rules[ACL_RULES_MAX];
	struct compare compares[ACL_RULES_MAX];
};

/* A frame as the rules see it. */
struct view {
	struct vframe_ip local, remote;
	uint64_t link;
	uint16_t local_port, remote_port;
	uint16_t what;
};

static bool is_prefix_ipv4(const struct acl_prefix *prefix)
{
	return prefix->bits >= MAPPED_BITS && prefix->ip.hi == 0 &&
	       prefix->ip.lo >> 32 == MAPPED_PREFIX;
}

/* 0: either. */
static unsigned int prefix_family(const struct acl_prefix *prefix)
{
	if (prefix->bits == 0) {
		return 0;
	}
	return is_prefix_ipv4(prefix) ? 4 : 6;
}

static unsigned int rule_family(const struct acl_rule *rule)
{
	unsigned int family = prefix_family(&rule->local);

	return family != 0 ? family : prefix_family(&rule->remote);
}

/* `bits` ones, from the top. */
static uint64_t mask_of(unsigned int bits)
{
	return bits == 0 ? 0 : bits >= 64 ? ~0ULL : ~0ULL << (64 - bits);
}

static uint64_t mask_high(const struct acl_prefix *prefix)
{
	return mask_of(prefix->bits);
}

static uint64_t mask_low(const struct acl_prefix *prefix)
{
	return mask_of(prefix->bits <= 64 ? 0 : prefix->bits - 64U);
}

static bool has_ports(const struct acl_rule *rule)
{
	return rule->local_ports.first != 0 || rule->local_ports.last != 0 ||
	       rule->remote_ports.first != 0 || rule->remote_ports.last != 0;
}

static bool is_any_port(const struct acl_ports *ports)
{
	return ports->first == 0 && ports->last == 0;
}

/* ---- compiling --------------------------------------------------------------------------------- */

static int check_rule(const struct acl_rule *rule, struct diag *diag)
{
	unsigned int local = prefix_family(&rule->local), remote = prefix_family(&rule->remote);
	const char *what = NULL;

	if (rule->action > ACL_COUNT) {
		what = "its action is not allow, deny or count";
	} else if (rule->is_stateful && rule->action != ACL_ALLOW) {
		what = "only what is allowed can be stateful";
	} else if (rule->idle_s > ACL_IDLE_S_MAX) {
		what = "its idle time is longer than a day";
	} else if (rule->local.bits > PREFIX_BITS_MAX || rule->remote.bits > PREFIX_BITS_MAX) {
		what = "a prefix is longer than the address";
	} else if (local != 0 && remote != 0 && local != remote) {
		what = "one address is of IPv4 and the other of IPv6";
	} else if (rule->local_ports.first > rule->local_ports.last ||
		   rule->remote_ports.first > rule->remote_ports.last) {
		what = "its ports end before they begin";
	} else if (has_ports(rule) && rule->protocol != IP_PROTOCOL_TCP &&
		   rule->protocol != IP_PROTOCOL_UDP) {
		what = "it has ports: say whether of tcp or udp";
	} else if (rule->has_icmp_type && rule->protocol != IP_PROTOCOL_ICMP &&
		   rule->protocol != IP_PROTOCOL_ICMPV6) {
		what = "it has an ICMP type: say whether of icmp or icmpv6";
	}
	return what ? diag_set(diag, -EINVAL, "rule %u: %s", rule->id, what) : 0;
}

static uint64_t link_of(const uint8_t mac[NET_MAC_BYTES], uint16_t ethertype)
{
	uint64_t link = 0;

	for (unsigned int i = 0; i < NET_MAC_BYTES; i++) {
		link = link << 8 | mac[i];
	}
	return link << 16 | ethertype;
}

static void set_ports(const struct acl_ports *ports, uint16_t *ret_first, uint16_t *ret_span)
{
	bool is_any = is_any_port(ports);

	*ret_first = is_any ? 0 : ports->first;
	*ret_span = is_any ? UINT16_MAX : (uint16_t)(ports->last - ports->first);
}

static void compile_rule(const struct acl_rule *rule, struct compare *ret,
			 struct compare_high *ret_high)
{
	static const uint8_t none[NET_MAC_BYTES];
	uint16_t type = rule->has_icmp_type ? rule->icmp_type : 0;

	*ret_high = (struct compare_high){
		.local_mask = mask_high(&rule->local),
		.remote_mask = mask_high(&rule->remote),
	};
	ret_high->local = rule->local.ip.hi & ret_high->local_mask;
	ret_high->remote = rule->remote.ip.hi & ret_high->remote_mask;
	*ret = (struct compare){
		.local_mask = mask_low(&rule->local),
		.remote_mask = mask_low(&rule->remote),
		.link = link_of(rule->has_mac ? rule->mac : none, rule->ethertype),
		.link_mask = (rule->has_mac ? ~0xffffULL : 0) | (rule->ethertype ? 0xffffU : 0),
		.what = (uint16_t)(rule->protocol << 8 | type),
		.what_mask = (uint16_t)((rule->protocol ? 0xff00 : 0) |
					(rule->has_icmp_type ? 0xff : 0)),
		.action = rule->action,
		.wants_flow = rule->is_stateful,
	};
	ret->local = rule->local.ip.lo & ret->local_mask;
	ret->remote = rule->remote.ip.lo & ret->remote_mask;
	set_ports(&rule->local_ports, &ret->local_first, &ret->local_span);
	set_ports(&rule->remote_ports, &ret->remote_first, &ret->remote_span);
}

static bool rule_is_of_class(const struct acl_rule *rule, unsigned int class)
{
	unsigned int family = rule_family(rule);
	uint8_t protocol = rule->protocol;

	if (class == CLASS_NO_IP) {
		return family == 0 && protocol == 0;
	}
	if ((family == 4 && class >= CLASS_IPV6_TCP) || (family == 6 && class < CLASS_IPV6_TCP)) {
		return false;
	}
	if (protocol == 0) {
		return true;
	}
	if (class == CLASS_IPV4_TCP || class == CLASS_IPV6_TCP) {
		return protocol == IP_PROTOCOL_TCP;
	}
	if (class == CLASS_IPV4_UDP || class == CLASS_IPV6_UDP) {
		return protocol == IP_PROTOCOL_UDP;
	}
	return protocol != IP_PROTOCOL_TCP && protocol != IP_PROTOCOL_UDP;
}

static int compare_order(const void *a, const void *b)
{
	const struct acl_rule *one = a, *other = b;

	if (one->priority != other->priority) {
		return one->priority < other->priority ? -1 : 1;
	}
	return (one->id > other->id) - (one->id < other->id);
}

static int check_rules(const struct acl_rule *rules, unsigned int count, struct diag *diag)
{
	if (count > ACL_RULES_MAX) {
		return diag_set(diag, -E2BIG, "%u rules: a port can have %u in each direction",
				count, ACL_RULES_MAX);
	}
	for (unsigned int i = 0; i < count; i++) {
		int err = check_rule(&rules[i], diag);

		for (unsigned int k = 0; !err && k < i; k++) {
			if (rules[k].id == rules[i].id) {
				err = diag_set(diag, -EINVAL,
					       "rule %u: there are two of that number",
					       rules[i].id);
			}
		}
		if (err) {
			return err;
		}
	}
	return 0;
}

int acl_compile(const struct acl_rule *rules, unsigned int count, enum acl_direction direction,
		struct acl **ret, struct diag *diag)
{
	struct acl *acl;
	int err = check_rules(rules, count, diag);

	if (err) {
		return err;
	}
	acl = fault_alloc(1, sizeof(*acl));
	if (!acl) {
		return diag_set(diag, -ENOMEM, "no memory for a port's rules");
	}
	acl->count = count;
	acl->direction = direction;
	if (count > 0) {
		memcpy(acl->rules, rules, count * sizeof(*rules));
		qsort(acl->rules, count, sizeof(*rules), compare_order);
	}
	for (unsigned int i = 0; i < count; i++) {
		compile_rule(&acl->rules[i], &acl->compares[i], &acl->high[i]);
		for (unsigned int class = 0; class < CLASS_COUNT; class ++) {
			if (rule_is_of_class(&acl->rules[i], class)) {
				acl->class_rules[class][acl->class_count[class]++] = (uint8_t)i;
			}
		}
	}
	*ret = acl;
	return 0;
}

void acl_destroy(struct acl *acl)
{
	free(acl);
}

unsigned int acl_rules(const struct acl *acl)
{
	return acl->count;
}

const struct acl_rule *acl_rule_at(const struct acl *acl, unsigned int index)
{
	check(index < acl->count);
	return &acl->rules[index];
}

/* ---- counters ---------------------------------------------------------------------------------- */

int acl_counters_create(const struct acl *acl, struct acl_counter **ret)
{
	/* At least one, so that no rules are not no memory. */
	struct acl_counter *counters = fault_alloc(acl->count ? acl->count : 1, sizeof(*counters));

	if (!counters) {
		return -ENOMEM;
	}
	*ret = counters;
	return 0;
}

void acl_counters_destroy(struct acl_counter *counters)
{
	free(counters);
}

void acl_counters_carry(const struct acl *acl, struct acl_counter *to, const struct acl *old_acl,
			const struct acl_counter *from)
{
	if (!old_acl || !from) {
		return;
	}
	for (unsigned int i = 0; i < acl->count; i++) {
		for (unsigned int k = 0; k < old_acl->count; k++) {
			if (acl->rules[i].id == old_acl->rules[k].id) {
				counter_add(&to[i].frames, counter_read(&from[k].frames));
				counter_add(&to[i].bytes, counter_read(&from[k].bytes));
				break;
			}
		}
	}
}

void acl_counters_zero(const struct acl *acl, struct acl_counter *counters, uint32_t id)
{
	for (unsigned int i = 0; i < acl->count; i++) {
		if (id == 0 || acl->rules[i].id == id) {
			atomic_store_explicit(&counters[i].frames, 0, memory_order_relaxed);
			atomic_store_explicit(&counters[i].bytes, 0, memory_order_relaxed);
		}
	}
}

bool acl_counters_base(const struct acl *acl, struct acl_counter *counters, uint32_t id,
		       uint64_t frames, uint64_t bytes)
{
	for (unsigned int i = 0; i < acl->count; i++) {
		if (acl->rules[i].id == id) {
			counter_add(&counters[i].frames, frames);
			counter_add(&counters[i].bytes, bytes);
			return true;
		}
	}
	return false;
}

static void count_frame(struct acl_counter *counters, unsigned int rule, const struct vframe *frame)
{
	if (counters) {
		counter_add(&counters[rule].frames, 1);
		counter_add(&counters[rule].bytes, frame->net.bytes);
	}
}

/* ---- matching ---------------------------------------------------------------------------------- */

static void look(const struct vframe_key *key, enum acl_direction direction, struct view *ret)
{
	bool is_out = direction == ACL_OUT;

	*ret = (struct view){
		.local = is_out ? key->ip_to : key->ip_from,
		.remote = is_out ? key->ip_from : key->ip_to,
		.link = link_of(is_out ? key->from : key->to, key->ethertype),
		.local_port = is_out ? key->port_to : key->port_from,
		.remote_port = is_out ? key->port_from : key->port_to,
		.what = (uint16_t)(key->protocol << 8 | key->icmp_type),
	};
}

/* A header that could not be read through, so that what is behind it is not known. */
static bool is_protocol_hidden(const struct vframe_key *key)
{
	if (key->ip_version != 6) {
		return key->protocol == IPV6_EXT_AH; /* else the parser steps over it */
	}
	return vframe_is_extension(key->protocol);
}

static bool has_l4_fields(uint8_t protocol)
{
	return protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP ||
	       protocol == IP_PROTOCOL_ICMP || protocol == IP_PROTOCOL_ICMPV6;
}

static bool is_within(const struct vframe_ip *ip, const struct acl_prefix *prefix)
{
	return ((ip->hi ^ prefix->ip.hi) & mask_high(prefix)) == 0 &&
	       ((ip->lo ^ prefix->ip.lo) & mask_low(prefix)) == 0;
}

/* A frame that does not show its protocol, or not its ports or type: rare, so by the rules themselves. */
static bool matches_hidden(const struct acl_rule *rule, const struct compare *compare,
			   const struct vframe_key *key, const struct view *view)
{
	unsigned int family = rule_family(rule);
	bool asks_l4 = has_ports(rule) || rule->has_icmp_type;

	if ((family != 0 && family != key->ip_version) ||
	    ((view->link ^ compare->link) & compare->link_mask) != 0 ||
	    !is_within(&view->local, &rule->local) || !is_within(&view->remote, &rule->remote)) {
		return false;
	}
	if (rule->protocol != 0 && is_protocol_hidden(key)) {
		return rule->action == ACL_DENY;
	}
	if (rule->protocol != 0 && rule->protocol != key->protocol) {
		return false;
	}
	return !asks_l4 || rule->action == ACL_DENY;
}

static bool matches(const struct compare *c, const struct view *v)
{
	uint64_t differs = ((v->local.lo ^ c->local) & c->local_mask) |
			   ((v->remote.lo ^ c->remote) & c->remote_mask) |
			   ((v->link ^ c->link) & c->link_mask) |
			   (uint64_t)((v->what ^ c->what) & c->what_mask) |
			   ((uint16_t)(v->local_port - c->local_first) > c->local_span) |
			   ((uint16_t)(v->remote_port - c->remote_first) > c->remote_span);

	return differs == 0;
}

static bool matches_high(const struct compare_high *c, const struct view *v)
{
	return (((v->local.hi ^ c->local) & c->local_mask) |
		((v->remote.hi ^ c->remote) & c->remote_mask)) == 0;
}

static struct acl_verdict verdict_of(const struct acl *acl, unsigned int rule)
{
	return (struct acl_verdict){ .action = acl->compares[rule].action,
				     .wants_flow = acl->compares[rule].wants_flow,
				     .rule = (int)rule };
}

static struct acl_verdict match_hidden(const struct acl *acl, struct acl_counter *counters,
				       const struct vframe *frame, const struct view *view)
{
	for (unsigned int i = 0; i < acl->count; i++) {
		if (matches_hidden(&acl->rules[i], &acl->compares[i], &frame->key, view)) {
			count_frame(counters, i, frame);
			if (acl->rules[i].action != ACL_COUNT) {
				return verdict_of(acl, i);
			}
		}
	}
	return (struct acl_verdict){ .action = ACL_ALLOW, .rule = -1 };
}

static enum acl_class class_of(const struct vframe_key *key)
{
	bool is_6 = key->ip_version == 6;

	if (key->ip_version == 0) {
		return CLASS_NO_IP;
	}
	switch (key->protocol) {
	case IP_PROTOCOL_TCP:
		return is_6 ? CLASS_IPV6_TCP : CLASS_IPV4_TCP;
	case IP_PROTOCOL_UDP:
		return is_6 ? CLASS_IPV6_UDP : CLASS_IPV4_UDP;
	default:
		return is_6 ? CLASS_IPV6_OTHER : CLASS_IPV4_OTHER;
	}
}

struct acl_verdict acl_match(const struct acl *acl, struct acl_counter *counters,
			     const struct vframe *frame)
{
	const struct vframe_key *key = &frame->key;
	enum acl_class class = class_of(key);
	bool is_6 = key->ip_version == 6;
	struct view view;

	look(key, acl->direction, &view);
	if (class != CLASS_NO_IP && ((!(key->flags & VKEY_L4) && has_l4_fields(key->protocol)) ||
				     is_protocol_hidden(key))) {
		return match_hidden(acl, counters, frame, &view);
	}
	for (unsigned int i = 0; i < acl->class_count[class]; i++) {
		unsigned int rule = acl->class_rules[class][i];

		if (!matches(&acl->compares[rule], &view) ||
		    (is_6 && !matches_high(&acl->high[rule], &view))) {
			continue;
		}
		count_frame(counters, rule, frame);
		if (acl->compares[rule].action != ACL_COUNT) {
			return verdict_of(acl, rule);
		}
	}
	return (struct acl_verdict){ .action = ACL_ALLOW, .rule = -1 };
}
