/* SPDX-License-Identifier: MIT */
/*
 * A VM that is nothing but its loops and its bus: the real table of disks over two I/O threads, a fake
 * guest with its driver's half of VSTOR, and a client of the control socket. Included once in a program:
 * it has what vm.c, devices.c and verbs.c have in the worker.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "guest/storvsp_rig.h"
#include "rpc/rpc.h"
#include "vm/disk_verbs.h"
#include "vm/disks_internal.h"

#define IO_THREADS 2

/* ---- what vm.c, devices.c and verbs.c have in the worker ---- */

struct loop *vm_io_loop(struct vm *vm, size_t n)
{
	return vm->io[n % vm->io_count];
}

int vm_pause(struct vm *vm)
{
	if (vm->state == VM_RUNNING) {
		assert_int_equal(bus_pause(vm->bus), 0);
		vm->state = VM_PAUSED;
	}
	return 0;
}

void vm_resume(struct vm *vm)
{
	if (vm->state == VM_PAUSED) {
		bus_resume(vm->bus);
		vm_disks_resumed(vm->disks);
		vm->state = VM_RUNNING;
		vm->is_paused_for_error = false;
	}
}

json_t *vm_state_answer(const struct vm *vm)
{
	return json_pack("{s:b}", "running", vm->state == VM_RUNNING);
}

static const struct rpc_verb verbs[] = {
	{ "disk add", "", vm_verb_disk_add },       { "dvd add", "", vm_verb_dvd_add },
	{ "disk remove", "", vm_verb_disk_remove }, { "disk resize", "", vm_verb_disk_resize },
	{ "disk eject", "", vm_verb_disk_eject },   { "disk change", "", vm_verb_disk_change },
	{ "disk retry", "", vm_verb_disk_retry },   { "disk qos", "", vm_verb_disk_qos },
	{ "disk list", "", vm_verb_disk_list },     { "policy add", "", vm_verb_policy_add },
	{ "policy set", "", vm_verb_policy_set },   { "policy list", "", vm_verb_policy_list },
};

/* ---- a VM, and a client of its control socket ---- */

struct rig {
	struct vm vm;
	struct machine m;
	struct rpc_server *server;
	int client;
	char dir[32];
	char line[65536];
	size_t line_bytes;
	bool is_ending;
};

static inline void rig_create(struct rig *rig)
{
	char path[64];
	struct diag diag;
	int fds[2];

	memset(rig, 0, sizeof(*rig));
	strcpy(rig->dir, "/tmp/vm-disks.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	loop_work_init(&rig->m.done, on_done);
	rig->m.guest = fake_guest_create(RAM_BYTES, 2);
	rig->m.next_id = 100;
	rig->vm.control = fake_guest_loop(rig->m.guest);
	rig->vm.bus = fake_guest_bus(rig->m.guest);
	rig->vm.io_count = IO_THREADS;
	rig->vm.state = VM_RUNNING;
	for (unsigned int i = 0; i < IO_THREADS; i++) {
		assert_int_equal(loop_create("io", &rig->vm.io[i], &diag), 0);
		assert_int_equal(loop_start_thread(rig->vm.io[i], &diag), 0);
	}
	assert_int_equal(vm_disks_create(&rig->vm, &rig->vm.disks), 0);
	snprintf(path, sizeof(path), "%s/control", rig->dir);
	assert_int_equal(rpc_server_create(rig->vm.control, path, verbs, ARRAY_SIZE(verbs),
					   &rig->vm, &rig->server, &diag),
			 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(rpc_server_adopt_take(rig->server, fds[0]), 0);
	rig->client = fds[1];
}

/* As vm_end() and vm_destroy() do it. */
static inline void rig_end(struct rig *rig)
{
	struct vmbus_device *device;

	rig->vm.state = VM_ENDING;
	vm_disks_give_up(rig->vm.disks);
	bus_resume(rig->vm.bus);
	for (size_t n = 0; (device = vm_disks_device(rig->vm.disks, n)); n++) {
		bus_revoke(rig->vm.bus, device, &rig->m.done);
		machine_wait_done(&rig->m);
	}
	vm_disks_stop(rig->vm.disks);
	rig->is_ending = true;
}

static inline void rig_destroy(struct rig *rig)
{
	char command[64];

	if (!rig->is_ending) {
		rig_end(rig);
	}
	for (unsigned int i = 0; i < IO_THREADS; i++) {
		loop_stop_thread(rig->vm.io[i]);
	}
	assert_int_equal(rpc_server_open_requests(rig->server), 0);
	rpc_server_destroy(rig->server);
	close(rig->client);
	vm_disks_destroy(rig->vm.disks);
	for (unsigned int i = 0; i < IO_THREADS; i++) {
		loop_destroy(rig->vm.io[i]);
	}
	free(rig->m.channel);
	fake_guest_destroy(rig->m.guest);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	assert_int_equal(system(command), 0);
}

static inline void make_file(struct rig *rig, const char *name, off_t bytes)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	close(fd);
}

static inline void submit(struct rig *rig, const char *fmt, va_list args)
{
	char text[512];
	int length = vsnprintf(text, sizeof(text) - 1, fmt, args);

	assert_true(length > 0 && length < (int)sizeof(text) - 1);
	/* Tests write ' for ". */
	for (int i = 0; i < length; i++) {
		text[i] = text[i] == '\'' ? '"' : text[i];
	}
	text[length++] = '\n';
	assert_int_equal(send(rig->client, text, (size_t)length, 0), length);
}

static inline bool has_line(void *arg)
{
	struct rig *rig = arg;
	ssize_t n = recv(rig->client, rig->line + rig->line_bytes,
			 sizeof(rig->line) - rig->line_bytes, MSG_DONTWAIT);

	rig->line_bytes += n > 0 ? (size_t)n : 0;
	return memchr(rig->line, '\n', rig->line_bytes);
}

/* The next answer: a new reference. */
static inline json_t *answer(struct rig *rig)
{
	json_t *object;

	assert_true(fake_guest_wait(rig->m.guest, has_line, rig));
	size_t length = (size_t)((char *)memchr(rig->line, '\n', rig->line_bytes) - rig->line);

	object = json_loadb(rig->line, length, 0, NULL);
	assert_non_null(object);
	rig->line_bytes -= length + 1;
	memmove(rig->line, rig->line + length + 1, rig->line_bytes);
	return object;
}

/* Sends, and does not wait. */
__attribute__((format(printf, 2, 3))) static inline void ask_verb(struct rig *rig, const char *fmt,
								  ...)
{
	va_list args;

	va_start(args, fmt);
	submit(rig, fmt, args);
	va_end(args);
}

static inline void expect_ok(struct rig *rig)
{
	json_t *object = answer(rig);

	if (!json_is_true(json_object_get(object, "ok"))) {
		fail_msg("%s", json_string_value(json_object_get(object, "error")));
	}
	json_decref(object);
}

static inline void expect_error(struct rig *rig, const char *words)
{
	json_t *object = answer(rig);
	const char *error = json_string_value(json_object_get(object, "error"));

	if (!error || !strstr(error, words)) {
		fail_msg("\"%s\" is not in: %s", words, error ? error : "(no error)");
	}
	json_decref(object);
}

/* The result, or a failed test. */
__attribute__((format(printf, 2, 3))) static inline json_t *call(struct rig *rig, const char *fmt,
								 ...)
{
	va_list args;
	json_t *object, *result;

	va_start(args, fmt);
	submit(rig, fmt, args);
	va_end(args);
	object = answer(rig);
	if (!json_is_true(json_object_get(object, "ok"))) {
		fail_msg("%s", json_string_value(json_object_get(object, "error")));
	}
	result = json_incref(json_object_get(object, "result"));
	json_decref(object);
	return result;
}

__attribute__((format(printf, 2, 3))) static inline void do_verb(struct rig *rig, const char *fmt,
								 ...)
{
	va_list args;

	va_start(args, fmt);
	submit(rig, fmt, args);
	va_end(args);
	expect_ok(rig);
}

__attribute__((format(printf, 3, 4))) static inline void refuse(struct rig *rig, const char *words,
								const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	submit(rig, fmt, args);
	va_end(args);
	expect_error(rig, words);
}

static inline size_t count_disks(struct rig *rig)
{
	json_t *result = call(rig, "{'verb':'disk list'}");
	size_t count = json_array_size(json_object_get(result, "list"));

	json_decref(result);
	return count;
}

/* Of the disk with this id, as `disk list` shows it. */
static inline uint64_t disk_number(struct rig *rig, const char *id, const char *name)
{
	json_t *result = call(rig, "{'verb':'disk list'}"), *item;
	uint64_t value = ~0ULL;
	size_t i;

	json_array_foreach(json_object_get(result, "list"), i, item)
	{
		if (strcmp(json_string_value(json_object_get(item, "id")), id) == 0) {
			value = (uint64_t)json_integer_value(json_object_get(item, name));
		}
	}
	json_decref(result);
	return value;
}

/* ---- the guest's half ---- */

/* A VM with one disk, whose driver has begun. */
static inline void rig_boot(struct rig *rig, const char *words)
{
	rig_create(rig);
	make_file(rig, "a.img", DISK_BYTES);
	make_file(rig, "b.img", DISK_BYTES);
	do_verb(rig, "{'verb':'disk add','path':'%s/a.img','format':'raw'%s}", rig->dir, words);
	rig->m.storvsp = rig->vm.disks->controllers[0].storvsp;
	fake_guest_connect(rig->m.guest, VMBUS_VERSION_5_3);
	machine_open(&rig->m, RING_BYTES);
}

/* What the guest is told by itself: ENUMERATE_BUS, REMOVE_DEVICE. */
static inline void expect_event(struct rig *rig, uint32_t operation)
{
	static struct fake_packet packet;
	struct vstor_header header;

	fake_channel_receive(rig->m.channel, &packet);
	assert_int_equal(packet.type, VMBUS_PACKET_INBAND);
	memcpy(&header, packet.payload, sizeof(header));
	assert_int_equal(header.operation, operation);
}

/* A command without data, or with 8192 bytes. */
static inline void run_at(struct rig *rig, uint8_t lun, uint8_t op, const struct buffer *b,
			  struct packet *p)
{
	if (b) {
		rw_init(p, op, 8, b->length, false);
	} else {
		const uint8_t cdb[6] = { op };

		srb_init(p, cdb, 6, 0);
	}
	p->srb.lun = lun;
	run_srb(&rig->m, p, b);
}

/* Attentions come first; then the unit is ready, or says why not. */
static inline void skip_attentions(struct rig *rig, uint8_t lun, struct packet *p)
{
	for (int i = 0; i < 4; i++) {
		run_at(rig, lun, SCSI_OP_TEST_UNIT_READY, NULL, p);
		if (p->srb.scsi_status == SCSI_STATUS_GOOD ||
		    (p->srb.sense[2] & 15) != SCSI_KEY_UNIT_ATTENTION) {
			return;
		}
	}
	fail_msg("attentions without end");
}

static inline void converse(struct rig *rig, uint8_t lun, uint32_t seed)
{
	struct buffer out, in;
	struct packet p;

	buffer_create(&rig->m, &out, 0, 8192);
	buffer_create(&rig->m, &in, 0, 8192);
	buffer_fill(&rig->m, &out, seed);
	skip_attentions(rig, lun, &p);
	run_at(rig, lun, SCSI_OP_WRITE_10, &out, &p);
	expect_good(&p, 8192);
	run_at(rig, lun, SCSI_OP_READ_10, &in, &p);
	expect_good(&p, 8192);
	buffer_expect(&rig->m, &in, seed);
}

static inline void expect_no_unit(struct rig *rig, uint8_t lun)
{
	struct packet p;

	run_at(rig, lun, SCSI_OP_TEST_UNIT_READY, NULL, &p);
	assert_int_not_equal(p.header.status, VSTOR_STATUS_SUCCESS);
	assert_false(p.srb.srb_status == VSTOR_SRB_SUCCESS);
}

/* Sends a write that nobody waits for yet. */
static inline uint64_t send_write(struct rig *rig, struct buffer *b)
{
	struct packet p;

	buffer_create(&rig->m, b, 0, 8192);
	buffer_fill(&rig->m, b, 5);
	rw_init(&p, SCSI_OP_WRITE_10, 8, 8192, false);
	return send_srb(&rig->m, &p, b);
}

static inline bool is_paused(void *arg)
{
	return ((struct rig *)arg)->vm.state == VM_PAUSED;
}
