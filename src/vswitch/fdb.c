/* SPDX-License-Identifier: MIT */
#include "vswitch/fdb.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"

#define KIND_SHIFT 60

static enum fdb_kind kind_of(const struct fdb_slot *slot)
{
	return (enum fdb_kind)(slot->key >> KIND_SHIFT);
}

static uint64_t with_kind(uint64_t key, enum fdb_kind kind)
{
	return key | (uint64_t)kind << KIND_SHIFT;
}

int fdb_create(uint32_t entries, uint64_t secret, struct fdb **ret)
{
	struct fdb *fdb;
	uint32_t buckets = 1;

	if (entries == 0 || entries > FDB_ENTRIES_MAX) {
		return -EINVAL;
	}
	while (buckets * FDB_WAYS < entries * 2) {
		buckets *= 2;
	}
	fdb = fault_alloc(1, sizeof(*fdb));
	if (!fdb) {
		return -ENOMEM;
	}
	fdb->buckets = fault_point() ? NULL
				     : aligned_alloc(_Alignof(struct fdb_bucket),
						     buckets * sizeof(struct fdb_bucket));
	if (!fdb->buckets) {
		free(fdb);
		return -ENOMEM;
	}
	memset(fdb->buckets, 0, buckets * sizeof(struct fdb_bucket));
	fdb->mask = buckets - 1;
	fdb->entries = entries;
	fdb->secret = secret;
	*ret = fdb;
	return 0;
}

void fdb_destroy(struct fdb *fdb)
{
	if (fdb) {
		free(fdb->buckets);
		free(fdb);
	}
}

static void clear_slot(struct fdb *fdb, struct fdb_slot *slot)
{
	if (kind_of(slot) == FDB_LEARNED) {
		fdb->learned[slot->port]--;
	}
	fdb->count--;
	*slot = (struct fdb_slot){ 0 };
}

/*
 * Moves are told once a second, and what came of them is told again in the next: two ports that take
 * an address from each other with each frame do not fill the rings that others' flows are told in.
 */
static bool has_moved(const struct fdb_slot *slot, uint32_t now_s)
{
	return slot->told_s == (uint16_t)(now_s - FDB_MOVED_S);
}

static void fill_slot(struct fdb *fdb, struct fdb_slot *slot, uint64_t key, enum fdb_kind kind,
		      uint16_t port, uint32_t now_s)
{
	*slot = (struct fdb_slot){
		.key = with_kind(key, kind),
		.used_s = now_s,
		.told_s = (uint16_t)now_s,
		.port = port,
	};
	fdb->count++;
	if (kind == FDB_LEARNED) {
		fdb->learned[port]++;
	}
}

static struct fdb_slot *free_slot(struct fdb_bucket *bucket)
{
	for (unsigned int i = 0; i < FDB_WAYS; i++) {
		if (bucket->slots[i].key == 0) {
			return &bucket->slots[i];
		}
	}
	return NULL;
}

/* The learned entry of the port (or of any: VSWITCH_NO_PORT) that was not seen for longest. */
static struct fdb_slot *oldest_slot(struct fdb_bucket *bucket, uint16_t port, uint32_t now_s)
{
	struct fdb_slot *oldest = NULL;

	for (unsigned int i = 0; i < FDB_WAYS; i++) {
		struct fdb_slot *slot = &bucket->slots[i];

		if (slot->key != 0 && kind_of(slot) == FDB_LEARNED &&
		    (port == VSWITCH_NO_PORT || slot->port == port) &&
		    (!oldest || now_s - slot->used_s > now_s - oldest->used_s)) {
			oldest = slot;
		}
	}
	return oldest;
}

/* A place for a new entry of the port; F1. NULL: none. */
static struct fdb_slot *make_slot(struct fdb *fdb, uint64_t key, uint16_t port, uint32_t now_s)
{
	struct fdb_bucket *bucket = fdb_bucket(fdb, key);
	struct fdb_slot *slot = fdb->count < fdb->entries ? free_slot(bucket) : NULL;

	if (slot) {
		return slot;
	}
	slot = oldest_slot(bucket, port, now_s);
	if (slot) {
		clear_slot(fdb, slot);
		fdb->gave_way++;
	}
	return slot;
}

static enum fdb_learn learn_new(struct fdb *fdb, uint64_t key, uint16_t port, uint32_t limit,
				uint32_t now_s)
{
	struct fdb_slot *slot;

	if (fdb->learned[port] >= limit) {
		fdb->refused++;
		return FDB_REFUSED_LIMIT; /* F2 */
	}
	slot = make_slot(fdb, key, port, now_s);
	if (!slot) {
		fdb->refused++;
		return FDB_REFUSED_FULL;
	}
	fill_slot(fdb, slot, key, FDB_LEARNED, port, now_s);
	return FDB_NEW;
}

enum fdb_learn fdb_learn_slowly(struct fdb *fdb, uint64_t key, uint16_t port, uint32_t limit,
				uint32_t now_s)
{
	struct fdb_slot *slot = fdb_slot(fdb, key);

	check(port < VSWITCH_PORTS_MAX);
	if (!slot) {
		return learn_new(fdb, key, port, limit, now_s);
	}
	if (kind_of(slot) != FDB_LEARNED) {
		if (slot->port != port) {
			fdb->refused++;
			return FDB_REFUSED_STATIC; /* F3 */
		}
		slot->used_s = now_s; /* the fast path's from now on */
		return FDB_KNOWN;
	}
	if (slot->port != port) {
		if (fdb->learned[port] >= limit) {
			fdb->refused++;
			return FDB_REFUSED_LIMIT;
		}
		bool again = has_moved(slot, now_s);

		clear_slot(fdb, slot);
		fill_slot(fdb, slot, key, FDB_LEARNED, port, now_s);
		slot->told_s = (uint16_t)(now_s - FDB_MOVED_S);
		return again ? FDB_KNOWN : FDB_MOVED;
	}
	slot->used_s = now_s;
	if ((uint16_t)(now_s - slot->told_s) >= FDB_TELL_S) {
		slot->told_s = (uint16_t)now_s;
		return FDB_REFRESH;
	}
	return FDB_KNOWN;
}

/* A NIC says itself what its address is: so it takes neither another NIC's nor a configured one (F3). */
static bool is_weaker(const struct fdb_slot *slot, enum fdb_kind kind, uint16_t port)
{
	return kind == FDB_LEARNED ||
	       (kind == FDB_OWN && (kind_of(slot) == FDB_STATIC || slot->port != port));
}

int fdb_set(struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan, uint16_t port,
	    enum fdb_kind kind, uint32_t now_s)
{
	uint64_t key = fdb_key(mac, vlan);
	struct fdb_slot *slot = fdb_slot(fdb, key);
	bool again = slot && kind == FDB_LEARNED && has_moved(slot, now_s);

	check(port < VSWITCH_PORTS_MAX && kind >= FDB_LEARNED && kind <= FDB_OWN);
	if (slot) {
		if (kind_of(slot) != FDB_LEARNED && is_weaker(slot, kind, port)) {
			return -EEXIST;
		}
		clear_slot(fdb, slot);
	} else {
		slot = make_slot(fdb, key, port, now_s);
	}
	if (!slot && kind != FDB_LEARNED) {
		/* The user's and the NICs' addresses come first; they are few, and nobody can aim. */
		slot = oldest_slot(fdb_bucket(fdb, key), VSWITCH_NO_PORT, now_s);
		if (slot) {
			clear_slot(fdb, slot);
			fdb->gave_way++;
		} else {
			slot = free_slot(fdb_bucket(fdb, key));
		}
	}
	if (!slot) {
		fdb->refused++;
		return -ENOSPC;
	}
	fill_slot(fdb, slot, key, kind, port, now_s);
	if (again) {
		slot->told_s = (uint16_t)(now_s - FDB_MOVED_S); /* also when another core says so */
	}
	return 0;
}

bool fdb_remove(struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan)
{
	struct fdb_slot *slot = fdb_slot(fdb, fdb_key(mac, vlan));

	if (slot) {
		clear_slot(fdb, slot);
	}
	return slot != NULL;
}

uint32_t fdb_buckets(const struct fdb *fdb)
{
	return fdb->mask + 1;
}

static struct fdb_slot *slot_at(const struct fdb *fdb, uint32_t index)
{
	return &fdb->buckets[index / FDB_WAYS].slots[index % FDB_WAYS];
}

void fdb_flush_port(struct fdb *fdb, uint16_t port, bool statics_too)
{
	check(port < VSWITCH_PORTS_MAX);
	if (fdb->learned[port] == 0 && !statics_too) {
		return;
	}
	for (uint32_t i = 0; i < fdb_buckets(fdb) * FDB_WAYS; i++) {
		struct fdb_slot *slot = slot_at(fdb, i);

		if (slot->key != 0 && slot->port == port &&
		    (statics_too || kind_of(slot) == FDB_LEARNED)) {
			clear_slot(fdb, slot);
		}
	}
}

void fdb_flush(struct fdb *fdb)
{
	for (uint32_t i = 0; i < fdb_buckets(fdb) * FDB_WAYS; i++) {
		struct fdb_slot *slot = slot_at(fdb, i);

		if (slot->key != 0 && kind_of(slot) == FDB_LEARNED) {
			clear_slot(fdb, slot);
		}
	}
}

static void tell(const struct fdb_slot *slot, uint32_t now_s, struct fdb_entry *ret)
{
	ret->kind = kind_of(slot);
	ret->vlan = (uint16_t)(slot->key >> 48 & 0xfff);
	ret->port = slot->port;
	ret->idle_s = ret->kind == FDB_LEARNED ? now_s - slot->used_s : 0;
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++) {
		ret->mac[i] = (uint8_t)(slot->key >> (8 * i));
	}
}

void fdb_age(struct fdb *fdb, uint32_t now_s, uint32_t age_s, uint32_t buckets, fdb_gone_fn *fn,
	     void *ctx)
{
	if (buckets > fdb_buckets(fdb)) {
		buckets = fdb_buckets(fdb);
	}
	for (uint32_t n = 0; n < buckets; n++) {
		struct fdb_bucket *bucket = &fdb->buckets[fdb->cursor];

		fdb->cursor = (fdb->cursor + 1) & fdb->mask;
		for (unsigned int i = 0; i < FDB_WAYS; i++) {
			struct fdb_slot *slot = &bucket->slots[i];
			struct fdb_entry gone;

			if (slot->key == 0 || kind_of(slot) != FDB_LEARNED ||
			    now_s - slot->used_s < age_s) {
				continue;
			}
			tell(slot, now_s, &gone);
			clear_slot(fdb, slot);
			if (fn) {
				fn(ctx, &gone);
			}
		}
	}
}

bool fdb_next(const struct fdb *fdb, uint32_t *cursor, uint32_t now_s, struct fdb_entry *ret)
{
	for (; *cursor < fdb_buckets(fdb) * FDB_WAYS; (*cursor)++) {
		const struct fdb_slot *slot = slot_at(fdb, *cursor);

		if (slot->key != 0) {
			tell(slot, now_s, ret);
			(*cursor)++;
			return true;
		}
	}
	return false;
}
