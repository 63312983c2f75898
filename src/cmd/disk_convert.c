/* SPDX-License-Identifier: MIT */
/*
 * tabique disk convert: copies a disk into a new image.
 *
 * The source's map says what need not be read; what was read and is zero is not written. Each slot reads
 * a chunk, then writes its parts that are not zero, one after another:
 *
 *   free ──► reading ──► writing … ──► free        several slots at once, one request for the map
 *
 * The new image is made under another name beside the target and gets the target's when it is whole and
 * durable, so whatever happens there is no half of an image.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "cmd/disk.h"
#include "vm/vm.h"

#define CONVERT_SLOTS       8
#define CONVERT_CHUNK_BYTES (1U << 20)
/* Zeroes are told from data in pieces of this size. */
#define CONVERT_PIECE_BYTES (32U << 10)

static const char help[] =
	"usage: tabique disk convert [OPTIONS] SOURCE TARGET\n"
	"\n"
	"Copies the disk in SOURCE (an image, a device, or nbd://…) into a new image. What is\n"
	"zero takes no space; a chain of images becomes one. Stopped at any moment, there is\n"
	"no TARGET, or a whole one.\n"
	"\n"
	"  -f, --from FORMAT      SOURCE's; default: as its name and header say\n"
	"  -O, --to FORMAT        TARGET's: raw, vhd or vhdx; default: as its name ends\n"
	"      --fixed            TARGET takes all the space now\n"
	"      --block-size SIZE  TARGET's unit of allocation\n"
	"      --force            TARGET is replaced if it is there\n";

enum { OPT_FIXED = 256, OPT_BLOCK, OPT_FORCE };

struct convert;

struct convert_slot {
	struct convert *convert;
	struct block_request request;
	struct iovec iov;
	uint64_t at, bytes, done; /* of the disk; how much of it is written or zero */
	uint8_t *buf;
	bool is_busy;
};

struct convert {
	struct block *from, *to;
	struct loop *loop;
	struct loop_work stopped;
	struct disk_progress *progress;
	uint64_t total, at, mapped_until, copied;
	bool is_data, is_mapping, is_flushing;
	struct block_request map;
	struct convert_slot slots[CONVERT_SLOTS];
	unsigned int busy;
	int result;
	bool is_write_error;
};

static void convert_advance(struct convert *convert);

static void convert_fail(struct convert *convert, int err, bool is_write)
{
	if (!convert->result) {
		convert->result = err;
		convert->is_write_error = is_write;
	}
}

static void convert_slot_free(struct convert_slot *slot)
{
	struct convert *convert = slot->convert;

	slot->is_busy = false;
	convert->busy--;
	convert->copied += slot->bytes;
	if (!disk_progress_report(convert->progress, convert->copied, convert->total)) {
		convert_fail(convert, -ECANCELED, false);
	}
	convert_advance(convert);
}

static void convert_write(struct convert_slot *slot);

static void convert_on_written(struct block_request *request, int result)
{
	struct convert_slot *slot = container_of(request, struct convert_slot, request);

	if (result) {
		convert_fail(slot->convert, result, true);
		convert_slot_free(slot);
		return;
	}
	slot->done += request->length_bytes;
	convert_write(slot);
}

static bool convert_piece_is_zero(const struct convert_slot *slot, uint64_t at)
{
	return bytes_is_zero(slot->buf + at,
			     (size_t)num_min(CONVERT_PIECE_BYTES, slot->bytes - at));
}

/* The next pieces that are not zero. */
static void convert_write(struct convert_slot *slot)
{
	struct convert *convert = slot->convert;
	uint64_t end;

	while (slot->done < slot->bytes && convert_piece_is_zero(slot, slot->done)) {
		slot->done += num_min(CONVERT_PIECE_BYTES, slot->bytes - slot->done);
	}
	end = slot->done;
	while (end < slot->bytes && !convert_piece_is_zero(slot, end)) {
		end += num_min(CONVERT_PIECE_BYTES, slot->bytes - end);
	}
	if (end == slot->done || convert->result) {
		convert_slot_free(slot);
		return;
	}
	slot->iov = (struct iovec){ slot->buf + slot->done, (size_t)(end - slot->done) };
	slot->request = (struct block_request){
		.op = BLOCK_WRITE,
		.offset_bytes = slot->at + slot->done,
		.length_bytes = end - slot->done,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = convert_on_written,
	};
	block_submit(convert->to, &slot->request);
}

static void convert_on_read(struct block_request *request, int result)
{
	struct convert_slot *slot = container_of(request, struct convert_slot, request);

	if (result) {
		convert_fail(slot->convert, result, false);
		convert_slot_free(slot);
	} else {
		slot->done = 0;
		convert_write(slot);
	}
}

static void convert_read(struct convert *convert, struct convert_slot *slot)
{
	slot->is_busy = true;
	convert->busy++;
	slot->at = convert->at;
	slot->bytes = num_min(CONVERT_CHUNK_BYTES, convert->mapped_until - convert->at);
	convert->at += slot->bytes;
	slot->iov = (struct iovec){ slot->buf, (size_t)slot->bytes };
	slot->request = (struct block_request){
		.op = BLOCK_READ,
		.offset_bytes = slot->at,
		.length_bytes = slot->bytes,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = convert_on_read,
	};
	block_submit(convert->from, &slot->request);
}

static void convert_on_mapped(struct block_request *request, int result)
{
	struct convert *convert = container_of(request, struct convert, map);

	convert->is_mapping = false;
	if (result) {
		/* A source that has no map is read from end to end. */
		convert->is_data = true;
		convert->mapped_until = convert->total;
	} else {
		convert->is_data = request->map.kind != BLOCK_MAP_ZERO;
		convert->mapped_until = convert->at + request->map.bytes;
	}
	convert_advance(convert);
}

static void convert_on_flushed(struct block_request *request, int result)
{
	struct convert *convert = container_of(request, struct convert, map);

	if (result) {
		convert_fail(convert, result, true);
	}
	loop_quit(convert->loop);
}

/* All is copied, or something failed, and nothing is in flight. */
static void convert_finish(struct convert *convert)
{
	if (convert->is_flushing) {
		return;
	}
	convert->is_flushing = true;
	convert->map = (struct block_request){ .op = BLOCK_FLUSH, .done = convert_on_flushed };
	block_submit(convert->to, &convert->map);
}

static void convert_advance(struct convert *convert)
{
	for (int i = 0; i < CONVERT_SLOTS && !convert->result && !convert->is_mapping; i++) {
		if (convert->slots[i].is_busy) {
			continue;
		}
		if (convert->at < convert->mapped_until && !convert->is_data) {
			convert->copied += convert->mapped_until - convert->at;
			convert->at = convert->mapped_until;
		}
		if (convert->at == convert->total) {
			break;
		}
		if (convert->at < convert->mapped_until) {
			convert_read(convert, &convert->slots[i]);
			continue;
		}
		if (!disk_progress_report(convert->progress, convert->copied, convert->total)) {
			convert_fail(convert, -ECANCELED, false);
			break;
		}
		convert->is_mapping = true;
		convert->map = (struct block_request){
			.op = BLOCK_MAP,
			.offset_bytes = convert->at,
			.length_bytes = convert->total - convert->at,
			.done = convert_on_mapped,
		};
		block_submit(convert->from, &convert->map);
	}
	if (convert->busy == 0 && !convert->is_mapping) {
		convert_finish(convert);
	}
}

/* ---- from one open block to another ------------------------------------------------------------ */

static void convert_on_stopped(struct loop_work *work)
{
	loop_quit(container_of(work, struct convert, stopped)->loop);
}

static void convert_stop(struct convert *convert, struct block *block)
{
	loop_work_init(&convert->stopped, convert_on_stopped);
	block_stop(block, &convert->stopped);
	loop_run(convert->loop);
}

static int convert_run(struct convert *convert, struct diag *reterr)
{
	int err = loop_create("tabique-convert", &convert->loop, reterr);

	if (err) {
		return err;
	}
	err = block_start(convert->from, convert->loop);
	if (!err) {
		err = block_start(convert->to, convert->loop);
		if (!err) {
			convert_advance(convert);
			loop_run(convert->loop);
			convert_stop(convert, convert->to);
		}
		convert_stop(convert, convert->from);
	}
	loop_destroy(convert->loop);
	return err ? diag_set(reterr, err, "the disks cannot be started: %s", strerror(-err)) : 0;
}

static int convert_copy(struct block *from, struct block *to, const char *source,
			const char *target, struct disk_progress *progress, struct diag *reterr)
{
	auto_free struct convert *convert = fault_alloc(1, sizeof(*convert));
	auto_free uint8_t *bufs = aligned_alloc(4096, (size_t)CONVERT_SLOTS * CONVERT_CHUNK_BYTES);
	int err;

	if (!convert || !bufs) {
		return diag_set(reterr, -ENOMEM, "no memory to copy with");
	}
	convert->progress = progress;
	convert->from = from;
	convert->to = to;
	convert->total = block_info(from)->bytes;
	for (int i = 0; i < CONVERT_SLOTS; i++) {
		convert->slots[i].convert = convert;
		convert->slots[i].buf = bufs + (size_t)i * CONVERT_CHUNK_BYTES;
	}
	err = convert_run(convert, reterr);
	disk_progress_fini(progress);
	if (err || !convert->result) {
		return err;
	}
	if (convert->result == -ECANCELED) {
		return diag_set(reterr, -ECANCELED, "stopped: %s was not made", target);
	}
	return convert->is_write_error
		       ? diag_set(reterr, convert->result, "disk %s cannot be written: %s", target,
				  strerror(-convert->result))
		       : diag_set(reterr, convert->result, "disk %s cannot be read: %s", source,
				  strerror(-convert->result));
}

/* ---- names ------------------------------------------------------------------------------------- */

static int convert_rename(const char *temporary, const char *target, bool force,
			  struct diag *reterr)
{
	const char *slash = strrchr(target, '/');
	char directory[PATH_MAX];
	auto_close int fd = -1;

	if (renameat2(AT_FDCWD, temporary, AT_FDCWD, target, force ? 0 : RENAME_NOREPLACE) < 0) {
		return diag_set(reterr, -errno, "disk %s cannot be put in its place: %s", target,
				strerror(errno));
	}
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - target) + 1 : 1,
		 slash ? target : ".");
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL)) {
		return diag_set(reterr, -errno, "disk %s: its directory cannot be synced: %s",
				target, strerror(errno));
	}
	return 0;
}

static int convert_check_target(const char *target, bool force, struct diag *reterr)
{
	struct stat st;

	if (lstat(target, &st) < 0) {
		return 0;
	}
	if (!force) {
		return diag_set(
			reterr, -EEXIST,
			"disk %s exists already: name another, or say --force to replace it",
			target);
	}
	return S_ISREG(st.st_mode) ? 0
				   : diag_set(reterr, -EEXIST,
					      "%s is no file: only files are replaced", target);
}

/* A name that nobody has, beside the target. */
static int convert_temporary(const char *target, char buf[PATH_MAX], struct diag *reterr)
{
	const char *slash = strrchr(target, '/');
	int directory = slash ? (int)(slash - target) + 1 : 0;

	if (snprintf(buf, PATH_MAX, "%.*s.%s.%d.part", directory, target, target + directory,
		     (int)getpid()) >= PATH_MAX) {
		return diag_set(reterr, -ENAMETOOLONG, "%s is too long a name", target);
	}
	return 0;
}

struct convert_options {
	const char *from, *to;
	struct image_create_config config;
	bool force, is_help;
};

static int convert_into(struct block *from, const char *source, const char *target,
			struct convert_options *options, struct diag *reterr)
{
	struct image_probe format = { .kind = options->config.kind };
	struct disk_progress progress;
	char temporary[PATH_MAX];
	struct block *to;
	int err = convert_temporary(target, temporary, reterr);

	if (err) {
		return err;
	}
	options->config.path = temporary;
	options->config.bytes = block_info(from)->bytes;
	if (options->config.kind == BLOCK_VHDX) {
		options->config.logical_block_bytes = block_info(from)->logical_block_bytes;
	}
	/* From here on a signal does not end us: the temporary file must go first. */
	disk_progress_init(&progress, "converting");
	err = image_create(&options->config, reterr);
	if (err) {
		return err;
	}
	err = disk_open(temporary, &format, false, &to, reterr);
	if (!err) {
		err = convert_copy(from, to, source, target, &progress, reterr);
		block_close(to);
	}
	if (!err) {
		err = convert_rename(temporary, target, options->force, reterr);
	}
	if (err) {
		unlink(temporary);
	}
	return err;
}

static int convert_parse(int argc, char **argv, struct convert_options *options,
			 struct diag *reterr)
{
	static const struct option names[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 'O' },
		{ "fixed", no_argument, NULL, OPT_FIXED },
		{ "block-size", required_argument, NULL, OPT_BLOCK },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ 0 },
	};
	int option, err = 0;

	while (!err && (option = getopt_long(argc, argv, "hf:O:", names, NULL)) != -1) {
		switch (option) {
		case 'h':
			options->is_help = true;
			return 0;
		case 'f':
			options->from = optarg;
			break;
		case 'O':
			options->to = optarg;
			break;
		case OPT_FIXED:
			options->config.layout = IMAGE_FIXED;
			break;
		case OPT_BLOCK:
			err = disk_size("--block-size", optarg, &options->config.block_bytes,
					reterr);
			break;
		case OPT_FORCE:
			options->force = true;
			break;
		default:
			err = diag_set(reterr, -EINVAL, "see tabique disk convert --help");
		}
	}
	return err;
}

int disk_convert(int argc, char **argv)
{
	struct convert_options options = { .config.layout = IMAGE_DYNAMIC };
	struct image_probe from, to;
	struct block *block;
	struct diag diag;
	int err = convert_parse(argc, argv, &options, &diag);

	if (err) {
		return disk_fail(err, &diag);
	}
	if (options.is_help || argc - optind != 2) {
		return disk_usage(help, options.is_help);
	}
	err = disk_format_out(options.to, argv[optind + 1], &to, &diag);
	if (!err) {
		err = convert_check_target(argv[optind + 1], options.force, &diag);
	}
	if (!err) {
		err = disk_format_in(options.from, argv[optind], &from, &diag);
	}
	if (!err) {
		err = disk_open(argv[optind], &from, true, &block, &diag);
	}
	if (err) {
		return disk_fail(err, &diag);
	}
	options.config.kind = to.kind;
	err = convert_into(block, argv[optind], argv[optind + 1], &options, &diag);
	block_close(block);
	return err ? disk_fail(err, &diag) : 0;
}
