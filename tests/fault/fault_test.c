/* SPDX-License-Identifier: MIT */
/*
 * Every constructor with its n-th allocation or host call failing, n = 1, 2, 3 … until none fails: it
 * must say so, leave nothing behind (the sanitizers watch), and succeed when nothing fails.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/block.h"
#include "block/image.h"
#include "block/layers.h"
#include "block/nbd_internal.h"
#include "block/qos.h"
#include "block/sync.h"
#include "chipset/chipset.h"
#include "chipset/i8042.h"
#include "chipset/pm.h"
#include "chipset/rtc.h"
#include "chipset/uart.h"
#include "console/serial.h"
#include "guest/fake_guest.h"
#include "guest/fake_internal.h"
#include "net/net.h"
#include "proto/echo.h"
#include "rpc/rpc.h"
#include "scsi/scsi_disk.h"
#include "vm/vm_internal.h"
#include "vsp/echo/echo.h"
#include "vsp/ic/ic.h"
#include "vsp/net/netvsp.h"
#include "vsp/storage/storvsp.h"

#define POINTS_MAX 1000

/* What scenarios may use, made while nothing fails. */
static struct fake_guest *guest;
static struct loop *loop;

static void run(int (*scenario)(void))
{
	for (unsigned int n = 1; n < POINTS_MAX; n++) {
		fault_arm(n);
		int err = scenario();
		bool fired = fault_fired();

		fault_arm(0);
		fake_guest_settle(guest);
		if (!fired) {
			assert_int_equal(err, 0);
			return;
		}
		/* Some do without what failed; none fails without a reason. */
		assert_true(err <= 0);
	}
	fail_msg("more than %d points", POINTS_MAX);
}

static int make_loop(void)
{
	struct loop *made = NULL;
	struct diag diag;
	int err = loop_create("fault", &made, &diag);

	loop_destroy(made);
	return err;
}

static int make_memory(void)
{
	struct mem_config config = { .bytes = 64 * MIB };
	const uint64_t gfns[] = { 5, 9 };
	struct mem *mem = NULL;
	struct diag diag;
	void *pages = NULL;
	int err = mem_create(&config, &mem, &diag);

	if (!err) {
		err = mem_map_pages(mem, gfns, 2, 2, &pages);
		mem_unmap_pages(pages, 2, 2);
	}
	mem_destroy(mem);
	return err;
}

static int make_state(void)
{
	struct save save;
	const uint8_t *bytes;
	size_t length;

	save_init(&save);
	for (uint16_t i = 1; i < 200; i++) {
		save_u64(&save, i, i);
	}
	int err = save_finish(&save, &bytes, &length);

	save_fini(&save);
	return err;
}

static int make_bus(void)
{
	struct vmbus_bus *bus = NULL;
	struct fake_synic *synic = fake_synic_create(1);
	int err = bus_create(loop, guest->mem, fake_synic_base(synic), &bus);

	bus_destroy(bus);
	fake_synic_destroy(synic);
	return err;
}

static int make_chipset(void)
{
	static const struct chipset_power_ops power_ops;
	const struct chipset_power power = { .ops = &power_ops };
	const struct irq_line irq = { 0 };
	struct chipset *chipset = NULL;
	struct rtc *rtc = NULL;
	struct pm *pm = NULL;
	struct i8042 *i8042 = NULL;
	struct uart *uart = NULL;
	struct serial *serial = NULL;
	struct diag diag;
	int err = chipset_create(&chipset);

	err = err ? err : rtc_create(chipset, loop, 0x70, &irq, &rtc);
	err = err ? err : pm_create(chipset, &irq, &power, &pm);
	err = err ? err : i8042_create(chipset, &power, &i8042);
	err = err ? err : serial_create(loop, "none", &serial, &diag);
	err = err ? err : uart_create(chipset, 0x3f8, &irq, serial, &uart);
	uart_destroy(uart);
	serial_destroy(serial);
	i8042_destroy(i8042);
	pm_destroy(pm);
	rtc_destroy(rtc);
	chipset_destroy(chipset);
	return err;
}

static int make_storage(void)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 * MIB };
	struct storvsp_address address = { 0 };
	struct storvsp *storvsp = NULL;
	struct block *block = NULL;
	struct diag diag;
	int err = block_open(&config, &block, &diag);

	struct storvsp_config controller = {
		.name = "fault", .control = loop, .loops = &loop, .loop_count = 1
	};
	struct scsi_disk_config scsi = { .transfer_bytes_max = STORVSP_TRANSFER_BYTES_MAX };
	struct scsi_disk *disk = NULL;

	err = err ? err : storvsp_create(&controller, &storvsp);
	scsi.info = err ? NULL : block_info(block);
	err = err ? err : scsi_disk_create(&scsi, &disk, &diag);
	err = err ? err : storvsp_add(storvsp, address, disk, &diag);
	storvsp_destroy(storvsp);
	scsi_disk_destroy(disk);
	block_close(block);
	return err;
}

static int make_scsi_units(void)
{
	static const struct block_info info = { .bytes = 1 * MIB, .logical_block_bytes = 512 };
	struct scsi_disk_config config = { .info = &info, .transfer_bytes_max = 1 * MIB };
	struct scsi_disk *disk = NULL, *drive = NULL;
	struct diag diag;
	int err = scsi_disk_create(&config, &disk, &diag);

	config.type = SCSI_DVD;
	err = err ? err : scsi_disk_create(&config, &drive, &diag);
	scsi_disk_destroy(disk);
	scsi_disk_destroy(drive);
	return err;
}

static int make_raw_disk(void)
{
	char path[] = "/tmp/fault-test-XXXXXX";
	int fd = mkstemp(path);
	struct block_config config = { .kind = BLOCK_RAW, .path = path };
	struct block *block = NULL;
	struct diag diag;

	assert_true(fd >= 0 && ftruncate(fd, 65536) == 0);
	int err = block_open(&config, &block, &diag);

	block_close(block);
	close(fd);
	unlink(path);
	return err;
}

/* The server's half of a connection that has been greeted, in the old style: all at once. */
static struct nbd_handle *make_connection(int *ret_server_fd)
{
	uint8_t hello[152] = "NBDMAGIC";
	struct nbd_handle *handle = nbd_create();
	int fds[2];

	bytes_put_be64(hello + 8, 0x00420281861253ULL);
	bytes_put_be64(hello + 16, 65536);
	bytes_put_be32(hello + 24, 1 | 4); /* has flags, flush */
	assert_non_null(handle);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(write(fds[1], hello, sizeof(hello)), sizeof(hello));
	assert_int_equal(nbd_connect_socket(handle, fds[0]), 0);
	*ret_server_fd = fds[1];
	return handle;
}

static int make_network_disk(void)
{
	struct block_config config = { .kind = BLOCK_NBD, .path = "nbd+unix:///?socket=none" };
	struct block *block = NULL;
	struct diag diag;
	int fd, err;

	err = nbd_disk_create(&config, &nbd_limits_default, make_connection(&fd), &block, &diag);
	block_close(block);
	close(fd);
	return err;
}

/* There is no server: that is what must be said when nothing else fails. */
static int dial_nobody(void)
{
	struct block_config config = { .kind = BLOCK_NBD, .path = "nbd+unix:///?socket=/none" };
	struct block *block = NULL;
	struct diag diag;
	int err = block_open(&config, &block, &diag);

	assert_null(block);
	return err == -ENOENT ? 0 : err;
}

/* Nor a program that serves the image. */
static int make_foreign_disk(void)
{
	struct block_config config = {
		.kind = BLOCK_QEMU,
		.path = "/dev/null",
		.qemu_format = "qcow2",
	};
	struct block *block = NULL;
	struct diag diag;
	int err;

	setenv("TABIQUE_QEMU_NBD", "/bin/false", 1);
	err = block_open(&config, &block, &diag);
	unsetenv("TABIQUE_QEMU_NBD");
	assert_null(block);
	return err == -EIO ? 0 : err;
}

/* Every layer, and another end of each, over a slice. */
static int make_disk_in_layers(void)
{
	char path[] = "/tmp/fault-test-XXXXXX";
	const struct qos_limits limits = { .iops = 1000 };
	int fd = mkstemp(path);
	struct qos_policy *policy = NULL;
	struct block *block = NULL, *twin = NULL;
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = path,
		.slice_offset_bytes = 4096,
		.slice_bytes = 8192,
		.file_fault = "delay:1us+fail:read:nth=1",
		.fault = "log:/tmp/fault-test.log",
		.on_error = BLOCK_STOP,
		.qos = &policy,
		.qos_count = 1,
	};
	struct diag diag;
	int err;

	assert_true(fd >= 0 && ftruncate(fd, 65536) == 0);
	err = qos_policy_create(&limits, &policy);
	err = err ? err : block_open(&config, &block, &diag);
	err = err ? err : block_twin(block, &twin);
	block_close(twin);
	block_close(block);
	qos_policy_destroy(policy);
	close(fd);
	unlink(path);
	unlink("/tmp/fault-test.log");
	return err;
}

/* An end that passes requests on. */
static int make_passing_twin(void)
{
	char path[] = "/tmp/fault-test-XXXXXX";
	struct block_config config = { .kind = BLOCK_RAW, .path = path, .growable = true };
	struct block *block = NULL, *twin = NULL;
	int fd = mkstemp(path), err;
	struct diag diag;

	assert_true(fd >= 0);
	err = block_open(&config, &block, &diag);
	err = err ? err : block_twin(block, &twin);
	block_close(twin);
	block_close(block);
	close(fd);
	unlink(path);
	return err;
}

static int make_vhdx_image(const char *path, const char *parent)
{
	struct image_create_config config = {
		.kind = BLOCK_VHDX,
		.layout = parent ? IMAGE_DIFFERENCING : IMAGE_DYNAMIC,
		.path = path,
		.bytes = parent ? 0 : 4 * MIB,
		.block_bytes = 1U << 20,
		.parent_path = parent,
		.parent_kind = BLOCK_VHDX,
	};
	struct diag diag;
	int err = (vhdx_image_ops.create)(&config, &diag);

	assert_true(!err || access(path, F_OK) != 0); /* no file is left */
	return err;
}

/* Opened, written to, examined, shrunk. */
static int use_vhdx_image(const char *path)
{
	struct block_config config = { .kind = BLOCK_VHDX, .path = path };
	struct image_report report = { 0 };
	struct block_sync *sync = NULL;
	struct block *block = NULL;
	uint8_t sector[512] = { 1 };
	uint64_t saved;
	struct diag diag;
	int err = block_open(&config, &block, &diag);

	err = err ? err : block_sync_create(block, &sync, &diag);
	err = err ? err : block_sync_write(sync, 0, sector, sizeof(sector));
	block_sync_destroy(sync);
	block_close(block);
	err = err ? err : (vhdx_image_ops.check)(path, false, &report, NULL, &diag);
	err = err ? err : (vhdx_image_ops.compact)(path, NULL, &saved, &diag);
	if (fault_fired()) {
		/* Whatever it was, the image is whole. That has no points left that could fail. */
		assert_int_equal((vhdx_image_ops.check)(path, false, &report, NULL, &diag), 0);
	}
	assert_int_equal(report.errors, 0);
	return err;
}

static int make_vhdx(void)
{
	char directory[] = "/tmp/fault-test-XXXXXX", base[64], child[64];

	assert_non_null(mkdtemp(directory));
	snprintf(base, sizeof(base), "%s/base", directory);
	snprintf(child, sizeof(child), "%s/child", directory);
	int err = make_vhdx_image(base, NULL);

	err = err ? err : make_vhdx_image(child, "base");
	err = err ? err : use_vhdx_image(child);
	unlink(base);
	unlink(child);
	rmdir(directory);
	return err;
}

/* An image and its child: made, opened, examined, compacted. */
static int make_vhd_chain(void)
{
	char parent[] = "/tmp/fault-test-XXXXXX", child[sizeof(parent) + 4];
	struct image_create_config create = {
		.kind = BLOCK_VHD,
		.path = parent,
		.bytes = 1 * MIB,
		.block_bytes = 64 * 1024,
	};
	struct block_config config = { .kind = BLOCK_VHD, .path = child };
	struct image_report report = { 0 };
	struct block *block = NULL;
	struct diag diag;
	uint64_t given;
	int fd = mkstemp(parent);

	assert_true(fd >= 0);
	close(fd);
	unlink(parent);
	snprintf(child, sizeof(child), "%s.vhd", parent);
	int err = image_create(&create, &diag);

	create.path = child;
	create.layout = IMAGE_DIFFERENCING;
	create.bytes = 0;
	create.parent_path = parent;
	create.parent_kind = BLOCK_VHD;
	err = err ? err : image_create(&create, &diag);
	err = err ? err : block_open(&config, &block, &diag);
	block_close(block);
	err = err ? err : image_check(child, BLOCK_VHD, false, &report, NULL, &diag);
	err = err ? err : image_compact(child, BLOCK_VHD, NULL, &given, &diag);
	unlink(child);
	unlink(parent);
	return err;
}

static int make_network(void)
{
	struct netvsp_config config = { .name = "net0" };
	struct netvsp *nic = NULL;
	struct diag diag;
	int err = net_null_create(loop, true, &config.net, &diag);

	err = err ? err : netvsp_create(&config, &nic, &diag);
	netvsp_destroy(nic);
	net_destroy(config.net);
	return err;
}

static int make_network_with_queues(void)
{
	struct netvsp_config config = { .name = "net0", .twin_count = 1 };
	struct net *twin = NULL;
	struct netvsp *nic = NULL;
	struct diag diag;
	int err = net_null_create_many(loop, true, &config.net);

	err = err ? err : net_twin(config.net, loop, &twin);
	config.twins = &twin;
	err = err ? err : netvsp_create(&config, &nic, &diag);
	netvsp_destroy(nic);
	net_destroy(twin);
	net_destroy(config.net);
	return err;
}

static int make_integration(void)
{
	const struct timesync_config config = { 0 };
	struct heartbeat *heartbeat = NULL;
	struct shutdown *shutdown = NULL;
	struct timesync *timesync = NULL;
	int err = heartbeat_create(0, &heartbeat);

	err = err ? err : shutdown_create(&shutdown);
	err = err ? err : timesync_create(&config, &timesync);
	timesync_destroy(timesync);
	shutdown_destroy(shutdown);
	heartbeat_destroy(heartbeat);
	return err;
}

static int make_rpc(void)
{
	char path[] = "/tmp/fault-test-XXXXXX";
	struct rpc_server *server = NULL;
	struct diag diag;

	close(mkstemp(path));
	unlink(path);
	int err = rpc_server_create(loop, path, NULL, 0, NULL, &server, &diag);

	rpc_server_destroy(server);
	return err;
}

/*
 * A guest's GPADL and open, with whatever the host needs for them failing: the guest gets a status,
 * and the next try works.
 */
static int open_a_channel(void)
{
	static const struct guid type = ECHO_INTERFACE;
	const struct vmbus_msg_offer_channel *offer = fake_guest_find_offer(guest, &type, 0);
	gpa_t rings = 1 << 20; /* the same every time; fake_guest_alloc() never gives back */
	struct {
		struct vmbus_msg_gpadl_header header;
		struct vmbus_gpa_range range;
		uint64_t gfns[8];
	} __attribute__((packed)) gpadl = {
		.header = { .header.type = VMBUS_MSG_GPADL_HEADER,
			    .relid = offer->relid,
			    .gpadl = 5,
			    .range_bytes = 72,
			    .range_count = 1 },
		.range = { .length_bytes = 8 * 4096 },
	};
	struct vmbus_msg_open_channel open = { .header.type = VMBUS_MSG_OPEN_CHANNEL,
					       .relid = offer->relid,
					       .ring_gpadl = 5,
					       .downstream_page_offset = 4 };
	struct vmbus_msg_close_channel close_it = { .header.type = VMBUS_MSG_CLOSE_CHANNEL,
						    .relid = offer->relid };
	struct vmbus_msg_gpadl_created created;
	struct vmbus_msg_open_result result;

	memset(fake_guest_hva(guest, rings, 8 * 4096), 0, 8 * 4096);
	for (uint64_t i = 0; i < 8; i++) {
		gpadl.gfns[i] = (rings >> 12) + i;
	}
	fake_guest_post(guest, guest->connection_id, &gpadl, sizeof(gpadl));
	fake_guest_expect(guest, VMBUS_MSG_GPADL_CREATED, &created, sizeof(created));
	if (created.status) {
		return -ENOMEM;
	}
	fake_guest_post(guest, guest->connection_id, &open, sizeof(open));
	fake_guest_expect(guest, VMBUS_MSG_OPEN_RESULT, &result, sizeof(result));
	if (!result.status) {
		fake_guest_post(guest, guest->connection_id, &close_it, sizeof(close_it));
	}
	fake_guest_gpadl_teardown(guest, offer->relid, 5);
	return result.status ? -ENOMEM : 0;
}

static bool revoked;

static void on_revoked(struct loop_work *work)
{
	(void)work;
	revoked = true;
}

static bool is_revoked(void *arg)
{
	(void)arg;
	return revoked;
}

/* ---- disks of a VM that is nothing but its loops and its bus; see tests/guest/vm_rig.h ---- */

struct loop *vm_io_loop(struct vm *vm, size_t n)
{
	return vm->io[n % vm->io_count];
}

int vm_pause(struct vm *vm)
{
	vm->state = VM_PAUSED;
	return 0;
}

void vm_resume(struct vm *vm)
{
	vm->state = VM_RUNNING;
}

struct json_t *vm_state_answer(const struct vm *vm)
{
	(void)vm;
	return NULL;
}

static bool disks_are_empty(void *arg)
{
	return vm_disks_is_empty(arg);
}

static int make_disks(void)
{
	/* Two queues on one loop: an end for each, and a twin. */
	struct vm vm = { .control = loop,
			 .io = { loop, loop },
			 .io_count = 2,
			 .bus = guest->bus,
			 .state = VM_RUNNING };
	struct vm_policy_config policy = { .name = "gold", .qos.iops = 1000 };
	struct vm_disk_config disk;
	struct vmbus_device *device;
	struct loop_work work;
	struct diag diag;
	int err = vm_disks_create(&vm, &vm.disks);

	vm_disk_config_init(&disk, false);
	strcpy(disk.policy, "gold");
	disk.kind = BLOCK_NULL;
	disk.slice_bytes = MIB;
	disk.on_error = BLOCK_STOP;
	err = err ? err : vm_disks_add_policy(vm.disks, &policy, &diag);
	err = err ? err : vm_disks_add(vm.disks, &disk, NULL, &diag);
	err = err ? err : vm_disks_remove(vm.disks, "disk0", NULL, NULL, &diag);
	if (!err) {
		assert_true(fake_guest_wait(guest, disks_are_empty, vm.disks));
		err = vm_disks_add(vm.disks, &disk, NULL, &diag);
	}
	vm.state = VM_ENDING;
	while ((device = vm_disks_device(vm.disks, 0)) && device->channel) {
		revoked = false;
		loop_work_init(&work, on_revoked);
		bus_revoke(guest->bus, device, &work);
		assert_true(fake_guest_wait(guest, is_revoked, NULL));
	}
	vm_disks_stop(vm.disks);
	vm_disks_destroy(vm.disks);
	vm_disk_config_fini(&disk);
	return err;
}

#define SCENARIO(name)                                                                             \
	static void name##_survives_each_failure(void **state)                                     \
	{                                                                                          \
		(void)state;                                                                       \
		run(name);                                                                         \
	}
SCENARIO(make_loop)
SCENARIO(make_memory)
SCENARIO(make_state)
SCENARIO(make_bus)
SCENARIO(make_chipset)
SCENARIO(make_storage)
SCENARIO(make_scsi_units)
SCENARIO(make_raw_disk)
SCENARIO(make_disks)
SCENARIO(make_network_disk)
SCENARIO(dial_nobody)
SCENARIO(make_foreign_disk)
SCENARIO(make_disk_in_layers)
SCENARIO(make_passing_twin)
SCENARIO(make_vhdx)
SCENARIO(make_vhd_chain)
SCENARIO(make_network)
SCENARIO(make_network_with_queues)
SCENARIO(make_integration)
SCENARIO(make_rpc)

static void open_a_channel_survives_each_failure(void **state)
{
	struct loop_work work;
	struct echo *echo;

	(void)state;
	assert_int_equal(echo_create("fault", &echo), 0);
	fake_guest_offer(guest, echo_device(echo));
	fake_guest_connect(guest, VMBUS_VERSION_5_3);
	run(open_a_channel);
	loop_work_init(&work, on_revoked);
	bus_revoke(guest->bus, echo_device(echo), &work);
	assert_true(fake_guest_wait(guest, is_revoked, NULL));
	echo_destroy(echo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(make_loop_survives_each_failure),
		cmocka_unit_test(make_memory_survives_each_failure),
		cmocka_unit_test(make_state_survives_each_failure),
		cmocka_unit_test(make_bus_survives_each_failure),
		cmocka_unit_test(make_chipset_survives_each_failure),
		cmocka_unit_test(make_storage_survives_each_failure),
		cmocka_unit_test(make_scsi_units_survives_each_failure),
		cmocka_unit_test(make_raw_disk_survives_each_failure),
		cmocka_unit_test(make_disks_survives_each_failure),
		cmocka_unit_test(make_network_disk_survives_each_failure),
		cmocka_unit_test(dial_nobody_survives_each_failure),
		cmocka_unit_test(make_foreign_disk_survives_each_failure),
		cmocka_unit_test(make_disk_in_layers_survives_each_failure),
		cmocka_unit_test(make_passing_twin_survives_each_failure),
		cmocka_unit_test(make_vhdx_survives_each_failure),
		cmocka_unit_test(make_vhd_chain_survives_each_failure),
		cmocka_unit_test(make_network_survives_each_failure),
		cmocka_unit_test(make_network_with_queues_survives_each_failure),
		cmocka_unit_test(make_integration_survives_each_failure),
		cmocka_unit_test(make_rpc_survives_each_failure),
		cmocka_unit_test(open_a_channel_survives_each_failure),
	};

	guest = fake_guest_create(64 * MIB, 1);
	loop = fake_guest_loop(guest);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	fake_guest_destroy(guest);
	return failed;
}
