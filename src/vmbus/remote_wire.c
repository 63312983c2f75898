/* SPDX-License-Identifier: MIT */
#include "vmbus/remote_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

/* The bytes of each type's struct; 0: no such type. */
static size_t struct_bytes(uint16_t type)
{
	switch (type) {
	case REMOTE_MSG_HELLO:
		return sizeof(struct remote_hello);
	case REMOTE_MSG_WELCOME:
		return sizeof(struct remote_welcome);
	case REMOTE_MSG_LEND:
		return sizeof(struct remote_lend);
	case REMOTE_MSG_GPADL:
		return sizeof(struct remote_gpadl);
	case REMOTE_MSG_CHANNEL:
		return sizeof(struct remote_channel);
	case REMOTE_MSG_STARTED:
		return sizeof(struct remote_started);
	case REMOTE_MSG_RECALL:
		return sizeof(struct remote_recall);
	case REMOTE_MSG_RETURNED:
		return sizeof(struct remote_returned);
	case REMOTE_MSG_SUBS:
		return sizeof(struct remote_subs);
	case REMOTE_MSG_START:
	case REMOTE_MSG_INSPECT:
	case REMOTE_MSG_INSPECTED:
	case REMOTE_MSG_PING:
	case REMOTE_MSG_PONG:
		return sizeof(struct remote_header);
	default:
		return 0;
	}
}

static bool is_text(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static bool is_hello(const struct remote_hello *m, unsigned int fd_count)
{
	return m->vps >= 1 && m->vps <= REMOTE_VPS_MAX && m->range_count >= 1 &&
	       m->range_count <= REMOTE_RANGES_MAX && m->version_min <= m->version_max &&
	       m->board_bytes == REMOTE_BOARD_BYTES && fd_count == 2 + m->vps &&
	       is_text(m->name, sizeof(m->name));
}

static bool is_lend(const struct remote_lend *m, unsigned int fd_count)
{
	return fd_count == 1 && is_text(m->kind, sizeof(m->kind)) &&
	       is_text(m->port, sizeof(m->port)) && m->channels >= 1 &&
	       m->channels <= REMOTE_CHANNELS_MAX && m->gpadls <= REMOTE_GPADLS_MAX &&
	       m->journal_bytes > 0 && m->journal_bytes <= REMOTE_JOURNAL_BYTES_MAX &&
	       m->config_bytes <= REMOTE_CONFIG_BYTES_MAX;
}

static bool is_gpadl(const struct remote_gpadl *m)
{
	return m->count >= 1 && m->count <= REMOTE_GFNS_MAX && m->pages <= REMOTE_GPADL_PAGES_MAX &&
	       num_range_fits(m->first, m->count, m->pages);
}

/* Whether it makes sense; *ret_tail: the bytes that must follow its struct. */
static bool is_sound(const struct remote_message *m, unsigned int fd_count, size_t *ret_tail)
{
	switch (m->type) {
	case REMOTE_MSG_HELLO:
		return is_hello(&m->hello, fd_count);
	case REMOTE_MSG_LEND:
		*ret_tail = m->lend.config_bytes;
		return is_lend(&m->lend, fd_count);
	case REMOTE_MSG_GPADL:
		*ret_tail = (size_t)m->gpadl.count * 8;
		return fd_count == 0 && is_gpadl(&m->gpadl);
	case REMOTE_MSG_CHANNEL:
		return fd_count == 1 && m->channel.index < REMOTE_CHANNELS_MAX;
	case REMOTE_MSG_RECALL:
		*ret_tail = (size_t)m->recall.close_count * 4;
		return fd_count == 0 && m->recall.close_count <= REMOTE_CHANNELS_MAX;
	case REMOTE_MSG_WELCOME:
		return fd_count == 0 && is_text(m->welcome.text, sizeof(m->welcome.text));
	case REMOTE_MSG_STARTED:
		return fd_count == 0 && is_text(m->started.text, sizeof(m->started.text));
	case REMOTE_MSG_RETURNED:
		return fd_count == 0 && is_text(m->returned.text, sizeof(m->returned.text));
	case REMOTE_MSG_SUBS:
		return fd_count == 0 && m->subs.count < REMOTE_CHANNELS_MAX;
	default:
		return fd_count == 0;
	}
}

int remote_parse(const uint8_t *buf, size_t bytes, unsigned int fd_count,
		 struct remote_message *ret)
{
	struct remote_message m = { 0 };
	struct remote_header header;
	size_t known, tail = 0;

	if (bytes < sizeof(header) || bytes > REMOTE_MESSAGE_BYTES_MAX) {
		return -EPROTO;
	}
	memcpy(&header, buf, sizeof(header));
	known = struct_bytes(header.type);
	if (known == 0 || header.flags != 0 || header.bytes != bytes || bytes < known) {
		return -EPROTO;
	}
	m.type = header.type;
	m.device = header.device;
	m.serial = header.serial;
	memcpy(&m.lend, buf, known); /* the longest: all begin the union */
	if (!is_sound(&m, fd_count, &tail) || tail > bytes - known) {
		return -EPROTO;
	}
	m.tail = buf + known;
	m.tail_bytes = (uint32_t)(header.type == REMOTE_MSG_INSPECTED ? bytes - known : tail);
	*ret = m;
	return 0;
}

uint32_t remote_build(const struct remote_message *message, uint8_t *ret_buf)
{
	size_t known = struct_bytes(message->type);
	size_t bytes = known + message->tail_bytes;
	struct remote_header header = { .type = message->type,
					.bytes = (uint32_t)bytes,
					.device = message->device,
					.serial = message->serial };

	check(known > 0 && bytes <= REMOTE_MESSAGE_BYTES_MAX);
	memcpy(ret_buf, &message->lend, known); /* the longest: all begin the union */
	memcpy(ret_buf, &header, sizeof(header));
	if (message->tail_bytes > 0) {
		memcpy(ret_buf + known, message->tail, message->tail_bytes);
	}
	return (uint32_t)bytes;
}

void remote_copy_text(char *ret, size_t room, const char *text)
{
	snprintf(ret, room, "%s", text ? text : "");
}
