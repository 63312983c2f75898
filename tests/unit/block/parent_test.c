/* SPDX-License-Identifier: MIT */
/* Parents: how an image's words become a file, and which are refused. */
#include "unit/block/rig.h"

#include <sys/stat.h>

#include "block/block_impl.h"

static void make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
}

static int try_parent(const char *child, const char *path, struct diag *diag)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = child };
	struct block *block = NULL;
	int err = block_parent_open(&config, path, BLOCK_RAW, &block, diag);

	if (!err) {
		assert_true(block_info(block)->read_only);
		block_close(block);
	}
	return err;
}

static void paths_of_either_kind_are_found(void **state)
{
	static const char *const found[] = {
		"base",
		"./base",
		".\\base",
		"sub/base",
		"sub\\base",
		".\\sub\\base",
		"..\\parent-test\\sub\\base",
		"C:\\Hyper-V\\disks\\base",
		"c:base",
		"\\\\server\\share\\base",
	};
	struct diag diag;
	char cwd[512], path[600];

	assert_int_equal(mkdir("parent-test", 0700), 0);
	assert_int_equal(mkdir("parent-test/sub", 0700), 0);
	make_file("parent-test/child");
	make_file("parent-test/base");
	make_file("parent-test/sub/base");
	for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
		if (try_parent("parent-test/child", found[i], &diag)) {
			fail_msg("%s: %s", found[i], diag.text);
		}
	}
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(path, sizeof(path), "%s/parent-test/base", cwd);
	assert_int_equal(try_parent("parent-test/child", path, &diag), 0);
	for (char *p = path; *p; p++) {
		*p = *p == '/' ? '\\' : *p;
	}
	assert_int_equal(try_parent("parent-test/child", path, &diag), 0);

	assert_int_equal(try_parent("parent-test/child", "bases", &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "parent-test/child"));
	assert_non_null(strstr(diag.text, "parent-test/bases"));
	assert_int_equal(try_parent("parent-test/child", "", &diag), -ENOENT);
	assert_int_equal(try_parent("parent-test/child", "D:\\", &diag), -ENOENT);
	assert_int_equal(try_parent("parent-test/child", ".\\", &diag), -ENOENT);
	assert_int_equal(try_parent("parent-test/child", "sub", &diag), -EISDIR);
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(try_parent("parent-test/child", path, &diag), -ENAMETOOLONG);
	unlink("parent-test/child");
	unlink("parent-test/base");
	unlink("parent-test/sub/base");
	rmdir("parent-test/sub");
	rmdir("parent-test");
}

static void a_chain_must_end(void **state)
{
	static struct block_config chain[BLOCK_CHAIN_MAX];
	static char names[BLOCK_CHAIN_MAX][32];
	struct block *block = NULL;
	struct diag diag;

	make_file("parent-test-base");
	for (unsigned int i = 0; i < BLOCK_CHAIN_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "parent-test-%u", i);
		make_file(names[i]);
		chain[i] = (struct block_config){
			.path = names[i],
			.child = i > 0 ? &chain[i - 1] : NULL,
		};
	}
	/* BLOCK_CHAIN_MAX files in all are allowed. */
	assert_int_equal(block_parent_open(&chain[BLOCK_CHAIN_MAX - 2], "parent-test-base",
					   BLOCK_RAW, &block, &diag),
			 0);
	block_close(block);
	assert_int_equal(block_parent_open(&chain[BLOCK_CHAIN_MAX - 1], "parent-test-base",
					   BLOCK_RAW, &block, &diag),
			 -EMLINK);
	/* Itself, an ancestor, and an ancestor by another name. */
	assert_int_equal(block_parent_open(&chain[3], "parent-test-3", BLOCK_RAW, &block, &diag),
			 -ELOOP);
	assert_int_equal(block_parent_open(&chain[3], "parent-test-0", BLOCK_RAW, &block, &diag),
			 -ELOOP);
	assert_int_equal(symlink("parent-test-1", "parent-test-link"), 0);
	assert_int_equal(block_parent_open(&chain[3], "parent-test-link", BLOCK_RAW, &block, &diag),
			 -ELOOP);
	assert_non_null(strstr(diag.text, "parent-test-link"));
	unlink("parent-test-link");
	unlink("parent-test-base");
	for (unsigned int i = 0; i < BLOCK_CHAIN_MAX; i++) {
		unlink(names[i]);
	}
}

static void parents_are_probed_and_shared(void **state)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = "child" };
	struct block *a, *b;
	struct diag diag;

	make_file("parent-test-base");
	assert_int_equal(block_parent_open(&config, "parent-test-base", BLOCK_AUTO, &a, &diag), 0);
	assert_int_equal(block_parent_open(&config, "parent-test-base", BLOCK_AUTO, &b, &diag), 0);
	block_close(a);
	block_close(b);
	unlink("parent-test-base");
	make_file("parent-test-base.vhd"); /* no header: no VHD */
	assert_int_equal(block_parent_open(&config, "parent-test-base.vhd", BLOCK_AUTO, &a, &diag),
			 -EINVAL);
	unlink("parent-test-base.vhd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_of_either_kind_are_found),
		cmocka_unit_test(a_chain_must_end),
		cmocka_unit_test(parents_are_probed_and_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
