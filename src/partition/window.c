/* SPDX-License-Identifier: MIT */
/*
 * Windows and doorbells. KVM itself refuses what overlaps, and knows the doorbells; we know which of
 * its memory slots are ours to give.
 */
#include <errno.h>

#include "base/num.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

/* Under window_lock: the window at gpa (bytes 0: a free one), or NULL. */
static struct partition_window *window_find(struct partition *partition, gpa_t gpa, uint64_t bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(partition->windows); i++) {
		struct partition_window *window = &partition->windows[i];

		if (window->bytes == bytes && (bytes == 0 || window->gpa == gpa)) {
			return window;
		}
	}
	return NULL;
}

static uint32_t window_slot(const struct partition *partition,
			    const struct partition_window *window)
{
	return PARTITION_WINDOW_SLOT + (uint32_t)(window - partition->windows);
}

static int window_take(struct partition *partition, uint64_t gpa, void *hva, uint64_t bytes,
		       bool is_readonly)
{
	struct partition_window *window = window_find(partition, 0, 0);
	int r;

	if (!window) {
		return -ENOSPC;
	}
	r = kvm_set_memory(partition->vm_fd, window_slot(partition, window), gpa, bytes, hva,
			   is_readonly ? KVM_MEM_READONLY : KVM_MEM_LOG_DIRTY_PAGES);
	if (r == 0) {
		*window = (struct partition_window){ gpa, bytes, is_readonly };
	}
	return r;
}

static int window_map(void *ctx, uint64_t gpa, void *hva, uint64_t bytes, bool is_readonly)
{
	struct partition *partition = ctx;
	uint64_t all = gpa | bytes | (uintptr_t)hva, end;
	int r;

	if (all & (MEM_PAGE_BYTES - 1) || bytes == 0 || !num_add_u64(gpa, bytes, &end)) {
		return -EINVAL;
	}
	pthread_mutex_lock(&partition->window_lock);
	r = window_take(partition, gpa, hva, bytes, is_readonly);
	pthread_mutex_unlock(&partition->window_lock);
	return r;
}

static void window_unmap(void *ctx, uint64_t gpa, uint64_t bytes)
{
	struct partition *partition = ctx;
	struct partition_window *window;

	check(bytes > 0);
	pthread_mutex_lock(&partition->window_lock);
	window = window_find(partition, gpa, bytes);
	if (window) {
		int r = kvm_set_memory(partition->vm_fd, window_slot(partition, window), gpa, 0,
				       NULL, 0);

		/* KVM still looks at memory that is about to go: better no machine than that. */
		check(r == 0);
		*window = (struct partition_window){ 0 };
	}
	pthread_mutex_unlock(&partition->window_lock);
}

static int window_dirty(void *ctx, uint64_t gpa, uint64_t bytes, uint64_t *ret)
{
	struct partition *partition = ctx;
	struct partition_window *window;
	int r = -ENOENT;

	pthread_mutex_lock(&partition->window_lock);
	window = bytes ? window_find(partition, gpa, bytes) : NULL;
	if (window && !window->is_readonly) {
		r = kvm_get_dirty_log(partition->vm_fd, window_slot(partition, window), ret);
	}
	pthread_mutex_unlock(&partition->window_lock);
	return r;
}

static int bell_add(void *ctx, bool is_port, uint64_t base, unsigned int bytes, int fd)
{
	struct partition *partition = ctx;

	if (bytes != 1 && bytes != 2 && bytes != 4) {
		return -EINVAL;
	}
	return kvm_ioeventfd(partition->vm_fd, is_port, base, bytes, fd, false);
}

static void bell_remove(void *ctx, bool is_port, uint64_t base, unsigned int bytes, int fd)
{
	struct partition *partition = ctx;
	int r = kvm_ioeventfd(partition->vm_fd, is_port, base, bytes, fd, true);

	check(r == 0);
}

struct windows partition_windows(struct partition *partition)
{
	static const struct window_ops ops = { .map = window_map,
					       .unmap = window_unmap,
					       .dirty = window_dirty };

	return (struct windows){ .ops = &ops, .ctx = partition };
}

struct doorbells partition_doorbells(struct partition *partition)
{
	static const struct doorbell_ops ops = { .add = bell_add, .remove = bell_remove };

	return (struct doorbells){ .ops = &ops, .ctx = partition };
}

void window_inspect(struct partition *partition, struct inspect *at)
{
	pthread_mutex_lock(&partition->window_lock);
	for (size_t i = 0; i < ARRAY_SIZE(partition->windows); i++) {
		const struct partition_window *window = &partition->windows[i];

		if (window->bytes) {
			struct inspect item = inspect_item(at, "windows");

			inspect_format(&item, "gpa", "0x%llx", (unsigned long long)window->gpa);
			inspect_u64(&item, "bytes", window->bytes);
			inspect_bool(&item, "readonly", window->is_readonly);
		}
	}
	pthread_mutex_unlock(&partition->window_lock);
}
