/* SPDX-License-Identifier: MIT */
/* All extensions on one core: the pipeline's hooks, and the chain of filters. */
#include <string.h>

#include "vswitch/core_internal.h"
#include "vswitch/ext_internal.h"

static struct exts_core *core_of(void *ctx, const struct core *core)
{
	struct exts *exts = ctx;

	return &exts->cores[core_index(core)];
}

/* ---- who is there ------------------------------------------------------------------------------ */

static void insert(struct ext_half **halves, unsigned int *count, struct ext_half *half)
{
	unsigned int at = *count;

	check(*count < EXTS_MAX);
	for (; at > 0 && halves[at - 1]->ext->rules.position > half->ext->rules.position; at--) {
		halves[at] = halves[at - 1];
	}
	halves[at] = half;
	(*count)++;
}

static void take_out(struct ext_half **halves, unsigned int *count, const struct ext_half *half)
{
	for (unsigned int i = 0; i < *count; i++) {
		if (halves[i] == half) {
			(*count)--;
			memmove(&halves[i], &halves[i + 1],
				(*count - i) * sizeof(struct ext_half *));
			return;
		}
	}
}

void exts_core_add(struct exts_core *exts, struct ext_half *half)
{
	switch ((enum vsext_kind)half->ext->hello.kind) {
	case VSEXT_CAPTURE:
		insert(exts->captures, &exts->capture_count, half);
		break;
	case VSEXT_FILTER:
		insert(exts->filters, &exts->filter_count, half);
		break;
	case VSEXT_FORWARD:
		check(!exts->forward);
		exts->forward = half;
		break;
	default:
		check(false); /* HELLO was checked */
	}
}

void exts_core_remove(struct exts_core *exts, struct ext_half *half)
{
	take_out(exts->captures, &exts->capture_count, half);
	take_out(exts->filters, &exts->filter_count, half);
	if (exts->forward == half) {
		exts->forward = NULL;
	}
}

/* ---- the chain of filters ---------------------------------------------------------------------- */

/* The filters from the first-th on; on the way out the last one comes first. */
static enum ext_answer ask_filters(struct exts_core *exts, const struct ext_question *question,
				   unsigned int first, enum drop_cause *ret_cause)
{
	for (unsigned int i = first; i < exts->filter_count; i++) {
		struct ext_half *half =
			exts->filters[question->is_out ? exts->filter_count - 1 - i : i];
		enum ext_answer answer;

		if (!ext_half_wants(half, question->frame, question->port, question->is_out)) {
			continue;
		}
		answer = ext_half_ask(half, question, ret_cause);
		if (answer != EXT_PASS) {
			return answer;
		}
	}
	return EXT_PASS;
}

/* Which of the filters is asked next, behind this one. */
static unsigned int behind(const struct exts_core *exts, const struct ext_half *half, bool is_out)
{
	for (unsigned int i = 0; i < exts->filter_count; i++) {
		if (exts->filters[is_out ? exts->filter_count - 1 - i : i] == half) {
			return i + 1;
		}
	}
	return exts->filter_count;
}

static void set_bytes(struct exts_core *exts, struct net_frame *net, const uint8_t *bytes)
{
	exts->iov[1] =
		(struct iovec){ .iov_base = (uint8_t *)(uintptr_t)bytes, .iov_len = net->bytes };
	net->iov = &exts->iov[1];
	net->iov_count = 1;
}

/* Read anew: it may have been changed. Of one that was taken, this is not the first time. */
static bool read_again(struct exts_core *exts, const struct core *core,
		       const struct core_held *held, const struct net_frame *net)
{
	struct vframe *frame = &exts->frame;

	if (vframe_pull(frame, net, VFRAME_HEAD_MAX)) {
		return false;
	}
	vframe_parse(frame, core->secret);
	frame->from = held->from;
	frame->member = held->member;
	frame->vlan = held->vlan;
	frame->fid = held->fid;
	frame->pcp = held->pcp;
	frame->drop = DROP_NONE;
	return true;
}

void exts_core_go_on(struct ext_half *half, const struct core_held *held,
		     const struct net_frame *net, const uint8_t *bytes, const port_set *to)
{
	struct exts_core *exts = half->exts;
	bool is_out = held->stage == STAGE_FILTER_OUT;
	unsigned int next = behind(exts, half, is_out);
	struct net_frame again = *net;
	struct ext_question question = {
		.frame = &exts->frame,
		.held = *held,
		.port = is_out ? held->port : held->from,
		.is_out = is_out,
	};
	enum drop_cause cause = DROP_EXT_FILTER;

	set_bytes(exts, &again, bytes);
	if (held->stage != STAGE_FORWARD && next < exts->filter_count &&
	    read_again(exts, half->core, held, &again)) {
		enum ext_answer answer = ask_filters(exts, &question, next, &cause);

		if (answer == EXT_DROP) {
			core_drop_held(half->core, held, cause);
			return;
		}
		if (answer == EXT_TAKEN) {
			/* Here, not at the end of a round of the pipeline's. */
			for (unsigned int i = 0; i < exts->filter_count; i++) {
				ext_half_flush(exts->filters[i]);
			}
			return;
		}
		set_bytes(exts, &again, bytes);
	}
	core_resume(half->core, held, &again, to);
}

/* ---- hooks ------------------------------------------------------------------------------------- */

static void show(struct exts_core *exts, const struct vframe *frame, uint16_t port, bool is_out,
		 enum drop_cause dropped)
{
	struct ext_question question = {
		.frame = frame, .port = port, .is_out = is_out, .dropped = dropped
	};

	for (unsigned int i = 0; i < exts->capture_count; i++) {
		struct ext_half *half = exts->captures[i];

		if (dropped != DROP_NONE && half->ext->hello.no_drops) {
			continue;
		}
		if (ext_half_wants(half, frame, port, is_out)) {
			ext_half_show(half, &question);
		}
	}
}

static void on_capture(void *ctx, struct core *core, const struct vframe *frame, uint16_t port,
		       bool is_out)
{
	show(core_of(ctx, core), frame, port, is_out, DROP_NONE);
}

static void on_dropped(void *ctx, struct core *core, const struct vframe *frame, uint16_t port)
{
	if (frame->drop < DROP_CAUSE_COUNT) {
		show(core_of(ctx, core), frame, port, false, (enum drop_cause)frame->drop);
	}
}

static enum ext_answer on_filter(void *ctx, struct core *core, const struct vframe *frame,
				 uint16_t port, bool is_out, enum drop_cause *ret_cause)
{
	struct exts_core *exts = core_of(ctx, core);
	struct ext_question question = { .frame = frame, .port = port, .is_out = is_out };

	if (exts->filter_count == 0) {
		return EXT_PASS;
	}
	core_held(frame, is_out ? STAGE_FILTER_OUT : STAGE_FILTER_IN, port, &question.held);
	return ask_filters(exts, &question, 0, ret_cause);
}

static enum ext_answer on_forward(void *ctx, struct core *core, struct vframe *frame,
				  enum drop_cause *ret_cause)
{
	struct exts_core *exts = core_of(ctx, core);
	struct ext_question question = { .frame = frame, .port = frame->from };

	if (!exts->forward || !ext_half_wants(exts->forward, frame, frame->from, false)) {
		return EXT_PASS;
	}
	core_held(frame, STAGE_FORWARD, frame->from, &question.held);
	return ext_half_ask(exts->forward, &question, ret_cause);
}

static void on_flush(void *ctx, struct core *core)
{
	struct exts_core *exts = core_of(ctx, core);

	for (unsigned int i = 0; i < exts->capture_count; i++) {
		ext_half_flush(exts->captures[i]);
	}
	for (unsigned int i = 0; i < exts->filter_count; i++) {
		ext_half_flush(exts->filters[i]);
	}
	if (exts->forward) {
		ext_half_flush(exts->forward);
	}
}

const struct ext_hooks exts_hooks = {
	.capture = on_capture,
	.dropped = on_dropped,
	.filter = on_filter,
	.forward = on_forward,
	.flush = on_flush,
};
