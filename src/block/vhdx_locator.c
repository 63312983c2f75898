/* SPDX-License-Identifier: MIT */
/* VHDX: the parent locator, keys and values in UTF-16. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* The next character at *at, which moves on; ~0: broken. */
static uint32_t utf16_next(const uint8_t *text, uint32_t bytes, uint32_t *at)
{
	uint32_t c = bytes_le16(text + *at), low;

	*at += 2;
	if (c < 0xd800 || c > 0xdfff) {
		return c ? c : ~0U; /* no zero inside */
	}
	if (c > 0xdbff || *at + 2 > bytes) {
		return ~0U;
	}
	low = bytes_le16(text + *at);
	*at += 2;
	return low < 0xdc00 || low > 0xdfff ? ~0U : 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
}

/* Returns its length in UTF-8. */
static size_t utf8_put(uint32_t c, char out[4])
{
	static const uint8_t lead[] = { 0, 0x00, 0xc0, 0xe0, 0xf0 };
	size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = bytes - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	out[0] = (char)(lead[bytes] | c);
	return bytes;
}

/* Into UTF-8 with a zero behind. False: broken, or it does not fit. */
static bool utf16_decode(const uint8_t *text, uint32_t bytes, char *ret, size_t ret_bytes)
{
	size_t used = 0;

	if (bytes == 0 || bytes % 2) {
		return false;
	}
	for (uint32_t at = 0; at < bytes;) {
		uint32_t c = utf16_next(text, bytes, &at);
		char out[4];
		size_t n;

		if (c == ~0U) {
			return false;
		}
		n = utf8_put(c, out);
		if (used + n >= ret_bytes) {
			return false;
		}
		memcpy(ret + used, out, n);
		used += n;
	}
	ret[used] = 0;
	return true;
}

static int locator_take(struct vhdx_locator *locator, const char *key, const char *value,
			struct diag *reterr)
{
	char *path = strcmp(key, "relative_path") == 0         ? locator->relative
		     : strcmp(key, "volume_path") == 0         ? locator->volume
		     : strcmp(key, "absolute_win32_path") == 0 ? locator->absolute
							       : NULL;

	if (path) {
		memcpy(path, value, strlen(value) + 1);
	} else if (strcmp(key, "parent_linkage") == 0 || strcmp(key, "parent_linkage2") == 0) {
		if (locator->linkages == ARRAY_SIZE(locator->linkage) ||
		    guid_parse(value, &locator->linkage[locator->linkages])) {
			return diag_set(reterr, -EINVAL,
					"names its parent's state as \"%.60s\", which is no GUID",
					value);
		}
		locator->linkages++;
	}
	return 0; /* other keys are for others */
}

static int locator_entry_parse(const uint8_t *buf, uint32_t bytes,
			       const struct vhdx_locator_entry *entry, struct vhdx_locator *locator,
			       struct diag *reterr)
{
	char key[64], value[VHDX_PATH_BYTES];

	if (!num_range_fits(entry->key_offset, entry->key_bytes, bytes) ||
	    !num_range_fits(entry->value_offset, entry->value_bytes, bytes) ||
	    !utf16_decode(buf + entry->value_offset, entry->value_bytes, value, sizeof(value))) {
		return diag_set(reterr, -EINVAL, "has a damaged parent locator");
	}
	if (!utf16_decode(buf + entry->key_offset, entry->key_bytes, key, sizeof(key))) {
		return 0; /* longer than any that we know */
	}
	return locator_take(locator, key, value, reterr);
}

int vhdx_locator_parse(const uint8_t *buf, uint32_t bytes, struct vhdx_locator *ret,
		       struct diag *reterr)
{
	static const struct guid type = VHDX_LOCATOR_VHDX;
	struct vhdx_locator_header head;

	memset(ret, 0, sizeof(*ret));
	if (bytes < sizeof(head)) {
		return diag_set(reterr, -EINVAL, "has a damaged parent locator");
	}
	memcpy(&head, buf, sizeof(head));
	if (!guid_is_equal(&head.type, &type)) {
		return diag_set(reterr, -EOPNOTSUPP,
				"has a parent of a kind that we do not know; only VHDX is known");
	}
	if (head.count > VHDX_LOCATOR_ENTRIES_MAX ||
	    bytes < sizeof(head) + head.count * sizeof(struct vhdx_locator_entry)) {
		return diag_set(reterr, -EINVAL, "has a damaged parent locator");
	}
	for (unsigned int i = 0; i < head.count; i++) {
		struct vhdx_locator_entry entry;
		int err;

		memcpy(&entry, buf + sizeof(head) + i * sizeof(entry), sizeof(entry));
		err = locator_entry_parse(buf, bytes, &entry, ret, reterr);
		if (err) {
			return err;
		}
	}
	if (ret->linkages == 0) {
		return diag_set(reterr, -EINVAL, "does not say in which state its parent was");
	}
	return 0;
}
