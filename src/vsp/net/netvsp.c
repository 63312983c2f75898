/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "vsp/net/netvsp_internal.h"
#include "vsp/net/netvsp_lane.h"

#define LINK_BITS_PER_SECOND 10000000000ULL

/* ---- what others are told ---------------------------------------------------------------------- */

bool netvsp_has_rsc(const struct netvsp *nic)
{
	return nic->operational && nic->dialect && nic->dialect->rsc && !nic->no_rsc &&
	       nic->capabilities & NVSP_CAP_RSC && nic->offloads.rsc4 == NDIS_PARAM_ON &&
	       nic->offloads.rsc6 == NDIS_PARAM_ON;
}

void netvsp_tell_link(struct netvsp *nic)
{
	uint8_t buf[RNDIS_REPLY_BYTES_MAX];
	bool up = netvsp_link(nic);

	if (nic->queues[0].is_held) {
		return; /* unpaused() comes back to it */
	}
	/* A driver that has no filter yet may not listen either: Linux's drops what it hears before it has
	   registered its interface. netvsp_control() comes back to it. */
	if (!nic->operational || !nic->filter || nic->link_told == up) {
		return;
	}
	nic->link_told = up;
	netvsp_reply(nic, buf,
		     rndis_build_indicate(
			     buf, up ? RNDIS_STATUS_MEDIA_CONNECT : RNDIS_STATUS_MEDIA_DISCONNECT,
			     NULL, 0));
}

void netvsp_touch(struct netvsp *nic)
{
	struct netvsp_queue *primary = &nic->queues[0];

	if (primary->log && !primary->is_held) {
		vmbus_channel_touch(primary->channel);
	}
}

static void finish_close(struct netvsp *nic);

static void finish_leave(struct netvsp *nic)
{
	nic->has_left = false;
	netvsp_recv_close(nic);
	netvsp_send_close(nic);
}

void netvsp_settled(struct netvsp *nic)
{
	if (nic->closing) {
		finish_close(nic);
		return;
	}
	if (nic->has_left) {
		finish_leave(nic);
		return;
	}
	netvsp_drain_replies(nic);
	if (nic->queues[0].channel) {
		vmbus_channel_resume(nic->queues[0].channel);
	}
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* D3: sends the completion; there was room for it (I2). lazy_bytes as in struct vmbus_send. */
static void answer_lazily(struct netvsp_queue *queue, const struct vmbus_packet *packet,
			  const struct nvsp_message *message, uint32_t lazy_bytes)
{
	int err;

	if (!packet->wants_completion) {
		return;
	}
	err = vmbus_channel_complete_lazily(queue->channel, packet->transaction_id, message->bytes,
					    message->length, lazy_bytes);
	if (err == -EAGAIN) {
		vmbus_channel_fault(queue->channel, "the guest has taken back room in its ring");
	}
}

static void answer(struct netvsp_queue *queue, const struct vmbus_packet *packet,
		   const struct nvsp_message *message)
{
	answer_lazily(queue, packet, message, 0);
}

static void answer_nothing(struct netvsp_queue *queue, const struct vmbus_packet *packet)
{
	const struct nvsp_message empty = { .length = 0 };

	answer(queue, packet, &empty);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static int on_init(struct netvsp *nic, const struct vmbus_packet *packet,
		   const struct nvsp_request *request)
{
	uint32_t version = request->init.version_max;
	const struct nvsp_dialect *dialect = nvsp_dialect(version);
	uint32_t status = NVSP_STATUS_SUCCESS;
	struct nvsp_message message;

	if (nic->dialect) {
		return -EPROTO; /* once per connection */
	}
	if (!dialect || version > nic->version_max || request->init.version_min > version) {
		status = version > nic->version_max ? NVSP_STATUS_PROTOCOL_TOO_NEW
						    : NVSP_STATUS_PROTOCOL_UNSUPPORTED;
	} else {
		nic->dialect = dialect;
		netvsp_publish(nic);
	}
	nvsp_build_init_complete(nic->dialect, version, status, &message);
	answer(&nic->queues[0], packet, &message);
	return 0;
}

/* The MTU that the guest wants, with its header; we offer up to the back end's. */
static void on_ndis_config(struct netvsp *nic, const struct nvsp_request *request)
{
	uint32_t mtu = request->ndis_config.mtu;
	uint32_t max = (uint32_t)num_min(net_mtu_max(nic->net), NET_MTU_MAX);

	if (nic->recv.buffer.gpadl) {
		/* Too late: a frame must fit one piece, and those have been cut. */
		max = (uint32_t)num_min(max, nic->recv.piece_bytes - NETVSP_FRAME_OVERHEAD);
	}
	mtu = mtu > NET_HEADER_BYTES ? mtu - NET_HEADER_BYTES : 0;
	nic->mtu = (uint32_t)num_max(num_min(mtu, max), NET_MTU_DEFAULT);
	nic->lookahead = nic->mtu;
	nic->capabilities = request->ndis_config.capabilities;
	netvsp_publish(nic);
}

static int on_recv_buf(struct netvsp *nic, const struct vmbus_packet *packet,
		       const struct nvsp_request *request)
{
	int err = netvsp_recv_open(nic, request->buffer.gpadl, request->buffer.id, 0);
	struct nvsp_message message;

	if (!err) {
		netvsp_pools_split(nic); /* sub-channels from before a revoke */
		netvsp_publish(nic);
	}
	nvsp_build_recv_buf_complete(nic->dialect, err ? NVSP_STATUS_FAIL : NVSP_STATUS_SUCCESS,
				     err ? 0 : nic->recv.piece_bytes, err ? 0 : nic->recv.pieces,
				     &message);
	answer(&nic->queues[0], packet, &message);
	return err ? -EBADMSG : 0;
}

static int on_send_buf(struct netvsp *nic, const struct vmbus_packet *packet,
		       const struct nvsp_request *request)
{
	int err = netvsp_send_open(nic, request->buffer.gpadl, request->buffer.id);
	struct nvsp_message message;

	if (!err) {
		netvsp_publish(nic);
	}
	nvsp_build_send_buf_complete(nic->dialect, err ? NVSP_STATUS_FAIL : NVSP_STATUS_SUCCESS,
				     err ? 0 : NETVSP_SECTION_BYTES, &message);
	answer(&nic->queues[0], packet, &message);
	return err ? -EBADMSG : 0;
}

/*
 * -EAGAIN: a queue has the buffer in its view yet (I5). The packet stays in the ring, and is taken when
 * all have let go: so a saved state needs to know nothing of it.
 */
static int on_revoke(struct netvsp *nic, const struct vmbus_packet *packet,
		     const struct nvsp_request *request)
{
	bool is_recv = request->type == NVSP_REVOKE_RECV_BUF;
	const struct netvsp_buffer *buffer = is_recv ? &nic->recv.buffer : &nic->send.buffer;
	bool *is_going = is_recv ? &nic->recv_is_going : &nic->send_is_going;
	bool is_there = buffer->gpadl && buffer->id == request->revoke.id;

	if (is_there && !*is_going) {
		*is_going = true;
		netvsp_publish(nic);
		if (nic->is_publishing) {
			return -EAGAIN;
		}
	}
	if (is_there && is_recv) {
		netvsp_recv_close(nic);
	} else if (is_there) {
		netvsp_send_close(nic);
	}
	if (is_there) {
		netvsp_touch(nic);
		vmbus_channel_yield(nic->queues[0].channel); /* L3: this is committed first */
	}
	answer_nothing(&nic->queues[0], packet);
	return is_there ? 0 : -EBADMSG;
}

static int on_rndis(struct netvsp_queue *queue, const struct vmbus_packet *packet,
		    const struct nvsp_request *request)
{
	struct nvsp_message message;
	uint32_t status = NVSP_STATUS_FAIL, bytes = 0;
	int err = netvsp_tx(queue, packet, request, &status, &bytes);

	if (err == -EAGAIN) {
		return err;
	}
	nvsp_build_rndis_complete(status, &message);
	/* Frames that have gone: the guest learns of it when it looks for others (docs/switch.md). */
	answer_lazily(queue, packet, &message,
		      request->rndis.channel == NVSP_RNDIS_DATA ? bytes : 0);
	return err;
}

/* Once per opening: what is granted is what is offered. */
static int on_subchannel(struct netvsp *nic, const struct vmbus_packet *packet,
			 const struct nvsp_request *request)
{
	struct nvsp_message message;
	bool is_fine = request->subchannel.op == NVSP_SUBCHANNEL_ALLOCATE && nic->granted == 0;
	unsigned int count = is_fine ? netvsp_grant(nic, request->subchannel.count) : 0;

	nvsp_build_subchannel(nic->dialect, is_fine ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAIL, count,
			      &message);
	answer(&nic->queues[0], packet, &message);
	return is_fine ? 0 : -EBADMSG;
}

static int on_unsupported(struct netvsp *nic, const struct vmbus_packet *packet, uint32_t type)
{
	struct nvsp_message message;

	if (type == NVSP_OID_QUERY_EX) {
		nvsp_build_refusal(nic->dialect, NVSP_OID_QUERY_EX_COMPLETE, &message);
		answer(&nic->queues[0], packet, &message);
	} else {
		answer_nothing(&nic->queues[0], packet);
	}
	return -EOPNOTSUPP;
}

/* The primary's. */
static int on_control(struct netvsp *nic, const struct vmbus_packet *packet,
		      const struct nvsp_request *request)
{
	int err;

	switch (request->type) {
	case NVSP_INIT:
		err = on_init(nic, packet, request);
		if (err) {
			answer_nothing(&nic->queues[0], packet);
		}
		return err ? -EBADMSG : 0;
	case NVSP_SEND_RECV_BUF:
		return on_recv_buf(nic, packet, request);
	case NVSP_SEND_SEND_BUF:
		return on_send_buf(nic, packet, request);
	case NVSP_REVOKE_RECV_BUF:
	case NVSP_REVOKE_SEND_BUF:
		return on_revoke(nic, packet, request);
	case NVSP_SUBCHANNEL:
		return on_subchannel(nic, packet, request);
	case NVSP_SEND_NDIS_VERSION:
		nic->ndis_major = request->ndis_version.major;
		nic->ndis_minor = request->ndis_version.minor;
		netvsp_publish(nic);
		break;
	case NVSP_SEND_NDIS_CONFIG:
		on_ndis_config(nic, request);
		break;
	case NVSP_SWITCH_DATA_PATH: /* there is no VF: synthetic it is and stays */
	case NVSP_SEND_RNDIS_COMPLETE:
	default:
		break;
	}
	answer_nothing(&nic->queues[0], packet);
	return 0;
}

static int on_request(struct netvsp_queue *queue, const struct vmbus_packet *packet)
{
	struct netvsp *nic = queue->nic;
	struct nvsp_request request = { 0 };
	bool is_primary = queue->index == 0;
	int err = nvsp_parse(packet->payload, packet->payload_bytes,
			     is_primary ? nic->dialect : queue->view->dialect, &request);

	if (!err && request.type == NVSP_SEND_RNDIS &&
	    (!is_primary || !nic->is_publishing || request.rndis.channel == NVSP_RNDIS_DATA)) {
		return on_rndis(queue, packet, &request);
	}
	if (is_primary && nic->is_publishing) {
		return -EAGAIN; /* netvsp_settled() reads on */
	}
	if (is_primary && err == -EOPNOTSUPP) {
		return on_unsupported(nic, packet, request.type);
	}
	if (!is_primary || err) {
		answer_nothing(queue, packet); /* sub-channels carry frames */
		return -EBADMSG;
	}
	return on_control(nic, packet, &request);
}

/* I2: what it makes us say is said after its answer. */
static int on_primary_request(struct netvsp_queue *primary, const struct vmbus_packet *packet)
{
	struct netvsp *nic = primary->nic;

	nic->is_answering = true;
	int err = on_request(primary, packet);

	nic->is_answering = false;
	netvsp_drain_replies(nic);
	return err;
}

/* ---- the device's table ------------------------------------------------------------------------ */

static int netvsp_open(struct vmbus_device *device, struct vmbus_channel *channel,
		       const uint8_t *user_data)
{
	(void)user_data;
	if (vmbus_channel_index(channel) >= netvsp_of(device)->queue_count) {
		return -EOPNOTSUPP;
	}
	netvsp_queue_open(netvsp_queue_of(device, channel), channel);
	return 0;
}

static int netvsp_restored(struct vmbus_device *device, struct vmbus_channel *channel)
{
	return netvsp_open(device, channel, NULL);
}

static void netvsp_leave(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);
	struct netvsp *nic = queue->nic;

	netvsp_queue_leave(queue);
	if (queue->index > 0) {
		return;
	}
	/* The GPADLs now, the tables when no queue has them in its view (I5). */
	netvsp_forget(nic);
	netvsp_buffer_leave(&nic->recv.buffer);
	netvsp_buffer_leave(&nic->send.buffer);
	nic->has_left = true;
	netvsp_publish(nic);
	if (!nic->is_publishing) {
		finish_leave(nic);
	}
}

void netvsp_forget(struct netvsp *nic)
{
	nic->recv_is_going = nic->recv.buffer.pages != NULL;
	nic->send_is_going = nic->send.buffer.pages != NULL;
	nic->dialect = NULL;
	nic->ndis_major = nic->ndis_minor = 0;
	nic->capabilities = 0;
	nic->mtu = NET_MTU_DEFAULT;
	nic->granted = 0;
	nic->table_told = false;
	nic->replies_first = nic->replies_count = 0;
	netvsp_rndis_reset(nic);
}

/* The back ends borrow nothing beyond a call: where no queue knows the buffers, nobody touches them. */
static void finish_close(struct netvsp *nic)
{
	struct vmbus_channel *channel = nic->closing;

	nic->closing = NULL;
	netvsp_recv_close(nic);
	netvsp_send_close(nic);
	vmbus_channel_closed(channel);
}

static void netvsp_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);
	struct netvsp *nic = queue->nic;

	netvsp_queue_close(queue);
	if (queue->index > 0) {
		vmbus_channel_closed(channel);
		return;
	}
	netvsp_forget(nic);
	nic->closing = channel;
	netvsp_publish(nic);
	if (!nic->is_publishing) {
		finish_close(nic);
	}
}

static int netvsp_packet(struct vmbus_device *device, struct vmbus_channel *channel,
			 const struct vmbus_packet *packet)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);

	if (packet->type == VMBUS_PACKET_COMPLETION) {
		return queue->answer.pending ? -EAGAIN
					     : netvsp_rx_complete(queue, packet->transaction_id);
	}
	if (queue->answer.pending || (packet->wants_completion &&
				      !vmbus_channel_wait_room(channel, NVSP_MESSAGE_BYTES_V61))) {
		return -EAGAIN; /* writable() reads on */
	}
	switch (packet->type) {
	case VMBUS_PACKET_INBAND:
	case VMBUS_PACKET_GPA_DIRECT:
		return queue->index == 0 ? on_primary_request(queue, packet)
					 : on_request(queue, packet);
	default:
		answer_nothing(queue, packet);
		return -EBADMSG;
	}
}

static void netvsp_batch_end(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);

	net_batch_end(queue->net);
	if (queue->index == 0 && queue->nic->granted && !queue->nic->table_told) {
		netvsp_tell_table(queue->nic);
	}
}

static void netvsp_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp_queue *queue = netvsp_queue_of(device, channel);

	if (queue->answer.pending) {
		int err = vmbus_channel_complete(channel, queue->answer.transaction_id,
						 queue->answer.message.bytes,
						 queue->answer.message.length);

		if (err == -EAGAIN) {
			return;
		}
		queue->answer.pending = false;
	}
	vmbus_channel_resume(channel);
	if (queue->index == 0) {
		netvsp_tell_table(queue->nic);
	}
	netvsp_rx_writable(queue);
}

static const struct vmbus_device_ops netvsp_ops = {
	.name = "netvsp",
	.packet_bytes_max = NETVSP_PACKET_BYTES_MAX,
	.open = netvsp_open,
	.packet = netvsp_packet,
	.batch_end = netvsp_batch_end,
	.writable = netvsp_writable,
	.close = netvsp_close,
	.save = netvsp_save,
	.load = netvsp_load,
	.restored = netvsp_restored,
	.leave = netvsp_leave,
	.log_bytes = netvsp_log_bytes,
	.log_attach = netvsp_log_attach,
	.log_write = netvsp_log_write,
	.recover = netvsp_recover,
	.committed = netvsp_committed,
	.unpaused = netvsp_unpaused,
	.inspect = netvsp_inspect,
	.inspect_channel = netvsp_inspect_channel,
};

/* ---- life -------------------------------------------------------------------------------------- */

void netvsp_default_mac(const char *partition, const char *name, uint8_t ret_mac[NET_MAC_BYTES])
{
	char text[256];
	struct guid guid;

	snprintf(text, sizeof(text), "mac/%s/%s", partition ? partition : "", name);
	guid_from_name(text, &guid);
	memcpy(ret_mac, guid.bytes, NET_MAC_BYTES);
	ret_mac[0] =
		(uint8_t)((ret_mac[0] & 0xfc) | 0x02); /* one station's, locally administered */
}

static int choose_mac(const struct netvsp_config *config, struct netvsp *nic, struct diag *reterr)
{
	static const uint8_t zero[NET_MAC_BYTES];

	if (!config->mac) {
		netvsp_default_mac(config->partition, config->name, nic->permanent_mac);
		return 0;
	}
	if (config->mac[0] & 1 || !memcmp(config->mac, zero, sizeof(zero))) {
		return diag_set(
			reterr, -EINVAL,
			"%02x:%02x:%02x:%02x:%02x:%02x cannot be a NIC's address: the first "
			"byte must be even, and not all may be zero",
			config->mac[0], config->mac[1], config->mac[2], config->mac[3],
			config->mac[4], config->mac[5]);
	}
	memcpy(nic->permanent_mac, config->mac, NET_MAC_BYTES);
	return 0;
}

static int make_queues(const struct netvsp_config *config, struct netvsp *nic)
{
	nic->queue_count = 1 + config->twin_count;
	check(nic->queue_count <= NETVSP_QUEUES_MAX);
	nic->queues = fault_alloc(nic->queue_count, sizeof(*nic->queues));
	if (!nic->queues) {
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		netvsp_queue_init(nic, i, i ? config->twins[i - 1] : config->net);
		if (i > 0) {
			nic->sub_loops[i - 1] = nic->queues[i].loop;
		}
	}
	nic->published = &nic->views[0];
	netvsp_publish_now(nic);
	return 0;
}

struct attachment {
	struct netvsp_queue *queue;
	int err;
};

static void attach_on_loop(void *arg)
{
	struct attachment *attachment = arg;
	struct netvsp_queue *queue = attachment->queue;

	queue->told = queue->view->config;
	attachment->err = net_attach(queue->net, &queue->front, &queue->told);
}

static void detach_on_loop(void *arg)
{
	struct netvsp_queue *queue = arg;

	net_detach(queue->net);
	check(!queue->lanes);
	loop_cancel(queue->loop, &queue->adopt);
	loop_cancel(queue->loop, &queue->go_on);
	loop_timer_cancel(&queue->lane_timer);
	if (queue->index == 0) {
		loop_cancel(queue->loop, &queue->nic->acked);
		loop_cancel(queue->loop, &queue->nic->sub_opened);
	}
}

/* Acknowledgements that come from now on publish nothing more: nothing new is posted to the queues. */
static void settle_on_loop(void *arg)
{
	struct netvsp *nic = arg;

	nic->is_stale = false;
	loop_cancel(nic->device.loop, &nic->acked);
}

/* The sub-channels first: what they have posted to the primary's loop is taken back there. */
static void detach(struct netvsp *nic, unsigned int count)
{
	if (count > 0) {
		loop_call(nic->device.loop, settle_on_loop, nic);
	}
	while (count-- > 0) {
		loop_call(nic->queues[count].loop, detach_on_loop, &nic->queues[count]);
	}
}

static int attach(struct netvsp *nic)
{
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		struct attachment attachment = { .queue = &nic->queues[i] };

		loop_call(nic->queues[i].loop, attach_on_loop, &attachment);
		if (attachment.err) {
			detach(nic, i);
			return attachment.err;
		}
	}
	return 0;
}

static void nic_free(struct netvsp *nic)
{
	free(nic->queues);
	free(nic);
}

static void make_device(struct netvsp *nic)
{
	static const struct guid interface = NVSP_INTERFACE;
	char instance[NETVSP_NAME_BYTES_MAX + 16];

	snprintf(instance, sizeof(instance), "net/%s", nic->name);
	nic->device = (struct vmbus_device){ .ops = &netvsp_ops,
					     .offer = { .interface_type = interface },
					     .loop = net_loop(nic->net),
					     .sub_loops = nic->sub_loops,
					     .sub_channels_max = nic->queue_count - 1 };
	guid_from_name(instance, &nic->device.offer.interface_instance);
}

int netvsp_create(const struct netvsp_config *config, struct netvsp **ret, struct diag *reterr)
{
	struct netvsp *nic;
	int err;

	if (!config->name[0] || strlen(config->name) > NETVSP_NAME_BYTES_MAX) {
		return diag_set(reterr, -EINVAL, "a NIC's name has 1 to %d characters",
				NETVSP_NAME_BYTES_MAX);
	}
	nic = fault_alloc(1, sizeof(*nic));
	if (!nic) {
		return diag_set(reterr, -ENOMEM, "no memory for a NIC");
	}
	err = choose_mac(config, nic, reterr);
	if (err) {
		nic_free(nic);
		return err;
	}
	strcpy(nic->name, config->name);
	nic->net = config->net;
	nic->no_rsc = config->no_rsc;
	nic->on_driver = config->on_driver;
	nic->on_driver_ctx = config->on_driver_ctx;
	nic->version_max = config->nvsp_max ? config->nvsp_max : NVSP_VERSION_61;
	nic->link_wanted = true;
	nic->link_bits = LINK_BITS_PER_SECOND;
	nic->mtu = NET_MTU_DEFAULT;
	netvsp_rndis_reset(nic);
	err = make_queues(config, nic);
	if (err) {
		nic_free(nic);
		return diag_set(reterr, err, "no memory for a NIC");
	}
	make_device(nic);
	err = attach(nic);
	if (err) {
		nic_free(nic);
		return diag_set(reterr, err, "NIC %s: its network serves another NIC already",
				config->name);
	}
	*ret = nic;
	return 0;
}

void netvsp_destroy(struct netvsp *nic)
{
	if (!nic) {
		return;
	}
	check(!nic->closing);
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		check(!nic->queues[i].channel);
	}
	detach(nic, nic->queue_count);
	netvsp_recv_close(nic); /* of a device that has left */
	netvsp_send_close(nic);
	nic_free(nic);
}

unsigned int netvsp_queues(const struct netvsp *nic)
{
	return nic->queue_count;
}

struct vmbus_device *netvsp_device(struct netvsp *nic)
{
	return &nic->device;
}

const uint8_t *netvsp_mac(const struct netvsp *nic)
{
	return nic->permanent_mac;
}

void netvsp_set_link(struct netvsp *nic, bool up)
{
	loop_check_here(nic->device.loop);
	nic->link_wanted = up;
	netvsp_publish(nic);
	netvsp_tell_link(nic);
}

bool netvsp_link_wanted(const struct netvsp *nic)
{
	loop_check_here(nic->device.loop);
	return nic->link_wanted;
}

void netvsp_set_speed(struct netvsp *nic, uint64_t bits_per_second)
{
	uint8_t buf[RNDIS_REPLY_BYTES_MAX], info[4];

	loop_check_here(nic->device.loop);
	if (nic->link_bits == bits_per_second) {
		return;
	}
	nic->link_bits = bits_per_second;
	if (!nic->operational || !nic->dialect->link_speed) {
		return;
	}
	bytes_put_le32(info, netvsp_link_speed(nic));
	netvsp_reply(nic, buf,
		     rndis_build_indicate(buf, RNDIS_STATUS_LINK_SPEED_CHANGE, info, sizeof(info)));
}

static void pause_on_loop(void *arg)
{
	netvsp_lanes_shut(arg);
	/* A batch that is still here found the ring full; it waits like any frame. */
	((struct netvsp_queue *)arg)->paused = true;
}

void netvsp_pause(struct netvsp *nic)
{
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		loop_call(nic->queues[i].loop, pause_on_loop, &nic->queues[i]);
	}
}

static void resume_on_loop(void *arg)
{
	struct netvsp_queue *queue = arg;

	queue->paused = false;
	if (queue->channel) {
		netvsp_rx_writable(queue);
	}
	if (queue->rx_wanted) {
		queue->rx_wanted = 0;
		net_room(queue->net);
	}
}

void netvsp_resume(struct netvsp *nic)
{
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		loop_call(nic->queues[i].loop, resume_on_loop, &nic->queues[i]);
	}
}
