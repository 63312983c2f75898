/* SPDX-License-Identifier: MIT */
/*
 * The bus and the targets: by hand, the host playing initiator byte by byte with the sequencer paused, and
 * by a program of our own that moves a whole command.
 */
#include "aic_asm.h"

static int setup(void **state)
{
	struct aic_rig *r = aic_rig_new();

	*state = r;
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_out(r, AIC_SXFRCTL0, AIC_SPIOEN);
	aic_out(r, AIC_SXFRCTL1, AIC_ENSTIMER);
	return 0;
}

static int teardown(void **state)
{
	aic_rig_free(*state);
	return 0;
}

/* ---- by hand ------------------------------------------------------------------------------------------- */

#define FREE 0xff

static void select_target(struct aic_rig *r, uint8_t id)
{
	aic_out(r, AIC_SSTAT1, AIC_BUSFREE);
	aic_out(r, AIC_SCSIID, (uint8_t)(id << 4 | AIC7870_HOST_ID));
	aic_out(r, AIC_SCSISEQ, AIC_ENSELO | AIC_ENAUTOATNO);
	aic_rig_settle(r);
	assert_true(aic_in(r, AIC_SSTAT0) & AIC_SELDO);
	aic_out(r, AIC_SCSISEQ, 0);
	aic_out(r, AIC_SSTAT0, AIC_SELDO);
}

/* The phase that is asked for; FREE, or 0xfe: connected, and nothing is. */
static uint8_t phase(struct aic_rig *r)
{
	uint8_t lines = aic_in(r, AIC_SCSISIG);

	if (!(lines & AIC_BSY)) {
		return FREE;
	}
	assert_int_equal(!!(lines & AIC_REQ), aic_in(r, AIC_SSTAT1) & AIC_REQINIT);
	return lines & AIC_REQ ? lines & AIC_PHASE_MASK : 0xfe;
}

static void put(struct aic_rig *r, uint8_t expected, uint8_t value)
{
	assert_int_equal(phase(r), expected);
	aic_out(r, AIC_SCSISIG, expected);
	assert_true(aic_in(r, AIC_SSTAT0) & AIC_SPIORDY);
	aic_out(r, AIC_SCSIDATL, value);
	aic_rig_settle(r);
}

static uint8_t get(struct aic_rig *r, uint8_t expected)
{
	uint8_t value, peeked;

	assert_int_equal(phase(r), expected);
	aic_out(r, AIC_SCSISIG, (uint8_t)(expected ^ AIC_CD));
	assert_true(aic_in(r, AIC_SSTAT1) & AIC_PHASEMIS);
	aic_in(r, AIC_SCSIDATL); /* no handshake in a phase that is not expected */
	aic_out(r, AIC_SCSISIG, expected);
	peeked = aic_in(r, AIC_SCSIBUSL);
	value = aic_in(r, AIC_SCSIDATL);
	assert_int_equal(value, peeked);
	aic_rig_settle(r);
	return value;
}

/* Messages; ATN falls with the last byte. */
static void say(struct aic_rig *r, const uint8_t *message, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (i + 1 == bytes) {
			aic_out(r, AIC_SSTAT1, AIC_CLRATNO);
		}
		put(r, AIC_P_MESGOUT, message[i]);
	}
}
#define SAY(r, ...)                                                                                \
	say(r, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void command(struct aic_rig *r, const uint8_t *cdb, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		put(r, AIC_P_COMMAND, cdb[i]);
	}
}
#define COMMAND(r, ...)                                                                            \
	command(r, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void raise_atn(struct aic_rig *r)
{
	aic_out(r, AIC_SCSISIG, AIC_ATN | (aic_in(r, AIC_SCSISIG) & AIC_PHASE_MASK));
}

static uint8_t finish(struct aic_rig *r)
{
	uint8_t status = get(r, AIC_P_STATUS);

	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_COMPLETE);
	assert_int_equal(phase(r), FREE);
	assert_true(aic_in(r, AIC_SSTAT1) & AIC_BUSFREE);
	return status;
}

/* A target with news selects us. */
static void expect_reselection(struct aic_rig *r, uint8_t id, int tag)
{
	aic_out(r, AIC_SCSISEQ, AIC_ENRSELI);
	aic_rig_settle(r);
	assert_true(aic_in(r, AIC_SSTAT0) & AIC_SELDI);
	assert_int_equal(aic_in(r, AIC_SELID) & 0xf0, id << 4);
	aic_out(r, AIC_SSTAT0, AIC_SELDI);
	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_IDENTIFY);
	if (tag >= 0) {
		assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_SIMPLE_TAG);
		assert_int_equal(get(r, AIC_P_MESGIN), tag);
	}
	aic_out(r, AIC_SCSISEQ, 0);
}

/* What REQUEST SENSE says of the last failure: the additional sense code. */
static uint8_t sense_code(struct aic_rig *r, uint8_t id)
{
	uint8_t sense[18];

	select_target(r, id);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_REQUEST_SENSE, 0, 0, 0, 18, 0);
	for (size_t i = 0; i < sizeof(sense); i++) {
		sense[i] = get(r, AIC_P_DATAIN);
	}
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
	return sense[12];
}

static void every_phase_byte_by_byte(void **state)
{
	struct aic_rig *r = *state;
	uint8_t reply[36];

	select_target(r, 1);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_INQUIRY, 0, 0, 0, 36, 0);
	for (size_t i = 0; i < sizeof(reply); i++) {
		reply[i] = get(r, AIC_P_DATAIN);
	}
	assert_memory_equal(reply + 8, "Msft    Virtual Disk    ", 24);
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

static void a_write_by_hand(void **state)
{
	struct aic_rig *r = *state;

	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_WRITE_6, 0, 0, 5, 1, 0);
	for (unsigned int i = 0; i < 512; i++) {
		put(r, AIC_P_DATAOUT, (uint8_t)(i ^ 0x99));
	}
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
	for (unsigned int i = 0; i < 512; i++) {
		assert_int_equal(r->disks[0].bytes[5 * 512 + i], (uint8_t)(i ^ 0x99));
	}
}

static void an_initiator_without_messages(void **state)
{
	struct aic_rig *r = *state;

	aic_out(r, AIC_SCSIID, 0x10 | AIC7870_HOST_ID);
	aic_out(r, AIC_SCSISEQ, AIC_ENSELO);
	aic_rig_settle(r);
	assert_true(aic_in(r, AIC_SSTAT0) & AIC_SELDO);
	aic_out(r, AIC_SCSISEQ, 0);
	COMMAND(r, 0, 0x00, 0, 0, 0, 0);
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

static void sense_stays_until_it_is_asked_for(void **state)
{
	struct aic_rig *r = *state;

	for (unsigned int round = 0; round < 2; round++) {
		select_target(r, 0);
		SAY(r, 0x80);
		COMMAND(r, SCSI_OP_READ_6, 0x1f, 0xff, 0xff, 1, 0);
		assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
		if (round == 1) { /* another command: it is void */
			select_target(r, 0);
			SAY(r, 0x80);
			COMMAND(r, 0, 0, 0, 0, 0, 0);
			assert_int_equal(finish(r), SCSI_STATUS_GOOD);
		}
		assert_int_equal(sense_code(r, 0), round == 0 ? 0x21 : 0);
	}
}

static void more_data_than_there_is_room(void **state)
{
	struct aic_rig *r = *state;

	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_WRITE_10, 0, 0, 0, 0, 0, 0, 0x20, 0, 0); /* 4 MiB */
	assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
	assert_int_equal(sense_code(r, 0), 0x24);
}

static void a_unit_that_is_not_there(void **state)
{
	struct aic_rig *r = *state;

	select_target(r, 0);
	SAY(r, 0x83);
	COMMAND(r, 0, 0, 0, 0, 0, 0);
	assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
	select_target(r, 0);
	SAY(r, 0x83);
	COMMAND(r, SCSI_OP_WRITE_6, 0, 0, 5, 1, 0); /* no data is asked for */
	assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
}

static void disconnect_and_reselect(void **state)
{
	struct aic_rig *r = *state;

	r->disks[2].holds = true;
	select_target(r, 3);
	SAY(r, 0xc0, AIC_MSG_SIMPLE_TAG, 0x55);
	COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_DISCONNECT);
	assert_int_equal(phase(r), FREE);
	ram_release(&r->disks[2]);
	aic_rig_settle(r);
	assert_int_equal(phase(r), FREE); /* not before we allow it */
	expect_reselection(r, 3, 0x55);
	for (unsigned int i = 0; i < 512; i++) {
		assert_int_equal(get(r, AIC_P_DATAIN), r->disks[2].bytes[1024 + i]);
	}
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

static void pointers_are_saved_before_a_write_disconnects(void **state)
{
	struct aic_rig *r = *state;

	r->disks[0].holds = true;
	select_target(r, 0);
	SAY(r, 0xc0);
	COMMAND(r, SCSI_OP_WRITE_6, 0, 0, 2, 1, 0);
	for (unsigned int i = 0; i < 512; i++) {
		put(r, AIC_P_DATAOUT, 1);
	}
	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_SAVE_POINTERS);
	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_DISCONNECT);
	assert_int_equal(phase(r), FREE);
	ram_release(&r->disks[0]);
	expect_reselection(r, 0, -1);
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

static void without_the_privilege_the_bus_is_kept(void **state)
{
	struct aic_rig *r = *state;

	r->disks[0].holds = true;
	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
	assert_int_equal(phase(r), 0xfe);
	ram_release(&r->disks[0]);
	aic_rig_settle(r);
	assert_int_equal(phase(r), AIC_P_DATAIN);
}

static void messages_are_answered(void **state)
{
	static const uint8_t wide[] = { 1, 2, 3, 0 }, sync[] = { 1, 3, 1, 50, 8 };
	struct aic_rig *r = *state;

	select_target(r, 0);
	SAY(r, 0x80, AIC_MSG_NOOP, 1, 2, AIC_EXT_WDTR, 1);
	for (size_t i = 0; i < sizeof(wide); i++) {
		assert_int_equal(get(r, AIC_P_MESGIN), wide[i]);
	}
	COMMAND(r, 0, 0, 0);
	raise_atn(r);
	put(r, AIC_P_COMMAND, 0); /* ATN is seen after this byte */
	SAY(r, 1, 3, AIC_EXT_SDTR, 50, 8);
	for (size_t i = 0; i < sizeof(sync); i++) {
		assert_int_equal(get(r, AIC_P_MESGIN), sync[i]);
	}
	raise_atn(r);
	put(r, AIC_P_COMMAND, 0);
	SAY(r, 0x7e); /* there is no such message */
	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_REJECT);
	raise_atn(r);
	put(r, AIC_P_COMMAND, 0);
	SAY(r, AIC_MSG_NOOP);
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

static void errors_of_the_initiator(void **state)
{
	struct aic_rig *r = *state;

	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, 0, 0, 0, 0, 0, 0);
	get(r, AIC_P_STATUS);
	raise_atn(r); /* parity in COMMAND COMPLETE: once more */
	get(r, AIC_P_MESGIN);
	SAY(r, AIC_MSG_PARITY_ERROR);
	assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_COMPLETE);
	assert_int_equal(phase(r), FREE);

	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
	raise_atn(r);
	get(r, AIC_P_DATAIN);
	SAY(r, AIC_MSG_INITIATOR_ERROR);
	assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
	assert_int_equal(sense_code(r, 0), 0x48);
}

static void aborts_end_at_bus_free(void **state)
{
	static const uint8_t messages[] = { AIC_MSG_ABORT, AIC_MSG_CLEAR_QUEUE,
					    AIC_MSG_DEVICE_RESET };
	struct aic_rig *r = *state;

	for (size_t i = 0; i < sizeof(messages); i++) {
		r->disks[0].holds = true;
		select_target(r, 0);
		SAY(r, 0xc0, AIC_MSG_SIMPLE_TAG, (uint8_t)i);
		COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
		get(r, AIC_P_MESGIN);
		select_target(r, 0);
		SAY(r, 0x80, messages[i]);
		assert_int_equal(phase(r), FREE);
		ram_release(&r->disks[0]);
		aic_out(r, AIC_SCSISEQ, AIC_ENRSELI);
		aic_rig_settle(r);
		assert_int_equal(aic_in(r, AIC_SSTAT0) & AIC_SELDI, 0);
		aic_out(r, AIC_SCSISEQ, 0);
	}
	select_target(r, 0); /* after DEVICE RESET */
	SAY(r, 0x80);
	COMMAND(r, 0, 0, 0, 0, 0, 0);
	assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
}

static void a_nexus_that_is_used_twice(void **state)
{
	struct aic_rig *r = *state;

	r->disks[0].holds = true;
	for (unsigned int i = 0; i < 2; i++) {
		select_target(r, 0);
		SAY(r, 0xc0, AIC_MSG_SIMPLE_TAG, 7);
		COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
		if (i == 0) {
			assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_DISCONNECT);
		}
	}
	assert_int_equal(finish(r), SCSI_STATUS_CHECK_CONDITION);
	ram_release(&r->disks[0]);
	aic_out(r, AIC_SCSISEQ, AIC_ENRSELI);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_SSTAT0) & AIC_SELDI, 0);
}

static void more_commands_than_there_is_room(void **state)
{
	struct aic_rig *r = *state;

	r->disks[0].holds = r->disks[1].holds = true;
	for (unsigned int i = 0; i < AIC7870_COMMANDS; i++) {
		select_target(r, i % 2);
		SAY(r, 0xc0, AIC_MSG_SIMPLE_TAG, (uint8_t)i);
		COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
		assert_int_equal(get(r, AIC_P_MESGIN), AIC_MSG_DISCONNECT);
	}
	select_target(r, 0);
	SAY(r, 0xc0, AIC_MSG_SIMPLE_TAG, 0xfe);
	COMMAND(r, SCSI_OP_READ_6, 0, 0, 2, 1, 0);
	assert_int_equal(finish(r), 0x28); /* QUEUE FULL */
	select_target(r, 1);
	SAY(r, 0xc0);
	COMMAND(r, 0, 0, 0, 0, 0, 0);
	assert_int_equal(finish(r), SCSI_STATUS_BUSY);
	ram_release(&r->disks[0]);
	ram_release(&r->disks[1]);
	aic_rig_settle(r);
	for (unsigned int i = 0; i < AIC7870_COMMANDS; i++) {
		aic_out(r, AIC_SCSISEQ, AIC_ENRSELI);
		aic_rig_settle(r);
		aic_out(r, AIC_SCSISEQ, 0);
		aic_out(r, AIC_SSTAT0, AIC_SELDI);
		for (unsigned int n = 0; n < 3; n++) {
			get(r, AIC_P_MESGIN);
		}
		aic_out(r, AIC_SXFRCTL1, AIC_ENSTIMER | AIC_BITBUCKET); /* nobody wants the data */
		aic_out(r, AIC_SCSISIG, AIC_P_DATAIN);
		aic_out(r, AIC_SXFRCTL1, AIC_ENSTIMER);
		assert_int_equal(finish(r), SCSI_STATUS_GOOD);
	}
}

static void a_selection_times_out_if_the_timer_runs(void **state)
{
	struct aic_rig *r = *state;

	aic_out(r, AIC_SXFRCTL1, 0);
	aic_out(r, AIC_SCSIID, 0x57);
	aic_out(r, AIC_SIMODE1, AIC_SELTO);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE | AIC_INTEN);
	aic_out(r, AIC_SCSISEQ, AIC_ENSELO);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_SSTAT0) & AIC_SELINGO, AIC_SELINGO);
	assert_int_equal(aic_in(r, AIC_SSTAT1) & AIC_SELTO, 0);
	aic_out(r, AIC_SXFRCTL1, AIC_ENSTIMER);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_SSTAT1) & AIC_SELTO, AIC_SELTO);
	assert_int_equal(aic_in(r, AIC_INTSTAT), AIC_SCSIINT);
	assert_true(aic_interrupt(r));
	aic_out(r, AIC_SCSISEQ, 0);
	aic_out(r, AIC_SSTAT1, AIC_SELTO);
	aic_out(r, AIC_ERROR, AIC_SCSIINT);
	assert_false(aic_interrupt(r));
	assert_int_equal(aic_in(r, AIC_SCSISIG), 0);
}

/* ---- by a program ----------------------------------------------------------------------------------------- */

/* Waits for REQ and expects the phase that is there. */
static void asm_request(struct aic_asm *a)
{
	asm_wait(a, AIC_SSTAT1, AIC_REQINIT);
	asm_alu(a, AIC_OP_AND, AIC_SCSISIG, AIC_SCSISIG, AIC_PHASE_MASK);
}

static void asm_data(struct aic_asm *a, uint8_t target, bool is_out, uint32_t gpa, uint8_t kib)
{
	const uint8_t loads[][2] = {
		{ AIC_STCNT, 0 },
		{ AIC_STCNT + 1, (uint8_t)(kib * 4) },
		{ AIC_STCNT + 2, 0 },
		{ AIC_HCNT, 0 },
		{ AIC_HCNT + 1, (uint8_t)(kib * 4) },
		{ AIC_HCNT + 2, 0 },
		{ AIC_HADDR, (uint8_t)gpa },
		{ AIC_HADDR + 1, (uint8_t)(gpa >> 8) },
		{ AIC_HADDR + 2, (uint8_t)(gpa >> 16) },
		{ AIC_HADDR + 3, (uint8_t)(gpa >> 24) },
	};

	asm_request(a);
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		asm_mvi(a, loads[i][0], loads[i][1]);
	}
	asm_mvi(a, AIC_DFCNTRL,
		(uint8_t)(AIC_SCSIEN | AIC_SDMAEN | AIC_HDMAEN | AIC_FIFORESET |
			  (is_out ? AIC_DIRECTION : 0)));
	asm_wait(a, AIC_SSTAT0, AIC_DMADONE);
	asm_mvi(a, AIC_DFCNTRL, 0);
}

/* Selects, identifies, sends the CDB in SCB 0 through the FIFO, moves data, and posts SCB 0. */
static void asm_command(struct aic_asm *a, uint8_t target, bool is_out, uint32_t gpa, uint8_t kib)
{
	asm_mvi(a, AIC_SCSIID, (uint8_t)(target << 4 | AIC7870_HOST_ID));
	asm_mvi(a, AIC_SCSISEQ, AIC_ENSELO | AIC_ENAUTOATNO);
	asm_wait(a, AIC_SSTAT0, AIC_SELDO);
	asm_mvi(a, AIC_SCSISEQ, 0);
	asm_request(a);
	asm_mvi(a, AIC_SSTAT1, AIC_CLRATNO);
	asm_mvi(a, AIC_SCSIDATL, 0x80);
	asm_request(a);
	asm_mvi(a, AIC_STCNT, 10);
	asm_mvi(a, AIC_DFCNTRL, AIC_SCSIEN | AIC_SDMAEN | AIC_DIRECTION | AIC_FIFORESET);
	asm_mvi(a, AIC_SINDEX, AIC_SCBARRAY);
	for (unsigned int i = 0; i < 10; i++) {
		asm_mov(a, AIC_DFDAT, AIC_SINDIR);
	}
	asm_wait(a, AIC_SSTAT0, AIC_SDONE);
	asm_mvi(a, AIC_DFCNTRL, 0);
	asm_data(a, target, is_out, gpa, kib);
	asm_request(a);
	asm_mov(a, AIC_SCBARRAY + 16, AIC_SCSIDATL); /* status */
	asm_request(a);
	asm_mov(a, AIC_SCBARRAY + 17, AIC_SCSIDATL); /* COMMAND COMPLETE */
	asm_wait(a, AIC_SSTAT1, AIC_BUSFREE);
	asm_mov(a, AIC_QOUTFIFO, AIC_ALLZEROS);
	asm_mvi(a, AIC_INTSTAT, AIC_CMDCMPLT);
	asm_jmp(a, a->count);
}

static void run_command(struct aic_rig *r, bool is_out, uint32_t lba, uint32_t gpa, uint8_t kib)
{
	struct aic_asm a = { 0 };
	uint8_t cdb[10] = { is_out ? SCSI_OP_WRITE_10 : SCSI_OP_READ_10 };

	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	bytes_put_be32(&cdb[2], lba);
	bytes_put_be16(&cdb[7], kib * 2U);
	aic_out(r, AIC_SCBPTR, 0);
	for (uint8_t i = 0; i < sizeof(cdb); i++) {
		aic_out(r, (uint8_t)(AIC_SCBARRAY + i), cdb[i]);
	}
	aic_out(r, AIC_SCBARRAY + 16, 0xee);
	asm_command(&a, 1, is_out, gpa, kib);
	asm_run(r, &a);
	assert_int_equal(aic_in(r, AIC_INTSTAT), AIC_CMDCMPLT);
	assert_true(aic_interrupt(r));
	aic_out(r, AIC_ERROR, AIC_CMDCMPLT);
	assert_int_equal(aic_in(r, AIC_QOUTFIFO), 0);
	assert_int_equal(aic_in(r, AIC_SCBARRAY + 16), SCSI_STATUS_GOOD);
	assert_int_equal(aic_in(r, AIC_SCBARRAY + 17), AIC_MSG_COMPLETE);
}

static void a_program_reads_and_writes(void **state)
{
	struct aic_rig *r = *state;
	uint8_t *memory = aic_mem(r, 0x500000, 0x20000);

	run_command(r, false, 20, 0x500000, 32);
	assert_memory_equal(memory, r->disks[1].bytes + 20 * 512, 32 << 10);
	for (unsigned int i = 0; i < 16 << 10; i++) {
		memory[i] = (uint8_t)(i * 11);
	}
	run_command(r, true, 300, 0x500000, 16);
	assert_memory_equal(memory, r->disks[1].bytes + 300 * 512, 16 << 10);
}

/* The host bus and the SCSI bus count apart: the one cannot have more than the other's buffer. */
static void a_transfer_stops_at_either_count(void **state)
{
	struct aic_rig *r = *state;
	uint8_t *memory = aic_mem(r, 0x500000, 4096);

	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_READ_6, 0, 0, 4, 2, 0);
	memset(memory, 0, 4096);
	aic_out32(r, AIC_HADDR, 0x500000);
	aic_out(r, AIC_HCNT, 100);
	aic_out(r, AIC_STCNT, 200);
	aic_out(r, AIC_SCSISIG, AIC_P_DATAIN);
	aic_out(r, AIC_DFCNTRL, AIC_SCSIEN | AIC_SDMAEN | AIC_HDMAEN | AIC_FIFORESET);
	assert_int_equal(aic_in(r, AIC_STCNT), 0); /* the rest is in the FIFO */
	assert_int_equal(aic_in(r, AIC_HCNT), 0);
	assert_int_equal(aic_in(r, AIC_SSTAT0) & AIC_DMADONE, 0);
	assert_memory_equal(memory, r->disks[0].bytes + 2048, 100);
	assert_int_equal(memory[100], 0);
	for (unsigned int i = 100; i < 200; i++) {
		assert_int_equal(aic_in(r, AIC_DFDAT), r->disks[0].bytes[2048 + i]);
	}
	assert_true(aic_in(r, AIC_DFSTATUS) & AIC_FIFOEMP);
	assert_int_equal(get(r, AIC_P_DATAIN), r->disks[0].bytes[2048 + 200]);
}

static void reset_gives_up_what_is_out(void **state)
{
	struct aic_rig *r = *state;

	r->disks[0].holds = true;
	select_target(r, 0);
	SAY(r, 0xc0);
	COMMAND(r, SCSI_OP_READ_6, 0, 0, 4, 2, 0);
	get(r, AIC_P_MESGIN);
	aic7870_reset(r->chip);
	aic_rig_map(r);
	assert_int_equal(aic_in(r, AIC_HCNTRL), AIC_CHIPRST | AIC_PAUSE);
	ram_release(&r->disks[0]);
	aic_rig_settle(r);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_out(r, AIC_SXFRCTL0, AIC_SPIOEN);
	aic_out(r, AIC_SCSISEQ, AIC_ENRSELI);
	aic_rig_settle(r);
	assert_int_equal(aic_in(r, AIC_SSTAT0) & AIC_SELDI, 0);
	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, 0, 0, 0, 0, 0, 0);
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

/* Another chip goes on; what was saved is left to the caller. */
static void move(struct aic_rig *r, struct save *save, const uint8_t **ret, size_t *ret_length)
{
	struct load load;

	aic_rig_stop(r);
	save_init(save);
	aic7870_save(r->chip, save);
	assert_int_equal(save_finish(save, ret, ret_length), 0);
	aic7870_destroy(r->chip);
	aic_rig_create_chip(r);
	load_init(&load, *ret, *ret_length);
	assert_int_equal(aic7870_load(r->chip, &load), 0);
	aic7870_resume(r->chip);
}

static void state_moves_within_messages(void **state)
{
	static const uint8_t answer[] = { 1, 3, 1, 50, 8 };
	struct aic_rig *r = *state;
	const uint8_t *bytes;
	size_t length;
	struct save save;

	select_target(r, 1);
	put(r, AIC_P_MESGOUT, 0x80);
	put(r, AIC_P_MESGOUT, 1);
	put(r, AIC_P_MESGOUT, 3); /* an extended message is half told */
	move(r, &save, &bytes, &length);
	save_fini(&save);
	SAY(r, AIC_EXT_SDTR, 50, 8);
	for (size_t i = 0; i < sizeof(answer); i++) {
		assert_int_equal(get(r, AIC_P_MESGIN), answer[i]);
		move(r, &save, &bytes, &length);
		save_fini(&save);
	}
	COMMAND(r, 0, 0, 0);
	move(r, &save, &bytes, &length);
	save_fini(&save);
	COMMAND(r, 0, 0, 0);
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
}

/* In the middle of a byte-wise data phase. */
static void state_moves_with_data_on_the_bus(void **state)
{
	struct aic_rig *r = *state;
	const uint8_t *bytes;
	size_t length;
	struct save save;
	struct load load;

	select_target(r, 0);
	SAY(r, 0x80);
	COMMAND(r, SCSI_OP_WRITE_6, 0, 0, 9, 1, 0);
	for (unsigned int i = 0; i < 300; i++) {
		put(r, AIC_P_DATAOUT, (uint8_t)i);
	}
	move(r, &save, &bytes, &length);
	for (unsigned int i = 300; i < 512; i++) {
		put(r, AIC_P_DATAOUT, (uint8_t)i);
	}
	assert_int_equal(finish(r), SCSI_STATUS_GOOD);
	for (unsigned int i = 0; i < 512; i++) {
		assert_int_equal(r->disks[0].bytes[9 * 512 + i], (uint8_t)i);
	}
	/* Cut short, it is refused, and the chip is as after power-on. */
	for (size_t cut = 1; cut < length; cut += 97) {
		load_init(&load, bytes, cut);
		if (aic7870_load(r->chip, &load)) {
			assert_int_equal(aic_in(r, AIC_SCSISIG), 0);
		}
	}
	save_fini(&save);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(every_phase_byte_by_byte),
		T(a_write_by_hand),
		T(an_initiator_without_messages),
		T(sense_stays_until_it_is_asked_for),
		T(a_unit_that_is_not_there),
		T(disconnect_and_reselect),
		T(pointers_are_saved_before_a_write_disconnects),
		T(without_the_privilege_the_bus_is_kept),
		T(messages_are_answered),
		T(errors_of_the_initiator),
		T(aborts_end_at_bus_free),
		T(a_nexus_that_is_used_twice),
		T(more_commands_than_there_is_room),
		T(a_selection_times_out_if_the_timer_runs),
		T(a_program_reads_and_writes),
		T(a_transfer_stops_at_either_count),
		T(reset_gives_up_what_is_out),
		T(state_moves_within_messages),
		T(state_moves_with_data_on_the_bus),
		T(more_data_than_there_is_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
