/* SPDX-License-Identifier: MIT */
#include "console/png.h"

#include <errno.h>
#include <limits.h>
#include <libpng16/png.h> /* <png.h> is that one, and ours too */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"

#define BYTES_PER_PIXEL 3U

/* Bytes red, green, blue: PNG has no form of four bytes without transparency. NULL without memory. */
static uint8_t *pack(const struct picture *picture)
{
	size_t count = (size_t)picture->width * picture->height;
	uint8_t *bytes = fault_alloc(count, BYTES_PER_PIXEL);

	for (size_t i = 0; bytes && i < count; i++) {
		uint32_t pixel = picture->pixels[i];

		bytes[BYTES_PER_PIXEL * i] = (uint8_t)(pixel >> 16);
		bytes[BYTES_PER_PIXEL * i + 1] = (uint8_t)(pixel >> 8);
		bytes[BYTES_PER_PIXEL * i + 2] = (uint8_t)pixel;
	}
	return bytes;
}

static int write_file(const struct picture *picture, const uint8_t *bytes, const char *path,
		      struct diag *reterr)
{
	png_image image = { .version = PNG_IMAGE_VERSION,
			    .width = picture->width,
			    .height = picture->height,
			    .format = PNG_FORMAT_RGB };
	FILE *file = fopen(path, "wb");
	int err = 0;

	if (!file) {
		err = -errno;
		return diag_set(reterr, err, "%s: cannot be written: %s", path, strerror(-err));
	}
	if (!png_image_write_to_stdio(&image, file, 0, bytes, 0, NULL)) {
		err = diag_set(reterr, -EIO, "%s: cannot be written: %s", path, image.message);
	}
	if (fclose(file) && err == 0) {
		err = -errno;
		diag_set(reterr, err, "%s: cannot be written: %s", path, strerror(-err));
	}
	return err;
}

int png_save(const struct picture *picture, const char *path, struct diag *reterr)
{
	char part[PATH_MAX];
	uint8_t *bytes;
	int err;

	if (picture->width == 0 || picture->height == 0) {
		return diag_set(reterr, -EINVAL, "%s: there is no picture yet", path);
	}
	if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part)) {
		return diag_set(reterr, -ENAMETOOLONG,
				"the name of the picture's file is too long");
	}
	bytes = pack(picture);
	if (!bytes) {
		return diag_set(reterr, -ENOMEM, "%s: no memory for the picture", path);
	}
	err = write_file(picture, bytes, part, reterr);
	free(bytes);
	if (err == 0 && rename(part, path)) {
		err = -errno;
		diag_set(reterr, err, "%s: cannot be written: %s", path, strerror(-err));
	}
	if (err) {
		unlink(part);
	}
	return err;
}
