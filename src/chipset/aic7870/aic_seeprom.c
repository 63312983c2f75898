/* SPDX-License-Identifier: MIT */
/*
 * The board's serial EEPROM, a 93C46 (64 words of 16 bits) at SEECTL, with the settings of an AHA-2940 as
 * SCSISelect would leave them. A bit is taken at each rising edge of the clock while the chip is selected:
 * a start bit (1), two bits of operation, six of address, sixteen of data. A read gives a 0 first.
 *
 *   spec  National NM93C46 (instruction set); AIC-7870 Data Book 4-92 (SEECTL); the words' meaning: Linux
 *         drivers/scsi/aic7xxx/aic7xxx.h, struct seeprom_config
 */
#include "base/num.h"
#include "chipset/aic7870/aic_internal.h"

#define OPERATION_BITS  9 /* with the start bit */
#define WRITE_BITS      25

#define OP_EXTENDED     0 /* by the two highest bits of the address */
#define OP_WRITE        1
#define OP_READ         2
#define OP_ERASE        3

#define EXTENDED_EWDS   0
#define EXTENDED_WRAL   1
#define EXTENDED_ERAL   2
#define EXTENDED_EWEN   3

/* Words 0 to 15, per target: 10 MB/s, synchronous, may disconnect, looked at by a BIOS. */
#define DEVICE_FLAGS    0x0218
#define BIOS_CONTROL    0x0082 /* extended translation, removable boot drives; no BIOS */
#define ADAPTER_CONTROL 0x0014 /* terminated, parity; no reset of the bus at boot */
#define BUS_RELEASE     0x2800 /* 40 clocks */
#define SIGNATURE       0x0250

static const struct {
	uint8_t at;
	uint16_t value;
} settings[] = {
	{ 16, BIOS_CONTROL }, { 17, ADAPTER_CONTROL }, { 18, BUS_RELEASE | AIC7870_HOST_ID },
	{ 19, AIC_IDS },      { 30, SIGNATURE },
};

void aic_seeprom_init(struct aic_seeprom *seeprom)
{
	uint16_t sum = 0;

	*seeprom = (struct aic_seeprom){ .di = true };
	for (unsigned int i = 0; i < AIC_SEEPROM_WORDS; i++) {
		seeprom->words[i] = i < 16 ? DEVICE_FLAGS : i < 32 ? 0 : 0xffff; /* half is used */
	}
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		seeprom->words[settings[i].at] = settings[i].value;
	}
	for (unsigned int i = 0; i < 31; i++) {
		sum = (uint16_t)(sum + seeprom->words[i]);
	}
	seeprom->words[31] = sum;
}

static void fill(struct aic_seeprom *seeprom, uint16_t value)
{
	for (unsigned int i = 0; i < AIC_SEEPROM_WORDS; i++) {
		seeprom->words[i] = value;
	}
}

/* Writes are done at once: the chip shows ready. */
static void execute_extended(struct aic_seeprom *seeprom, unsigned int address)
{
	switch (address >> 4) {
	case EXTENDED_EWDS:
		seeprom->may_write = false;
		break;
	case EXTENDED_EWEN:
		seeprom->may_write = true;
		break;
	case EXTENDED_ERAL:
		if (seeprom->may_write) {
			fill(seeprom, 0xffff);
		}
		break;
	default: /* WRAL waits for its data */
		break;
	}
}

static void execute(struct aic_seeprom *seeprom)
{
	unsigned int address = seeprom->shift & (AIC_SEEPROM_WORDS - 1);

	switch (seeprom->shift >> 6 & 3) {
	case OP_READ:
		seeprom->out = seeprom->words[address];
		seeprom->out_bits = 16;
		seeprom->di = false;
		break;
	case OP_ERASE:
		if (seeprom->may_write) {
			seeprom->words[address] = 0xffff;
		}
		break;
	case OP_EXTENDED:
		execute_extended(seeprom, address);
		break;
	default: /* WRITE waits for its data */
		break;
	}
}

static void execute_write(struct aic_seeprom *seeprom)
{
	unsigned int address = seeprom->shift >> 16 & (AIC_SEEPROM_WORDS - 1);
	unsigned int op = seeprom->shift >> 22 & 3;
	uint16_t value = (uint16_t)seeprom->shift;

	if (!seeprom->may_write) {
		return;
	}
	if (op == OP_WRITE) {
		seeprom->words[address] = value;
	} else if (op == OP_EXTENDED && address >> 4 == EXTENDED_WRAL) {
		fill(seeprom, value);
	}
}

static void clock_bit(struct aic_seeprom *seeprom, bool bit)
{
	if (seeprom->out_bits > 0) {
		seeprom->di = seeprom->out >> --seeprom->out_bits & 1;
		return;
	}
	if (seeprom->bits == 0 && !bit) {
		return; /* no start bit yet */
	}
	if (seeprom->bits < WRITE_BITS) {
		seeprom->shift = seeprom->shift << 1 | bit;
		seeprom->bits++;
	}
	if (seeprom->bits == OPERATION_BITS) {
		execute(seeprom);
	} else if (seeprom->bits == WRITE_BITS) {
		execute_write(seeprom);
		seeprom->bits++;
	}
}

void aic_seeprom_write(struct aic_seeprom *seeprom, uint8_t seectl)
{
	uint8_t lines = seectl & AIC_SEEMS ? seectl & (AIC_SEECS | AIC_SEECK) : 0;
	bool rises = (lines & AIC_SEECK) && !(seeprom->lines & AIC_SEECK);

	seeprom->lines = lines;
	if (!(lines & AIC_SEECS)) {
		seeprom->bits = seeprom->out_bits = 0;
		seeprom->shift = 0;
		seeprom->di = true;
	} else if (rises) {
		clock_bit(seeprom, seectl & AIC_SEEDO);
	}
}
