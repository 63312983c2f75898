/* SPDX-License-Identifier: MIT */
/*
 * A SCSI target with four units, from two queues: a disk that can do all, one that is read-only, one of
 * 4 KiB blocks that fails now and then, and a DVD drive. Input: actions, each
 *
 *   what (top three bits: 7 happens to a unit, else a command; the rest: which unit, which queue)
 *   a happening   which one
 *   a command     CDB length and failure, CDB, data length (2 bytes, big-endian, × 4), where the data is
 *                 split, data
 *
 * Every command must be answered exactly once, with a sane status, and move no more than its buffer;
 * the state of a unit must load into itself and be saved as the same bytes again.
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

#define UNITS       4
#define UNIT_4K     2
#define UNIT_DVD    3
#define QUEUES      2
#define ACTIONS_MAX 64

static struct loop *loop;
static struct block *ends[UNITS][QUEUES];
static struct block_fail *fail;
static struct scsi_target target; /* both queues see the same units */
static bool answered;
static unsigned int ejects;

static void on_done(struct scsi_request *request)
{
	check(!answered);
	answered = true;
}

static void on_eject(void *ctx)
{
	ejects++;
}

static struct block *open_end(int unit)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 << 20 };
	struct block *block;
	struct diag diag;

	config.read_only = unit == 1;
	config.logical_block_bytes = unit == UNIT_4K ? 4096 : 512;
	check(block_open(&config, &block, &diag) == 0);
	if (unit == UNIT_4K) {
		check(block_fail_create(block, &fail) == 0);
		block = block_fail_block(fail);
	}
	check(block_start(block, loop) == 0);
	return block;
}

/* Made once: they have no state that an input could leave behind but what begin() undoes. */
static void setup(void)
{
	struct diag diag;

	check(loop_create("fuzz", &loop, &diag) == 0);
	for (int i = 0; i < UNITS; i++) {
		struct scsi_disk_config unit = {
			.type = i == UNIT_DVD ? SCSI_DVD : SCSI_DISK,
			.transfer_bytes_max = 1 << 20,
			.write_cache = i != 0,
			.serial = i == 1 ? "serial" : NULL,
			.wwn = i == 1 ? "5002538e40001234" : NULL,
			.on_eject = on_eject,
		};

		for (int q = 0; q < QUEUES; q++) {
			ends[i][q] = open_end(i);
		}
		unit.info = block_info(ends[i][0]);
		check(scsi_disk_create(&unit, &target.luns[i], &diag) == 0);
	}
}

static void detach(int unit)
{
	for (unsigned int q = 0; q < QUEUES; q++) {
		scsi_disk_detach(target.luns[unit], q);
	}
}

static void attach(int unit, unsigned int queue)
{
	if (scsi_disk_has_medium(target.luns[unit]) && !scsi_disk_end(target.luns[unit], queue)) {
		scsi_disk_attach(target.luns[unit], queue, ends[unit][queue]);
	}
}

static void insert(int unit)
{
	struct diag diag;

	detach(unit);
	check(scsi_disk_set_medium(target.luns[unit], block_info(ends[unit][0]), &diag) == 0);
}

/* Everything as an input finds it. */
static void begin(void)
{
	for (int i = 0; i < UNITS; i++) {
		insert(i);
		scsi_disk_reset(target.luns[i]);
		for (unsigned int q = 0; q < QUEUES; q++) {
			attach(i, q);
		}
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

/* Saves, loads, saves: the same bytes. */
static void save_and_load(struct scsi_disk *disk)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	save_init(&first);
	save_init(&second);
	scsi_disk_save(disk, &first);
	check(save_finish(&first, &a, &a_bytes) == 0);
	load_init(&load, a, a_bytes);
	check(scsi_disk_load(disk, &load) == 0);
	scsi_disk_save(disk, &second);
	check(save_finish(&second, &b, &b_bytes) == 0);
	check(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0);
	save_fini(&first);
	save_fini(&second);
}

static void load_nonsense(struct scsi_disk *disk, struct bytes_cursor *c)
{
	size_t bytes = num_min(c->left, bytes_take_u8(c));
	struct load load;

	bytes = num_min(bytes, c->left);
	load_init(&load, bytes_take(c, bytes), bytes);
	if (scsi_disk_load(disk, &load) == 0) {
		save_and_load(disk);
	}
}

static void happen(struct bytes_cursor *c, int unit, unsigned int queue)
{
	struct scsi_disk *disk = target.luns[unit];
	uint8_t what = bytes_take_u8(c);

	switch (what % 13) {
	case 0:
		scsi_disk_detach(disk, queue);
		break;
	case 1:
		attach(unit, queue);
		break;
	case 2:
		insert(unit);
		break;
	case 3:
		if (unit == UNIT_DVD) {
			detach(unit);
			scsi_disk_clear_medium(disk);
			check(!scsi_disk_has_medium(disk));
		}
		break;
	case 4:
		scsi_disk_reset(disk);
		break;
	case 5:
		scsi_disk_reset_unit(disk);
		break;
	case 6:
		ends[unit][queue]->info.bytes = (1 + (what & 0xf0U)) << 16;
		scsi_disk_resized(disk);
		break;
	case 7:
		scsi_disk_luns_changed(disk);
		break;
	case 8:
		if (unit != UNIT_DVD) {
			scsi_disk_set_write_cache(disk, what & 0x80);
		}
		break;
	case 9:
		if (unit == UNIT_DVD) {
			scsi_disk_ask_eject(disk);
		}
		break;
	case 10:
		save_and_load(disk);
		break;
	case 11:
		load_nonsense(disk, c);
		break;
	default:
		check(!scsi_disk_is_ejected(disk) || scsi_disk_has_medium(disk));
		check(unit == UNIT_DVD || !scsi_disk_is_tray_open(disk));
		check(unit == UNIT_DVD || !scsi_disk_is_locked(disk));
		break;
	}
}

static void run_command(struct bytes_cursor *c, int unit, unsigned int queue)
{
	struct scsi_request request = { .done = on_done, .queue = (uint8_t)queue };
	uint8_t length = bytes_take_u8(c);
	bool is_away = !scsi_disk_end(target.luns[unit], queue);
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
	how = scsi_target_submit(&target, (uint8_t)unit, &request);
	check(!answered);
	/* The queue goes away in the middle: the command ends all the same. */
	if (how == SCSI_PENDING && (length & 0xe0) == 0xe0) {
		scsi_disk_detach(target.luns[unit], queue);
	}
	while (how == SCSI_PENDING && !answered) {
		loop_turn(loop);
	}
	if (how == SCSI_NO_UNIT) {
		check(is_away && unit != UNIT_DVD);
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
	for (int i = 0; i < UNITS; i++) {
		for (int q = 0; q < QUEUES; q++) {
			ends[i][q]->info.bytes = 1 << 20;
		}
	}
	begin();
	for (int i = 0; i < ACTIONS_MAX && c.left > 0; i++) {
		uint8_t what = bytes_take_u8(&c);
		int unit = what & 3;
		unsigned int queue = (what >> 2) & 1;

		if (what >> 5 == 7) {
			happen(&c, unit, queue);
		} else {
			run_command(&c, unit, queue);
		}
	}
	return 0;
}
