/* SPDX-License-Identifier: MIT */
/*
 * The sequencer: 512 instructions, an accumulator, two index registers that count, and a register file in
 * which everything of the chip is an address. Instructions are decoded when they are downloaded.
 *
 * It has no interrupts; it polls. A real one polls at 10 MHz for ever. Ours finds out that it does nothing
 * else: every loop has a step backwards, and when the same one is taken twice and nothing has changed in
 * between, no register, no flag and nothing by the side effect of a read, then the next round cannot be
 * different until the host, the bus or the DMA does something.
 */
#include "chipset/aic7870/aic_internal.h"

#define PC_MASK (AIC_PROGRAM_WORDS - 1)

void aic_seq_decode(struct aic_sequencer *seq, unsigned int address)
{
	uint32_t word = seq->ram[address];

	seq->program[address] = (struct aic_insn){
		.op = word >> AIC_OP_SHIFT & 0xf,
		.is_ret = word >> AIC_RET_SHIFT & 1,
		.destination = (uint8_t)(word >> AIC_DST_SHIFT),
		.source = (uint8_t)(word >> AIC_SRC_SHIFT),
		.immediate = (uint8_t)word,
		.address = (uint16_t)(word >> AIC_DST_SHIFT & PC_MASK),
	};
}

/* ---- operands ------------------------------------------------------------------------------------- */

static uint8_t direct_read(struct aic7870 *chip, uint8_t reg)
{
	if (aic_reg_is_plain(reg)) {
		return chip->regs[reg];
	}
	return aic_reg_read(chip, reg, false);
}

static uint8_t operand_read(struct aic7870 *chip, uint8_t reg)
{
	if (reg == AIC_SINDIR) {
		reg = chip->regs[AIC_SINDEX]++;
		chip->seq.changed = true;
		if (reg == AIC_SINDIR) {
			return 0; /* it does not point at itself */
		}
	}
	return direct_read(chip, reg);
}

static void operand_write(struct aic7870 *chip, uint8_t reg, uint8_t value)
{
	if (reg == AIC_DINDIR) {
		reg = chip->regs[AIC_DINDEX]++;
		chip->seq.changed = true;
		if (reg == AIC_DINDIR) {
			return;
		}
	}
	if (aic_reg_is_plain(reg)) {
		chip->seq.changed |= chip->regs[reg] != value;
		chip->regs[reg] = value;
		return;
	}
	aic_reg_write(chip, reg, value, false);
}

/* ---- flow ------------------------------------------------------------------------------------------- */

/* To an instruction that is not the next one: whether it goes round in vain. */
static bool go(struct aic_sequencer *seq, uint16_t address)
{
	bool is_back = address <= seq->pc;

	seq->pc = address;
	if (!is_back) {
		return false;
	}
	if (seq->changed || seq->marker < 0) {
		seq->changed = false;
		seq->marker = address;
		seq->marker_sp = seq->sp;
		return false;
	}
	return seq->marker == address && seq->marker_sp == seq->sp;
}

static void push(struct aic_sequencer *seq, uint16_t address)
{
	seq->changed |= seq->stack[seq->sp] != address;
	seq->stack[seq->sp] = address;
	seq->sp = (uint8_t)((seq->sp + 1) % AIC_STACK_WORDS);
}

static uint16_t pop(struct aic_sequencer *seq)
{
	seq->sp = (uint8_t)((seq->sp + AIC_STACK_WORDS - 1) % AIC_STACK_WORDS);
	return seq->stack[seq->sp];
}

static void set_flags(struct aic_sequencer *seq, bool zero, bool carry)
{
	seq->changed |= seq->zero != zero || seq->carry != carry;
	seq->zero = zero;
	seq->carry = carry;
}

/* ---- instructions ------------------------------------------------------------------------------------ */

/* SHL, SHR, ROL, ROR: bits 2-0 turn to the left, bits 7-4 are lost, bit 3 says at which end. */
static uint8_t rotate(uint8_t value, uint8_t control)
{
	unsigned int by = control & 7, lost = control >> 4;

	value = (uint8_t)(value << by | value >> (8 - by));
	if (lost >= 8) {
		return 0;
	}
	return (uint8_t)(value & (control & 8 ? 0xff >> lost : 0xff << lost));
}

static bool alu(struct aic7870 *chip, const struct aic_insn *insn)
{
	struct aic_sequencer *seq = &chip->seq;
	uint16_t next = (seq->pc + 1) & PC_MASK;
	unsigned int a = operand_read(chip, insn->source), sum;
	unsigned int b = insn->immediate ? insn->immediate : chip->regs[AIC_ACCUM];
	bool carry = seq->carry;
	uint8_t value;

	switch (insn->op) {
	case AIC_OP_OR:
		value = (uint8_t)(a | b);
		break;
	case AIC_OP_AND:
		value = (uint8_t)(a & b);
		break;
	case AIC_OP_XOR:
		value = (uint8_t)(a ^ b);
		break;
	case AIC_OP_ROL:
		value = rotate((uint8_t)a, insn->immediate);
		break;
	default: /* ADD, ADC */
		sum = a + b + (insn->op == AIC_OP_ADC && carry);
		value = (uint8_t)sum;
		carry = sum > 0xff;
		break;
	}
	set_flags(seq, value == 0, carry);
	if (insn->is_ret) {
		next = pop(seq);
	}
	if (insn->destination ==
	    AIC_SEQADDR0) { /* a computed jump; its own address counts already */
		seq->changed = true;
		next = (next & 0x100) | value;
	} else {
		operand_write(chip, insn->destination, value);
	}
	return go(seq, next);
}

static bool branch(struct aic7870 *chip, const struct aic_insn *insn)
{
	struct aic_sequencer *seq = &chip->seq;
	uint16_t next = (seq->pc + 1) & PC_MASK;
	uint8_t a = operand_read(chip, insn->source);
	uint8_t b = insn->immediate ? insn->immediate : chip->regs[AIC_ACCUM];
	bool taken;

	switch (insn->op) {
	case AIC_OP_JNE:
		taken = a != b;
		break;
	case AIC_OP_JE:
		taken = a == b;
		break;
	case AIC_OP_JNZ:
		taken = (a & b) != 0;
		break;
	case AIC_OP_JZ:
		taken = (a & b) == 0;
		break;
	default:
		a |= insn->immediate; /* here 0 is 0 */
		seq->changed |= chip->regs[AIC_SINDEX] != a;
		chip->regs[AIC_SINDEX] = a;
		taken = insn->op == AIC_OP_JC ? seq->carry : insn->op != AIC_OP_JNC || !seq->carry;
		break;
	}
	if (taken && insn->op == AIC_OP_CALL) {
		push(seq, next);
	}
	return go(seq, taken ? insn->address : next);
}

static bool stops_here(struct aic7870 *chip)
{
	const struct aic_sequencer *seq = &chip->seq;

	return !(chip->regs[AIC_BRKADDR1] & AIC_BRKDIS) && !seq->at_break &&
	       seq->pc == (chip->regs[AIC_BRKADDR0] | (chip->regs[AIC_BRKADDR1] & 1) << 8);
}

static void stop_at_break(struct aic7870 *chip)
{
	chip->seq.at_break = true;
	chip->hcntrl |= AIC_PAUSE;
	if (chip->regs[AIC_SEQCTL] & AIC_BRKADRINTEN) {
		chip->intstat |= AIC_BRKADRINT;
	}
	aic_update(chip);
}

enum aic_run aic_seq_run(struct aic7870 *chip, unsigned int instructions)
{
	struct aic_sequencer *seq = &chip->seq;
	unsigned int n = 0;
	bool in_vain = false;

	seq->marker = -1;
	while (!chip->halt && !in_vain && n < instructions) {
		const struct aic_insn *insn = &seq->program[seq->pc];

		if (stops_here(chip)) {
			stop_at_break(chip);
			break;
		}
		seq->at_break = false;
		n++;
		if (insn->op >= AIC_OP_JMP) {
			in_vain = branch(chip, insn);
		} else if (insn->op <= AIC_OP_ROL) {
			in_vain = alu(chip, insn);
		} else {
			seq->pc = (seq->pc + 1) & PC_MASK;
			seq->changed = true;
			aic_hard_error(chip, AIC_ILLOPCODE);
		}
		if (chip->regs[AIC_SEQCTL] & AIC_STEP) {
			chip->hcntrl |= AIC_PAUSE;
			aic_update(chip);
			break;
		}
	}
	counter_add(&chip->instructions, n);
	if (chip->halt) {
		return AIC_RUN_HALTED;
	}
	return in_vain ? AIC_RUN_WAITS : AIC_RUN_ON;
}
