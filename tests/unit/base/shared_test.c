/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "base/shared.h"

static void memory_is_of_its_size_for_ever(void **state)
{
	uint8_t *at;
	void *map;
	int fd;

	(void)state;
	assert_int_equal(shared_create("test", 8192, 0, &map, &fd), 0);
	at = map;
	assert_int_equal(at[8191], 0);
	at[8191] = 7;
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(munmap(map, 8192), 0);
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(((uint8_t *)map)[8191], 7);
	assert_int_equal(munmap(map, 8192), 0);
	assert_int_equal(close(fd), 0);
}

static void memory_may_be_for_others_to_read_only(void **state)
{
	void *map;
	int fd;

	(void)state;
	assert_int_equal(shared_create("test", 4096, F_SEAL_FUTURE_WRITE, &map, &fd), 0);
	memset(map, 1, 4096);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(munmap(map, 4096), 0);
	assert_int_equal(close(fd), 0);
}

static void descriptors_go_with_a_message(void **state)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	int pair[2], pipes[2], got[2];
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *head;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	shared_attach(&msg, control.bytes, pipes, 0);
	assert_null(msg.msg_control);
	shared_attach(&msg, control.bytes, pipes, 2);
	assert_int_equal(sendmsg(pair[0], &msg, 0), 1);
	msg = (struct msghdr){ .msg_iov = &iov,
			       .msg_iovlen = 1,
			       .msg_control = control.bytes,
			       .msg_controllen = sizeof(control.bytes) };
	assert_int_equal(recvmsg(pair[1], &msg, 0), 1);
	head = CMSG_FIRSTHDR(&msg);
	assert_non_null(head);
	assert_int_equal(head->cmsg_len, CMSG_LEN(sizeof(got)));
	memcpy(got, CMSG_DATA(head), sizeof(got));
	assert_int_equal(write(got[1], "y", 1), 1);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	for (unsigned int i = 0; i < ARRAY_SIZE(got); i++) {
		close(got[i]);
		close(pipes[i]);
		close(pair[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_of_its_size_for_ever),
		cmocka_unit_test(memory_may_be_for_others_to_read_only),
		cmocka_unit_test(descriptors_go_with_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
