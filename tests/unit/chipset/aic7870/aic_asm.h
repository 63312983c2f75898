/* SPDX-License-Identifier: MIT */
/* An assembler of a few lines for the sequencer: one function per kind of instruction, labels are numbers. */
#pragma once

#include "aic_rig.h"

struct aic_asm {
	uint32_t words[AIC_PROGRAM_WORDS];
	unsigned int count;
};

static inline void asm_word(struct aic_asm *a, uint32_t word)
{
	a->words[a->count++] = word;
}

/* destination = source op immediate; an immediate of 0: the accumulator. */
static inline void asm_alu(struct aic_asm *a, uint32_t op, uint8_t destination, uint8_t source,
			   uint8_t immediate)
{
	asm_word(a, op << AIC_OP_SHIFT | (uint32_t)destination << AIC_DST_SHIFT |
			    (uint32_t)source << AIC_SRC_SHIFT | immediate);
}

static inline void asm_mvi(struct aic_asm *a, uint8_t destination, uint8_t value)
{
	if (value) {
		asm_alu(a, AIC_OP_OR, destination, AIC_ALLZEROS, value);
	} else {
		asm_alu(a, AIC_OP_AND, destination, AIC_ALLZEROS, 0xff);
	}
}

static inline void asm_mov(struct aic_asm *a, uint8_t destination, uint8_t source)
{
	asm_alu(a, AIC_OP_AND, destination, source, 0xff);
}

static inline void asm_branch(struct aic_asm *a, uint32_t op, uint8_t source, uint8_t immediate,
			      unsigned int address)
{
	asm_word(a, op << AIC_OP_SHIFT | address << AIC_DST_SHIFT |
			    (uint32_t)source << AIC_SRC_SHIFT | immediate);
}

static inline void asm_jmp(struct aic_asm *a, unsigned int address)
{
	asm_branch(a, AIC_OP_JMP, AIC_SINDEX, 0, address);
}

/* The instruction before it returns as well. */
static inline void asm_ret(struct aic_asm *a)
{
	a->words[a->count - 1] |= 1U << AIC_RET_SHIFT;
}

/* Waits until the bits of a register are set. */
static inline void asm_wait(struct aic_asm *a, uint8_t source, uint8_t bits)
{
	asm_branch(a, AIC_OP_JZ, source, bits, a->count);
}

/* Stops with an interrupt, with a code for the test to look at. */
static inline void asm_stop(struct aic_asm *a, uint8_t code)
{
	asm_mvi(a, AIC_INTSTAT, (uint8_t)(code << 4 | AIC_SEQINT));
	asm_alu(a, AIC_OP_OR, AIC_ALLZEROS, AIC_ALLZEROS, 0xff);
}

/* Downloads it, and runs it from address 0 until the loop has nothing to do. */
static inline void asm_run(struct aic_rig *r, const struct aic_asm *a)
{
	aic_out(r, AIC_HCNTRL, AIC_PAUSE | AIC_INTEN);
	aic_download(r, a->words, a->count);
	aic_unpause(r);
	aic_rig_settle(r);
}
