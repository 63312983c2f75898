/* SPDX-License-Identifier: MIT */
/*
 * A disk of a network block device server, through libnbd: what nbd.c (I/O), nbd_link.c (the
 * connection while it lasts), nbd_dial.c (making one) and nbd_open.c (life) share.
 *
 *   owner   the block's   thread  the loop's, once started, unless a section says otherwise
 *   spec    libnbd(3); the protocol: NetworkBlockDevice's doc/proto.md
 */
#pragma once

#include <libnbd.h>
#include <stdatomic.h>

#include "base/log.h"
#include "block/block_impl.h"

/* Commands of one connection that the server has at once. More requests wait for their turn. */
#define NBD_OPS          128

/* libnbd takes no iovecs: what is scattered goes through these. Mapped, untouched until used. */
#define NBD_BOUNCE_SLOTS 16
#define NBD_BOUNCE_BYTES (256U << 10)

/*
 * A part of a scattered request that is contiguous for so long goes without a copy. Measured: a copy of 64 KiB
 * costs about as much as one more command; sixteen commands for 64 KiB cost five times the copy.
 */
#define NBD_DIRECT_BYTES (128U << 10)

/* The largest transfer, where the server allows it: the protocol's own default. */
#define NBD_PIECE_BYTES  (32U << 20)

/* The largest discard, write of zeroes or question for holes in one command. */
#define NBD_RANGE_BYTES  (128U << 20)

/* Replies taken in one go, before other users of the loop have their turn. */
#define NBD_TURN_MAX     64

/* A server that demands larger blocks than guests know is refused. */
#define NBD_BLOCK_MAX    4096U

/* A request that has no answer after so many times limits.silence_ns ends the connection. */
#define NBD_PATIENCE     4

/* The part of silence_ns after which the watch-dog looks again. */
#define NBD_TICKS        4

/* How long we wait. */
struct nbd_limits {
	uint64_t connect_ns;                     /* name, connection and handshake together */
	uint64_t silence_ns;                     /* requests in flight, and nothing comes */
	uint64_t backoff_ns_min, backoff_ns_max; /* between two attempts, doubled each time */
};
extern const struct nbd_limits nbd_limits_default;

/* ---- making a connection: any thread -------------------------------------------------------------- */

/*
 * An attempt, on a thread of its own: looking a name up blocks and cannot be interrupted, and no loop
 * may wait. When it has ended, the event counter becomes readable.
 *
 * It has two owners, the thread and who began it. Whoever leaves last frees it (nbd_dial_leave()), so
 * an attempt that is not wanted any more can be left alone at once.
 */
struct nbd_dial {
	struct nbd_limits limits;
	char *uri;
	int done_fd;   /* readable: it has ended */
	int cancel_fd; /* made readable: nobody wants it any more */
	_Atomic(bool) is_left;
	_Atomic(bool) is_ended; /* set by the thread, pairs with nbd_dial_end() */

	/* The thread's until is_ended, then the beginner's. */
	struct nbd_handle *handle; /* ready; NULL: see error */
	int err;
	struct diag error; /* libnbd's own words */
};

MUST_CHECK int nbd_dial_begin(const char *uri, const struct nbd_limits *limits,
			      struct nbd_dial **ret);

/* It has ended: its handle, which becomes the caller's, or its negative errno. Then leaves. */
MUST_CHECK int nbd_dial_end(struct nbd_dial *dial, struct nbd_handle **ret, struct diag *reterr);
void nbd_dial_leave(struct nbd_dial *dial);

/* The same for one who may wait, limits.connect_ns at most. */
MUST_CHECK int nbd_dial_wait(const char *uri, const struct nbd_limits *limits,
			     struct nbd_handle **ret, struct diag *reterr);

/* ---- the disk ----------------------------------------------------------------------------------- */

/* What an export is like. */
struct nbd_export {
	uint64_t bytes;
	uint32_t block_bytes;     /* the server's smallest; 1 when it does not say */
	uint32_t preferred_bytes; /* 0: it does not say */
	uint32_t piece_bytes;     /* the largest transfer, a multiple of block_bytes */
	bool read_only, flush, fua, trim, zero, map, multi, rotational, tls;
};

/* A command that libnbd has. */
struct nbd_op {
	struct nbd *nbd;
	struct block_request *whole;
	struct list link; /* free, flying or done */
	int64_t cookie;
	uint64_t skip_bytes;   /* where in the whole it begins */
	uint64_t written_mark; /* a flush: nbd_durability.written when it began */
	uint32_t bytes;
	uint32_t tick; /* nbd.ticks when it began */
	int bounce;    /* slot, or -1 */
	int error;     /* libnbd's, positive */
	bool is_flush;
};

/*
 * What has been written and what flushed, over all twins of a disk. When a connection breaks while
 * something that was written is not flushed, the server may have crashed and lost it: the next flush says
 * so (B3), once.
 */
struct nbd_durability {
	_Atomic(uint64_t) written, flushed;
	_Atomic(bool) is_lost;
};

/* One direction of the connection's descriptor, as a one-shot poll in io_uring. */
struct nbd_half {
	struct loop_request request;
	struct nbd *nbd;
	bool armed;
};

struct nbd {
	struct block block;
	char *uri;
	struct nbd_limits limits;
	struct nbd_export export; /* as we promised our users */
	struct nbd_durability *durability;
	struct nbd_durability own_durability; /* the original's, which outlives its twins */
	uint64_t server_bytes;                /* as the present connection says */

	/* The connection; NULL: there is none. */
	struct nbd_handle *handle;
	struct nbd_half in, out;
	struct loop_request cancel;
	unsigned int armed; /* requests in the ring, cancellations too */
	bool is_quiescing, is_dialed;

	/* Finding a new one. */
	struct nbd_dial *dial; /* its end has been seen: is_dialed */
	struct loop_watch dial_watch;
	struct loop_timer backoff;
	uint64_t backoff_ns;
	uint64_t connections, losses; /* for describe */
	struct log_rate log_rate;     /* a server can make it break as often as it likes */

	/* The watch-dog. */
	struct loop_timer watchdog;
	uint32_t ticks, silent_ticks;
	uint64_t events, events_seen;

	/* Commands. */
	struct nbd_op *ops;
	struct list free, flying, done;
	struct list waiting; /* wholes, for a command or a slot */
	struct loop_work tend_work;
	uint8_t *bounce;
	uint32_t bounce_free; /* bit per slot */
};

/* The second for servers that promise coherence between connections: it makes twins. */
extern const struct block_ops nbd_ops, nbd_multi_ops;

/* As block_nbd_open(), with other times. */
MUST_CHECK int nbd_disk_open(const struct block_config *config, const struct nbd_limits *limits,
			     struct block **ret, struct diag *reterr);

/* A disk over a connection that is ready already; the handle is taken, also on failure. */
MUST_CHECK int nbd_disk_create(const struct block_config *config, const struct nbd_limits *limits,
			       struct nbd_handle *handle_take, struct block **ret,
			       struct diag *reterr);

/* 0, or -EINVAL with a sentence: the export is none that we can use. */
MUST_CHECK int nbd_export_read(struct nbd_handle *handle, const char *uri, struct nbd_export *ret,
			       struct diag *reterr);

/* ---- the connection: nbd_link.c ------------------------------------------------------------------- */

/* Starts watching the connection, or looking for one. */
MUST_CHECK int nbd_link_start(struct nbd *nbd, struct loop *loop);

/* Nothing is in flight: lets go of the loop; block_quiesced() follows. */
void nbd_link_quiesce(struct nbd *nbd);

/* Commands were given to libnbd in this round: sees to their going out, and to their answers. */
void nbd_link_tend(struct nbd *nbd);

/* ---- I/O: nbd.c ------------------------------------------------------------------------------------ */

/* Finishes what libnbd is through with. Never from within submit. */
void nbd_reap(struct nbd *nbd);

/* The connection has broken: closes it; everything in flight fails with err. Never within submit. */
void nbd_drop(struct nbd *nbd, int err);

void nbd_on_tend(struct loop_work *work);

/* ---- life: nbd_open.c ------------------------------------------------------------------------------- */

int nbd_twin(struct block *original, struct block **ret);
void nbd_describe(struct block *block, image_fact_fn *fn, void *ctx);
void nbd_disk_close(struct block *block);
