/* SPDX-License-Identifier: MIT */
/*
 * The input is a kernel's file (its first byte says how it is loaded), and once more the RAM disk.
 * Memory is small, so that much does not fit.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mem_config mem_config = { .bytes = MEM_BYTES_MIN };
	struct boot_entry entry;
	struct diag diag;
	struct mem *mem;
	int fd;

	if (size == 0) {
		return 0;
	}
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
	check(mem_create(&mem_config, &mem, &diag) == 0);

	const struct boot_config config = {
		.kernel_fd = fd,
		.kernel_name = "kernel",
		.initrd_fd = data[0] & 1 ? fd : -1,
		.initrd_name = "initrd",
		.cmdline = data[0] & 2 ? "nokaslr" : "quiet",
		.vps = 1U + (data[0] >> 4),
		.fast_unpack = data[0] & 4,
	};

	if (boot_linux_load(mem, &config, &entry, &diag) == 0) {
		check(mem_hva(mem, entry.rip, 1));
	}
	mem_destroy(mem);
	close(fd);
	return 0;
}
