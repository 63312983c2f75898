/* SPDX-License-Identifier: MIT */
/*
 * The saved form of a StorVSP. Nothing is in flight (storvsp_stop()); answers that the rings had no
 * room for are part of the state. Tags are for ever; counters for people are not saved.
 *
 * The machine is paused: the primary's loop may look at all queues.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vsp/storage/storvsp_internal.h"

enum {
	STATE_PHASE = 1,   /* enum storvsp_phase */
	STATE_VERSION = 2, /* VSTOR_VERSION_*, 0: none */
	STATE_ANSWER = 3,  /* group, in the order of sending */
	STATE_DISK = 4,    /* group */
};

enum { ANSWER_TRANSACTION_ID = 1, ANSWER_BYTES = 2, ANSWER_QUEUE = 3 /* 0 when missing */ };

enum {
	DISK_ADDRESS = 1, /* path << 16 | target << 8 | lun */
	DISK_STATE = 2,   /* group: the SCSI disk's own */
};

/* As queue 0 has it; NULL: nothing is or can be there. */
static struct scsi_disk *find_disk(const struct storvsp *storvsp, uint32_t address)
{
	uint32_t path = address >> 16, target = (address >> 8) & 0xff, lun = address & 0xff;

	if (path >= STORVSP_PATHS || target >= STORVSP_TARGETS || lun >= STORVSP_LUNS) {
		return NULL;
	}
	return storvsp->queues[0].targets[path][target].luns[lun];
}

static void save_disks(const struct storvsp *storvsp, struct save *save)
{
	storvsp_for_each_address(at)
	{
		uint32_t address = (uint32_t)at.path << 16 | (uint32_t)at.target << 8 | at.lun;
		const struct scsi_disk *disk = find_disk(storvsp, address);

		if (disk) {
			save_group_begin(save, STATE_DISK);
			save_u32(save, DISK_ADDRESS, address);
			save_group_begin(save, DISK_STATE);
			scsi_disk_save(disk, save);
			save_group_end(save);
			save_group_end(save);
		}
	}
}

static void save_answers(const struct storvsp_queue *queue, struct save *save)
{
	list_for_each (link, &queue->unsent) {
		struct storvsp_request *request = list_entry(link, struct storvsp_request, link);

		save_group_begin(save, STATE_ANSWER);
		save_u64(save, ANSWER_TRANSACTION_ID, request->transaction_id);
		save_bytes(save, ANSWER_BYTES, request->answer, request->answer_bytes);
		save_u32(save, ANSWER_QUEUE, queue->index);
		save_group_end(save);
	}
}

void storvsp_save(struct vmbus_device *device, struct save *save)
{
	const struct storvsp *storvsp = storvsp_of(device);

	save_disks(storvsp, save);
	if (!storvsp->queues[0].channel) {
		return;
	}
	save_u32(save, STATE_PHASE, storvsp->phase);
	save_u32(save, STATE_VERSION, storvsp->version);
	for (unsigned int i = 0; i < storvsp->queue_count; i++) {
		check(storvsp->queues[i].in_flight == 0);
		if (storvsp->queues[i].channel) {
			save_answers(&storvsp->queues[i], save);
		}
	}
}

static void load_answer(struct storvsp *storvsp, struct load *load)
{
	uint32_t queue = 0, bytes = 0;
	uint8_t answer[VSTOR_PACKET_BYTES];
	uint64_t transaction_id = 0;
	struct storvsp_request *request = NULL;
	struct load_field field;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case ANSWER_TRANSACTION_ID:
			transaction_id = load_u64(load, &field);
			break;
		case ANSWER_BYTES:
			if (field.length == VSTOR_PACKET_BYTES ||
			    field.length == VSTOR_PACKET_BYTES_OLD) {
				bytes = field.length;
				load_bytes(load, &field, answer, bytes);
			}
			break;
		case ANSWER_QUEUE:
			queue = load_u32(load, &field);
			break;
		default:
			break;
		}
	}
	if (bytes && queue < storvsp->queue_count && storvsp->queues[queue].channel) {
		request = storvsp_request_get(&storvsp->queues[queue]);
	}
	if (!request) {
		load_fail(load); /* nobody's, or more of them than can have been */
		return;
	}
	request->wants_completion = true;
	request->transaction_id = transaction_id;
	request->answer_bytes = bytes;
	memcpy(request->answer, answer, bytes);
	list_append(&storvsp->queues[queue].unsent, &request->link);
}

static void load_disk(struct storvsp *storvsp, struct load *load)
{
	struct scsi_disk *disk = NULL;
	struct load_field field;
	struct load inner;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case DISK_ADDRESS:
			disk = find_disk(storvsp, load_u32(load, &field));
			break;
		case DISK_STATE:
			if (!disk) {
				load_fail(load); /* one that we were not given */
				return;
			}
			load_group(load, &field, &inner);
			if (scsi_disk_load(disk, &inner)) {
				load_fail(load);
			}
			load_close(load, &inner);
			break;
		default:
			break;
		}
	}
}

static void load_fields(struct storvsp *storvsp, struct load *load)
{
	struct load_field field;
	struct load inner;
	uint32_t value;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case STATE_PHASE:
			value = load_u32(load, &field);
			if (value > STORVSP_READY) {
				load_fail(load);
				return;
			}
			storvsp->phase = (enum storvsp_phase)value;
			break;
		case STATE_VERSION:
			storvsp->version = (uint16_t)load_u32(load, &field);
			break;
		case STATE_ANSWER:
			load_group(load, &field, &inner);
			load_answer(storvsp, &inner);
			load_close(load, &inner);
			break;
		case STATE_DISK:
			load_group(load, &field, &inner);
			load_disk(storvsp, &inner);
			load_close(load, &inner);
			break;
		default:
			break;
		}
	}
}

/* The phases before an agreement have no version, those after it one that we know. */
static bool is_consistent(const struct storvsp *storvsp)
{
	bool agreed = storvsp->version == VSTOR_VERSION_WIN8 ||
		      storvsp->version == VSTOR_VERSION_WIN8_1 ||
		      storvsp->version == VSTOR_VERSION_WIN10;

	return storvsp->phase <= STORVSP_VERSION ? storvsp->version == 0 : agreed;
}

int storvsp_load(struct vmbus_device *device, struct load *load)
{
	struct storvsp *storvsp = storvsp_of(device);

	storvsp->phase = STORVSP_BEGIN;
	storvsp->version = 0;
	atomic_store(&storvsp->events, 0); /* of the making of this machine, not of the guest's */
	for (unsigned int i = 0; i < storvsp->queue_count; i++) {
		storvsp_drop_unsent(&storvsp->queues[i]);
	}
	load_fields(storvsp, load);
	if (load_result(load) == 0 && !is_consistent(storvsp)) {
		load_fail(load);
	}
	for (unsigned int i = 0; i < storvsp->queue_count && load_result(load) == 0; i++) {
		loop_post(storvsp->queues[i].loop, &storvsp->queues[i].resend);
	}
	return load_result(load);
}
