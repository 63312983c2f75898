/* SPDX-License-Identifier: MIT */
/*
 * The switch's own questions about groups (querier.h): general ones by the first core, and those that
 * follow a leave by the core that heard it. They pass no rule and no filter, which are about what others say.
 */
#include <string.h>

#include "vswitch/core_internal.h"

/* A query to all ports of a VLAN, or to one (-1: all). */
static void ask(struct core *core, uint16_t vlan, bool is_v6, const struct vframe_ip *group,
		uint32_t answer_ms, int only)
{
	uint8_t bytes[QUERIER_FRAME_BYTES_MAX];
	struct iovec iov[3] = { { 0 }, { bytes, 0 } };
	struct net_frame net = { .iov = iov + 1, .iov_count = 1 };
	struct vframe *frame = &core->asked;
	const struct policy *policy = core->policy;

	net.bytes = querier_build(policy->querier_mac, is_v6, group, answer_ms, bytes);
	iov[1].iov_len = net.bytes;
	if (vframe_pull(frame, &net, VFRAME_HEAD_PLAIN)) {
		return;
	}
	vframe_parse(frame, core->secret);
	frame->from = frame->member = VSWITCH_NO_PORT;
	frame->vlan = frame->fid = vlan;
	frame->pcp = 0;
	frame->drop = DROP_NONE;
	for (int port = port_set_next(&policy->used, 0); port >= 0;
	     port = port_set_next(&policy->used, (unsigned int)port + 1)) {
		if (only < 0 || only == port) {
			(void)turn_port(core, frame, (unsigned int)port, true, true);
		}
	}
	core_touch(core);
}

static void tell_ours(struct core *core, uint16_t vlan, bool is_v6, uint32_t now_s)
{
	struct news news = { .kind = NEWS_MCAST,
			     .mcast = { .kind = MCAST_OURS, .vlan = vlan, .is_v6 = is_v6 } };

	(void)mcast_apply(core->mcast, &news.mcast, now_s);
	(void)core_tell(core, &news); /* lost: they prune from the next query on */
}

void core_ask(struct core *core, uint32_t now_s)
{
	struct querier *querier = &core->querier;

	for (unsigned int i = 0; i < querier->count; i++) {
		uint16_t vlan = querier->vlans[i].vlan;

		for (int is_v6 = 0; is_v6 < 2; is_v6++) {
			bool has_other = mcast_has_other(core->mcast, vlan, is_v6);

			if (querier_is_due(querier, i, is_v6, has_other, now_s)) {
				ask(core, vlan, is_v6, NULL, QUERIER_ANSWER_MS, -1);
				tell_ours(core, vlan, is_v6, now_s);
			}
		}
	}
}

/* And once more, a second later: the timer is for the first of those that wait. */
static void ask_and_again(struct core *core, const struct querier_again *what)
{
	uint64_t now_ns = loop_now_ns();

	ask(core, what->vlan, what->is_v6, what->is_all ? NULL : &what->group, QUERIER_LAST_MS,
	    what->port);
	if (querier_left_add(&core->left, what, now_ns) && !core->is_quiet &&
	    !loop_timer_is_armed(&core->ask_again)) {
		loop_timer_arm(&core->ask_again, QUERIER_LAST_MS * 1000000ULL);
	}
}

void core_ask_left(struct core *core, const struct vframe *frame)
{
	const struct mcast_news_list *heard = &core->heard;
	struct querier_again what = { .vlan = frame->fid,
				      .port = frame->from,
				      .is_v6 = frame->key.ip_version == 6 };

	if (heard->left_count == 0 || !mcast_is_ours(core->mcast, what.vlan, what.is_v6)) {
		return;
	}
	if (heard->left_count > MCAST_LEFT_MAX) {
		what.is_all = true;
		ask_and_again(core, &what);
		return;
	}
	for (unsigned int i = 0; i < heard->left_count; i++) {
		what.group = heard->left[i].group;
		memcpy(what.mac, heard->left[i].mac, sizeof(what.mac));
		ask_and_again(core, &what);
	}
}

/* Whoever wants it has said so meanwhile, or another asks now: then it is not asked again. */
static bool is_still_open(const struct core *core, const struct querier_again *what)
{
	return core->policy->querier && mcast_is_ours(core->mcast, what->vlan, what->is_v6) &&
	       (what->is_all || mcast_is_leaving(core->mcast, what->mac, what->vlan, what->port));
}

void core_ask_again(struct core *core, uint64_t now_ns)
{
	struct querier_again what;
	uint64_t wait_ns;

	core_take_news(core); /* it may have been said on another core */
	while (querier_left_take(&core->left, now_ns, &what)) {
		if (is_still_open(core, &what)) {
			ask(core, what.vlan, what.is_v6, what.is_all ? NULL : &what.group,
			    QUERIER_LAST_MS, what.port);
		}
	}
	if (querier_left_wait(&core->left, now_ns, &wait_ns) && !core->is_quiet) {
		loop_timer_arm(&core->ask_again, wait_ns);
	}
}
