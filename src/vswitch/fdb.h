/* SPDX-License-Identifier: MIT */
/*
 * Forwarding database: who lives behind which port, per VLAN.
 *
 * One replica per core, written and read by that core only. What a core learns it tells the others
 * (news); they take it with fdb_set(). Buckets of four entries, each one cache line, found by a hash
 * with a secret: nobody can aim at a bucket.
 *
 * Invariants:
 *   F1  A port never costs another port an entry: in a full bucket, or a full table, only the oldest
 *       learned entry of the same port gives way.
 *   F2  A port has at most `limit` learned entries here.
 *   F3  Static and own entries never move, age or give way.
 *
 * `vlan` is a frame's fid: of a private VLAN, the primary.
 *
 *   owner   the core   thread  its loop; time is handed in (seconds of a monotonic clock, any start)
 *   errors  by value; nothing is allocated after fdb_create()
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "vswitch/frame.h"

struct save;
struct load;

#define FDB_ENTRIES_MAX     16384U
#define FDB_ENTRIES_DEFAULT 4096U
#define FDB_AGE_S           300U
#define FDB_TELL_S          75U     /* an address in use is told again this often */
#define FDB_MOVED_S         0x8000U /* told_s is so far back: it has moved in this second */

enum fdb_kind {
	FDB_LEARNED = 1,
	FDB_STATIC = 2, /* configured */
	FDB_OWN = 3,    /* the NIC's own address */
};

enum fdb_learn {
	FDB_KNOWN,   /* or it moves again and again: it is told within a second of its next frame */
	FDB_REFRESH, /* known and in use, and not told for FDB_TELL_S: tell it */
	FDB_NEW,     /* tell it */
	FDB_MOVED,   /* from another port; tell it. At most once a second */
	FDB_REFUSED_LIMIT,
	FDB_REFUSED_STATIC, /* a static or own entry of another port */
	FDB_REFUSED_FULL, /* no room that would not be another's: the address stays unknown (flooded) */
};

/* An entry; fields are fdb.c's but for the inline functions here. */
struct fdb_slot {
	uint64_t key; /* kind << 60 | VLAN << 48 | address; 0: free */
	uint32_t used_s;
	uint16_t told_s; /* low bits */
	uint16_t port;
};

#define FDB_WAYS     4U
#define FDB_KEY_MASK ((1ULL << 60) - 1)

struct fdb_bucket {
	_Alignas(64) struct fdb_slot slots[FDB_WAYS];
};

struct fdb {
	struct fdb_bucket *buckets;
	uint64_t secret;
	uint32_t mask;    /* buckets - 1 */
	uint32_t entries; /* at most so many in all */
	uint32_t count;   /* all that are there */
	uint32_t cursor;  /* fdb_age()'s */
	uint64_t gave_way, refused;
	uint32_t learned[VSWITCH_PORTS_MAX]; /* of each port */
};

/*
 * Room for `entries` (1 to FDB_ENTRIES_MAX; twice as many places). -EINVAL, -ENOMEM. secret: random,
 * the same for all cores or not.
 */
MUST_CHECK int fdb_create(uint32_t entries, uint64_t secret, struct fdb **ret);
/* NULL is fine. */
void fdb_destroy(struct fdb *fdb);

/* ---- per frame --------------------------------------------------------------------------------- */

static inline uint64_t fdb_key(const uint8_t mac[NET_MAC_BYTES], uint16_t vlan)
{
	uint32_t low;
	uint16_t high;

	memcpy(&low, mac, 4);
	memcpy(&high, mac + 4, 2);
	return low | (uint64_t)high << 32 | (uint64_t)(vlan & 0xfffU) << 48;
}

static inline struct fdb_bucket *fdb_bucket(const struct fdb *fdb, uint64_t key)
{
	return &fdb->buckets[hash_mix(fdb->secret, key) & fdb->mask];
}

/* Brings the address's bucket near; for a batch, before its first fdb_learn() or fdb_find(). */
static inline void fdb_prefetch(const struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES],
				uint16_t vlan)
{
	__builtin_prefetch(fdb_bucket(fdb, fdb_key(mac, vlan)), 1);
}

static inline struct fdb_slot *fdb_slot(const struct fdb *fdb, uint64_t key)
{
	struct fdb_bucket *bucket = fdb_bucket(fdb, key);

	for (unsigned int i = 0; i < FDB_WAYS; i++) {
		if ((bucket->slots[i].key & FDB_KEY_MASK) == key && bucket->slots[i].key) {
			return &bucket->slots[i];
		}
	}
	return NULL;
}

/* The port, or -1. */
static inline int fdb_find(const struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan)
{
	const struct fdb_slot *slot = fdb_slot(fdb, fdb_key(mac, vlan));

	return slot ? slot->port : -1;
}

/* fdb_learn() when there is something to do. */
enum fdb_learn fdb_learn_slowly(struct fdb *fdb, uint64_t key, uint16_t port, uint32_t limit,
				uint32_t now_s);

/*
 * A source address was seen; not a group's (the caller has dropped those). limit: how many learned
 * addresses the port may have.
 */
static inline enum fdb_learn fdb_learn(struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES],
				       uint16_t vlan, uint16_t port, uint32_t limit, uint32_t now_s)
{
	uint64_t key = fdb_key(mac, vlan);
	struct fdb_slot *slot = fdb_slot(fdb, key);

	if (__builtin_expect(slot && slot->port == port, 1)) {
		if (__builtin_expect(slot->used_s == now_s, 1)) {
			return FDB_KNOWN;
		}
	}
	return fdb_learn_slowly(fdb, key, port, limit, now_s);
}

/* ---- news and verbs ---------------------------------------------------------------------------- */

/*
 * What another core has learned, or a user or a NIC says. 0; -EEXIST: learned, but there is a static
 * or own entry, or own, but it is configured or another NIC's; -ENOSPC: no room (F1; static and own ones replace learned ones of any port).
 */
MUST_CHECK int fdb_set(struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan,
		       uint16_t port, enum fdb_kind kind, uint32_t now_s);

/* Of any kind; whether there was one. */
bool fdb_remove(struct fdb *fdb, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan);

/* All that this port has: learned ones; with statics_too also static and own ones. */
void fdb_flush_port(struct fdb *fdb, uint16_t port, bool statics_too);

/* All learned ones. */
void fdb_flush(struct fdb *fdb);

/* An entry, as people see it. */
struct fdb_entry {
	uint8_t mac[NET_MAC_BYTES];
	uint16_t vlan, port;
	enum fdb_kind kind;
	uint32_t idle_s; /* since it was last seen; 0 of static and own ones */
};

typedef void fdb_gone_fn(void *ctx, const struct fdb_entry *entry);

/*
 * Looks at the next `buckets` buckets (fdb_buckets() of them are all) and removes learned entries
 * that nobody used for age_s; fn, which may be NULL, is told after each.
 */
void fdb_age(struct fdb *fdb, uint32_t now_s, uint32_t age_s, uint32_t buckets, fdb_gone_fn *fn,
	     void *ctx);
uint32_t fdb_buckets(const struct fdb *fdb);

/*
 * Iterates: *cursor starts at 0; false at the end. Entries that are added or removed meanwhile may be
 * missed, never seen twice unless they were.
 */
bool fdb_next(const struct fdb *fdb, uint32_t *cursor, uint32_t now_s, struct fdb_entry *ret);

/* ---- soft state (fdb_state.c) ------------------------------------------------------------------ */

/* Which port a saved number is now; -1: there is none any more. */
typedef int vswitch_port_map_fn(void *ctx, uint32_t saved_port);

/* Learned entries and their ages; the others come from the configuration. docs/formats.md */
void fdb_save(const struct fdb *fdb, uint32_t now_s, struct save *save);

/*
 * Adds what was saved, as far as there is room and the port still is. map may be NULL: numbers are the
 * same. The caller asks load_result(); input is hostile.
 */
void fdb_load(struct fdb *fdb, struct load *load, vswitch_port_map_fn *map, void *ctx,
	      uint32_t now_s);
