/* SPDX-License-Identifier: MIT */
/* Extensions connect, are told of ports, and are sent away. */
#include "ext_rig.h"

static int set_up(void **state)
{
	*state = ext_rig_create(1);
	return 0;
}

static int tear_down(void **state)
{
	ext_rig_destroy(*state);
	return 0;
}

static void hello_is_answered_with_memory_that_only_the_switch_writes(void **state)
{
	struct ext_rig *rig = *state;
	struct fake fake;

	rig->rules.deadline_ns = 0;
	fake_connect(rig, &fake, VSEXT_FILTER);
	assert_int_equal(fake.welcome.cores, 1);
	assert_int_equal(fake.welcome.deadline_us, 20000);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fake.fds[0], 0),
			 MAP_FAILED);
	assert_int_equal(write(fake.fds[0], "x", 1), -1);
	assert_int_equal(
		fallocate(fake.fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
	assert_int_equal(ftruncate(fake.fds[0], 0), -1);
	assert_int_equal(ftruncate(fake.fds[1], 0), -1);
	assert_string_equal(fake_info(rig).name, "fake");
	assert_int_equal(fake_info(rig).pid, getpid());
	fake_die(rig, &fake);
	assert_string_equal(fake_info(rig).name, "");
}

static void ports_are_told_now_and_when_they_change(void **state)
{
	struct ext_rig *rig = *state;
	struct {
		struct vsext_ports head;
		struct vsext_port ports[VSEXT_PORTS_MAX];
	} __attribute__((packed)) message;
	struct fake fake;

	fake_connect(rig, &fake, VSEXT_CAPTURE);
	assert_int_equal(fake_hear(&fake, &message, sizeof(message)),
			 sizeof(message.head) + 4 * sizeof(message.ports[0]));
	assert_int_equal(message.head.header.type, VSEXT_MSG_PORTS);
	assert_int_equal(message.head.count, 4);
	assert_string_equal(message.ports[2].name, "port2");
	assert_int_equal(message.ports[2].flags, VSEXT_PORT_HERE | VSEXT_PORT_LINK);
	rig->rig.policy->ports[2].link = false;
	ext_rig_adopt(rig);
	assert_int_equal(fake_hear(&fake, &message, sizeof(message)),
			 sizeof(message.head) + sizeof(message.ports[0]));
	assert_int_equal(message.ports[0].port, 2);
	assert_int_equal(message.ports[0].flags, VSEXT_PORT_HERE);
	rig_unplug(&rig->rig, 3);
	policy_port_fini(rig->rig.policy, 3);
	ext_rig_adopt(rig);
	assert_true(fake_hear(&fake, &message, sizeof(message)) > 0);
	assert_int_equal(message.ports[0].port, 3);
	assert_int_equal(message.ports[0].flags, 0);
	assert_int_equal(fake_hear(&fake, &message, sizeof(message)), -EAGAIN);
	fake_die(rig, &fake);
}

static void nonsense_in_hello_is_refused(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hellos[7];
	struct fake fake;

	for (unsigned int i = 0; i < ARRAY_SIZE(hellos); i++) {
		hellos[i] = fake_hello(VSEXT_FILTER);
	}
	hellos[0].version = 2;
	hellos[1].kind = 4;
	hellos[2].directions = 0;
	hellos[3].name[0] = '\0';
	memset(hellos[4].name, 'x', sizeof(hellos[4].name));
	hellos[5].port[0] = '\n';
	hellos[6].match = 0x8000;
	for (unsigned int i = 0; i < ARRAY_SIZE(hellos); i++) {
		assert_int_equal(fake_greet(rig, &fake, &hellos[i]),
				 i == 0 ? -EPROTONOSUPPORT : -EPROTO);
		assert_int_equal(fake_hear(&fake, &fake.welcome, 1), 0);
		fake_die(rig, &fake);
	}
	assert_string_equal(fake_info(rig).name, "");
}

static void who_may_not_connect_is_told_why(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hello = fake_hello(VSEXT_FORWARD);
	struct fake fake, second;

	rig->refuses = -EPERM;
	assert_int_equal(fake_greet(rig, &fake, &hello), -EPERM);
	assert_string_equal(fake.welcome.text, "fake may not");
	fake_die(rig, &fake);
	rig->refuses = 0;
	assert_int_equal(fake_greet(rig, &fake, &hello), 0);
	assert_int_equal(fake_greet(rig, &second, &hello), -EBUSY);
	fake_die(rig, &second);
	fake_die(rig, &fake);
	assert_int_equal(fake_greet(rig, &fake, &hello), 0);
	fake_die(rig, &fake);
}

static void there_are_only_so_many_connections(void **state)
{
	struct ext_rig *rig = *state;
	struct fake fakes[EXTS_MAX + 1];
	uint8_t byte;

	for (unsigned int i = 0; i <= EXTS_MAX; i++) {
		fake_dial(rig, &fakes[i]);
		rig_turn(&rig->rig);
		assert_int_equal(fake_hear(&fakes[i], &byte, 1), i < EXTS_MAX ? -EAGAIN : 0);
	}
	for (unsigned int i = 0; i <= EXTS_MAX; i++) {
		fake_die(rig, &fakes[i]);
	}
	fake_connect(rig, &fakes[0], VSEXT_CAPTURE);
	fake_die(rig, &fakes[0]);
}

static void a_second_message_is_nonsense(void **state)
{
	struct ext_rig *rig = *state;
	struct vsext_hello hello = fake_hello(VSEXT_CAPTURE);
	struct fake fake;

	fake_connect(rig, &fake, VSEXT_CAPTURE);
	send(fake.fd, &hello, sizeof(hello), 0);
	rig_turn(&rig->rig);
	assert_string_equal(fake_info(rig).name, "");
	fake_die(rig, &fake);
}

static void removing_one_disconnects_it(void **state)
{
	struct ext_rig *rig = *state;
	uint8_t bytes[32768];
	struct fake fake;

	fake_connect(rig, &fake, VSEXT_CAPTURE);
	assert_int_equal(exts_remove(rig->exts, "other"), 0);
	assert_int_equal(exts_remove(rig->exts, "fake"), 1);
	assert_true(fake_hear(&fake, bytes, sizeof(bytes)) > 0); /* PORTS */
	assert_int_equal(fake_hear(&fake, bytes, sizeof(bytes)), 0);
	fake_die(rig, &fake);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hello_is_answered_with_memory_that_only_the_switch_writes),
		TEST(ports_are_told_now_and_when_they_change),
		TEST(nonsense_in_hello_is_refused),
		TEST(who_may_not_connect_is_told_why),
		TEST(there_are_only_so_many_connections),
		TEST(a_second_message_is_nonsense),
		TEST(removing_one_disconnects_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
