/* SPDX-License-Identifier: MIT */
/*
 * The registers, as the host (through BAR 0 and 1) and the sequencer see them: the same 256 addresses. An
 * access of the host's is atomic against the sequencer ("auto pause" in the AIC-7870's data book), which
 * the chipset lock gives us.
 */
#include "base/num.h"
#include "chipset/aic7870/aic_internal.h"

/* ---- which are memory ------------------------------------------------------------------------------- */

bool aic_reg_is_plain(uint8_t reg)
{
	static const uint8_t plain[AIC_REGISTERS / 8] = {
		[0] = 0xb0,                                                     /* 04, 05, 07 */
		[1] = 0x80,                                                     /* 0f */
		[3] = 0x01,                                                     /* 18 */
		[4] = 0xff,  [5] = 0xff, [6] = 0xff,  [7] = 0xff,               /* scratch RAM */
		[8] = 0xff,  [9] = 0xff, [10] = 0xff, [11] = 0xff, [12] = 0xf0, /* 64 to 67 */
		[13] = 0x01,                                                    /* 68 */
		[16] = 0x70,                                                    /* 84 to 86 */
		[18] = 0x01,                                                    /* 90 */
		[19] = 0x84,                                                    /* 9a, 9f */
	};

	return plain[reg >> 3] >> (reg & 7) & 1;
}

/* Addresses behind which there is nothing. */
static bool is_hole(uint8_t reg)
{
	return (reg >= 0x70 && reg < 0x84) || reg >= 0xc0;
}

uint8_t *aic_scb_byte(struct aic7870 *chip, uint8_t reg)
{
	uint8_t *scb = chip->scbs[chip->regs[AIC_SCBPTR] % AIC_SCBS];
	uint8_t *count = &chip->regs[AIC_SCBCNT];
	unsigned int at = reg % AIC_SCB_BYTES;

	if (*count & AIC_SCBAUTO) {
		at = *count % AIC_SCB_BYTES;
		*count = (uint8_t)(AIC_SCBAUTO | (at + 1) % AIC_SCB_BYTES);
		chip->seq.changed = true;
	}
	return &scb[at];
}

/* ---- status ------------------------------------------------------------------------------------------ */

uint8_t aic_sstat0(const struct aic7870 *chip)
{
	uint8_t dfcntrl = chip->regs[AIC_DFCNTRL];
	uint8_t value = chip->sstat0;
	bool is_out = dfcntrl & AIC_DIRECTION;

	if (chip->stcnt == 0) {
		value |= AIC_SDONE;
		if ((dfcntrl & AIC_HDMAEN) &&
		    (is_out || (chip->fifo_bytes == 0 && chip->hcnt == 0))) {
			value |= AIC_DMADONE;
		}
	}
	if ((chip->regs[AIC_SXFRCTL0] & AIC_SPIOEN) && aic_bus_matches(chip)) {
		value |= AIC_SPIORDY;
	}
	return value;
}

uint8_t aic_sstat1(const struct aic7870 *chip)
{
	uint8_t value = chip->sstat1;

	if (chip->link.req && !aic_bus_matches(chip)) {
		value |= AIC_PHASEMIS;
	}
	return value;
}

static uint8_t scsisig(const struct aic7870 *chip)
{
	const struct aic_link *link = &chip->link;

	if (link->target < 0) {
		return chip->sstat0 & AIC_SELINGO ? AIC_SEL : 0;
	}
	return (uint8_t)(link->phase | AIC_BSY | (link->atn ? AIC_ATN : 0) |
			 (link->req ? AIC_REQ : 0));
}

static uint8_t dfstatus(const struct aic7870 *chip)
{
	uint8_t dfcntrl = chip->regs[AIC_DFCNTRL];
	uint8_t value = 0;

	if (chip->fifo_bytes == 0) {
		value |= AIC_FIFOEMP;
	}
	if (chip->fifo_bytes == AIC_FIFO_BYTES) {
		value |= AIC_FIFOFULL;
	}
	if (chip->fifo_bytes < 8) {
		value |= AIC_FIFOQWDEMP;
	}
	if ((dfcntrl & AIC_DIRECTION) ? chip->fifo_bytes <= AIC_FIFO_BYTES / 2
				      : chip->fifo_bytes >= AIC_FIFO_BYTES / 2) {
		value |= AIC_DFTHRESH;
	}
	if (chip->hcnt == 0) {
		value |= AIC_HDONE;
	} else if ((dfcntrl & AIC_HDMAEN) && !pci_is_master(&chip->pci)) {
		value |= AIC_MREQPEND; /* the bus is not granted */
	}
	return value;
}

/* ---- queues of SCB indices ------------------------------------------------------------------------------ */

static uint8_t queue_count(const struct aic_queue *queue)
{
	return (uint8_t)(queue->in - queue->out);
}

static uint8_t queue_get(struct aic7870 *chip, struct aic_queue *queue)
{
	if (queue_count(queue) == 0) {
		return 0xff;
	}
	chip->seq.changed = true;
	return queue->entries[queue->out++];
}

static void queue_put(struct aic_queue *queue, uint8_t value)
{
	if (queue_count(queue) < 255) {
		queue->entries[queue->in++] = value;
	}
}

/* ---- the sequencer's own ---------------------------------------------------------------------------------- */

/* Entries from the top down, the low byte first; after all of them it begins again. */
static uint8_t stack_read(struct aic7870 *chip)
{
	struct aic_sequencer *seq = &chip->seq;
	unsigned int back = 1 + seq->stack_reads / 2;
	uint16_t entry = seq->stack[(seq->sp + AIC_STACK_WORDS - back) % AIC_STACK_WORDS];
	uint8_t value = (uint8_t)(seq->stack_reads & 1 ? entry >> 8 : entry);

	seq->stack_reads = (uint8_t)((seq->stack_reads + 1) % (2 * AIC_STACK_WORDS));
	seq->changed = true;
	return value;
}

static void ram_step(struct aic_sequencer *seq)
{
	if (++seq->ram_byte == 4) {
		seq->ram_byte = 0;
		seq->pc = (uint16_t)((seq->pc + 1) % AIC_PROGRAM_WORDS);
	}
	seq->changed = true;
}

static uint8_t ram_read(struct aic7870 *chip)
{
	struct aic_sequencer *seq = &chip->seq;
	uint8_t value;

	if (!(chip->regs[AIC_SEQCTL] & AIC_LOADRAM)) {
		return 0;
	}
	value = (uint8_t)(seq->ram[seq->pc] >> 8 * seq->ram_byte);
	ram_step(seq);
	return value;
}

static void ram_write(struct aic7870 *chip, uint8_t value)
{
	struct aic_sequencer *seq = &chip->seq;
	unsigned int shift = 8U * seq->ram_byte;

	if (chip->regs[AIC_SEQCTL] & AIC_LOADRAM) {
		seq->ram[seq->pc] = (seq->ram[seq->pc] & ~(0xffU << shift)) | (uint32_t)value
										      << shift;
		aic_seq_decode(seq, seq->pc);
		ram_step(seq);
	}
}

static void seqctl_write(struct aic7870 *chip, uint8_t value)
{
	chip->regs[AIC_SEQCTL] = value & (uint8_t)~AIC_SEQRESET;
	chip->seq.ram_byte = 0;
	if (value & AIC_SEQRESET) {
		chip->seq.pc = 0;
		chip->seq.at_break = false;
	}
	aic_update(chip);
}

static void seqaddr_write(struct aic7870 *chip, uint8_t reg, uint8_t value)
{
	struct aic_sequencer *seq = &chip->seq;

	if (reg == AIC_SEQADDR0) {
		seq->pc = (uint16_t)((seq->pc & 0x100) | value);
	} else {
		seq->pc = (uint16_t)((seq->pc & 0xff) | (value & 1) << 8);
	}
	seq->ram_byte = 0;
	seq->at_break = false;
}

/* ---- the host's half ----------------------------------------------------------------------------------------- */

static uint8_t hcntrl_read(const struct aic7870 *chip)
{
	return (uint8_t)((chip->hcntrl & ~AIC_PAUSE) | (aic_is_paused(chip) ? AIC_PAUSE : 0));
}

static void hcntrl_write(struct aic7870 *chip, uint8_t value)
{
	if (value & AIC_CHIPRST) {
		aic_chip_reset(chip);
	}
	chip->hcntrl = value & (AIC_POWRDN | AIC_SWINT | AIC_PAUSE | AIC_INTEN | AIC_CHIPRST);
	aic_update(chip);
}

static void clrint_write(struct aic7870 *chip, uint8_t value)
{
	if (value & AIC_CLRPARERR) {
		chip->error &= AIC_ILLOPCODE | AIC_ILLSADDR | AIC_ILLHADDR;
	}
	if (value & AIC_BRKADRINT) {
		chip->error &= AIC_PCIERRSTAT;
	}
	if (value & AIC_SEQINT) {
		chip->intstat &= (uint8_t)~AIC_SEQINT_CODE;
	}
	chip->intstat &= (uint8_t) ~(value & 0x0f);
	aic_update(chip);
}

/* The sequencer raises an interrupt; SEQINT stops it. */
static void intstat_write(struct aic7870 *chip, uint8_t value)
{
	if (value & AIC_SEQINT) {
		chip->intstat = (uint8_t)((chip->intstat & 0x0f) | (value & AIC_SEQINT_CODE));
	}
	chip->intstat |= value & 0x0f;
	aic_update(chip);
}

static uint32_t *counter_of(struct aic7870 *chip, uint8_t reg, unsigned int *ret_shift)
{
	if (reg >= AIC_STCNT && reg < AIC_STCNT + 3) {
		*ret_shift = 8U * (reg - AIC_STCNT);
		return &chip->stcnt;
	}
	if (reg >= AIC_SHADDR && reg < AIC_SHADDR + 4) {
		*ret_shift = 8U * (reg - AIC_SHADDR);
		return &chip->shaddr;
	}
	if (reg >= AIC_HADDR && reg < AIC_HADDR + 4) {
		*ret_shift = 8U * (reg - AIC_HADDR);
		return &chip->haddr;
	}
	if (reg >= AIC_HCNT && reg < AIC_HCNT + 3) {
		*ret_shift = 8U * (reg - AIC_HCNT);
		return &chip->hcnt;
	}
	return NULL;
}

/* SHADDR follows HADDR when that is loaded, and then counts what the SCSI side has moved. */
static void counter_write(struct aic7870 *chip, uint8_t reg, uint8_t value)
{
	unsigned int shift;
	uint32_t *counter = counter_of(chip, reg, &shift);

	if (counter == &chip->shaddr) {
		return; /* read only */
	}
	*counter = (*counter & ~(0xffU << shift)) | (uint32_t)value << shift;
	if (counter == &chip->haddr) {
		chip->shaddr = chip->haddr;
	}
}

/* ---- the board's --------------------------------------------------------------------------------------------- */

/* Cables by the bank that was selected: the 50-pin connector inside is used; no 68-pin one, no BIOS. */
static uint8_t brdctl_read(const struct aic7870 *chip)
{
	uint8_t value = chip->regs[AIC_BRDCTL];

	if (value & AIC_BRDRW) {
		value &= (uint8_t) ~(AIC_BRDDAT7 | AIC_BRDDAT6);
		value |= chip->board_bank ? AIC_BRDDAT6 : AIC_BRDDAT7;
	}
	return value;
}

static void brdctl_write(struct aic7870 *chip, uint8_t value)
{
	chip->regs[AIC_BRDCTL] = value;
	if (!(value & AIC_BRDRW) && value) {
		chip->board_bank = value & AIC_BRDDAT5; /* it outlives the strobes */
	}
}

/* ---- the SCSI block ------------------------------------------------------------------------------------------- */

static void scsiseq_write(struct aic7870 *chip, uint8_t value)
{
	bool was_reset = chip->regs[AIC_SCSISEQ] & AIC_SCSIRSTO;

	chip->regs[AIC_SCSISEQ] = value;
	if (!(value & AIC_ENSELO)) {
		chip->sstat0 &= (uint8_t)~AIC_SELINGO;
	}
	if ((value & AIC_SCSIRSTO) && !was_reset) {
		aic_bus_reset(chip);
	}
}

static void sxfrctl0_write(struct aic7870 *chip, uint8_t value)
{
	chip->regs[AIC_SXFRCTL0] = value & (uint8_t) ~(AIC_CLRSTCNT | AIC_CLRCHN);
	if (value & AIC_CLRSTCNT) {
		chip->stcnt = 0;
	}
	if (value & AIC_CLRCHN) {
		aic_fifo_reset(chip);
	}
}

static void clrsint1_write(struct aic7870 *chip, uint8_t value)
{
	chip->sstat1 &= (uint8_t) ~(value & (AIC_SELTO | AIC_SCSIRSTI | AIC_BUSFREE | AIC_SCSIPERR |
					     AIC_PHASECHG | AIC_REQINIT));
	if (value & AIC_CLRATNO) {
		chip->link.atn = false;
	}
}

/* Phases that are expected, and ATN, which stays until CLRATNO or bus free. */
static void scsisig_write(struct aic7870 *chip, uint8_t value)
{
	chip->regs[AIC_SCSISIG] = value;
	if ((value & AIC_ATN) && chip->link.target >= 0) {
		chip->link.atn = true;
	}
}

static uint8_t scsi_read(struct aic7870 *chip, uint8_t reg)
{
	switch (reg) {
	case AIC_SCSISIG:
		return scsisig(chip);
	case AIC_SCSIDATL:
		return aic_pio_read(chip);
	case AIC_SSTAT0:
		return aic_sstat0(chip);
	case AIC_SSTAT1:
		return aic_sstat1(chip);
	case AIC_SSTAT2:
	case AIC_SSTAT3:
	case AIC_SCSIBUSH:
		return 0;
	case AIC_SCSIBUSL:
		return chip->link.target >= 0 && (chip->link.phase & AIC_IO) ? chip->link.in_value
									     : chip->link.out_value;
	case AIC_BRDCTL:
		return brdctl_read(chip);
	case AIC_SEECTL:
		return (uint8_t)((chip->regs[reg] & ~(AIC_SEERDY | AIC_SEEDI)) |
				 (chip->regs[reg] & AIC_SEEMS ? AIC_SEERDY : 0) |
				 (chip->seeprom.di ? AIC_SEEDI : 0));
	default:
		return chip->regs[reg];
	}
}

static void scsi_write(struct aic7870 *chip, uint8_t reg, uint8_t value)
{
	switch (reg) {
	case AIC_SCSISEQ:
		scsiseq_write(chip, value);
		break;
	case AIC_SXFRCTL0:
		sxfrctl0_write(chip, value);
		break;
	case AIC_SCSISIG:
		scsisig_write(chip, value);
		break;
	case AIC_SCSIDATL:
		aic_pio_write(chip, value);
		break;
	case AIC_SSTAT0:
		chip->sstat0 &= (uint8_t) ~(value & (AIC_SELDO | AIC_SELDI | AIC_SELINGO));
		break;
	case AIC_SSTAT1:
		clrsint1_write(chip, value);
		break;
	case AIC_SSTAT2:
	case AIC_SSTAT3:
	case AIC_SELID:
		break; /* read only */
	case AIC_BRDCTL:
		brdctl_write(chip, value);
		break;
	case AIC_SEECTL:
		chip->regs[reg] = value;
		aic_seeprom_write(&chip->seeprom, value);
		break;
	case AIC_SBLKCTL:
		chip->regs[reg] = value & AIC_SBLKCTL_WRITABLE;
		break;
	default: /* SXFRCTL1, SIMODE0, SIMODE1… */
		chip->regs[reg] = value;
		break;
	}
	aic_dma_run(chip);
	aic_update(chip);
}

/* ---- dispatch ------------------------------------------------------------------------------------------------- */

static uint8_t sequencer_read(struct aic7870 *chip, uint8_t reg, bool is_host)
{
	const struct aic_sequencer *seq = &chip->seq;
	uint16_t pc = is_host ? seq->pc : (uint16_t)((seq->pc + 1) % AIC_PROGRAM_WORDS);

	switch (reg) {
	case AIC_SEQCTL:
		return chip->regs[reg];
	case AIC_SEQRAM:
		return ram_read(chip);
	case AIC_SEQADDR0:
		return (uint8_t)pc;
	case AIC_SEQADDR1:
		return (uint8_t)(pc >> 8);
	case AIC_ALLONES:
		return 0xff;
	case AIC_FLAGS:
		return (uint8_t)((seq->zero ? AIC_ZERO : 0) | (seq->carry ? AIC_CARRY : 0));
	case AIC_FUNCTION1: /* a number in bits 6 to 4 as a bit */
		return (uint8_t)(1U << (chip->regs[reg] >> 4 & 7));
	case AIC_STACK:
		return stack_read(chip);
	case AIC_SINDIR: /* the host's look: without counting */
		return aic_reg_is_plain(chip->regs[AIC_SINDEX]) ? chip->regs[chip->regs[AIC_SINDEX]]
								: 0;
	default: /* ALLZEROS, DINDIR */
		return 0;
	}
}

static void sequencer_write(struct aic7870 *chip, uint8_t reg, uint8_t value)
{
	switch (reg) {
	case AIC_SEQCTL:
		seqctl_write(chip, value);
		break;
	case AIC_SEQRAM:
		ram_write(chip, value);
		break;
	case AIC_SEQADDR0:
	case AIC_SEQADDR1:
		seqaddr_write(chip, reg, value);
		break;
	case AIC_FUNCTION1:
		chip->regs[reg] = value;
		break;
	default: /* NONE, and what is read only */
		break;
	}
}

static uint8_t host_half_read(struct aic7870 *chip, uint8_t reg)
{
	switch (reg) {
	case AIC_HCNTRL:
		return hcntrl_read(chip);
	case AIC_INTSTAT:
		return chip->intstat;
	case AIC_ERROR:
		return chip->error;
	case AIC_DFSTATUS:
		return dfstatus(chip);
	case AIC_DFWADDR:
		return chip->fifo_in >> 3;
	case AIC_DFRADDR:
		return chip->fifo_out >> 3;
	case AIC_DFDAT:
		return aic_fifo_get(chip);
	case AIC_QINFIFO:
		return queue_get(chip, &chip->qin);
	case AIC_QINCNT:
		return queue_count(&chip->qin);
	case AIC_QOUTFIFO:
		return queue_get(chip, &chip->qout);
	case AIC_QOUTCNT:
		return queue_count(&chip->qout);
	default:
		return chip->regs[reg];
	}
}

static void host_half_write(struct aic7870 *chip, uint8_t reg, uint8_t value)
{
	switch (reg) {
	case AIC_HCNTRL:
		hcntrl_write(chip, value);
		break;
	case AIC_INTSTAT:
		intstat_write(chip, value);
		break;
	case AIC_ERROR:
		clrint_write(chip, value);
		break;
	case AIC_DFCNTRL:
		aic_dma_control(chip, value);
		break;
	case AIC_DFWADDR:
		chip->fifo_in = (uint8_t)(value << 3);
		chip->fifo_bytes = (uint8_t)(chip->fifo_in - chip->fifo_out);
		break;
	case AIC_DFRADDR:
		chip->fifo_out = (uint8_t)(value << 3);
		chip->fifo_bytes = (uint8_t)(chip->fifo_in - chip->fifo_out);
		break;
	case AIC_DFDAT:
		aic_fifo_put(chip, value);
		break;
	case AIC_QINFIFO:
		queue_put(&chip->qin, value);
		break;
	case AIC_QOUTFIFO:
		queue_put(&chip->qout, value);
		break;
	default: /* read only */
		break;
	}
}

uint8_t aic_reg_read(struct aic7870 *chip, uint8_t reg, bool is_host)
{
	unsigned int shift;
	const uint32_t *counter = counter_of(chip, reg, &shift);

	if (counter) {
		return (uint8_t)(*counter >> shift);
	}
	if (is_hole(reg)) {
		aic_hard_error(chip, is_host ? AIC_ILLHADDR : AIC_ILLSADDR);
		return 0xff;
	}
	if (aic_reg_is_plain(reg)) {
		return chip->regs[reg];
	}
	if (reg < AIC_SCRATCH) {
		return scsi_read(chip, reg);
	}
	if (reg < 0x70) {
		return sequencer_read(chip, reg, is_host);
	}
	if (reg < AIC_SCBARRAY) {
		return host_half_read(chip, reg);
	}
	return *aic_scb_byte(chip, reg);
}

void aic_reg_write(struct aic7870 *chip, uint8_t reg, uint8_t value, bool is_host)
{
	unsigned int shift;

	if (reg >= AIC_SCBARRAY && !is_hole(reg)) {
		uint8_t *byte = aic_scb_byte(chip, reg);

		chip->seq.changed |= *byte != value;
		*byte = value;
		return;
	}
	if (reg == AIC_ALLZEROS) {
		return;
	}
	chip->seq.changed = true;
	if (counter_of(chip, reg, &shift)) {
		counter_write(chip, reg, value);
		aic_dma_run(chip);
		aic_update(chip);
	} else if (is_hole(reg)) {
		aic_hard_error(chip, is_host ? AIC_ILLHADDR : AIC_ILLSADDR);
	} else if (aic_reg_is_plain(reg)) {
		chip->regs[reg] = value;
	} else if (reg < AIC_SCRATCH) {
		scsi_write(chip, reg, value);
	} else if (reg < 0x70) {
		sequencer_write(chip, reg, value);
	} else {
		host_half_write(chip, reg, value);
	}
}

/* ---- the host ------------------------------------------------------------------------------------------------ */

/* Accesses of several bytes are that many bytes, from the lowest address up. */
uint64_t aic_host_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct aic7870 *chip = ctx;
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		uint64_t byte = 0xff; /* BAR 1 is a page, of which this is the first part */

		if (offset + i < AIC_REGISTERS) {
			byte = aic_reg_read(chip, (uint8_t)(offset + i), true);
		}
		value |= byte << 8 * i;
	}
	/* What a read does to the bus is the sequencer's to notice; few have such an effect. */
	if (offset <= AIC_SCSIDATL && offset + bytes > AIC_SCSIDATL) {
		aic_wake(chip);
	}
	return value;
}

void aic_host_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct aic7870 *chip = ctx;
	bool wakes = false;

	for (unsigned int i = 0; i < bytes && offset + i < AIC_REGISTERS; i++) {
		uint8_t reg = (uint8_t)(offset + i);

		aic_reg_write(chip, reg, (uint8_t)(value >> 8 * i), true);
		/* Interrupts are acknowledged at every command, and the sequencer does not look at them. */
		wakes |= reg != AIC_ERROR;
	}
	if (wakes && (!chip->halt || chip->link.target >= 0 || chip->units_to_reset ||
		      (chip->regs[AIC_SCSISEQ] & (AIC_ENSELO | AIC_ENRSELI)))) {
		aic_wake(chip);
	}
}
