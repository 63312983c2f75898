/* SPDX-License-Identifier: MIT */
/* A DVD drive: what it tells of itself and its disc, its tray, its lock, its events. */
#include "scsi_rig.h"

static unsigned int ejects;

static void on_eject(void *ctx)
{
	(*(unsigned int *)ctx)++;
}

static const struct scsi_disk_config drive = {
	.type = SCSI_DVD,
	.serial = "DVD-1",
	.on_eject = on_eject,
	.on_eject_ctx = &ejects,
};

static int setup_cd(void **state)
{
	ejects = 0;
	create_unit(full_info, drive);
	return 0;
}

static int setup_dvd(void **state)
{
	struct block_info info = full_info;

	ejects = 0;
	info.bytes = 4ULL << 30;
	create_unit(info, drive);
	return 0;
}

static int setup_huge(void **state)
{
	struct block_info info = full_info;

	info.bytes = 16ULL << 40;
	create_unit(info, drive);
	return 0;
}

static void expect_no_medium(uint16_t asc)
{
	READY();
	expect_sense(SCSI_KEY_NOT_READY, asc);
	RUN(2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_NOT_READY, asc);
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_sense(SCSI_KEY_NOT_READY, asc);
	RUN(64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0);
	expect_sense(SCSI_KEY_NOT_READY, asc);
}

/* The next event's code; status: door and medium. */
static void expect_event(uint8_t code, uint8_t status)
{
	RUN(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0);
	expect_good(8);
	assert_int_equal(bytes_be16(buf), 6);
	assert_int_equal(buf[2], 4);
	assert_int_equal(buf[3], 0x10);
	assert_int_equal(buf[4], code);
	assert_int_equal(buf[5], status);
}

static void set_medium(void)
{
	struct diag diag;

	detach();
	assert_int_equal(scsi_disk_set_medium(disk, &spy.block.info, &diag), 0);
}

static void clear_medium(void)
{
	detach();
	scsi_disk_clear_medium(disk);
}

/* ---- the drive ---------------------------------------------------------------------------------- */

static void inquiry_tells_of_a_drive(void **state)
{
	static const uint8_t pages[] = { 0, 0x80, 0x83 };

	RUN(96, 0x12, 0, 0, 0, 96, 0);
	expect_good(36);
	assert_int_equal(buf[0], 5);
	assert_int_equal(buf[1], 0x80);
	assert_memory_equal(&buf[8], "Msft    Virtual DVD-ROM 1.0 ", 28);
	RUN(255, 0x12, 1, 0, 0, 255, 0);
	expect_good(4 + sizeof(pages));
	assert_int_equal(buf[0], 5); /* each page begins with the type */
	assert_memory_equal(&buf[4], pages, sizeof(pages));
	RUN(255, 0x12, 1, 0x80, 0, 255, 0);
	assert_memory_equal(&buf[4], "DVD-1", 5);
	RUN(255, 0x12, 1, 0xb0, 0, 255, 0);
	expect_bad_cdb(2, -1);
}

static void blocks_have_2048_bytes(void **state)
{
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_good(8);
	assert_int_equal(bytes_be32(buf), 511);
	assert_int_equal(bytes_be32(&buf[4]), 2048);
	RUN(4096, 0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0);
	expect_good(4096);
	assert_int_equal(spy.last.offset_bytes, 3 * 2048);
	assert_int_equal(spy.last.length_bytes, 4096);
	RUN(2048, 0xa8, 0, 0, 0, 1, 0xff, 0, 0, 0, 1, 0, 0);
	expect_good(2048);
	RUN(2048, 0x28, 0, 0, 0, 2, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	RUN(0, 0x2b, 0, 0, 0, 1, 0xff, 0, 0, 0, 0);
	expect_good(0);
	RUN(0, 0x2b, 0, 0, 0, 2, 0, 0, 0, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

/* The block itself could be written. */
static void writes_are_refused(void **state)
{
	RUN(2048, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	RUN(2048, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0);
	expect_sense(SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	RUN(2048, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	RUN(24, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	RUN(0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* nothing to write back */
	expect_good(0);
	assert_int_equal(spy.requests, 0);
}

static void modes_are_a_drives(void **state)
{
	RUN(255, 0x5a, 8, 0x2a, 0, 0, 0, 0, 0, 255, 0);
	expect_good(8 + 20);
	assert_int_equal(bytes_be16(&buf[6]), 0);
	assert_int_equal(buf[8], 0x2a);
	assert_int_equal(buf[8 + 2] & 0x08, 0x08); /* reads DVDs */
	assert_int_equal(buf[8 + 3], 0);           /* writes nothing */
	assert_int_equal(buf[8 + 6], 0x29);        /* a tray, ejects, locks */
	RUN(0, 0x1e, 0, 0, 0, 1, 0);
	RUN(255, 0x5a, 8, 0x2a, 0, 0, 0, 0, 0, 255, 0);
	assert_int_equal(buf[8 + 6], 0x2b); /* locked */
	RUN(255, 0x1a, 0, 0x3f, 0, 255, 0);
	expect_good(4 + 12 + 12 + 20);
	assert_int_equal(buf[3], 0);
	RUN(255, 0x1a, 0, 8, 0, 255, 0);
	expect_bad_cdb(2, 5);
}

static void features_follow_the_disc(void **state)
{
	RUN(255, 0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0);
	assert_int_equal(bytes_be32(buf), request.transferred_bytes - 4);
	assert_int_equal(bytes_be16(&buf[6]), 0x10);
	assert_int_equal(bytes_be16(&buf[8]), 0); /* the list of profiles */
	assert_int_equal(buf[10], 3);
	assert_int_equal(buf[14], 1); /* DVD-ROM, now */
	assert_int_equal(buf[18], 0);
	RUN(255, 0x46, 2, 0, 0x1e, 0, 0, 0, 0, 255, 0); /* one: CD read */
	expect_good(8 + 8);
	assert_int_equal(buf[10] & 1, 0);
	RUN(255, 0x46, 2, 0, 0x1f, 0, 0, 0, 0, 255, 0);
	expect_good(8 + 8);
	assert_int_equal(buf[10] & 1, 1);
	RUN(255, 0x46, 1, 0, 0x10, 0, 0, 0, 0, 255, 0); /* current ones from there */
	assert_int_equal(bytes_be16(&buf[8]), 0x10);
	assert_int_equal(bytes_be16(&buf[20]), 0x1f);
	RUN(255, 0x46, 2, 0x12, 0x34, 0, 0, 0, 0, 255, 0); /* none such */
	expect_good(8);
	RUN(255, 0x46, 3, 0, 0, 0, 0, 0, 0, 255, 0);
	expect_bad_cdb(1, 1);
	clear_medium();
	RUN(255, 0x46, 2, 0, 0x10, 0, 0, 0, 0, 255, 0);
	assert_int_equal(bytes_be16(&buf[6]), 0);
	assert_int_equal(buf[10] & 1, 0);
}

static void small_disc_is_a_cd(void **state)
{
	RUN(255, 0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0);
	assert_int_equal(bytes_be16(&buf[6]), 0x08);
	assert_int_equal(buf[14], 0);
	assert_int_equal(buf[18], 1);
	RUN(100, 0xad, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INCOMPATIBLE_FORMAT);
}

static void other_commands_of_a_drive(void **state)
{
	RUN(0, 0xbb, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0);
	expect_good(0);
	RUN(8, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	expect_good(8);
	assert_int_equal(buf[1], 0);
	RUN(0, 0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0);
	expect_good(0);
	RUN(2048, 0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_bad_cdb(1, 2);
	RUN(1024, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0);
	assert_int_equal(request.status, 0);
	assert_int_equal(bytes_be32(buf) % 8, 0);
	RUN(64, 0xa3, 0x0c, 1, 0xbe, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(4 + 12);
	RUN(64, 0xa3, 0x0c, 1, 0x42, 0, 0, 0, 0, 0, 64, 0, 0);
	assert_int_equal(buf[1], 1);
	RUN(12, 0x23, 0, 0, 0, 0, 0, 0, 0, 12, 0);
	expect_good(12);
	assert_int_equal(bytes_be32(&buf[4]), 512);
	assert_int_equal(bytes_be32(&buf[8]), 0x02000800);
}

/* ---- the disc ----------------------------------------------------------------------------------- */

static void table_of_contents_has_one_track(void **state)
{
	static const uint8_t lba[] = { 0, 18, 1, 1,    0,    0x14, 1, 0, 0, 0,
				       0, 0,  0, 0x14, 0xaa, 0,    0, 0, 2, 0 };
	static const uint8_t msf[] = { 0, 18, 1, 1,    0,    0x14, 1, 0, 0, 0,
				       2, 0,  0, 0x14, 0xaa, 0,    0, 0, 8, 62 };

	RUN(64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0);
	expect_good(sizeof(lba));
	assert_memory_equal(buf, lba, sizeof(lba));
	RUN(64, 0x43, 2, 0, 0, 0, 0, 1, 0, 64, 0);
	expect_good(sizeof(msf));
	assert_memory_equal(buf, msf, sizeof(msf));
	RUN(64, 0x43, 0, 0, 0, 0, 0, 0xaa, 0, 64, 0); /* the lead-out alone */
	expect_good(12);
	assert_int_equal(buf[6], 0xaa);
	RUN(64, 0x43, 0, 0, 0, 0, 0, 2, 0, 64, 0);
	expect_bad_cdb(6, -1);
	RUN(64, 0x43, 0, 3, 0, 0, 0, 0, 0, 64, 0);
	expect_bad_cdb(2, 3);
	RUN(64, 0x43, 0, 0, 0, 0, 0, 0, 0, 4, 0); /* the head alone */
	expect_good(4);
}

static void table_of_contents_has_one_session(void **state)
{
	static const uint8_t first[] = { 0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0 };

	RUN(64, 0x43, 0, 1, 0, 0, 0, 0, 0, 64, 0);
	expect_good(sizeof(first));
	assert_memory_equal(buf, first, sizeof(first));
	RUN(64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0x40); /* as Linux asks */
	expect_good(sizeof(first));
	assert_memory_equal(buf, first, sizeof(first));
	RUN(64, 0x43, 0, 2, 0, 0, 0, 0, 0, 64, 0);
	expect_good(4 + 4 * 11);
	assert_int_equal(buf[4 + 3], 0xa0);
	assert_int_equal(buf[4 + 8], 1);
	assert_int_equal(buf[15 + 3], 0xa1);
	assert_int_equal(buf[26 + 3], 0xa2);
	assert_int_equal(buf[26 + 9], 8);
	assert_int_equal(buf[26 + 10], 62);
	assert_int_equal(buf[37 + 3], 1);
	assert_int_equal(buf[37 + 9], 2);
}

static void disc_and_track_are_told(void **state)
{
	RUN(34, 0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0);
	expect_good(34);
	assert_int_equal(bytes_be16(buf), 32);
	assert_int_equal(buf[2], 0x0e);
	RUN(34, 0x51, 1, 0, 0, 0, 0, 0, 0, 34, 0);
	expect_bad_cdb(1, 2);
	RUN(36, 0x52, 1, 0, 0, 0, 1, 0, 0, 36, 0);
	expect_good(36);
	assert_int_equal(bytes_be32(&buf[8]), 0);
	assert_int_equal(bytes_be32(&buf[24]), 512);
	RUN(36, 0x52, 0, 0, 0, 1, 0xff, 0, 0, 36, 0);
	expect_good(36);
	RUN(36, 0x52, 0, 0, 0, 2, 0, 0, 0, 36, 0);
	expect_bad_cdb(2, -1);
	RUN(36, 0x52, 1, 0, 0, 0, 2, 0, 0, 36, 0);
	expect_bad_cdb(2, -1);
	RUN(36, 0x52, 3, 0, 0, 0, 1, 0, 0, 36, 0);
	expect_bad_cdb(2, -1);
}

static void structure_of_a_dvd_is_told(void **state)
{
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4, 0, 0);
	expect_good(2052);
	assert_int_equal(bytes_be16(buf), 2050);
	assert_int_equal(bytes_be32(&buf[8]), 0x30000);
	assert_int_equal(bytes_be32(&buf[12]), 0x30000 + (2U << 20) - 1);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 1, 0, 8, 4, 0, 0);
	expect_bad_cdb(6, -1);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 1, 8, 4, 0, 0);
	expect_good(8);
	assert_int_equal(buf[4], 0);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 0xff, 8, 4, 0, 0);
	expect_good(4 + 12);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 4, 8, 4, 0, 0);
	expect_bad_cdb(7, -1);
	RUN(4096, 0xad, 1, 0, 0, 0, 0, 0, 0, 8, 4, 0, 0);
	expect_bad_cdb(1, 3);
}

static void read_cd_gives_user_data(void **state)
{
	memset(medium + 2048, 0x5a, 2048);
	RUN(2048, 0xbe, 8, 0, 0, 0, 1, 0, 0, 1, 0x10, 0, 0);
	expect_good(2048);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(buf[2047], 0x5a);
	RUN(2048, 0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0x10, 0, 0);
	expect_good(2048);
	RUN(2048, 0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0); /* no data at all */
	expect_good(0);
	RUN(2352, 0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0xf8, 0, 0);
	expect_bad_cdb(9, 7);
	RUN(2352, 0xbe, 4, 0, 0, 0, 1, 0, 0, 1, 0x10, 0, 0); /* sound */
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_ILLEGAL_TRACK_MODE);
	RUN(2048, 0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0x10, 1, 0);
	expect_bad_cdb(10, 2);
	RUN(2048, 0xbe, 0, 0, 0, 2, 0, 0, 0, 1, 0x10, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	RUN(2048, 0xbe, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0x10, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

/* Linux adds 1 to the last block's address in 32 bits. */
static void huge_disc_is_cut(void **state)
{
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(bytes_be32(buf), 0xfffffffe);
	RUN(64, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 64, 0);
	assert_int_equal(bytes_be32(&buf[8]), 0x00ff3b4a);
	RUN(2048, 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

/* ---- tray, lock, change ------------------------------------------------------------------------- */

static void drive_without_disc_begins_empty(void **state)
{
	struct scsi_disk_config config = drive;
	struct scsi_disk *with_disc = disk;
	struct diag diag;

	assert_int_equal(scsi_disk_create(&config, &disk, &diag), 0);
	target.luns[0] = disk;
	assert_false(scsi_disk_has_medium(disk));
	expect_no_medium(SCSI_ASC_NO_MEDIUM);
	RUN(36, 0x12, 0, 0, 0, 36, 0);
	expect_good(36);
	RUN(12, 0x23, 0, 0, 0, 0, 0, 0, 0, 12, 0);
	assert_int_equal(buf[8], 3);
	expect_event(0, 0);
	RUN(0, 0x1b, 0, 0, 0, 1, 0); /* start what? */
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NO_MEDIUM);
	scsi_disk_clear_medium(disk); /* does nothing */
	expect_event(0, 0);
	set_medium();
	attach();
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_MEDIUM_CHANGED);
	READY();
	expect_good(0);
	expect_event(2, 2);
	detach();
	scsi_disk_destroy(disk);
	disk = with_disc;
}

static void guest_ejects_and_host_inserts(void **state)
{
	READY();
	expect_good(0);
	expect_event(0, 2);
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	expect_good(0);
	assert_int_equal(ejects, 1);
	assert_true(scsi_disk_is_ejected(disk) && scsi_disk_is_tray_open(disk));
	expect_no_medium(SCSI_ASC_NO_MEDIUM_TRAY_OPEN); /* at once, on every queue */
	queue = 1;
	expect_no_medium(SCSI_ASC_NO_MEDIUM_TRAY_OPEN);
	assert_int_equal(spies[0].requests + spies[1].requests, 0);
	RUN(0, 0x1b, 0, 0, 0, 2, 0); /* once more */
	expect_good(0);
	assert_int_equal(ejects, 1);
	expect_event(3, 1);
	clear_medium();
	assert_true(scsi_disk_is_tray_open(disk) && !scsi_disk_is_ejected(disk));
	expect_event(0, 1);
	RUN(8, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	assert_int_equal(buf[1], 0x10);
	RUN(0, 0x1b, 0, 0, 0, 3, 0); /* the tray goes in, empty */
	expect_good(0);
	expect_no_medium(SCSI_ASC_NO_MEDIUM);
	RUN(0, 0x1b, 0, 0, 0, 2, 0); /* and out again */
	expect_no_medium(SCSI_ASC_NO_MEDIUM_TRAY_OPEN);
	assert_int_equal(ejects, 1);
	set_medium();
	assert_false(scsi_disk_is_tray_open(disk));
	attach();
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_MEDIUM_CHANGED);
	READY();
	expect_good(0);
	expect_event(2, 2);
	expect_event(0, 2);
}

/* A disc that was ejected is the machine's to take: it does not come back. */
static void ejected_disc_is_not_loaded_again(void **state)
{
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	RUN(0, 0x1b, 0, 0, 0, 3, 0);
	expect_good(0);
	expect_no_medium(SCSI_ASC_NO_MEDIUM);
	RUN(2048, 0xbe, 8, 0, 0, 0, 1, 0, 0, 1, 0x10, 0, 0);
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NO_MEDIUM);
}

static void locked_tray_stays_closed(void **state)
{
	queue = 1;
	RUN(0, 0x1e, 0, 0, 0, 1, 0);
	expect_good(0);
	assert_true(scsi_disk_is_locked(disk));
	queue = 0;
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_REMOVAL_PREVENTED);
	assert_int_equal(ejects, 0);
	READY();
	expect_good(0);
	RUN(0, 0x1e, 0, 0, 0, 0, 0);
	assert_false(scsi_disk_is_locked(disk));
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	expect_good(0);
	assert_int_equal(ejects, 1);
	scsi_disk_reset(disk); /* the tray is where it was */
	assert_true(scsi_disk_is_ejected(disk));
}

static void host_takes_a_locked_disc(void **state)
{
	RUN(0, 0x1e, 0, 0, 0, 1, 0);
	clear_medium();
	assert_false(scsi_disk_is_locked(disk));
	expect_event(3, 0);
	expect_no_medium(SCSI_ASC_NO_MEDIUM);
	assert_int_equal(ejects, 0);
}

static void host_asks_for_the_disc(void **state)
{
	scsi_disk_ask_eject(disk);
	RUN(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4, 0); /* no room: the event is not lost */
	expect_good(4);
	expect_event(1, 2);
	expect_event(0, 2);
	RUN(8, 0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0);
	expect_bad_cdb(1, 0);
	RUN(8, 0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8, 0); /* power: none of ours */
	expect_good(4);
	assert_int_equal(buf[2], 0x80);
	assert_int_equal(buf[3], 0x10);
}

/* Queues are attached one after the other; a guest must not take the disc for gone meanwhile. */
static void drive_becomes_ready_queue_by_queue(void **state)
{
	set_medium();
	expect_no_medium(SCSI_ASC_BECOMING_READY);
	RUN(18, 3, 0, 0, 0, 18, 0);
	assert_int_equal(buf[2], 0); /* the news waits for where it is true */
	scsi_disk_attach(disk, 1, &spies[1].block);
	expect_no_medium(SCSI_ASC_BECOMING_READY);
	queue = 1;
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_MEDIUM_CHANGED);
	READY();
	expect_good(0);
	queue = 0;
	scsi_disk_attach(disk, 0, &spies[0].block);
	READY();
	expect_good(0);
}

/* MMC: these two answer while a condition waits. */
static void configuration_and_events_do_not_tell_conditions(void **state)
{
	scsi_disk_reset_unit(disk);
	RUN(255, 0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0);
	assert_int_equal(request.status, 0);
	expect_event(0, 2);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_RESET_DEVICE);
}

static void media_that_do_not_fit_are_refused(void **state)
{
	struct block_info info = full_info;
	struct diag diag;

	detach();
	info.logical_block_bytes = 4096;
	assert_int_equal(scsi_disk_set_medium(disk, &info, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "4096"));
	info.logical_block_bytes = 512;
	info.bytes = 2047;
	assert_int_equal(scsi_disk_set_medium(disk, &info, &diag), -EINVAL);
	attach(); /* the old one is still in */
	READY();
	expect_good(0);
}

/* ---- saved state -------------------------------------------------------------------------------- */

static void save_into(struct save *save, const uint8_t **ret, size_t *ret_bytes)
{
	save_init(save);
	scsi_disk_save(disk, save);
	assert_int_equal(save_finish(save, ret, ret_bytes), 0);
}

static void state_of_a_drive_is_saved_and_loaded(void **state)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	RUN(0, 0x1b, 0, 0, 0, 2, 0); /* ejected, not yet taken away */
	RUN(0, 0x1e, 0, 0, 0, 1, 0);
	scsi_disk_reset_unit(disk);
	scsi_disk_ask_eject(disk);
	save_into(&first, &a, &a_bytes);
	recreate(drive);
	ejects = 0;
	load_init(&load, a, a_bytes);
	assert_int_equal(scsi_disk_load(disk, &load), 0);
	assert_int_equal(ejects, 1); /* who may not know of it */
	save_into(&second, &b, &b_bytes);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a, b, a_bytes);
	save_fini(&first);
	save_fini(&second);
}

/* Where the machine was moved without its disc, or with one that was not there, the guest is told. */
static void other_medium_after_a_load_is_told(void **state)
{
	struct save with, without;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	save_into(&with, &a, &a_bytes);
	clear_medium();
	expect_event(3, 0);
	save_into(&without, &b, &b_bytes);
	load_init(&load, a, a_bytes);
	assert_int_equal(scsi_disk_load(disk, &load), 0);
	expect_event(3, 0);
	expect_no_medium(SCSI_ASC_NO_MEDIUM);
	set_medium();
	attach();
	READY();
	expect_event(2, 2);
	load_init(&load, b, b_bytes);
	assert_int_equal(scsi_disk_load(disk, &load), 0);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_MEDIUM_CHANGED);
	expect_event(2, 2);
	save_fini(&with);
	save_fini(&without);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ON(inquiry_tells_of_a_drive, setup_cd),
		TEST_ON(blocks_have_2048_bytes, setup_cd),
		TEST_ON(writes_are_refused, setup_cd),
		TEST_ON(modes_are_a_drives, setup_cd),
		TEST_ON(features_follow_the_disc, setup_dvd),
		TEST_ON(small_disc_is_a_cd, setup_cd),
		TEST_ON(other_commands_of_a_drive, setup_cd),
		TEST_ON(table_of_contents_has_one_track, setup_cd),
		TEST_ON(table_of_contents_has_one_session, setup_cd),
		TEST_ON(disc_and_track_are_told, setup_cd),
		TEST_ON(structure_of_a_dvd_is_told, setup_dvd),
		TEST_ON(read_cd_gives_user_data, setup_cd),
		TEST_ON(huge_disc_is_cut, setup_huge),
		TEST_ON(drive_without_disc_begins_empty, setup_cd),
		TEST_ON(guest_ejects_and_host_inserts, setup_cd),
		TEST_ON(ejected_disc_is_not_loaded_again, setup_cd),
		TEST_ON(locked_tray_stays_closed, setup_cd),
		TEST_ON(host_takes_a_locked_disc, setup_cd),
		TEST_ON(host_asks_for_the_disc, setup_cd),
		TEST_ON(drive_becomes_ready_queue_by_queue, setup_cd),
		TEST_ON(configuration_and_events_do_not_tell_conditions, setup_cd),
		TEST_ON(media_that_do_not_fit_are_refused, setup_cd),
		TEST_ON(state_of_a_drive_is_saved_and_loaded, setup_cd),
		TEST_ON(other_medium_after_a_load_is_told, setup_cd),
	};

	return cmocka_run_group_tests_name("scsi/scsi_dvd", tests, NULL, NULL);
}
