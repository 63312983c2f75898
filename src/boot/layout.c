/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot/boot_internal.h"

/* The partition loads flat segments with these selectors. */
#define SELECTOR_CODE 0x10U
#define SELECTOR_DATA 0x18U
#define SELECTOR_TSS  0x20U
#define GDT_ENTRIES   6U

#define GDT_CODE64    0x00af9b000000ffffULL
#define GDT_CODE32    0x00cf9b000000ffffULL
#define GDT_DATA      0x00cf93000000ffffULL
#define GDT_TSS       0x00008b0000000067ULL /* base 0, 104 bytes */

#define CR0_PE        0x00000001U
#define CR0_ET        0x00000010U
#define CR0_PG        0x80000000U
#define CR4_PAE       0x20U
#define EFER_LME      0x100U
#define EFER_LMA      0x400U
#define RFLAGS_FIXED  2U

#define PAGE_PRESENT  0x01U
#define PAGE_WRITE    0x02U
#define PAGE_LARGE    0x80U
#define PAGE_ENTRIES  512U
#define DIRECTORIES   4U

static void map_add(struct layout_map *map, uint64_t gpa, uint64_t bytes, uint32_t type)
{
	check(map->count < LAYOUT_MAP_MAX);
	map->entries[map->count].gpa = gpa;
	map->entries[map->count].bytes = bytes;
	map->entries[map->count].type = type;
	map->count++;
}

void layout_map_build(const struct mem *mem, struct layout_map *ret)
{
	const struct mem_range *ranges;
	size_t count = mem_ranges(mem, &ranges);
	struct layout_map map = { 0 };

	map_add(&map, 0, LAYOUT_LOW_END, LAYOUT_RAM);
	map_add(&map, LAYOUT_LOW_END, 0xa0000 - LAYOUT_LOW_END, LAYOUT_RESERVED);
	map_add(&map, 0xe0000, LAYOUT_HIGH_START - 0xe0000, LAYOUT_RESERVED);
	map_add(&map, LAYOUT_HIGH_START, ranges[0].bytes - LAYOUT_HIGH_START, LAYOUT_RAM);
	for (size_t i = 1; i < count; i++) {
		map_add(&map, ranges[i].gpa, ranges[i].bytes, LAYOUT_RAM);
	}
	*ret = map;
}

/* One to one, in pages of 2 MiB. */
static int build_page_tables(const struct mem *mem)
{
	const uint64_t pages = 2 + DIRECTORIES;
	uint8_t *at = mem_hva(mem, LAYOUT_PAGES_GPA, pages * MEM_PAGE_BYTES);

	if (!at) {
		return -EFAULT;
	}
	memset(at, 0, pages * MEM_PAGE_BYTES);
	bytes_put_le64(at, (LAYOUT_PAGES_GPA + MEM_PAGE_BYTES) | PAGE_PRESENT | PAGE_WRITE);
	for (uint64_t i = 0; i < DIRECTORIES; i++) {
		bytes_put_le64(at + MEM_PAGE_BYTES + i * 8,
			       (LAYOUT_PAGES_GPA + (2 + i) * MEM_PAGE_BYTES) | PAGE_PRESENT |
				       PAGE_WRITE);
	}
	at += 2 * MEM_PAGE_BYTES;
	for (uint64_t i = 0; i < DIRECTORIES * PAGE_ENTRIES; i++) {
		bytes_put_le64(at + i * 8, i * 2 * MIB | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE);
	}
	return 0;
}

int layout_entry(const struct mem *mem, enum boot_mode mode, struct boot_entry *ret)
{
	uint8_t gdt[GDT_ENTRIES * 8] = { 0 };
	int err;

	bytes_put_le64(gdt + SELECTOR_CODE, mode == BOOT_LONG64 ? GDT_CODE64 : GDT_CODE32);
	bytes_put_le64(gdt + SELECTOR_DATA, GDT_DATA);
	bytes_put_le64(gdt + SELECTOR_TSS, GDT_TSS);
	err = mem_write(mem, LAYOUT_GDT_GPA, gdt, sizeof(gdt));
	if (err) {
		return err;
	}
	*ret = (struct boot_entry){
		.mode = mode,
		.rsp = LAYOUT_BOOT_PARAMS_GPA, /* grows down; nobody needs it */
		.cr0 = CR0_PE | CR0_ET,
		.rflags = RFLAGS_FIXED,
		.gdt_base = LAYOUT_GDT_GPA,
		.gdt_limit = sizeof(gdt) - 1,
		.code_selector = SELECTOR_CODE,
		.data_selector = SELECTOR_DATA,
		.tss_selector = SELECTOR_TSS,
	};
	if (mode == BOOT_LONG64) {
		ret->cr0 |= CR0_PG;
		ret->cr3 = LAYOUT_PAGES_GPA;
		ret->cr4 = CR4_PAE;
		ret->efer = EFER_LME | EFER_LMA;
		return build_page_tables(mem);
	}
	return 0;
}
