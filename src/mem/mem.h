/* SPDX-License-Identifier: MIT */
/*
 * Guest physical memory.
 *
 * RAM is one memfd, mapped once, shared: a VSP in another process can map it too. A PC has a hole
 * below 4 GiB for devices, so RAM is at most two ranges of guest physical addresses:
 *
 *     0 ........ low_bytes (≤ MEM_LOW_MAX)        4 GiB ........ 4 GiB + the rest
 *
 * Every access by guest physical address (gpa) is checked here. The guest can change any byte at
 * any time: copy once, check, then use.
 *
 * Huge pages are advised: with /sys/kernel/mm/transparent_hugepage/shmem_enabled at "advise" the
 * guest costs a fraction of the nested page faults.
 *
 *   owner   vm; lives longer than anything that uses it
 *   thread  any: the map never changes after mem_create()
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/diag.h"

typedef uint64_t gpa_t; /* guest physical address, bytes */

#define MEM_PAGE_BYTES 4096ULL
#define MEM_PAGE_SHIFT 12
#define MEM_LOW_MAX    0xc0000000ULL /* RAM below 4 GiB ends here at the latest; MMIO above it */
#define MEM_HIGH_BASE  0x100000000ULL

#define MEM_BYTES_MIN  (64ULL << 20)
#define MEM_BYTES_MAX  (16ULL << 40)

struct mem;

struct mem_config {
	uint64_t bytes; /* a multiple of 2 MiB, MEM_BYTES_MIN to MEM_BYTES_MAX */
};

/* A run of guest RAM, for KVM's memory slots and for sharing. */
struct mem_range {
	gpa_t gpa;
	uint64_t bytes;
	uint64_t fd_offset;
	uint8_t *hva;
};

/* 0; -EINVAL (size), -ENOMEM or another errno (the host has not got it), sentence in *reterr. */
MUST_CHECK int mem_create(const struct mem_config *config, struct mem **ret, struct diag *reterr);
void mem_destroy(struct mem *mem);

/*
 * Another process's guest memory: its memfd and ranges (hva is not looked at). It must not be able to
 * pull pages away under us: the size is sealed, and the file is the kernel's own (tmpfs). fd_take is
 * closed on failure, too. 0; -EINVAL (sizes), -EPERM (seals, file system), -ENOMEM.
 */
MUST_CHECK int mem_import(int fd_take, const struct mem_range *ranges, size_t count,
			  struct mem **ret, struct diag *reterr);

/* The same question of any memfd: 0; -EPERM (seals, file system); -EINVAL (another size). */
MUST_CHECK int mem_check_sealed(int fd, uint64_t bytes);

uint64_t mem_bytes(const struct mem *mem);
int mem_fd(const struct mem *mem);

/* The ranges in order of address: 1 or 2. Borrowed from mem. */
size_t mem_ranges(const struct mem *mem, const struct mem_range **ret);

/* The host's pointer to [gpa, gpa + bytes), or NULL unless all of it is RAM in one range. */
void *mem_hva(const struct mem *mem, gpa_t gpa, uint64_t bytes);

/* Copies. 0, or -EFAULT, and nothing is copied, unless all of it is RAM in one range. */
MUST_CHECK int mem_read(const struct mem *mem, gpa_t gpa, void *ret_buf, uint64_t bytes);
MUST_CHECK int mem_write(const struct mem *mem, gpa_t gpa, const void *buf, uint64_t bytes);

/*
 * Maps pages (guest frame numbers, gpa >> 12) one after the other into one run of our addresses,
 * `copies` times over: with 2, a ring buffer's end is followed by its beginning and nothing that
 * is read from it ever wraps. Costs one mapping per run of adjacent pages.
 *
 * 0; -EFAULT when a page is not RAM; -ENOMEM. *ret is released with mem_unmap_pages().
 */
MUST_CHECK int mem_map_pages(const struct mem *mem, const uint64_t *gfns, size_t count,
			     unsigned int copies, void **ret);
/* Runs of adjacent pages among these: what mem_map_pages() needs in mappings for one copy. */
size_t mem_count_runs(const uint64_t *gfns, size_t count);
void mem_unmap_pages(void *hva, size_t count, unsigned int copies);
