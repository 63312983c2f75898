/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "boot/acpi.h"

#define ENTRY_BYTES               24U
#define TABLE_OFFSET              32U
#define BIOS_BYTES                24U /* type 0 */
#define SYSTEM_BYTES              27U /* type 1 */
#define END_BYTES                 4U  /* type 127 */

#define BIOS_CHARACTERISTICS_NONE (1ULL << 3)
#define BIOS_IS_VIRTUAL_MACHINE   (1U << 4) /* second extension byte */
#define SYSTEM_WAKE_POWER_SWITCH  6U

/* Strings of a structure, in the order of their numbers; each ends in a zero, the list in another. */
static const char bios_strings[] = "Tabique\0"
				   "1\0"
				   "01/01/2026\0";
/* Manufacturer, product, version. */
static const struct {
	const char *text;
	size_t bytes;
} system_strings[] = {
#define STRINGS(text)                                                                              \
	{                                                                                          \
		text, sizeof(text)                                                                 \
	}
	[SMBIOS_TABIQUE] = STRINGS("Tabique\0Virtual Machine\0001\0"),
	[SMBIOS_HYPER_V] = STRINGS("Microsoft Corporation\0Virtual Machine\0Tabique\0"),
	[SMBIOS_VIRTUAL_SERVER] = STRINGS("Microsoft Corporation\0Virtual Machine\0VS2005R2\0"),
#undef STRINGS
};

static size_t put(uint8_t *table, size_t at, const uint8_t *body, size_t body_bytes,
		  const char *strings, size_t strings_bytes)
{
	memcpy(table + at, body, body_bytes);
	memcpy(table + at + body_bytes, strings, strings_bytes);
	return at + body_bytes + strings_bytes;
}

int smbios_build(const struct mem *mem, enum smbios_identity identity)
{
	uint8_t area[512] = { 0 }, *table = area + TABLE_OFFSET, sum = 0;
	uint8_t bios[BIOS_BYTES] = { 0, BIOS_BYTES, 0, 0, 1, 2, 0x00, 0xf0, 3 };
	uint8_t system[SYSTEM_BYTES] = { 1, SYSTEM_BYTES, 1, 0, 1, 2, 3 };
	const uint8_t end[END_BYTES] = { 127, END_BYTES, 2, 0 };
	size_t bytes = 0;

	bytes_put_le64(bios + 10, BIOS_CHARACTERISTICS_NONE);
	bios[19] = BIOS_IS_VIRTUAL_MACHINE;
	bios[22] = 0xff; /* no embedded controller */
	bios[23] = 0xff;
	system[24] = SYSTEM_WAKE_POWER_SWITCH;
	bytes = put(table, bytes, bios, sizeof(bios), bios_strings, sizeof(bios_strings));
	bytes = put(table, bytes, system, sizeof(system), system_strings[identity].text,
		    system_strings[identity].bytes);
	bytes = put(table, bytes, end, sizeof(end), "\0", 2);

	memcpy(area, "_SM3_", 5);
	area[6] = ENTRY_BYTES;
	area[7] = 3; /* version 3.2 */
	area[8] = 2;
	area[10] = 1; /* entry point revision */
	bytes_put_le32(area + 12, (uint32_t)bytes);
	bytes_put_le64(area + 16, SMBIOS_AREA_GPA + TABLE_OFFSET);
	for (size_t i = 0; i < ENTRY_BYTES; i++) {
		sum = (uint8_t)(sum + area[i]);
	}
	area[5] = (uint8_t)-sum;
	return mem_write(mem, SMBIOS_AREA_GPA, area, TABLE_OFFSET + bytes);
}

#define ANCHOR_2_8_MINOR   8
#define INTERMEDIATE_BYTES 15U

/*
 * The anchor of SMBIOS 2.8 (5.2.1); firmware puts the tables' address in, and the checksums, which it
 * makes anew (SeaBIOS' src/fw/biostables.c).
 */
void smbios_build_firmware(enum smbios_identity identity, struct smbios_firmware *ret)
{
	uint8_t system[SYSTEM_BYTES] = { 1, SYSTEM_BYTES, 0, 1, 1, 2, 3 };
	const uint8_t end[END_BYTES] = { 127, END_BYTES, 0, 2 };
	uint8_t *anchor = ret->anchor;
	size_t bytes = 0;

	memset(ret, 0, sizeof(*ret));
	system[24] = SYSTEM_WAKE_POWER_SWITCH;
	bytes = put(ret->tables, bytes, system, sizeof(system), system_strings[identity].text,
		    system_strings[identity].bytes);
	bytes = put(ret->tables, bytes, end, sizeof(end), "\0", 2);
	ret->tables_bytes = (uint32_t)bytes;

	memcpy(anchor, "_SM_", 4);
	anchor[5] = SMBIOS_ANCHOR_BYTES;
	anchor[6] = 2;
	anchor[7] = ANCHOR_2_8_MINOR;
	bytes_put_le16(anchor + 8, (uint16_t)(sizeof(system) +
					      system_strings[identity].bytes)); /* the largest */
	memcpy(anchor + 16, "_DMI_", 5);
	bytes_put_le16(anchor + 22, (uint16_t)bytes);
	bytes_put_le16(anchor + 28, 2); /* structures */
	anchor[30] = 2 << 4 | ANCHOR_2_8_MINOR;
	for (size_t i = SMBIOS_ANCHOR_BYTES - INTERMEDIATE_BYTES; i < SMBIOS_ANCHOR_BYTES; i++) {
		anchor[21] = (uint8_t)(anchor[21] - (i == 21 ? 0 : anchor[i]));
	}
	for (size_t i = 0; i < SMBIOS_ANCHOR_BYTES; i++) {
		anchor[4] = (uint8_t)(anchor[4] - (i == 4 ? 0 : anchor[i]));
	}
}
