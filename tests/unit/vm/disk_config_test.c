/* SPDX-License-Identifier: MIT */
#include "vm/disk_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/num.h"

static void set(struct vm_disk_config *config, const char *key, const char *value)
{
	struct diag diag;

	if (vm_disk_config_set(config, "--disk", key, value, &diag)) {
		fail_msg("%s=%s: %s", key, value, diag.text);
	}
}

static void finish(const struct vm_disk_config *config)
{
	struct diag diag;

	if (vm_disk_config_finish(config, "--disk", &diag)) {
		fail_msg("%s", diag.text);
	}
}

static void refuse_word(bool is_dvd, const char *key, const char *value, const char *words)
{
	struct vm_disk_config config;
	struct diag diag;

	vm_disk_config_init(&config, is_dvd);
	assert_int_equal(vm_disk_config_set(&config, "--disk", key, value, &diag), -EINVAL);
	if (strncmp(diag.text, "--disk", 6) != 0 || !strstr(diag.text, words)) {
		fail_msg("\"%s\" is not in: %s", words, diag.text);
	}
	vm_disk_config_fini(&config);
}

/* Pairs of words, NULL at the end. */
static void refuse_whole(bool is_dvd, const char *words, ...)
{
	struct vm_disk_config config;
	struct diag diag;
	const char *key;
	va_list args;

	vm_disk_config_init(&config, is_dvd);
	va_start(args, words);
	while ((key = va_arg(args, const char *)) != NULL) {
		set(&config, key, va_arg(args, const char *));
	}
	va_end(args);
	assert_int_equal(vm_disk_config_finish(&config, "--disk", &diag), -EINVAL);
	if (strncmp(diag.text, "--disk", 6) != 0 || !strstr(diag.text, words)) {
		fail_msg("\"%s\" is not in: %s", words, diag.text);
	}
	vm_disk_config_fini(&config);
}

static void nothing_said_is_the_default(void **state)
{
	struct vm_disk_config config;

	(void)state;
	vm_disk_config_init(&config, false);
	assert_int_equal(config.kind, BLOCK_AUTO);
	assert_false(config.read_only || config.buffered);
	assert_true(config.write_cache);
	assert_int_equal(config.lun, -1);
	assert_int_equal(config.on_error, BLOCK_REPORT);
	set(&config, "path", "a.vhdx");
	finish(&config); /* its name says its format when it is opened */
	assert_int_equal(config.kind, BLOCK_AUTO);
	vm_disk_config_fini(&config);
	vm_disk_config_init(&config, true);
	assert_int_equal(config.kind, BLOCK_RAW);
	assert_true(config.read_only);
	finish(&config); /* an empty drive */
	vm_disk_config_fini(&config);
}

static void fill(struct vm_disk_config *config)
{
	set(config, "path", "/dev/sd,x");
	set(config, "format", "raw");
	set(config, "readonly", "on");
	set(config, "cache", "on");
	set(config, "write-cache", "off");
	set(config, "offset", "1M");
	set(config, "size", "2G");
	set(config, "sector", "4096");
	set(config, "serial", "S1");
	set(config, "wwn", "5000c50012345678");
	set(config, "controller", "3");
	set(config, "lun", "63");
	set(config, "id", "data.1");
	set(config, "on-error", "stop");
	set(config, "iops", "1000");
	set(config, "iops-burst", "2000");
	set(config, "bandwidth", "10M");
	set(config, "bandwidth-burst", "20M");
	set(config, "policy", "gold");
	set(config, "fault", "delay:1ms");
	set(config, "file-fault", "fail:write:nth=3:ENOSPC");
	finish(config);
}

static void expect_filled(const struct vm_disk_config *config)
{
	assert_string_equal(config->path, "/dev/sd,x");
	assert_int_equal(config->kind, BLOCK_RAW);
	assert_true(config->read_only && config->buffered && !config->write_cache);
	assert_int_equal(config->slice_offset_bytes, MIB);
	assert_int_equal(config->slice_bytes, 2 * GIB);
	assert_int_equal(config->sector_bytes, 4096);
	assert_string_equal(config->serial, "S1");
	assert_string_equal(config->wwn, "5000c50012345678");
	assert_int_equal(config->controller, 3);
	assert_int_equal(config->lun, 63);
	assert_string_equal(config->id, "data.1");
	assert_int_equal(config->on_error, BLOCK_STOP);
	assert_int_equal(config->qos.iops, 1000);
	assert_int_equal(config->qos.iops_burst, 2000);
	assert_int_equal(config->qos.bytes_per_s, 10 * MIB);
	assert_int_equal(config->qos.bytes_burst, 20 * MIB);
	assert_string_equal(config->policy, "gold");
	assert_string_equal(config->fault, "delay:1ms");
	assert_string_equal(config->file_fault, "fail:write:nth=3:ENOSPC");
}

static void every_word_is_taken_and_copied(void **state)
{
	struct vm_disk_config config, copy;

	(void)state;
	vm_disk_config_init(&config, false);
	fill(&config);
	expect_filled(&config);
	assert_int_equal(vm_disk_config_copy(&config, &copy), 0);
	assert_ptr_not_equal(copy.path, config.path);
	vm_disk_config_fini(&config);
	expect_filled(&copy);
	vm_disk_config_fini(&copy);
}

static void other_values_are_taken(void **state)
{
	static const struct {
		const char *text;
		enum block_kind kind;
		const char *format;
	} formats[] = {
		{ "auto", BLOCK_AUTO, "" },     { "vhd", BLOCK_VHD, "" },
		{ "vhdx", BLOCK_VHDX, "" },     { "nbd", BLOCK_NBD, "" },
		{ "null", BLOCK_NULL, "" },     { "qcow2", BLOCK_QEMU, "qcow2" },
		{ "vmdk", BLOCK_QEMU, "vmdk" }, { "raw", BLOCK_RAW, "" },
	};
	struct vm_disk_config config;

	(void)state;
	vm_disk_config_init(&config, false);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		set(&config, "format", formats[i].text);
		assert_int_equal(config.kind, formats[i].kind);
		assert_string_equal(config.format, formats[i].format);
	}
	set(&config, "on-error", "retry");
	assert_int_equal(config.on_error, BLOCK_RETRY);
	set(&config, "on-error", "report");
	assert_int_equal(config.on_error, BLOCK_REPORT);
	set(&config, "sector", "512");
	assert_int_equal(config.sector_bytes, 512);
	set(&config, "readonly", "true"); /* as JSON says it */
	assert_true(config.read_only);
	set(&config, "readonly", "false");
	assert_false(config.read_only);
	set(&config, "iops", "0");
	set(&config, "offset", "0");
	vm_disk_config_fini(&config);
}

static void every_wrong_word_has_its_sentence(void **state)
{
	static const struct {
		const char *key, *value, *words;
	} wrong[] = {
		{ "colour", "red", "unknown key \"colour\"" },
		{ "", "", "unknown key \"\"" },
		{ "path", "", "path needs one value" },
		{ "path", NULL, "path needs one value" },
		{ "format", "floppy", "unknown disk format \"floppy\"" },
		{ "format", NULL, "unknown disk format \"\"" },
		{ "readonly", "maybe", "readonly is on or off, not \"maybe\"" },
		{ "cache", NULL, "cache is on or off" },
		{ "write-cache", "On", "write-cache is on or off, not \"On\"" },
		{ "offset", "-1", "offset \"-1\" is no size" },
		{ "size", "12X", "size \"12X\" is no size" },
		{ "size", "99999999999T", "is no size" },
		{ "sector", "2048", "sector is 512 or 4096, not \"2048\"" },
		{ "serial", "", "serial needs one value" },
		{ "wwn", NULL, "wwn needs one value" },
		{ "controller", "4", "controller \"4\": give a number from 0 to 3" },
		{ "controller", "99999999999999999999", "from 0 to 3" },
		{ "lun", "64", "lun \"64\": give a number from 0 to 63" },
		{ "lun", "-1", "lun \"-1\": give a number" },
		{ "lun", "+1", "lun \"+1\": give a number" },
		{ "lun", "1x", "lun \"1x\": give a number" },
		{ "id", "", "id \"\": give 1 to 31 letters" },
		{ "id", "a b", "id \"a b\"" },
		{ "id", "12345678901234567890123456789012", "give 1 to 31 letters" },
		{ "policy", "/", "policy \"/\"" },
		{ "on-error", "ignore", "on-error is report, stop or retry, not \"ignore\"" },
		{ "iops", "many", "iops \"many\": give a number" },
		{ "iops", "1000000001", "from 0 to 1000000000" },
		{ "iops-burst", "1K", "iops-burst \"1K\": give a number" },
		{ "bandwidth", "fast", "bandwidth \"fast\" is no size" },
		{ "bandwidth-burst", "", "bandwidth-burst \"\" is no size" },
		{ "bus", "usb", "bus is auto, scsi, ide or adaptec, not \"usb\"" },
		{ "face", "both", "face is auto, emulated or synthetic, not \"both\"" },
		{ "target", "7", "target \"7\": give a number from 0 to 6" },
		{ "fault", "explode", "fault:" },
		{ "file-fault", "fail:eat", "file-fault:" },
		{ "empty", NULL, "unknown key \"empty\"" }, /* a disk cannot be */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		refuse_word(false, wrong[i].key, wrong[i].value, wrong[i].words);
	}
	refuse_word(true, "empty", "perhaps", "empty is on or off");
}

static void a_text_is_given_once(void **state)
{
	static const char *const keys[] = { "path", "serial", "wwn" };
	struct vm_disk_config config;
	struct diag diag;

	(void)state;
	vm_disk_config_init(&config, false);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		set(&config, keys[i], "a");
		assert_int_equal(vm_disk_config_set(&config, "disk add", keys[i], "b", &diag),
				 -EINVAL);
		assert_non_null(strstr(diag.text, "disk add: "));
		assert_non_null(strstr(diag.text, "needs one value"));
	}
	assert_string_equal(config.path, "a");
	vm_disk_config_fini(&config);
}

static void contradictions_have_their_sentences(void **state)
{
	(void)state;
	refuse_whole(false, "names no file: give path=FILE", NULL);
	refuse_whole(false, "names no file: give path=FILE", "size", "1G", NULL);
	refuse_whole(false, "offset and size are for raw disks", "path", "a", "format", "vhdx",
		     "size", "1G", NULL);
	refuse_whole(false, "offset and size are for raw disks", "path", "nbd://x", "format", "nbd",
		     "offset", "1M", NULL);
	refuse_whole(false, "sector is for raw disks", "path", "a", "format", "vhd", "sector",
		     "4096", NULL);
	refuse_whole(false, "a null disk needs a size", "format", "null", NULL);
	refuse_whole(false, "a null disk needs a size", "path", "null:0", NULL);
	refuse_whole(false, "is no size", "path", "null:", NULL);
	refuse_whole(false, "is no size", "path", "null:big", NULL);
	refuse_whole(false, "one size and no offset", "path", "null:1G", "size", "2G", NULL);
	refuse_whole(false, "one size and no offset", "path", "null:1G", "offset", "1M", NULL);
	refuse_whole(true, "a DVD is read-only", "path", "a.iso", "readonly", "off", NULL);
	refuse_whole(true, "a drive is empty, or has a disc in it (path=a.iso)", "path", "a.iso",
		     "empty", "", NULL);
	refuse_whole(true, "for a disc: give path=FILE", "offset", "1M", NULL);
	refuse_whole(false, "position is for bus=ide", "path", "a", "bus", "adaptec", "position",
		     "0", NULL);
	refuse_whole(false, "target is for the Adaptec card: give bus=adaptec", "path", "a",
		     "target", "0", NULL);
	refuse_whole(false, "controller and lun are for bus=scsi", "path", "a", "bus", "adaptec",
		     "lun", "0", NULL);
	refuse_whole(false, "controller and lun are for bus=scsi", "path", "a", "bus", "adaptec",
		     "controller", "1", NULL);
	refuse_whole(true, "no synthetic face: give bus=scsi", "bus", "adaptec", "face",
		     "synthetic", NULL);
}

static void null_disks_have_a_size_in_either_way(void **state)
{
	struct vm_disk_config config;

	(void)state;
	vm_disk_config_init(&config, false);
	set(&config, "path", "null:1G");
	finish(&config);
	vm_disk_config_fini(&config);
	vm_disk_config_init(&config, false);
	set(&config, "format", "null");
	set(&config, "size", "1G");
	set(&config, "sector", "4096");
	finish(&config);
	vm_disk_config_fini(&config);
}

static void a_policy_has_a_name_and_limits(void **state)
{
	struct vm_policy_config config = { .name = "" };
	struct diag diag;

	(void)state;
	assert_int_equal(vm_policy_config_set(&config, "--policy", "name", "gold", &diag), 0);
	assert_int_equal(vm_policy_config_set(&config, "--policy", "iops", "5", &diag), 0);
	assert_int_equal(vm_policy_config_set(&config, "--policy", "bandwidth", "1M", &diag), 0);
	assert_string_equal(config.name, "gold");
	assert_int_equal(config.qos.iops, 5);
	assert_int_equal(config.qos.bytes_per_s, MIB);
	assert_int_equal(vm_policy_config_set(&config, "--policy", "name", "a/b", &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--policy: name \"a/b\""));
	assert_int_equal(vm_policy_config_set(&config, "--policy", "size", "1", &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "unknown key \"size\""));
	assert_int_equal(vm_policy_config_set(&config, "--policy", "iops", NULL, &diag), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_the_default),
		cmocka_unit_test(every_word_is_taken_and_copied),
		cmocka_unit_test(other_values_are_taken),
		cmocka_unit_test(every_wrong_word_has_its_sentence),
		cmocka_unit_test(a_text_is_given_once),
		cmocka_unit_test(contradictions_have_their_sentences),
		cmocka_unit_test(null_disks_have_a_size_in_either_way),
		cmocka_unit_test(a_policy_has_a_name_and_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
