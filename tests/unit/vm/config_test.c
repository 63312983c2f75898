/* SPDX-License-Identifier: MIT */
#include "vm/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "vsp/net/netvsp.h"

typedef int add_fn(struct vm_config *config, const char *text, struct diag *reterr);

static void add(struct vm_config *config, add_fn *fn, const char *text)
{
	struct diag diag;

	if (fn(config, text, &diag)) {
		fail_msg("%s: %s", text, diag.text);
	}
}

static void refuse(add_fn *fn, const char *text, const char *words)
{
	struct vm_config config;
	struct diag diag;

	vm_config_init(&config);
	assert_int_equal(fn(&config, text, &diag), -EINVAL);
	if (!strstr(diag.text, words)) {
		fail_msg("\"%s\" is not in: %s", words, diag.text);
	}
	vm_config_fini(&config);
}

static void disks_drives_and_policies_are_listed(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	add(&config, vm_config_add_policy, "name=gold,iops=100");
	add(&config, vm_config_add_disk, "path=a.vhdx,policy=gold,lun=2");
	add(&config, vm_config_add_dvd, "empty");
	add(&config, vm_config_add_dvd, "path=a.iso,id=boot");
	assert_int_equal(config.policy_count, 1);
	assert_int_equal(config.disk_count, 3);
	assert_string_equal(config.disks[0].policy, "gold");
	assert_int_equal(config.disks[0].lun, 2);
	assert_true(config.disks[1].is_dvd && config.disks[1].is_empty && !config.disks[1].path);
	assert_string_equal(config.disks[2].id, "boot");
	vm_config_fini(&config);
}

static void a_comma_in_a_value_is_written_twice(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	add(&config, vm_config_add_disk, "path=a,,b,,,,c=d,serial=1,,2");
	assert_string_equal(config.disks[0].path, "a,b,,c=d");
	assert_string_equal(config.disks[0].serial, "1,2");
	add(&config, vm_config_add_disk, "path=x,"); /* one at the end is nothing */
	assert_string_equal(config.disks[1].path, "x");
	vm_config_fini(&config);
}

static void mistakes_name_the_option(void **state)
{
	(void)state;
	refuse(vm_config_add_disk, "", "--disk names no file");
	refuse(vm_config_add_disk, "a.img", "--disk: unknown key \"a.img\"");
	refuse(vm_config_add_disk, "path=a,,readonly=on,b", "--disk: unknown key \"b\"");
	refuse(vm_config_add_disk, "empty", "--disk: unknown key \"empty\"");
	refuse(vm_config_add_dvd, "empty,path=a", "--dvd: a drive is empty");
	refuse(vm_config_add_dvd, "path=a,readonly=off", "--dvd: a DVD is read-only");
	refuse(vm_config_add_policy, "iops=5", "has no name");
	refuse(vm_config_add_policy, "name=a,readonly=on", "--policy: unknown key \"readonly\"");
	refuse(vm_config_add_policy, "name", "--policy: name \"\"");
}

static void adapters_are_behind_translation_or_on_a_tap_device(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	add(&config, vm_config_add_net, "nat,forward=tcp:2222:22");
	add(&config, vm_config_add_net, "tap=tap0,mac=02:00:00:00:00:07");
	assert_int_equal(config.net_count, 2);
	assert_int_equal(config.nets[0].kind, VM_NET_NAT);
	assert_int_equal(config.nets[0].forward_count, 1);
	assert_int_equal(config.nets[1].kind, VM_NET_TAP);
	assert_string_equal(config.nets[1].tap, "tap0");
	assert_int_equal(config.nets[1].mac[5], 7);
	vm_config_fini(&config);
	refuse(vm_config_add_net, "tap", "no name of a network interface");
	refuse(vm_config_add_net, "tap=", "no name of a network interface");
	refuse(vm_config_add_net, "tap=a/b", "'/'");
	refuse(vm_config_add_net, "tap=sixteen-letters-", "sixteen-letters-");
	refuse(vm_config_add_net, "tap=tap0,forward=tcp:1:1", "forward is for nat");
	refuse(vm_config_add_net, "bridge", "tap=NAME");
	refuse(vm_config_add_net, "nat=1", "no known kind");
}

static void adapters_are_plugged_into_ports_of_switches(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	add(&config, vm_config_add_net, "switch=lan");
	add(&config, vm_config_add_net, "switch=lan-2,port=web/1,queues=4");
	assert_int_equal(config.nets[0].kind, VM_NET_SWITCH);
	assert_string_equal(config.nets[0].switch_name, "lan");
	assert_string_equal(config.nets[0].switch_port, ""); /* made up later */
	assert_string_equal(config.nets[1].switch_port, "web/1");
	assert_int_equal(config.nets[1].queues, 4);
	vm_config_fini(&config);
	refuse(vm_config_add_net, "switch", "no name of a switch");
	refuse(vm_config_add_net, "switch=", "no name of a switch");
	refuse(vm_config_add_net, "switch=../lan", "\"../lan\" is no name of a switch");
	refuse(vm_config_add_net, "switch=-lan", "no name of a switch");
	refuse(vm_config_add_net, "switch=a-name-of-more-than-thirty-one-letters", "1 to 31");
	refuse(vm_config_add_net, "switch=lan,forward=tcp:1:1", "forward is for nat");
	refuse(vm_config_add_net, "switch=lan,port=", "no name of a switch's port");
	refuse(vm_config_add_net, "switch=lan,port=a b", "no name of a switch's port");
	refuse(vm_config_add_net, "nat,port=a", "port is for switch");
}

static void adapters_have_queues_links_and_versions(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	add(&config, vm_config_add_net, "tap=tap0");
	add(&config, vm_config_add_net, "tap=tap1,queues=16,link=down,no-rsc,nvsp-max=6.1");
	add(&config, vm_config_add_net, "nat,queues=1,link=up,nvsp-max=2");
	assert_int_equal(config.nets[0].queues, 0);
	assert_int_equal(config.nets[0].nvsp_max, 0);
	assert_false(config.nets[0].link_down || config.nets[0].no_rsc);
	assert_int_equal(config.nets[1].queues, 16);
	assert_int_equal(config.nets[1].nvsp_max, 0x60001);
	assert_true(config.nets[1].link_down && config.nets[1].no_rsc);
	assert_int_equal(config.nets[2].nvsp_max, 0x30002);
	vm_config_fini(&config);
	refuse(vm_config_add_net, "tap=tap0,queues=0", "no number from 1 to 16");
	refuse(vm_config_add_net, "tap=tap0,queues=17", "no number from 1 to 16");
	refuse(vm_config_add_net, "tap=tap0,queues=-1", "no number from 1 to 16");
	refuse(vm_config_add_net, "tap=tap0,queues", "no number from 1 to 16");
	refuse(vm_config_add_net, "nat,queues=2", "has one queue");
	refuse(vm_config_add_net, "nat,link=off", "up or down, not \"off\"");
	refuse(vm_config_add_net, "nat,link", "up or down, not \"\"");
	refuse(vm_config_add_net, "nat,nvsp-max=3", "no version of NVSP");
	refuse(vm_config_add_net, "nat,no-rsc=yes", "no-rsc has no value");
	refuse(vm_config_add_net, "nat,speed=1", "unknown key \"speed\"");
}

static void there_is_an_end_to_disks_and_policies(void **state)
{
	struct vm_config config;
	struct diag diag;

	(void)state;
	vm_config_init(&config);
	for (int i = 0; i < VM_DISKS_MAX; i++) {
		add(&config, vm_config_add_disk, "path=null:1M");
		add(&config, vm_config_add_policy, "name=p");
	}
	assert_int_equal(vm_config_add_disk(&config, "path=x", &diag), -EINVAL);
	assert_string_equal(diag.text, "--disk: at most 64 disks");
	assert_int_equal(vm_config_add_policy(&config, "name=x", &diag), -EINVAL);
	assert_string_equal(diag.text, "--policy: at most 64 policies");
	vm_config_fini(&config);
}

static void sizes_have_binary_units(void **state)
{
	uint64_t bytes = 0;
	struct diag diag;

	(void)state;
	assert_int_equal(vm_config_parse_size("--x", "12", &bytes, &diag), 0);
	assert_int_equal(bytes, 12);
	assert_int_equal(vm_config_parse_size("--x", "3k", &bytes, &diag), 0);
	assert_int_equal(bytes, 3 * KIB);
	assert_int_equal(vm_config_parse_size("--x", "2T", &bytes, &diag), 0);
	assert_int_equal(bytes, 2048 * GIB);
	assert_int_equal(vm_config_parse_size("--x", "16777216T", &bytes, &diag), -EINVAL);
	assert_int_equal(vm_config_parse_size("--x", "1MB", &bytes, &diag), -EINVAL);
	assert_int_equal(vm_config_parse_size("--x", " 1", &bytes, &diag), -EINVAL);
	assert_int_equal(vm_config_parse_size("--x", "0x10", &bytes, &diag), -EINVAL);
	assert_int_equal(bytes, 2048 * GIB); /* untouched by failures */
}

static int finish(struct vm_config *config, struct diag *diag)
{
	int err = vm_config_finish(config, diag);

	vm_config_fini(config);
	return err;
}

/* What the words of a board come to: "" when they are fine, or the sentence. */
static const char *board(const char *machine, const char *firmware, const char *kernel,
			 const char *order)
{
	static struct diag diag;
	struct vm_config config;

	diag.text[0] = '\0';
	vm_config_init(&config);
	if ((!machine || vm_config_set_machine(&config, machine, &diag) == 0) &&
	    (!firmware || vm_config_set_firmware(&config, firmware, &diag) == 0) &&
	    (!order || vm_config_set_boot_order(&config, order, &diag) == 0)) {
		config.kernel = kernel ? strdup(kernel) : NULL;
		int err = finish(&config, &diag);

		assert_int_equal(err != 0, diag.text[0] != '\0');
	} else {
		vm_config_fini(&config);
	}
	return diag.text;
}

static void boards_have_firmware_or_a_kernel(void **state)
{
	struct diag diag;
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(vm_config_set_machine(&config, "legacy", &diag), 0);
	assert_int_equal(vm_config_finish(&config, &diag), 0);
	assert_string_equal(config.firmware, VM_FIRMWARE_BIOS); /* as if it had been said */
	assert_string_equal(config.serial2, "none");
	vm_config_fini(&config);
	assert_string_equal(board("legacy", "bios", NULL, "dvd,disk"), "");
	assert_string_equal(board("legacy", "/my/bios", NULL, NULL), "");
	assert_string_equal(board("legacy", NULL, "k", NULL), "");
	assert_string_equal(board("modern", NULL, "k", NULL), "");
	assert_non_null(strstr(board(NULL, NULL, NULL, NULL), "no kernel is named"));
	assert_non_null(strstr(board("legacy", "bios", "k", NULL), "--kernel is not for firmware"));
	assert_non_null(strstr(board(NULL, "bios", NULL, NULL), "give --machine legacy"));
	assert_non_null(strstr(board("pc", NULL, "k", NULL), "modern or legacy"));
	assert_non_null(strstr(board("legacy", "", NULL, NULL), "--firmware is empty"));
	assert_non_null(strstr(board("legacy", NULL, "k", "disk"), "--boot-order is for firmware"));
	assert_non_null(strstr(board("legacy", "bios", NULL, "disk,tape"), "disk, dvd and net"));
	assert_non_null(strstr(board("legacy", "bios", NULL, "net,net"), "names net twice"));
	assert_non_null(strstr(board("legacy", "bios", NULL, ""), "--boot-order is empty"));
}

/* Disks with these words, and "" or the sentence of vm_config_finish(); where each is on the card. */
static const char *on_card(const char *machine, const char *const *words, size_t count,
			   int *targets)
{
	static struct diag diag;
	struct vm_config config;
	int err;

	diag.text[0] = '\0';
	vm_config_init(&config);
	assert_int_equal(vm_config_set_machine(&config, machine, &diag), 0);
	config.kernel = strdup("k");
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(vm_config_add_disk(&config, words[i], &diag), 0);
	}
	err = vm_config_finish(&config, &diag);
	for (size_t i = 0; i < count && !err && targets; i++) {
		targets[i] = config.disks[i].target;
	}
	vm_config_fini(&config);
	return err ? diag.text : "";
}

static void disks_have_targets_of_their_own(void **state)
{
	static const char *const words[] = {
		"path=a,bus=adaptec",          "path=b,bus=adaptec,target=0", "path=c,bus=adaptec",
		"path=d,bus=adaptec,target=6", "path=e,bus=adaptec",          "path=f,bus=adaptec",
		"path=g,bus=adaptec",          "path=h,bus=adaptec",
	};
	static const char *const twice[] = { "path=a,bus=adaptec,target=3",
					     "path=b,bus=adaptec,target=3" };
	int targets[7];

	(void)state;
	assert_string_equal(on_card("legacy", words, 7, targets), "");
	assert_memory_equal(targets, ((const int[]){ 1, 0, 2, 6, 3, 4, 5 }), sizeof(targets));
	assert_string_equal(on_card("legacy", words, 8, NULL),
			    "--disk h: the Adaptec card has 7 targets, and all are taken: give "
			    "bus=scsi");
	assert_string_equal(
		on_card("legacy", twice, 2, NULL),
		"--disk b: target 3 of the Adaptec card is taken by a: give another, or "
		"none");
	assert_string_equal(on_card("modern", words, 1, NULL),
			    "--disk a: bus=adaptec is for a board with PCI: give --machine legacy, "
			    "or leave it out");
}

/* The card that a machine comes to have, or -EINVAL; word NULL: nothing is said. */
static int card(const char *machine, const char *word, struct diag *reterr)
{
	struct vm_config config;
	int err, card;

	vm_config_init(&config);
	assert_int_equal(vm_config_set_machine(&config, machine, reterr), 0);
	config.kernel = strdup("k");
	err = word ? vm_config_set_vga(&config, word, reterr) : 0;
	err = err ? err : vm_config_finish(&config, reterr);
	card = (int)config.vga;
	vm_config_fini(&config);
	return err ? err : card;
}

static void a_graphics_card_is_on_the_legacy_board_only(void **state)
{
	struct diag diag;

	(void)state;
	assert_int_equal(card("legacy", NULL, &diag), VM_VGA_S3);
	assert_int_equal(card("legacy", "s3", &diag), VM_VGA_S3);
	assert_int_equal(card("legacy", "none", &diag), VM_VGA_NONE);
	assert_int_equal(card("modern", NULL, &diag), VM_VGA_NONE);
	assert_int_equal(card("modern", "s3", &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--vga: only the legacy machine"));
	assert_int_equal(card("modern", "none", &diag), -EINVAL);
	assert_int_equal(card("legacy", "cga", &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--vga is s3 or none, not \"cga\""));
}

static void boot_order_is_as_given(void **state)
{
	struct vm_config config;
	struct diag diag;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(config.boot_count, 3);
	assert_int_equal(vm_config_set_boot_order(&config, "net,disk", &diag), 0);
	assert_int_equal(config.boot_count, 2);
	assert_int_equal(config.boot_order[0], VM_BOOT_NET);
	assert_int_equal(config.boot_order[1], VM_BOOT_DISK);
	vm_config_fini(&config);
}

/* Where disks come to be: "" when there is a place for all, or the sentence. */
static const char *place(const char *machine, const char *const *disks, struct vm_config *config)
{
	static struct diag diag;

	diag.text[0] = '\0';
	vm_config_init(config);
	assert_int_equal(vm_config_set_machine(config, machine, &diag), 0);
	for (size_t i = 0; disks[i]; i++) {
		bool is_dvd = strncmp(disks[i], "dvd:", 4) == 0;

		add(config, is_dvd ? vm_config_add_dvd : vm_config_add_disk,
		    disks[i] + (is_dvd ? 4 : 0));
	}
	int err = vm_config_place_disks(config, &diag);

	assert_int_equal(err, diag.text[0] ? -EINVAL : 0);
	return diag.text;
}

static void disks_of_the_legacy_board_are_on_ide(void **state)
{
	static const char *const mixed[] = { "path=a",
					     "dvd:empty",
					     "path=b,bus=scsi",
					     "path=c,position=1",
					     "path=d,face=synthetic",
					     "path=e",
					     "path=f",
					     NULL };
	struct vm_config config;

	(void)state;
	assert_string_equal(place("legacy", mixed, &config), "");
	assert_int_equal(config.disks[0].position, 0);
	assert_int_equal(config.disks[1].position, 2); /* drives begin on the second channel */
	assert_int_equal(config.disks[2].bus, VM_DISK_SCSI);
	assert_int_equal(config.disks[3].position, 1);
	assert_int_equal(config.disks[4].bus, VM_DISK_SCSI); /* no firmware is to see it */
	assert_int_equal(config.disks[5].position, 3);
	assert_int_equal(config.disks[6].bus, VM_DISK_SCSI); /* no place is left */
	vm_config_fini(&config);
	assert_string_equal(place("modern", (const char *const[]){ "path=a", NULL }, &config), "");
	assert_int_equal(config.disks[0].bus, VM_DISK_SCSI);
	vm_config_fini(&config);
}

static void misplaced(const char *machine, const char *const *disks, const char *words)
{
	struct vm_config config;
	const char *text = place(machine, disks, &config);

	if (!strstr(text, words)) {
		fail_msg("\"%s\" is not in: %s", words, text);
	}
	vm_config_fini(&config);
}

static void mistakes_of_place_are_named(void **state)
{
	static const char *const five[] = { "path=a", "path=b",         "path=c",
					    "path=d", "path=e,bus=ide", NULL };
	static const char *const twice[] = { "path=a,position=1", "path=b,position=1", NULL };

	(void)state;
	misplaced("legacy", five, "4 places, and all are taken");
	misplaced("legacy", twice, "--disk b: IDE position 1 is taken by a");
	misplaced("modern", (const char *const[]){ "path=a,bus=ide", NULL },
		  "bus=ide is for a board");
	misplaced("modern", (const char *const[]){ "path=a,position=0", NULL }, "position is for");
	misplaced("modern",
		  (const char *const[]){ "path=a,face=auto", "path=b,face=emulated", NULL },
		  "--disk b: face is for");
	refuse(vm_config_add_disk, "path=a,bus=isa", "bus is auto, scsi, ide or adaptec");
	refuse(vm_config_add_disk, "path=a,face=none", "face is auto, emulated or synthetic");
	refuse(vm_config_add_disk, "path=a,position=4", "a number from 0 to 3");
	refuse(vm_config_add_disk, "path=a,bus=scsi,position=1", "position is for bus=ide");
	refuse(vm_config_add_dvd, "path=a,bus=ide,face=synthetic", "has no synthetic face");
}

/* What an adapter's words come to on a machine. */
static const char *adapter(bool is_legacy, const char *words)
{
	static struct diag diag;
	struct vm_config config;
	int err;

	diag.text[0] = '\0';
	vm_config_init(&config);
	add(&config, vm_config_add_net, words);
	err = vm_net_config_check(&config.nets[0], is_legacy, &diag);
	assert_int_equal(err, diag.text[0] ? -EINVAL : 0);
	vm_config_fini(&config);
	return diag.text;
}

static void adapters_have_faces_on_the_legacy_board(void **state)
{
	(void)state;
	assert_string_equal(adapter(true, "nat"), "");
	assert_string_equal(adapter(true, "nat,face=emulated"), "");
	assert_string_equal(adapter(true, "tap=t,face=synthetic,queues=4"), "");
	assert_string_equal(adapter(true, "switch=lan,queues=4"), "");
	assert_string_equal(adapter(false, "tap=t,queues=4"), "");
	assert_non_null(strstr(adapter(false, "nat,face=emulated"), "give --machine legacy"));
	assert_non_null(strstr(adapter(true, "switch=lan,face=emulated"), "has no emulated face"));
	assert_non_null(strstr(adapter(true, "tap=t,queues=4"), "has one queue"));
	refuse(vm_config_add_net, "nat,face=pretty", "not \"pretty\"");
}

/* A partition whose first adapter would have an address that begins with 02:00. */
static void find_swapped_name(char *name, size_t bytes)
{
	uint8_t mac[NET_MAC_BYTES] = { 0 };

	for (unsigned int i = 0; mac[0] != 0x02 || mac[1] != 0; i++) {
		assert_true(i < 1000000);
		snprintf(name, bytes, "vm-%u", i);
		netvsp_default_mac(name, "net0", mac);
	}
}

static void addresses_made_up_for_a_legacy_board_are_none_that_tulip_swaps(void **state)
{
	char name[32];

	(void)state;
	find_swapped_name(name, sizeof(name));
	for (int legacy = 0; legacy < 2; legacy++) {
		struct vm_config config;
		struct diag diag;
		bool is_swapped;

		vm_config_init(&config);
		assert_int_equal(vm_config_set_name(&config, name, &diag), 0);
		config.kernel = strdup("k");
		add(&config, vm_config_add_net, "nat");
		assert_int_equal(
			vm_config_set_machine(&config, legacy ? "legacy" : "modern", &diag), 0);
		assert_int_equal(vm_config_finish(&config, &diag), 0);
		is_swapped = config.nets[0].mac[0] == 0x02 && config.nets[0].mac[1] == 0;
		/* Elsewhere it is the one that it has always been. */
		assert_int_equal(is_swapped, !legacy);
		assert_int_equal(config.nets[0].mac[0] & 3, 2);
		vm_config_fini(&config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_of_the_legacy_board_are_on_ide),
		cmocka_unit_test(mistakes_of_place_are_named),
		cmocka_unit_test(adapters_have_faces_on_the_legacy_board),
		cmocka_unit_test(boards_have_firmware_or_a_kernel),
		cmocka_unit_test(disks_have_targets_of_their_own),
		cmocka_unit_test(boot_order_is_as_given),
		cmocka_unit_test(addresses_made_up_for_a_legacy_board_are_none_that_tulip_swaps),
		cmocka_unit_test(a_graphics_card_is_on_the_legacy_board_only),
		cmocka_unit_test(disks_drives_and_policies_are_listed),
		cmocka_unit_test(a_comma_in_a_value_is_written_twice),
		cmocka_unit_test(mistakes_name_the_option),
		cmocka_unit_test(adapters_are_behind_translation_or_on_a_tap_device),
		cmocka_unit_test(adapters_are_plugged_into_ports_of_switches),
		cmocka_unit_test(adapters_have_queues_links_and_versions),
		cmocka_unit_test(there_is_an_end_to_disks_and_policies),
		cmocka_unit_test(sizes_have_binary_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
