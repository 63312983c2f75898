/* SPDX-License-Identifier: MIT */
/*
 * The NAT that runs. Forwards and reservations change in place; anything else makes it anew, and then its
 * leases are those of before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/num.h"
#include "net/nat.h"
#include "state/load.h"
#include "state/save.h"
#include "switchd/natd_internal.h"
#include "switchd/sw_nat.h"

/* Guests that all ask at once are one change. */
#define KEEP_DELAY_NS  (100ULL * 1000 * 1000)

/* All clients whose place is not known are at one. */
#define ORIGIN_UNKNOWN UINT32_MAX

#define MEMORY_NAME    "nat" /* of what is handed over; for who looks into /proc */

/* ---- frames between wire and NAT ---------------------------------------------------------------- */

/* What was received is sent on: a large segment is one to be cut, a checksum that is begun is to be made. */
static struct net_frame onward(const struct net_frame *frame)
{
	struct net_frame copy = *frame;

	if (frame->flags & NET_FRAME_COALESCED) {
		copy.flags = NET_FRAME_LSO | (frame->flags & NET_FRAME_VLAN);
	} else if (frame->flags & NET_FRAME_L4_PARTIAL) {
		copy.flags &= (uint16_t) ~(NET_FRAME_L4_PARTIAL | NET_FRAME_CHECKSUM_GOOD);
		copy.flags |= NET_FRAME_L4_CHECKSUM;
		copy.mss = 0; /* was l4_end */
	}
	return copy;
}

static int from_wire(struct net_front *front, const struct net_frame *frame)
{
	struct natd *natd = container_of(front, struct natd_side, front)->natd;
	const struct net_frame copy = onward(frame);
	int err = natd->nat && !natd->next ? net_send(natd->nat, &copy) : 0;

	return err == -EAGAIN ? err : 0; /* nobody is there, or it is no frame: lost */
}

static void wire_batch_end(struct net_front *front)
{
	(void)front;
}

static void wire_has_room(struct net_front *front)
{
	const struct natd *natd = container_of(front, struct natd_side, front)->natd;

	if (natd->nat) {
		net_room(natd->nat);
	}
}

const struct net_front_ops natd_wire_ops = {
	.deliver = from_wire,
	.batch_end = wire_batch_end,
	.writable = wire_has_room,
	.link_changed = wire_has_room, /* a data process is there again */
};

/* Without a data process frames wait, and connections with them, until the next one is there. */
static int from_nat(struct net_front *front, const struct net_frame *frame)
{
	const struct natd *natd = container_of(front, struct natd_side, front)->natd;
	const struct net_frame copy = onward(frame);

	if (!natd->wire || !net_link_is_up(natd->wire)) {
		return -EAGAIN;
	}
	return net_send(natd->wire, &copy) == -EAGAIN ? -EAGAIN : 0;
}

static void nat_batch_end(struct net_front *front)
{
	const struct natd *natd = container_of(front, struct natd_side, front)->natd;

	if (natd->wire) {
		net_batch_end(natd->wire);
	}
}

static void nat_has_room(struct net_front *front)
{
	const struct natd *natd = container_of(front, struct natd_side, front)->natd;

	if (natd->wire) {
		net_room(natd->wire);
	}
}

static void nat_link(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops nat_ops = {
	.deliver = from_nat,
	.batch_end = nat_batch_end,
	.writable = nat_has_room,
	.link_changed = nat_link,
};

/* ---- where clients are -------------------------------------------------------------------------- */

static struct natd_place *place_of(struct natd *natd, const uint8_t mac[NET_MAC_BYTES])
{
	uint64_t key = 0;

	memcpy(&key, mac, NET_MAC_BYTES);
	return &natd->places[hash_mix((uintptr_t)natd, key) % NATD_PLACES];
}

void natd_labelled(void *ctx, const uint8_t mac[NET_MAC_BYTES], uint16_t label)
{
	struct natd_place *place = place_of(ctx, mac);

	memcpy(place->mac, mac, NET_MAC_BYTES);
	place->label = label;
}

/* Its message was labelled a moment ago; who has taken its place here since leaves it nowhere. */
static uint32_t origin_of(void *ctx, const uint8_t mac[NET_MAC_BYTES])
{
	const struct natd_place *place = place_of(ctx, mac);

	if (memcmp(place->mac, mac, NET_MAC_BYTES) != 0) {
		return ORIGIN_UNKNOWN;
	}
	if (place->label == NATD_LABEL_HOST) {
		return 0;
	}
	return place->label < SW_PORT_FIRST ? ORIGIN_UNKNOWN : place->label;
}

/* ---- making it ---------------------------------------------------------------------------------- */

static int add_reservation(struct dhcp *dhcp, const struct sw_reservation *one, struct diag *reterr)
{
	struct dhcp_static entry = { .address = one->address };

	memcpy(entry.mac, one->mac.bytes, sizeof(entry.mac));
	return dhcp_static_add(dhcp, &entry, net_nat_now_s(), reterr);
}

/* Reservations first: who has an address by one has it, and no lease of before. */
static int fill(const struct natd *natd, struct dhcp *dhcp, const struct sw_config *config,
		struct diag *reterr)
{
	struct load load;
	int err = 0;

	for (unsigned int i = 0; !err && i < config->lists[SW_LIST_RESERVATIONS].count; i++) {
		err = add_reservation(dhcp, sw_list_at(config, SW_LIST_RESERVATIONS, i), reterr);
	}
	if (!err && natd->leases) {
		load_init(&load, natd->leases, natd->lease_bytes);
		dhcp_load(dhcp, &load, net_nat_now_s());
		if (load_result(&load) != 0) {
			log_warn(NATD_AREA,
				 "some leases of before make no sense and are forgotten");
		}
	}
	return err;
}

static int create(struct natd *natd, const struct sw_config *config, struct net **ret,
		  struct diag *reterr)
{
	struct net_forward forwards[SW_FORWARDS_MAX];
	struct net_nat_network network;
	struct net_nat_config nat = { .network = &network,
				      .forwards = forwards,
				      .restricted = config->nat.restricted };
	int err = sw_nat_network(config, &network, reterr);

	if (err) {
		return err;
	}
	nat.forward_count = sw_nat_forwards(config, forwards);
	network.origin = origin_of;
	network.origin_ctx = natd;
	network.told = natd->loop;
	network.leases_changed = &natd->leases_changed;
	err = net_nat_create(natd->loop, &nat, ret, reterr);
	if (!err) {
		err = fill(natd, net_nat_dhcp(*ret), config, reterr);
		if (err) {
			net_destroy(*ret);
		}
	}
	return err;
}

static int make(struct natd *natd, const struct sw_config *config, struct diag *reterr)
{
	const struct net_front_config front = { .mtu = config->settings.mtu,
						.coalesce_bytes_max = NET_FRAME_BYTES_MAX };
	struct net *nat;
	int err = create(natd, config, &nat, reterr);

	if (err) {
		return err;
	}
	natd->of_nat = (struct natd_side){ .front = { &nat_ops }, .natd = natd };
	err = net_attach(nat, &natd->of_nat.front, &front);
	check(!err); /* nobody else is there */
	natd->nat = nat;
	if (natd->wire) {
		net_room(natd->wire);
	}
	return 0;
}

/* ---- changing it -------------------------------------------------------------------------------- */

static bool has_forward(const struct net_forward *list, unsigned int count,
			const struct net_forward *one)
{
	for (unsigned int i = 0; i < count; i++) {
		if (list[i].udp == one->udp && list[i].host_address == one->host_address &&
		    list[i].host_port == one->host_port &&
		    list[i].guest_address == one->guest_address &&
		    list[i].guest_port == one->guest_port) {
			return true;
		}
	}
	return false;
}

/* Old ones first: a new one may be for the same port of the host. */
static int change_forwards(struct net *nat, const struct sw_config *from,
			   const struct sw_config *to, struct diag *reterr)
{
	struct net_forward old[SW_FORWARDS_MAX], new[SW_FORWARDS_MAX];
	const unsigned int olds = sw_nat_forwards(from, old), news = sw_nat_forwards(to, new);
	int err = 0;

	for (unsigned int i = 0; i < olds; i++) {
		if (!has_forward(new, news, &old[i])) {
			(void)!net_nat_forward_remove(nat, &old[i]);
		}
	}
	for (unsigned int i = 0; !err && i < news; i++) {
		if (!has_forward(old, olds, &new[i])) {
			err = net_nat_forward_add(nat, &new[i], reterr);
		}
	}
	return err;
}

static bool has_reservation(const struct sw_config *config, const struct sw_reservation *one)
{
	for (unsigned int i = 0; i < config->lists[SW_LIST_RESERVATIONS].count; i++) {
		const struct sw_reservation *other = sw_list_at(config, SW_LIST_RESERVATIONS, i);

		if (memcmp(&other->mac, &one->mac, sizeof(one->mac)) == 0 &&
		    other->address == one->address) {
			return true;
		}
	}
	return false;
}

static int change_reservations(struct net *nat, const struct sw_config *from,
			       const struct sw_config *to, struct diag *reterr)
{
	struct dhcp *dhcp = net_nat_dhcp(nat);
	int err = 0;

	for (unsigned int i = 0; i < from->lists[SW_LIST_RESERVATIONS].count; i++) {
		const struct sw_reservation *one = sw_list_at(from, SW_LIST_RESERVATIONS, i);

		if (!has_reservation(to, one)) {
			(void)!dhcp_static_remove(dhcp, one->mac.bytes);
		}
	}
	for (unsigned int i = 0; !err && i < to->lists[SW_LIST_RESERVATIONS].count; i++) {
		const struct sw_reservation *one = sw_list_at(to, SW_LIST_RESERVATIONS, i);

		if (!has_reservation(from, one)) {
			err = add_reservation(dhcp, one, reterr);
		}
	}
	return err;
}

static int change(struct natd *natd, const struct sw_config *to, struct diag *reterr)
{
	const struct sw_config *from = natd->sw;
	struct diag ignored;
	int err = change_forwards(natd->nat, from, to, reterr);

	err = err ? err : change_reservations(natd->nat, from, to, reterr);
	if (err && (change_forwards(natd->nat, to, from, &ignored) ||
		    change_reservations(natd->nat, to, from, &ignored))) {
		log_error(NATD_AREA, "%s", ignored.text);
	}
	return err;
}

static void take(struct natd *natd, struct sw_config *config_take)
{
	sw_config_destroy(natd->sw);
	natd->sw = config_take;
}

static void answer(struct natd *natd, uint32_t serial, int err, const struct diag *diag)
{
	natd_answer(natd, NATD_CONFIGURE, serial, err, err ? diag->text : "", -1);
}

/* The old one is no more: another one in its place or, when that cannot be, such a one again. */
static void on_stopped(struct loop_work *work)
{
	struct natd *natd = container_of(work, struct natd, stopped);
	struct sw_config *next = steal(natd->next);
	struct diag diag, again;
	int err;

	net_destroy(steal(natd->nat));
	err = make(natd, next, &diag);
	if (!err) {
		take(natd, next);
	} else {
		sw_config_destroy(next);
		if (make(natd, natd->sw, &again)) {
			log_error(NATD_AREA, "%s", again.text);
			take(natd, NULL);
		}
	}
	answer(natd, natd->next_serial, err, &diag);
}

void natd_configure(struct natd *natd, struct sw_config *config_take, uint32_t serial)
{
	auto_destroy(sw_config) struct sw_config *config = config_take;
	struct diag diag;
	int err;

	if (natd->next) {
		err = diag_set(&diag, -EBUSY, "NAT is being made anew already: try again");
	} else if (!natd->nat) {
		err = make(natd, config, &diag);
	} else if (sw_nat_signature(natd->sw) == sw_nat_signature(config)) {
		err = change(natd, config, &diag);
	} else {
		natd_keep(natd);
		natd->next = steal(config);
		natd->next_serial = serial;
		net_stop(natd->nat, &natd->stopped);
		return;
	}
	if (!err) {
		take(natd, steal(config));
	}
	answer(natd, serial, err, &diag);
}

/* ---- leases that are kept ----------------------------------------------------------------------- */

void natd_keep(struct natd *natd)
{
	struct keeper_message message = { .magic = KEEPER_MAGIC, .type = KEEPER_SAVE_LEASES };
	const uint8_t *bytes;
	struct save save;
	size_t length = 0;
	char *copy;
	int fd;

	loop_timer_cancel(&natd->leases_timer);
	if (!natd->nat || natd->next) {
		return;
	}
	save_init(&save);
	dhcp_save(net_nat_dhcp(natd->nat), net_nat_now_s(), &save);
	copy = save_finish(&save, &bytes, &length) ? NULL : malloc(length + 1);
	if (copy) {
		if (length > 0) { /* nobody has one: bytes are NULL */
			memcpy(copy, bytes, length);
		}
		free(natd->leases);
		natd->leases = copy;
		natd->lease_bytes = length;
		fd = keeper_file_of(MEMORY_NAME, copy, length);
		/* Its answer comes by and by, and is heard only when it is a refusal. */
		if (fd < 0 || keeper_send(natd->config->keeper_fd, &message, &fd, 1)) {
			log_warn(NATD_AREA, "leases cannot be kept");
		}
		if (fd >= 0) {
			close(fd);
		}
	}
	save_fini(&save);
}

static void on_leases_timer(struct loop_timer *timer)
{
	natd_keep(container_of(timer, struct natd, leases_timer));
}

static void on_leases_changed(struct loop_work *work)
{
	struct natd *natd = container_of(work, struct natd, leases_changed);

	/* A timer that runs goes on: a storm of changes is kept ten times a second. */
	if (!loop_timer_is_armed(&natd->leases_timer)) {
		loop_timer_arm(&natd->leases_timer, KEEP_DELAY_NS);
	}
}

void natd_nat_init(struct natd *natd)
{
	loop_work_init(&natd->stopped, on_stopped);
	loop_work_init(&natd->leases_changed, on_leases_changed);
	loop_timer_init(&natd->leases_timer, natd->loop, on_leases_timer);
}

/* ---- for who asks ------------------------------------------------------------------------------- */

int natd_list_leases(struct natd *natd)
{
	const unsigned int max = DHCP_POOL_MAX + DHCP_STATICS_MAX;
	auto_free struct natd_lease *list = calloc(max, sizeof(*list));
	struct dhcp_lease lease;
	unsigned int count = 0;
	uint32_t cursor = 0;

	_Static_assert((DHCP_POOL_MAX + DHCP_STATICS_MAX) * sizeof(struct natd_lease) <=
			       NATD_ANSWER_BYTES_MAX,
		       "all leases fit");
	if (!list) {
		return -ENOMEM;
	}
	while (natd->nat && count < max && net_nat_leases(natd->nat, &cursor, &lease)) {
		struct natd_lease *one = &list[count++];

		one->address = lease.address;
		one->left_s = lease.left_s;
		one->is_static = lease.is_static;
		memcpy(one->mac, lease.mac, sizeof(one->mac));
		snprintf(one->name, sizeof(one->name), "%s", lease.name);
	}
	return keeper_file_of(MEMORY_NAME, list, count * sizeof(*list));
}

#define FACTS_MAX 64U

struct facts {
	unsigned int count;
	struct natd_fact list[FACTS_MAX];
};

static void add_fact(void *ctx, const char *name, uint64_t value)
{
	struct facts *facts = ctx;

	if (facts->count < FACTS_MAX) {
		struct natd_fact *fact = &facts->list[facts->count++];

		fact->value = value;
		snprintf(fact->name, sizeof(fact->name), "%s", name);
	}
}

int natd_list_facts(struct natd *natd)
{
	struct facts facts = { 0 };

	if (natd->nat) {
		const struct net_counters *c = net_counters(natd->nat);

		add_fact(&facts, "sent_frames", c->sent_frames);
		add_fact(&facts, "delivered_frames", c->delivered_frames);
		add_fact(&facts, "send_lost", c->send_lost);
		add_fact(&facts, "deliver_lost", c->deliver_lost);
		net_facts(natd->nat, add_fact, &facts);
	}
	if (natd->wire) {
		const struct net_counters *c = net_counters(natd->wire);

		add_fact(&facts, "wire_send_lost", c->send_lost);
		add_fact(&facts, "wire_received_lost", c->deliver_lost);
	}
	return keeper_file_of(MEMORY_NAME, facts.list, facts.count * sizeof(facts.list[0]));
}
