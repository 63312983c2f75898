/* SPDX-License-Identifier: MIT */
/*
 * Commands that reach the block: data, caches, provisioning. The caller's iovecs go down as they
 * are; no data is copied, except the few bytes of parameter lists.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/iovec.h"
#include "scsi/scsi_disk_internal.h"

/* How the standards say what the host said. */
void scsi_fail_errno(struct scsi_request *request, int err)
{
	bool writes = request->block.op != BLOCK_READ;

	switch (err) {
	case -EIO:
	case -ENODATA: /* what Linux makes of a medium error */
	case -EILSEQ:  /* and of a wrong checksum */
		scsi_fail(request, SCSI_KEY_MEDIUM_ERROR,
			  writes ? SCSI_ASC_WRITE_ERROR : SCSI_ASC_READ_ERROR);
		return;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		scsi_fail(request, SCSI_KEY_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION);
		return;
	case -EROFS:
	case -EPERM:
		scsi_fail(request, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
		return;
	case -ENODEV:
	case -ENXIO:
		scsi_fail(request, SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_MANUAL);
		return;
	case -EOPNOTSUPP:
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return;
	case -ENOMEM:
	case -EAGAIN:
		scsi_good(request);
		request->status = SCSI_STATUS_BUSY; /* the initiator tries again */
		return;
	default:
		scsi_fail(request, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE);
		return;
	}
}

static void scsi_on_block_done(struct block_request *block, int result)
{
	struct scsi_request *request = container_of(block, struct scsi_request, block);

	if (result) {
		scsi_fail_errno(request, result);
	} else {
		request->status = SCSI_STATUS_GOOD;
		request->sense_bytes = 0;
		request->transferred_bytes = request->transfer_bytes;
	}
	request->done(request);
}

static enum scsi_submit scsi_submit_block(struct scsi_request *request)
{
	request->block.done = scsi_on_block_done;
	block_submit(scsi_queue_of(request)->end, &request->block);
	return SCSI_PENDING;
}

/* Where a command's address and length are, by the size of its CDB. */
struct scsi_address {
	uint64_t lba;
	uint32_t blocks;
	unsigned int lba_at, blocks_at; /* bytes in the CDB, to point at */
};

static struct scsi_address scsi_address_of(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return (struct scsi_address){
			.lba = bytes_be32(cdb) & 0x1fffff,
			.blocks = cdb[4] ? cdb[4] : 256,
			.lba_at = 1,
			.blocks_at = 4,
		};
	case 4:
		return (struct scsi_address){ bytes_be64(&cdb[2]), bytes_be32(&cdb[10]), 2, 10 };
	case 5:
		return (struct scsi_address){ bytes_be32(&cdb[2]), bytes_be32(&cdb[6]), 2, 6 };
	default:
		return (struct scsi_address){ bytes_be32(&cdb[2]), bytes_be16(&cdb[7]), 2, 7 };
	}
}

static bool scsi_range_is_valid(struct scsi_request *request, uint64_t lba, uint64_t blocks)
{
	if (!num_range_fits(lba, blocks, scsi_blocks(request))) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
		return false;
	}
	return true;
}

static enum scsi_submit scsi_transfer(struct scsi_request *request, struct scsi_address at,
				      enum block_op op, bool fua)
{
	uint64_t bytes = (uint64_t)at.blocks << scsi_block_shift(request);

	if (!scsi_range_is_valid(request, at.lba, at.blocks)) {
		return SCSI_DONE;
	}
	if (at.blocks == 0) {
		scsi_good(request);
		return SCSI_DONE;
	}
	/* More than the initiator's buffer holds, or gave: nothing is moved. */
	if (bytes > request->data_bytes) {
		scsi_fail_cdb(request, at.blocks_at, -1);
		return SCSI_DONE;
	}
	if (bytes < request->data_bytes) {
		request->iov_count = iovec_trim(request->iov, request->iov_count, bytes);
	}
	request->transfer_bytes = (uint32_t)bytes;
	request->block.op = op;
	request->block.fua = fua;
	request->block.offset_bytes = at.lba << scsi_block_shift(request);
	request->block.length_bytes = bytes;
	request->block.iov = request->iov;
	request->block.iov_count = request->iov_count;
	return scsi_submit_block(request);
}

/* CDBs of 6 bytes have neither FUA nor protection. */
static bool scsi_has_byte1(const struct scsi_request *request)
{
	return request->cdb[0] >> 5 != 0;
}

/* We store no protection information: a command that carries some is refused. */
static bool scsi_refuse_protection(struct scsi_request *request)
{
	if (scsi_has_byte1(request) && (request->cdb[1] & SCSI_CDB_PROTECT)) {
		scsi_fail_cdb(request, 1, 7);
		return true;
	}
	return false;
}

/*
 * FUA on a read asks for what is on the medium: the host's page cache and its disk tell the same,
 * so there is nothing more to do.
 */
enum scsi_submit scsi_read(struct scsi_disk *disk, struct scsi_request *request)
{
	if (scsi_refuse_protection(request)) {
		return SCSI_DONE;
	}
	return scsi_transfer(request, scsi_address_of(request->cdb), BLOCK_READ, false);
}

enum scsi_submit scsi_read_range(struct scsi_request *request, uint64_t lba, uint32_t blocks,
				 unsigned int blocks_at)
{
	struct scsi_address at = { .lba = lba, .blocks = blocks, .blocks_at = blocks_at };

	return scsi_transfer(request, at, BLOCK_READ, false);
}

enum scsi_submit scsi_write(struct scsi_disk *disk, struct scsi_request *request)
{
	bool fua = scsi_has_byte1(request) && (request->cdb[1] & SCSI_CDB_FUA);

	if (scsi_refuse_protection(request)) {
		return SCSI_DONE;
	}
	return scsi_transfer(request, scsi_address_of(request->cdb), BLOCK_WRITE,
			     fua || !scsi_disk_has_write_cache(disk));
}

/* Verified by the host's storage; what we owe is that it is on the medium. */
enum scsi_submit scsi_write_verify(struct scsi_disk *disk, struct scsi_request *request)
{
	if (scsi_refuse_protection(request)) {
		return SCSI_DONE;
	}
	if (request->cdb[1] & SCSI_CDB_BYTCHK) {
		scsi_fail_cdb(request, 1, 2);
		return SCSI_DONE;
	}
	return scsi_transfer(request, scsi_address_of(request->cdb), BLOCK_WRITE, true);
}

/*
 * Without a byte check no data moves, and the host's storage checks itself on each read. With one,
 * the blocks are compared with as much data; a check against one block repeated (3) is refused.
 */
enum scsi_submit scsi_verify(struct scsi_disk *disk, struct scsi_request *request)
{
	struct scsi_address at = scsi_address_of(request->cdb);
	unsigned int check = (request->cdb[1] & SCSI_CDB_BYTCHK) >> 1;

	if (scsi_refuse_protection(request)) {
		return SCSI_DONE;
	}
	if (check > 1 || (check == 1 && disk->type != SCSI_DISK)) {
		scsi_fail_cdb(request, 1, 2);
		return SCSI_DONE;
	}
	if (!scsi_range_is_valid(request, at.lba, at.blocks)) {
		return SCSI_DONE;
	}
	if (check == 0 || at.blocks == 0) {
		scsi_good(request);
		return SCSI_DONE;
	}
	if ((uint64_t)at.blocks << scsi_block_shift(request) > request->data_bytes) {
		scsi_fail_cdb(request, at.blocks_at, -1);
		return SCSI_DONE;
	}
	return scsi_compare(request, at.lba, at.blocks);
}

enum scsi_submit scsi_flush(struct scsi_disk *disk, struct scsi_request *request,
			    uint32_t transfer_bytes)
{
	if (scsi_queue_of(request)->refused & SCSI_COMMAND_WRITE) {
		scsi_good(request); /* there is nothing in the cache */
		request->transferred_bytes = transfer_bytes;
		return SCSI_DONE;
	}
	request->transfer_bytes = transfer_bytes;
	request->block.op = BLOCK_FLUSH;
	request->block.fua = false;
	request->block.offset_bytes = 0;
	request->block.length_bytes = 0;
	return scsi_submit_block(request);
}

/* The whole cache, whichever range is asked for; IMMED may wait all the same. */
enum scsi_submit scsi_synchronize(struct scsi_disk *disk, struct scsi_request *request)
{
	struct scsi_address at = scsi_address_of(request->cdb);

	if (!scsi_range_is_valid(request, at.lba, at.blocks)) {
		return SCSI_DONE;
	}
	return scsi_flush(disk, request, 0);
}

enum scsi_submit scsi_start_stop(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t how = request->cdb[4];

	if (how & 0x02) {
		scsi_fail_cdb(request, 4, 1); /* LOEJ: there is nothing to eject */
		return SCSI_DONE;
	}
	if (how & 0xf0) {
		scsi_fail_cdb(request, 4, 7); /* power conditions: we have none */
		return SCSI_DONE;
	}
	if (how & 0x01) {
		scsi_flags_clear(disk, SCSI_STATE_STOPPED);
	} else {
		scsi_flags_set(disk, SCSI_STATE_STOPPED);
		if (!(how & 0x04)) {
			return scsi_flush(disk, request, 0); /* unless NO_FLUSH */
		}
	}
	scsi_good(request);
	return SCSI_DONE;
}

/* Whether the block of data to be repeated is there and all zeroes. */
static bool scsi_pattern_is_zero(const struct scsi_request *request)
{
	uint8_t piece[512];
	uint32_t size = scsi_block_bytes(request);

	for (uint32_t at = 0; at < size; at += sizeof(piece)) {
		uint8_t any = 0;

		if (iovec_gather(request->iov, request->iov_count, at, piece, sizeof(piece)) !=
		    sizeof(piece)) {
			return false;
		}
		for (size_t i = 0; i < sizeof(piece); i++) {
			any |= piece[i];
		}
		if (any) {
			return false;
		}
	}
	return true;
}

/*
 * Zeroes, which is all that operating systems use it for, are one request of the block. Another
 * pattern is written out, and so is limited to SCSI_PATTERN_BYTES_MAX: a close waits for it. A length
 * of 0 means "to the end" (block limits: WSNZ = 0).
 */
enum scsi_submit scsi_write_same(struct scsi_disk *disk, struct scsi_request *request)
{
	struct scsi_address at = scsi_address_of(request->cdb);
	bool no_data =
		request->cdb[0] == SCSI_OP_WRITE_SAME_16 && (request->cdb[1] & SCSI_CDB_NDOB);
	uint64_t blocks = at.blocks;

	if (scsi_refuse_protection(request)) {
		return SCSI_DONE;
	}
	if (request->cdb[1] & SCSI_CDB_ANCHOR) {
		scsi_fail_cdb(request, 1, 4);
		return SCSI_DONE;
	}
	if (!scsi_range_is_valid(request, at.lba, blocks)) {
		return SCSI_DONE;
	}
	if (blocks == 0) {
		blocks = scsi_blocks(request) - at.lba;
	}
	if (!no_data && request->data_bytes < scsi_block_bytes(request)) {
		scsi_fail_cdb(request, 0, -1);
		return SCSI_DONE;
	}
	if (!no_data && !scsi_pattern_is_zero(request)) {
		if (blocks > SCSI_PATTERN_BYTES_MAX >> scsi_block_shift(request)) {
			scsi_fail_cdb(request, at.blocks_at, -1);
			return SCSI_DONE;
		}
		return scsi_repeat(request, at.lba, (uint32_t)blocks);
	}
	request->transfer_bytes = no_data ? 0 : scsi_block_bytes(request);
	request->block.op = BLOCK_WRITE_ZEROES;
	request->block.fua = false;
	request->block.may_unmap = request->cdb[1] & SCSI_CDB_UNMAP;
	request->block.offset_bytes = at.lba << scsi_block_shift(request);
	request->block.length_bytes = blocks << scsi_block_shift(request);
	return scsi_submit_block(request);
}

/* Discards the next extent; whether there was one. */
static bool scsi_unmap_next(struct scsi_request *request)
{
	const struct scsi_extent *extent;

	if (request->extent_next == request->extent_count) {
		return false;
	}
	extent = &request->extents[request->extent_next++];
	request->block.op = BLOCK_DISCARD;
	request->block.fua = false;
	request->block.offset_bytes = extent->lba << scsi_block_shift(request);
	request->block.length_bytes = (uint64_t)extent->blocks << scsi_block_shift(request);
	block_submit(scsi_queue_of(request)->end, &request->block);
	return true;
}

static void scsi_on_unmap_done(struct block_request *block, int result)
{
	struct scsi_request *request = container_of(block, struct scsi_request, block);

	if (result) {
		scsi_fail_errno(request, result);
	} else if (!scsi_queue_of(request)->end && request->extent_next < request->extent_count) {
		scsi_fail_no_medium(request); /* U2 */
	} else if (scsi_unmap_next(request)) {
		return;
	} else {
		scsi_good(request);
		request->transferred_bytes = request->transfer_bytes;
	}
	request->done(request);
}

/* Copies the descriptors out of the guest's list, checked; false when it was answered. */
static bool scsi_unmap_parse(struct scsi_request *request, uint32_t bytes)
{
	uint8_t list[8 + 16 * SCSI_UNMAP_MAX];
	uint32_t length;

	bytes = (uint32_t)num_min(bytes, sizeof(list));
	iovec_gather(request->iov, request->iov_count, 0, list, bytes);
	length = bytes_be16(&list[2]) & ~0xfU;
	if (length > 16 * SCSI_UNMAP_MAX) {
		scsi_fail_list(request, 2, -1);
		return false;
	}
	length = (uint32_t)num_min(length, (bytes - 8) & ~0xfU);
	request->extent_next = 0;
	request->extent_count = 0;
	for (uint32_t at = 8; at < 8 + length; at += 16) {
		struct scsi_extent extent = { bytes_be64(&list[at]), bytes_be32(&list[at + 8]) };

		if (!scsi_range_is_valid(request, extent.lba, extent.blocks)) {
			return false;
		}
		request->extents[request->extent_count++] = extent;
	}
	return true;
}

enum scsi_submit scsi_unmap(struct scsi_disk *disk, struct scsi_request *request)
{
	uint32_t bytes = bytes_be16(&request->cdb[7]);

	if (request->cdb[1] & 0x01) {
		scsi_fail_cdb(request, 1, 0); /* ANCHOR */
		return SCSI_DONE;
	}
	if (bytes == 0) {
		scsi_good(request);
		return SCSI_DONE;
	}
	if (bytes < 8) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return SCSI_DONE;
	}
	if (bytes > request->data_bytes) {
		scsi_fail_cdb(request, 7, -1);
		return SCSI_DONE;
	}
	if (!scsi_unmap_parse(request, bytes)) {
		return SCSI_DONE;
	}
	request->transfer_bytes = bytes;
	request->block.done = scsi_on_unmap_done;
	if (!scsi_unmap_next(request)) {
		scsi_good(request);
		request->transferred_bytes = bytes;
		return SCSI_DONE;
	}
	return SCSI_PENDING;
}
