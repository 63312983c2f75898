/* SPDX-License-Identifier: MIT */
/* What fake_guest.c (control messages) and fake_channel.c (rings) share. */
#pragma once

#include "guest/fake_guest.h"
#include "guest/fake_synic.h"

struct fake_guest {
	struct loop *loop;
	struct mem *mem;
	struct fake_synic *synic;
	struct vmbus_bus *bus;
	gpa_t next_free;
	uint32_t next_gpadl, next_open_id;
	uint32_t connection_id; /* for control messages */
	struct vmbus_msg_offer_channel offers[64];
	size_t offer_count;
	struct synic_message backlog[256]; /* taken from the slot, not yet asked for */
	size_t backlog_count;
};

struct fake_channel {
	struct fake_guest *guest;
	struct vmbus_msg_offer_channel offer;
	gpa_t rings;
	uint32_t ring_bytes, gpadl;
};

/* Opens; the host's status. The channel is filled in either way. */
uint32_t fake_guest_open_channel(struct fake_guest *guest, struct fake_channel *channel);
