/* SPDX-License-Identifier: MIT */
/*
 * Putting a system into a partition's memory, so that its first processor can start it.
 *
 * Direct Linux boot: a bzImage through its 64-bit entry point, or an ELF kernel with a PVH note.
 * The kernel and its initial RAM disk are read straight into guest memory; nothing is kept beside
 * it. Everything is read again for each call, so that a reset is the same call once more.
 *
 * Guest memory, below 1 MiB (all of it fixed):
 *
 *     0x01000 GDT   0x07000 boot_params   0x08000 PVH start info   0x09000 page tables
 *     0x20000 command line   0x9fc00 (reserved)   0xe0000 ACPI   0xf0000 SMBIOS
 *
 *   owner   none: only functions    thread  any one, while no processor runs
 *   spec    Linux: Documentation/x86/boot.rst, zero-page.rst; Xen: start_info.h (PVH)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "boot/acpi.h"
#include "mem/mem.h"

/* Longer command lines are refused whatever the kernel says. */
#define BOOT_CMDLINE_BYTES_MAX 0x10000U
#define BOOT_VPS_MAX           1024U

struct boot_config {
	/* Descriptors are borrowed for the call; they must be regular files (read with pread). */
	int kernel_fd;
	int initrd_fd;           /* -1: none */
	const char *kernel_name; /* for messages: the path the user gave */
	const char *initrd_name;
	const char *cmdline; /* NULL: empty */

	uint32_t vps; /* 1 … BOOT_VPS_MAX */

	/* The window above RAM that VMBus devices may use; 0 bytes: none. See boot_mmio_high(). */
	gpa_t mmio_high_gpa;
	uint64_t mmio_high_bytes;

	bool pm_timer;  /* tell the guest of the ACPI PM timer */
	bool is_legacy; /* the legacy board's tables */
	enum smbios_identity identity;
	bool has_vga;

	/*
	 * Decompress a bzImage's payload here and enter the kernel proper, instead of letting the
	 * guest do it. Address space randomization is kept (the virtual address is chosen here).
	 * Anything unusual about the image quietly falls back to the ordinary entry.
	 */
	bool fast_unpack;

	/* Where decompressed kernels are kept between starts (see unpack_cache.h); NULL: nowhere. */
	const char *cache_dir;
};

enum boot_mode {
	BOOT_LONG64,      /* 64-bit mode, paging on */
	BOOT_PROTECTED32, /* 32-bit protected mode, paging off (PVH) */
};

/* How the first processor starts. Segments are flat; base 0, limit 4 GiB, ring 0. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp, rsi, rbx;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t rflags;
	uint64_t gdt_base;
	uint16_t gdt_limit;
	uint16_t code_selector, data_selector, tss_selector;
	bool unpacked; /* fast_unpack did it */
};

/*
 * Loads kernel, RAM disk, tables. 0; -EINVAL (not a kernel, too old, command line too long,
 * truncated), -E2BIG (does not fit into memory), or the errno of a failed read, each with a
 * sentence in *reterr. After a failure guest memory is undefined.
 */
MUST_CHECK int boot_linux_load(const struct mem *mem, const struct boot_config *config,
			       struct boot_entry *ret, struct diag *reterr);

/*
 * Where the high MMIO window goes on a machine of so many physical address bits: behind RAM, on a
 * multiple of 1 GiB, at most 64 GiB long; 0 bytes when there is no room.
 */
void boot_mmio_high(const struct mem *mem, unsigned int phys_bits, gpa_t *ret_gpa,
		    uint64_t *ret_bytes);
