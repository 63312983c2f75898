/* SPDX-License-Identifier: MIT */
#include "vswitch/mirror.h"

#include <errno.h>

static int check_session(const struct mirror_session *session, unsigned int index,
			 struct diag *diag)
{
	const char *what = NULL;

	if (port_set_is_empty(&session->sources)) {
		what = "no port to copy from";
	} else if (session->directions == 0 ||
		   (session->directions & ~(MIRROR_IN | MIRROR_OUT)) != 0) {
		what = "its direction is not in, out or both";
	} else if (session->target >= VSWITCH_PORTS_MAX) {
		what = "no port to copy to";
	} else if (port_set_has(&session->sources, session->target)) {
		what = "the port to copy to is one of those to copy from";
	}
	return what ? diag_set(diag, -EINVAL, "mirror session %u: %s", index, what) : 0;
}

static void add_targets(struct mirror *mirror, const struct mirror_session *session, bool is_egress)
{
	for (int port = port_set_next(&session->sources, 0); port >= 0;
	     port = port_set_next(&session->sources, (unsigned int)port + 1)) {
		port_set_add(&mirror->mirrored[is_egress], (unsigned int)port);
		port_set_add(&mirror->targets[is_egress][port], session->target);
	}
}

int mirror_compile(const struct mirror_session *sessions, unsigned int count, struct mirror *ret,
		   struct diag *diag)
{
	if (count > MIRROR_SESSIONS_MAX) {
		return diag_set(diag, -EINVAL, "%u mirror sessions: there can be %u", count,
				MIRROR_SESSIONS_MAX);
	}
	for (unsigned int i = 0; i < count; i++) {
		int err = check_session(&sessions[i], i, diag);

		if (err) {
			return err;
		}
	}
	*ret = (struct mirror){ 0 };
	for (unsigned int i = 0; i < count; i++) {
		if (sessions[i].directions & MIRROR_IN) {
			add_targets(ret, &sessions[i], false);
		}
		if (sessions[i].directions & MIRROR_OUT) {
			add_targets(ret, &sessions[i], true);
		}
	}
	return 0;
}
