/* SPDX-License-Identifier: MIT */
/* StorVSP as the other face of a disk on an IDE controller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest/storvsp_rig.h"

/* Who has the emulated face. */
struct face {
	struct storvsp_ide ide;
	struct machine m;
	unsigned int opened, closed;
};

static void on_opened(void *ctx)
{
	((struct face *)ctx)->opened++;
}

static void on_closed(void *ctx)
{
	((struct face *)ctx)->closed++;
}

static void face_create(struct face *face, uint8_t channel, uint8_t device)
{
	face->opened = face->closed = 0;
	face->ide = (struct storvsp_ide){ channel, device, on_opened, on_closed, face };
	machine_create(&face->m, (struct machine_config){ .ide = &face->ide });
}

static void send_begin(struct machine *m, uint64_t id)
{
	struct packet packet = { .header = { .operation = VSTOR_BEGIN_INITIALIZATION,
					     .flags = VSTOR_FLAG_COMPLETION } };

	fake_channel_send_inband(m->channel, id, &packet, VSTOR_PACKET_BYTES);
}

static void its_place_is_in_the_offer(void **state)
{
	static const struct guid wanted = GUID(1, 1, 0x8899, 0, 0);
	const struct vmbus_msg_offer_channel *offer;
	struct face face;

	face_create(&face, 1, 1);
	offer = fake_guest_find_offer(face.m.guest, &ide_type, 0);
	assert_non_null(offer);
	assert_memory_equal(&offer->interface_instance, &wanted, sizeof(wanted));
	assert_null(fake_guest_find_offer(face.m.guest, &scsi_type, 0));
	machine_destroy(&face.m);
	assert_int_equal(face.opened, 0);
}

static void packets_wait_until_the_other_face_has_let_go(void **state)
{
	static struct fake_packet answer;
	struct buffer out, in;
	struct face face;
	struct packet p;

	face_create(&face, 0, 1);
	face.m.channel = fake_channel_open(face.m.guest, &ide_type, 0, RING_BYTES);
	assert_int_equal(face.opened, 1);
	send_begin(&face.m, 7);
	fake_guest_settle(face.m.guest);
	assert_false(fake_channel_poll(face.m.channel, &answer));
	storvsp_begin(face.m.storvsp);
	storvsp_begin(face.m.storvsp);
	fake_channel_expect_completion(face.m.channel, 7, &answer);
	fake_channel_close(face.m.channel);
	assert_int_equal(face.closed, 1);

	/* A driver that comes again has to wait again; the disk is at the target that the offer names. */
	face.m.channel = fake_channel_open(face.m.guest, &ide_type, 0, RING_BYTES);
	assert_int_equal(face.opened, 2);
	storvsp_begin(face.m.storvsp);
	negotiate(&face.m, VSTOR_VERSION_WIN10);
	buffer_create(&face.m, &out, 0, 8192);
	buffer_create(&face.m, &in, 0, 8192);
	buffer_fill(&face.m, &out, 3);
	rw_init(&p, SCSI_OP_WRITE_10, 64, 8192, false);
	p.srb.target = 1;
	run_srb(&face.m, &p, &out);
	expect_good(&p, 8192);
	rw_init(&p, SCSI_OP_READ_10, 64, 8192, false);
	p.srb.target = 1;
	run_srb(&face.m, &p, &in);
	expect_good(&p, 8192);
	buffer_expect(&face.m, &in, 3);
	rw_init(&p, SCSI_OP_READ_10, 64, 8192, false);
	run_srb(&face.m, &p, &in);
	assert_int_equal(p.srb.srb_status, VSTOR_SRB_INVALID_LUN);
	machine_destroy(&face.m);
	assert_int_equal(face.closed, 2);
}

static void a_driver_that_goes_while_it_waits(void **state)
{
	struct face face;

	face_create(&face, 0, 0);
	face.m.channel = fake_channel_open(face.m.guest, &ide_type, 0, RING_BYTES);
	send_begin(&face.m, 1);
	fake_guest_settle(face.m.guest);
	fake_channel_close(face.m.channel);
	face.m.channel = NULL;
	assert_int_equal(face.closed, 1);
	storvsp_begin(face.m.storvsp); /* too late */
	machine_destroy(&face.m);
	assert_int_equal(face.closed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_place_is_in_the_offer),
		cmocka_unit_test(packets_wait_until_the_other_face_has_let_go),
		cmocka_unit_test(a_driver_that_goes_while_it_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
