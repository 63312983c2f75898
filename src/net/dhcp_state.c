/* SPDX-License-Identifier: MIT */
/* Saved state of the DHCP server: leases that run, each a group. docs/formats.md */
#include <string.h>

#include "net/dhcp_internal.h"
#include "state/load.h"
#include "state/save.h"

enum {
	DHCP_STATE_LEASE = 1, /* a group of these: */
	DHCP_STATE_ADDRESS = 1,
	DHCP_STATE_MAC = 2,
	DHCP_STATE_ID = 3, /* 2 to DHCP_ID_BYTES_MAX bytes, or missing */
	DHCP_STATE_NAME = 4,
	DHCP_STATE_LEFT_S = 5,
};

void dhcp_save(const struct dhcp *dhcp, uint64_t now_s, struct save *save)
{
	for (unsigned int i = 0; i < dhcp_slot_count(dhcp); i++) {
		const struct dhcp_slot *slot = &dhcp->slots[i];

		if (slot->state != DHCP_SLOT_BOUND || slot->until_s <= now_s) {
			continue;
		}
		save_group_begin(save, DHCP_STATE_LEASE);
		save_u32(save, DHCP_STATE_ADDRESS, dhcp_address_of(dhcp, slot));
		save_bytes(save, DHCP_STATE_MAC, slot->client.mac, NET_MAC_BYTES);
		if (slot->client.id_bytes) {
			save_bytes(save, DHCP_STATE_ID, slot->client.id, slot->client.id_bytes);
		}
		save_bytes(save, DHCP_STATE_NAME, slot->name, strlen(slot->name));
		save_u32(save, DHCP_STATE_LEFT_S, (uint32_t)(slot->until_s - now_s));
		save_group_end(save);
	}
}

static void load_id(struct load *load, const struct load_field *f, struct dhcp_client *client)
{
	if (f->length < 2 || f->length > DHCP_ID_BYTES_MAX) {
		load_fail(load);
		return;
	}
	client->id_bytes = (uint8_t)f->length;
	load_bytes(load, f, client->id, f->length);
}

static void load_name(struct load *load, const struct load_field *f, char name[DHCP_NAME_BYTES])
{
	if (f->length >= DHCP_NAME_BYTES) {
		load_fail(load);
		return;
	}
	load_bytes(load, f, name, f->length);
	for (uint32_t i = 0; i < f->length; i++) {
		if (name[i] <= ' ' || name[i] >= 0x7f) {
			load_fail(load);
		}
	}
}

static void load_lease(struct dhcp *dhcp, struct load *load, uint64_t now_s)
{
	struct dhcp_slot lease = { .state = DHCP_SLOT_BOUND, .at_s = now_s };
	uint32_t address = 0, left_s = 0;
	struct dhcp_slot *slot;
	struct load_field f;

	while (load_next(load, &f)) {
		switch (f.tag) {
		case DHCP_STATE_ADDRESS:
			address = load_u32(load, &f);
			break;
		case DHCP_STATE_MAC:
			load_bytes(load, &f, lease.client.mac, NET_MAC_BYTES);
			break;
		case DHCP_STATE_ID:
			load_id(load, &f, &lease.client);
			break;
		case DHCP_STATE_NAME:
			load_name(load, &f, lease.name);
			break;
		case DHCP_STATE_LEFT_S:
			left_s = load_u32(load, &f);
			break;
		default:
			break;
		}
	}
	if (left_s == 0 || left_s > DHCP_LEASE_S_MAX || lease.client.mac[0] & 1) {
		load_fail(load);
	}
	if (load_result(load) != 0) {
		return;
	}
	slot = dhcp_slot_of(dhcp, address);
	if (!slot || dhcp_slot_is_taken(slot, now_s) ||
	    !dhcp_may_have(dhcp, slot, lease.client.mac)) {
		return; /* another configuration now, or somebody was faster */
	}
	lease.until_s = now_s + left_s;
	lease.kept = slot->kept;
	*slot = lease;
}

void dhcp_load(struct dhcp *dhcp, struct load *load, uint64_t now_s)
{
	struct load_field f;

	while (load_next(load, &f)) {
		if (f.tag == DHCP_STATE_LEASE) {
			struct load inner;

			load_group(load, &f, &inner);
			load_lease(dhcp, &inner, now_s);
			load_close(load, &inner);
		}
	}
}
