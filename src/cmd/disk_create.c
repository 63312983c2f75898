/* SPDX-License-Identifier: MIT */
/* tabique disk create, resize: images of a size. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/num.h"
#include "block/sync.h"
#include "cmd/disk.h"
#include "vm/config.h"
#include "vm/vm.h"

static const char create_help[] =
	"usage: tabique disk create [OPTIONS] PATH SIZE\n"
	"       tabique disk create --parent FILE [OPTIONS] PATH\n"
	"\n"
	"Makes an image that reads as zeroes, or as its parent. PATH must not exist. SIZE\n"
	"is in bytes or has a suffix K, M, G or T.\n"
	"\n"
	"  -f, --format FORMAT       raw, vhd or vhdx; default: as PATH ends\n"
	"      --fixed               take all the space now\n"
	"      --parent FILE         keep only what differs from FILE; a relative name\n"
	"                            begins at PATH's directory\n"
	"      --parent-format FORMAT\n"
	"      --block-size SIZE     the unit of allocation\n"
	"      --sector 512|4096     vhdx: the sectors that the guest sees\n";

static const char resize_help[] =
	"usage: tabique disk resize [-f FORMAT] [--shrink] PATH [+|-]SIZE\n"
	"\n"
	"Makes the disk in an image SIZE long, or longer or shorter by it. What is behind\n"
	"the new end is lost, so that must be asked for with --shrink.\n";

enum { OPT_FIXED = 256, OPT_PARENT, OPT_PARENT_FORMAT, OPT_BLOCK, OPT_SECTOR, OPT_SHRINK };

struct create_options {
	struct image_create_config config;
	const char *format, *parent_format;
	bool is_fixed, is_help;
};

static int create_parse(int argc, char **argv, struct create_options *options, struct diag *reterr)
{
	static const struct option names[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "format", required_argument, NULL, 'f' },
		{ "fixed", no_argument, NULL, OPT_FIXED },
		{ "parent", required_argument, NULL, OPT_PARENT },
		{ "parent-format", required_argument, NULL, OPT_PARENT_FORMAT },
		{ "block-size", required_argument, NULL, OPT_BLOCK },
		{ "sector", required_argument, NULL, OPT_SECTOR },
		{ 0 },
	};
	struct image_create_config *config = &options->config;
	int option, err = 0;

	while (!err && (option = getopt_long(argc, argv, "hf:", names, NULL)) != -1) {
		switch (option) {
		case 'h':
			options->is_help = true;
			return 0;
		case 'f':
			options->format = optarg;
			break;
		case OPT_FIXED:
			options->is_fixed = true;
			break;
		case OPT_PARENT:
			config->parent_path = optarg;
			break;
		case OPT_PARENT_FORMAT:
			options->parent_format = optarg;
			break;
		case OPT_BLOCK:
			err = disk_size("--block-size", optarg, &config->block_bytes, reterr);
			break;
		case OPT_SECTOR:
			err = disk_size("--sector", optarg, &config->logical_block_bytes, reterr);
			break;
		default:
			err = diag_set(reterr, -EINVAL, "see tabique disk create --help");
		}
	}
	return err;
}

int disk_create(int argc, char **argv)
{
	struct create_options options = { 0 };
	struct image_create_config *config = &options.config;
	struct image_probe format, parent = { .kind = BLOCK_AUTO };
	struct diag diag;
	int words, err;

	err = create_parse(argc, argv, &options, &diag);
	if (err) {
		return disk_fail(err, &diag);
	}
	words = argc - optind;
	if (options.is_help || words != (config->parent_path ? 1 : 2)) {
		return disk_usage(create_help, options.is_help);
	}
	config->path = argv[optind];
	err = disk_format_out(options.format, config->path, &format, &diag);
	if (!err && options.parent_format) {
		err = image_kind_parse(options.parent_format, &parent, &diag);
	}
	if (!err && words == 2) {
		err = vm_config_parse_size("SIZE", argv[optind + 1], &config->bytes, &diag);
	}
	if (!err && config->parent_path && options.is_fixed) {
		err = diag_set(&diag, -EINVAL, "--fixed and --parent exclude each other");
	}
	if (!err) {
		config->kind = format.kind;
		config->parent_kind = parent.kind;
		config->layout = options.is_fixed      ? IMAGE_FIXED
				 : config->parent_path ? IMAGE_DIFFERENCING
						       : IMAGE_DYNAMIC;
		err = image_create(config, &diag);
	}
	return err ? disk_fail(err, &diag) : 0;
}

/* ---- resize ------------------------------------------------------------------------------------ */

/* SIZE, +SIZE or -SIZE of what there is. */
static int resize_target(const char *text, uint64_t now, uint64_t *ret, struct diag *reterr)
{
	bool grows = text[0] == '+', shrinks = text[0] == '-';
	uint64_t bytes = 0;
	int err = vm_config_parse_size("SIZE", text + (grows || shrinks), &bytes, reterr);

	if (err) {
		return err;
	}
	if (shrinks && bytes >= now) {
		return diag_set(reterr, -EINVAL, "SIZE %s: the disk has only %llu bytes", text,
				(unsigned long long)now);
	}
	if (grows && !num_add_u64(now, bytes, &bytes)) {
		return diag_set(reterr, -EINVAL, "SIZE %s is too much", text);
	}
	*ret = shrinks ? now - bytes : bytes;
	return 0;
}

static int resize_block(const char *path, struct block *block, const char *size, bool may_shrink,
			struct diag *reterr)
{
	const struct block_info *info = block_info(block);
	struct block_sync *sync;
	uint64_t bytes = 0;
	int err = resize_target(size, info->bytes, &bytes, reterr);

	if (err) {
		return err;
	}
	if (bytes == 0 || bytes % info->logical_block_bytes != 0) {
		return diag_set(reterr, -EINVAL, "disk %s: its size must be a multiple of %u bytes",
				path, info->logical_block_bytes);
	}
	if (bytes < info->bytes && !may_shrink) {
		return diag_set(reterr, -EINVAL,
				"disk %s has %llu bytes, and what is behind the new end would be "
				"lost: say --shrink if you mean it",
				path, (unsigned long long)info->bytes);
	}
	err = block_sync_create(block, &sync, reterr);
	if (err) {
		return err;
	}
	err = block_sync_resize(sync, bytes);
	block_sync_destroy(sync);
	return err ? diag_set(reterr, err, "disk %s cannot be given %llu bytes: %s", path,
			      (unsigned long long)bytes, strerror(-err))
		   : 0;
}

int disk_resize(int argc, char **argv)
{
	static const struct option names[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "format", required_argument, NULL, 'f' },
		{ "shrink", no_argument, NULL, OPT_SHRINK },
		{ 0 },
	};
	const char *format_text = NULL;
	bool may_shrink = false;
	struct image_probe format;
	struct block *block;
	struct diag diag;
	int option, err;

	/* '+': a size of -1G is no option. */
	while ((option = getopt_long(argc, argv, "+hf:", names, NULL)) != -1) {
		if (option == 'f') {
			format_text = optarg;
		} else if (option == OPT_SHRINK) {
			may_shrink = true;
		} else {
			return disk_usage(resize_help, option == 'h');
		}
	}
	if (argc - optind != 2) {
		return disk_usage(resize_help, false);
	}
	err = disk_format_in(format_text, argv[optind], &format, &diag);
	if (!err) {
		err = disk_open(argv[optind], &format, false, &block, &diag);
	}
	if (!err) {
		err = resize_block(argv[optind], block, argv[optind + 1], may_shrink, &diag);
		block_close(block);
	}
	return err ? disk_fail(err, &diag) : 0;
}
