/* SPDX-License-Identifier: MIT */
/* A DVD drive behind PACKET: PIO and DMA, sense, boot from it, discs that come and go. */
#include "ide_rig.h"

static uint8_t buf[1 << 20];
static uint8_t bm;

#define CDB(...)                                                                                   \
	(const uint8_t[ATAPI_CDB_BYTES])                                                           \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

/* A PACKET command up to its CDB. */
static void packet(const uint8_t *cdb, uint16_t limit, bool is_dma)
{
	put_reg(1, ATA_REG_DEVICE, 0xa0);
	put_reg(1, ATA_REG_FEATURE, is_dma ? ATAPI_FEATURE_DMA : 0);
	put_reg(1, ATA_REG_LBA_MID, (uint8_t)limit);
	put_reg(1, ATA_REG_LBA_HIGH, (uint8_t)(limit >> 8));
	put_reg(1, ATA_REG_COMMAND, ATA_CMD_PACKET);
	assert_int_equal(wait_idle(1), 0x58);
	assert_false(rig.level[1]);
	assert_int_equal(get_reg(1, ATA_REG_COUNT), ATAPI_REASON_CD);
	outs(1, cdb, ATAPI_CDB_BYTES);
}

/* The data of a PACKET command by PIO: how many bytes came, and the status at the end. */
static uint8_t packet_read(const uint8_t *cdb, uint16_t limit, uint32_t *ret_bytes)
{
	uint32_t bytes = 0;

	packet(cdb, limit, false);
	for (;;) {
		uint32_t n;
		uint8_t status, reason;

		wait_irq(1);
		status = get_reg(1, ATA_REG_STATUS);
		reason = get_reg(1, ATA_REG_COUNT);
		*ret_bytes = bytes;
		if (!(status & ATA_STATUS_DRQ)) {
			assert_int_equal(reason & 3, ATAPI_REASON_CD | ATAPI_REASON_IO);
			return status;
		}
		assert_int_equal(reason & 3, ATAPI_REASON_IO);
		n = get_reg(1, ATA_REG_LBA_MID) | (uint32_t)get_reg(1, ATA_REG_LBA_HIGH) << 8;
		assert_true(n > 0 && n <= limit);
		chipset_pio(rig.pci.rig.chipset, 0x170, false, &buf[bytes], 2, (n + 1) / 2);
		bytes += n;
	}
}

static void expect_sense(uint8_t key, uint16_t asc)
{
	uint32_t bytes;

	assert_int_equal(get_reg(1, ATA_REG_ERROR), key << 4 | ATA_ERROR_ABRT);
	assert_int_equal(packet_read(CDB(0x03, 0, 0, 0, 18), 18, &bytes), 0x50);
	assert_int_equal(bytes, 18);
	assert_int_equal(buf[2] & 0x0f, key);
	assert_int_equal(bytes_be16(&buf[12]), asc);
}

static void identify_packet_device(void **state)
{
	const struct tf tf = { .channel = 1, .command = ATA_CMD_IDENTIFY_PACKET };
	const struct tf ata = { .channel = 1, .command = ATA_CMD_IDENTIFY };

	assert_int_equal(pio_read(&tf, buf, 1, 1), 0x50);
	assert_int_equal(bytes_le16(buf), 0x85c0);
	assert_int_equal(bytes_le16(&buf[82 * 2]), 0x0210);
	assert_int_equal(command_only(&ata), 0x51); /* a probe for a disk learns what it is */
	assert_int_equal(get_reg(1, ATA_REG_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(get_reg(1, ATA_REG_LBA_MID), 0x14);
	assert_int_equal(get_reg(1, ATA_REG_LBA_HIGH), 0xeb);
}

static void inquiry_and_capacity(void **state)
{
	uint32_t bytes;

	assert_int_equal(packet_read(CDB(0x12, 0, 0, 0, 36), 36, &bytes), 0x50);
	assert_int_equal(bytes, 36);
	assert_int_equal(buf[0], 5);
	assert_int_equal(packet_read(CDB(0x25), 8, &bytes), 0x50);
	assert_int_equal(bytes_be32(buf), DVD_BLOCKS - 1);
	assert_int_equal(packet_read(CDB(0x12, 0, 0, 0, 5), 0xffff, &bytes), 0x50);
	assert_int_equal(bytes, 5); /* an odd end */
	assert_int_equal(packet_read(CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 12), 12, &bytes), 0x50);
	assert_int_equal(bytes, 12);
}

/* As a BIOS reads El Torito: blocks of 2048, polling. */
static void a_bios_reads_blocks(void **state)
{
	set_control(1, 0x08 | ATA_CONTROL_NIEN);
	packet(CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 4), 2048, false);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(wait_idle(1) & 0x89, 0x08);
		get_reg(1, ATA_REG_STATUS);
		ins(1, &buf[i * 2048], 2048);
	}
	assert_int_equal(wait_idle(1), 0x50);
	check_data(buf, 16 * 2048, 4 * 2048, 2);
	set_control(1, 0x08);
	assert_int_equal(rig.edges[1], 1); /* the end is still told */
}

static void large_reads_come_in_pieces(void **state)
{
	uint32_t bytes;

	assert_int_equal(packet_read(CDB(0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 200), 0xf800, &bytes), 0x50);
	assert_int_equal(bytes, 200 * 2048);
	check_data(buf, 0, bytes, 2);
	assert_int_equal(packet_read(CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 100, 0x10), 5000, &bytes),
			 0x50);
	assert_int_equal(bytes, 100 * 2048);
	check_data(buf, 3 * 2048, bytes, 2);
}

static void dma_reads_go_to_guest_pages(void **state)
{
	for (unsigned int i = 0; i < 100; i++) {
		put_prd(i, DATA_GPA + i * 8192, 4096, i == 99);
	}
	bm_setup(1, true);
	packet(CDB(0x28, 0, 0, 0, 0, 8, 0, 0, 200), 8192, true);
	bm_start(1);
	assert_int_equal(bm_finish(1, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
	assert_int_equal(get_reg(1, ATA_REG_COUNT), 3);
	for (unsigned int i = 0; i < 100; i++) {
		check_data(guest(DATA_GPA + i * 8192), 8 * 2048 + i * 4096U, 4096, 2);
	}
	assert_int_equal(block_read_stats(rig.disc)->reads, 1);
}

static void small_answers_go_by_dma_too(void **state)
{
	for (unsigned int i = 0; i < 18; i++) {
		put_prd(i, DATA_GPA + i * 4, 2, i == 17);
	}
	bm_setup(1, true);
	packet(CDB(0x12, 0, 0, 0, 36), 8192, true);
	bm_start(1);
	assert_int_equal(bm_finish(1, &bm), 0x50);
	assert_int_equal(*guest(DATA_GPA), 5);
	assert_int_equal(*guest(DATA_GPA + 4 * 4), 'M'); /* byte 8: Msft */
	assert_int_equal(*guest(DATA_GPA + 4 * 4 + 1), 's');
}

static void failures_are_told_by_sense(void **state)
{
	uint32_t bytes;

	assert_int_equal(packet_read(CDB(0x28, 0, 0, 0, 1, 0, 0, 0, 1), 2048, &bytes), 0x51);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	assert_int_equal(packet_read(CDB(0xff), 2048, &bytes), 0x51);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	/* It is told once. */
	assert_int_equal(packet_read(CDB(0x03, 0, 0, 0, 18), 18, &bytes), 0x50);
	assert_int_equal(buf[2] & 0x0f, 0);
	/* The end of the disc in a long read: what is before it comes. */
	assert_int_equal(packet_read(CDB(0x28, 0, 0, 0, 0, 192, 0, 0, 96), 0xf800, &bytes), 0x51);
	assert_int_equal(bytes, 64 * 2048);
	assert_int_equal(packet_read(CDB(0x28, 0, 0, 0, 0, 192, 0, 0, 64), 0xf800, &bytes), 0x50);
}

static void a_disc_that_is_changed_is_told(void **state)
{
	uint32_t bytes;
	struct diag diag;

	assert_int_equal(packet_read(CDB(0x1b, 0, 0, 0, 2), 0, &bytes), 0x50); /* eject */
	assert_true(scsi_disk_is_ejected(rig.dvd));
	assert_int_equal(packet_read(CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048, &bytes), 0x51);
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NO_MEDIUM_TRAY_OPEN);
	scsi_disk_detach(rig.dvd, 0);
	scsi_disk_clear_medium(rig.dvd);
	assert_int_equal(scsi_disk_set_medium(rig.dvd, block_info(rig.disc), &diag), 0);
	scsi_disk_attach(rig.dvd, 0, rig.disc);
	assert_int_equal(packet_read(CDB(0x00), 0, &bytes), 0x51);
	expect_sense(SCSI_KEY_UNIT_ATTENTION, 0x2800);
	assert_int_equal(packet_read(CDB(0x00), 0, &bytes), 0x50);
	assert_int_equal(packet_read(CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8, &bytes), 0x50);
	assert_int_equal(packet_read(CDB(0x1e, 0, 0, 0, 1), 0, &bytes), 0x50); /* locked */
	assert_int_equal(packet_read(CDB(0x1b, 0, 0, 0, 2), 0, &bytes), 0x51);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_REMOVAL_PREVENTED);
}

static void device_reset_ends_a_packet(void **state)
{
	uint32_t bytes;

	packet(CDB(0x28, 0, 0, 0, 0, 8, 0, 0, 200), 2048, false);
	wait_irq(1);
	get_reg(1, ATA_REG_STATUS);
	ins(1, buf, 100);
	put_reg(1, ATA_REG_COMMAND, ATA_CMD_DEVICE_RESET);
	assert_int_equal(wait_idle(1), 0);
	assert_int_equal(get_reg(1, ATA_REG_LBA_MID), 0x14);
	assert_int_equal(get_reg(1, ATA_REG_ERROR), 1);
	assert_int_equal(packet_read(CDB(0x28, 0, 0, 0, 0, 8, 0, 0, 2), 2048, &bytes), 0x50);
	check_data(buf, 8 * 2048, 4096, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, ide_rig_setup, ide_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(identify_packet_device),      T(inquiry_and_capacity),
		T(a_bios_reads_blocks),         T(large_reads_come_in_pieces),
		T(dma_reads_go_to_guest_pages), T(small_answers_go_by_dma_too),
		T(failures_are_told_by_sense),  T(a_disc_that_is_changed_is_told),
		T(device_reset_ends_a_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
