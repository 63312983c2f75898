/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot/acpi.h"
#include "boot/boot_internal.h"

/* read(2) takes no more than about 2 GiB at a time. */
#define READ_BYTES_MAX      (1ULL << 30)

#define MMIO_HIGH_ALIGN     GIB
#define MMIO_HIGH_BYTES_MAX (64 * GIB)

void boot_mmio_high(const struct mem *mem, unsigned int phys_bits, gpa_t *ret_gpa,
		    uint64_t *ret_bytes)
{
	const struct mem_range *ranges;
	size_t count = mem_ranges(mem, &ranges);
	uint64_t end = ranges[count - 1].gpa + ranges[count - 1].bytes;
	uint64_t base = num_align_up(num_max(end, MEM_HIGH_BASE), MMIO_HIGH_ALIGN);
	uint64_t limit = phys_bits >= 52 ? 1ULL << 52 : 1ULL << phys_bits;

	*ret_gpa = base;
	*ret_bytes = base < limit ? num_min(limit - base, MMIO_HIGH_BYTES_MAX) : 0;
}

/* ---- files ---- */

/* 0, -ENODATA when the file ends before, or an errno. */
static int read_all(int fd, uint64_t offset, uint8_t *buf, uint64_t bytes)
{
	while (bytes > 0) {
		ssize_t got = pread(fd, buf, num_min(bytes, READ_BYTES_MAX), (off_t)offset);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return -errno;
		}
		if (got == 0) {
			return -ENODATA;
		}
		buf += got;
		offset += (uint64_t)got;
		bytes -= (uint64_t)got;
	}
	return 0;
}

static int read_failed(struct loader *loader, const char *what, const char *name, int err)
{
	if (err == -ENODATA) {
		return diag_set(loader->reterr, -EINVAL, "%s %s is truncated", what, name);
	}
	return diag_set(loader->reterr, err, "%s %s cannot be read: %s", what, name,
			strerror(-err));
}

int loader_read(struct loader *loader, uint64_t offset, void *ret_buf, uint64_t bytes)
{
	const struct boot_config *config = loader->config;
	int err = -ENODATA;

	if (num_range_fits(offset, bytes, loader->kernel_bytes)) {
		err = read_all(config->kernel_fd, offset, ret_buf, bytes);
	}
	return err ? read_failed(loader, "kernel", config->kernel_name, err) : 0;
}

int loader_check_fits(struct loader *loader, gpa_t end)
{
	if (end <= loader->low_end) {
		return 0;
	}
	return diag_set(loader->reterr, -E2BIG,
			"kernel %s needs %llu MiB of memory to start, the partition has %llu",
			loader->config->kernel_name, (unsigned long long)((end + MIB - 1) / MIB),
			(unsigned long long)(loader->low_end / MIB));
}

int loader_read_guest(struct loader *loader, uint64_t offset, gpa_t gpa, uint64_t bytes)
{
	void *hva;

	if (bytes == 0) {
		return 0;
	}
	hva = mem_hva(loader->mem, gpa, bytes);
	if (!hva) {
		return loader_check_fits(loader, UINT64_MAX - MIB);
	}
	return loader_read(loader, offset, hva, bytes);
}

static int file_bytes(struct loader *loader, const char *what, int fd, const char *name,
		      uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		return read_failed(loader, what, name, -errno);
	}
	if (!S_ISREG(st.st_mode)) {
		return diag_set(loader->reterr, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				"%s %s is not a regular file", what, name);
	}
	*ret = (uint64_t)st.st_size;
	return 0;
}

int loader_initrd(struct loader *loader, gpa_t floor, gpa_t limit)
{
	const struct boot_config *config = loader->config;
	uint64_t bytes, end = num_align_down(num_min(limit, loader->low_end), MEM_PAGE_BYTES);
	gpa_t gpa;
	int err;

	loader->initrd_gpa = 0;
	loader->initrd_bytes = 0;
	if (config->initrd_fd < 0) {
		return 0;
	}
	err = file_bytes(loader, "initrd", config->initrd_fd, config->initrd_name, &bytes);
	if (err || bytes == 0) {
		return err;
	}
	if (end < floor || bytes > end - floor ||
	    num_align_down(end - bytes, MEM_PAGE_BYTES) < floor || bytes > UINT32_MAX) {
		return diag_set(loader->reterr, -E2BIG,
				"initrd %s (%llu MiB) does not fit beside the kernel in %llu MiB "
				"of memory; give the partition more",
				config->initrd_name, (unsigned long long)((bytes + MIB - 1) / MIB),
				(unsigned long long)(mem_bytes(loader->mem) / MIB));
	}
	gpa = num_align_down(end - bytes, MEM_PAGE_BYTES);
	err = read_all(config->initrd_fd, 0, mem_hva(loader->mem, gpa, bytes), bytes);
	if (err) {
		return read_failed(loader, "initrd", config->initrd_name, err);
	}
	loader->initrd_gpa = gpa;
	loader->initrd_bytes = bytes;
	return 0;
}

/* ---- the command line ---- */

static const char *loader_cmdline_text(const struct loader *loader)
{
	return loader->config->cmdline ? loader->config->cmdline : "";
}

int loader_cmdline(struct loader *loader, uint64_t limit)
{
	const char *text = loader_cmdline_text(loader);
	size_t bytes = strlen(text);

	limit = num_min(limit, BOOT_CMDLINE_BYTES_MAX - 1);
	if (bytes > limit) {
		return diag_set(loader->reterr, -EINVAL,
				"the kernel's command line has %zu bytes, this kernel takes %llu",
				bytes, (unsigned long long)limit);
	}
	return mem_write(loader->mem, LAYOUT_CMDLINE_GPA, text, bytes + 1);
}

bool loader_cmdline_has(const struct loader *loader, const char *word)
{
	const char *text = loader_cmdline_text(loader);
	size_t bytes = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at += bytes) {
		if ((at == text || at[-1] == ' ') && (at[bytes] == ' ' || at[bytes] == 0)) {
			return true;
		}
	}
	return false;
}

/* ---- loading ---- */

static int load_tables(struct loader *loader)
{
	const struct boot_config *config = loader->config;
	const struct acpi_config acpi = {
		.vps = config->vps,
		.mmio_high_gpa = config->mmio_high_gpa,
		.mmio_high_bytes = config->mmio_high_bytes,
		.pm_timer = config->pm_timer,
		.is_legacy = config->is_legacy,
		.has_vga = config->has_vga,
	};
	int err = acpi_build(loader->mem, &acpi, &loader->rsdp);

	if (!err) {
		err = smbios_build(loader->mem, config->identity);
	}
	if (err) {
		return diag_set(loader->reterr, err, "firmware tables for %u processors: %s",
				config->vps, strerror(-err));
	}
	return 0;
}

static int load_kernel(struct loader *loader, struct boot_entry *ret)
{
	const struct boot_config *config = loader->config;
	uint8_t head[LOADER_HEAD_BYTES] = { 0 };
	uint64_t bytes;
	int err;

	err = file_bytes(loader, "kernel", config->kernel_fd, config->kernel_name,
			 &loader->kernel_bytes);
	if (err) {
		return err;
	}
	bytes = num_min(sizeof(head), loader->kernel_bytes);
	err = loader_read(loader, 0, head, bytes);
	if (err) {
		return err;
	}
	if (memcmp(head, "\177ELF", 4) == 0) {
		return elf_load(loader, head, ret);
	}
	if (memcmp(head + 0x202, "HdrS", 4) == 0 && bytes_le16(head + 0x1fe) == 0xaa55) {
		return bzimage_load(loader, head, ret);
	}
	return diag_set(loader->reterr, -EINVAL,
			"%s is not a Linux kernel (neither a bzImage nor an ELF image)",
			config->kernel_name);
}

int boot_linux_load(const struct mem *mem, const struct boot_config *config, struct boot_entry *ret,
		    struct diag *reterr)
{
	const struct mem_range *ranges;
	struct loader loader = { .mem = mem, .config = config, .reterr = reterr };
	struct boot_entry entry;
	int err;

	check(config->vps > 0 && config->vps <= BOOT_VPS_MAX);
	mem_ranges(mem, &ranges);
	loader.low_end = ranges[0].bytes;
	err = load_tables(&loader);
	if (!err) {
		err = load_kernel(&loader, &entry);
	}
	if (!err) {
		*ret = entry;
	}
	return err;
}
