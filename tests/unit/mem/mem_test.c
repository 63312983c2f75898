/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "mem/gpa_range.h"
#include "mem/mem.h"

static struct mem *make_mem(uint64_t bytes)
{
	struct mem_config config = { .bytes = bytes };
	struct mem *mem;
	struct diag diag;

	assert_int_equal(mem_create(&config, &mem, &diag), 0);
	return mem;
}

static void bad_sizes_are_refused_with_a_sentence(void **state)
{
	static const uint64_t bad[] = { 0,          1 * MIB,      65 * MIB, 64 * MIB + 4096,
					UINT64_MAX, MEM_BYTES_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct mem_config config = { .bytes = bad[i] };
		struct diag diag = { "" };
		struct mem *mem = NULL;

		assert_true(mem_create(&config, &mem, &diag) < 0);
		assert_true(diag.text[0]);
		assert_null(mem);
	}
}

static void the_hole_below_4g_is_no_ram(void **state)
{
	struct mem *mem = make_mem(4 * GIB);
	const struct mem_range *ranges;
	char byte = 0;

	assert_int_equal(mem_ranges(mem, &ranges), 2);
	assert_int_equal(ranges[1].gpa, MEM_HIGH_BASE);
	assert_int_equal(ranges[0].bytes + ranges[1].bytes, 4 * GIB);
	assert_int_equal((uintptr_t)ranges[0].hva % (2 * MIB), 0);
	assert_int_equal(mem_write(mem, MEM_LOW_MAX - 1, &byte, 1), 0);
	assert_int_equal(mem_write(mem, MEM_LOW_MAX, &byte, 1), -EFAULT);
	assert_int_equal(mem_write(mem, MEM_HIGH_BASE, &byte, 1), 0);
	assert_int_equal(mem_write(mem, MEM_HIGH_BASE - 1, &byte, 1), -EFAULT);
	assert_int_equal(mem_write(mem, 5 * GIB - 1, &byte, 1), 0);
	assert_null(mem_hva(mem, 5 * GIB - 1, 2));
	assert_null(mem_hva(mem, UINT64_MAX, 2));
	assert_null(mem_hva(mem, 0, UINT64_MAX));
	assert_null(mem_hva(mem, MEM_LOW_MAX - 4, 8));
	mem_destroy(mem);
}

static void pages_map_twice_and_wrap(void **state)
{
	struct mem *mem = make_mem(64 * MIB);
	const uint64_t gfns[] = { 7, 8, 100, 3 };
	uint8_t *ring;

	for (uint8_t i = 0; i < 4; i++) {
		memset(mem_hva(mem, gfns[i] << 12, 4096), 'a' + i, 4096);
	}
	assert_int_equal(mem_map_pages(mem, gfns, 4, 2, (void **)&ring), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(ring[i * 4096 + 17], 'a' + i % 4);
	}
	ring[4 * 4096] = 'X'; /* the second copy is the first */
	assert_int_equal(ring[0], 'X');
	assert_int_equal(*(char *)mem_hva(mem, 7 << 12, 1), 'X');
	mem_unmap_pages(ring, 4, 2);

	const uint64_t bad[] = { 7, 1ULL << 51 };

	assert_int_equal(mem_map_pages(mem, bad, 2, 2, (void **)&ring), -EFAULT);
	mem_destroy(mem);
}

static void ranges_become_iovecs(void **state)
{
	struct mem *mem = make_mem(64 * MIB);
	uint64_t gfns[] = { 5, 6, 9, 1ULL << 40 };
	struct gpa_range range = { gfns, 4, 100, 3 * 4096 - 100 };
	struct iovec iov[4];

	assert_int_equal(gpa_range_check(&range), 0);
	assert_int_equal(gpa_range_iovec(mem, &range, 0, range.length_bytes, iov, 4), 2);
	assert_ptr_equal(iov[0].iov_base, mem_hva(mem, 5 * 4096 + 100, 1));
	assert_int_equal(iov[0].iov_len, 2 * 4096 - 100);
	assert_int_equal(iov[1].iov_len, 4096);
	assert_int_equal(gpa_range_iovec(mem, &range, 0, range.length_bytes, iov, 1), -E2BIG);
	assert_int_equal(gpa_range_iovec(mem, &range, 1, range.length_bytes, iov, 4), -EBADMSG);
	assert_int_equal(gpa_range_iovec(mem, &range, 8192 - 100, 10, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, mem_hva(mem, 9 * 4096, 1));
	range.length_bytes = 4 * 4096 - 100;
	assert_int_equal(gpa_range_check(&range), 0);
	assert_int_equal(gpa_range_iovec(mem, &range, 0, range.length_bytes, iov, 4), -EFAULT);
	range.length_bytes++;
	assert_int_equal(gpa_range_check(&range), -EBADMSG);
	range = (struct gpa_range){ gfns, 4, 4096, 1 };
	assert_int_equal(gpa_range_check(&range), -EBADMSG);
	range = (struct gpa_range){ gfns, 1, 4095, UINT32_MAX };
	assert_int_equal(gpa_range_check(&range), -EBADMSG);
	mem_destroy(mem);
}

/* What a worker sends: a descriptor of its RAM, and where it lies. */
static int share(const struct mem *mem, struct mem_range *ret, size_t *ret_count)
{
	const struct mem_range *ranges;

	*ret_count = mem_ranges(mem, &ranges);
	memcpy(ret, ranges, *ret_count * sizeof(*ranges));
	return dup(mem_fd(mem));
}

static void memory_of_another_is_the_same_memory(void **state)
{
	struct mem *mem = make_mem(5 * GIB), *other;
	struct mem_range ranges[2];
	struct diag diag;
	size_t count;
	int fd = share(mem, ranges, &count);

	(void)state;
	assert_int_equal(count, 2);
	assert_int_equal(mem_import(fd, ranges, count, &other, &diag), 0);
	assert_int_equal(mem_bytes(other), mem_bytes(mem));
	strcpy(mem_hva(mem, MEM_HIGH_BASE + 4096, 10), "above");
	assert_string_equal(mem_hva(other, MEM_HIGH_BASE + 4096, 10), "above");
	strcpy(mem_hva(other, 0x1000, 10), "below");
	assert_string_equal(mem_hva(mem, 0x1000, 10), "below");
	assert_null(mem_hva(other, MEM_LOW_MAX, 1));
	mem_destroy(other);
	mem_destroy(mem);
}

static void memory_that_could_be_pulled_away_is_refused(void **state)
{
	struct mem_range range = { .bytes = 64 * MIB };
	struct mem *mem;
	struct diag diag;
	const int more[] = { 0, F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_GROW,
			     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

		assert_int_equal(ftruncate(fd, 64 << 20), 0);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, more[i]), 0);
		assert_int_equal(mem_import(fd, &range, 1, &mem, &diag), -EPERM);
	}
	/* A pipe, a device, a directory: no memory at all. */
	assert_int_equal(mem_import(open("/dev/zero", O_RDWR), &range, 1, &mem, &diag), -EPERM);
	assert_int_equal(mem_import(open("/tmp", O_RDONLY), &range, 1, &mem, &diag), -EPERM);
}

static void memory_of_other_sizes_than_said_is_refused(void **state)
{
	struct mem *mem = make_mem(64 * MIB), *other;
	struct mem_range ranges[2], bad[2];
	struct diag diag;
	size_t count;
	int fd = share(mem, ranges, &count);

	(void)state;
	close(fd);
	for (int i = 0; i < 7; i++) {
		size_t n = 1;

		memcpy(bad, ranges, sizeof(bad));
		switch (i) {
		case 0:
			bad[0].bytes += 2 * MIB;
			break;
		case 1:
			bad[0].bytes -= 4096;
			break;
		case 2:
			bad[0].gpa = 4096;
			break;
		case 3:
			bad[0].fd_offset = 2 * MIB;
			break;
		case 4:
			bad[0].bytes = 0;
			break;
		case 5:
			n = 0;
			break;
		default: /* the second lies in the first */
			bad[0].bytes = 32 * MIB;
			bad[1] = (struct mem_range){ .gpa = 16 * MIB,
						     .bytes = 32 * MIB,
						     .fd_offset = 32 * MIB };
			n = 2;
			break;
		}
		assert_int_equal(mem_import(dup(mem_fd(mem)), bad, n, &other, &diag), -EINVAL);
	}
	mem_destroy(mem);
}

static void runs_are_counted(void **state)
{
	const uint64_t gfns[] = { 5, 6, 7, 9, 8, 1, 2 };

	(void)state;
	assert_int_equal(mem_count_runs(gfns, 7), 4);
	assert_int_equal(mem_count_runs(gfns, 3), 1);
	assert_int_equal(mem_count_runs(gfns, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_sizes_are_refused_with_a_sentence),
		cmocka_unit_test(the_hole_below_4g_is_no_ram),
		cmocka_unit_test(pages_map_twice_and_wrap),
		cmocka_unit_test(ranges_become_iovecs),
		cmocka_unit_test(memory_of_another_is_the_same_memory),
		cmocka_unit_test(memory_that_could_be_pulled_away_is_refused),
		cmocka_unit_test(memory_of_other_sizes_than_said_is_refused),
		cmocka_unit_test(runs_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
