/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "net/offload.h"
#include "net/wire_internal.h"

#define ATTACH_RETRY_NS 1000000000ULL

/* ---- what arrives ---- */

struct cut {
	struct wire *wire;
	const struct vnet_frame *from;
	unsigned int index;
	bool is_blocked;
};

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	struct cut *cut = ctx;
	struct wire *wire = cut->wire;
	struct net_frame frame = { .iov = iov,
				   .iov_count = count,
				   .bytes = bytes,
				   .flags = (cut->from->flags & NET_FRAME_VLAN) |
					    NET_FRAME_CHECKSUM_GOOD | NET_FRAME_L4_PARTIAL,
				   .l4 = cut->from->l4,
				   .l4_offset = cut->from->l4_offset,
				   .vlan_tci = cut->from->vlan_tci,
				   .l4_end = bytes };

	if (cut->is_blocked || cut->index++ < wire->pieces_done) {
		return;
	}
	if (net_deliver(&wire->net, &frame)) {
		cut->is_blocked = true;
		return;
	}
	wire->pieces_done++;
}

/* A large segment for a front end that takes none (as large). -EAGAIN: the rest later. */
static int deliver_cut(struct wire *wire, const struct vnet_frame *f)
{
	const struct iovec whole = { f->frame, f->bytes };
	struct cut cut = { .wire = wire, .from = f };

	if (net_cut_tcp_iov(&whole, 1, f->bytes, f->mss, on_piece, &cut)) {
		wire->bad++;
		return 0;
	}
	if (cut.is_blocked) {
		return -EAGAIN;
	}
	wire->pieces_done = 0;
	wire->cut++;
	return 0;
}

static int deliver_whole(struct wire *wire, const struct vnet_frame *f)
{
	struct iovec iov;
	const struct net_frame frame = vnet_net_frame(f, &iov);

	return net_deliver(&wire->net, &frame);
}

static int deliver_slot(struct wire *wire, struct wire_slot *slot)
{
	const unsigned int hdr_bytes = wire->group->hdr_bytes;
	struct vnet_frame *f = &slot->frame;

	if (!slot->is_parsed) {
		if (slot->bytes < (int)hdr_bytes ||
		    vnet_receive(slot->buffer, slot->buffer + hdr_bytes,
				 (uint32_t)slot->bytes - hdr_bytes, f)) {
			wire->bad++;
			wire->net.counters.deliver_lost++;
			return 0;
		}
		if (slot->has_tag) {
			f->flags |= NET_FRAME_VLAN;
			f->vlan_tci = slot->tci;
		}
		slot->is_parsed = true;
	}
	if (f->flags & NET_FRAME_COALESCED && f->bytes > wire->net.config.coalesce_bytes_max) {
		return deliver_cut(wire, f);
	}
	return deliver_whole(wire, f);
}

static void deliver_slots(struct wire *wire)
{
	bool any = false;

	while (wire->first < wire->filled) {
		struct wire_slot *slot = &wire->slots[wire->first];

		if (slot->bytes > 0 && deliver_slot(wire, slot)) {
			wire->is_blocked = true;
			break;
		}
		any |= slot->bytes > 0;
		wire->first++;
	}
	if (any || wire->pieces_done) {
		net_deliver_end(&wire->net);
	}
}

/* W1. One batch; when there may be more, the next one after whatever else the loop has to do. */
static void pump(struct wire *wire)
{
	if (wire->is_stopping || wire->is_blocked) {
		return;
	}
	deliver_slots(wire);
	if (!wire->is_blocked && wire->more) {
		wire->more = false;
		wire->kind->read(wire);
	}
}

static void on_pump(struct loop_work *work)
{
	pump(container_of(work, struct wire, pump_work));
}

void wire_received(struct wire *wire, unsigned int count, bool more)
{
	wire->first = 0;
	wire->filled = count;
	wire->more |= more;
	for (unsigned int i = 0; i < count; i++) {
		wire->slots[i].is_parsed = false;
	}
	deliver_slots(wire);
	if (!wire->is_blocked && wire->more) {
		loop_defer(wire->net.loop, &wire->pump_work);
	}
}

static void on_readable(struct loop_watch *watch, uint32_t events)
{
	struct wire *wire = container_of(watch, struct wire, watch);

	(void)events;
	wire->more = true;
	pump(wire);
}

void wire_room(struct net *net)
{
	struct wire *wire = wire_from_net(net);

	if (wire->is_blocked) {
		wire->is_blocked = false;
		loop_defer(net->loop, &wire->pump_work);
	}
}

/* Another front end, or none: who said -EAGAIN may not be there any more. */
void wire_configured(struct net *net)
{
	wire_room(net);
}

int wire_read_messages(struct wire *wire, struct mmsghdr *messages, struct iovec *iov)
{
	int got;

	for (unsigned int i = 0; i < WIRE_SLOTS; i++) {
		iov[i] = (struct iovec){ wire->slots[i].buffer, WIRE_SLOT_BYTES };
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	do {
		got = recvmmsg(wire->fd, messages, WIRE_SLOTS, MSG_DONTWAIT, NULL);
		wire->calls++;
	} while (got < 0 && errno == EINTR);
	return got;
}

/* ---- the link ---- */

/* An end looks at what its group says of the interface. */
static void on_link(struct loop_work *work)
{
	struct wire *wire = container_of(work, struct wire, link_work);
	unsigned int generation = atomic_load(&wire->group->generation);
	bool is_up = atomic_load(&wire->group->is_up);

	if (wire->is_stopping) {
		return;
	}
	if (wire->kind->wants_batch && !wire->batch) {
		wire->batch = loop_batch(wire->net.loop); /* here: on the loop that will use it */
	}
	if (wire->link_seen != generation) {
		/* Behind the descriptor is another file perhaps, or a device that had none. */
		wire->link_seen = generation;
		loop_watch_stop(&wire->watch);
		if (loop_watch_start(wire->net.loop, &wire->watch, wire->fd, POLLIN, on_readable)) {
			return; /* no memory: the link stays as it is, down */
		}
		wire->more = true;
		loop_defer(wire->net.loop, &wire->pump_work);
	}
	net_link_set(&wire->net, is_up);
	if (!is_up) {
		wire_put_lost(wire);
		wire_writable(wire);
	}
}

/*
 * Only to one that is up: who makes an interface does that last, and holds it no more (Linux gives
 * a TAP device the flags of its first holder).
 */
static void attach(struct wire_group *group, const struct linkwatch_link *link)
{
	if (!link->up || link->ifindex == group->ifindex) {
		return;
	}
	if (group->kind->attach(group, link->ifindex)) {
		group->attach_errors++;
		loop_timer_arm(&group->retry, ATTACH_RETRY_NS);
		return;
	}
	group->ifindex = link->ifindex;
	atomic_fetch_add(&group->generation, 1);
}

static void on_interface(struct linkwatch_entry *entry, const struct linkwatch_link *link)
{
	struct wire_group *group = container_of(entry, struct wire_group, entry);

	loop_timer_cancel(&group->retry);
	if (!link->ifindex) {
		group->ifindex = 0;
	}
	attach(group, link);
	atomic_store(&group->is_up, group->ifindex && link->running);
	for (unsigned int i = 0; i < group->ends; i++) {
		if (group->wires[i]) {
			loop_post(group->wires[i]->net.loop, &group->wires[i]->link_work);
		}
	}
}

void wire_look_again(struct wire_group *group)
{
	on_interface(&group->entry, &group->entry.now);
}

static void on_retry(struct loop_timer *timer)
{
	wire_look_again(container_of(timer, struct wire_group, retry));
}

/* ---- without an interface: another process at the other end ---- */

void wire_lost(struct wire *wire)
{
	struct wire_group *group = wire->group;

	/* Its descriptor has nothing more to tell, and would say so without end. */
	loop_watch_stop(&wire->watch);
	wire->more = false;
	atomic_store(&group->is_up, false);
	loop_post(wire->net.loop, &wire->link_work);
}

int wire_found(struct wire *wire, int fd_take)
{
	struct wire_group *group = wire->group;
	int err = 0;

	check(group->ends == 1 && !group->linkwatch);
	loop_check_here(wire->net.loop);
	/* Who waits for room at the old one waits no longer. */
	(void)shutdown(wire->fd, SHUT_RDWR);
	if (dup3(fd_take, wire->fd, O_CLOEXEC) < 0) {
		err = -errno;
	}
	close(fd_take);
	if (err) {
		wire_lost(wire);
		return err;
	}
	atomic_fetch_add(&group->generation, 1);
	atomic_store(&group->is_up, true);
	loop_post(wire->net.loop, &wire->link_work);
	return 0;
}

/* ---- life ---- */

static void put_group(struct wire_group *group)
{
	if (--group->users) {
		return;
	}
	for (unsigned int i = 0; i < group->ends; i++) {
		close(group->fds[i]);
	}
	if (group->kind->fini) {
		group->kind->fini(group->state);
	}
	free(group);
}

/* W3: the end's turn comes to an end on the group's loop, and then on its own. */
static void on_leave(struct loop_work *work)
{
	struct wire *wire = container_of(work, struct wire, leave_work);
	struct wire_group *group = wire->group;

	group->wires[wire->index] = NULL;
	if (wire->index == 0) {
		loop_timer_cancel(&group->retry);
		linkwatch_destroy(group->linkwatch);
		group->linkwatch = NULL;
	}
	loop_post(wire->net.loop, &wire->left_work);
}

static void on_left(struct loop_work *work)
{
	struct wire *wire = container_of(work, struct wire, left_work);

	loop_cancel(wire->net.loop, &wire->link_work);
	loop_cancel(wire->net.loop, &wire->pump_work);
	loop_post(wire->net.loop, wire->done);
}

void wire_leave_when_idle(struct wire *wire)
{
	if (!wire->is_polling && !wire->is_cancelling && !wire->has_left) {
		wire->has_left = true;
		loop_post(wire->group->loop, &wire->leave_work);
	}
}

static void on_cancelled(struct loop_request *request, int result)
{
	struct wire *wire = container_of(request, struct wire, cancel);

	(void)result;
	wire->is_cancelling = false;
	wire_leave_when_idle(wire);
}

void wire_stop(struct net *net, struct loop_work *done)
{
	struct wire *wire = wire_from_net(net);

	wire_batch_end(net);
	wire_put_lost(wire);
	wire->is_stopping = true;
	wire->done = done;
	loop_watch_stop(&wire->watch);
	if (wire->is_polling) {
		struct io_uring_sqe *sqe = loop_sqe(net->loop, &wire->cancel);

		wire->is_cancelling = true;
		io_uring_prep_cancel_fd(sqe, wire->fd, IORING_ASYNC_CANCEL_ALL);
	}
	wire_leave_when_idle(wire);
}

void wire_destroy(struct net *net)
{
	struct wire *wire = wire_from_net(net);

	check(!wire->is_polling);
	if (!wire->has_left) {
		/* Never used: nothing runs yet. */
		loop_watch_stop(&wire->watch);
		loop_cancel(net->loop, &wire->link_work);
		loop_cancel(net->loop, &wire->pump_work);
		wire->group->wires[wire->index] = NULL;
		if (wire->index == 0) {
			loop_timer_cancel(&wire->group->retry);
			linkwatch_destroy(wire->group->linkwatch);
			wire->group->linkwatch = NULL;
		}
	}
	put_group(wire->group);
	free(wire->put_memory);
	free(wire->buffers);
	free(wire);
}

static uint32_t mtu_of(const struct wire_group *group)
{
	const uint32_t mtu = group->entry.now.mtu;
	const uint32_t most = group->kind->mtu_max ? group->kind->mtu_max : NET_MTU_MAX;

	return (uint32_t)num_max(NET_MTU_MIN, num_min(mtu ? mtu : NET_MTU_DEFAULT, most));
}

static int make_end(struct wire_group *group, struct loop *loop, struct net **ret)
{
	struct wire *wire = fault_alloc(1, sizeof(*wire));
	uint8_t *buffers = wire ? fault_alloc(WIRE_SLOTS, WIRE_SLOT_BYTES) : NULL;
	uint8_t *put = buffers ? fault_alloc(WIRE_PUTS, WIRE_PUT_BYTES) : NULL;

	if (!put) {
		free(buffers);
		free(wire);
		return -ENOMEM;
	}
	net_init(&wire->net, &group->kind->net, loop);
	wire->kind = group->kind;
	wire->group = group;
	wire->index = group->made;
	wire->fd = group->fds[wire->index];
	wire->buffers = buffers;
	wire->net.link_up = atomic_load(&group->is_up);
	wire->net.mtu_max = mtu_of(group);
	wire->put_memory = put;
	wire_send_init(wire);
	wire->cancel.fn = on_cancelled;
	loop_work_init(&wire->pump_work, on_pump);
	loop_work_init(&wire->link_work, on_link);
	loop_work_init(&wire->leave_work, on_leave);
	loop_work_init(&wire->left_work, on_left);
	for (unsigned int i = 0; i < WIRE_SLOTS; i++) {
		wire->slots[i].buffer = buffers + (size_t)i * WIRE_SLOT_BYTES;
	}
	wire->link_seen = atomic_load(&group->generation) - 1;
	group->users++;
	group->wires[group->made++] = wire;
	/* Watched from its own loop; what has arrived by then is read there. */
	loop_post(loop, &wire->link_work);
	*ret = &wire->net;
	return 0;
}

int wire_twin(struct net *net, struct loop *loop, struct net **ret)
{
	struct wire_group *group = wire_from_net(net)->group;

	return group->made < group->ends ? make_end(group, loop, ret) : -EOPNOTSUPP;
}

void wire_drop(const struct wire_config *config)
{
	for (unsigned int i = 0; i < config->ends; i++) {
		close(config->fds_take[i]);
	}
	if (config->link_fd_take >= 0) {
		close(config->link_fd_take);
	}
}

int wire_create(struct loop *loop, const struct wire_kind *kind, const struct wire_config *config,
		struct net **ret, struct diag *reterr)
{
	struct wire_group *group;
	int err;

	check(config->ends >= 1 && config->ends <= WIRE_ENDS_MAX);
	group = fault_alloc(1, sizeof(*group));
	if (!group) {
		wire_drop(config);
		if (kind->fini) {
			kind->fini(config->state_take);
		}
		return diag_set(reterr, -ENOMEM, "no memory for a network");
	}
	*group = (struct wire_group){ .state = config->state_take,
				      .loop = loop,
				      .kind = kind,
				      .hdr_bytes = config->hdr_bytes,
				      .ends = config->ends,
				      .users = 1 };
	loop_timer_init(&group->retry, loop, on_retry);
	memcpy(group->fds, config->fds_take, config->ends * sizeof(int));
	if (!config->name) {
		group->is_up = true;
		group->entry.now.mtu = NET_MTU_MAX;
		err = make_end(group, loop, ret);
		put_group(group);
		return err ? diag_set(reterr, err, "no memory for a network") : 0;
	}
	err = linkwatch_create(loop, config->link_fd_take, &group->linkwatch, reterr);
	if (!err) {
		linkwatch_add(group->linkwatch, &group->entry, config->name, on_interface);
		group->ifindex = group->entry.now.ifindex;
		group->is_up = group->entry.now.running;
		err = make_end(group, loop, ret);
		if (err) {
			linkwatch_destroy(group->linkwatch);
			(void)diag_set(reterr, err, "no memory for a network");
		}
	}
	put_group(group);
	return err;
}

void wire_facts(const struct net *net, net_fact_fn *fn, void *ctx)
{
	const struct wire *wire = wire_from_net(net);

	fn(ctx, "large_cut", wire->cut);
	fn(ctx, "received_bad", wire->bad);
	fn(ctx, "send_refused", wire->refused);
	fn(ctx, "kernel_calls", wire->calls);
	fn(ctx, "attach_errors", wire->index == 0 ? wire->group->attach_errors : 0);
}
