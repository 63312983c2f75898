/* SPDX-License-Identifier: MIT */
/*
 * StorVSP's packets that are not commands: negotiation, sub-channels, resets. All come on the primary
 * channel.
 *
 * A reset ends what is in flight on every queue and is answered after that (S3):
 *
 *   handle_reset ── post ──► each queue: storvsp_on_reset_asked: a new epoch; what is held is given up
 *        ▲                            │ nothing left of the old one
 *        │ those that came meanwhile  ▼
 *   storvsp_on_reset_done ◄── post ── storvsp_queue_was_reset, by the last
 */
#include <errno.h>

#include "base/num.h"
#include "vsp/storage/storvsp_internal.h"

/* ---- resets ------------------------------------------------------------------------------------ */

static void begin_reset(struct storvsp *storvsp)
{
	while (!list_is_empty(&storvsp->to_reset)) {
		struct list *first = storvsp->to_reset.next;

		list_remove(first);
		list_append(&storvsp->resetting, first);
	}
	storvsp->is_resetting = true;
	atomic_store(&storvsp->queues_to_reset, storvsp->queue_count);
	for (unsigned int i = 0; i < storvsp->queue_count; i++) {
		loop_post(storvsp->queues[i].loop, &storvsp->queues[i].reset_asked);
	}
}

/*
 * Requests that a layer holds because the back end failed end now; what the host's storage has must
 * come back by itself, since it may still write the guest's memory.
 */
void storvsp_give_up(struct storvsp_queue *queue)
{
	storvsp_for_each_address(at)
	{
		struct scsi_disk *disk = queue->targets[at.path][at.target].luns[at.lun];
		struct block *end = disk ? scsi_disk_end(disk, queue->index) : NULL;

		if (end) {
			block_give_up(end);
		}
	}
}

/* A queue's loop. */
void storvsp_on_reset_asked(struct loop_work *work)
{
	struct storvsp_queue *queue = container_of(work, struct storvsp_queue, reset_asked);

	queue->epoch ^= 1;
	queue->is_resetting = true;
	storvsp_give_up(queue);
	storvsp_for_each_address(at)
	{
		struct scsi_disk *disk = queue->targets[at.path][at.target].luns[at.lun];

		if (disk && queue->index == 0) {
			scsi_disk_reset_unit(disk);
		}
	}
	storvsp_queue_advance(queue);
}

void storvsp_queue_was_reset(struct storvsp_queue *queue)
{
	struct storvsp *storvsp = queue->storvsp;

	if (atomic_fetch_sub(&storvsp->queues_to_reset, 1) == 1) {
		loop_post(storvsp->device.loop, &storvsp->reset_done);
	}
}

void storvsp_on_reset_done(struct loop_work *work)
{
	struct storvsp *storvsp = container_of(work, struct storvsp, reset_done);
	struct storvsp_request *request;

	while ((request = list_first(&storvsp->resetting, struct storvsp_request, link)) != NULL) {
		list_remove(&request->link);
		storvsp_answer_status(request, VSTOR_STATUS_SUCCESS);
	}
	storvsp->is_resetting = false;
	if (!list_is_empty(&storvsp->to_reset)) {
		begin_reset(storvsp);
		return;
	}
	storvsp_queue_advance(&storvsp->queues[0]); /* it may have to close */
}

static int handle_reset(struct storvsp *storvsp, struct storvsp_request *request)
{
	storvsp->resets++;
	list_append(&storvsp->to_reset, &request->link);
	if (!storvsp->is_resetting) {
		begin_reset(storvsp);
	}
	return 0;
}

/* ---- negotiation ------------------------------------------------------------------------------- */

static int handle_version(struct storvsp *storvsp, struct storvsp_request *request,
			  uint16_t version)
{
	bool known = version == VSTOR_VERSION_WIN8 || version == VSTOR_VERSION_WIN8_1 ||
		     version == VSTOR_VERSION_WIN10;

	if (known) {
		storvsp->version = version;
		storvsp->phase = STORVSP_PROPERTIES;
	}
	/* An unknown version is no mistake: the guest asks for the next one. */
	vstor_build_version(known ? VSTOR_STATUS_SUCCESS : VSTOR_STATUS_REVISION_MISMATCH, version,
			    request->answer);
	storvsp_answer(request);
	return 0;
}

/* The one operation that each phase expects. */
static int negotiate(struct storvsp *storvsp, struct storvsp_request *request,
		     const struct vstor_request *vstor)
{
	uint32_t operation = vstor->operation;

	if (storvsp->phase == STORVSP_BEGIN && operation == VSTOR_BEGIN_INITIALIZATION) {
		storvsp->phase = STORVSP_VERSION;
	} else if (storvsp->phase == STORVSP_VERSION && operation == VSTOR_QUERY_PROTOCOL_VERSION) {
		return handle_version(storvsp, request, vstor->version);
	} else if (storvsp->phase == STORVSP_PROPERTIES && operation == VSTOR_QUERY_PROPERTIES) {
		storvsp->phase = STORVSP_END;
		vstor_build_properties((uint16_t)(storvsp->queue_count - 1),
				       STORVSP_TRANSFER_BYTES_MAX, request->answer);
		storvsp_answer(request);
		return 0;
	} else if (storvsp->phase == STORVSP_END && operation == VSTOR_END_INITIALIZATION) {
		storvsp->phase = STORVSP_READY;
	} else {
		return storvsp_refuse(request, VSTOR_STATUS_INVALID_DEVICE_STATE);
	}
	storvsp_answer_status(request, VSTOR_STATUS_SUCCESS);
	return 0;
}

static int handle_sub_channels(struct storvsp *storvsp, struct storvsp_request *request,
			       uint16_t count)
{
	if (count >= storvsp->queue_count) {
		return storvsp_refuse(request, VSTOR_STATUS_INVALID_PARAMETER);
	}
	vmbus_channel_offer_subs(request->queue->channel, count);
	storvsp_answer_status(request, VSTOR_STATUS_SUCCESS);
	return 0;
}

int storvsp_handle_control(struct storvsp_request *request, const struct vstor_request *vstor)
{
	struct storvsp *storvsp = request->queue->storvsp;

	if (storvsp->phase != STORVSP_READY) {
		return negotiate(storvsp, request, vstor);
	}
	switch (vstor->operation) {
	case VSTOR_RESET_LUN:
	case VSTOR_RESET_ADAPTER:
	case VSTOR_RESET_BUS:
		return handle_reset(storvsp, request);
	case VSTOR_CREATE_SUB_CHANNELS:
		return handle_sub_channels(storvsp, request, vstor->sub_channels);
	case VSTOR_FC_HBA_DATA:
		return storvsp_refuse(request, VSTOR_STATUS_INVALID_DEVICE_REQUEST);
	default:
		return storvsp_refuse(request, VSTOR_STATUS_INVALID_DEVICE_STATE);
	}
}
