/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/dhcp_internal.h"

struct address_text {
	char text[INET_ADDRSTRLEN];
};

static struct address_text text_of(uint32_t address)
{
	struct in_addr in = { htonl(address) };
	struct address_text t;

	inet_ntop(AF_INET, &in, t.text, sizeof(t.text));
	return t;
}

/* ---- slots ------------------------------------------------------------------------------------- */

unsigned int dhcp_slot_count(const struct dhcp *dhcp)
{
	return dhcp->pool + dhcp->static_count;
}

struct dhcp_slot *dhcp_slot_of(const struct dhcp *dhcp, uint32_t address)
{
	const struct dhcp_slot *slots = dhcp->slots;

	if (address - dhcp->config.pool_first < dhcp->pool) {
		return (struct dhcp_slot *)&slots[address - dhcp->config.pool_first];
	}
	for (unsigned int i = 0; i < dhcp->static_count; i++) {
		if (dhcp->statics[i].address == address) {
			return (struct dhcp_slot *)&slots[dhcp->pool + i];
		}
	}
	return NULL;
}

uint32_t dhcp_address_of(const struct dhcp *dhcp, const struct dhcp_slot *slot)
{
	const unsigned int index = (unsigned int)(slot - dhcp->slots);

	return index < dhcp->pool ? dhcp->config.pool_first + index
				  : dhcp->statics[index - dhcp->pool].address;
}

bool dhcp_may_have(const struct dhcp *dhcp, const struct dhcp_slot *slot, const uint8_t *mac)
{
	if (slot->kept == DHCP_KEPT_NEVER) {
		return false;
	}
	return slot->kept == 0 ||
	       memcmp(dhcp->statics[slot->kept - 1].mac, mac, NET_MAC_BYTES) == 0;
}

static bool is_same(const struct dhcp_client *a, const struct dhcp_client *b)
{
	if (memcmp(a->mac, b->mac, NET_MAC_BYTES) != 0) {
		return false;
	}
	return a->id_bytes == 0 || b->id_bytes == 0 ||
	       (a->id_bytes == b->id_bytes && memcmp(a->id, b->id, a->id_bytes) == 0);
}

/* Whether somebody else has it: by what is true now, not by what is kept. */
static bool is_anothers(const struct dhcp_slot *slot, const struct dhcp_client *client,
			uint64_t now_s)
{
	return dhcp_slot_is_taken(slot, now_s) &&
	       (slot->state == DHCP_SLOT_DECLINED || !is_same(&slot->client, client));
}

static void free_slot(struct dhcp_slot *slot, uint64_t now_s)
{
	slot->state = DHCP_SLOT_FREE;
	slot->until_s = now_s;
}

/* ---- which address ----------------------------------------------------------------------------- */

static struct dhcp_slot *static_slot(const struct dhcp *dhcp, const uint8_t *mac)
{
	for (unsigned int i = 0; i < dhcp->static_count; i++) {
		if (memcmp(dhcp->statics[i].mac, mac, NET_MAC_BYTES) == 0) {
			return dhcp_slot_of(dhcp, dhcp->statics[i].address);
		}
	}
	return NULL;
}

/* The one that the client has, or had last. */
static struct dhcp_slot *own_slot(struct dhcp *dhcp, const struct dhcp_client *client,
				  uint64_t now_s)
{
	struct dhcp_slot *found = NULL;

	for (unsigned int i = 0; i < dhcp->pool; i++) {
		struct dhcp_slot *slot = &dhcp->slots[i];

		if (slot->until_s == 0 || slot->state == DHCP_SLOT_DECLINED ||
		    !is_same(&slot->client, client) || !dhcp_may_have(dhcp, slot, client->mac)) {
			continue;
		}
		if (dhcp_slot_is_taken(slot, now_s)) {
			return slot;
		}
		found = slot;
	}
	return found;
}

/* D3: the oldest of a hardware address's, when it has as many as it may. */
static struct dhcp_slot *surplus_slot(struct dhcp *dhcp, const uint8_t *mac, uint64_t now_s)
{
	struct dhcp_slot *oldest = NULL;
	unsigned int count = 0;

	for (unsigned int i = 0; i < dhcp->pool; i++) {
		struct dhcp_slot *slot = &dhcp->slots[i];

		if (dhcp_slot_is_taken(slot, now_s) && slot->state != DHCP_SLOT_DECLINED &&
		    memcmp(slot->client.mac, mac, NET_MAC_BYTES) == 0) {
			count++;
			oldest = !oldest || slot->at_s < oldest->at_s ? slot : oldest;
		}
	}
	return count >= DHCP_PER_MAC_MAX ? oldest : NULL;
}

/* How gladly a slot is given to a stranger; 0: not at all. */
static unsigned int worth_of(const struct dhcp_slot *slot, uint64_t now_s)
{
	if (!dhcp_slot_is_taken(slot, now_s)) {
		return slot->until_s == 0 ? 4 : 3;
	}
	if (slot->state == DHCP_SLOT_DECLINED) {
		return 2;
	}
	return slot->state == DHCP_SLOT_OFFERED && slot->at_s + DHCP_OFFER_GRACE_S <= now_s ? 1 : 0;
}

/* Among equals the one that has been left alone for longest. */
static struct dhcp_slot *any_slot(struct dhcp *dhcp, const uint8_t *mac, uint64_t now_s)
{
	struct dhcp_slot *best = NULL;
	unsigned int best_worth = 0;

	for (unsigned int n = 0; n < dhcp->pool; n++) {
		struct dhcp_slot *slot = &dhcp->slots[(dhcp->next + n) % dhcp->pool];
		unsigned int worth = worth_of(slot, now_s);

		if (worth > best_worth ||
		    (worth && worth == best_worth && best && slot->until_s < best->until_s)) {
			if (dhcp_may_have(dhcp, slot, mac)) {
				best = slot;
				best_worth = worth;
			}
		}
		if (best_worth == 4) {
			break;
		}
	}
	if (best) {
		dhcp->next = (unsigned int)(best - dhcp->slots + 1) % dhcp->pool;
	}
	return best;
}

static uint32_t origin_of(const struct dhcp *dhcp, const uint8_t *mac)
{
	const struct dhcp_config *c = &dhcp->config;

	return c->origin && c->per_origin_max ? c->origin(c->origin_ctx, mac) : 0;
}

/* D4: whether one more address would be too many for where this client is. */
static bool is_over_limit(struct dhcp *dhcp, const uint8_t *mac, uint64_t now_s)
{
	const uint32_t origin = origin_of(dhcp, mac);
	unsigned int count = 0;

	for (unsigned int i = 0; origin && i < dhcp->pool; i++) {
		const struct dhcp_slot *slot = &dhcp->slots[i];

		count += slot->origin == origin && slot->kept == 0 &&
			 dhcp_slot_is_taken(slot, now_s);
	}
	if (count < dhcp->config.per_origin_max || !origin) {
		return false;
	}
	dhcp->counters.over_limit++;
	return true;
}

/* One that is the client's, or was last, or that it has too many of; NULL: none. */
static struct dhcp_slot *known_slot(struct dhcp *dhcp, const struct dhcp_client *client,
				    uint64_t now_s)
{
	struct dhcp_slot *slot = static_slot(dhcp, client->mac);

	if (slot && !is_anothers(slot, client, now_s)) {
		return slot;
	}
	slot = own_slot(dhcp, client, now_s);
	return slot ? slot : surplus_slot(dhcp, client->mac, now_s);
}

static struct dhcp_slot *new_slot(struct dhcp *dhcp, const struct dhcp_client *client,
				  uint32_t wish, uint64_t now_s)
{
	struct dhcp_slot *slot = wish ? dhcp_slot_of(dhcp, wish) : NULL;

	if (slot && !dhcp_slot_is_taken(slot, now_s) && dhcp_may_have(dhcp, slot, client->mac)) {
		return slot;
	}
	return any_slot(dhcp, client->mac, now_s);
}

/* NULL: there is none for this client. */
static struct dhcp_slot *choose(struct dhcp *dhcp, const struct dhcp_client *client, uint32_t wish,
				uint64_t now_s)
{
	struct dhcp_slot *slot = known_slot(dhcp, client, now_s);
	const bool is_one_more = !slot || (!dhcp_slot_is_taken(slot, now_s) && !slot->kept);

	if (is_one_more && is_over_limit(dhcp, client->mac, now_s)) {
		return NULL;
	}
	slot = slot ? slot : new_slot(dhcp, client, wish, now_s);
	dhcp->counters.no_address += !slot;
	return slot;
}

/* ---- messages ---------------------------------------------------------------------------------- */

/* The client as it is known here: by its hardware address alone when that has a static lease. */
static struct dhcp_client client_of(const struct dhcp *dhcp, const struct dhcp_message *m)
{
	struct dhcp_client client = m->client;

	if (static_slot(dhcp, client.mac)) {
		client.id_bytes = 0;
		memset(client.id, 0, sizeof(client.id));
	}
	return client;
}

static uint32_t lease_for(const struct dhcp *dhcp, const struct dhcp_message *m)
{
	const uint32_t most = dhcp->config.lease_s;

	return m->lease_s ? (uint32_t)num_max(DHCP_LEASE_S_MIN, num_min(m->lease_s, most)) : most;
}

static void give(struct dhcp_slot *slot, enum dhcp_slot_state state,
		 const struct dhcp_client *client, const struct dhcp_message *m, uint64_t now_s,
		 uint32_t seconds)
{
	slot->state = (uint8_t)state;
	slot->at_s = now_s;
	slot->until_s = now_s + seconds;
	slot->client = *client;
	memcpy(slot->name, m->name, sizeof(slot->name));
}

static bool on_discover(struct dhcp *dhcp, const struct dhcp_message *m, uint64_t now_s,
			struct dhcp_answer *answer)
{
	const struct dhcp_client client = client_of(dhcp, m);
	struct dhcp_slot *slot = choose(dhcp, &client, m->requested, now_s);

	dhcp->counters.discovers++;
	if (!slot) {
		return false;
	}
	slot->origin = origin_of(dhcp, client.mac);
	/* A lease that runs is not cut short by a question. */
	if (slot->state != DHCP_SLOT_BOUND || !dhcp_slot_is_taken(slot, now_s) ||
	    !is_same(&slot->client, &client)) {
		give(slot, DHCP_SLOT_OFFERED, &client, m, now_s, DHCP_OFFER_S);
	}
	*answer =
		(struct dhcp_answer){ DHCP_OFFER, dhcp_address_of(dhcp, slot), lease_for(dhcp, m) };
	return true;
}

/* Whether the client may have the address that it asks for: D1. */
static bool may_grant(struct dhcp *dhcp, const struct dhcp_client *client,
		      const struct dhcp_slot *slot, uint64_t now_s)
{
	const struct dhcp_slot *kept = static_slot(dhcp, client->mac);

	if (!slot || is_anothers(slot, client, now_s) || !dhcp_may_have(dhcp, slot, client->mac)) {
		return false;
	}
	/* One that has a static address shall use it as soon as it is free. */
	return !kept || kept == slot || is_anothers(kept, client, now_s);
}

/* What the client was offered besides is free again. */
static void drop_offers(struct dhcp *dhcp, const struct dhcp_client *client,
			const struct dhcp_slot *except, uint64_t now_s)
{
	for (unsigned int i = 0; i < dhcp_slot_count(dhcp); i++) {
		struct dhcp_slot *slot = &dhcp->slots[i];

		if (slot != except && slot->state == DHCP_SLOT_OFFERED &&
		    is_same(&slot->client, client)) {
			free_slot(slot, now_s);
		}
	}
}

static void bind_slot(struct dhcp *dhcp, struct dhcp_slot *slot, const struct dhcp_client *client,
		      const struct dhcp_message *m, uint64_t now_s, uint32_t seconds)
{
	const bool is_renewal = slot->state == DHCP_SLOT_BOUND && dhcp_slot_is_taken(slot, now_s);
	const uint64_t since_s = slot->at_s;

	drop_offers(dhcp, client, slot, now_s);
	if (!dhcp_slot_is_taken(slot, now_s)) {
		struct dhcp_slot *surplus = surplus_slot(dhcp, client->mac, now_s);

		if (surplus) {
			free_slot(surplus, now_s);
		}
	}
	give(slot, DHCP_SLOT_BOUND, client, m, now_s, seconds);
	slot->at_s = is_renewal ? since_s : now_s;
}

static bool on_request(struct dhcp *dhcp, const struct dhcp_message *m, uint64_t now_s,
		       struct dhcp_answer *answer)
{
	const struct dhcp_client client = client_of(dhcp, m);
	const uint32_t address = m->requested ? m->requested : m->ciaddr;
	struct dhcp_slot *slot = dhcp_slot_of(dhcp, address);

	dhcp->counters.requests++;
	if (m->server && m->server != dhcp->config.server) {
		drop_offers(dhcp, &client, NULL, now_s); /* it has chosen another server */
		dhcp->counters.ignored++;
		return false;
	}
	if (!address) {
		dhcp->counters.ignored++;
		return false;
	}
	if (!may_grant(dhcp, &client, slot, now_s)) {
		*answer = (struct dhcp_answer){ DHCP_NAK, 0, 0 }; /* D2 */
		return true;
	}
	if (!dhcp_slot_is_taken(slot, now_s) && !slot->kept &&
	    is_over_limit(dhcp, client.mac, now_s)) {
		return false;
	}
	slot->origin = origin_of(dhcp, client.mac);
	*answer = (struct dhcp_answer){ DHCP_ACK, address, lease_for(dhcp, m) };
	bind_slot(dhcp, slot, &client, m, now_s, answer->lease_s);
	return true;
}

static void on_decline(struct dhcp *dhcp, const struct dhcp_message *m, uint64_t now_s)
{
	const struct dhcp_client client = client_of(dhcp, m);
	struct dhcp_slot *slot = dhcp_slot_of(dhcp, m->requested);

	dhcp->counters.declines++;
	if (!slot || !dhcp_slot_is_taken(slot, now_s) || is_anothers(slot, &client, now_s)) {
		dhcp->counters.ignored++;
		return;
	}
	slot->state = DHCP_SLOT_DECLINED;
	slot->at_s = now_s;
	slot->until_s = now_s + DHCP_DECLINED_S;
}

static void on_release(struct dhcp *dhcp, const struct dhcp_message *m, uint64_t now_s)
{
	const struct dhcp_client client = client_of(dhcp, m);
	struct dhcp_slot *slot = dhcp_slot_of(dhcp, m->ciaddr);

	dhcp->counters.releases++;
	if (!slot || !dhcp_slot_is_taken(slot, now_s) || is_anothers(slot, &client, now_s)) {
		dhcp->counters.ignored++;
		return;
	}
	free_slot(slot, now_s);
}

static bool on_inform(struct dhcp *dhcp, const struct dhcp_message *m, struct dhcp_answer *answer)
{
	const uint32_t mask = dhcp_mask(&dhcp->config);

	dhcp->counters.informs++;
	if ((m->ciaddr & mask) != dhcp->config.network) {
		dhcp->counters.ignored++;
		return false;
	}
	*answer = (struct dhcp_answer){ DHCP_ACK, 0, 0 };
	return true;
}

static bool handle(struct dhcp *dhcp, const struct dhcp_message *m, uint64_t now_s,
		   struct dhcp_answer *answer)
{
	switch (m->type) {
	case DHCP_DISCOVER:
		return on_discover(dhcp, m, now_s, answer);
	case DHCP_REQUEST:
		return on_request(dhcp, m, now_s, answer);
	case DHCP_INFORM:
		return on_inform(dhcp, m, answer);
	case DHCP_DECLINE:
	case DHCP_RELEASE:
		if (m->server && m->server != dhcp->config.server) {
			break;
		}
		(m->type == DHCP_DECLINE ? on_decline : on_release)(dhcp, m, now_s);
		return false;
	default:
		break;
	}
	dhcp->counters.ignored++;
	return false;
}

enum dhcp_result dhcp_input(struct dhcp *dhcp, const uint8_t *frame, uint32_t bytes, uint64_t now_s,
			    uint8_t reply[DHCP_REPLY_BYTES], uint32_t *ret_bytes)
{
	struct dhcp_answer answer = { 0 };
	struct dhcp_message m;
	enum dhcp_result result = dhcp_parse(&dhcp->config, frame, bytes, &m);

	*ret_bytes = 0;
	if (result != DHCP_REPLY) {
		dhcp->counters.ignored += result == DHCP_SILENT;
		return result;
	}
	if (!handle(dhcp, &m, now_s, &answer)) {
		return DHCP_SILENT;
	}
	dhcp->counters.offers += answer.type == DHCP_OFFER;
	dhcp->counters.acks += answer.type == DHCP_ACK;
	dhcp->counters.naks += answer.type == DHCP_NAK;
	*ret_bytes = dhcp_build(&dhcp->config, &m, &answer, reply);
	return DHCP_REPLY;
}

/* ---- life -------------------------------------------------------------------------------------- */

static bool is_host_of(const struct dhcp_config *config, uint32_t address)
{
	const uint32_t mask = dhcp_mask(config);

	return (address & mask) == config->network && address != config->network &&
	       address != (config->network | ~mask);
}

int dhcp_config_check(const struct dhcp_config *c, struct diag *reterr)
{
	if (c->prefix_bits < DHCP_PREFIX_MIN || c->prefix_bits > DHCP_PREFIX_MAX ||
	    c->network & ~dhcp_mask(c)) {
		return diag_set(reterr, -EINVAL,
				"%s/%u is no network for DHCP; write one like 10.0.2.0/24, of %u "
				"to %u bits",
				text_of(c->network).text, c->prefix_bits, DHCP_PREFIX_MIN,
				DHCP_PREFIX_MAX);
	}
	if (!is_host_of(c, c->server) || (c->router && !is_host_of(c, c->router)) ||
	    !is_host_of(c, c->pool_first) || !is_host_of(c, c->pool_last) ||
	    c->pool_last < c->pool_first || c->pool_last - c->pool_first >= DHCP_POOL_MAX) {
		return diag_set(reterr, -EINVAL,
				"the gateway and the pool (%s to %s, at most %u addresses) must be "
				"addresses of the network %s/%u",
				text_of(c->pool_first).text, text_of(c->pool_last).text,
				DHCP_POOL_MAX, text_of(c->network).text, c->prefix_bits);
	}
	if (c->lease_s && (c->lease_s < DHCP_LEASE_S_MIN || c->lease_s > DHCP_LEASE_S_MAX)) {
		return diag_set(reterr, -EINVAL, "a lease is for %u to %u seconds, not %u",
				DHCP_LEASE_S_MIN, DHCP_LEASE_S_MAX, c->lease_s);
	}
	if (c->mtu && (c->mtu < NET_MTU_MIN || c->mtu > NET_MTU_MAX)) {
		return diag_set(reterr, -EINVAL, "an MTU is %u to %u, not %u", NET_MTU_MIN,
				NET_MTU_MAX, c->mtu);
	}
	if (strnlen(c->domain, sizeof(c->domain)) == sizeof(c->domain)) {
		return diag_set(reterr, -EINVAL, "a domain has at most %u letters",
				DHCP_DOMAIN_BYTES - 1);
	}
	return 0;
}

static void keep(struct dhcp *dhcp, uint32_t address, uint16_t kept)
{
	struct dhcp_slot *slot = dhcp_slot_of(dhcp, address);

	if (slot) {
		slot->kept = kept;
	}
}

int dhcp_create(const struct dhcp_config *config, struct dhcp **ret, struct diag *reterr)
{
	int err = dhcp_config_check(config, reterr);
	struct dhcp *dhcp;
	unsigned int pool;

	if (err) {
		return err;
	}
	pool = config->pool_last - config->pool_first + 1;
	dhcp = fault_alloc(1, sizeof(*dhcp) + (pool + DHCP_STATICS_MAX) * sizeof(struct dhcp_slot));
	if (!dhcp) {
		return diag_set(reterr, -ENOMEM, "no memory for DHCP");
	}
	dhcp->config = *config;
	dhcp->pool = pool;
	if (!config->lease_s) {
		dhcp->config.lease_s = DHCP_LEASE_S_DEFAULT;
	}
	keep(dhcp, config->server, DHCP_KEPT_NEVER);
	keep(dhcp, config->router, DHCP_KEPT_NEVER);
	keep(dhcp, config->dns, DHCP_KEPT_NEVER);
	*ret = dhcp;
	return 0;
}

void dhcp_destroy(struct dhcp *dhcp)
{
	free(dhcp);
}

/* ---- statics ----------------------------------------------------------------------------------- */

int dhcp_static_add(struct dhcp *dhcp, const struct dhcp_static *entry, uint64_t now_s,
		    struct diag *reterr)
{
	const struct dhcp_config *c = &dhcp->config;
	const struct dhcp_slot *slot = dhcp_slot_of(dhcp, entry->address);
	const uint16_t kept = (uint16_t)(dhcp->static_count + 1);

	(void)now_s;
	if (!is_host_of(c, entry->address) || entry->address == c->server ||
	    entry->address == c->router || entry->address == c->dns || entry->mac[0] & 1) {
		return diag_set(reterr, -EINVAL,
				"%s cannot be leased: it must be an address of the network %s/%u "
				"that is not the gateway's or the resolver's",
				text_of(entry->address).text, text_of(c->network).text,
				c->prefix_bits);
	}
	if (static_slot(dhcp, entry->mac) || (slot && slot->kept)) {
		return diag_set(reterr, -EEXIST,
				"%s or its hardware address has a static lease already",
				text_of(entry->address).text);
	}
	if (dhcp->static_count == DHCP_STATICS_MAX) {
		return diag_set(reterr, -ENOSPC, "there are %u static leases already",
				DHCP_STATICS_MAX);
	}
	dhcp->slots[dhcp->pool + dhcp->static_count] = (struct dhcp_slot){ 0 };
	dhcp->statics[dhcp->static_count++] = *entry;
	keep(dhcp, entry->address, kept);
	return 0;
}

int dhcp_static_remove(struct dhcp *dhcp, const uint8_t mac[NET_MAC_BYTES])
{
	struct dhcp_slot *own = &dhcp->slots[dhcp->pool];
	unsigned int i = 0, last = dhcp->static_count - 1;

	while (i < dhcp->static_count && memcmp(dhcp->statics[i].mac, mac, NET_MAC_BYTES) != 0) {
		i++;
	}
	if (i == dhcp->static_count) {
		return -ENOENT;
	}
	keep(dhcp, dhcp->statics[i].address, 0);
	dhcp->statics[i] = dhcp->statics[last];
	own[i] = own[last];
	dhcp->static_count--;
	if (i != last) {
		keep(dhcp, dhcp->statics[i].address, (uint16_t)(i + 1));
	}
	return 0;
}

/* ---- facts ------------------------------------------------------------------------------------- */

const uint8_t *dhcp_holder(const struct dhcp *dhcp, uint32_t address, uint64_t now_s)
{
	const struct dhcp_slot *slot = dhcp_slot_of(dhcp, address);

	return slot && slot->state == DHCP_SLOT_BOUND && slot->until_s > now_s ? slot->client.mac
									       : NULL;
}

bool dhcp_next(const struct dhcp *dhcp, uint32_t *cursor, uint64_t now_s, struct dhcp_lease *ret)
{
	while (*cursor < dhcp_slot_count(dhcp)) {
		const struct dhcp_slot *slot = &dhcp->slots[(*cursor)++];
		const uint32_t address = dhcp_address_of(dhcp, slot);
		const bool is_bound = slot->state == DHCP_SLOT_BOUND && slot->until_s > now_s;
		const bool is_static = slot->kept && slot->kept != DHCP_KEPT_NEVER;

		/* A static one's own slot is idle where the pool has one for its address. */
		if (dhcp_slot_of(dhcp, address) != slot || (!is_bound && !is_static)) {
			continue;
		}
		*ret = (struct dhcp_lease){ .address = address, .is_static = is_static };
		if (is_bound) {
			ret->left_s = (uint32_t)(slot->until_s - now_s);
			memcpy(ret->mac, slot->client.mac, NET_MAC_BYTES);
			memcpy(ret->name, slot->name, sizeof(ret->name));
		} else {
			memcpy(ret->mac, dhcp->statics[slot->kept - 1].mac, NET_MAC_BYTES);
		}
		return true;
	}
	return false;
}

const struct dhcp_counters *dhcp_counters(const struct dhcp *dhcp)
{
	return &dhcp->counters;
}
