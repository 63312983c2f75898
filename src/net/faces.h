/* SPDX-License-Identifier: MIT */
/*
 * Two NICs and one wire: the faces of one adapter, an emulated card and its synthetic twin with the same
 * address. One of them has the wire; the other sees its cable out, and what it sends is lost.
 *
 *     emulated card ── end 0 ──┐
 *                              ├── net_faces ── the back end
 *     NetVSP ───────── end 1 ──┘
 *
 * Both NICs, the ends and the back end live on one loop. An end has no twins: a NIC with a second face has
 * one queue.
 *
 *   owner   vm; the back end is borrowed, and outlives it   thread  the back end's loop
 */
#pragma once

#include "net/net.h"

#define NET_FACES_MAX 2U

struct net_faces;

/* Face 0 has the wire. 0 or -ENOMEM. Nobody is attached to the back end, nor will be by others. */
MUST_CHECK int net_faces_create(struct net *below, struct net_faces **ret);

/* NULL is fine. The ends are stopped; the back end is detached. */
void net_faces_destroy(struct net_faces *faces);

/* A back end for a NIC; net_faces's, and destroyed with it (not by net_destroy()). */
struct net *net_faces_end(struct net_faces *faces, unsigned int face);

/*
 * Hands the wire over. Both NICs are told of their links at once: not to be called from within a call of
 * theirs (N2).
 */
void net_faces_choose(struct net_faces *faces, unsigned int face);
unsigned int net_faces_chosen(const struct net_faces *faces);
