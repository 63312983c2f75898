/* SPDX-License-Identifier: MIT */
/*
 * VHDX: headers, region tables, metadata, block table. Input:
 *
 *   template and flags (1 byte), patches, operations        (fuzz/vhdx_file.h)
 *
 * Whatever the file is: it is refused with a sentence, or it is a disk, which opens again after it was
 * written to, and check has an opinion on it without an accident.
 */
#include "vhdx_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size), none = { 0 };
	struct image_report report = { 0 };
	struct diag diag = { "" };
	uint8_t flags = bytes_take_u8(&c);
	int err;

	file_setup();
	file_reset(flags);
	file_patch(&c);
	if (file_use(&c, flags & 4) && !(flags & 4)) {
		check(file_use(&none, true));
	}
	if (flags & 16) {
		return 0; /* examining goes through a real file, which takes its time */
	}
	err = (vhdx_image_ops.check)(file.path, flags & 8, &report, NULL, &diag);
	check(err <= 0 && (!err || diag.text[0]));
	return 0;
}
