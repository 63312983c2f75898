/* SPDX-License-Identifier: MIT */
/* One disk of a VM: its block's ends, from open to closed, and its place on a bus. The picture is in disks.h. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "vm/disk_card.h"
#include "vm/disks_internal.h"

/* ---- opening ------------------------------------------------------------------------------------ */

/* An end's loop: on-error=stop holds a request. */
static void on_stop(void *ctx, int err)
{
	struct vm_disk *disk = ctx;

	atomic_store(&disk->error, err);
	loop_post(disk->disks->vm->control, &disk->error_asked);
}

static int open_block(struct vm_disk *disk, const char *path, struct block **ret,
		      struct diag *reterr)
{
	const struct vm_disk_config *config = &disk->config;
	struct qos_policy *qos[2];
	struct block_config block = {
		.kind = config->kind,
		.path = path,
		.qemu_format = config->format[0] ? config->format : NULL,
		.read_only = config->read_only,
		.buffered = config->buffered,
		.logical_block_bytes = config->sector_bytes,
		.slice_offset_bytes = config->slice_offset_bytes,
		.slice_bytes = config->slice_bytes,
		.file_fault = config->file_fault,
		.fault = config->fault,
		.on_error = config->on_error,
		.on_stop = on_stop,
		.on_stop_ctx = disk,
		.qos = qos,
	};

	qos[block.qos_count++] = disk->qos;
	if (disk->policy) {
		qos[block.qos_count++] = disk->policy->qos;
	}
	if (config->kind == BLOCK_NULL || strncmp(path, "null:", 5) == 0) {
		block.kind = BLOCK_NULL;
		block.null_bytes = config->slice_bytes;
		block.slice_bytes = 0;
	}
	if (block.kind == BLOCK_NULL && path && strncmp(path, "null:", 5) == 0) {
		int err = vm_config_parse_size("path=null:", path + 5, &block.null_bytes, reterr);

		if (err) {
			return err;
		}
	}
	return block_open(&block, ret, reterr);
}

int vm_medium_open(struct vm_disk *disk, const char *path, struct vm_medium *ret,
		   struct diag *reterr)
{
	unsigned int queues = disk->controller->loop_count;
	struct vm_medium medium = { .count = 0 };
	int err = open_block(disk, path, &medium.ends[0].block, reterr);

	if (err) {
		return err;
	}
	for (medium.count = 1; !err && medium.count < queues; medium.count += !err) {
		err = block_twin(medium.ends[0].block, &medium.ends[medium.count].block);
	}
	if (err) {
		vm_medium_close(&medium);
		return diag_set(reterr, err, "disk %s cannot have an end for each I/O thread: %s",
				path, strerror(-err));
	}
	for (unsigned int i = 0; i < medium.count; i++) {
		medium.ends[i].disk = disk;
		medium.ends[i].queue = i;
	}
	*ret = medium;
	return 0;
}

void vm_medium_close(struct vm_medium *medium)
{
	while (medium->count > 0) {
		block_close(medium->ends[--medium->count].block); /* twins first */
	}
}

/* ---- on the queues' loops ------------------------------------------------------------------------ */

struct loop *vm_disk_loop(const struct vm_disk *disk, unsigned int queue)
{
	return disk->controller->loops[queue];
}

void vm_disk_each_end(struct vm_disk *disk, void (*fn)(void *end))
{
	for (unsigned int i = 0; i < disk->medium.count; i++) {
		loop_call(vm_disk_loop(disk, i), fn, &disk->medium.ends[i]);
	}
}

static void start_on_loop(void *arg)
{
	struct vm_disk_end *end = arg;

	/* A twin is started after its original only. */
	end->result = end->queue > 0 ? end->disk->medium.ends[0].result : 0;
	if (!end->result) {
		end->result = block_start(end->block, vm_disk_loop(end->disk, end->queue));
	}
	if (!end->result) {
		scsi_disk_attach(end->disk->scsi, end->queue, end->block);
	}
}

int vm_disk_start_ends(struct vm_disk *disk, struct diag *reterr)
{
	int err = 0;

	vm_disk_each_end(disk, start_on_loop);
	for (unsigned int i = 0; i < disk->medium.count; i++) {
		err = err ? err : disk->medium.ends[i].result;
	}
	return err ? diag_set(reterr, err, "disk %s cannot be started: %s", disk->config.path,
			      strerror(-err))
		   : 0;
}

static void give_up_on_loop(void *arg)
{
	struct vm_disk_end *end = arg;

	if (block_loop(end->block)) {
		block_give_up(end->block);
	}
}

void vm_disk_give_up(struct vm_disk *disk)
{
	vm_disk_each_end(disk, give_up_on_loop);
}

static void detach_on_loop(void *arg)
{
	struct vm_disk_end *end = arg;

	scsi_disk_detach(end->disk->scsi, end->queue);
}

static void on_end_stopped(struct loop_work *work)
{
	struct vm_disk *disk = container_of(work, struct vm_disk_end, stopped)->disk;

	if (atomic_fetch_sub(&disk->ends_left, 1) == 1) {
		loop_post(disk->disks->vm->control, &disk->ends_stopped);
	}
}

static void stop_on_loop(void *arg)
{
	struct vm_disk_end *end = arg;

	loop_work_init(&end->stopped, on_end_stopped);
	if (!block_loop(end->block)) { /* it never started */
		on_end_stopped(&end->stopped);
		return;
	}
	block_give_up(end->block);
	block_stop(end->block, &end->stopped);
}

static void stop_from(struct vm_disk *disk, unsigned int first, unsigned int count)
{
	atomic_store(&disk->ends_left, count);
	for (unsigned int i = first; i < first + count; i++) {
		loop_call(vm_disk_loop(disk, i), stop_on_loop, &disk->medium.ends[i]);
	}
}

/* Twins first: some pass their requests through the original. */
void vm_disk_stop_ends(struct vm_disk *disk)
{
	disk->is_stopping = true;
	vm_disk_each_end(disk, detach_on_loop);
	if (disk->medium.count > 1) {
		stop_from(disk, 1, disk->medium.count - 1);
	} else if (disk->medium.count == 1) {
		stop_from(disk, 0, 1);
	} else {
		loop_post(disk->disks->vm->control, &disk->ends_stopped);
	}
}

bool vm_disk_ends_are_stopped(struct vm_disk *disk)
{
	if (disk->medium.count > 0 && block_loop(disk->medium.ends[0].block)) {
		stop_from(disk, 0, 1);
		return false;
	}
	disk->is_stopping = false;
	return true;
}

/* ---- the bus --------------------------------------------------------------------------------------- */

int vm_disk_join(struct vm_disk *disk, struct diag *reterr)
{
	int err = 0;

	if (disk->config.bus == VM_DISK_ADAPTEC) {
		vm_disk_card_add(disk);
	} else {
		err = storvsp_add(disk->controller->storvsp, disk->address, disk->scsi, reterr);
	}
	disk->is_on_bus = !err;
	return err;
}

void vm_disk_leave(struct vm_disk *disk)
{
	if (disk->is_on_bus && disk->config.bus == VM_DISK_ADAPTEC) {
		vm_disk_card_remove(disk);
	} else if (disk->is_on_bus) {
		storvsp_remove(disk->controller->storvsp, disk->address);
	}
	disk->is_on_bus = false;
}

void vm_disk_announce(struct vm_disk *disk)
{
	if (disk->controller->storvsp) {
		storvsp_announce(disk->controller->storvsp);
	}
}
