/* SPDX-License-Identifier: MIT */
/*
 * Values of a switch's configuration: how each is written, in a file as on a command line, and how it
 * is kept. A kind of object (a port, a rule) is a table of keys; each says where in the struct its value
 * is. Whoever adds a property adds a line to a table, and has it in verbs, file and answers.
 *
 * Every object begins with `uint64_t given`: bit n is set when key n was said, not assumed.
 *
 *   owner   the caller   thread  any one
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"

struct json_t;

#define SW_NAME_BYTES     64 /* of ports and all else that has a name */
#define SW_IFNAME_BYTES   16 /* IFNAMSIZ */
#define SW_MACS_MAX       4
#define SW_ADDRESSES_MAX  16
#define SW_NAMES_MAX      16
#define SW_VLAN_MAX       4094U
#define SW_TEXT_BYTES     12288 /* of any value, written: a trunk of every second VLAN has 10,234 */
#define SW_OWNER_ANY      UINT32_MAX
#define SW_VALUE_KEYS_MAX 64

enum sw_vlan_mode {
	SW_VLAN_NONE,
	SW_VLAN_ACCESS,
	SW_VLAN_TRUNK,
	SW_VLAN_PROMISCUOUS,
	SW_VLAN_ISOLATED,
	SW_VLAN_COMMUNITY,
};

/*
 * "none", "access:10", "trunk:NATIVE,ALLOWED" (native 0: none; "trunk:0,2-20,30"),
 * "private:100/isolated:101", "private:100/community:102", "private:100/promiscuous"
 */
struct sw_vlan {
	uint8_t mode; /* enum sw_vlan_mode */
	uint16_t id;  /* access; trunk: native, 0: untagged frames are refused; private: primary */
	uint16_t secondary;   /* isolated and community */
	uint64_t allowed[64]; /* trunk: bit n of 4096 */
};

/* An address: IPv4 as ::ffff:a.b.c.d. */
struct sw_address {
	uint8_t bytes[16];
};

#define SW_ADDRESS_BYTES 46 /* INET6_ADDRSTRLEN */
/* As people write it. */
void sw_address_build(const struct sw_address *address, char ret[SW_ADDRESS_BYTES]);

/* "off", "snoop", or addresses with commas between them */
enum sw_arp_mode { SW_ARP_OFF, SW_ARP_SNOOP, SW_ARP_LIST };
struct sw_arp {
	uint8_t mode;
	uint8_t count;
	struct sw_address addresses[SW_ADDRESSES_MAX];
};

struct sw_mac {
	uint8_t bytes[6];
};

struct sw_macs {
	uint8_t count;
	struct sw_mac macs[SW_MACS_MAX];
};

/* "any", "10.0.0.0/8", "fe80::1"; bits count from the front of the 128. */
struct sw_prefix {
	struct sw_address address;
	uint8_t bits; /* 0: any */
	bool is_v4;
};

/* "auto", "10.0.2.15-10.0.2.99": addresses of IPv4 in host order; both 0: auto */
struct sw_pool {
	uint32_t first, last;
};

/* "any", "80", "1000-2000" */
struct sw_range {
	uint16_t from, to;
};

/* "a,b,c", or "none" */
struct sw_names {
	uint8_t count;
	char names[SW_NAMES_MAX][SW_NAME_BYTES];
};

enum sw_type {
	SW_NAME,      /* char[SW_NAME_BYTES]: letters, digits and . _ - / : + */
	SW_IFNAME,    /* char[SW_IFNAME_BYTES]: what Linux takes as an interface's name */
	SW_SWITCH,    /* bool: on, off (true, false) */
	SW_NUMBER,    /* uint32_t, min to max */
	SW_RATE,      /* uint64_t: bits per second; K, M, G, T are powers of 1000 */
	SW_SIZE,      /* uint64_t: bytes; K, M, G, T are powers of 1024 */
	SW_WORD,      /* uint8_t: index into words */
	SW_LINK,      /* bool: up, down */
	SW_OWNER,     /* uint32_t: a user id, or "any" */
	SW_ETHERTYPE, /* uint16_t: 0x0600 to 0xffff, or "any" (0) */
	SW_PROTOCOL,  /* uint8_t: a number, tcp, udp, icmp, icmp6, igmp, or "any" (0) */
	SW_VLAN,
	SW_ARP,
	SW_MAC,
	SW_MACS,
	SW_PREFIX,
	SW_RANGE,
	SW_NAMES,
	SW_IPV4, /* uint32_t: an address in host order, or "auto" (0) */
	SW_POOL,
};

struct sw_key {
	const char *name;
	enum sw_type type;
	size_t offset;
	uint64_t min, max;        /* SW_NUMBER; SW_RATE and SW_SIZE when max is not 0 */
	const char *const *words; /* SW_WORD: ends with NULL */
	const char *help;         /* "100 to 9000": shown where a value is refused; may be NULL */
};

struct sw_table {
	const char *what; /* "port" */
	const struct sw_key *keys;
	unsigned int count; /* at most SW_VALUE_KEYS_MAX */
};

/* The key's number, or -1. */
int sw_table_find(const struct sw_table *table, const char *name);

/*
 * Takes text as the key's value, and notes that it was given. -EINVAL with a sentence that names what,
 * key and value; the object is as it was then.
 */
MUST_CHECK int sw_value_set(const struct sw_table *table, unsigned int key, void *object,
			    const char *text, struct diag *reterr);

/* The value, as sw_value_set() takes it: at most SW_TEXT_BYTES with its end. */
void sw_value_text(const struct sw_table *table, unsigned int key, const void *object,
		   char ret[SW_TEXT_BYTES]);

/* Copies a value from one object of the table's kind to another. */
void sw_value_copy(const struct sw_table *table, unsigned int key, const void *from, void *to);

/* Are two objects' values the same? */
bool sw_value_is_same(const struct sw_table *table, unsigned int key, const void *a, const void *b);

static inline bool sw_value_given(const void *object, unsigned int key)
{
	return (*(const uint64_t *)object >> key & 1) != 0;
}

/*
 * All members of a JSON object, but those in `skip` (ends with NULL), as values: strings, whole numbers,
 * true and false. -EINVAL with a sentence; an unknown key is one. The object is as it was then, as far as
 * it goes: callers work on copies.
 */
MUST_CHECK int sw_object_parse(const struct sw_table *table, const struct json_t *json,
			       const char *const *skip, void *object, struct diag *reterr);

/* A JSON value as a command line has it; false: it is no such thing. */
bool sw_json_text(const struct json_t *value, char *ret, size_t bytes);

/* What was given (or, everything: all) as members of json; whole numbers and switches as such. */
void sw_object_build(const struct sw_table *table, const void *object, bool everything,
		     struct json_t *json);

#define SW_IPV4_TEXT_BYTES 16
/* "10.0.2.15" */
void sw_ipv4_text(uint32_t address, char ret[SW_IPV4_TEXT_BYTES]);

/* For those who compare: "web" is 1 to SW_NAME_BYTES - 1 of the characters that SW_NAME takes. */
bool sw_name_is_good(const char *name);
