/* SPDX-License-Identifier: MIT */
/*
 * The program, in the order of steer_hash(): type behind up to two tags, addresses, ports, hash, table.
 *
 *   r6  the frame      r7  the map's value      r8  an offset, later: are there ports?      r9  the hash
 *   stack: what is hashed (36 bytes), a header's copy, a word for calls
 */
#include "net/steer_bpf.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/num.h"
#include "proto/ether.h"

#define INSNS_MAX       1024U
#define EXITS_MAX       16U
#define TAGS_MAX        2
#define IPV4_BYTES      20
#define IPV6_BYTES      40
#define PORTS_BYTES     4
#define TYPE_OFFSET     12
#define AT_INPUT        (-48)
#define AT_HEADER       (-96)
#define AT_WORD         (-4)
#define TABLE_INDEX_MAX (NET_RSS_TABLE_ENTRIES - 1)

/* The map's only value. */
struct steering {
	uint32_t hash_types, mask;
	uint8_t queues[NET_RSS_TABLE_ENTRIES];
	struct toeplitz toeplitz;
};

struct builder {
	struct bpf_insn insns[INSNS_MAX];
	unsigned int count;
	unsigned int exits[EXITS_MAX]; /* jumps to where 0 is returned */
	unsigned int exit_count;
};

/* ---- instructions ------------------------------------------------------------------------------- */

static unsigned int emit(struct builder *b, unsigned int code, int dst, int src, int off, int imm)
{
	check(b->count < INSNS_MAX);
	b->insns[b->count] = (struct bpf_insn){ .code = (uint8_t)code,
						.dst_reg = (uint8_t)(dst & 15),
						.src_reg = (uint8_t)(src & 15),
						.off = (int16_t)off,
						.imm = imm };
	return b->count++;
}

static void move(struct builder *b, int dst, int src)
{
	(void)emit(b, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

/* op with a number: BPF_MOV, BPF_ADD, BPF_AND, BPF_LSH, BPF_RSH */
static void alu(struct builder *b, unsigned int op, int dst, int number)
{
	(void)emit(b, BPF_ALU64 | op | BPF_K, dst, 0, 0, number);
}

static void alu_reg(struct builder *b, unsigned int op, int dst, int src)
{
	(void)emit(b, BPF_ALU64 | op | BPF_X, dst, src, 0, 0);
}

/* size: BPF_B, BPF_H, BPF_W */
static void load(struct builder *b, unsigned int size, int dst, int base, int off)
{
	(void)emit(b, BPF_LDX | BPF_MEM | size, dst, base, off, 0);
}

static void store(struct builder *b, unsigned int size, int base, int off, int src)
{
	(void)emit(b, BPF_STX | BPF_MEM | size, base, src, off, 0);
}

static void to_host16(struct builder *b, int reg)
{
	(void)emit(b, BPF_ALU | BPF_END | BPF_TO_BE, reg, 0, 0, 16);
}

/* A jump that land() or zero() sends somewhere. */
static unsigned int jump(struct builder *b, unsigned int op, int reg, int number)
{
	return emit(b, BPF_JMP | op | BPF_K, reg, 0, 0, number);
}

/* The jump goes to what comes next. */
static void land(struct builder *b, unsigned int from)
{
	b->insns[from].off = (int16_t)(b->count - from - 1);
}

/* The jump goes to the end: queue 0. */
static void zero(struct builder *b, unsigned int from)
{
	check(b->exit_count < EXITS_MAX);
	b->exits[b->exit_count++] = from;
}

/* r0: 0 when the bytes at r8 are on the stack now. r1 to r5 are lost. */
static void copy_out(struct builder *b, int to, int bytes)
{
	move(b, BPF_REG_1, BPF_REG_6);
	move(b, BPF_REG_2, BPF_REG_8);
	move(b, BPF_REG_3, BPF_REG_10);
	alu(b, BPF_ADD, BPF_REG_3, to);
	alu(b, BPF_MOV, BPF_REG_4, bytes);
	(void)emit(b, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
}

/* ---- the program -------------------------------------------------------------------------------- */

static void begin(struct builder *b, int map)
{
	move(b, BPF_REG_6, BPF_REG_1);
	(void)emit(b, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, AT_WORD, 0);
	move(b, BPF_REG_2, BPF_REG_10);
	alu(b, BPF_ADD, BPF_REG_2, AT_WORD);
	/* BPF_IMM is 0, too. */
	(void)emit(b, BPF_LD | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
	(void)emit(b, 0, 0, 0, 0, 0);
	(void)emit(b, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	zero(b, jump(b, BPF_JEQ, BPF_REG_0, 0));
	move(b, BPF_REG_7, BPF_REG_0);
}

/* r9: the type behind the tags; r8: where the header behind it begins. */
static void find_type(struct builder *b)
{
	unsigned int ends[TAGS_MAX];

	alu(b, BPF_MOV, BPF_REG_8, TYPE_OFFSET);
	for (int i = 0; i <= TAGS_MAX; i++) {
		copy_out(b, AT_WORD, 2);
		zero(b, jump(b, BPF_JNE, BPF_REG_0, 0));
		load(b, BPF_H, BPF_REG_9, BPF_REG_10, AT_WORD);
		to_host16(b, BPF_REG_9);
		if (i < TAGS_MAX) {
			unsigned int is_tag = jump(b, BPF_JEQ, BPF_REG_9, ETHER_TYPE_VLAN);

			ends[i] = jump(b, BPF_JNE, BPF_REG_9, ETHER_TYPE_QINQ);
			land(b, is_tag);
			alu(b, BPF_ADD, BPF_REG_8, ETHER_TAG_BYTES);
		}
	}
	for (int i = 0; i < TAGS_MAX; i++) {
		land(b, ends[i]);
	}
	alu(b, BPF_ADD, BPF_REG_8, 2);
}

/* A header of this version at r8, or queue 0. */
static void copy_header(struct builder *b, int version, int bytes)
{
	copy_out(b, AT_HEADER, bytes);
	zero(b, jump(b, BPF_JNE, BPF_REG_0, 0));
	load(b, BPF_B, BPF_REG_1, BPF_REG_10, AT_HEADER);
	alu(b, BPF_RSH, BPF_REG_1, 4);
	zero(b, jump(b, BPF_JNE, BPF_REG_1, version));
}

static void copy_addresses(struct builder *b, int from, int bytes)
{
	for (int i = 0; i < bytes; i += 4) {
		load(b, BPF_W, BPF_REG_1, BPF_REG_10, AT_HEADER + from + i);
		store(b, BPF_W, BPF_REG_10, AT_INPUT + i, BPF_REG_1);
	}
}

/* r3: the hash type that stands for the header's protocol with its ports, if the guest wants it; or 0. */
static void find_wanted(struct builder *b, int protocol_at, unsigned int tcp, unsigned int udp)
{
	unsigned int not_tcp, not_udp;

	alu(b, BPF_MOV, BPF_REG_3, 0);
	load(b, BPF_B, BPF_REG_1, BPF_REG_10, AT_HEADER + protocol_at);
	not_tcp = jump(b, BPF_JNE, BPF_REG_1, IP_PROTOCOL_TCP);
	alu(b, BPF_MOV, BPF_REG_3, (int)tcp);
	land(b, not_tcp);
	not_udp = jump(b, BPF_JNE, BPF_REG_1, IP_PROTOCOL_UDP);
	alu(b, BPF_MOV, BPF_REG_3, (int)udp);
	land(b, not_udp);
	load(b, BPF_W, BPF_REG_2, BPF_REG_7, offsetof(struct steering, hash_types));
	alu_reg(b, BPF_AND, BPF_REG_3, BPF_REG_2);
}

/* The ports at r8 behind the addresses; r8: 1, or 0 and only the addresses are hashed, if that is wanted. */
static void copy_ports(struct builder *b, int addresses, unsigned int plain,
		       const unsigned int *skips, unsigned int skip_count)
{
	unsigned int none, done;

	copy_out(b, AT_INPUT + addresses, PORTS_BYTES);
	alu(b, BPF_MOV, BPF_REG_8, 1);
	done = jump(b, BPF_JEQ, BPF_REG_0, 0);
	for (unsigned int i = 0; i < skip_count; i++) {
		land(b, skips[i]);
	}
	alu(b, BPF_MOV, BPF_REG_8, 0);
	load(b, BPF_W, BPF_REG_2, BPF_REG_7, offsetof(struct steering, hash_types));
	alu(b, BPF_AND, BPF_REG_2, (int)plain);
	none = jump(b, BPF_JEQ, BPF_REG_2, 0);
	zero(b, none);
	land(b, done);
}

/* r9 ^= what these bytes of the input add: toeplitz_hash(). */
static void hash_bytes(struct builder *b, int first, int end)
{
	const int table = offsetof(struct steering, toeplitz);

	for (int i = first; i < end; i++) {
		load(b, BPF_B, BPF_REG_1, BPF_REG_10, AT_INPUT + i);
		move(b, BPF_REG_2, BPF_REG_1);
		alu(b, BPF_RSH, BPF_REG_2, 4);
		alu(b, BPF_AND, BPF_REG_1, 15);
		for (int nibble = 0; nibble < 2; nibble++) {
			int reg = nibble ? BPF_REG_1 : BPF_REG_2;

			alu(b, BPF_LSH, reg, 2);
			move(b, BPF_REG_3, BPF_REG_7);
			alu_reg(b, BPF_ADD, BPF_REG_3, reg);
			load(b, BPF_W, BPF_REG_4, BPF_REG_3, table + (2 * i + nibble) * 64);
			alu_reg(b, BPF_XOR, BPF_REG_9, BPF_REG_4);
		}
	}
}

/* The jump to where the queue is looked up, when there are no ports. */
static unsigned int hash_input(struct builder *b, int addresses)
{
	unsigned int no_ports;

	alu(b, BPF_MOV, BPF_REG_9, 0);
	hash_bytes(b, 0, addresses);
	no_ports = jump(b, BPF_JEQ, BPF_REG_8, 0);
	hash_bytes(b, addresses, addresses + PORTS_BYTES);
	return no_ports;
}

static unsigned int hash_ipv4(struct builder *b)
{
	unsigned int skips[2];

	copy_header(b, 4, IPV4_BYTES);
	copy_addresses(b, 12, 8);
	load(b, BPF_B, BPF_REG_9, BPF_REG_10, AT_HEADER);
	alu(b, BPF_AND, BPF_REG_9, 15);
	alu(b, BPF_LSH, BPF_REG_9, 2);
	zero(b, jump(b, BPF_JLT, BPF_REG_9, IPV4_BYTES));
	alu_reg(b, BPF_ADD, BPF_REG_8, BPF_REG_9);
	find_wanted(b, 9, NET_RSS_TCP_IPV4, NET_RSS_UDP_IPV4);
	skips[0] = jump(b, BPF_JEQ, BPF_REG_3, 0);
	/* Of a fragment, only the first has ports: all go by their addresses. */
	load(b, BPF_H, BPF_REG_1, BPF_REG_10, AT_HEADER + 6);
	to_host16(b, BPF_REG_1);
	alu(b, BPF_AND, BPF_REG_1, 0x3fff);
	skips[1] = jump(b, BPF_JNE, BPF_REG_1, 0);
	copy_ports(b, 8, NET_RSS_IPV4, skips, 2);
	return hash_input(b, 8);
}

static unsigned int hash_ipv6(struct builder *b)
{
	unsigned int skip;

	copy_header(b, 6, IPV6_BYTES);
	copy_addresses(b, 8, 32);
	alu(b, BPF_ADD, BPF_REG_8, IPV6_BYTES);
	find_wanted(b, 6, NET_RSS_TCP_IPV6, NET_RSS_UDP_IPV6);
	skip = jump(b, BPF_JEQ, BPF_REG_3, 0);
	copy_ports(b, 32, NET_RSS_IPV6, &skip, 1);
	return hash_input(b, 32);
}

static void build(struct builder *b, int map)
{
	unsigned int is_ipv6, picks[3];

	begin(b, map);
	find_type(b);
	is_ipv6 = jump(b, BPF_JEQ, BPF_REG_9, ETHER_TYPE_IPV6);
	zero(b, jump(b, BPF_JNE, BPF_REG_9, ETHER_TYPE_IPV4));
	picks[0] = hash_ipv4(b);
	picks[1] = jump(b, BPF_JA, 0, 0);
	land(b, is_ipv6);
	picks[2] = hash_ipv6(b);
	for (unsigned int i = 0; i < ARRAY_SIZE(picks); i++) {
		land(b, picks[i]);
	}
	load(b, BPF_W, BPF_REG_1, BPF_REG_7, offsetof(struct steering, mask));
	alu_reg(b, BPF_AND, BPF_REG_9, BPF_REG_1);
	alu(b, BPF_AND, BPF_REG_9, TABLE_INDEX_MAX);
	alu_reg(b, BPF_ADD, BPF_REG_7, BPF_REG_9);
	load(b, BPF_B, BPF_REG_0, BPF_REG_7, offsetof(struct steering, queues));
	(void)emit(b, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (unsigned int i = 0; i < b->exit_count; i++) {
		land(b, b->exits[i]);
	}
	alu(b, BPF_MOV, BPF_REG_0, 0);
	(void)emit(b, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* ---- the kernel --------------------------------------------------------------------------------- */

static int call(enum bpf_cmd command, union bpf_attr *attr)
{
	long result = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return result < 0 ? -errno : (int)result;
}

int steer_bpf_create(enum bpf_prog_type type, struct steer_bpf *ret)
{
	struct builder b = { .count = 0 };
	union bpf_attr map, program;

	_Static_assert(sizeof(struct toeplitz) == 2 * TOEPLITZ_INPUT_BYTES * 64,
		       "sixteen words for each half of a byte");
	memset(&map, 0, sizeof(map));
	map.map_type = BPF_MAP_TYPE_ARRAY;
	map.key_size = sizeof(uint32_t);
	map.value_size = sizeof(struct steering);
	map.max_entries = 1;
	*ret = (struct steer_bpf){ -1, -1 };
	ret->map = call(BPF_MAP_CREATE, &map);
	if (ret->map < 0) {
		return ret->map;
	}
	build(&b, ret->map);
	memset(&program, 0, sizeof(program));
	program.prog_type = type;
	program.insns = (uintptr_t)b.insns;
	program.insn_cnt = b.count;
	program.license = (uintptr_t) "MIT";
	memcpy(program.prog_name, "tabique_steer", sizeof("tabique_steer"));
	ret->program = call(BPF_PROG_LOAD, &program);
	if (ret->program < 0) {
		int err = ret->program;

		steer_bpf_destroy(ret);
		return err;
	}
	return 0;
}

void steer_bpf_destroy(struct steer_bpf *bpf)
{
	if (bpf->program >= 0) {
		close(bpf->program);
	}
	if (bpf->map >= 0) {
		close(bpf->map);
	}
	*bpf = (struct steer_bpf){ -1, -1 };
}

int steer_bpf_set(const struct steer_bpf *bpf, const struct steer *steer)
{
	struct steering value = { .hash_types = 0 };
	const uint32_t key = 0;
	union bpf_attr attr;

	if (steer->rss.is_on) {
		value.hash_types = steer->rss.hash_types;
		value.mask = steer->rss.table_entries - 1U;
		for (unsigned int i = 0; i < steer->rss.table_entries; i++) {
			value.queues[i] = (uint8_t)steer->rss.table[i];
		}
		value.toeplitz = steer->toeplitz;
	}
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)bpf->map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&value;
	return call(BPF_MAP_UPDATE_ELEM, &attr);
}
