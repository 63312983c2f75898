/* SPDX-License-Identifier: MIT */
/*
 * Linux' x86 boot protocol, from its 64-bit entry point on. All offsets are those of boot.rst and
 * zero-page.rst: in the file and in struct boot_params the setup header is at the same place.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot/boot_internal.h"

#define BP_ACPI_RSDP        0x070
#define BP_EXT_INITRD       0x0c0
#define BP_EXT_INITRD_LEN   0x0c4
#define BP_E820_COUNT       0x1e8
#define BP_E820             0x2d0
#define BP_BYTES            4096U
#define E820_BYTES          20U

#define HDR_START           0x1f1
#define HDR_SETUP_SECTS     0x1f1
#define HDR_JUMP_LENGTH     0x201
#define HDR_VERSION         0x206
#define HDR_LOADER          0x210
#define HDR_LOADFLAGS       0x211
#define HDR_INITRD          0x218
#define HDR_INITRD_LEN      0x21c
#define HDR_CMDLINE         0x228
#define HDR_INITRD_MAX      0x22c
#define HDR_XLOADFLAGS      0x236
#define HDR_CMDLINE_SIZE    0x238
#define HDR_PAYLOAD         0x248
#define HDR_PAYLOAD_LENGTH  0x24c
#define HDR_PREF_ADDRESS    0x258
#define HDR_INIT_SIZE       0x260
#define HDR_END_MAX         0x290

#define VERSION_MIN         0x020cU /* xloadflags: the 64-bit entry point (Linux 3.8) */
#define LOADED_HIGH         0x01U
#define KASLR_FLAG          0x02U
#define XLF_KERNEL_64       0x01U
#define LOADER_UNREGISTERED 0xffU
#define ENTRY_64            0x200U
#define SECTOR_BYTES        512U

struct image {
	uint64_t kernel_offset, kernel_bytes; /* the protected-mode part, in the file */
	uint64_t payload_offset, payload_bytes;
	gpa_t load_gpa;
	uint64_t init_bytes;
	uint64_t initrd_limit; /* first address behind */
	uint32_t cmdline_bytes;
};

static int image_parse(struct loader *loader, const uint8_t *head, struct image *ret)
{
	const char *name = loader->config->kernel_name;
	uint16_t version = bytes_le16(head + HDR_VERSION);
	uint64_t sectors = head[HDR_SETUP_SECTS] ? head[HDR_SETUP_SECTS] : 4;
	struct image image = { 0 };

	if (version < VERSION_MIN || !(head[HDR_LOADFLAGS] & LOADED_HIGH) ||
	    !(bytes_le16(head + HDR_XLOADFLAGS) & XLF_KERNEL_64)) {
		return diag_set(loader->reterr, -EINVAL,
				"kernel %s has no 64-bit entry point (boot protocol %u.%02u): "
				"a 64-bit Linux 3.8 or later is needed",
				name, version >> 8, version & 0xffU);
	}
	image.kernel_offset = (sectors + 1) * SECTOR_BYTES;
	if (loader->kernel_bytes <= image.kernel_offset + ENTRY_64) {
		return diag_set(loader->reterr, -EINVAL, "kernel %s is truncated", name);
	}
	image.kernel_bytes = loader->kernel_bytes - image.kernel_offset;
	image.payload_offset = bytes_le32(head + HDR_PAYLOAD);
	image.payload_bytes = bytes_le32(head + HDR_PAYLOAD_LENGTH);
	if (!num_range_fits(image.payload_offset, image.payload_bytes, image.kernel_bytes)) {
		return diag_set(loader->reterr, -EINVAL, "kernel %s is truncated", name);
	}
	image.load_gpa = bytes_le64(head + HDR_PREF_ADDRESS);
	image.init_bytes = num_max(bytes_le32(head + HDR_INIT_SIZE), image.kernel_bytes);
	image.initrd_limit = bytes_le32(head + HDR_INITRD_MAX) + 1ULL;
	image.cmdline_bytes = bytes_le32(head + HDR_CMDLINE_SIZE);
	if (image.load_gpa < LAYOUT_HIGH_START || image.load_gpa >= MEM_HIGH_BASE) {
		return diag_set(loader->reterr, -EINVAL,
				"kernel %s wants to be loaded at 0x%llx, where it cannot be", name,
				(unsigned long long)image.load_gpa);
	}
	*ret = image;
	return 0;
}

static int build_boot_params(struct loader *loader, const uint8_t *head, bool kaslr)
{
	uint8_t params[BP_BYTES] = { 0 };
	size_t header_end = num_min(0x202U + head[HDR_JUMP_LENGTH], HDR_END_MAX);
	struct layout_map map;

	if (header_end > HDR_START) {
		memcpy(params + HDR_START, head + HDR_START, header_end - HDR_START);
	}
	params[HDR_LOADER] = LOADER_UNREGISTERED;
	params[HDR_LOADFLAGS] &= (uint8_t)~KASLR_FLAG;
	params[HDR_LOADFLAGS] |= kaslr ? KASLR_FLAG : 0;
	bytes_put_le32(params + HDR_CMDLINE, (uint32_t)LAYOUT_CMDLINE_GPA);
	bytes_put_le32(params + HDR_INITRD, (uint32_t)loader->initrd_gpa);
	bytes_put_le32(params + HDR_INITRD_LEN, (uint32_t)loader->initrd_bytes);
	bytes_put_le32(params + BP_EXT_INITRD, (uint32_t)(loader->initrd_gpa >> 32));
	bytes_put_le32(params + BP_EXT_INITRD_LEN, (uint32_t)(loader->initrd_bytes >> 32));
	bytes_put_le64(params + BP_ACPI_RSDP, loader->rsdp);

	layout_map_build(loader->mem, &map);
	params[BP_E820_COUNT] = (uint8_t)map.count;
	for (uint32_t i = 0; i < map.count; i++) {
		uint8_t *entry = params + BP_E820 + (size_t)i * E820_BYTES;

		bytes_put_le64(entry, map.entries[i].gpa);
		bytes_put_le64(entry + 8, map.entries[i].bytes);
		bytes_put_le32(entry + 16, map.entries[i].type);
	}
	return mem_write(loader->mem, LAYOUT_BOOT_PARAMS_GPA, params, sizeof(params));
}

/* The fast way; -ENOEXEC: take the other. */
static int image_unpack(struct loader *loader, const struct image *image, struct unpack_result *ret)
{
	const struct unpack_request request = {
		.offset = image->kernel_offset + image->payload_offset,
		.bytes = image->payload_bytes,
		.load_gpa = image->load_gpa,
		.randomize = !loader_cmdline_has(loader, "nokaslr"),
	};

	if (!loader->config->fast_unpack) {
		return -ENOEXEC;
	}
	return unpack_kernel(loader, &request, ret);
}

/* The ordinary way: the guest decompresses itself. */
static int image_load(struct loader *loader, const struct image *image, struct unpack_result *ret)
{
	gpa_t end = image->load_gpa + image->init_bytes;
	int err = loader_check_fits(loader, end);

	if (!err) {
		err = loader_read_guest(loader, image->kernel_offset, image->load_gpa,
					image->kernel_bytes);
	}
	if (!err) {
		*ret = (struct unpack_result){ .entry = image->load_gpa + ENTRY_64, .end = end };
	}
	return err;
}

int bzimage_load(struct loader *loader, const uint8_t *head, struct boot_entry *ret)
{
	struct unpack_result placed = { 0 };
	struct image image = { 0 };
	bool unpacked;
	int err;

	err = image_parse(loader, head, &image);
	if (!err) {
		err = loader_cmdline(loader, image.cmdline_bytes);
	}
	if (err) {
		return err;
	}
	err = image_unpack(loader, &image, &placed);
	unpacked = err == 0;
	if (err == -ENOEXEC) {
		err = image_load(loader, &image, &placed);
	}
	if (!err) {
		err = loader_initrd(loader, num_align_up(placed.end, MEM_PAGE_BYTES),
				    image.initrd_limit);
	}
	if (!err) {
		err = build_boot_params(loader, head, placed.randomized);
	}
	if (!err) {
		err = layout_entry(loader->mem, BOOT_LONG64, ret);
	}
	if (!err) {
		ret->rip = placed.entry;
		ret->rsi = LAYOUT_BOOT_PARAMS_GPA;
		ret->unpacked = unpacked;
	}
	return err;
}
