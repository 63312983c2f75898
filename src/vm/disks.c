/* SPDX-License-Identifier: MIT */
/* The disks of a VM as a table: controllers, policies, disks that come and go, and what inspect shows. */
#include "vm/disks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fault.h"
#include "base/num.h"
#include "chipset/aic7870/aic7870.h"
#include "chipset/ide/ide.h"
#include "vm/disk_card.h"
#include "vm/disk_faces.h"

int vm_disks_create(struct vm *vm, struct vm_disks **ret)
{
	struct vm_disks *disks = fault_alloc(1, sizeof(*disks));

	if (!disks) {
		return -ENOMEM;
	}
	disks->vm = vm;
	list_init(&disks->list);
	list_init(&disks->policies);
	*ret = disks;
	return 0;
}

int vm_disks_find(struct vm_disks *disks, const char *id, struct vm_disk **ret, struct diag *reterr)
{
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);

		if (strcmp(disk->config.id, id) == 0) {
			*ret = disk;
			return 0;
		}
	}
	return diag_set(reterr, -ENOENT, "there is no disk \"%s\": `disk list` shows what there is",
			id);
}

/* ---- policies ----------------------------------------------------------------------------------- */

static int find_policy(struct vm_disks *disks, const char *name, struct vm_policy **ret,
		       struct diag *reterr)
{
	list_for_each (it, &disks->policies) {
		struct vm_policy *policy = list_entry(it, struct vm_policy, link);

		if (strcmp(policy->config.name, name) == 0) {
			*ret = policy;
			return 0;
		}
	}
	return diag_set(reterr, -ENOENT,
			"there is no policy \"%s\": make it with --policy name=%s,..., or `policy "
			"add` while the VM runs",
			name, name);
}

int vm_disks_add_policy(struct vm_disks *disks, const struct vm_policy_config *config,
			struct diag *reterr)
{
	struct vm_policy *policy = NULL;
	struct diag ignored;

	if (find_policy(disks, config->name, &policy, &ignored) == 0) {
		return diag_set(reterr, -EEXIST,
				"policy \"%s\" is there twice: name one differently", config->name);
	}
	if (disks->policy_count == VM_POLICIES_MAX) {
		return diag_set(reterr, -E2BIG, "policy \"%s\" is one too many: there may be %d",
				config->name, VM_POLICIES_MAX);
	}
	policy = fault_alloc(1, sizeof(*policy));
	if (!policy || qos_policy_create(&config->qos, &policy->qos)) {
		free(policy);
		return diag_set(reterr, -ENOMEM, "no memory for policy \"%s\"", config->name);
	}
	policy->config = *config;
	list_append(&disks->policies, &policy->link);
	disks->policy_count++;
	return 0;
}

int vm_disks_set_policy(struct vm_disks *disks, const char *name, const struct qos_limits *limits,
			struct diag *reterr)
{
	struct vm_policy *policy = NULL;
	int err = find_policy(disks, name, &policy, reterr);

	if (!err) {
		qos_policy_set(policy->qos, limits);
	}
	return err;
}

int vm_disks_policy(struct vm_disks *disks, const char *name, struct qos_limits *ret,
		    struct diag *reterr)
{
	struct vm_policy *policy = NULL;
	struct qos_stats stats;
	int err = find_policy(disks, name, &policy, reterr);

	if (!err) {
		qos_policy_read(policy->qos, ret, &stats);
	}
	return err;
}

int vm_disks_set_qos(struct vm_disks *disks, const char *id, const struct qos_limits *limits,
		     struct diag *reterr)
{
	struct vm_disk *disk;
	int err = vm_disks_find(disks, id, &disk, reterr);

	if (!err) {
		qos_policy_set(disk->qos, limits);
	}
	return err;
}

int vm_disks_qos(struct vm_disks *disks, const char *id, struct qos_limits *ret,
		 struct diag *reterr)
{
	struct vm_disk *disk;
	struct qos_stats stats;
	int err = vm_disks_find(disks, id, &disk, reterr);

	if (!err) {
		qos_policy_read(disk->qos, ret, &stats);
	}
	return err;
}

int vm_disks_bytes(struct vm_disks *disks, const char *id, uint64_t *ret, struct diag *reterr)
{
	struct vm_disk *disk;
	int err = vm_disks_find(disks, id, &disk, reterr);

	if (!err) {
		*ret = disk->medium.count > 0 ? block_info(disk->medium.ends[0].block)->bytes : 0;
	}
	return err;
}

/* ---- controllers -------------------------------------------------------------------------------- */

/* Queue 0 of each begins on another loop, so that guests with one processor spread them, too. */
static int controller_get(struct vm_disks *disks, unsigned int index, struct vm_controller **ret,
			  struct diag *reterr)
{
	struct vm_controller *controller = &disks->controllers[index];
	struct vm *vm = disks->vm;
	char name[16];
	struct storvsp_config config = { .name = name,
					 .control = vm->control,
					 .loops = controller->loops };

	*ret = controller;
	if (controller->storvsp) {
		return 0;
	}
	config.loop_count = (unsigned int)num_min(vm->io_count, SCSI_QUEUES_MAX);
	for (unsigned int i = 0; i < config.loop_count; i++) {
		controller->loops[i] = vm_io_loop(vm, index + i);
	}
	snprintf(name, sizeof(name), "scsi%u", index);
	controller->loop_count = config.loop_count;
	int err = storvsp_create(&config, &controller->storvsp);

	if (!err) {
		err = bus_offer(vm->bus, storvsp_device(controller->storvsp));
	}
	controller->is_offered = !err;
	if (err) {
		storvsp_destroy(controller->storvsp);
		controller->storvsp = NULL;
		return diag_set(reterr, err, "cannot make SCSI controller %u: %s", index,
				strerror(-err));
	}
	return 0;
}

void vm_disks_resumed(struct vm_disks *disks)
{
	for (unsigned int i = 0; i < VM_CONTROLLERS_MAX; i++) {
		if (disks->controllers[i].storvsp) {
			storvsp_resume(disks->controllers[i].storvsp);
		}
	}
}

struct vmbus_device *vm_disks_device(struct vm_disks *disks, size_t n)
{
	for (unsigned int i = 0; disks && i < VM_CONTROLLERS_MAX; i++) {
		if (disks->controllers[i].is_offered && n-- == 0) {
			return storvsp_device(disks->controllers[i].storvsp);
		}
	}
	for (unsigned int i = 0; disks && i < VM_IDE_POSITIONS; i++) {
		if (disks->faces[i].is_offered && n-- == 0) {
			return storvsp_device(disks->faces[i].storvsp);
		}
	}
	return NULL;
}

/* ---- a disk comes ------------------------------------------------------------------------------- */

static void on_eject(void *ctx)
{
	struct vm_disk *disk = ctx;

	loop_post(disk->disks->vm->control, &disk->eject_asked);
}

static int name_disk(struct vm_disk *disk, struct diag *reterr)
{
	struct vm_disks *disks = disk->disks;
	struct vm_disk *other;
	struct diag ignored;

	if (disk->config.id[0]) {
		if (vm_disks_find(disks, disk->config.id, &other, &ignored) == 0) {
			return diag_set(reterr, -EEXIST,
					"disk id \"%s\" is there twice: give one another",
					disk->config.id);
		}
		return 0;
	}
	/* The first that is free: few disks, few tries. */
	unsigned int number = 0;

	do {
		snprintf(disk->config.id, sizeof(disk->config.id), "%s%u",
			 disk->config.is_dvd ? "dvd" : "disk", number++);
	} while (vm_disks_find(disks, disk->config.id, &other, &ignored) == 0);
	return 0;
}

static struct vm_disk *disk_at(struct vm_disks *disks, const struct vm_controller *controller,
			       uint8_t lun)
{
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);

		if (disk->is_on_bus && disk->controller == controller && disk->address.lun == lun) {
			return disk;
		}
	}
	return NULL;
}

static int find_address(struct vm_disk *disk, struct diag *reterr)
{
	if (disk->config.lun >= 0) {
		disk->address = (struct storvsp_address){ .lun = (uint8_t)disk->config.lun };
		const struct vm_disk *other =
			disk_at(disk->disks, disk->controller, disk->address.lun);

		return other ? diag_set(
				       reterr, -EEXIST,
				       "lun %u of SCSI controller %u is disk %s: give another lun, "
				       "or none",
				       disk->address.lun, disk->config.controller, other->config.id)
			     : 0;
	}
	if (!storvsp_free_address(disk->controller->storvsp, &disk->address)) {
		return diag_set(reterr, -E2BIG,
				"SCSI controller %u has no room for a further disk: name another "
				"with controller=N (0 to %d)",
				disk->config.controller, VM_CONTROLLERS_MAX - 1);
	}
	return 0;
}

static uint32_t transfer_bytes_max(const struct vm_disk_config *config)
{
	if (config->bus == VM_DISK_ADAPTEC) {
		return AIC7870_TRANSFER_BYTES_MAX;
	}
	return config->bus == VM_DISK_IDE && config->is_dvd ? IDE_PACKET_BYTES_MAX
							    : STORVSP_TRANSFER_BYTES_MAX;
}

static int create_unit(struct vm_disk *disk, struct diag *reterr)
{
	bool has_medium = disk->medium.count > 0;
	char identity[64];
	struct scsi_disk_config config = {
		.type = disk->config.is_dvd ? SCSI_DVD : SCSI_DISK,
		.info = has_medium ? block_info(disk->medium.ends[0].block) : NULL,
		.transfer_bytes_max = transfer_bytes_max(&disk->config),
		.serial = disk->config.serial,
		.wwn = disk->config.wwn,
		.write_cache = disk->config.write_cache,
		.on_eject = on_eject,
		.on_eject_ctx = disk,
	};

	if (disk->config.is_dvd) { /* the drive's own, whatever is in it */
		snprintf(identity, sizeof(identity), "%s", disk->config.id);
		config.identity = identity;
	}
	return scsi_disk_create(&config, &disk->scsi, reterr);
}

static int find_controller(struct vm_disk *disk, struct diag *reterr)
{
	int err;

	if (disk->config.bus == VM_DISK_IDE) {
		return vm_face_controller(disk, reterr);
	} else if (disk->config.bus == VM_DISK_ADAPTEC) {
		return vm_disk_card_controller(disk, reterr);
	}
	err = controller_get(disk->disks, disk->config.controller, &disk->controller, reterr);
	return err ? err : find_address(disk, reterr);
}

static int build_disk(struct vm_disk *disk, struct diag *reterr)
{
	int err = name_disk(disk, reterr);

	if (!err && disk->config.policy[0]) {
		err = find_policy(disk->disks, disk->config.policy, &disk->policy, reterr);
	}
	if (!err && qos_policy_create(&disk->config.qos, &disk->qos)) {
		err = diag_set(reterr, -ENOMEM, "no memory for a disk's limits");
	}
	err = err ? err : find_controller(disk, reterr);
	if (!err && (disk->config.path || disk->config.kind == BLOCK_NULL)) {
		err = vm_medium_open(disk, disk->config.path ? disk->config.path : "null",
				     &disk->medium, reterr);
	}
	err = err ? err : create_unit(disk, reterr);
	err = err ? err : vm_disk_start_ends(disk, reterr);
	return err ? err : vm_disk_join(disk, reterr);
}

void vm_disk_free(struct vm_disk *disk)
{
	vm_disk_leave(disk);
	vm_disk_jobs_fini(disk);
	vm_medium_close(&disk->medium);
	scsi_disk_destroy(disk->scsi);
	qos_policy_destroy(disk->qos);
	vm_disk_config_fini(&disk->config);
	list_remove(&disk->link);
	free(disk);
}

/* Turns the I/O loops that have no thread yet; if nothing was done there, waits for those that have. */
static void wait_for_io(struct vm *vm, bool any)
{
	static const struct timespec nap = { .tv_nsec = 200000 };

	for (uint32_t i = 0; i < vm->io_count; i++) {
		if (loop_is_here(vm->io[i])) {
			any |= loop_turn(vm->io[i]);
		}
	}
	if (!any) {
		nanosleep(&nap, NULL);
	}
}

static void wait_a_little(struct vm *vm)
{
	wait_for_io(vm, loop_turn(vm->control));
}

/* The control loop may be in the middle of a reset: it is not turned. */
void vm_disks_wait_quiet(struct vm_disks *disks, _Atomic(bool) *is_quiet)
{
	while (!atomic_load(is_quiet)) {
		vm_disks_give_up(disks); /* what is held for an error would never come back */
		wait_for_io(disks->vm, false);
	}
}

/* A block that is stopped is not enough: its loop may still be about to say so. */
static bool is_stopped(const struct vm_disk *disk)
{
	return !disk->is_stopping &&
	       (disk->medium.count == 0 || !block_loop(disk->medium.ends[0].block));
}

/* Stops a disk in whatever it was doing, and waits for it. */
static void stop_disk(struct vm_disk *disk)
{
	struct vm *vm = disk->disks->vm;
	bool was_idle = disk->job == VM_DISK_IDLE;

	while (disk->job == VM_DISK_RESIZING) { /* on_resized() ends it */
		vm_disk_give_up(disk);
		wait_a_little(vm);
		was_idle = disk->job == VM_DISK_IDLE;
	}
	vm_disk_end_job(disk);
	if (was_idle && !is_stopped(disk)) {
		vm_disk_stop_ends(disk);
	}
	while (!is_stopped(disk)) {
		vm_disk_give_up(disk);
		wait_a_little(vm);
	}
}

int vm_disks_add(struct vm_disks *disks, const struct vm_disk_config *config, const char **ret_id,
		 struct diag *reterr)
{
	struct vm_disk *disk = fault_alloc(1, sizeof(*disk));

	if (!disk || vm_disk_config_copy(config, &disk->config)) {
		free(disk);
		return diag_set(reterr, -ENOMEM, "no memory for a disk");
	}
	disk->disks = disks;
	list_init(&disk->link);
	vm_disk_jobs_init(disk);
	int err = build_disk(disk, reterr);

	list_append(&disks->list, &disk->link);
	if (err) {
		vm_disk_discard(disk);
		return err;
	}
	if (ret_id) {
		*ret_id = disk->config.id;
	}
	return 0;
}

/* ---- the end ------------------------------------------------------------------------------------ */

bool vm_disks_is_empty(const struct vm_disks *disks)
{
	return list_is_empty(&disks->list);
}

void vm_disks_give_up(struct vm_disks *disks)
{
	if (!disks) {
		return;
	}
	list_for_each (it, &disks->list) {
		vm_disk_give_up(list_entry(it, struct vm_disk, link));
	}
}

void vm_disks_stop(struct vm_disks *disks)
{
	if (!disks) {
		return;
	}
	vm_faces_settle(disks);
	vm_disk_card_settle(disks);
	list_for_each (it, &disks->list) {
		stop_disk(list_entry(it, struct vm_disk, link));
	}
}

void vm_disks_destroy(struct vm_disks *disks)
{
	if (!disks) {
		return;
	}
	vm_faces_destroy(disks);
	vm_disk_card_destroy(disks);
	list_for_each_safe (it, &disks->list) {
		vm_disk_free(list_entry(it, struct vm_disk, link));
	}
	list_for_each_safe (it, &disks->policies) {
		struct vm_policy *policy = list_entry(it, struct vm_policy, link);

		qos_policy_destroy(policy->qos);
		free(policy);
	}
	for (unsigned int i = 0; i < VM_CONTROLLERS_MAX; i++) {
		storvsp_destroy(disks->controllers[i].storvsp);
	}
	for (unsigned int i = 0; i < VM_IDE_POSITIONS; i++) {
		storvsp_destroy(disks->faces[i].storvsp);
	}
	free(disks);
}

/* ---- for people --------------------------------------------------------------------------------- */

static void inspect_qos(struct inspect *at, struct qos_policy *qos)
{
	struct qos_limits limits;
	struct qos_stats stats;

	qos_policy_read(qos, &limits, &stats);
	inspect_u64(at, "iops_limit", limits.iops);
	inspect_u64(at, "bandwidth_limit", limits.bytes_per_s);
	inspect_u64(at, "normal_operations", stats.operations);
	inspect_u64(at, "delayed", stats.delayed);
	inspect_u64(at, "waiting", stats.waiting);
}

static void inspect_medium(struct inspect *at, const struct vm_medium *medium)
{
	const struct block *block = medium->ends[0].block;
	const struct block_info *info = block_info(block);
	struct block_stats stats;

	block_sum_stats(block, &stats);
	inspect_string(at, "back_end", block_name(block));
	for (block = block_lower(block); block; block = block_lower(block)) {
		inspect_string(at, "below", block_name(block));
	}
	block = medium->ends[0].block;
	inspect_u64(at, "bytes", info->bytes);
	inspect_u64(at, "sector_bytes", info->logical_block_bytes);
	inspect_bool(at, "readonly", info->read_only);
	inspect_bool(at, "direct", block_is_direct(block));
	inspect_u64(at, "reads", counter_read(&stats.reads));
	inspect_u64(at, "read_bytes", counter_read(&stats.read_bytes));
	inspect_u64(at, "writes", counter_read(&stats.writes));
	inspect_u64(at, "written_bytes", counter_read(&stats.written_bytes));
	inspect_u64(at, "flushes", counter_read(&stats.flushes));
	inspect_u64(at, "discards", counter_read(&stats.discards));
	inspect_u64(at, "zeroes", counter_read(&stats.zeroes));
	inspect_u64(at, "errors", counter_read(&stats.errors));
	inspect_u64(at, "bounced", counter_read(&stats.bounced));
	inspect_u64(at, "in_flight", counter_read(&stats.in_flight));
	inspect_u64(at, "in_flight_max", counter_read(&stats.in_flight_max));
	inspect_u64(at, "held", block_held(block)); /* at all ends */
}

void vm_disks_inspect_policies(struct vm_disks *disks, struct inspect *at)
{
	list_for_each (it, &disks->policies) {
		struct vm_policy *policy = list_entry(it, struct vm_policy, link);
		struct inspect item = inspect_item(at, "policies");

		inspect_string(&item, "name", policy->config.name);
		inspect_qos(&item, policy->qos);
	}
}

void vm_disks_inspect(struct vm_disks *disks, struct inspect *at)
{
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);
		struct inspect item = inspect_item(at, "list");

		inspect_string(&item, "id", disk->config.id);
		inspect_string(&item, "kind", disk->config.is_dvd ? "dvd" : "disk");
		inspect_string(&item, "path", disk->config.path ? disk->config.path : "");
		inspect_u64(&item, "controller", disk->config.controller);
		inspect_u64(&item, "lun", disk->address.lun);
		vm_face_inspect(disk, &item);
		inspect_u64(&item, "queues", disk->medium.count);
		inspect_bool(&item, "write_cache", scsi_disk_has_write_cache(disk->scsi));
		if (disk->config.is_dvd) {
			inspect_bool(&item, "locked", scsi_disk_is_locked(disk->scsi));
			inspect_bool(&item, "tray_open", scsi_disk_is_tray_open(disk->scsi));
		}
		if (disk->medium.count > 0 && disk->job != VM_DISK_REMOVING) {
			inspect_medium(&item, &disk->medium);
		}
		inspect_qos(&item, disk->qos);
		if (disk->policy) {
			inspect_string(&item, "policy", disk->policy->config.name);
		}
	}
	vm_faces_inspect(disks, at);
	vm_disk_card_inspect(disks, at);
	vm_disks_inspect_policies(disks, at);
}
