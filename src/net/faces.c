/* SPDX-License-Identifier: MIT */
#include "net/faces.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/net_impl.h"

struct face {
	struct net net;
	struct net_faces *faces;
	bool waits; /* it found no room, and hears when there is some */
};

struct net_faces {
	struct net *below;
	struct net_front front; /* at below */
	bool is_attached;
	unsigned int chosen;
	struct face face[NET_FACES_MAX];
};

static struct face *from_net(struct net *net)
{
	return container_of(net, struct face, net);
}

static struct net_faces *from_front(struct net_front *front)
{
	return container_of(front, struct net_faces, front);
}

static struct net *chosen_net(struct net_faces *faces)
{
	return &faces->face[faces->chosen].net;
}

static bool is_chosen(const struct face *face)
{
	return face == &face->faces->face[face->faces->chosen];
}

/* ---- from the wire ------------------------------------------------------------------------------- */

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	return net_deliver(chosen_net(from_front(front)), frame);
}

static void on_batch_end(struct net_front *front)
{
	net_deliver_end(chosen_net(from_front(front)));
}

static void tell_writable(struct face *face)
{
	if (face->waits) {
		face->waits = false;
		net_now_writable(&face->net);
	}
}

static void on_writable(struct net_front *front)
{
	struct net_faces *faces = from_front(front);

	tell_writable(&faces->face[faces->chosen]);
}

static void on_link_changed(struct net_front *front)
{
	struct net_faces *faces = from_front(front);

	net_link_set(chosen_net(faces), net_link_is_up(faces->below));
}

static bool has_room(struct net_front *front, uint32_t frames, uint32_t bytes, bool waits)
{
	struct net_front *above = chosen_net(from_front(front))->front;

	return !above || !above->ops->has_room || above->ops->has_room(above, frames, bytes, waits);
}

static const struct net_front_ops front_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_writable,
	.link_changed = on_link_changed,
	.has_room = has_room,
};

/* ---- from the NICs ------------------------------------------------------------------------------- */

/* The back end serves whoever is at the chosen end, as that one wants it. */
static void connect_chosen(struct net_faces *faces)
{
	const struct net *net = chosen_net(faces);

	if (!net->front) {
		net_detach(faces->below);
		faces->is_attached = false;
	} else if (faces->is_attached) {
		net_configure(faces->below, &net->config);
	} else {
		int err = net_attach(faces->below, &faces->front, &net->config);

		check(!err); /* nobody else may */
		faces->is_attached = true;
	}
}

static void face_configured(struct net *net)
{
	if (is_chosen(from_net(net))) {
		connect_chosen(from_net(net)->faces);
	}
}

static int face_send(struct net *net, const struct net_frame *frame)
{
	struct face *face = from_net(net);
	int err = 0;

	if (!is_chosen(face)) {
		net->counters.send_lost++;
		return 0;
	}
	err = net_send(face->faces->below, frame);
	face->waits |= err == -EAGAIN;
	return err == -EAGAIN ? err : 0;
}

static int face_send_many(struct net *net, struct net_frame *frames, unsigned int count,
			  unsigned int *ret_taken)
{
	struct face *face = from_net(net);
	const struct net_counters *counted = net_counters(face->faces->below);
	const struct net_counters before = *counted;
	int err;

	if (!is_chosen(face)) {
		net->counters.send_lost += count;
		*ret_taken = count;
		return 0;
	}
	err = net_send_many(face->faces->below, frames, count, ret_taken);
	face->waits |= err == -EAGAIN;
	/* Frames that were taken may not be looked at any more; below has counted them. */
	net->counters.sent_frames += counted->sent_frames - before.sent_frames;
	net->counters.sent_bytes += counted->sent_bytes - before.sent_bytes;
	net->counters.sent_large += counted->sent_large - before.sent_large;
	net->counters.send_lost += counted->send_lost - before.send_lost;
	return err;
}

static void face_batch_end(struct net *net)
{
	if (is_chosen(from_net(net))) {
		net_batch_end(from_net(net)->faces->below);
	}
}

static void face_room(struct net *net)
{
	if (is_chosen(from_net(net))) {
		net_room(from_net(net)->faces->below);
	}
}

/* An end is no one's own. */
static void face_destroy(struct net *net)
{
	(void)net;
	check(false);
}

static const struct net_ops face_ops = {
	.kind = "face",
	.send = face_send,
	.send_many = face_send_many,
	.batch_end = face_batch_end,
	.room = face_room,
	.configured = face_configured,
	.destroy = face_destroy,
};

/* ---- life ---------------------------------------------------------------------------------------- */

int net_faces_create(struct net *below, struct net_faces **ret)
{
	struct net_faces *faces = fault_alloc(1, sizeof(*faces));

	if (!faces) {
		return -ENOMEM;
	}
	faces->below = below;
	faces->front.ops = &front_ops;
	for (unsigned int i = 0; i < NET_FACES_MAX; i++) {
		struct face *face = &faces->face[i];

		net_init(&face->net, &face_ops, net_loop(below));
		face->faces = faces;
		face->net.mtu_max = net_mtu_max(below);
		face->net.link_up = i == 0 && net_link_is_up(below);
	}
	*ret = faces;
	return 0;
}

void net_faces_destroy(struct net_faces *faces)
{
	if (!faces) {
		return;
	}
	for (unsigned int i = 0; i < NET_FACES_MAX; i++) {
		check(!faces->face[i].net.front);
	}
	free(faces);
}

struct net *net_faces_end(struct net_faces *faces, unsigned int face)
{
	check(face < NET_FACES_MAX);
	return &faces->face[face].net;
}

void net_faces_choose(struct net_faces *faces, unsigned int face)
{
	struct face *old = &faces->face[faces->chosen];

	loop_check_here(net_loop(faces->below));
	check(face < NET_FACES_MAX);
	if (face == faces->chosen) {
		return;
	}
	faces->chosen = face;
	connect_chosen(faces);
	net_link_set(&old->net, false);
	tell_writable(old); /* it may lose now what it kept */
	net_link_set(chosen_net(faces), net_link_is_up(faces->below));
	net_room(faces->below); /* what the old one had no room for */
}

unsigned int net_faces_chosen(const struct net_faces *faces)
{
	return faces->chosen;
}
