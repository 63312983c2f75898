/* SPDX-License-Identifier: MIT */
#include "vsp/ic/ic_common.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

/* ---- sending -------------------------------------------------------------------------------- */

/* Ends the waiting transaction, if there is one. */
static int end_transaction(struct ic *ic, int result, const struct ic_message *answer)
{
	if (!ic->waiting) {
		return 0;
	}
	ic->waiting = false;
	loop_timer_cancel(&ic->timeout);
	return ic->service->ended(ic, result, answer);
}

static void send_negotiate(struct ic *ic)
{
	uint8_t buf[IC_MESSAGE_BYTES_MAX];
	size_t bytes;
	int err;

	bytes = ic_build_negotiate(ic->service->versions, ic->service->version_count,
				   ++ic->transaction_id, buf);
	err = vmbus_channel_send_inband(ic->channel, 0, false, buf, (uint32_t)bytes);
	ic->unsent = err == -EAGAIN;
	if (err && err != -EAGAIN) {
		vmbus_channel_fault(ic->channel, "cannot send NEGOTIATE: %s", strerror(-err));
	}
}

int ic_request(struct ic *ic, const void *body, size_t body_bytes, uint64_t timeout_ns)
{
	uint8_t buf[IC_MESSAGE_BYTES_MAX];
	struct ic_message message = {
		.framework = ic->framework,
		.version = ic->version,
		.type = ic->service->message_type,
		.transaction_id = (uint8_t)(ic->transaction_id + 1),
		.flags = IC_FLAG_TRANSACTION | IC_FLAG_REQUEST,
		.body = body,
		.body_bytes = (uint32_t)body_bytes,
	};
	size_t bytes;
	int err;

	if (ic->state != IC_READY) {
		return -ENOTCONN;
	}
	if (vmbus_channel_is_paused(ic->channel)) {
		return -EAGAIN;
	}
	bytes = ic_build(&message, buf);
	err = vmbus_channel_send_inband(ic->channel, 0, false, buf, (uint32_t)bytes);
	if (err) {
		return err;
	}
	(void)end_transaction(ic, -ECANCELED, NULL);
	ic->transaction_id = message.transaction_id;
	ic->waiting = true;
	ic->requests++;
	if (timeout_ns) {
		loop_timer_arm(&ic->timeout, timeout_ns);
	}
	return 0;
}

/* ---- called by the loop and the bus ---------------------------------------------------------- */

static void on_timeout(struct loop_timer *timer)
{
	struct ic *ic = container_of(timer, struct ic, timeout);

	ic->timeouts++;
	(void)end_transaction(ic, -ETIMEDOUT, NULL);
}

static void on_begin(struct loop_timer *timer)
{
	struct ic *ic = container_of(timer, struct ic, begin);

	if (vmbus_channel_is_paused(ic->channel)) {
		loop_timer_arm(timer, IC_PAUSED_NS);
	} else if (ic->state == IC_READY) {
		ic->service->ready(ic);
	} else if (ic->state == IC_NEGOTIATING) {
		send_negotiate(ic);
	}
}

static void attach(struct ic *ic, struct vmbus_channel *channel, enum ic_state state)
{
	struct loop *loop = vmbus_channel_loop(channel);

	ic->channel = channel;
	ic->state = state;
	loop_timer_init(&ic->timeout, loop, on_timeout);
	loop_timer_init(&ic->begin, loop, on_begin);
	/* Not from inside open(): the guest hears of the open channel first. */
	loop_timer_arm(&ic->begin, 0);
}

/* Ends what attach() began; no-op in CLOSED. */
static void detach(struct ic *ic)
{
	if (ic->state == IC_CLOSED) {
		return;
	}
	(void)end_transaction(ic, -ECONNRESET, NULL);
	ic->service->closing(ic);
	loop_timer_cancel(&ic->begin);
	ic->channel = NULL;
	ic->state = IC_CLOSED;
	ic->unsent = false;
}

static int ic_open(struct vmbus_device *device, struct vmbus_channel *channel,
		   const uint8_t *user_data)
{
	struct ic *ic = container_of(device, struct ic, device);

	(void)user_data;
	check(ic->state == IC_CLOSED);
	ic->waiting = false;
	attach(ic, channel, IC_NEGOTIATING);
	return 0;
}

static void ic_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct ic *ic = container_of(device, struct ic, device);

	detach(ic);
	vmbus_channel_closed(channel);
}

static bool is_offered(const struct ic *ic, uint32_t framework, uint32_t version)
{
	if (framework != IC_FRAMEWORK_1_0 && framework != IC_FRAMEWORK_3_0) {
		return false;
	}
	for (size_t i = 0; i < ic->service->version_count; i++) {
		if (ic->service->versions[i] == version) {
			return true;
		}
	}
	return false;
}

static int handle_negotiate(struct ic *ic, const struct ic_message *message)
{
	uint32_t framework, version;
	int err;

	if (ic->state != IC_NEGOTIATING) {
		return -EBADMSG;
	}
	err = ic_parse_negotiate(message, &framework, &version);
	if (err == -EOPNOTSUPP) {
		ic->state = IC_REFUSED;
		return 0;
	}
	if (err) {
		return err;
	}
	/* A guest may only choose what it was offered. */
	if (!is_offered(ic, framework, version)) {
		return -EBADMSG;
	}
	ic->framework = framework;
	ic->version = version;
	ic->state = IC_READY;
	ic->service->ready(ic);
	return 0;
}

static int handle_message(struct ic *ic, const struct ic_message *message)
{
	if ((message->flags & (IC_FLAG_RESPONSE | IC_FLAG_REQUEST)) != IC_FLAG_RESPONSE) {
		return -EBADMSG;
	}
	if (message->type == IC_MSG_NEGOTIATE) {
		return handle_negotiate(ic, message);
	}
	if (message->type != ic->service->message_type || ic->state != IC_READY) {
		return -EBADMSG;
	}
	if (!ic->waiting || message->transaction_id != ic->transaction_id) {
		ic->late++; /* I3 */
		return 0;
	}
	ic->answers++;
	return end_transaction(ic, 0, message);
}

static int ic_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		     const struct vmbus_packet *packet)
{
	struct ic *ic = container_of(device, struct ic, device);
	struct ic_message message;
	int err;

	(void)channel;
	if (packet->type != VMBUS_PACKET_INBAND) {
		err = -EBADMSG;
	} else {
		err = ic_parse(packet->payload, packet->payload_bytes, &message);
	}
	if (!err) {
		err = handle_message(ic, &message);
	}
	if (err) {
		/* The ring is sound, so the next message may be better. Nobody waits for an
		 * answer to an answer. */
		ic->bad++;
		err = -EBADMSG;
	}
	return err;
}

static void ic_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	struct ic *ic = container_of(device, struct ic, device);

	(void)channel;
	if (ic->unsent && ic->state == IC_NEGOTIATING) {
		send_negotiate(ic);
	}
}

/* ---- saved state ------------------------------------------------------------------------------ */

enum {
	STATE_PHASE = 1,       /* enum saved_phase */
	STATE_FRAMEWORK = 2,   /* IC_FRAMEWORK_* */
	STATE_VERSION = 3,     /* IC_VERSION() */
	STATE_TRANSACTION = 4, /* the last transaction id */
};

/* The values are for ever, so they are not enum ic_state's. */
enum saved_phase {
	PHASE_CLOSED = 0,
	PHASE_NEGOTIATING = 1,
	PHASE_READY = 2,
	PHASE_REFUSED = 3,
};

static enum saved_phase phase_of(enum ic_state state)
{
	switch (state) {
	case IC_NEGOTIATING:
		return PHASE_NEGOTIATING;
	case IC_READY:
		return PHASE_READY;
	case IC_REFUSED:
		return PHASE_REFUSED;
	case IC_CLOSED:
	default:
		return PHASE_CLOSED;
	}
}

static void ic_save(struct vmbus_device *device, struct save *save)
{
	struct ic *ic = container_of(device, struct ic, device);

	save_u32(save, STATE_PHASE, phase_of(ic->state));
	save_u32(save, STATE_FRAMEWORK, ic->framework);
	save_u32(save, STATE_VERSION, ic->version);
	save_u32(save, STATE_TRANSACTION, ic->transaction_id);
	if (ic->service->save) {
		ic->service->save(ic, save);
	}
}

/*
 * A transaction in flight is not carried over: whoever asked lives in the old process. Its answer
 * will be late (I3). An unanswered NEGOTIATE is simply sent again.
 */
static int ic_load(struct vmbus_device *device, struct load *load)
{
	struct ic *ic = container_of(device, struct ic, device);
	enum saved_phase phase = PHASE_CLOSED;
	struct load_field field;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case STATE_PHASE:
			phase = load_u32(load, &field);
			break;
		case STATE_FRAMEWORK:
			ic->framework = load_u32(load, &field);
			break;
		case STATE_VERSION:
			ic->version = load_u32(load, &field);
			break;
		case STATE_TRANSACTION:
			ic->transaction_id = (uint8_t)load_u32(load, &field);
			break;
		default:
			if (field.tag >= IC_STATE_OWN && ic->service->load) {
				ic->service->load(ic, load, &field);
			}
			break;
		}
	}

	struct vmbus_channel *channel = device->channel;
	bool open = channel && vmbus_channel_is_open(channel);

	if (open != (phase != PHASE_CLOSED) || phase > PHASE_REFUSED ||
	    (phase == PHASE_READY && !is_offered(ic, ic->framework, ic->version))) {
		load_fail(load);
	}
	if (load_result(load) == 0 && open) {
		detach(ic);
		attach(ic, channel,
		       phase == PHASE_READY     ? IC_READY
		       : phase == PHASE_REFUSED ? IC_REFUSED
						: IC_NEGOTIATING);
	}
	return load_result(load);
}

/* ---- for people -------------------------------------------------------------------------------- */

static void inspect_version(struct inspect *at, const char *name, uint32_t version)
{
	inspect_format(at, name, "%u.%u", IC_VERSION_MAJOR(version), IC_VERSION_MINOR(version));
}

static void ic_inspect(struct vmbus_device *device, struct inspect *at)
{
	static const char *const names[] = {
		[IC_CLOSED] = "closed",
		[IC_NEGOTIATING] = "negotiating",
		[IC_READY] = "ready",
		[IC_REFUSED] = "refused",
	};
	struct ic *ic = container_of(device, struct ic, device);

	inspect_string(at, "state", names[ic->state]);
	if (ic->state == IC_READY) {
		inspect_version(at, "framework", ic->framework);
		inspect_version(at, "version", ic->version);
	}
	inspect_u64(at, "requests", ic->requests);
	inspect_u64(at, "answers", ic->answers);
	inspect_u64(at, "late_answers", ic->late);
	inspect_u64(at, "timeouts", ic->timeouts);
	inspect_u64(at, "bad_messages", ic->bad);
	if (ic->service->inspect) {
		ic->service->inspect(ic, at);
	}
}

/* ---- life --------------------------------------------------------------------------------------- */

static const struct vmbus_device_ops ic_ops = {
	.name = "ic",
	.packet_bytes_max = IC_MESSAGE_BYTES_MAX + 64,
	.open = ic_open,
	.packet = ic_packet,
	.writable = ic_writable,
	.close = ic_close,
	.save = ic_save,
	.load = ic_load,
	.inspect = ic_inspect,
};

void ic_init(struct ic *ic, const struct ic_service *service, const struct guid *type,
	     const struct guid *instance)
{
	ic->service = service;
	ic->state = IC_CLOSED;
	ic->ops = ic_ops;
	ic->ops.name = service->name;
	ic->device.ops = &ic->ops;
	ic->device.offer.interface_type = *type;
	ic->device.offer.interface_instance = *instance;
	ic->device.offer.flags =
		VMBUS_OFFER_FLAG_ENUMERATE_DEVICE_INTERFACE | VMBUS_OFFER_FLAG_NAMED_PIPE;
	bytes_put_le32(ic->device.offer.user_defined, VMBUS_PIPE_MODE_MESSAGE);
}

void ic_fini(struct ic *ic)
{
	check(ic->state == IC_CLOSED && !ic->waiting);
}
