/* SPDX-License-Identifier: MIT */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"

#define MEM_SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Nested page tables can use 2 MiB pages only where gpa and host address agree modulo 2 MiB. */
#define HUGE_BYTES (2 * MIB)

struct mem {
	int fd;
	uint8_t *base; /* RAM, in order of gpa without the hole */
	uint64_t bytes;
	struct mem_range ranges[2];
	size_t range_count;
};

/* MemTotal and swap of the host, or UINT64_MAX when it does not say. */
static uint64_t host_bytes(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib, total = 0;
	char line[128];

	if (!f) {
		return UINT64_MAX;
	}
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu", &kib) == 1 ||
		    sscanf(line, "SwapTotal: %llu", &kib) == 1) {
			total += kib * KIB;
		}
	}
	fclose(f);
	return total ? total : UINT64_MAX;
}

static int check_size(uint64_t bytes, struct diag *reterr)
{
	if (bytes < MEM_BYTES_MIN || bytes > MEM_BYTES_MAX) {
		return diag_set(reterr, -EINVAL,
				"memory of %llu MiB is out of range: give %llu MiB to %llu GiB",
				bytes / MIB, MEM_BYTES_MIN / MIB, MEM_BYTES_MAX / GIB);
	}
	if (bytes % HUGE_BYTES) {
		return diag_set(reterr, -EINVAL, "memory of %llu KiB is no multiple of 2 MiB",
				bytes / KIB);
	}
	if (bytes > host_bytes()) {
		return diag_set(reterr, -ENOMEM,
				"this host has %llu MiB of memory and swap, not the %llu MiB asked "
				"for: give the guest less with --memory",
				host_bytes() / MIB, bytes / MIB);
	}
	return 0;
}

/* Reserves room to align in, then lays the file over it. */
static int map_ram(struct mem *mem)
{
	size_t room = mem->bytes + HUGE_BYTES;
	uint8_t *reserved =
		mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (reserved == MAP_FAILED) {
		return -errno;
	}
	uint8_t *base = (uint8_t *)num_align_up((uintptr_t)reserved, HUGE_BYTES);
	void *ram = mmap(base, mem->bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, mem->fd, 0);

	if (ram == MAP_FAILED) {
		int err = -errno;

		munmap(reserved, room);
		return err;
	}
	if (base > reserved) {
		munmap(reserved, (size_t)(base - reserved));
	}
	size_t tail = room - (size_t)(base - reserved) - mem->bytes;

	if (tail) {
		munmap(base + mem->bytes, tail);
	}
	mem->base = base;
	(void)madvise(base, mem->bytes, MADV_HUGEPAGE); /* advice: hosts may lack it */
	(void)madvise(base, mem->bytes, MADV_DONTDUMP); /* a core dump is about us */
	return 0;
}

static void lay_out(struct mem *mem)
{
	uint64_t low = num_min(mem->bytes, MEM_LOW_MAX);

	mem->ranges[0] = (struct mem_range){ .gpa = 0, .bytes = low, .hva = mem->base };
	mem->range_count = 1;
	if (mem->bytes > low) {
		mem->ranges[1] = (struct mem_range){ .gpa = MEM_HIGH_BASE,
						     .bytes = mem->bytes - low,
						     .fd_offset = low,
						     .hva = mem->base + low };
		mem->range_count = 2;
	}
}

int mem_create(const struct mem_config *config, struct mem **ret, struct diag *reterr)
{
	int err = check_size(config->bytes, reterr);

	if (err) {
		return err;
	}
	struct mem *mem = fault_alloc(1, sizeof(*mem));

	if (!mem) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	mem->bytes = config->bytes;
	mem->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Sealed, so that whoever shares it need not fear that it shrinks under him. */
	if (mem->fd < 0 || ftruncate(mem->fd, (off_t)mem->bytes) != 0 ||
	    fcntl(mem->fd, F_ADD_SEALS, MEM_SEALS) != 0) {
		err = -errno;
	} else {
		err = map_ram(mem);
	}
	if (err) {
		mem_destroy(mem);
		return diag_set(reterr, err, "cannot get %llu MiB of guest memory: %s",
				config->bytes / MIB, strerror(-err));
	}
	lay_out(mem);
	*ret = mem;
	return 0;
}

/* ---- memory of another process ---- */

int mem_check_sealed(int fd, uint64_t bytes)
{
	struct statfs fs;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & MEM_SEALS) != MEM_SEALS ||
	    (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))) {
		return -EPERM;
	}
	/* Elsewhere a page fault may wait for whoever serves the file system, or end in SIGBUS. */
	if (fstatfs(fd, &fs) != 0 || fs.f_type != TMPFS_MAGIC) {
		return -EPERM;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes) {
		return -EINVAL;
	}
	return 0;
}

/* In order, where a PC has RAM, and one after the other in the file; their sum. 0: they are not. */
static uint64_t ranges_bytes(const struct mem_range *ranges, size_t count)
{
	uint64_t bytes = 0, end = 0;

	if (count < 1 || count > 2) {
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		const struct mem_range *range = &ranges[i];

		if (range->gpa < end || range->gpa % HUGE_BYTES || range->bytes == 0 ||
		    range->bytes % HUGE_BYTES || range->bytes > MEM_BYTES_MAX ||
		    range->gpa > MEM_BYTES_MAX || range->fd_offset != bytes) {
			return 0;
		}
		end = range->gpa + range->bytes;
		bytes += range->bytes;
	}
	return bytes <= MEM_BYTES_MAX ? bytes : 0;
}

int mem_import(int fd_take, const struct mem_range *ranges, size_t count, struct mem **ret,
	       struct diag *reterr)
{
	uint64_t bytes = ranges_bytes(ranges, count);
	int err = bytes ? mem_check_sealed(fd_take, bytes) : -EINVAL;
	struct mem *mem = err ? NULL : fault_alloc(1, sizeof(*mem));

	if (!mem) {
		close(fd_take);
		return diag_set(reterr, err ? err : -ENOMEM,
				err == -EPERM ? "not a sealed memfd of its own pages"
				: err         ? "sizes of memory make no sense"
					      : "no memory");
	}
	mem->fd = fd_take;
	mem->bytes = bytes;
	err = map_ram(mem);
	if (err) {
		mem_destroy(mem);
		return diag_set(reterr, err, "cannot map %llu MiB of another's memory: %s",
				bytes / MIB, strerror(-err));
	}
	for (size_t i = 0; i < count; i++) {
		mem->ranges[i] = ranges[i];
		mem->ranges[i].hva = mem->base + ranges[i].fd_offset;
	}
	mem->range_count = count;
	*ret = mem;
	return 0;
}

void mem_destroy(struct mem *mem)
{
	if (!mem) {
		return;
	}
	if (mem->base) {
		munmap(mem->base, mem->bytes);
	}
	if (mem->fd >= 0) {
		close(mem->fd);
	}
	free(mem);
}

uint64_t mem_bytes(const struct mem *mem)
{
	return mem->bytes;
}

int mem_fd(const struct mem *mem)
{
	return mem->fd;
}

size_t mem_ranges(const struct mem *mem, const struct mem_range **ret)
{
	*ret = mem->ranges;
	return mem->range_count;
}

void *mem_hva(const struct mem *mem, gpa_t gpa, uint64_t bytes)
{
	for (size_t i = 0; i < mem->range_count; i++) {
		const struct mem_range *range = &mem->ranges[i];

		if (gpa >= range->gpa && num_range_fits(gpa - range->gpa, bytes, range->bytes)) {
			return range->hva + (gpa - range->gpa);
		}
	}
	return NULL;
}

int mem_read(const struct mem *mem, gpa_t gpa, void *ret_buf, uint64_t bytes)
{
	const void *hva = mem_hva(mem, gpa, bytes);

	if (!hva) {
		return -EFAULT;
	}
	memcpy(ret_buf, hva, bytes);
	return 0;
}

int mem_write(const struct mem *mem, gpa_t gpa, const void *buf, uint64_t bytes)
{
	void *hva = mem_hva(mem, gpa, bytes);

	if (!hva) {
		return -EFAULT;
	}
	memcpy(hva, buf, bytes);
	return 0;
}

/* Pages from `first` on that follow each other in guest memory. */
static size_t run_length(const uint64_t *gfns, size_t first, size_t count)
{
	size_t n = 1;

	while (first + n < count && gfns[first + n] == gfns[first] + n) {
		n++;
	}
	return n;
}

size_t mem_count_runs(const uint64_t *gfns, size_t count)
{
	size_t runs = 0;

	for (size_t i = 0; i < count; i += run_length(gfns, i, count)) {
		runs++;
	}
	return runs;
}

static int map_run(const struct mem *mem, uint8_t *at, uint64_t gfn, size_t pages)
{
	uint64_t bytes = pages * MEM_PAGE_BYTES;
	uint8_t *hva = gfn < (1ULL << 52) ? mem_hva(mem, gfn << MEM_PAGE_SHIFT, bytes) : NULL;

	if (!hva) {
		return -EFAULT;
	}
	void *mapped = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, mem->fd,
			    hva - mem->base);

	return mapped == MAP_FAILED ? -ENOMEM : 0;
}

int mem_map_pages(const struct mem *mem, const uint64_t *gfns, size_t count, unsigned int copies,
		  void **ret)
{
	size_t bytes = count * MEM_PAGE_BYTES;
	uint8_t *hva;
	int err = 0;

	if (fault_point()) {
		return -ENOMEM;
	}
	hva = mmap(NULL, bytes * copies, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		   0);
	if (hva == MAP_FAILED) {
		return -ENOMEM;
	}
	for (unsigned int copy = 0; copy < copies && !err; copy++) {
		for (size_t i = 0; i < count && !err;) {
			size_t n = run_length(gfns, i, count);

			err = map_run(mem, hva + copy * bytes + i * MEM_PAGE_BYTES, gfns[i], n);
			i += n;
		}
	}
	if (err) {
		munmap(hva, bytes * copies);
		return err;
	}
	*ret = hva;
	return 0;
}

void mem_unmap_pages(void *hva, size_t count, unsigned int copies)
{
	if (hva) {
		munmap(hva, count * MEM_PAGE_BYTES * copies);
	}
}
