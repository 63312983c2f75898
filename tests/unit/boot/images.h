/* SPDX-License-Identifier: MIT */
/* Small kernels of our own making, and files in memory to keep them in. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot/boot.h"

#define IMAGE_SETUP_BYTES 1024U

static inline int file_of(const void *bytes, size_t count)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, count), count);
	return fd;
}

static inline struct mem *make_mem(uint64_t bytes)
{
	struct mem_config config = { .bytes = bytes };
	struct mem *mem;
	struct diag diag;

	assert_int_equal(mem_create(&config, &mem, &diag), 0);
	return mem;
}

/* The setup header of a bzImage whose protected-mode part has this many bytes. */
static inline void image_setup(uint8_t *image, size_t kernel_bytes)
{
	memset(image, 0, IMAGE_SETUP_BYTES);
	image[0x1f1] = 1; /* one sector of setup code beside the boot sector */
	bytes_put_le16(image + 0x1fe, 0xaa55);
	image[0x200] = 0xeb;
	image[0x201] = 0x66;
	memcpy(image + 0x202, "HdrS", 4);
	bytes_put_le16(image + 0x206, 0x020f);
	image[0x211] = 1;
	bytes_put_le32(image + 0x22c, 0x7fffffff);
	bytes_put_le32(image + 0x230, 0x200000);
	image[0x234] = 1;
	bytes_put_le16(image + 0x236, 3);
	bytes_put_le32(image + 0x238, 2047);
	bytes_put_le64(image + 0x258, 0x1000000);
	bytes_put_le32(image + 0x260, 0x100000);
}
