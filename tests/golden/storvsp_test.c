/* SPDX-License-Identifier: MIT */
/*
 * States of StorVSP that were saved once and must load for ever: a bus with a controller of two queues,
 * both open, a disk whose guest has switched its cache off, and a DVD drive whose guest has taken the
 * disc out and locked nothing.
 */
#include "golden/golden.h"
#include "guest/fake_internal.h"
#include "guest/storvsp_rig.h"

struct pair {
	struct machine m;
	struct scsi_disk *dvd;
	bool is_ejected;
};

static void on_eject(void *ctx)
{
	((struct pair *)ctx)->is_ejected = true;
}

static void pair_create(struct pair *p)
{
	struct scsi_disk_config config = { .type = SCSI_DVD,
					   .transfer_bytes_max = STORVSP_TRANSFER_BYTES_MAX,
					   .identity = "dvd0",
					   .on_eject = on_eject,
					   .on_eject_ctx = p };
	struct diag diag;

	memset(p, 0, sizeof(*p));
	machine_create(&p->m, (struct machine_config){ .queues = 2 });
	assert_int_equal(scsi_disk_create(&config, &p->dvd, &diag), 0);
	assert_int_equal(
		storvsp_add(p->m.storvsp, (struct storvsp_address){ .lun = 1 }, p->dvd, &diag), 0);
	fake_guest_settle(p->m.guest);
}

static void pair_destroy(struct pair *p)
{
	machine_destroy(&p->m);
	scsi_disk_destroy(p->dvd);
}

static void load_file(const char *path)
{
	struct pair p;

	pair_create(&p);
	golden_load(p.m.guest, path);
	assert_true(vmbus_channel_is_open(storvsp_device(p.m.storvsp)->channel));
	assert_false(scsi_disk_has_write_cache(p.m.disk));
	assert_true(scsi_disk_is_tray_open(p.dvd));
	bus_resume(p.m.guest->bus);
	fake_guest_settle(p.m.guest);
	bus_reset(p.m.guest->bus, &p.m.done);
	machine_wait_done(&p.m);
	pair_destroy(&p);
}

/* ---- making one ---------------------------------------------------------------------------------- */

static void command(struct pair *p, uint8_t lun, const uint8_t *cdb, const struct buffer *b)
{
	struct packet packet;

	srb_init(&packet, cdb, 6, b ? b->length : 0);
	packet.srb.lun = lun;
	run_srb(&p->m, &packet, b);
	assert_int_equal(packet.srb.scsi_status, SCSI_STATUS_GOOD);
}

static void write_state(const char *path)
{
	static const uint8_t select[6] = { SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 24 };
	static const uint8_t eject[6] = { SCSI_OP_START_STOP_UNIT, 0, 0, 0, 2 };
	struct packet subs = { .header = { .operation = VSTOR_CREATE_SUB_CHANNELS },
			       .sub_channels = 1 };
	struct fake_channel *sub;
	struct buffer b;
	struct pair p;

	pair_create(&p);
	machine_open(&p.m, RING_BYTES);
	assert_int_equal(ask(&p.m, &subs), VSTOR_STATUS_SUCCESS);
	fake_guest_settle(p.m.guest);
	sub = fake_channel_open(p.m.guest, &scsi_type, 1, RING_BYTES);
	buffer_create(&p.m, &b, 0, 24);
	*buffer_at(&p.m, &b, 4) = SCSI_MODE_CACHING;
	*buffer_at(&p.m, &b, 5) = 18;
	command(&p, 0, select, &b);
	command(&p, 1, eject, NULL);
	assert_int_equal(bus_pause(p.m.guest->bus), 0);
	storvsp_stop(p.m.storvsp, &p.m.done);
	machine_wait_done(&p.m);
	golden_write(p.m.guest, path);
	bus_resume(p.m.guest->bus);
	fake_channel_close(sub);
	pair_destroy(&p);
}

int main(int argc, char **argv)
{
	return golden_main(
		(struct golden){ .name = "storvsp", .load = load_file, .make = write_state }, argc,
		argv);
}
