/* SPDX-License-Identifier: MIT */
/*
 * The stock driver's half, as a test plays it: Linux' sequencer program, read from the kernel's sources as
 * text, cut to the AIC-7870 and downloaded as the driver does; hardware SCBs in guest memory; its
 * interrupts. The program itself is not ours and not here.
 */
#pragma once

#include "aic_rig.h"

/* Scratch RAM, as the program's register file names it. */
#define SCRATCH_BUSY_TARGETS  0x20
#define SCRATCH_MWI_RESIDUAL  0x38
#define SCRATCH_NEXT_SCB      0x39
#define SCRATCH_MSG_OUT       0x3a
#define SCRATCH_SEQ_FLAGS     0x3c
#define SCRATCH_SAVED_SCSIID  0x3d
#define SCRATCH_SAVED_LUN     0x3e
#define SCRATCH_LASTPHASE     0x3f
#define SCRATCH_WAITING       0x40
#define SCRATCH_DISCONNECTED  0x41
#define SCRATCH_FREE          0x42
#define SCRATCH_HSCB_ADDR     0x44
#define SCRATCH_SHARED_ADDR   0x48
#define SCRATCH_KERNEL_QINPOS 0x4c
#define SCRATCH_QINPOS        0x4d
#define SCRATCH_QOUTPOS       0x4e
#define SCRATCH_RETURN_1      0x51
#define SCRATCH_SEQ_TEMPLATE  0x54
#define SCRATCH_SEQ_FLAGS2    0x57

/* The SCB. */
#define SCB_CDB               0
#define SCB_STATUS            8
#define SCB_DATAPTR           12
#define SCB_DATACNT           16
#define SCB_SGPTR             20
#define SCB_CONTROL           24
#define SCB_SCSIID            25
#define SCB_LUN               26
#define SCB_TAG               27
#define SCB_CDB_LEN           28
#define SCB_NEXT              31
#define SCB_DISCENB           0x40
#define SCB_TAG_ENB           0x20
#define SCB_MK_MESSAGE        0x10
#define SCB_LAST_SEG          0x80000000U
#define SCB_SG_FULL_RESID     2U
#define SCB_SG_LIST_NULL      1U
#define SCB_SG_RESID_VALID    4U

#define SEQINT_BAD_STATUS     0x71
#define SEQINT_HOST_MSG_LOOP  0x61
#define RETURN_SEND_SENSE     0x40
#define RETURN_EXIT_MSG_LOOP  0x08
#define RETURN_CONT_MSG_LOOP  0x04

/* Where things are in guest memory. */
#define STOCK_HSCBS           0x100000U
#define STOCK_SHARED          0x110000U
#define STOCK_SG              0x120000U
#define STOCK_SENSE           0x180000U
#define STOCK_DATA            0x400000U
#define STOCK_TAGS            254
#define STOCK_SEGMENTS        64

struct stock_command {
	bool is_used, is_done, timed_out, is_sensing;
	uint8_t status, target;
	uint32_t residual;
	uint8_t sense[32];
};

struct stock {
	struct aic_rig *r;
	struct stock_command commands[STOCK_TAGS];
	uint8_t next_tag, last_tag, qin, qout;
	unsigned int program_words;
	uint8_t msg_out[12], msg_out_bytes, msg_out_at; /* HOST_MSG_LOOP */
	uint8_t msg_in[12], msg_in_bytes;
	bool in_message;
	unsigned int interrupts, cmdcmplts, seqints, busfrees;
};

/* Reads the header. False, said aloud: it is not here. cache_line: of PCI, in bytes. */
bool stock_load(struct aic_rig *r, unsigned int cache_line, struct stock *ret);

/* From power-on to a running program, as ahc_chip_init() and ahc_restart() do. */
void stock_start(struct stock *s);
void stock_restart(struct stock *s);

/* A command; data [STOCK_DATA + at, + bytes) in segments. Its tag. */
struct stock_request {
	uint8_t target, lun;
	uint8_t cdb[16], cdb_bytes;
	bool is_tagged, may_disconnect, has_message;
	uint32_t at, bytes, segment_bytes; /* 0: one segment */
};
uint8_t stock_queue(struct stock *s, const struct stock_request *request);

/* Runs until nothing more happens, with interrupts. */
void stock_run(struct stock *s);

/* Queues one, runs, and lets go of its tag: its status. */
uint8_t stock_do(struct stock *s, const struct stock_request *request);
