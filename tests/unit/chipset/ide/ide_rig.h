/* SPDX-License-Identifier: MIT */
/*
 * The IDE function with drives in files, and what ata_piix does to it: probe, task files, PIO by interrupt,
 * descriptor tables. Primary master: a disk of DISK_SECTORS; primary slave: a read-only one; secondary
 * master: a DVD drive.
 */
#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "../pci_rig.h"
#include "base/bytes.h"
#include "block/layers.h"
#include "chipset/ide/ide.h"
#include "proto/ata.h"

#define IDE_DEVFN    PCI_DEVFN(7, 1)
#define DISK_SECTORS 4096U
#define DVD_BLOCKS   256U
#define BM_PORT      0xc000U
#define TABLE_GPA    0x100000U
#define DATA_GPA     0x200000U

struct ide_rig {
	struct pci_rig pci;
	struct ide *ide;
	struct ide_config config;
	struct block *disk, *slave, *disc;
	struct block_fail *fail;
	struct block_delay *delay;
	struct scsi_disk *dvd;
	int fd, slave_fd, disc_fd; /* the files behind them */
	_Atomic(bool) level[2];
	_Atomic(unsigned int) edges[2];
	bool has_thread;            /* the loop's: we only wait */
	_Atomic(unsigned int) done; /* works that were posted */
	struct loop_work work;
	unsigned int exits; /* what KVM would have left the guest for */
};

static struct ide_rig rig;

static inline void ide_rig_line(void *ctx, uint32_t gsi, bool level)
{
	unsigned int channel = gsi - ATA_GSI_PRIMARY;

	rig.edges[channel] += level && !rig.level[channel];
	rig.level[channel] = level;
}

static inline void ide_rig_done(struct loop_work *work)
{
	rig.done++;
}

static inline uint8_t disk_byte(uint64_t at, uint8_t salt)
{
	return (uint8_t)(at / 512 * 7 + at % 512 * 3 + salt);
}

/* A file with a pattern, and a block over it. */
static inline struct block *ide_rig_open(uint64_t bytes, bool read_only, uint8_t salt, int *ret_fd)
{
	char path[] = "/tmp/ide-test-XXXXXX";
	struct block_config config = { .kind = BLOCK_RAW, .path = path, .read_only = read_only };
	struct block *block;
	struct diag diag;
	uint8_t *data = malloc(bytes);
	int fd = mkstemp(path);

	config.logical_block_bytes = 512;
	assert_true(fd >= 0 && data);
	for (uint64_t i = 0; i < bytes; i++) {
		data[i] = disk_byte(i, salt);
	}
	assert_int_equal(pwrite(fd, data, bytes, 0), (ssize_t)bytes);
	free(data);
	assert_int_equal(block_open(&config, &block, &diag), 0);
	unlink(path);
	*ret_fd = fd;
	return block;
}

static inline void ide_rig_create(struct ide_rig *r)
{
	struct diag diag;

	r->config = (struct ide_config){
		.chipset = r->pci.rig.chipset,
		.bus = r->pci.bus,
		.devfn = IDE_DEVFN,
		.mem = r->pci.mem,
		.loop = r->pci.rig.loop,
		.lines = { { ide_rig_line, r, ATA_GSI_PRIMARY },
			   { ide_rig_line, r, ATA_GSI_SECONDARY } },
		.drives = { { .kind = IDE_DISK,
			      .block = r->disk,
			      .write_cache = true,
			      .serial = "SERIAL-1" },
			    { .kind = IDE_DISK, .block = r->slave },
			    { .kind = IDE_DVD, .unit = r->dvd },
			    { .kind = IDE_EMPTY } },
	};
	assert_int_equal(ide_create(&r->config, &r->ide, &diag), 0);
}

static inline void ide_rig_enable(struct ide_rig *r)
{
	pci_rig_write16(&r->pci, IDE_DEVFN, PIIX_IDE_TIMING, 0x8000);
	pci_rig_write16(&r->pci, IDE_DEVFN, PIIX_IDE_TIMING + 2, 0x8000);
	pci_rig_write(&r->pci, IDE_DEVFN, PCI_BAR_0 + 16, BM_PORT);
	pci_rig_write16(&r->pci, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static inline int ide_rig_setup(void **state)
{
	struct scsi_disk_config unit = { .type = SCSI_DVD,
					 .transfer_bytes_max = IDE_PACKET_BYTES_MAX };
	struct diag diag;

	rig = (struct ide_rig){ 0 };
	pci_rig_init(&rig.pci);
	loop_work_init(&rig.work, ide_rig_done);
	rig.disk = ide_rig_open((uint64_t)DISK_SECTORS * 512, false, 0, &rig.fd);
	assert_int_equal(block_fail_create(rig.disk, &rig.fail), 0);
	assert_int_equal(block_delay_create(block_fail_block(rig.fail), 0, &rig.delay), 0);
	rig.disk = block_delay_block(rig.delay);
	rig.slave = ide_rig_open(100 * 512, true, 1, &rig.slave_fd);
	rig.disc = ide_rig_open((uint64_t)DVD_BLOCKS * 2048, true, 2, &rig.disc_fd);
	assert_int_equal(block_start(rig.disk, rig.pci.rig.loop), 0);
	assert_int_equal(block_start(rig.slave, rig.pci.rig.loop), 0);
	assert_int_equal(block_start(rig.disc, rig.pci.rig.loop), 0);
	unit.info = block_info(rig.disc);
	assert_int_equal(scsi_disk_create(&unit, &rig.dvd, &diag), 0);
	scsi_disk_attach(rig.dvd, 0, rig.disc);
	ide_rig_create(&rig);
	ide_rig_enable(&rig);
	return 0;
}

static inline void ide_rig_step(void)
{
	if (rig.has_thread) {
		sched_yield();
	} else {
		loop_turn(rig.pci.rig.loop);
	}
}

static inline void ide_rig_wait_done(unsigned int count)
{
	uint64_t end_ns = loop_now_ns() + 5000000000ULL;

	while (rig.done < count && loop_now_ns() < end_ns) {
		ide_rig_step();
	}
	assert_int_equal(rig.done, count);
}

static inline void ide_rig_pause(void)
{
	ide_pause(rig.ide, &rig.work);
	ide_rig_wait_done(rig.done + 1);
}

static inline void ide_rig_stop(struct block *block)
{
	block_stop(block, &rig.work);
	ide_rig_wait_done(rig.done + 1);
	block_close(block);
}

static inline int ide_rig_teardown(void **state)
{
	if (rig.delay) {
		block_delay_set(rig.delay, 0);
		block_delay_release(rig.delay);
	}
	ide_rig_pause();
	ide_destroy(rig.ide);
	scsi_disk_detach(rig.dvd, 0);
	scsi_disk_destroy(rig.dvd);
	ide_rig_stop(rig.disk);
	ide_rig_stop(rig.slave);
	ide_rig_stop(rig.disc);
	close(rig.fd);
	close(rig.slave_fd);
	close(rig.disc_fd);
	pci_rig_fini(&rig.pci);
	return 0;
}

/* ---- a driver's hands --------------------------------------------------------------------------------- */

static inline uint16_t ide_port(unsigned int channel, unsigned int reg)
{
	return (uint16_t)((channel ? ATA_PORT_SECONDARY : ATA_PORT_PRIMARY) + reg);
}

static inline uint16_t ide_control(unsigned int channel)
{
	return channel ? ATA_PORT_SECONDARY_CONTROL : ATA_PORT_PRIMARY_CONTROL;
}

static inline void put_reg(unsigned int channel, unsigned int reg, uint8_t value)
{
	rig.exits++;
	rig_out(&rig.pci.rig, ide_port(channel, reg), value);
}

static inline uint8_t get_reg(unsigned int channel, unsigned int reg)
{
	rig.exits++;
	return rig_in(&rig.pci.rig, ide_port(channel, reg));
}

static inline uint8_t alt_status(unsigned int channel)
{
	rig.exits++;
	return rig_in(&rig.pci.rig, ide_control(channel));
}

static inline void set_control(unsigned int channel, uint8_t value)
{
	rig.exits++;
	rig_out(&rig.pci.rig, ide_control(channel), value);
}

static inline void wait_irq(unsigned int channel)
{
	uint64_t end_ns = loop_now_ns() + 5000000000ULL;

	while (!rig.level[channel] && loop_now_ns() < end_ns) {
		ide_rig_step();
	}
	assert_true(rig.level[channel]);
}

/* Until BSY is gone, as a BIOS waits. */
static inline uint8_t wait_idle(unsigned int channel)
{
	uint64_t end_ns = loop_now_ns() + 5000000000ULL;

	while ((alt_status(channel) & ATA_STATUS_BSY) && loop_now_ns() < end_ns) {
		ide_rig_step();
	}
	assert_false(alt_status(channel) & ATA_STATUS_BSY);
	return alt_status(channel);
}

static inline void settle(void)
{
	rig_turn(&rig.pci.rig, 5); /* ms: whatever the host has to do is done */
}

struct tf {
	unsigned int channel, unit;
	uint8_t command, feature;
	uint64_t lba;
	uint32_t count;
	bool is_lba48;
};

static inline void issue(const struct tf *tf)
{
	unsigned int c = tf->channel;
	uint8_t device = (uint8_t)(ATA_DEVICE_ALWAYS | ATA_DEVICE_LBA | tf->unit << 4);

	if (tf->is_lba48) {
		put_reg(c, ATA_REG_FEATURE, 0);
		put_reg(c, ATA_REG_COUNT, (uint8_t)(tf->count >> 8));
		put_reg(c, ATA_REG_LBA_LOW, (uint8_t)(tf->lba >> 24));
		put_reg(c, ATA_REG_LBA_MID, (uint8_t)(tf->lba >> 32));
		put_reg(c, ATA_REG_LBA_HIGH, (uint8_t)(tf->lba >> 40));
	} else {
		device |= tf->lba >> 24 & 0x0f;
	}
	put_reg(c, ATA_REG_DEVICE, device);
	put_reg(c, ATA_REG_FEATURE, tf->feature);
	put_reg(c, ATA_REG_COUNT, (uint8_t)tf->count);
	put_reg(c, ATA_REG_LBA_LOW, (uint8_t)tf->lba);
	put_reg(c, ATA_REG_LBA_MID, (uint8_t)(tf->lba >> 8));
	put_reg(c, ATA_REG_LBA_HIGH, (uint8_t)(tf->lba >> 16));
	put_reg(c, ATA_REG_COMMAND, tf->command);
}

/* A string instruction of 32-bit words: one exit. */
static inline void ins(unsigned int channel, void *buf, unsigned int bytes)
{
	rig.exits++;
	chipset_pio(rig.pci.rig.chipset, ide_port(channel, 0), false, buf, 4, bytes / 4);
}

static inline void outs(unsigned int channel, const void *buf, unsigned int bytes)
{
	uint8_t copy[65536];

	rig.exits++;
	memcpy(copy, buf, bytes);
	chipset_pio(rig.pci.rig.chipset, ide_port(channel, 0), true, copy, 4, bytes / 4);
}

/* PIO data-in, one interrupt for each block; the status at the end. */
static inline uint8_t pio_read(const struct tf *tf, void *buf, uint32_t sectors, uint32_t per_block)
{
	uint8_t *at = buf, status;

	issue(tf);
	while (sectors > 0) {
		uint32_t n = sectors < per_block ? sectors : per_block;

		wait_irq(tf->channel);
		status = get_reg(tf->channel, ATA_REG_STATUS);
		assert_false(rig.level[tf->channel]);
		if (!(status & ATA_STATUS_DRQ)) {
			return status;
		}
		assert_int_equal(status & (ATA_STATUS_BSY | ATA_STATUS_ERR), 0);
		for (uint32_t i = 0; i < n; i++, at += 512) {
			ins(tf->channel, at, 512);
		}
		sectors -= n;
	}
	return alt_status(tf->channel);
}

static inline uint8_t pio_write(const struct tf *tf, const void *buf, uint32_t sectors,
				uint32_t per_block)
{
	const uint8_t *at = buf;
	uint8_t status;
	bool is_first = true;

	issue(tf);
	while (sectors > 0) {
		uint32_t n = sectors < per_block ? sectors : per_block;

		if (is_first) {
			status = wait_idle(tf->channel);
		} else {
			wait_irq(tf->channel);
			status = get_reg(tf->channel, ATA_REG_STATUS);
		}
		is_first = false;
		if (!(status & ATA_STATUS_DRQ)) {
			return status;
		}
		for (uint32_t i = 0; i < n; i++, at += 512) {
			outs(tf->channel, at, 512);
		}
		sectors -= n;
	}
	wait_irq(tf->channel);
	return get_reg(tf->channel, ATA_REG_STATUS);
}

static inline uint8_t command_only(const struct tf *tf)
{
	issue(tf);
	wait_irq(tf->channel);
	return get_reg(tf->channel, ATA_REG_STATUS);
}

/* ---- bus master -------------------------------------------------------------------------------------------- */

static inline uint8_t bm_read(unsigned int channel, unsigned int reg)
{
	rig.exits++;
	return rig_in(&rig.pci.rig, (uint16_t)(BM_PORT + channel * 8 + reg));
}

static inline void bm_write(unsigned int channel, unsigned int reg, uint8_t value)
{
	rig.exits++;
	rig_out(&rig.pci.rig, (uint16_t)(BM_PORT + channel * 8 + reg), value);
}

/* bytes: as in the descriptor, 0 for 64 KiB. */
static inline void put_prd(unsigned int i, uint32_t gpa, uint32_t bytes, bool is_last)
{
	uint8_t raw[8];

	bytes_put_le32(raw, gpa);
	bytes_put_le16(&raw[4], (uint16_t)bytes);
	bytes_put_le16(&raw[6], is_last ? BM_PRD_END : 0);
	assert_int_equal(mem_write(rig.pci.mem, TABLE_GPA + i * 8, raw, 8), 0);
}

/* As bmdma_setup does. */
static inline void bm_setup(unsigned int channel, bool to_memory)
{
	rig.exits++;
	rig_out32(&rig.pci.rig, (uint16_t)(BM_PORT + channel * 8 + BM_REG_TABLE), TABLE_GPA);
	bm_write(channel, BM_REG_STATUS,
		 (uint8_t)(bm_read(channel, BM_REG_STATUS) | BM_STATUS_ERROR | BM_STATUS_IRQ));
	bm_write(channel, BM_REG_COMMAND, to_memory ? BM_COMMAND_TO_MEMORY : 0);
}

static inline void bm_start(unsigned int channel)
{
	bm_write(channel, BM_REG_COMMAND, bm_read(channel, BM_REG_COMMAND) | BM_COMMAND_START);
}

/* The interrupt handler's part: BM status, stop, status. */
static inline uint8_t bm_finish(unsigned int channel, uint8_t *ret_bm)
{
	uint8_t status;

	wait_irq(channel);
	*ret_bm = bm_read(channel, BM_REG_STATUS);
	bm_write(channel, BM_REG_COMMAND,
		 bm_read(channel, BM_REG_COMMAND) & (uint8_t)~BM_COMMAND_START);
	status = alt_status(channel);
	assert_false(status & ATA_STATUS_BSY);
	status = get_reg(channel, ATA_REG_STATUS);
	bm_write(channel, BM_REG_STATUS, bm_read(channel, BM_REG_STATUS));
	return status;
}

static inline uint8_t dma(const struct tf *tf, bool to_memory, uint8_t *ret_bm)
{
	bm_setup(tf->channel, to_memory);
	issue(tf);
	bm_start(tf->channel);
	return bm_finish(tf->channel, ret_bm);
}

static inline uint8_t *guest(uint32_t gpa)
{
	return mem_hva(rig.pci.mem, gpa, 1);
}

static inline void check_data(const uint8_t *data, uint64_t at, uint32_t bytes, uint8_t salt)
{
	for (uint32_t i = 0; i < bytes; i++) {
		if (data[i] != disk_byte(at + i, salt)) {
			fail_msg("byte %u of %u: %02x, not %02x", i, bytes, data[i],
				 disk_byte(at + i, salt));
		}
	}
}
