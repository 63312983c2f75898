/* SPDX-License-Identifier: MIT */
/*
 * A guest with a NIC whose whole state lies in memory that several processes share, so that it lives on
 * when the one that serves it, and in which it acts, is killed. It sends and receives on up to two
 * channels, speaks control on the first, and checks what it gets: the first thing that is wrong is kept
 * as a sentence.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/mem.h"
#include "proto/nvsp.h"
#include "proto/rndis.h"

#define SHARED_QUEUES      2U
#define SHARED_RING_PAGES  2U /* one control page: small, so that rings are full */
#define SHARED_RINGS_GFN   256U
#define SHARED_RECV_GFN    512U
#define SHARED_RECV_PAGES  64U
#define SHARED_SEND_GFN    768U
#define SHARED_SEND_PAGES  16U
#define SHARED_RECV_ID     0xcafeU
#define SHARED_RECV_GPADL  21U
#define SHARED_SEND_GPADL  22U
#define SHARED_PIECES_MAX  128U
#define SHARED_SECTIONS    4U   /* of each queue's */
#define SHARED_TX          30U  /* packets on each queue; every other one has two frames */
#define SHARED_RX          100U /* frames to each queue */
#define SHARED_RX_TRIES    600U
#define SHARED_CONTROLS    6U
#define SHARED_LARGE_BYTES 5000U

/* A frame to the guest, by number. Who makes them writes, and the guest. */
struct shared_rx {
	_Atomic(bool) is_accepted; /* NetVSP has taken it */
	_Atomic(bool) is_safe;     /* and that was committed */
	unsigned int received;
};

/* A transfer-pages packet that the guest has not completed. */
struct shared_held {
	uint64_t transaction;
	unsigned int count;
	struct {
		uint32_t offset, bytes, sum;
	} range[SHARED_PIECES_MAX];
};

struct shared_queue {
	uint64_t sent, completed;
	uint64_t in_section[SHARED_SECTIONS]; /* packet number; 0: free */
	unsigned int is_completed[SHARED_TX + 1];
	_Atomic(unsigned int) arrived[2 * SHARED_TX + 2]; /* frames at the back end */
	_Atomic(uint32_t) rx_made;                        /* numbers given out */
	struct shared_rx rx[SHARED_RX_TRIES + 1];
	struct shared_held held[SHARED_PIECES_MAX];
	unsigned int held_count;
};

struct shared_nic {
	struct mem *mem; /* at the same place in all processes */
	unsigned int queues;
	unsigned int random;
	struct shared_queue queue[SHARED_QUEUES];
	uint32_t pieces, piece_bytes;
	bool is_held[SHARED_PIECES_MAX];
	/* control */
	uint32_t controls, controls_completed, controls_replied;
	uint8_t mac[6]; /* that it has set last */
	uint32_t indicated, indications;
	bool is_setting_up;
	bool has_completion; /* of what it has asked while setting up */
	uint8_t completion[64];
	bool has_reply;
	char wrong[160];
};

/* Zeroes its rings. */
void shared_nic_init(struct shared_nic *nic, struct mem *mem, unsigned int queues);
__attribute__((format(printf, 2, 3))) void shared_nic_wrong(struct shared_nic *nic, const char *fmt,
							    ...);
unsigned int shared_roll(unsigned int *random, unsigned int below);

/* One message in-band. It fits. */
void shared_nic_ask(struct shared_nic *nic, uint64_t transaction, const void *message,
		    uint32_t bytes);
/* One RNDIS control message. */
void shared_nic_control(struct shared_nic *nic, uint64_t transaction, const void *message,
			uint32_t bytes);
/* Takes up to so many packets of a queue's; how many there were. */
unsigned int shared_nic_take(struct shared_nic *nic, unsigned int queue, unsigned int max);

/* The next packet of a queue's, if there is a section for it. */
void shared_nic_send_next(struct shared_nic *nic, unsigned int queue);
/* A little of everything. */
void shared_nic_act(struct shared_nic *nic);
/* All was sent and answered, what must arrive has, and all is given back; or something is wrong. */
bool shared_nic_is_done(const struct shared_nic *nic);
/* What is not done, as a sentence. */
void shared_nic_explain(const struct shared_nic *nic, char *buf, size_t bytes);

/* A frame for the guest with this number: its bytes. It is SHARED_LARGE_BYTES or shorter. */
uint32_t shared_frame_make(uint8_t *buf, unsigned int queue, uint32_t number);
