/* SPDX-License-Identifier: MIT */
/*
 * Linux' own sequencer program on the chip: what aic7xxx would do with it, without Linux. Skipped (77)
 * where the kernel's sources are not at hand.
 */
#include <stdio.h>

#include "stock.h"

static int setup_with(void **state, unsigned int cache_line)
{
	struct stock *s = calloc(1, sizeof(*s));
	struct aic_rig *r = aic_rig_new();

	assert_non_null(s);
	assert_true(stock_load(r, cache_line, s));
	stock_start(s);
	stock_run(s);
	*state = s;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 0);
}

/* With a cache line size the driver adds its way around a bug of memory write and invalidate. */
static int setup_cache_line(void **state)
{
	return setup_with(state, 64);
}

static int teardown(void **state)
{
	struct stock *s = *state;

	aic_rig_free(s->r);
	free(s);
	return 0;
}

static struct stock_request read_10(uint8_t target, uint32_t lba, uint16_t blocks)
{
	struct stock_request request = { .target = target,
					 .cdb = { SCSI_OP_READ_10 },
					 .cdb_bytes = 10,
					 .may_disconnect = true,
					 .bytes = blocks * 512U };

	bytes_put_be32(&request.cdb[2], lba);
	bytes_put_be16(&request.cdb[7], blocks);
	return request;
}

static struct stock_request write_10(uint8_t target, uint32_t lba, uint16_t blocks)
{
	struct stock_request request = read_10(target, lba, blocks);

	request.cdb[0] = SCSI_OP_WRITE_10;
	return request;
}

static uint8_t *data(struct stock *s)
{
	return aic_mem(s->r, STOCK_DATA, 4 << 20);
}

static void fill(uint8_t *at, uint32_t bytes, uint8_t seed)
{
	for (uint32_t i = 0; i < bytes; i++) {
		at[i] = (uint8_t)(seed + i * 13 + (i >> 8));
	}
}

static void an_idle_program_is_recognized(void **state)
{
	struct stock *s = *state;

	/* stock_run() came back: the loop had nothing to do, and the program polls its queue. */
	assert_int_equal(aic_in(s->r, AIC_HCNTRL) & AIC_PAUSE, 0);
	assert_true(s->program_words > 300);
}

static void inquiry_comes_through(void **state)
{
	struct stock *s = *state;
	struct stock_request inquiry = {
		.target = 1, .cdb = { SCSI_OP_INQUIRY, 0, 0, 0, 36 }, .cdb_bytes = 6, .bytes = 36
	};

	assert_int_equal(stock_do(s, &inquiry), SCSI_STATUS_GOOD);
	assert_memory_equal(data(s) + 8, "Msft    Virtual Disk    ", 24);
	assert_true(s->cmdcmplts == 1 && s->seqints == 0);
}

static void nobody_answers_at_an_empty_id(void **state)
{
	struct stock *s = *state;

	for (uint8_t id = 0; id < AIC_IDS; id++) {
		struct stock_request ready = { .target = id, .cdb_bytes = 6 };
		uint8_t tag = stock_queue(s, &ready);
		bool is_there = id == 0 || id == 1 || id == 3;

		stock_run(s);
		assert_true(s->commands[tag].is_done);
		assert_int_equal(s->commands[tag].timed_out, !is_there);
	}
}

static void data_moves_both_ways(void **state)
{
	static const uint32_t pieces[] = { 0, 4096, 512, 1000, 1536 };
	struct stock *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct stock_request write = write_10(0, 100, 16), read = read_10(0, 100, 16);

		write.segment_bytes = read.segment_bytes = pieces[i];
		fill(data(s), 8192, (uint8_t)i);
		assert_int_equal(stock_do(s, &write), SCSI_STATUS_GOOD);
		assert_memory_equal(s->r->disks[0].bytes + 51200, data(s), 8192);
		memset(data(s), 0, 8192 + 64);
		assert_int_equal(stock_do(s, &read), SCSI_STATUS_GOOD);
		assert_memory_equal(s->r->disks[0].bytes + 51200, data(s), 8192);
		assert_true(bytes_is_zero(data(s) + 8192, 64));
	}
}

static void large_transfers_are_whole(void **state)
{
	struct stock *s = *state;
	struct stock_request read = read_10(3, 7, 4096);

	read.segment_bytes = 64 << 10;
	assert_int_equal(stock_do(s, &read), SCSI_STATUS_GOOD);
	assert_memory_equal(s->r->disks[2].bytes + 7 * 512, data(s), 4096 * 512);
}

static void a_long_cdb_is_fetched_from_the_host(void **state)
{
	struct stock *s = *state;
	struct stock_request read = { .target = 0,
				      .cdb = { SCSI_OP_READ_16 },
				      .cdb_bytes = 16,
				      .bytes = 1024,
				      .may_disconnect = true };

	bytes_put_be64(&read.cdb[2], 9);
	bytes_put_be32(&read.cdb[10], 2);
	assert_int_equal(stock_do(s, &read), SCSI_STATUS_GOOD);
	assert_memory_equal(s->r->disks[0].bytes + 9 * 512, data(s), 1024);
}

static void a_short_answer_leaves_a_residual(void **state)
{
	struct stock *s = *state;
	struct stock_request inquiry = {
		.target = 0, .cdb = { SCSI_OP_INQUIRY, 0, 0, 0, 255 }, .cdb_bytes = 6, .bytes = 255
	};
	uint8_t tag = stock_queue(s, &inquiry);

	stock_run(s);
	assert_true(s->commands[tag].is_done);
	assert_int_equal(s->commands[tag].residual, 255 - 36);
}

static void sense_is_fetched_after_a_failure(void **state)
{
	struct stock *s = *state;
	struct stock_request read = read_10(0, 0x7fffffff, 1);
	uint8_t tag = stock_queue(s, &read);

	stock_run(s);
	assert_true(s->commands[tag].is_done);
	assert_int_equal(s->commands[tag].status, SCSI_STATUS_CHECK_CONDITION);
	assert_int_equal(s->commands[tag].sense[2], SCSI_KEY_ILLEGAL_REQUEST);
	assert_int_equal(s->commands[tag].sense[12], 0x21);
	read = read_10(0, 0, 1); /* and the queue goes on */
	assert_int_equal(stock_do(s, &read), SCSI_STATUS_GOOD);
}

/* More than the chip's SCBs: the program pages them out to the host and back in. */
static void tagged_commands_disconnect_and_come_back(void **state)
{
	struct stock *s = *state;
	uint8_t tags[40];

	s->r->disks[0].holds = s->r->disks[1].holds = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		struct stock_request read = read_10(i % 2, 64 * i, 8);

		read.is_tagged = true;
		read.at = i * 4096;
		read.segment_bytes = 2048;
		tags[i] = stock_queue(s, &read);
		stock_run(s);
	}
	assert_int_equal(s->r->disks[0].held_count + s->r->disks[1].held_count, ARRAY_SIZE(tags));
	assert_int_equal(s->cmdcmplts, 0);
	ram_release(&s->r->disks[1]);
	stock_run(s);
	ram_release(&s->r->disks[0]);
	stock_run(s);
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		assert_true(s->commands[tags[i]].is_done);
		assert_memory_equal(data(s) + i * 4096, s->r->disks[i % 2].bytes + 64 * 512 * i,
				    4096);
	}
}

static void an_untagged_write_disconnects_after_its_data(void **state)
{
	struct stock *s = *state;
	struct stock_request write = write_10(1, 3, 8);
	uint8_t tag;

	fill(data(s), 4096, 9);
	s->r->disks[1].holds = true;
	tag = stock_queue(s, &write);
	stock_run(s);
	assert_false(s->commands[tag].is_done);
	assert_int_equal(aic_in(s->r, AIC_SCSISIG), 0); /* the bus is free */
	ram_release(&s->r->disks[1]);
	stock_run(s);
	assert_true(s->commands[tag].is_done);
	assert_int_equal(s->commands[tag].residual, 0);
	assert_memory_equal(s->r->disks[1].bytes + 3 * 512, data(s), 4096);
}

static void synchronous_transfers_are_agreed_on(void **state)
{
	static const uint8_t message[] = { 0xc0, 1, 3, 1, 12, 31 };
	static const uint8_t answer[] = { 1, 3, 1, 25, 15 };
	struct stock *s = *state;
	struct stock_request ready = { .cdb_bytes = 6,
				       .has_message = true,
				       .may_disconnect = true };

	memcpy(s->msg_out, message, sizeof(message));
	s->msg_out_bytes = sizeof(message);
	assert_int_equal(stock_do(s, &ready), SCSI_STATUS_GOOD);
	assert_int_equal(s->msg_in_bytes, sizeof(answer));
	assert_memory_equal(s->msg_in, answer, sizeof(answer));
}

static void an_unknown_message_is_rejected(void **state)
{
	static const uint8_t message[] = { 0xc0, 1, 6, 4, 10, 0, 15, 1, 2 }; /* PPR */
	struct stock *s = *state;
	struct stock_request ready = { .cdb_bytes = 6, .has_message = true };

	memcpy(s->msg_out, message, sizeof(message));
	s->msg_out_bytes = sizeof(message);
	assert_int_equal(stock_do(s, &ready), SCSI_STATUS_GOOD);
	assert_int_equal(s->msg_in_bytes, 1);
	assert_int_equal(s->msg_in[0], AIC_MSG_REJECT);
}

/* As the driver aborts a disconnected command: its SCB once more, with a message. */
static void abort_tag_takes_a_command_back(void **state)
{
	struct stock *s = *state;
	struct stock_request read = read_10(0, 0, 8), abort;
	uint8_t tag;

	read.is_tagged = true;
	s->r->disks[0].holds = true;
	tag = stock_queue(s, &read);
	stock_run(s);
	abort = (struct stock_request){ .cdb_bytes = 6, .has_message = true };
	s->msg_out[0] = 0x80;
	s->msg_out[1] = AIC_MSG_SIMPLE_TAG;
	s->msg_out[2] = tag;
	s->msg_out[3] = AIC_MSG_ABORT_TAG;
	s->msg_out_bytes = 4;
	stock_queue(s, &abort);
	stock_run(s);
	assert_int_equal(s->busfrees, 1);
	memset(data(s), 0x5a, 4096);
	ram_release(&s->r->disks[0]);
	stock_run(s);
	assert_false(s->commands[tag].is_done); /* it never comes back */
	for (unsigned int i = 0; i < 4096; i++) {
		assert_int_equal(data(s)[i], 0x5a);
	}
}

static void device_reset_is_told_by_the_unit(void **state)
{
	struct stock *s = *state;
	struct stock_request reset = { .cdb_bytes = 6, .has_message = true };
	struct stock_request ready = { .cdb_bytes = 6 };
	uint8_t tag;

	s->msg_out[0] = 0x80;
	s->msg_out[1] = AIC_MSG_DEVICE_RESET;
	s->msg_out_bytes = 2;
	stock_queue(s, &reset);
	stock_run(s);
	assert_int_equal(s->busfrees, 1);
	tag = stock_queue(s, &ready);
	stock_run(s);
	assert_int_equal(s->commands[tag].status, SCSI_STATUS_CHECK_CONDITION);
	assert_int_equal(s->commands[tag].sense[2], SCSI_KEY_UNIT_ATTENTION);
	assert_int_equal(s->commands[tag].sense[12], 0x29);
}

/* A bus reset with commands out; the write that had reached the host does not meet its successor. */
static void a_bus_reset_drops_what_is_out(void **state)
{
	struct stock *s = *state;
	struct aic_rig *r = s->r;
	struct stock_request write = write_10(0, 50, 8), ready = { .cdb_bytes = 6 };
	uint8_t old, new;

	write.is_tagged = true;
	r->disks[0].holds = true;
	fill(data(s), 4096, 1);
	old = stock_queue(s, &write);
	stock_run(s);
	aic_pause(r);
	aic_out(r, AIC_SIMODE1, aic_in(r, AIC_SIMODE1) & (uint8_t) ~(AIC_SCSIRSTI | AIC_BUSFREE));
	aic_out(r, AIC_SCSISEQ, aic_in(r, AIC_SCSISEQ) | AIC_SCSIRSTO);
	aic_out(r, AIC_SCSISEQ, aic_in(r, AIC_SCSISEQ) & (uint8_t)~AIC_SCSIRSTO);
	assert_true(aic_in(r, AIC_SSTAT1) & AIC_SCSIRSTI);
	aic_out(r, AIC_SSTAT1, 0xff);
	aic_out(r, AIC_SSTAT0, AIC_SELDO | AIC_SELDI | AIC_SELINGO);
	aic_out(r, AIC_ERROR, AIC_SCSIINT);
	stock_restart(s);
	stock_run(s);
	new = stock_queue(s, &ready);
	stock_run(s);
	assert_false(s->commands[new].is_done); /* not before the old one has ended */
	ram_release(&r->disks[0]);
	stock_run(s);
	assert_false(s->commands[old].is_done);
	assert_true(s->commands[new].is_done);
	assert_int_equal(s->commands[new].sense[12], 0x29);
}

static void ordered_commands_wait_for_others(void **state)
{
	struct stock *s = *state;
	struct stock_request read = read_10(0, 0, 1);
	uint8_t last;

	read.is_tagged = true;
	s->r->disks[0].holds = true;
	stock_queue(s, &read);
	stock_run(s);
	read.has_message =
		true; /* the driver says ORDERED by bits of the SCB; here the host says it */
	s->msg_out[0] = 0xc0;
	s->msg_out[1] = AIC_MSG_ORDERED_TAG;
	s->msg_out[2] = s->next_tag;
	s->msg_out_bytes = 3;
	last = stock_queue(s, &read);
	stock_run(s);
	assert_int_equal(s->r->disks[0].held_count, 1);
	ram_release(&s->r->disks[0]);
	stock_run(s);
	assert_true(s->commands[last].is_done);
	assert_int_equal(s->r->disks[0].requests, 2);
}

static void save_and_load(struct stock *s)
{
	struct aic_rig *r = s->r;
	const uint8_t *bytes, *again;
	size_t length, length_again;
	struct save save, second;
	struct load load;

	aic_rig_stop(r);
	save_init(&save);
	aic7870_save(r->chip, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	aic7870_destroy(r->chip);
	aic_rig_create_chip(r);
	load_init(&load, bytes, length);
	assert_int_equal(aic7870_load(r->chip, &load), 0);
	save_init(&second);
	aic7870_save(r->chip, &second);
	assert_int_equal(save_finish(&second, &again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, again, length);
	save_fini(&second);
	save_fini(&save);
	aic7870_resume(r->chip);
}

static void state_moves_in_the_middle_of_commands(void **state)
{
	struct stock *s = *state;
	uint8_t tags[12];

	s->r->disks[0].holds = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		struct stock_request read = read_10(0, 64 * i, 8);

		read.is_tagged = true;
		read.at = i * 4096;
		tags[i] = stock_queue(s, &read);
		for (unsigned int n = 0; n < i; n++) {
			loop_turn(s->r->p.rig.loop); /* as far as that goes */
		}
	}
	save_and_load(s);
	stock_run(s);
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		assert_true(s->commands[tags[i]].is_done);
		assert_memory_equal(data(s) + i * 4096, s->r->disks[0].bytes + 64 * 512 * i, 4096);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T64(name) cmocka_unit_test_setup_teardown(name, setup_cache_line, teardown)
		T(an_idle_program_is_recognized),
		T(inquiry_comes_through),
		T(nobody_answers_at_an_empty_id),
		T(data_moves_both_ways),
		T64(data_moves_both_ways),
		T(large_transfers_are_whole),
		T64(large_transfers_are_whole),
		T(a_long_cdb_is_fetched_from_the_host),
		T(a_short_answer_leaves_a_residual),
		T64(a_short_answer_leaves_a_residual),
		T(sense_is_fetched_after_a_failure),
		T(tagged_commands_disconnect_and_come_back),
		T64(tagged_commands_disconnect_and_come_back),
		T(an_untagged_write_disconnects_after_its_data),
		T(synchronous_transfers_are_agreed_on),
		T(an_unknown_message_is_rejected),
		T(abort_tag_takes_a_command_back),
		T(device_reset_is_told_by_the_unit),
		T(a_bus_reset_drops_what_is_out),
		T(ordered_commands_wait_for_others),
		T(state_moves_in_the_middle_of_commands),
	};
	struct aic_rig *r = aic_rig_new();
	struct stock *s = calloc(1, sizeof(*s));
	bool is_here = s && stock_load(r, 0, s);

	aic_rig_free(r);
	free(s);
	return is_here ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
