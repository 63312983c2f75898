/* SPDX-License-Identifier: MIT */
/*
 * A SCSI target with three disks: one that can do all, one read-only, one of 4 KiB blocks that fails
 * now and then. Input: commands, each
 *
 *   unit, CDB length, CDB, data length (2 bytes, big-endian, × 4), where the data is split, data
 *
 * Every command must be answered exactly once, with a sane status, and move no more than its buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/layers.h"
#include "loop/loop.h"
#include "scsi/scsi_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISKS        3
#define COMMANDS_MAX 64

static struct loop *loop;
static struct block *blocks[DISKS];
static struct block_fail *fail;
static struct scsi_target target;
static bool answered;

static void on_done(struct scsi_request *request)
{
	check(!answered);
	answered = true;
}

/* Made once: they have no state that an input could leave behind but what reset() undoes. */
static void setup(void)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 << 20 };
	struct diag diag;

	check(loop_create("fuzz", &loop, &diag) == 0);
	for (int i = 0; i < DISKS; i++) {
		struct scsi_disk_config disk = { .transfer_bytes_max = 1 << 20,
						 .write_cache = true };

		config.read_only = i == 1;
		check(block_open(&config, &blocks[i], &diag) == 0);
		if (i == 2) {
			blocks[i]->info.logical_block_bytes = 4096;
			check(block_fail_create(blocks[i], &fail) == 0);
			blocks[i] = block_fail_block(fail);
		}
		check(block_start(blocks[i], loop) == 0);
		disk.info = block_info(blocks[i]);
		disk.serial = i == 1 ? "serial" : NULL;
		check(scsi_disk_create(&disk, &target.luns[i], &diag) == 0);
		scsi_disk_attach(target.luns[i], 0, blocks[i]);
	}
}

static void check_answer(const struct scsi_request *request, uint32_t data_bytes)
{
	check(request->transferred_bytes <= data_bytes);
	switch (request->status) {
	case SCSI_STATUS_GOOD:
	case SCSI_STATUS_BUSY:
		check(request->sense_bytes == 0);
		break;
	case SCSI_STATUS_CHECK_CONDITION:
		check(request->sense_bytes == SCSI_SENSE_BYTES && request->sense[2] != 0);
		check(request->transferred_bytes == 0);
		break;
	default:
		check(false);
	}
}

static void run_command(struct bytes_cursor *c)
{
	struct scsi_request request = { .done = on_done };
	uint8_t lun = bytes_take_u8(c) & 3;
	uint8_t length = bytes_take_u8(c);
	uint32_t bytes, split;
	uint8_t *first, *second;
	struct iovec iov[2];
	enum scsi_submit how;

	request.cdb_bytes = (uint8_t)(1 + length % SCSI_CDB_BYTES_MAX);
	bytes_take_copy(c, request.cdb, request.cdb_bytes);
	bytes = bytes_be16((const uint8_t[]){ bytes_take_u8(c), bytes_take_u8(c) }) * 4U;
	split = bytes_take_u8(c) * 4U;
	split = (uint32_t)num_min(split, bytes);

	/* Of their own, so that an overrun shows. */
	first = calloc(1, split ? split : 1);
	second = calloc(1, bytes > split ? bytes - split : 1);
	check(first && second);
	bytes_take_copy(c, first, num_min(c->left, split));
	bytes_take_copy(c, second, num_min(c->left, bytes - split));
	iov[0] = (struct iovec){ first, split };
	iov[1] = (struct iovec){ second, bytes - split };
	request.iov = iov;
	request.iov_count = 2;
	request.data_bytes = bytes;

	answered = false;
	block_fail_nth(fail, (enum block_op)((length >> 5) % (BLOCK_WRITE_ZEROES + 1)), 1,
		       length & 0x10 ? -EIO : -ENOSPC);
	how = scsi_target_submit(&target, lun, &request);
	check(!answered);
	while (how == SCSI_PENDING && !answered) {
		loop_turn(loop);
	}
	if (how == SCSI_NO_UNIT) {
		check(lun == 3);
	} else {
		check_answer(&request, bytes);
	}
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size);

	if (!loop) {
		setup();
	}
	for (int i = 0; i < DISKS; i++) {
		scsi_disk_reset(target.luns[i]);
	}
	for (int i = 0; i < COMMANDS_MAX && c.left > 0; i++) {
		run_command(&c);
	}
	return 0;
}
