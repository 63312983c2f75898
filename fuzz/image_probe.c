/* SPDX-License-Identifier: MIT */
/* Which format a file is of: the first byte chooses its name, the rest is the file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/num.h"
#include "block/image.h"
#include "block/utf16.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const suffixes[] = { "",      ".img", ".vhd", ".avhdx", ".qcow2",
					".vmdk", ".vdi", ".hdd", ".dmg",   ".VHDX" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[64], target[64], text[64];
	uint8_t wide[64];
	struct image_probe probe;
	struct diag diag;
	size_t bytes;
	int fd;

	if (size == 0) {
		return 0;
	}
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)size - 1) {
		abort();
	}
	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	snprintf(name, sizeof(name), "/tmp/fuzz-probe-%d%s", (int)getpid(),
		 suffixes[data[0] % ARRAY_SIZE(suffixes)]);
	unlink(name);
	if (symlink(target, name) == 0) {
		int err = image_probe(name, &probe, &diag);

		if (err > 0 || (!err && probe.kind == BLOCK_AUTO)) {
			abort();
		}
		unlink(name);
	}
	close(fd);

	/* The same bytes as text: what is UTF-16 comes back as it was. */
	if (utf16_to_utf8(data + 1, size - 1, data[0] & 1, text, sizeof(text)) == 0 &&
	    utf16_from_utf8(text, data[0] & 1, wide, sizeof(wide), &bytes) == 0) {
		for (size_t i = 0; i < bytes; i++) {
			if (wide[i] != data[1 + i]) {
				abort();
			}
		}
	}
	return 0;
}
