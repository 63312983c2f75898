/* SPDX-License-Identifier: MIT */
/*
 * The saved form of a StorVSP. Nothing is in flight (storvsp_stop()); answers that the ring had no
 * room for are part of the state. Tags are for ever; counters for people are not saved.
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

enum { ANSWER_TRANSACTION_ID = 1, ANSWER_BYTES = 2 };

enum {
	DISK_ADDRESS = 1, /* path << 16 | target << 8 | lun */
	DISK_STATE = 2,   /* group: the SCSI disk's own */
};

static struct scsi_disk **disk_slot(struct storvsp *storvsp, uint32_t address)
{
	uint32_t path = address >> 16, target = (address >> 8) & 0xff, lun = address & 0xff;

	if (path >= STORVSP_PATHS || target >= STORVSP_TARGETS || lun >= SCSI_LUNS_MAX) {
		return NULL;
	}
	return &storvsp->targets[path][target].luns[lun];
}

static void save_disks(struct storvsp *storvsp, struct save *save)
{
	for (uint32_t path = 0; path < STORVSP_PATHS; path++) {
		for (uint32_t target = 0; target < STORVSP_TARGETS; target++) {
			for (uint32_t lun = 0; lun < SCSI_LUNS_MAX; lun++) {
				uint32_t address = path << 16 | target << 8 | lun;
				struct scsi_disk *disk = *disk_slot(storvsp, address);

				if (!disk) {
					continue;
				}
				save_group_begin(save, STATE_DISK);
				save_u32(save, DISK_ADDRESS, address);
				save_group_begin(save, DISK_STATE);
				scsi_disk_save(disk, save);
				save_group_end(save);
				save_group_end(save);
			}
		}
	}
}

void storvsp_save(struct vmbus_device *device, struct save *save)
{
	struct storvsp *storvsp = container_of(device, struct storvsp, device);

	check(storvsp->in_flight == 0);
	save_disks(storvsp, save);
	if (!storvsp->channel) {
		return;
	}
	save_u32(save, STATE_PHASE, storvsp->phase);
	save_u32(save, STATE_VERSION, storvsp->version);
	list_for_each (link, &storvsp->unsent) {
		struct storvsp_request *request = list_entry(link, struct storvsp_request, link);

		save_group_begin(save, STATE_ANSWER);
		save_u64(save, ANSWER_TRANSACTION_ID, request->transaction_id);
		save_bytes(save, ANSWER_BYTES, request->answer, request->answer_bytes);
		save_group_end(save);
	}
}

static void load_answer(struct storvsp *storvsp, struct load *load)
{
	struct storvsp_request *request = storvsp->channel ? storvsp_request_get(storvsp) : NULL;
	struct load_field field;
	bool has_bytes = false;

	if (!request) {
		load_fail(load); /* more of them than can have been */
		return;
	}
	request->wants_completion = true;
	list_append(&storvsp->unsent, &request->link);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case ANSWER_TRANSACTION_ID:
			request->transaction_id = load_u64(load, &field);
			break;
		case ANSWER_BYTES:
			has_bytes = field.length == VSTOR_PACKET_BYTES ||
				    field.length == VSTOR_PACKET_BYTES_OLD;
			if (has_bytes) {
				request->answer_bytes = field.length;
				load_bytes(load, &field, request->answer, field.length);
			}
			break;
		default:
			break;
		}
	}
	if (!has_bytes) {
		load_fail(load);
	}
}

static void load_disk(struct storvsp *storvsp, struct load *load)
{
	struct scsi_disk **slot = NULL;
	struct load_field field;
	struct load inner;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case DISK_ADDRESS:
			slot = disk_slot(storvsp, load_u32(load, &field));
			break;
		case DISK_STATE:
			if (!slot || !*slot) {
				load_fail(load); /* a disk that we were not given */
				return;
			}
			load_group(load, &field, &inner);
			if (scsi_disk_load(*slot, &inner)) {
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
	struct storvsp *storvsp = container_of(device, struct storvsp, device);

	storvsp->phase = STORVSP_BEGIN;
	storvsp->version = 0;
	storvsp->is_starved = false;
	storvsp->is_closing = false;
	if (device->channel && vmbus_channel_is_open(device->channel)) {
		storvsp_pool_destroy(storvsp);
		if (storvsp_pool_create(storvsp)) {
			return -ENOMEM;
		}
		storvsp->channel = device->channel;
		storvsp_attach_disks(storvsp);
	}
	load_fields(storvsp, load);
	if (load_result(load) == 0 && !is_consistent(storvsp)) {
		load_fail(load);
	}
	if (load_result(load) == 0) {
		loop_defer(device->loop, &storvsp->resend);
	}
	return load_result(load);
}
