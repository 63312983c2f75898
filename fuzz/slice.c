/* SPDX-License-Identifier: MIT */
/*
 * A slice of a file by actions, beside a model: any geometry, then requests of any kind, place, length
 * and layout of memory, lies about the memory among them. Input: the geometry (see struct geometry),
 * then eight bytes for each request. In the end the file holds the model within the window and its guard
 * pattern everywhere else, and is as long as it was. Files are a memfd (page cache) and one on disk
 * (direct I/O where there is).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_BYTES_MAX (96U << 10)
#define MEMORY_BYTES   (128U << 10)
#define REQUESTS_MAX   64
#define REQUEST_BYTES  8
#define IOVS_MAX       8
#define GEOMETRY_BYTES 7

struct geometry {
	bool on_disk, native_4k, to_the_end, huge, read_only, twin;
	uint32_t file_bytes;
	uint64_t offset, bytes;
};

static struct {
	struct loop *loop;
	int memfd, file;
	char memfd_path[64];
	uint8_t *memory, *all, *model; /* of the requests; of the file; of the window */

	struct geometry geometry;
	int fd;
	struct block *block, *original;
	uint64_t window;
	struct loop_work stopped;
	bool is_stopped, is_done;
	int result;
} m;

static uint8_t guard(uint64_t i)
{
	return (uint8_t)(0xa5 ^ i ^ (i >> 8));
}

static void on_stopped(struct loop_work *work)
{
	m.is_stopped = true;
}

static void setup(void)
{
	char path[] = "/tmp/fuzz-slice-XXXXXX";
	struct diag diag;

	check(loop_create("fuzz", &m.loop, &diag) == 0);
	loop_set_poll_ns(m.loop, 0);
	loop_work_init(&m.stopped, on_stopped);
	m.memfd = memfd_create("slice", MFD_CLOEXEC);
	m.file = mkstemp(path);
	check(m.memfd >= 0 && m.file >= 0);
	unlink(path); /* /proc/self/fd still finds it */
	m.memory = aligned_alloc(4096, MEMORY_BYTES);
	m.all = malloc(FILE_BYTES_MAX);
	m.model = malloc(FILE_BYTES_MAX);
	check(m.memory && m.all && m.model);
}

/* ---- the file ---- */

static void file_fill(void)
{
	uint32_t bytes = m.geometry.file_bytes;

	m.fd = m.geometry.on_disk ? m.file : m.memfd;
	snprintf(m.memfd_path, sizeof(m.memfd_path), "/proc/self/fd/%d", m.fd);
	for (uint32_t i = 0; i < bytes; i++) {
		m.all[i] = guard(i);
	}
	check(ftruncate(m.fd, 0) == 0);
	check(pwrite(m.fd, m.all, bytes, 0) == (ssize_t)bytes);
}

static void file_check(void)
{
	uint32_t bytes = m.geometry.file_bytes;

	check(lseek(m.fd, 0, SEEK_END) == (off_t)bytes);
	check(pread(m.fd, m.all, bytes, 0) == (ssize_t)bytes);
	for (uint32_t i = 0; i < bytes; i++) {
		bool inside = i >= m.geometry.offset && i - m.geometry.offset < m.window;

		check(m.all[i] == (inside ? m.model[i - m.geometry.offset] : guard(i)));
	}
}

/* ---- the slice ---- */

static void parse_geometry(const uint8_t *data)
{
	struct geometry *g = &m.geometry;
	uint32_t unit = data[0] & 2 ? 4096 : 512;

	g->on_disk = (data[0] & 0xc0) == 0xc0; /* the rarer one: it is slow */
	g->native_4k = data[0] & 1;
	g->to_the_end = data[0] & 4;
	g->huge = (data[0] & 0x18) == 0x18;
	g->read_only = (data[0] & 0x30) == 0x20;
	g->twin = data[1] & 1;
	g->file_bytes = (1 + (uint32_t)(data[2] % (FILE_BYTES_MAX / 512))) * 512;
	g->offset = (uint64_t)data[3] % 64 * unit + (data[1] & 0x80 ? data[4] : 0);
	g->bytes =
		g->to_the_end ? 0 : (uint64_t)data[5] % 64 * unit + (data[1] & 0x40 ? data[6] : 0);
	if (g->huge) {
		g->offset |= (uint64_t)data[4] << 56;
		g->bytes |= (uint64_t)data[6] << 56;
	}
}

/* Whether it may be opened, by the rules and not by the code. */
static bool geometry_is_right(void)
{
	const struct geometry *g = &m.geometry;
	uint32_t logical = g->native_4k ? 4096 : 512;

	if (g->offset == 0 && g->bytes == 0) {
		return g->file_bytes % logical == 0;
	}
	if (g->offset % logical || g->bytes % logical || g->offset >= g->file_bytes) {
		return false;
	}
	return g->bytes ? g->bytes <= g->file_bytes - g->offset
			: g->file_bytes - g->offset >= logical;
}

static bool slice_open(void)
{
	const struct geometry *g = &m.geometry;
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = m.memfd_path,
		.read_only = g->read_only,
		.logical_block_bytes = g->native_4k ? 4096 : 0,
		.slice_offset_bytes = g->offset,
		.slice_bytes = g->bytes,
	};
	struct diag diag;
	int err = block_open(&config, &m.original, &diag);

	if (err) {
		if (geometry_is_right() && !strstr(diag.text, "direct I/O")) {
			fprintf(stderr, "refused: %s\n", diag.text);
			check(false);
		}
		return false;
	}
	check(geometry_is_right());
	m.block = m.original;
	if (g->twin) {
		check(block_twin(m.original, &m.block) == 0);
		check(block_start(m.original, m.loop) == 0);
	}
	check(block_start(m.block, m.loop) == 0);
	m.window = block_info(m.block)->bytes;
	check(m.window > 0 && m.window <= g->file_bytes - g->offset);
	for (uint64_t i = 0; i < m.window; i++) {
		m.model[i] = guard(g->offset + i);
	}
	return true;
}

static void block_end(struct block *block)
{
	m.is_stopped = false;
	block_stop(block, &m.stopped);
	while (!m.is_stopped) {
		loop_turn(m.loop);
	}
	block_close(block);
}

/* ---- requests ---- */

static void on_done(struct block_request *request, int result)
{
	check(!m.is_done);
	m.is_done = true;
	m.result = result;
}

static bool request_is_right(const struct block_request *request, bool lies)
{
	const struct block_info *info = block_info(m.block);
	uint32_t logical = info->logical_block_bytes;
	bool reads = request->op == BLOCK_READ || request->op == BLOCK_MAP;

	if (request->op == BLOCK_FLUSH) {
		return true;
	}
	if ((!reads && m.geometry.read_only) || lies || request->offset_bytes % logical ||
	    request->length_bytes % logical ||
	    !num_range_fits(request->offset_bytes, request->length_bytes, m.window)) {
		return false;
	}
	return request->op == BLOCK_DISCARD        ? info->can_discard
	       : request->op == BLOCK_WRITE_ZEROES ? info->can_write_zeroes
						   : true;
}

/* Cuts memory of this length into pieces; returns how many. */
static int cut(struct iovec iovs[IOVS_MAX], uint8_t *at, uint64_t bytes, uint8_t how)
{
	int count = 0;

	while (bytes > 0 && count < IOVS_MAX - 1 && how) {
		size_t n = num_min(bytes, 1 + (size_t)how * 29);

		iovs[count++] = (struct iovec){ at, n };
		at += n;
		bytes -= n;
		how = (uint8_t)(how * 5 % 64);
	}
	if (bytes > 0) {
		iovs[count++] = (struct iovec){ at, bytes };
	}
	return count;
}

static void apply(const struct block_request *request, const uint8_t *memory)
{
	uint64_t at = request->offset_bytes, bytes = request->length_bytes;

	switch (request->op) {
	case BLOCK_READ:
		check(memcmp(memory, m.model + at, bytes) == 0);
		break;
	case BLOCK_WRITE:
		memcpy(m.model + at, memory, bytes);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		memset(m.model + at, 0, bytes);
		break;
	case BLOCK_MAP:
		check(bytes == 0 || (request->map.bytes > 0 && request->map.bytes <= bytes));
		break;
	case BLOCK_FLUSH:
	case BLOCK_RESIZE:
		break;
	}
}

static void run_request(const uint8_t *data)
{
	uint8_t *memory = m.memory + (data[0] & 0x08 ? data[7] : 0);
	struct iovec iovs[IOVS_MAX];
	bool transfers, lies;
	uint64_t bytes;
	struct block_request request = {
		.op = (enum block_op)(data[0] % BLOCK_OPS),
		.fua = data[0] & 0x10,
		.may_unmap = data[0] & 0x20,
		.offset_bytes = bytes_le16(data + 1) % 256 * (data[0] & 0x40 ? 512ULL : 4096ULL),
		.length_bytes = data[3] % 200 * 512ULL,
		.iov = iovs,
		.done = on_done,
	};

	if (data[0] & 0x80) {
		/* Near the window's end, or anywhere in 64 bits, and of odd lengths. */
		request.offset_bytes = (data[4] & 1 ? m.window : 0) - (data[5] & 0x0f) * 512ULL;
		request.length_bytes += data[4] & 2 ? data[6] : 0;
		request.length_bytes |= data[4] & 4 ? (uint64_t)data[6] << 56 : 0;
	}
	transfers = request.op == BLOCK_READ || request.op == BLOCK_WRITE;
	bytes = num_min(request.length_bytes, MEMORY_BYTES - 512);
	lies = transfers && ((data[4] & 0x18) == 0x18 || bytes != request.length_bytes) &&
	       request.length_bytes > 0;
	if (transfers) {
		/* A lie is memory that is longer or shorter than what is said. */
		uint64_t have = !lies || bytes != request.length_bytes ? bytes
				: data[4] & 0x20                       ? bytes - 1
								       : bytes + 1;

		memset(m.memory, data[6], MEMORY_BYTES);
		request.iov_count = cut(iovs, memory, have, data[5] >> 2);
	}
	m.is_done = false;
	block_submit(m.block, &request);
	check(!m.is_done);
	while (!m.is_done) {
		loop_turn(m.loop);
	}
	if (request.op == BLOCK_RESIZE) {
		/* A whole file has a size of its own to change; that is not what this is about. */
		check(m.result < 0);
		return;
	}
	check((m.result == 0) == request_is_right(&request, lies));
	if (m.result == 0) {
		apply(&request, memory);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!m.loop) {
		setup();
	}
	if (size < GEOMETRY_BYTES) {
		return 0;
	}
	parse_geometry(data);
	data += GEOMETRY_BYTES;
	size -= GEOMETRY_BYTES;
	file_fill();
	m.window = 0;
	if (slice_open()) {
		for (int i = 0; i < REQUESTS_MAX && size >= REQUEST_BYTES; i++) {
			bool whole = m.geometry.offset == 0 && m.geometry.bytes == 0;

			if (!whole || data[0] % BLOCK_OPS != BLOCK_RESIZE) {
				run_request(data);
			}
			data += REQUEST_BYTES;
			size -= REQUEST_BYTES;
		}
		block_end(m.block);
		if (m.block != m.original) {
			block_end(m.original);
		}
	}
	file_check();
	return 0;
}
