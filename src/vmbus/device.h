/* SPDX-License-Identifier: MIT */
/*
 * What a virtual service provider (VSP) implements, and what it may ask of its channels.
 *
 * A VSP embeds struct vmbus_device, fills in its offer and its table, and hands it to the bus. The
 * guest's driver (VSC) opens the channel; from then on the VSP is called on the channel's I/O loop
 * and nowhere else, so it needs no lock:
 *
 *            bus_offer()                  guest: OPEN_CHANNEL
 *   offered ─────────────► (guest sees it) ─────► open ──► packet … batch_end, writable ─┐
 *      ▲                                           ▲  └──────────────◄───────────────────┘
 *      │         vmbus_channel_closed()            │
 *      └────────────────────────── close ◄─────────┘ guest: CLOSE_CHANNEL, UNLOAD, reset, rescind
 *
 * Invariants:
 *   D1  packet() is called only between open() and close().
 *   D2  After close() the VSP may use the channel until it calls vmbus_channel_closed(), once, when
 *       none of its I/O touches guest memory any more. It may do so inside close().
 *   D3  Every packet that asks for a completion gets exactly one, unless the channel is closed.
 *   D4  Sub-channels are offered at the VSP's request (vmbus_channel_offer_subs) and live within one
 *       opening of the primary: when that closes they are closed and rescinded, and it is opened
 *       again only when all of them have said closed. Each lives on a loop of its own, and each call
 *       that names a channel is made on that channel's loop.
 *
 *   owner   the VSP belongs to vm; a channel belongs to the bus
 *   thread  the channel's I/O loop, except where it says otherwise; calls that name no channel: the
 *           primary channel's
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/guid.h"
#include "dev/inspect.h"
#include "loop/loop.h"
#include "mem/gpa_range.h"
#include "mem/mem.h"
#include "proto/vmbus_msg.h"
#include "proto/vmbus_ring.h"
#include "state/load.h"
#include "state/save.h"
#include "vmbus/gpadl.h"

struct vmbus_bus;
struct vmbus_lending;
struct vmbus_channel;
struct vmbus_device;

/* A packet from the guest, in memory of our own that the guest cannot change. */
struct vmbus_packet {
	uint16_t type; /* VMBUS_PACKET_* */
	bool wants_completion;
	uint64_t transaction_id;
	const uint8_t *descriptor; /* what lies between the 16-byte header and the payload */
	uint32_t descriptor_bytes;
	const uint8_t *payload; /* 8-aligned; its length is rounded up to 8 by the protocol */
	uint32_t payload_bytes;
};

struct vmbus_device_ops {
	const char *name; /* "storvsp"; for inspect and the log */

	/* A packet with descriptor and payload longer than this breaks the ring. ≤ 64 KiB. */
	uint32_t packet_bytes_max;

	/*
	 * Completions may wait for others while requests still come (vmbus/coalesce.h), and so may
	 * what the device submits to the loop meanwhile.
	 */
	bool coalesces;

	/*
	 * Packets of a channel that may wait for their answers at a time (vmbus_channel_keep()); 0:
	 * none. At most VMBUS_KEEP_MAX.
	 */
	uint32_t keep_max;

	/*
	 * The guest opened a channel. user_data: 120 bytes from OPEN_CHANNEL. 0, or a negative errno:
	 * the guest gets a failure and the channel stays closed.
	 */
	int (*open)(struct vmbus_device *device, struct vmbus_channel *channel,
		    const uint8_t *user_data);

	/*
	 * A packet, valid during the call. Returns
	 *   0         taken
	 *   -EAGAIN   not now: it stays in the ring, and reading stops until
	 *             vmbus_channel_resume(); for back-pressure
	 *   -EBADMSG  nonsense that was answered as the protocol prescribes: counted, logged
	 *   -EPROTO   the guest has broken the protocol beyond answering: the channel is dead until
	 *             it is closed and opened again
	 */
	int (*packet)(struct vmbus_device *device, struct vmbus_channel *channel,
		      const struct vmbus_packet *packet);

	/* Optional: the ring was drained (or reading stopped) after at least one packet. */
	void (*batch_end)(struct vmbus_device *device, struct vmbus_channel *channel);

	/* Optional: a ring that vmbus_channel_send() found full has room again. */
	void (*writable)(struct vmbus_device *device, struct vmbus_channel *channel);

	/* See D2. */
	void (*close)(struct vmbus_device *device, struct vmbus_channel *channel);

	/*
	 * The machine was reset or the guest unloaded the bus; all channels are closed. Forget what
	 * was negotiated beyond a channel's life. Optional.
	 */
	void (*reset)(struct vmbus_device *device);

	/*
	 * The VSP's half of the saved state, while the device is quiet (paused: nothing in flight).
	 * load runs after the channels have been restored, before packets flow; 0, or -EBADMSG:
	 * then nothing is started with it, and it is only closed.
	 */
	void (*save)(struct vmbus_device *device, struct save *save);
	int (*load)(struct vmbus_device *device, struct load *load);

	/*
	 * A channel of a saved state is open again, in the place of open(); load follows. Optional, for
	 * those with sub-channels.
	 */
	int (*restored)(struct vmbus_device *device, struct vmbus_channel *channel);

	/*
	 * For devices that may be served by another process, which may be killed: see "journaled
	 * channels" below. All optional.
	 *
	 * leave: the channel goes to another process, in the place of close(): it may not be used after
	 * this call, and nothing of the VSP's I/O touches guest memory any more. Kept packets are
	 * given again over there.
	 */
	void (*leave)(struct vmbus_device *device, struct vmbus_channel *channel);
	/* Bytes of the VSP's own log in the journal; constant. Without: only the saved form survives. */
	size_t (*log_bytes)(const struct vmbus_device *device);
	/*
	 * The log, valid until it is detached with NULL. Before open() or restored(), after the last
	 * close or leave; no channel is open, and this is called on the control loop.
	 */
	void (*log_attach)(struct vmbus_device *device, void *log);
	/* Into this log, which is zeroed: all that it should say now, stamped 1. The device is paused. */
	void (*log_write)(struct vmbus_device *device, void *log);
	/*
	 * load() has run; what the log says beyond it. The log is hostile; an entry is true when its
	 * stamp has happened (vmbus_channel_is_past()), and one that has not is to be voided, or the
	 * next commits would make it true. 0 or -EBADMSG. is_clean: nobody was killed. log: NULL when
	 * there is none; it need not be the one that is attached, if any.
	 */
	int (*recover)(struct vmbus_device *device, const void *log, bool is_clean);
	/* All that was read from and written to this channel so far is final. Its loop. */
	void (*committed)(struct vmbus_device *device, struct vmbus_channel *channel);

	/*
	 * Optional: the channel was paused and is not any more, so that its VSP may speak without having
	 * been asked: the machine goes on, or a restore (the channel's owner's too) is complete.
	 */
	void (*unpaused)(struct vmbus_device *device, struct vmbus_channel *channel);

	/* Counters and state, for people; of one channel (optional). */
	void (*inspect)(struct vmbus_device *device, struct inspect *at);
	void (*inspect_channel)(struct vmbus_device *device, struct vmbus_channel *channel,
				struct inspect *at);
};

struct vmbus_offer {
	struct guid interface_type;
	struct guid interface_instance;
	uint16_t flags; /* VMBUS_OFFER_FLAG_* */
	uint16_t mmio_mib;
	uint8_t user_defined[VMBUS_OFFER_USER_DEFINED_BYTES];
};

/* Embedded in a VSP; the VSP fills ops, offer and loop before bus_offer(). */
struct vmbus_device {
	const struct vmbus_device_ops *ops;
	struct vmbus_offer offer;
	struct loop *loop; /* the I/O loop that its primary channel lives on */
	/* Sub-channel n lives on sub_loops[n - 1]; as many as may be offered. */
	struct loop *const *sub_loops;
	unsigned int sub_channels_max;
	struct vmbus_channel *channel; /* the primary channel; the bus's */
	struct vmbus_lending *lending; /* the bus's: how it is served by another process; or NULL */
};

/* ---- a channel, for its VSP ------------------------------------------------------------------ */

struct loop *vmbus_channel_loop(const struct vmbus_channel *channel);
const struct mem *vmbus_channel_mem(const struct vmbus_channel *channel);
uint32_t vmbus_channel_relid(const struct vmbus_channel *channel);

/* 0 for the primary channel. */
uint16_t vmbus_channel_index(const struct vmbus_channel *channel);

bool vmbus_channel_is_open(const struct vmbus_channel *channel);

/*
 * Sub-channels 1 to count (at most the device's sub_channels_max) are offered to the guest, soon: see
 * D4. Those that were offered in this opening stay as they are. The primary's loop, between open and
 * close.
 */
void vmbus_channel_offer_subs(struct vmbus_channel *primary, unsigned int count);

/*
 * The machine is paused: nothing may be sent but what ends a request of the guest's. For VSPs that
 * speak without having been asked.
 */
bool vmbus_channel_is_paused(const struct vmbus_channel *channel);

/* The bus version that the guest negotiated: VMBUS_VERSION_*. */
uint32_t vmbus_channel_version(const struct vmbus_channel *channel);

struct vmbus_send {
	uint16_t type; /* VMBUS_PACKET_* */
	bool wants_completion;
	uint64_t transaction_id;
	const void *descriptor; /* NULL when there is none; a multiple of 8 bytes */
	uint32_t descriptor_bytes;
	const struct iovec *payload;
	int payload_count;
	/*
	 * 0, or the guest is in no hurry to hear of it: it is shown like any other packet, but its
	 * interrupt may wait for another's (VMBUS_LAZY_NS). So many bytes of the guest's it frees.
	 */
	uint32_t lazy_bytes;
};

/* An interrupt waits no longer than this, for no more packets, and for no more bytes that they free. */
#define VMBUS_LAZY_NS      900000ULL
#define VMBUS_LAZY_PACKETS 16U
#define VMBUS_LAZY_BYTES   131072U

/*
 * Puts a packet into the host → guest ring. 0; -EAGAIN when there is no room: writable() is called
 * when the guest has made some (the caller keeps what it wanted to send); -E2BIG when it would not
 * even fit an empty ring; -EPIPE when the channel is dead or closed. The guest is told once, at the
 * end of the loop's round (completions: see coalesces), and only if it wants to be.
 */
MUST_CHECK int vmbus_channel_send(struct vmbus_channel *channel, const struct vmbus_send *send);

/* The two commonest forms of it. */
MUST_CHECK int vmbus_channel_send_inband(struct vmbus_channel *channel, uint64_t transaction_id,
					 bool wants_completion, const void *payload,
					 uint32_t bytes);
MUST_CHECK int vmbus_channel_complete(struct vmbus_channel *channel, uint64_t transaction_id,
				      const void *payload, uint32_t bytes);

/* A completion that the guest is in no hurry to hear of: see lazy_bytes. */
MUST_CHECK int vmbus_channel_complete_lazily(struct vmbus_channel *channel, uint64_t transaction_id,
					     const void *payload, uint32_t bytes,
					     uint32_t lazy_bytes);

/* Whether a packet with so many bytes of descriptor and payload would fit now. */
bool vmbus_channel_has_room(const struct vmbus_channel *channel, uint32_t bytes);

/* The same; when it would not, writable() is called when it does, as after a send that found none. */
bool vmbus_channel_wait_room(struct vmbus_channel *channel, uint32_t bytes);

/* After packet() returned -EAGAIN: read on (from the loop, not inside this call). */
void vmbus_channel_resume(struct vmbus_channel *channel);

/* From packet(): let others on this loop have their turn after this packet. */
void vmbus_channel_yield(struct vmbus_channel *channel);

/* See D2. */
void vmbus_channel_closed(struct vmbus_channel *channel);

/*
 * The GPADL that the guest calls `id` on this channel, with a reference for the caller, who gives it
 * back with gpadl_put() at the latest before vmbus_channel_closed(). 0 or -ENOENT.
 */
MUST_CHECK int vmbus_channel_gpadl_get(struct vmbus_channel *channel, uint32_t id,
				       struct gpadl **ret);

/* Counts a guest's nonsense against this channel and logs it, rate-limited. */
__attribute__((format(printf, 2, 3))) void vmbus_channel_fault(struct vmbus_channel *channel,
							       const char *fmt, ...);

/* ---- packets that are answered later ----------------------------------------------------------- */

#define VMBUS_KEEP_MAX 1024U

/*
 * Inside packet(), which then returns 0: this packet will be answered by vmbus_channel_complete_kept()
 * with *ret_slot (< keep_max). If the process that serves it is killed before that, or the channel
 * leaves it, the packet is given to packet() again wherever the channel is restored, before any that
 * came after it. 0; -EAGAIN: keep_max are in use (return it: the channel reads on
 * by itself when one is free, which is not before the commit of the completion).
 */
MUST_CHECK int vmbus_channel_keep(struct vmbus_channel *channel, const struct vmbus_packet *packet,
				  uint32_t *ret_slot);

/*
 * Its completion, once. As vmbus_channel_complete(); it stays kept unless this returns 0. Not inside
 * the packet() that kept it.
 */
MUST_CHECK int vmbus_channel_complete_kept(struct vmbus_channel *channel, uint32_t slot,
					   const void *payload, uint32_t bytes);

/* ---- journaled channels ------------------------------------------------------------------------ */

/*
 * Whoever serves a device in another process than the one that owns the machine does so over journaled
 * channels (vmbus/journal.h, docs/remote-vsp.md): what has been read and written becomes final, for
 * both rings at once, in commits: after each batch, and at the end of a round that wrote something. One
 * that is killed leaves what the last commit said.
 *
 * For that a VSP owes, by the return of packet(): the packet is completed, or kept, or it returns
 * -EAGAIN. It may not be owed a completion in memory of its own.
 */

/*
 * The stamp of what becomes true with the channel's next commit (at least 2; 1 is what log_write()
 * writes), and whether that commit has happened: always true when the channel is not journaled.
 */
uint64_t vmbus_channel_stamp(const struct vmbus_channel *channel);
bool vmbus_channel_is_past(const struct vmbus_channel *channel, uint64_t stamp);

bool vmbus_channel_is_journaled(const struct vmbus_channel *channel);

/*
 * What save() would write has changed: it is saved into the journal with the next commit, which is
 * soon. It must fit into JOURNAL_BANK_BYTES. The primary channel, on its loop; does nothing when it is
 * not journaled.
 */
void vmbus_channel_touch(struct vmbus_channel *primary);

/* ---- packets ----------------------------------------------------------------------------------- */

/*
 * The ranges of a VMBUS_PACKET_GPA_DIRECT: their number (≥ 0), at most max; -EBADMSG when the
 * descriptor does not hold what it says or there are more than max. Each is checked
 * (gpa_range_check()). The page lists borrow from the packet.
 */
MUST_CHECK int vmbus_packet_gpa_ranges(const struct vmbus_packet *packet,
				       struct gpa_range *ret_ranges, int max);
