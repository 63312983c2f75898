/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

static struct netvsp *from_device(struct vmbus_device *device)
{
	return container_of(device, struct netvsp, device);
}

/* ---- what others are told ---------------------------------------------------------------------- */

bool netvsp_has_rsc(const struct netvsp *nic)
{
	return nic->operational && nic->dialect && nic->dialect->rsc && !nic->no_rsc &&
	       nic->capabilities & NVSP_CAP_RSC && nic->offloads.rsc4 == NDIS_PARAM_ON &&
	       nic->offloads.rsc6 == NDIS_PARAM_ON;
}

static struct net_front_config front_config(const struct netvsp *nic)
{
	struct net_front_config config = {
		.mtu = nic->mtu,
		.coalesce_bytes_max = netvsp_has_rsc(nic) ? NETVSP_COALESCED_MAX : 0,
	};

	memcpy(config.mac, nic->mac, sizeof(config.mac));
	return config;
}

void netvsp_tell_net(struct netvsp *nic)
{
	struct net_front_config config = front_config(nic);

	net_configure(nic->net, &config);
}

void netvsp_tell_link(struct netvsp *nic)
{
	uint8_t buf[RNDIS_REPLY_BYTES_MAX];
	bool up = netvsp_link(nic);

	if (!nic->operational || nic->link_told == up) {
		return;
	}
	nic->link_told = up;
	netvsp_reply(nic, buf,
		     rndis_build_indicate(
			     buf, up ? RNDIS_STATUS_MEDIA_CONNECT : RNDIS_STATUS_MEDIA_DISCONNECT,
			     NULL, 0));
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* D3: sends the completion, or keeps it until the ring has room (I2). */
static void answer(struct netvsp *nic, const struct vmbus_packet *packet,
		   const struct nvsp_message *message)
{
	int err;

	if (!packet->wants_completion) {
		return;
	}
	err = vmbus_channel_complete(nic->channel, packet->transaction_id, message->bytes,
				     message->length);
	if (err == -EAGAIN) {
		nic->answer.pending = true;
		nic->answer.transaction_id = packet->transaction_id;
		nic->answer.message = *message;
	}
}

static void answer_nothing(struct netvsp *nic, const struct vmbus_packet *packet)
{
	const struct nvsp_message empty = { .length = 0 };

	answer(nic, packet, &empty);
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
	if (!dialect || request->init.version_min > version) {
		status = version > NVSP_VERSION_61 ? NVSP_STATUS_PROTOCOL_TOO_NEW
						   : NVSP_STATUS_PROTOCOL_UNSUPPORTED;
	} else {
		nic->dialect = dialect;
	}
	nvsp_build_init_complete(nic->dialect, version, status, &message);
	answer(nic, packet, &message);
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
	netvsp_tell_net(nic);
}

static int on_recv_buf(struct netvsp *nic, const struct vmbus_packet *packet,
		       const struct nvsp_request *request)
{
	int err = netvsp_recv_open(nic, request->buffer.gpadl, request->buffer.id, 0);
	struct nvsp_message message;

	nvsp_build_recv_buf_complete(nic->dialect, err ? NVSP_STATUS_FAIL : NVSP_STATUS_SUCCESS,
				     err ? 0 : nic->recv.piece_bytes, err ? 0 : nic->recv.pieces,
				     &message);
	answer(nic, packet, &message);
	return err ? -EBADMSG : 0;
}

static int on_send_buf(struct netvsp *nic, const struct vmbus_packet *packet,
		       const struct nvsp_request *request)
{
	int err = netvsp_send_open(nic, request->buffer.gpadl, request->buffer.id);
	struct nvsp_message message;

	nvsp_build_send_buf_complete(nic->dialect, err ? NVSP_STATUS_FAIL : NVSP_STATUS_SUCCESS,
				     err ? 0 : NETVSP_SECTION_BYTES, &message);
	answer(nic, packet, &message);
	return err ? -EBADMSG : 0;
}

static int on_revoke(struct netvsp *nic, const struct vmbus_packet *packet,
		     const struct nvsp_request *request)
{
	bool is_recv = request->type == NVSP_REVOKE_RECV_BUF;
	const struct netvsp_buffer *buffer = is_recv ? &nic->recv.buffer : &nic->send.buffer;
	bool is_there = buffer->gpadl && buffer->id == request->revoke.id;

	if (is_there && is_recv) {
		netvsp_recv_close(nic);
	} else if (is_there) {
		netvsp_send_close(nic);
	}
	answer_nothing(nic, packet);
	return is_there ? 0 : -EBADMSG;
}

static int on_rndis(struct netvsp *nic, const struct vmbus_packet *packet,
		    const struct nvsp_request *request)
{
	struct nvsp_message message;
	uint32_t status = NVSP_STATUS_FAIL;
	int err = netvsp_tx(nic, packet, request, &status);

	if (err == -EAGAIN) {
		return err;
	}
	nvsp_build_rndis_complete(status, &message);
	answer(nic, packet, &message);
	return err;
}

static int on_subchannel(struct netvsp *nic, const struct vmbus_packet *packet,
			 const struct nvsp_request *request)
{
	struct nvsp_message message;
	bool is_known = request->subchannel.op == NVSP_SUBCHANNEL_ALLOCATE;

	/* None granted: the guest goes on with the channel that it has. */
	nvsp_build_subchannel(nic->dialect, is_known ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAIL, 0,
			      &message);
	answer(nic, packet, &message);
	return is_known ? 0 : -EBADMSG;
}

static int on_unsupported(struct netvsp *nic, const struct vmbus_packet *packet, uint32_t type)
{
	struct nvsp_message message;

	if (type == NVSP_OID_QUERY_EX) {
		nvsp_build_refusal(nic->dialect, NVSP_OID_QUERY_EX_COMPLETE, &message);
		answer(nic, packet, &message);
	} else {
		answer_nothing(nic, packet);
	}
	return -EOPNOTSUPP;
}

static int on_request(struct netvsp *nic, const struct vmbus_packet *packet)
{
	struct nvsp_request request = { 0 };
	int err = nvsp_parse(packet->payload, packet->payload_bytes, nic->dialect, &request);

	if (err == -EOPNOTSUPP) {
		return on_unsupported(nic, packet, request.type);
	}
	if (err) {
		answer_nothing(nic, packet);
		return -EBADMSG;
	}
	switch (request.type) {
	case NVSP_SEND_RNDIS:
		return on_rndis(nic, packet, &request);
	case NVSP_INIT:
		err = on_init(nic, packet, &request);
		if (err) {
			answer_nothing(nic, packet);
		}
		return err ? -EBADMSG : 0;
	case NVSP_SEND_RECV_BUF:
		return on_recv_buf(nic, packet, &request);
	case NVSP_SEND_SEND_BUF:
		return on_send_buf(nic, packet, &request);
	case NVSP_REVOKE_RECV_BUF:
	case NVSP_REVOKE_SEND_BUF:
		return on_revoke(nic, packet, &request);
	case NVSP_SUBCHANNEL:
		return on_subchannel(nic, packet, &request);
	case NVSP_SEND_NDIS_VERSION:
		nic->ndis_major = request.ndis_version.major;
		nic->ndis_minor = request.ndis_version.minor;
		break;
	case NVSP_SEND_NDIS_CONFIG:
		on_ndis_config(nic, &request);
		break;
	case NVSP_SWITCH_DATA_PATH: /* there is no VF: synthetic it is and stays */
	case NVSP_SEND_RNDIS_COMPLETE:
	default:
		break;
	}
	answer_nothing(nic, packet);
	return 0;
}

/* ---- the device's table ------------------------------------------------------------------------ */

static int netvsp_open(struct vmbus_device *device, struct vmbus_channel *channel,
		       const uint8_t *user_data)
{
	struct netvsp *nic = from_device(device);

	(void)user_data;
	if (vmbus_channel_index(channel) != 0) {
		return -EOPNOTSUPP;
	}
	check(!nic->channel);
	nic->channel = channel;
	return 0;
}

void netvsp_forget(struct netvsp *nic)
{
	netvsp_recv_close(nic);
	netvsp_send_close(nic);
	nic->channel = NULL;
	nic->dialect = NULL;
	nic->ndis_major = nic->ndis_minor = 0;
	nic->capabilities = 0;
	nic->mtu = NET_MTU_DEFAULT;
	nic->answer.pending = false;
	nic->tx_done = 0;
	netvsp_rndis_reset(nic);
	netvsp_tell_net(nic);
}

static void netvsp_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	/* The back end borrows nothing beyond a call: nothing of ours touches the guest any more. */
	netvsp_forget(from_device(device));
	vmbus_channel_closed(channel);
}

static int netvsp_packet(struct vmbus_device *device, struct vmbus_channel *channel,
			 const struct vmbus_packet *packet)
{
	struct netvsp *nic = from_device(device);

	(void)channel;
	if (nic->answer.pending) {
		return -EAGAIN;
	}
	switch (packet->type) {
	case VMBUS_PACKET_COMPLETION:
		return netvsp_rx_complete(nic, packet->transaction_id);
	case VMBUS_PACKET_INBAND:
	case VMBUS_PACKET_GPA_DIRECT:
		return on_request(nic, packet);
	default:
		answer_nothing(nic, packet);
		return -EBADMSG;
	}
}

static void netvsp_batch_end(struct vmbus_device *device, struct vmbus_channel *channel)
{
	(void)channel;
	net_batch_end(from_device(device)->net);
}

static void netvsp_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct netvsp *nic = from_device(device);

	if (nic->answer.pending) {
		int err = vmbus_channel_complete(channel, nic->answer.transaction_id,
						 nic->answer.message.bytes,
						 nic->answer.message.length);

		if (err == -EAGAIN) {
			return;
		}
		nic->answer.pending = false;
		vmbus_channel_resume(channel);
	}
	netvsp_rx_writable(nic);
}

/* ---- inspect ----------------------------------------------------------------------------------- */

static void put_fact(void *ctx, const char *name, uint64_t value)
{
	inspect_u64(ctx, name, value);
}

static void put_mac(struct inspect *at, const char *name, const uint8_t *mac)
{
	inspect_format(at, name, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		       mac[4], mac[5]);
}

static void inspect_net(const struct netvsp *nic, struct inspect *at)
{
	struct inspect back = inspect_child(at, "backend");
	const struct net_counters *n = net_counters(nic->net);

	inspect_string(&back, "kind", net_kind(nic->net));
	inspect_u64(&back, "sent_frames", n->sent_frames);
	inspect_u64(&back, "sent_bytes", n->sent_bytes);
	inspect_u64(&back, "sent_large", n->sent_large);
	inspect_u64(&back, "delivered_frames", n->delivered_frames);
	inspect_u64(&back, "delivered_bytes", n->delivered_bytes);
	inspect_u64(&back, "delivered_large", n->delivered_large);
	inspect_u64(&back, "send_lost", n->send_lost);
	inspect_u64(&back, "deliver_lost", n->deliver_lost);
	inspect_u64(&back, "send_waits", n->send_waits);
	inspect_u64(&back, "deliver_waits", n->deliver_waits);
	net_facts(nic->net, put_fact, &back);
}

static void inspect_counters(const struct netvsp *nic, struct inspect *at)
{
	inspect_u64(at, "tx_frames", nic->counters.tx_frames);
	inspect_u64(at, "tx_bytes", nic->counters.tx_bytes);
	inspect_u64(at, "tx_large", nic->counters.tx_large);
	inspect_u64(at, "tx_packets", nic->counters.tx_packets);
	inspect_u64(at, "tx_refused", nic->counters.tx_refused);
	inspect_u64(at, "tx_waits", nic->counters.tx_waits);
	inspect_u64(at, "rx_frames", nic->counters.rx_frames);
	inspect_u64(at, "rx_bytes", nic->counters.rx_bytes);
	inspect_u64(at, "rx_large", nic->counters.rx_large);
	inspect_u64(at, "rx_packets", nic->counters.rx_packets);
	inspect_u64(at, "rx_filtered", nic->counters.rx_filtered);
	inspect_u64(at, "rx_lost", nic->counters.rx_lost);
	inspect_u64(at, "rx_waits", nic->counters.rx_waits);
	inspect_u64(at, "control", nic->counters.control);
	inspect_u64(at, "control_lost", nic->counters.control_lost);
	inspect_u64(at, "unknown_oids", nic->counters.unknown_oids);
	inspect_u64(at, "bad_completions", nic->counters.bad_completions);
}

static void netvsp_inspect(struct vmbus_device *device, struct inspect *at)
{
	const struct netvsp *nic = from_device(device);

	inspect_string(at, "name", nic->name);
	put_mac(at, "mac", nic->mac);
	inspect_bool(at, "link", netvsp_link(nic));
	inspect_string(at, "nvsp", nic->dialect ? nic->dialect->name : "none");
	inspect_format(at, "ndis", "%u.%u", nic->ndis_major, nic->ndis_minor);
	inspect_bool(at, "operational", nic->operational);
	inspect_u64(at, "mtu", nic->mtu);
	inspect_format(at, "filter", "0x%x", nic->filter);
	inspect_bool(at, "rsc", netvsp_has_rsc(nic));
	inspect_u64(at, "recv_piece_bytes", nic->recv.piece_bytes);
	inspect_u64(at, "recv_pieces", nic->recv.pieces);
	inspect_u64(at, "recv_free", nic->recv.free_count);
	inspect_u64(at, "send_sections", nic->send.sections);
	inspect_counters(nic, at);
	inspect_net(nic, at);
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
	.inspect = netvsp_inspect,
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

int netvsp_create(const struct netvsp_config *config, struct netvsp **ret, struct diag *reterr)
{
	static const struct guid interface = NVSP_INTERFACE;
	char instance[NETVSP_NAME_BYTES_MAX + 16];
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
		free(nic);
		return err;
	}
	strcpy(nic->name, config->name);
	nic->front.ops = &netvsp_front_ops;
	nic->net = config->net;
	nic->no_rsc = config->no_rsc;
	nic->link_wanted = true;
	nic->mtu = NET_MTU_DEFAULT;
	netvsp_rndis_reset(nic);
	snprintf(instance, sizeof(instance), "net/%s", nic->name);
	nic->device = (struct vmbus_device){ .ops = &netvsp_ops,
					     .offer = { .interface_type = interface },
					     .loop = net_loop(config->net) };
	guid_from_name(instance, &nic->device.offer.interface_instance);

	struct net_front_config front = front_config(nic);

	err = net_attach(nic->net, &nic->front, &front);
	if (err) {
		free(nic);
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
	check(!nic->channel);
	net_detach(nic->net);
	free(nic);
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
	netvsp_tell_link(nic);
}

void netvsp_pause(struct netvsp *nic)
{
	loop_check_here(nic->device.loop);
	/* A batch that is still here found the ring full; it waits like any frame. */
	nic->paused = true;
}

void netvsp_resume(struct netvsp *nic)
{
	loop_check_here(nic->device.loop);
	nic->paused = false;
	if (nic->channel) {
		netvsp_rx_writable(nic);
	}
	if (nic->rx_wanted) {
		nic->rx_wanted = 0;
		net_room(nic->net);
	}
}
