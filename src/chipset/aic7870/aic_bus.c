/* SPDX-License-Identifier: MIT */
/*
 * The bus: who has it. Handshakes take no time, so that ACK is never seen; what takes time is commands.
 *
 *            SCSISEQ.ENSELO, a target answers: SELDO          ┌─► message out, command, data, status
 *   free ──────────────────────────────────────────► connected┤    (aic_link.c)
 *    │  ▲    SCSISEQ.ENRSELI, a target has news: SELDI        └─► bus free: BUSFREE
 *    │  └──────────────────────────────────────────────────────────────┘
 *    └── nobody answers: SELTO at once. The time of STIMESEL (32 to 256 ms) tells a driver nothing more.
 *
 *   spec  SCSI-2 6.1 (phases), 6.2.2 (reset); AIC-7770 Data Book 3-11 (SCSISEQ), 3-21 to 3-24 (SSTAT)
 */
#include "chipset/aic7870/aic_internal.h"

bool aic_bus_matches(const struct aic7870 *chip)
{
	return chip->link.req &&
	       ((chip->regs[AIC_SCSISIG] ^ chip->link.phase) & AIC_PHASE_MASK) == 0;
}

void aic_bus_free(struct aic7870 *chip)
{
	chip->link.target = -1;
	chip->link.req = chip->link.atn = false;
	chip->link.phase = 0;
	chip->link.command = NULL;
	chip->link.has_cdb = false;
	chip->sstat0 &= (uint8_t) ~(AIC_SELDO | AIC_SELDI);
	chip->sstat1 &= (uint8_t)~AIC_REQINIT;
	chip->sstat1 |= AIC_BUSFREE;
	aic_update(chip);
}

/* ---- automatic PIO ---------------------------------------------------------------------------------- */

static bool pio_is_ready(const struct aic7870 *chip)
{
	return (chip->regs[AIC_SXFRCTL0] & AIC_SPIOEN) && aic_bus_matches(chip);
}

uint8_t aic_pio_read(struct aic7870 *chip)
{
	uint8_t value = chip->link.out_value;

	if (chip->link.target >= 0 && (chip->link.phase & AIC_IO)) {
		value = chip->link.in_value;
		if (pio_is_ready(chip)) {
			chip->seq.changed = true;
			aic_link_take(chip);
			aic_dma_run(chip);
			aic_update(chip);
		}
	}
	return value;
}

void aic_pio_write(struct aic7870 *chip, uint8_t value)
{
	chip->link.out_value = value;
	if (pio_is_ready(chip) && !(chip->link.phase & AIC_IO)) {
		aic_link_give(chip, value);
	}
}

/* ---- arbitration -------------------------------------------------------------------------------------- */

static bool is_on_bus(const struct aic7870 *chip, unsigned int id)
{
	const struct scsi_target *target = id < AIC_IDS ? chip->targets[id] : NULL;

	if (!target || id == AIC7870_HOST_ID) {
		return false;
	}
	for (unsigned int lun = 0; lun < SCSI_LUNS_MAX; lun++) {
		if (target->luns[lun]) {
			return true;
		}
	}
	return false;
}

static bool select_target(struct aic7870 *chip)
{
	unsigned int id = chip->regs[AIC_SCSIID] >> 4;
	bool may_time_out = chip->regs[AIC_SXFRCTL1] & AIC_ENSTIMER;

	if (is_on_bus(chip, id)) {
		chip->sstat0 &= (uint8_t)~AIC_SELINGO;
		chip->sstat0 |= AIC_SELDO;
		aic_link_selected(chip, id);
		return true;
	}
	if ((chip->sstat0 & AIC_SELINGO) && (!may_time_out || (chip->sstat1 & AIC_SELTO))) {
		return false; /* for ever, or until somebody clears what was told */
	}
	chip->sstat0 |= AIC_SELINGO;
	if (may_time_out) {
		chip->sstat1 |= AIC_SELTO;
		counter_add(&chip->timeouts, 1);
	}
	aic_update(chip);
	return true;
}

/* With the highest id of all the host wins each arbitration that it takes part in. */
bool aic_bus_step(struct aic7870 *chip)
{
	struct aic_command *command = list_first(&chip->answered, struct aic_command, link);
	uint8_t scsiseq = chip->regs[AIC_SCSISEQ];

	if (chip->link.target >= 0 || (scsiseq & AIC_SCSIRSTO)) {
		return false;
	}
	if ((scsiseq & AIC_ENSELO) && select_target(chip)) {
		return true;
	}
	if ((scsiseq & AIC_ENRSELI) && command && !(chip->sstat0 & AIC_SELINGO)) {
		chip->regs[AIC_SELID] = (uint8_t)(command->target << 4);
		chip->sstat0 |= AIC_SELDI;
		counter_add(&chip->reselections, 1);
		aic_link_reselect(chip, command);
		return true;
	}
	return false;
}

/* ---- reset ---------------------------------------------------------------------------------------------- */

void aic_bus_reset(struct aic7870 *chip)
{
	counter_add(&chip->resets, 1);
	for (unsigned int id = 0; id < AIC_IDS; id++) {
		aic_commands_abort(chip, id, -1, -1);
	}
	if (chip->link.target >= 0) {
		aic_bus_free(chip);
	}
	chip->regs[AIC_SCSISEQ] &= (uint8_t) ~(AIC_ENSELO | AIC_ENSELI | AIC_ENRSELI);
	chip->sstat0 &= (uint8_t) ~(AIC_SELINGO | AIC_SELDO | AIC_SELDI);
	chip->sstat1 |= AIC_SCSIRSTI;
	chip->units_to_reset = 0xff;
	aic_update(chip);
}
