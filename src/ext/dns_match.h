/* SPDX-License-Identifier: MIT */
/*
 * What tabique-ext-dns looks at: the first question of a DNS message. Pure; input is hostile.
 *
 *   spec  RFC 1035: 4.1.1 header, 4.1.2 question, 2.3.1 and 3.1 names
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_PORT       53
#define DNS_NAME_BYTES 256 /* with its end, as text */
#define DNS_SUFFIX_MAX 256

/*
 * The name that is asked for, in lower case, without a dot at its end; false: no question, or one that
 * makes no sense. Bytes that are no letters, digits, dashes or underscores become '?'.
 */
bool dns_question(const uint8_t *message, size_t bytes, char ret[DNS_NAME_BYTES]);

/* Whether name is suffix, or ends with a dot and suffix. Both in lower case. */
bool dns_has_suffix(const char *name, const char *suffix);

/*
 * The DNS message of a UDP datagram in a frame: where l4_offset says that UDP begins. NULL: there is none.
 */
const uint8_t *dns_message(const uint8_t *frame, size_t bytes, size_t l4_offset, size_t *ret_bytes);

/*
 * Sets the six bits of the differentiated services field of the IPv4 or IPv6 header at l3_offset, and mends
 * IPv4's checksum, if has_checksum. Whether there was such a header.
 */
bool dns_set_dscp(uint8_t *frame, size_t bytes, size_t l3_offset, unsigned int dscp,
		  bool has_checksum);
