/* SPDX-License-Identifier: MIT */
/* Network disks: opening, what a server's export is like, twins. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/guid.h"
#include "base/num.h"
#include "block/nbd_internal.h"

#define PREFERRED_BYTES_MAX (64U << 10)

const struct nbd_limits nbd_limits_default = {
	.connect_ns = 10000000000ULL,
	.silence_ns = 30000000000ULL,
	.backoff_ns_min = 100000000ULL,
	.backoff_ns_max = 5000000000ULL,
};

static uint32_t export_piece_bytes(uint64_t maximum, uint32_t block_bytes)
{
	uint64_t bytes = maximum ? num_min(maximum, NBD_PIECE_BYTES) : NBD_PIECE_BYTES;

	return (uint32_t)num_align_down(bytes, num_max(block_bytes, 512));
}

int nbd_export_read(struct nbd_handle *handle, const char *uri, struct nbd_export *ret,
		    struct diag *reterr)
{
	int64_t bytes = nbd_get_size(handle);
	int64_t minimum = nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM);
	int64_t preferred = nbd_get_block_size(handle, LIBNBD_SIZE_PREFERRED);
	int64_t maximum = nbd_get_block_size(handle, LIBNBD_SIZE_MAXIMUM);
	struct nbd_export export;

	if (bytes < 0 || minimum < 0 || preferred < 0 || maximum < 0) {
		return diag_set(reterr, -EINVAL, "disk %s: its server tells no size that can be",
				uri);
	}
	if (minimum > NBD_BLOCK_MAX) {
		return diag_set(reterr, -EINVAL,
				"disk %s: its server wants requests of %lld bytes, more than a "
				"guest's block of %u: let it accept smaller ones (nbdkit: "
				"--filter=blocksize)",
				uri, (long long)minimum, NBD_BLOCK_MAX);
	}
	export = (struct nbd_export){
		.bytes = (uint64_t)bytes,
		.block_bytes = (uint32_t)num_max((uint64_t)minimum, 1),
		.preferred_bytes = (uint32_t)num_min((uint64_t)preferred, PREFERRED_BYTES_MAX),
		.read_only = nbd_is_read_only(handle) > 0,
		.flush = nbd_can_flush(handle) > 0,
		.fua = nbd_can_fua(handle) > 0,
		.trim = nbd_can_trim(handle) > 0,
		.zero = nbd_can_zero(handle) > 0,
		.map = nbd_can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0,
		.multi = nbd_can_multi_conn(handle) > 0,
		.rotational = nbd_is_rotational(handle) > 0,
		.tls = nbd_get_tls_negotiated(handle) > 0,
	};
	export.piece_bytes = export_piece_bytes((uint64_t)maximum, export.block_bytes);
	*ret = export;
	return 0;
}

/* What the guest will see, and whether it fits what the server has. */
static int nbd_fill_info(struct nbd *nbd, const struct block_config *config, struct diag *reterr)
{
	const struct nbd_export *export = &nbd->export;
	struct block_info *info = &nbd->block.info;
	uint32_t logical = export->block_bytes > 512 ? NBD_BLOCK_MAX : 512;
	struct guid guid;

	logical = (uint32_t)num_max(logical, config->logical_block_bytes);
	if (export->read_only && !config->read_only) {
		return diag_set(reterr, -EROFS,
				"disk %s: its server offers it for reading only: use readonly=on",
				nbd->uri);
	}
	if (export->bytes == 0 || export->bytes % logical != 0) {
		return diag_set(reterr, -EINVAL,
				"disk %s has %llu bytes, no multiple of %u: give the export such a "
				"size",
				nbd->uri, (unsigned long long)export->bytes, logical);
	}
	if (export->piece_bytes < logical) {
		return diag_set(
			reterr, -EINVAL,
			"disk %s: its server takes no transfer of a whole block of %u bytes",
			nbd->uri, logical);
	}
	nbd->export.piece_bytes = (uint32_t)num_align_down(export->piece_bytes, logical);
	info->bytes = export->bytes;
	info->logical_block_bytes = logical;
	info->physical_block_bytes = (uint32_t)num_max(
		logical, export->preferred_bytes ? export->preferred_bytes : 4096);
	info->read_only = config->read_only;
	info->rotational = export->rotational;
	info->can_discard = export->trim && !config->read_only;
	info->can_write_zeroes = export->zero && !config->read_only;
	guid_from_name(nbd->uri, &guid);
	guid_format(&guid, info->identity);
	return 0;
}

/* Memory, and everything that needs no server. */
static int nbd_alloc(const char *uri, const struct nbd_limits *limits, struct nbd **ret)
{
	struct nbd *nbd = fault_alloc(1, sizeof(*nbd));

	if (!nbd) {
		return -ENOMEM;
	}
	block_init(&nbd->block, &nbd_ops);
	nbd->limits = *limits;
	nbd->durability = &nbd->own_durability;
	list_init(&nbd->free);
	list_init(&nbd->flying);
	list_init(&nbd->done);
	list_init(&nbd->waiting);
	nbd->bounce_free = (1U << NBD_BOUNCE_SLOTS) - 1;
	nbd->uri = fault_alloc(1, strlen(uri) + 1);
	nbd->ops = fault_alloc(NBD_OPS, sizeof(*nbd->ops));
	/* Takes no memory until a slot is used. */
	nbd->bounce = mmap(NULL, (size_t)NBD_BOUNCE_SLOTS * NBD_BOUNCE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (nbd->bounce == MAP_FAILED) {
		nbd->bounce = NULL;
	}
	if (!nbd->uri || !nbd->ops || !nbd->bounce) {
		nbd_disk_close(&nbd->block);
		return -ENOMEM;
	}
	strcpy(nbd->uri, uri);
	for (int i = 0; i < NBD_OPS; i++) {
		nbd->ops[i].nbd = nbd;
		list_append(&nbd->free, &nbd->ops[i].link);
	}
	*ret = nbd;
	return 0;
}

void nbd_disk_close(struct block *block)
{
	struct nbd *nbd = container_of(block, struct nbd, block);

	if (nbd->handle) {
		/* A word of farewell, so that the server need not guess. */
		(void)nbd_aio_disconnect(nbd->handle, 0);
		nbd_close(nbd->handle);
	}
	if (nbd->bounce) {
		munmap(nbd->bounce, (size_t)NBD_BOUNCE_SLOTS * NBD_BOUNCE_BYTES);
	}
	free(nbd->ops);
	free(nbd->uri);
	free(nbd);
}

int nbd_disk_create(const struct block_config *config, const struct nbd_limits *limits,
		    struct nbd_handle *handle_take, struct block **ret, struct diag *reterr)
{
	struct nbd *nbd;
	int err = nbd_alloc(config->path, limits, &nbd);

	if (err) {
		nbd_close(handle_take);
		return diag_set(reterr, err, "disk %s: no memory for it", config->path);
	}
	nbd->handle = handle_take;
	nbd->connections = 1;
	err = nbd_export_read(handle_take, nbd->uri, &nbd->export, reterr);
	if (!err) {
		err = nbd_fill_info(nbd, config, reterr);
	}
	if (err) {
		nbd_disk_close(&nbd->block);
		return err;
	}
	nbd->server_bytes = nbd->export.bytes;
	if (nbd->export.multi) {
		nbd->block.ops = &nbd_multi_ops;
	}
	*ret = &nbd->block;
	return 0;
}

static int nbd_check_uri(const char *uri, struct diag *reterr)
{
	static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };
	size_t i = 0;

	while (i < ARRAY_SIZE(schemes) && strncmp(uri, schemes[i], strlen(schemes[i])) != 0) {
		i++;
	}
	if (i == ARRAY_SIZE(schemes)) {
		return diag_set(reterr, -EINVAL,
				"disk %s is no address of a network disk: write "
				"nbd://HOST[:PORT]/EXPORT, nbds://… or "
				"nbd+unix:///EXPORT?socket=PATH",
				uri);
	}
	return 0;
}

int nbd_disk_open(const struct block_config *config, const struct nbd_limits *limits,
		  struct block **ret, struct diag *reterr)
{
	struct nbd_handle *handle;
	struct diag diag;
	int err = nbd_check_uri(config->path, reterr);

	if (err) {
		return err;
	}
	err = nbd_dial_wait(config->path, limits, &handle, &diag);
	if (err) {
		return diag_set(reterr, err,
				"disk %s: no connection: %s; is the server running, and the "
				"export's name right?",
				config->path, diag.text);
	}
	return nbd_disk_create(config, limits, handle, ret, reterr);
}

int block_nbd_open(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	return nbd_disk_open(config, &nbd_limits_default, ret, reterr);
}

int nbd_twin(struct block *original, struct block **ret)
{
	struct nbd *of = container_of(original, struct nbd, block), *nbd;
	struct nbd_handle *handle;
	struct nbd_export export;
	struct diag diag;
	int err = nbd_alloc(of->uri, &of->limits, &nbd);

	if (err) {
		return err;
	}
	err = nbd_dial_wait(of->uri, &of->limits, &handle, &diag);
	if (!err) {
		nbd->handle = handle;
		err = nbd_export_read(handle, of->uri, &export, &diag);
	}
	if (!err && (export.bytes != of->server_bytes || !export.multi)) {
		err = -ENXIO;
	}
	if (err) {
		nbd_disk_close(&nbd->block);
		return err;
	}
	nbd->block.ops = &nbd_multi_ops;
	nbd->block.info = of->block.info;
	nbd->export = of->export;
	nbd->server_bytes = export.bytes;
	nbd->durability = of->durability;
	nbd->connections = 1;
	*ret = &nbd->block;
	return 0;
}

static void describe_number(image_fact_fn *fn, void *ctx, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	fn(ctx, name, text);
}

void nbd_describe(struct block *block, image_fact_fn *fn, void *ctx)
{
	const struct nbd *nbd = container_of(block, struct nbd, block);

	fn(ctx, "uri", nbd->uri);
	fn(ctx, "connected", nbd->handle ? "yes" : "no");
	fn(ctx, "encrypted", nbd->export.tls ? "yes" : "no");
	fn(ctx, "flush", nbd->export.flush ? "yes" : "no");
	fn(ctx, "fua", nbd->export.fua ? "yes" : "no");
	fn(ctx, "multi_connection", nbd->export.multi ? "yes" : "no");
	describe_number(fn, ctx, "transfer_bytes_max", nbd->export.piece_bytes);
	describe_number(fn, ctx, "connections", nbd->connections);
	describe_number(fn, ctx, "connections_lost", nbd->losses);
}
