/* SPDX-License-Identifier: MIT */
/*
 * StorVSP. A packet takes a request from the pool, and the request goes back when its answer is in
 * the ring:
 *
 *                        control packet, or answered at once
 *              ┌──────────────────────────────────────────────────┐
 *   free ──► storvsp_packet ──► at a disk (in_flight) ──► answer ─┴► ring ──► free
 *    │ none                          on_scsi_done           │ full    ▲
 *    ▼                                                      ▼         │ writable
 *   the packet stays in the ring (is_starved)            unsent ──────┘
 *
 * Invariants:
 *   S1  Answers leave in the order in which they were ready: nothing overtakes unsent.
 *   S2  in_flight counts the requests whose memory a disk may touch; the channel is closed, and the
 *       pool freed, only at 0.
 */
#include "vsp/storage/storvsp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/storage/storvsp_internal.h"

/* Ranges in one packet. Guests use one; the protocol does not forbid more. */
#define STORVSP_RANGES_MAX       32

/* Descriptor and payload: STORVSP_RANGES_MAX ranges over the pages of the largest transfer. */
#define STORVSP_PACKET_BYTES_MAX 8192

#define STORVSP_POOL_BYTES                                                                         \
	(STORVSP_REQUESTS *                                                                        \
	 (sizeof(struct storvsp_request) + STORVSP_IOVECS_MAX * sizeof(struct iovec)))

static struct storvsp *storvsp_of(struct vmbus_device *device)
{
	return container_of(device, struct storvsp, device);
}

/* ---- the pool ---------------------------------------------------------------------------------- */

/* Mapped, not allocated: what is never used never takes memory, also after a reopen. */
int storvsp_pool_create(struct storvsp *storvsp)
{
	void *pool = MAP_FAILED;

	if (!fault_point()) {
		pool = mmap(NULL, STORVSP_POOL_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (pool == MAP_FAILED) {
		return -ENOMEM;
	}
	storvsp->requests = pool;
	storvsp->iovecs = (struct iovec *)(storvsp->requests + STORVSP_REQUESTS);
	storvsp->fresh = 0;
	list_init(&storvsp->free);
	list_init(&storvsp->unsent);
	return 0;
}

void storvsp_pool_destroy(struct storvsp *storvsp)
{
	if (storvsp->requests) {
		munmap(storvsp->requests, STORVSP_POOL_BYTES);
	}
	storvsp->requests = NULL;
	storvsp->iovecs = NULL;
	list_init(&storvsp->free);
	list_init(&storvsp->unsent);
}

struct storvsp_request *storvsp_request_get(struct storvsp *storvsp)
{
	struct storvsp_request *request = list_first(&storvsp->free, struct storvsp_request, link);

	if (request) {
		list_remove(&request->link);
		return request;
	}
	if (storvsp->fresh == STORVSP_REQUESTS) {
		return NULL;
	}
	request = &storvsp->requests[storvsp->fresh++];
	request->storvsp = storvsp;
	list_init(&request->link);
	return request;
}

static void request_put(struct storvsp_request *request)
{
	struct storvsp *storvsp = request->storvsp;

	list_prepend(&storvsp->free, &request->link);
	if (storvsp->is_starved && !storvsp->is_closing) {
		storvsp->is_starved = false;
		vmbus_channel_resume(storvsp->channel);
	}
}

/* Its own, for good. */
static struct iovec *request_iovecs(const struct storvsp_request *request)
{
	size_t index = (size_t)(request - request->storvsp->requests);

	return &request->storvsp->iovecs[index * STORVSP_IOVECS_MAX];
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* Puts the answer into the ring or, when that is full, into unsent. */
static void request_answer(struct storvsp_request *request)
{
	struct storvsp *storvsp = request->storvsp;
	int err = -EAGAIN;

	if (!request->wants_completion || storvsp->is_closing) {
		request_put(request);
		return;
	}
	if (list_is_empty(&storvsp->unsent)) { /* S1 */
		err = vmbus_channel_complete(storvsp->channel, request->transaction_id,
					     request->answer, request->answer_bytes);
	}
	if (err == -EAGAIN) {
		storvsp->ring_full++;
		list_append(&storvsp->unsent, &request->link);
		return;
	}
	/* Otherwise the channel is dead: nobody is there to be told. */
	request_put(request);
}

static void send_unsent(struct storvsp *storvsp)
{
	struct storvsp_request *request;

	while ((request = list_first(&storvsp->unsent, struct storvsp_request, link)) != NULL) {
		int err = vmbus_channel_complete(storvsp->channel, request->transaction_id,
						 request->answer, request->answer_bytes);

		if (err == -EAGAIN) {
			return;
		}
		list_remove(&request->link);
		request_put(request);
	}
}

static void on_resend(struct loop_work *work)
{
	struct storvsp *storvsp = container_of(work, struct storvsp, resend);

	if (storvsp->channel && !storvsp->is_closing) {
		send_unsent(storvsp);
	}
}

static void answer_status(struct storvsp_request *request, uint32_t status)
{
	vstor_build_status(status, request->answer);
	request_answer(request);
}

/* Nonsense, or out of turn: says so, counts. */
static int refuse(struct storvsp_request *request, uint32_t status)
{
	request->storvsp->refused++;
	answer_status(request, status);
	return -EBADMSG;
}

static void answer_srb(struct storvsp_request *request, uint32_t status,
		       const struct vstor_srb_answer *answer)
{
	vstor_build_srb(status, answer, request->answer);
	request_answer(request);
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

/* ---- commands ---------------------------------------------------------------------------------- */

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
		request->storvsp->check_conditions++;
	}
	answer_srb(request, status, &answer);
}

static void each_disk(struct storvsp *storvsp,
		      void (*fn)(struct scsi_disk *disk, struct block *end))
{
	for (unsigned int path = 0; path < STORVSP_PATHS; path++) {
		for (unsigned int target = 0; target < STORVSP_TARGETS; target++) {
			for (unsigned int lun = 0; lun < SCSI_LUNS_MAX; lun++) {
				struct scsi_disk *disk = storvsp->targets[path][target].luns[lun];

				if (disk) {
					fn(disk, storvsp->ends[path][target][lun]);
				}
			}
		}
	}
}

static void attach_disk(struct scsi_disk *disk, struct block *end)
{
	if (!scsi_disk_end(disk, 0)) {
		scsi_disk_attach(disk, 0, end);
	}
}

static void detach_disk(struct scsi_disk *disk, struct block *end)
{
	scsi_disk_detach(disk, 0);
}

static void reset_disk(struct scsi_disk *disk, struct block *end)
{
	scsi_disk_reset(disk);
}

void storvsp_attach_disks(struct storvsp *storvsp)
{
	each_disk(storvsp, attach_disk);
}

static void finish_close(struct storvsp *storvsp)
{
	struct vmbus_channel *channel = storvsp->channel;

	loop_cancel(storvsp->device.loop, &storvsp->resend);
	each_disk(storvsp, detach_disk);
	storvsp_pool_destroy(storvsp);
	storvsp->channel = NULL;
	storvsp->is_closing = false;
	vmbus_channel_closed(channel);
}

static void advance_stop(struct storvsp *storvsp)
{
	struct loop_work *done = storvsp->stop_done;

	if (done && storvsp->in_flight == 0) {
		storvsp->stop_done = NULL;
		loop_post(storvsp->device.loop, done);
	}
}

static void on_scsi_done(struct scsi_request *scsi)
{
	struct storvsp_request *request = container_of(scsi, struct storvsp_request, scsi);
	struct storvsp *storvsp = request->storvsp;

	check(storvsp->in_flight > 0);
	storvsp->in_flight--;
	answer_scsi(request);
	if (storvsp->in_flight > 0) {
		return;
	}
	advance_stop(storvsp);
	if (storvsp->is_closing) {
		finish_close(storvsp); /* S2 */
	}
}

/*
 * The first data_bytes of the packet's ranges as iovecs. Their number; -EBADMSG, -EFAULT, -E2BIG when
 * the guest's description is wrong.
 */
static int map_data(struct storvsp_request *request, const struct vmbus_packet *packet,
		    uint32_t data_bytes)
{
	const struct mem *mem = vmbus_channel_mem(request->storvsp->channel);
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
static enum scsi_submit submit(struct storvsp *storvsp, struct storvsp_request *request)
{
	struct storvsp_address at = request->address;
	struct scsi_target nobody;

	if (at.path < STORVSP_PATHS && at.target < STORVSP_TARGETS) {
		return scsi_target_submit(&storvsp->targets[at.path][at.target], at.lun,
					  &request->scsi);
	}
	memset(&nobody, 0, sizeof(nobody));
	return scsi_target_submit(&nobody, at.lun, &request->scsi);
}

static int execute(struct storvsp *storvsp, struct storvsp_request *request,
		   const struct vmbus_packet *packet, const struct vstor_request *vstor)
{
	struct scsi_request *scsi = &request->scsi;
	int count;

	storvsp->commands++;
	request->address = (struct storvsp_address){ vstor->path, vstor->target, vstor->lun };
	count = map_data(request, packet, vstor->data_bytes);
	if (count < 0) {
		storvsp->refused++;
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
	scsi->queue = 0;

	switch (submit(storvsp, request)) {
	case SCSI_PENDING:
		storvsp->in_flight++;
		storvsp->in_flight_max =
			(unsigned int)num_max(storvsp->in_flight_max, storvsp->in_flight);
		break;
	case SCSI_DONE:
		answer_scsi(request);
		break;
	case SCSI_NO_UNIT:
		storvsp->no_unit++;
		answer_srb_status(request, VSTOR_STATUS_DEVICE_DOES_NOT_EXIST,
				  VSTOR_SRB_INVALID_LUN);
		break;
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
	request_answer(request);
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
		vstor_build_properties(0, STORVSP_TRANSFER_BYTES_MAX, request->answer);
		request_answer(request);
		return 0;
	} else if (storvsp->phase == STORVSP_END && operation == VSTOR_END_INITIALIZATION) {
		storvsp->phase = STORVSP_READY;
	} else {
		return refuse(request, VSTOR_STATUS_INVALID_DEVICE_STATE);
	}
	answer_status(request, VSTOR_STATUS_SUCCESS);
	return 0;
}

static int handle_ready(struct storvsp *storvsp, struct storvsp_request *request,
			const struct vmbus_packet *packet, const struct vstor_request *vstor)
{
	switch (vstor->operation) {
	case VSTOR_EXECUTE_SRB:
		return execute(storvsp, request, packet, vstor);
	case VSTOR_RESET_LUN:
	case VSTOR_RESET_ADAPTER:
	case VSTOR_RESET_BUS:
		/* Commands in flight end by themselves, each with its own answer; guests wait. */
		storvsp->resets++;
		answer_status(request, VSTOR_STATUS_SUCCESS);
		return 0;
	case VSTOR_CREATE_SUB_CHANNELS:
		/* The properties said that there are none. */
		if (vstor->sub_channels == 0) {
			answer_status(request, VSTOR_STATUS_SUCCESS);
			return 0;
		}
		return refuse(request, VSTOR_STATUS_INVALID_PARAMETER);
	case VSTOR_FC_HBA_DATA:
		return refuse(request, VSTOR_STATUS_INVALID_DEVICE_REQUEST);
	default:
		return refuse(request, VSTOR_STATUS_INVALID_DEVICE_STATE);
	}
}

static int storvsp_packet(struct vmbus_device *device, struct vmbus_channel *channel,
			  const struct vmbus_packet *packet)
{
	struct storvsp *storvsp = storvsp_of(device);
	struct storvsp_request *request;
	struct vstor_request vstor;
	int err;

	if (packet->type != VMBUS_PACKET_INBAND && packet->type != VMBUS_PACKET_GPA_DIRECT) {
		storvsp->refused++;
		return -EBADMSG; /* we ask for no completions, and agreed on no buffers */
	}
	request = storvsp_request_get(storvsp);
	if (!request) {
		storvsp->is_starved = true;
		storvsp->starvations++;
		return -EAGAIN;
	}
	request->transaction_id = packet->transaction_id;
	request->wants_completion = packet->wants_completion;
	request->answer_bytes = vstor_answer_bytes(packet->payload_bytes);

	err = vstor_parse(packet->payload, packet->payload_bytes, &vstor);
	if (err) {
		return refuse(request, err == -EOPNOTSUPP ? VSTOR_STATUS_INVALID_DEVICE_REQUEST
							  : VSTOR_STATUS_INVALID_PARAMETER);
	}
	if (storvsp->phase == STORVSP_READY) {
		return handle_ready(storvsp, request, packet, &vstor);
	}
	return negotiate(storvsp, request, &vstor);
}

/* ---- called by the bus ------------------------------------------------------------------------- */

static int storvsp_open(struct vmbus_device *device, struct vmbus_channel *channel,
			const uint8_t *user_data)
{
	struct storvsp *storvsp = storvsp_of(device);
	int err = storvsp_pool_create(storvsp);

	if (err) {
		return err;
	}
	storvsp->channel = channel;
	storvsp->is_closing = false;
	storvsp->is_starved = false;
	storvsp->phase = STORVSP_BEGIN;
	storvsp->version = 0;
	/* A driver that comes anew must find its disks started and cached as after power on. */
	each_disk(storvsp, reset_disk);
	storvsp_attach_disks(storvsp);
	return 0;
}

static void storvsp_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	send_unsent(storvsp_of(device));
}

static void storvsp_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct storvsp *storvsp = storvsp_of(device);

	storvsp->is_closing = true;
	if (storvsp->in_flight == 0) {
		finish_close(storvsp);
	}
}

static void inspect_disk(struct inspect *at, const struct block *block)
{
	const struct block_info *info = block_info(block);
	const struct block_stats *stats = block_read_stats(block);

	inspect_string(at, "backend", block_name(block));
	inspect_u64(at, "bytes", info->bytes);
	inspect_u64(at, "block_bytes", info->logical_block_bytes);
	inspect_bool(at, "read_only", info->read_only);
	inspect_bool(at, "direct_io", block_is_direct(block));
	inspect_u64(at, "reads", stats->reads);
	inspect_u64(at, "read_bytes", stats->read_bytes);
	inspect_u64(at, "writes", stats->writes);
	inspect_u64(at, "written_bytes", stats->written_bytes);
	inspect_u64(at, "flushes", stats->flushes);
	inspect_u64(at, "discards", stats->discards);
	inspect_u64(at, "zeroes", stats->zeroes);
	inspect_u64(at, "errors", stats->errors);
	inspect_u64(at, "bounced", stats->bounced);
	inspect_u64(at, "in_flight", stats->in_flight);
	inspect_u64(at, "in_flight_max", stats->in_flight_max);
}

static void storvsp_inspect(struct vmbus_device *device, struct inspect *at)
{
	static const char *const phases[] = { "begin", "version", "properties", "end", "ready" };
	struct storvsp *storvsp = storvsp_of(device);

	inspect_string(at, "phase", storvsp->channel ? phases[storvsp->phase] : "closed");
	inspect_format(at, "version", "%u.%u", storvsp->version >> 8, storvsp->version & 0xffU);
	inspect_u64(at, "commands", storvsp->commands);
	inspect_u64(at, "in_flight", storvsp->in_flight);
	inspect_u64(at, "in_flight_max", storvsp->in_flight_max);
	inspect_u64(at, "check_conditions", storvsp->check_conditions);
	inspect_u64(at, "resets", storvsp->resets);
	inspect_u64(at, "refused", storvsp->refused);
	inspect_u64(at, "no_unit", storvsp->no_unit);
	inspect_u64(at, "starvations", storvsp->starvations);
	inspect_u64(at, "ring_full", storvsp->ring_full);
	for (unsigned int path = 0; path < STORVSP_PATHS; path++) {
		for (unsigned int target = 0; target < STORVSP_TARGETS; target++) {
			for (unsigned int lun = 0; lun < SCSI_LUNS_MAX; lun++) {
				struct scsi_disk *disk = storvsp->targets[path][target].luns[lun];

				if (disk) {
					struct inspect item = inspect_item(at, "disks");

					inspect_format(&item, "address", "%u:%u:%u", path, target,
						       lun);
					inspect_disk(&item, storvsp->ends[path][target][lun]);
				}
			}
		}
	}
}

static const struct vmbus_device_ops storvsp_ops = {
	.name = "storvsp",
	.packet_bytes_max = STORVSP_PACKET_BYTES_MAX,
	.open = storvsp_open,
	.packet = storvsp_packet,
	.writable = storvsp_writable,
	.close = storvsp_close,
	.save = storvsp_save,
	.load = storvsp_load,
	.inspect = storvsp_inspect,
};

/* ---- life --------------------------------------------------------------------------------------- */

int storvsp_create(const char *name, struct storvsp **ret)
{
	static const struct guid type = GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb605, 0x72e2ffb1dc7f);
	struct storvsp *storvsp = fault_alloc(1, sizeof(*storvsp));

	static_assert(STORVSP_LUNS <= SCSI_LUNS_MAX, "units of a target");
	if (!storvsp) {
		return -ENOMEM;
	}
	storvsp->device.ops = &storvsp_ops;
	storvsp->device.offer.interface_type = type;
	storvsp->device.offer.flags = VMBUS_OFFER_FLAG_ENUMERATE_DEVICE_INTERFACE;
	guid_from_name(name, &storvsp->device.offer.interface_instance);
	list_init(&storvsp->free);
	list_init(&storvsp->unsent);
	loop_work_init(&storvsp->resend, on_resend);
	*ret = storvsp;
	return 0;
}

void storvsp_destroy(struct storvsp *storvsp)
{
	if (!storvsp) {
		return;
	}
	check(!storvsp->channel && storvsp->in_flight == 0);
	for (unsigned int path = 0; path < STORVSP_PATHS; path++) {
		for (unsigned int target = 0; target < STORVSP_TARGETS; target++) {
			for (unsigned int lun = 0; lun < SCSI_LUNS_MAX; lun++) {
				scsi_disk_destroy(storvsp->targets[path][target].luns[lun]);
			}
		}
	}
	free(storvsp);
}

int storvsp_add_disk(struct storvsp *storvsp, struct storvsp_address address, struct block *block,
		     const char *serial, struct diag *reterr)
{
	struct scsi_disk_config config = {
		.type = SCSI_DISK,
		.info = block_info(block),
		.write_cache = true,
		.transfer_bytes_max = STORVSP_TRANSFER_BYTES_MAX,
		.serial = serial,
	};
	struct scsi_disk **slot;
	int err;

	if (address.path >= STORVSP_PATHS || address.target >= STORVSP_TARGETS ||
	    address.lun >= STORVSP_LUNS) {
		return diag_set(reterr, -EINVAL,
				"SCSI address %u:%u:%u does not exist: the last is %u:%u:%u",
				address.path, address.target, address.lun, STORVSP_PATHS - 1,
				STORVSP_TARGETS - 1, STORVSP_LUNS - 1);
	}
	slot = &storvsp->targets[address.path][address.target].luns[address.lun];
	if (*slot) {
		return diag_set(reterr, -EEXIST,
				"SCSI address %u:%u:%u is taken twice: give one disk another",
				address.path, address.target, address.lun);
	}
	if (storvsp->disk_count == STORVSP_DISKS_MAX) {
		return diag_set(reterr, -ENOSPC, "a SCSI controller has room for %u disks",
				STORVSP_DISKS_MAX);
	}
	err = scsi_disk_create(&config, slot, reterr);
	if (err) {
		return err;
	}
	storvsp->ends[address.path][address.target][address.lun] = block;
	storvsp->disk_count++;
	return 0;
}

struct vmbus_device *storvsp_device(struct storvsp *storvsp)
{
	return &storvsp->device;
}

void storvsp_stop(struct storvsp *storvsp, struct loop_work *done)
{
	check(!storvsp->stop_done);
	loop_check_here(storvsp->device.loop);
	storvsp->stop_done = done;
	advance_stop(storvsp);
}
