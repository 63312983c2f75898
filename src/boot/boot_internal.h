/* SPDX-License-Identifier: MIT */
/*
 * Shared by the loaders: bzimage.c (Linux' own boot protocol), elf.c (ELF images, PVH), unpack.c
 * (a bzImage's payload, decompressed here), layout.c (what all of them need in low memory).
 */
#pragma once

#include "boot/boot.h"

/* Where things are below 1 MiB; see boot.h. */
#define LAYOUT_GDT_GPA         0x1000ULL
#define LAYOUT_BOOT_PARAMS_GPA 0x7000ULL
#define LAYOUT_PVH_INFO_GPA    0x8000ULL
#define LAYOUT_PAGES_GPA       0x9000ULL /* PML4, PDPT, four PDs: the first 4 GiB, one to one */
#define LAYOUT_CMDLINE_GPA     0x20000ULL
#define LAYOUT_LOW_END         0x9fc00ULL
#define LAYOUT_HIGH_START      0x100000ULL

#define LAYOUT_MAP_MAX         8
enum { LAYOUT_RAM = 1, LAYOUT_RESERVED = 2 };

/* The map of memory that the guest is given (e820's types). */
struct layout_map {
	struct {
		uint64_t gpa, bytes;
		uint32_t type;
	} entries[LAYOUT_MAP_MAX];
	uint32_t count;
};

/* What a loader works on. */
struct loader {
	const struct mem *mem;
	const struct boot_config *config;
	struct diag *reterr;
	uint64_t kernel_bytes; /* size of the kernel's file */
	uint64_t low_end;      /* RAM from 0 ends here */
	gpa_t rsdp;

	/* Set by loader_initrd(); 0 when there is none. */
	gpa_t initrd_gpa;
	uint64_t initrd_bytes;
};

/* Exactly `bytes` of the kernel's file; -EINVAL (it is shorter) or an errno, with a sentence. */
MUST_CHECK int loader_read(struct loader *loader, uint64_t offset, void *ret_buf, uint64_t bytes);

/* The same into guest memory; -E2BIG when that is not RAM. */
MUST_CHECK int loader_read_guest(struct loader *loader, uint64_t offset, gpa_t gpa, uint64_t bytes);

/*
 * Loads the RAM disk as high as possible in [floor, limit) and below the end of low RAM. -E2BIG
 * when it does not fit.
 */
MUST_CHECK int loader_initrd(struct loader *loader, gpa_t floor, gpa_t limit);

/* Writes the command line; limit: the most bytes that the kernel takes, without the zero. */
MUST_CHECK int loader_cmdline(struct loader *loader, uint64_t limit);

/* Whether the command line has this word. */
bool loader_cmdline_has(const struct loader *loader, const char *word);

/* -E2BIG with a sentence: the kernel needs RAM up to `end`. */
MUST_CHECK int loader_check_fits(struct loader *loader, gpa_t end);

void layout_map_build(const struct mem *mem, struct layout_map *ret);

/* Descriptors, page tables; fills everything of *ret but rip, rsi and rbx. */
MUST_CHECK int layout_entry(const struct mem *mem, enum boot_mode mode, struct boot_entry *ret);

/* The loaders; `head` are the file's first bytes. */
#define LOADER_HEAD_BYTES 4096U
MUST_CHECK int bzimage_load(struct loader *loader, const uint8_t *head, struct boot_entry *ret);
MUST_CHECK int elf_load(struct loader *loader, const uint8_t *head, struct boot_entry *ret);

/* A bzImage's compressed payload, and where the kernel wants to be. */
struct unpack_request {
	uint64_t offset, bytes; /* in the kernel's file */
	gpa_t load_gpa;         /* LOAD_PHYSICAL_ADDR */
	bool randomize;         /* choose addresses */
};

struct unpack_result {
	gpa_t entry;
	gpa_t end; /* of what the kernel needs: bss and the like included */
	bool randomized;
};

/*
 * Decompresses the payload in guest memory and puts the kernel's segments where they belong.
 * -ENOEXEC: something about it is not as expected; nothing is lost, take the ordinary way.
 */
MUST_CHECK int unpack_kernel(struct loader *loader, const struct unpack_request *request,
			     struct unpack_result *ret);

/*
 * Decompresses into out; *ret_bytes is what came out. -ENOEXEC: an unknown method, damaged, or
 * more than out takes.
 */
MUST_CHECK int unpack_decompress(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
				 size_t *ret_bytes);
