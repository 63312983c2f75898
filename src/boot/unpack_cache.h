/* SPDX-License-Identifier: MIT */
/*
 * Decompressed kernels, kept between starts: decompressing Debian's generic kernel costs more than
 * all the rest of a start. One file per kernel in a directory of the user's; its name says which
 * file it came from (device, inode, size, time of change) and how large it is. A file is written
 * under another name first, so that one that is there is whole. Whoever may write the directory
 * decides what guests boot, as with the kernel itself: it must belong to us and to nobody else.
 *
 *   owner   none: only functions    thread  any one
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/*
 * Maps the decompressed form of the kernel behind kernel_fd, of exactly `bytes`, for reading. 0;
 * -ENOENT when it is not there or not to be trusted. Release with munmap(*ret, bytes).
 */
MUST_CHECK int unpack_cache_map(const char *dir, int kernel_fd, size_t bytes, uint8_t **ret);

/* Keeps it; what cannot be kept is made again next time, so nobody is told. */
void unpack_cache_store(const char *dir, int kernel_fd, const uint8_t *image, size_t bytes);
