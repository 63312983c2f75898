/* SPDX-License-Identifier: MIT */
/* Disks that come, change and go while a guest uses them, by the verbs of the control socket. */
#include "guest/vm_rig.h"

/* ---- adding and removing ---- */

static void a_disk_comes_and_goes_while_the_guest_runs(void **state)
{
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	converse(&rig, 0, 1);
	for (uint32_t i = 0; i < 5; i++) {
		do_verb(&rig, "{'verb':'disk add','path':'%s/b.img','format':'raw','disk':'b'}",
			rig.dir);
		expect_event(&rig, VSTOR_ENUMERATE_BUS);
		converse(&rig, 1, 2 + i);
		assert_int_equal(disk_number(&rig, "b", "writes"), 1);
		do_verb(&rig, "{'verb':'disk remove','id':'b'}");
		expect_event(&rig, VSTOR_REMOVE_DEVICE);
		expect_no_unit(&rig, 1);
		converse(&rig, 0, 3 + i);
	}
	assert_int_equal(count_disks(&rig), 1);
	rig_destroy(&rig);
}

static bool has_sub(void *arg)
{
	return fake_guest_find_offer(arg, &scsi_type, 1);
}

/* The second queue, with its own ends of the disks on its own thread. */
static struct fake_channel *open_sub(struct rig *rig)
{
	struct packet p = { .header = { .operation = VSTOR_CREATE_SUB_CHANNELS },
			    .sub_channels = 1 };

	assert_int_equal(ask(&rig->m, &p), VSTOR_STATUS_SUCCESS);
	assert_true(fake_guest_wait(rig->m.guest, has_sub, rig->m.guest));
	return fake_channel_open(rig->m.guest, &scsi_type, 1, RING_BYTES);
}

static void disks_come_and_go_on_every_queue(void **state)
{
	struct fake_channel *primary, *sub;
	struct buffer a, b;
	struct packet p;
	struct rig rig;
	uint64_t id[2];

	(void)state;
	rig_boot(&rig, "");
	primary = rig.m.channel;
	sub = open_sub(&rig);
	for (uint32_t i = 0; i < 5; i++) {
		do_verb(&rig,
			"{'verb':'disk add','path':'%s/b.img','format':'raw','disk':'b',"
			"'fault':'delay:20ms:write'}",
			rig.dir);
		expect_event(&rig, VSTOR_ENUMERATE_BUS);
		converse(&rig, 1, i);
		rig.m.channel = sub;
		converse(&rig, 1, 20 + i);
		converse(&rig, 0, 40 + i);
		/* Removed with a write in flight on each: both are answered. */
		buffer_create(&rig.m, &a, 0, 8192);
		buffer_create(&rig.m, &b, 0, 8192);
		rw_init(&p, SCSI_OP_WRITE_10, 64, 8192, false);
		p.srb.lun = 1;
		id[1] = send_srb(&rig.m, &p, &b);
		rig.m.channel = primary;
		id[0] = send_srb(&rig.m, &p, &a);
		do_verb(&rig, "{'verb':'disk remove','id':'b'}");
		rig.m.channel = sub;
		expect_srb(&rig.m, id[1], &p);
		rig.m.channel = primary;
		/* The removal is announced before or after the write's end. */
		static struct fake_packet packets[2];

		fake_channel_receive(primary, &packets[0]);
		fake_channel_receive(primary, &packets[1]);
		assert_true(packets[0].transaction_id == id[0] ||
			    packets[1].transaction_id == id[0]);
		expect_no_unit(&rig, 1);
	}
	fake_channel_close(sub);
	rig_destroy(&rig);
}

static void a_controller_is_made_when_a_disk_names_it(void **state)
{
	struct fake_channel *first;
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	assert_null(fake_guest_find_offer(rig.m.guest, &scsi_type, 1));
	do_verb(&rig, "{'verb':'disk add','path':'%s/b.img','format':'raw','controller':2,'lun':5}",
		rig.dir);
	fake_guest_settle(rig.m.guest);
	assert_non_null(fake_guest_find_offer(rig.m.guest, &scsi_type, 1));
	first = rig.m.channel;
	rig.m.channel = fake_channel_open(rig.m.guest, &scsi_type, 1, RING_BYTES);
	negotiate(&rig.m, VSTOR_VERSION_WIN10);
	converse(&rig, 5, 1);
	fake_channel_close(rig.m.channel);
	rig.m.channel = first;
	converse(&rig, 0, 2);
	rig_destroy(&rig);
}

static void what_cannot_be_added_leaves_nothing(void **state)
{
	struct rig rig;

	(void)state;
	rig_boot(&rig, ",'id':'first','lun':3");
	refuse(&rig, "missing.img", "{'verb':'disk add','path':'%s/missing.img'}", rig.dir);
	refuse(&rig, "names no file", "{'verb':'disk add'}");
	refuse(&rig, "unknown key \"colour\"", "{'verb':'disk add','path':'x','colour':'red'}");
	refuse(&rig, "path is neither", "{'verb':'disk add','path':['x']}");
	refuse(&rig, "\"first\" is there twice",
	       "{'verb':'disk add','path':'%s/b.img','format':'raw','id':'first'}", rig.dir);
	refuse(&rig, "is disk first",
	       "{'verb':'disk add','path':'%s/b.img','format':'raw','lun':3}", rig.dir);
	refuse(&rig, "no policy \"gold\"",
	       "{'verb':'disk add','path':'%s/b.img','format':'raw','policy':'gold'}", rig.dir);
	refuse(&rig, "a.img", "{'verb':'disk add','path':'%s/a.img','format':'raw'}", rig.dir);
	/* The file is free again: none of the above has kept it. */
	do_verb(&rig, "{'verb':'disk add','path':'%s/b.img','format':'raw','id':7}", rig.dir);
	assert_int_equal(count_disks(&rig), 2);
	assert_int_equal(disk_number(&rig, "disk0", "lun"), 0); /* 7 was the request's own id */
	rig_destroy(&rig);
}

/* A serial number that the unit refuses is found after its file was opened. */
static void a_disk_that_is_half_built_is_closed(void **state)
{
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	refuse(&rig, "WWN", "{'verb':'disk add','path':'%s/b.img','format':'raw','wwn':'zz'}",
	       rig.dir);
	do_verb(&rig, "{'verb':'disk add','path':'%s/b.img','format':'raw'}", rig.dir);
	rig_destroy(&rig);
}

static void verbs_without_a_disk_say_so(void **state)
{
	static const char *const names[] = { "disk remove", "disk resize", "disk eject",
					     "disk change", "disk qos" };
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		refuse(&rig, "names no disk", "{'verb':'%s'}", names[i]);
		refuse(&rig, "names no disk", "{'verb':'%s','id':12}", names[i]);
		if (strcmp(names[i], "disk change") == 0) {
			refuse(&rig, "no disk \"x\"", "{'verb':'disk change','id':'x','path':'y'}");
			refuse(&rig, "give path=FILE", "{'verb':'disk change','id':'disk0'}");
		} else {
			refuse(&rig, "no disk \"x\"", "{'verb':'%s','id':'x'}", names[i]);
		}
		refuse(&rig, "unknown key \"colour\"", "{'verb':'%s','id':'disk0','colour':1}",
		       names[i]);
	}
	refuse(&rig, "no disk \"x\"", "{'verb':'disk retry','id':'x'}");
	refuse(&rig, "true or false", "{'verb':'disk eject','id':'disk0','force':'perhaps'}");
	rig_destroy(&rig);
}

/* ---- sizes ---- */

static uint32_t read_capacity(struct rig *rig)
{
	const uint8_t cdb[10] = { SCSI_OP_READ_CAPACITY_10 };
	struct buffer b;
	struct packet p;

	skip_attentions(rig, 0, &p);
	buffer_create(&rig->m, &b, 0, 8);
	srb_init(&p, cdb, 10, 8);
	p.srb.data_in = VSTOR_DATA_IN;
	run_srb(&rig->m, &p, &b);
	expect_good(&p, 8);
	return bytes_be32(buffer_at(&rig->m, &b, 0));
}

static void the_guest_sees_a_new_size(void **state)
{
	struct packet p;
	struct rig rig;
	char path[64];

	(void)state;
	rig_boot(&rig, "");
	assert_int_equal(read_capacity(&rig), DISK_BYTES / 512 - 1);
	json_t *result = call(&rig, "{'verb':'disk resize','id':'disk0','size':'16M'}");

	assert_int_equal(json_integer_value(json_object_get(result, "bytes")), 16 << 20);
	json_decref(result);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	run_at(&rig, 0, SCSI_OP_TEST_UNIT_READY, NULL, &p);
	expect_sense(&p, SCSI_KEY_UNIT_ATTENTION, 0x2a09);
	assert_int_equal(read_capacity(&rig), (16 << 20) / 512 - 1);

	refuse(&rig, "shrink=true", "{'verb':'disk resize','id':'disk0','size':4194304}");
	do_verb(&rig, "{'verb':'disk resize','id':'disk0','size':4194304,'shrink':true}");
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	assert_int_equal(read_capacity(&rig), (4 << 20) / 512 - 1);
	refuse(&rig, "takes no such size", "{'verb':'disk resize','id':'disk0','size':5000001}");

	/* Somebody made the file larger. */
	snprintf(path, sizeof(path), "%s/a.img", rig.dir);
	assert_int_equal(truncate(path, 32 << 20), 0);
	do_verb(&rig, "{'verb':'disk resize','id':'disk0'}");
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	assert_int_equal(read_capacity(&rig), (32 << 20) / 512 - 1);
	rig_destroy(&rig);
}

static void a_slice_keeps_its_size(void **state)
{
	struct rig rig;

	(void)state;
	rig_boot(&rig, ",'offset':'1M','size':'2M'");
	refuse(&rig, "cannot be resized", "{'verb':'disk resize','id':'disk0','size':'4M'}");
	converse(&rig, 0, 1);
	rig_destroy(&rig);
}

/* Who asks for a size hears of it; the guest has nothing to wait for. */
static void a_resize_that_fails_pauses_nobody(void **state)
{
	struct rig rig;

	(void)state;
	rig_boot(&rig, ",'on-error':'stop','fault':'fail:all:ENOSPC'");
	refuse(&rig, "the host has no room", "{'verb':'disk resize','id':'disk0','size':'16M'}");
	fake_guest_settle(rig.m.guest);
	assert_int_equal(rig.vm.state, VM_RUNNING);
	assert_int_equal(disk_number(&rig, "disk0", "held"), 0);
	rig_destroy(&rig);
}

/* ---- errors of the host ---- */

static void boot_with_full_disk(struct rig *rig, const char *fault)
{
	char words[128];

	snprintf(words, sizeof(words), ",'on-error':'stop','fault':'%s'", fault);
	rig_boot(rig, words);
}

static void a_failed_write_waits_for_a_retry(void **state)
{
	char text[128];
	struct buffer b;
	struct packet p;
	struct rig rig;
	uint64_t id;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:nth=1:ENOSPC");
	id = send_write(&rig, &b);
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	assert_true(rig.vm.is_paused_for_error);
	assert_true(vm_disks_error(rig.vm.disks, text, sizeof(text)));
	assert_string_equal(text, "disk disk0: No space left on device");
	assert_int_equal(disk_number(&rig, "disk0", "held"), 1);
	do_verb(&rig, "{'verb':'disk retry'}");
	assert_int_equal(rig.vm.state, VM_RUNNING);
	assert_false(vm_disks_error(rig.vm.disks, text, sizeof(text)));
	expect_srb(&rig.m, id, &p);
	expect_good(&p, 8192);
	rig_destroy(&rig);
}

static void what_fails_again_pauses_again(void **state)
{
	struct buffer b;
	struct rig rig;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:ENOSPC");
	send_write(&rig, &b);
	for (int i = 0; i < 3; i++) {
		assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
		do_verb(&rig, "{'verb':'disk retry','id':'disk0'}");
	}
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	rig_destroy(&rig);
}

static void a_users_pause_outlives_a_retry(void **state)
{
	struct buffer b;
	struct packet p;
	struct rig rig;
	uint64_t id;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:nth=1:ENOSPC");
	id = send_write(&rig, &b);
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	rig.vm.is_paused_for_error = false; /* as the verb pause does */
	do_verb(&rig, "{'verb':'disk retry'}");
	fake_guest_settle(rig.m.guest);
	assert_int_equal(rig.vm.state, VM_PAUSED);
	vm_disks_retry_all(rig.vm.disks); /* as the verb resume does */
	vm_resume(&rig.vm);
	expect_srb(&rig.m, id, &p);
	expect_good(&p, 8192);
	rig_destroy(&rig);
}

static void a_users_resume_tries_again(void **state)
{
	struct buffer b;
	struct packet p;
	struct rig rig;
	uint64_t id;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:nth=1:ENOSPC");
	id = send_write(&rig, &b);
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	vm_disks_retry_all(rig.vm.disks);
	vm_resume(&rig.vm);
	expect_srb(&rig.m, id, &p);
	expect_good(&p, 8192);
	assert_false(rig.vm.is_paused_for_error);
	rig_destroy(&rig);
}

static void two_full_disks_need_two_retries(void **state)
{
	struct buffer a, b;
	struct packet p;
	struct rig rig;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:nth=1:ENOSPC");
	do_verb(&rig,
		"{'verb':'disk add','path':'%s/b.img','format':'raw','disk':'b','on-error':'stop',"
		"'fault':'fail:write:nth=1:ENOSPC'}",
		rig.dir);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	skip_attentions(&rig, 0, &p);
	skip_attentions(&rig, 1, &p);
	buffer_create(&rig.m, &b, 0, 8192);
	rw_init(&p, SCSI_OP_WRITE_10, 8, 8192, false);
	p.srb.lun = 1;
	send_srb(&rig.m, &p, &b);
	send_write(&rig, &a);
	while (disk_number(&rig, "disk0", "held") + disk_number(&rig, "b", "held") < 2) {
		fake_guest_settle(rig.m.guest);
		/* The second may still be in the ring of a paused bus. */
		if (rig.vm.state == VM_PAUSED) {
			bus_resume(rig.vm.bus);
		}
	}
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	fake_guest_settle(rig.m.guest);
	do_verb(&rig, "{'verb':'disk retry','id':'b'}");
	assert_int_equal(rig.vm.state, VM_PAUSED);
	do_verb(&rig, "{'verb':'disk retry','id':'disk0'}");
	assert_int_equal(rig.vm.state, VM_RUNNING);
	rig_destroy(&rig);
}

static void a_disk_that_holds_requests_can_be_removed(void **state)
{
	struct buffer b;
	struct packet p;
	struct rig rig;
	uint64_t id;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:ENOSPC");
	id = send_write(&rig, &b);
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	do_verb(&rig, "{'verb':'disk remove','id':'disk0'}");
	assert_int_equal(rig.vm.state, VM_RUNNING); /* nothing is left to wait for */
	expect_srb(&rig.m, id, &p);
	assert_int_not_equal(p.srb.srb_status, VSTOR_SRB_SUCCESS);
	expect_event(&rig, VSTOR_REMOVE_DEVICE);
	rig_destroy(&rig);
}

static void a_channel_that_closes_gives_up_what_is_held(void **state)
{
	struct buffer b;
	struct rig rig;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:ENOSPC");
	send_write(&rig, &b);
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	vm_resume(&rig.vm);
	fake_channel_close(rig.m.channel);
	rig.m.channel = NULL;
	assert_int_equal(disk_number(&rig, "disk0", "held"), 0);
	rig_destroy(&rig);
}

static void a_reset_forgets_what_is_held(void **state)
{
	char text[64];
	struct buffer b;
	struct rig rig;

	(void)state;
	boot_with_full_disk(&rig, "fail:write:ENOSPC");
	send_write(&rig, &b);
	assert_true(fake_guest_wait(rig.m.guest, is_paused, &rig));
	rig.vm.state = VM_RESETTING;
	vm_disks_reset(rig.vm.disks);
	bus_reset(rig.vm.bus, &rig.m.done);
	machine_wait_done(&rig.m);
	assert_false(vm_disks_error(rig.vm.disks, text, sizeof(text)));
	refuse(&rig, "being reset", "{'verb':'disk remove','id':'disk0'}");
	rig_destroy(&rig);
}

/* ---- discs ---- */

static void discs_come_and_go(void **state)
{
	struct packet p;
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	make_file(&rig, "one.iso", 1 << 20);
	make_file(&rig, "two.iso", 2 << 20);
	do_verb(&rig, "{'verb':'dvd add','path':'%s/one.iso'}", rig.dir);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	skip_attentions(&rig, 1, &p);
	assert_int_equal(p.srb.scsi_status, SCSI_STATUS_GOOD);

	do_verb(&rig, "{'verb':'disk change','id':'dvd0','path':'%s/two.iso'}", rig.dir);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	assert_int_equal(disk_number(&rig, "dvd0", "bytes"), 2 << 20);
	run_at(&rig, 1, SCSI_OP_TEST_UNIT_READY, NULL, &p);
	expect_sense(&p, SCSI_KEY_UNIT_ATTENTION, 0x2800);

	refuse(&rig, "three.iso", "{'verb':'disk change','id':'dvd0','path':'%s/three.iso'}",
	       rig.dir);
	assert_int_equal(disk_number(&rig, "dvd0", "bytes"), 2 << 20);

	do_verb(&rig, "{'verb':'disk eject','id':'dvd0'}");
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	skip_attentions(&rig, 1, &p);
	assert_int_equal(p.srb.sense[2] & 15, SCSI_KEY_NOT_READY);
	do_verb(&rig, "{'verb':'disk change','id':'dvd0','path':'%s/one.iso'}", rig.dir);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	skip_attentions(&rig, 1, &p);
	assert_int_equal(p.srb.scsi_status, SCSI_STATUS_GOOD);
	/* Refused last: nothing of it is left for the end. */
	refuse(&rig, "three.iso", "{'verb':'disk change','id':'dvd0','path':'%s/three.iso'}",
	       rig.dir);
	rig_destroy(&rig);
}

static void what_is_no_drive_has_no_disc(void **state)
{
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	do_verb(&rig, "{'verb':'dvd add'}");
	refuse(&rig, "no DVD drive", "{'verb':'disk eject','id':'disk0'}");
	refuse(&rig, "DVD drive", "{'verb':'disk resize','id':'dvd0','size':'4M'}");
	do_verb(&rig, "{'verb':'disk remove','id':'dvd0'}");
	rig_destroy(&rig);
}

static void a_locked_drive_opens_by_force_only(void **state)
{
	const uint8_t prevent[6] = { SCSI_OP_PREVENT_ALLOW, 0, 0, 0, 1, 0 };
	struct packet p;
	struct rig rig;

	(void)state;
	rig_boot(&rig, "");
	make_file(&rig, "one.iso", 1 << 20);
	do_verb(&rig, "{'verb':'dvd add','path':'%s/one.iso','id':'dvd'}", rig.dir);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	skip_attentions(&rig, 1, &p);
	srb_init(&p, prevent, 6, 0);
	p.srb.lun = 1;
	run_srb(&rig.m, &p, NULL);
	expect_good(&p, 0);
	refuse(&rig, "force=true", "{'verb':'disk eject','id':'dvd'}");
	do_verb(&rig, "{'verb':'disk eject','id':'dvd','force':true}");
	refuse(&rig, "is a DVD drive", "{'verb':'disk resize','id':'dvd'}");
	rig_destroy(&rig);
}

/* ---- limits ---- */

static void limits_change_while_the_guest_runs(void **state)
{
	struct rig rig;
	json_t *result;

	(void)state;
	rig_boot(&rig, ",'iops':1000");
	result = call(&rig, "{'verb':'disk qos','id':'disk0','bandwidth':'10M'}");
	assert_int_equal(json_integer_value(json_object_get(result, "iops")), 1000);
	assert_int_equal(json_integer_value(json_object_get(result, "bandwidth")), 10 << 20);
	json_decref(result);
	do_verb(&rig, "{'verb':'disk qos','id':'disk0','iops':0}");
	result = call(&rig, "{'verb':'disk qos','id':'disk0'}");
	assert_int_equal(json_integer_value(json_object_get(result, "iops")), 0);
	assert_int_equal(json_integer_value(json_object_get(result, "bandwidth")), 10 << 20);
	json_decref(result);

	do_verb(&rig, "{'verb':'policy add','name':'gold','iops':500}");
	refuse(&rig, "there twice", "{'verb':'policy add','name':'gold'}");
	refuse(&rig, "names no policy", "{'verb':'policy add','iops':5}");
	refuse(&rig, "no policy \"tin\"", "{'verb':'policy set','name':'tin','iops':5}");
	result = call(&rig, "{'verb':'policy set','name':'gold','iops-burst':50}");
	assert_int_equal(json_integer_value(json_object_get(result, "iops")), 500);
	assert_int_equal(json_integer_value(json_object_get(result, "iops-burst")), 50);
	json_decref(result);
	do_verb(&rig, "{'verb':'disk add','path':'%s/b.img','format':'raw','policy':'gold'}",
		rig.dir);
	expect_event(&rig, VSTOR_ENUMERATE_BUS);
	converse(&rig, 1, 1);
	result = call(&rig, "{'verb':'policy list'}");
	json_t *item = json_array_get(json_object_get(result, "policies"), 0);

	assert_int_equal(json_integer_value(json_object_get(item, "normal_operations")), 2);
	json_decref(result);
	rig_destroy(&rig);
}

/* ---- the end ---- */

static bool was_asked(void *arg)
{
	struct rig *rig = arg;

	return rpc_server_open_requests(rig->server) > 0 || has_line(rig);
}

/* The VM ends while a write and this verb are under way: whoever waits gets an answer. */
static void end_during(const char *verb, const char *words, bool dvd)
{
	struct buffer b;
	struct rig rig;
	json_t *object;

	rig_boot(&rig, ",'fault':'delay:300ms:write'");
	make_file(&rig, "one.iso", 1 << 20);
	if (dvd) {
		do_verb(&rig, "{'verb':'dvd add','path':'%s/one.iso','id':'dvd'}", rig.dir);
		make_file(&rig, "two.iso", 1 << 20);
	}
	send_write(&rig, &b);
	fake_guest_settle(rig.m.guest);
	if (dvd) {
		ask_verb(&rig, "{'verb':'%s','id':'dvd'%s%s%s}", verb, words, rig.dir, "/two.iso'");
	} else {
		ask_verb(&rig, "{'verb':'%s','id':'disk0'%s}", verb, words);
	}
	assert_true(fake_guest_wait(rig.m.guest, was_asked, &rig));
	rig_end(&rig);
	object = answer(&rig);
	if (!json_is_true(json_object_get(object, "ok"))) {
		assert_non_null(strstr(json_string_value(json_object_get(object, "error")),
				       "the VM ended before"));
	}
	json_decref(object);
	refuse(&rig, "is ending", "{'verb':'disk remove','id':'disk0'}");
	rig_destroy(&rig);
}

static void the_end_answers_who_waits_for_a_removal(void **state)
{
	(void)state;
	end_during("disk remove", "", false);
}

static void the_end_answers_who_waits_for_a_resize(void **state)
{
	(void)state;
	end_during("disk resize", ",'size':'16M'", false);
}

static void the_end_answers_who_waits_for_a_disc(void **state)
{
	(void)state;
	end_during("disk change", ",'path':'", true);
}

/* One thing at a time for each disk. */
static void a_second_job_is_told_to_wait(void **state)
{
	struct buffer b;
	struct packet p;
	struct rig rig;
	uint64_t id;

	(void)state;
	rig_boot(&rig, ",'fault':'delay:300ms:write'");
	id = send_write(&rig, &b);
	fake_guest_settle(rig.m.guest);
	ask_verb(&rig, "{'verb':'disk remove','id':'disk0'}");
	ask_verb(&rig, "{'verb':'disk resize','id':'disk0','size':'16M'}");
	expect_error(&rig, "being removed");
	expect_event(&rig, VSTOR_REMOVE_DEVICE);
	expect_srb(&rig.m, id, &p);
	expect_ok(&rig);
	assert_int_equal(count_disks(&rig), 0);
	rig_destroy(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_comes_and_goes_while_the_guest_runs),
		cmocka_unit_test(disks_come_and_go_on_every_queue),
		cmocka_unit_test(a_controller_is_made_when_a_disk_names_it),
		cmocka_unit_test(what_cannot_be_added_leaves_nothing),
		cmocka_unit_test(a_disk_that_is_half_built_is_closed),
		cmocka_unit_test(verbs_without_a_disk_say_so),
		cmocka_unit_test(the_guest_sees_a_new_size),
		cmocka_unit_test(a_slice_keeps_its_size),
		cmocka_unit_test(a_resize_that_fails_pauses_nobody),
		cmocka_unit_test(a_failed_write_waits_for_a_retry),
		cmocka_unit_test(what_fails_again_pauses_again),
		cmocka_unit_test(a_users_pause_outlives_a_retry),
		cmocka_unit_test(a_users_resume_tries_again),
		cmocka_unit_test(two_full_disks_need_two_retries),
		cmocka_unit_test(a_disk_that_holds_requests_can_be_removed),
		cmocka_unit_test(a_channel_that_closes_gives_up_what_is_held),
		cmocka_unit_test(a_reset_forgets_what_is_held),
		cmocka_unit_test(discs_come_and_go),
		cmocka_unit_test(what_is_no_drive_has_no_disc),
		cmocka_unit_test(a_locked_drive_opens_by_force_only),
		cmocka_unit_test(limits_change_while_the_guest_runs),
		cmocka_unit_test(the_end_answers_who_waits_for_a_removal),
		cmocka_unit_test(the_end_answers_who_waits_for_a_resize),
		cmocka_unit_test(the_end_answers_who_waits_for_a_disc),
		cmocka_unit_test(a_second_job_is_told_to_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
