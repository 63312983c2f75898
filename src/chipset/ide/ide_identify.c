/* SPDX-License-Identifier: MIT */
/* IDENTIFY (PACKET) DEVICE: ATA/ATAPI-6 8.15, 8.16. */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/ide/ide_internal.h"

#define MULTIWORD_MODES 0x07U
#define ULTRA_MODES     0x3fU
#define CYLINDERS_MAX   16383U

/* Words 82 to 84, and what of them is on (85 to 87). Bit 14 says that a third word means something. */
#define VALID           0x4000U
#define WRITE_CACHE     0x0020U
#define LOOK_AHEAD      0x0040U
#define PACKET          0x0010U
#define RESETS          0x0200U
#define LBA48           0x0400U
#define FLUSHES         0x3000U /* FLUSH CACHE, FLUSH CACHE EXT */
#define FUA             0x0040U

uint32_t ide_cylinders(uint64_t sectors, uint32_t heads, uint32_t track_sectors)
{
	return (uint32_t)num_min(sectors / ((uint64_t)heads * track_sectors), CYLINDERS_MAX);
}

bool ide_mode_is_known(uint8_t mode)
{
	unsigned int number = mode & 7;

	switch (mode & ~7U) {
	case ATA_MODE_PIO_DEFAULT:
		return number <= 1;
	case ATA_MODE_PIO:
		return number <= 4;
	case ATA_MODE_MULTIWORD_DMA:
		return MULTIWORD_MODES & 1U << number;
	case ATA_MODE_ULTRA_DMA:
		return ULTRA_MODES & 1U << number;
	default:
		return false;
	}
}

static void put(uint8_t *data, unsigned int word, uint32_t value)
{
	bytes_put_le16(data + word * (size_t)2, (uint16_t)value);
}

/* Blanks to the end; the first of two characters is in the upper byte. */
static void put_text(uint8_t *data, unsigned int word, unsigned int bytes, const char *text)
{
	size_t length = strlen(text);

	for (unsigned int i = 0; i < bytes; i++) {
		data[word * 2 + (i ^ 1)] = i < length ? (uint8_t)text[i] : ' ';
	}
}

/* What both kinds have: modes, versions, names. */
static void put_common(const struct ide_channel *channel, unsigned int unit, uint8_t *data)
{
	const struct ide_drive *drive = &channel->drives[unit];
	uint32_t now = 0x100U << (drive->mode & 7);
	unsigned int kind = drive->mode & ~7U;

	put_text(data, ATA_ID_SERIAL, IDE_SERIAL_BYTES, drive->serial);
	put_text(data, ATA_ID_FIRMWARE, 8, "1.0");
	put_text(data, ATA_ID_MODEL, IDE_MODEL_BYTES, drive->model);
	put(data, ATA_ID_MULTIWORD_DMA,
	    MULTIWORD_MODES | (kind == ATA_MODE_MULTIWORD_DMA ? now : 0));
	put(data, ATA_ID_ULTRA_DMA, ULTRA_MODES | (kind == ATA_MODE_ULTRA_DMA ? now : 0));
	put(data, ATA_ID_PIO, 3);
	for (unsigned int i = 0; i < 4; i++) {
		put(data, ATA_ID_CYCLE_TIMES + i, 120); /* ns */
	}
	put(data, ATA_ID_VERSION, 0x00f0); /* ATA-4 to ATA-7 */
	/* A cable of 80 wires; who we are was set by a jumper; whether 0 answers for 1. */
	if (unit == 1) {
		put(data, ATA_ID_RESET_RESULT, 0x6b00);
	} else {
		put(data, ATA_ID_RESET_RESULT, channel->drives[1].is_attached ? 0x603bU : 0x604bU);
	}
}

static void put_sizes(const struct ide_drive *drive, uint8_t *data)
{
	uint32_t cylinders = ide_cylinders(drive->sectors, 16, 63);
	uint32_t now = ide_cylinders(drive->sectors, drive->heads, drive->track_sectors);
	const struct block_info *info = block_info(drive->block);
	uint32_t per_physical = info->physical_block_bytes / ATA_SECTOR_BYTES;

	put(data, ATA_ID_CYLINDERS, cylinders);
	put(data, ATA_ID_HEADS, 16);
	put(data, ATA_ID_SECTORS, 63);
	put(data, ATA_ID_NOW_CYLINDERS, now);
	put(data, ATA_ID_NOW_CYLINDERS + 1, drive->heads);
	put(data, ATA_ID_NOW_CYLINDERS + 2, drive->track_sectors);
	bytes_put_le32(&data[(ATA_ID_NOW_CYLINDERS + 3) * 2],
		       now * drive->heads * drive->track_sectors);
	bytes_put_le32(&data[ATA_ID_LBA28 * 2], (uint32_t)num_min(drive->sectors, ATA_SECTORS_28));
	bytes_put_le64(&data[ATA_ID_LBA48 * 2], drive->sectors);
	if (per_physical > 1 && num_is_power_of_2(per_physical)) {
		put(data, ATA_ID_SECTOR_SIZE, 0x6000U | (uint32_t)__builtin_ctz(per_physical));
	}
	put(data, ATA_ID_ROTATION, info->rotational ? 7200 : 1);
}

static void identify_disk(const struct ide_drive *drive, uint8_t *data)
{
	uint32_t cache =
		(drive->write_cache ? WRITE_CACHE : 0) | (drive->look_ahead ? LOOK_AHEAD : 0);

	put(data, ATA_ID_CONFIG, 0x0040); /* fixed */
	put(data, ATA_ID_MULTIPLE_MAX, 0x8000U | IDE_MULTIPLE_MAX);
	put(data, ATA_ID_CAPABILITIES, 0x0f00); /* IORDY, LBA, DMA */
	put(data, ATA_ID_CAPABILITIES + 1, VALID);
	put(data, ATA_ID_VALID, 0x0007);
	put(data, ATA_ID_MULTIPLE, drive->multiple ? 0x0100U | drive->multiple : 0);
	put(data, ATA_ID_SUPPORTED, WRITE_CACHE | LOOK_AHEAD);
	put(data, ATA_ID_SUPPORTED + 1, VALID | LBA48 | FLUSHES);
	put(data, ATA_ID_SUPPORTED + 2, VALID | FUA);
	put(data, ATA_ID_ENABLED, cache);
	put(data, ATA_ID_ENABLED + 1, LBA48 | FLUSHES);
	put(data, ATA_ID_ENABLED + 2, VALID | FUA);
	put_sizes(drive, data);
}

static void identify_dvd(uint8_t *data)
{
	put(data, ATA_ID_CONFIG, 0x85c0); /* a CD drive, removable, DRQ at once, CDBs of 12 bytes */
	put(data, ATA_ID_CAPABILITIES, 0x0f00);
	put(data, ATA_ID_VALID, 0x0006);
	put(data, ATA_ID_SUPPORTED, PACKET | RESETS);
	put(data, ATA_ID_SUPPORTED + 1, VALID);
	put(data, ATA_ID_SUPPORTED + 2, VALID);
	put(data, ATA_ID_ENABLED, PACKET | RESETS);
	put(data, ATA_ID_ENABLED + 2, VALID);
}

void ide_identify(struct ide_channel *channel, unsigned int unit, uint8_t *ret_data)
{
	const struct ide_drive *drive = &channel->drives[unit];
	uint8_t sum = 0;

	memset(ret_data, 0, ATA_SECTOR_BYTES);
	put_common(channel, unit, ret_data);
	if (drive->kind == IDE_DVD) {
		identify_dvd(ret_data);
	} else {
		identify_disk(drive, ret_data);
	}
	ret_data[ATA_ID_CHECKSUM * 2] = 0xa5;
	for (unsigned int i = 0; i < ATA_SECTOR_BYTES - 1; i++) {
		sum = (uint8_t)(sum + ret_data[i]);
	}
	ret_data[ATA_SECTOR_BYTES - 1] = (uint8_t)-sum;
}
