/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>

#include "stock.h"

/* ---- the program ------------------------------------------------------------------------------------- */

#define WORDS_MAX   2048
#define PATCHES_MAX 512
#define PROGRAM     "aic7xxx/aic7xxx_seq.h_shipped"

struct program {
	uint32_t words[WORDS_MAX];
	unsigned int count;
	struct {
		unsigned int function, begin, skip_words, skip_patches;
	} patches[PATCHES_MAX];
	unsigned int patch_count;
	bool holds[64]; /* what the patch functions say of an AIC-7870 */
};

static char *read_text(void)
{
	const char *path = getenv("TABIQUE_AIC7XXX_SEQ"), *cache = getenv("TABIQUE_CACHE");
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char name[512], *text;
	FILE *file;
	size_t bytes;

	if (path) {
		snprintf(name, sizeof(name), "%s", path);
	} else if (cache || xdg) {
		snprintf(name, sizeof(name), "%s%s", cache ? cache : xdg,
			 cache ? "/" PROGRAM : "/tabique/" PROGRAM);
	} else {
		snprintf(name, sizeof(name), "%s/.cache/tabique/" PROGRAM, home ? home : "/root");
	}
	file = fopen(name, "r");
	if (!file) {
		fprintf(stderr, "skipped: no %s; tools/aic7xxx-program fetches it\n", name);
		return NULL;
	}
	text = calloc(1, 1 << 20);
	assert_non_null(text);
	bytes = fread(text, 1, (1 << 20) - 1, file);
	assert_true(bytes > 0 && bytes < (1 << 20) - 1);
	fclose(file);
	return text;
}

/* The condition of a patch function, for features TARGETMODE (off) and AUTOPAUSE, bugs WIDEODD and MWI. */
static bool condition_holds(const char *text, unsigned int cache_line)
{
	static const char *const true_ones[] = { "AHC_INITIATORROLE", "AHC_PAGESCBS",
						 "AHC_TMODE_WIDEODD_BUG" };
	const char *end = strchr(text, ';');
	char condition[200];

	assert_non_null(end);
	snprintf(condition, sizeof(condition), "%.*s", (int)(end - text), text);
	if (strstr(condition, "AHC_PCI_MWI_BUG")) {
		return cache_line != 0;
	}
	if (strstr(condition, ") == 0")) {
		return true; /* CMD_CHAN, QUEUE_REGS, DT, ULTRA2: it has none of them */
	}
	for (size_t i = 0; i < ARRAY_SIZE(true_ones); i++) {
		if (strstr(condition, true_ones[i])) {
			return true;
		}
	}
	return false;
}

static void parse(const char *text, unsigned int cache_line, struct program *ret)
{
	const char *at = strchr(strstr(text, "seqprog[]"), '{') + 1;
	unsigned int byte, n = 0;

	for (; *at != '}'; at++) {
		if (sscanf(at, "0x%2x", &byte) == 1) {
			ret->words[n / 4] |= byte << n % 4 * 8;
			n++;
			at += 3;
		}
	}
	ret->count = n / 4;
	for (at = text; (at = strstr(at, "\nahc_patch")) != NULL; at++) {
		unsigned int function;

		if (sscanf(at, "\nahc_patch%u_func(struct ahc_softc", &function) == 1) {
			assert_true(function < ARRAY_SIZE(ret->holds));
			ret->holds[function] = condition_holds(strstr(at, "return"), cache_line);
		}
	}
	for (at = strstr(text, "patches[]"); (at = strstr(at, "{ ahc_patch")) != NULL; at++) {
		unsigned int i = ret->patch_count++;

		assert_int_equal(sscanf(at, "{ ahc_patch%u_func, %u, %u, %u",
					&ret->patches[i].function, &ret->patches[i].begin,
					&ret->patches[i].skip_words, &ret->patches[i].skip_patches),
				 4);
	}
}

/* Which words an AIC-7870 gets: the driver's walk through the list of patches. */
static void choose(const struct program *program, bool *ret_takes)
{
	unsigned int patch = 0, skip = 0;

	for (unsigned int i = 0; i < program->count; i++) {
		while (patch < program->patch_count && program->patches[patch].begin == i) {
			if (program->holds[program->patches[patch].function]) {
				patch++;
			} else {
				skip = i + program->patches[patch].skip_words;
				patch += program->patches[patch].skip_patches;
			}
		}
		ret_takes[i] = i >= skip;
	}
}

/* From the assembler's format to the one of old sequencers, with addresses moved and constants put in. */
static uint32_t compress(const struct program *program, const bool *takes, uint32_t word,
			 const uint8_t *constants)
{
	uint32_t op = word >> 27 & 0xf, immediate = word & 0xff, source = word >> 8 & 0x1ff;
	uint32_t address = word >> 17 & 0x3ff, moved = 0;

	if (op != AIC_OP_ROL && word >> 31) {
		immediate = constants[immediate];
	}
	if (op >= AIC_OP_JMP) {
		for (uint32_t i = 0; i < address; i++) {
			moved += takes[i];
		}
		return immediate | source << 8 | moved << 16 | op << 25;
	}
	if (op == 6) { /* BMOV of one byte */
		assert_int_equal(immediate, 1);
		op = AIC_OP_AND;
		immediate = 0xff;
	}
	return immediate | source << 8 | (word >> 17 & 0x1ff) << 16 | (word >> 26 & 1) << 24 |
	       op << 25;
}

bool stock_load(struct aic_rig *r, unsigned int cache_line, struct stock *ret)
{
	const uint8_t mask = (uint8_t)(cache_line - 1);
	const uint8_t constants[] = { 0, 1, mask, (uint8_t)~mask, 16, 0xf0, 0x0f };
	uint32_t words[AIC_PROGRAM_WORDS];
	struct program *program;
	bool takes[WORDS_MAX];
	char *text = read_text();
	unsigned int n = 0;

	if (!text) {
		return false;
	}
	program = calloc(1, sizeof(*program));
	assert_non_null(program);
	parse(text, cache_line, program);
	choose(program, takes);
	for (unsigned int i = 0; i < program->count; i++) {
		if (takes[i]) {
			assert_true(n < AIC_PROGRAM_WORDS);
			words[n++] = compress(program, takes, program->words[i], constants);
		}
	}
	*ret = (struct stock){ .r = r, .program_words = n };
	aic_out(r, AIC_HCNTRL, AIC_PAUSE);
	aic_download(r, words, n);
	free(program);
	free(text);
	return true;
}

/* ---- the chip ------------------------------------------------------------------------------------------ */

static void init_scbs(struct aic_rig *r)
{
	for (uint8_t i = 0; i < AIC_SCBS; i++) {
		aic_out(r, AIC_SCBPTR, i);
		for (uint8_t j = 0; j < AIC_SCB_BYTES; j++) {
			aic_out(r, (uint8_t)(AIC_SCBARRAY + j), 0xff);
		}
		aic_out(r, AIC_SCBARRAY + SCB_CONTROL, 0);
		aic_out(r, AIC_SCBARRAY + SCB_NEXT, (uint8_t)(i + 1 == AIC_SCBS ? 0xff : i + 1));
	}
	aic_out(r, SCRATCH_FREE, 0);
}

void stock_restart(struct stock *s)
{
	struct aic_rig *r = s->r;

	aic_pause(r);
	s->in_message = false;
	aic_out(r, AIC_SCSISIG, 0);
	aic_out(r, SCRATCH_MSG_OUT, AIC_MSG_NOOP);
	aic_out(r, AIC_SXFRCTL1, aic_in(r, AIC_SXFRCTL1) & (uint8_t)~AIC_BITBUCKET);
	aic_out(r, SCRATCH_LASTPHASE, 0x01);
	aic_out(r, SCRATCH_SAVED_SCSIID, 0xff);
	aic_out(r, SCRATCH_SAVED_LUN, 0xff);
	aic_out(r, AIC_SCSISEQ,
		aic_in(r, SCRATCH_SEQ_TEMPLATE) & (AIC_ENSELI | AIC_ENRSELI | AIC_ENAUTOATNP));
	aic_out(r, AIC_ERROR, AIC_SEQINT);
	aic_out(r, SCRATCH_MWI_RESIDUAL, 0);
	aic_out(r, AIC_SEQCTL, AIC_FASTMODE);
	aic_out(r, AIC_SEQADDR0, 0);
	aic_out(r, AIC_SEQADDR1, 0);
	aic_unpause(r);
}

void stock_start(struct stock *s)
{
	struct aic_rig *r = s->r;

	memset(aic_mem(r, STOCK_SHARED, 512), 0xff, 512);
	aic_out(r, SCRATCH_SEQ_FLAGS, 0);
	aic_out(r, SCRATCH_SEQ_FLAGS2, 0);
	aic_out(r, AIC_SCSIID, AIC7870_HOST_ID);
	aic_out(r, AIC_SXFRCTL1, 0x20 | AIC_ENSTIMER | 0x02);
	aic_out(r, AIC_SIMODE1, AIC_SELTO | AIC_SCSIRSTI | AIC_SCSIPERR);
	aic_out(r, AIC_SXFRCTL0, 0x80 | AIC_SPIOEN);
	for (uint8_t i = 0; i < 16; i++) {
		aic_out(r, SCRATCH_BUSY_TARGETS + i, 0xff);
	}
	aic_out32(r, SCRATCH_HSCB_ADDR, STOCK_HSCBS);
	aic_out32(r, SCRATCH_SHARED_ADDR, STOCK_SHARED);
	aic_out(r, SCRATCH_KERNEL_QINPOS, 0);
	aic_out(r, SCRATCH_QINPOS, 0);
	aic_out(r, SCRATCH_QOUTPOS, 0);
	aic_out(r, SCRATCH_WAITING, 0xff);
	aic_out(r, SCRATCH_DISCONNECTED, 0xff);
	aic_out(r, SCRATCH_MSG_OUT, AIC_MSG_NOOP);
	aic_out(r, SCRATCH_SEQ_TEMPLATE,
		AIC_ENSELO | AIC_ENAUTOATNO | AIC_ENAUTOATNP | AIC_ENRSELI);
	init_scbs(r);
	s->next_tag = 0;
	s->commands[0].is_used = true;
	aic_out(r, SCRATCH_NEXT_SCB, 0);
	aic_out(r, AIC_HCNTRL, AIC_PAUSE | AIC_INTEN);
	stock_restart(s);
}

/* ---- commands ------------------------------------------------------------------------------------------- */

static uint8_t *hscb(struct stock *s, unsigned int tag)
{
	return aic_mem(s->r, STOCK_HSCBS + tag * 64, 64);
}

static uint8_t take_tag(struct stock *s)
{
	for (unsigned int i = 0; i < STOCK_TAGS; i++) {
		if (!s->commands[i].is_used) {
			s->commands[i] = (struct stock_command){ .is_used = true };
			return (uint8_t)i;
		}
	}
	fail_msg("no tag is free");
	return 0;
}

/* The list in memory begins with the second segment: the first is in the SCB. */
static void set_data(struct stock *s, uint8_t *scb, uint8_t tag, uint32_t gpa, uint32_t bytes,
		     uint32_t piece)
{
	uint32_t list = STOCK_SG + tag * STOCK_SEGMENTS * 8U;
	uint8_t *sg = aic_mem(s->r, list, STOCK_SEGMENTS * 8);
	unsigned int n = 0;

	if (bytes == 0) {
		bytes_put_le32(&scb[SCB_SGPTR], SCB_SG_LIST_NULL);
		bytes_put_le32(&scb[SCB_DATAPTR], 0);
		bytes_put_le32(&scb[SCB_DATACNT], 0);
		return;
	}
	for (uint32_t at = 0; at < bytes; at += piece, n++) {
		uint32_t length = (uint32_t)num_min(piece, bytes - at);

		assert_true(n < STOCK_SEGMENTS);
		bytes_put_le32(&sg[8 * n], gpa + at);
		bytes_put_le32(&sg[8 * n + 4], length | (at + length == bytes ? SCB_LAST_SEG : 0));
	}
	memcpy(&scb[SCB_DATAPTR], sg, 8);
	bytes_put_le32(&scb[SCB_SGPTR], (list + 8) | SCB_SG_FULL_RESID);
}

static void ring(struct stock *s)
{
	aic_out(s->r, SCRATCH_KERNEL_QINPOS, ++s->qin);
}

uint8_t stock_queue(struct stock *s, const struct stock_request *request)
{
	uint8_t tag = s->next_tag, next = take_tag(s), *scb = hscb(s, tag);

	s->commands[tag].target = request->target;
	memset(scb, 0, 64);
	if (request->cdb_bytes <= 12) {
		memcpy(scb, request->cdb, 12);
	} else {
		memcpy(&scb[32], request->cdb, 32 - 16);
		bytes_put_le32(scb, STOCK_HSCBS + tag * 64U + 32);
	}
	scb[SCB_CDB_LEN] = request->cdb_bytes;
	set_data(s, scb, tag, STOCK_DATA + request->at, request->bytes,
		 request->segment_bytes ? request->segment_bytes : request->bytes);
	scb[SCB_CONTROL] = (uint8_t)((request->is_tagged ? SCB_TAG_ENB : 0) |
				     (request->may_disconnect ? SCB_DISCENB : 0) |
				     (request->has_message ? SCB_MK_MESSAGE : 0));
	scb[SCB_SCSIID] = (uint8_t)(request->target << 4 | AIC7870_HOST_ID);
	scb[SCB_LUN] = request->lun;
	scb[SCB_TAG] = tag;
	scb[SCB_NEXT] = next;
	s->next_tag = next;
	s->last_tag = tag;
	ring(s);
	return tag;
}

/* ---- interrupts ------------------------------------------------------------------------------------------- */

static void on_complete(struct stock *s)
{
	uint8_t *queue = aic_mem(s->r, STOCK_SHARED, 256);

	while (queue[s->qout] != 0xff) {
		uint8_t tag = queue[s->qout];
		uint8_t *scb = hscb(s, tag);
		uint32_t sgptr = bytes_le32(&scb[SCB_SGPTR]);

		queue[s->qout++] = 0xff;
		assert_true(tag < STOCK_TAGS && s->commands[tag].is_used);
		assert_false(s->commands[tag].is_done);
		s->commands[tag].is_done = true;
		if (s->commands[tag].is_sensing) {
			memcpy(s->commands[tag].sense, aic_mem(s->r, STOCK_SENSE + tag * 32U, 32),
			       32);
		} else if (sgptr & SCB_SG_RESID_VALID) {
			s->commands[tag].residual =
				sgptr & SCB_SG_FULL_RESID ? ~0U : bytes_le32(&scb[0]) & 0xffffff;
		}
	}
}

/* A status that is not good: sense is fetched with the same SCB, untagged. */
static void on_bad_status(struct stock *s)
{
	struct aic_rig *r = s->r;
	uint8_t tag = aic_in(r, AIC_SCBARRAY + SCB_TAG), *scb = hscb(s, tag);
	struct stock_command *command = &s->commands[tag];

	assert_true(tag < STOCK_TAGS);
	aic_out(r, SCRATCH_RETURN_1, 0);
	if (command->is_sensing) {
		return;
	}
	command->status = scb[SCB_STATUS];
	if (command->status != SCSI_STATUS_CHECK_CONDITION) {
		return;
	}
	command->is_sensing = true;
	memset(scb, 0, 12);
	scb[0] = SCSI_OP_REQUEST_SENSE;
	scb[4] = 32;
	scb[SCB_CDB_LEN] = 6;
	scb[SCB_CONTROL] = 0;
	set_data(s, scb, tag, STOCK_SENSE + tag * 32U, 32, 32);
	/* To the tail of the queue, under its own tag. */
	if (aic_in(r, SCRATCH_QINPOS) == s->qin) {
		aic_out(r, SCRATCH_NEXT_SCB, tag);
	} else {
		hscb(s, s->last_tag)[SCB_NEXT] = tag;
	}
	scb[SCB_NEXT] = s->next_tag;
	s->last_tag = tag;
	ring(s);
	aic_out(r, SCRATCH_RETURN_1, RETURN_SEND_SENSE);
}

/* The driver's message loop, a byte per interrupt. */
static void on_message(struct stock *s)
{
	struct aic_rig *r = s->r;
	uint8_t phase = aic_in(r, AIC_SCSISIG) & AIC_PHASE_MASK;

	if (!s->in_message) {
		s->in_message = true;
		s->msg_out_at = s->msg_in_bytes = 0;
		if (phase == AIC_P_MESGOUT) {
			aic_out(r, AIC_SCBARRAY + SCB_CONTROL,
				aic_in(r, AIC_SCBARRAY + SCB_CONTROL) & (uint8_t)~SCB_MK_MESSAGE);
		}
	}
	if (phase == AIC_P_MESGOUT && s->msg_out_at < s->msg_out_bytes) {
		if (s->msg_out_at + 1 == s->msg_out_bytes) {
			aic_out(r, AIC_SSTAT1, AIC_CLRATNO);
		}
		aic_out(r, AIC_SSTAT1, AIC_REQINIT);
		aic_out(r, AIC_SCSIDATL, s->msg_out[s->msg_out_at++]);
	} else if (phase == AIC_P_MESGIN && s->msg_in_bytes < sizeof(s->msg_in)) {
		s->msg_in[s->msg_in_bytes++] = aic_in(r, AIC_SCSIBUSL);
		aic_out(r, AIC_SSTAT1, AIC_REQINIT);
		aic_in(r, AIC_SCSIDATL);
	} else {
		s->in_message = false;
		aic_out(r, SCRATCH_RETURN_1, RETURN_EXIT_MSG_LOOP);
		return;
	}
	aic_out(r, SCRATCH_RETURN_1, RETURN_CONT_MSG_LOOP);
}

static void on_seqint(struct stock *s, uint8_t intstat)
{
	s->seqints++;
	aic_out(s->r, AIC_ERROR, AIC_SEQINT);
	switch (intstat & (AIC_SEQINT_CODE | AIC_SEQINT)) {
	case SEQINT_BAD_STATUS:
		on_bad_status(s);
		break;
	case SEQINT_HOST_MSG_LOOP:
		on_message(s);
		break;
	default:
		fail_msg("sequencer interrupt 0x%02x at 0x%03x, phase 0x%02x", intstat,
			 aic_in(s->r, AIC_SEQADDR0) | aic_in(s->r, AIC_SEQADDR1) << 8,
			 aic_in(s->r, AIC_SCSISIG));
	}
	aic_unpause(s->r);
}

static void on_timeout(struct stock *s)
{
	struct aic_rig *r = s->r;
	uint8_t scb = aic_in(r, SCRATCH_WAITING), tag;

	aic_out(r, AIC_SCSISEQ, 0);
	aic_out(r, AIC_SIMODE1, aic_in(r, AIC_SIMODE1) & (uint8_t)~AIC_BUSFREE);
	aic_out(r, AIC_SSTAT1, AIC_SELTO | AIC_BUSFREE | AIC_SCSIPERR);
	aic_out(r, AIC_SSTAT0, AIC_SELINGO);
	aic_out(r, AIC_SCBPTR, scb);
	tag = aic_in(r, AIC_SCBARRAY + SCB_TAG);
	assert_true(tag < STOCK_TAGS);
	s->commands[tag].timed_out = s->commands[tag].is_done = true;
	/* Off the waiting list, onto the free one. */
	aic_out(r, SCRATCH_WAITING, aic_in(r, AIC_SCBARRAY + SCB_NEXT));
	aic_out(r, AIC_SCBARRAY + SCB_CONTROL, 0);
	aic_out(r, AIC_SCBARRAY + SCB_TAG, 0xff);
	aic_out(r, AIC_SCBARRAY + SCB_NEXT, aic_in(r, SCRATCH_FREE));
	aic_out(r, SCRATCH_FREE, scb);
}

static void on_scsiint(struct stock *s)
{
	struct aic_rig *r = s->r;
	uint8_t sstat1 = aic_in(r, AIC_SSTAT1);

	if (sstat1 & AIC_SELTO) {
		on_timeout(s);
	} else if (sstat1 & AIC_SCSIRSTI) {
		aic_out(r, AIC_SSTAT1, 0xff);
	} else {
		assert_true(sstat1 & AIC_BUSFREE); /* after a message: an abort was obeyed */
		assert_int_equal(aic_in(r, SCRATCH_LASTPHASE), AIC_P_MESGOUT);
		s->busfrees++;
		aic_out(r, AIC_SIMODE1, aic_in(r, AIC_SIMODE1) & (uint8_t)~AIC_BUSFREE);
		aic_out(r, AIC_SSTAT1, AIC_BUSFREE | AIC_SCSIPERR);
	}
	aic_out(r, AIC_ERROR, AIC_SCSIINT);
	stock_restart(s);
}

static void on_interrupt(struct stock *s)
{
	uint8_t intstat = aic_in(s->r, AIC_INTSTAT);

	s->interrupts++;
	if (intstat & AIC_CMDCMPLT) {
		s->cmdcmplts++;
		aic_out(s->r, AIC_ERROR, AIC_CMDCMPLT);
		on_complete(s);
	}
	if (intstat & AIC_BRKADRINT) {
		fail_msg("hard error 0x%02x at 0x%03x", aic_in(s->r, AIC_ERROR),
			 aic_in(s->r, AIC_SEQADDR0) | aic_in(s->r, AIC_SEQADDR1) << 8);
	}
	if (intstat & AIC_SEQINT) {
		on_seqint(s, intstat);
	}
	if (intstat & AIC_SCSIINT) {
		on_scsiint(s);
	}
}

void stock_run(struct stock *s)
{
	for (unsigned int i = 0; i < 100000; i++) {
		if (aic_interrupt(s->r)) {
			on_interrupt(s);
		} else if (!loop_turn(s->r->p.rig.loop)) {
			return;
		}
	}
	fail_msg("it never comes to rest: sequencer at 0x%03x",
		 aic_in(s->r, AIC_SEQADDR0) | aic_in(s->r, AIC_SEQADDR1) << 8);
}

uint8_t stock_do(struct stock *s, const struct stock_request *request)
{
	uint8_t tag = stock_queue(s, request), status;

	stock_run(s);
	assert_true(s->commands[tag].is_done);
	status = s->commands[tag].status;
	s->commands[tag].is_used = false;
	return status;
}
