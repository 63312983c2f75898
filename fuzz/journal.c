/* SPDX-License-Identifier: MIT */
/*
 * A journal that nobody wrote in order: attached, searched, and a device restored from it. The memory is
 * exactly as long as it must be, so the sanitizer sees who reads outside.
 *
 * The first byte: bit 0: the rest is the beginning of the image itself; bit 1: who restores goes on in it.
 * Else a journal that an echo wrote, and then actions, four bytes each and what they take:
 *   0 offset16 × 16, n    n bytes go there
 *   1 stamp, n            a bank of n bytes
 *   2 slot, stamp, n      a kept packet with n × 16 bytes of payload
 *   3 slot, stamp         it is answered
 *   4 seq, read, write    a commit, indices × 8
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "guest/fake_synic.h"
#include "mem/mem.h"
#include "vmbus/journaled.h"
#include "vsp/echo/echo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define RING_PAGES 2
#define RINGS_GFN  256

static struct {
	struct loop *loop;
	struct mem *mem;
	struct gpadl_table *gpadls;
	struct echo *echo;
	struct vmbus_channel *channel;
	struct journal_config config;
	size_t bytes;
	uint8_t *image; /* as an echo writes it */
} w;

static void ignore_work(struct loop_work *work)
{
	(void)work;
}

static void ignore_gone(void *ctx, uint32_t id)
{
	(void)ctx;
	(void)id;
}

static void make_channel(void)
{
	struct channel_place place = { .doorbell_fd_take = -1,
				       .mem = w.mem,
				       .loop = w.loop,
				       .control_loop = w.loop,
				       .gpadls = w.gpadls,
				       .synic = fake_synic_base(fake_synic_create(1)),
				       .closed = ignore_work,
				       .subs_asked = ignore_work };
	struct {
		struct vmbus_gpa_range range;
		uint64_t gfns[2 * RING_PAGES];
	} range = { .range.length_bytes = 2 * RING_PAGES * MEM_PAGE_BYTES };

	for (uint64_t i = 0; i < 2 * RING_PAGES; i++) {
		range.gfns[i] = RINGS_GFN + i;
	}
	check(gpadl_table_begin(w.gpadls, 1, 1, 1, (const uint8_t *)&range, sizeof(range)) == 1);
	check(channel_create(&place, echo_device(w.echo), 0, &w.channel) == 0);
	w.channel->relid = 1;
	w.channel->downstream_page = RING_PAGES;
	check(gpadl_table_get(w.gpadls, 1, 1, &w.channel->ring_gpadl) == 0);
}

static void set_up(void)
{
	static const uint8_t user_data[VMBUS_OFFER_USER_DEFINED_BYTES];
	const struct mem_config mem = { .bytes = MEM_BYTES_MIN };
	struct journal journal;
	struct diag diag;

	log_set_level(LOG_ERROR);
	check(loop_create("fuzz", &w.loop, &diag) == 0 && mem_create(&mem, &w.mem, &diag) == 0);
	check(gpadl_table_create(w.mem, w.loop, ignore_gone, NULL, &w.gpadls) == 0);
	check(echo_create("fuzz", &w.echo) == 0);
	echo_set_delay(w.echo, 1000000000);
	make_channel();
	w.config = device_journal_config(echo_device(w.echo), 1);
	w.bytes = journal_bytes(&w.config);
	w.image = aligned_alloc(64, w.bytes);

	const struct device_journal d = { .device = echo_device(w.echo),
					  .channels = &w.channel,
					  .channel_count = 1,
					  .journal = &journal };

	check(channel_map_rings(w.channel) == 0 && channel_open(w.channel, user_data) == 0);
	channel_set_paused(w.channel, true);
	check(device_journal_write(&d, w.image, w.bytes) == 0);
	device_journal_leave(&d);
}

/* One action; how many bytes it took. */
static size_t act(struct journal *journal, const uint8_t *at, size_t left)
{
	size_t n = at[3] < left - 4 ? at[3] : left - 4, room;
	uint8_t payload[255 * 16] = { 0 };
	struct journal_kept kept = { .order = at[2], .type = 6, .flags = 1 };

	switch (at[0] % 5) {
	case 0: {
		size_t offset = (size_t)(at[1] | at[2] << 8) * 16 % (w.bytes - 255);

		memcpy(journal->base + offset, at + 4, n);
		return 4 + n;
	}
	case 1:
		memcpy(journal_bank_begin(journal, &room), at + 4, n);
		journal_bank_end(journal, n, at[1]);
		return 4 + n;
	case 2:
		kept.payload_bytes = at[3] * 16U;
		memcpy(payload, at + 4, n);
		journal_keep(journal, 0, at[1] % w.config.keep_slots, at[2], &kept, NULL, payload);
		return 4 + n;
	case 3:
		journal_keep_done(journal, 0, at[1] % w.config.keep_slots, at[2]);
		return 4;
	default:
		journal_commit(journal, 0, at[1], at[2] * 8U, at[3] * 8U);
		return 4;
	}
}

static void restore(uint8_t *memory, size_t bytes, bool goes_on)
{
	struct journal journal;
	const struct device_journal d = { .device = echo_device(w.echo),
					  .channels = &w.channel,
					  .channel_count = 1,
					  .journal = &journal };

	if (journal_attach(&journal, memory, bytes)) {
		return;
	}
	check(channel_map_rings(w.channel) == 0);
	if (device_journal_restore(&d, goes_on, false)) {
		channel_unmap_rings(w.channel);
		return;
	}
	for (int i = 0; i < 4; i++) {
		(void)loop_turn(w.loop);
	}
	device_journal_leave(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct journal journal;

	if (!w.loop) {
		set_up();
	}
	if (bytes == 0) {
		return 0;
	}
	bool is_image = data[0] & 1, goes_on = data[0] & 2;
	size_t room = is_image && bytes - 1 > w.bytes ? bytes - 1 : w.bytes;
	uint8_t *memory = aligned_alloc(64, (room + 63) / 64 * 64);

	check(memory);
	memset(memory, 0, room);
	memcpy(memory, w.image, w.bytes);
	memset(mem_hva(w.mem, RINGS_GFN * MEM_PAGE_BYTES, MEM_PAGE_BYTES), 0, MEM_PAGE_BYTES);
	memset(mem_hva(w.mem, (RINGS_GFN + RING_PAGES) * MEM_PAGE_BYTES, MEM_PAGE_BYTES), 0,
	       MEM_PAGE_BYTES);
	if (is_image) {
		memcpy(memory, data + 1, bytes - 1);
	} else {
		check(journal_attach(&journal, memory, room) == 0);
		for (size_t at = 1; bytes - at >= 4;) {
			at += act(&journal, data + at, bytes - at);
		}
	}
	restore(memory, room, goes_on);
	free(memory);
	return 0;
}
