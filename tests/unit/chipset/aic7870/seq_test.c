/* SPDX-License-Identifier: MIT */
/* The sequencer and the registers that are its own, by programs of a few instructions. */
#include "aic_asm.h"

#define X 0x20 /* scratch RAM */
#define Y 0x21
#define Z 0x22

static int setup(void **state)
{
	*state = aic_rig_new();
	return 0;
}

static int teardown(void **state)
{
	aic_rig_free(*state);
	return 0;
}

static uint16_t address(struct aic_rig *r)
{
	return (uint16_t)(aic_in(r, AIC_SEQADDR0) | aic_in(r, AIC_SEQADDR1) << 8);
}

/* X = source op immediate, with an accumulator and a carry. */
static uint8_t compute(struct aic_rig *r, uint32_t op, uint8_t source, uint8_t immediate, uint8_t a,
		       bool carry)
{
	struct aic_asm program = { 0 };

	asm_mvi(&program, Y, source);
	asm_mvi(&program, AIC_ACCUM, 0xff);
	asm_alu(&program, AIC_OP_ADD, AIC_ALLZEROS, AIC_ACCUM, carry ? 0xff : 0); /* ff + ff */
	if (!carry) {
		asm_alu(&program, AIC_OP_ADD, AIC_ALLZEROS, AIC_ALLZEROS, 1);
	}
	asm_mvi(&program, AIC_ACCUM, a);
	asm_alu(&program, op, X, Y, immediate);
	asm_mov(&program, Z, AIC_FLAGS);
	asm_stop(&program, 1);
	asm_run(r, &program);
	assert_int_equal(aic_in(r, AIC_INTSTAT), 0x11);
	aic_out(r, AIC_ERROR, AIC_SEQINT);
	return aic_in(r, X);
}

static void logic_and_sums(void **state)
{
	struct aic_rig *r = *state;

	assert_int_equal(compute(r, AIC_OP_OR, 0x50, 0x0f, 0xff, false), 0x5f);
	assert_int_equal(compute(r, AIC_OP_OR, 0x50, 0, 0x81, false),
			 0xd1); /* 0: the accumulator */
	assert_int_equal(compute(r, AIC_OP_AND, 0x5a, 0x0f, 0xff, false), 0x0a);
	assert_int_equal(compute(r, AIC_OP_XOR, 0x5a, 0xff, 0, false), 0xa5);
	assert_int_equal(compute(r, AIC_OP_ADD, 0xf0, 0x20, 0, false), 0x10);
	assert_int_equal(aic_in(r, Z), AIC_CARRY);
	assert_int_equal(compute(r, AIC_OP_ADD, 0xf0, 0x10, 0, true), 0);
	assert_int_equal(aic_in(r, Z), AIC_CARRY | AIC_ZERO);
	assert_int_equal(compute(r, AIC_OP_ADC, 1, 2, 0, true), 4);
	assert_int_equal(aic_in(r, Z), 0);
	assert_int_equal(compute(r, AIC_OP_ADC, 1, 2, 0, false), 3);
	assert_int_equal(compute(r, AIC_OP_AND, 0, 0xff, 0, true),
			 0); /* logic leaves carry alone */
	assert_int_equal(aic_in(r, Z), AIC_CARRY | AIC_ZERO);
}

static void shifts_and_rotations(void **state)
{
	static const struct {
		uint8_t control, source, result;
	} cases[] = {
		{ 0x03, 0xb1, 0x8d }, /* rol 3 */
		{ 0x0d, 0xb1, 0x36 }, /* ror 3 */
		{ 0x22, 0xb1, 0xc4 }, /* shl 2 */
		{ 0x4c, 0xb1, 0x0b }, /* shr 4 */
		{ 0x77, 0xb1, 0x80 }, /* shl 7 */
		{ 0xf0, 0xb1, 0x00 }, /* shl 8 */
		{ 0xf8, 0xb1, 0x00 }, /* shr 8 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
			compute(*state, AIC_OP_ROL, cases[i].source, cases[i].control, 0, false),
			cases[i].result);
	}
}

/* A program of one branch: 1 when it was taken. */
static uint8_t branches(struct aic_rig *r, uint32_t op, uint8_t source, uint8_t immediate,
			uint8_t a, bool carry)
{
	struct aic_asm program = { 0 };

	asm_mvi(&program, Y, source);
	asm_mvi(&program, X, carry ? 0xff : 1);
	asm_alu(&program, AIC_OP_ADD, AIC_ALLZEROS, X, 1);
	asm_mvi(&program, AIC_ACCUM, a);
	asm_branch(&program, op, Y, immediate, 7);
	asm_stop(&program, 0);
	asm_stop(&program, 1);
	asm_run(r, &program);
	assert_true(aic_in(r, AIC_INTSTAT) & AIC_SEQINT);
	a = aic_in(r, AIC_INTSTAT) >> 4;
	aic_out(r, AIC_ERROR, AIC_SEQINT);
	return a;
}

static void branches_are_taken_or_not(void **state)
{
	struct aic_rig *r = *state;

	assert_int_equal(branches(r, AIC_OP_JE, 5, 5, 0, false), 1);
	assert_int_equal(branches(r, AIC_OP_JE, 5, 0, 5, false), 1);
	assert_int_equal(branches(r, AIC_OP_JE, 5, 6, 0, false), 0);
	assert_int_equal(branches(r, AIC_OP_JNE, 5, 6, 0, false), 1);
	assert_int_equal(branches(r, AIC_OP_JNE, 5, 5, 0, false), 0);
	assert_int_equal(branches(r, AIC_OP_JNZ, 6, 2, 0, false), 1);
	assert_int_equal(branches(r, AIC_OP_JNZ, 6, 1, 0, false), 0);
	assert_int_equal(branches(r, AIC_OP_JZ, 6, 1, 0, false), 1);
	assert_int_equal(branches(r, AIC_OP_JZ, 6, 0, 4, false), 0);
	assert_int_equal(branches(r, AIC_OP_JC, 0, 1, 0, true), 1);
	assert_int_equal(branches(r, AIC_OP_JC, 0, 1, 0, false), 0);
	assert_int_equal(branches(r, AIC_OP_JNC, 0, 1, 0, false), 1);
	assert_int_equal(branches(r, AIC_OP_JMP, 0x40, 2, 9, true), 1);
	assert_int_equal(aic_in(r, AIC_SINDEX), 0x42);
	assert_int_equal(branches(r, AIC_OP_JMP, 0x40, 0, 9, true), 1); /* here 0 is 0 */
	assert_int_equal(aic_in(r, AIC_SINDEX), 0x40);
}

static void calls_nest_and_return(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	asm_branch(&a, AIC_OP_CALL, AIC_ALLZEROS, X, 4);
	asm_alu(&a, AIC_OP_ADD, X, X, 0x10);
	asm_stop(&a, 1);
	asm_branch(&a, AIC_OP_CALL, AIC_SINDEX, 0, 7); /* 4 */
	asm_alu(&a, AIC_OP_ADD, X, X, 2);
	asm_ret(&a);
	asm_stop(&a, 9);
	a.count = 7;
	asm_mvi(&a, X, 1);
	asm_ret(&a);
	asm_run(r, &a);
	assert_int_equal(aic_in(r, AIC_INTSTAT), 0x11);
	assert_int_equal(aic_in(r, X), 0x13);
}

static void the_stack_can_be_read(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	asm_branch(&a, AIC_OP_CALL, AIC_SINDEX, 0, 1);
	asm_branch(&a, AIC_OP_CALL, AIC_SINDEX, 0, 2);
	asm_stop(&a, 1);
	asm_run(r, &a);
	for (unsigned int round = 0; round < 2; round++) {
		static const uint8_t expected[] = { 2, 0, 1, 0, 0, 0, 0, 0 };

		for (size_t i = 0; i < sizeof(expected); i++) {
			assert_int_equal(aic_in(r, AIC_STACK), expected[i]);
		}
	}
}

static void index_registers_count(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	for (uint8_t i = 0; i < 4; i++) {
		aic_out(r, (uint8_t)(0x30 + i), (uint8_t)(0xa0 + i));
	}
	asm_mvi(&a, AIC_SINDEX, 0x30);
	asm_mvi(&a, AIC_DINDEX, 0x40);
	for (unsigned int i = 0; i < 4; i++) {
		asm_mov(&a, AIC_DINDIR, AIC_SINDIR);
	}
	asm_stop(&a, 1);
	asm_run(r, &a);
	for (uint8_t i = 0; i < 4; i++) {
		assert_int_equal(aic_in(r, (uint8_t)(0x40 + i)), 0xa0 + i);
	}
	assert_int_equal(aic_in(r, AIC_SINDEX), 0x34);
	assert_int_equal(aic_in(r, AIC_DINDEX), 0x44);
}

static void a_jump_can_be_computed(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	asm_mvi(&a, AIC_ACCUM, 2);
	asm_alu(&a, AIC_OP_ADD, AIC_SEQADDR0, AIC_SEQADDR0, 0); /* over two */
	asm_mvi(&a, X, 1);
	asm_mvi(&a, Y, 1);
	asm_mvi(&a, Z, 1);
	asm_stop(&a, 1);
	asm_run(r, &a);
	assert_int_equal(aic_in(r, X), 0);
	assert_int_equal(aic_in(r, Y), 0);
	assert_int_equal(aic_in(r, Z), 1);
}

static void waiting_costs_nothing_and_ends_at_a_write(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	/* A poll of several steps with a call in it, as real programs have. */
	asm_branch(&a, AIC_OP_CALL, AIC_SINDEX, 0, 6);
	asm_mov(&a, AIC_ACCUM, Y);
	asm_branch(&a, AIC_OP_JE, X, 0, 0);
	asm_stop(&a, 1);
	a.count = 6;
	asm_mov(&a, Z, X);
	asm_ret(&a);
	asm_run(r, &a);
	for (unsigned int i = 0; i < 100; i++) {
		assert_false(loop_turn(r->p.rig.loop));
	}
	assert_int_equal(aic_in(r, AIC_INTSTAT), 0);
	aic_out(r, X, 1);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_INTSTAT), 0x11);
}

/* It counts for ever: no host waits for it, and the lock is free in between. */
static void an_endless_program_is_bounded(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };
	uint64_t begin_ns;

	asm_alu(&a, AIC_OP_ADD, X, X, 1);
	asm_jmp(&a, 0);
	asm_run(r, &a);
	begin_ns = loop_now_ns();
	for (unsigned int i = 0; i < 100; i++) {
		loop_turn(r->p.rig.loop);
	}
	assert_true(loop_now_ns() - begin_ns < 500000000);
	aic_pause(r);
	aic_rig_settle(r);
	assert_false(loop_turn(r->p.rig.loop));
}

static void pause_waits_for_a_critical_section(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	asm_alu(&a, AIC_OP_OR, AIC_SEQCTL, AIC_SEQCTL, AIC_PAUSEDIS);
	asm_wait(&a, X, 1);
	asm_alu(&a, AIC_OP_AND, AIC_SEQCTL, AIC_SEQCTL, (uint8_t)~AIC_PAUSEDIS);
	asm_mvi(&a, Y, 1);
	asm_jmp(&a, 4);
	asm_run(r, &a);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	assert_int_equal(aic_in(r, AIC_HCNTRL) & AIC_PAUSE, 0);
	aic_out(r, X, 1);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_HCNTRL) & AIC_PAUSE, AIC_PAUSE);
	assert_int_equal(aic_in(r, Y), 0);
	assert_int_equal(address(r), 3);
	aic_out(r, AIC_HCNTRL, 0);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, Y), 1);
}

static void one_instruction_at_a_time(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	for (unsigned int i = 0; i < 8; i++) {
		asm_alu(&a, AIC_OP_ADD, X, X, 1);
	}
	asm_stop(&a, 1);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_download(r, a.words, a.count);
	aic_out(r, AIC_SEQCTL, AIC_FASTMODE | AIC_STEP);
	for (uint8_t i = 1; i <= 5; i++) {
		aic_out(r, AIC_HCNTRL, 0);
		aic_rig_settle(r);
		assert_true(aic_in(r, AIC_HCNTRL) & AIC_PAUSE);
		assert_int_equal(aic_in(r, X), i);
		assert_int_equal(address(r), i);
	}
	aic_out(r, AIC_SEQCTL, AIC_FASTMODE);
	aic_out(r, AIC_HCNTRL, 0);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_INTSTAT), 0x11);
}

static void a_breakpoint_stops_before_its_instruction(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	for (unsigned int i = 0; i < 8; i++) {
		asm_alu(&a, AIC_OP_ADD, X, X, 1);
	}
	asm_stop(&a, 1);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE | AIC_INTEN);
	aic_download(r, a.words, a.count);
	aic_out(r, AIC_SEQCTL, AIC_FASTMODE | AIC_BRKADRINTEN);
	aic_out(r, AIC_BRKADDR0, 5);
	aic_out(r, AIC_BRKADDR1, 0);
	aic_unpause(r);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_INTSTAT), AIC_BRKADRINT);
	assert_int_equal(aic_in(r, AIC_ERROR), 0);
	assert_int_equal(aic_in(r, X), 5);
	assert_true(aic_interrupt(r));
	aic_out(r, AIC_ERROR, AIC_BRKADRINT);
	aic_unpause(r);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, X), 8);
}

static void nonsense_is_a_hard_error(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 }, b = { 0 };

	asm_mvi(&a, X, 1);
	asm_word(&a, 6U << AIC_OP_SHIFT); /* BMOV came with later chips */
	asm_stop(&a, 1);
	asm_run(r, &a);
	assert_int_equal(aic_in(r, AIC_INTSTAT), AIC_BRKADRINT);
	assert_int_equal(aic_in(r, AIC_ERROR), AIC_ILLOPCODE);
	assert_int_equal(address(r), 2);
	aic_out(r, AIC_ERROR, AIC_BRKADRINT);
	assert_int_equal(aic_in(r, AIC_ERROR), 0);
	asm_mov(&b, X, 0xd0);
	asm_stop(&b, 1);
	asm_run(r, &b);
	assert_int_equal(aic_in(r, AIC_ERROR), AIC_ILLSADDR);
	aic_out(r, AIC_ERROR, AIC_BRKADRINT);
	aic_in(r, 0xd0);
	assert_int_equal(aic_in(r, AIC_ERROR), AIC_ILLHADDR);
	aic_out(r, AIC_ERROR, AIC_BRKADRINT);
	aic_out(r, AIC_SEQCTL, AIC_FAILDIS); /* of no interest */
	aic_in(r, 0xd0);
	assert_int_equal(aic_in(r, AIC_ERROR), 0);
}

static void the_program_can_be_read_back(void **state)
{
	struct aic_rig *r = *state;
	uint32_t words[AIC_PROGRAM_WORDS];

	for (unsigned int i = 0; i < AIC_PROGRAM_WORDS; i++) {
		words[i] = i * 0x01234567U;
	}
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_download(r, words, AIC_PROGRAM_WORDS);
	aic_in(r, AIC_SEQRAM); /* without LOADRAM nothing moves */
	assert_int_equal(address(r), 0);
	aic_out(r, AIC_SEQCTL, AIC_LOADRAM);
	for (unsigned int i = 0; i < 4 * AIC_PROGRAM_WORDS; i++) {
		assert_int_equal(aic_in(r, AIC_SEQRAM), words[i / 4] >> i % 4 * 8 & 0xff);
	}
	assert_int_equal(address(r), 0); /* once around */
	aic_out(r, AIC_SEQADDR1, 1);
	aic_out(r, AIC_SEQCTL, AIC_SEQRESET);
	assert_int_equal(address(r), 0);
}

static void scbs_are_behind_a_window(void **state)
{
	struct aic_rig *r = *state;

	for (uint8_t i = 0; i < AIC_SCBS; i++) {
		aic_out(r, AIC_SCBPTR, i);
		for (uint8_t j = 0; j < AIC_SCB_BYTES; j++) {
			aic_out(r, (uint8_t)(AIC_SCBARRAY + j), (uint8_t)(i * 16 + j));
		}
	}
	for (uint8_t i = 0; i < AIC_SCBS; i++) {
		aic_out(r, AIC_SCBPTR, i);
		assert_int_equal(aic_in(r, AIC_SCBARRAY + 31), (uint8_t)(i * 16 + 31));
	}
	/* How a driver counts them: the one after the last is the first. */
	aic_out(r, AIC_SCBPTR, AIC_SCBS);
	aic_out(r, AIC_SCBARRAY, 0x77);
	aic_out(r, AIC_SCBPTR, 0);
	assert_int_equal(aic_in(r, AIC_SCBARRAY), 0x77);
	/* The counter steps by itself. */
	aic_out(r, AIC_SCBCNT, AIC_SCBAUTO | 30);
	aic_out(r, AIC_SCBARRAY, 1);
	aic_out(r, AIC_SCBARRAY, 2);
	aic_out(r, AIC_SCBARRAY, 3);
	assert_int_equal(aic_in(r, AIC_SCBCNT), AIC_SCBAUTO | 1);
	aic_out(r, AIC_SCBCNT, 0);
	assert_int_equal(aic_in(r, AIC_SCBARRAY + 30), 1);
	assert_int_equal(aic_in(r, AIC_SCBARRAY + 31), 2);
	assert_int_equal(aic_in(r, AIC_SCBARRAY), 3);
}

static void queues_of_scbs(void **state)
{
	struct aic_rig *r = *state;
	struct aic_asm a = { 0 };

	/* Each in the in queue goes, plus one, to the out queue, with an interrupt. */
	asm_branch(&a, AIC_OP_JZ, AIC_QINCNT, 0xff, 0);
	asm_alu(&a, AIC_OP_ADD, AIC_QOUTFIFO, AIC_QINFIFO, 1);
	asm_mvi(&a, AIC_INTSTAT, AIC_CMDCMPLT);
	asm_jmp(&a, 0);
	asm_run(r, &a);
	assert_false(aic_interrupt(r));
	aic_out(r, AIC_QINFIFO, 4);
	aic_out(r, AIC_QINFIFO, 9);
	assert_int_equal(aic_in(r, AIC_QINCNT), 2);
	aic_rig_settle(r);
	assert_true(aic_interrupt(r));
	assert_int_equal(aic_in(r, AIC_HCNTRL) & AIC_PAUSE, 0); /* it does not stop for that */
	assert_int_equal(aic_in(r, AIC_QOUTCNT), 2);
	assert_int_equal(aic_in(r, AIC_QOUTFIFO), 5);
	assert_int_equal(aic_in(r, AIC_QOUTFIFO), 10);
	aic_out(r, AIC_ERROR, AIC_CMDCMPLT);
	assert_false(aic_interrupt(r));
}

static void the_fifo_goes_to_and_from_memory(void **state)
{
	struct aic_rig *r = *state;
	uint8_t *from = aic_mem(r, 0x200000, 256), *to = aic_mem(r, 0x300000, 256);

	for (unsigned int i = 0; i < 256; i++) {
		from[i] = (uint8_t)(i * 3);
	}
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_out32(r, AIC_HADDR, 0x200000);
	aic_out(r, AIC_HCNT, 40);
	aic_out(r, AIC_DFCNTRL, AIC_HDMAEN | AIC_DIRECTION | AIC_FIFORESET);
	assert_true(aic_in(r, AIC_DFSTATUS) & AIC_HDONE);
	assert_int_equal(aic_in(r, AIC_HADDR), 40);
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(aic_in(r, AIC_DFDAT), from[i]);
	}
	assert_true(aic_in(r, AIC_DFSTATUS) & AIC_FIFOEMP);
	aic_out(r, AIC_DFCNTRL, AIC_FIFORESET);
	for (uint8_t i = 0; i < 32; i++) {
		aic_out(r, AIC_DFDAT, i);
	}
	aic_out32(r, AIC_HADDR, 0x300000);
	aic_out(r, AIC_HCNT, 32);
	aic_out(r, AIC_DFCNTRL, AIC_HDMAEN | AIC_FIFOFLUSH);
	assert_true(aic_in(r, AIC_DFSTATUS) & AIC_HDONE);
	for (uint8_t i = 0; i < 32; i++) {
		assert_int_equal(to[i], i);
	}
}

static void memory_that_is_not_there(void **state)
{
	struct aic_rig *r = *state;

	aic_out(r, AIC_HCNTRL, AIC_PAUSE | AIC_INTEN);
	aic_out32(r, AIC_HADDR, 0xfffffff0);
	aic_out(r, AIC_HCNT, 0x20);
	aic_out(r, AIC_DFCNTRL, AIC_HDMAEN | AIC_DIRECTION | AIC_FIFORESET);
	assert_int_equal(aic_in(r, AIC_ERROR), AIC_PCIERRSTAT);
	assert_true(pci_rig_read(&r->p, AIC_RIG_DEVFN, PCI_COMMAND) >> 16 &
		    PCI_STATUS_MASTER_ABORT);
	assert_true(aic_interrupt(r));
	assert_int_equal(aic_in(r, AIC_DFDAT), 0xff);
	aic_out(r, AIC_ERROR, AIC_CLRPARERR);
	assert_int_equal(aic_in(r, AIC_ERROR), 0);
	assert_false(aic_interrupt(r));
}

static void no_master_no_transfer(void **state)
{
	struct aic_rig *r = *state;

	pci_rig_write16(&r->p, AIC_RIG_DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_out32(r, AIC_HADDR, 0x200000);
	aic_out(r, AIC_HCNT, 8);
	aic_out(r, AIC_DFCNTRL, AIC_HDMAEN | AIC_DIRECTION | AIC_FIFORESET);
	assert_int_equal(aic_in(r, AIC_DFSTATUS) & (AIC_MREQPEND | AIC_HDONE), AIC_MREQPEND);
	pci_rig_write16(&r->p, AIC_RIG_DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(aic_in(r, AIC_DFSTATUS) & (AIC_MREQPEND | AIC_HDONE), AIC_HDONE);
}

/* As aic7xxx looks for its card. */
static void the_card_is_an_aha_2940(void **state)
{
	struct aic_rig *r = *state;

	assert_int_equal(pci_rig_read(&r->p, AIC_RIG_DEVFN, 0), 0x71789004);
	assert_int_equal(pci_rig_read(&r->p, AIC_RIG_DEVFN, PCI_SUBSYSTEM), 0);
	assert_int_equal(pci_rig_read(&r->p, AIC_RIG_DEVFN, PCI_REVISION) >> 8, 0x010000);
	assert_int_equal(pci_rig_read(&r->p, AIC_RIG_DEVFN, AIC_DEVCONFIG) & 0x200, 0);
	pci_rig_write(&r->p, AIC_RIG_DEVFN, AIC_DEVCONFIG, 0xffffffff);
	assert_int_equal(pci_rig_read(&r->p, AIC_RIG_DEVFN, AIC_DEVCONFIG),
			 AIC_DEVCONFIG_RESET | AIC_DEVCONFIG_WRITABLE);
	assert_int_equal(rig_in(&r->p.rig, AIC_RIG_PORT + AIC_HCNTRL),
			 AIC_CHIPRST | AIC_PAUSE); /* nobody has set it up */
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_out(r, AIC_SCBPTR, 0);
	aic_out32(r, AIC_SCBARRAY, 0x5aa555aa);
	assert_int_equal(pci_rig_load(&r->p, AIC_RIG_GPA + AIC_SCBARRAY, 4), 0x5aa555aa);
	aic_out(r, AIC_SXFRCTL1, 1);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE | AIC_CHIPRST);
	assert_int_equal(aic_in(r, AIC_HCNTRL), AIC_PAUSE | AIC_CHIPRST);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	assert_int_equal(aic_in(r, AIC_SXFRCTL1), 0);
	assert_int_equal(aic_in(r, AIC_SBLKCTL) & 0x0a, 0); /* one narrow channel */
	assert_int_equal(pci_rig_load(&r->p, AIC_RIG_GPA + AIC_SCBARRAY, 4), 0x5aa555aa);
	assert_int_equal(pci_rig_load(&r->p, AIC_RIG_GPA + 0x800, 1), 0xff);
}

static void clock_out(struct aic_rig *r, bool bit)
{
	uint8_t lines = AIC_SEEMS | AIC_SEECS | (bit ? AIC_SEEDO : 0);

	aic_out(r, AIC_SEECTL, lines);
	assert_true(aic_in(r, AIC_SEECTL) & AIC_SEERDY);
	aic_out(r, AIC_SEECTL, lines | AIC_SEECK);
}

static void command_out(struct aic_rig *r, uint32_t bits, unsigned int count)
{
	aic_out(r, AIC_SEECTL, AIC_SEEMS);
	for (unsigned int i = count; i-- > 0;) {
		clock_out(r, bits >> i & 1);
	}
}

static uint16_t word_in(struct aic_rig *r, unsigned int address)
{
	uint32_t value = 0;

	command_out(r, 6U << 6 | address, 9);
	for (unsigned int i = 0; i < 17; i++) { /* a 0 comes first */
		aic_out(r, AIC_SEECTL, AIC_SEEMS | AIC_SEECS);
		value = value << 1 | (aic_in(r, AIC_SEECTL) & AIC_SEEDI);
		aic_out(r, AIC_SEECTL, AIC_SEEMS | AIC_SEECS | AIC_SEECK);
	}
	assert_true(value < 0x10000);
	return (uint16_t)value;
}

static void the_seeprom_has_settings(void **state)
{
	struct aic_rig *r = *state;
	uint32_t sum = 0;

	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	for (unsigned int i = 0; i < 31; i++) {
		sum += word_in(r, i);
	}
	assert_int_equal(sum & 0xffff, word_in(r, 31));
	assert_int_equal(word_in(r, 18) & 0xf, AIC7870_HOST_ID);
	assert_int_equal(word_in(r, 30), 0x250);
	command_out(r, 5U << 22 | 40U << 16 | 0x1234, 25); /* WRITE, but it is not allowed yet */
	assert_int_equal(word_in(r, 40), 0xffff);
	command_out(r, 0x130, 9); /* EWEN */
	command_out(r, 5U << 22 | 40U << 16 | 0x1234, 25);
	assert_int_equal(word_in(r, 40), 0x1234);
	command_out(r, 7U << 6 | 40, 9); /* ERASE */
	assert_int_equal(word_in(r, 40), 0xffff);
	command_out(r, 0x100, 9); /* EWDS */
	command_out(r, 5U << 22 | 40U << 16 | 0x1234, 25);
	assert_int_equal(word_in(r, 40), 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(logic_and_sums),
		T(shifts_and_rotations),
		T(branches_are_taken_or_not),
		T(calls_nest_and_return),
		T(the_stack_can_be_read),
		T(index_registers_count),
		T(a_jump_can_be_computed),
		T(waiting_costs_nothing_and_ends_at_a_write),
		T(an_endless_program_is_bounded),
		T(pause_waits_for_a_critical_section),
		T(one_instruction_at_a_time),
		T(a_breakpoint_stops_before_its_instruction),
		T(nonsense_is_a_hard_error),
		T(the_program_can_be_read_back),
		T(scbs_are_behind_a_window),
		T(queues_of_scbs),
		T(the_fifo_goes_to_and_from_memory),
		T(memory_that_is_not_there),
		T(no_master_no_transfer),
		T(the_card_is_an_aha_2940),
		T(the_seeprom_has_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
