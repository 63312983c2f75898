/* SPDX-License-Identifier: MIT */
#include "vmbus/bus_away.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "base/shared.h"

/* ---- whom a message concerns ---- */

static struct vmbus_channel *find(const struct vmbus_bus *bus, uint32_t relid)
{
	return relid >= 1 && relid <= VMBUS_RELID_MAX ? bus->channels[relid] : NULL;
}

static struct vmbus_device *lent_device(const struct vmbus_bus *bus, uint32_t relid)
{
	const struct vmbus_channel *channel = find(bus, relid);

	return channel && channel->device && channel->device->lending ? channel->device : NULL;
}

bool bus_away_is_away(const struct vmbus_device *device)
{
	return device->lending && device->lending->ops->is_away(device->lending);
}

void bus_away_closing(struct vmbus_device *device)
{
	if (device->lending) {
		device->lending->ops->closing(device->lending);
	}
}

/* Whether a message about this channel has to wait. */
static bool channel_blocks(struct vmbus_bus *bus, uint32_t relid, bool closes)
{
	struct vmbus_device *device = lent_device(bus, relid);

	if (!device) {
		return false;
	}
	struct vmbus_lending *lending = device->lending;

	lending->ops->touched(lending);
	if (!lending->ops->is_away(lending)) {
		return false;
	}
	if (closes && bus->channels[relid]->index == 0) {
		lending->ops->closing(lending);
	}
	lending->ops->recall(lending, REMOTE_RECALL_CONTROL);
	return true;
}

/* GPADLs of a channel that is not open are nobody's business over there. */
static bool gpadl_blocks(struct vmbus_bus *bus, uint32_t relid)
{
	struct vmbus_device *device = lent_device(bus, relid);

	if (!device) {
		return false;
	}
	if (!control_is_open(bus->control, relid)) {
		device->lending->ops->touched(device->lending);
		return false;
	}
	return channel_blocks(bus, relid, false);
}

bool bus_away_recall_all(struct vmbus_bus *bus, enum remote_recall_reason reason, bool closes)
{
	bool any = false;

	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_device *device = lent_device(bus, relid);

		if (device && bus->channels[relid]->index == 0 && bus_away_is_away(device)) {
			if (closes) {
				device->lending->ops->closing(device->lending);
			}
			device->lending->ops->recall(device->lending, reason);
			any = true;
		}
	}
	return any;
}

/* The guest's word is read once, here: control.h reads it again only when it is let through. */
bool bus_away_blocks(struct vmbus_bus *bus, const uint8_t *message, uint32_t bytes)
{
	uint32_t words[4] = { 0 }; /* type, padding, and the two after them: relid, GPADL */

	memcpy(words, message, num_min(bytes, sizeof(words)));
	switch (words[0]) {
	case VMBUS_MSG_OPEN_CHANNEL:
	case VMBUS_MSG_RELID_RELEASED:
		return channel_blocks(bus, words[2], false);
	case VMBUS_MSG_CLOSE_CHANNEL:
		return channel_blocks(bus, words[2], true);
	case VMBUS_MSG_GPADL_HEADER:
		return gpadl_blocks(bus, words[2]);
	case VMBUS_MSG_GPADL_TEARDOWN:
	case VMBUS_MSG_GPADL_BODY:
		return gpadl_blocks(bus, gpadl_table_relid(bus->gpadls, words[3]));
	case VMBUS_MSG_UNLOAD:
	case VMBUS_MSG_INITIATE_CONTACT:
		return bus_away_recall_all(bus, REMOTE_RECALL_CONTROL, true);
	default:
		return false;
	}
}

/* ---- waiting ---- */

int bus_away_wait_all(struct vmbus_bus *bus, uint64_t limit_ns)
{
	uint64_t until_ns = loop_now_ns() + limit_ns;

	bus_away_recall_all(bus, REMOTE_RECALL_PAUSE, false);
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_device *device = lent_device(bus, relid);

		if (device && bus->channels[relid]->index == 0 &&
		    !device->lending->ops->wait(device->lending, until_ns)) {
			return -ETIMEDOUT;
		}
	}
	return 0;
}

void bus_away_touch_all(struct vmbus_bus *bus)
{
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_device *device = lent_device(bus, relid);

		if (device && bus->channels[relid]->index == 0) {
			device->lending->ops->touched(device->lending);
		}
	}
}

static bool is_any_away(const struct vmbus_bus *bus)
{
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		const struct vmbus_device *device = lent_device(bus, relid);

		if (device && bus_away_is_away(device)) {
			return true;
		}
	}
	return false;
}

void bus_away_came_home(struct vmbus_bus *bus, struct vmbus_device *device)
{
	struct loop_work *done = device->lending->revoke_done;

	if (done) {
		device->lending->revoke_done = NULL;
		bus_revoke(bus, device, done);
	}
	if (bus->reset_waits && !is_any_away(bus)) {
		bus_go_on_with_reset(bus);
	}
	loop_post(bus->loop, &bus->inbox_work);
}

bool bus_away_may_leave(const struct vmbus_bus *bus, const struct vmbus_device *device)
{
	const struct vmbus_channel *primary = device->channel;

	if (!primary || bus->is_paused || bus->reset_done || device->lending->revoke_done ||
	    primary->revoke_done || !control_is_open(bus->control, primary->relid)) {
		return false;
	}
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		const struct vmbus_channel *channel = bus->channels[relid];

		if (channel && channel->device == device &&
		    control_is_open(bus->control, relid) != channel->is_bound) {
			return false; /* it is closing */
		}
	}
	return true;
}

/* ---- the board ---- */

void bus_away_init(struct vmbus_bus *bus)
{
	bus->board_fd = -1;
}

void bus_away_fini(struct vmbus_bus *bus)
{
	struct remote_board *board = atomic_load(&bus->board);

	if (board) {
		munmap(board, sizeof(*board));
	}
	if (bus->board_fd >= 0) {
		close(bus->board_fd);
	}
}

int bus_away_board(struct vmbus_bus *bus, int *ret_fd)
{
	struct remote_board *board;
	void *at;

	if (bus->board_fd >= 0) {
		*ret_fd = bus->board_fd;
		return 0;
	}
	int err = shared_create("tabique-board", REMOTE_BOARD_BYTES, 0, &at, &bus->board_fd);

	if (err) {
		return err;
	}
	board = at;
	board->magic = REMOTE_BOARD_MAGIC;
	board->version = REMOTE_BOARD_VERSION;
	board->vps = bus->synic->ops->vp_count(bus->synic);
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		if (bus->channels[relid]) {
			atomic_store(&board->target_vp[relid], bus->channels[relid]->target_vp);
		}
	}
	/*
	 * The pointer first, then what there is already: a VP that sets its page meanwhile either
	 * finds the board, or is found here (its register is set before it looks).
	 */
	atomic_store(&bus->board, board);
	for (uint32_t vp = 0; vp < num_min(board->vps, REMOTE_VPS_MAX); vp++) {
		uint64_t siefp;

		do {
			siefp = bus->synic->ops->event_page(bus->synic, vp);
			atomic_store(&board->siefp[vp], siefp);
		} while (siefp != bus->synic->ops->event_page(bus->synic, vp));
	}
	*ret_fd = bus->board_fd;
	return 0;
}

void bus_away_set_event_page(struct vmbus_bus *bus, uint32_t vp, uint64_t siefp)
{
	struct remote_board *board = atomic_load(&bus->board);

	if (board && vp < REMOTE_VPS_MAX) {
		atomic_store(&board->siefp[vp], siefp);
	}
}

void bus_away_set_target_vp(struct vmbus_bus *bus, uint32_t relid, uint32_t target_vp)
{
	struct remote_board *board = atomic_load(&bus->board);

	if (board) {
		atomic_store(&board->target_vp[relid], target_vp);
	}
}
