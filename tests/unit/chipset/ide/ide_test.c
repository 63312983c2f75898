/* SPDX-License-Identifier: MIT */
/* Disks as ata_piix and a BIOS meet them: probe, resets, PIO, errors, drives that go. */
#include <errno.h>

#include "ide_rig.h"

static uint8_t buf[1 << 20];

static uint16_t word(const uint8_t *id, unsigned int i)
{
	return bytes_le16(&id[i * 2]);
}

/* ---- the function ---------------------------------------------------------------------------------- */

static void ports_answer_when_they_are_decoded(void **state)
{
	uint8_t value = 0;

	pci_rig_write16(&rig.pci, IDE_DEVFN, PIIX_IDE_TIMING, 0);
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0xff); /* nobody */
	assert_false(chipset_pio(rig.pci.rig.chipset, 0x1f7, false, &value, 1, 1));
	assert_true(chipset_pio(rig.pci.rig.chipset, 0x177, false, &value, 1, 1));
	pci_rig_write16(&rig.pci, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_MASTER);
	assert_false(chipset_pio(rig.pci.rig.chipset, 0x177, false, &value, 1, 1));
	ide_rig_enable(&rig);
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0x50);
}

static void the_function_is_a_piix4(void **state)
{
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 0), 0x71118086);
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 8) >> 8, 0x010180);
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 0x20), BM_PORT | 1);
	/* The timing registers keep what piix_set_timings() writes. */
	pci_rig_write16(&rig.pci, IDE_DEVFN, 0x40, 0xa377);
	pci_rig_write8(&rig.pci, IDE_DEVFN, 0x44, 0x0b);
	pci_rig_write8(&rig.pci, IDE_DEVFN, 0x48, 0xff);
	pci_rig_write16(&rig.pci, IDE_DEVFN, 0x4a, 0xffff);
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 0x40), 0x8000a377);
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 0x44), 0x0b);
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 0x48), 0x3333000f);
}

/* ---- probe -------------------------------------------------------------------------------------------- */

static bool devchk(unsigned int channel, unsigned int unit)
{
	put_reg(channel, ATA_REG_DEVICE, (uint8_t)(0xa0 | unit << 4));
	put_reg(channel, ATA_REG_COUNT, 0x55);
	put_reg(channel, ATA_REG_LBA_LOW, 0xaa);
	put_reg(channel, ATA_REG_COUNT, 0xaa);
	put_reg(channel, ATA_REG_LBA_LOW, 0x55);
	put_reg(channel, ATA_REG_COUNT, 0x55);
	put_reg(channel, ATA_REG_LBA_LOW, 0xaa);
	return get_reg(channel, ATA_REG_COUNT) == 0x55 && get_reg(channel, ATA_REG_LBA_LOW) == 0xaa;
}

static void soft_reset(unsigned int channel)
{
	set_control(channel, 0x08);
	set_control(channel, 0x08 | ATA_CONTROL_SRST);
	set_control(channel, 0x08);
}

static void expect_signature(unsigned int channel, unsigned int unit, uint16_t cylinder)
{
	put_reg(channel, ATA_REG_DEVICE, (uint8_t)(0xa0 | unit << 4));
	assert_int_equal(get_reg(channel, ATA_REG_ERROR), 1);
	assert_int_equal(get_reg(channel, ATA_REG_COUNT), 1);
	assert_int_equal(get_reg(channel, ATA_REG_LBA_LOW), 1);
	assert_int_equal(get_reg(channel, ATA_REG_LBA_MID), cylinder & 0xff);
	assert_int_equal(get_reg(channel, ATA_REG_LBA_HIGH), cylinder >> 8);
}

static void a_soft_reset_shows_signatures(void **state)
{
	assert_true(devchk(0, 0));
	assert_true(devchk(0, 1));
	assert_true(devchk(1, 0));
	assert_false(devchk(1, 1));
	soft_reset(0);
	soft_reset(1);
	wait_idle(0);
	expect_signature(0, 0, 0);
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0x50);
	expect_signature(0, 1, 0);
	expect_signature(1, 0, 0xeb14);
	put_reg(1, ATA_REG_DEVICE, 0xb0);
	assert_int_equal(get_reg(1, ATA_REG_STATUS), 0);
	assert_int_equal(get_reg(1, ATA_REG_DEVICE), 0);
	put_reg(0, ATA_REG_DEVICE, 0xb0); /* a BIOS reads back which drive it has */
	assert_int_equal(get_reg(0, ATA_REG_DEVICE), 0xb0);
	assert_int_equal(rig.edges[0], 0);
}

static void a_reset_that_lasts_is_busy(void **state)
{
	set_control(0, ATA_CONTROL_SRST);
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	put_reg(0, ATA_REG_COMMAND, ATA_CMD_IDENTIFY);
	settle();
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	set_control(0, 0);
	assert_int_equal(alt_status(0), 0x50);
}

static void identify_tells_who_it_is(void **state)
{
	const struct tf tf = { .command = ATA_CMD_IDENTIFY };
	uint8_t sum = 0;

	assert_int_equal(pio_read(&tf, buf, 1, 1), 0x50);
	assert_memory_equal(&buf[20], "ESIRLA1-            ", 20);
	assert_memory_equal(&buf[54], "aTibuq eiVtrau lDH", 18);
	assert_int_equal(word(buf, 0), 0x0040);
	assert_int_equal(bytes_le32(&buf[120]), DISK_SECTORS);
	assert_int_equal(bytes_le64(&buf[200]), DISK_SECTORS);
	assert_int_equal(word(buf, 47), 0x8010);
	assert_int_equal(word(buf, 49), 0x0f00);
	assert_int_equal(word(buf, 59), 0x0110);
	assert_int_equal(word(buf, 83) & 0x3400, 0x3400);
	assert_int_equal(word(buf, 85) & 0x20, 0x20);
	assert_int_equal(word(buf, 93) & 0x40, 0); /* there is a slave */
	for (unsigned int i = 0; i < 512; i++) {
		sum = (uint8_t)(sum + buf[i]);
	}
	assert_int_equal(sum, 0);
	assert_int_equal(rig.edges[0], 1); /* none for the end */
}

/* ---- PIO -------------------------------------------------------------------------------------------------- */

static void sectors_are_read_one_interrupt_each(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 5, .count = 200 };

	assert_int_equal(pio_read(&tf, buf, 200, 1), 0x50);
	check_data(buf, 5 * 512, 200 * 512, 0);
	assert_int_equal(rig.edges[0], 200);
}

static void a_count_of_zero_is_256(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_MULTIPLE, .count = 0 };

	assert_int_equal(pio_read(&tf, buf, 256, 16), 0x50);
	check_data(buf, 0, 256 * 512, 0);
	assert_int_equal(rig.edges[0], 16);
}

static void long_commands_go_through_both_buffers(void **state)
{
	const struct tf tf = {
		.command = ATA_CMD_READ_EXT, .lba = 3, .count = 1000, .is_lba48 = true
	};

	assert_int_equal(pio_read(&tf, buf, 1000, 1), 0x50);
	check_data(buf, 3 * 512, 1000 * 512, 0);
}

static void what_is_written_is_in_the_file(void **state)
{
	const struct tf tf = {
		.command = ATA_CMD_WRITE_EXT, .lba = 7, .count = 300, .is_lba48 = true
	};
	const struct tf flush = { .command = ATA_CMD_FLUSH_EXT };
	static uint8_t back[300 * 512];

	for (unsigned int i = 0; i < sizeof(back); i++) {
		buf[i] = (uint8_t)(i * 11 + i / 512);
	}
	assert_int_equal(pio_write(&tf, buf, 300, 1), 0x50);
	assert_int_equal(rig.edges[0], 300); /* none for the first, one at the end */
	assert_int_equal(command_only(&flush), 0x50);
	assert_int_equal(pread(rig.fd, back, sizeof(back), 7 * 512), sizeof(back));
	assert_memory_equal(back, buf, sizeof(back));
	assert_int_equal(block_read_stats(rig.disk)->flushes, 1);
}

static void write_multiple_ends_with_a_short_block(void **state)
{
	const struct tf set = { .command = ATA_CMD_SET_MULTIPLE, .count = 8 };
	const struct tf tf = { .command = ATA_CMD_WRITE_MULTIPLE, .lba = 50, .count = 21 };
	static uint8_t back[21 * 512];

	memset(buf, 0x5a, sizeof(back));
	assert_int_equal(command_only(&set), 0x50);
	assert_int_equal(pio_write(&tf, buf, 21, 8), 0x50);
	assert_int_equal(rig.edges[0], 1 + 3);
	assert_int_equal(pread(rig.fd, back, sizeof(back), 50 * 512), sizeof(back));
	assert_memory_equal(back, buf, sizeof(back));
}

static void a_bios_polls_without_interrupts(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 9, .count = 2 };

	set_control(0, 0x08 | ATA_CONTROL_NIEN);
	issue(&tf);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(wait_idle(0), 0x58);
		get_reg(0, ATA_REG_STATUS);
		rig_in16(&rig.pci.rig, 0x1f0);
		chipset_pio(rig.pci.rig.chipset, 0x1f0, false, &buf[i * 512 + 2], 2, 255);
	}
	check_data(&buf[2], 9 * 512 + 2, 510, 0);
	check_data(&buf[514], 10 * 512 + 2, 510, 0);
	assert_int_equal(wait_idle(0), 0x50);
	assert_int_equal(rig.edges[0], 0);
	assert_int_equal(bm_read(0, BM_REG_STATUS) & BM_STATUS_IRQ, 0);
}

static void cylinders_heads_and_sectors(void **state)
{
	struct tf tf = { .command = ATA_CMD_READ, .count = 1 };

	/* Cylinder 1, head 2, sector 3 of 16 and 63. */
	put_reg(0, ATA_REG_DEVICE, 0xa2);
	put_reg(0, ATA_REG_COUNT, 1);
	put_reg(0, ATA_REG_LBA_LOW, 3);
	put_reg(0, ATA_REG_LBA_MID, 1);
	put_reg(0, ATA_REG_LBA_HIGH, 0);
	put_reg(0, ATA_REG_COMMAND, ATA_CMD_READ);
	wait_irq(0);
	get_reg(0, ATA_REG_STATUS);
	ins(0, buf, 512);
	check_data(buf, ((1 * 16 + 2) * 63 + 2) * 512, 512, 0);
	/* Sector 0 is none. */
	put_reg(0, ATA_REG_LBA_LOW, 0);
	put_reg(0, ATA_REG_COMMAND, ATA_CMD_READ);
	wait_irq(0);
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_IDNF);
	tf.lba = 1;
	assert_int_equal(pio_read(&tf, buf, 1, 1), 0x50);
}

/* ---- commands without data ------------------------------------------------------------------------------- */

static void modes_are_set_and_told(void **state)
{
	struct tf tf = { .command = ATA_CMD_SET_FEATURES, .feature = 3, .count = 0x42 };
	const struct tf identify = { .command = ATA_CMD_IDENTIFY };

	assert_int_equal(command_only(&tf), 0x50);
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
	assert_int_equal(word(buf, 88), 0x043f);
	tf.count = 0x22;
	assert_int_equal(command_only(&tf), 0x50);
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
	assert_int_equal(word(buf, 88), 0x003f);
	assert_int_equal(word(buf, 63), 0x0407);
	tf.count = 0x47;
	assert_int_equal(command_only(&tf), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_ABRT);
}

static void without_a_write_cache_writes_are_forced(void **state)
{
	const struct tf off = { .command = ATA_CMD_SET_FEATURES, .feature = 0x82 };
	const struct tf identify = { .command = ATA_CMD_IDENTIFY };

	assert_int_equal(command_only(&off), 0x50);
	assert_int_equal(block_read_stats(rig.disk)->flushes, 1); /* what was in it */
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
	assert_int_equal(word(buf, 85) & 0x20, 0);
}

static void what_is_not_there_is_aborted(void **state)
{
	static const uint8_t commands[] = { 0x00, 0x08, 0x06, 0x27, 0x2f, 0xa0,
					    0xa1, 0xb0, 0xb1, 0xf5, 0xf8, 0xff };

	for (unsigned int i = 0; i < sizeof(commands); i++) {
		const struct tf tf = { .command = commands[i] };

		assert_int_equal(command_only(&tf), 0x51);
		assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_ABRT);
	}
}

static void power_commands_are_accepted(void **state)
{
	static const uint8_t commands[] = { 0x10, 0xe0, 0xe1, 0xe2, 0xe3, 0xe5, 0xe6, 0xe7, 0x40 };

	for (unsigned int i = 0; i < sizeof(commands); i++) {
		const struct tf tf = { .command = commands[i], .count = 4 };

		assert_int_equal(command_only(&tf), 0x50);
		assert_true(commands[i] != 0xe5 || get_reg(0, ATA_REG_COUNT) == 0xff);
	}
}

static void a_diagnostic_is_told_by_the_master(void **state)
{
	const struct tf tf = { .command = ATA_CMD_DIAGNOSTIC, .unit = 1 };

	issue(&tf);
	assert_true(rig.level[0]);
	assert_int_equal(get_reg(0, ATA_REG_DEVICE), 0xa0);
	expect_signature(0, 0, 0);
	get_reg(0, ATA_REG_STATUS);
	assert_false(rig.level[0]);
}

static void the_older_half_of_registers_shows_with_hob(void **state)
{
	put_reg(0, ATA_REG_COUNT, 0x12);
	put_reg(0, ATA_REG_COUNT, 0x34);
	assert_int_equal(get_reg(0, ATA_REG_COUNT), 0x34);
	set_control(0, ATA_CONTROL_HOB);
	assert_int_equal(get_reg(0, ATA_REG_COUNT), 0x12);
	put_reg(0, ATA_REG_LBA_LOW, 0); /* ends it */
	assert_int_equal(get_reg(0, ATA_REG_COUNT), 0x34);
}

/* ---- errors ------------------------------------------------------------------------------------------------ */

static uint64_t error_lba(bool is_lba48)
{
	uint64_t lba = get_reg(0, ATA_REG_LBA_LOW) | (uint64_t)get_reg(0, ATA_REG_LBA_MID) << 8 |
		       (uint64_t)get_reg(0, ATA_REG_LBA_HIGH) << 16;

	if (!is_lba48) {
		return lba | (uint64_t)(get_reg(0, ATA_REG_DEVICE) & 0x0f) << 24;
	}
	set_control(0, ATA_CONTROL_HOB);
	lba |= (uint64_t)get_reg(0, ATA_REG_LBA_LOW) << 24;
	lba |= (uint64_t)get_reg(0, ATA_REG_LBA_MID) << 32;
	lba |= (uint64_t)get_reg(0, ATA_REG_LBA_HIGH) << 40;
	set_control(0, 0);
	return lba;
}

static void beyond_the_end_is_not_found(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = DISK_SECTORS - 1, .count = 2 };
	const struct tf far = {
		.command = ATA_CMD_WRITE_EXT, .lba = 1ULL << 40, .count = 1, .is_lba48 = true
	};

	assert_int_equal(pio_read(&tf, buf, 2, 1), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_IDNF);
	assert_int_equal(error_lba(false), DISK_SECTORS);
	assert_int_equal(command_only(&far), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_IDNF);
	assert_int_equal(error_lba(true), 1ULL << 40);
}

static void a_bad_sector_is_told_after_those_before_it(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 10, .count = 200 };
	unsigned int n = 0;

	block_fail_at(rig.fail, BLOCK_READ, 160 * 512, -EIO);
	issue(&tf);
	for (;;) {
		wait_irq(0);
		if (!(get_reg(0, ATA_REG_STATUS) & ATA_STATUS_DRQ)) {
			break;
		}
		ins(0, &buf[n++ * 512], 512);
	}
	assert_int_equal(n, 150);
	check_data(buf, 10 * 512, n * 512, 0);
	assert_int_equal(alt_status(0), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_UNC);
	assert_int_equal(error_lba(false), 160);
	block_fail_at(rig.fail, BLOCK_READ, 0, 0);
	assert_int_equal(pio_read(&tf, buf, 200, 1), 0x50);
}

static void a_bad_sector_ends_multiple_at_a_whole_block(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_MULTIPLE, .lba = 0, .count = 64 };
	unsigned int n = 0;

	block_fail_at(rig.fail, BLOCK_READ, 40 * 512, -EIO);
	issue(&tf);
	for (;;) {
		wait_irq(0);
		if (!(get_reg(0, ATA_REG_STATUS) & ATA_STATUS_DRQ)) {
			break;
		}
		ins(0, &buf[n * 512], 16 * 512);
		n += 16;
	}
	assert_int_equal(n, 32);
	check_data(buf, 0, n * 512, 0);
	assert_int_equal(error_lba(false), 40);
}

static void a_failed_write_is_aborted_where_it_failed(void **state)
{
	const struct tf tf = { .command = ATA_CMD_WRITE, .lba = 20, .count = 10 };

	block_fail_at(rig.fail, BLOCK_WRITE, 23 * 512, -EIO);
	assert_int_equal(pio_write(&tf, buf, 10, 1), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(error_lba(false), 23);
	block_fail_at(rig.fail, BLOCK_WRITE, 0, 0);
	assert_int_equal(pio_write(&tf, buf, 10, 1), 0x50);
}

static void no_space_and_no_flush_are_aborted(void **state)
{
	const struct tf tf = { .command = ATA_CMD_WRITE, .lba = 20, .count = 3 };
	const struct tf flush = { .command = ATA_CMD_FLUSH };

	block_fail_nth(rig.fail, BLOCK_WRITE, 1, -ENOSPC);
	assert_int_equal(pio_write(&tf, buf, 3, 1), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_ABRT);
	block_fail_nth(rig.fail, BLOCK_FLUSH, 1, -EIO);
	assert_int_equal(command_only(&flush), 0x51);
	assert_int_equal(command_only(&flush), 0x50);
}

static void verify_reads_and_tells(void **state)
{
	const struct tf tf = {
		.command = ATA_CMD_VERIFY_EXT, .lba = 0, .count = 400, .is_lba48 = true
	};

	assert_int_equal(command_only(&tf), 0x50);
	block_fail_at(rig.fail, BLOCK_READ, 399 * 512, -EIO);
	assert_int_equal(command_only(&tf), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_UNC);
	assert_int_equal(error_lba(true), 399);
}

static void a_read_only_disk_is_not_written(void **state)
{
	const struct tf write = { .unit = 1, .command = ATA_CMD_WRITE, .count = 1 };
	const struct tf read = { .unit = 1, .command = ATA_CMD_READ, .lba = 99, .count = 1 };
	const struct tf flush = { .unit = 1, .command = ATA_CMD_FLUSH };

	assert_int_equal(command_only(&write), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(pio_read(&read, buf, 1, 1), 0x50);
	check_data(buf, 99 * 512, 512, 1);
	assert_int_equal(command_only(&flush), 0x50);
}

/* ---- resets in the middle ------------------------------------------------------------------------------------ */

static void a_reset_waits_for_the_host(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 1, .count = 8 };

	block_delay_set(rig.delay, BLOCK_DELAY_HOLD);
	issue(&tf);
	settle();
	soft_reset(0);
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	put_reg(0, ATA_REG_COMMAND, ATA_CMD_IDENTIFY); /* nobody listens */
	block_delay_set(rig.delay, 0);
	block_delay_release(rig.delay);
	assert_int_equal(wait_idle(0), 0x50);
	expect_signature(0, 0, 0);
	assert_int_equal(rig.edges[0], 0);
	assert_int_equal(pio_read(&tf, buf, 8, 1), 0x50);
	check_data(buf, 512, 8 * 512, 0);
}

static void a_reset_ends_a_transfer_in_its_middle(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 1, .count = 250 };
	const struct tf write = { .command = ATA_CMD_WRITE, .lba = 70, .count = 8 };
	uint8_t back[512];

	issue(&tf);
	wait_irq(0);
	get_reg(0, ATA_REG_STATUS);
	ins(0, buf, 100);
	soft_reset(0);
	wait_idle(0);
	expect_signature(0, 0, 0);
	issue(&write);
	memset(buf, 0xee, 512);
	outs(0, buf, 512);
	outs(0, buf, 256);
	soft_reset(0);
	assert_int_equal(wait_idle(0), 0x50);
	settle();
	assert_int_equal(pread(rig.fd, back, 512, 70 * 512), 512);
	check_data(back, 70 * 512, 512, 0); /* nothing half-done was written */
	assert_int_equal(pio_read(&tf, buf, 250, 1), 0x50);
	check_data(buf, 512, 250 * 512, 0);
}

static void while_busy_registers_are_not_written(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 1, .count = 2 };

	issue(&tf);
	put_reg(0, ATA_REG_DEVICE, 0xb0);
	put_reg(0, ATA_REG_COMMAND, ATA_CMD_WRITE);
	put_reg(0, ATA_REG_COUNT, 77);
	wait_irq(0);
	assert_int_equal(get_reg(0, ATA_REG_DEVICE), 0xe0);
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0x58);
	ins(0, buf, 512);
	ins(0, &buf[512], 512);
	check_data(buf, 512, 1024, 0);
	assert_int_equal(ide_is_attached(rig.ide, 0), true);
}

/* ---- one disk, two faces --------------------------------------------------------------------------------------- */

static void a_detached_disk_is_an_empty_place(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 1, .count = 8 };
	const struct tf other = { .unit = 1, .command = ATA_CMD_READ, .lba = 1, .count = 1 };

	block_delay_set(rig.delay, BLOCK_DELAY_HOLD);
	issue(&tf);
	settle();
	ide_detach(rig.ide, 0, &rig.work);
	settle();
	assert_int_equal(rig.done, 0); /* what is in flight is waited for */
	block_delay_set(rig.delay, 0);
	block_delay_release(rig.delay);
	ide_rig_wait_done(1);
	assert_false(ide_is_attached(rig.ide, 0));
	assert_int_equal(block_read_stats(rig.disk)->in_flight, 0);
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0);
	assert_false(devchk(0, 0));
	put_reg(0, ATA_REG_COMMAND, ATA_CMD_READ);
	settle();
	assert_int_equal(rig.level[0], false);
	assert_int_equal(pio_read(&other, buf, 1, 1), 0x50); /* the neighbour stays */
	ide_rig_pause();
	ide_reset(rig.ide);
	assert_false(ide_is_attached(rig.ide, 0));
	ide_attach(rig.ide, 0, NULL);
	ide_resume(rig.ide);
	ide_rig_enable(&rig);
	assert_true(devchk(0, 0));
	assert_int_equal(pio_read(&tf, buf, 8, 1), 0x50);
	check_data(buf, 512, 8 * 512, 0);
}

/* Its owner may close it, and come back with another end of it that has grown. */
static void a_detached_disk_may_be_closed(void **state)
{
	struct block_config null = { .kind = BLOCK_NULL,
				     .null_bytes = 1 << 20,
				     .logical_block_bytes = 512 };
	const struct tf identify = { .command = ATA_CMD_IDENTIFY };
	struct block *block;
	struct diag diag;

	ide_detach(rig.ide, 0, &rig.work);
	ide_rig_wait_done(1);
	ide_rig_stop(rig.disk);
	ide_rig_pause();
	ide_reset(rig.ide);
	assert_int_equal(block_open(&null, &block, &diag), 0);
	assert_int_equal(block_start(block, rig.pci.rig.loop), 0);
	ide_attach(rig.ide, 0, block);
	ide_resume(rig.ide);
	ide_rig_enable(&rig);
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
	assert_int_equal(bytes_le64(&buf[200]), 2048);
	rig.disk = block; /* for the teardown */
	rig.delay = NULL;
}

static void a_running_dma_is_finished_before_a_detach(void **state)
{
	const struct tf tf = { .command = ATA_CMD_WRITE_DMA, .lba = 8, .count = 16 };
	uint8_t back[16 * 512];

	memset(guest(DATA_GPA), 0x77, 16 * 512);
	put_prd(0, DATA_GPA, 16 * 512, true);
	block_delay_set(rig.delay, BLOCK_DELAY_HOLD);
	bm_setup(0, false);
	issue(&tf);
	bm_start(0);
	settle();
	ide_detach(rig.ide, 0, &rig.work);
	block_delay_set(rig.delay, 0);
	block_delay_release(rig.delay);
	ide_rig_wait_done(1);
	assert_int_equal(pread(rig.fd, back, sizeof(back), 8 * 512), sizeof(back));
	assert_memory_equal(back, guest(DATA_GPA), sizeof(back));
	assert_false(rig.level[0]);
}

/* 300 GiB: beyond LBA28, and what it says of itself. */
static void a_large_disk_needs_48_bits(void **state)
{
	const uint64_t sectors = 300ULL << 21;
	struct block_config null = { .kind = BLOCK_NULL,
				     .null_bytes = sectors * 512,
				     .logical_block_bytes = 512 };
	const struct tf identify = { .command = ATA_CMD_IDENTIFY };
	struct tf tf = { .command = ATA_CMD_READ, .lba = ATA_SECTORS_28, .count = 1 };
	struct block *block;
	struct diag diag;

	ide_detach(rig.ide, 0, &rig.work);
	ide_rig_wait_done(1);
	ide_rig_stop(rig.disk);
	assert_int_equal(block_open(&null, &block, &diag), 0);
	assert_int_equal(block_start(block, rig.pci.rig.loop), 0);
	ide_attach(rig.ide, 0, block);
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
	assert_int_equal(bytes_le32(&buf[120]), ATA_SECTORS_28);
	assert_int_equal(bytes_le64(&buf[200]), sectors);
	assert_int_equal(word(buf, 1), 16383);
	assert_int_equal(pio_read(&tf, buf, 1, 1), 0x50);
	tf = (struct tf){
		.command = ATA_CMD_READ_EXT, .lba = sectors - 3, .count = 3, .is_lba48 = true
	};
	assert_int_equal(pio_read(&tf, buf, 3, 1), 0x50);
	tf.lba++;
	assert_int_equal(pio_read(&tf, buf, 3, 1), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_IDNF);
	assert_int_equal(error_lba(true), sectors);
	tf = (struct tf){ .command = ATA_CMD_VERIFY_EXT, .lba = sectors - 65536, .is_lba48 = true };
	assert_int_equal(command_only(&tf), 0x50); /* a count of zero: 65536 */
	rig.disk = block;
	rig.delay = NULL;
}

static void pause_keeps_requests_from_the_host(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 1, .count = 2 };

	ide_rig_pause();
	issue(&tf);
	settle();
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	assert_int_equal(block_read_stats(rig.disk)->reads, 0);
	ide_resume(rig.ide);
	wait_irq(0);
}

static void a_disk_of_large_sectors_is_refused(void **state)
{
	struct block_config null = { .kind = BLOCK_NULL,
				     .null_bytes = 1 << 20,
				     .logical_block_bytes = 4096 };
	struct ide_config config = rig.config;
	struct block *block;
	struct ide *ide = NULL;
	struct diag diag;

	assert_int_equal(block_open(&null, &block, &diag), 0);
	config.devfn = PCI_DEVFN(8, 1);
	config.drives[0].block = block;
	assert_int_equal(ide_create(&config, &ide, &diag), -EINVAL);
	config.drives[0] = rig.config.drives[0];
	config.drives[0].serial = "twenty-one-characters";
	assert_int_equal(ide_create(&config, &ide, &diag), -EINVAL);
	config.drives[0] = rig.config.drives[0];
	config.devfn = IDE_DEVFN;
	assert_int_equal(ide_create(&config, &ide, &diag), -EEXIST);
	block_close(block);
}

#define T(name) cmocka_unit_test_setup_teardown(name, ide_rig_setup, ide_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ports_answer_when_they_are_decoded),
		T(the_function_is_a_piix4),
		T(a_soft_reset_shows_signatures),
		T(a_reset_that_lasts_is_busy),
		T(identify_tells_who_it_is),
		T(sectors_are_read_one_interrupt_each),
		T(a_count_of_zero_is_256),
		T(long_commands_go_through_both_buffers),
		T(what_is_written_is_in_the_file),
		T(write_multiple_ends_with_a_short_block),
		T(a_bios_polls_without_interrupts),
		T(cylinders_heads_and_sectors),
		T(modes_are_set_and_told),
		T(without_a_write_cache_writes_are_forced),
		T(what_is_not_there_is_aborted),
		T(power_commands_are_accepted),
		T(a_diagnostic_is_told_by_the_master),
		T(the_older_half_of_registers_shows_with_hob),
		T(beyond_the_end_is_not_found),
		T(a_bad_sector_is_told_after_those_before_it),
		T(a_bad_sector_ends_multiple_at_a_whole_block),
		T(a_failed_write_is_aborted_where_it_failed),
		T(no_space_and_no_flush_are_aborted),
		T(verify_reads_and_tells),
		T(a_read_only_disk_is_not_written),
		T(a_reset_waits_for_the_host),
		T(a_reset_ends_a_transfer_in_its_middle),
		T(while_busy_registers_are_not_written),
		T(a_detached_disk_is_an_empty_place),
		T(a_detached_disk_may_be_closed),
		T(a_large_disk_needs_48_bits),
		T(a_running_dma_is_finished_before_a_detach),
		T(pause_keeps_requests_from_the_host),
		T(a_disk_of_large_sectors_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
