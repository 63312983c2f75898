/* SPDX-License-Identifier: MIT */
/* Memory of chips in the guest, doorbells without an exit, and the PIT's port. */
#include "kvm_guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOW_BYTES 0x10000U
#define ROM_BYTES    0x40000U

static uint8_t *pages(size_t bytes)
{
	void *hva = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(hva, MAP_FAILED);
	return hva;
}

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void the_guest_sees_what_is_mapped(void **state)
{
	uint8_t *memory = pages(WINDOW_BYTES), *rom = pages(ROM_BYTES);
	struct kvm_guest guest;
	struct windows windows;
	uint64_t dirty = 0;
	uint32_t word;

	(void)state;
	kvm_guest_create_legacy(&guest, 1);
	windows = partition_windows(guest.partition);
	put32(memory, 0xcafe0001);
	put32(rom, 0x5eab1005);
	put32((uint8_t *)mem_hva(guest.mem, 0xb8000, 4), 0x11111111); /* RAM behind the hole */
	put32((uint8_t *)mem_hva(guest.mem, 0xc0000, 4), 0x22222222);
	assert_int_equal(
		windows.ops->map(windows.ctx, GUEST_GPA_WINDOW, memory, WINDOW_BYTES, false), 0);
	assert_int_equal(windows.ops->map(windows.ctx, GUEST_GPA_ROM, rom, ROM_BYTES, true), 0);
	kvm_guest_run(&guest, guest_windows);

	assert_int_equal(guest.shared->out[0], 0xcafe0001);
	assert_int_equal(guest.shared->out[1], 0x5eab1005);
	assert_int_equal(guest.shared->out[2], 0);
	assert_int_equal(guest.shared->out[3], 0xffffffff);
	assert_int_equal(guest.shared->out[4], 0x22222222);
	assert_int_equal(guest.last_write_gpa, 0xb8000);
	assert_int_equal(atomic_load(&guest.mmios), 3); /* to the ROM; to the hole and from it */
	memcpy(&word, memory + 0x2000, sizeof(word));
	assert_int_equal(word, 0x12345678);

	/* Page 2 was written, since the last look. (KVM counts a first read, as of page 0, too.) */
	assert_int_equal(windows.ops->dirty(windows.ctx, GUEST_GPA_WINDOW, WINDOW_BYTES, &dirty),
			 0);
	assert_int_equal(dirty & ~1ULL, 1U << 2);
	assert_int_equal(windows.ops->dirty(windows.ctx, GUEST_GPA_WINDOW, WINDOW_BYTES, &dirty),
			 0);
	assert_int_equal(dirty, 0);

	/* Gone while the guest runs. */
	windows.ops->unmap(windows.ctx, GUEST_GPA_WINDOW, WINDOW_BYTES);
	assert_int_equal(windows.ops->dirty(windows.ctx, GUEST_GPA_WINDOW, WINDOW_BYTES, &dirty),
			 -ENOENT);
	guest.shared->go = 1;
	kvm_guest_wait(&guest);
	assert_int_equal(guest.shared->out[5], 0xffffffff);
	kvm_guest_destroy(&guest);
	munmap(memory, WINDOW_BYTES);
	munmap(rom, ROM_BYTES);
}

static void windows_that_make_no_sense_are_refused(void **state)
{
	uint8_t *memory = pages(WINDOW_BYTES);
	struct kvm_guest guest;
	struct windows windows;
	unsigned int n = 0;

	(void)state;
	kvm_guest_create_legacy(&guest, 1);
	windows = partition_windows(guest.partition);
	assert_int_equal(windows.ops->map(windows.ctx, 0xd0000800, memory, 0x1000, false), -EINVAL);
	assert_int_equal(windows.ops->map(windows.ctx, 0xd0000000, memory, 0x800, false), -EINVAL);
	assert_int_equal(windows.ops->map(windows.ctx, 0xd0000000, memory, 0, false), -EINVAL);
	assert_int_equal(windows.ops->map(windows.ctx, ~0xfffULL, memory, 0x2000, false), -EINVAL);
	assert_int_equal(windows.ops->map(windows.ctx, 0x9f000, memory, 0x1000, false), -EEXIST);
	assert_int_equal(windows.ops->map(windows.ctx, 0xa0000, memory, 0x10000, false), 0);
	assert_int_equal(windows.ops->map(windows.ctx, 0xaf000, memory, 0x1000, false), -EEXIST);
	windows.ops->unmap(windows.ctx, 0xa0000, 0x10000);
	while (n <= PARTITION_WINDOWS_MAX &&
	       windows.ops->map(windows.ctx, 0xd0000000 + n * 0x1000ULL, memory, 0x1000, false) ==
		       0) {
		n++;
	}
	assert_int_equal(n, PARTITION_WINDOWS_MAX);
	assert_int_equal(windows.ops->map(windows.ctx, 0xe0000000, memory, 0x1000, false), -ENOSPC);
	windows.ops->unmap(windows.ctx, 0xd0003000, 0x1000);
	assert_int_equal(windows.ops->map(windows.ctx, 0xe0000000, memory, 0x1000, false), 0);
	kvm_guest_destroy(&guest);
	munmap(memory, WINDOW_BYTES);
}

static uint64_t rings(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void doorbells_ring_without_an_exit(void **state)
{
	int bell = eventfd(0, EFD_NONBLOCK), port_bell = eventfd(0, EFD_NONBLOCK);
	struct kvm_guest guest;
	struct doorbells doorbells;

	(void)state;
	kvm_guest_create(&guest, 1);
	doorbells = partition_doorbells(guest.partition);
	assert_int_equal(doorbell_add(&doorbells, false, GUEST_GPA_BELL, 3, bell), -EINVAL);
	assert_int_equal(doorbell_add(&doorbells, false, GUEST_GPA_BELL, 4, bell), 0);
	assert_int_equal(doorbell_add(&doorbells, false, GUEST_GPA_BELL, 4, bell), -EEXIST);
	assert_int_equal(doorbell_add(&doorbells, true, GUEST_PORT_BELL, 1, port_bell), 0);
	kvm_guest_run(&guest, guest_bells);
	assert_int_equal(rings(bell), 2);
	assert_int_equal(rings(port_bell), 1);
	assert_int_equal(atomic_load(&guest.mmios), 1); /* of another width */
	assert_int_equal(atomic_load(&guest.pios), 1);  /* "done" */

	doorbell_remove(&doorbells, false, GUEST_GPA_BELL, 4, bell);
	guest.shared->go = 1;
	kvm_guest_wait(&guest);
	assert_int_equal(rings(bell), 0);
	assert_int_equal(guest.last_mmio_gpa, GUEST_GPA_BELL);
	assert_int_equal(guest.last_mmio_value, 2);
	kvm_guest_destroy(&guest);
	close(bell);
	close(port_bell);
}

static void channel_2_of_the_pit_times_through_port_61(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create_legacy(&guest, 1);
	kvm_guest_run(&guest, guest_speaker);
	assert_int_equal(guest.shared->out[0] & 0x21, 0x01);
	assert_true(guest.shared->out[1] < 10000000);
	assert_int_equal(guest.shared->out[2] & 0x21, 0x21);
	assert_int_equal(atomic_load(&guest.pios), 1); /* "done": KVM answers the others itself */
	kvm_guest_destroy(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_sees_what_is_mapped),
		cmocka_unit_test(windows_that_make_no_sense_are_refused),
		cmocka_unit_test(doorbells_ring_without_an_exit),
		cmocka_unit_test(channel_2_of_the_pit_times_through_port_61),
	};

	kvm_guest_need_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
