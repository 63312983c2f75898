/* SPDX-License-Identifier: MIT */
/* Saved state of the forwarding database: learned entries, each a group. docs/formats.md */
#include <errno.h>

#include "proto/ether.h"
#include "state/load.h"
#include "state/save.h"
#include "vswitch/fdb.h"

enum {
	FDB_STATE_ENTRY = 1, /* a group of these: */
	FDB_STATE_MAC = 1,
	FDB_STATE_VLAN = 2,
	FDB_STATE_PORT = 3,
	FDB_STATE_IDLE_S = 4,
};

void fdb_save(const struct fdb *fdb, uint32_t now_s, struct save *save)
{
	struct fdb_entry entry;
	uint32_t cursor = 0;

	while (fdb_next(fdb, &cursor, now_s, &entry)) {
		if (entry.kind != FDB_LEARNED) {
			continue;
		}
		save_group_begin(save, FDB_STATE_ENTRY);
		save_bytes(save, FDB_STATE_MAC, entry.mac, sizeof(entry.mac));
		save_u32(save, FDB_STATE_VLAN, entry.vlan);
		save_u32(save, FDB_STATE_PORT, entry.port);
		save_u32(save, FDB_STATE_IDLE_S, entry.idle_s);
		save_group_end(save);
	}
}

static void load_entry(struct fdb *fdb, struct load *load, vswitch_port_map_fn *map, void *ctx,
		       uint32_t now_s)
{
	uint8_t mac[NET_MAC_BYTES] = { 0 };
	uint32_t vlan = 0, saved_port = UINT32_MAX, idle_s = 0;
	struct load_field f;
	int port;

	while (load_next(load, &f)) {
		switch (f.tag) {
		case FDB_STATE_MAC:
			load_bytes(load, &f, mac, sizeof(mac));
			break;
		case FDB_STATE_VLAN:
			vlan = load_u32(load, &f);
			break;
		case FDB_STATE_PORT:
			saved_port = load_u32(load, &f);
			break;
		case FDB_STATE_IDLE_S:
			idle_s = load_u32(load, &f);
			break;
		default:
			break;
		}
	}
	if (vlan > ETHER_VLAN_MAX || (mac[0] & 1) || saved_port >= VSWITCH_PORTS_MAX) {
		load_fail(load);
	}
	if (load_result(load) != 0 || idle_s >= FDB_AGE_S) {
		return;
	}
	port = map ? map(ctx, saved_port) : (int)saved_port;
	if (port < 0) {
		return;
	}
	/* As old as it was; what there is already knows better, and no room is no error. */
	if (fdb_find(fdb, mac, (uint16_t)vlan) < 0) {
		(void)!fdb_set(fdb, mac, (uint16_t)vlan, (uint16_t)port, FDB_LEARNED,
			       now_s - idle_s);
	}
}

void fdb_load(struct fdb *fdb, struct load *load, vswitch_port_map_fn *map, void *ctx,
	      uint32_t now_s)
{
	struct load_field f;

	while (load_next(load, &f)) {
		if (f.tag == FDB_STATE_ENTRY) {
			struct load inner;

			load_group(load, &f, &inner);
			load_entry(fdb, &inner, map, ctx, now_s);
			load_close(load, &inner);
		}
	}
}
