/* SPDX-License-Identifier: MIT */
/*
 * The expansion ROM: a VGA BIOS of somebody else's, made to fit this chip.
 *
 *   spec    PCI Local Bus 2.1: 6.3 (expansion ROMs)
 */
#include "chipset/s3/s3_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"

#define ROM_UNIT       512U
#define ROM_SIZE       2U    /* in units */
#define ROM_PCIR       0x18U /* where the PCI data structure is */
#define PCIR_BYTES     24U
#define PCIR_VENDOR    4U
#define PCIR_DEVICE    6U
#define PCIR_CODE_TYPE 20U
#define PCIR_RESERVED  22U /* free: the checksum is made right here */

static int find_pcir(const uint8_t *rom, size_t bytes, uint32_t *ret, struct diag *reterr)
{
	uint32_t at;

	if (bytes > S3_ROM_BYTES) {
		return diag_set(reterr, -EFBIG,
				"VGA BIOS: %zu bytes; an expansion ROM of this card has 65536",
				bytes);
	}
	if (bytes < ROM_UNIT || rom[0] != 0x55 || rom[1] != 0xaa ||
	    rom[ROM_SIZE] * ROM_UNIT > bytes || rom[ROM_SIZE] == 0) {
		return diag_set(reterr, -EINVAL,
				"VGA BIOS: this is no expansion ROM; Debian's is "
				"/usr/share/seabios/vgabios-stdvga.bin");
	}
	at = bytes_le16(rom + ROM_PCIR);
	if (!num_range_fits(at, PCIR_BYTES, rom[ROM_SIZE] * ROM_UNIT) ||
	    memcmp(rom + at, "PCIR", 4) != 0 || rom[at + PCIR_CODE_TYPE] != 0) {
		return diag_set(reterr, -EINVAL,
				"VGA BIOS: no PCI data structure for x86 in it; Debian's "
				"/usr/share/seabios/vgabios-stdvga.bin has one");
	}
	*ret = at;
	return 0;
}

int s3_check_rom(const void *rom, size_t rom_bytes, struct diag *reterr)
{
	uint32_t pcir;

	return find_pcir(rom, rom_bytes, &pcir, reterr);
}

/* A BIOS runs only a ROM whose ids are the chip's and whose bytes add up to nothing. */
static void adapt(uint8_t *rom, uint32_t pcir)
{
	uint8_t sum = 0;

	rom[pcir + PCIR_VENDOR] = S3_VENDOR & 0xff;
	rom[pcir + PCIR_VENDOR + 1] = S3_VENDOR >> 8;
	rom[pcir + PCIR_DEVICE] = S3_DEVICE_TRIO64 & 0xff;
	rom[pcir + PCIR_DEVICE + 1] = S3_DEVICE_TRIO64 >> 8;
	for (uint32_t i = 0; i < rom[ROM_SIZE] * ROM_UNIT; i++) {
		sum = (uint8_t)(sum + rom[i]);
	}
	rom[pcir + PCIR_RESERVED] = (uint8_t)(rom[pcir + PCIR_RESERVED] - sum);
}

int s3_rom_take(struct s3 *s3, const void *rom, size_t bytes, struct diag *reterr)
{
	uint32_t pcir = 0;
	int err = find_pcir(rom, bytes, &pcir, reterr);

	if (err) {
		return err;
	}
	s3->rom = fault_alloc(1, S3_ROM_BYTES);
	if (!s3->rom) {
		return diag_set(reterr, -ENOMEM, "VGA BIOS: no memory");
	}
	memcpy(s3->rom, rom, bytes);
	memset(s3->rom + bytes, 0xff, S3_ROM_BYTES - bytes);
	adapt(s3->rom, pcir);
	return 0;
}
