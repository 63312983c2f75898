/* SPDX-License-Identifier: MIT */
/* An AHA-2940 on a PCI bus with disks of memory behind it, and its registers as a driver has them. */
#pragma once

#include <stdlib.h>

#include "../pci_rig.h"
#include "base/bytes.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/iovec.h"
#include "chipset/aic7870/aic7870.h"
#include "scsi/scsi_disk.h"

#define AIC_RIG_DEVFN      PCI_DEVFN(4, 0)
#define AIC_RIG_PORT       0xe000
#define AIC_RIG_GPA        0xfebf0000U
#define AIC_RIG_DISKS      3
#define AIC_RIG_DISK_BYTES (8U << 20)

/* A disk of memory; with holds, requests wait for ram_release(). */
struct ram_disk {
	struct block block;
	uint8_t *bytes;
	bool holds;
	struct block_request *held[AIC7870_COMMANDS];
	unsigned int held_count, requests;
	struct scsi_disk *unit;
};

struct aic_rig {
	struct pci_rig p;
	struct aic7870 *chip;
	struct ram_disk disks[AIC_RIG_DISKS]; /* targets 0, 1 and 3, LUN 0 */
	struct scsi_target targets[AIC_IDS];
};

static inline void ram_submit(struct block *block, struct block_request *r)
{
	struct ram_disk *disk = container_of(block, struct ram_disk, block);

	disk->requests++;
	if (r->op == BLOCK_READ) {
		iovec_scatter(r->iov, r->iov_count, 0, disk->bytes + r->offset_bytes,
			      r->length_bytes);
	} else if (r->op == BLOCK_WRITE) {
		iovec_gather(r->iov, r->iov_count, 0, disk->bytes + r->offset_bytes,
			     r->length_bytes);
	}
	if (disk->holds) {
		disk->held[disk->held_count++] = r;
	} else {
		block_complete_later(block, r, 0);
	}
}

static inline void ram_release(struct ram_disk *disk)
{
	unsigned int count = disk->held_count;

	disk->holds = false;
	disk->held_count = 0;
	for (unsigned int i = 0; i < count; i++) {
		block_complete(disk->held[i], 0);
	}
}

static inline void ram_close(struct block *block)
{
}

static const struct block_ops ram_ops = { .name = "ram", .submit = ram_submit, .close = ram_close };

static inline void ram_init(struct ram_disk *disk, struct loop *loop)
{
	struct scsi_disk_config config = { .transfer_bytes_max = AIC7870_TRANSFER_BYTES_MAX,
					   .serial = "AIC",
					   .write_cache = true };
	struct diag diag;

	block_init(&disk->block, &ram_ops);
	disk->block.info = (struct block_info){ .bytes = AIC_RIG_DISK_BYTES,
						.logical_block_bytes = 512,
						.physical_block_bytes = 512 };
	disk->bytes = malloc(AIC_RIG_DISK_BYTES);
	assert_non_null(disk->bytes);
	for (uint32_t i = 0; i < AIC_RIG_DISK_BYTES; i++) {
		disk->bytes[i] = (uint8_t)(i * 7 + (i >> 9) * 3 + (i >> 16));
	}
	assert_int_equal(block_start(&disk->block, loop), 0);
	config.info = &disk->block.info;
	if (scsi_disk_create(&config, &disk->unit, &diag)) {
		fail_msg("%s", diag.text);
	}
	scsi_disk_attach(disk->unit, 0, &disk->block);
}

static inline void aic_rig_create_chip(struct aic_rig *r)
{
	struct aic7870_config config = { .chipset = r->p.rig.chipset,
					 .bus = r->p.bus,
					 .devfn = AIC_RIG_DEVFN,
					 .mem = r->p.mem,
					 .loop = r->p.rig.loop };

	for (unsigned int i = 0; i < AIC_IDS; i++) {
		config.targets[i] = &r->targets[i];
	}
	assert_int_equal(aic7870_create(&config, &r->chip), 0);
}

/* BAR 0 and BAR 1 as firmware would place them. */
static inline void aic_rig_map(struct aic_rig *r)
{
	pci_rig_write(&r->p, AIC_RIG_DEVFN, PCI_BAR_0, AIC_RIG_PORT);
	pci_rig_write(&r->p, AIC_RIG_DEVFN, PCI_BAR_0 + 4, AIC_RIG_GPA);
	pci_rig_write16(&r->p, AIC_RIG_DEVFN, PCI_COMMAND,
			PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static inline struct aic_rig *aic_rig_new(void)
{
	static const uint8_t ids[AIC_RIG_DISKS] = { 0, 1, 3 };
	struct aic_rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	pci_rig_init(&r->p);
	for (unsigned int i = 0; i < AIC_RIG_DISKS; i++) {
		ram_init(&r->disks[i], r->p.rig.loop);
		r->targets[ids[i]].luns[0] = r->disks[i].unit;
	}
	aic_rig_create_chip(r);
	aic_rig_map(r);
	return r;
}

static inline void aic_rig_noted(struct loop_work *work)
{
}

static inline void aic_rig_settle(struct aic_rig *r)
{
	for (unsigned int i = 0, idle = 0; i < 20000 && idle < 3; i++) {
		idle = loop_turn(r->p.rig.loop) ? 0 : idle + 1;
	}
}

/* Everything at the units has ended. */
static inline void aic_rig_stop(struct aic_rig *r)
{
	static struct loop_work done;

	loop_work_init(&done, aic_rig_noted);
	for (unsigned int i = 0; i < AIC_RIG_DISKS; i++) {
		ram_release(&r->disks[i]);
	}
	aic7870_stop(r->chip, r->p.rig.loop, &done);
	aic_rig_settle(r);
}

static inline void aic_rig_free(struct aic_rig *r)
{
	aic_rig_stop(r);
	aic7870_destroy(r->chip);
	for (unsigned int i = 0; i < AIC_RIG_DISKS; i++) {
		scsi_disk_detach(r->disks[i].unit, 0);
		scsi_disk_destroy(r->disks[i].unit);
		block_stop_lower(&r->disks[i].block);
		free(r->disks[i].bytes);
	}
	pci_rig_fini(&r->p);
	free(r);
}

static inline uint8_t aic_in(struct aic_rig *r, uint8_t reg)
{
	return (uint8_t)pci_rig_load(&r->p, AIC_RIG_GPA + reg, 1);
}

static inline void aic_out(struct aic_rig *r, uint8_t reg, uint8_t value)
{
	pci_rig_store(&r->p, AIC_RIG_GPA + reg, value, 1);
}

static inline void aic_out32(struct aic_rig *r, uint8_t reg, uint32_t value)
{
	for (unsigned int i = 0; i < 4; i++) {
		aic_out(r, (uint8_t)(reg + i), (uint8_t)(value >> 8 * i));
	}
}

static inline bool aic_interrupt(struct aic_rig *r)
{
	return r->p.wires[(AIC_RIG_DEVFN >> 3) % PCI_WIRES];
}

static inline void aic_pause(struct aic_rig *r)
{
	aic_out(r, AIC_HCNTRL, (aic_in(r, AIC_HCNTRL) & AIC_INTEN) | AIC_PAUSE);
	while (!(aic_in(r, AIC_HCNTRL) & AIC_PAUSE)) {
		loop_turn(r->p.rig.loop);
	}
}

static inline void aic_unpause(struct aic_rig *r)
{
	if (!(aic_in(r, AIC_INTSTAT) & (AIC_SCSIINT | AIC_SEQINT | AIC_BRKADRINT))) {
		aic_out(r, AIC_HCNTRL, aic_in(r, AIC_HCNTRL) & AIC_INTEN);
	}
}

/* Words of a program, from address 0. */
static inline void aic_download(struct aic_rig *r, const uint32_t *words, unsigned int count)
{
	aic_out(r, AIC_SEQCTL, AIC_PERRORDIS | AIC_FAILDIS | AIC_FASTMODE | AIC_LOADRAM);
	aic_out(r, AIC_SEQADDR0, 0);
	aic_out(r, AIC_SEQADDR1, 0);
	for (unsigned int i = 0; i < 4 * count; i++) {
		aic_out(r, AIC_SEQRAM, (uint8_t)(words[i / 4] >> i % 4 * 8));
	}
	aic_out(r, AIC_SEQCTL, AIC_FASTMODE);
	aic_out(r, AIC_SEQADDR0, 0);
	aic_out(r, AIC_SEQADDR1, 0);
}

static inline uint8_t *aic_mem(struct aic_rig *r, uint32_t gpa, uint32_t bytes)
{
	uint8_t *at = mem_hva(r->p.mem, gpa, bytes);

	assert_non_null(at);
	return at;
}
