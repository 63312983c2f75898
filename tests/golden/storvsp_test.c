/* SPDX-License-Identifier: MIT */
/*
 * States of StorVSP that were saved once and must load for ever: a bus with a controller of two queues,
 * both open, a disk whose guest has switched its cache off, and a DVD drive whose guest has taken the
 * disc out and locked nothing.
 *
 *   storvsp_test DIRECTORY            loads each DIRECTORY/storvsp-*.state
 *   storvsp_test --write FILE         saves such a state as this version does: for a new golden file,
 *                                     when the saved form has changed and a release is made
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "guest/fake_internal.h"
#include "guest/storvsp_rig.h"

static const char *directory;

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

static void load_file(const char *name)
{
	static uint8_t bytes[1 << 16];
	struct vmbus_device *device;
	struct load load;
	struct pair p;
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	size_t length = fread(bytes, 1, sizeof(bytes), f);

	fclose(f);
	pair_create(&p);
	/* A process that takes a machine over has heard nothing of its guest. */
	fake_guest_unload(p.m.guest);
	device = storvsp_device(p.m.storvsp);
	assert_int_equal(bus_pause(p.m.guest->bus), 0);
	load_init(&load, bytes, length);
	assert_int_equal(bus_load(p.m.guest->bus, &load), 0);
	assert_true(vmbus_channel_is_open(device->channel));
	assert_false(scsi_disk_has_write_cache(p.m.disk));
	assert_true(scsi_disk_is_tray_open(p.dvd));
	bus_resume(p.m.guest->bus);
	fake_guest_settle(p.m.guest);
	bus_reset(p.m.guest->bus, &p.m.done);
	machine_wait_done(&p.m);
	pair_destroy(&p);
}

static void each_golden_state_loads(void **state)
{
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(directory);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (strncmp(entry->d_name, "storvsp-", 8) == 0 && length > 6 &&
		    strcmp(entry->d_name + length - 6, ".state") == 0) {
			load_file(entry->d_name);
			count++;
		}
	}
	closedir(dir);
	assert_true(count > 0);
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

static const char *target;

static void write_state(void **state)
{
	static const uint8_t select[6] = { SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 24 };
	static const uint8_t eject[6] = { SCSI_OP_START_STOP_UNIT, 0, 0, 0, 2 };
	struct packet subs = { .header = { .operation = VSTOR_CREATE_SUB_CHANNELS },
			       .sub_channels = 1 };
	struct fake_channel *sub;
	const uint8_t *bytes;
	size_t length;
	struct save save;
	struct buffer b;
	struct pair p;
	FILE *f;

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
	save_init(&save);
	bus_save(p.m.guest->bus, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	f = fopen(target, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, length, f), length);
	assert_int_equal(fclose(f), 0);
	save_fini(&save);
	bus_resume(p.m.guest->bus);
	fake_channel_close(sub);
	pair_destroy(&p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest load[] = { cmocka_unit_test(each_golden_state_loads) };
	const struct CMUnitTest make[] = { cmocka_unit_test(write_state) };

	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		target = argv[2];
		return cmocka_run_group_tests_name("golden/storvsp", make, NULL, NULL);
	}
	if (argc != 2) {
		fprintf(stderr, "usage: storvsp_test DIRECTORY | --write FILE\n");
		return 1;
	}
	directory = argv[1];
	return cmocka_run_group_tests_name("golden/storvsp", load, NULL, NULL);
}
