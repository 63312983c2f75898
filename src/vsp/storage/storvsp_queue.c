/* SPDX-License-Identifier: MIT */
/*
 * A queue of StorVSP. A packet takes a request from the pool, and the request goes back when its
 * answer is in the ring:
 *
 *                        control packet, or answered at once
 *              ┌──────────────────────────────────────────────────┐
 *   free ──► storvsp_packet ──► at a unit (in_flight) ──► answer ─┴► ring ──► free
 *    │ none                          on_scsi_done           │ full    ▲
 *    ▼                                                      ▼         │ writable
 *   the packet stays in the ring (is_starved)            unsent ──────┘
 *
 * Invariants:
 *   S1  Answers leave in the order in which they were ready: nothing overtakes unsent.
 *   S2  in_flight counts the requests whose memory a unit may touch; the channel is closed, and the
 *       pool freed, only at 0.
 *   S3  A reset is answered when no command that was in flight when it came is so any more: the
 *       epochs tell them apart, so that commands which come later do not hold it up.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/storage/storvsp_internal.h"

/* Ranges in one packet. Guests use one; the protocol does not forbid more. */
#define STORVSP_RANGES_MAX 32

#define STORVSP_POOL_BYTES                                                                         \
	(STORVSP_REQUESTS *                                                                        \
	 (sizeof(struct storvsp_request) + STORVSP_IOVECS_MAX * sizeof(struct iovec)))

/* ---- the pool ---------------------------------------------------------------------------------- */

/* Mapped, not allocated: what is never used never takes memory, also after a reopen. */
static int pool_create(struct storvsp_queue *queue)
{
	void *pool = MAP_FAILED;

	if (!fault_point()) {
		pool = mmap(NULL, STORVSP_POOL_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (pool == MAP_FAILED) {
		return -ENOMEM;
	}
	queue->requests = pool;
	queue->iovecs = (struct iovec *)(queue->requests + STORVSP_REQUESTS);
	queue->fresh = 0;
	return 0;
}

struct storvsp_request *storvsp_request_get(struct storvsp_queue *queue)
{
	struct storvsp_request *request = list_first(&queue->free, struct storvsp_request, link);

	if (request) {
		list_remove(&request->link);
		return request;
	}
	if (queue->fresh == STORVSP_REQUESTS) {
		return NULL;
	}
	request = &queue->requests[queue->fresh++];
	request->queue = queue;
	request->scsi.queue = queue->index;
	list_init(&request->link);
	return request;
}

static void request_put(struct storvsp_request *request)
{
	struct storvsp_queue *queue = request->queue;

	list_prepend(&queue->free, &request->link);
	if (queue->is_starved && !queue->is_closing) {
		queue->is_starved = false;
		vmbus_channel_resume(queue->channel);
	}
}

/* Its own, for good. */
static struct iovec *request_iovecs(const struct storvsp_request *request)
{
	size_t index = (size_t)(request - request->queue->requests);

	return &request->queue->iovecs[index * STORVSP_IOVECS_MAX];
}

/* ---- an opening -------------------------------------------------------------------------------- */

int storvsp_queue_open(struct storvsp_queue *queue, struct vmbus_channel *channel)
{
	int err = pool_create(queue);

	if (!err) {
		queue->channel = channel;
		queue->is_closing = false;
		queue->is_starved = false;
		queue->is_held = queue->storvsp->ide.opened != NULL;
	}
	return err;
}

void storvsp_begin(struct storvsp *storvsp)
{
	struct storvsp_queue *queue = &storvsp->queues[0];

	loop_check_here(queue->loop);
	if (queue->channel && queue->is_held) {
		queue->is_held = false;
		vmbus_channel_resume(queue->channel);
	}
}

static void finish_close(struct storvsp_queue *queue)
{
	struct vmbus_channel *channel = queue->channel;

	loop_cancel(queue->loop, &queue->resend);
	munmap(queue->requests, STORVSP_POOL_BYTES);
	queue->requests = NULL;
	queue->iovecs = NULL;
	list_init(&queue->free);
	list_init(&queue->unsent);
	queue->channel = NULL;
	queue->is_closing = false;
	if (queue->storvsp->ide.closed) {
		queue->storvsp->ide.closed(queue->storvsp->ide.ctx);
	}
	vmbus_channel_closed(channel);
}

/* Whoever waits for commands to end: a reset, a stop, a close. */
void storvsp_queue_advance(struct storvsp_queue *queue)
{
	struct storvsp *storvsp = queue->storvsp;

	if (queue->is_resetting && queue->in_flight_of[queue->epoch ^ 1] == 0) {
		queue->is_resetting = false;
		storvsp_queue_was_reset(queue);
	}
	if (queue->in_flight > 0) {
		return;
	}
	if (queue->is_stopping) {
		queue->is_stopping = false;
		if (atomic_fetch_sub(&storvsp->queues_to_stop, 1) == 1) {
			loop_post(storvsp->control, storvsp->stop_done);
		}
	}
	/* The requests that a reset will answer are the primary's. */
	if (queue->is_closing && (queue->index > 0 || !storvsp->is_resetting)) {
		finish_close(queue); /* S2 */
	}
}

void storvsp_queue_close(struct storvsp_queue *queue)
{
	queue->is_closing = true;
	/* No further command is read; what a layer holds would keep the channel open for ever. */
	storvsp_give_up(queue);
	storvsp_queue_advance(queue);
}

/* ---- answers ----------------------------------------------------------------------------------- */

void storvsp_answer(struct storvsp_request *request)
{
	struct storvsp_queue *queue = request->queue;
	int err = -EAGAIN;

	if (!request->wants_completion || queue->is_closing) {
		request_put(request);
		return;
	}
	if (list_is_empty(&queue->unsent)) { /* S1 */
		err = vmbus_channel_complete(queue->channel, request->transaction_id,
					     request->answer, request->answer_bytes);
	}
	if (err == -EAGAIN) {
		queue->ring_full++;
		list_append(&queue->unsent, &request->link);
		return;
	}
	/* Otherwise the channel is dead: nobody is there to be told. */
	request_put(request);
}

void storvsp_send_unsent(struct storvsp_queue *queue)
{
	struct storvsp_request *request;

	while ((request = list_first(&queue->unsent, struct storvsp_request, link)) != NULL) {
		int err = vmbus_channel_complete(queue->channel, request->transaction_id,
						 request->answer, request->answer_bytes);

		if (err == -EAGAIN) {
			return;
		}
		list_remove(&request->link);
		request_put(request);
	}
}

void storvsp_drop_unsent(struct storvsp_queue *queue)
{
	while (!list_is_empty(&queue->unsent)) {
		struct list *first = queue->unsent.next;

		list_remove(first);
		list_prepend(&queue->free, first);
	}
}

static void on_resend(struct loop_work *work)
{
	struct storvsp_queue *queue = container_of(work, struct storvsp_queue, resend);

	if (queue->channel && !queue->is_closing) {
		storvsp_send_unsent(queue);
	}
}

void storvsp_answer_status(struct storvsp_request *request, uint32_t status)
{
	vstor_build_status(status, request->answer);
	storvsp_answer(request);
}

int storvsp_refuse(struct storvsp_request *request, uint32_t status)
{
	request->queue->refused++;
	storvsp_answer_status(request, status);
	return -EBADMSG;
}

static void answer_srb(struct storvsp_request *request, uint32_t status,
		       const struct vstor_srb_answer *answer)
{
	vstor_build_srb(status, answer, request->answer);
	storvsp_answer(request);
}

/* A command that no unit executed. */
static void answer_srb_status(struct storvsp_request *request, uint32_t status, uint8_t srb_status)
{
	struct vstor_srb_answer answer = {
		.srb_status = srb_status,
		.scsi_status = SCSI_STATUS_CHECK_CONDITION,
		.path = request->address.path,
		.target = request->address.target,
		.lun = request->address.lun,
	};

	answer_srb(request, status, &answer);
}

/* What a SCSI status is as an SRB status and an NT status. */
static uint32_t translate_status(const struct scsi_request *scsi, uint8_t *ret_srb_status)
{
	switch (scsi->status) {
	case SCSI_STATUS_GOOD:
		*ret_srb_status = VSTOR_SRB_SUCCESS;
		return VSTOR_STATUS_SUCCESS;
	case SCSI_STATUS_BUSY:
		*ret_srb_status = VSTOR_SRB_BUSY;
		return VSTOR_STATUS_DEVICE_BUSY;
	default:
		*ret_srb_status = (scsi->sense[2] & 0xf) == SCSI_KEY_ILLEGAL_REQUEST
					  ? VSTOR_SRB_INVALID_REQUEST
					  : VSTOR_SRB_ERROR;
		*ret_srb_status |= VSTOR_SRB_AUTOSENSE_VALID;
		return VSTOR_STATUS_IO_DEVICE_ERROR;
	}
}

static void answer_scsi(struct storvsp_request *request)
{
	const struct scsi_request *scsi = &request->scsi;
	struct vstor_srb_answer answer = {
		.scsi_status = scsi->status,
		.path = request->address.path,
		.target = request->address.target,
		.lun = request->address.lun,
		.sense_bytes = scsi->sense_bytes,
		.sense = scsi->sense,
		.data_bytes = scsi->transferred_bytes,
	};
	uint32_t status = translate_status(scsi, &answer.srb_status);

	if (scsi->status == SCSI_STATUS_CHECK_CONDITION) {
		request->queue->check_conditions++;
	}
	answer_srb(request, status, &answer);
}

/* ---- commands ---------------------------------------------------------------------------------- */

static void on_scsi_done(struct scsi_request *scsi)
{
	struct storvsp_request *request = container_of(scsi, struct storvsp_request, scsi);
	struct storvsp_queue *queue = request->queue;

	check(queue->in_flight > 0 && queue->in_flight_of[request->epoch] > 0);
	queue->in_flight--;
	queue->in_flight_of[request->epoch]--;
	answer_scsi(request);
	if (queue->in_flight == 0 || queue->is_resetting) {
		storvsp_queue_advance(queue);
	}
}

/*
 * The first data_bytes of the packet's ranges as iovecs. Their number; -EBADMSG, -EFAULT, -E2BIG when
 * the guest's description is wrong.
 */
static int map_data(struct storvsp_request *request, const struct vmbus_packet *packet,
		    uint32_t data_bytes)
{
	const struct mem *mem = vmbus_channel_mem(request->queue->channel);
	struct iovec *iov = request_iovecs(request);
	struct gpa_range ranges[STORVSP_RANGES_MAX];
	int count, used = 0;

	if (data_bytes == 0) {
		return 0;
	}
	if (data_bytes > STORVSP_TRANSFER_BYTES_MAX) {
		return -E2BIG;
	}
	count = vmbus_packet_gpa_ranges(packet, ranges, STORVSP_RANGES_MAX);
	if (count < 0) {
		return count;
	}
	for (int i = 0; i < count && data_bytes > 0; i++) {
		uint32_t bytes = (uint32_t)num_min(ranges[i].length_bytes, data_bytes);
		int n = gpa_range_iovec(mem, &ranges[i], 0, bytes, iov + used,
					(int)STORVSP_IOVECS_MAX - used);

		if (n < 0) {
			return n;
		}
		used += n;
		data_bytes -= bytes;
	}
	return data_bytes == 0 ? used : -EBADMSG;
}

/* Addresses where nothing can be are empty targets. */
static enum scsi_submit submit(struct storvsp_queue *queue, struct storvsp_request *request)
{
	struct storvsp_address at = request->address;
	struct scsi_target nobody;

	if (at.path < STORVSP_PATHS && at.target < STORVSP_TARGETS) {
		return scsi_target_submit(&queue->targets[at.path][at.target], at.lun,
					  &request->scsi);
	}
	memset(&nobody, 0, sizeof(nobody));
	return scsi_target_submit(&nobody, at.lun, &request->scsi);
}

static void begin_flight(struct storvsp_request *request)
{
	struct storvsp_queue *queue = request->queue;

	request->epoch = queue->epoch;
	queue->in_flight_of[queue->epoch]++;
	queue->in_flight++;
	if (queue->in_flight > queue->in_flight_max) {
		queue->in_flight_max = queue->in_flight;
	}
}

static int execute(struct storvsp_queue *queue, struct storvsp_request *request,
		   const struct vmbus_packet *packet, const struct vstor_request *vstor)
{
	struct scsi_request *scsi = &request->scsi;
	int count;

	queue->commands++;
	request->address = (struct storvsp_address){ vstor->path, vstor->target, vstor->lun };
	count = map_data(request, packet, vstor->data_bytes);
	if (count < 0) {
		queue->refused++;
		answer_srb_status(request, VSTOR_STATUS_INVALID_PARAMETER,
				  VSTOR_SRB_INVALID_REQUEST);
		return -EBADMSG;
	}
	memcpy(scsi->cdb, vstor->cdb, sizeof(scsi->cdb));
	scsi->cdb_bytes = vstor->cdb_bytes;
	scsi->iov = request_iovecs(request);
	scsi->iov_count = count;
	scsi->data_bytes = vstor->data_bytes;
	scsi->done = on_scsi_done;

	switch (submit(queue, request)) {
	case SCSI_PENDING:
		begin_flight(request);
		break;
	case SCSI_DONE:
		answer_scsi(request);
		break;
	case SCSI_NO_UNIT:
		queue->no_unit++;
		answer_srb_status(request, VSTOR_STATUS_DEVICE_DOES_NOT_EXIST,
				  VSTOR_SRB_INVALID_LUN);
		break;
	}
	return 0;
}

/* A sub-channel carries commands only, and they were agreed on before there was one. */
static bool is_ready(const struct storvsp_queue *queue)
{
	return queue->index > 0 || queue->storvsp->phase == STORVSP_READY;
}

int storvsp_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		   const struct vmbus_packet *packet)
{
	struct storvsp_queue *queue = storvsp_queue_of(device, channel);
	struct storvsp_request *request;
	struct vstor_request vstor;
	int err;

	if (queue->is_held) {
		return -EAGAIN;
	}
	if (packet->type != VMBUS_PACKET_INBAND && packet->type != VMBUS_PACKET_GPA_DIRECT) {
		queue->refused++;
		return -EBADMSG; /* we ask for no completions, and agreed on no buffers */
	}
	request = storvsp_request_get(queue);
	if (!request) {
		queue->is_starved = true;
		queue->starvations++;
		return -EAGAIN;
	}
	request->transaction_id = packet->transaction_id;
	request->wants_completion = packet->wants_completion;
	request->answer_bytes = vstor_answer_bytes(packet->payload_bytes);

	err = vstor_parse(packet->payload, packet->payload_bytes, &vstor);
	if (err) {
		return storvsp_refuse(request, err == -EOPNOTSUPP
						       ? VSTOR_STATUS_INVALID_DEVICE_REQUEST
						       : VSTOR_STATUS_INVALID_PARAMETER);
	}
	if (vstor.operation == VSTOR_EXECUTE_SRB && is_ready(queue)) {
		return execute(queue, request, packet, &vstor);
	}
	if (queue->index > 0) {
		return storvsp_refuse(request, VSTOR_STATUS_INVALID_DEVICE_STATE);
	}
	return storvsp_handle_control(request, &vstor);
}

/* ---- life -------------------------------------------------------------------------------------- */

static void on_stop_asked(struct loop_work *work)
{
	struct storvsp_queue *queue = container_of(work, struct storvsp_queue, stop_asked);

	queue->is_stopping = true;
	storvsp_queue_advance(queue);
}

void storvsp_queue_init(struct storvsp *storvsp, unsigned int index, struct loop *loop)
{
	struct storvsp_queue *queue = &storvsp->queues[index];

	queue->storvsp = storvsp;
	queue->index = (uint8_t)index;
	queue->loop = loop;
	list_init(&queue->free);
	list_init(&queue->unsent);
	loop_work_init(&queue->resend, on_resend);
	loop_work_init(&queue->reset_asked, storvsp_on_reset_asked);
	loop_work_init(&queue->stop_asked, on_stop_asked);
}
