/* SPDX-License-Identifier: MIT */
/*
 *            open              HELLO, accepted
 *   closed ────────► silent ───────────────────► speaking (version != 0) ─┐
 *      ▲               │                             ▲ └─── ECHO ◄────────┘
 *      └──── close ────┴─────────── close ───────────┘
 *
 * Invariants:
 *   E1  Every packet that asks for a completion gets one, at once, or is kept, or stays in the ring
 *       (-EAGAIN).
 *   E2  What echo_save() writes is touched (vmbus_channel_touch()) when it changes.
 */
#include "vsp/echo/echo.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/echo/echo_internal.h"
#include "vsp/echo/echo_parse.h"

static struct echo *echo_of(struct vmbus_device *device)
{
	return container_of(device, struct echo, device);
}

/* ---- messages --------------------------------------------------------------------------------- */

static int complete_result(struct vmbus_channel *channel, uint64_t transaction_id, uint32_t type,
			   uint32_t status, uint32_t version)
{
	uint8_t buf[ECHO_RESULT_BYTES];

	echo_build_result(type, status, version, buf);
	return vmbus_channel_complete(channel, transaction_id, buf, sizeof(buf));
}

static int handle_hello(struct echo *echo, struct vmbus_channel *channel, uint64_t transaction_id,
			const struct echo_request *request)
{
	uint32_t version = request->hello.version;
	bool known = version == ECHO_VERSION_1 || version == ECHO_VERSION_2;
	int err;

	err = complete_result(channel, transaction_id, ECHO_MSG_HELLO_RESULT,
			      known ? ECHO_STATUS_OK : ECHO_STATUS_UNSUPPORTED,
			      known ? version : 0);
	if (!err) {
		echo->version = known ? version : 0;
		echo->sequence = 0;
		vmbus_channel_touch(channel); /* E2 */
	}
	return err;
}

void echo_count(struct echo *echo, uint64_t sequence, uint32_t bytes)
{
	echo->sequence = sequence;
	echo->echoes++;
	echo->bytes += bytes;
	vmbus_channel_touch(echo->channel); /* E2 */
}

static int handle_echo(struct echo *echo, struct vmbus_channel *channel, uint64_t transaction_id,
		       const struct echo_request *request)
{
	uint64_t sequence = echo->version >= ECHO_VERSION_2 ? echo->sequence + 1 : 0;
	uint8_t head[ECHO_ECHO_BYTES];
	struct iovec payload[] = {
		{ .iov_base = head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)(uintptr_t)request->echo.bytes,
		  .iov_len = request->echo.count },
	};
	struct vmbus_send send = {
		.type = VMBUS_PACKET_COMPLETION,
		.transaction_id = transaction_id,
		.payload = payload,
		.payload_count = ARRAY_SIZE(payload),
	};
	int err;

	echo_build_echo(sequence, request->echo.count, head);
	err = vmbus_channel_send(channel, &send);
	if (!err) {
		echo_count(echo, sequence, request->echo.count);
	}
	return err;
}

/* Nonsense is answered too: a guest that waits for a completion must not wait for ever. */
static int refuse(struct echo *echo, struct vmbus_channel *channel,
		  const struct vmbus_packet *packet)
{
	int err = 0;

	if (packet->wants_completion) {
		err = complete_result(channel, packet->transaction_id, ECHO_MSG_ERROR,
				      ECHO_STATUS_INVALID, echo->version);
	}
	if (!err) {
		echo->refused++;
		err = -EBADMSG;
	}
	return err;
}

static int echo_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		       const struct vmbus_packet *packet)
{
	struct echo *echo = echo_of(device);
	struct echo_request request;
	int err = -EBADMSG;

	if (packet->type == VMBUS_PACKET_INBAND && packet->wants_completion) {
		err = echo_parse(packet->payload, packet->payload_bytes, &request);
	}
	if (!err && request.type == ECHO_MSG_ECHO && echo->version == 0) {
		err = -EBADMSG;
	}

	if (err) {
		err = refuse(echo, channel, packet);
	} else if (request.type == ECHO_MSG_HELLO) {
		err = handle_hello(echo, channel, packet->transaction_id, &request);
	} else if (echo->delay_ns > 0) {
		err = echo_late_take(echo, channel, packet, &request);
	} else {
		err = handle_echo(echo, channel, packet->transaction_id, &request);
	}

	if (err == -EAGAIN) { /* E1 */
		echo->stalled = true;
		echo->stalls++;
	}
	return err;
}

/* ---- called by the bus ------------------------------------------------------------------------- */

static int echo_open(struct vmbus_device *device, struct vmbus_channel *channel,
		     const uint8_t *user_data)
{
	struct echo *echo = echo_of(device);

	(void)user_data;
	echo_late_init(echo, channel);
	echo->version = 0;
	echo->sequence = 0;
	echo->stalled = false;
	return 0;
}

static void echo_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct echo *echo = echo_of(device);

	echo_late_answer(echo);
	if (echo->stalled) {
		echo->stalled = false;
		vmbus_channel_resume(channel);
	}
}

static void echo_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	echo_late_fini(echo_of(device));
	/* Nothing of ours is in flight: a VSP with I/O says this when the last of it has come. */
	vmbus_channel_closed(channel);
}

/* Of a saved state, or here from another process; echo_load() follows. */
static int echo_restored(struct vmbus_device *device, struct vmbus_channel *channel)
{
	echo_late_init(echo_of(device), channel);
	return 0;
}

static void echo_leave(struct vmbus_device *device, struct vmbus_channel *channel)
{
	(void)channel;
	echo_late_fini(echo_of(device));
}

static void echo_inspect(struct vmbus_device *device, struct inspect *at)
{
	const struct echo *echo = echo_of(device);

	inspect_u64(at, "version", echo->version);
	inspect_u64(at, "echoes", echo->echoes);
	inspect_u64(at, "bytes", echo->bytes);
	inspect_u64(at, "refused", echo->refused);
	inspect_u64(at, "stalls", echo->stalls);
}

static const struct vmbus_device_ops echo_ops = {
	.name = "echo",
	.packet_bytes_max = ECHO_ECHO_BYTES + ECHO_BYTES_MAX + 64,
	.open = echo_open,
	.packet = echo_packet,
	.writable = echo_writable,
	.close = echo_close,
	.restored = echo_restored,
	.leave = echo_leave,
	.keep_max = ECHO_LATE_MAX,
	.save = echo_save,
	.load = echo_load,
	.inspect = echo_inspect,
};

/* ---- life --------------------------------------------------------------------------------------- */

int echo_create(const char *name, struct echo **ret)
{
	static const struct guid type = ECHO_INTERFACE;
	struct echo *echo = fault_alloc(1, sizeof(*echo));

	if (!echo) {
		return -ENOMEM;
	}
	echo->device.ops = &echo_ops;
	echo->device.offer.interface_type = type;
	echo->device.offer.flags = VMBUS_OFFER_FLAG_ENUMERATE_DEVICE_INTERFACE;
	guid_from_name(name, &echo->device.offer.interface_instance);
	*ret = echo;
	return 0;
}

void echo_set_delay(struct echo *echo, uint64_t delay_ns)
{
	echo->delay_ns = delay_ns;
}

void echo_destroy(struct echo *echo)
{
	free(echo);
}

struct vmbus_device *echo_device(struct echo *echo)
{
	return &echo->device;
}
