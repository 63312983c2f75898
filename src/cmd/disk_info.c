/* SPDX-License-Identifier: MIT */
/* tabique disk info, map: what an image is, and what is where in it. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "block/sync.h"
#include "cmd/disk.h"
#include "vm/vm.h"

static const char info_help[] =
	"usage: tabique disk info [-f FORMAT] [--json] [--chain] PATH\n"
	"\n"
	"Format, sizes, identifiers and layers of an image; --chain: of its parents, too.\n";

static const char map_help[] =
	"usage: tabique disk map [-f FORMAT] [--json] PATH\n"
	"\n"
	"For each part of the disk: where it begins, its length, what it is (data, zero, or\n"
	"parent: not in this image), and where in the file it is.\n";

enum { OPT_JSON = 256, OPT_CHAIN };

static const struct option names[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "format", required_argument, NULL, 'f' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "chain", no_argument, NULL, OPT_CHAIN },
	{ 0 },
};

/* What both understand. */
struct info_options {
	const char *format, *path;
	bool is_json, is_chain, is_help;
};

/* False: they are wrong, or help is asked for. */
static bool info_parse(int argc, char **argv, struct info_options *options)
{
	int option;

	while ((option = getopt_long(argc, argv, "hf:", names, NULL)) != -1) {
		switch (option) {
		case 'f':
			options->format = optarg;
			break;
		case OPT_JSON:
			options->is_json = true;
			break;
		case OPT_CHAIN:
			options->is_chain = true;
			break;
		default:
			options->is_help = option == 'h';
			return false;
		}
	}
	options->path = argc - optind == 1 ? argv[optind] : NULL;
	return options->path != NULL;
}

static int info_open(const struct info_options *options, struct image_probe *format,
		     struct block **ret, struct diag *reterr)
{
	int err = disk_format_in(options->format, options->path, format, reterr);

	return err ? err : disk_open(options->path, format, true, ret, reterr);
}

/* ---- info -------------------------------------------------------------------------------------- */

static void on_fact(void *ctx, const char *name, const char *value)
{
	json_t *layers = ctx, *layer, *text;

	if (strcmp(name, "layer") == 0 || json_array_size(layers) == 0) {
		json_array_append_new(layers, json_object());
	}
	layer = json_array_get(layers, json_array_size(layers) - 1);
	/* A path need not be UTF-8; JSON must. */
	text = json_string(value);
	json_object_set_new(layer, name, text ? text : json_string("(not UTF-8)"));
}

static json_t *info_of(struct block *block)
{
	const struct block_info *info = block_info(block);
	json_t *layers = json_array();

	image_describe(block, on_fact, layers);
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "format", block_name(block), "virtual_bytes",
			 (json_int_t)info->bytes, "logical_block_bytes",
			 (json_int_t)info->logical_block_bytes, "physical_block_bytes",
			 (json_int_t)info->physical_block_bytes, "layers", layers);
}

static void info_print(const json_t *value, int depth);

static void info_print_pair(const char *key, const json_t *value, int depth)
{
	if (json_is_object(value) || json_is_array(value)) {
		printf("%*s%s:\n", depth * 2, "", key);
		info_print(value, depth + 1);
	} else if (json_is_integer(value)) {
		printf("%*s%s: %" JSON_INTEGER_FORMAT "\n", depth * 2, "", key,
		       json_integer_value(value));
	} else {
		printf("%*s%s: %s\n", depth * 2, "", key, json_string_value(value));
	}
}

static void info_print(const json_t *value, int depth)
{
	const json_t *item;
	const char *key;
	size_t index;

	json_array_foreach(value, index, item)
	{
		info_print(item, depth);
	}
	if (json_is_object(value)) {
		void *at = json_object_iter((json_t *)(uintptr_t)value);

		for (; at; at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
			key = json_object_iter_key(at);
			info_print_pair(key, json_object_iter_value(at), depth);
		}
	}
}

int disk_info(int argc, char **argv)
{
	struct info_options options = { 0 };
	struct image_probe format;
	struct block *block;
	struct diag diag;
	struct stat st;
	json_t *result;
	int err;

	if (!info_parse(argc, argv, &options)) {
		return disk_usage(info_help, options.is_help);
	}
	err = info_open(&options, &format, &block, &diag);
	if (err) {
		return disk_fail(err, &diag);
	}
	result = info_of(block);
	json_object_set_new(result, "path", json_string(options.path));
	if (stat(options.path, &st) == 0 && S_ISREG(st.st_mode)) {
		json_object_set_new(result, "file_bytes", json_integer(st.st_size));
		json_object_set_new(result, "allocated_bytes",
				    json_integer((json_int_t)st.st_blocks * 512));
	}
	if (options.is_chain) {
		json_t *chain = json_array();

		for (struct block *at = block_parent(block); at; at = block_parent(at)) {
			json_array_append_new(chain, info_of(at));
		}
		json_object_set_new(result, "parents", chain);
	}
	if (options.is_json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		info_print(result, 0);
	}
	json_decref(result);
	block_close(block);
	return 0;
}

/* ---- map --------------------------------------------------------------------------------------- */

static const char *const map_kinds[] = {
	[BLOCK_MAP_DATA] = "data",
	[BLOCK_MAP_ZERO] = "zero",
	[BLOCK_MAP_PARENT] = "parent",
};

/* Where the data are in the file, or -1: nowhere in particular. */
static json_int_t map_place(const struct block_map *map)
{
	return map->kind == BLOCK_MAP_DATA && map->file_offset_bytes != ~0ULL
		       ? (json_int_t)map->file_offset_bytes
		       : -1;
}

static void map_print(uint64_t at, const struct block_map *map, json_t *array)
{
	json_int_t place = map_place(map);

	if (!array) {
		printf("%14" PRIu64 " %14" PRIu64 " %-6s", at, map->bytes, map_kinds[map->kind]);
		if (place >= 0) {
			printf(" %14" JSON_INTEGER_FORMAT, place);
		}
		putchar('\n');
		return;
	}
	json_array_append_new(array,
			      json_pack("{s:I, s:I, s:s}", "offset", (json_int_t)at, "length",
					(json_int_t)map->bytes, "kind", map_kinds[map->kind]));
	if (place >= 0) {
		json_object_set_new(json_array_get(array, json_array_size(array) - 1),
				    "file_offset", json_integer(place));
	}
}

/* Neighbours of a kind are one, if they are neighbours in the file, too. */
static bool map_joins(const struct block_map *a, const struct block_map *b)
{
	return a->kind == b->kind &&
	       (map_place(a) < 0 ? map_place(b) < 0
				 : map_place(a) + (json_int_t)a->bytes == map_place(b));
}

static int map_all(struct block_sync *sync, json_t *array)
{
	uint64_t total = block_info(block_sync_block(sync))->bytes, begin = 0, at = 0;
	struct block_map part = { 0 }, next;

	while (at < total) {
		int err = block_sync_map(sync, at, total - at, &next);

		if (err) {
			return err;
		}
		at += next.bytes;
		if (part.bytes > 0 && map_joins(&part, &next)) {
			part.bytes += next.bytes;
			continue;
		}
		if (part.bytes > 0) {
			map_print(begin, &part, array);
			begin += part.bytes;
		}
		part = next;
	}
	if (part.bytes > 0) {
		map_print(begin, &part, array);
	}
	return 0;
}

int disk_map(int argc, char **argv)
{
	struct info_options options = { 0 };
	struct image_probe format;
	struct block_sync *sync;
	struct block *block;
	struct diag diag;
	json_t *array;
	int err;

	if (!info_parse(argc, argv, &options)) {
		return disk_usage(map_help, options.is_help);
	}
	err = info_open(&options, &format, &block, &diag);
	if (err) {
		return disk_fail(err, &diag);
	}
	array = options.is_json ? json_array() : NULL;
	err = block_sync_create(block, &sync, &diag);
	if (!err) {
		err = map_all(sync, array);
		if (err) {
			diag_set(&diag, err, "disk %s: its map: %s", options.path, strerror(-err));
		}
		block_sync_destroy(sync);
	}
	block_close(block);
	if (!err && array) {
		json_dumpf(array, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(array);
	return err ? disk_fail(err, &diag) : 0;
}
