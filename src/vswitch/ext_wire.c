/* SPDX-License-Identifier: MIT */
/* HELLO, the one message that an extension sends. */
#include <errno.h>
#include <string.h>

#include "vswitch/ext_internal.h"

#define MATCH_ALL                                                                                  \
	(VSEXT_MATCH_PORT | VSEXT_MATCH_VLAN | VSEXT_MATCH_ETHERTYPE | VSEXT_MATCH_PROTOCOL |      \
	 VSEXT_MATCH_L4_PORT | VSEXT_MATCH_TO)

/* Ends, and can be printed in any log. */
static bool is_text(const char text[VSEXT_NAME_BYTES])
{
	for (unsigned int i = 0; i < VSEXT_NAME_BYTES; i++) {
		if (text[i] == '\0') {
			return true;
		}
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
			return false;
		}
	}
	return false;
}

static bool is_sane(const struct vsext_hello *hello)
{
	bool has_directions = (hello->directions & (VSEXT_IN | VSEXT_OUT)) != 0;

	if (hello->directions & (uint8_t) ~(VSEXT_IN | VSEXT_OUT)) {
		return false;
	}
	return has_directions == (hello->kind != VSEXT_FORWARD) && hello->name[0] != '\0' &&
	       !(hello->match & (uint16_t)~MATCH_ALL) && is_text(hello->name) &&
	       is_text(hello->port);
}

int ext_parse_hello(const void *buf, size_t bytes, struct vsext_hello *ret, struct diag *reterr)
{
	struct vsext_hello hello;

	if (bytes < sizeof(hello)) {
		return diag_set(reterr, -EPROTO, "HELLO is too short");
	}
	memcpy(&hello, buf, sizeof(hello));
	if (hello.header.type != VSEXT_MSG_HELLO || hello.header.bytes != bytes) {
		return diag_set(reterr, -EPROTO, "the first message is no HELLO");
	}
	if (hello.version != VSEXT_VERSION) {
		return diag_set(reterr, -EPROTONOSUPPORT, "this switch speaks version %u",
				VSEXT_VERSION);
	}
	if (hello.kind < VSEXT_CAPTURE || hello.kind > VSEXT_FORWARD || !is_sane(&hello)) {
		return diag_set(reterr, -EPROTO, "HELLO makes no sense");
	}
	*ret = hello;
	return 0;
}
