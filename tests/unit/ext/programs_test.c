/* SPDX-License-Identifier: MIT */
/*
 * The programs that come with Tabique, each as a process of its own, on a switch in this one:
 * programs_test DIRECTORY-OF-PROGRAMS.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/cmd.h"
#include "cmd/switch_capture.h"
#include "proto/pcapng.h"
#include "unit/vswitch/ext_rig.h"

static const char *directory;

int cmd_fail(int status, const struct diag *diag)
{
	fprintf(stderr, "%s\n", diag->text);
	return status;
}

static int set_up(void **state)
{
	struct ext_rig *rig = ext_rig_create(1);

	rig->rules =
		(struct ext_rules){ .drops_on_failure = true, .deadline_ns = EXT_DEADLINE_MAX_NS };
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	ext_rig_destroy(*state);
	return 0;
}

/* Runs it until it is connected. words: behind the program's name. */
static pid_t start(struct ext_rig *rig, const char *program, const char *const *words)
{
	char path[4096], *argv[16] = { path };
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s", directory, program);
	for (unsigned int i = 0; words[i]; i++) {
		argv[i + 1] = (char *)(uintptr_t)words[i];
	}
	pid = fork();
	if (pid == 0) {
		execv(path, argv);
		_exit(127);
	}
	assert_true(pid > 0);
	while (fake_info(rig).name[0] == '\0') {
		rig_turn(&rig->rig);
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	}
	rig_turn(&rig->rig);
	return pid;
}

static void end(struct ext_rig *rig, pid_t pid, int number)
{
	int status;

	kill(pid, number);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (number == SIGTERM) {
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	while (fake_info(rig).name[0] != '\0') {
		rig_turn(&rig->rig);
	}
}

static void answered(struct ext_rig *rig)
{
	while (fake_info(rig).held > 0) {
		rig_turn(&rig->rig);
	}
}

/* A question for a name, from port 0 to port 1. Its length. */
static uint32_t question(uint8_t *frame, const char *labels)
{
	uint32_t name = (uint32_t)strlen(labels) + 1,
		 bytes = rig_ip(frame, 0, 1, 17, 12 + name + 4);
	uint8_t *dns = frame + 14 + 20 + 8;

	bytes_put_be16(frame + 14 + 22, 53);
	memset(dns, 0, 12);
	dns[5] = 1;
	memcpy(dns + 12, labels, name);
	return bytes;
}

static void sum_ip(uint8_t *frame)
{
	uint16_t sum;

	memset(frame + 24, 0, 2);
	sum = net_sum_fold(net_sum(frame + 14, 20));
	memcpy(frame + 24, &sum, 2);
}

static void questions_for_listed_names_are_dropped_and_others_marked(void **state)
{
	struct ext_rig *rig = *state;
	const char *words[] = { "--once", "--dscp", "46", rig->path, "Bad.example.", NULL };
	uint8_t frame[200];
	uint32_t bytes;
	const struct rig_frame *got;
	pid_t pid = start(rig, "tabique-ext-dns", words);

	bytes = question(frame, "\3www\3bad\7example");
	sum_ip(frame);
	rig_send(&rig->rig, 0, frame, bytes);
	answered(rig);
	rig_expect(&rig->rig, NULL, 0, 0);
	assert_int_equal(rig_drops(&rig->rig, 0, DROP_EXT_FILTER), 1);
	bytes = question(frame, "\3www\4good\7example");
	sum_ip(frame);
	rig_send(&rig->rig, 0, frame, bytes);
	answered(rig);
	got = rig_next(&rig->rig, 1);
	assert_non_null(got);
	assert_int_equal(got->bytes, bytes);
	assert_int_equal(got->data[15], 46 << 2);
	assert_int_equal(net_sum_fold(net_sum(got->data + 14, 20)), 0);
	assert_memory_equal(got->data + 34, frame + 34, bytes - 34);
	/* what is no question is not even shown */
	bytes = rig_ip(frame, 0, 1, 17, 20);
	rig_send(&rig->rig, 0, frame, bytes);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
	end(rig, pid, SIGTERM);
}

static void a_filter_that_is_killed_holds_nothing_up(void **state)
{
	struct ext_rig *rig = *state;
	uint8_t frame[200];
	uint32_t bytes = question(frame, "\3bad");
	const char *words[] = { rig->path, "bad", NULL };
	pid_t pid;

	rig->rules.drops_on_failure = false;
	pid = start(rig, "tabique-ext-dns", words);
	kill(pid, SIGSTOP);
	rig_send(&rig->rig, 0, frame, bytes);
	rig_expect(&rig->rig, NULL, 0, 0);
	end(rig, pid, SIGKILL);
	rig_expect(&rig->rig, frame, bytes, RIG_TO(1));
}

/* A frame of a flow to the address that nobody has; the port that got it, or -1. */
static int send_flow(struct ext_rig *rig, uint16_t flow)
{
	uint8_t frame[100];
	uint32_t bytes = rig_ip(frame, 0, 9, 17, 20);
	int port = -1;

	memcpy(frame, "\x02\x99\x99\x99\x99\x99", 6);
	bytes_put_be16(frame + 34, flow);
	rig_send(&rig->rig, 0, frame, bytes);
	answered(rig);
	for (unsigned int i = 0; i < 4; i++) {
		if (rig_next(&rig->rig, i)) {
			assert_int_equal(port, -1);
			port = (int)i;
		}
	}
	return port;
}

static void flows_are_spread_over_ports_that_have_a_link(void **state)
{
	struct ext_rig *rig = *state;
	const char *words[] = { rig->path, "02:99:99:99:99:99", "port1", "port2", "port3", NULL };
	pid_t pid = start(rig, "tabique-ext-balance", words);
	unsigned int counts[4] = { 0 };
	int ports[60];

	for (uint16_t i = 0; i < 60; i++) {
		ports[i] = send_flow(rig, i);
		assert_in_range(ports[i], 1, 3);
		assert_int_equal(send_flow(rig, i), ports[i]);
		counts[ports[i]]++;
	}
	assert_true(counts[1] > 5 && counts[2] > 5 && counts[3] > 5);
	rig->rig.policy->ports[2].link = false;
	ext_rig_adopt(rig);
	usleep(100000); /* the program hears of it */
	for (uint16_t i = 0; i < 60; i++) {
		int port = send_flow(rig, i);

		assert_true(ports[i] == 2 ? port == 1 || port == 3 : port == ports[i]);
	}
	end(rig, pid, SIGTERM);
}

/* ---- the capture ---- */

/* file NULL: a pipe that nobody reads. is_to_stay: until it is connected. */
static pid_t start_capture(struct ext_rig *rig, const char *file, const char *const *words,
			   bool is_to_stay)
{
	char *argv[8];
	size_t argc = 0;
	pid_t pid;

	for (; words[argc]; argc++) {
		argv[argc] = (char *)(uintptr_t)words[argc];
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int pipes[2], fd;

		if (file) {
			fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		} else {
			assert_int_equal(pipe(pipes), 0);
			close(pipes[0]);
			fd = pipes[1];
		}
		dup2(fd, STDOUT_FILENO);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		_exit(switch_capture(rig->path, argv, argc));
	}
	while (is_to_stay && fake_info(rig).name[0] == '\0') {
		rig_turn(&rig->rig);
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	}
	rig_turn(&rig->rig);
	return pid;
}

/* What a capture says, as text: "port1 in 60 vlan 5 dropped: x" for each frame. */
struct reading {
	char interfaces[8][VSEXT_NAME_BYTES];
	unsigned int interface_count;
	char text[2000];
};

static void read_interface(struct reading *reading, const uint8_t *block)
{
	struct pcapng_option option;
	char *name = reading->interfaces[reading->interface_count++];

	memcpy(&option, block + sizeof(struct pcapng_interface), sizeof(option));
	assert_int_equal(option.type, PCAPNG_IF_NAME);
	memcpy(name, block + sizeof(struct pcapng_interface) + sizeof(option), option.bytes);
	name[option.bytes] = '\0';
}

static void read_packet(struct reading *reading, const uint8_t *block, uint32_t bytes)
{
	struct pcapng_packet packet;
	struct pcapng_option option;
	const uint8_t *frame = block + sizeof(packet);
	uint32_t at, direction = 0;
	char comment[100] = "", line[300];

	memcpy(&packet, block, sizeof(packet));
	assert_true(packet.interface < reading->interface_count);
	at = (uint32_t)num_align_up(sizeof(packet) + packet.captured_bytes, 4);
	do {
		assert_true(at + sizeof(option) + 4 <= bytes);
		memcpy(&option, block + at, sizeof(option));
		if (option.type == PCAPNG_EPB_FLAGS) {
			memcpy(&direction, block + at + 4, 4);
		} else if (option.type == PCAPNG_OPT_COMMENT) {
			snprintf(comment, sizeof(comment), " %.*s", option.bytes,
				 (const char *)block + at + 4);
		}
		at += (uint32_t)num_align_up(sizeof(option) + option.bytes, 4);
	} while (option.type != PCAPNG_OPT_END);
	assert_int_equal(at + 4, bytes);
	snprintf(line, sizeof(line), "%s %s %u/%u type %04x%s\n",
		 reading->interfaces[packet.interface], direction == 1 ? "in" : "out",
		 packet.captured_bytes, packet.bytes, bytes_be16(frame + 12), comment);
	strncat(reading->text, line, sizeof(reading->text) - strlen(reading->text) - 1);
}

static void read_capture(const char *path, struct reading *ret)
{
	static uint8_t file[1 << 20];
	FILE *from = fopen(path, "r");
	size_t bytes;

	assert_non_null(from);
	bytes = fread(file, 1, sizeof(file), from);
	fclose(from);
	memset(ret, 0, sizeof(*ret));
	for (size_t at = 0; at < bytes;) {
		struct pcapng_block block;

		assert_true(bytes - at >= sizeof(block));
		memcpy(&block, file + at, sizeof(block));
		assert_true(block.bytes <= bytes - at && block.bytes % 4 == 0 && block.bytes >= 12);
		assert_memory_equal(file + at + block.bytes - 4, &block.bytes, 4);
		assert_int_equal(block.type == PCAPNG_BLOCK_SECTION, at == 0);
		if (block.type == PCAPNG_BLOCK_INTERFACE) {
			read_interface(ret, file + at);
		} else if (block.type == PCAPNG_BLOCK_PACKET) {
			read_packet(ret, file + at, block.bytes);
		}
		at += block.bytes;
	}
}

/* And as others read it, where there is somebody. */
static void ask_tshark(const char *path, const char *expected)
{
	char command[300], text[1000] = "";
	size_t bytes;
	FILE *from;

	if (system("command -v tshark >/dev/null") != 0) {
		return;
	}
	snprintf(command, sizeof(command),
		 "tshark -n -r %s -T fields -E separator=/s -e frame.interface_name "
		 "-e frame.packet_flags_direction -e frame.len -e vlan.id -e frame.comment "
		 "2>/dev/null | sed 's/ 0x0*/ /'",
		 path);
	from = popen(command, "r");
	assert_non_null(from);
	bytes = fread(text, 1, sizeof(text) - 1, from);
	text[bytes] = '\0';
	if (pclose(from) == 0) {
		assert_string_equal(text, expected);
	}
}

static void a_capture_is_a_file_that_others_read(void **state)
{
	struct ext_rig *rig = *state;
	const char *words[] = { "snaplen=64", "count=5", NULL };
	char path[80];
	struct reading reading;
	uint8_t frame[200];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/tabique-capture-%d.pcapng", getpid());
	for (unsigned int i = 0; i < 3; i++) {
		rig->rig.policy->ports[i].vlan =
			(struct vlan_policy){ .mode = VLAN_ACCESS, .id = 5 };
	}
	rig->rig.policy->ports[2].guard.mac = true;
	ext_rig_adopt(rig);
	pid = start_capture(rig, path, words, true);
	rig_send(&rig->rig, 0, frame, rig_ip(frame, 0, 1, 17, 100));
	rig_send(&rig->rig, 2, frame, rig_frame(frame, 1, 0, 0x88b5, 60));
	rig_send(&rig->rig, 3, frame, rig_frame(frame, 3, -1, 0x88b5, 60));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	read_capture(path, &reading);
	assert_string_equal(reading.text, "port0 in 68/146 type 8100\n"
					  "port1 out 68/146 type 8100\n"
					  "port2 in 64/64 type 8100\n"
					  "port2 in 64/64 type 8100 dropped: mac-spoof\n"
					  "port3 in 60/60 type 88b5\n");
	ask_tshark(path, "port0 1 146 5 \nport1 2 146 5 \nport2 1 64 5 \n"
			 "port2 1 64 5 dropped: mac-spoof\nport3 1 60  \n");
	unlink(path);
}

/* The exit status of one that cannot write. */
static int end_of_capture(struct ext_rig *rig, const char *file, const char *const *words)
{
	pid_t pid = start_capture(rig, file, words, false);
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		rig_turn(&rig->rig);
	}
	rig_turn(&rig->rig);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_capture_ends_with_a_signal_and_when_nobody_reads(void **state)
{
	struct ext_rig *rig = *state;
	const char *words[] = { "port=port1", "direction=out", "drops=off", NULL };
	char path[80];
	struct reading reading;
	uint8_t frame[200];
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/tabique-capture-%d.pcapng", getpid());
	pid = start_capture(rig, path, words, true);
	rig_send(&rig->rig, 0, frame, rig_frame(frame, 0, 1, 0x88b5, 60));
	rig_send(&rig->rig, 1, frame, rig_frame(frame, 1, 0, 0x88b5, 60));
	usleep(100000);
	end(rig, pid, SIGTERM);
	read_capture(path, &reading);
	assert_string_equal(reading.text, "port1 out 60/60 type 88b5\n");
	unlink(path);
	assert_int_equal(end_of_capture(rig, NULL, words), 0);
	assert_int_equal(end_of_capture(rig, "/dev/full", words), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(questions_for_listed_names_are_dropped_and_others_marked),
		TEST(a_filter_that_is_killed_holds_nothing_up),
		TEST(flows_are_spread_over_ports_that_have_a_link),
		TEST(a_capture_is_a_file_that_others_read),
		TEST(a_capture_ends_with_a_signal_and_when_nobody_reads),
	};

	if (argc < 2) {
		fprintf(stderr, "usage: programs_test DIRECTORY\n");
		return 77;
	}
	directory = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
