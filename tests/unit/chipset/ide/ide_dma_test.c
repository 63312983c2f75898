/* SPDX-License-Identifier: MIT */
/* Bus-master DMA: tables as libata makes them, and tables as nobody should. */
#include <errno.h>

#include "ide_rig.h"

#define SHORT_OF_MEMORY (PCI_RIG_MEM_BYTES - 4096)

static const struct tf read_8 = { .command = ATA_CMD_READ_DMA, .lba = 16, .count = 8 };

static uint8_t bm;

static void pages_go_straight_to_the_guest(void **state)
{
	const struct tf tf = {
		.command = ATA_CMD_READ_DMA_EXT, .lba = 100, .count = 256, .is_lba48 = true
	};

	for (unsigned int i = 0; i < 32; i++) { /* every second page */
		put_prd(i, DATA_GPA + i * 8192, 4096, i == 31);
	}
	assert_int_equal(dma(&tf, true, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
	assert_int_equal(bm_read(0, BM_REG_STATUS) & 7, 0);
	for (unsigned int i = 0; i < 32; i++) {
		check_data(guest(DATA_GPA + i * 8192), 100 * 512 + i * 4096U, 4096, 0);
	}
	assert_int_equal(block_read_stats(rig.disk)->reads, 1); /* one request, no copy */
	assert_int_equal(block_read_stats(rig.disk)->bounced, 0);
	assert_int_equal(rig.edges[0], 1);
}

static void writes_come_from_the_guest(void **state)
{
	static const uint8_t commands[] = { ATA_CMD_WRITE_DMA, ATA_CMD_WRITE_DMA_EXT,
					    ATA_CMD_WRITE_DMA_FUA_EXT };
	uint8_t back[4096];

	for (unsigned int i = 0; i < sizeof(commands); i++) {
		const struct tf tf = {
			.command = commands[i], .lba = 200 + i * 8, .count = 8, .is_lba48 = i > 0
		};

		memset(guest(DATA_GPA), 0x10 + (int)i, 4096);
		put_prd(0, DATA_GPA, 1024, false);
		put_prd(1, DATA_GPA + 1024, 3072, true);
		assert_int_equal(dma(&tf, false, &bm), 0x50);
		assert_int_equal(pread(rig.fd, back, 4096, (off_t)tf.lba * 512), 4096);
		assert_memory_equal(back, guest(DATA_GPA), 4096);
	}
}

static void zero_means_64_kib(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_DMA, .lba = 0, .count = 0 };

	put_prd(0, DATA_GPA, 0, false);
	put_prd(1, DATA_GPA + 65536, 0, true);
	assert_int_equal(dma(&tf, true, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
	check_data(guest(DATA_GPA), 0, 131072, 0);
}

static void the_largest_command(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_DMA_EXT,
			       .count = DISK_SECTORS,
			       .is_lba48 = true };

	for (unsigned int i = 0; i < 32; i++) {
		put_prd(i, DATA_GPA + i * 65536, 0, i == 31);
	}
	assert_int_equal(dma(&tf, true, &bm), 0x50);
	check_data(guest(DATA_GPA), 0, DISK_SECTORS * 512, 0);
}

static void a_long_table_leaves_the_bus_master_active(void **state)
{
	put_prd(0, DATA_GPA, 0, true);
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ | BM_STATUS_ACTIVE);
	assert_int_equal(bm_read(0, BM_REG_STATUS) & 7, 0); /* stopped */
}

/* 4.3 of the specification: neither interrupt nor active; the drive waits until it is reset. */
static void a_short_table_leaves_the_drive_waiting(void **state)
{
	put_prd(0, DATA_GPA, 1024, true);
	bm_setup(0, true);
	issue(&read_8);
	bm_start(0);
	settle();
	assert_int_equal(bm_read(0, BM_REG_STATUS) & 7, 0);
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	check_data(guest(DATA_GPA), 16 * 512, 1024, 0);
	bm_write(0, BM_REG_COMMAND, BM_COMMAND_TO_MEMORY);
	set_control(0, ATA_CONTROL_SRST);
	set_control(0, 0);
	assert_int_equal(wait_idle(0), 0x50);
	put_prd(0, DATA_GPA, 4096, true);
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
}

static void tiny_pieces_add_up(void **state)
{
	for (unsigned int i = 0; i < 2048; i++) { /* two bytes here, two there */
		put_prd(i, DATA_GPA + i * 4, 2, i == 2047);
	}
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
	for (unsigned int i = 0; i < 4096; i++) {
		assert_int_equal(*guest(DATA_GPA + i / 2 * 4 + i % 2), disk_byte(16 * 512 + i, 0));
	}
}

static void pieces_need_not_be_aligned(void **state)
{
	put_prd(0, DATA_GPA + 2, 1000, false);
	put_prd(1, DATA_GPA + 5000, 98, false);
	put_prd(2, DATA_GPA + 10001, 2999, true); /* bits 0 are not there */
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
	check_data(guest(DATA_GPA + 2), 16 * 512, 1000, 0);
	check_data(guest(DATA_GPA + 5000), 16 * 512 + 1000, 98, 0);
	check_data(guest(DATA_GPA + 10000), 16 * 512 + 1098, 2998, 0);
}

/* No end mark: the command's own length is the end, wherever the table leads. */
static void a_table_without_end_is_no_trap(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_DMA_EXT,
			       .count = DISK_SECTORS,
			       .is_lba48 = true };

	for (unsigned int i = 0; i < 8192; i++) {
		put_prd(i, DATA_GPA + i % 16 * 512, 512, false);
	}
	assert_int_equal(dma(&tf, true, &bm), 0x50);
	assert_int_equal(bm & BM_STATUS_ACTIVE, BM_STATUS_ACTIVE);
}

static void what_is_not_memory_ends_in_an_error(void **state)
{
	put_prd(0, DATA_GPA, 512, false);
	put_prd(1, 0xf0000000U, 3584, true);
	bm_setup(0, true);
	issue(&read_8);
	bm_start(0);
	settle();
	assert_int_equal(bm_read(0, BM_REG_STATUS) & 7, BM_STATUS_ERROR);
	check_data(guest(DATA_GPA), 16 * 512, 512, 0); /* what could be moved was */
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 4) >> 16 & PCI_STATUS_MASTER_ABORT,
			 PCI_STATUS_MASTER_ABORT);
	set_control(0, ATA_CONTROL_SRST);
	set_control(0, 0);
	assert_int_equal(wait_idle(0), 0x50);
	put_prd(0, DATA_GPA, 4096, true);
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
}

static void a_table_out_of_memory_is_an_error(void **state)
{
	rig_out32(&rig.pci.rig, BM_PORT + BM_REG_TABLE, 0xfffffff8U);
	issue(&read_8);
	bm_start(0);
	settle();
	assert_int_equal(bm_read(0, BM_REG_STATUS) & 7, BM_STATUS_ERROR);
}

static void memory_that_ends_within_a_piece(void **state)
{
	put_prd(0, SHORT_OF_MEMORY, 4096, false);
	put_prd(1, SHORT_OF_MEMORY, 0, true);            /* 64 KiB, of which 4 are there */
	assert_int_equal(dma(&read_8, true, &bm), 0x50); /* needs only the first */
	bm_setup(0, true);
	rig_out32(&rig.pci.rig, BM_PORT + BM_REG_TABLE, TABLE_GPA + 8);
	const struct tf more = { .command = ATA_CMD_READ_DMA, .lba = 16, .count = 9 };
	issue(&more);
	bm_start(0);
	settle();
	assert_int_equal(bm_read(0, BM_REG_STATUS) & 7, BM_STATUS_ERROR);
}

static void nothing_moves_before_the_bus_master_may(void **state)
{
	pci_rig_write16(&rig.pci, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	put_prd(0, DATA_GPA, 4096, true);
	bm_setup(0, true);
	issue(&read_8);
	settle();
	bm_start(0);
	settle();
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	assert_int_equal(block_read_stats(rig.disk)->reads, 0);
	pci_rig_write16(&rig.pci, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	assert_int_equal(bm_finish(0, &bm), 0x50);
	check_data(guest(DATA_GPA), 16 * 512, 4096, 0);
}

static void start_before_the_command_is_as_good(void **state)
{
	put_prd(0, DATA_GPA, 4096, true);
	bm_setup(0, true);
	bm_start(0);
	settle();
	issue(&read_8);
	assert_int_equal(bm_finish(0, &bm), 0x50);
	check_data(guest(DATA_GPA), 16 * 512, 4096, 0);
}

static void a_bad_sector_is_found_in_the_middle(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_DMA, .lba = 10, .count = 100 };

	block_fail_at(rig.fail, BLOCK_READ, 47 * 512 + 5, -EIO);
	for (unsigned int i = 0; i < 100; i++) {
		put_prd(i, DATA_GPA + i * 1024, 512, i == 99);
	}
	assert_int_equal(dma(&tf, true, &bm), 0x51);
	assert_int_equal(get_reg(0, ATA_REG_ERROR), ATA_ERROR_UNC);
	assert_int_equal(get_reg(0, ATA_REG_LBA_LOW), 47);
	assert_int_equal(bm & 7, BM_STATUS_IRQ | BM_STATUS_ACTIVE);
	for (unsigned int i = 0; i < 37; i++) {
		check_data(guest(DATA_GPA + i * 1024), (10 + i) * 512, 512, 0);
	}
	block_fail_at(rig.fail, BLOCK_READ, 0, 0);
	assert_int_equal(dma(&tf, true, &bm), 0x50);
}

static void a_reset_in_flight_waits_for_guest_pages(void **state)
{
	block_delay_set(rig.delay, BLOCK_DELAY_HOLD);
	put_prd(0, DATA_GPA, 4096, true);
	bm_setup(0, true);
	issue(&read_8);
	bm_start(0);
	settle();
	bm_write(0, BM_REG_COMMAND, BM_COMMAND_TO_MEMORY);
	assert_int_equal(bm_read(0, BM_REG_STATUS) & BM_STATUS_ACTIVE, BM_STATUS_ACTIVE);
	set_control(0, ATA_CONTROL_SRST);
	set_control(0, 0);
	settle();
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	block_delay_set(rig.delay, 0);
	block_delay_release(rig.delay);
	assert_int_equal(wait_idle(0), 0x50);
	assert_int_equal(bm_read(0, BM_REG_STATUS) & BM_STATUS_ACTIVE, 0);
	assert_int_equal(rig.edges[0], 0);
}

static void registers_take_any_width(void **state)
{
	rig_out16(&rig.pci.rig, BM_PORT + BM_REG_TABLE, 0x1237);
	rig_out16(&rig.pci.rig, BM_PORT + BM_REG_TABLE + 2, 0x0045);
	assert_int_equal(rig_in32(&rig.pci.rig, BM_PORT + BM_REG_TABLE), 0x00451234);
	bm_write(0, BM_REG_STATUS, 0x60);
	assert_int_equal(bm_read(0, BM_REG_STATUS), 0x60);
	assert_int_equal(rig_in32(&rig.pci.rig, BM_PORT), 0x00600000);
	assert_int_equal(rig_in32(&rig.pci.rig, BM_PORT + 12), 0);
}

/* A VP and an I/O loop at the same time: for the thread sanitizer, and for what only order shows. */
static void a_loop_of_its_own(void **state)
{
	const struct tf pio = {
		.command = ATA_CMD_READ_EXT, .lba = 3, .count = 300, .is_lba48 = true
	};
	static uint8_t data[300 * 512];
	struct diag diag;

	rig.has_thread = true;
	assert_int_equal(loop_start_thread(rig.pci.rig.loop, &diag), 0);
	put_prd(0, DATA_GPA, 4096, true);
	for (unsigned int i = 0; i < 100; i++) {
		memset(guest(DATA_GPA), 0, 4096);
		assert_int_equal(dma(&read_8, true, &bm), 0x50);
		check_data(guest(DATA_GPA), 16 * 512, 4096, 0);
		assert_int_equal(pio_read(&pio, data, 300, 1), 0x50);
		check_data(data, 3 * 512, sizeof(data), 0);
		bm_setup(0, true);
		issue(&read_8);
		bm_start(0);
		set_control(0, ATA_CONTROL_SRST); /* wherever it is */
		set_control(0, 0);
		assert_int_equal(wait_idle(0), 0x50);
		bm_write(0, BM_REG_COMMAND, 0);
	}
	ide_detach(rig.ide, 0, &rig.work);
	ide_rig_wait_done(1);
	ide_attach(rig.ide, 0, NULL);
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
	loop_stop_thread(rig.pci.rig.loop);
	rig.has_thread = false;
}

/* What the chip's interface forces, and no more: counted as libata does it. */
static void exits_of_a_page(void **state)
{
	const struct tf pio = { .command = ATA_CMD_READ, .lba = 16, .count = 8 };
	unsigned int by_pio, by_dma;
	uint8_t page[4096];

	rig.exits = 0;
	assert_int_equal(pio_read(&pio, page, 8, 1), 0x50);
	by_pio = rig.exits;
	put_prd(0, DATA_GPA, 4096, true);
	rig.exits = 0;
	assert_int_equal(dma(&read_8, true, &bm), 0x50);
	by_dma = rig.exits;
	print_message("4 KiB: %u exits by PIO, %u by DMA\n", by_pio, by_dma);
	assert_int_equal(by_pio,
			 7 + 8 * 2 + 1); /* task file, status and string per sector, status */
	assert_int_equal(by_dma, 7 + 4 + 2 + 7);
}

#define T(name) cmocka_unit_test_setup_teardown(name, ide_rig_setup, ide_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pages_go_straight_to_the_guest),
		T(writes_come_from_the_guest),
		T(zero_means_64_kib),
		T(the_largest_command),
		T(a_long_table_leaves_the_bus_master_active),
		T(a_short_table_leaves_the_drive_waiting),
		T(tiny_pieces_add_up),
		T(pieces_need_not_be_aligned),
		T(a_table_without_end_is_no_trap),
		T(what_is_not_memory_ends_in_an_error),
		T(a_table_out_of_memory_is_an_error),
		T(memory_that_ends_within_a_piece),
		T(nothing_moves_before_the_bus_master_may),
		T(start_before_the_command_is_as_good),
		T(a_bad_sector_is_found_in_the_middle),
		T(a_reset_in_flight_waits_for_guest_pages),
		T(registers_take_any_width),
		T(a_loop_of_its_own),
		T(exits_of_a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
