/* SPDX-License-Identifier: MIT */
#include "switchd/sw_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "sw_dir.h"
#include "sw_rig.h"

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void what_is_saved_is_loaded(void **state)
{
	struct sw_config *config = sw_rig_config(), *again;
	struct diag diag;
	char path[SW_PATH_BYTES];
	struct stat st;

	(void)state;
	sw_rig_do(&config, "port add", "name=web");
	assert_int_equal(sw_file_save(config, &diag), 0);
	assert_int_equal(sw_path(SW_PATH_CONFIG, "sw0", path, &diag), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(sw_file_load("sw0", &again, &diag), 0);
	assert_non_null(sw_port_find(again, "web"));
	sw_config_destroy(config);
	sw_config_destroy(again);
	assert_int_equal(sw_path(SW_PATH_STATE, "sw0", path, &diag), 0);
	write_file(path, "what its process has left");
	assert_int_equal(sw_file_save_leases("sw0", "abc", 3, &diag), 0);
	assert_int_equal(sw_path(SW_PATH_LEASES, "sw0", path, &diag), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(sw_file_remove("sw0", &diag), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(sw_path(SW_PATH_STATE, "sw0", path, &diag), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(sw_file_load("sw0", &again, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "create sw0"));
	assert_int_equal(sw_file_remove("sw0", &diag), -ENOENT);
}

static void a_broken_file_is_left_alone_and_named(void **state)
{
	struct sw_config *config = NULL;
	struct diag diag;
	char path[SW_PATH_BYTES], text[32];
	FILE *file;

	(void)state;
	assert_int_equal(sw_path(SW_PATH_CONFIG, "sw1", path, &diag), 0);
	write_file(path, "{ \"version\":");
	assert_int_equal(sw_file_load("sw1", &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, path));
	assert_non_null(strstr(diag.text, "mend the file"));
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "{ \"version\":");
	write_file(path, "{\"version\":1,\"name\":\"other\"}");
	assert_int_equal(sw_file_load("sw1", &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "other"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(sw_file_load("sw1", &config, &diag), -EINVAL);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(sw_file_load("../sw1", &config, &diag), -EINVAL);
}

static void a_save_that_fails_leaves_the_old_file(void **state)
{
	struct sw_config *config = sw_rig_config(), *again;
	char path[SW_PATH_BYTES], temporary[SW_PATH_BYTES + 8];
	struct diag diag;

	(void)state;
	assert_int_equal(sw_file_save(config, &diag), 0);
	assert_int_equal(sw_path(SW_PATH_CONFIG, "sw0", path, &diag), 0);
	/* Something is in the way of the new file. */
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	assert_int_equal(mkdir(temporary, 0700), 0);
	sw_rig_do(&config, "port add", "name=web");
	assert_true(sw_file_save(config, &diag) < 0);
	assert_non_null(strstr(diag.text, "untouched"));
	assert_int_equal(sw_file_load("sw0", &again, &diag), 0);
	assert_null(sw_port_find(again, "web"));
	assert_int_equal(rmdir(temporary), 0);
	sw_config_destroy(again);
	sw_config_destroy(config);
	assert_int_equal(sw_file_remove("sw0", &diag), 0);
}

static int count_one(void *ctx, const char *name)
{
	(void)name;
	(*(int *)ctx)++;
	return 0;
}

static void each_switch_is_found(void **state)
{
	struct sw_config *config = sw_rig_config();
	struct diag diag;
	int count = 0;

	(void)state;
	assert_int_equal(sw_file_save(config, &diag), 0);
	strcpy(config->name, "sw2");
	assert_int_equal(sw_file_save(config, &diag), 0);
	assert_int_equal(sw_file_each(count_one, &count, &diag), 0);
	assert_int_equal(count, 2);
	assert_int_equal(sw_file_remove("sw0", &diag), 0);
	assert_int_equal(sw_file_remove("sw2", &diag), 0);
	sw_config_destroy(config);
}

static void directories_are_made(void **state)
{
	char deep[128];
	struct stat st;
	struct diag diag;

	(void)state;
	snprintf(deep, sizeof(deep), "%s/a/b", sw_dir);
	assert_int_equal(setenv("TABIQUE_SWITCH_DIR", deep, 1), 0);
	assert_int_equal(sw_path_make(&diag), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(setenv("TABIQUE_SWITCH_DIR", sw_dir, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_saved_is_loaded),
		cmocka_unit_test(a_broken_file_is_left_alone_and_named),
		cmocka_unit_test(a_save_that_fails_leaves_the_old_file),
		cmocka_unit_test(each_switch_is_found),
		cmocka_unit_test(directories_are_made),
	};

	return cmocka_run_group_tests(tests, sw_dir_make, sw_dir_remove);
}
