/* SPDX-License-Identifier: MIT */
/* Foreign formats through qemu-nbd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "unit/block/nbd_rig.h"

static void shell(const char *format, const char *path)
{
	char command[256];

	snprintf(command, sizeof(command), format, path);
	assert_int_equal(system(command), 0);
}

static const char *make_image(const char *format)
{
	const char *path = server_path("image");
	char command[256];

	snprintf(command, sizeof(command), "rm -f %s; qemu-img create -q -f %s %s 8M", path, format,
		 path);
	assert_int_equal(system(command), 0);
	return path;
}

static int try_open(const char *path, const char *format, bool read_only, struct block **ret,
		    struct diag *diag)
{
	struct block_config config = {
		.kind = BLOCK_QEMU,
		.path = path,
		.qemu_format = format,
		.read_only = read_only,
	};

	return block_open(&config, ret, diag);
}

static struct block *open_image(const char *path, const char *format, bool read_only)
{
	struct block *block;
	struct diag diag;

	if (try_open(path, format, read_only, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	return block;
}

static void on_fact(void *ctx, const char *name, const char *value)
{
	if (strcmp(name, "qemu_nbd_pid") == 0) {
		*(pid_t *)ctx = atoi(value);
	}
}

static pid_t child_of(struct block *block)
{
	pid_t pid = 0;

	block->ops->describe(block, on_fact, &pid);
	assert_true(pid > 0);
	return pid;
}

static void images_hold_what_was_written(void **state)
{
	static const char *const formats[] = { "qcow2", "vmdk", "vdi" };

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const char *path = make_image(formats[i]);
		uint8_t buf[4096], back[4096];
		struct block *block;
		struct rig rig;

		rig_create(&rig, 512);
		block = open_image(path, formats[i], false);
		assert_int_equal(block_info(block)->bytes, 8 << 20);
		assert_string_equal(block_name(block), "qemu");
		assert_int_equal(block_start(block, rig.loop), 0);
		model_run(&rig, block, 21 + (unsigned int)i, 200);
		memset(buf, 77, sizeof(buf));
		assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 8192, buf, sizeof(buf)),
				 0);
		assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
		rig_stop(&rig, block);
		block_close(block);
		/* Others read the same, and at once: nothing holds the image any more. */
		shell("qemu-io -f $(qemu-img info %1$s | sed -n 's/^file format: //p') "
		      "-c 'read -P 77 8192 4096' %1$s | grep -q 'read 4096/4096'",
		      path);
		block = open_image(path, formats[i], true);
		assert_int_equal(block_start(block, rig.loop), 0);
		assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 8192, back, sizeof(back)),
				 0);
		assert_memory_equal(buf, back, sizeof(buf));
		assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 8192, buf, sizeof(buf)),
				 -EROFS);
		rig_stop(&rig, block);
		block_close(block);
		rig_destroy(&rig);
	}
}

static void check_refusal(const char *path, const char *format, int err, const char *word)
{
	struct block *block = NULL;
	struct diag diag;

	assert_int_equal(try_open(path, format, false, &block, &diag), err);
	assert_null(block);
	if (!strstr(diag.text, word)) {
		fail_msg("'%s' says nothing of '%s'", diag.text, word);
	}
}

static void open_says_what_is_wrong(void **state)
{
	const char *path = make_image("qcow2");
	struct block *block;

	check_refusal("no-such-image", "qcow2", -ENOENT, "No such file");
	check_refusal(path, "vmdk", -EIO, "qemu-nbd: ");
	check_refusal(path, "nonsense", -EIO, "Unknown");
	check_refusal(path, NULL, -EINVAL, "qcow2");
	check_refusal(path, "", -EINVAL, "qcow2");
	check_refusal(path, "--help", -EINVAL, "qcow2");
	check_refusal(path, "qcow2,file.filename=/etc/passwd", -EINVAL, "letter");
	check_refusal(path, "qcow2;reboot", -EINVAL, "letter");
	/* qemu's own lock. */
	block = open_image(path, "qcow2", false);
	check_refusal(path, "qcow2", -EIO, "lock");
	block_close(block);
}

static void a_missing_program_is_named(void **state)
{
	const char *path = make_image("qcow2");
	const char *named = getenv("TABIQUE_QEMU_NBD");
	char *before = strdup(getenv("PATH")), *program = strdup(named ? named : "");

	unsetenv("TABIQUE_QEMU_NBD");
	setenv("PATH", "/nonexistent:", 1);
	check_refusal(path, "qcow2", -ENOENT, "qemu-utils");
	setenv("PATH", before, 1);
	setenv("TABIQUE_QEMU_NBD", "/no/such/program", 1);
	check_refusal(path, "qcow2", -ENOENT, "/no/such/program");
	setenv("TABIQUE_QEMU_NBD", "/bin/false", 1);
	check_refusal(path, "qcow2", -EIO, "without a word");
	setenv("TABIQUE_QEMU_NBD", program, 1); /* empty: none */
	free(before);
	free(program);
}

static bool is_gone(pid_t pid)
{
	for (int i = 0; i < 500 && kill(pid, 0) == 0; i++) {
		char path[64], text[256] = "";
		FILE *file;

		/* A zombie whose parent is slow to look is gone as well. */
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		file = fopen(path, "r");
		if (file) {
			const char *at =
				fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
			bool zombie = at && at[2] == 'Z';

			fclose(file);
			if (zombie) {
				return true;
			}
		}
		usleep(10000);
	}
	return kill(pid, 0) < 0;
}

static void the_child_ends_with_the_disk(void **state)
{
	struct block *block = open_image(make_image("qcow2"), "qcow2", false);
	pid_t pid = child_of(block);

	assert_int_equal(kill(pid, 0), 0);
	block_close(block);
	assert_true(kill(pid, 0) < 0);
}

static void the_child_ends_when_we_are_killed(void **state)
{
	const char *path = make_image("qcow2");
	int fds[2], pid = 0;
	pid_t worker;

	assert_int_equal(pipe(fds), 0);
	worker = fork();
	if (worker == 0) {
		struct block *block = open_image(path, "qcow2", false);

		pid = child_of(block);
		(void)!write(fds[1], &pid, sizeof(pid));
		for (;;) {
			pause();
		}
	}
	assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
	server_kill(worker, SIGKILL);
	assert_true(is_gone(pid));
	block_close(open_image(path, "qcow2", false)); /* and nothing holds the image */
	close(fds[0]);
	close(fds[1]);
}

static void a_dead_child_is_an_error(void **state)
{
	struct block *block = open_image(make_image("qcow2"), "qcow2", false);
	uint8_t buf[512] = { 0 };
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 0, buf, 512), 0);
	kill(child_of(block), SIGKILL);
	while (rig_io_server(&rig, block, BLOCK_READ, 0, buf, 512) == 0) {
		usleep(1000);
	}
	assert_true(block_read_stats(block)->errors > 0);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

static void twins_share_one_child(void **state)
{
	struct block *block = open_image(make_image("qcow2"), "qcow2", true), *twin;
	uint8_t buf[512];
	struct rig rig;

	rig_create(&rig, 512);
	if (!block->ops->twin) {
		fail_msg("this qemu-nbd promises nothing for a second connection");
	}
	assert_int_equal(block->ops->twin(block, &twin), 0);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(block_start(twin, rig.loop), 0);
	assert_int_equal(rig_io_server(&rig, twin, BLOCK_READ, 0, buf, 512), 0);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	assert_string_equal(block_info(twin)->identity, block_info(block)->identity);
	rig_stop(&rig, twin);
	block_close(twin);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(images_hold_what_was_written),
		cmocka_unit_test(open_says_what_is_wrong),
		cmocka_unit_test(a_missing_program_is_named),
		cmocka_unit_test(the_child_ends_with_the_disk),
		cmocka_unit_test(the_child_ends_when_we_are_killed),
		cmocka_unit_test(a_dead_child_is_an_error),
		cmocka_unit_test(twins_share_one_child),
	};

	if (!program_exists("qemu-nbd") || !program_exists("qemu-img")) {
		fprintf(stderr, "skipped: qemu-nbd is not installed (tools/setup test)\n");
		return 77;
	}
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("block/qemu", tests, server_group_setup,
					   server_group_teardown);
}
