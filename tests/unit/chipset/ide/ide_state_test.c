/* SPDX-License-Identifier: MIT */
/* Saved in the middle and loaded into another chip; states that nobody saved; memory that runs out. */
#include <errno.h>

#include "base/fault.h"
#include "ide_rig.h"

static uint8_t buf[1 << 18];

/* Saves, makes a new chip over the same drives, loads: and the new one saves the same. */
static void move(void)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	ide_rig_pause();
	save_init(&first);
	save_init(&second);
	ide_save(rig.ide, &first);
	assert_int_equal(save_finish(&first, &a, &a_bytes), 0);
	ide_destroy(rig.ide);
	rig.level[0] = rig.level[1] = false;
	ide_rig_create(&rig);
	ide_rig_pause();
	load_init(&load, a, a_bytes);
	assert_int_equal(ide_load(rig.ide, &load), 0);
	ide_save(rig.ide, &second);
	assert_int_equal(save_finish(&second, &b, &b_bytes), 0);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a, b, a_bytes);
	save_fini(&first);
	save_fini(&second);
	ide_resume(rig.ide);
}

static void a_pio_read_goes_on_where_it_was(void **state)
{
	const struct tf tf = {
		.command = ATA_CMD_READ_EXT, .lba = 3, .count = 300, .is_lba48 = true
	};

	issue(&tf);
	for (unsigned int i = 0; i < 300; i++) {
		wait_irq(0);
		if (i % 50 == 10) {
			move(); /* with an interrupt that nobody has looked at */
			assert_true(rig.level[0]);
		}
		assert_int_equal(get_reg(0, ATA_REG_STATUS), 0x58);
		ins(0, &buf[i * 512], 256);
		if (i % 50 == 20) {
			move();
		}
		ins(0, &buf[i * 512 + 256], 256);
	}
	check_data(buf, 3 * 512, 300 * 512, 0);
	assert_int_equal(alt_status(0), 0x50);
}

static void a_pio_write_goes_on_where_it_was(void **state)
{
	const struct tf tf = { .command = ATA_CMD_WRITE, .lba = 40, .count = 200 };
	static uint8_t back[200 * 512];

	for (unsigned int i = 0; i < sizeof(back); i++) {
		buf[i] = (uint8_t)(i * 5 + i / 512);
	}
	issue(&tf);
	for (unsigned int i = 0; i < 200; i++) {
		assert_int_equal(wait_idle(0), 0x58);
		outs(0, &buf[i * 512], 512 - 64);
		if (i % 60 == 30) {
			move();
		}
		outs(0, &buf[i * 512 + 512 - 64], 64);
		if (i == 127) {
			move(); /* the buffer is full and not written */
		}
	}
	assert_int_equal(wait_idle(0), 0x50);
	assert_int_equal(pread(rig.fd, back, sizeof(back), 40 * 512), sizeof(back));
	assert_memory_equal(back, buf, sizeof(back));
}

static void a_dma_waits_for_its_start_over_a_move(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_DMA, .lba = 16, .count = 8 };
	uint8_t bm;

	put_prd(0, DATA_GPA, 4096, true);
	bm_setup(0, true);
	issue(&tf);
	move();
	bm_start(0);
	assert_int_equal(bm_finish(0, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
	check_data(guest(DATA_GPA), 16 * 512, 4096, 0);
}

/* Two requests of 2 MiB at most: saved when the first one is back. */
static void a_dma_in_its_middle_goes_on(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ_DMA_EXT, .count = 3000, .is_lba48 = true };
	uint8_t bm;

	for (unsigned int i = 0; i < 3000; i++) {
		put_prd(i, DATA_GPA + i * 1024, 512, i == 2999);
	}
	block_delay_set(rig.delay, BLOCK_DELAY_HOLD);
	bm_setup(0, true);
	issue(&tf);
	bm_start(0);
	settle();
	ide_pause(rig.ide, &rig.work);
	settle();
	assert_int_equal(rig.done, 0); /* it waits for what is in flight */
	block_delay_set(rig.delay, 0);
	block_delay_release(rig.delay);
	ide_rig_wait_done(1);
	assert_int_equal(alt_status(0), ATA_STATUS_BSY);
	ide_resume(rig.ide);
	move();
	assert_int_equal(bm_finish(0, &bm), 0x50);
	assert_int_equal(bm & 7, BM_STATUS_IRQ);
	for (unsigned int i = 0; i < 3000; i++) {
		check_data(guest(DATA_GPA + i * 1024), i * 512U, 512, 0);
	}
}

static void a_packet_goes_on_where_it_was(void **state)
{
	static const uint8_t cdb[12] = { 0x28, 0, 0, 0, 0, 4, 0, 0, 64 };
	unsigned int n = 0;

	put_reg(1, ATA_REG_LBA_MID, 0);
	put_reg(1, ATA_REG_LBA_HIGH, 8);
	put_reg(1, ATA_REG_COMMAND, ATA_CMD_PACKET);
	outs(1, cdb, 4);
	move();
	outs(1, &cdb[4], 8);
	move();
	for (;; n++) {
		wait_irq(1);
		if (!(get_reg(1, ATA_REG_STATUS) & ATA_STATUS_DRQ)) {
			break;
		}
		ins(1, &buf[n * 2048], 1024);
		if (n == 5 || n == 40) {
			move();
		}
		ins(1, &buf[n * 2048 + 1024], 1024);
	}
	assert_int_equal(n, 64);
	check_data(buf, 4 * 2048, 64 * 2048, 2);
	assert_int_equal(alt_status(1), 0x50);
}

static void settings_and_sense_survive(void **state)
{
	const struct tf mode = { .command = ATA_CMD_SET_FEATURES, .feature = 3, .count = 0x42 };
	const struct tf multiple = { .command = ATA_CMD_SET_MULTIPLE, .count = 4 };
	const struct tf identify = { .command = ATA_CMD_IDENTIFY };
	static const uint8_t bad[12] = { 0xff }, sense[12] = { 0x03, 0, 0, 0, 18 };

	assert_int_equal(command_only(&mode), 0x50);
	assert_int_equal(command_only(&multiple), 0x50);
	put_reg(1, ATA_REG_COMMAND, ATA_CMD_PACKET);
	outs(1, bad, 12);
	wait_irq(1);
	assert_int_equal(get_reg(1, ATA_REG_STATUS), 0x51);
	pci_rig_write16(&rig.pci, IDE_DEVFN, 0x40, 0xa377);
	move();
	assert_int_equal(pci_rig_read(&rig.pci, IDE_DEVFN, 0x40), 0x8000a377);
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
	assert_int_equal(bytes_le16(&buf[88 * 2]), 0x043f);
	assert_int_equal(bytes_le16(&buf[59 * 2]), 0x0104);
	put_reg(1, ATA_REG_LBA_MID, 18);
	put_reg(1, ATA_REG_COMMAND, ATA_CMD_PACKET);
	outs(1, sense, 12);
	wait_irq(1);
	chipset_pio(rig.pci.rig.chipset, 0x170, false, buf, 2, 9);
	assert_int_equal(buf[2], SCSI_KEY_ILLEGAL_REQUEST);
}

static void a_detached_drive_stays_away(void **state)
{
	ide_detach(rig.ide, 0, &rig.work);
	ide_rig_wait_done(1);
	move();
	assert_false(ide_is_attached(rig.ide, 0));
	assert_int_equal(get_reg(0, ATA_REG_STATUS), 0);
}

/* Every byte of a state in the middle of a transfer, changed: refused, or a state that works. */
static void a_broken_state_is_refused_or_harmless(void **state)
{
	const struct tf tf = { .command = ATA_CMD_READ, .lba = 3, .count = 2 };
	const struct tf identify = { .command = ATA_CMD_IDENTIFY };
	unsigned int refused = 0;
	uint8_t *copy;
	struct save save;
	const uint8_t *bytes;
	size_t length;
	struct load load;

	issue(&tf);
	wait_irq(0);
	ide_rig_pause();
	save_init(&save);
	ide_save(rig.ide, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	copy = malloc(length);
	for (size_t i = 0; i<length; i += i> 600 && i < length - 600 ? 37 : 1) {
		memcpy(copy, bytes, length);
		copy[i] ^= (uint8_t)(1 + i % 255);
		load_init(&load, copy, length);
		if (ide_load(rig.ide, &load)) {
			refused++;
			assert_true(ide_is_attached(rig.ide, 0));
			continue;
		}
		ide_resume(rig.ide);
		settle();
		set_control(0, ATA_CONTROL_SRST);
		set_control(0, 0);
		ide_rig_pause();
	}
	assert_true(refused > 50);
	load_init(&load, bytes, length - 1);
	assert_int_equal(ide_load(rig.ide, &load), -EBADMSG);
	free(copy);
	save_fini(&save);
	ide_reset(rig.ide);
	ide_resume(rig.ide);
	ide_rig_enable(&rig);
	assert_int_equal(pio_read(&identify, buf, 1, 1), 0x50);
}

static void create_undoes_itself_when_memory_runs_out(void **state)
{
	struct ide *ide = NULL;
	struct diag diag;
	unsigned int n;

	ide_rig_pause();
	ide_destroy(rig.ide);
	for (n = 1;; n++) {
		int err;

		fault_arm(n);
		err = ide_create(&rig.config, &ide, &diag);
		fault_arm(0);
		if (!err) {
			break;
		}
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(n, 3);
	rig.ide = ide;
}

#define T(name) cmocka_unit_test_setup_teardown(name, ide_rig_setup, ide_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_pio_read_goes_on_where_it_was),
		T(a_pio_write_goes_on_where_it_was),
		T(a_dma_waits_for_its_start_over_a_move),
		T(a_dma_in_its_middle_goes_on),
		T(a_packet_goes_on_where_it_was),
		T(settings_and_sense_survive),
		T(a_detached_drive_stays_away),
		T(a_broken_state_is_refused_or_harmless),
		T(create_undoes_itself_when_memory_runs_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
