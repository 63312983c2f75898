/* SPDX-License-Identifier: MIT */
/* StorVSP with several queues, units that come and go, resets and resizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "guest/fake_internal.h"
#include "guest/storvsp_rig.h"

static uint32_t ask_subs(struct machine *m, uint16_t count)
{
	struct packet p = { .header = { .operation = VSTOR_CREATE_SUB_CHANNELS },
			    .sub_channels = count };
	uint32_t status = ask(m, &p);

	fake_guest_settle(m->guest);
	return status;
}

/* The sub-channel that was offered last under this index. */
static unsigned int find_sub(struct machine *m, uint16_t index)
{
	unsigned int found = 0;

	for (unsigned int n = 0; fake_guest_find_offer(m->guest, &scsi_type, n); n++) {
		if (fake_guest_find_offer(m->guest, &scsi_type, n)->sub_channel_index == index) {
			found = n;
		}
	}
	assert_true(index == 0 || found > 0);
	return found;
}

static struct fake_channel *open_sub(struct machine *m, uint16_t index)
{
	return fake_channel_open(m->guest, &scsi_type, find_sub(m, index), RING_BYTES);
}

/* A write and a read of so many bytes through this channel. */
static void converse(struct machine *m, struct fake_channel *channel, uint32_t seed)
{
	struct fake_channel *own = m->channel;
	struct buffer out, in;
	struct packet p;

	m->channel = channel;
	buffer_create(m, &out, 0, 8192);
	buffer_create(m, &in, 0, 8192);
	buffer_fill(m, &out, seed);
	rw(m, &p, SCSI_OP_WRITE_10, seed * 64, &out, false);
	expect_good(&p, 8192);
	rw(m, &p, SCSI_OP_READ_10, seed * 64, &in, false);
	expect_good(&p, 8192);
	buffer_expect(m, &in, seed);
	m->channel = own;
}

static void sub_channels_carry_commands(void **state)
{
	struct fake_channel *subs[3];
	struct machine m;

	machine_create(&m, (struct machine_config){ .queues = 4 });
	machine_open(&m, RING_BYTES);
	assert_null(fake_guest_find_offer(m.guest, &scsi_type, 1));
	assert_int_equal(ask_subs(&m, 3), VSTOR_STATUS_SUCCESS);
	assert_non_null(fake_guest_find_offer(m.guest, &scsi_type, 3));
	assert_null(fake_guest_find_offer(m.guest, &scsi_type, 4));
	for (uint16_t i = 0; i < 3; i++) {
		subs[i] = open_sub(&m, (uint16_t)(i + 1));
	}
	for (uint32_t i = 0; i < 3; i++) {
		converse(&m, subs[i], i + 1);
	}
	converse(&m, m.channel, 9);
	/* As Linux does: sub-channels first. */
	for (uint32_t i = 0; i < 3; i++) {
		fake_channel_close(subs[i]);
	}
	machine_destroy(&m);
}

static void more_sub_channels_than_there_are_are_refused(void **state)
{
	struct machine m;

	machine_create(&m, (struct machine_config){ .queues = 2 });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ask_subs(&m, 2), VSTOR_STATUS_INVALID_PARAMETER);
	assert_int_equal(ask_subs(&m, 0xffff), VSTOR_STATUS_INVALID_PARAMETER);
	assert_null(fake_guest_find_offer(m.guest, &scsi_type, 1));
	assert_int_equal(ask_subs(&m, 1), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask_subs(&m, 1), VSTOR_STATUS_SUCCESS); /* offered once all the same */
	assert_non_null(fake_guest_find_offer(m.guest, &scsi_type, 1));
	assert_null(fake_guest_find_offer(m.guest, &scsi_type, 2));
	machine_destroy(&m);
}

static void a_sub_channel_takes_nothing_but_commands(void **state)
{
	static const uint32_t operations[] = { VSTOR_BEGIN_INITIALIZATION, VSTOR_QUERY_PROPERTIES,
					       VSTOR_RESET_BUS, VSTOR_CREATE_SUB_CHANNELS,
					       VSTOR_COMPLETE_IO };
	struct fake_channel *primary;
	struct machine m;

	machine_create(&m, (struct machine_config){ .queues = 2 });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ask_subs(&m, 1), VSTOR_STATUS_SUCCESS);
	primary = m.channel;
	m.channel = open_sub(&m, 1);
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		assert_int_not_equal(ask_plain(&m, operations[i]), VSTOR_STATUS_SUCCESS);
	}
	converse(&m, m.channel, 1);
	fake_channel_close(m.channel);
	m.channel = primary;
	machine_destroy(&m);
}

/* The guest closes the primary and forgets the others: they go, and the next driver has new ones. */
static void sub_channels_go_with_the_primary(void **state)
{
	struct vmbus_msg_rescind_offer rescinds[2];
	struct fake_channel *sub;
	struct machine m;

	machine_create(&m, (struct machine_config){ .queues = 3 });
	for (int i = 0; i < 3; i++) {
		machine_open(&m, RING_BYTES);
		assert_int_equal(ask_subs(&m, 2), VSTOR_STATUS_SUCCESS);
		sub = open_sub(&m, 1); /* and leaves the second alone */
		converse(&m, sub, 1);
		fake_channel_close_nowait(m.channel);
		for (int k = 0; k < 2; k++) {
			fake_guest_expect(m.guest, VMBUS_MSG_RESCIND_OFFER, &rescinds[k],
					  sizeof(rescinds[k]));
			assert_int_not_equal(rescinds[k].relid, fake_channel_relid(m.channel));
		}
		fake_guest_gpadl_teardown(m.guest, fake_channel_relid(sub), sub->gpadl);
		free(sub);
		for (int k = 0; k < 2; k++) {
			rescinds[k].header.type = VMBUS_MSG_RELID_RELEASED;
			fake_guest_post(m.guest, m.guest->connection_id, &rescinds[k],
					sizeof(rescinds[k]));
		}
		fake_guest_gpadl_teardown(m.guest, fake_channel_relid(m.channel), m.channel->gpadl);
		free(m.channel);
		m.channel = NULL;
	}
	machine_destroy(&m);
}

/* The primary counts as closed when the last command of a sub-channel has ended, not before. */
static void closing_waits_for_the_sub_channels_commands(void **state)
{
	struct fake_channel *sub, *primary;
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ .queues = 2, .with_delay = true });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ask_subs(&m, 1), VSTOR_STATUS_SUCCESS);
	sub = open_sub(&m, 1);
	block_delay_set(m.delay, BLOCK_DELAY_HOLD);
	buffer_create(&m, &b, 0, 4096);
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	primary = m.channel;
	m.channel = sub;
	send_srb(&m, &p, &b);
	fake_guest_settle(m.guest);
	m.channel = primary;
	fake_channel_close_nowait(primary);
	fake_guest_settle(m.guest);
	assert_int_equal(block_read_stats(m.block)->in_flight, 1);
	/* Not closed yet: another opening is refused. */
	assert_int_not_equal(fake_channel_open_refused(m.guest, &scsi_type, 0, RING_BYTES), 0);
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	fake_guest_settle(m.guest);
	fake_guest_gpadl_teardown(m.guest, fake_channel_relid(sub), sub->gpadl);
	fake_guest_gpadl_teardown(m.guest, fake_channel_relid(primary), primary->gpadl);
	free(sub);
	free(primary);
	machine_open(&m, RING_BYTES);
	machine_destroy(&m);
}

/* ---- units come and go --------------------------------------------------------------------------- */

static void expect_event(struct machine *m, uint32_t operation)
{
	static struct fake_packet packet;
	struct vstor_header header;

	fake_channel_receive(m->channel, &packet);
	assert_int_equal(packet.type, VMBUS_PACKET_INBAND);
	assert_int_equal(packet.transaction_id, 0);
	memcpy(&header, packet.payload, sizeof(header));
	assert_int_equal(header.operation, operation);
}

static void units_come_and_go_and_the_guest_is_told(void **state)
{
	static const uint8_t tur[6];
	struct machine m;
	struct packet p;

	machine_create(&m, (struct machine_config){ .queues = 2, .without_disk = true });
	machine_open(&m, RING_BYTES);
	for (int i = 0; i < 3; i++) {
		srb_init(&p, tur, 6, 0);
		run_srb(&m, &p, NULL);
		assert_int_equal(p.srb.srb_status, VSTOR_SRB_INVALID_LUN);
		machine_add_disk(&m, &(struct machine_config){ 0 });
		expect_event(&m, VSTOR_ENUMERATE_BUS);
		converse(&m, m.channel, 1);
		storvsp_remove(m.storvsp, (struct storvsp_address){ 0 });
		machine_remove_disk(&m);
		expect_event(&m, VSTOR_REMOVE_DEVICE);
	}
	machine_destroy(&m);
}

/* A command that is at the disk when it is removed ends as the disk says; the next finds nothing. */
static void a_unit_goes_while_commands_are_in_flight(void **state)
{
	static const uint8_t tur[6];
	struct machine m;
	struct buffer b;
	struct packet p;
	uint64_t id;

	machine_create(&m, (struct machine_config){ .with_delay = true });
	machine_open(&m, RING_BYTES);
	block_delay_set(m.delay, BLOCK_DELAY_HOLD);
	buffer_create(&m, &b, 0, 4096);
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	id = send_srb(&m, &p, &b);
	fake_guest_settle(m.guest);
	assert_int_equal(block_delay_held(m.delay), 1);
	storvsp_remove(m.storvsp, (struct storvsp_address){ 0 });
	expect_event(&m, VSTOR_REMOVE_DEVICE);
	srb_init(&p, tur, 6, 0);
	run_srb(&m, &p, NULL);
	assert_int_equal(p.srb.srb_status, VSTOR_SRB_INVALID_LUN);
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	expect_srb(&m, id, &p);
	expect_good(&p, 4096);
	machine_remove_disk(&m);
	machine_destroy(&m);
}

static void addresses_that_cannot_be_are_refused(void **state)
{
	struct machine m;
	struct diag diag;
	struct storvsp_address at;

	machine_create(&m, (struct machine_config){ 0 });
	assert_int_equal(storvsp_add(m.storvsp, (struct storvsp_address){ 0, 0, 0 }, m.disk, &diag),
			 -EEXIST);
	assert_int_equal(storvsp_add(m.storvsp, (struct storvsp_address){ 8, 0, 0 }, m.disk, &diag),
			 -EINVAL);
	assert_int_equal(storvsp_add(m.storvsp, (struct storvsp_address){ 0, 2, 0 }, m.disk, &diag),
			 -EINVAL);
	assert_int_equal(
		storvsp_add(m.storvsp, (struct storvsp_address){ 0, 0, 64 }, m.disk, &diag),
		-EINVAL);
	for (unsigned int i = 1; i < STORVSP_DISKS_MAX; i++) {
		assert_true(storvsp_free_address(m.storvsp, &at));
		assert_int_equal(at.lun, i);
		assert_int_equal(storvsp_add(m.storvsp, at, m.disk, &diag), 0);
	}
	assert_false(storvsp_free_address(m.storvsp, &at));
	assert_int_equal(storvsp_add(m.storvsp, (struct storvsp_address){ 1, 0, 0 }, m.disk, &diag),
			 -ENOSPC);
	for (uint8_t i = 1; i < STORVSP_DISKS_MAX; i++) {
		storvsp_remove(m.storvsp, (struct storvsp_address){ 0, 0, i });
	}
	machine_destroy(&m);
}

static void a_resize_is_told_once(void **state)
{
	static const uint8_t tur[6], capacity[10] = { SCSI_OP_READ_CAPACITY_10 };
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ftruncate(m.file, 2 * DISK_BYTES), 0);
	block_refresh(m.block);
	scsi_disk_resized(m.disk);
	storvsp_announce(m.storvsp);
	expect_event(&m, VSTOR_ENUMERATE_BUS);
	srb_init(&p, tur, 6, 0);
	run_srb(&m, &p, NULL);
	/* What hv_storvsc looks for: an error with sense 2A/09 makes it look at the disk again. */
	assert_int_equal(p.srb.srb_status, VSTOR_SRB_ERROR | VSTOR_SRB_AUTOSENSE_VALID);
	expect_sense(&p, SCSI_KEY_UNIT_ATTENTION, 0x2a09);
	srb_init(&p, tur, 6, 0);
	run_srb(&m, &p, NULL);
	expect_good(&p, 0);
	buffer_create(&m, &b, 0, 8);
	srb_init(&p, capacity, 10, 8);
	run_srb(&m, &p, &b);
	expect_good(&p, 8);
	uint8_t answer[4];

	for (uint32_t i = 0; i < 4; i++) {
		answer[i] = *buffer_at(&m, &b, i);
	}
	assert_int_equal(bytes_be32(answer), 2 * DISK_BYTES / 512 - 1);
	machine_destroy(&m);
}

/* ---- resets --------------------------------------------------------------------------------------- */

/* S3: answered after what was in flight, and not after what came later. */
static void a_reset_waits_for_what_was_in_flight(void **state)
{
	static struct fake_packet answer;
	struct packet p, reset = { .header = { .operation = VSTOR_RESET_BUS } };
	struct fake_channel *sub, *primary;
	struct machine m;
	struct buffer b;
	uint64_t first, second, later;

	machine_create(&m, (struct machine_config){ .queues = 2, .with_delay = true });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ask_subs(&m, 1), VSTOR_STATUS_SUCCESS);
	sub = open_sub(&m, 1);
	primary = m.channel;
	buffer_create(&m, &b, 0, 4096);
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	block_delay_set(m.delay, BLOCK_DELAY_HOLD);
	first = send_srb(&m, &p, &b);
	m.channel = sub;
	second = send_srb(&m, &p, &b);
	m.channel = primary;
	fake_guest_settle(m.guest);
	assert_int_equal(block_delay_held(m.delay), 2);
	fake_channel_send_inband(primary, 7, &reset, VSTOR_PACKET_BYTES);
	fake_channel_send_inband(primary, 8, &reset, VSTOR_PACKET_BYTES);
	fake_guest_settle(m.guest);
	assert_false(fake_channel_poll(primary, &answer));

	block_delay_release(m.delay);
	expect_srb(&m, first, &p);
	expect_good(&p, 4096);
	m.channel = sub;
	/* On the other queue a command of the new epoch is held already. */
	expect_srb(&m, second, &p);
	expect_good(&p, 4096);
	m.channel = primary;
	fake_channel_expect_completion(primary, 7, &answer);
	fake_channel_expect_completion(primary, 8, &answer);

	/* The unit tells of it once, then serves. */
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	run_srb(&m, &p, &b);
	assert_int_equal(p.srb.sense[2], SCSI_KEY_UNIT_ATTENTION);
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	later = send_srb(&m, &p, &b);
	fake_guest_settle(m.guest);
	fake_channel_send_inband(primary, 9, &reset, VSTOR_PACKET_BYTES);
	fake_guest_settle(m.guest);
	assert_false(fake_channel_poll(primary, &answer));
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	expect_srb(&m, later, &p);
	fake_channel_expect_completion(primary, 9, &answer);
	fake_channel_close(sub);
	machine_destroy(&m);
}

static void the_channel_closes_in_the_middle_of_a_reset(void **state)
{
	struct packet p, reset = { .header = { .operation = VSTOR_RESET_LUN } };
	struct fake_channel *primary;
	struct machine m;
	struct buffer b;

	machine_create(&m, (struct machine_config){ .queues = 2, .with_delay = true });
	machine_open(&m, RING_BYTES);
	primary = m.channel;
	buffer_create(&m, &b, 0, 4096);
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	block_delay_set(m.delay, BLOCK_DELAY_HOLD);
	send_srb(&m, &p, &b);
	fake_channel_send_inband(primary, 7, &reset, VSTOR_PACKET_BYTES);
	fake_channel_send_inband(primary, 8, &reset, VSTOR_PACKET_BYTES);
	fake_guest_settle(m.guest);
	fake_channel_close_nowait(primary);
	fake_guest_settle(m.guest);
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	fake_guest_gpadl_teardown(m.guest, fake_channel_relid(primary), primary->gpadl);
	free(primary);
	machine_open(&m, RING_BYTES);
	converse(&m, m.channel, 3);
	machine_destroy(&m);
}

/* ---- state ---------------------------------------------------------------------------------------- */

static void save_bus(struct machine *m, struct save *save, const uint8_t **ret, size_t *ret_bytes)
{
	save_init(save);
	bus_save(fake_guest_bus(m->guest), save);
	assert_int_equal(save_finish(save, ret, ret_bytes), 0);
}

/* The same memory, another bus, another StorVSP: both queues go on where they were. */
static void queues_go_on_in_another_process(void **state)
{
	const uint8_t *before, *after;
	size_t before_bytes, after_bytes;
	struct save first, second;
	struct fake_channel *sub;
	struct machine m;
	struct load load;

	machine_create(&m, (struct machine_config){ .queues = 2 });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ask_subs(&m, 1), VSTOR_STATUS_SUCCESS);
	sub = open_sub(&m, 1);
	converse(&m, sub, 1);
	assert_int_equal(bus_pause(m.guest->bus), 0);
	storvsp_stop(m.storvsp, &m.done);
	machine_wait_done(&m);
	save_bus(&m, &first, &before, &before_bytes);

	struct storvsp_config config = {
		.name = "scsi0", .control = m.guest->loop, .loops = m.loops, .loop_count = 2
	};
	struct diag diag;

	bus_resume(m.guest->bus);
	bus_revoke(m.guest->bus, storvsp_device(m.storvsp), &m.done);
	machine_wait_done(&m);
	bus_destroy(m.guest->bus);
	storvsp_destroy(m.storvsp);
	assert_int_equal(storvsp_create(&config, &m.storvsp), 0);
	assert_int_equal(bus_create(m.guest->loop, m.guest->mem, fake_synic_base(m.guest->synic),
				    &m.guest->bus),
			 0);
	assert_int_equal(storvsp_add(m.storvsp, (struct storvsp_address){ 0 }, m.disk, &diag), 0);
	fake_guest_offer(m.guest, storvsp_device(m.storvsp));
	assert_int_equal(bus_pause(m.guest->bus), 0);
	load_init(&load, before, before_bytes);
	assert_int_equal(bus_load(m.guest->bus, &load), 0);
	save_bus(&m, &second, &after, &after_bytes);
	assert_int_equal(before_bytes, after_bytes);
	assert_memory_equal(before, after, after_bytes);
	bus_resume(m.guest->bus);
	m.guest->backlog_count = 0; /* the rescinds of the old bus */
	converse(&m, sub, 2);
	converse(&m, m.channel, 3);
	fake_channel_close(sub);
	machine_destroy(&m);
	save_fini(&first);
	save_fini(&second);
}

static void drop_events(struct machine *m, unsigned int *ret_count)
{
	static struct fake_packet packet;

	*ret_count = 0;
	fake_guest_settle(m->guest);
	while (fake_channel_poll(m->channel, &packet)) {
		(*ret_count)++;
	}
}

static bool time_is_over(void *until)
{
	return loop_now_ns() > *(uint64_t *)until;
}

/* A guest that does not come to look at a new unit is told of it again; one that has looked is not. */
static void who_does_not_look_is_told_again(void **state)
{
	uint64_t until = loop_now_ns() + 6000000000ULL;
	struct machine_config how = { .without_disk = true };
	unsigned int told, again;
	struct machine m;
	struct packet p;

	machine_create(&m, how);
	machine_open(&m, RING_BYTES);
	machine_add_disk(&m, &how);
	drop_events(&m, &told);
	assert_int_equal(told, 1);
	while (!fake_guest_wait(m.guest, time_is_over, &until)) {}
	drop_events(&m, &again);
	assert_int_equal(again, 1);
	rw_init(&p, SCSI_OP_READ_10, 0, 0, false);
	run_srb(&m, &p, NULL);
	until = loop_now_ns() + 6000000000ULL;
	while (!fake_guest_wait(m.guest, time_is_over, &until)) {}
	drop_events(&m, &again);
	assert_int_equal(again, 0);
	machine_destroy(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_does_not_look_is_told_again),
		cmocka_unit_test(sub_channels_carry_commands),
		cmocka_unit_test(more_sub_channels_than_there_are_are_refused),
		cmocka_unit_test(a_sub_channel_takes_nothing_but_commands),
		cmocka_unit_test(sub_channels_go_with_the_primary),
		cmocka_unit_test(closing_waits_for_the_sub_channels_commands),
		cmocka_unit_test(units_come_and_go_and_the_guest_is_told),
		cmocka_unit_test(a_unit_goes_while_commands_are_in_flight),
		cmocka_unit_test(addresses_that_cannot_be_are_refused),
		cmocka_unit_test(a_resize_is_told_once),
		cmocka_unit_test(a_reset_waits_for_what_was_in_flight),
		cmocka_unit_test(the_channel_closes_in_the_middle_of_a_reset),
		cmocka_unit_test(queues_go_on_in_another_process),
	};

	return cmocka_run_group_tests_name("guest/storvsp_queues", tests, NULL, NULL);
}
